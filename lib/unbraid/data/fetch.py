"""Where the course's files come from, each with its SHA-256 in digests/SOURCE.txt.

A file is looked for in data/ of the clone, in the cache, and in the folder that UNBRAID_MIRROR
names. `fetch` brings what is in none of them from its publisher into the cache.
"""

import contextlib
import hashlib
import io
import itertools
import os
import shutil
import time
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unbraid.checks import check_field, check_name, check_names, refuse
from unbraid.files import repository_root, write_atomically

TRIES, LONGEST_WAIT = 5, 300  # of a server that was asked too often; in seconds


class DataError(RuntimeError):
    """A data file is missing, damaged, or cannot be brought or written."""


def data_error(thing: object, expected: object, found: object, remedy: str) -> DataError:
    """A `DataError` that says what was expected, what was found, and what to do about it."""
    return DataError(f"{thing}\n  expected: {expected}\n  found: {found}\n  remedy: {remedy}")


@dataclass(frozen=True)
class Source:
    """A section of sources.toml; files: SHA-256 and bytes of each; fingerprint: SHA-256 of all."""

    name: str
    files: dict[str, tuple[str, int]]
    fingerprint: str
    about: str
    licence: str
    datasets: list[str]
    url: str = ""
    urls: dict[str, str] = field(default_factory=dict)
    archive: str = ""

    @property
    def remedy(self) -> str:
        """What brings a missing file."""
        if self.archive or self.url:
            return f"python -m unbraid data fetch {self.name}"
        return f"git checkout -- data/{self.name} in a clone, and set UNBRAID_HOME to this clone"


SOURCES: dict[str, Source] = {}
SOURCES_OF: dict[str, list[str]] = {}  # of each dataset, the preferred source first


def _read_sources(folder: Path) -> None:
    for name, row in tomllib.loads((folder / "sources.toml").read_text("utf-8")).items():
        listed, files = (folder / "digests" / f"{name}.txt").read_text("utf-8"), {}
        for line in listed.splitlines():
            digest, size, path = line.split(" ", 2)
            files[path] = digest, int(size)
        SOURCES[name] = Source(name, files, hashlib.sha256(listed.encode()).hexdigest(), **row)
        for dataset in row["datasets"]:
            SOURCES_OF.setdefault(dataset, []).append(name)


_read_sources(Path(__file__).parent)


def cache_directory() -> Path:
    """Where fetched files are kept: UNBRAID_CACHE, data/cache in the clone, or the user's cache."""
    root = repository_root()
    usual = root / "data" / "cache" if root else "~/.cache/unbraid"
    try:
        return Path(os.environ.get("UNBRAID_CACHE") or usual).expanduser().resolve()
    except RuntimeError as error:
        remedy = "set UNBRAID_CACHE to a folder"
        raise data_error("the cache", "a home folder", error, remedy) from None


def locate(name: str) -> dict[str, Path]:
    """The path of each file of a source that lies somewhere, checked or not."""
    check_name("source", name, SOURCES)
    mirror, root = os.environ.get("UNBRAID_MIRROR"), repository_root()
    places = [Path(mirror).expanduser().resolve()] if mirror else []
    for place in places:
        check_field(place.is_dir(), "UNBRAID_MIRROR", "a folder", f"{mirror!r}, which is none")
    places += [cache_directory(), *([root / "data"] if root else [])]
    paths: dict[str, Path] = {}
    for folder in [place / name for place in places]:  # the last one wins
        paths |= {file: folder / file for file in SOURCES[name].files if (folder / file).is_file()}
    return paths


def verify(name: str, only: Sequence[str] = ()) -> dict[str, str]:
    """The state of each file of a source: "ok", "damaged" or "missing". only: of some files."""
    paths, states = locate(name), {}
    for file in check_names("only", only, SOURCES[name].files) or SOURCES[name].files:
        states[file] = "missing"
        if file in paths:
            digest = hashlib.sha256(paths[file].read_bytes()).hexdigest()
            states[file] = "ok" if digest == SOURCES[name].files[file][0] else "damaged"
    return states


def find(name: str, only: Sequence[str] = ()) -> dict[str, Path] | None:
    """The path of each file, or of `only` some; None if one is nowhere, `DataError` if damaged."""
    states, paths = verify(name, only), locate(name)
    if damaged := [paths[file] for file, state in states.items() if state == "damaged"]:
        remedy = f"remove it, then {SOURCES[name].remedy}"
        raise data_error(damaged[0], "the published file", "another digest", remedy)
    return None if "missing" in states.values() else {file: paths[file] for file in states}


