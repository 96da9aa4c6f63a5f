"""Anybody's series and labels: csv files in one form, with columns called id and time.

Nothing is guessed. What pandas would read silently otherwise than it was meant is refused with its
line: columns that shift, words among numbers, decimal commas, steps of other lengths.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from unbraid.checks import check_field
from unbraid.measures.doubts import doubt_gaps, doubt_padding

LABELS = "labels.csv"  # is read where it lies in the folder of clips
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
# A number as it is also written: with a comma, a limit, a currency, a unit, in Fortran.
MARKED = r"\W*\d*[.,]\d+(?:[dDqQ][+-]?\d+)?\D*"
UNEVEN = 1.6  # times the shortest step that the longest may have; months differ by less
LONGEST = 1000  # steps of a series
MOST_LISTED = 4  # names in a cell of the table
LARGEST = 1e30  # a model can hold no square of larger numbers
ROUNDING = 1e-9  # by which equal values may differ, as a share of the largest
PLAIN = "numbers with a decimal point and nothing else (an empty cell is a gap)"
COMMAS = "commas between cells (pd.read_csv(old, sep=';', decimal=',').to_csv(new, index=False))"
UTF8 = "UTF-8 (pd.read_csv(old, encoding='latin-1' or 'utf-16').to_csv(new, index=False))"
MELT = "of a wide table pd.melt(wide, 'id', var_name='time') makes lines of id and time"
TWICE = "drop_duplicates() removes equal lines, pivot() makes columns of parameters, df.id + '-' + "
TWICE += "df.session tells sessions apart"
EVEN = "fill gaps with empty cells by reindex(), or resample()"
CUT = (
    "df.id + '-' + (df.groupby('id').cumcount() // 100).astype(str) cuts them; --group names whole"
)

Encoded = tuple[np.ndarray, tuple[str, ...] | None]  # numbers, and the names of classes


class Found(NamedTuple):
    """Named sequences, before they are read and split."""

    names: list[str]
    times: list[pd.Index]  # of the steps of each
    read: Callable[[], list[np.ndarray]]  # bytes (T, 3, 32, 32), or floats (T, D), NaN for gaps
    taken: list[tuple[str, str]]  # what the files were taken for
    columns: list[str]  # names of the D variables; none of frames


def normalise(text: object) -> str:
    """A name in one Unicode form (NFC), without spaces around it.

    Bytes of a file's name that are no text become an escape, so that they can be written.
    """
    name = unicodedata.normalize("NFC", str(text).strip())
    return name.encode(errors="backslashreplace").decode()


def read_table(path: Path, *needed: str) -> pd.DataFrame:
    """The cells of a csv file in UTF-8 as text, below unique names; the index is the line.

    needed: columns that it must have. Raises ValueError with the line.
    """
    cells: dict[int, list[str]] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            names = [normalise(cell) for cell in next(reader, [])]
            for row in reader:
                if len(row) == len(names) or "".join(row).strip():
                    cells[reader.line_num] = row
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path.name}: expected {COMMAS}, in {UTF8}, found {error}") from None
    shown = ", ".join(names)[:60] or "none"
    is_named = all(names) and len({*names}) == len(names) and {*needed} <= {*names}
    expected = f"different names, of columns {', '.join(needed)} and others; {COMMAS}; {MELT}"
    check_field(is_named and cells, path.name, expected, f"{shown} above {len(cells)} lines")
    for line, row in cells.items():
        expected = f"{len(names)} cells in each line"
        check_field(len(row) == len(names), path.name, expected, f"{len(row)} in line {line}")
    table = pd.DataFrame.from_dict(cells, "index", columns=names).apply(lambda x: x.str.strip())
    table["id"] = table["id"].map(normalise)
    check_column(table["id"] != "", f"{path.name}, id", "a name in each line", table["id"])
    return table


def check_column(holds: pd.Series, where: str, expected: str, cells: pd.Series) -> None:
    """Refuse a column with the line of its first cell where something does not hold."""
    line = holds.idxmin()
    check_field(holds.all(), where, expected, f"{cells[line]!r} in line {line}")


def read_numbers(cells: pd.Series, where: str) -> pd.Series:
    """A column of text as numbers, NaN where a cell is empty; refuses anything else."""
    is_gap = cells == ""
    check_column(is_gap | cells.str.fullmatch(NUMBER), where, PLAIN, cells)
    numbers = cells.mask(is_gap, "nan").astype(float)
    is_usual = is_gap | (numbers.abs() <= LARGEST)
    check_column(is_usual, where, f"numbers up to {LARGEST:g} (scale them)", cells)
    return numbers


def index_steps(table: pd.DataFrame, file: str) -> pd.DataFrame:
    """A table with an index of ids and times, sorted; each pair stands there once."""
    cells, where = table["time"], f"{file}, time"
    if cells.str.fullmatch(NUMBER).all():
        times = read_numbers(cells, where)
    else:
        times = pd.to_datetime(cells, format="ISO8601", errors="coerce", utc=True)
        expected = "numbers, or dates like 2026-01-31 12:00 (pd.to_datetime reads others)"
        check_column(times.notna(), where, expected, cells)
    table = table.assign(time=times)
    is_first = ~table.duplicated(["id", "time"])
    check_column(is_first, where, f"each time once for each id ({TWICE})", table["id"])
    return table.set_index(["id", "time"]).sort_index()


def find_series(path: Path) -> Found:
    """The series of a csv file with a line per id and time: all other columns are numbers."""
    table = read_table(path, "id", "time")
    columns = [name for name in table.columns if name not in ("id", "time")]
    check_field(columns, path.name, "a column of numbers beside id and time", "none")
    numbers = {name: read_numbers(table[name], f"{path.name}, {name}") for name in columns}
    whole = index_steps(table[["id", "time"]].assign(**numbers), path.name)
    by_id = whole.groupby(level=0)
    parts = {name: part.droplevel(0) for name, part in by_id}
    step = check_steps(whole, path.name)
    span, largest = (by_id.max() - by_id.min()).max(), whole.abs().max()
    still = span.index[~(span > ROUNDING * largest)]
    expected = f"numbers that change within a series ({LABELS} is for what stays the same)"
    check_field(not len(still), path.name, expected, f"none that do in {', '.join(still[:3])}")
    values = [part.to_numpy() for part in parts.values()]
    times = [part.index for part in parts.values()]
    gaps = float(whole.isna().to_numpy().mean())
    doubts = doubt_padding(values, "Leave these lines out")
    for name in columns:
        doubts += doubt_gaps(name, whole[name].to_numpy(), "Leave the cell empty", is_label=False)
    taken = [
        ("series", f"{len(parts)} of {describe_span([len(each) for each in times])} steps"),
        ("one step", str(step)),
        ("variables", f"{list_some(columns)}; {gaps:.1%} of the values are missing"),
        *(("doubt", doubt) for doubt in doubts),
    ]
    return Found([*parts], times, lambda: values, taken, columns)


def check_steps(whole: pd.DataFrame, file: str) -> Any:
    """The usual step; refuses series that are too short or too long, and steps of other lengths."""
    times = whole.index.to_frame()["time"]
    counts, seen = times.groupby(level=0).size(), whole.notna().any(axis=1).groupby(level=0).sum()
    found = f"{seen.min()} of {seen.idxmin()}"
    check_field(seen.min() > 1, file, f"two lines or more of each id ({MELT})", found)
    found = f"{counts.max()} of {counts.idxmax()}"
    check_field(counts.max() <= LONGEST, file, f"at most {LONGEST} steps ({CUT})", found)
    gaps = times.groupby(level=0).diff().dropna()
    (low, _), (high, before) = gaps.idxmin(), gaps.idxmax()
    found = f"{gaps.min()} in {low} and {gaps.max()} in {high}, before {before}"
    is_even = gaps.max() <= UNEVEN * gaps.min()
    check_field(is_even, f"{file}, time", f"equal steps of all series ({EVEN})", found)
    return gaps.median()


def list_some(names: Iterable[str]) -> str:
    """Names with commas between them, at most a few."""
    listed = [*names]
    listed[MOST_LISTED:] = [f"{len(listed) - MOST_LISTED} more"] * (len(listed) > MOST_LISTED)
    return ", ".join(listed)


def describe_span(counts: Sequence[int]) -> str:
    """A count, or the least and the most of several."""
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


# ---- labels


def read_labels(
    path: Path, names: Sequence[str], times: Sequence[pd.Index]
) -> tuple[dict[str, Encoded], str]:
    """Labels by name, (N,), or of steps (N, T), where the last is repeated; a doubt, or "".

    times: of the steps of each sequence. A line names its sequence in the column id, as the file or
    folder is called, and where labels change with time its step in the column time.
    """
    table = read_table(path, "id")
    lacking = [name for name in names if name not in {*table["id"]}]
    found = f"none for {', '.join(lacking[:2])} ({len(lacking)}); ids are {[*table['id'][:2]]}"
    check_field(not lacking, path.name, f"a line for each of {len(names)} sequences", found)
    others = table["id"].nunique() - len(names)
    doubt = f"{others} ids of {path.name} name nothing that is here." if others else ""
    labels = [name for name in table.columns if name not in ("id", "time")]
    check_field(labels, path.name, "a column for each label beside id", "none")
    known = {name: encode(table[name], f"{path.name}, {name}") for name in labels}
    table = table.assign(**{name: numbers for name, (numbers, _) in known.items()})
    if "time" not in table:
        expected = "each id once, or a column time for labels of steps"
        check_column(~table["id"].duplicated(), path.name, expected, table["id"])
        rows = table.set_index("id").loc[[*names]]
        return {name: (rows[name].to_numpy(), known[name][1]) for name in labels}, doubt
    steps, encoded = index_steps(table, path.name), {}
    longest = max(map(len, times))
    for sequence, own in zip(names, times, strict=True):
        given = steps.loc[sequence].index
        lacking = [*own.difference(given)[:1], *given.difference(own)[:1]]
        where, expected = f"{path.name}, {sequence}", "a line for each step (frames count from 0)"
        check_field(not lacking, where, expected, f"{len(given)} for {len(own)}, see {lacking}")
    for name in labels:
        rows = (steps.loc[sequence, name].to_numpy() for sequence in names)
        values = np.stack([np.pad(row, (0, longest - len(row)), "edge") for row in rows])
        is_still = (values == values[:, :1]).all()
        encoded[name] = values[:, 0] if is_still else values, known[name][1]
    return encoded, doubt


def encode(cells: pd.Series, where: str) -> Encoded:
    """A label as floats, if one is written with a decimal point or an exponent, else as classes.

    Refuses gaps, and text where numbers were meant.
    """
    cells = cells.map(normalise)
    check_column(cells != "", where, "no gaps", cells)
    is_number, is_whole = cells.str.fullmatch(NUMBER), cells.str.fullmatch(r"[+-]?\d+")
    is_one_kind = is_number if is_number.any() else ~cells.str.fullmatch(MARKED)
    check_column(is_one_kind, where, f"{PLAIN}, or classes that begin with a letter", cells)
    if is_number.all() and not is_whole.all():
        return read_numbers(cells, where).to_numpy(np.float32), None
    numbers, classes = pd.factorize(cells.astype(int) if is_whole.all() else cells, sort=True)
    return numbers, tuple(map(str, classes))
