"""Intervals of test items: known answers, how often they hold the truth, and the one way they are written."""

import numpy as np
import pytest
from scipy.stats import binom, norm, t, ttest_rel
from sklearn.metrics import roc_auc_score
from unbraid.measures.intervals import (
    Interval,
    format_interval,
    mean_interval,
    paired_comparison,
    paired_difference,
    score_interval,
    share_interval,
    share_limits,
    skewed_reach,
)
from unbraid.measures.resampling import bootstrap_interval


def test_limits_of_a_share_have_their_published_values():
    """81 of 263 and 0 of 20: Newcombe, Stat. Med. 17, 857 (1998), table I, methods 3 (Wilson) and 5 (Clopper and Pearson)."""
    found = share_interval(81, 263)
    assert (found.mean, found.low, found.high) == pytest.approx(
        (81 / 263, 0.2553, 0.3662), abs=5e-5
    )
    assert (share_interval(0, 20).low, share_interval(0, 20).high) == pytest.approx(
        (0, 0.1684), abs=5e-5
    )
    assert (
        share_interval(20, 20).high == pytest.approx(1)
        and share_interval(3, 10, unit="clip").unit == "clip"
    )


@pytest.mark.parametrize("n", (5, 10, 50, 500))
def test_the_interval_of_a_share_holds(n):
    """Summed over all outcomes, for any share: exact, not simulated. In the middle it is Wilson's, 95 on average."""
    found = [share_interval(successes, n) for successes in range(n + 1)]
    low, high = np.array([(one.low, one.high) for one in found]).T
    shares = np.linspace(0.0005, 0.9995, 500)
    held = np.array(
        [
            binom.pmf(np.arange(n + 1), n, share)[(low <= share) & (share <= high)].sum()
            for share in shares
        ]
    )
    assert held.min() >= 0.93
    if n == 500:
        middle = held[(n * shares >= 20) & (n * (1 - shares) >= 20)]
        assert middle.mean() == pytest.approx(0.95, abs=0.002)
    assert (
        share_limits(0.25, 8) == (share_interval(2, 8).low, share_interval(2, 8).high)
        and share_limits(0.3, 8)[1] > share_limits(0.25, 8)[1]
    )


def test_scores_over_seeds_are_given_room_where_they_are_skewed():
    """Three ordinary skills: less than twice Student's width. Near 1 the room is below, and beyond 1 there is none."""
    middle, near = [0.45, 0.5, 0.55], [0.9, 0.97, 0.995]
    assert 1 < score_interval(middle).half_width / mean_interval(middle).half_width < 2
    found = score_interval(near)
    assert (
        found.mean == pytest.approx(np.mean(near))
        and found.high == 1
        and found.mean - found.low > 2 * (found.high - found.mean)
    )
    assert (
        np.isnan(score_interval([0.5]).low)
        and "all values are the same" in score_interval([1.0, 1.0]).warning
    )
    assert score_interval([-0.9, 0.1, 0.95]).low == -1


def test_skewed_parts_have_a_longer_side():
    """Johnson's and Hall's first order: the side of the tail is longer by skewness (2 t^2 + 1) / 6 sqrt(n) standard errors."""
    values = np.random.default_rng(0).exponential(size=2000)
    reach, lean = t.ppf(0.975, 1999), np.mean((values - values.mean()) ** 3) / values.std() ** 3
    below, above = skewed_reach(values, 1.0, 1999, 0.95)
    assert below == pytest.approx(reach) and above == pytest.approx(
        reach + lean * (2 * reach**2 + 1) / (6 * np.sqrt(2000)), rel=0.01
    )
    assert skewed_reach(-values, 1.0, 1999, 0.95) == pytest.approx([above, below])
    assert skewed_reach(values[:3], 2.0, 2, 0.95) == pytest.approx([2 * t.ppf(0.975, 2)] * 2)
    assert skewed_reach(np.ones(9), 0.0, 8, 0.95) == pytest.approx([0, 0])


def clusters_of(generator, count, skewed=False):
    """`count` clusters of 2 to 10 rows: cluster number (N,) and its effect (N,), of mean 0 and variance 1."""
    cluster = np.repeat(np.arange(count), generator.integers(2, 11, count))
    effect = generator.exponential(size=count) - 1 if skewed else generator.normal(size=count)
    return cluster, effect[cluster]


