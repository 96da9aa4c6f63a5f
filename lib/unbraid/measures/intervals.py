"""How sure a number is: 95 % intervals of means and differences over seeds, of test scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtr, ndtri, stdtrit

from unbraid.checks import check_field, check_type, finite_array


class Interval(NamedTuple):
    """An estimate with the limits of its interval, NaN where the spread is unknown."""

    mean: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def mean_interval(values: ArrayLike) -> Interval:
    """Mean and Student t interval of values (n,), with NaN limits of one; ValueError for NaN."""
    numbers = finite_array("values", values)
    n = numbers.size
    check_field(numbers.ndim == 1 and n, "values", "(n,), one number or more", numbers.shape)
    mean, reach = float(numbers.mean()), np.nan
    if n > 1:
        reach = float(stdtrit(n - 1, 0.975) * numbers.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - reach, mean + reach)


def difference_interval(ours: Mapping[int, float], others: Mapping[int, float]) -> Interval:
    """The mean of ours minus that of others, both by seed, with the interval of Student's t.

    In pairs of a seed if all seeds of one are among the other's, else by Welch, of all values.
    Limits are NaN where there are fewer than two of either; ValueError for NaN.
    """
    check_type(Mapping, ours=ours, others=others)
    samples = [finite_array("ours", [*ours.values()]), finite_array("others", [*others.values()])]
    are_rows = all(each.ndim == 1 and each.size for each in samples)
    check_field(are_rows, "ours, others", "a number of one seed or more in both", (ours, others))
    are_alike = len({isinstance(seed, str) for seed in (*ours, *others)}) == 1
    check_field(are_alike, "ours, others", "seeds of one type", (ours, others))
    shared = ours.keys() & others.keys()
    if shared and len(shared) in (len(ours), len(others)):
        return mean_interval([ours[seed] - others[seed] for seed in shared])
    difference = float(samples[0].mean() - samples[1].mean())
    counts = np.array([len(ours), len(others)])
    if counts.min() < 2:
        return Interval(difference, np.nan, np.nan)
    errors = np.array([each.var(ddof=1) for each in samples]) / counts  # squared
    freedom = errors.sum() ** 2 / (errors**2 / (counts - 1)).sum()
    reach = float(stdtrit(freedom, 0.975) * np.sqrt(errors.sum()))
    return Interval(difference, difference - reach, difference + reach)


def share_interval(right: np.ndarray, groups: np.ndarray) -> Interval:
    """The share of `right` (n,), 0 or 1 each, with exact limits for as many rows as groups make.

    groups: numbers (n,), or (n, 2) of rows that belong to two groups, as a swap does to two clips.
    Rows of a group may be right together: the variance between groups says how many independent
    rows there are (Korn and Graubard, Survey Methodology 24, 1998; of two groups Cameron, Gelbach
    and Miller, 2011). Where all are right, or none is, each group counts as one row.
    """
    if not len(right):
        return Interval(np.nan, np.nan, np.nan)
    share, columns = float(right.mean()), list(groups.reshape(len(right), -1).T)
    if len(columns) == 2:  # what is in both was counted twice
        columns.append(np.unique(np.stack(columns), axis=1, return_inverse=True)[1].ravel())
    variances, counts = [], []
    for column in columns:
        of_group = np.unique(column, return_inverse=True)[1]
        sums = np.bincount(of_group, weights=right - share)
        counts.append(len(sums))
        variances.append((sums**2).sum() / len(right) ** 2 * len(sums) / max(1, len(sums) - 1))
    few, spread = min(counts), share * (1 - share)
    variance = max(sum(variances[:2]) - sum(variances[2:]), spread / len(right))
    if few < 2:
        return Interval(share, 0.0, 1.0)
    rows = float(few)
    if spread:  # Student's t of so many groups, and not of so many rows
        rows = spread / variance * (ndtri(0.975) / stdtrit(few - 1, 0.975)) ** 2
    low = betaincinv(share * rows, (1 - share) * rows + 1, 0.025) if share else 0.0
    high = betaincinv(share * rows + 1, (1 - share) * rows, 0.975) if share < 1 else 1.0
    return Interval(share, float(low), float(high))


def ratio_limits(
    ratio: Callable[..., np.ndarray], sums: np.ndarray, sizes: np.ndarray, draws: int, seed: int
) -> np.ndarray:
    """BCa limits (m, 2) of ratio(sums.sum(1), sizes.sum(1)) over draws of n units, arrays (m, n).

    To leave a unit out is a subtraction, so that the time grows with n and not with its square.
    Of a single unit limits are NaN.
    """
    (m, n), random = sums.shape, np.random.default_rng(seed)
    if n == 1:
        return np.full((m, 2), np.nan)
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
