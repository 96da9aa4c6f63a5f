"""Scores of predictions: against scikit-learn, definitions written as loops, published figures; and whether their intervals hold."""

import json

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import norm, t
from sklearn.metrics import average_precision_score, roc_auc_score
from unbraid.measures.intervals import mean_interval, score_interval
from unbraid.measures.ranking import (
    accuracy,
    auroc,
    average_precision,
    compare,
    hanley_mcneil_error,
    mean_absolute_error,
)


def binormal(generator, count, base_rate, area, other=None, correlation=0.0):
    """Labels and normal scores of that AUROC; with `other`, a second scorer correlated with the first."""
    labels = generator.random(count) < base_rate
    noise = generator.normal(size=(2, count))
    noise[1] = correlation * noise[0] + np.sqrt(1 - correlation**2) * noise[1]
    scores = [
        noise[i] + np.sqrt(2) * norm.ppf(a) * labels
        for i, a in enumerate((area, other))
        if a is not None
    ]
    return labels, *scores


# Limits for a million draws of 10.8 % positives: what average precision tends to at that AUROC.
AREAS = {0.5: 0.108, 0.858: 0.502}


@pytest.mark.parametrize("decimals", [8, 1, 0], ids=["no_ties", "some_ties", "many_ties"])
def test_equals_scikit_learn(decimals):
    labels, scores = binormal(np.random.default_rng(0), 200, 0.3, 0.7)
    scores = scores.round(decimals)
    assert auroc(labels, scores).value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(labels, scores).value == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )


@pytest.mark.parametrize(
    ("scores", "area", "precision"),
    [
        ((0.1, 0.4, 0.35, 0.8), 3 / 4, (1 + 2 / 3) / 2),
        ((0.1, 0.4, 0.4, 0.8), (1 + 1 + 1 + 0.5) / 4, (1 + 2 / 3) / 2),
        ((7, 7, 7, 7), 1 / 2, 1 / 2),
        ((1, 1, 0, 0), 0, (1 / 2 + 1 / 2) / 2),
        ((0, 0, 1, 1), 1, 1),
    ],
    ids=["plain", "tie", "constant", "reversed", "perfect"],
)
def test_by_hand(scores, area, precision):
    labels = [0, 0, 1, 1]
    assert auroc(labels, scores).value == pytest.approx(area)
    assert average_precision(labels, scores).value == pytest.approx(precision)


def test_a_constant_score_is_chance_by_definition():
    labels = np.arange(353) < 38
    found = auroc(labels, np.zeros(353)).over_sequences
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)
    precision = average_precision(labels, np.zeros(353)).over_sequences
    assert precision.mean == pytest.approx(38 / 353)
    assert (
        precision.low < 0.09 and precision.high > 0.13
    )  # the base rate itself is known from 353 sequences only


def delong_by_loops(labels, *scorers):
    """Areas and their covariance from the definition: Heaviside kernel over all pairs, sums over rows and columns."""
    kernels = []
    for scores in scorers:
        positive, negative = scores[labels], scores[~labels]
        kernels.append(
            np.array([[float(p > n) + 0.5 * (p == n) for n in negative] for p in positive])
        )
    above, below = (np.array([kernel.mean(axis=axis) for kernel in kernels]) for axis in (1, 0))
    covariance = np.cov(above, ddof=1) / above.shape[1] + np.cov(below, ddof=1) / below.shape[1]
    return np.array([kernel.mean() for kernel in kernels]), np.atleast_2d(covariance)


def test_delong_equals_the_definition():
    labels, a, b = binormal(np.random.default_rng(1), 60, 0.4, 0.8, 0.7, 0.5)
    a, b = a.round(1), b.round(1)  # with ties
    areas, covariance = delong_by_loops(labels, a, b)
    found = compare("auroc", labels, a, b)
    assert found.difference.mean == pytest.approx(areas[0] - areas[1], abs=1e-12)
    error = np.sqrt(np.array([1, -1]) @ covariance @ [1, -1])
    z = (areas[0] - areas[1]) / error
    # t of Brunner and Munzel's degrees of freedom: a little above the normal p, the same for many sequences
    assert 2 * norm.sf(abs(z)) < found.p_value < 2 * norm.sf(abs(z)) + 0.01
    assert (
        1.96 < found.difference.half_width / error < 2.2
    )  # the skewness of the components makes it a little wider
    single = auroc(labels, a).over_sequences
    slope = areas[0] * (1 - areas[0])
    limits = np.log([(v / (1 - v)) for v in (single.low, single.high)])
    assert 1.96 < np.diff(limits)[0] / 2 * slope / np.sqrt(covariance[0, 0]) < 2.1


