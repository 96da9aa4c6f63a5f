"""Where the course's real files come from: addresses, digests, and the order of places to look in.

A file is looked for in data/ of the clone, in the cache, and in the folder that UNBRAID_MIRROR
names. Wherever it lies, its SHA-256 must be the one of `sources.toml` (or, for the sets of many
files, of digests/SOURCE.txt). `find` and `files` only look. `fetch` downloads what is in none of
these places from the publisher into the cache. Outside of a clone, `files` fetches as well.
"""

from __future__ import annotations

import functools
import hashlib
import io
import math
import os
import shutil
import tomllib
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import requests
import torch

with warnings.catch_warnings():  # tqdm.auto, which pooch imports, warns in a kernel without widgets
    warnings.simplefilter("ignore")
    import pooch

from unbraid.checks import check_name
from unbraid.locks import hold
from unbraid.progress import progress_bar

pooch.get_logger().setLevel("WARNING")

# After 20 seconds without an answer an address counts as unreachable. Without the header some
# servers send a .gz file unpacked.
DOWNLOAD = pooch.HTTPDownloader(timeout=20.0, headers={"Accept-Encoding": "identity"})
PART = ".part"  # what a killed fetch leaves in the folder of its source, for the next one to remove
CACHE_REMEDY = "make room, or set UNBRAID_CACHE to a folder with room that can be written to"


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

    datasets: the names of what is read from the files. archive: the address of a zip file whose
    members are found by their last names. urls: addresses that are tried after it in this order,
    each followed by the file's name. A source without either travels with the clone.
    """

    name: str
    about: str
    licence: str
    citation: str = ""
    datasets: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    archive: str = ""
    files: dict[str, SourceFile] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The size of all files together."""
        return sum(file.bytes for file in self.files.values())

    @property
    def is_published(self) -> bool:
        """Whether there is an address to fetch it from."""
        return bool(self.urls or self.archive)

    @property
    def remedy(self) -> str:
        """What brings what is missing."""
        if self.is_published:
            return f"python -m unbraid data fetch {self.name}"
        if repository_root():
            return f"git checkout -- data/{self.name}"
        return "set UNBRAID_HOME to a clone of the project, with which these files travel"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the list of digests: one number for all files, which run records keep."""
        lines = [f"{file.sha256} {file.bytes} {name}\n" for name, file in self.files.items()]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def _read_sources() -> dict[str, Source]:
    here = Path(__file__).parent
    sources = {}
    for name, row in tomllib.loads((here / "sources.toml").read_text(encoding="utf-8")).items():
        files = {path: SourceFile(**file) for path, file in row.pop("files", {}).items()}
        if not files:
            listing = (here / "digests" / f"{name}.txt").read_text(encoding="utf-8")
            for line in listing.splitlines():
                digest, size, path = line.split(" ", 2)
                files[path] = SourceFile(digest, int(size))
        sources[name] = Source(name=name, files=files, **row)
    return sources


def _group_by_dataset() -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for source in SOURCES.values():
        for dataset in source.datasets:
            groups.setdefault(dataset, []).append(source.name)
    return groups


SOURCES: dict[str, Source] = _read_sources()
SOURCES_OF: dict[str, list[str]] = _group_by_dataset()  # the preferred source comes first


def _folder_named_by(variable: str) -> Path | None:
    value = os.environ.get(variable, "")
    folder = Path(value).expanduser().resolve()
    if value and not folder.is_dir():
        raise data_error(f"{variable}: no such folder", "a folder", value, "correct or unset it")
    return folder if value else None


def repository_root() -> Path | None:
    """The clone: UNBRAID_HOME, or the folder above this file with notebooks/ and data/, or None."""
    if home := _folder_named_by("UNBRAID_HOME"):
        return home
    for folder in Path(__file__).resolve().parents:
        if (folder / "notebooks").is_dir() and (folder / "data").is_dir():
            return folder
    return None


def cache_directory() -> Path:
    """Where fetched files are kept: UNBRAID_CACHE, data/cache in the clone, or the user's cache."""
    root = repository_root()
    default = root / "data" / "cache" if root else pooch.os_cache("unbraid")
    return Path(os.environ.get("UNBRAID_CACHE") or default).expanduser().resolve()


def mirror_directory() -> Path | None:
    """The folder that UNBRAID_MIRROR names, or None."""
    return _folder_named_by("UNBRAID_MIRROR")


@functools.cache
def _digest_once(path: Path, changed: int) -> str:
    """SHA-256 of a file; the time of its last change lets a changed file be read again."""
    return pooch.file_hash(path)


def is_intact(path: Path, file: SourceFile) -> bool:
    """Whether the file at `path` has the right size and digest."""
    with suppress(OSError):
        status = path.stat()
        if status.st_size == file.bytes:
            return _digest_once(path, status.st_mtime_ns) == file.sha256
    return False


