"""Which functions, classes and constants of the library some code reaches, and their digests.

Names are followed without running anything: from the code through its imports to a definition of
the library, from there to the names that this definition uses, and so on. What is followed is at
least what is used: a class counts as a whole, and a module that is handed about as a value counts
with all its names. A digest is one of the syntax tree, so that comments, docstrings and layout do
not count; it holds under each version of Python that the course supports.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1]
EFFECTS = "(what it does when imported)"  # the name of statements that define nothing


@dataclass
class Module:
    """A file of the library, or a notebook's code.

    statements: those that define a name, by the name; what defines nothing stands under `EFFECTS`.
    imports: the dotted origin of each imported name.
    """

    name: str
    statements: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)


Place = tuple[str, str]  # of a definition: the module's name, and its own


def parse_module(name: str, source: str, package: str = "") -> Module:
    """Sort a file's statements by what they define. package: where relative imports start from."""
    module = Module(name)
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module.imports |= read_import(node, package)
    for statement in tree.body:
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            for defined in names_defined(statement):
                module.statements.setdefault(defined, []).append(statement)
    return module


def read_import(node: ast.Import | ast.ImportFrom, package: str) -> dict[str, str]:
    """The names that an import binds, with their dotted origins."""
    if isinstance(node, ast.Import):
        bound = {}
        for alias in node.names:
            # `import a.b` binds a, and `import a.b as c` binds c to a.b.
            root = alias.name.split(".")[0]
            bound[alias.asname or root] = alias.name if alias.asname else root
        return bound
    base = node.module or ""
    if node.level:
        parts = package.split(".")
        base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
    return {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}


def names_defined(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines, else `EFFECTS`."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if names := sorted(names_bound(targets)):
            return names
    if is_docstring(statement):
        return []
    return [EFFECTS]


def is_docstring(statement: ast.stmt) -> bool:
    """Whether a statement is nothing but a text."""
    value = getattr(statement, "value", None)
    return (
        isinstance(statement, ast.Expr)
        and isinstance(value, ast.Constant)
        and isinstance(value.value, str)
    )


@functools.cache
def read_library(folder: Path) -> dict[str, Module]:
    """All modules of the library by their dotted names."""
    modules = {}
    for path in sorted(folder.rglob("*.py")):
        parts = [folder.name, *path.relative_to(folder).with_suffix("").parts]
        package = ".".join(parts[:-1])
        name = package if parts[-1] == "__init__" else ".".join(parts)
        modules[name] = parse_module(name, path.read_text(encoding="utf-8"), package)
    return modules


def find_places(chain: list[str], module: Module, library: dict[str, Module]) -> Iterator[Place]:
    """The definitions that a dotted name means in a module: none, one, or all of a module's."""
    first, *rest = chain
    if first in module.statements:
        yield module.name, first
    if first not in module.imports:
        return
    dotted = ".".join([module.imports[first], *rest])
    owner = find_module(dotted, library)
    inner = dotted.removeprefix(owner).strip(".")
    if owner and inner:
        yield from find_places(inner.split("."), library[owner], library)
    elif owner:
        yield from ((owner, name) for name in library[owner].statements)


def find_home(dotted: str, library: dict[str, Module]) -> tuple[str, str]:
    """The module that defines what a dotted name means, and its name there: "" for a module."""
    owner = find_module(dotted, library)
    name = dotted.removeprefix(owner).strip(".")
    if owner and name in library[owner].imports:
        return find_home(library[owner].imports[name], library)
    return owner, name


def find_module(dotted: str, library: dict[str, Module]) -> str:
    """The module of the library that a dotted name lies in, or is; "" for any other name."""
    while dotted and dotted not in library:
        dotted = dotted.rpartition(".")[0]
    return dotted


def find_chains(node: ast.AST) -> Iterator[list[str]]:
    """The dotted names in a piece of code, each as a list of its parts."""
    if isinstance(node, ast.Name):
        yield [node.id]
        return
    parts = []
    inner = node
    while isinstance(inner, ast.Attribute):
        parts.insert(0, inner.attr)
        inner = inner.value
    if parts and isinstance(inner, ast.Name):
        yield [inner.id, *parts]
        return
    for child in ast.iter_child_nodes(node):
        yield from find_chains(child)


def names_bound(pieces: Iterable[ast.AST]) -> set[str]:
    """Arguments and names assigned to anywhere in these pieces of code."""
    nodes = [node for piece in pieces for node in ast.walk(piece)]
    arguments = {node.arg for node in nodes if isinstance(node, ast.arg)}
    names = [node for node in nodes if isinstance(node, ast.Name)]
    return arguments | {node.id for node in names if isinstance(node.ctx, ast.Store)}


def used_places(module: Module, name: str, library: dict[str, Module]) -> set[Place]:
    """The definitions of the library that one definition uses, itself left out."""
    statements = module.statements.get(name, [])
    bound = names_bound(statements)
    places = {(find_module(origin, library), EFFECTS) for origin in module.imports.values()}
    for statement in statements:
        for chain in find_chains(statement):
            # A lone name that is bound here, too, is a variable and not the module of that name.
            is_variable = len(chain) == 1 and chain[0] in bound
            if not (is_variable and module.imports.get(chain[0]) in library):
                places |= set(find_places(chain, module, library))
    return places - {(module.name, name)}


@functools.cache
def link_library(folder: Path) -> dict[Place, tuple[str, set[Place]]]:
    """The digest of each definition of the library, and which others it uses."""
    library = read_library(folder)
    links = {}
    for module in library.values():
        for name in {EFFECTS, *module.statements}:
            uses = used_places(module, name, library) | {(module.name, EFFECTS)}
            links[module.name, name] = (digest_definition(module, name), uses)
    return links


def digest_reach(source: str, folder: Path = LIBRARY) -> dict[str, str]:
    """The digest of each definition of the library that some code reaches, by its dotted name."""
    code = parse_module("", source)
    code.statements = {EFFECTS: ast.parse(source).body}
    links = link_library(folder)
    library = read_library(folder)
    digests = {}
    seen = set()
    waiting = used_places(code, EFFECTS, library)
    while waiting:
        place = waiting.pop()
        if place in seen or not place[0]:
            continue
        seen.add(place)
        digest, uses = links[place]
        waiting |= uses
        if place[1] in library[place[0]].statements:
            digests[".".join(place)] = digest
    return dict(sorted(digests.items()))


def digest_definition(module: Module, name: str) -> str:
    """The digest of what defines a name, and of what the imported names in it stand for."""
    statements = module.statements.get(name, [])
    chains = [chain for statement in statements for chain in find_chains(statement)]
    origins = {chain[0]: module.imports.get(chain[0]) for chain in chains}
    known = sorted((used, origin) for used, origin in origins.items() if origin)
    return digest_text(f"{[write_tree(statement) for statement in statements]} {known}")


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
