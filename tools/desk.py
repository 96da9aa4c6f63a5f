"""A desk of one's own: copies of the notebooks in mine/, of which no update changes a used one.

`lay_out` copies what is not there yet, and brings what has changed in the course since: a copy in
which nobody has worked is replaced, and beside one that was edited or run the new page is laid, in
new/ of the desk.

On the desk a solution is folded text, not a cell of code: a run of all cells would show it.
"""

from __future__ import annotations

import copy
import platform
import re
from functools import partial
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.sign import NotebookNotary
from unbraid.support.progress import progress_bar

from tools.editions import LINK, make_student
from tools.files import copy_companions, select_notebooks, tags, write
from tools.workshop import has_workshop

WORKSHOP = "workshop"  # in the desk: the editions in which one types the model
BASES = ".base"  # in the desk: each notebook as it was when it came from the course
NEW = "new"  # in the desk: pages that have changed since, where the reader has worked in the copy
SOLUTION = """\
<details><summary>Solution</summary>

To run it, copy it into a cell of its own.

````python
{source}
````

</details>"""
OPEN = " Open this cell after you have tried."  # said of a folded cell, which this is not


def lay_out(root: Path, desk: Path | None = None, outputs: bool = False) -> list[str]:
    """Copy the notebooks of a clone into a folder, and trust the copies; nobody's work is changed.

    desk: the folder, by default mine/ of the clone; in its folder workshop/ lie the workshop
    editions. The drawings that the notebooks show come along, always as the course has them now.
    outputs: copies have the stored outputs; without them no answer is below its question. Returns
    a line for each page that is new or has changed.
    """
    lines, desk = [], desk or root / "mine"
    notebooks = select_notebooks(root / "notebooks")
    typed = [path for path in notebooks if has_workshop(path)]
    places = (desk, notebooks, read_course), (desk / WORKSHOP, typed, read_workshop)
    for place, pages, read in places:
        copy_companions(pages, place)
        for notebook in progress_bar(pages, f"copying to {place.name}"):
            course = read(notebook) if outputs else clear(read(notebook))
            if said := bring(course, place, notebook.name):
                lines.append(f"{(place / notebook.name).relative_to(desk)}: {said}")
    return lines


def bring(course: NotebookNode, place: Path, name: str) -> str:
    """Lay a page of the course onto a desk; what there is to say of it, or ""."""
    mine, base = place / name, place / BASES / name
    if not mine.exists():
        lay(course, mine, base)
        return "new"
    before, found = read_cells(base), read_cells(mine)
    if list_sources(before) == list_sources(course.cells):
        return ""
    if list_sources(found) == list_sources(course.cells):  # taken from new/ by the reader
        write(course, base)
        return ""
    if found is not None and found == before:
        lay(course, mine, base)
        return "the course's new page; you had not worked in yours"
    laid = sorted((place / NEW).glob(f"{mine.stem}*.ipynb"))
    if any(list_sources(read_cells(path)) == list_sources(course.cells) for path in laid):
        return ""
    number = f"-{len(laid) + 1}" if laid else ""
    fresh = place / NEW / f"{mine.stem}{number}.ipynb"
    lay(course, fresh)
    return f"the course's page has changed; yours stays, and the new one is {NEW}/{fresh.name}"


def lay(book: NotebookNode, *paths: Path) -> None:
    """Write a page, with this Python's version as JupyterLab would, and trust it: it is ours."""
    book = copy.deepcopy(book)
    book.metadata.setdefault("language_info", {})["version"] = platform.python_version()
    for path in paths:
        write(book, path)
    notary = NotebookNotary()
    notary.sign(book)
    notary.store.close()


def read_cells(path: Path) -> list[NotebookNode] | None:
    """The cells of a notebook, or None where there is none that can be read."""
    try:
        return nbformat.read(path, 4).cells
    except Exception:  # nbformat raises nearly anything for a damaged file
        return None


def list_sources(cells: list[NotebookNode] | None) -> list[tuple[str, str]] | None:
    """What makes a page another one: the kinds and sources of its cells, not their outputs."""
    return cells if cells is None else [(cell.cell_type, cell.source) for cell in cells]


def clear(book: NotebookNode) -> NotebookNode:
    """A notebook without its outputs."""
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return book


def read_course(notebook: Path) -> NotebookNode:
    """A notebook of the course as it lies on a desk: its solutions are text to unfold."""
    book = nbformat.read(notebook, 4)
    for number, cell in enumerate(book.cells):
        if cell.cell_type == "code" and "solution" in tags(cell):
            text = SOLUTION.format(source=cell.source.replace(OPEN, ""))
            metadata = {"tags": ["solution"]}
            book.cells[number] = nbformat.v4.new_markdown_cell(text, id=cell.id, metadata=metadata)
    return book


def read_workshop(notebook: Path) -> NotebookNode:
    """The workshop edition of a notebook; its links lead from a folder of the desk."""
    book = make_student(nbformat.read(notebook, 4), notebook)
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(partial(climb, notebook.parent), cell.source)
    return book


def climb(folder: Path, match: re.Match) -> str:
    """A link to a file of the course, from one folder further down."""
    opening, link = match.groups()
    return f"{opening}../{link}" if (folder / link).exists() else match[0]
