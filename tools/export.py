"""Chapters as modules: what a notebook defines, for those who train a model of the course again.

`python -m tools export` writes lib/unbraid_course/lessons/n12.py from notebook 12, and so on. What
the library's own models consist of goes to lib/unbraid/models: the methods do not import the
course. A module has the functions and classes of the page's own cells, word for word, with the
imports and the constants that they need. Left out is what belongs to an exercise, what draws, what
needs other things of the page, such as its data, and of a page of instruments what its workshop
does not need.
"""

import ast
from collections.abc import Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path

from unbraid.files import write_atomically
from unbraid_course.lessons import list_free, read_statements
from unbraid_course.workshop import EDITIONS, NUMBERS

from tools import files

FOLDER = files.ROOT / "lib" / "unbraid_course" / "lessons"
CHAPTERS = [path.stem[1:] for path in sorted(FOLDER.glob("n[0-9]*.py"))]  # a new one: empty
SHARED = ["PairEncoder", "Encoder", "UnorderedFrames", "kl", "draw", "dense"]
METHODS = {"11": ("lesson_a", []), "22": ("lesson_b", SHARED)}  # in unbraid.models: all, or these
DRAWING = {"plt", "plots"}
MEASURING = {  # with which papers/ measures, or tell: these alone
    "15": ["know", "read_scores", "name_grouping"],
    "23": ["coherence", "count_nearer"],
}
INSTRUMENTS = {*EDITIONS} - {*NUMBERS.values()}  # the workshop's without a model


def renew() -> list[Path]:
    """Write all chapters; returns their files."""
    texts = write_modules()
    for path, text in texts.items():
        write_atomically(path, text.encode())
    return [*texts]


def write_modules() -> dict[Path, str]:
    """The source of each module, by its file."""
    texts = {FOLDER / f"n{number}.py": write_module(number) for number in CHAPTERS}
    for number, (name, shared) in METHODS.items():
        path = files.ROOT / "lib" / "unbraid" / "models" / f"{name}.py"
        texts[path] = write_module(number, only=shared)
    return texts


def write_module(number: str, folder: Path | None = None, only: Sequence[str] = ()) -> str:
    """The source of a chapter's module. folder: of the notebooks, else those of the clone.

    only: the definitions that are wanted, by default all but those that stand in unbraid.models.
    """
    page = Page(*files.select_notebooks(folder, number))
    module, shared = METHODS.get(number, ("", []))
    if not only:
        page.take_from(module, shared)
    only = only or MEASURING.get(number, ())
    wanted = [name for name in page.list_kept() if name in only or not only]
    if number in INSTRUMENTS:
        workshop = import_module(f"unbraid_course.workshop.n{number}")
        needed = page.find_needed({*workshop.WANTED, *getattr(workshop, "TAKEN", ())})
        wanted = [name for name in wanted if name in needed]
    needed = set().union(*(page.uses[name] for name in wanted)) - set(wanted)
    constants = [name for name in page.sources if name in needed and page.is_constant(name)]
    needed = needed.union(*(page.uses[name] for name in constants)) - set(constants)
    if not only:
        needed |= {*shared}  # also those that only the workshop takes from here

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

    def take_from(self, module: str, names: Sequence[str]) -> None:
        """Import these definitions from a module of unbraid.models, where they stand."""
        for name in names:
            self.imports[name] = f"unbraid.models.{module}", name
            self.definitions.remove(name)
            del self.sources[name], self.uses[name]

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
        lines, ours = [], ("unbraid", "unbraid_course", "papers")
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
