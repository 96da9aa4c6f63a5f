"""How each run ended that was started and has no record: rows of ledger.csv, beside the records.

Columns: a run such as "unordered/faces/quick/unordered", seeds such as "0 3-9" ("?" where nobody
wrote them down), `end` (diverged, stopped, running, finished, removed, replaced or not begun), the
seeds or the run that came `instead`, and why. `python -m papers train` adds rows of its own.
"""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unbraid.training import Diverged

NAME = "ledger.csv"
COLUMNS = ("run", "seeds", "end", "instead", "why")


def add_row(folder: Path, name: str, end: str, instead: str = "", why: str = "") -> None:
    """Add a row, such as of "unordered/faces/quick/unordered-seed0", to a folder's ledger."""
    run, _, seed = name.rpartition("-seed")
    path = folder / NAME
    header = [] if path.exists() else [COLUMNS]
    with path.open("a", encoding="utf-8", newline="") as file:
        rows = [*header, (run, seed, end, instead, why)]
        csv.writer(file, lineterminator="\n").writerows(rows)


@contextmanager
def note_failure(folder: Path, name: str) -> Iterator[None]:
    """Add a row to the ledger if a training does not come to its end."""
    try:
        yield
    except BaseException as error:
        end = "diverged" if isinstance(error, Diverged) else "stopped"
        add_row(folder, name, end, why=f"{type(error).__name__}: {error}".strip(": "))
        raise
