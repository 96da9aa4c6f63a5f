"""Mutual information of codes, estimated from samples, and their correlation over time.

Sources: Kraskov, Stögbauer and Grassberger, "Estimating mutual information", Phys. Rev. E 69,
066138 (2004), equation (8), the first of their two estimators; Ross, "Mutual information between
discrete and continuous data sets", PLoS ONE 9(2), e87357 (2014). Paper A (Whitney and Fergus 2017)
uses Kraskov's with k = 3 on N = 1000 pairs, in bits, on raw codes. In many dimensions the estimates
lie far below the truth: compare only figures that share N, k and dimension.

Both estimators compare distances, which depend on units of measurement. So each column is divided
by its standard deviation, unless `raw=True` asks for the papers' protocol; constants are refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from scipy.special import digamma
from sklearn.neighbors import KDTree

from unbraid import checks
from unbraid.checks import check_field, check_type, check_whole, measurable_array, refuse
from unbraid.measures import doubts
from unbraid.measures.independence import doubt_independence

LEAF_SIZE = 20  # points in a leaf of the trees, with which they are fastest
BRUTE_FORCE = 20  # Up to so many rows per columns³, comparing all is faster than a tree.
DISTANCES_AT_ONCE = 20_000  # distances, which fit into a processor's cache
MOST_KEPT = 2000  # rows whose distances from each other are all kept in memory


class MutualInformation(NamedTuple):
    """An estimate in bits."""

    estimate: float
    null: np.ndarray  # (shuffles,) estimates with the pairing destroyed
    doubts: tuple[str, ...] = ()  # what the samples show of why it may be wrong


class FactorInformation(NamedTuple):
    """`matrix[i, j]` is I(z_t^i; z_{t+1}^j) in bits; NaN where it was not computed."""

    matrix: np.ndarray  # (K, K)
    same: float  # mean of the diagonal
    cross: float  # mean over i < j only; NaN for a single factor
    doubts: tuple[str, ...] = ()  # those of the estimates, each with its i and j


def kraskov(
    x: ArrayLike,
    y: ArrayLike,
    k: int = 3,
    shuffles: int = 0,
    jitter: float = 1e-10,
    seed: int = 0,
    raw: bool = False,
) -> MutualInformation:
    """Estimate I(x; y) in bits from N paired samples.

    x, y: (N,) or (N, d) arrays or tensors; their d may differ. Distance is the max-norm over
        columns of deviation 1, or with `raw` over columns as they are.
    k: neighbours, 1 <= k < N.
    shuffles: number of estimates with y's rows permuted, the estimator's own zero at this N and d.
    jitter: uniform noise, at most 0.01 deviations of a column, so that no two distances tie. It
        orders equal rows at random: where many are equal, the estimate is far off, and warns.

    The estimate has its `doubts`, sentences that one reads beside it: equal rows, a value that
    decides a scale, class numbers, few rows for so many columns, rows that are near copies of
    others or that follow each other.
    """
    check_type(bool, raw=raw)
    xs, ys = as_samples("x", x), as_samples("y", y)
    check_field(len(xs) == len(ys), "x, y", "equally many rows", (len(xs), len(ys)))
    check_whole((1, len(xs) - 1), k=k)
    check_whole(0, shuffles=shuffles, seed=seed)
    given, width = {"x": xs, "y": ys}, xs.shape[1] + ys.shape[1]
    ties = warn_of_ties(np.hstack([xs, ys]))
    found = [*doubts.doubt_classes(given), *doubts.doubt_rounding(given), *ties]
    for_jitter, for_null = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(2))
    xs, ys = (prepare(each, jitter, for_jitter, raw) for each in (xs, ys))
    null = [kraskov_bits(xs, for_null.permutation(ys), k) for _ in range(shuffles)]
    bits = kraskov_bits(xs, ys, k)

    def by_ranks() -> float:
        noise = np.random.default_rng(seed)
        x, y = (prepare_ranks(each, noise) for each in given.values())
        return kraskov_bits(x, y, k)

    if not ties:
        found += doubt_independence(given["x"], given["y"])
    if not (raw or ties):
        found += doubts.doubt_scale(given, bits, by_ranks)
    found += doubts.doubt_size(len(xs), width, bits)
    return MutualInformation(bits, np.array(null), tuple(found))


def kraskov_bits(x: np.ndarray, y: np.ndarray, k: int) -> float:
    """Equation (8) of Kraskov et al. for (N, d) arrays without ties."""
    joint = np.hstack([x, y])
    # Strictly nearer than the k-th joint neighbour: the next smaller number turns <= into <.
    radius = np.nextafter(distance_of_neighbour(joint, k), 0)
    counts = np.array([count_within(values, radius) for values in (x, y)])
    # The counts include the point itself, which is the + 1 of equation (8).
    nats = digamma(k) + digamma(len(x)) - np.mean(digamma(counts).sum(axis=0))
    return float(nats) / np.log(2)


def ross(x: ArrayLike, labels: ArrayLike, *, seed: int = 0) -> MutualInformation:
    """Estimate I(x; label) in bits, at most the entropy of the labels.

    x: (N,) or (N, d), scaled as in `kraskov`; labels: (N,) integers, booleans or strings. k = 3; a
    class of n <= k members is searched for n - 1 neighbours, and a single member is left out, as in
    scikit-learn's mutual_info_classif, which covers d = 1. Doubts are those of `kraskov`.
    """
    xs, given = as_samples("x", x), checks.given_array("labels", labels)
    if given.ndim != 1 or given.dtype.kind not in "biuUSO":
        refuse("labels", "(N,) integers, booleans or strings", f"{given.dtype} {given.shape}")
    check_field(len(xs) == len(given), "x, labels", "equally many rows", (len(xs), len(given)))
    check_whole(0, seed=seed)
    classes = checks.to_index("labels", given)
    generator = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
    (bits,) = ross_bits(prepare(xs, 1e-10, generator, raw=False), [classes], k=3)
    check_field(np.isfinite(bits), "labels", "two classes of two members or more", "fewer")

    def by_ranks() -> float:
        return ross_bits(prepare_ranks(xs, np.random.default_rng(seed)), [classes], k=3)[0]

    ties = warn_of_ties(xs)
    found = [*doubts.doubt_labels(classes), *doubts.doubt_rounding({"x": xs}), *ties]
    if not ties:
        found += doubt_independence(xs, xs[:, :0], [classes])
        found += doubts.doubt_scale({"x": xs}, bits, by_ranks)
    found += doubts.doubt_size(len(xs), xs.shape[1] + 1, bits)
    return MutualInformation(bits, np.empty(0), tuple(found))


def ross_bits(x: np.ndarray, columns: Iterable[np.ndarray], k: int) -> list[float]:
    """Ross's equation (2), <psi(N) - psi(N_class) + psi(k) - psi(m)>, for (N, d) floats.

    columns: class numbers (N,), each with an estimate. Single members are left out; NaN where fewer
    than two classes remain.
    """
    all_far = None
    if x.shape[1] > 1 and len(x) <= MOST_KEPT:
        all_far = cdist(x, x, "chebyshev")  # of use to each column
    bits = []
    for labels in columns:
        sizes = np.bincount(labels)
        kept, nats, far = sizes[labels] > 1, np.empty(len(labels)), all_far
        radius = nats.copy()
        for label in np.flatnonzero(sizes > 1):
            rows = np.flatnonzero(labels == label)
            near = min(k, len(rows) - 1)
            among = None if far is None else far[np.ix_(rows, rows)]
            radius[rows] = np.nextafter(distance_of_neighbour(x[rows], near, among), 0)
            nats[rows] = digamma(near) - digamma(len(rows))
        if far is not None and not kept.all():
            far = far[np.ix_(kept, kept)]
        nats = nats[kept] - digamma(count_within(x[kept], radius[kept], far))
        is_told = (sizes > 1).sum() > 1
        bits.append(float(digamma(len(nats)) + nats.mean()) / np.log(2) if is_told else np.nan)
    return bits


def compare_all(points: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Distances from some points (N, d) to all of them, (n, N), part by part."""
    size = max(1, DISTANCES_AT_ONCE // len(points))
    for start in range(0, len(points), size):
        rows = slice(start, start + size)
        yield rows, cdist(points[rows], points, "chebyshev")


def distance_of_neighbour(points: np.ndarray, k: int, far: np.ndarray | None = None) -> np.ndarray:
    """The distance from each point (N, d) to its k-th nearest other point, (N,).

    far: the distances (N, N), where they are known.
    """
    if far is not None:
        return np.partition(far, k)[:, k]  # The first is the point itself.
    if (tree := make_tree(points)) is not None:
        return tree.query(points, k + 1)[0][:, k]
    return np.hstack([np.partition(far, k)[:, k] for _, far in compare_all(points)])


def count_within(
    points: np.ndarray, radius: np.ndarray, far: np.ndarray | None = None
) -> np.ndarray:
    """How many points, itself included, lie no farther from each point than its radius; (N,)."""
    if far is not None:
        return np.count_nonzero(far <= radius[:, None], axis=1)
    if (tree := make_tree(points)) is not None:
        return tree.query_radius(points, radius, count_only=True)
    parts = compare_all(points)
    return np.hstack([(far <= radius[rows, None]).sum(axis=1) for rows, far in parts])


def make_tree(points: np.ndarray) -> KDTree | None:
    """A tree of points (N, d), or None where comparing all is faster."""
    if len(points) < BRUTE_FORCE * points.shape[1] ** 3:
        return None
    return KDTree(points, LEAF_SIZE, metric="chebyshev")


def warn_of_ties(samples: np.ndarray) -> list[str]:
    """The doubt of equal rows, where more than a tenth of (N, d) equal others; with a warning."""
    counts = np.unique(samples, axis=0, return_counts=True)[1]
    share = counts[counts > 1].sum() / len(samples)
    if share <= 0.1:
        return []
    says = f"{share:.0%} of the rows equal others: zeros and counts make the estimate too low"
    warnings.warn(f"{says}, copies too high", stacklevel=3)
    return [f"{says}, copies too high"]


def prepare(x: np.ndarray, jitter: float, generator: np.random.Generator, raw: bool) -> np.ndarray:
    """Samples (N, d), scaled unless raw, with uniform noise of `jitter` deviations of a column."""
    checks.check_number(jitter=jitter)
    check_field(0 <= jitter <= 0.01, "jitter", "0 to 0.01 standard deviations", jitter)
    deviation = x.std(axis=0)
    if raw:
        return x + jitter * deviation * generator.random(x.shape)
    return (x - x.mean(axis=0)) / deviation + jitter * generator.random(x.shape)


def prepare_ranks(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The ranks of samples (N, d), scaled and with the noise that `kraskov` adds."""
    return prepare(doubts.as_ranks(x), 1e-10, generator, raw=False)


def same_and_cross(
    before: Sequence[ArrayLike], after: Sequence[ArrayLike], seed: int = 0, raw: bool = False
) -> FactorInformation:
    """Information of factors about their own and each other's next value (paper A, Table 2).

    before, after: lists of K arrays (N, d), factor i at t and at t + 1 of the same sequences.
    same = mean over i of I(z_t^i; z_{t+1}^i); cross = mean over i < j of I(z_t^i; z_{t+1}^j), as in
    the authors' code, which takes raw codes; below the diagonal the matrix is NaN. Doubts are those
    of `kraskov`, whose x is a factor at t and whose y is one at t + 1.
    """
    are_lists = isinstance(before, list | tuple) and isinstance(after, list | tuple)
    if not are_lists or len(before) != len(after) or not before:
        raise ValueError("before, after: expected lists of K arrays (N, d), one for each factor")
    matrix, found = np.full((len(before), len(before)), np.nan), []
    for i, j in np.transpose(np.triu_indices(len(before))).tolist():
        matrix[i, j], _, doubts_of_pair = kraskov(before[i], after[j], seed=seed, raw=raw)
        found += [f"x = before[{i}], y = after[{j}]: {each}" for each in doubts_of_pair]
    upper = matrix[np.triu_indices(len(before), 1)]
    cross = float(upper.mean()) if upper.size else np.nan
    return FactorInformation(matrix, float(np.diag(matrix).mean()), cross, tuple(found))


def cross_block(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Pearson correlation (D, E) of each unit of `before` (N, D) with each of `after` (N, E)."""
    now, later = as_samples("before", before), as_samples("after", after)
    check_field(len(now) == len(later), "before, after", "equally many rows", len(later))
    return np.corrcoef(now, later, rowvar=False)[: now.shape[1], now.shape[1] :]


def as_samples(name: str, values: ArrayLike) -> np.ndarray:
    """Values as a checked (N, d) float64 array with N >= 2; the name is for the error message."""
    samples = measurable_array(name, values)
    if samples.ndim == 1:
        samples = samples[:, None]
    are_samples = samples.ndim == 2 and len(samples) >= 2 and samples.size > 0
    check_field(are_samples, name, "(N,) or (N, d) with N >= 2", samples.shape)
    constant = np.flatnonzero(np.ptp(samples, axis=0) == 0)
    check_field(not constant.size, name, "columns that vary", f"column {constant[:1]} constant")
    return samples
