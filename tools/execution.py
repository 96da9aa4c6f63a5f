"""Run the notebooks (`make run`) and renew their committed outputs.

Each notebook runs in a kernel of its own, in its folder.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nbformat
import papermill
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import local_file_io_cwd
from unbraid import progress
from unbraid.checks import check_name

from tools import footer, kernels, recording, stamp
from tools.files import copy_drawings, first_line, normalise, select_notebooks, write

# The longest that one cell may take: thirty times what it takes on two cores, for slow machines.
CELL_SECONDS = {"smoke": 600, "quick": 7200, "full": 172_800}
AT_ONCE = 2  # notebooks, where there are so many cores; each needs up to 2.7 GB of memory
WITHOUT_SOLUTIONS = TagRemovePreprocessor(enabled=True, remove_cell_tags={"solution"})
# What jupyter_client says of a kernel that ends before it answers, mostly because another program
# took one of its ports between their choice and their use. Only starting anew helps.
DIED_AT_START = "Kernel died before replying"
STARTS = 3


@dataclass
class Outcome:
    """How one notebook's run ended; `fault` is empty when every cell completed."""

    notebook: Path
    output: Path
    seconds: float = 0.0
    fault: str = ""


def check_parameters(notebook: Path, parameters: dict) -> None:
    """Refuse names that the notebook's `parameters` cell lacks; papermill would only warn."""
    known = papermill.inspect_notebook(str(notebook))
    if unknown := sorted(set(parameters) - set(known)):
        raise ValueError(
            f"parameters: expected some of {', '.join(known)}, found {', '.join(unknown)}"
        )


def count_cores() -> int:
    """How many cores this process may use."""
    has_affinity = hasattr(os, "sched_getaffinity")  # Linux has it
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def execute(
    notebook: Path,
    output: Path,
    profile: str = "quick",
    parameters: dict | None = None,
    seconds: float | None = None,
    solutions: bool = True,
) -> Outcome:
    """Run one notebook into `output`; `seconds` limit each cell. What fails is in the outcome.

    solutions: whether those of the exercises run, too; otherwise the output lacks them. The output
    of a run without fault carries the stamp of what it was made from.
    """
    outcome = Outcome(Path(notebook).resolve(), Path(output).resolve())
    check_name("profile", profile, CELL_SECONDS)
    parameters = {"profile": profile} | (parameters or {})
    os.environ.setdefault(progress.SWITCH, "off")  # the kernel inherits it
    log = outcome.output.with_suffix(".reads")
    started = time.perf_counter()
    try:
        outcome.output.parent.mkdir(parents=True, exist_ok=True)
        outcome.output.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
        made_from = nbformat.read(outcome.notebook, 4)  # as it is now: it may be edited meanwhile
        check_parameters(outcome.notebook, parameters)
        source = outcome.notebook
        if not solutions:
            book, _ = WITHOUT_SOLUTIONS(nbformat.read(source, 4), {})
            source = write(book, outcome.output)  # papermill reads it before it writes there
        run_cells(outcome, source, parameters, int(seconds or CELL_SECONDS[profile]), log)
        outcome.fault = find_fault(outcome.output)
    except Exception as error:  # a cell's error, a timeout, a dead kernel, a damaged file
        outcome.fault = find_fault(outcome.output, error)
    outcome.seconds = time.perf_counter() - started
    if not outcome.fault:
        book = nbformat.read(outcome.output, 4)
        whole = stamp.write_stamp(made_from, recording.read_log(log), profile)
        book.metadata.unbraid = {"stamp": whole}
        nbformat.write(book, outcome.output)
    log.unlink(missing_ok=True)
    return outcome


