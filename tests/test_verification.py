"""Speaker verification: error rates with known answers, resampled speakers spelt out pair by pair, intervals that hold."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_curve
from bench_coverage import voices
from unbraid.measures.verification import (
    Trials,
    detection_curve,
    equal_error_rate,
    speaker_trials,
    verify_speakers,
)


def gaussians(seed, distance, count):
    """Scores and targets: `count` of either kind, unit variance, means `distance` apart."""
    generator = np.random.default_rng(seed)
    return np.append(
        generator.normal(distance, 1, count), generator.normal(0, 1, count)
    ), np.arange(2 * count) < count


@pytest.mark.parametrize("distance", (0, 0.5, 1, 2, 3, 4))
def test_two_gaussians_give_the_known_rate(distance):
    """Phi(-d'/2). At the quantiles of 10 000 + 10 000 pairs the rate is right to the spacing of the points; random pairs
    have a standard error of sqrt(p (1 - p) / 20 000), .35 points at most, so .3 points is asked of the mean of ten."""
    true, quantiles = norm.cdf(-distance / 2), norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    targets = np.arange(20_000) < 10_000
    assert equal_error_rate(np.append(quantiles + distance, quantiles), targets) == pytest.approx(
        true, abs=2e-4
    )
    drawn = [equal_error_rate(*gaussians(seed, distance, 10_000)) for seed in range(10)]
    assert np.mean(drawn) == pytest.approx(true, abs=0.003)
    assert np.abs(np.subtract(drawn, true)).max() <= 4 * np.sqrt(true * (1 - true) / 20_000)


CASES = {  # scores of targets, of non-targets, rate
    "by hand": ([9, 6, 4], [7, 5, 3, 2], 1 / 3),  # misses 1/3 while false alarms go from 1/2 to 1/4
    "tie": ([2, 1], [1, 0], 1 / 4),  # both ones together: from (1/2, 0) straight to (0, 1/2)
    "tie of three": (
        [3, 1, 1],
        [1, 0],
        2 / 7,
    ),  # from (1/2, 0) to (0, 2/3): t/2 from the top, 2t/3 from below, t = 3/7
    "all the same": ([1, 1], [1, 1, 1], 1 / 2),
    "apart": ([3, 4], [1, 2], 0),
    "inverted": ([1, 2], [3, 4], 1),
    "one of each": ([1], [0], 0),
}


@pytest.mark.parametrize("case", CASES)
def test_small_cases_by_hand(case):
    targets, others, rate = CASES[case]
    scores, kinds = np.array(targets + others), np.arange(len(targets) + len(others)) < len(targets)
    assert equal_error_rate(scores, kinds) == pytest.approx(rate, abs=1e-12)
    assert equal_error_rate(-scores, kinds) == pytest.approx(1 - rate, abs=1e-12)
    assert equal_error_rate(np.exp(scores), kinds) == pytest.approx(
        rate, abs=1e-12
    )  # only the order matters


@pytest.mark.parametrize("levels", (3, 10, 10**6), ids=("coarse", "tied", "fine"))
def test_the_curve_is_scikit_learns(levels):
    scores, targets = gaussians(0, 1.3, 300)
    scores = np.round(scores * levels) / levels
    curve = detection_curve(scores, targets)
    for threshold, false_alarm, miss in zip(curve.thresholds, curve.false_alarm, curve.miss):
        assert false_alarm == pytest.approx(np.mean(scores[~targets] >= threshold))
        assert miss == pytest.approx(np.mean(scores[targets] < threshold))
    false_alarm, hit, _ = roc_curve(targets, scores, drop_intermediate=False)
    grid = np.linspace(0, 1, 1001)  # the same broken line, wherever it has a slope
    theirs = np.interp(1e-9 + grid * (1 - 2e-9), false_alarm, 1 - hit)
    np.testing.assert_allclose(
        np.interp(1e-9 + grid * (1 - 2e-9), curve.false_alarm[::-1], curve.miss[::-1]),
        theirs,
        atol=1e-6,
    )
    assert len(curve.miss) < len(np.unique(scores)) + 1 or levels == 3


def test_trials_are_the_cosines_of_all_pairs():
    generator = np.random.default_rng(0)
    vectors, speakers = generator.normal(size=(7, 3)), np.array(list("abacbba"))
    scores, targets = speaker_trials(vectors, speakers)
    for (i, j), score, target in zip(combinations(range(7), 2), scores, targets, strict=True):
        assert score == pytest.approx(
            vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j])
        )
        assert target == (speakers[i] == speakers[j])
    np.testing.assert_array_equal(
        scores, speaker_trials(vectors * [[3.0]] * 7, speakers)[0]
    )  # lengths do not matter
    same = speaker_trials(
        np.tile(generator.normal(size=50), (40, 1)) * generator.uniform(1, 9, (40, 1)),
        np.arange(40) % 4,
    )
    assert equal_error_rate(*same) == 0.5  # all one direction: rounding must not rank them


def spelt_out(vectors, speakers, copies):
    """Scores and targets of a resample in which speaker s has copies[s] copies, pair by pair."""
    present = [(s, copy) for s, times in enumerate(copies) for copy in range(times)]
    utterances = [(s, copy, row) for s, copy in present for row in np.flatnonzero(speakers == s)]
    scores, targets = [], []
    for (s, copy, i), (other, other_copy, j) in combinations(utterances, 2):
        if s != other or copy == other_copy:  # two copies of one speaker are no trial
            scores.append(
                round(
                    float(
                        vectors[i]
                        @ vectors[j]
                        / np.linalg.norm(vectors[i])
                        / np.linalg.norm(vectors[j])
                    ),
                    12,
                )
            )
            targets.append(s == other)
    return np.array(scores), np.array(targets)


@pytest.mark.parametrize("tied", (False, True), ids=("distinct", "tied"))
def test_resampled_speakers_are_weighed_as_if_spelt_out(tied):
    generator = np.random.default_rng(1)
    for _ in range(25):
        sizes = generator.integers(1, 6, size=5)
        speakers = np.repeat(np.arange(5), sizes)
        vectors = generator.normal(size=(5, 4))[speakers] + generator.normal(size=(sizes.sum(), 4))
        vectors = np.round(vectors) + [0.5, 0, 0, 0] if tied else vectors
        copies = generator.multinomial(5, np.full(5, 0.2), size=6)
        found = Trials(vectors, speakers).equal_error_rates(copies)
        for times, rate in zip(copies, found):
            scores, targets = spelt_out(vectors, speakers, times)
            if targets.all() or not targets.any():
                assert np.isnan(rate)
            else:
                assert rate == pytest.approx(equal_error_rate(scores, targets), abs=1e-9)


def test_rates_and_gap_of_codes_that_know_and_do_not_know_the_speaker():
    generator = np.random.default_rng(0)
    static, speakers = voices(generator, 30, 8, 2.0, 0)
    dynamic = generator.normal(size=static.shape)
    found = verify_speakers(static, dynamic, speakers, draws=300)
    assert found.static.mean == pytest.approx(
        equal_error_rate(*speaker_trials(static, speakers)), abs=1e-12
    )
    assert found.gap.mean == pytest.approx(found.dynamic.mean - found.static.mean)
    assert (
        found.static.high < 0.05
        and found.dynamic.low < 0.5 < found.dynamic.high
        and found.gap.low > 0.4
    )
    assert (found.targets, found.non_targets) == (30 * 28, 240 * 239 // 2 - 30 * 28)
    assert found.static.n == 30 and found.static.unit == "speaker" and found.static.warning == ""
    assert 0 < found.static.low < found.static.mean < found.static.high
    assert found == verify_speakers(static, dynamic, speakers, draws=300)  # drawn by the seed
    named = verify_speakers(
        static * 7, dynamic, np.array([f"s{one:02d}" for one in speakers]), draws=300
    )
    assert named.static == found.static  # neither the scale nor the names matter
    order = generator.permutation(240)
    mixed = verify_speakers(static[order], dynamic[order], speakers[order], draws=300)
    assert mixed.static.low == pytest.approx(
        found.static.low, abs=1e-9
    ) and mixed.gap.mean == pytest.approx(found.gap.mean)


def test_the_gap_takes_both_rates_from_the_same_speakers():
    generator = np.random.default_rng(0)
    static, speakers = voices(generator, 20, 8, 1.0, 0.5)
    dynamic = static + 0.3 * generator.normal(
        size=static.shape
    )  # nearly the same codes: what is hard is hard for both
    found = verify_speakers(static, dynamic, speakers, draws=300)
    assert found.gap.half_width < 0.5 * np.hypot(found.static.half_width, found.dynamic.half_width)
    same = verify_speakers(static, static, speakers, draws=50).gap
    assert (
        same.mean == 0
        and np.isnan([same.low, same.high]).all()
        and "its spread cannot be told" in same.warning
    )


def test_what_an_interval_cannot_hold_is_said():
    generator = np.random.default_rng(0)
    static, speakers = voices(generator, 6, 5, 1.0, 0)
    few = verify_speakers(static, np.ones_like(static), speakers, draws=100)
    assert np.isfinite([few.static.low, few.gap.low]).all()
    assert (
        few.dynamic.mean == 0.5
        and np.isnan(few.dynamic.low)
        and "its spread cannot be told" in few.dynamic.warning
    )  # a collapsed code
    perfect = verify_speakers(
        np.eye(12)[np.repeat(np.arange(12), 3)],
        generator.normal(size=(36, 4)),
        np.repeat(np.arange(12), 3),
        draws=100,
    )
    assert (perfect.static.mean, perfect.static.low, perfect.static.high) == (
        0,
        0,
        pytest.approx(1 - 0.025 ** (1 / 12)),
    )  # exact, 0 of 12
    assert "less than a third of a speaker" in perfect.static.warning and np.isfinite(
        perfect.gap.low
    )
    assert perfect.gap.warning == perfect.static.warning and perfect.dynamic.warning == ""


VECTORS = np.random.default_rng(0).normal(size=(6, 3))


@pytest.mark.parametrize(
    "call, message",
    (
        (
            lambda: equal_error_rate([1, 2], [True]),
            r"scores and targets: expected \(P,\) each, found \(2,\) and \(1,\)",
        ),
        (
            lambda: equal_error_rate([1, np.nan], [True, False]),
            "scores: expected finite numbers, found 1 that are not",
        ),
        (
            lambda: equal_error_rate([1, 2], [True, True]),
            "targets: expected both kinds of trial, found 2 targets among 2",
        ),
        (
            lambda: equal_error_rate([], []),
            "targets: expected both kinds of trial, found 0 targets among 0",
        ),
        (
            lambda: speaker_trials(VECTORS, [0, 1]),
            r"vectors and speakers: .* found \(6, 3\) and \(2,\)",
        ),
        (
            lambda: speaker_trials(np.where(np.arange(6)[:, None] == 2, np.nan, VECTORS), range(6)),
            r"found \[2, 0\] \(row, unit\) is not",
        ),
        (
            lambda: speaker_trials(np.where(np.arange(6)[:, None] == 4, 0, VECTORS), range(6)),
            "found only zeros in row 4",
        ),
        (
            lambda: verify_speakers(VECTORS, VECTORS, [0, 0, 1, 1, 2, 3]),
            "expected three or more with two utterances or more, found 2",
        ),
        (
            lambda: verify_speakers(VECTORS, VECTORS[:5], [0, 0, 1, 1, 2, 2]),
            r"found \(5, 3\) and \(6,\)",
        ),
        (
            lambda: verify_speakers(VECTORS, VECTORS, [0, 0, 1, 1, 2, 2], confidence=95),
            "confidence: expected a number between 0 and 1",
        ),
    ),
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
