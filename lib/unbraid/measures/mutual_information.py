"""Mutual information of continuous codes from samples alone, by counting neighbours.

Source: Kraskov, Stögbauer and Grassberger, "Estimating mutual information", Phys. Rev. E 69, 066138 (2004), equations (8)
and (9). Paper A (Whitney and Fergus 2017) uses their first estimator with k = 3 on N = 1000 pairs of posterior *samples*
(not means) of neighbouring frames, in bits; those are the defaults here. In many dimensions the estimate lies far below
the true value and depends on N and k: compare only figures that share N, k, variant, unit and dimension.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import digamma

from unbraid.measures.resampling import GROUPS, jackknife_limits

NATS_PER_UNIT = {"nats": 1.0, "bits": np.log(2.0)}
TREE_DIMENSIONS = 6  # up to so many joint dimensions the k-d tree is the faster search: table in tests/bench_kraskov.py
BLOCK_DISTANCES = (
    2**18
)  # distances held at once by a thread: 2 MB an array, which stays in the processor's cache


@dataclass(frozen=True, eq=False)
class MutualInformation:
    """An estimate in `unit`, with what is needed to repeat it; `null` and `interval` are None unless asked for."""

    estimate: float
    null: np.ndarray | None  # (shuffles,) estimates with the pairing destroyed
    interval: (
        tuple[float, float] | None
    )  # of the true value; in many units only the lower limit is finite, or tells anything
    samples: int
    k: int
    variant: int
    unit: str


@dataclass(frozen=True, eq=False)
class FactorInformation:
    """`matrix[i, j]` is I(z_t^i; z_{t+1}^j); NaN where it was not computed."""

    matrix: np.ndarray  # (K, K)
    same: float  # mean of the diagonal
    cross: float  # mean over i < j only; NaN for a single factor
    unit: str


@dataclass(frozen=True, eq=False)
class Partition:
    """The partition of an entangled code that looks most disentangled, and all that were tried."""

    same: float
    cross: float
    permutation: (
        np.ndarray
    )  # (D,) units in their new order; block b is permutation[b * block:(b + 1) * block]
    both_positive: (
        bool  # False: no partition had same > 0 and cross > 0, so the best of all was taken
    )
    tried: np.ndarray  # (tries, 2) same and cross of every partition
    unit: str


@dataclass(frozen=True, eq=False)
class Ownership:
    """Which code knows which factor: `matrix[i, f]` is the information of code i on factor f."""

    matrix: np.ndarray  # (K, F)
    factors: tuple[str, ...]  # names of the columns
    owner: dict[str, int]  # factor -> the code assigned to it
    own: float  # mean over the assigned pairs
    other: (
        float  # mean over all other pairs of the assigned codes; NaN when there is one factor only
    )
    unit: str

    @property
    def ratio(self) -> float:
        """own / other; infinite when the codes tell nothing (<= 0) of the other factors."""
        return self.own / self.other if not self.other <= 0 else np.inf


def kraskov(
    x, y, k=3, variant=1, unit="bits", shuffles=0, interval=0, confidence=0.95, jitter=1e-10, seed=0
):
    """Estimate I(x; y) from N paired samples; returns `MutualInformation`.

    x, y: (N,) or (N, d) arrays, or tensors without gradient on the CPU; their d may differ. Distance is the max-norm over
        raw scales: rescaling one of the two alone changes the estimate.
    k: neighbours, 1 <= k < N. variant: 1 or 2, the estimators of equations (8) and (9). unit: "bits" or "nats".
    shuffles: so many estimates with y's rows permuted, the estimator's own zero at this N and d.
    interval: so many random divisions (5 is plenty) of the samples into four groups, each left out in turn: the grouped
        jackknife (Shao and Wu, Ann. Statist. 17, 1176, 1989) for an interval of `confidence`; limits: `resampling.jackknife_limits`.
        Of 100 intervals of 95 % 95 or more held the truth, N = 100, 0 to 4 bits, up to three units on a side; in more there is no
        upper limit, and 98 or more lower ones held.
        Drawing with replacement would not do: repeated points are neighbours at distance zero. Rows count as independent.
    jitter: uniform noise of so many standard deviations a column, drawn for x and y apart, so that no two distances tie.
    Raises ValueError for lengths that differ, NaN or infinity, a constant column, or k, variant, unit out of range.
    """
    x, y = samples("x", x), samples("y", y)
    check_settings(x, y, k, variant, unit)
    if interval and (len(x) < GROUPS or len(x) - -(-len(x) // GROUPS) <= k):
        raise ValueError(
            f"interval: expected N large enough to leave out one of {GROUPS} groups and keep more than k = {k} samples, "
            f"found N = {len(x)}; give more samples or interval=0"
        )
    # One stream a purpose: asking for a null or an interval does not change the estimate.
    for_jitter, for_null, for_interval = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)
    )
    x, y = (v + jitter * v.std(axis=0) * for_jitter.random(v.shape) for v in (x, y))
    count = len(x)

    def value(x, y):
        return information_in_nats(x, y, k, variant) / NATS_PER_UNIT[unit]

    estimate = value(x, y)
    null = (
        np.array([value(x, y[for_null.permutation(count)]) for _ in range(shuffles)])
        if shuffles
        else None
    )
    limits = None
    if interval:
        groups = [for_interval.permutation(count) % GROUPS for _ in range(interval)]
        without = np.array(
            [[value(x[group != g], y[group != g]) for g in range(GROUPS)] for group in groups]
        )
        limits = jackknife_limits(estimate, without, x.shape[1] + y.shape[1], confidence)
    return MutualInformation(estimate, null, limits, count, k, variant, unit)


def information_in_nats(x, y, k, variant):
    """The two formulas of Kraskov et al., on checked (N, d) float64 arrays."""
    count_x, count_y = neighbour_counts(x, y, k, variant)
    if variant == 1:  # equation (8)
        return float(
            digamma(k) + digamma(len(x)) - np.mean(digamma(count_x + 1) + digamma(count_y + 1))
        )
    return float(
        digamma(k) - 1 / k + digamma(len(x)) - np.mean(digamma(count_x) + digamma(count_y))
    )  # equation (9)


def neighbour_counts(x, y, k, variant, search=None):
    """n_x and n_y of every point, (N,) integers each, the point itself not counted.

    Variant 1: points nearer than the k-th joint neighbour, strictly, on each side. Variant 2: points no farther than the
    farthest of the k joint neighbours, axis by axis (among joint ties, which the jitter excludes, the choice is open).
    search: "tree" or "blocks"; both give the same counts. Default: "tree" up to `TREE_DIMENSIONS` joint dimensions.
    """
    if search is None:
        search = "tree" if x.shape[1] + y.shape[1] <= TREE_DIMENSIONS else "blocks"
    return {"tree": counts_by_tree, "blocks": counts_by_blocks}[search](x, y, k, variant)


def counts_by_blocks(x, y, k, variant):
    """Every distance, a block of rows at a time; threads share the blocks. Exact float64, memory of a few MB a thread."""

    def count(rows):
        distance_x, distance_y = (cdist(v[rows], v, "chebyshev") for v in (x, y))  # (rows, N)
        itself = (np.arange(len(rows)), rows)
        distance_x[itself] = distance_y[itself] = np.inf
        joint = np.maximum(distance_x, distance_y)
        radius = np.partition(joint, k - 1, axis=1)[:, k - 1 : k]  # (rows, 1)
        if variant == 1:
            return [np.count_nonzero(d < radius, axis=1) for d in (distance_x, distance_y)]
        neighbours = joint <= radius  # k of them in each row
        return [
            np.count_nonzero(
                d <= np.max(d, axis=1, where=neighbours, initial=0, keepdims=True), axis=1
            )
            for d in (distance_x, distance_y)
        ]

    rows = np.arange(len(x))
    blocks = np.array_split(rows, -(-(len(x) ** 2) // BLOCK_DISTANCES))
    # Threads over whole blocks need no waiting for each other, which a loaded machine punishes.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
        return np.concatenate(list(pool.map(count, blocks)), axis=1)


def counts_by_tree(x, y, k, variant):
    """k-d trees: one search for the k-th joint neighbour, one count of points within a radius on each side."""
    joint = np.hstack([x, y])
    distances, neighbours = cKDTree(joint).query(
        joint, k + 1, p=np.inf, workers=-1
    )  # (N, k + 1), the point itself among them
    if variant == 1:
        radius_x = radius_y = np.nextafter(
            distances[:, k], 0
        )  # the next smaller number turns <= into <
    else:
        # max over the k neighbours; the point itself is at distance 0 and so changes nothing
        radius_x, radius_y = (np.abs(v[neighbours] - v[:, None]).max(axis=(1, 2)) for v in (x, y))
    return np.stack([within(x, radius_x), within(y, radius_y)])


def within(points, radius):
    """How many other points lie no farther than each point's radius; (N,) integers."""
    counts = cKDTree(points).query_ball_point(
        points, radius, p=np.inf, workers=-1, return_length=True
    )
    return counts - 1


