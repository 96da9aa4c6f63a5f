"""Named arrays from anybody's files: npz, npy and csv."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from unbraid.checks import check_field

MOST_CLASSES = 20  # of whole numbers that are floats


def read_arrays(path: Path | str, field: str) -> dict[str, np.ndarray]:
    """The arrays of an npz file by name, of an npy file by the file's name, of a csv by column.

    field: what they are, such as "codes", with which messages begin. Raises ValueError for a file
    that is missing, of another kind, damaged, empty, or that holds Python objects.
    """
    path = Path(path)
    kind = "a folder" if path.is_dir() else "nothing"
    check_field(path.is_file(), field, "a file", f"{kind} at {path}")
    suffix = path.suffix.lower()
    check_field(suffix in (".csv", ".npz", ".npy"), field, "an npz, npy or csv file", path.name)
    arrays = read_table(path, field) if suffix == ".csv" else read_numpy(path, field)
    check_field(len(arrays) > 0, field, "at least one array", f"none in {path.name}")
    for name, values in arrays.items():
        holds = values.size > 0 and values.ndim > 0
        check_field(holds, f"{field} {name!r}", "one row for each sequence", values.shape)
    return arrays


def read_numpy(path: Path, field: str) -> dict[str, np.ndarray]:
    """The arrays of an npz or npy file."""
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {path.stem: content}
        with content:
            return {name: content[name] for name in content.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{field}: {path.name} cannot be read ({error}); write it with numpy.savez, from "
            "arrays of numbers or text, not of objects"
        ) from None


def read_table(path: Path, field: str) -> dict[str, np.ndarray]:
    """The columns of a csv file with a line of names; whole numbers and text are classes."""
    try:
        table = pd.read_csv(path)
    except (UnicodeDecodeError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise ValueError(f"{field}: {path.name} is no csv file in UTF-8 ({error})") from None
    table.columns = table.columns.astype(str).str.strip()
    twice = table.columns[table.columns.duplicated()].tolist()
    check_field(not twice, field, f"names that differ in {path.name}", f"{twice} twice")
    columns = {}
    for name in table.columns:
        lines = ", ".join(map(str, np.flatnonzero(table[name].isna())[:3] + 2))
        check_field(not lines, f"{field} {name!r}", "no gaps", f"empty cells in line {lines}")
        values = table[name].to_numpy()
        is_text = values.dtype.kind == "O"
        columns[name] = np.char.strip(values.astype(str)) if is_text else values
    return columns


def may_be_classes(values: np.ndarray) -> bool:
    """Whether floats may be the numbers of classes: few values, and all of them whole."""
    known = np.unique(values[~np.isnan(values)])
    return len(known) <= MOST_CLASSES and bool((known == np.round(known)).all())
