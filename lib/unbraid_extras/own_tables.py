"""Anybody's own arrays, tables of series, and labels."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from unbraid.checks import check_field

from unbraid_extras.arrays import may_be_classes, read_arrays
from unbraid_extras.own_files import Found, Values, fit_picture, normalise

# Columns of a table that are taken without being named, if it has one such column alone.
ID_COLUMNS = ("id", "name", "series", "sequence")
TIME_COLUMNS = ("time", "date", "timestamp", "step", "frame", "year", "month", "day", "hour", "t")
STEP_COLUMNS = ("time", "frame", "step")  # of a file of labels, which may have labels "month"
MOST_LISTED = 12  # names in a message
MOST_CLASSES = 50  # of a text that changes within a series
OVERSHOOT = 1.5  # the largest value of floats that are read as 0 to 1 ...
DARKEST = 16  # ... and the smallest one of floats that are read as 0 to 255
# A number as people and other programs write it: 1,234.5 or 1.234,5 or 12 345 or 7,5 or 12 %.
NUMBER = re.compile(r"^[-+]?(\d{1,3}([.,\s']\d{3})+([.,]\d+)?|\d+([.,]\d*)?|[.,]\d+)\s*%?$")


# ---- arrays


def find_arrays(path: Path, size: int) -> Found:
    """The rows of an array of frames or series in an npy or npz file, with mask and labels."""
    arrays = read_arrays(path, "path")
    shapes = ", ".join(f"{name} {array.shape} of {array.dtype}" for name, array in arrays.items())
    likely = [name for name in arrays if name in ("frames", "series")]
    likely = likely or [name for name in arrays if arrays[name].ndim > 2]
    is_one = len(likely) == 1 and arrays[likely[0]].ndim in (3, 4, 5)
    holds = is_one and arrays[likely[0]].dtype.kind in "buif"
    expected = "one array of numbers, frames (N, T, C, H, W) or series (N, T, D), of one variable "
    expected += "(N, T, 1)"
    check_field(holds, path.name, expected, shapes)
    values = arrays.pop(likely[0])
    mask = arrays.pop("mask", np.ones(values.shape[:2], bool)).astype(bool)
    shapes = (values.shape[:2], values.shape)[: 1 + (values.ndim == 3)]
    check_field(mask.shape in shapes, f"{path.name}, mask", f"a shape of {shapes}", mask.shape)

    notes: list[str] = []
    if values.ndim == 3:
        check_field(not np.isinf(values).any(), path.name, "finite numbers, or NaN", "infinity")
        values = np.where(mask if mask.ndim == 3 else mask[..., None], values, np.nan)
        mask, convert = ~np.isnan(values).all(2), np.asarray
    else:
        values, convert = as_images(values, size, path.name, notes)
    found = Found.of("rows", map(str, range(len(values))), lambda u: (convert(values[u]), mask[u]))
    found.notes = notes
    found.columns = [f"variable {number}" for number in range(values.shape[2])]
    steps = pd.MultiIndex.from_product([found.names, range(values.shape[1])])
    for name, label in arrays.items():
        shapes = (values.shape[:1], values.shape[:2])
        check_field(label.shape in shapes, f"{path.name}, {name}", f"one of {shapes}", label.shape)
        if label.ndim == 1:
            found.static[name] = label
        else:
            found.dynamic[name] = pd.Series(label.ravel(), steps)
    return found


def as_images(
    values: np.ndarray, size: int, name: str, notes: list[str]
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Frames as (N, T, C, H, W), and what makes bytes (T, C, size, size) of one sequence."""
    if values.ndim == 4 and values.shape[3] not in (1, 3):
        values = values[:, :, None]
        notes.append("The array has four axes, which are read as (N, T, H, W), without colours.")
    elif values.ndim == 5 and values.shape[2] not in (1, 3) and values.shape[4] in (1, 3):
        values = np.moveaxis(values, 4, 2)
        notes.append("The colours are the array's last axis, (N, T, H, W, C).")
    holds = values.ndim == 5 and values.shape[2] in (1, 3)
    check_field(holds, name, "frames (N, T, C, H, W) of 1 or 3 colours", values.shape)
    low, high = float(values.min()), float(values.max())  # NaN if one value is
    is_float = values.dtype.kind == "f"
    # Scaled or filtered frames can be a little above 1, and nearly black ones are none of bytes.
    most = OVERSHOOT if is_float else 1
    holds = low >= 0 and high <= 255 and not (is_float and most < high < DARKEST)
    expected = f"frames from 0 to 1 or from 0 to 255 (floats of the second kind reach {DARKEST})"
    check_field(holds, name, expected, f"{low:g} to {high:g}")
    factor = np.float32(1 if high > most else 255)
    if is_float and 1 < high <= most:
        notes.append(f"Values above 1, up to {high:g}, are read as 1.")
    elif high <= 1 and values.dtype == np.uint8:
        notes.append("All bytes are 0 or 1, which are read as black and white.")

    def convert(frames: np.ndarray) -> np.ndarray:
        frames = np.rint(np.minimum(frames * factor, 255)).astype(np.uint8)  # (T, C, H, W)
        if frames.shape[2:] == (size, size):
            return frames
        pictures = frames[:, 0] if frames.shape[1] == 1 else frames.transpose(0, 2, 3, 1)
        return np.stack([fit_picture(Image.fromarray(picture), size) for picture in pictures])

    return values, convert