def same_and_cross(before, after, k=3, variant=1, unit="bits", full=False, seed=0):
    """Information of factors on their own and on each other's next value (paper A); returns `FactorInformation`.

    before, after: lists of K arrays (N, d), factor i at t and at t + 1, row by row of the same sequence.
    same = mean over i of I(z_t^i; z_{t+1}^i); cross = mean over i < j of I(z_t^i; z_{t+1}^j), as the authors' code has it.
    full=True fills the whole matrix; `cross` stays the mean over i < j. Paper A's figures are for posterior samples,
    N = 1000, k = 3, variant 1, bits. Errors: as `kraskov`, and a ValueError if the lists differ in length.
    """
    if len(before) != len(after) or not len(before):
        raise ValueError(
            f"before and after: expected two lists of the same K >= 1 factors, found {len(before)} and {len(after)}; "
            "give each factor at t and at t + 1"
        )
    before = [samples(f"before[{i}]", v) for i, v in enumerate(before)]
    after = [samples(f"after[{i}]", v) for i, v in enumerate(after)]
    factors = len(before)
    matrix = np.full((factors, factors), np.nan)
    for i in range(factors):
        for j in range(0 if full else i, factors):
            matrix[i, j] = kraskov(before[i], after[j], k, variant, unit, seed=seed).estimate
    upper = matrix[np.triu_indices(factors, 1)]
    return FactorInformation(
        matrix, float(np.diag(matrix).mean()), float(upper.mean()) if upper.size else np.nan, unit
    )


