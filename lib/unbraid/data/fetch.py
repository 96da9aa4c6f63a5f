"""Where the course's real files come from, and the order of places to look in.

A file is looked for in data/ of the clone, in the cache, and in the folder that UNBRAID_MIRROR
names. `fetch` brings what is in none of them from its publisher into the cache. Wherever a file
lies, its SHA-256 must be that of `sources.toml` (or, for a set of many files, digests/SOURCE.txt).
"""

from __future__ import annotations

import functools
import hashlib
import io
import math
import os
import tomllib
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, NamedTuple

import numpy as np
import torch

from unbraid.checks import check_name
from unbraid.progress import progress_bar


class DataError(RuntimeError):
    """A data file is missing, damaged, or cannot be brought or written."""


def data_error(thing: object, expected: object, found: object, remedy: str) -> DataError:
    """A `DataError` that says what was expected, what was found, and what to do about it."""
    return DataError(f"{thing}\n  expected: {expected}\n  found: {found}\n  remedy: {remedy}")


class SourceFile(NamedTuple):
    """What a file must be."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Source:
    """One publisher's files. The folder of the same name holds them in data/, cache and mirror.

    datasets: what is read from the files. url: the address of the folder that holds them, or urls
    of single ones. archive: the address of a zip file that holds them by their last names. A source
    without any address travels with the clone.
    """

    name: str
    about: str
    licence: str
    citation: str
    datasets: list[str]
    files: dict[str, SourceFile]
    url: str = ""
    urls: dict[str, str] = field(default_factory=dict)
    archive: str = ""

    @property
    def remedy(self) -> str:
        """What brings a missing file."""
        if self.url or self.archive:
            return f"python -m unbraid data fetch {self.name}"
        clone = "set UNBRAID_HOME to a clone of the project, with which these files travel"
        return f"git checkout -- data/{self.name}" if repository_root() else clone

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the list of digests: one number for all files, which run records keep."""
        lines = [f"{file.sha256} {file.bytes} {name}\n" for name, file in self.files.items()]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def _read_sources() -> dict[str, Source]:
    here, sources = Path(__file__).parent, {}
    for name, row in tomllib.loads((here / "sources.toml").read_text(encoding="utf-8")).items():
        files = {path: SourceFile(**file) for path, file in row.pop("files", {}).items()}
        if not files:
            for line in (here / "digests" / f"{name}.txt").read_text(encoding="utf-8").splitlines():
                digest, size, path = line.split(" ", 2)
                files[path] = SourceFile(digest, int(size))
        sources[name] = Source(name=name, files=files, **row)
    return sources


SOURCES: dict[str, Source] = _read_sources()
SOURCES_OF: dict[str, list[str]] = {}  # of each dataset, the preferred source first
for _source in SOURCES.values():
    for _dataset in _source.datasets:
        SOURCES_OF.setdefault(_dataset, []).append(_source.name)


def repository_root() -> Path | None:
    """The clone: UNBRAID_HOME, or the folder above this file with notebooks/ and data/, or None."""
    if home := os.environ.get("UNBRAID_HOME"):
        return Path(home).expanduser().resolve()
    for folder in Path(__file__).resolve().parents:
        if (folder / "notebooks").is_dir() and (folder / "data").is_dir():
            return folder
    return None


def cache_directory() -> Path:
    """Where fetched files are kept: UNBRAID_CACHE, data/cache in the clone, or the user's cache."""
    if named := os.environ.get("UNBRAID_CACHE"):
        return Path(named).expanduser().resolve()
    root = repository_root()
    return root / "data" / "cache" if root else Path(_import_pooch().os_cache("unbraid"))


def locate(name: str) -> dict[str, Path]:
    """The path of each file of a source that lies somewhere, checked or not."""
    check_name("source", name, SOURCES)
    places = [cache_directory() / name]
    if mirror := os.environ.get("UNBRAID_MIRROR"):
        places.insert(0, Path(mirror).expanduser().resolve() / name)
    if root := repository_root():
        places.append(root / "data" / name)
    paths = {}
    for place in places:  # the last one wins
        for file in SOURCES[name].files:
            if (place / file).is_file():
                paths[file] = place / file
    return paths


