"""The last cell of every notebook: the map, its neighbours, where to look up, the code it uses."""

from __future__ import annotations

import copy
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from tools.files import normalise, select_notebooks, tags, write
from tools.stamp import LIBRARY, extract_code, find_file, find_homes

PAGES = ("notation", "glossary", "bibliography")
LOOK_UP = "Look up: " + " · ".join(f"[{page}](../docs/{page}.md)" for page in PAGES)


def attach(book: NotebookNode, notebook: Path) -> None:
    """Give a notebook the footer of its place in the course, instead of the one it may have.

    notebook: where it lies, or will lie, among the others.
    """
    book.cells = [cell for cell in book.cells if "footer" not in tags(cell)]
    notebooks = sorted({*notebook.parent.glob("[0-9]*.ipynb"), notebook})
    place = notebooks.index(notebook)
    # The first notebook is the map itself; from there the way leads to the first page.
    ways = [f"[Map]({notebooks[0].name})" if place else "[First page](../README.md)"]
    if place:
        ways.append(f"Previous: {link_notebook(notebooks[place - 1])}")
    if place + 1 < len(notebooks):
        ways.append(f"Next: {link_notebook(notebooks[place + 1])}")
    lines = ["---", " · ".join(ways), LOOK_UP]
    if links := link_sources(book):
        lines.append(f"Source: {' · '.join(links)}")
    book.cells.append(new_markdown_cell("\n\n".join(lines), metadata={"tags": ["footer"]}))


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


def link_sources(book: NotebookNode) -> list[str]:
    """A link to each of the library's files that the code imports from, with the names it takes."""
    used: dict[str, list[str]] = {}
    for module, name in find_homes(extract_code(book), LIBRARY):
        used.setdefault(module, []).extend([f"`{name}`"] if name else [])
    links = []
    for module, names in used.items():
        file = find_file(module, LIBRARY).relative_to(LIBRARY.parent).as_posix()
        title = module.partition(".")[2] or module
        links.append(f"[{title}](../lib/{file}) {', '.join(names)}".strip())
    return links
