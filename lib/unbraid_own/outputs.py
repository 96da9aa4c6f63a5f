"""What a command writes: nothing that was there before and is not its own is ever replaced.

`provenance` says where a record or a page comes from.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from unbraid import __version__
from unbraid.checks import check_field
from unbraid.files import digest, sweep

HEAD = 4096  # bytes of a file in which it says what made it, at its beginning
BEGINS = r'\s*(?:{\s*"made_by":\s*|<!doctype html>(?:\s*<(?:html|meta charset)[^>]*>){2}\s*'
BEGINS += '<meta name="generator" content=)'
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pandas")


def check_outputs(
    targets: Iterable[Path], inputs: Sequence[Path], made_by: str, record: Path | None = None
) -> None:
    """Refuse files to write that would replace an input, each other, or a file of the user's.

    inputs: files, or folders, in which nothing is written. made_by: the command, which its files
    hold in quotes among their first bytes. record: a file that holds it for all targets. Raises
    ValueError; leftovers of killed runs are removed.
    """
    targets = list(targets)
    is_of_run = record is not None and is_made_by(record, made_by)
    for number, target in enumerate(targets):
        is_file = target.is_file() or not os.path.lexists(target)
        expected = "a file to write, in a folder that exists"
        check_field(is_file and target.parent.is_dir(), str(target), expected, "none")
        is_read = any(is_in(target, path) for path in [*inputs, *targets[:number]])
        expected = "another file than those that are read, or written beside it"
        check_field(not is_read, str(target), expected, "one; choose another name")
        is_own = not target.exists() or is_of_run or is_made_by(target, made_by)
        expected = f"no file, or one that {made_by} made (choose another name, or move it)"
        check_field(is_own, str(target), expected, "another one, which would be lost")
    for folder in {target.parent for target in targets}:
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            expected = "a folder that can be written into"
            raise ValueError(f"{folder}: expected {expected}, found {error.strerror}") from None
        sweep(folder, *(target.name for target in targets if target.parent == folder), age=0)


def is_made_by(path: Path, made_by: str) -> bool:
    """Whether a file says among its first bytes that this command made it."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        head = file.read(HEAD).decode(errors="replace")
    return re.match(rf'{BEGINS}"{re.escape(made_by)}"', head) is not None


def is_in(path: Path, place: Path) -> bool:
    """Whether a path, which need not exist, names a file, or lies in a folder."""
    is_same = path.exists() and place.exists() and path.samefile(place)
    return is_same or path.resolve().is_relative_to(place.resolve())


def provenance(
    inputs: Iterable[Path] = (), words: Sequence[str] = (), device: str = "cpu"
) -> dict[str, object]:
    """What a reader in a year needs to know; as JSON holds it, with the SHA-256 of input files.

    words: of the command, after `python -m unbraid_own`; none in a program.
    """
    threads = os.cpu_count()
    if torch := sys.modules.get("torch"):  # It is not imported for a number.
        threads = torch.get_num_threads()
    return {
        "command": shlex.join(["python", "-m", "unbraid_own", *words]) if words else "",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"unbraid": __version__, "python": platform.python_version()}
        | {n: version(n) for n in PACKAGES},
        "device": device,
        "threads": threads,
        "sha256": {path.name: digest(path) for path in inputs if path.is_file()},
    }
