"""Named arrays from anybody's files: npz, npy and csv, each fault said with its remedy."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

FEW_WHOLE = 20  # whole values of floats that may be the numbers of classes


def read_arrays(path: Path | str, field: str) -> dict[str, np.ndarray]:
    """The arrays of an npz file by name, of an npy file by the file's name, of a csv by column.

    field: what they are, such as "codes", with which messages begin. Raises ValueError for a file
    that is missing, of another kind, damaged, empty, or that holds Python objects.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "does not exist"
        raise ValueError(f"{field}: expected a file, but {path} {kind}")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        arrays = read_table(path, field)
    elif suffix in (".npz", ".npy"):
        arrays = read_numpy(path, field)
    else:
        raise ValueError(f"{field}: expected an npz, npy or csv file, found {path.name}")
    for name, values in arrays.items():
        if not values.size or not values.ndim:
            raise ValueError(
                f"{field} {name!r}: expected one row for each sequence, found {values.shape}"
            )
    if not arrays:
        raise ValueError(f"{field}: expected at least one array, but {path.name} has none")
    return arrays


def read_numpy(path: Path, field: str) -> dict[str, np.ndarray]:
    """The arrays of an npz or npy file."""
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {path.stem: found}
        with found:
            return {name: found[name] for name in found.files}
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
    columns = {}
    table.columns = table.columns.astype(str).str.strip()
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise ValueError(
            f"{field}: expected names that differ in {path.name}, found {twice[0]!r} twice"
        )
    for name in table.columns:
        if table[name].isna().any():
            row = int(table[name].isna().to_numpy().argmax())
            raise ValueError(f"{field} {name!r}: expected no gaps, but line {row + 2} has no value")
        values = table[name].to_numpy()
        is_text = values.dtype.kind == "O"
        columns[name] = np.char.strip(values.astype(str)) if is_text else values
    return columns


def may_be_classes(values: np.ndarray) -> bool:
    """Whether floats may be the numbers of classes: few values, and all of them whole."""
    known = np.unique(values[~np.isnan(values)])
    return len(known) <= FEW_WHOLE and bool((known == np.round(known)).all())
