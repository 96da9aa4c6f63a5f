"""Chapters as modules: what a notebook defines, for those who train a model of the course again.

`python -m tools export` writes lib/unbraid/lessons/n11.py from notebook 11, and so on. A module has
the functions and classes of the page's own cells, word for word, with the imports and the
constants that they need. Left out is what belongs to an exercise, what draws, what needs other
things of the page, such as its data, and of a page of instruments what its workshop does not need.
"""

import ast
from importlib import import_module
from itertools import groupby
from pathlib import Path

from unbraid.course.workshop import EDITIONS, NUMBERS
from unbraid.files import write_atomically
from unbraid.lessons import list_free, read_statements

from tools import files

FOLDER = files.ROOT / "lib" / "unbraid" / "lessons"
CHAPTERS = [path.stem[1:] for path in sorted(FOLDER.glob("n[0-9]*.py"))]  # a new one: empty
DRAWING = {"plt", "plots"}
INSTRUMENTS = {*EDITIONS} - {*NUMBERS.values()}  # the workshop's without a model


def renew() -> list[Path]:
    """Write all chapters; returns their files."""
    paths = [FOLDER / f"n{number}.py" for number in CHAPTERS]
    for number, path in zip(CHAPTERS, paths, strict=True):
        write_atomically(path, write_module(number).encode())
    return paths


def write_module(number: str, folder: Path | None = None) -> str:
    """The source of a chapter's module. folder: of the notebooks, else those of the clone."""
    page = Page(*files.select_notebooks(folder, number))
    wanted = page.list_kept()
    if number in INSTRUMENTS:
        workshop = import_module(f"unbraid.course.workshop.n{number}")
        needed = page.find_needed({*workshop.WANTED, *getattr(workshop, "TAKEN", ())})
        wanted = [name for name in wanted if name in needed]
    needed = set().union(*(page.uses[name] for name in wanted)) - set(wanted)
    constants = [name for name in page.sources if name in needed and page.is_constant(name)]
    needed = needed.union(*(page.uses[name] for name in constants)) - set(constants)

    values = [page.sources[name] for name in constants]
    title = f'"""What notebook {number} defines; written by `python -m tools export`."""'
    head = [title, page.write_imports(needed), "\n".join(values)]
    definitions = [page.sources[name] for name in wanted]
    return "\n\n\n".join(["\n\n".join(filter(None, head)), *definitions]) + "\n"


class Page:
    """What the cells of a notebook define, in their order.

    sources, uses: of each definition and constant, its text, and the names that it takes from
    elsewhere. imports: of each imported name, its module ("" for a module) and what is imported.
    """

    def __init__(self, path: Path):
        self.sources: dict[str, str] = {}
        self.uses: dict[str, set[str]] = {}
        self.imports: dict[str, tuple[str, str]] = {}
        self.definitions: set[str] = set()
        for node, source in read_statements(path):
            self.take(node, source)

    def take(self, node: ast.stmt, source: str) -> None:
        """Note what a statement brings."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                place = getattr(node, "module", "")
                self.imports[alias.asname or alias.name] = place, ast.unparse(alias)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            self.sources[node.name] = source
            self.uses[node.name] = list_free(node)
            self.definitions.add(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            self.sources[node.targets[0].id] = source
            self.uses[node.targets[0].id] = list_free(node.value)

    def list_kept(self) -> list[str]:
        """The definitions that draw nothing, and need of the page only what it defines."""
        known = {name for name in self.sources if self.is_constant(name)}
        known |= self.imports.keys() - DRAWING
        kept = [name for name in self.sources if name in self.definitions]
        while lost := [name for name in kept if self.uses[name] - known - {*kept}]:
            kept = [name for name in kept if name not in lost]
        return kept

    def find_needed(self, names: set[str]) -> set[str]:
        """These definitions and those that they use."""
        used = set().union(*(self.uses[name] for name in names)) & self.definitions
        return names if used <= names else self.find_needed(names | used)

    def is_constant(self, name: str) -> bool:
        """Whether a name is in capitals, and its value follows from imports and constants alone."""
        if name not in self.sources or name in self.definitions or not name.isupper():
            return False
        used = self.uses[name] - (self.imports.keys() - DRAWING) - {name}  # its value before
        return all(map(self.is_constant, used))

    def write_imports(self, names: set[str]) -> str:
        """The statements that bring those of the names that are imported."""
        lines, ours = [], ("unbraid", "papers")
        kept = sorted({self.imports[name] for name in names & self.imports.keys()})
        for module, pairs in groupby(kept, lambda pair: pair[0]):
            if module:
                lines.append(f"from {module} import {', '.join(name for _, name in pairs)}")
            else:
                lines += [f"import {name}" for _, name in pairs]
        lines.sort(
            key=lambda line: (line.split()[1].split(".")[0] in ours, line.startswith("from"))
        )
        return "\n".join(lines)
