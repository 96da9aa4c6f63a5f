"""How sure a number is: intervals of means over seeds, of shares, and of any other statistic.

`mean_interval`: Student's t over independent values, such as training seeds.
`share_interval`: Wilson's interval of a share of independent items.
`bootstrap_interval`: the BCa bootstrap of any statistic, over items or clusters such as sequences.

All are of 95 %; of few skewed clusters the bootstrap's contains the truth less often.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from unbraid.checks import as_array, check_field, check_whole, finite_array, to_index


@dataclass(frozen=True, repr=False)
class Interval:
    """An estimate with the limits of its interval.

    low and high are NaN where the spread is unknown, as with a single value. n counts the
    independent units, named by `unit` in the singular ("seed", "sequence", "speaker").
    `f"{interval:.2f}"` writes "value ± half-width (n seeds)", or "value [low, high] (n seeds)"
    where the two sides differ by a unit of the last digit.
    """

    mean: float
    low: float
    high: float
    n: int
    unit: str = "seed"

    @property
    def half_width(self) -> float:
        """Half the distance between the limits."""
        return (self.high - self.low) / 2

    @property
    def count(self) -> str:
        """Number and name of the units, such as "3 seeds"."""
        return f"{self.n} {self.unit}" if self.n == 1 else f"{self.n} {self.unit}s"

    def __repr__(self) -> str:
        return format(self, ".4g")

    def __format__(self, spec: str) -> str:
        spec, limits = spec or ".4g", ""
        if np.isfinite(self.half_width):
            middle = (self.low + self.high) / 2
            limits = f" [{self.low:{spec}}, {self.high:{spec}}]"
            if float(f"{middle - self.mean:{spec}}") == 0:
                limits = f" ± {self.half_width:{spec}}"
        return f"{self.mean:{spec}}{limits} ({self.count})"


def mean_interval(values: ArrayLike, unit: str = "seed") -> Interval:
    """Mean and Student t interval of independent values (n,); NaN limits for a single value.

    Of two measures with the same seeds or test items, give the differences. Raises ValueError for
    no values, NaN or infinity.
    """
    numbers = finite_array("values", values)
    n = numbers.size
    check_field(numbers.ndim == 1 and n > 0, "values", f"one number per {unit}", numbers.shape)
    mean = float(numbers.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, 1, unit)
    reach = float(stats.t.ppf(0.975, n - 1) * stats.sem(numbers))
    return Interval(mean, mean - reach, mean + reach, n, unit)


def share_interval(successes: int, n: int, unit: str = "item") -> Interval:
    """Share of n independent items with Wilson's interval.

    The frames of one sequence are not independent: give them to `bootstrap_interval` as clusters.
    Raises ValueError where these are not whole numbers with 0 <= successes <= n and n >= 1.
    """
    counts = finite_array("successes, n", [successes, n])
    holds = not (counts % 1).any() and 0 <= counts[0] <= counts[1] and n >= 1
    expected = "whole numbers with 0 <= successes <= n"
    check_field(holds, "successes, n", expected, f"{successes} and {n}")
    limits = stats.binomtest(int(successes), int(n)).proportion_ci(0.95, method="wilson")
    return Interval(float(successes / n), float(limits.low), float(limits.high), int(n), unit)


def bootstrap_interval(
    *values: ArrayLike,
    statistic: Callable[..., float] = np.mean,
    clusters: ArrayLike | None = None,
    rate: bool = False,
    draws: int = 2000,
    unit: str = "item",
    seed: int = 0,
) -> Interval:
    """Any statistic with its BCa interval, drawing items or whole clusters with replacement.

    values: one or more arrays of N rows that belong together, such as scores and labels;
        statistic(*rows) must return a number.
    clusters: (N,) the cluster of each row, such as its sequence or speaker.
    rate: the statistic is a share, from 0 to 1. Where all draws agree (20 of 20 right), the limits
        are then Wilson's for as many units; other statistics get NaN limits there.
    A draw whose statistic is not finite is left out, and the limits are then plain percentiles.
    Raises ValueError for unequal or no rows, and where the statistic of all rows is not finite.
    """
    check_whole(2, draws=draws)
    check_whole(0, seed=seed)
    arrays, numbers = check_rows(values, clusters)
    estimate = float(statistic(*arrays))
    check_field(np.isfinite(estimate), "statistic", "a finite number of all rows", estimate)
    check_field(not rate or 0 <= estimate <= 1, "rate", "a share from 0 to 1", estimate)
    sizes = np.bincount(numbers)
    if len(sizes) == 1:
        return Interval(estimate, np.nan, np.nan, 1, unit)

    members = np.split(np.argsort(numbers, kind="stable"), np.cumsum(sizes)[:-1])

    def evaluate(drawn: np.ndarray) -> float:
        rows = np.concatenate([members[cluster] for cluster in drawn.astype(int)])
        return statistic(*(array[rows] for array in arrays))

    def mean_of_sums(sums: np.ndarray, counts: np.ndarray, axis: int) -> np.ndarray:
        return sums.sum(axis) / counts.sum(axis)

    if statistic is np.mean:  # of the clusters' sums and sizes, which is faster than of all rows
        rows = arrays[0].reshape(len(numbers), -1)
        sums = np.bincount(numbers, weights=rows.sum(axis=1))
        low, high = bca_limits(mean_of_sums, (sums, rows.shape[1] * sizes), draws, seed)
    else:
        low, high = bca_limits(evaluate, (np.arange(len(sizes)),), draws, seed)
    if low == high:
        low = high = np.nan
        if rate:
            wilson = share_interval(round(estimate * len(sizes)), len(sizes))
            low, high = wilson.low, wilson.high
    return Interval(estimate, low, high, len(sizes), unit)


def check_rows(
    values: tuple[ArrayLike, ...], clusters: ArrayLike | None
) -> tuple[list[np.ndarray], np.ndarray]:
    """The values as arrays of N rows, and the number of each row's cluster, (N,)."""
    arrays = [as_array(each) for each in values]
    holds = arrays and all(array.ndim for array in arrays)
    check_field(holds, "values", "one or more arrays of N rows", "none, or a number")
    labels = np.arange(len(arrays[0])) if clusters is None else as_array(clusters)
    check_field(labels.ndim == 1, "clusters", "(N,), one for each row", labels.shape)
    lengths = {len(array) for array in [*arrays, labels]}
    holds = len(lengths) == 1 and lengths != {0}
    check_field(holds, "values, clusters", "equally many rows", sorted(lengths))
    return arrays, to_index("clusters", labels)


def bca_limits(
    statistic: Callable[..., float | np.ndarray],
    values: tuple[np.ndarray, ...],
    draws: int,
    seed: int,
) -> tuple[float, float]:
    """Limits of statistic(*values) over draws of units with replacement.

    values: arrays (n,) with a number of each unit. A statistic with the argument `axis` is called
        with many draws at once, arrays (draws, n).
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            values,
            statistic,
            paired=True,
            n_resamples=draws,
            batch=min(draws, 100),  # else the jackknife lays out count x count indices at once
            method="BCa",
            rng=np.random.default_rng(seed),
        )
    limits = np.array(result.confidence_interval)
    if not np.isfinite(limits).all():
        drawn = result.bootstrap_distribution
        finite = drawn[np.isfinite(drawn)]
        limits = np.quantile(finite, [0.025, 0.975]) if finite.size else np.full(2, np.nan)
    return float(limits[0]), float(limits[1])
