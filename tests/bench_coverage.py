"""How often each interval of the library holds the truth, and how wide it is, on data whose truth is known.

`python tests/bench_coverage.py [repeats] [words]` prints the table, by default 400 repeats of every case whose name holds one of
the words; a case that takes more than a few milliseconds is repeated less. test_coverage.py repeats a part of them, fewer times.
Shares of items are not among them: their coverage is computed, not drawn (test_intervals.py).
"""

import sys
import warnings
from functools import lru_cache

import numpy as np
from codes_with_known_truth import (
    factor_scores,
    gaussians,
    given_label,
    given_third,
    mixture,
    skill,
)
from scipy.special import expit
from scipy.stats import norm
from unbraid.measures.generation import (
    benchmark_score,
    entropies,
    generation_scores,
    intervention,
    random_donors,
)
from unbraid.measures.intervals import mean_interval, paired_comparison, score_interval
from unbraid.measures.leakage import LeakageMatrix, combine
from unbraid.measures.ranking import (
    accuracy,
    auroc,
    average_precision,
    compare,
    mean_absolute_error,
)
from unbraid.measures.resampling import bootstrap_interval
from unbraid.measures.verification import equal_error_rate, verify_speakers

CASES = {}  # name -> draw(generator) -> [(interval or (low, high), truth), ...]
EXPENSIVE = {}  # name -> how many times fewer repeats


def case(name, draw, expense=1):
    CASES[name] = draw
    EXPENSIVE[name] = expense


