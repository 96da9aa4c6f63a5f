"""How sure a number is, and the one way it is written.

A mean over seeds: `mean_interval`, of a score with a ceiling `score_interval`; a share of independent test items:
`share_interval`; any other statistic of test items, or items in clusters, such as the frames of a sequence:
`resampling.bootstrap_interval`; two models on the same items: `paired_comparison`. How often each holds the truth was measured
(tests/bench_coverage.py) and is said with it. The spread between seeds and the spread between test items are different
things: give each its interval, and never mix them.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit
from scipy.stats import beta, binomtest, norm, skew, ttest_1samp
from scipy.stats import t as student_t

FEW_EVENTS = 5  # a rate with fewer units' worth of its rarer outcome: their own spread does not tell what might have been
FEW_COUNTS = 10  # shares with fewer of either outcome get limits no narrower than the exact ones
FEW_FOR_SKEWNESS = 4  # values or more: of fewer nothing can be told about the form of their spread


@dataclass(frozen=True)
class Interval:
    """An estimate, a mean unless said otherwise, with its interval.

    low and high are NaN where the spread cannot be told, as from a single value. n counts what was taken as independent,
    named by `unit` in the singular ("seed", "sequence", "speaker"). warning: why not to lean on the limits; "" if nothing.
    """

    mean: float
    low: float
    high: float
    n: int
    unit: str = "seed"
    warning: str = ""

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Comparison:
    """Two models on the same test items.

    difference: mean of a - b. effect_size: of the kind `effect` names. p_value: two-sided, of `test`.
    """

    difference: Interval
    effect_size: float
    effect: str
    p_value: float
    test: str


def mean_interval(values, confidence=0.95, unit="seed"):
    """Mean and Student t interval of independent values, one a seed: mean ± t_{n-1} s / sqrt(n).

    values: (n,) finite numbers, n >= 1. It covers the spread between seeds only, for values roughly normal: of 100 intervals
    of 95 %, 95 hold their mean from n = 2 on. Skewed values (exponential) are held 88 times at n = 3 to 5, 92 at 20, 94 at
    100. A bootstrap over a handful of seeds is no way out: of normal values it holds 72 in 100 at n = 3, 92 at 5.
    Values that are all the same get an interval of width zero, with a warning.
    Raises ValueError for no values, NaN or infinity, or a confidence outside (0, 1).
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(
            f"values: expected one number a {unit}, shape (n,) with n >= 1, found shape {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"values: expected finite numbers, found {values.tolist()}; repeat or leave out the failed {unit}s"
        )
    check_confidence(confidence)
    n, mean = len(values), float(values.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, 1, unit)
    half_width = float(student_t.ppf(0.5 + confidence / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    warning = "all values are the same: their spread cannot be told" if np.ptp(values) == 0 else ""
    return Interval(mean, mean - half_width, mean + half_width, n, unit, warning)


def score_interval(values, confidence=0.95, unit="seed"):
    """As `mean_interval`, for values of a score that is 1 at best and 0 at chance, such as a skill or an accuracy, one a seed.

    Such values are skewed where models fail now and then. The limits, from -1 to 1, are the widest of two: `skewed_reach` at a
    confidence of 97.5 % for 95 %, and Student's on the log-odds scale, log((s + .05) / (1.02 - s)), at 98 %. Both were needed:
    of 100 intervals of 95 % over 2 to 10 seeds of eight shapes, from normal to nearly perfect with rare failures, 93 to 99 held the
    mean (1 000 repeats each). The price is width: .34 over three normal values of spread .05.
    """
    found, values = (
        mean_interval(values, confidence, unit),
        np.clip(np.asarray(values, dtype=np.float64), -0.04, 1),
    )
    if found.n == 1 or found.warning:
        return found
    odds = mean_interval(logit((values + 0.05) / 1.07), 1 - 0.4 * (1 - confidence), unit)
    below, above = skewed_reach(
        values, np.std(values, ddof=1) / np.sqrt(found.n), found.n - 1, 1 - 0.5 * (1 - confidence)
    )
    low, high = (float(1.07 * expit(limit) - 0.05) for limit in (odds.low, odds.high))
    return replace(
        found,
        low=max(min(found.mean - below, low), -1.0),
        high=min(max(found.mean + above, high), 1.0),
    )


def skewed_reach(influence, error, freedom, confidence):
    """How far limits lie below and above an estimate whose parts are skewed: the wider of Student's and Hall's on each side.

    influence: (n,) each unit's part in the estimate, such as the values of a mean. error: its standard error. Hall's
    transformation (J. R. Stat. Soc. B 54, 221, 1992) makes Student's statistic symmetric by the skewness of the parts. Of 100
    intervals of 95 % these hold 96 normal and 93 to 95 exponential means from n = 5 on, for 1.4, 1.1 and 1.01 times Student's
    width at n = 5, 10 and 50. With fewer than 4 parts, or parts that agree, Student's alone.
    """
    n, reach = len(influence), float(student_t.ppf(0.5 + confidence / 2, freedom))
    sides = np.array([reach, reach])
    if (
        n >= FEW_FOR_SKEWNESS
        and np.ptp(influence) > 0
        and np.std(influence) > 1e-12 * np.abs(influence).max()
        and abs(lean := skew(influence)) > 1e-6
    ):
        shift = np.array([reach, -reach]) / np.sqrt(n) - lean / (6 * n)
        hall = 3 / lean * (np.cbrt(1 + lean * shift) - 1) * np.sqrt(n)
        sides = np.maximum(sides, hall * [1, -1])
    return sides * error


def paired_difference(a, b, confidence=0.95, unit="seed"):
    """Mean of a - b with its t interval, when a[i] and b[i] share a seed (or a test item); returns `Interval`.

    Raises ValueError if the lengths differ, else as `mean_interval`.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(
            f"a and b: expected pairs, found shapes {a.shape} and {b.shape}; give both for the same {unit}s"
        )
    return mean_interval(a - b, confidence, unit)


def share_interval(successes, n, confidence=0.95, unit="item"):
    """A share, such as an accuracy, of n independent items, with `share_limits`.

    Frames of one sequence are not independent: for them `resampling.bootstrap_interval` with clusters.
    Raises ValueError unless 0 <= successes <= n and n >= 1, both integers.
    """
    check_confidence(confidence)
    if int(successes) != successes or int(n) != n or not 0 <= successes <= n or n < 1:
        raise ValueError(
            f"successes and n: expected integers, 0 <= successes <= n and n >= 1, found {successes} and {n}"
        )
    return Interval(float(successes / n), *share_limits(successes / n, n, confidence), int(n), unit)


def share_limits(share, n, confidence=0.95):
    """Limits (low, high) of a share of n independent items; `share` may be a mean over several predictors.

    Wilson's (J. Am. Stat. Assoc. 22, 209, 1927), and with fewer than 10 successes or 10 failures no narrower than Clopper
    and Pearson's exact ones (Biometrika 26, 404, 1934): Wilson's alone held as few as 84 in 100 of shares near 0 or 1, these
    hold 93 or more of any share (n = 5 to 3 000), and 95 to 96 of ordinary ones.
    """
    z, hits = norm.ppf(0.5 + confidence / 2), share * n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = max(centre - half, 0.0), min(centre + half, 1.0)
    if min(hits, n - hits) < FEW_COUNTS:
        tail = 0.5 - confidence / 2
        low = min(low, beta.ppf(tail, hits, n - hits + 1)) if hits > 0 else 0.0
        high = max(high, beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return float(low), float(high)


def paired_comparison(a, b, confidence=0.95, unit="item"):
    """Two models on the same n independent test items; returns `Comparison`.

    a, b: (n,) a number for each item, or booleans: whether each got it right. Items of one sequence are not independent:
    give each sequence's mean.
    Numbers: `skewed_reach` about the difference and its paired t test; effect size Cohen's d_z, mean / standard deviation of a - b.
    Booleans: the difference of the two accuracies with the interval of Bonett and Price (J. Educ. Behav. Stat. 37, 479, 2012;
    of 100 it holds 95 or more, and 98 or more where fewer than five items tell the two apart), McNemar's exact test, and
    Cohen's g: the share of a among the items that only one of them got right, less one half.
    A difference that is the same in every item has no spread: a warning, d_z infinite and p 0, or both 0 and 1 if it is 0.
    Raises ValueError for shapes that differ, fewer than two items, NaN or infinity, booleans beside numbers.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(
            f"a and b: expected pairs, (n,) each with n >= 2, found {a.shape} and {b.shape}; give both for the same {unit}s"
        )
    if (a.dtype == bool) != (b.dtype == bool):
        raise ValueError(
            f"a and b: expected both numbers or both booleans, found {a.dtype} and {b.dtype}"
        )
    if a.dtype == bool:
        return compare_shares(a, b, confidence, unit)
    difference = np.asarray(a, np.float64) - b
    interval = mean_interval(difference, confidence, unit)
    below, above = skewed_reach(
        difference, np.std(difference, ddof=1) / np.sqrt(len(a)), len(a) - 1, confidence
    )
    interval = replace(interval, low=interval.mean - below, high=interval.mean + above)
    if np.ptp(difference) <= 1e-12 * max(np.abs(a).max(), np.abs(b).max()):
        interval = Interval(
            interval.mean,
            np.nan,
            np.nan,
            interval.n,
            unit,
            "the difference is the same in every item",
        )
        if np.allclose(difference, 0, atol=1e-12):
            return Comparison(interval, 0.0, "Cohen's d_z", 1.0, "paired t")
        return Comparison(
            interval, float(np.sign(interval.mean) * np.inf), "Cohen's d_z", 0.0, "paired t"
        )
    effect = float(difference.mean() / difference.std(ddof=1))
    return Comparison(
        interval, effect, "Cohen's d_z", float(ttest_1samp(difference, 0).pvalue), "paired t"
    )


def compare_shares(a, b, confidence, unit):
    """`paired_comparison` of two boolean arrays (n,)."""
    check_confidence(confidence)
    n, only_a, only_b = len(a), int(np.sum(a & ~b)), int(np.sum(b & ~a))
    share_a, share_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    centre = share_a - share_b
    half_width = float(
        norm.ppf(0.5 + confidence / 2) * np.sqrt((share_a + share_b - centre**2) / (n + 2))
    )
    difference = Interval(
        (only_a - only_b) / n,
        max(centre - half_width, -1.0),
        min(centre + half_width, 1.0),
        n,
        unit,
    )
    if not only_a + only_b:
        return Comparison(difference, 0.0, "Cohen's g", 1.0, "exact McNemar")
    p_value = float(binomtest(only_a, only_a + only_b).pvalue)
    return Comparison(
        difference, only_a / (only_a + only_b) - 0.5, "Cohen's g", p_value, "exact McNemar"
    )


def format_interval(interval, digits=2, percent=False):
    """ "value ± half-width (n seeds)", the one way a number with its interval is written.

    An interval whose sides differ by a unit of the last digit or more is written "value [low, high] (n seeds)"; one
    without limits, as of a single value, "value (1 seed)". "seeds" is the interval's own unit. percent: of shares.
    """
    factor, sign = (100, " %") if percent else (1, "")
    value, low, high = (
        f"{factor * number:.{digits}f}" for number in (interval.mean, interval.low, interval.high)
    )
    count = f"({interval.n} {interval.unit}{'' if interval.n == 1 else 's'})"
    if not np.isfinite([interval.low, interval.high]).all():
        return f"{value}{sign} {count}"
    if factor * abs(interval.high + interval.low - 2 * interval.mean) < 10**-digits:
        return f"{value} ± {factor * interval.half_width:.{digits}f}{sign} {count}"
    return f"{value} [{low}, {high}]{sign} {count}"


def check_confidence(confidence):
    """Refuse a confidence outside (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(
            f"confidence: expected a number between 0 and 1, such as 0.95, found {confidence}"
        )
