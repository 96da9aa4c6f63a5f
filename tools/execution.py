"""Run notebooks (`make run`): papermill runs each in a process of its own, in its folder.

These processes, and on Linux the kernels, are forked from ones that have imported what takes long.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat import NotebookNode
from unbraid.checks import check_name

from tools.files import first_line, select_notebooks, write
from tools.forked_kernels import run_papermill, serve

# The longest that one cell may take: thirty times what it takes on two cores, for slow machines.
CELL_SECONDS = {"smoke": 600, "quick": 7200, "full": 172_800}
NEEDED = 3.2e9  # bytes of memory that a notebook needs at most, most of it kept by the next three
# Read by glibc where a process starts: memory that an activation frees is kept, and not zeroed anew
# page by page, which takes a quarter of an evaluation. The Makefile says the same.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "2147483648",
    "MALLOC_TOP_PAD_": "67108864",
}
CONTAINER = Path("/sys/fs/cgroup/memory.max")  # how many bytes a container may use, or "max"
WITHOUT_SOLUTIONS = TagRemovePreprocessor(enabled=True, remove_cell_tags={"solution"})
# What jupyter_client says of a kernel that ends before it answers, mostly because another program
# took one of its ports between their choice and their use. Only starting anew helps.
DIED_AT_START = "Kernel died before replying"
STARTS = 3
RUNS = re.compile(r"Runs in (?:([\d.]+)|half a|a) minutes? on two cores")
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["papermill"])


@dataclass
class Outcome:
    """How one notebook's run ended; `fault` is empty when every cell completed."""

    notebook: Path
    output: Path
    seconds: float = 0.0
    fault: str = ""


def execute(
    notebook: Path,
    output: Path,
    profile: str = "quick",
    seconds: float | None = None,
    solutions: bool = True,
    kernels: str = "",
) -> Outcome:
    """Run one notebook into the file `output`. What fails is in the outcome.

    seconds: the longest that a cell may take. solutions: whether those of the exercises run, too;
    otherwise the output lacks them. kernels: a folder of `forked_kernels.serve`.
    """
    check_name("profile", profile, CELL_SECONDS)
    outcome = Outcome(Path(notebook).resolve(), Path(output).resolve())
    outcome.output.parent.mkdir(parents=True, exist_ok=True)
    outcome.output.unlink(missing_ok=True)
    source = outcome.notebook
    started = time.perf_counter()
    try:
        if not solutions:
            book, _ = WITHOUT_SOLUTIONS(nbformat.read(source, 4), {})
            source = write(book, outcome.output)  # papermill reads it before it writes there
        options = {"profile": profile, "cwd": outcome.notebook.parent}
        options["execution_timeout"] = int(seconds or CELL_SECONDS[profile])
        said = call_papermill(kernels, source, outcome.output, **options)
        outcome.fault = find_fault(outcome.output, said)
    except (ValueError, AttributeError, nbformat.ValidationError) as error:  # a damaged file
        outcome.fault = f"{type(error).__name__}: {first_line(error)}"
    outcome.seconds = time.perf_counter() - started
    return outcome


def call_papermill(kernels: str, *files: Path, **options: Any) -> str:
    """What `run_papermill` returns in a process of its own, whose kernels come from a folder."""
    places, said = filter(None, [kernels, os.environ.get("JUPYTER_PATH")]), ""
    environment = os.environ | {"JUPYTER_PATH": os.pathsep.join(places)}
    for _ in range(STARTS):
        try:
            with ProcessPoolExecutor(1, FORK) as pool:
                said = pool.submit(run_papermill, environment, *files, **options).result()
        except BrokenProcessPool as error:
            said = f"papermill died: {error}"
        if DIED_AT_START not in said:
            break
    return said