def locate(name: str) -> dict[str, Path]:
    """The path of each file of a source that lies somewhere, checked or not."""
    check_name("source", name, SOURCES)
    root, mirror = repository_root(), mirror_directory()
    paths = {}
    for place in (mirror, cache_directory(), root and root / "data"):  # the last one wins
        for file in SOURCES[name].files:
            if place and os.path.lexists(place / name / file):
                paths[file] = place / name / file
    return paths


def verify(name: str) -> dict[str, str]:
    """The state of each file of a source, read anew: "ok", "damaged" or "missing"."""
    _digest_once.cache_clear()
    return _examine(name, locate(name))


def _examine(name: str, paths: dict[str, Path]) -> dict[str, str]:
    states = dict.fromkeys(SOURCES[name].files, "missing")
    for file, path in paths.items():
        states[file] = "ok" if is_intact(path, SOURCES[name].files[file]) else "damaged"
    return states


def find(name: str) -> dict[str, Path] | None:
    """The path of each file of a source by its name, or None if a file is nowhere.

    Nothing is downloaded. Raises `DataError` for a damaged file, `ValueError` for an unknown name.
    """
    paths = locate(name)
    states = _examine(name, paths)
    for file, state in states.items():
        if state == "damaged":
            expected = SOURCES[name].files[file]
            remedy = f"remove it, then {SOURCES[name].remedy}"
            raise data_error(f"{paths[file]}: damaged", expected, "something else", remedy)
    return None if "missing" in states.values() else {file: paths[file] for file in states}


def files(name: str) -> dict[str, Path]:
    """As `find`, but raises `DataError` where files are missing, with the command that helps.

    Outside of a clone, where no `make data` has been run, what has an address is fetched instead.
    """
    paths = find(name)
    if paths is None and repository_root() is None and SOURCES[name].is_published:
        return fetch(name)
    if paths is None:
        expected = f"its {len(SOURCES[name].files)} files in data/, the cache or UNBRAID_MIRROR"
        found = f"{len(locate(name))} of them"
        raise data_error(f"{name}: not at hand", expected, found, SOURCES[name].remedy)
    return paths


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
    """Lines on each source of a dataset, or on one source: what it is, its licence, size, place."""
    lines = []
    for source in [SOURCES[name] for name in select_sources([name])]:
        paths = locate(source.name)
        folders = {str(path.parents[file.count("/")]) for file, path in paths.items()}
        place = f"here: {' and '.join(sorted(folders))}"
        if len(paths) < len(source.files):
            place = f"{len(paths)} of {len(source.files)} files here; {source.remedy}"
        lines.append(f"{source.name:<14} for {', '.join(source.datasets)}")
        lines.append(f"    {source.about}")
        lines.append(f"    {source.bytes / 1e6:.1f} MB  {source.licence}  {place}")
    return lines


def fetch(name: str) -> dict[str, Path]:
    """Download what is missing or damaged of a source into the cache; the path of each file.

    It says what it brings and how large that is before it starts. A file appears whole or not at
    all; after an interruption the next call goes on with what is missing. While one process
    fetches a source, others wait for it. Raises `DataError`.
    """
    states = _examine(name, locate(name))
    source = SOURCES[name]
    place = cache_directory()
    leftovers = place / f"{name}.lock", place / name / PART
    is_to_do = {*states.values()} != {"ok"} or any(path.exists() for path in leftovers)
    if source.is_published and is_to_do:
        try:
            place.mkdir(parents=True, exist_ok=True)
            with hold(leftovers[0]):
                leftovers[1].unlink(missing_ok=True)
                states = _examine(name, locate(name))  # Another process may have brought some.
                missing = [file for file, state in states.items() if state != "ok"]
                _check_room(place, sum(source.files[file].bytes for file in missing))
                if missing:
                    _download(source, missing, place / name)
        except OSError as error:
            thing = f"{place / name}: cannot be written"
            raise data_error(thing, f"{source.bytes} bytes", error, CACHE_REMEDY) from error
    return files(name)


