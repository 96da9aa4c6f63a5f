"""Whether a notebook's outputs are what this commit computes: a stamp of what they were made from.

The stamp is written when a notebook is executed, into its metadata (`unbraid.stamp`):

- code: a digest of its code cells, without comments and layout;
- library: digests of the functions, classes and constants that it reaches (`reach`);
- settings: digests of the sections of profiles.toml that were loaded, as they were resolved;
- files: digests of what it read of results/, data/ and the library's other files. A file of a
  publisher counts as its source, wherever it lies, by the digests in sources.toml;
- profile and versions.

All of it is content: a fresh clone and the machine of the author give the same stamp.
"""

from __future__ import annotations

import ast
import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from unbraid import settings
from unbraid.course.files import tags
from unbraid.course.reach import LIBRARY, digest_reach, digest_text, write_tree
from unbraid.data.fetch import SOURCES, cache_directory, mirror_directory, repository_root

PACKAGES = ("torch", "numpy", "scikit-learn")
FOLDERS = ("results/", "data/", "notebooks/", "lib/unbraid/")  # of the clone, what is read of them
NOT_READ = (  # what is stamped otherwise
    "lib/unbraid/profiles.toml",
    "lib/unbraid/data/",
    "lib/unbraid/course/",
)
TEXTS = (".toml", ".json", ".csv", ".md", ".txt", ".mplstyle")
MISSING = "missing"


def extract_code(book: NotebookNode) -> list[str]:
    """The sources of the code cells, as plain Python."""
    transform = TransformerManager().transform_cell
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    return [transform(cell.source) for cell in cells if "injected-parameters" not in tags(cell)]


def stamp_code(book: NotebookNode, library: Path = LIBRARY) -> dict:
    """The part of a stamp that is known before anything runs: the code, and what it reaches."""
    sources = extract_code(book)
    trees = [write_tree(ast.parse(source)) for source in sources]
    reached = digest_reach("\n".join(sources), library)
    return {"code": digest_text("\n".join(trees)), "library": reached}


def stamp_reads(entries: list[list[str]]) -> dict:
    """The part of a stamp that a run tells. entries: of `recording.read_log`."""
    sections, names = set(), set()
    for event, *arguments in entries:
        if event == "unbraid.settings":
            sections.add(" ".join(arguments))
        elif event == "unbraid.source":
            names.add(f"data/{arguments[0]}")
        elif name := name_read(Path(arguments[0])):
            names.add(name)
    files = {name: digest_file(name) for name in sorted(names)}
    return {
        "settings": {name: digest_section(name) for name in sorted(sections)},
        "files": {name: digest for name, digest in files.items() if digest != MISSING},
    }


def stamp_versions() -> dict[str, str]:
    """Python's minor version and those of the packages that figures depend on."""
    packages = {name: version(name).split("+")[0] for name in PACKAGES}
    return {"python": ".".join(platform.python_version_tuple()[:2])} | packages


def name_read(path: Path) -> str:
    """What a file that was read is called in a stamp; "" for one that does not count."""
    root = repository_root() or Path()
    for folder in (root / "data", cache_directory(), mirror_directory()):
        if folder and path.is_relative_to(folder):
            source = path.relative_to(folder).parts[0]
            if source in SOURCES:
                return f"data/{source}"
    if path.is_relative_to(cache_directory()) or not path.is_relative_to(root):
        return ""
    name = path.relative_to(root).as_posix()
    is_content = name.startswith(FOLDERS) and not name.startswith(NOT_READ)
    return name if is_content and path.suffix != ".ipynb" else ""


def digest_file(name: str) -> str:
    """The digest of what a stamp names: of a source, or of a file of the clone."""
    if source := SOURCES.get(name.removeprefix("data/")):
        return source.fingerprint[:12]
    path = (repository_root() or Path()) / name
    if not path.is_file():
        return MISSING
    content = path.read_bytes()
    if path.suffix in TEXTS:
        content = content.replace(b"\r\n", b"\n")  # as git may check it out on Windows
    return hashlib.sha256(content).hexdigest()[:12]


def digest_section(name: str) -> str:
    """The digest of a section of profiles.toml at a profile, "independent.factored quick"."""
    section, profile = name.split(" ")
    values = settings.read_sections().get(section)
    if values is None:
        return MISSING
    return digest_text(repr(sorted(settings.resolve(values, profile).items())))


def compare(notebook: Path, library: Path = LIBRARY) -> list[str]:
    """What differs between a notebook's stamp and this clone, and makes its outputs stale.

    Other versions of packages do not, as the course runs with more than one.
    """
    book = nbformat.read(notebook, 4)
    stamp = book.metadata.get("unbraid", {}).get("stamp")
    if not stamp:
        return ["it has no stamp: it has not been executed by make notebooks"]
    reasons = []
    if stamp["profile"] != "quick":
        reasons.append(f"it was executed at {stamp['profile']}, not at quick")
    now = stamp_code(book, library)
    if now["code"] != stamp["code"]:
        reasons.append("its own code cells changed")
    files = {name: digest_file(name) for name in stamp["files"]}
    sections = {name: digest_section(name) for name in stamp["settings"]}
    reasons += name_changes(stamp["library"], now["library"])
    reasons += name_changes(stamp["settings"], sections, "settings of ")
    reasons += name_changes(stamp["files"], files)
    return reasons


def name_changes(before: dict[str, str], now: dict[str, str], kind: str = "") -> list[str]:
    """One sentence for each name whose digest differs between two parts of stamps."""
    sentences = []
    for name in sorted({*before, *now}):
        if name not in before:
            sentences.append(f"{kind}{name} is reached now")
        elif now.get(name, MISSING) == MISSING:
            sentences.append(f"{kind}{name} is gone, or reached no more")
        elif before[name] != now[name]:
            sentences.append(f"{kind}{name} changed")
    return sentences
