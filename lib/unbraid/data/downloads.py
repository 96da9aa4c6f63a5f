"""Bringing files into a folder: copied or downloaded, several at once, each checked before it is moved to its place."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Self

import requests
from tqdm import tqdm

from unbraid.data import archives
from unbraid.data.files import DataError, SourceFile, fault, place, problem

TIMEOUT = 30.0  # seconds without a byte before an address is given up
SLOWEST = 2048  # bytes per second since the start, once TIMEOUT is over, below which an address is given up
ATTEMPTS = (
    5  # at one address that is busy, or that cuts the connection each time after some more bytes
)
PAUSE = 1.0  # seconds before the second attempt, doubled for each further one
LONGEST_PAUSE = 60.0  # seconds; a busy publisher may ask for some
WORKERS = 8
CHUNK = 1024  # bytes; small, so that a sender who only drips is seen
FEW = 20  # files that are asked for one by one although there is an archive of all
TOO_SLOW = "too slow, timed out"
BUSY = (429, 500, 502, 503, 504)
STALE = 24 * 3600  # seconds after which a scratch folder must be one that a killed process left


def bring(
    files: Sequence[SourceFile],
    folder: Path,
    copies: Mapping[str, Path],
    addresses: Sequence[str] = (),
    archive: str = "",
    title: str = "",
    progress: bool = True,
) -> None:
    """Put `files` into `folder`: from `copies` (paths by name) or by download, up to `WORKERS` at a time.

    addresses  tried in this order, each followed by the file's name
    archive    address of a zip file that holds them, taken first if more than a few files are to be downloaded
    title      of the one progress bar (bytes), which is drawn only if `progress` and standard error is a terminal

    Files appear whole or not at all, also when several processes do this at once; those that came before an error stay.
    `DataError` where a file cannot be had, `OSError` where it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    with (
        tempfile.TemporaryDirectory(
            prefix=".fetch-", dir=folder, ignore_cleanup_errors=True
        ) as new,
        _Tally(title, progress) as tally,
    ):
        at_hand = [file for file in files if file.name in copies]
        far, failures = [file for file in files if file.name not in copies], ()
        if archive and far and (len(far) > FEW or not addresses):
            far, failure = _from_archive(archive, far, folder, Path(new), tally)
            failures = (f"{archive} {failure}",)
        if far and not addresses:
            raise _not_downloaded(far[0], failures)
        tally.restart(sum(file.bytes for file in (*at_hand, *far)))

        def carry(number: int, file: SourceFile, session: requests.Session) -> None:
            arrived = Path(new) / str(number)
            if file.name in copies:
                shutil.copyfile(copies[file.name], arrived)
                tally.add(file.bytes)
            else:
                _download(session, file, addresses, arrived, tally, failures)
            _place(arrived, folder, file)

        _at_once([*at_hand, *far], carry, tally.stopped)


class _Stopped(Exception):  # noqa: N818  (no error: another worker's is told)
    """Ends a worker because another has failed."""


class _Tally:
    """The progress bar of all workers together, and the word to stop."""

    def __init__(self, title: str, progress: bool):
        self.bar = tqdm(desc=title, unit="B", unit_scale=True, disable=None if progress else True)
        self.lock, self.stopped = threading.Lock(), threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()

    def restart(self, total: int | None) -> None:
        self.bar.reset(total)

    def add(self, count: int) -> None:
        with self.lock:
            self.bar.update(count)


def _sweep(folder: Path) -> None:
    """Remove what a process left that was killed long ago."""
    for old in folder.glob(".fetch-*"):
        try:
            if time.time() - old.stat().st_mtime > STALE:
                shutil.rmtree(old)
        except OSError:
            pass  # another process was quicker, or it is not ours


def _at_once(
    files: Sequence[SourceFile],
    carry: Callable[[int, SourceFile, requests.Session], None],
    stopped: threading.Event,
) -> None:
    """Carry all files, several at a time; the first error, or Ctrl-C, stops all."""
    waiting = queue.SimpleQueue()
    for numbered in enumerate(files):
        waiting.put(numbered)

    def work() -> None:
        with requests.Session() as session:
            while not stopped.is_set():
                try:
                    carry(*waiting.get_nowait(), session)
                except (queue.Empty, _Stopped):
                    return
                except BaseException:
                    stopped.set()
                    raise

    if len(files) == 1:
        return work()
    with ThreadPoolExecutor(WORKERS) as pool:
        workers = [pool.submit(work) for _ in range(min(WORKERS, len(files)))]
        try:
            for worker in as_completed(workers):
                worker.result()
        finally:
            stopped.set()


def _place(arrived: Path, folder: Path, file: SourceFile) -> None:
    target = folder / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    place(arrived, target, file)


