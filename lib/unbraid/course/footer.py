"""The last cell of every notebook: the map, its neighbours, where to look up, the code it uses."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from unbraid.course.files import tags
from unbraid.course.freshness import extract_code
from unbraid.course.reach import LIBRARY, find_home, parse_module, read_library

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


def link_notebook(path: Path) -> str:
    """A link to a notebook by its title."""
    title = nbformat.read(path, 4).cells[0].source.splitlines()[0].removeprefix("# ")
    return f"[{title}]({path.name})"


def link_sources(book: NotebookNode) -> list[str]:
    """A link to each of the library's files that the code imports from, with the names it takes."""
    used: dict[str, set[str]] = {}
    for origin in parse_module("", "\n".join(extract_code(book))).imports.values():
        module, name = find_home(origin, read_library(LIBRARY))
        used.setdefault(module, set()).add(name)
    links = []
    for module in sorted(used.keys() - {""}):
        path = Path(*module.split("."))
        file = path / "__init__.py" if (LIBRARY.parent / path).is_dir() else path.with_suffix(".py")
        names = ", ".join(f"`{name}`" for name in sorted(used[module] - {""}))
        title = module.partition(".")[2] or module
        links.append(f"[{title}](../lib/{file.as_posix()}) {names}".strip())
    return links
