"""The course as a whole: run the notebooks (`make run`), renew their committed outputs (`make notebooks`), check their hygiene.

`python -m unbraid.course run|notebooks`. Each notebook runs in a kernel of its own, in its own folder.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import json
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from unbraid.data.sources import repository_root
from unbraid.settings import PROFILES, SettingsError, current_profile

CELL_SECONDS = {
    "smoke": 120,
    "quick": 900,
    "full": 172_800,
}  # longest a single cell may take, by profile
LARGEST = 1_500_000  # bytes of a committed notebook
KEPT = ("tags", "mystnb", "jupyter", "slideshow")  # metadata of a cell that is written by hand
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
MACHINE_PATH = re.compile(
    r"(?<![\w.~-])/(?:root|home|work|tmp|Users|private|opt|mnt)/|\b[A-Z]:\\+(?:Users|Windows|Temp)"
)


@dataclass
class Outcome:
    """How one notebook's run ended: seconds, an empty `fault` when every cell completed, and the executed copy."""

    notebook: Path
    seconds: float
    fault: str
    output: Path

    @property
    def result(self) -> str:
        """The word for it: completed or failed."""
        return "failed" if self.fault else "completed"


def chosen(folder: Path | None = None, only: str = "") -> list[Path]:
    """The notebooks of `folder` (default: the clone's notebooks/) whose names start with a word of `only`; all when it is empty.

    Raises ValueError when there are none, or when a word of `only` fits none.
    """
    folder = Path(folder or (repository_root() or Path()) / "notebooks")
    found = sorted(folder.glob("[0-9]*.ipynb"))
    if not found:
        raise ValueError(
            f"{folder}: expected notebooks such as 00_start_here.ipynb, found none; run this inside a clone"
        )
    words = only.replace(",", " ").split()
    if unknown := [word for word in words if not any(path.name.startswith(word) for path in found)]:
        raise ValueError(
            f"only: no notebook starts with {' or '.join(unknown)}; there are {', '.join(path.stem for path in found)}"
        )
    return [path for path in found if not words or path.name.startswith(tuple(words))]


def check_parameters(notebook: Path, parameters: dict) -> None:
    """Raise ValueError when the notebook's `parameters` cell lacks one of the names (papermill itself would only warn)."""
    known = papermill.inspect_notebook(str(notebook))
    if unknown := sorted(set(parameters) - set(known)):
        raise ValueError(
            f"{notebook.name} has no parameter {', '.join(unknown)}; it has {', '.join(known) or 'none'}"
        )


def execute(
    notebook: Path,
    output: Path,
    profile="quick",
    parameters: dict | None = None,
    seconds: float | None = None,
) -> Outcome:
    """Run one notebook into `output`; `seconds` limits each cell. Never raises: what went wrong is the outcome's `fault`."""
    notebook, output = Path(notebook).resolve(), Path(output).resolve()
    parameters = {"profile": current_profile(profile), **(parameters or {})}
    started = time.perf_counter()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.unlink(missing_ok=True)
        check_parameters(notebook, parameters)
        papermill.execute_notebook(
            str(notebook),
            str(output),
            parameters,
            kernel_name="python3",
            cwd=str(notebook.parent),
            progress_bar=False,
            execution_timeout=seconds or CELL_SECONDS[parameters["profile"]],
            coalesce_streams=True,
            extra_arguments=[
                "--log-level=50"
            ],  # ipykernel's own words on transport and shutdown are no news to a reader
        )
        fault = find_fault(nbformat.read(output, 4))
    except (
        Exception
    ) as error:  # a cell's error, a timeout, a dead kernel, an unknown parameter, a damaged file
        fault = (
            find_fault(nbformat.read(output, 4), error) if output.exists() else ""
        ) or _first_line(error)
    return Outcome(notebook, time.perf_counter() - started, fault, output)


def find_fault(book: NotebookNode, error: Exception | None = None) -> str:
    """Which cell of an executed notebook did not complete and why; "" when all did, none left an error and no `error` was raised.

    `sys.exit()` leaves an error output, so it counts as a failure, though papermill lets it pass. A kernel that died
    or a cell that took too long raises `error` and leaves its cell as the last one that was started.
    """
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    started = [cell for cell in code if cell.metadata.get("papermill", {}).get("start_time")]
    for cell in code:
        reasons = [
            f"{output.ename}: {output.evalue}"
            for output in cell.outputs
            if output.output_type == "error"
        ]
        if (
            error
            and not isinstance(error, PapermillExecutionError)
            and started
            and cell is started[-1]
        ):
            reasons = [str(error)]
        if reasons or cell not in started or cell.metadata.papermill.status != "completed":
            return (
                f"`{_first_line(cell.source)}` {_first_line((reasons or ['did not complete'])[0])}"
            )
    return ""


def _first_line(thing: object) -> str:
    return next(
        (line.strip() for line in str(thing).splitlines() if line.strip()), type(thing).__name__
    )[:200]


