"""Anybody's own arrays, tables of series, and labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_numeric_dtype
from PIL import Image
from unbraid.checks import check_classes, check_field
from unbraid.measures.doubts import doubt_gaps, doubt_padding

from unbraid_own.arrays import read_arrays
from unbraid_own.own_files import UNEVEN, RawSequences, Values, doubt_times, fit_picture
from unbraid_own.tables import NAME, check_column, normalise, read_names, read_table

# Columns that are taken without being named, if a table has only one of them.
ID_COLUMNS = ("id", "name", "series", "sequence")
TIME_COLUMNS = ("time", "date", "timestamp", "step", "frame", "year", "month", "day", "hour", "t")
CLOCKS = {"date", "year", "month", "day", "time", "hour", "minute", "second"}  # parts of a time
JOIN = "join {} to one column, as 2026-01-31 12:00"
STEP_COLUMNS = ("time", "frame", "step")  # of a file of labels, which may have labels "month"
MELT = "pandas' DataFrame.melt makes of a wide table one with a line for each step"
MOST_LISTED = 12  # names in a message
MOST_CLASSES = 50  # of a text that changes within a series
FEWEST_MEASURED = 5  # texts that begin with a number, from which on they may be measured
MEASURED = r"^(?:[A-Z][A-Za-z]{0,2}\W)?\W*\d"  # such as ~5, 1:30, USD 5
LARGEST, SMALLEST = 1e30, 1e-35  # numbers that are read, of a column of others than zeros
LARGEST_OF_ONE = 1.5  # of floats that are read as 0 to 1, since filters can overshoot a little
FEWEST_OF_255 = 16  # the least maximum of floats that are read as 0 to 255
CELLS = 8  # to which frames are averaged, each way, before they are compared
COMPARED = 2**24  # pixels that are compared, about
MOST_COMPARED = 100  # places of each axis of series
ALIKE = 0.6  # frames at one place of the first axis, as a share of those along the second
EQUAL = 0.99  # of what a mask keeps, if it is turned around
LENGTHS = "Give lengths (N,) in steps, or a mask; of a csv leave these lines out"
DIGITS = {6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M"}  # of dates, by their number
Encoded = dict[str, tuple[np.ndarray, tuple[str, ...] | None]]  # numbers, and names of classes


def find_arrays(path: Path, size: int, fit: str) -> RawSequences:
    """The rows of an array of frames or series in an npy or npz file, with mask and labels."""
    arrays = read_arrays(path, "path")
    values = arrays.pop(choose_array(arrays, path.name))
    shape, notes, columns = values.shape[:2], [], []  # type: ignore[var-annotated]
    mask = read_mask(arrays, values, path.name)
    names = [str(number) for number in range(len(values))]
    table = pd.DataFrame(index=pd.MultiIndex.from_product([names, range(shape[1])]))
    frames: dict[str, Any] = {}
    convert: Callable[[np.ndarray], np.ndarray] = np.asarray
    if values.ndim == 3:
        values = values.astype(np.float64)  # of halves and long doubles, too
        values = np.where(mask if mask.ndim == 3 else mask[..., None], values, np.nan)
        mask = np.asarray(~np.isnan(values).all(2))
        axes = f"(N, T, D): {shape[0]} rows of {shape[1]} steps and {values.shape[2]} variables"
        whole = pd.DataFrame(values.reshape(-1, values.shape[2]), table.index)
        whole = whole.add_prefix("variable ")
        variables, notes = drop_constants(whole, path.name)
        check_order(values, path.name)
        columns, values = [*variables.columns], variables.to_numpy().reshape(*shape, -1)
        table = whole.drop(columns=columns).convert_dtypes()  # Whole numbers are classes.
    else:
        values, convert = as_images(values, size, fit, path.name, notes)
        means = np.where(mask, values.reshape(*shape, -1).mean(2), np.nan)
        notes += [f"Careful: {each}." for each in doubt_padding(means[..., None], LENGTHS)]
        check_order(values, path.name)
        axes = f"(N, T, C, H, W): {' x '.join(map(str, values.shape))}"
        frames = {"planes": math.prod(values.shape[:3]), "sizes": {values.shape[:2:-1]}}

    def read(number: int) -> Values:
        return convert(values[number]), mask[number]

    about = axes, "one place of the second axis"
    raw = RawSequences("rows", names, read, *about, notes=notes, columns=columns, **frames)
    for name, label in arrays.items():
        where, expected = f"{path.name}, {name}", f"numbers, text or dates {shape[:1]} or {shape}"
        holds = label.shape in (shape[:1], shape) and label.dtype.kind in "biufUMm"
        check_field(holds, where, expected, f"{label.shape} of {label.dtype}")
        check_classes(where, label)
        table[name] = np.repeat(label, shape[1]) if label.ndim == 1 else label.ravel()
    return add_labels(raw, table)


def read_mask(arrays: dict[str, np.ndarray], values: np.ndarray, file: str) -> np.ndarray:
    """Which steps (N, T), or values (N, T, D), were observed, by an array `mask` or `lengths`.

    Refuses a mask that is True where values are missing, as that of `numpy.ma` is.
    """
    shape, where = values.shape[:2], f"{file}, mask"
    within, ends = np.ones(shape, bool), arrays.get("lengths", np.zeros(0))
    is_count = ends.shape == shape[:1] and ends.dtype.kind in "iuf" and not (ends % 1).any()
    if is_count and ends.max() <= shape[1]:
        within = np.arange(shape[1]) < arrays.pop("lengths")[:, None]
    mask, shapes = arrays.pop("mask", within), [shape, *[values.shape] * (values.ndim == 3)]
    holds = mask.shape in shapes and mask.dtype.kind in "biuf"
    expected, found = f"True and False, of a shape of {shapes}", f"{mask.shape} of {mask.dtype}"
    check_field(holds, where, expected, found)
    mask = mask.astype(bool)
    cells = values if values.ndim == 3 else values.reshape(*shape, -1).mean(2)
    kept, left = (np.unique(cells[each], return_counts=True)[1] for each in (mask, ~mask))
    is_turned = kept.max(initial=0) >= EQUAL * kept.sum()
    is_turned = is_turned and left.max(initial=0) < EQUAL * left.sum()
    expected = "True where values were observed (of numpy.ma's mask give its opposite, ~mask)"
    check_field(not is_turned, where, expected, "one value in nearly all of these places")
    return mask


def choose_array(arrays: dict[str, np.ndarray], file: str) -> str:
    """The name of the only array that can be frames or series."""
    likely = [name for name in arrays if name in ("frames", "series")]
    likely = likely or [name for name in arrays if arrays[name].ndim > 2]
    shown = [f"{name} {array.shape} of {array.dtype}" for name, array in arrays.items()]
    chosen = arrays[likely[0]] if len(likely) == 1 else np.zeros(0)
    holds = chosen.ndim in (3, 4, 5) and chosen.dtype.kind in "buif"
    expected = "one array of numbers: frames (N, T, C, H, W), or series (N, T, D), (N, T, 1)"
    expected += "; shorter sequences are padded, beside an array of lengths (N,)"
    check_field(holds, file, expected, ", ".join(shown))
    return likely[0]


def as_images(
    values: np.ndarray, size: int, fit: str, name: str, notes: list[str]
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Frames as (N, T, C, H, W), and what makes bytes (T, C, size, size) of one sequence."""
    if values.ndim == 4 and values.shape[3] not in (1, 3):
        check_last(values, name)
        values = values[:, :, None]
        notes.append("Four axes are read as (N, T, H, W), without colour (one film? give x[None]).")
    elif values.ndim == 5 and values.shape[2] not in (1, 3) and values.shape[4] in (1, 3):
        values = np.moveaxis(values, 4, 2)
        notes.append("The colours are the array's last axis, (N, T, H, W, C).")
    holds = values.ndim == 5 and values.shape[2] in (1, 3)
    expected = "frames (N, T, C, H, W) of 1 or 3 colours (one film? give x[None])"
    check_field(holds, name, expected, values.shape)
    low, high = float(values.min()), float(values.max())  # NaN if one value is
    most = LARGEST_OF_ONE if values.dtype.kind == "f" else 1
    is_odd = values.dtype.kind == "f" and most < high < FEWEST_OF_255
    expected = f"frames from 0 to 1 or from 0 to 255 (floats must then reach {FEWEST_OF_255})"
    check_field(low >= 0 and high <= 255 and not is_odd, name, expected, f"{low:g} to {high:g}")
    factor = np.float32(1 if high > most else 255)
    if values.dtype.kind == "f" and 1 < high <= most:
        notes.append(f"Values above 1, up to {high:g}, are read as 1.")

    def convert(frames: np.ndarray) -> np.ndarray:
        if frames.dtype != np.uint8 or factor != 1:
            frames = np.rint(np.minimum(frames * factor, 255)).astype(np.uint8)  # (T, C, H, W)
        if frames.shape[2:] == (size, size):
            return frames
        count = frames.shape[1]
        pictures = frames[:, 0] if count == 1 else frames.transpose(0, 2, 3, 1)
        fitted = (fit_picture(Image.fromarray(picture), size, fit) for picture in pictures)
        return np.stack([picture[:count] for picture in fitted])

    return values, convert


