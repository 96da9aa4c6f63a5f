"""The one reader of anybody's csv files, for `measure` and `train` alike. Nothing is guessed."""

from __future__ import annotations

import csv
import re
import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
from unbraid.checks import HIDDEN, check_field, check_path, refuse

NAME = "name"  # of a first column that names the rows and has no name of its own
OTHER_MARKS = ";\t|"  # between cells, instead of commas
NO_NAME = r"sep=.?|[+-]?\d*\.\d+(e[+-]?\d+)?"  # Excel's first line, and measured numbers
# Words that are gaps among numbers, in small letters; among text a class may be called None.
GAPS = ("na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none")
# Joiners are kept where scripts such as Persian need them, between two letters.
UNSEEN = rf"(?!(?<=[\u0600-\u1fff])[\u200c\u200d](?=[\u0600-\u1fff])){HIDDEN}"
# A number as it is also written: below a limit, with a currency, marks between thousands, a unit.
MARKED = (
    r"^(?P<limit>[<>≤≥]?) ?[-+\u2212]?(?:[A-Z]{0,2}[$€£¥])? ?(?=[.,]?\d)"
    r"(?:[1-9]\d{0,2}(?:[ ,'’\u00a0\u202f]\d{3})+|[1-9]\d{0,2}(?:\.\d{3})+(?=,)|\d*)"
    r"(?P<point>(?:[.,]\d+)?)(?:[edqEDQ][-+]?\d+)?\s*(?P<unit>[^\d\s.,:;+-]{0,8})$"
)


def normalise(name: object) -> str:
    """A name in one Unicode form (NFC), as systems write umlauts in two, and without `UNSEEN`.

    Bytes of a file's name that are no text become an escape, so that they can be written.
    """
    text = unicodedata.normalize("NFC", re.sub(UNSEEN, "", str(name)).strip())
    return text.encode(errors="backslashreplace").decode()


def read_table(
    path: Path, field: str = "", *, key: str | None = None, has_classes: bool = True
) -> pd.DataFrame:
    """A csv file in UTF-8 with a line of names, and below it as many cells in each line.

    field: what the file holds, such as "factors", with which messages begin.
    key: the column that names the rows, taken as it is written: 007 stays 007, and an empty cell
        stays "". A first column without a name is given this one, if no other has it; else it must
        count 0, 1, 2, ..., as pandas writes it, and is left out.
    has_classes: whole numbers are classes, as text is.

    Columns of numbers have NaN for an empty cell or a word like NA; columns of text are strings
    without spaces around them, with NaN for an empty cell alone. Raises ValueError with the line
    for cells beyond or short of the names, an open quote, other marks than commas between cells,
    names that are lacking or equal, other encodings, no rows, text among or around numbers.
    """
    check_path(path=path)
    where = f"{field}: {Path(path).name}" if field else Path(path).name
    names, count = read_names(path, where, key)
    check_field(key in (None, *names), where, f"a column {key}", ", ".join(names))
    options: dict[str, Any] = {"names": names, "header": 0, "index_col": False}
    options |= {"dtype": {key: str}, "encoding": "utf-8-sig", "low_memory": False}
    gaps = {name: [""] for name in names if name != key}
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=gaps, **options)
    except ValueError as error:  # pandas' own errors are ValueErrors
        raise ValueError(f"{where}: expected a table, found {str(error).splitlines()[0]}") from None
    check_field(len(table) == count, where, f"{count} rows", len(table))
    for name in names:
        if name == key:
            table[name] = table[name].map(normalise)
        elif not pd.api.types.is_numeric_dtype(table[name]):
            table[name] = convert(table[name])
            check_text(table[name], f"{where}, {name}", has_classes)
    if not names[0]:
        expected = "a name for each column (only one, beside others, that counts from 0 has none)"
        is_count = len(names) > 1 and table[""].tolist() == list(range(count))
        check_field(is_count, where, expected, "none for the first")
        table = table.drop(columns="")
    return table


def read_names(path: Path, where: str, key: str | None = None) -> tuple[list[str], int]:
    """The names of the columns, and the number of rows, each of which has as many cells.

    where: with what messages begin; key and errors as of `read_table`.
    """
    reader = None
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            is_text = "\0" not in file.read(4096)
            check_field(is_text, where, "a csv file in UTF-8", "bytes of zero, as in UTF-16")
            file.seek(0)
            reader = csv.reader(file, strict=True)
            names = check_names(next(reader, []), where, key)
            count = count_rows(reader, len(names), where)
    except UnicodeDecodeError as error:
        kind = "UTF-16" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else "another encoding"
        found = f"{kind} ({error.object[error.start : error.end]!r}); save it as UTF-8"
        raise ValueError(f"{where}: expected a csv file in UTF-8, found {found}") from None
    except csv.Error as error:
        expected = "commas between cells, and quotes around whole cells alone"
        found = f"{error}, in line {reader.line_num if reader else 1}"
        raise ValueError(f"{where}: expected {expected}, found {found}") from None
    except OSError as error:
        raise ValueError(f"{where}: expected a file, found {error.strerror}") from None
    check_field(count > 0, where, "a line of names and at least one below it", "none")
    return names, count