def mean_of_items(generator):
    return bootstrap_interval(generator.normal(size=50), draws=300), 0


def auroc_of_items(generator):
    positive = generator.random(100) < 0.3
    scores = generator.normal(size=100) + 1.5 * positive

    def auroc(
        positive, scores
    ):  # the share of pairs in the right order, quicker than scikit-learn's
        ranks = np.argsort(np.argsort(scores)) + 1
        count = positive.sum()
        return (ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count))

    return bootstrap_interval(positive, scores, statistic=auroc, rate=True, draws=300), norm.cdf(
        1.5 / np.sqrt(2)
    )


def share_of_clusters(generator):
    cluster, effect = clusters_of(generator, 60)
    right = effect + generator.normal(size=len(effect)) > -0.8 * np.sqrt(2)
    return bootstrap_interval(right, clusters=cluster, rate=True, draws=300), norm.cdf(0.8)


def mean_of_strata(generator):
    stratum = np.repeat(np.arange(3), 20)
    return bootstrap_interval(5 * stratum + generator.normal(size=60), strata=stratum, draws=300), 5


def mean_over_seeds(generator):
    return mean_interval(generator.normal(size=3)), 0


def difference_of_shares(generator):
    apart = generator.choice(3, size=100, p=(0.08, 0.04, 0.88))
    both = generator.random(100) < 0.9
    return paired_comparison(
        (apart == 0) | (apart == 2) & both, (apart == 1) | (apart == 2) & both
    ).difference, 0.04


@pytest.mark.parametrize(
    "interval",
    (
        mean_of_items,
        auroc_of_items,
        share_of_clusters,
        mean_of_strata,
        mean_over_seeds,
        difference_of_shares,
    ),
    ids=lambda one: one.__name__,
)
def test_intervals_of_95_percent_hold_93_times_in_100(interval):
    found = [interval(np.random.default_rng(seed)) for seed in range(300)]
    held = np.mean([one.low <= true <= one.high for one, true in found])
    assert 0.93 <= held <= 0.995, held


def test_few_units_and_odd_draws_are_warned_of():
    generator = np.random.default_rng(0)
    assert (
        "only 9 sequences"
        in bootstrap_interval(generator.normal(size=9), draws=50, unit="sequence").warning
    )
    assert bootstrap_interval(generator.normal(size=80), draws=50).warning == ""
    scores, positive = generator.normal(size=60), np.arange(60) < 2
    with np.errstate(all="ignore"):
        rare = bootstrap_interval(
            scores, positive, statistic=lambda s, p: s[p].mean() if p.any() else np.nan, draws=400
        )
    assert "was not finite in" in rare.warning and np.isfinite(rare.low)
    every = bootstrap_interval(
        np.ones(80), rate=True, draws=50
    )  # of 80 right the truth may still be less than 1
    assert (every.low, every.high, every.warning) == (share_interval(80, 80).low, 1, "")
    full = bootstrap_interval(np.ones(80), draws=50)
    assert (
        full.mean == 1
        and np.isnan([full.low, full.high]).all()
        and "same in every draw" in full.warning
    )
    assert (
        "all values are the same" in mean_interval([1.0, 1.0]).warning
        and mean_interval([1.0, 2.0]).warning == ""
    )


def test_a_bootstrapped_mean_is_students_interval():
    """4000 draws of 60 normal values: limits agree with Student's to a tenth of the half-width (their own noise is 3 %)."""
    values = np.random.default_rng(0).normal(3, 2, size=60)
    found, exact = bootstrap_interval(values, draws=4000), mean_interval(values)
    assert found.mean == pytest.approx(exact.mean) and found.n == 60 and found.unit == "item"
    assert [found.low, found.high] == pytest.approx(
        [exact.low, exact.high], abs=0.1 * exact.half_width
    )
    assert (
        found
        == bootstrap_interval(values, draws=4000)
        != bootstrap_interval(values, draws=4000, seed=1)
    )


