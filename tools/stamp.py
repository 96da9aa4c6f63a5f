"""Whether a notebook's outputs are what this commit computes: a stamp of what they were made from.

The stamp is written when a notebook is executed, into its metadata (`unbraid.stamp`):

- code: a digest of its code cells;
- files: the digests of the files behind its outputs: the modules of the library that it imports,
  and that these import; and what it read of the library's tables, of results/ and of data/. A file
  of a publisher counts as its source, wherever it lies, by the digests in sources.toml;
- profile and versions.

All of it is content: a fresh clone and the machine of the author give the same stamp. Code counts
by its syntax tree, and tables in TOML by their values, so words and layout make nothing stale.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import platform
import tomllib
from importlib.metadata import version
from importlib.util import resolve_name
from pathlib import Path

import nbformat
import unbraid
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from unbraid.data.fetch import SOURCES, cache_directory, mirror_directory

from tools.files import ROOT, tags

LIBRARY = Path(unbraid.__file__).resolve().parent
FIELDS = {"code", "files", "profile", "versions"}
PACKAGES = ("torch", "numpy", "scikit-learn")
FOLDERS = ("results/", "data/", "notebooks/", "lib/unbraid/")  # of the clone, what is read of them
LISTS_OF_SOURCES = "lib/unbraid/data/"  # the sources that are read of them count
TEXTS = (".json", ".csv", ".md", ".txt", ".mplstyle", ".svg")
MISSING = "missing"


def extract_code(book: NotebookNode) -> str:
    """The code cells of a notebook as one program in plain Python."""
    transform = TransformerManager().transform_cell
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    cells = [cell for cell in cells if "injected-parameters" not in tags(cell)]
    return "\n".join(transform(cell.source) for cell in cells)


@functools.cache
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


def find_homes(source: str, library: Path, package: str = "") -> list[tuple[str, str]]:
    """The homes of what a program imports of the library."""
    homes = {find_home(origin, library) for _, origin in read_imports(source, package)}
    return sorted(homes - {("", "")})


def digest_library(source: str, library: Path = LIBRARY) -> dict[str, str]:
    """The digests of the library's files that a program imports, and that these import."""
    digests: dict[str, str] = {}
    waiting = find_homes(source, library)
    while waiting:
        file = find_file(waiting.pop()[0], library)
        name = f"lib/{file.relative_to(library.parent).as_posix()}"
        if name not in digests:
            text = file.read_text(encoding="utf-8")
            package = ".".join(file.parent.relative_to(library.parent).parts)
            homes = find_homes(text, library, package)
            digests[name] = digest_code(text, homes)
            waiting += homes
    return digests


def digest_code(source: str, homes: list[tuple[str, str]]) -> str:
    """The digest of a program and of where the names that it imports are defined."""
    return digest_text(f"{write_program(source)} {homes}")


@functools.cache
def write_program(source: str) -> str:
    """A program's syntax tree as text."""
    return write_tree(ast.parse(source))


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


def is_docstring(statement: object) -> bool:
    """Whether a statement is nothing but a constant."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def digest_text(text: str) -> str:
    """The first twelve characters of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def stamp_code(book: NotebookNode, library: Path = LIBRARY) -> dict:
    """The part of a stamp that is known before anything runs: the code, and what it imports."""
    source = extract_code(book)
    code = digest_code(source, find_homes(source, library))
    return {"code": code, "files": digest_library(source, library)}


def complete(stamp: dict, entries: list[list[str]], profile: str) -> dict:
    """The whole stamp: with what a run has read (`recording.read_log`), its profile, versions."""
    names = set()
    for event, thing in entries:
        names.add(f"data/{thing}" if event == "unbraid.source" else name_read(Path(thing)))
    read = {name: digest_file(name) for name in names - {""}}
    read = {name: digest for name, digest in read.items() if digest != MISSING}
    files = dict(sorted((stamp["files"] | read).items()))
    return stamp | {"files": files, "profile": profile, "versions": read_versions()}


def read_versions() -> dict[str, str]:
    """The versions of Python and of the packages that compute the outputs."""
    versions = {name: version(name).split("+")[0] for name in PACKAGES}
    return versions | {"python": ".".join(platform.python_version_tuple()[:2])}


def name_read(path: Path) -> str:
    """What a file that was read is called in a stamp; "" for one that does not count."""
    for folder in (ROOT / "data", cache_directory(), mirror_directory()):
        if folder and path.is_relative_to(folder):
            source = path.relative_to(folder).parts[0]
            if source in SOURCES:
                return f"data/{source}"
    if path.is_relative_to(cache_directory()) or not path.is_relative_to(ROOT):
        return ""
    name = path.relative_to(ROOT).as_posix()
    is_content = name.startswith(FOLDERS) and not name.startswith(LISTS_OF_SOURCES)
    return name if is_content and path.suffix != ".ipynb" else ""


def digest_file(name: str) -> str:
    """The digest of what a run has read: of a source, or of a file of the clone."""
    if source := SOURCES.get(name.removeprefix("data/")):
        return source.fingerprint[:12]
    path = ROOT / name
    if not path.is_file():
        return MISSING
    content = path.read_bytes()
    if path.suffix == ".toml":
        content = repr(tomllib.loads(content.decode())).encode()
    elif path.suffix in TEXTS:
        content = content.replace(b"\r\n", b"\n")  # as git may check it out on Windows
    return hashlib.sha256(content).hexdigest()[:12]


def compare(notebook: Path, library: Path = LIBRARY) -> list[str]:
    """What differs between a notebook's stamp and this clone, and makes its outputs stale.

    Other versions of packages do not, as the course runs with more than one.
    """
    book = nbformat.read(notebook, 4)
    stamp = book.metadata.get("unbraid", {}).get("stamp")
    if not stamp:
        return ["it has no stamp: it has not been executed by make notebooks"]
    if set(stamp) != FIELDS:
        return ["its stamp has the form of an earlier version: run make notebooks"]
    reasons = []
    if stamp["profile"] != "quick":
        reasons.append(f"it was executed at {stamp['profile']}, not at quick")
    now = stamp_code(book, library)
    if now["code"] != stamp["code"]:
        reasons.append("its own code cells changed")
    read = [name for name in stamp["files"] if not name.endswith(".py")]
    files = now["files"] | {name: digest_file(name) for name in read}
    return reasons + name_changes(stamp["files"], files)


def name_changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """One sentence for each file whose digest differs between two stamps."""
    sentences = []
    for name in sorted({*before, *now}):
        if name not in before:
            sentences.append(f"{name} is imported now")
        elif now.get(name, MISSING) == MISSING:
            sentences.append(f"{name} is gone, or imported no more")
        elif before[name] != now[name]:
            sentences.append(f"{name} changed")
    return sentences