def count_rows(reader: Any, width: int, where: str) -> int:
    """The number of lines that are not blank; refuses those of another number of cells."""
    count = 0
    for row in reader:
        if len(row) > 1 or "".join(row).strip():
            if len(row) != width:
                found = f"{len(row)} in line {reader.line_num}"
                remedy = " (is that a comment? leave it out)" * (width == 1)
                refuse(where, f"{width} cells in each line, as in the first{remedy}", found)
            count += 1
    return count


def check_names(cells: list[str], where: str, key: str | None) -> list[str]:
    """The names in the first line; refuses other marks than commas, and names lacking or equal."""
    names = [re.sub(r"^Unnamed: [\d.]+$", "", normalise(cell)) for cell in cells]  # of pandas
    if names:
        names[0] = names[0].removeprefix("# ")  # as numpy.savetxt writes it
    given = [name for name in names if name and not re.fullmatch(NO_NAME, name)]
    expected = "a first line of names, with commas between them"
    is_named = len(given) == len(list(filter(None, names))) > 0
    check_field(is_named, where, expected, ", ".join(cells)[:60] or "none")
    is_marked = len(names) == 1 and any(mark in names[0] for mark in OTHER_MARKS)
    check_field(not is_marked, where, "commas between cells", f"another mark in {names[0][:60]!r}")
    if key and not names[0] and key not in names:
        names[0] = key
    for number, name in enumerate(names):
        expected = "a name for each column (of pandas, index=False leaves out row numbers)"
        check_field(name or not number, where, expected, f"none for column {number + 1}")
        expected = "names that differ (several lines? header=[0, 1, 2] reads three, join them)"
        check_field(name not in names[:number], where, expected, f"{name!r} twice")
    return names


def convert(column: pd.Series) -> pd.Series:
    """A column of text as numbers, if all but gaps are numbers; else without spaces around it."""
    cells = column.map(normalise, na_action="ignore")
    cells = cells.mask(cells == "")
    numbers, is_gap = pd.to_numeric(cells, errors="coerce"), cells.str.lower().isin(GAPS)
    is_number = numbers.notna().any() and (numbers.notna() | is_gap | cells.isna()).all()
    is_cleaned = cells.str.len().sum() < column.dropna().astype(str).str.strip().str.len().sum()
    # Other text is text to pandas, too: a number of more digits than it can hold.
    return numbers if is_number and (is_gap.any() or is_cleaned) else cells


def check_column(holds: pd.Series, where: str, expected: str, found: str) -> None:
    """Refuse a column with the line of its first cell where something does not hold."""
    line = holds.idxmin() + 2 if len(holds) else 2  # The names stand in the first one.
    check_field(bool(holds.all()), where, expected, f"{found} in line {line}")


def check_text(column: pd.Series, where: str, has_classes: bool) -> None:
    """Refuse a column of text most of which are numbers, with a word, marks or one unit beside.

    has_classes: whole numbers beside text, such as rooms 1, 2 and 2b, are classes.
    """
    cells = column.dropna().astype(str)
    is_number, parts = pd.to_numeric(cells, errors="coerce").notna(), cells.str.extract(MARKED)
    # Whole numbers may have one unit; 1st and 2nd, or 5a and 6b, are classes.
    units = {"", *parts["unit"].dropna()}
    whole = [] if has_classes else units if len(units) < 3 else [""]
    is_meant = (parts["point"].str.len() > 0) | parts["unit"].isin(whole)
    # Beside plain numbers <0.5 is a limit of detection, else perhaps a class, such as <18.
    is_meant &= (parts["limit"] == "") | is_number.any()
    is_word = ~cells.str.contains(r"\d")  # a mark of what is missing, if there are few
    if cells[is_word].nunique() < cells[~is_word].nunique():
        is_meant = is_meant[~is_word]
    if is_meant.mean() >= 0.5:
        remedy = "gaps are empty cells, classes begin with a letter"
        expected = f"numbers with a decimal point and without other marks ({remedy})"
        check_column(is_number, where, expected, repr(cells[is_number.idxmin()]))
