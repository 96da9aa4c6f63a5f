"""What samples show of why an estimate of their information may be wrong, in sentences.

`kraskov` and `ross` return these with their estimates, which they do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from unbraid.checks import fold

WIDE = 1  # share of the middle 90 % of a column's values that its deviation may reach
SMALL = 0.05  # bits by which an estimate by ranks may always differ
WHOLE = "if they are classes, write them as words, or as numbers without a point"  # of tables
PARTS = 5  # of the rows, whose estimates tell how far an estimate by ranks varies
ROWS_PER_CELL = 6  # for each of 2**d cells; with fewer, normal pairs come out a quarter too low
MOST_CLASSES = 20  # different whole numbers of a column that may be class numbers
ROUNDED = 1e-6  # of the largest value: what rounding of single precision can leave
UNTOLD = 4  # bits below log2(N), where estimates come near the most that N rows can show


def doubt_scale(
    samples: dict[str, np.ndarray], bits: float, by_ranks: Callable[[slice], float]
) -> list[str]:
    """A sentence on each column of samples (N, d) whose deviation few values decide.

    Columns are divided by their deviations, so that such values make all other distances vanish.
    by_ranks: the estimate, of rows of a slice, of the columns' ranks, which no value can decide.
    There is no doubt if it differs from `bits` by less than it varies itself, or hardly.
    """
    found = []
    for name, values in samples.items():
        low, high = np.quantile(values, [0.05, 0.95], axis=0)
        is_wide = (values.std(axis=0) > WIDE * (high - low)) & (high > low)
        for column in np.flatnonzero(is_wide):
            row = np.abs(values[:, column] - np.median(values[:, column])).argmax()
            others = np.delete(values[:, column], row).std()
            found.append(
                f"{name}: the value {values[row, column]:.3g} decides the deviation of column "
                f"{column}, {values[:, column].std():.3g} (without it {others:.3g})"
            )
    if not found:
        return []
    ranked = by_ranks(slice(None))
    if abs(ranked - bits) <= SMALL:
        return []
    parts = [by_ranks(slice(part, None, PARTS)) for part in range(PARTS)]
    deviation = np.nanstd(parts, ddof=1) / np.sqrt(PARTS)
    if abs(ranked - bits) <= deviation:
        return []
    return [f"{each}; by ranks the estimate is {ranked:.2f} bits" for each in found]


def doubt_size(count: int, width: int, bits: float) -> list[str]:
    """Sentences on too few rows for so many columns, or for so many bits.

    The first limit was measured: of pairs of d normal columns, each correlated by 0.9 with one of
    the other side, `kraskov` finds about 75 % of the bits at 6 * 2**(2 d) rows.
    """
    found = []
    if count < ROWS_PER_CELL * 2**width:
        says = f"{count} rows are few for {width} columns, so that the estimate may be far too low"
        found.append(f"{says}; compare it with shuffled ones only")
    if bits > np.log2(count) - UNTOLD:
        found.append(f"{bits:.1f} bits are near the most that {count} rows can show; take more")
    return found


def doubt_classes(
    samples: dict[str, np.ndarray], remedy: str = "`ross` estimates the information of classes"
) -> list[str]:
    """A sentence on samples (N, d) of one column that look like class numbers."""
    found = []
    for name, values in samples.items():
        count = len(np.unique(values)) if values.shape[1] == 1 else len(values)
        if count <= min(MOST_CLASSES, len(values) / 4) and (values % 1 == 0).all():
            found.append(f"{name}: its {count} whole values look like class numbers; {remedy}")
    return found


def doubt_rounding(samples: dict[str, np.ndarray]) -> list[str]:
    """A sentence on columns of samples (N, d) that vary by no more than rounding does."""
    found = []
    for name, values in samples.items():
        is_still = np.ptp(values, axis=0) <= ROUNDED * np.abs(values).max(axis=0)
        if is_still.any():
            says = f"{name}: columns {np.flatnonzero(is_still)[:9].tolist()} vary by less than a"
            found.append(f"{says} millionth of their size, as rounded constants do; leave them out")
    return found


def doubt_index(codes: dict[str, np.ndarray]) -> list[str]:
    """A sentence on each code (N, 1) or (N, T, 1) of whole numbers, three or more of them."""
    says = "its whole numbers look like the index of a code book; give one-hot rows, or its vectors"
    units = {name: np.unique(code) for name, code in codes.items() if code.shape[-1] == 1}
    return [f"{name}: {says}" for name, v in units.items() if len(v) > 2 and not (v % 1).any()]


def doubt_matrix(name: str, values: np.ndarray) -> str:
    """A sentence on classes (N, T) beside codes without steps, which may be several factors."""
    says = f"{name}: its {values.shape[1]} columns are read as steps of one factor"
    return f"{says}; give several factors as arrays (N,) each"


def doubt_spellings(name: str, classes: Iterable[str]) -> list[str]:
    """A sentence on classes whose names differ in case or spaces alone."""
    first: dict[str, str] = {}
    pairs = [(first.setdefault(fold(each), each), each) for each in map(str, classes)]
    listed = [f"{one!r} and {other!r}" for one, other in pairs if one != other]
    says = f"{name}: {', '.join(listed[:3])} are read as different classes"
    return [f"{says}; write them alike, if they are one"] * bool(listed)


def doubt_labels(classes: np.ndarray) -> list[str]:
    """A sentence on class numbers (N,) of which most have hardly a neighbour."""
    count = int(classes.max()) + 1
    says = f"labels: {count} classes in {len(classes)} rows look like measured numbers"
    return [f"{says}, whose information `kraskov` estimates"] if count > len(classes) / 4 else []


def as_ranks(values: np.ndarray) -> np.ndarray:
    """Samples (N, d) with each value replaced by its rank in its column; equal ones stay equal."""
    ranks = [np.unique(column, return_inverse=True)[1] for column in values.T]
    return np.stack(ranks, axis=1).astype(float)
