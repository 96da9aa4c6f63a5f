"""How good predictions are on test sequences: AUROC, average precision (AUPRC), accuracy and mean absolute error.

Each comes with an interval over the *test sequences*, for the predictors as they are, and apart from it with the values
of each seed and the interval over seeds; predictions are (N,), or (S, N) for S trained predictors, whose scores are
averaged. Intervals were chosen by their coverage: of 95 % intervals, so many in 100 held the true value at the sizes met
here (binormal scores, 18-38 positives of 60-353 sequences), and beside it how many of those not on offer:

    AUROC .5 to .99              DeLong, logit scale 94-98     DeLong itself 90-96; Hanley-McNeil 90-99; percentiles 76-94
    average precision .11 to .98 bootstrap, logit scale 94-99  percentiles of the bootstrap 76-95
    accuracy, N = 144 and 353    Wilson 94-97                  percentiles 76-95
    absolute error               t on the logarithm 93-98      percentiles 79-84 at N = 6, 87-92 at 20, 93-95 from 144 on
    difference, paired, N = 353  AUROC 94-97, average precision 93-94

DeLong, DeLong and Clarke-Pearson, Biometrics 44, 837 (1988); Hanley and McNeil, Radiology 143, 29 (1982); Brunner and
Munzel, Biometrical J. 42, 17 (2000); Boyd, Eng and Page, "Area under the precision-recall curve", ECML (2013).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import rankdata
from scipy.stats import t as student_t

from unbraid.measures.intervals import (
    Comparison,
    Interval,
    mean_interval,
    paired_comparison,
    score_interval,
    share_limits,
    skewed_reach,
)

NEAR_PERFECT = {"auroc": 0.97, "average_precision": 0.9}
FEW_ERRORS = (
    "near 0 or 1: too few errors to tell their own spread, so the interval is a wide, safe one"
)
METRICS = ("auroc", "average_precision", "accuracy", "mean_absolute_error")
LOGIT_BOOTSTRAP = "bootstrap over sequences, logit scale"
BLOCK_WEIGHTS = 2**21  # bootstrap weights held at once: 16 MB


@dataclass(frozen=True)
class Score:
    """A metric on the test sequences, mean over the seeds; its two intervals are apart, since they answer two questions.

    over_sequences: what other test sequences would give these predictors; over_seeds: what other seeds would give here.
    """

    over_sequences: Interval
    over_seeds: Interval
    by_seed: tuple[float, ...]
    method: str  # of `over_sequences`

    @property
    def value(self) -> float:
        return self.over_sequences.mean

    def as_dict(self) -> dict:
        """Plain values for JSON; limits that cannot be told are None."""
        limits = {
            name: [None if np.isnan(limit) else limit for limit in (interval.low, interval.high)]
            for name, interval in (
                ("over_sequences", self.over_sequences),
                ("over_seeds", self.over_seeds),
            )
        }
        about = {
            "method": self.method,
            "sequences": self.over_sequences.n,
            "warning": self.over_sequences.warning,
        }
        return {"value": self.value, **limits, "by_seed": list(self.by_seed), **about}


def auroc(labels, scores, method="delong", confidence=0.95, draws=1000, seed=0):
    """Area under the ROC curve, the chance that a positive scores above a negative (ties count half); returns `Score`.

    labels: (N,) of 0 and 1; scores: (N,) or (S, N). method: "delong": DeLong's variance on the logit scale with Brunner and
    Munzel's degrees of freedom; "bootstrap": the spread over draws of sequences on that scale times t with as many degrees of
    freedom as the smaller class has, less one; beyond .97 the limits of a share of the smaller class (`share_limits`).
    Raises ValueError for one class only, fewer than two of a class, NaN, lengths that differ.
    """
    labels, scores = _checked_ranking(labels, scores)
    _known("method", method, ("delong", "bootstrap"))
    by_seed = np.mean(_placements(labels, scores)[0], axis=1)
    value, smaller = float(by_seed.mean()), int(min(labels.sum(), np.sum(~labels)))
    if abs(value - 0.5) > NEAR_PERFECT["auroc"] - 0.5:
        return _score(
            by_seed,
            *share_limits(value, smaller, confidence),
            "share of the smaller class",
            len(labels),
            FEW_ERRORS,
        )
    if method == "bootstrap":
        drawn = _bootstrap(
            lambda weights: _area(labels, scores, weights, "auroc"), len(labels), draws, seed
        )
        return _score(
            by_seed,
            *_about_logit(value, drawn, len(labels), smaller - 1, confidence),
            LOGIT_BOOTSTRAP,
            len(labels),
        )
    above, below = (v.mean(axis=0) for v in _placements(labels, scores))
    error, freedom = _delong_error(above, below)
    half = student_t.ppf(0.5 + confidence / 2, freedom) * error / (value * (1 - value))
    return _score(
        by_seed, *expit(logit(value) + np.array([-half, half])), "DeLong, logit scale", len(labels)
    )


def average_precision(labels, scores, confidence=0.95, draws=1000, seed=0):
    """Area under the precision-recall curve as average precision, scikit-learn's definition; returns `Score`.

    Chance is the base rate: a constant score has it. labels, scores, errors: as `auroc`. Interval: spread over draws of
    sequences on the logit scale times t with (positives - 1) degrees of freedom, beyond .9 the limits of a share of that many
    positives (after Boyd et al.). At few positives the estimate itself lies above its own limit: by .01-.02 at 38 positives of
    353, by .06 at 11 of 100.
    """
    labels, scores = _checked_ranking(labels, scores)
    by_seed, positives = (
        _area(labels, scores, np.ones((1, len(labels))), "average_precision", mean=False)[:, 0],
        int(labels.sum()),
    )
    value = float(by_seed.mean())
    if value > NEAR_PERFECT["average_precision"]:
        return _score(
            by_seed,
            *share_limits(value, positives, confidence),
            "share of the positives",
            len(labels),
            FEW_ERRORS,
        )
    drawn = _bootstrap(
        lambda weights: _area(labels, scores, weights, "average_precision"),
        len(labels),
        draws,
        seed,
    )
    return _score(
        by_seed,
        *_about_logit(value, drawn, len(labels), positives - 1, confidence),
        LOGIT_BOOTSTRAP,
        len(labels),
    )


def accuracy(labels, predicted, confidence=0.95):
    """Share of sequences whose class is right; labels (N,) classes, predicted (N,) or (S, N); returns `Score`.

    Interval: `share_limits`; with several seeds a little wide, since it takes their mean for one predictor's.
    """
    items = _items("accuracy", labels, predicted)
    count = items.shape[1]
    return _score(
        items.mean(axis=1),
        *share_limits(float(items.mean()), count, confidence),
        "Wilson or exact",
        count,
    )


def mean_absolute_error(target, predicted, confidence=0.95):
    """Mean over sequences of a sequence's mean absolute error, in the target's unit; returns `Score`.

    target: (N,) or (N, W) with W values a sequence; predicted: the same, or (S, N[, W]). The sequence is what is drawn: its W
    values are no independent witnesses. Interval: t with N - 3 degrees of freedom on the logarithm, two fewer than usual for the
    skewness of errors. Raises ValueError for fewer than 4 sequences, NaN, shapes that differ.
    """
    items = _items("mean_absolute_error", target, predicted)
    mean, count = items.mean(axis=0), items.shape[1]
    if count < 4:
        raise ValueError(
            f"target: expected at least 4 sequences for an interval, found {count}; test on more sequences"
        )
    value = float(mean.mean())
    relative = mean.std(ddof=1) / np.sqrt(count) / value if value else 0.0
    half = student_t.ppf(0.5 + confidence / 2, count - 3) * relative
    limits = value * np.exp(-half), value * np.exp(half)
    return _score(
        items.mean(axis=1), *limits, "t of sequences, logarithm", count, over_seeds=mean_interval
    )


def compare(metric, target, a, b, confidence=0.95, draws=1000, seed=0):
    """Two predictors on the same test sequences: `intervals.Comparison` of metric(a) - metric(b).

    metric: one of `METRICS`; target, a, b: as that metric takes them, a and b (N,) or (S, N) apart. AUROC by DeLong's
    covariance and `skewed_reach`; average precision by the spread over draws of sequences, the same draws for both; accuracy and absolute
    error by `paired_comparison` of the sequences' own parts. Errors: as the metric.
    """
    _known("metric", metric, METRICS)
    if metric in ("accuracy", "mean_absolute_error"):
        a, b = _items(metric, target, a), _items(metric, target, b)
        each = [
            v[0] == 1 if metric == "accuracy" and len(a) == len(b) == 1 else v.mean(axis=0)
            for v in (a, b)
        ]
        return paired_comparison(*each, confidence, "sequence")
    (labels, a), (_, b) = _checked_ranking(target, a), _checked_ranking(target, b)
    if metric == "auroc":
        above, below = (
            p.mean(axis=0) - q.mean(axis=0)
            for p, q in zip(_placements(labels, a), _placements(labels, b))
        )
        (error, freedom), difference, test = _delong_error(above, below), above.mean(), "DeLong"
        reach = skewed_reach(
            np.append((above - difference) / len(above), (below - difference) / len(below)),
            error,
            freedom,
            confidence,
        )
    else:

        def gap(weights):
            return _area(labels, a, weights, metric) - _area(labels, b, weights, metric)

        drawn = _bootstrap(gap, len(labels), draws, seed)
        difference, error, freedom = (
            gap(np.ones((1, len(labels))))[0],
            drawn.std(ddof=1),
            labels.sum() - 1,
        )
        test, reach = (
            "bootstrap over sequences",
            np.full(2, student_t.ppf(0.5 + confidence / 2, freedom) * error),
        )
    p_value = (
        2 * student_t.sf(abs(difference) / error, freedom) if error else float(difference == 0)
    )
    interval = Interval(
        float(difference),
        float(difference - reach[0]),
        float(difference + reach[1]),
        len(labels),
        "sequence",
    )
    return Comparison(interval, float(difference), "difference of areas", float(p_value), test)


def hanley_mcneil_error(area, positives, negatives):
    """Standard error of an AUROC from its value and the class sizes alone, for judging published figures.

    Hanley and McNeil (1982), which takes scores for exponentially distributed. Raises ValueError for an area outside [0, 1].
    """
    if not 0 <= area <= 1 or min(positives, negatives) < 1:
        raise ValueError(
            f"expected an area in [0, 1] and at least one of each class, found {area}, {positives}, {negatives}"
        )
    both_positives, both_negatives = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area)
        + (positives - 1) * (both_positives - area**2)
        + (negatives - 1) * (both_negatives - area**2)
    )
    return float(np.sqrt(variance / (positives * negatives)))


def _placements(labels, scores):
    """DeLong's components: share of negatives below each positive (S, P), share of positives above each negative (S, Q)."""
    ranks, above, below = rankdata(scores, axis=1), scores[:, labels], scores[:, ~labels]
    shares = (ranks[:, labels] - rankdata(above, axis=1)) / below.shape[1]
    return shares, 1 - (ranks[:, ~labels] - rankdata(below, axis=1)) / above.shape[1]


