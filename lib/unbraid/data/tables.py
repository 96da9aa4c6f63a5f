"""Tables of numbers in text files, read strictly: what is not as announced is an error that names the file and the line.

Numbers are tested against the range in which they can be true, so that a damaged digit rarely passes for data.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unbraid.data.sources import DataError, cache_directory, find, mend, problem

_FULL_HOUR = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:00:00")
LARGEST = 2**26  # characters of an unpacked file; the largest of the course has 2.9 million


def files_of(dataset: str) -> dict[str, Path]:
    """Path of each file of a source by its name; `DataError` unless all are here."""
    if (found := find(dataset)) is None:
        meanwhile = (
            ""
            if dataset in ("vowels", "weather")
            else "; meanwhile use vowels or weather, which come with the clone"
        )
        advice = mend(dataset, cache_directory() / dataset) + meanwhile
        raise problem(
            f"{dataset}: not at hand",
            "its files in the clone, the cache or the mirror",
            "not all of them",
            advice,
        )
    return found


def wrong(path: Path, line: int, expected: object, found: object, dataset: str) -> DataError:
    """The error about one line of a file of a source; lines are counted from 1."""
    found = found if len(str(found)) <= 80 else f"{str(found)[:77]}..."
    return problem(
        f"{path}, line {line}: damaged ({dataset})", expected, found, mend(dataset, path.resolve())
    )


def read_lines(path: str | os.PathLike, dataset: str) -> list[str]:
    """The lines of a text file in ASCII, unpacked if its name ends in .gz, without their ends.

    dataset  the source that the file belongs to, for the advice in errors, here and below

    Raises `DataError` for a file that cannot be read or unpacked, is larger than `LARGEST`, holds other characters, or
    stops within a line.
    """
    path = Path(path)
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as stream:
            content = stream.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise problem(
            f"{path}: damaged ({dataset})", "a complete file", error, mend(dataset, path.resolve())
        ) from error
    if len(content) > LARGEST:
        raise problem(
            f"{path}: damaged ({dataset})",
            f"at most {LARGEST} characters",
            "more",
            mend(dataset, path.resolve()),
        )
    try:
        lines = content.decode("ascii").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise wrong(
            path, line, "plain text (ASCII)", f"the byte 0x{content[error.start]:02x}", dataset
        ) from error
    if lines.pop():
        raise wrong(path, len(lines) + 1, "the end of the line", "the end of the file", dataset)
    return lines


def numbers(
    path: Path,
    texts: Sequence[str],
    low: float,
    high: float,
    dataset: str,
    missing: str | None = None,
    line: int | None = None,
) -> np.ndarray:
    """Texts as float64 (n,), NaN for the text `missing`.

    They stand on the line `line`, or, if none is given, one below the other from line 2.

    Raises `DataError` for a text that is no number, or a number outside `low` ... `high`.
    """
    filled = texts if missing is None else ["nan" if text == missing else text for text in texts]
    try:
        values = np.array(filled, np.float64)
    except ValueError:
        values = np.array(
            [float(text) if _is_number(text) else np.nan for text in filled], np.float64
        )
    outside = np.flatnonzero(
        ~((low <= values) & (values <= high))
    )  # among them the missing ones, which are NaN
    row = next((int(row) for row in outside if texts[row] != missing), None)
    if row is not None:
        raise wrong(
            path, line or row + 2, f"a number from {low:g} to {high:g}", repr(texts[row]), dataset
        )
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


Column = tuple[float, float] | range | tuple[str, ...] | None


def read_table(
    path: str | os.PathLike,
    header: Sequence[str],
    columns: dict[str, Column],
    dataset: str,
    missing: str | None = None,
) -> dict[str, np.ndarray]:
    """Columns of a file of comma-separated values, each (n,).

    header   the names in the first line, all of them; quotation marks are left out everywhere
    columns  what is read: (low, high) for numbers in that range, float64; a range for integers in it, int64; texts for one
             of these; None for any text
    missing  the text that stands for a number that was not observed, which becomes NaN; integers and texts must be there

    Raises `DataError` for another header, a line with more or fewer values, a value that is not of its kind, no line at all.
    """
    path = Path(path)
    lines = read_lines(path, dataset)
    if not lines or lines[0].replace('"', "") != ",".join(header):
        raise wrong(
            path,
            1,
            f"the header {','.join(header)}",
            repr(lines[0]) if lines else "an empty file",
            dataset,
        )
    if len(lines) == 1:
        raise wrong(path, 2, "at least one line of values", "the end of the file", dataset)
    for number, line in enumerate(lines, 1):
        if line.count(",") != len(header) - 1:
            raise wrong(path, number, f"{len(header)} values", f"{line.count(',') + 1}", dataset)
    texts = ",".join(lines[1:]).replace('"', "").split(",")
    return {
        name: _column(path, texts[header.index(name) :: len(header)], kind, dataset, missing)
        for name, kind in columns.items()
    }


def _column(
    path: Path, texts: Sequence[str], kind: Column, dataset: str, missing: str | None
) -> np.ndarray:
    if isinstance(kind, range):
        values = numbers(path, texts, kind.start, kind.stop - 1, dataset)
        if (values % 1).any():
            row = int((values % 1 != 0).argmax())
            raise wrong(path, row + 2, "a whole number", repr(texts[row]), dataset)
        return values.astype(np.int64)
    if kind and not isinstance(kind[0], str):
        return numbers(path, texts, *kind, dataset, missing)
    if kind:
        other = next((row for row, text in enumerate(texts) if text not in kind), None)
        if other is not None:
            raise wrong(path, other + 2, f"one of {', '.join(kind)}", repr(texts[other]), dataset)
    return np.array(texts)


def moments(path: Path, texts: Sequence[str], dataset: str) -> np.ndarray:
    """Texts such as 2016-07-01 00:00:00, the first on line 2, as full hours, datetime64[h] (n,). Raises `DataError`."""
    hours = np.empty(len(texts), "datetime64[h]")
    for row, text in enumerate(texts):
        try:
            hours[row] = np.datetime64(text[:13] if _FULL_HOUR.fullmatch(text) else "none")
        except ValueError:
            raise wrong(
                path, row + 2, "a full hour, such as 2016-07-01 00:00:00", repr(text), dataset
            ) from None
    return hours


def check_hourly(path: Path, hours: np.ndarray, dataset: str) -> None:
    """Raise `DataError` unless each line of a table is one hour after the line before; hours: datetime64[h] (n,), from line 2."""
    if (steps := np.diff(hours).astype(np.int64) != 1).any():
        row = int(steps.argmax()) + 1
        raise wrong(path, row + 2, f"the hour after {hours[row - 1]}", f"{hours[row]}", dataset)
