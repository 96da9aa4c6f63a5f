"""Are rows independent of each other? Copies with a little noise, and rows that follow each other.

Estimates, intervals and shuffles count each row as a witness of its own. Variants of one recording,
windows with overlap and steps of a walk are not, and then make chance look like a finding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist
from scipy.special import ndtri
from scipy.stats import rankdata

from unbraid.checks import check_field, measurable_array

ASKED = 20  # rows whose neighbours are looked at
NEIGHBOURS = 15  # of each: groups of up to so many are seen
GAP, PAIR = 6, np.log(10)  # Along a smooth density both are reached by a tenth of the rows at most.
SHARE = 0.4  # of the rows with such a gap, from which on rows are called copies
FEWEST = 30  # rows, below which nothing is said
FEW = 200  # rows that show whether the values of a column are equal
MANY = 0.5  # share of different values, from which on a column is no list of classes
BY_CHANCE = 0.005  # of all draws of independent rows, those whose largest correlation counts
TOGETHER = 256  # columns that are compared with each other
VALUES = 4_000_000  # of columns that are compared with themselves
MOST_EQUAL = 0.8  # share of one value from which on rare others decide a correlation
MORE_GROUPS = 1.5  # times the classes: so many groups are no classes
FOLLOWS = 0.2  # product of two lag-one correlations, from which on errors are half as large again

ONE_OF_EACH = "take one row of each group"  # what to do, where an estimate has no groups
BY_GROUPS = "name groups, such as the recording of each row, or what `group_copies` gives"


def find_gaps(samples: np.ndarray) -> np.ndarray:
    """Of some rows: the distance (n,) at which a group of near copies ends, NaN where none does.

    samples: (N, d). Distances r_1, r_2, ... to the neighbours of a row grow slowly in any smooth
    density: k log(r_{k+1} / r_k) is exponential with mean 1/d for a density of d dimensions. Behind
    the last copy they jump.
    """
    rows = scale(samples)
    near = min(NEIGHBOURS, len(rows) - 2)
    if not rows.size or len(rows) < FEWEST:
        return np.full(1, np.nan)
    some = rows[:: -(-len(rows) // ASKED)]
    far = np.partition(cdist(some, rows, "chebyshev"), near + 1, axis=1)[:, : near + 2]
    far = np.maximum(np.sort(far, axis=1)[:, 1:], 1e-12)  # without the row itself
    jumps = np.diff(np.log(far), axis=1)
    weighed = np.arange(1, near + 1) * jumps
    last = np.where(weighed.max(axis=1) > GAP, weighed.argmax(axis=1), 0)
    is_gap = (last > 0) | (jumps[:, 0] > PAIR)
    return np.where(is_gap, np.sqrt(far[:, :-1] * far[:, 1:])[np.arange(len(some)), last], np.nan)


def scale(samples: np.ndarray) -> np.ndarray:
    """Columns (N, d) of one width each, without those in which many values are equal.

    The width is that of the middle 90 %, which no single value decides.
    """
    ordered = np.sort(samples[:: -(-len(samples) // FEW)], axis=0)
    twentieth = len(ordered) // 20
    width = ordered[-1 - twentieth] - ordered[twentieth]
    different = (np.diff(ordered, axis=0) > 0).mean(axis=0) > MANY
    is_used = different & (width > 0)
    return samples[:, is_used] / width[is_used]


def group_copies(x: ArrayLike) -> np.ndarray:
    """Numbers (N,) of the groups of near copies in rows (N, d); without copies, of each row.

    Two rows are of one group if they, or rows between them, lie nearer than where the neighbours of
    a typical row end. What is found can be the `groups` of `leakage_matrix`.
    """
    samples = measurable_array("x", x)
    check_field(samples.ndim == 2 and len(samples) > 1, "x", "(N, d) with N > 1", samples.shape)
    samples = draw_columns(samples, 2 * TOGETHER)
    ends = find_gaps(samples)
    if np.isfinite(ends).mean() < SHARE:
        return np.arange(len(samples))
    rows = scale(samples)
    tree = KDTree(rows)
    near = tree.sparse_distance_matrix(tree, float(np.nanmedian(ends)), p=np.inf)
    return connected_components(near, directed=False)[1]


def follow(values: np.ndarray) -> float:
    """The largest correlation of ranks of a column (N, d) with one of the next row.

    0 if chance gives it to the largest of so many pairs, or if a column only rises or only falls:
    then somebody has sorted rows. Of some thousands of columns each is compared with itself, as in
    a walk, and `TOGETHER` of them with each other, as in windows.
    """
    values = draw_columns(values, max(TOGETHER, VALUES // len(values)))
    is_middle = (values == np.median(values, axis=0)).mean(axis=0)
    values = values[:, is_middle < MOST_EQUAL]
    steps = np.diff(values, axis=0)
    if not values.size or ((steps >= 0).all(axis=0) | (steps <= 0).all(axis=0)).any():
        return 0.0

    ranks = rankdata(values, axis=0)
    scaled = (ranks - ranks.mean(axis=0)) / ranks.std(axis=0)
    now, later = scaled[:-1], scaled[1:]
    together = draw_columns(now, TOGETHER).T @ draw_columns(later, TOGETHER)
    alone = np.einsum("nd,nd->d", now, later)
    pairs = np.abs(np.append(together, alone)) / len(values)
    limit = ndtri(1 - BY_CHANCE / 2 / len(pairs)) / np.sqrt(len(values))
    return float(pairs.max()) if pairs.max() > limit else 0.0


def draw_columns(values: np.ndarray, most: int) -> np.ndarray:
    """At most so many columns (N, most), drawn at random, in their order."""
    width = values.shape[1]
    if width <= most:
        return values
    chosen = np.random.default_rng(0).permutation(width)[:most]
    return values[:, np.sort(chosen)]


def are_kinds(groups: int, classes: Sequence[np.ndarray]) -> bool:
    """Whether so many groups are those of the classes (N,) themselves, freely combined."""
    if not classes:
        return False
    generator, table = np.random.default_rng(0), np.stack(classes, axis=1)
    kinds = len(np.unique(table, axis=0))
    free = len(np.unique(generator.permuted(table, axis=0), axis=0))
    return max(groups, free) <= MORE_GROUPS * kinds


def doubt_frames(x: np.ndarray, y: np.ndarray, classes: Sequence[np.ndarray]) -> list[str]:
    """A sentence on rows (N, d) that come again with one value of a factor, as frames do.

    y: measured factors (N, e); classes: class numbers (N,).
    """
    numbers = np.unique(x, axis=0, return_inverse=True)[1].ravel()
    groups = int(numbers.max()) + 1
    if not FEWEST < groups <= MANY * len(x):
        return []

    def is_one(values: np.ndarray) -> bool:
        return np.unique(np.stack([numbers, values]), axis=1).shape[1] == groups

    of_groups = [each for each in classes if is_one(each)]
    if are_kinds(groups, of_groups) or not (of_groups or any(map(is_one, y.T))):
        return []
    return [f"{len(x)} rows are {groups} different ones, as where each frame is a row; {BY_GROUPS}"]


def doubt_independence(
    x: np.ndarray, y: np.ndarray, classes: Sequence[np.ndarray] = (), remedy: str = ONE_OF_EACH
) -> list[str]:
    """Sentences on pairs (N, d) and (N, e) of which one row tells of another.

    classes: class numbers (N,) that belong to the second side. Rows of a class may be alike, and
    rows may be sorted by a class or by a column: neither is a doubt.
    """
    some = np.hstack([draw_columns(each, TOGETHER) for each in (x, y)])
    count, groups = len(x), int(group_copies(some).max()) + 1
    if groups < count and not are_kinds(groups, classes):
        says = f"{count} rows stand in about {groups} groups of near copies, and count as if"
        return [f"{says} each were seen by itself; {remedy}"]
    first = follow(x)
    if first == 0:
        return []
    second = follow(y)
    for labels in classes:
        is_apart = (np.diff(labels) != 0).sum() == len(np.unique(labels)) - 1  # class by class
        chance = np.square(np.bincount(labels) / len(labels)).sum()
        stays = (np.mean(labels[1:] == labels[:-1]) - chance) / (1 - chance)
        second = max(second, 0 if is_apart else stays)
    if first * second <= FOLLOWS:
        return []
    says = f"each row resembles the next, on both sides (correlations {first:.2f} and {second:.2f})"
    why = "as in a walk, in windows with overlap or in a sorted list"
    return [f"{says}, {why}; take rows far from each other, or shuffle those of a sorted list"]