def test_rows_of_a_cluster_are_drawn_together():
    values = np.random.default_rng(0).normal(size=60)
    alone = bootstrap_interval(values, draws=500)
    copied = bootstrap_interval(
        np.repeat(values, 5), clusters=np.repeat(np.arange(60), 5), draws=500
    )
    assert (copied.mean, copied.low, copied.high, copied.n) == pytest.approx(
        (alone.mean, alone.low, alone.high, 60)
    )
    blind = bootstrap_interval(
        np.repeat(values, 5), draws=500
    )  # five copies taken for five items: too sure by sqrt(5)
    assert blind.half_width == pytest.approx(alone.half_width / np.sqrt(5), rel=0.15)
    order = np.random.default_rng(1).permutation(300)
    mixed = bootstrap_interval(
        np.repeat(values, 5)[order], clusters=np.repeat(np.arange(60), 5)[order], draws=500
    )
    assert mixed.low == pytest.approx(alone.low)


def test_strata_keep_their_sizes():
    generator = np.random.default_rng(0)
    stratum = np.repeat([0, 1], [10, 50])
    values = 100.0 * stratum + generator.normal(size=60)
    assert (
        bootstrap_interval(values, strata=stratum, draws=300).half_width
        < 0.5
        < 5
        < bootstrap_interval(values, draws=300).half_width
    )
    pairs = np.repeat(np.arange(30), 2)  # clusters of two, five of them in the first stratum
    both = bootstrap_interval(values, clusters=pairs, strata=stratum, draws=300)
    assert both.half_width < 0.6 and both.n == 30


def test_any_statistic_of_rows_that_belong_together():
    generator = np.random.default_rng(0)
    positive = generator.random(200) < 0.4
    scores = generator.normal(size=200) + 1.5 * positive
    found = bootstrap_interval(positive, scores, statistic=roc_auc_score, draws=100, confidence=0.9)
    assert (
        found.mean == roc_auc_score(positive, scores)
        and 0.7 < found.low < found.mean < found.high < 1
    )


def test_two_models_with_numbers():
    generator = np.random.default_rng(0)
    a, b = 10 * generator.normal(size=40) + np.zeros((2, 40))
    a, b = a + 0.5 + 0.5 * generator.normal(size=40), b
    found = paired_comparison(a, b)
    students = paired_difference(a, b, unit="item")
    assert (
        found.difference.mean == students.mean
        and found.difference.low <= students.low
        and found.difference.high >= students.high
    )
    assert (
        found.difference.half_width < 1.05 * students.half_width
        and found.p_value == pytest.approx(ttest_rel(a, b).pvalue)
    )
    assert found.effect == "Cohen's d_z" and found.effect_size == pytest.approx(
        np.mean(a - b) / np.std(a - b, ddof=1)
    )
    by_hand = paired_comparison([1.0, 2, 3], [0.0, 0, 0])
    assert by_hand.effect_size == 2 and by_hand.p_value == pytest.approx(
        2 * t.sf(2 * np.sqrt(3), 2)
    )


def test_two_models_right_or_wrong():
    """McNemar by hand: 1 against 5 of six, 2 (1 + 6) / 64. The interval: 12, 4, 26 and 6 items give .2548 and .6252 (the
    example of statpsych's ci.prop.ps, by the authors of the interval)."""
    a, b = (
        np.array([1, 0, 0, 0, 0, 0, 1, 1], dtype=bool),
        np.array([0, 1, 1, 1, 1, 1, 1, 1], dtype=bool),
    )
    found = paired_comparison(a, b)
    assert found.p_value == pytest.approx(14 / 64) and found.effect_size == pytest.approx(
        1 / 6 - 0.5
    )
    assert found.difference.mean == -0.5 and (found.effect, found.test) == (
        "Cohen's g",
        "exact McNemar",
    )
    a, b = (
        np.repeat([0, 0, 1, 1], [12, 4, 26, 6]) == 1,
        np.repeat([0, 1, 0, 1], [12, 4, 26, 6]) == 1,
    )
    found = paired_comparison(a, b, unit="clip").difference
    assert (found.mean, found.low, found.high) == pytest.approx(
        (22 / 48, 0.2548067, 0.6251933)
    ) and found.unit == "clip"
    other = paired_comparison(b, a).difference
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low))