def execute_and_repeat(notebook: Path, output: Path, **options) -> Outcome:
    """As `execute`; then the notebook runs twice at smoke, and must repeat itself.

    The output says that it has (`unbraid.repeats`), so that the tests need not run it twice again
    as long as its stamp holds (`has_repeated`).
    """
    outcome = execute(notebook, output, **options)
    if not outcome.fault:
        small = execute(notebook, outcome.output.parent / "smoke" / outcome.output.name, "smoke")
        outcome.fault = small.fault or find_difference(small)
    if not outcome.fault:
        book = nbformat.read(outcome.output, 4)
        book.metadata.unbraid["repeats"] = True
        nbformat.write(book, outcome.output)
    return outcome


def has_repeated(notebook: Path) -> bool:
    """Whether a notebook has repeated itself, with what its stamp names and these packages."""
    made = nbformat.read(notebook, 4).metadata.get("unbraid", {})
    is_of_now = made.get("repeats") and made["stamp"]["versions"] == stamp.read_versions()
    return bool(is_of_now) and not stamp.compare(notebook)


def find_difference(outcome: Outcome) -> str:
    """What strict nbval says of the first output, pictures left out, that another run changes."""
    copy_drawings(outcome.notebook.parent, outcome.output.parent)  # The copy runs where it lies.
    code, report = run_nbval(outcome.output)
    return f"another run at smoke differs\n{report}" if code else ""


def run_nbval(path: Path) -> tuple[int, str]:
    """The exit code and the report of a notebook under strict nbval."""
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", str(path)]
    command += ["--nbval-cell-timeout=300", "-p", "no:cacheprovider"]
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    for _ in range(STARTS):
        done = subprocess.run(
            command, env=inherited, capture_output=True, text=True, cwd=path.parent
        )
        if DIED_AT_START not in done.stdout + done.stderr:
            break
    return done.returncode, done.stdout[-6000:] + done.stderr[-2000:]


def run_cells(outcome: Outcome, source: Path, parameters: dict, seconds: int, log: Path) -> None:
    """Papermill's part of `execute`, at most STARTS times where a kernel dies while it starts."""
    kernels.fork_kernels()
    for start in range(1, STARTS + 1):
        try:
            papermill.execute_notebook(
                str(source),
                str(outcome.output),
                parameters,
                kernel_name="python3",
                cwd=str(outcome.notebook.parent),
                progress_bar=False,
                execution_timeout=seconds,
                coalesce_streams=True,
                # A kernel's words on its transport are no news, hence its level of log.
                extra_arguments=["--log-level=50", recording.kernel_option(log)],
            )
            return
        except RuntimeError as error:
            if DIED_AT_START not in str(error) or start == STARTS:
                raise


