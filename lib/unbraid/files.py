"""Files that are written whole or not at all, and what is printed into a closed pipe."""

import contextlib
import errno
import hashlib
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

DAY = 86_400  # seconds, after which nobody writes a file any more
ROOM = "make room and do the same again, which goes on, or name another folder"
FREE = "see that you may write here and nothing else has it open, or name another folder"


def repository_root() -> Path | None:
    """The clone: UNBRAID_HOME, or the folder above this file with notebooks/ and data/, or None."""
    if home := os.environ.get("UNBRAID_HOME"):
        return Path(home).expanduser().resolve()
    for folder in Path(__file__).resolve().parents:
        if (folder / "notebooks").is_dir() and (folder / "data").is_dir():
            return folder
    return None


def write_atomically(path: Path | str, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part of either."""
    # imported lazily, because commands' help needs no NumPy
    from unbraid.checks import check_path, check_type

    check_path(path=path)
    check_type((bytes, bytearray), content=content)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        if path.exists():
            with contextlib.suppress(OSError):  # Shares of other systems have no modes.
                shutil.copymode(path, temporary)
            sweep(path.parent, path.name)
        os.replace(temporary, path)
    except OSError as error:  # Of a full disk the system does not say which file met it.
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        expected = "room for this file" if is_full else "to write this file"
        says = f"expected {expected} ({error.strerror}); {ROOM if is_full else FREE}"
        raise OSError(error.errno, says, str(path)) from None
    finally:
        with contextlib.suppress(OSError):  # It is no longer there, or cannot be removed.
            temporary.unlink()


def sweep(folder: Path, *names: str, age: float = DAY) -> None:
    """Remove what processes that were killed so many seconds ago left of files of a folder.

    names: of these files; by default of all.
    """
    for left in folder.glob(".*.*"):  # as `write_atomically` calls it
        name, _, number = left.name[1:].rpartition(".")
        is_left = number.isdigit() and name in (names or [name])
        with contextlib.suppress(OSError):  # Another process may be faster.
            if is_left and time.time() - left.stat().st_mtime >= age:
                left.unlink()


@contextlib.contextmanager
def hold(lock: Any) -> Iterator[None]:
    """Hold a lock of `filelock`, which raises `Timeout` where another process has it.

    Where the file system knows no locks nobody is kept out, which is said.
    """
    with contextlib.ExitStack() as stack:
        try:
            with warnings.catch_warnings():
                # Instead it would wait until a file is gone that stays after each command.
                warnings.filterwarnings("error", "flock not supported")
                stack.enter_context(lock.acquire())
        except (OSError, UserWarning) as error:
            if getattr(error, "filename", None) or isinstance(error, TimeoutError):
                raise  # a folder that cannot be written into, or another process
            found = str(error).partition(",")[0]
            says = f"expected locks, found {found}; let no other command write here"
            print(f"{lock.lock_file}: {says}", file=sys.stderr)
        yield


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class Lasting:
    """An output that takes what is printed without a word when nobody reads on."""

    def __init__(self, stream: IO[str]):
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with self.ignore_readers():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self.ignore_readers():
            self.stream.flush()

    @contextlib.contextmanager
    def ignore_readers(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # What waits to be written goes where nothing is kept.
            if not isinstance(error, BrokenPipeError):  # but a full disk, or a lost connection
                print(f"output: {error.strerror}; the work goes on without it", file=sys.stderr)
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


@contextlib.contextmanager
def quiet_pipe(goes_on: bool = False) -> Iterator[None]:
    """End a command without a word when nobody reads on, as after `| head -1`.

    goes_on: the command does the rest of its work instead, such as writing files.
    Characters that the output's encoding lacks are printed as ?; a closed output takes nothing.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    whole = sys.stdout
    if goes_on:
        sys.stdout = Lasting(whole)  # type: ignore[assignment]
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        sys.exit(0)
    finally:
        sys.stdout = whole
