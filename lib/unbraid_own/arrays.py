"""Named arrays of anybody's codes and factors: read from npz files, checked before work begins."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from unbraid import checks
from unbraid.checks import check_field, given_array, measurable_array, to_index

FEWEST, FEWEST_GROUPS = 20, 10  # sequences, or groups of them
MOST_VALUES = 10**8  # of all codes of a file: a few times so many bytes are in memory at once
ROWS_PER_CLASS = 4  # on average, at least
ROWS_OUTSIDE = 10  # of the most frequent class, at least
REPAIR = "fetch it again, or write it anew with np.savez, of objects x.astype(str) or (float)"

Arrays = dict[str, np.ndarray]
Named = Mapping[str, ArrayLike]


@dataclass(frozen=True)
class Inputs:
    """Codes and factors that can be measured."""

    codes: Arrays  # floats (N, D) or (N, T, d)
    factors: Arrays  # (N,) or (N, T)
    groups: np.ndarray | None  # numbers (N,)
    left_out: dict[str, str]  # by factor: why nothing can be said of it
    given: Arrays  # all factors


def read_arrays(path: Path | str, field: str) -> Arrays:
    """The arrays of an npz file by name, without single numbers and words, such as an epoch.

    field: what they are, such as "codes", with which messages begin. Raises ValueError for a file
    that is missing, of another kind, damaged, too large, or that holds Python objects.
    """
    path = Path(path)
    kind = "a folder" if path.is_dir() else "nothing"
    check_field(path.is_file(), field, "a file", f"{kind} at {path}")
    expected = "an npz file (np.savez('new.npz', name=array) writes one)"
    check_field(path.suffix.lower() == ".npz", field, expected, path.name)
    where = f"{field}: {path.name}"
    try:
        members = zipfile.ZipFile(path).infolist()
        check_size(where, sum(each.file_size for each in members) // 8)
        with np.load(path, allow_pickle=False) as content:
            named = {name: content[name] for name in content.files}
        named = {name: values for name, values in named.items() if values.ndim}
    except Exception as error:  # zipfile and NumPy raise nearly anything for a damaged file
        if str(error).startswith(where):
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{where} cannot be read ({reason}); {REPAIR}") from None
    check_field(named, where, "at least one array", "none")
    return {n: np.char.decode(v, "utf-8") if v.dtype.kind == "S" else v for n, v in named.items()}


def check_size(field: str, count: int) -> None:
    """Refuse more values than are measured."""
    expected = f"at most {MOST_VALUES / 1e6:g} million values (fewer rows or steps, x[:, ::2])"
    check_field(count <= MOST_VALUES, field, expected, f"{count / 1e6:.2g} million")


def check_inputs(
    codes: Named,
    factors: Named,
    dynamic: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
) -> Inputs:
    """Codes and factors as arrays; a factor of which nothing can be said is left out, with why.

    Raises ValueError, with its name, for what cannot be meant: other shapes, unequal numbers of
    rows, values that are not finite, groups too few, and if no factor remains.
    """
    from unbraid.measures.leakage import parse_inputs  # imported lazily: it takes seconds

    checks.check_named(codes=codes, factors=factors)
    checks.check_names("dynamic", () if dynamic is None else dynamic, factors)
    given = {name: given_array(f"code {name!r}", code) for name, code in codes.items()}
    check_size("codes", sum(code.size for code in given.values()))
    is_code = not {"mask", "lengths"} & {*given}
    check_field(is_code, "codes", "units alone, cut all to one length", ", ".join(given))
    steps = {code.shape[1] for code in given.values() if code.ndim == 3}
    known = {name: read_factor(f"factor {name!r}", v, steps) for name, v in factors.items()}
    count = len(next(iter(known.values())))
    check_field(count >= FEWEST, "codes, factors", f"{FEWEST} sequences or more", count)
    numbers = None if groups is None else checks.number_groups("groups", groups, count)
    found = FEWEST_GROUPS if numbers is None else numbers.max() + 1
    check_field(found >= FEWEST_GROUPS, "groups", f"{FEWEST_GROUPS} groups or more", found)
    obstacles = {name: find_obstacle(values, numbers) for name, values in known.items()}
    left_out = {name: why for name, why in obstacles.items() if why}
    kept = {name: values for name, values in known.items() if name not in left_out}
    said = [f"{name!r}: {why}" for name, why in left_out.items()]
    check_field(kept, "factors", "one of which something can be said", "; ".join(said))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # They are said as doubts.
        parse_inputs(given, kept, "flattened")  # refuses by name what no probe can read
    arrays = {name: measurable_array(f"code {name!r}", code) for name, code in given.items()}
    return Inputs(arrays, kept, numbers, left_out, known)


def read_factor(field: str, values: ArrayLike, steps: set[int]) -> np.ndarray:
    """A factor (N,), or (N, T) if it changes within a sequence; steps: T of the codes of steps."""
    array = given_array(field, values)
    array = array.astype(float) if array.dtype.kind == "f" else array
    is_factor = array.ndim in (1, 2) and array.dtype.kind not in "cVmM"
    expected = "numbers (of times x.astype(float)) or text (N,) or (N, T)"
    check_field(is_factor, field, expected, f"{array.shape} of {array.dtype}")
    to_index(field, array)  # refuses missing ones
    checks.check_classes(field, array)
    if array.ndim == 2 and (array == array[:, :1]).all():
        return array[:, 0]
    fits = array.ndim == 1 or not steps or array.shape[1] in steps
    check_field(fits, field, f"a value for each of the {steps} steps of the codes", array.shape)
    return array


def find_obstacle(values: np.ndarray, groups: np.ndarray | None) -> str:
    """Why nothing can be said of a factor (N,) or (N, T); "" if something can."""
    if (values == values[:1]).all():
        return "it does not differ between sequences"
    if values.dtype.kind == "f":
        return ""
    index = to_index("factor", values).reshape(values.shape)
    sizes = np.bincount(index.ravel())
    if len(sizes) > values.size / ROWS_PER_CLASS:
        remedy = f"bring {ROWS_PER_CLASS * len(sizes)}, or give numbers as floats, persons as group"
        return f"{len(sizes)} classes in {values.size} rows; {remedy}"
    if (rest := values.size - sizes.max()) < ROWS_OUTSIDE:
        return f"{rest} rows outside the most frequent class; bring {ROWS_OUTSIDE}"
    if groups is not None and index.ndim == 1:
        pairs = np.unique(np.stack([index, groups]), axis=1)
        if (np.bincount(pairs[0]) > 1).sum() < 2:
            return "each class occurs in one group alone, so that a test has classes never learnt"
    return ""