def _delong_error(above, below):
    """Standard error of the mean component and its degrees of freedom, as in Brunner and Munzel (2000)."""
    parts = np.array([above.var(ddof=1) / len(above), below.var(ddof=1) / len(below)])
    total = parts.sum()
    freedom = total**2 / (parts**2 / [len(above) - 1, len(below) - 1]).sum() if total else np.inf
    return float(np.sqrt(total)), float(freedom)


def _area(labels, scores, weights, metric, mean=True):
    """AUROC or average precision with each sequence counted `weights` (B, N) times, ties as one threshold: (B,) or (S, B)."""
    areas = []
    for row in scores:
        order = np.argsort(-row, kind="stable")
        last = np.flatnonzero(
            np.append(np.diff(row[order]) != 0, True)
        )  # the last sequence of each threshold
        hits = np.cumsum(weights[:, order] * labels[order], axis=1)[:, last]  # (B, thresholds)
        alarms = np.cumsum(weights[:, order] * ~labels[order], axis=1)[:, last]
        gained = np.diff(hits, axis=1, prepend=0)
        with np.errstate(
            invalid="ignore"
        ):  # a draw without a positive has no area: NaN, and is left out
            if metric == "auroc":
                areas.append(
                    (
                        gained * (alarms[:, -1:] - alarms + np.diff(alarms, axis=1, prepend=0) / 2)
                    ).sum(axis=1)
                )
                areas[-1] /= hits[:, -1] * alarms[:, -1]
            else:
                areas.append(
                    (gained * hits / np.maximum(hits + alarms, 1)).sum(axis=1) / hits[:, -1]
                )
    return np.mean(areas, axis=0) if mean else np.array(areas)


