"""Mutual information of codes, estimated from samples, and their correlation over time.

Sources: Kraskov, Stögbauer and Grassberger, "Estimating mutual information", Phys. Rev. E 69,
066138 (2004), equation (8), the first of their two estimators; Ross, "Mutual information between
discrete and continuous data sets", PLoS ONE 9(2), e87357 (2014). Paper A (Whitney and Fergus 2017)
uses Kraskov's with k = 3 on N = 1000 pairs, in bits. In many dimensions the estimates lie far below
the truth: compare only figures that share N, k and dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma
from sklearn.neighbors import KDTree

from unbraid.checks import as_array, check_field, check_whole, finite_array, to_index
from unbraid.readable import Readable

LEAF = 20  # points in a leaf of the trees, with which they are fastest
LARGEST_JITTER = 0.01  # standard deviations; more would be noise that changes the estimate


@dataclass(frozen=True, eq=False, repr=False)
class MutualInformation(Readable):
    """An estimate in bits with what is needed to repeat it."""

    estimate: float
    null: np.ndarray | None  # (shuffles,) estimates with the pairing destroyed; None without
    samples: int
    k: int

    def table(self) -> list[tuple[str, ...]]:
        """The estimate with its N and k, and the range of the shuffled ones."""
        rows: list[tuple[str, ...]] = []
        rows.append((f"{self.estimate:.3f} bits", f"N = {self.samples}, k = {self.k}"))
        if self.null is not None:
            rows.append(("shuffled", f"{self.null.min():.3f} to {self.null.max():.3f}"))
        return rows


@dataclass(frozen=True, eq=False, repr=False)
class FactorInformation(Readable):
    """`matrix[i, j]` is I(z_t^i; z_{t+1}^j) in bits; NaN where it was not computed."""

    matrix: np.ndarray = field(repr=False)  # (K, K)
    same: float  # mean of the diagonal
    cross: float  # mean over i < j only; NaN for a single factor


@dataclass(frozen=True, eq=False, repr=False)
class Partition(Readable):
    """The partition of an entangled code that looks most disentangled, and all that were tried."""

    same: float
    cross: float
    permutation: np.ndarray  # (D,) units; block b is permutation[b * block:(b + 1) * block]
    tried: np.ndarray = field(repr=False)  # (tries, 2) same and cross of every partition


def kraskov(
    x: ArrayLike,
    y: ArrayLike,
    k: int = 3,
    shuffles: int = 0,
    jitter: float = 1e-10,
    seed: int = 0,
) -> MutualInformation:
    """Estimate I(x; y) in bits from N paired samples.

    x, y: (N,) or (N, d) arrays or tensors; their d may differ. Distance is the max-norm over raw
        scales: rescaling a unit changes the estimate.
    k: neighbours, 1 <= k < N.
    shuffles: number of estimates with y's rows permuted, the estimator's own zero at this N and d.
    jitter: uniform noise, in standard deviations of a column, so that no two distances tie; 0.01
        at most.
    Raises ValueError for unequal rows, a constant column, NaN, or an option out of its range.
    """
    xs, ys = as_samples("x", x), as_samples("y", y)
    check_pairs("x, y", xs, ys)
    check_whole(1, k=k)
    check_field(k < len(xs), "k", f"at most {len(xs) - 1} neighbours", k)
    check_whole(0, shuffles=shuffles, seed=seed)
    for_jitter, for_null = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(2))
    xs, ys = break_ties(xs, jitter, for_jitter), break_ties(ys, jitter, for_jitter)
    null = []
    for _ in range(shuffles):
        null.append(kraskov_nats(xs, ys[for_null.permutation(len(ys))], k) / np.log(2))
    estimate = kraskov_nats(xs, ys, k) / np.log(2)
    return MutualInformation(estimate, np.array(null) if null else None, len(xs), k)


def kraskov_nats(x: np.ndarray, y: np.ndarray, k: int) -> float:
    """Equation (8) of Kraskov et al. for (N, d) arrays without ties."""
    joint = np.hstack([x, y])
    # Strictly nearer than the k-th joint neighbour: the next smaller number turns <= into <.
    # The counts include the point itself, which is the + 1 of equation (8).
    radius = np.nextafter(distance_of_neighbour(joint, k), 0)
    counts = [count_within(values, radius) for values in (x, y)]
    return float(digamma(k) + digamma(len(x)) - np.mean(digamma(counts).sum(axis=0)))


def ross(
    x: ArrayLike, labels: ArrayLike, *, jitter: float = 1e-10, seed: int = 0
) -> MutualInformation:
    """Estimate I(x; label) in bits, at most the entropy of the labels.

    x: (N,) or (N, d) floats; labels: (N,) integers, booleans or strings. k = 3; a class of n <= k
    members is searched for n - 1 neighbours, and a single member is left out, as in scikit-learn's
    mutual_info_classif, which covers d = 1. Raises ValueError as `kraskov`, and for other labels.
    """
    k = 3  # the default of `kraskov`
    xs, given = as_samples("x", x), as_array(labels)
    holds = given.ndim == 1 and given.dtype.kind in "biuUSO"
    expected = "(N,) integers, booleans or strings (round floats that stand for classes)"
    check_field(holds, "labels", expected, f"{given.dtype} {given.shape}")
    check_pairs("x, labels", xs, given)
    check_whole(0, seed=seed)
    classes = to_index("labels", given)
    kept = np.bincount(classes)[classes] > 1
    count = len(np.unique(classes[kept]))
    check_field(count >= 2, "labels", "two classes of two members or more", count)
    generator = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
    xs = break_ties(xs, jitter, generator)
    estimate = ross_nats(xs[kept], classes[kept], k) / np.log(2)
    return MutualInformation(estimate, None, len(xs), k)


def ross_nats(x: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Ross's equation (2), <psi(N) - psi(N_class) + psi(k) - psi(m)>, for (N, d) floats."""
    radius, terms = np.empty(len(x)), np.empty(len(x))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        neighbours = min(k, len(rows) - 1)
        radius[rows] = np.nextafter(distance_of_neighbour(x[rows], neighbours), 0)
        terms[rows] = digamma(neighbours) - digamma(len(rows))
    return float(digamma(len(x)) + np.mean(terms - digamma(count_within(x, radius))))