def best_partition(before, after, block, tries=20, seed=0, k=3, variant=1, unit="bits"):
    """The favourable reading of an entangled code (paper A); returns `Partition`.

    before, after: (N, D) arrays of all units at t and t + 1, or lists of (N, d) arrays that are put side by side.
    The D units are permuted at random `tries` times, alike at both times, and cut into factors of `block` units; the
    partition with the greatest same - cross among those with both above zero is taken. When there is none, the greatest
    of all is taken and `both_positive` is False. Errors: as `kraskov`, and ValueError unless `block` divides D into two
    or more.
    """
    before, after = units("before", before), units("after", after)
    width = before.shape[1]
    if after.shape[1] != width:
        raise ValueError(
            f"before and after: expected the same units, found {width} and {after.shape[1]}"
        )
    if block < 1 or width % block or width == block:
        raise ValueError(
            f"block: expected a size that cuts {width} units into two or more equal factors, found {block}"
        )
    if tries < 1:
        raise ValueError(f"tries: expected at least 1 partition, found {tries}")
    generator = np.random.default_rng(seed)
    permutations = [generator.permutation(width) for _ in range(tries)]
    tried = np.empty((tries, 2))
    for row, permutation in zip(tried, permutations):
        cut = permutation.reshape(-1, block)
        found = same_and_cross(
            [before[:, c] for c in cut], [after[:, c] for c in cut], k, variant, unit, seed=seed
        )
        row[:] = found.same, found.cross
    positive = (tried > 0).all(axis=1)
    gap = tried[:, 0] - tried[:, 1]
    best = int(np.argmax(np.where(positive, gap, -np.inf) if positive.any() else gap))
    return Partition(
        *map(float, tried[best]), permutations[best], bool(positive[best]), tried, unit
    )