def _not_downloaded(file: SourceFile, failures: Sequence[str]) -> DataError:
    mend = "look at the network and try again, or set UNBRAID_MIRROR to a folder that has the file"
    return problem(f"{file.name}: not downloaded", file.expected, "; ".join(failures), mend)


def _from_archive(
    address: str, files: Sequence[SourceFile], folder: Path, new: Path, tally: _Tally
) -> tuple[list[SourceFile], str]:
    """Place those of `files` that the archive holds. Returns the others, and why they are not among them."""
    rest = {file.name: file for file in files}
    with requests.Session() as session:
        failure = _receive(session, address, new / "archive", archives.LARGEST, tally)
    if failure:
        return list(rest.values()), failure
    try:
        for file, arrived in archives.unpack(new / "archive", files, new):
            _place(arrived, folder, file)
            del rest[file.name]
    except DataError as error:
        failure = str(error)
    finally:
        (new / "archive").unlink()
    return (
        list(rest.values()),
        failure
        or f"sent an archive that lacks {len(rest)} of {len(files)} files, or holds others of their names",
    )


def _download(
    session: requests.Session,
    file: SourceFile,
    addresses: Sequence[str],
    target: Path,
    tally: _Tally,
    failures: Sequence[str],
) -> None:
    """Write `file` to `target` from the first address that sends the right bytes."""
    failures = list(failures)
    for address in (base + file.name for base in addresses):
        failure = _receive(session, address, target, file.bytes, tally, file.bytes)
        if not failure and (found := fault(target, file)):
            failure = f"sent other bytes: {found}"
            tally.add(-file.bytes)
        if not failure:
            return
        failures.append(f"{address} {failure}")
    raise _not_downloaded(file, failures)


def _receive(
    session: requests.Session,
    address: str,
    target: Path,
    most: int,
    tally: _Tally,
    size: int | None = None,
) -> str:
    """Download `address` to `target`, going on after a cut; return what went wrong, "" for nothing. `size`: if it is known."""
    with open(target, "wb") as stream:
        for attempt in range(ATTEMPTS):
            before = stream.tell()
            try:
                _append(session, address, stream, most, tally, total=size is None)
                failure = (
                    ""
                    if size in (None, stream.tell())
                    else f"connection cut after {stream.tell()} of {size} bytes"
                )
                pause = 0.0
            except (requests.RequestException, DataError, ValueError) as error:
                failure, pause = _diagnosis(error)
            if not failure or 0 < stream.tell() == size:  # its digest tells the rest
                return ""
            hopeless = pause == 0 and (
                stream.tell() <= before or failure == TOO_SLOW
            )  # twice in a row, that is
            if pause is None or (hopeless and attempt) or attempt == ATTEMPTS - 1:
                break
            if pause or hopeless:
                tally.stopped.wait(max(pause, PAUSE * 2**attempt))
        tally.add(-stream.tell())
    return failure


def _diagnosis(error: Exception) -> tuple[str, float | None]:
    """What went wrong, and the seconds to wait before another attempt: None for no other, 0 for as soon as one likes."""
    if isinstance(error, requests.HTTPError):
        asked = error.response.headers.get("Retry-After", "")
        pause = min(max(PAUSE, float(asked) if asked.isdecimal() else 0.0), LONGEST_PAUSE)
        return f"refused: {error}", pause if error.response.status_code in BUSY else None
    if isinstance(error, DataError):
        return f"refused: {error}", None
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return TOO_SLOW, 0.0
    return f"connection not made or cut ({type(error).__name__})", 0.0


def _append(
    session: requests.Session, address: str, stream, most: int, tally: _Tally, total: bool
) -> None:
    """Add to `stream` what of `address` it does not hold yet; from the start where the publisher cannot begin in the middle."""
    begun = stream.tell()
    headers = {"Accept-Encoding": "identity"}  # the .gz file itself, not what is in it
    if begun:
        headers["Range"] = f"bytes={begun}-"
    with session.get(address, headers=headers, stream=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        if begun and not (
            response.status_code == 206
            and response.headers.get("Content-Range", "").startswith(f"bytes {begun}-")
        ):
            stream.seek(0)
            stream.truncate()
            tally.add(-begun)
        if total:
            tally.restart(int(response.headers.get("Content-Length", 0)) or None)
        started, received = time.monotonic(), 0
        for chunk in response.iter_content(CHUNK):
            stream.write(chunk)
            tally.add(len(chunk))
            received, seconds = received + len(chunk), time.monotonic() - started
            if stream.tell() > most:
                raise DataError(f"sends more than {most} bytes")
            if seconds > TIMEOUT and received < SLOWEST * seconds:
                raise requests.Timeout("timed out")
            if tally.stopped.is_set():
                raise _Stopped