@functools.cache
def _digest_once(path: Path, changed: int) -> str:
    """SHA-256 of a file; the time of its last change lets a changed file be read again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(name: str, only: Sequence[str] = ()) -> dict[str, str]:
    """The state of each file of a source: "ok", "damaged" or "missing". only: of some files."""
    paths, states = locate(name), {}
    for file in only or SOURCES[name].files:
        states[file] = "missing"
        if path := paths.get(file):
            digest = _digest_once(path, path.stat().st_mtime_ns)
            states[file] = "ok" if digest == SOURCES[name].files[file].sha256 else "damaged"
    return states


def find(name: str, only: Sequence[str] = ()) -> dict[str, Path] | None:
    """The path of each file of a source by its name, or None if a file is nowhere.

    only: the names of some of its files; by default all. Nothing is downloaded. Raises `DataError`
    for a damaged file, `ValueError` for an unknown source.
    """
    states, paths = verify(name, only), locate(name)
    for file, state in states.items():
        if state == "damaged":
            expected, remedy = SOURCES[name].files[file], f"remove it, then {SOURCES[name].remedy}"
            raise data_error(f"{paths[file]}: damaged", expected, "another digest", remedy)
    return None if "missing" in states.values() else {file: paths[file] for file in states}


def files(name: str, only: Sequence[str] = ()) -> dict[str, Path]:
    """As `find`, but raises `DataError` where files are missing, with the command that helps.

    Outside of a clone, where no `make data` has been run, what has an address is fetched instead.
    """
    paths, source = find(name, only), SOURCES[name]
    if paths is None and repository_root() is None and (source.url or source.archive):
        return fetch(name, only)
    if paths is None:
        missing = [file for file, state in verify(name, only).items() if state == "missing"]
        expected = (
            f"{missing[0]} in data/{name}, {cache_directory() / name}, or {name} in UNBRAID_MIRROR"
        )
        found = f"it and {len(missing) - 1} others missing"
        raise data_error(f"{name}: not at hand", expected, found, source.remedy)
    return paths


def fetch(name: str, only: Sequence[str] = ()) -> dict[str, Path]:
    """Download what is missing or damaged of a source into the cache; the path of each file.

    It says what it brings before it starts. A file appears whole or not at all, so that the next
    call goes on after an interruption. Raises `DataError`.
    """
    missing = [file for file, state in verify(name, only).items() if state != "ok"]
    source, folder = SOURCES[name], cache_directory() / name
    if missing and (origin := source.archive or source.url):
        size = f"{sum(source.files[file].bytes for file in missing) / 1e6:.1f} MB"
        print(f"{name}: fetching {len(missing)} files, {size}, from {origin}", flush=True)
        try:
            _download(source, missing, folder)
        except Exception as error:  # zipfile raises nearly anything for a broken archive.
            states = verify(name, missing)
            file = next((file for file in missing if states[file] != "ok"), missing[0])
            expected = f"it from {source.urls.get(file) or source.url or origin}"
            remedy = f"look at the network and at the room in UNBRAID_CACHE, then {source.remedy}; "
            remedy += f"or put the file at {folder / file}"
            raise data_error(f"{name}: {file} not fetched", expected, error, remedy) from error
    return files(name, only)


def _import_pooch() -> ModuleType:
    """The package that downloads, imported lazily, because it takes half a second."""
    with warnings.catch_warnings():  # tqdm.auto, which it imports, warns in a bare kernel.
        warnings.simplefilter("ignore")
        import pooch
    pooch.get_logger().setLevel("WARNING")
    return pooch


def _download(source: Source, missing: list[str], folder: Path) -> None:
    """Bring files into a folder: those that the archive holds, then the others one by one."""
    pooch = _import_pooch()
    # Without the header some servers send a .gz file unpacked.
    downloader = pooch.HTTPDownloader(timeout=20.0, headers={"Accept-Encoding": "identity"})
    registry = {file: source.files[file].sha256 for file in missing} | {"all.zip": None}
    urls = source.urls | {"all.zip": source.archive}
    options = {"registry": registry, "urls": urls, "retry_if_failed": 1}
    publisher = pooch.create(folder, source.url, **options)
    if source.archive:
        archive = publisher.fetch("all.zip", downloader=downloader)
        try:
            _unpack(archive, source, missing, folder)
        finally:
            Path(archive).unlink()
    for file in missing:
        os.chmod(publisher.fetch(file, downloader=downloader), 0o644)  # for all users of a cache


def _unpack(archive: str | BinaryIO, source: Source, missing: list[str], folder: Path) -> None:
    """Place those of the missing files that a zip file, or a zip file in it, holds intact."""
    wanted = {Path(file).name: file for file in missing}
    with zipfile.ZipFile(archive) as members:
        for member in members.infolist():
            name = Path(member.filename).name
            if name.endswith(".zip"):
                _unpack(io.BytesIO(members.read(member)), source, missing, folder)
            elif name in wanted and member.file_size == source.files[wanted[name]].bytes:
                content = members.read(member)
                if hashlib.sha256(content).hexdigest() == source.files[wanted[name]].sha256:
                    with _writing(folder / wanted[name]) as file:
                        file.write(content)


@contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears at `path` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def cached_array(
    name: str, inputs: object, shape: tuple[int, ...], rows: Callable[[], Iterable[np.ndarray]]
) -> torch.Tensor:
    """Bytes of `shape` that are made once, and mapped from a file of the cache ever after.

    inputs: what the content depends on; its digest is part of the file's name. rows: gives the
    content in order, if there is no whole file. Raises `DataError` where it cannot be written.
    """
    key = hashlib.sha256(repr((shape, inputs)).encode()).hexdigest()[:12]
    path, size = cache_directory() / "composed" / f"{name}-{key}.npy", math.prod(shape)
    try:
        if not path.is_file() or path.stat().st_size != 128 + size:  # NumPy's header has 128 bytes.
            label = f"{path.stem}: composing {size / 1e6:.0f} MB once, into {path.parent}"
            with _writing(path) as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                # A full disk is an error in writing; in a mapped array it would end the process.
                for row in progress_bar(rows(), label, total=shape[0]):
                    file.write(np.asarray(row, np.uint8).reshape(shape[1:]).tobytes())
    except OSError as error:
        remedy = "make room, or set UNBRAID_CACHE to a folder with room that can be written to"
        raise data_error(f"{path}: cannot be written", f"{size} bytes", error, remedy) from error
    return torch.from_numpy(np.load(path, mmap_mode="c"))  # "c": writable, but not to the file


def select_sources(names: Iterable[str]) -> list[str]:
    """The sources of `names`, which are datasets (sprites) or sources (sprites-li), each once.

    Raises `ValueError` for a name that is neither.
    """
    selected = []
    for name in names:
        check_name("name", name, dict.fromkeys([*SOURCES_OF, *SOURCES]))
        selected += SOURCES_OF.get(name, [name])
    return list(dict.fromkeys(selected))


def describe(name: str) -> list[str]:
    """Lines on a source: what it is and for which datasets, its size and licence, its place."""
    paths, source = locate(name), SOURCES[name]
    folders = {str(path.parents[file.count("/")]) for file, path in paths.items()}
    place = f"here: {' and '.join(sorted(folders))}"
    if len(paths) < len(source.files):
        place = f"{len(paths)} of {len(source.files)} files here; {source.remedy}"
    size = sum(file.bytes for file in source.files.values()) / 1e6
    title = f"{name:<14} for {', '.join(source.datasets)}"
    return [title, f"    {source.about}", f"    {size:.1f} MB  {source.licence}  {place}"]