def ownership(codes, factors, k=3, variant=1, unit="bits", seed=0):
    """Which code carries which known factor, e.g. each digit's true position; returns `Ownership`.

    codes: list of K arrays (N, d). factors: name -> (N,) or (N, m) array of a continuous factor.
    Codes and factors are paired one to one so that the assigned information is greatest. Errors: as `kraskov`.
    """
    if not len(codes) or not factors:
        raise ValueError(
            f"ownership: expected at least one code and one factor, found {len(codes)} and {len(factors)}"
        )
    codes = [samples(f"codes[{i}]", code) for i, code in enumerate(codes)]
    known = {name: samples(f"factor {name!r}", values) for name, values in factors.items()}
    matrix = np.array(
        [
            [kraskov(c, f, k, variant, unit, seed=seed).estimate for f in known.values()]
            for c in codes
        ]
    )
    rows, columns = linear_sum_assignment(matrix, maximize=True)
    assigned = np.zeros(matrix.shape, dtype=bool)
    assigned[rows, columns] = True
    rest = matrix[rows][~assigned[rows]]
    names = tuple(known)
    owner = {names[f]: int(c) for c, f in zip(rows, columns)}
    return Ownership(
        matrix,
        names,
        owner,
        float(matrix[assigned].mean()),
        float(rest.mean()) if rest.size else np.nan,
        unit,
    )


def samples(name, values):
    """Values as a checked (N, d) float64 array; the name is for the error message."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or not values.size:
        raise ValueError(
            f"{name}: expected shape (N,) or (N, d), found {values.shape}; flatten batch and time into N rows"
        )
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"{name}: expected finite numbers, found {values[row, column]} at row {row}, column {column}; "
            "mend or drop these rows"
        )
    constant = np.flatnonzero(np.ptp(values, axis=0) == 0)
    if constant.size:
        raise ValueError(
            f"{name}: expected columns that vary, found column {constant[0]} constant at {values[0, constant[0]]:g}; "
            "leave constant units out, they carry no information"
        )
    return values


def units(name, values):
    """An (N, D) array as it is, or a list of (N, d) arrays side by side."""
    if isinstance(values, (list, tuple)):
        values = np.hstack([samples(f"{name}[{i}]", v) for i, v in enumerate(values)])
    return samples(name, values)


def check_settings(x, y, k, variant, unit):
    """Refuse pairs or settings that have no estimate."""
    if len(x) != len(y):
        raise ValueError(
            f"x and y: expected as many rows in both, found {len(x)} and {len(y)}; pair the samples row by row"
        )
    if k != int(k) or not 1 <= k < len(x):
        raise ValueError(
            f"k: expected a whole number from 1 to N - 1 = {len(x) - 1}, found {k}; lower k or give more samples"
        )
    if variant not in (1, 2):
        raise ValueError(f"variant: expected 1 or 2, found {variant!r}")
    if unit not in NATS_PER_UNIT:
        raise ValueError(
            f"unit: expected one of {', '.join(map(repr, NATS_PER_UNIT))}, found {unit!r}"
        )