def run(
    profile="quick",
    to="build/run",
    only="",
    parameters: dict | None = None,
    folder: Path | None = None,
) -> list[Outcome]:
    """Run the chosen notebooks into the folder `to`, a line each, then a table; a failure does not stop the others.

    `parameters` go into every notebook and must be known to it. UNBRAID_PROFILE, where set, wins over `profile`.
    """
    profile, notebooks, outcomes = current_profile(profile), chosen(folder, only), []
    print(f"{len(notebooks)} notebooks at {profile} into {to}", flush=True)
    for number, notebook in enumerate(notebooks, 1):
        print(f"[{number:2d}/{len(notebooks)}] {notebook.stem + ' ':.<32}", end=" ", flush=True)
        outcomes.append(execute(notebook, Path(to) / notebook.name, profile, parameters))
        print(f"{outcomes[-1].seconds:7.1f} s  {outcomes[-1].result}", flush=True)
    print(f"\n{'notebook':32}{'seconds':>8}  {'result':10} where to look")
    for outcome in outcomes:
        print(
            f"{outcome.notebook.stem:32}{outcome.seconds:8.1f}  {outcome.result:10} {os.path.relpath(outcome.output)}"
        )
        if outcome.fault:
            print(f"{'':42}{outcome.fault}")
    failed = sum(bool(outcome.fault) for outcome in outcomes)
    print(
        f"{len(outcomes) - failed} completed, {failed} failed in {sum(o.seconds for o in outcomes):.0f} s; {_peak_memory()}",
        flush=True,
    )
    return outcomes


def _peak_memory() -> str:
    try:
        import resource
    except ImportError:  # Windows
        return "peak memory not measured on this system"
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    return f"peak memory of the largest {peak / 1e9:.2f} GB"


def renew(
    only: str = "", profile: str = "quick", folder: Path | None = None, to="build/notebooks"
) -> list[Outcome]:
    """Run the chosen notebooks and put them, normalised, in their own places; one that fails or has faults stays as it was."""
    if (found := current_profile(profile)) != profile:
        raise SettingsError(
            f"UNBRAID_PROFILE: expected {profile} or nothing while outputs are renewed, found {found!r}; unset it"
        )
    outcomes = run(profile, to, only, folder=folder)
    for outcome in [outcome for outcome in outcomes if not outcome.fault]:
        ready = outcome.notebook.with_name(f".{outcome.notebook.name}.new")
        nbformat.write(normalise(nbformat.read(outcome.output, 4)), ready)
        if faults := check_hygiene(ready):
            outcome.fault = "; ".join(faults)
            print(
                f"{outcome.notebook.name}: kept as it was, for the new one has faults:\n  "
                + "\n  ".join(faults),
                flush=True,
            )
            ready.unlink()
        else:
            os.replace(ready, outcome.notebook)
    return outcomes


