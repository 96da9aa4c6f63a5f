"""How sure a number is: intervals of means over seeds, of shares, and of any other statistic.

`mean_interval`: Student's t over independent values, such as training seeds.
`share_interval`: Wilson's interval of a share of independent items.
`bootstrap_interval`: the BCa bootstrap of any statistic, over items or clusters such as sequences.
`corrected_comparisons`: many paired differences at once, corrected for their number.

All are of 95 %; of few skewed clusters the bootstrap's contains the truth less often.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from unbraid.checks import as_array, check_whole, finite_array, to_index
from unbraid.readable import Readable


@dataclass(frozen=True, repr=False)
class Interval(Readable):
    """An estimate with the limits of its interval.

    low and high are NaN where the spread is unknown, as with a single value. n counts the
    independent units, named by `unit` in the singular ("seed", "sequence", "speaker").
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

    def table(self) -> list[tuple[str, ...]]:
        """One row: the estimate, its limits where they are known, and the units."""
        if not np.isfinite([self.low, self.high]).all():
            return [(f"{self.mean:.4g}", self.count)]
        return [(f"{self.mean:.4g}", f"[{self.low:.4g}, {self.high:.4g}]", self.count)]

    def __str__(self) -> str:
        return " ".join(self.table()[0])


@dataclass(frozen=True, repr=False)
class Comparison(Readable):
    """Two models on the same items: the mean of a - b, and a two-sided p-value that it is 0."""

    difference: Interval
    p_value: float  # NaN where the difference is the same in every item


def mean_interval(values: ArrayLike, unit: str = "seed", coverage: float = 0.95) -> Interval:
    """Mean and Student t interval of independent values (n,); NaN limits for a single value.

    Raises ValueError for no values, NaN or infinity, and a coverage that is not between 0 and 1.
    """
    values = finite_array("values", values)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"values: expected one number a {unit}, found shape {values.shape}")
    if not 0 < coverage < 1:
        raise ValueError(f"coverage: expected a share such as 0.95, found {coverage}")
    n = len(values)
    mean = float(values.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, 1, unit)
    error = values.std(ddof=1) / np.sqrt(n)
    reach = float(stats.t.ppf((1 + coverage) / 2, n - 1) * error)
    return Interval(mean, mean - reach, mean + reach, n, unit)