def check_last(values: np.ndarray, name: str) -> None:
    """Refuse grey frames (N, H, W, T), if they are square: their first two axes look alike."""
    if values.shape[1] == values.shape[2] != values.shape[3]:
        some = values[: max(1, COMPARED // values[0].size)].astype(np.float32)
        first, second, last = (np.abs(np.diff(some, axis=axis)).mean() for axis in (1, 2, 3))
        is_last = max(first, second) * min(last, second) < max(last, second) * min(first, second)
        remedy = "np.moveaxis(x, -1, 1) mends it, or x[:, :, None], if they are none"
        found = f"square frames whose last axis is time; {remedy}"
        check_field(not is_last, name, "grey frames (N, T, H, W)", found)


def check_order(values: np.ndarray, name: str) -> None:
    """Refuse frames (N, T, C, H, W) or series (N, T, D) whose second axis is not time.

    Moving MNIST is published with time first, and series often with time last. Values that follow
    each other are more alike than values at random. Those of an array are so along its second axis.
    """
    if values.ndim == 5:
        side = max(1, min(values.shape[3:]) // CELLS)
        most = max(4, math.isqrt(COMPARED // math.prod(values.shape[2:])))
        height, width = (length // side for length in values.shape[3:])
        block = values[:most, :most, :, : height * side, : width * side]
        cells = block.reshape(*block.shape[:3], height, side, width, side).mean((4, 6))
    else:
        cells = values[:MOST_COMPARED, :MOST_COMPARED, :MOST_COMPARED]
        table = pd.DataFrame(cells.reshape(len(cells), -1))
        # Each place in its deviations over sequences, so that no variable's offset is an order.
        scaled = ((table - table.mean()) / table.std()).fillna(0)
        cells = scaled.to_numpy().reshape(cells.shape)
    next_near, next_far = compare_places(cells, 1)
    for axis, ordinal in {3: {0: "first", 2: "third"}, 5: {0: "first"}}[values.ndim].items():
        if cells.shape[axis] < 3 or cells.shape[1] < 3 - (axis == 2):
            continue
        near, far = compare_places(cells, axis)
        # Where all films move alike, frames at one time are alike, too, but films have no order.
        is_order = near < 0.95 * far and near * next_far < 1.1 * next_near * far
        # Variables that are alike, such as those of a spectrum, have an order, too, beside time.
        is_order = is_order and (axis == 0 or next_near > 0.7 * next_far)
        expected = "sequences along the first axis, and their steps along the second"
        is_film = values.shape[1:-2] == (3, 1)  # perhaps, with colours second
        mended = "one film? give x[None]; else " * is_film
        mended += f"np.swapaxes(x, {min(axis, 1)}, {max(axis, 1)}) mends it"
        found = f"steps that follow each other along the {ordinal}; {mended}"
        is_wrong = (near < ALIKE * next_near and is_order) or (is_film and next_near == 0 < near)
        check_field(not is_wrong, name, expected, found)


def compare_places(cells: np.ndarray, axis: int) -> tuple[float, float]:
    """Mean differences along an axis, between neighbours and between any two places; or NaN."""
    cells = np.moveaxis(cells, axis, 0)
    if len(cells) < 2:
        return np.nan, np.nan
    lags = range(1, len(cells))
    means = [np.abs(cells[lag:] - cells[:-lag]).mean() for lag in lags]
    return float(means[0]), float(np.average(means, weights=[len(cells) - lag for lag in lags]))


def drop_constants(numbers: pd.DataFrame, file: str) -> tuple[pd.DataFrame, list[str]]:
    """The variables of sequences, by their names in the index, and what is doubtful of them.

    A column that never changes within a sequence, but between sequences, is a label.
    """
    check_finite(numbers, file)
    by_owner = numbers.groupby(level=0, sort=False)
    is_still = (by_owner.max() - by_owner.min()).max() == 0
    has_steps = by_owner.size().max() > 1
    is_label = is_still & (numbers.max() > numbers.min()) & has_steps
    variables, names = numbers.loc[:, ~is_label], list_some(is_label.index[is_label])
    expected = "a column of numbers that change within a series"
    check_field(variables.size > 0, file, expected, names or "none")
    says = "Careful: read as labels, which the model does not see, because they never change within"
    notes = [f"{says} a sequence: {names}."] * bool(names)
    sequences = [part.to_numpy() for _, part in variables.groupby(level=0)]
    doubts = doubt_padding(sequences, LENGTHS)
    for name, column in zip(variables, variables.to_numpy(np.float64).T, strict=True):
        doubts += doubt_gaps(str(name), column, "Leave the cell empty", is_label=False)
    return variables, [*(f"Careful: {doubt}." for doubt in doubts), *notes]


# ---- tables


def list_some(names: Iterable[str]) -> str:
    """Names with commas between them, at most a dozen."""
    listed = list(names)
    listed[MOST_LISTED:] = [f"{len(listed) - MOST_LISTED} more"] * (len(listed) > MOST_LISTED)
    return ", ".join(listed)


def choose_column(columns: list[str], given: str | None, usual: tuple[str, ...], name: str) -> str:
    """The column that is given, or the only one of a usual name. name: of the argument."""
    likely = [given] if given else [column for column in columns if column.lower() in usual]
    is_clock = len(likely) > 1 and {column.lower() for column in likely} <= CLOCKS
    remedy = JOIN.format(" and ".join(likely)) if is_clock else MELT
    hint = f"--{name.replace('_', '-')} COLUMN names it; {remedy}"
    expected = f"one of the columns {list_some(columns)} ({hint})"
    holds = len(likely) == 1 and likely[0] in columns
    check_field(holds, name, expected, ", ".join(likely) or "none of a usual name")
    return likely[0]


def index_steps(table: pd.DataFrame, file: str, key: str, time: str) -> tuple[pd.DataFrame, str]:
    """A table with an index of names and times, each pair once, and a note, or "" without one."""
    where = f"{file}, {time}"
    table = table.assign(**{time: read_times(table[time], where)})
    once = ~table.duplicated([key, time])
    remedy = "" if once.all() else tell_apart(table, key, time, once)
    check_column(once, where, f"each time once for each {key}{remedy}", "a second")
    table, note = join_times(table, key, time)
    return table.set_index([key, time]), note


def tell_apart(table: pd.DataFrame, key: str, time: str, once: pd.Series) -> str:
    """What to do with several lines of a series and time, if further columns tell them apart."""
    others = [name for name in table.columns if name not in (key, time)]
    clocks = [name for name in table.columns if name == time or name.lower() in CLOCKS]
    if len(clocks) > 1 and not table.duplicated([key, *clocks]).any():
        return f" ({JOIN.format(' and '.join(clocks))})"
    usual = table.groupby(key)[time].nunique().median()
    for name in others:
        # A part of a series, such as a session, has most of its times; a measured value has few.
        is_part = table.groupby([key, name]).size().median() >= max(2, usual / 2)
        is_part = is_part and not is_float_dtype(table[name])
        if is_part and not table.duplicated([key, time, name]).any():
            is_long = len(others) == 2 and not is_numeric_dtype(table[name])
            names = f"index=[{key!r}, {time!r}], columns={name!r}"
            pivot = f"DataFrame.pivot({names}) makes a column of each {name}"
            return f" ({pivot if is_long else f'join {key} and {name} to one column'})"
    is_local = not is_numeric_dtype(table[time])
    is_local = is_local and bool(table[time][~once].dt.hour.between(1, 3).all())  # no days
    return " (of local hours at the end of summer time give the offset, as +01:00)" * is_local


def read_times(times: pd.Series, where: str) -> pd.Series:
    """Times as numbers or as dates, in ISO's form, the only clear one, or as 20260131."""
    if not is_numeric_dtype(times):
        times = pd.to_datetime(times, format="ISO8601", errors="coerce", utc=True)
    elif times.notna().all() and (times % 1 == 0).all():
        text = times.map("{:.0f}".format)
        form = DIGITS.get(int(text.str.len().max()), "%Y")
        dates = pd.to_datetime(text, format=form, errors="coerce", utc=True)
        is_date = dates.dt.year.between(1900, 2100).all() and form != "%Y"
        times = dates if is_date else times
    expected = "numbers, or dates like 2026-01-31 12:00 or 2026-01-31T12:00+01:00"
    check_column(times.notna(), where, expected, "neither")
    return times


def join_times(table: pd.DataFrame, key: str, time: str) -> tuple[pd.DataFrame, str]:
    """The table with times of different series that are nearer than half a step made one; a note.

    So 0.3 and 0.30000000000000004 are one time. Nothing is joined if a series has two such times.
    """
    ordered = table.sort_values([key, time])
    gaps = ordered.groupby(key)[time].diff()
    half = gaps[gaps > gaps * 0].median() / 2
    known = table[time].drop_duplicates().sort_values(ignore_index=True)
    begins = known[~(known.diff() <= half)].reset_index(drop=True)
    joined = begins[begins.searchsorted(table[time], "right") - 1].set_axis(table.index)
    widest = (table[time] - joined).max()
    other = table.assign(**{time: joined})
    if not widest <= half or other.duplicated([key, time]).any():
        return table, ""
    is_rounding = widest <= 1e-6 * half
    return other, "" if is_rounding else f"Times up to {widest} apart are read as one step."


def check_finite(numbers: pd.DataFrame, where: str) -> None:
    """Refuse columns of numbers of which models cannot take squares; NaN is a gap."""
    sizes = numbers.astype(np.float64).abs().max()
    is_odd = (sizes > LARGEST) | ((sizes > 0) & (sizes < SMALLEST))
    expected = f"numbers from {SMALLEST:g} to {LARGEST:g}, or zeros (scale them)"
    found = f"others, or infinity, in {list_some(is_odd.index[is_odd])}"
    check_field(not is_odd.any(), where, expected, found)


def find_series(path: Path, id_column: str | None, time_column: str | None) -> RawSequences:
    """The series of a csv file with a line per series and time: its numbers are the variables.

    A column of text, or of True and False, is a label, static if it never changes within a series.
    """
    names, _ = read_names(path, path.name)
    key = choose_column(names, id_column, ID_COLUMNS, "id_column")
    time = choose_column(names, time_column, TIME_COLUMNS, "time_column")
    check_field(key != time, "time_column", "another column than id_column", time)

    table = read_table(path, key=key, has_classes=False)
    check_column(table[key] != "", f"{path.name}, {key}", "a name in each line", "none")
    is_long = table[key].duplicated().any()
    check_field(is_long, path.name, f"several lines of each {key} ({MELT})", "one of each")
    table, note = index_steps(table, path.name, key, time)
    table = table.sort_index()
    numbers, doubts = drop_constants(table.select_dtypes("number").astype(float), path.name)
    raw = arrange_series(numbers, f"{key} tells the series apart, and {time} orders them")
    notes = [note, "A column without a name is left out." if "" in names else "", *doubts]
    return add_labels(raw.note(*filter(None, notes)), table.drop(columns=numbers.columns))


def arrange_series(numbers: pd.DataFrame, axes: str) -> RawSequences:
    """Series of the columns of a table with a row per name and time, in order of both.

    Series that share most of their times lie on one grid, where gaps can be seen.
    """
    series = {name: part.droplevel(0) for name, part in numbers.groupby(level=0, sort=False)}
    names = list(series)
    grid = numbers.index.unique(1).sort_values()
    is_shared = len(grid) <= 2 * max(map(len, series.values()))
    times = [grid if is_shared else part.index for part in series.values()]

    def read(number: int) -> Values:
        values = series[names[number]].reindex(times[number]).to_numpy()
        return values, ~np.isnan(values).all(1)

    gaps = pd.Series([part.index.to_series().diff().median() for part in series.values()])
    usual = max(times, key=len).to_series().diff().median()
    usual = f"{usual:.6g}" if isinstance(usual, float) else str(usual).removesuffix(" 00:00:00")
    notes = doubt_times([part.to_series() for part in times])
    if gaps.max() > UNEVEN * gaps.min():
        found = f"steps of some series are {gaps.max() / gaps.min():.3g} times as long as others'"
        notes.append(f"Careful: {found}, where each is one to the model; give all series one rate.")
    if not is_shared:
        notes.append("They share few times, so that each has its own steps, in their order.")
    about, columns = (axes, f"{usual} of {grid.name}"), [*numbers.columns]
    return RawSequences("series", names, read, *about, times=times, columns=columns, notes=notes)


# ---- labels


def add_labels(raw: RawSequences, table: pd.DataFrame) -> RawSequences:
    """The sequences with labels of a row per name and time; static if none changes in a name."""
    static, dynamic = raw.static.copy(), dict(raw.dynamic)
    by_name, notes = table.groupby(level=0), []
    changes = (by_name.nunique() > 1).any()
    for name in table.columns:
        if changes[name]:
            texts = table[name].dropna().astype(str).drop_duplicates()
            texts, plain = texts[: 0 if is_numeric_dtype(table[name]) else None], "plain numbers"
            expected = f"at most {MOST_CLASSES} different texts, or {plain}, or none that change"
            found = f"{len(texts)} classes, such as {', '.join(texts[:3])}"
            check_field(len(texts) <= MOST_CLASSES, f"the column {name}", expected, found)
            if len(texts) >= FEWEST_MEASURED and texts.str.contains(MEASURED).mean() > 0.5:
                says = f"Careful: {name} is read as {found}, which the model does not see"
                notes.append(f"{says}; if it is measured, give {plain}.")
            dynamic[name] = table[name]
        else:
            static[name] = by_name[name].first()
    return replace(raw.note(*notes), static=static, dynamic=dynamic)


def add_label_file(path: Path, raw: RawSequences, time_column: str | None) -> RawSequences:
    """The sequences with the labels of a csv file, whose first column names them."""
    (key, *_), _ = read_names(path, path.name, NAME)
    key = key or NAME  # beside the row numbers of pandas
    table = read_table(path, key=key)
    columns = [name for name in table.columns if name != key]
    for name in columns:
        check_column(table[name].notna(), f"{path.name}, {name}", "no gaps", "an empty cell or NA")
    table[key] = match_names(table[key], raw, path.name)
    unknown = table[key].isna().sum()
    both = sorted({*columns} & {*raw.static.columns, *raw.dynamic})
    check_field(not both, path.name, "other labels than the data have already", both)

    table = table[table[key].notna()]
    twice = table[key][table[key].duplicated()]
    if len(twice):
        found = f"{twice.iloc[0]} twice"
        expected = "one line for each recording, since labels of its steps cannot be read"
        check_field(raw.kind != "recordings", path.name, expected, found)
        holds = time_column is not None or any(name.lower() in STEP_COLUMNS for name in columns)
        expected = "each name once, or a column time, frame or step (--time-column names another)"
        check_field(holds, path.name, expected, found)
        time = choose_column(columns, time_column, STEP_COLUMNS, "time_column")
        table, _ = index_steps(table, path.name, key, time)
    else:
        table = table.set_index(key)
    note = f"{unknown} lines of {path.name} name no {raw.kind} that are here."
    return add_labels(raw.note(*[note] * bool(unknown)), table)


def match_names(written: pd.Series, raw: RawSequences, file: str) -> pd.Series:
    """The sequences that the names in a file of labels mean, with or without their ending.

    NaN for a name that is no sequence's. Refuses a file that lacks a sequence.
    """
    short = pd.Series(raw.names, [Path(name).stem for name in raw.names])
    known = short[~short.index.duplicated(keep=False)].to_dict() | {n: n for n in raw.names}
    names = written.map(known)
    check_field(written.name not in known, file, "a first line of names", f"one of {written.name}")
    lacking = sorted(set(raw.names) - set(names))
    listed = f"none for {', '.join(lacking[:2])}; its first column has {written.iloc[:2].tolist()}"
    close = get_close_matches(lacking[0], written[names.isna()], 1) if lacking else []
    listed += f"; is {close[0]} meant for {lacking[0]}?" if close else ""
    expected = f"a line for each of the {len(raw.names)} {raw.kind}"
    check_field(not lacking, file, expected, f"{len(lacking)} lacking, {listed}")
    return names


def encode_labels(labels: Mapping[str, pd.Series] | pd.DataFrame) -> Encoded:
    """Labels as floats, or as the numbers of their classes and the names of these."""
    encoded: Encoded = {}
    for name in labels:
        label, where = labels[name], f"the label {name}"
        gaps = label.index[label.isna()][:1].tolist()
        check_field(not gaps, where, "no gaps", f"an empty cell, or one like NA, at {gaps}")
        if is_float_dtype(label):
            check_finite(label.to_frame(name), where)
            encoded[name] = label.to_numpy(np.float32), None
            continue
        label = label if is_numeric_dtype(label) else label.map(normalise)
        numbers, classes = pd.factorize(label, sort=True)
        encoded[name] = numbers, tuple(map(str, classes))
    return encoded


def describe_labels(labels: Encoded) -> str:
    """The names of labels, and their first classes."""
    listed = []
    for name, (_, classes) in labels.items():
        first = ", ".join((classes or ())[:4]) + ", ..." * (len(classes or ()) > 4)
        listed.append(f"{name} ({f'{len(classes)} classes: {first}' if classes else 'numbers'})")
    return list_some(listed)


def describe_source(raw: RawSequences, counts: set[int], *labels: Encoded) -> list[tuple[str, str]]:
    """What the files were taken for, a row each; what there is none of is left out.

    counts: of the steps of sequences. labels: of sequences, and of steps.
    """
    ends = " to ".join(map(str, sorted({min(counts), max(counts)})))
    rows = [("found", f"{len(raw.names)} {raw.kind} of {ends} steps"), ("axes", raw.axes)]
    rows += [("step", raw.step), ("variables", list_some(raw.columns))]
    rows.append(("labels of sequences", describe_labels(labels[0]) or "none"))
    rows.append(("labels of steps", describe_labels(labels[1]) or "none"))
    return [row for row in rows if row[1]]
