"""Notebooks as files: where they lie, the one form in which they are committed, and their tags."""

from __future__ import annotations

import copy
import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from unbraid.files import write_atomically

ROOT = Path(__file__).resolve().parents[1]  # the clone
MARK = ".unbraid"  # in a folder whose notebooks and pages the commands wrote, and may replace
KEPT_METADATA = ("tags", "jupyter", "slide", "workshop")  # of a cell, written by hand
FIGURE = re.compile(r'"\d\d\.([a-z]\w*)"')  # its key in NN.toml, which becomes its cell's id
PARTS = {  # the course in its order of reading: first the chapters, then what uses them
    "Foundations": "00 01 02 03 04",
    "A · independent prediction": "10 11 12 13 15",
    "B · unordered frames": "20 21 22 23",
    "C · a single element": "30 31 32 33 34",
    "Cases: when not to believe it": "14 24 25 35 36 40 41",
    "A project": "42",
}
NOTEBOOK_METADATA = {  # what JupyterLab writes, but for the version of Python
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}


def select_notebooks(folder: Path | None = None, only: str = "") -> list[Path]:
    """The notebooks of a folder (the clone's) whose names start with one of the words in `only`.

    Raises ValueError where there are none, or where a word fits none.
    """
    folder = Path(folder or ROOT / "notebooks")
    notebooks = sorted(folder.glob("[0-9]*.ipynb"))
    if not notebooks:
        raise ValueError(f"{folder}: expected notebooks, found none; run this inside a clone")
    words = only.replace(",", " ").split()
    for word in words:
        if not any(path.name.startswith(word) for path in notebooks):
            names = ", ".join(path.stem for path in notebooks)
            raise ValueError(f"only: expected the beginning of one of {names}; found {word!r}")
    return [path for path in notebooks if not words or path.name.startswith(tuple(words))]


def find_place(notebook: Path) -> tuple[int, str]:
    """What the order of reading goes by; a notebook that no part names comes last."""
    order = " ".join(PARTS.values()).split()
    number = notebook.name[:2]
    return order.index(number) if number in order else len(order), notebook.name


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def first_line(thing: object) -> str:
    """The first line of a text that is not blank, cut at 200 characters."""
    lines = [line.strip() for line in str(thing).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(thing).__name__


def write(book: NotebookNode, path: Path) -> Path:
    """Put a notebook in its place: the old file or the new, never a part of either."""
    nbformat.validate(book)
    write_atomically(path, f"{nbformat.writes(book)}\n".encode())
    return path


def claim(folder: Path) -> None:
    """Refuse a folder with files that no command here wrote, and mark it as theirs."""
    mark = folder / MARK
    if not mark.exists():
        strange = sorted(path for path in folder.rglob("*") if path.is_file())
        if strange:
            expected = "to: expected an empty folder, or one that this command wrote"
            raise ValueError(f"{expected}, found {strange[0]}; --to names another")
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()


def read_facts(notebook: Path) -> dict[str, Any]:
    """What the file beside a notebook, such as 12.toml, says of it; {} without one."""
    path = notebook.with_name(f"{notebook.name[:2]}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def copy_companions(notebooks: list[Path], to: Path) -> list[Path]:
    """Copy what notebooks read from beside them to where their copies lie: the drawings that their
    cells show, and their facts, but for the notes on teaching. Returns the copies' paths in `to`.
    """
    copied = []
    for notebook in notebooks:
        text = notebook.read_text(encoding="utf-8")
        for name in sorted({*re.findall(r"figures/\w+\.svg", text)}):
            if (drawing := notebook.parent / name).exists():
                write_atomically(to / name, drawing.read_bytes())
                copied.append(Path(name))
        facts = notebook.with_name(f"{notebook.name[:2]}.toml")
        if facts.exists():
            shown = facts.read_text(encoding="utf-8").split("\n[teaching]\n")[0]
            write_atomically(to / facts.name, shown.encode())
            copied.append(Path(facts.name))
    return copied


def normalise(book: NotebookNode) -> NotebookNode:
    """The notebook as it is committed, changed in place: equal outputs give equal files."""
    # What opens a notebook alone need not wait for it.
    from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor

    CoalesceStreamsPreprocessor(enabled=True)(book, {})
    book.cells = [cell for cell in book.cells if "injected-parameters" not in tags(cell)]
    chosen = {name: book.metadata[name] for name in ("accelerator",) if name in book.metadata}
    book.metadata = nbformat.from_dict(copy.deepcopy(NOTEBOOK_METADATA) | chosen)
    book.nbformat, book.nbformat_minor = 4, 5

    seen: dict[str, int] = {}
    count = 0
    for cell in book.cells:
        kept = {name: cell.metadata[name] for name in KEPT_METADATA if cell.metadata.get(name)}
        if kept.get("jupyter", {}).get("outputs_hidden"):
            kept["collapsed"] = True  # as JupyterLab writes beside it
        cell.metadata = nbformat.from_dict(kept)
        seen[cell.source] = seen.get(cell.source, 0) + 1
        identity = f"{cell.cell_type} {seen[cell.source]} {cell.source}"
        figure = (
            cell.cell_type == "code" and "guess" not in tags(cell) and FIGURE.search(cell.source)
        )
        cell.id = figure[1] if figure else hashlib.sha256(identity.encode()).hexdigest()[:12]
        if cell.cell_type == "code":
            # A cell that has never run keeps no number, so that the tests see it.
            has_run = bool(cell.source.strip()) and cell.execution_count is not None
            count += has_run
            cell.execution_count = count if has_run else None
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = cell.execution_count
    return book
