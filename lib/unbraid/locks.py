"""One process at a time: a lock of the operating system, which ends with its process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from unbraid.progress import is_watched


@contextmanager
def hold(path: Path, refusal: Exception | None = None) -> Iterator[None]:
    """Keep what a lock file stands for to this process, until the block or the process ends.

    While another process holds it, this one waits, or raises `refusal` where one is given. The
    file is removed at the end; one that a killed process has left holds nobody up.
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if refusal:
            raise refusal from None
        if is_watched():
            print(f"{path.stem}: waiting for another process that works on it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        # Before the release, so that nobody can hold a file that is removed.
        with suppress(OSError):  # Windows does not remove an open file.
            path.unlink()
        lock.release()
