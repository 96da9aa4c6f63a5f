"""How sure a number is: intervals of means over seeds, of shares, and of any other statistic.

`mean_interval`: Student's t over independent values, such as training seeds.
`share_interval`: Wilson's interval of a share of independent items.
`bootstrap_interval`: the BCa bootstrap of any statistic, over items or clusters such as sequences.

All are of 95 %; of few skewed clusters the bootstrap's contains the truth less often.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri, stdtrit

from unbraid.checks import as_array, check_field, check_whole, finite_array, number_groups


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

    Of two measures with the same seeds or items, give the differences. Raises ValueError for NaN.
    """
    numbers = finite_array("values", values)
    n = numbers.size
    check_field(numbers.ndim == 1 and n > 0, "values", f"one number per {unit}", numbers.shape)
    mean = float(numbers.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, 1, unit)
    reach = float(stdtrit(n - 1, 0.975) * numbers.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - reach, mean + reach, n, unit)


def share_interval(successes: int, n: int, unit: str = "item") -> Interval:
    """Share of n independent items with Wilson's interval; ValueError unless 0 <= successes <= n.

    The frames of one sequence are not independent: give them to `bootstrap_interval` as clusters.
    """
    counts = finite_array("successes, n", [successes, n])
    holds = not (counts % 1).any() and 0 <= counts[0] <= counts[1] and n >= 1
    expected = "whole numbers with 0 <= successes <= n"
    check_field(holds, "successes, n", expected, f"{successes} and {n}")
    successes, n, z = int(successes), int(n), float(ndtri(0.975))
    middle = (successes + z**2 / 2) / (n + z**2)
    reach = z * np.sqrt(successes * (n - successes) / n + z**2 / 4) / (n + z**2)
    low, high = max(float(middle - reach), 0.0), min(float(middle + reach), 1.0)
    return Interval(successes / n, low, high, n, unit)


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

    values: one or more arrays of N rows that belong together; statistic(*rows) is a number.
    clusters: (N,) the cluster of each row, such as its sequence or speaker.
    rate: the statistic is a share, from 0 to 1. Where all draws agree (20 of 20 right), the limits
        are then Wilson's for as many units; other statistics get NaN limits there.
    A draw whose statistic is not finite is left out, and the limits are then plain percentiles.
    Raises ValueError for unequal or no rows, and where the statistic of all rows is not finite.
    """
    check_whole(2, draws=draws)
    check_whole(0, seed=seed)
    arrays = [as_array(each) for each in values]
    lengths = {each.shape[:1] for each in arrays}
    holds = len(lengths) == 1 and not lengths & {(), (0,)}
    check_field(holds, "values", "one or more arrays of N rows, N >= 1", sorted(lengths))
    numbers = number_groups("clusters", clusters, len(arrays[0]))
    try:
        estimate = float(statistic(*arrays))
    except (TypeError, ValueError) as error:
        expected = f"expected a function to a number, of {len(arrays)} arrays of rows"
        raise ValueError(f"statistic: {expected}; {error}") from None
    check_field(np.isfinite(estimate), "statistic", "a finite number of all rows", estimate)
    check_field(not rate or 0 <= estimate <= 1, "rate", "a share from 0 to 1", estimate)
    sizes = np.bincount(numbers)
    if len(sizes) == 1:
        return Interval(estimate, np.nan, np.nan, 1, unit)

    if statistic is np.mean:  # of the clusters' sums and sizes, which is faster than of all rows
        rows = arrays[0].reshape(len(numbers), -1)
        sums = np.bincount(numbers, weights=rows.sum(axis=1))
        counts = rows.shape[1] * sizes[None]
        low, high = ratio_limits(np.divide, sums[None], counts, draws, seed)[0]
    else:
        members = np.split(np.argsort(numbers, kind="stable"), np.cumsum(sizes)[:-1])

        def evaluate(clusters: np.ndarray) -> float:
            rows = np.concatenate([members[cluster] for cluster in clusters])
            return statistic(*(array[rows] for array in arrays))

        every, random = np.arange(len(sizes)), np.random.default_rng(seed)
        drawn = [evaluate(random.integers(len(sizes), size=len(sizes))) for _ in range(draws)]
        left_out = [evaluate(np.delete(every, cluster)) for cluster in every]
        low, high = bca_limits(estimate, np.array(drawn), np.array(left_out))
    if low == high:
        low = high = np.nan
        if rate:
            wilson = share_interval(round(estimate * len(sizes)), len(sizes))
            low, high = wilson.low, wilson.high
    return Interval(estimate, low, high, len(sizes), unit)


def ratio_limits(
    ratio: Callable[..., np.ndarray], sums: np.ndarray, sizes: np.ndarray, draws: int, seed: int
) -> np.ndarray:
    """BCa limits (m, 2) of ratio(sums.sum(1), sizes.sum(1)) over draws of n units, arrays (m, n).

    To leave a unit out is a subtraction, so that the time grows with n and not with its square.
    """
    (m, n), random = sums.shape, np.random.default_rng(seed)
    values, drawn = np.vstack([sums, sizes]), np.empty((draws, 2 * m))
    for draw in drawn:
        draw[:] = values.take(random.integers(n, size=n), axis=1).sum(axis=1)
    totals = values.sum(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        ratios = [ratio(each[:m], each[m:]) for each in (totals, drawn.T, totals - values)]
    limits = [bca_limits(*each) for each in zip(ratios[0][:, 0], *ratios[1:], strict=True)]
    return np.array(limits)


def bca_limits(estimate: float, drawn: np.ndarray, left_out: np.ndarray) -> tuple[float, float]:
    """Limits of a statistic from its values in draws and with each unit left out.

    Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), (14.9) to (14.15); plain
    percentiles where some values are not finite, or none differ.
    """
    finite = drawn[np.isfinite(drawn)]
    with np.errstate(all="ignore"):
        bias = ndtri(((drawn < estimate).mean() + (drawn <= estimate).mean()) / 2)
        gaps = left_out.mean() - left_out
        acceleration = (gaps**3).sum() / (6 * (gaps**2).sum() ** 1.5)
        reach = bias + ndtri([0.025, 0.975])
        levels = ndtr(bias + reach / (1 - acceleration * reach))
    if len(finite) < len(drawn) or not np.isfinite(levels).all():
        levels = np.array([0.025, 0.975])
    low, high = np.quantile(finite, levels) if finite.size else (np.nan, np.nan)
    return float(low), float(high)
