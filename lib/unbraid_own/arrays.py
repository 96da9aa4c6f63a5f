"""Named arrays from anybody's files (npz, npy, csv, pt), and their checks before a measurement."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from unbraid.checks import (
    as_array,
    check_classes,
    check_field,
    check_named,
    check_names,
    check_path,
    given_array,
    measurable_array,
    number_groups,
    to_index,
)

SUFFIXES = (".npz", ".npy", ".csv", ".pt", ".pth")
MADE_BY = "unbraid_own measure"  # what files of this command say of themselves
NO_UNITS = ("id", "index", "name", "row", "sequence", "series")  # columns beside codes
OF_STEPS = ("mask", "lengths")  # what says which steps of codes are none
FEWEST, FEWEST_GROUPS = 20, 10  # sequences, or groups of them
LARGEST_SEED = 2**32 - 1  # of scikit-learn and older generators of NumPy
ROWS_PER_CLASS = 4  # on average, at least
ROWS_OUTSIDE = 10  # of the most frequent class, at least

Arrays = dict[str, np.ndarray]
Named = Mapping[str, ArrayLike]


def read_arrays(path: Path | str, field: str) -> Arrays:
    """The arrays of an npz file by name, of an npy file by the file's name, of a csv by column.

    Of a pt file, as `torch.save` writes it, a tensor or a dict of tensors. field: what they are,
    such as "codes", with which messages begin. Raises ValueError for a file that is missing, of
    another kind, damaged, empty, or that holds Python objects.
    """
    check_path(path=path)
    path = Path(path)
    kind = "a folder" if path.is_dir() else "nothing"
    check_field(path.is_file(), field, "a file", f"{kind} at {path}")
    expected = "an npz, npy, csv or pt file (numpy.savez writes arrays of any other kind)"
    check_field(path.suffix.lower() in SUFFIXES, field, expected, path.name)
    read = read_columns if path.suffix.lower() == ".csv" else read_named
    arrays = read(path, field)
    check_field(len(arrays) > 0, field, "at least one array", f"none in {path.name}")
    for name, values in arrays.items():
        holds = values.size > 0 and values.ndim > 0
        expected = "one row for each sequence (of a sparse matrix x.toarray())"
        check_field(holds, f"{field} {name!r}", expected, values.shape)
    return arrays


def read_codes(path: Path | str) -> Arrays:
    """The codes of a file, as `read_arrays`; of a csv, its columns as the units of codes.

    Columns static_0, static_1, dynamic_0 are the codes static and dynamic; of other names all
    columns are one code, called as the file.
    """
    arrays = read_arrays(path, "codes")
    path = Path(path)
    expected = "units alone (leave names out, once both files have one order)"
    for name, values in arrays.items():
        is_unit = values.ndim > 1 or name.lower() not in NO_UNITS
        is_unit = is_unit and values.dtype.kind not in "UM"
        check_field(is_unit, f"codes {name!r}", expected, "text, or names of rows")
    if path.suffix.lower() != ".csv":
        return arrays
    parts = {name: re.fullmatch(r"(.+)_(0|[1-9]\d*)", name) for name in arrays}
    if not any(parts.values()):
        return {path.stem: np.stack([*arrays.values()], 1)}  # (N, D)
    others = [name for name, part in parts.items() if part is None]
    expected = "all columns of units called CODE_NUMBER, such as static_0, or none"
    check_field(not others, "codes", expected, f"{', '.join(others)} beside others")
    units: dict[str, list[np.ndarray]] = {}
    for name in sorted(arrays, key=lambda name: int(name.rpartition("_")[2])):
        units.setdefault(name.rpartition("_")[0], []).append(arrays[name])
    return {code: np.stack(columns, 1) for code, columns in units.items()}


def read_columns(path: Path, field: str) -> Arrays:
    """The columns of a csv file; whole numbers and text are classes."""
    # imported lazily, because pandas takes a second
    from unbraid_own.tables import check_column, read_table

    table = read_table(path, field)
    columns = {}
    for name in table.columns:
        words = "no gaps (empty cells, or among numbers a word like NA)"
        check_column(table[name].notna(), f"{field} {name!r}", words, "one")
        values = table[name].to_numpy()
        columns[name] = values.astype(str) if values.dtype.kind == "O" else values
    return columns


def read_named(path: Path, field: str) -> Arrays:
    """The arrays of an npz, npy or pt file."""
    with open(path, "rb") as file:
        head = file.read(40)
    is_text = len(head) > 0 and head.isascii() and b"\0" not in head  # such as a page, a pointer
    check_field(not is_text, f"{field}: {path.name}", "arrays (fetch it again)", f"text, {head!r}")
    if is_packed := zipfile.is_zipfile(path):
        weigh(path, field)
    try:
        if path.suffix.lower() in (".pt", ".pth"):
            import torch  # imported lazily, because it takes a second

            if is_packed and (damaged := zipfile.ZipFile(path).testzip()):
                raise ValueError(f"{damaged} has other bytes than were written")
            content = torch.load(path, map_location="cpu", weights_only=True)
        else:
            content = np.load(path, allow_pickle=False)
        named = content if isinstance(content, Mapping) else {path.stem: content}
        arrays = {}
        for name, part in named.items():
            several = part if isinstance(part, list | tuple) else [part] * isinstance(part, dict)
            is_one = not any(hasattr(each, "ndim") or isinstance(each, dict) for each in several)
            expected = "a tensor or a dict of tensors (torch.cat joins batches)"
            check_field(is_one, str(name), expected, f"a {type(part).__name__}")
            values = as_array(part)
            is_bytes = values.dtype.kind == "S"
            # A number or a word beside arrays, such as an epoch, is none of them.
            if values.ndim or is_bytes:
                arrays[str(name)] = np.char.decode(values, "utf-8") if is_bytes else values
        return arrays
    except Exception as error:  # zipfile and pickle raise nearly anything for a damaged file
        reason = str(error).partition("\n")[0] or type(error).__name__
        reason = "Python objects, as a model is" if "Weights only" in reason else reason
        remedy = "write arrays with numpy.savez (objects .astype(str) or float, rows of unequal "
        remedy += "length padded, beside an array of lengths), or tensors with torch.save"
        raise ValueError(f"{field}: {path.name} cannot be read ({reason}); {remedy}") from None


def weigh(path: Path, field: str) -> None:
    """Refuse a packed file whose arrays need more memory than is free, or that has a name twice."""
    import psutil  # imported lazily, because only packed files need it

    members, where = zipfile.ZipFile(path).infolist(), f"{field}: {path.name}"
    need, free = sum(each.file_size for each in members), psutil.virtual_memory().available
    remedy = "fewer rows, or floats of 32 bits"
    expected = f"arrays of at most {free / 1e6:.0f} MB, which are free ({remedy})"
    check_field(need < free, where, expected, f"{need / 1e6:.0f} MB")
    names = [each.filename for each in members]
    check_field(len(set(names)) == len(names), where, "names that differ", "one twice")


def join_names(parts: Any, known: Iterable[str]) -> Any:
    """The names in a text that was split at commas, of which a known name may have some, too."""
    if not isinstance(parts, list) or not parts:
        return parts
    spelt = {re.sub(r"\s*,\s*", ",", name): name for name in known}
    ends = (end for end in range(len(parts), 1, -1) if ",".join(map(str, parts[:end])) in spelt)
    end = next(ends, 1)
    return [spelt.get(",".join(map(str, parts[:end])), parts[0]), *join_names(parts[end:], known)]


# ---- checks


def check_inputs(
    codes: Named, factors: Named, dynamic: Sequence[str] | None, groups: ArrayLike | None = None
) -> tuple[Arrays, Arrays]:
    """Codes and factors as arrays, checked as far as the measures do not check them."""
    check_named(codes=codes, factors=factors)
    arrays = {name: measurable_array(f"code {name!r}", code) for name, code in codes.items()}
    check_names("dynamic", () if dynamic is None else dynamic, factors)
    for name, code in arrays.items():
        check_field(name not in OF_STEPS, f"code {name!r}", "units (cut all to one length)", name)
        hint = "; factors have a file of their own, and one unit is x[:, None]" * (code.ndim == 1)
        holds = code.ndim in (2, 3) and code.size > 0
        check_field(holds, f"code {name!r}", f"(N, D) or (N, T, d){hint}", code.shape)
    count = len(next(iter(arrays.values())))
    expected = f"{FEWEST} sequences or more"
    check_field(count >= FEWEST, "codes, factors", expected, f"{count}; bring {FEWEST} or more")
    steps = {code.shape[1] for code in arrays.values() if code.ndim == 3}
    given = {name: given_array(f"factor {name!r}", values) for name, values in factors.items()}
    lengths = {name: len(values) for name, values in (arrays | given).items() if values.ndim}
    is_one = len(set(lengths.values())) == 1
    check_field(is_one, "codes, factors", "one row for each sequence in all", lengths)
    known = {name: check_factor(f"factor {name!r}", v, steps) for name, v in given.items()}
    if groups is not None:
        numbers = number_groups("groups", groups, count)
        expected, found = f"{FEWEST_GROUPS} groups or more", numbers.max() + 1
        check_field(found >= FEWEST_GROUPS, "groups", expected, f"{found}; bring more groups")
        for name, values in known.items():
            check_nested(f"factor {name!r}", values, numbers)
    return arrays, known


def check_nested(field: str, values: np.ndarray, groups: np.ndarray) -> None:
    """Refuse classes (N,) that lie in one group each, since those of a test are in no training."""
    if values.ndim == 1 and values.dtype.kind != "f":
        pairs = np.unique(np.stack([to_index(field, values), groups]), axis=1)
        found = "one at most; leave it out (--leave-out)"
        is_shared = (np.bincount(pairs[0]) > 1).sum() > 1
        check_field(is_shared, field, "two classes that occur in several groups", found)


def check_factor(field: str, values: np.ndarray, steps: set[int]) -> np.ndarray:
    """A factor (N,), or (N, T) if it changes within a sequence; steps: T of the codes of steps."""
    holds = values.ndim in (1, 2) and values.dtype.kind not in "cVmM"
    expected = "numbers (of times x.astype(float)) or text (N,) or (N, T)"
    check_field(holds, field, expected, f"{values.shape} of {values.dtype}")
    check_classes(field, values)
    if values.dtype.kind == "O" and all(isinstance(value, str) for value in values.flat):
        values = values.astype(str)  # as pandas hands text on
    if values.ndim == 2 and (values == values[:, :1]).all():
        values = values[:, 0]
    is_one = values.ndim == 2 and (values == values[:1]).all()
    check_field(not is_one, field, "values that differ between sequences", "equal ones")
    fits = values.ndim == 1 or not steps or values.shape[1] in steps
    expected = f"a value for each of the {max(steps, default=0)} steps of the codes"
    check_field(fits, field, expected, values.shape)
    if values.dtype.kind == "f":
        check_field(np.ptp(values) != 0, field, "values that differ", "one only")
        return measurable_array(field, values)
    sizes = np.bincount(to_index(field, values).ravel())
    found = f"{len(sizes)} classes in {values.size} rows"
    expected = f"classes of {ROWS_PER_CLASS} rows or more"
    remedy = f"bring {ROWS_PER_CLASS * len(sizes)} or more"
    if len(sizes) > values.size / 2:  # a class for nearly each row
        remedy = "give numbers as floats, persons as --group, leave others out (--leave-out)"
    check_field(len(sizes) <= values.size / ROWS_PER_CLASS, field, expected, f"{found}; {remedy}")
    rest = values.size - sizes.max()
    remedy = "leave it out (--leave-out)"
    if rest:
        remedy = f"bring {-(-ROWS_OUTSIDE * values.size // rest)} or more"
    expected = f"at least {ROWS_OUTSIDE} rows outside the most frequent class"
    check_field(rest >= ROWS_OUTSIDE, field, expected, f"{rest}; {remedy}")
    return values
