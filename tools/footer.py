"""The last cell of each notebook, with the way on, by the course's order of reading."""

from __future__ import annotations

import copy
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from tools.files import find_place, normalise, select_notebooks, tags, write

PAGES = ("notation", "glossary", "bibliography")
LOOK_UP = "Look up: " + " · ".join(f"[{page}](../docs/{page}.md)" for page in PAGES)


def attach(book: NotebookNode, notebook: Path) -> None:
    """Give a notebook the footer of its place in the course, instead of the one it may have.

    notebook: where it lies, or will lie, among the others.
    """
    book.cells = [cell for cell in book.cells if "footer" not in tags(cell)]
    notebooks = sorted({*notebook.parent.glob("[0-9]*.ipynb"), notebook}, key=find_place)
    place = notebooks.index(notebook)
    # The first notebook is the map itself; from there the way leads to the first page.
    ways = [f"[Map]({notebooks[0].name})" if place else "[First page](../README.md)"]
    if place:
        ways.append(f"Previous: {link_notebook(notebooks[place - 1])}")
    if place + 1 < len(notebooks):
        ways.append(f"Next: {link_notebook(notebooks[place + 1])}")
    text = "\n\n".join(["---", " · ".join(ways), LOOK_UP])
    book.cells.append(new_markdown_cell(text, metadata={"tags": ["footer"]}))


def renew(only: str = "", folder: Path | None = None) -> list[Path]:
    """Renew the footers of notebooks without running them; returns those that changed."""
    changed = []
    for path in select_notebooks(folder, only):
        book = nbformat.read(path, 4)
        before = copy.deepcopy(book)
        attach(book, path)
        if normalise(book) != before:
            changed.append(write(book, path))
    return changed


def link_notebook(path: Path) -> str:
    """A link to a notebook by its title."""
    title = nbformat.read(path, 4).cells[0].source.splitlines()[0].removeprefix("# ")
    return f"[{title}]({path.name})"
