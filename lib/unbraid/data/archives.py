"""Files out of a zip archive, for publishers who offer their data packed: found by name, checked one by one.

Nothing is unpacked under a path that the archive names, and never much more than was expected: an archive is trusted only
as far as the digests of its members reach.
"""

from __future__ import annotations

import errno
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from unbraid.data.files import DataError, SourceFile, fault

LARGEST = 2**26  # bytes of an archive, and of all archives inside it together
CHUNK = 2**16
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
)  # what zipfile raises


def unpack(
    archive: Path, files: Sequence[SourceFile], folder: Path
) -> Iterator[tuple[SourceFile, Path]]:
    """Those of `files` that the zip file `archive` holds, directly or in a zip file inside it: the file, and where it lies.

    Each is written into `folder` under a name of ours and handed out only with the right size and digest; it is gone when
    the next is asked for. A member is known by the last part of its path, so no two of `files` may end alike. Raises
    `DataError` for a damaged archive, and for one that unpacks to more than `files` and `LARGEST` account for.
    """
    wanted = {PurePosixPath(file.name).name: file for file in files}
    if len(wanted) < len(files):
        raise ValueError(
            "files: expected different names, found some that differ only in their folders"
        )
    budget = _Budget(LARGEST + sum(file.bytes for file in files))
    try:
        yield from _members(archive, wanted, folder, budget, outermost=True)
    except DataError:
        raise
    except _DAMAGES as error:
        raise DataError(f"sent a damaged archive ({error})") from error
    except OSError as error:
        if (
            error.errno != errno.EINVAL
        ):  # anything but an impossible place in the archive is about our own disk
            raise
        raise DataError(f"sent a damaged archive ({error})") from error


class _Budget:
    """How many bytes may still be unpacked."""

    def __init__(self, most: int):
        self.most = self.left = most

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise DataError(f"sent an archive that unpacks to more than {self.most} bytes")


def _members(
    archive: Path, wanted: dict[str, SourceFile], folder: Path, budget: _Budget, outermost: bool
) -> Iterator[tuple[SourceFile, Path]]:
    arrived = folder / ("outer-member" if outermost else "inner-member")
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            name = PurePosixPath(entry.filename.replace("\\", "/")).name
            if name in wanted and entry.file_size == wanted[name].bytes:
                _copy(opened, entry, arrived, budget)
                if not fault(arrived, wanted[name], again=True):
                    yield wanted.pop(name), arrived
            elif outermost and name.lower().endswith(".zip"):
                _copy(opened, entry, arrived, budget)
                yield from _members(arrived, wanted, folder, budget, outermost=False)


def _copy(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, budget: _Budget) -> None:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"sent an archive packed in a way not used here ({entry.compress_type})")
    with opened.open(entry) as stream, open(target, "wb") as unpacked:
        while chunk := stream.read(CHUNK):
            budget.spend(len(chunk))
            unpacked.write(chunk)