def distance_of_neighbour(points: np.ndarray, k: int) -> np.ndarray:
    """The distance from each point (N, d) to its k-th nearest other point, (N,)."""
    tree = KDTree(points, LEAF, metric="chebyshev")
    distances, _ = tree.query(points, k + 1)  # the nearest is the point itself
    return distances[:, k]


def count_within(points: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """How many points, itself included, lie no farther from each point than its radius; (N,)."""
    tree = KDTree(points, LEAF, metric="chebyshev")
    return tree.query_radius(points, radius, count_only=True)


def break_ties(x: np.ndarray, jitter: float, generator: np.random.Generator) -> np.ndarray:
    """Samples (N, d) with uniform noise of `jitter` standard deviations of each column."""
    expected = f"0 to {LARGEST_JITTER} standard deviations"
    check_field(0 <= jitter <= LARGEST_JITTER, "jitter", expected, jitter)
    return x + jitter * x.std(axis=0) * generator.random(x.shape)


def same_and_cross(
    before: Sequence[ArrayLike], after: Sequence[ArrayLike], seed: int = 0
) -> FactorInformation:
    """Information of factors about their own and each other's next value (paper A, Table 2).

    before, after: lists of K arrays (N, d), factor i at t and at t + 1 of the same sequences.
    same = mean over i of I(z_t^i; z_{t+1}^i); cross = mean over i < j of I(z_t^i; z_{t+1}^j), as in
    the authors' code; below the diagonal the matrix is NaN.
    Raises ValueError for anything but two lists of the same K, and as `kraskov`.
    """
    lists = isinstance(before, (list, tuple)) and isinstance(after, (list, tuple))
    if not lists or not before or len(after) != len(before):
        raise ValueError("before, after: expected lists of K arrays (N, d), one for each factor")
    factors = len(before)
    now = [as_samples(f"before[{i}]", values) for i, values in enumerate(before)]
    later = [as_samples(f"after[{i}]", values) for i, values in enumerate(after)]
    matrix = np.full((factors, factors), np.nan)
    for i in range(factors):
        for j in range(i, factors):
            matrix[i, j] = kraskov(now[i], later[j], seed=seed).estimate
    upper = matrix[np.triu_indices(factors, 1)]
    cross = float(upper.mean()) if upper.size else np.nan
    return FactorInformation(matrix, float(np.diag(matrix).mean()), cross)


def best_partition(
    before: ArrayLike, after: ArrayLike, block: int, tries: int = 20, seed: int = 0
) -> Partition:
    """The favourable reading of an entangled code, as in paper A's code.

    before, after: (N, D), all units at t and at t + 1. The D units are permuted at random `tries`
    times, alike at both times, and cut into factors of `block` units; the partition with the
    greatest same - cross among those with both above zero is taken (if there is none, the greatest
    of all). Raises ValueError for a block that does not cut D into two or more, and as `kraskov`.
    """
    check_whole(1, block=block, tries=tries)
    check_whole(0, seed=seed)
    now, later = as_samples("before", before), as_samples("after", after)
    width = now.shape[1]
    check_field(later.shape[1] == width, "after", f"{width} units as in before", later.shape[1])
    holds = width % block == 0 and width > block
    check_field(holds, "block", f"one that cuts {width} units into two or more", block)
    generator = np.random.default_rng(seed)
    permutations = [generator.permutation(width) for _ in range(tries)]
    tried = np.empty((tries, 2))
    for row, permutation in enumerate(permutations):
        cuts = permutation.reshape(-1, block)
        result = same_and_cross(
            [now[:, cut] for cut in cuts], [later[:, cut] for cut in cuts], seed
        )
        tried[row] = result.same, result.cross
    gap = tried[:, 0] - tried[:, 1]
    positive = (tried > 0).all(axis=1)
    best = int(np.argmax(np.where(positive, gap, -np.inf) if positive.any() else gap))
    return Partition(float(tried[best, 0]), float(tried[best, 1]), permutations[best], tried)


def cross_block(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Pearson correlation (D, E) of each unit of `before` (N, D) with each of `after` (N, E).

    Raises ValueError for unequal rows, a constant column, or NaN.
    """
    now, later = as_samples("before", before), as_samples("after", after)
    check_pairs("before, after", now, later)
    width = now.shape[1]
    return np.corrcoef(now, later, rowvar=False)[:width, width:]


def block_fraction(cross: ArrayLike, sizes: Sequence[int]) -> float:
    """Share of the squared cross-time correlation within the factors' own blocks, from 0 to 1.

    cross: (D, D) as `cross_block` returns it; sizes: units of each factor in order, D in all.
    Correlations spread evenly over K equal factors give 1 / K. Raises ValueError for sizes that
    do not add up to D, and where all correlations are 0.
    """
    squares = finite_array("cross", cross) ** 2
    holds = squares.shape == (sum(sizes), sum(sizes)) and min(sizes) >= 1
    check_field(holds, "sizes", f"to add up to cross {squares.shape}", list(sizes))
    check_field(bool(squares.any()), "cross", "some correlation", "only 0")
    factor = np.repeat(np.arange(len(sizes)), sizes)  # (D,) the factor of each unit
    within = factor[:, None] == factor
    return float(squares[within].sum() / squares.sum())


def as_samples(name: str, values: ArrayLike) -> np.ndarray:
    """Values as a checked (N, d) float64 array with N >= 2; the name is for the error message."""
    samples = finite_array(name, values)
    if samples.ndim == 1:
        samples = samples[:, None]
    holds = samples.ndim == 2 and len(samples) >= 2 and samples.size > 0
    check_field(holds, name, "(N,) or (N, d) with N >= 2", samples.shape)
    constant = np.flatnonzero(np.ptp(samples, axis=0) == 0)
    check_field(not constant.size, name, "columns that vary", f"column {constant[:1]} constant")
    return samples


def check_pairs(names: str, first: np.ndarray, second: np.ndarray) -> None:
    """Refuse arrays with different numbers of rows."""
    found = f"{len(first)} and {len(second)}"
    check_field(len(first) == len(second), names, "equally many rows", found)
