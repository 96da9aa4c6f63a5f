"""How sure a mean over seeds is, and the one way it is written."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t


@dataclass(frozen=True)
class Interval:
    """A mean of n values with its interval; low and high are NaN for a single value, which cannot tell its spread."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def mean_interval(values, confidence=0.95):
    """Mean and Student t interval of independent values, one a seed: mean ± t_{n-1} s / sqrt(n).

    values: (n,) finite numbers, n >= 1. It covers the spread between seeds only, for values roughly normal.
    Raises ValueError for no values, NaN or infinity, or a confidence outside (0, 1).
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"values: expected one number a seed, shape (n,) with n >= 1, found shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"values: expected finite numbers, found {values.tolist()}; repeat or leave out the failed seeds")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number between 0 and 1, such as 0.95, found {confidence}")
    n, mean = len(values), float(values.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, 1)
    half_width = float(student_t.ppf(0.5 + confidence / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half_width, mean + half_width, n)


def paired_difference(a, b, confidence=0.95):
    """Mean of a - b with its t interval, when a[i] and b[i] share a seed (or a test item); returns `Interval`.

    Raises ValueError if the lengths differ, else as `mean_interval`.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"a and b: expected pairs, found shapes {a.shape} and {b.shape}; give both for the same seeds")
    return mean_interval(a - b, confidence)


def format_interval(interval, digits=2):
    """"value ± half-width (n seeds)"; a single value is written without an interval: "value (1 seed)"."""
    if interval.n == 1:
        return f"{interval.mean:.{digits}f} (1 seed)"
    return f"{interval.mean:.{digits}f} ± {interval.half_width:.{digits}f} ({interval.n} seeds)"
