"""Files that are written whole or not at all, and the clone that they belong to."""

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path


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
        os.replace(temporary, path)
    except OSError as error:  # Of a full disk the system does not say which file met it.
        remedy = "make room, see that you may write here, or name another folder"
        says = f"expected to write this file ({error.strerror}); {remedy}"
        raise OSError(error.errno, says, str(path)) from None
    finally:
        with suppress(OSError):  # It is no longer there, or cannot be removed.
            temporary.unlink()


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def replace_unprintable() -> None:
    """From now on, what the output's encoding lacks is printed as ?."""
    if hasattr(sys.stdout, "reconfigure"):  # not in a notebook, nor without a console
        sys.stdout.reconfigure(errors="replace")