def _check_room(folder: Path, size: int) -> None:
    """Refuse a disk with less room than what will be written, before work begins."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(f"{free} bytes free on the disk, and {size} to write")


def _download(source: Source, missing: list[str], folder: Path) -> None:
    """Bring the missing files into `folder`: from the archive, and what it lacks one by one."""
    origin = source.archive or source.urls[0]
    size = sum(source.files[file].bytes for file in missing) / 1e6
    print(f"{source.name}: fetching {len(missing)} files, {size:.1f} MB, from {origin}", flush=True)
    for file, content in _read_archive(source, missing).items():
        _place(content, source.files[file], folder, file)
    for file in missing:
        expected = source.files[file]
        for base in source.urls:
            if not is_intact(folder / file, expected):
                content = b""
                with suppress(requests.RequestException, ValueError):  # ValueError: too large
                    content = _read_address(base + file, expected.bytes)
                _place(content, expected, folder, file)
        if not is_intact(folder / file, expected):
            remedy = "look at the network and try again, or set UNBRAID_MIRROR to a folder with it"
            found = f"no answer, or other bytes, from {' and '.join(source.urls) or origin}"
            thing = f"{source.name}: {file} not fetched"
            raise data_error(thing, f"{expected.bytes} bytes", found, remedy)


class _Limited(io.BytesIO):
    """A file in memory that takes no more than `limit` bytes."""

    def __init__(self, limit: int):
        super().__init__()
        self.limit = limit

    def write(self, content: bytes) -> int:
        """As of any file; raises ValueError above the limit."""
        if self.tell() + len(content) > self.limit:
            raise ValueError(f"expected at most {self.limit} bytes, found more")
        return super().write(content)


def _read_address(url: str, limit: int) -> bytes:
    """What lies at an address; ValueError if it is larger than `limit` bytes."""
    content = _Limited(limit)
    DOWNLOAD(url, content, None)
    return content.getvalue()


def _place(content: bytes, expected: SourceFile, folder: Path, file: str) -> None:
    """Put a file into its folder, whole, if it has the right digest."""
    if hashlib.sha256(content).hexdigest() != expected.sha256:
        return
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    part = folder / PART
    try:
        part.write_bytes(content)
        os.replace(part, folder / file)
    finally:
        part.unlink(missing_ok=True)


def _read_archive(source: Source, missing: list[str]) -> dict[str, bytes]:
    """Those of the missing files that the archive holds; none if it cannot be had or read."""
    if not source.archive:
        return {}
    limit = 2 * source.bytes  # It may hold other files, too.
    try:
        return dict(_read_members(_read_address(source.archive, limit), source, missing, limit))
    except Exception:  # A broken archive can make zipfile raise nearly anything.
        return {}


def _read_members(
    content: bytes, source: Source, missing: list[str], limit: int
) -> Iterator[tuple[str, bytes]]:
    """The missing files that a zip file, or a zip file in it of at most `limit` bytes, holds.

    They are found by their last names. Nothing is unpacked whose size is not that of a missing
    file, and zipfile gives no more bytes than a member is said to have, so that nothing is filled.
    """
    wanted = {Path(file).name: file for file in missing}
    with zipfile.ZipFile(io.BytesIO(content)) as members:
        for member in members.infolist():
            name = Path(member.filename).name
            if name in wanted and member.file_size == source.files[wanted[name]].bytes:
                yield wanted[name], members.read(member)
            elif name.endswith(".zip") and member.file_size <= limit:
                yield from _read_members(members.read(member), source, missing, limit=0)


def cached_array(
    name: str, inputs: object, shape: tuple[int, ...], rows: Callable[[], Iterable[np.ndarray]]
) -> torch.Tensor:
    """Bytes of `shape` that are made once, and mapped from a file of the cache ever after.

    inputs: what the content depends on; its digest is part of the file's name. rows: gives the
    content in order; it is called if there is no file, or if the file is not what was written, by
    the SHA-256 beside it. The file appears whole or not at all, and one process makes it while
    others wait. Raises `DataError` where it cannot be written.
    """
    key = hashlib.sha256(repr((shape, inputs)).encode()).hexdigest()[:12]
    path = cache_directory() / "composed" / f"{name}-{key}.npy"
    if not _is_as_written(path):
        size = math.prod(shape)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with hold(path.with_suffix(".lock")):
                if not _is_as_written(path):  # Another process may have made it meanwhile.
                    _check_room(path.parent, size)
                    _compose(path, shape, rows)
        except OSError as error:
            thing = f"{path}: cannot be written"
            raise data_error(thing, f"{size} bytes", error, CACHE_REMEDY) from error
    return torch.from_numpy(np.load(path, mmap_mode="c"))  # "c": writable, but not to the file


def _is_as_written(path: Path) -> bool:
    """Whether a file has the SHA-256 that the file beside it says."""
    with suppress(OSError):
        written = path.with_suffix(".sha256").read_bytes().split()
        return written[:1] == [_digest_once(path, path.stat().st_mtime_ns).encode()]
    return False


def _compose(path: Path, shape: tuple[int, ...], rows: Callable[[], Iterable[np.ndarray]]) -> None:
    """Write an array of bytes and its SHA-256, as sha256sum would; nothing stays of an attempt."""
    beside = path.with_suffix(".sha256")
    if path.exists() and beside.exists():
        print(f"{path}: damaged, composing it again", flush=True)
    label = f"{path.stem}: composing {math.prod(shape) / 1e6:.0f} MB once, into {path.parent}"
    part = path.with_suffix(PART)
    try:
        with part.open("wb") as file:
            described = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, described)
            # A full disk is an error in writing; in a mapped array it would end the process.
            for row in progress_bar(rows(), label, total=shape[0]):
                file.write(np.asarray(row, np.uint8).reshape(shape[1:]).tobytes())
            file.flush()
            os.fsync(file.fileno())
        digest = pooch.file_hash(part)
        os.replace(part, path)
        beside.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    finally:
        part.unlink(missing_ok=True)
