"""One file of a dataset: what it must be, whether it is that, and in which words an error about it is told."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


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
        """What the file must be, in words."""
        return f"{self.bytes} bytes, SHA-256 {self.sha256}"


_checked: set[tuple] = (
    set()
)  # (path, digest, size, time of change) of files found right in this process


def fault(path: Path, file: SourceFile, again: bool = False) -> str | None:
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


def place(arrived: Path, target: Path, file: SourceFile) -> None:
    """Move the file at `arrived` to `target` in one step, if it is right; else `DataError`, and `target` stays as it was."""
    if found := fault(arrived, file):
        raise problem(f"{file.name}: damaged on the way", file.expected, found, "try again")
    status = arrived.stat()
    os.replace(arrived, target)
    _checked.discard((arrived, file.sha256, status.st_size, status.st_mtime_ns))
    _checked.add((target, file.sha256, status.st_size, status.st_mtime_ns))