def find_fault(output: Path, said: str = "") -> str:
    """Which cell of an executed notebook did not complete and why; "" when all of them did.

    said: papermill's error, such as a dead kernel's or a timeout.
    """
    if not output.exists():
        return first_line(said or f"{output}: expected the executed notebook, found no file")
    cells = nbformat.read(output, 4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    started = [cell for cell in code if cell.metadata.get("papermill", {}).get("start_time")]
    if said:  # of the cell that was the last to start
        return describe_fault(started[-1], said) if started else first_line(said)
    for cell in code:
        for item in cell.outputs:
            if item.output_type == "error":  # sys.exit() leaves one too; papermill lets it pass
                return describe_fault(cell, f"{item.ename}: {item.evalue}")
    return describe_fault(code[len(started)], "did not run") if len(started) < len(code) else ""


def describe_fault(cell: NotebookNode, reason: str) -> str:
    """One line that names a cell by its first line, and what happened in it."""
    return f"cell `{first_line(cell.source)}`: {first_line(reason)}"


def run(
    profile: str, to: str | Path = "build/run", only: str = "", solutions: bool = False
) -> list[Outcome]:
    """Run notebooks into the folder `to`, one line each; a failure does not stop the others.

    As many run at once as there are cores, and memory for. solutions: as in `execute`.
    """
    notebooks = select_notebooks(only=only)
    Path(to).mkdir(parents=True, exist_ok=True)  # A folder that cannot be made is refused at once.
    cores = count_cores()
    at_once = int(max(1, min(cores, count_memory() // NEEDED)))
    for name, value in (MALLOC | {"OMP_NUM_THREADS": str(cores // at_once)}).items():
        os.environ.setdefault(name, value)
    print(f"{len(notebooks)} notebooks at {profile} into {to}, {at_once} at a time", flush=True)

    outcomes: list[Outcome] = []
    started = time.perf_counter()
    with serve(os.environ) as kernels, ThreadPoolExecutor(at_once) as pool:
        work = partial(execute, profile=profile, solutions=solutions, kernels=kernels)
        # The longest begin first: at the end, others fill the cores beside them.
        ordered = sorted(notebooks, key=read_minutes, reverse=True)
        futures = [pool.submit(work, path, Path(to) / path.name) for path in ordered]
        try:
            for future in as_completed(futures):
                outcomes.append(outcome := future.result())
                title = f"{outcome.notebook.stem} ".ljust(34, ".")
                result = "failed" if outcome.fault else "completed"
                count = f"[{len(outcomes):2d}/{len(notebooks)}]"
                print(f"{count} {title} {outcome.seconds:7.1f} s  {result}", flush=True)
        finally:  # After Ctrl-C, which every papermill gets as well, no further one begins.
            pool.shutdown(cancel_futures=True)
    outcomes.sort(key=lambda outcome: outcome.notebook.name)

    failures = [outcome for outcome in outcomes if outcome.fault]
    for outcome in failures:
        print(f"\n{outcome.notebook.stem}, {outcome.fault}")
        print(f"  the executed copy: {os.path.relpath(outcome.output)}")
        again = f"run --profile {profile} --only {outcome.notebook.stem}"
        print(f"  once more: python -m tools {again}")
    seconds = time.perf_counter() - started
    completed = len(outcomes) - len(failures)
    print(f"\n{completed} completed, {len(failures)} failed in {seconds:.0f} s; see {to}")
    return outcomes


def count_cores() -> int:
    """How many cores this process may use."""
    has_affinity = hasattr(os, "sched_getaffinity")  # Linux has it
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def count_memory() -> float:
    """How many bytes of memory this process may use; infinite where the system does not say."""
    memory = float("inf")
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):  # Windows does not have it
        memory = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    limit = CONTAINER.read_text(encoding="ascii").strip() if CONTAINER.exists() else "max"
    return memory if limit == "max" else min(memory, float(limit))


def read_minutes(notebook: Path) -> float:
    """The minutes that a notebook runs by its header, which records them for two cores."""
    found = RUNS.search(notebook.read_text(encoding="utf-8", errors="replace"))
    return float(found[1] or 1) if found else 0.0
