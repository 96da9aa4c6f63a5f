"""What a command writes: what was there before and is not its own is never replaced."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from unbraid import __version__
from unbraid.checks import check_field

# How a page, or a record, that a command of ours made begins.
OURS = re.compile(rb'\s*({\s*"made_by": "unbraid |<!doctype html>.{0,80}content="unbraid )', re.S)


def check_target(path: Path) -> None:
    """Refuse a file to write in no folder, or that would replace one that none of us made."""
    is_folder = path.parent.is_dir() and os.access(path.parent, os.W_OK)
    check_field(is_folder, str(path), "a folder that one can write into", str(path.parent))
    is_free = not path.exists() or (path.is_file() and OURS.match(path.read_bytes()[:300]))
    check_field(is_free, str(path), "no file, or one that we made (name another)", "another")


def say_how(words: Sequence[str]) -> str:
    """When, with which version and by which command a page was made."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return f"{date}, unbraid {__version__}: {shlex.join(['unbraid', *words])}"