def share_interval(successes: int, n: int, unit: str = "item") -> Interval:
    """Share of n independent items with Wilson's interval.

    The frames of one sequence are not independent: give them to `bootstrap_interval` as clusters.
    Raises ValueError where these are not whole numbers with 0 <= successes <= n and n >= 1.
    """
    counts = finite_array("successes", successes), finite_array("n", n)
    are_whole = not any(count.ndim or count % 1 for count in counts)
    if not are_whole or not 0 <= successes <= n or n < 1:
        raise ValueError(
            f"successes, n: expected whole numbers with 0 <= successes <= n, found {successes}, {n}"
        )
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
    rate: the statistic is a share. Where all draws agree (20 of 20 right), the limits are then
        Wilson's for as many units; other statistics get NaN limits there.
    A draw whose statistic is not finite is left out, and the limits are then plain percentiles.
    Raises ValueError for unequal or no rows, and where the statistic of all rows is not finite.
    """
    check_whole(1, draws=draws)
    check_whole(0, seed=seed)
    values = [as_array(array) for array in values]
    if not values or not all(array.ndim for array in values):
        raise ValueError("values: expected one or more arrays of N rows, found none or a number")
    labels = np.arange(len(values[0])) if clusters is None else as_array(clusters)
    if labels.ndim != 1:
        raise ValueError(f"clusters: expected (N,), one for each row, found {labels.shape}")
    lengths = {len(array) for array in [*values, labels]}
    if lengths == {0} or len(lengths) > 1:
        raise ValueError(f"values, clusters: expected equally many rows, found {sorted(lengths)}")
    numbers = to_index("clusters", labels)
    estimate = float(statistic(*values))
    if not np.isfinite(estimate):
        raise ValueError(f"statistic: expected a finite number of all rows, found {estimate}")
    sizes = np.bincount(numbers)
    if len(sizes) == 1:
        return Interval(estimate, np.nan, np.nan, 1, unit)

    members = np.split(np.argsort(numbers, kind="stable"), np.cumsum(sizes)[:-1])

    def evaluate(drawn: np.ndarray) -> float:
        rows = np.concatenate([members[cluster] for cluster in drawn.astype(int)])
        return statistic(*(array[rows] for array in values))

    if statistic is np.mean:  # of the clusters' sums and sizes, which is faster than of all rows
        rows = values[0].reshape(len(numbers), -1)
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


def mean_of_sums(sums: np.ndarray, sizes: np.ndarray, axis: int) -> np.ndarray:
    """The mean of all rows of clusters, from their sums and numbers of rows (..., clusters)."""
    return sums.sum(axis) / sizes.sum(axis)


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
    low, high = map(float, result.confidence_interval)
    if not np.isfinite([low, high]).all():
        drawn = result.bootstrap_distribution
        drawn = drawn[np.isfinite(drawn)]
        if not drawn.size:
            return np.nan, np.nan
        low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return low, high


def paired_difference(
    a: ArrayLike, b: ArrayLike, unit: str = "seed", coverage: float = 0.95
) -> Interval:
    """Mean of a - b with its t interval, where a[i] and b[i] (n,) share a seed or a test item.

    Raises ValueError for shapes that differ, and as `mean_interval`.
    """
    a, b = finite_array("a", a), finite_array("b", b)
    if a.shape != b.shape:
        raise ValueError(f"a, b: expected pairs of values, found shapes {a.shape} and {b.shape}")
    return mean_interval(a - b, unit, coverage)


def paired_comparison(a: ArrayLike, b: ArrayLike, unit: str = "item") -> Comparison:
    """Two models' numbers (n,) on the same independent items, compared by the paired t test.

    Raises ValueError as `paired_difference`.
    """
    a, b = finite_array("a", a), finite_array("b", b)
    difference = paired_difference(a, b, unit)
    if not difference.half_width > 1e-12 * abs(difference.mean):
        return Comparison(difference, np.nan)
    return Comparison(difference, float(stats.ttest_rel(a, b).pvalue))


def corrected_comparisons(
    pairs: Mapping[object, tuple[ArrayLike, ArrayLike]],
) -> dict[object, Comparison]:
    """Paired comparisons of m pairs (a, b), a number per seed each, by name, corrected for m.

    The intervals together contain all m true differences in 95 % of cases or more (Bonferroni); the
    p-values are those of Holm (1979), Scand. J. Statist. 6, 65. NaN counts as the largest. Raises
    ValueError as `paired_difference`.
    """
    coverage = 1 - 0.05 / max(len(pairs), 1)
    p_values = {name: paired_comparison(a, b).p_value for name, (a, b) in pairs.items()}
    tested = [name for name, p_value in p_values.items() if np.isfinite(p_value)]
    largest = 0.0
    for rank, name in enumerate(sorted(tested, key=p_values.get)):
        # A corrected p-value is never below that of a difference with a smaller one.
        largest = max(largest, min(1.0, (len(pairs) - rank) * p_values[name]))
        p_values[name] = largest
    differences = {name: paired_difference(*pair, "seed", coverage) for name, pair in pairs.items()}
    return {name: Comparison(differences[name], p_values[name]) for name in pairs}


def format_interval(interval: Interval, digits: int = 2) -> str:
    """ "value ± half-width (n seeds)", or "value [low, high] (n seeds)" where the sides differ.

    They differ if they do so by a unit of the last digit. Without limits: "value (1 seed)".
    """
    value = f"{interval.mean:.{digits}f}"
    if not np.isfinite([interval.low, interval.high]).all():
        return f"{value} ({interval.count})"
    if abs(interval.high + interval.low - 2 * interval.mean) < 10**-digits:
        value = f"{value} ± {interval.half_width:.{digits}f}"
    else:
        value = f"{value} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"
    return f"{value} ({interval.count})"
