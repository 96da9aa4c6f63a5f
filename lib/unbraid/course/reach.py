"""Which functions, classes and constants of the library some code reaches, and their digests.

Names are followed without running anything: from the code through its imports to a definition of
the library, from there to the names that this definition uses, and so on. A class counts as a
whole; of a module that is imported, the attributes that are read off its name count. A digest is
one of the syntax tree, so that comments, docstrings and layout do not count; it holds under each
version of Python that the course supports.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1]
EFFECTS = "(what it does when imported)"  # the name of statements that define nothing
Place = tuple[str, str]  # of a definition: the module's name, and its own


@dataclass
class Module:
    """A file of the library, or a notebook's code.

    statements: those that define a name, by the name; what defines nothing stands under `EFFECTS`.
    imports: the dotted origin of each imported name.
    """

    name: str
    statements: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)


def parse_module(name: str, source: str) -> Module:
    """Sort a file's statements by what they define."""
    module = Module(name)
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            module.imports |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module.imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for statement in tree.body:
        if not (isinstance(statement, ast.Import | ast.ImportFrom) or is_docstring(statement)):
            for defined in names_defined(statement):
                module.statements.setdefault(defined, []).append(statement)
    return module


def names_defined(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines, else `EFFECTS`."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    names = set()
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return sorted(names) or [EFFECTS]


def is_docstring(statement: object) -> bool:
    """Whether a statement is nothing but a constant."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


@functools.cache
def read_library(folder: Path) -> dict[str, Module]:
    """All modules of the library by their dotted names."""
    modules = {}
    for path in sorted(folder.rglob("*.py")):
        parts = [folder.name, *path.relative_to(folder).with_suffix("").parts]
        name = ".".join(parts).removesuffix(".__init__")
        modules[name] = parse_module(name, path.read_text(encoding="utf-8"))
    return modules


def find_home(dotted: str, library: dict[str, Module]) -> Place:
    """The module that defines what a dotted name means, and its name there: "" for a module.

    Both are "" for a name that is not the library's.
    """
    owner = dotted
    while owner and owner not in library:
        owner = owner.rpartition(".")[0]
    name = dotted.removeprefix(owner).strip(".") if owner else ""
    if owner and name in library[owner].imports:
        return find_home(library[owner].imports[name], library)
    return owner, name


def find_uses(module: Module, name: str, library: dict[str, Module]) -> set[Place]:
    """The definitions of the library that one definition uses, and what its imports do."""
    uses = {(find_home(origin, library)[0], EFFECTS) for origin in module.imports.values()}
    uses.add((module.name, EFFECTS))
    for statement in module.statements.get(name, []):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                uses.add((module.name, node.id))
                uses.add(find_home(module.imports.get(node.id, ""), library))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                origin = module.imports.get(node.value.id, "")
                uses.add(find_home(f"{origin}.{node.attr}", library))
    return uses


@functools.cache
def link_definition(folder: Path, place: Place) -> tuple[str, set[Place]]:
    """The digest of a definition of the library, and which others it uses."""
    library = read_library(folder)
    module = library[place[0]]
    statements = module.statements[place[1]]
    used = set()
    for statement in statements:
        used |= {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    origins = sorted((name, module.imports[name]) for name in used & module.imports.keys())
    digest = digest_text(f"{write_tree(statements)} {origins}")
    return digest, find_uses(module, place[1], library)


def digest_reach(source: str, folder: Path = LIBRARY) -> dict[str, str]:
    """The digest of each definition of the library that some code reaches, by its dotted name."""
    library = read_library(folder)
    code = parse_module("", source)
    code.statements = {EFFECTS: ast.parse(source).body}
    digests = {}
    seen = set()
    waiting = find_uses(code, EFFECTS, library)
    while waiting:
        place = waiting.pop()
        module = library.get(place[0])
        if place in seen or not module:
            continue
        seen.add(place)
        if place[1] in module.statements:
            digests[".".join(place)], uses = link_definition(folder, place)
            waiting |= uses
        elif place[1] == EFFECTS:
            waiting |= find_uses(module, EFFECTS, library)
    return dict(sorted(digests.items()))


def write_tree(node: object) -> str:
    """A syntax tree as text, without docstrings and places; the same for each version of Python."""
    if isinstance(node, list):
        return f"[{' '.join(write_tree(part) for part in node)}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = []
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(value, list):
            value = [part for part in value if not is_docstring(part)]
        if isinstance(node, ast.JoinedStr):  # Python 3.12 puts empty texts into some
            value = [part for part in value if getattr(part, "value", None) != ""]
        # Empty fields are left out: later versions of Python have some that earlier ones lack.
        if name != "kind" and value is not None and value != []:
            parts.append(f"{name}={write_tree(value)}")
    return f"{type(node).__name__}({' '.join(parts)})"


def digest_text(text: str) -> str:
    """The first twelve characters of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
