"""Anybody's series and labels: csv files in one form, with columns called id and time.

Nothing is guessed. What pandas would read silently otherwise than it was meant is refused with its
line: columns that shift, words among numbers, decimal commas, steps of other lengths.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

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
LARGEST, SMALLEST = 1e30, 1e-35  # numbers whose squares a model can hold, of others than zeros
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
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: expected {UTF8}, found {error.reason}") from None
    except csv.Error as error:
        raise ValueError(f"{path.name}: expected {COMMAS}, found {error}") from None
    shown = ", ".join(names)[:60] or "none"
    check_field(len(names) > 1 or ";" not in shown, path.name, COMMAS, shown)
    expected = "a first line of different names (of pandas, index=False leaves out row numbers)"
    check_field(names and all(names) and len({*names}) == len(names), path.name, expected, shown)
    check_field({*needed} <= {*names}, path.name, f"columns {', '.join(needed)} ({MELT})", shown)
    check_field(cells, path.name, "lines below the names", "none")
    for line, row in cells.items():
        expected = f"{len(names)} cells in each line"
        check_field(len(row) == len(names), path.name, expected, f"{len(row)} in line {line}")
    table = pd.DataFrame.from_dict(cells, "index", columns=names).apply(lambda x: x.str.strip())
    table["id"] = table["id"].map(normalise)
    check_column(table["id"] != "", f"{path.name}, id", "a name in each line", table["id"])
    spelt = {name.casefold(): name for name in table["id"]}
    is_one = table["id"].map(lambda name: spelt[name.casefold()] == name)
    check_column(is_one, f"{path.name}, id", "ids that differ in more than case", table["id"])
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
    is_usual = is_gap | (numbers == 0) | numbers.abs().between(SMALLEST, LARGEST)
    check_column(is_usual, where, f"numbers from {SMALLEST:g} to {LARGEST:g} (scale them)", cells)
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
    check_steps(parts, path.name)
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
        ("one step", str(times[0].to_series().diff().median())),
        ("variables", f"{list_some(columns)}; {gaps:.1%} of the values are missing"),
        *(("doubt", doubt) for doubt in doubts),
    ]
    return Found([*parts], times, lambda: values, taken, columns)


def check_steps(series: dict[str, pd.DataFrame], file: str) -> None:
    """Refuse series that are too short or too long, and steps that are not equally long."""
    usual = {}
    for name, part in series.items():
        seen = int(part.notna().any(axis=1).sum())
        check_field(seen > 1, file, f"two lines or more of each id ({MELT})", f"{seen} of {name}")
        expected = f"at most {LONGEST} steps ({CUT})"
        check_field(len(part) <= LONGEST, file, expected, f"{len(part)} of {name}")
        gaps = part.index.to_series().diff().dropna()
        found = f"{gaps.min()} to {gaps.max()} in {name}, before {gaps.idxmax()}"
        is_even = gaps.max() <= UNEVEN * gaps.min()
        check_field(is_even, f"{file}, time", f"equal steps ({EVEN})", found)
        usual[name] = gaps.median()
    ends = min(usual, key=usual.__getitem__), max(usual, key=usual.__getitem__)
    found = " and ".join(f"{usual[name]} in {name}" for name in ends)
    is_one = usual[ends[1]] <= UNEVEN * usual[ends[0]]
    check_field(is_one, f"{file}, time", "steps that all series share (resample them)", found)


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
    for name in labels:
        padded = []
        for sequence, own in zip(names, times, strict=True):
            row, count = steps[name][sequence].reindex(own), len(steps[name][sequence])
            missing = f"{count} for {len(own)} steps, none at {row.isna().idxmax()}"
            holds = row.notna().all() and count == len(own)
            expected = "a value at each step (frames count from 0)"
            check_field(holds, f"{path.name}, {name} of {sequence}", expected, missing)
            padded.append(np.pad(row.to_numpy(), (0, longest - len(row)), "edge"))
        values = np.stack(padded).astype(known[name][0].dtype)
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
    if is_number.all() and not is_whole.all():
        return read_numbers(cells, where).to_numpy(np.float32), None
    is_odd = ~is_number if is_number.any() else cells.str.fullmatch(MARKED)
    has_words = not cells[is_odd].str.contains(r"\d").all()
    is_meant = is_odd.mean() > 0.5 if not is_number.any() else (is_number & ~is_whole).any()
    is_meant = is_meant or (is_number.mean() >= 0.5 and has_words)
    expected = f"{PLAIN}, or classes that begin with a letter"
    check_column(~is_odd if is_meant else cells != "", where, expected, cells)
    numbers, classes = pd.factorize(cells.astype(int) if is_whole.all() else cells, sort=True)
    return numbers, tuple(map(str, classes))