# ---- tables


def read_csv(path: Path, **options: object) -> pd.DataFrame:
    """A csv file with a line of names."""
    try:
        with warnings.catch_warnings(category=pd.errors.ParserWarning, action="error"):
            table = pd.read_csv(path, index_col=False, low_memory=False, **options)
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        reason = str(error).splitlines()[0].partition(" This leads")[0]
        expected = "a csv file in UTF-8, in each line one cell per name, decimals with a point"
        raise ValueError(f"{path.name}: expected {expected}, found: {reason}") from None
    table.columns = [normalise(name) for name in table.columns]
    check_field(table.shape[1] > 1, path.name, "two columns or more, with commas", [*table.columns])
    return table


def read_names(path: Path, number: int) -> pd.Series:
    """A column of names as they are written: 007 is no number, and NA no gap."""
    options = {"index_col": False, "dtype": str, "keep_default_na": False}
    return pd.read_csv(path, usecols=[number], **options).squeeze("columns").map(normalise)


def list_some(names: Iterable[str]) -> str:
    """Names with commas between them, at most a dozen."""
    names = list(names)
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + f" and {more} more" * (more > 0)


def choose_column(columns: list[str], given: str | None, usual: tuple[str, ...], name: str) -> str:
    """The column that is given, or the only one of a usual name. name: of the argument."""
    likely = [given] if given else [column for column in columns if column.lower() in usual]
    expected = (
        f"one of the columns {list_some(columns)} (--{name.replace('_', '-')} COLUMN names it)"
    )
    holds = len(likely) == 1 and likely[0] in columns
    check_field(holds, name, expected, ", ".join(likely) or "none of a usual name")
    return likely[0]


def check_column(holds: pd.Series, where: str, expected: str, found: str) -> None:
    """Refuse a column with the line of its first cell where something does not hold."""
    line = int(np.argmin(holds.to_numpy())) + 2 if len(holds) else 2
    check_field(bool(holds.all()), where, expected, f"{found} in line {line}")


def read_times(column: pd.Series, where: str) -> pd.Series:
    """Times as they are if they are numbers, else as dates, of which ISO's form alone is clear."""
    if is_text(column):
        column = pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True)
    check_column(column.notna(), where, "numbers, or dates like 2026-01-31 12:00", "neither")
    return column


def is_text(column: pd.Series) -> bool:
    """Whether a column holds something other than numbers."""
    return not pd.api.types.is_numeric_dtype(column)


def check_text(column: pd.Series, where: str) -> None:
    """Refuse text that is meant as numbers, save for a few cells."""
    is_number = pd.to_numeric(column, errors="coerce").notna()
    if is_number.sum() >= len(column) / 2:
        check_column(is_number | column.isna(), where, "a number or an empty cell", "neither")
    is_written = column.astype(str).str.match(NUMBER)
    expected = "numbers with a decimal point, without % and marks of thousands"
    example = column[is_written].iloc[0] if is_written.any() else ""
    check_field(is_written.sum() < len(column) / 2, where, expected, repr(example))