def test_a_difference_without_spread_is_said():
    equal = paired_comparison([0.1, 0.7, 0.3], [0.1, 0.7, 0.3])
    assert (equal.effect_size, equal.p_value) == (
        0,
        1,
    ) and "the same in every item" in equal.difference.warning
    shifted = paired_comparison(
        [0.1, 0.7, 0.3], [0.4, 1.0, 0.6]
    )  # differences equal but for rounding
    assert (shifted.effect_size, shifted.p_value) == (-np.inf, 0) and np.isnan(
        shifted.difference.low
    )
    right = paired_comparison(np.array([True, False] * 30), np.array([True, False] * 30))
    assert (right.effect_size, right.p_value) == (
        0,
        1,
    ) and right.difference.low < 0 < right.difference.high < 0.1


@pytest.mark.parametrize(
    "interval, options, text",
    (
        (Interval(4.614, 4.5, 4.728, 3), {}, "4.61 ± 0.11 (3 seeds)"),
        (Interval(4.614, 4.5, 4.728, 12, "sequence"), {"digits": 1}, "4.6 ± 0.1 (12 sequences)"),
        (Interval(0.25, np.nan, np.nan, 1), {}, "0.25 (1 seed)"),
        (Interval(1.0, np.nan, np.nan, 80, "clip"), {}, "1.00 (80 clips)"),
        (
            Interval(0.035, 0.019, 0.0631, 24, "speaker"),
            {"digits": 3},
            "0.035 [0.019, 0.063] (24 speakers)",
        ),
        (
            Interval(0.035, 0.019, 0.0631, 24, "speaker"),
            {"digits": 1, "percent": True},
            "3.5 [1.9, 6.3] % (24 speakers)",
        ),
        (Interval(0.035, 0.019, 0.0631, 24, "speaker"), {}, "0.04 [0.02, 0.06] (24 speakers)"),
        (Interval(0.5, 0.4711, 0.531, 200, "item"), {}, "0.50 ± 0.03 (200 items)"),
        (
            Interval(0.5, 0.47, 0.53, 200, "item"),
            {"percent": True, "digits": 0},
            "50 ± 3 % (200 items)",
        ),
        (Interval(0.5, 0.47, 0.53, 1, "item"), {}, "0.50 ± 0.03 (1 item)"),
    ),
)
def test_there_is_one_way_to_write_an_interval(interval, options, text):
    assert format_interval(interval, **options) == text


@pytest.mark.parametrize(
    "call, message",
    (
        (
            lambda: share_interval(11, 10),
            "successes and n: expected integers, 0 <= successes <= n and n >= 1, found 11 and 10",
        ),
        (lambda: share_interval(0.9, 1), "found 0.9 and 1"),
        (lambda: share_interval(0, 0), "found 0 and 0"),
        (lambda: bootstrap_interval(), r"expected as many rows in all, at least one, found \[\]"),
        (
            lambda: bootstrap_interval([1, 2, 3], clusters=[1, 2]),
            r"expected as many rows in all, at least one, found \[3, 2\]",
        ),
        (
            lambda: bootstrap_interval([1, 2], clusters=[1, 1]),
            "expected at least two items in some stratum, found 1 in 1",
        ),
        (
            lambda: bootstrap_interval([1, 2], strata=[0, 1]),
            "expected at least two items in some stratum, found 2 in 2",
        ),
        (
            lambda: bootstrap_interval([1, 2, 3], clusters=[1, 1, 2], strata=[0, 1, 1]),
            r"expected each cluster in one stratum, found \[0, 1\]",
        ),
        (
            lambda: bootstrap_interval([1, np.nan]),
            "statistic: expected a finite number of all rows, found nan",
        ),
        (
            lambda: bootstrap_interval([1, 2], rate=True),
            "statistic: expected a rate from 0 to 1, found 1.5",
        ),
        (
            lambda: bootstrap_interval([1, 2], confidence=95),
            "confidence: expected a number between 0 and 1",
        ),
        (
            lambda: paired_comparison([1, 2], [1, 2, 3]),
            r"a and b: expected pairs, \(n,\) each with n >= 2, found \(2,\) and \(3,\)",
        ),
        (lambda: paired_comparison([1], [2]), "n >= 2"),
        (
            lambda: paired_comparison([1.0, 0.0], [True, False]),
            "expected both numbers or both booleans, found float64 and bool",
        ),
        (lambda: paired_comparison([1, np.inf], [1, 2]), "values: expected finite numbers"),
        (lambda: mean_interval([1, np.nan], unit="clip"), "repeat or leave out the failed clips"),
    ),
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
