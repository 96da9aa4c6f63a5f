"""Generated cells: the last one of each notebook, and a paper's claims in a part's first one."""

from __future__ import annotations

import ast
import copy
from importlib.util import resolve_name
from pathlib import Path

import nbformat
import unbraid
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from papers import claims
from tools.files import normalise, select_notebooks, tags, write
from tools.stamp import extract_code

LIBRARY = Path(unbraid.__file__).resolve().parent
PAGES = ("notation", "glossary", "bibliography")
LOOK_UP = "Look up: " + " · ".join(f"[{page}](../docs/{page}.md)" for page in PAGES)


def attach(book: NotebookNode, notebook: Path) -> None:
    """Give a notebook the footer of its place in the course, instead of the one it may have.

    A cell tagged as the head of a part gets the table of its paper's claims. notebook: where it
    lies, or will lie, among the others.
    """
    papers = {number: paper for paper, number in claims.PAPERS.items()}
    for cell in book.cells:
        if claims.HEAD in tags(cell):
            cell.source = claims.render_head(papers[notebook.name[:2]])
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


def read_imports(source: str, package: str = "") -> list[tuple[str, str]]:
    """Each name that a program imports, and its origin: ("load", "unbraid.data.load")."""
    pairs = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            pairs += [(alias.asname or alias.name, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            pairs += [(name.asname or name.name, f"{origin}.{name.name}") for name in node.names]
    return pairs


def find_file(module: str, library: Path) -> Path | None:
    """The file of one of the library's modules, None for another name."""
    path = library.parent / Path(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    is_ours = module.partition(".")[0] == library.name
    return next((file for file in candidates if is_ours and file.is_file()), None)


def find_home(dotted: str, library: Path) -> tuple[str, str]:
    """The module of the library that a dotted name means or that defines it, and its name there.

    The name is "" for a module; both are "" for what is not the library's. A package that only
    passes a name on is not its home.
    """
    module = dotted
    while module and not find_file(module, library):
        module = module.rpartition(".")[0]
    name = dotted.removeprefix(module).strip(".") if module else ""
    file = find_file(module, library)
    if name and file and file.name == "__init__.py":
        passed_on = dict(read_imports(file.read_text(encoding="utf-8"), module))
        if name in passed_on:
            return find_home(passed_on[name], library)
    return module, name


def find_homes(source: str, library: Path) -> list[tuple[str, str]]:
    """The homes of what a program imports of the library."""
    homes = {find_home(origin, library) for _, origin in read_imports(source)}
    return sorted(homes - {("", "")})