def covered(name, repeats, seed=0):
    """Shares of intervals that hold the truth and mean widths (infinite ones left out), an array each, one entry a truth."""
    held, widths = [], []
    for repeat in range(repeats):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = CASES[name](np.random.default_rng([seed, repeat]))
        limits = np.array([(one.low, one.high) if hasattr(one, "low") else one for one, _ in found])
        truth = np.array([true for _, true in found])
        held.append((limits[:, 0] <= truth + 1e-9) & (truth - 1e-9 <= limits[:, 1]))
        widths.append(limits[:, 1] - limits[:, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.mean(held, axis=0), np.nanmean(
            np.where(np.isfinite(widths), widths, np.nan), axis=0
        )


SKILLS = {  # how skills of single seeds are spread: draw, mean
    "normal .5 +- .05": (lambda g, n: g.normal(0.5, 0.05, n), 0.5),
    "near 0, +- .02": (lambda g, n: g.normal(0.02, 0.02, n), 0.02),
    "near 1, +- .01": (lambda g, n: np.minimum(g.normal(0.97, 0.01, n), 1), 0.97),
    "beta(4, 1)": (lambda g, n: g.beta(4, 1, n), 0.8),
    "beta(2, .5)": (lambda g, n: g.beta(2, 0.5, n), 0.8),
    "beta(.5, 2)": (lambda g, n: g.beta(0.5, 2, n), 0.2),
    "exponential above .5": (lambda g, n: 0.5 + g.exponential(0.05, n), 0.55),
    "nearly perfect, rare failures": (lambda g, n: expit(g.normal(3, 1.5, n)), 0.90355),
}


def matrices(g, skills):
    """A cell of one matrix a seed, whose test interval is that of 100 sequences."""

    def one(skill):
        found = np.clip(skill, -1, 1).reshape(1, 1)
        limits = np.clip(np.stack([found - 0.09, found + 0.09], axis=-1), -1, 1)
        return LeakageMatrix(
            found, limits, np.ones((1, 1)), ("code",), ("factor",), "skill", "linear"
        )

    return combine([one(skill) for skill in skills]).seed_interval[0, 0]


for n in (2, 3, 4, 5, 10):
    case(
        f"seeds: Student's t, normal, n = {n}",
        lambda g, n=n: [(mean_interval(g.normal(size=n)), 0)],
    )
    for name, (draw, mean) in SKILLS.items():
        case(
            f"seeds: scores, {name}, n = {n}",
            lambda g, n=n, draw=draw, mean=mean: [(score_interval(draw(g, n)), mean)],
        )
        case(
            f"seeds: matrices, {name}, n = {n}",
            lambda g, n=n, draw=draw, mean=mean: [(matrices(g, draw(g, n)), mean)],
        )


def clusters_of(g, count, skewed=False):
    """`count` clusters of 2 to 10 rows: cluster number (N,) and rows that share an effect of mean 0 and variance 1, (N,)."""
    cluster = np.repeat(np.arange(count), g.integers(2, 11, count))
    effect = g.exponential(size=count) - 1 if skewed else g.normal(size=count)
    return cluster, effect[cluster] + g.normal(size=len(cluster))


def area(positive, scores):
    """AUROC by ranks, quicker than scikit-learn's; NaN without both classes."""
    ranks, count = np.argsort(np.argsort(scores)) + 1, positive.sum()
    return (
        (ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count))
        if 0 < count < len(positive)
        else np.nan
    )


def both_classes(g, count, share=0.3):
    positive = g.random(count) < share
    positive[:2] = True, False
    return positive


def correlation(g, n):
    a = g.normal(size=n)
    return bootstrap_interval(
        a,
        0.8 * a + 0.6 * g.normal(size=n),
        statistic=lambda a, b: np.corrcoef(a, b)[0, 1],
        draws=200,
    ), 0.8


def cluster_mean(g, n, skewed):
    cluster, values = clusters_of(g, n, skewed)
    return bootstrap_interval(values, clusters=cluster, draws=200), 0


def cluster_share(g, n, share):
    cluster, values = clusters_of(g, n)
    return bootstrap_interval(
        values < np.sqrt(2) * norm.ppf(share), clusters=cluster, rate=True, draws=200
    ), share


def item_area(g, n, true):
    positive = both_classes(g, n)
    scores = g.normal(size=n) + np.sqrt(2) * norm.ppf(true) * positive
    return bootstrap_interval(positive, scores, statistic=area, rate=True, draws=200), true


def right_or_wrong(g, n, only_a, only_b):
    apart, both = g.choice(3, size=n, p=(only_a, only_b, 1 - only_a - only_b)), g.random(n) < 0.9
    return paired_comparison(
        (apart == 0) | (apart == 2) & both, (apart == 1) | (apart == 2) & both
    ).difference, only_a - only_b


for n in (10, 20, 50):
    case(
        f"items: mean, normal, n = {n}",
        lambda g, n=n: [(bootstrap_interval(g.normal(size=n), draws=200), 0)],
        2,
    )
    case(
        f"items: mean, exponential, n = {n}",
        lambda g, n=n: [(bootstrap_interval(g.exponential(size=n), draws=200), 1)],
        2,
    )
    case(f"items: correlation, n = {n}", lambda g, n=n: [correlation(g, n)], 4)
    case(f"clusters: mean, normal, n = {n}", lambda g, n=n: [cluster_mean(g, n, False)], 2)
    case(f"clusters: mean, exponential, n = {n}", lambda g, n=n: [cluster_mean(g, n, True)], 2)
    for share in (0.79, 0.95, 0.99):
        case(
            f"clusters: share {share}, n = {n}",
            lambda g, n=n, share=share: [cluster_share(g, n, share)],
            2,
        )
    for true in (0.86, 0.97):
        case(f"items: AUROC {true}, n = {n}", lambda g, n=n, true=true: [item_area(g, n, true)], 2)
    case(
        f"pairs: difference, exponential, n = {n}",
        lambda g, n=n: [(paired_comparison(g.exponential(size=n), np.zeros(n)).difference, 1)],
    )
    case(f"pairs: right or wrong, n = {n}", lambda g, n=n: [right_or_wrong(g, n, 0.08, 0.04)])


def scorers(g, count, base_rate, *areas, together=0.7):
    """Labels and normal scores of these AUROC, correlated with each other."""
    labels = both_classes(g, count, base_rate)
    labels[2:4] = True, False
    noise = g.normal(size=(len(areas), count))
    noise[1:] = together * noise[0] + np.sqrt(1 - together**2) * noise[1:]
    return labels, *(row + np.sqrt(2) * norm.ppf(one) * labels for row, one in zip(noise, areas))


def scored(metric, truth, *args, **options):
    return [(metric(*args, **options).over_sequences, truth)]


def absolute(g, count, skewed):
    """Errors of 28 days: a month's own offset, or how hard it is, and a day's noise."""
    if skewed:
        return scored(mean_absolute_error, 1, np.zeros(count), g.exponential(size=count))
    errors = 5 * g.normal(size=(count, 1)) + 3 * g.normal(size=(count, 28))
    return scored(mean_absolute_error, np.sqrt(34 * 2 / np.pi), np.zeros((count, 28)), errors)


for count, rate in ((353, 0.108), (60, 0.3)):
    for true in (0.5, 0.858, 0.98):
        case(
            f"AUROC {true}, N = {count}",
            lambda g, c=count, r=rate, t=true: scored(auroc, t, *scorers(g, c, r, t)),
        )
        boot = {"method": "bootstrap", "draws": 200}
        case(
            f"AUROC {true}, bootstrap, N = {count}",
            lambda g, c=count, r=rate, t=true: scored(auroc, t, *scorers(g, c, r, t), **boot),
            2,
        )
    for pair in ((0.858, 0.8), (0.97, 0.9), (0.97, 0.97)):
        case(
            f"AUROC {pair}, difference, N = {count}",
            lambda g, c=count, r=rate, p=pair: [
                (compare("auroc", *scorers(g, c, r, *p)).difference, p[0] - p[1])
            ],
        )
PRECISION = {
    0.5: 0.108,
    0.8: 0.376,
    0.858: 0.501,
}  # what average precision tends to with 10.8 % positives, by AUROC
for true in (0.5, 0.858):
    case(
        f"average precision at AUROC {true}",
        lambda g, t=true: scored(average_precision, PRECISION[t], *scorers(g, 353, 0.108, t)),
        5,
    )
for pair in ((0.858, 0.8), (0.858, 0.858)):
    case(
        f"average precision at AUROC {pair}, difference",
        lambda g, p=pair: [
            (
                compare("average_precision", *scorers(g, 353, 0.108, *p), draws=200).difference,
                PRECISION[p[0]] - PRECISION[p[1]],
            )
        ],
        5,
    )
for share in (0.57, 0.99):
    case(
        f"accuracy {share}, N = 144",
        lambda g, s=share: scored(accuracy, s, np.ones(144), g.random(144) < s),
    )
for count in (6, 20, 144):
    case(f"absolute error, months, N = {count}", lambda g, n=count: absolute(g, n, False))
    case(f"absolute error, exponential, N = {count}", lambda g, n=count: absolute(g, n, True))


def clips(g, classes, size, right, sure, doubtful=0.0):
    """p(y|x) of `size` clips of every class: right so often, about so sure; or certain but for a share of doubtful ones."""
    answers = np.where(
        g.random((classes, size)) < right,
        np.arange(classes)[:, None],
        g.integers(0, classes, (classes, size)),
    )
    logits = g.normal(0, 0.3, (classes, size, classes))
    np.put_along_axis(
        logits,
        answers[..., None],
        40.0 if doubtful else g.gamma(2, sure, (classes, size, 1)) + 1,
        -1,
    )
    if doubtful:
        logits = np.where(
            g.random((classes, size, 1)) < doubtful, g.normal(0, 0.5, logits.shape), logits
        )
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return (p / p.sum(-1, keepdims=True)).reshape(-1, classes)


@lru_cache
def true_entropies(classes, *judge):
    return entropies(clips(np.random.default_rng(0), classes, 40_000, *judge))


def generated(g, classes, size, *judge):
    found = generation_scores(
        clips(g, classes, size, *judge), np.repeat(np.arange(classes), size), draws=100
    )
    return list(
        zip(
            (found.conditional_entropy, found.marginal_entropy, found.inception_score),
            true_entropies(classes, *judge),
        )
    )


def swaps(g, count, wrong):
    """Retain and swap of two factors of 3 and 6 classes; so often a factor's answer comes from the wrong clip."""
    sizes, donors, runs = {"a": 3, "b": 6}, random_donors(count, int(g.integers(2**31))), {}
    labels = {name: g.integers(size, size=count) for name, size in sizes.items()}
    for kept in sizes:
        sources = {
            name: np.where((name == kept) ^ (g.random(count) < wrong), np.arange(count), donors)
            for name in sizes
        }
        certain = {name: np.eye(size)[labels[name][sources[name]]] for name, size in sizes.items()}
        runs[kept] = intervention(certain, labels, (kept,), donors)
    return [
        (benchmark_score(runs).score, 1 - 3 / 4 * wrong)
    ]  # a quarter of wrong answers agree: the mean of 1/3 and 1/6


for wrong in (0, 0.02, 0.1, 0.5):
    for count in (30, 300):
        case(
            f"benchmark score, {wrong} from the wrong clip, {count} clips",
            lambda g, n=count, w=wrong: swaps(g, n, w),
        )


JUDGES = {
    "unsure": (0.5, 2),
    "fair": (0.9, 2),
    "sure": (0.99, 6),
    "certain, 1 in 100 doubtful": (1, 0, 0.01),
}
for name, judge in JUDGES.items():
    for classes, size in ((3, 3), (3, 10), (3, 30), (9, 10), (9, 30)):
        case(
            f"entropies, {name} judge, {classes} classes of {size}",
            lambda g, c=classes, s=size, j=judge: generated(g, c, s, *j),
            3,
        )


def voices(g, speakers, utterances, apart, unequal, width=16):
    """Vectors (N, D) and speakers (N,): speakers `apart` deviations from each other, some less steady than others."""
    steadiness = np.exp(unequal * g.normal(size=(speakers, 1, 1)))
    vectors = apart * g.normal(size=(speakers, 1, width)) + steadiness * g.normal(
        size=(speakers, utterances, width)
    )
    return vectors.reshape(-1, width), np.repeat(np.arange(speakers), utterances)


@lru_cache
def true_rate(apart, unequal, count=100_000):
    vectors = voices(np.random.default_rng(7), count, 2, apart, unequal)[0].reshape(-1, 2, 16)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    scores = [
        np.sum(vectors[:, 0] * np.roll(vectors[:, 1], shift, axis=0), axis=-1)
        for shift in (0, 1, 2)
    ]
    return equal_error_rate(np.concatenate(scores), np.arange(3 * count) < count)


def speakers(g, count, one, other):
    (static, who), (dynamic, _) = voices(g, count, 8, *one), voices(g, count, 8, *other)
    found, true = (
        verify_speakers(static, dynamic, who, draws=100, seed=int(g.integers(2**31))),
        (true_rate(*one), true_rate(*other)),
    )
    return [(found.static, true[0]), (found.dynamic, true[1]), (found.gap, true[1] - true[0])]


for count in (3, 4, 6, 10, 24):
    for rates, one, other in (
        ("5 and 43", (2, 0.4), (0.3, 0.3)),
        ("4 and 13", (3, 0.6), (1.2, 0.4)),
        ("2 and 50", (2, 0), (0, 0)),
    ):
        case(
            f"EER of {rates} %, gap, {count} speakers",
            lambda g, n=count, a=one, b=other: speakers(g, n, a, b),
            2,
        )


for count in (100, 300):
    for width in (1, 2, 3, 5):
        for bits in (0, 0.5, 1.5, 4):
            name = f"Kraskov, {bits} bits in {width} + {width} units, N = {count}"
            case(name, lambda g, c=count, w=width, b=bits: gaussians(g, c, w, b), 4)
    for width in (1, 3, 5, 10):
        for classes, distance in ((2, 0), (3, 2), (6, 2), (2, 4)):
            case(
                f"Ross, {classes} classes {distance} apart in {width} units, N = {count}",
                lambda g, c=count, k=classes, d=distance, w=width: mixture(g, c, k, d, w),
                4,
            )
    for bits in (0, 0.3, 0.8):
        case(
            f"Ross, {bits} bits given a label, N = {count}",
            lambda g, c=count, b=bits: given_label(g, c, b),
            4,
        )
    for bits in (0, 0.5, 1.2, 2.5):
        case(
            f"Frenzel and Pompe, {bits} bits given a third, N = {count}",
            lambda g, c=count, b=bits: given_third(g, c, b),
            4,
        )
case("Ross, 6 classes 2 apart in 10 units, N = 1000", lambda g: mixture(g, 1000, 6, 2, 10), 20)
for count in (20, 30, 60):
    for kind, signal in (
        ("classes", 0),
        ("classes", 2),
        ("classes", 6),
        ("continuous", 0),
        ("continuous", 0.7),
        ("heavy tails", 0.7),
    ):
        case(
            f"leakage: {kind}, signal {signal}, {count} test sequences",
            lambda g, n=count, k=kind, s=signal: skill(g, k, s, n),
            3,
        )
for count, noise in ((60, 0.5), (200, 0.25), (200, 0.5), (200, 2)):
    case(
        f"factor scores, noise {noise}, N = {count}",
        lambda g, n=count, s=noise: factor_scores(g, n, s),
        8,
    )


if __name__ == "__main__":
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    for name in CASES:
        if len(sys.argv) < 3 or any(word in name for word in sys.argv[2:]):
            count = max(repeats // EXPENSIVE[name], 50)
            share, width = covered(name, count)
            held, widths = (
                " ".join(f"{one:{form}}" for one in row)
                for row, form in ((100 * share, "5.1f"), (width, ".3g"))
            )
            print(f"{name:64} {count:5d}  held {held}   width {widths}", flush=True)