def test_hanley_mcneil():
    assert hanley_mcneil_error(0.858, 38, 315) == pytest.approx(0.039, abs=0.0005)
    assert hanley_mcneil_error(0.5, 100, 50) == pytest.approx(
        np.sqrt(151 / 12 / 5000), rel=0.002
    )  # Mann-Whitney's null variance
    assert hanley_mcneil_error(1, 5, 5) == 0


def held(repeats, draw):
    """Share of repeats whose interval holds the truth; draw(generator) -> (truth, Interval)."""
    generator = np.random.default_rng(0)
    return np.mean(
        [
            interval.low <= truth <= interval.high
            for truth, interval in (draw(generator) for _ in range(repeats))
        ]
    )


def hospital(generator, area, metric, **options):
    labels, scores = binormal(generator, 353, 0.108, area)
    truth = area if metric is auroc else AREAS[area]
    return truth, metric(labels, scores, **options).over_sequences


def months(generator, count, **options):
    """Absolute errors of 28 days: a month's own offset and a day's noise; the truth is the mean of a folded normal."""
    errors = 5 * generator.normal(size=(count, 1)) + 3 * generator.normal(size=(count, 28))
    return np.sqrt(34 * 2 / np.pi), mean_absolute_error(
        np.zeros((count, 28)), errors, **options
    ).over_sequences


def classes(generator, count, share, **options):
    return share, accuracy(
        np.ones(count), generator.random(count) < share, **options
    ).over_sequences


@pytest.mark.parametrize(
    ("repeats", "draw"),
    [
        (1000, lambda g: hospital(g, 0.858, auroc)),
        (1000, lambda g: hospital(g, 0.5, auroc)),
        (500, lambda g: hospital(g, 0.98, auroc)),
        (300, lambda g: hospital(g, 0.858, average_precision, draws=200)),
        (300, lambda g: hospital(g, 0.5, average_precision, draws=200)),
        (1000, lambda g: classes(g, 353, 0.57)),
        (1000, lambda g: classes(g, 144, 0.99)),
        (2000, lambda g: months(g, 6)),
        (1000, lambda g: months(g, 144)),
    ],
    ids=[
        "auroc",
        "auroc_chance",
        "auroc_high",
        "precision",
        "precision_chance",
        "accuracy",
        "accuracy_high",
        "mae_6",
        "mae_144",
    ],
)
def test_intervals_hold(repeats, draw):
    """At least 93 of 100 of the 95 % intervals, at the sizes of the course's data sets."""
    assert held(repeats, draw) >= 0.93


@pytest.mark.parametrize(
    ("metric", "repeats", "other", "gap"),
    [
        ("auroc", 1000, 0.8, 0.058),
        ("auroc", 1000, 0.858, 0.0),
        ("average_precision", 200, 0.858, 0.0),
    ],
    ids=["auroc", "auroc_equal", "precision_equal"],
)
def test_paired_intervals_hold(metric, repeats, other, gap):
    def draw(generator):
        labels, a, b = binormal(generator, 353, 0.108, 0.858, other, 0.7)
        return gap, compare(metric, labels, a, b, draws=200).difference

    assert held(repeats, draw) >= 0.93


def test_pairing_is_worth_it():
    labels, a, b = binormal(np.random.default_rng(2), 353, 0.108, 0.858, 0.8, 0.9)
    apart = np.hypot(*(auroc(labels, scores).over_sequences.half_width for scores in (a, b)))
    assert compare("auroc", labels, a, b).difference.half_width < 0.6 * apart


@pytest.mark.parametrize(
    "metric", ["auroc", "average_precision", "accuracy", "mean_absolute_error"]
)
def test_a_predictor_against_itself_and_against_the_truth(metric):
    generator = np.random.default_rng(3)
    labels, scores = binormal(generator, 200, 0.3, 0.8)
    scores = (scores > 0.5).astype(float) if metric == "accuracy" else scores
    same = compare(metric, labels, scores, scores)
    assert same.difference.mean == 0 and same.p_value == 1
    found, back = compare(metric, labels, labels, scores), compare(metric, labels, scores, labels)
    assert found.p_value < 0.001 and (found.difference.mean > 0) == (
        metric != "mean_absolute_error"
    )
    assert back.difference.mean == pytest.approx(-found.difference.mean)
    assert back.difference.low == pytest.approx(-found.difference.high)


