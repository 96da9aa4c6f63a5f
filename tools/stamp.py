"""Whether a notebook's outputs are of its own code and of the data and records that it reads.

A stamp is written when a notebook is executed, into its metadata (`unbraid.stamp`):

- code: a digest of its code cells;
- files: the digests of what it read of results/, of data/ and of the drawings beside it. A file of
  a publisher counts as its source, wherever it lies, by the digests in sources.toml; a metrics.json
  by its figures, without its protocol;
- profile and versions.

All of it is content: a fresh clone and the machine of the author give the same stamp. Code counts
by its syntax tree, and tables in TOML by their values, so words and layout make nothing stale.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import platform
import tomllib
from importlib.metadata import version
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from unbraid.data.fetch import SOURCES, cache_directory, mirror_directory

from tools.files import ROOT, tags

FIELDS = {"code", "files", "profile", "versions"}
PACKAGES = ("torch", "numpy", "scikit-learn")
FOLDERS = ("results/", "data/", "notebooks/")  # of the clone, what is read of them
TEXTS = (".json", ".csv", ".md", ".txt", ".svg")
MISSING = "missing"


def extract_code(book: NotebookNode) -> str:
    """The code cells of a notebook as one program in plain Python."""
    transform = TransformerManager().transform_cell
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    cells = [cell for cell in cells if "injected-parameters" not in tags(cell)]
    return "\n".join(transform(cell.source) for cell in cells)


def digest_code(source: str) -> str:
    """The digest of a program."""
    return digest_text(write_program(source))


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


def write_stamp(book: NotebookNode, entries: list[list[str]], profile: str) -> dict:
    """The stamp of a notebook: its code, what a run has read (`recording.read_log`), and how."""
    names = set()
    for event, thing in entries:
        names.add(f"data/{thing}" if event == "unbraid.source" else name_read(Path(thing)))
    read = {name: digest_file(name) for name in names - {""}}
    files = {name: digest for name, digest in sorted(read.items()) if digest != MISSING}
    code = digest_code(extract_code(book))
    return {"code": code, "files": files, "profile": profile, "versions": read_versions()}


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
    return name if name.startswith(FOLDERS) and path.suffix != ".ipynb" else ""


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
    elif path.name == "metrics.json":
        content = json.dumps(json.loads(content) | {"protocol": None}).encode()
    elif path.suffix in TEXTS:
        content = content.replace(b"\r\n", b"\n")  # as git may check it out on Windows
    return hashlib.sha256(content).hexdigest()[:12]


def compare(notebook: Path) -> list[str]:
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
    if digest_code(extract_code(book)) != stamp["code"]:
        reasons.append("its own code cells changed")
    files = {name: digest_file(name) for name in stamp["files"]}
    return reasons + name_changes(stamp["files"], files)


def name_changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """One sentence for each file whose digest is no longer the one in a stamp."""
    changed = [name for name in sorted(before) if before[name] != now[name]]
    return [f"{name} {'is gone' if now[name] == MISSING else 'changed'}" for name in changed]