def files(name: str, only: Sequence[str] = ()) -> dict[str, Path]:
    """As `find`, but what is missing is fetched outside of a clone, or raises `DataError`."""
    if paths := find(name, only):
        return paths
    source = SOURCES[name]
    if repository_root() is None and (source.archive or source.url):
        return fetch(name, only)
    missing = [file for file, state in verify(name, only).items() if state == "missing"]
    expected = f"{missing[0]} in data/{name}, {cache_directory() / name} or UNBRAID_MIRROR"
    raise data_error(name, expected, f"{len(missing)} files missing", source.remedy)


def fetch(name: str, only: Sequence[str] = ()) -> dict[str, Path]:
    """The path of each file, what is missing or damaged having been downloaded; or `DataError`."""
    missing = [file for file, state in verify(name, only).items() if state != "ok"]
    source, folder = SOURCES[name], cache_directory() / name
    origin = source.archive or source.url
    if missing and origin:
        size = sum(source.files[file][1] for file in missing) / 1e6
        print(f"{name}: fetching {len(missing)} files, {size:.1f} MB, from {origin}", flush=True)
        try:
            _download(source, missing, folder)
        except Exception as error:  # zipfile raises nearly anything for a broken archive
            remedy = "look at the network and at UNBRAID_CACHE, or do the same later, which goes on"
            remedy += f", or put the files into {folder}"
            raise data_error(f"{name}: not fetched", f"all of {origin}", error, remedy) from error
    return files(name, only)


class _Bounded(io.BytesIO):
    """Bytes in memory, and an error as soon as there are more of them than expected."""

    def __init__(self, most: int):
        super().__init__()
        self.most = most

    def write(self, part: Any) -> int:
        if self.tell() + len(part) > self.most:
            raise ValueError(f"expected at most {self.most} bytes, found more")
        return super().write(part)


def _bring(url: str, most: int) -> _Bounded:
    """What lies at an address, at most so many bytes. A 429, too many requests, is waited out."""
    import requests

    # Without the header some servers send a .gz file unpacked.
    plain = {"Accept-Encoding": "identity"}
    for tries in itertools.count(1):
        answer = requests.get(url, headers=plain, timeout=20.0, stream=True)
        told = answer.headers.get("Retry-After", "")
        seconds = int(told) if told.isdigit() else 5 * 2**tries
        if answer.status_code != 429 or tries > TRIES or seconds > LONGEST_WAIT:
            break
        print(f"too many requests from this network; the next in {seconds} s", flush=True)
        time.sleep(seconds)
    answer.raise_for_status()
    received = _Bounded(most)
    for part in answer.iter_content(2**16):
        received.write(part)
    return received


def _download(source: Source, missing: list[str], folder: Path) -> None:
    """Bring files into a folder: those in the archive, then the others one by one."""
    left = list(missing)
    if source.archive:
        packed = _bring(source.archive, 2 * sum(size for _, size in source.files.values()))
        names = {Path(file).name: file for file in missing}
        sizes = {name: source.files[file][1] for name, file in names.items()}
        for name, content in _read_members(packed, sizes):
            if _keep(source, names[name], content, folder):
                left.remove(names[name])
    for file in left:
        received = _bring(source.urls.get(file) or source.url + file, source.files[file][1])
        if not _keep(source, file, received.getvalue(), folder):
            refuse(file, "the published file", "another digest")


def _read_members(
    packed: _Bounded, sizes: dict[str, int], in_it: bool = True
) -> Iterator[tuple[str, bytes]]:
    """Members of an archive, or of one in it, by these last names, where their size is right."""
    with zipfile.ZipFile(packed) as archive:
        for member in archive.infolist():
            name = Path(member.filename).name
            if sizes.get(name) == member.file_size:
                yield name, archive.read(member)
            elif in_it and name.endswith(".zip"):
                with archive.open(member) as file:
                    inner = _Bounded(packed.most)
                    shutil.copyfileobj(file, inner)
                yield from _read_members(inner, sizes, in_it=False)


def _keep(source: Source, file: str, content: bytes, folder: Path) -> bool:
    """Write a file's content where it belongs; False, and nothing written, for another's."""
    is_right = hashlib.sha256(content).hexdigest() == source.files[file][0]
    if is_right:
        write_atomically(folder / file, content)
        with contextlib.suppress(OSError):  # Shares of other systems have no modes.
            os.chmod(folder / file, 0o644)  # for all users of a cache
    return is_right
