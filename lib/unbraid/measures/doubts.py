"""What samples show of why an estimate of their information may be wrong, in sentences.

`kraskov` and `ross` return these with their estimates, which they do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from unbraid.checks import fold

WIDE = 1  # share of the middle 90 % of a column's values that its deviation may reach
SMALL = 0.1  # bits by which an estimate by ranks may differ
WHOLE = "if they are classes, write them as words, or as numbers without a point"  # of tables
ROWS_PER_CELL = 6  # for each of 2**d cells; with fewer, normal pairs come out a quarter too low
MOST_CLASSES = 20  # different whole numbers of a column that may be class numbers
ROUNDED = 1e-6  # of the largest value: what rounding of single precision can leave
UNKNOWN = ("unknown", "unk", "unlabeled", "unlabelled", "undefined", "n/a", "?")
MOST_PLAIN = 3  # different numbers, of which none is told from others
OFTEN, MOST_GAPS = 0.01, 0.5  # shares of values, or of steps, that may stand for none
UNTOLD = 4  # bits below log2(N), where estimates come near the most that N rows can show


def doubt_scale(
    samples: dict[str, np.ndarray], bits: float, by_ranks: Callable[[], float]
) -> list[str]:
    """A sentence on each column of samples (N, d) whose deviation few values decide.

    Columns are divided by their deviations, so that such values make all other distances vanish.
    by_ranks: the estimate of the columns' ranks, which no value can decide. There is no doubt if it
    hardly differs from `bits`.
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
    ranked = by_ranks()
    if abs(ranked - bits) <= SMALL:
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
    """A sentence on each code of whole numbers, of one unit, or of units of many that count up."""
    says = "its whole numbers look like the index of a code book; give one-hot rows, or its vectors"
    found = []
    for name, code in codes.items():
        if not (code % 1).any() and (code.shape[-1] == 1 or code.min() >= 0):
            fewest = min(len(np.unique(unit)) for unit in code.reshape(-1, code.shape[-1]).T)
            found += [f"{name}: {says}"] * (fewest > (2 if code.shape[-1] == 1 else MOST_CLASSES))
    return found


def doubt_padding(sequences: np.ndarray | Sequence[np.ndarray], remedy: str) -> list[str]:
    """Sentences on sequences (T, d) whose last, or first, steps are equal, of several lengths."""
    found, steps = [], max(1, sum(map(len, sequences)))
    for place, way in (("last", -1), ("first", 1)):
        is_same = [(each[1:] == each[:-1]).all(axis=1)[::way] for each in sequences]
        sizes = np.array([np.logical_and.accumulate(each).sum() for each in is_same])
        share, others = sizes.sum() / steps, sum(map(np.sum, is_same)) - sizes.sum()
        differ = np.unique(sizes).size > 2 - sizes.all()
        if share >= OFTEN and differ and others < 0.1 * sizes.sum():
            says = f"the {place} steps of {(sizes > 0).sum()} sequences are equal"
            says += f", {share:.0%} of all"
            found.append(f"{says}: padding? {remedy}")
    return found


def doubt_gaps(name: str, values: np.ndarray, remedy: str, is_label: bool = True) -> list[str]:
    """A sentence on what comes again and may stand for no value.

    So may a word, a number far from all others, and the only label below 0.
    """
    kinds, counts = np.unique(values[values == values], return_counts=True)
    shares = counts / max(1, counts.sum())
    try:
        numbers = kinds.astype(float)
    except (TypeError, ValueError):  # words, or dates
        is_odd = np.array([fold(kind) in UNKNOWN for kind in kinds])
    else:
        is_odd = (numbers < 0) & ((numbers < 0).sum() == 1) & is_label
        for end in {numbers.argmin(), numbers.argmax()} if len(kinds) > MOST_PLAIN else ():
            others = np.sort(np.repeat(numbers, np.where(numbers == numbers[end], 0, counts)))
            low, high = others[[len(others) // 20, -1 - len(others) // 20]]
            distance = max(others[0] - numbers[end], numbers[end] - others[-1])
            is_odd[end] |= distance > high - low and shares[end] < MOST_GAPS
        is_odd &= len(kinds) > MOST_PLAIN
    rows = np.flatnonzero(is_odd & (shares >= OFTEN) & (counts > 1))
    found = [f"{str(kinds[row]).removesuffix('.0')} in {shares[row]:.0%} of {name}" for row in rows]
    return [f"{each}: a missing value? {remedy}" for each in found]


def doubt_factor(name: str, values: np.ndarray) -> list[str]:
    """Sentences on a factor, of floats or of classes, that may be read as another kind."""
    is_measured, columns = values.dtype.kind == "f", {name: values.reshape(-1, 1)}
    found = [] if is_measured else doubt_spellings(name, np.unique(values))
    found += doubt_classes(columns, WHOLE) if is_measured else []
    return [*found, *doubt_gaps(name, values, "Leave such rows out")]


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