def find_fault(output: Path, error: Exception | None = None) -> str:
    """Which cell of an executed notebook did not complete and why; "" when all of them did."""
    if not output.exists():
        return first_line(error or f"{output}: expected the executed notebook, found no file")
    cells = nbformat.read(output, 4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    started = [cell for cell in code if cell.metadata.get("papermill", {}).get("start_time")]
    if error and not isinstance(error, PapermillExecutionError):
        # A dead kernel or a timeout: of the cell that was the last to start.
        return describe_fault(started[-1], error) if started else first_line(error)
    for cell in code:
        for item in cell.outputs:
            if item.output_type == "error":  # sys.exit() leaves one too; papermill lets it pass
                return describe_fault(cell, f"{item.ename}: {item.evalue}")
    return describe_fault(code[len(started)], "did not run") if len(started) < len(code) else ""


def describe_fault(cell: NotebookNode, reason: object) -> str:
    """One line that names a cell by its first line, and what happened in it."""
    return f"cell `{first_line(cell.source)}`: {first_line(reason)}"


def run(
    profile: str = "quick",
    to: str | Path = "build/run",
    only: str = "",
    cell_seconds: float | None = None,
    folder: Path | None = None,
    solutions: bool = True,
    work: Callable[..., Outcome] = execute,
) -> list[Outcome]:
    """Run notebooks into the folder `to`, one line each; a failure does not stop the others.

    So many run at once as there are cores, and at most AT_ONCE, each in a thread of its own.
    cell_seconds: the longest a cell may take; by default generous. solutions: as in `execute`.
    work: what is done with each, `execute` or `execute_and_repeat`.
    """
    if cell_seconds is not None and not cell_seconds >= 1:
        raise ValueError(f"cell-seconds: expected 1 or more, found {cell_seconds}")
    check_name("profile", profile, CELL_SECONDS)
    notebooks = [path.resolve() for path in select_notebooks(folder, only)]
    cell_seconds = cell_seconds or CELL_SECONDS[profile]
    cores = count_cores()
    at_once = min(AT_ONCE, cores)
    os.environ.setdefault("OMP_NUM_THREADS", str(cores // at_once))
    print(f"{len(notebooks)} notebooks at {profile} into {to}, {at_once} at a time, ", end="")
    print(f"at most {cell_seconds:.0f} s a cell", flush=True)

    outcomes = []
    started = time.perf_counter()
    work = partial(work, profile=profile, seconds=cell_seconds, solutions=solutions)
    target, home = Path(to).resolve(), notebooks[0].parent
    target.mkdir(parents=True, exist_ok=True)  # A folder that cannot be made is refused at once.
    # papermill enters a notebook's folder, and the threads share one: they are all in it already.
    with contextlib.chdir(home), local_file_io_cwd(str(home)):
        # The longest are among the last of the course: they begin first, or one core waits.
        for outcome in execute_all(work, notebooks[::-1], target, at_once):
            outcomes.append(outcome)
            title = f"{outcome.notebook.stem} ".ljust(34, ".")
            result = "failed" if outcome.fault else "completed"
            count = f"[{len(outcomes):2d}/{len(notebooks)}]"
            print(f"{count} {title} {outcome.seconds:7.1f} s  {result}", flush=True)
    outcomes.sort(key=lambda outcome: outcome.notebook.name)

    failures = [outcome for outcome in outcomes if outcome.fault]
    for outcome in failures:
        print(f"\n{outcome.notebook.stem}, {outcome.fault}")
        print(f"  the executed copy: {os.path.relpath(outcome.output)}")
        again = f"python -m tools run --profile {profile} --only {outcome.notebook.stem}"
        print(f"  once more: {again}")
    seconds = time.perf_counter() - started
    completed = len(outcomes) - len(failures)
    print(f"\n{completed} completed, {len(failures)} failed in {seconds:.0f} s; see {to}")
    return outcomes


def execute_all(work, notebooks: list[Path], to: Path, at_once: int) -> Iterator[Outcome]:
    """What `work(notebook, output)` gives of all notebooks, in the order in which they end."""
    waiting = iter(notebooks)  # The threads share it, so that each notebook is taken once.
    ended: queue.SimpleQueue[Outcome | Exception] = queue.SimpleQueue()

    def take_notebooks() -> None:
        for notebook in waiting:
            try:
                ended.put(work(notebook, to / notebook.name))
            except Exception as error:  # such as a folder that cannot be written; raised below
                ended.put(error)

    for _ in range(at_once):
        # Ctrl-C does not wait for daemons, and their kernels end with this process.
        threading.Thread(target=take_notebooks, daemon=True).start()
    for _ in notebooks:
        outcome = ended.get()
        if isinstance(outcome, Exception):
            raise outcome
        yield outcome


def renew(only: str = "", folder: Path | None = None, to="build/notebooks") -> list[Outcome]:
    """Run notebooks at quick, and twice at smoke, and put them, normalised, in their places.

    One that fails, or does not repeat itself, stays as it was.
    """
    outcomes = run("quick", to, only, folder=folder, work=execute_and_repeat)
    for outcome in outcomes:
        if not outcome.fault:
            book = nbformat.read(outcome.output, 4)
            footer.attach(book, outcome.notebook)
            write(normalise(book), outcome.notebook)
    return outcomes