def test_seeds_and_sequences_are_kept_apart():
    generator = np.random.default_rng(4)
    labels, *scores = binormal(generator, 300, 0.3, 0.8, 0.7, 0.9)
    found, single = auroc(labels, np.stack(scores)), [auroc(labels, s) for s in scores]
    assert found.by_seed == pytest.approx([s.value for s in single])
    assert found.over_seeds == score_interval(found.by_seed)
    assert found.value == found.over_sequences.mean == pytest.approx(np.mean(found.by_seed))
    assert found.over_sequences.n == 300 and found.over_sequences.unit == "sequence"
    assert np.isnan(single[0].over_seeds.low)
    target, predicted = generator.normal(size=(20, 4)), generator.normal(size=(3, 20, 4))
    errors = mean_absolute_error(target, predicted)
    assert errors.over_seeds == mean_interval(errors.by_seed) and errors.by_seed == pytest.approx(
        np.abs(predicted - target).mean(axis=(1, 2))
    )
    plain = json.loads(json.dumps(single[0].as_dict()))
    assert (
        plain["value"] == single[0].value
        and plain["over_seeds"] == [None, None]
        and plain["sequences"] == 300
    )


def test_near_perfect_scores_are_not_certain():
    labels = np.arange(60) < 18
    for metric in (auroc, average_precision):
        found = metric(labels, labels.astype(float)).over_sequences
        assert found.mean == 1 and 0.7 < found.low < 0.9 and "too few errors" in found.warning


@pytest.mark.parametrize("metric", [auroc, average_precision])
def test_only_the_order_counts(metric):
    labels, scores = binormal(np.random.default_rng(5), 200, 0.3, 0.8)
    rows = np.random.default_rng(6).permutation(200)
    base = metric(labels, scores).over_sequences
    assert metric(labels, np.exp(3 * scores)).over_sequences == base
    assert metric(labels[rows], scores[rows]).value == pytest.approx(base.mean, abs=1e-12)
    if metric is auroc:
        flipped = auroc(~labels, -scores).over_sequences
        assert (flipped.low, flipped.high) == pytest.approx((base.low, base.high))


def test_draws_and_seed():
    labels, scores = binormal(np.random.default_rng(7), 100, 0.3, 0.8)
    first, again, other = (average_precision(labels, scores, seed=s) for s in (1, 1, 2))
    assert first == again != other and first.value == other.value
    wide, narrow = (auroc(labels, scores, confidence=c).over_sequences for c in (0.99, 0.8))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    ("metric", "reference"), [(auroc, roc_auc_score), (average_precision, average_precision_score)]
)
def test_the_bootstrap_draws_sequences_with_replacement(metric, reference):
    """Counting a sequence twice is the same as having it twice; with ties, as drawing makes them."""
    labels, scores = binormal(np.random.default_rng(8), 60, 0.3, 0.8)
    scores = scores.round()
    draws = np.random.default_rng(3).multinomial(60, np.full(60, 1 / 60), size=50)
    drawn = logit(
        [reference(np.repeat(labels, weights), np.repeat(scores, weights)) for weights in draws]
    )
    options = {"method": "bootstrap"} if metric is auroc else {}
    found = metric(labels, scores, draws=50, seed=3, **options).over_sequences
    half = t.ppf(0.975, labels.sum() - 1) * drawn.std(ddof=1)
    assert logit([found.low, found.high]) == pytest.approx(
        logit(found.mean) + np.array([-half, half]), abs=1e-9
    )


Y, S = np.arange(10) < 4, np.linspace(0, 1, 10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: auroc(np.ones(10), S),
            r"labels: expected at least 2 sequences of each class, found 10 positive and 0 negative",
        ),
        (lambda: average_precision(np.arange(10) < 1, S), r"labels: .* found 1 positive and 9"),
        (lambda: auroc(Y + 1, S), r"labels: expected 0 and 1, found \[1.0, 2.0\]"),
        (
            lambda: auroc(Y, S[:9]),
            r"labels and scores: expected \(N,\) .* found \(10,\) and \(1, 9\)",
        ),
        (
            lambda: auroc(Y, np.where(S > 0.9, np.nan, S)),
            r"scores: expected finite numbers, found nan at \(9,\); fill",
        ),
        (
            lambda: auroc(Y, S, method="hanley"),
            r"method: expected one of 'delong', 'bootstrap', found 'hanley'",
        ),
        (
            lambda: accuracy(Y, S[:9]),
            r"predicted: expected the shape of target \(10,\), .* found \(1, 9\)",
        ),
        (
            lambda: mean_absolute_error(S[:3], S[:3]),
            r"target: expected at least 4 sequences for an interval, found 3",
        ),
        (lambda: mean_absolute_error([], []), r"predicted: expected the shape"),
        (lambda: compare("f1", Y, S, S), r"metric: expected one of 'auroc', .* found 'f1'"),
        (lambda: hanley_mcneil_error(1.2, 3, 3), r"expected an area in \[0, 1\]"),
    ],
)
def test_errors_name_thing_expectation_finding_and_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call()
