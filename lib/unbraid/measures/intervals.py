"""How sure a number is: 95 % intervals of means and differences over seeds, of test scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri, stdtrit

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