def find_series(path: Path, id_column: str | None, time_column: str | None) -> Found:
    """The series of a csv file with a line per series and time: its numbers are the variables.

    A column of text is a label, static if it never changes within a series.
    """
    columns = list(read_csv(path, nrows=0).columns)
    key = choose_column(columns, id_column, ID_COLUMNS, "id_column")
    time = choose_column(columns, time_column, TIME_COLUMNS, "time_column")
    check_field(key != time, "time_column", "another column than id_column", time)
    table = read_csv(path)
    table[key] = read_names(path, columns.index(key))
    # pandas writes the numbers of rows as a column without a name.
    unnamed = [name for name in columns if name.startswith("Unnamed: ")]
    unnamed = [name for name in unnamed if name not in (key, time)]
    table = table.drop(columns=unnamed)
    columns = [*table.columns]
    check_field(len(table) > 0, path.name, "lines of data", "none")
    check_column(table[key] != "", f"{path.name}, {key}", "a name in each line", "none")
    table[time] = read_times(table[time], f"{path.name}, {time}")
    twice = table.duplicated([key, time])
    check_column(~twice, f"{path.name}, {time}", f"each time once for each {key}", "a second")
    texts = [name for name in columns if name not in (key, time) and is_text(table[name])]
    for name in texts:
        check_text(table[name], f"{path.name}, {name}")

    table = table.set_index([key, time]).sort_index()
    numbers = table.drop(columns=texts).astype(np.float64)
    check_field(numbers.shape[1] > 0, path.name, "a column of numbers", columns)
    check_field(not np.isinf(numbers).any(axis=None), path.name, "finite numbers", "infinity")
    series = {name: part.droplevel(0) for name, part in numbers.groupby(level=0, sort=False)}
    grid = numbers.index.unique(1).sort_values()
    # Series that share most of their times lie on one grid, where what is missing can be seen.
    is_shared = len(grid) <= 2 * max(map(len, series.values()))
    times = [grid if is_shared else part.index for part in series.values()]
    names = list(series)

    def read(number: int) -> Values:
        values = series[names[number]].reindex(times[number]).to_numpy()
        return values, ~np.isnan(values).all(1)

    found = Found.of("series", names, read)
    found.times, found.columns = times, [*numbers.columns]
    found.notes.append(f"The column {key} tells the series apart, and {time} orders them.")
    if not is_shared:
        found.notes.append("They share few times, so that each has its own steps, in their order.")
    if unnamed:
        found.notes.append("A column without a name is left out.")
    still = numbers.columns[(numbers.groupby(level=0).nunique() <= 1).all()]
    moving = numbers.columns.difference(still)
    whole = [name for name in moving if may_be_classes(numbers[name].to_numpy())]
    if whole:
        found.notes.append(
            f"Careful: {', '.join(whole)} have few whole values and are read as variables: if they "
            "are labels, write them as text."
        )
    if len(still):
        found.notes.append(
            f"{', '.join(still)} never change within a series: if they are labels, a file of "
            "labels is their place."
        )
    add_labels(found, table[texts])
    return found


# ---- labels


def add_labels(found: Found, table: pd.DataFrame) -> None:
    """Add labels with a row per name and time: those that never change within a name are static."""
    by_name = table.groupby(level=0)
    changes = (by_name.nunique() > 1).any()
    for name in table.columns:
        if changes[name]:
            classes = table[name].nunique() if is_text(table[name]) else 0
            expected = f"at most {MOST_CLASSES} different texts, or none that change"
            check_field(classes <= MOST_CLASSES, f"the column {name}", expected, classes)
            found.dynamic[name] = table[name]
        else:
            found.static[name] = by_name[name].first()


def add_label_file(path: Path, found: Found, time_column: str | None) -> None:
    """Add the labels of a csv file, whose first column names the sequences that were found."""
    table = read_csv(path)
    key, *columns = table.columns
    table[key] = read_names(path, 0)
    for name in columns:
        check_column(table[name].notna(), f"{path.name}, {name}", "no gaps", "an empty cell or NA")
    short = pd.Series(found.names, [Path(name).stem for name in found.names])
    known = short[~short.index.duplicated(keep=False)].to_dict() | {n: n for n in found.names}
    names = table[key].map(known)
    lacking = sorted(set(found.names) - set(names))
    listed = f"none for {', '.join(lacking[:2])}; {key} has {table[key].iloc[:2].tolist()}"
    expected = f"a line for each of the {len(found.names)} {found.kind}"
    check_field(not lacking, path.name, expected, f"{len(lacking)} lacking, {listed}")
    both = sorted({*columns} & {*found.static.columns, *found.dynamic})
    check_field(not both, path.name, "other labels than the data have already", both)
    if names.isna().any():
        count = names.isna().sum()
        found.notes.append(f"{count} lines of {path.name} name no {found.kind} that are here.")

    table[key], index = names, [key]
    twice = names[names.notna() & names.duplicated()]
    if len(twice):
        expected = "one line for each recording, since labels of its steps cannot be read"
        check_field(found.kind != "recordings", path.name, expected, f"{twice.iloc[0]} twice")
        holds = time_column or any(name.lower() in STEP_COLUMNS for name in columns)
        expected = f"each {key} once, or a column time, frame or step (--time-column names another)"
        check_field(bool(holds), path.name, expected, f"{twice.iloc[0]} twice")
        time = choose_column(columns, time_column, STEP_COLUMNS, "time_column")
        table[time] = read_times(table[time], f"{path.name}, {time}")
        index = [key, time]
        once = names.isna() | ~table.duplicated(index)
        check_column(once, f"{path.name}, {time}", f"each time once for each {key}", "a second")
    add_labels(found, table[names.notna()].set_index(index))


def encode(name: str, label: pd.Series) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """A label as floats, or as the numbers of its classes and their names."""
    where, lacking = f"the label {name}", label.index[label.isna()]
    gap = f"an empty cell, or one like NA, at {lacking[:1].tolist()}"
    check_field(len(lacking) == 0, where, "no gaps", gap)
    if pd.api.types.is_float_dtype(label):
        check_field(bool(np.isfinite(label).all()), where, "finite numbers", "infinity")
        return label.to_numpy(np.float32), None
    if is_text(label):
        label = label.map(normalise)
    numbers, classes = pd.factorize(label, sort=True)
    return numbers, tuple(map(str, classes))