def _bootstrap(statistic, count, draws, seed):
    """`statistic` of so many draws of `count` sequences with replacement, given as weights (b, N): how often each was drawn."""
    generator, size = np.random.default_rng(seed), max(1, BLOCK_WEIGHTS // count)
    blocks = [min(size, draws - start) for start in range(0, draws, size)]
    drawn = np.concatenate(
        [statistic(generator.multinomial(count, np.full(count, 1 / count), size=b)) for b in blocks]
    )
    return drawn[np.isfinite(drawn)]


def _about_logit(value, drawn, count, freedom, confidence):
    """Student's limits about the logit of an area, by the spread of its draws."""
    edge = 0.5 / count
    half = student_t.ppf(0.5 + confidence / 2, freedom) * logit(np.clip(drawn, edge, 1 - edge)).std(
        ddof=1
    )
    return expit(logit(np.clip(value, edge, 1 - edge)) + np.array([-half, half]))


def _score(by_seed, low, high, method, sequences, warning="", over_seeds=score_interval):
    by_seed = tuple(map(float, by_seed))
    over_sequences = Interval(
        float(np.mean(by_seed)), float(low), float(high), sequences, "sequence", warning
    )
    return Score(over_sequences, over_seeds(by_seed), by_seed, method)


def _items(metric, target, predicted):
    """Each sequence's own part in accuracy or absolute error, (S, N)."""
    target = finite("target", target)
    predicted = finite("predicted", predicted)
    if predicted.ndim == target.ndim:
        predicted = predicted[None]
    if not target.size or predicted.shape[1:] != target.shape:
        raise ValueError(
            f"predicted: expected the shape of target {target.shape}, or one more axis for seeds, found {predicted.shape}; "
            "predict each test sequence once"
        )
    items = predicted == target if metric == "accuracy" else np.abs(predicted - target)
    return items.reshape(*items.shape[:2], -1).mean(axis=2)


def _checked_ranking(labels, scores):
    """(N,) bool and (S, N) float64."""
    labels, scores = finite("labels", labels), np.atleast_2d(finite("scores", scores))
    if labels.ndim != 1 or scores.ndim != 2 or scores.shape[1] != len(labels):
        raise ValueError(
            f"labels and scores: expected (N,) and (N,) or (S, N), found {labels.shape} and {scores.shape}"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f"labels: expected 0 and 1, found {np.unique(labels)[:5].tolist()}; give the event as 1"
        )
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < 2:
        raise ValueError(
            f"labels: expected at least 2 sequences of each class, found {positives} positive and {len(labels) - positives} "
            "negative; the ranking of one class is not defined"
        )
    return labels.astype(bool), scores


def finite(name, values):
    """Values as a float64 array; raises ValueError naming the first that is not finite."""
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        place = tuple(map(int, np.argwhere(~np.isfinite(values))[0]))
        raise ValueError(
            f"{name}: expected finite numbers, found {values[place]} at {place}; fill or drop these entries"
        )
    return values


def _known(name, value, allowed):
    if value not in allowed:
        raise ValueError(
            f"{name}: expected one of {', '.join(map(repr, allowed))}, found {value!r}"
        )
