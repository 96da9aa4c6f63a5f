"""What a notebook reads while it runs: noted inside its kernel, by an audit hook of Python's.

Files count when they are opened to be read. One event of the library's own is noted beside them:
`unbraid.source`, a source whose files are not opened because what was composed of them lies in the
cache. A kernel runs this file alone: it imports nothing of the clone.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

PROGRAMS = (".py", ".pyc", ".so", ".pyd", ".dll")  # the library's code is found by its imports


def record_reads(log: str) -> None:
    """From now on, append one line of JSON to the file `log` for each thing that is read."""
    # Each line is written at once and by the descriptor: nothing is lost when the kernel dies,
    # and writing raises no event of its own.
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    noted = set()

    def note(event: str, arguments: tuple) -> None:
        if event == "open" and is_reading(*arguments):
            entry = ("open", os.path.abspath(os.fsdecode(arguments[0])))
        elif event == "unbraid.source":
            entry = (event, *arguments)
        else:
            return
        if entry not in noted:
            noted.add(entry)
            os.write(descriptor, f"{json.dumps(entry)}\n".encode())

    sys.addaudithook(note)


def is_reading(path: object, mode: str | None, flags: int) -> bool:
    """Whether an `open` event is one of reading a file that is no program."""
    if isinstance(path, int) or os.fsdecode(path).endswith(PROGRAMS):
        return False  # a number is a descriptor, opened before
    if mode is None:  # os.open
        return not flags & (os.O_WRONLY | os.O_CREAT)
    return not set(mode) & set("wax")


def kernel_option(log: Path) -> str:
    """The option of a kernel that lets it record from its start, and leaves no name behind."""
    start = f'__import__("runpy").run_path({__file__!r})["record_reads"]({str(log)!r})'
    return f"--IPKernelApp.exec_lines={start}"


def read_log(log: Path) -> list[list[str]]:
    """The entries of a log: ["open", path], ["unbraid.source", name], …"""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [json.loads(line) for line in lines]