def normalise(book: NotebookNode) -> NotebookNode:
    """The notebook as it is committed, changed in place: the same from every run that gives the same outputs. Idempotent."""
    book.cells = [
        cell for cell in book.cells if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    book.metadata, book.nbformat, book.nbformat_minor = (
        nbformat.from_dict(copy.deepcopy(METADATA)),
        4,
        5,
    )
    seen, count = {}, 0
    for cell in book.cells:
        cell.metadata = nbformat.from_dict(
            {name: cell.metadata[name] for name in KEPT if cell.metadata.get(name)}
        )
        seen[cell.source] = seen.get(cell.source, 0) + 1
        cell.id = hashlib.sha256(
            f"{cell.cell_type} {seen[cell.source]} {cell.source}".encode()
        ).hexdigest()[:12]
        if cell.cell_type != "code":
            continue
        ran = (
            bool(cell.source.strip()) and cell.execution_count is not None
        )  # outputs of a cell never run stay a fault
        count += ran
        cell.execution_count = count if ran else None
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = cell.execution_count
        if texts := [text for text in _alt_texts(cell) if text]:
            cell.metadata.mystnb = nbformat.from_dict(
                {**cell.metadata.get("mystnb", {}), "image": {"alt": "; ".join(texts)}}
            )
    return book


def _alt_texts(cell: NotebookNode) -> list[str]:
    """One text for each figure among the cell's outputs, "" where it has none."""
    figures = (
        (output, kind)
        for output in cell.outputs
        for kind in output.get("data", {})
        if kind.startswith("image/")
    )
    return [output.metadata.get(kind, {}).get("alt", "") for output, kind in figures]


def check_hygiene(path: str | Path) -> list[str]:
    """Faults of a committed notebook, in words; an empty list when it is fit to be committed."""
    path = Path(path)
    try:
        book = nbformat.read(path, 4)
        nbformat.validate(book)
    except Exception as error:
        return [f"not a readable notebook: {_first_line(error)}"]
    size, exercises = path.stat().st_size, not path.name.lstrip(".").startswith("00")
    checks = (
        _output_checks(book)
        | _parameter_checks(book)
        | _template_checks(book, exercises)
        | {
            f"{size} bytes, expected at most {LARGEST}": size > LARGEST,
            "not normalised (metadata, cell ids, counts, alt texts in cells): run make notebooks": normalise(
                copy.deepcopy(book)
            )
            != book,
        }
    )
    return [fault for fault, wrong in checks.items() if wrong]


def _output_checks(book: NotebookNode) -> dict[str, bool]:
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    counts = [cell.execution_count for cell in code if cell.source.strip()]
    text = re.sub(
        r'"image/\w+": "[^"]*"', "", json.dumps(book, ensure_ascii=False)
    )  # a picture's bytes are no text
    found = MACHINE_PATH.search(text.replace("\\n", " "))
    checks = {
        "no outputs: a notebook is committed with them": not outputs,
        f"execution counts {counts}, expected 1 to {len(counts)}": counts
        != list(range(1, len(counts) + 1)),
        "stderr among the outputs": any(output.get("name") == "stderr" for output in outputs),
        "an error among the outputs": any(output.output_type == "error" for output in outputs),
        f"an absolute path: {found and found.group()}": found,
        "widget state": "widgets" in book.metadata
        or any("jupyter.widget" in kind for o in outputs for kind in o.get("data", ())),
        "kernel other than python3": book.metadata.get("kernelspec", {}).get("name") != "python3",
    }
    for number, cell in enumerate(code, 1):
        checks[f"code cell {number}: a figure without alt text (plots.show(figure, alt=...))"] = (
            "" in _alt_texts(cell)
        )
    return checks


def _tagged(book: NotebookNode, tag: str) -> list[NotebookNode]:
    return [
        cell
        for cell in book.cells
        if tag in cell.metadata.get("tags", []) and cell.cell_type == "code"
    ]


def _parameter_checks(book: NotebookNode) -> dict[str, bool]:
    cells = _tagged(book, "parameters")
    if len(cells) != 1:
        return {f"{len(cells)} code cells tagged parameters, expected one": True}
    try:
        statements = ast.parse(cells[0].source).body
        values = {
            line.target.id: ast.literal_eval(line.value)
            for line in statements
            if isinstance(line, ast.AnnAssign)
        }
    except (SyntaxError, ValueError, TypeError, AttributeError) as error:
        return {f"parameters cell: expected literals only, found {_first_line(error)}": True}
    return {
        "parameters cell: expected profile and seed in it": not {"profile", "seed"} <= set(values),
        "parameters cell: expected quick as the committed profile": values.get("profile", "quick")
        != "quick",
        "parameters cell: expected only lines such as `seed: int = 0`": len(values)
        != len(statements),
    }


def _template_checks(book: NotebookNode, exercises: bool) -> dict[str, bool]:
    title = "\n".join(cell.source for cell in book.cells[:2] if cell.cell_type == "markdown")
    lines = [
        len(cell.source.splitlines())
        for cell in book.cells
        if cell.cell_type == "code" and cell.source.strip()
    ] or [0]
    missing = [
        name
        for name in ("you will learn", "you need", "minutes", "memory", "paper")
        if name not in title.lower()
    ]
    solutions = len(_tagged(book, "solution"))
    return {
        "first cell: expected a title, `# ...`": not title.startswith("# "),
        f"title table: nothing on {', '.join(missing)}": missing or "|" not in title,
        "no cell tagged nbval-check-output": not _tagged(book, "nbval-check-output"),
        f"{solutions} cells tagged solution, expected at least two": exercises and solutions < 2,
        "no section `## What we did`": not any(
            "## What we did" in cell.source for cell in book.cells
        ),
        f"code cells: one of {max(lines)} lines, expected at most 70": max(lines) > 70,
    }


def assignment(text: str) -> tuple[str, object]:
    """The pair (name, value) of a word such as "seed=3"; ValueError without an equals sign."""
    name, value = text.split("=", 1)
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value  # a bare word is a string


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 all well, 1 a notebook failed or has faults, 2 a wrong argument, 130 stopped."""
    parser = argparse.ArgumentParser(prog="python -m unbraid.course", description=__doc__)
    parser.add_argument(
        "command",
        choices=("run", "notebooks"),
        help="run into a folder, or renew the committed outputs in place",
    )
    parser.add_argument("--only", default="", help='numbers or names of notebooks, e.g. "00 13"')
    parser.add_argument("--profile", default="quick", choices=PROFILES)
    parser.add_argument("--to", default="build/run", help="run: folder for the executed copies")
    parser.add_argument(
        "-p", dest="parameters", action="append", type=assignment, default=[], metavar="name=value"
    )
    options = parser.parse_args(arguments)
    try:
        if options.command == "notebooks":
            outcomes = renew(options.only, options.profile)
        else:
            outcomes = run(options.profile, options.to, options.only, dict(options.parameters))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return int(any(outcome.fault for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
