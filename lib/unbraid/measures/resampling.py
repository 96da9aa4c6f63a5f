"""Intervals by drawing with replacement (the bootstrap) or leaving out (the jackknife), made wide enough where that tells too
little: few units, skewed parts, rare events, a bias that many units hide.

How often each holds the truth was measured (tests/bench_coverage.py) and is said with it.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import entr, expit, logit
from scipy.stats import norm
from scipy.stats import t as student_t

from unbraid.measures.intervals import (
    FEW_EVENTS,
    Interval,
    check_confidence,
    share_limits,
    skewed_reach,
)

FEW_UNITS = 10  # from so many on, bootstrap intervals of 95 % held 93 times in 100 or more
JACKKNIFE_UNITS = 500  # at most so many: the mean of more is normal enough, whatever their skewness
GROUPS = 4  # groups of samples left out in turn for the interval
TRUSTED_UNITS = (
    6  # of x and y together; in more the bias cannot be told, and an estimate is a lower bound
)


def bootstrap_interval(
    *values,
    statistic: Callable = np.mean,
    clusters=None,
    strata=None,
    rate=False,
    draws=2000,
    confidence=0.95,
    unit="item",
    seed=0,
):
    """Any statistic of test items with an interval by drawing items, or whole clusters, with replacement.

    values: one or more arrays of N rows that belong together (scores and labels; two models' errors); statistic(*values)
        of the drawn rows must be a number.
    clusters: (N,) which cluster, such as a sequence, each row is from: clusters are drawn whole, and `n` counts them.
    strata: (N,) rows (or clusters) are drawn within each stratum, whose sizes so stay as they are.
    rate: the statistic lies between 0 and 1, as an accuracy, an AUROC or a share of clusters.
    unit: what is drawn, for the reader. draws: two thousand, since the limits lie far out when n is small.

    Limits of a rate: `on_log_odds`, and with fewer than five units' worth of its rarer outcome no narrower than those of a
    share of so many units (`share_limits`). Of others: percentiles of the draws, at levels widened so that the mean of few
    normal values gets Student's interval, Phi(± t_{n-H} sqrt(n / (n - H))) for n units in H strata (Hesterberg, Am. Stat. 69,
    371, 2015), and no narrower than `skewed_reach` with the parts that leaving out each unit in turn shows (up to 500).
    Of 100 intervals of 95 % 93 or more held the truth from 10 units on: means of normal and exponential parts, of clusters,
    correlations, shares, AUROC and paired differences (100 to 400 repeats each); 92.8 of means of ten skewed clusters (800).
    Warned of are fewer than 10 units, more than 5 % of draws left out because the statistic was not finite, and draws of
    what is no rate that all agree, where the limits are NaN.
    Raises ValueError for no rows, lengths that differ, a cluster in two strata, no spread left (n - H < 1), an estimate
    that is not finite, or a rate outside 0 to 1.
    """
    check_confidence(confidence)
    values = [np.asarray(one) for one in values]
    lengths = [
        len(one) for one in (*values, *(one for one in (clusters, strata) if one is not None))
    ]
    if not values or len(set(lengths)) != 1 or not lengths[0]:
        raise ValueError(
            f"values, clusters, strata: expected as many rows in all, at least one, found {lengths}"
        )
    members = rows_of(clusters if clusters is not None else np.arange(lengths[0]))
    layers = layers_of(strata, members)
    n = sum(map(len, layers))
    freedom = n - len(layers)
    if freedom < 1:
        raise ValueError(
            f"values: expected at least two {unit}s in some stratum, found {n} in {len(layers)}; leave out strata"
        )
    estimate = float(statistic(*values))
    if not np.isfinite(estimate):
        raise ValueError(f"statistic: expected a finite number of all rows, found {estimate}")
    if rate and not 0 <= estimate <= 1:
        raise ValueError(
            f"statistic: expected a rate from 0 to 1, found {estimate}; leave out rate=True"
        )
    generator = np.random.default_rng(seed)

    def of(units):
        rows = np.concatenate([members[one] for one in units])
        with np.errstate(divide="ignore", invalid="ignore"):
            return statistic(*(one[rows] for one in values))

    drawn = [
        of(
            np.concatenate(
                [layer[generator.integers(len(layer), size=len(layer))] for layer in layers]
            )
        )
        for _ in range(draws)
    ]
    drawn = np.asarray(drawn, dtype=np.float64)
    finite = drawn[np.isfinite(drawn)]
    alike = not finite.size or np.ptp(finite) == 0
    if rate:
        low, high = (
            (estimate, estimate)
            if alike
            else on_log_odds(estimate, finite, n, freedom, confidence, 0.5 / lengths[0])
        )
        if n * min(estimate, 1 - estimate) < FEW_EVENTS:
            safe = share_limits(estimate, n, confidence)
            low, high = min(low, safe[0]), max(high, safe[1])
    elif alike:
        return Interval(
            estimate,
            np.nan,
            np.nan,
            n,
            unit,
            "the statistic is the same in every draw: its spread cannot be told",
        )
    else:
        level = norm.cdf(student_t.ppf(0.5 + confidence / 2, freedom) * np.sqrt(n / freedom))
        low, high = np.quantile(finite, [1 - level, level])
        if n <= JACKKNIFE_UNITS:
            without = [
                [
                    of(
                        np.concatenate(
                            [
                                np.setdiff1d(layer, one),
                                *(other for other in layers if other is not layer),
                            ]
                        )
                    )
                    for one in layer
                ]
                for layer in layers
                if len(layer) > 1
            ]
            influence = np.concatenate([np.mean(part) - part for part in without])
            if np.isfinite(influence).all():
                below, above = skewed_reach(
                    influence, finite.std(ddof=1) * np.sqrt(n / freedom), freedom, confidence
                )
                low, high = min(low, estimate - below), max(high, estimate + above)
    warnings = []
    if len(finite) < 0.95 * draws:
        warnings.append(f"the statistic was not finite in {draws - len(finite)} of {draws} draws")
    if n < FEW_UNITS:
        warnings.append(
            f"only {n} {unit}s: below {FEW_UNITS} an interval of 95 % may hold less often than 93 times in 100"
        )
    return Interval(estimate, float(low), float(high), n, unit, "; ".join(warnings))


def on_log_odds(estimate, drawn, n, freedom, confidence, smallest):
    """Limits (low, high) of a rate: Student's t about its log-odds, log(p / (1 - p)), with the standard error of the draws'.

    They lie unevenly about the rate and within 0 to 1. n units drawn, `freedom` = n less the number of strata. `smallest`:
    what a rate of 0 counts as, such as half a row, since its log-odds are infinite.
    """
    centre, drawn = (logit(np.clip(rates, smallest, 1 - smallest)) for rates in (estimate, drawn))
    reach = (
        student_t.ppf(0.5 + confidence / 2, freedom) * np.std(drawn, ddof=1) * np.sqrt(n / freedom)
    )
    return float(expit(centre - reach)), float(expit(centre + reach))


def bounded_limits(estimate, drawn, parts, most, confidence, rare):
    """Limits (low, high) of an entropy or information from 0 to `most`, over clips drawn within classes.

    drawn: (draws,) its bootstrap values. parts: (C, m) each clip's own in the estimate, to first order. The estimate ± the
    larger distance of the draws' two quantiles, times sqrt(m / (m - 1)), since plain quantiles miss an entropy at its maximum,
    which estimates only fall short of; no narrower than `skewed_reach` of the parts; nor, with fewer than five clips a class
    or, of what is `rare`, five clips' worth of it or of its opposite, than a share of all clips (`share_limits`). Of what is
    not, an entropy of answers near its maximum, no narrower than if as many clips as none of these can hide agreed on a class.
    """
    count, size = parts.size, parts.shape[1]
    if size == 1:
        return 0.0, most
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    reach = max(estimate - low, high - estimate) * np.sqrt(size / (size - 1))
    error, within = (
        np.sqrt(parts.var(axis=1, ddof=1).mean() / count),
        parts - parts.mean(axis=1, keepdims=True),
    )
    below, above = np.maximum(
        reach, skewed_reach(within.ravel(), error, count - len(parts), confidence)
    )
    limits = max(estimate - below, 0.0), min(estimate + above, most)
    if size < FEW_EVENTS or rare and count * min(estimate, most - estimate) / most < FEW_EVENTS:
        safe = share_limits(min(max(estimate / most, 0.0), 1.0), count, confidence)
        limits = min(limits[0], most * safe[0]), max(limits[1], most * safe[1])
    if not rare:
        classes, hidden = np.exp(most), share_limits(0.0, count, confidence)[1]
        mixed = np.array([hidden + (1 - hidden) / classes, (1 - hidden) / classes])
        lost = most - entr(mixed) @ [1, classes - 1]
        limits = max(min(limits[0], estimate - lost), 0.0), limits[1]
    return limits


def jackknife_limits(estimate, without, units, confidence, spread=0.0, ceiling=np.inf):
    """Limits (low, high) of the true information, from estimates that leave out each of `GROUPS` groups, (divisions, GROUPS).

    Half-width: Student's t with 3 degrees of freedom a division times the jackknife's standard error and `spread`. The bias of
    these estimators is downward and falls about as N^(-1/D) for D units in all, so the upper limit is raised by the growth
    from 3N/4 to N over (4/3)^(1/D) - 1, which is itself unsure, and so by (D - 2) / 4 half-widths at least. Above
    `TRUSTED_UNITS` this cannot be told: there is only a lower limit, and high is the `ceiling`.
    """
    variance = np.mean((GROUPS - 1) * without.var(axis=1))
    half_width = float(
        student_t.ppf(0.5 + confidence / 2, (GROUPS - 1) * len(without))
        * np.sqrt(variance + spread**2)
    )
    growth = max(estimate - float(without.mean()), 0.0)
    missing = max(growth / ((4 / 3) ** (1 / max(units, 1)) - 1), half_width * (units - 2) / 4)
    high = ceiling if units > TRUSTED_UNITS else min(estimate + half_width + missing, ceiling)
    return estimate - half_width, float(max(high, estimate))


def rows_of(clusters):
    """The rows of each cluster: a list of integer arrays, from its label for each row (N,)."""
    _, cluster, sizes = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)
    return np.split(np.argsort(cluster, kind="stable"), np.cumsum(sizes)[:-1])


def layers_of(strata, members):
    """What is drawn from: for each stratum the numbers of its units, whose rows are in `members`."""
    if strata is None:
        return [np.arange(len(members))]
    strata = np.asarray(strata)
    for rows in members:
        if (strata[rows] != strata[rows[0]]).any():
            raise ValueError(
                f"strata: expected each cluster in one stratum, found {np.unique(strata[rows]).tolist()} in one cluster"
            )
    return rows_of(strata[[rows[0] for rows in members]])
