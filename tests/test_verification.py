"""Speaker verification: error rates with known answers, and resampled speakers pair by pair."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm
from unbraid.measures.verification import (
    detection_curve,
    equal_error_rate,
    speaker_trials,
)


def voices(generator, speakers, utterances, spread):
    """Vectors (N, 8) of unit noise about each speaker's own place, and who said each (N,)."""
    who = np.repeat(np.arange(speakers), utterances)
    places = spread * generator.normal(size=(speakers, 8))
    return places[who] + generator.normal(size=(len(who), 8)), who


@pytest.mark.parametrize("distance", (0, 1, 2, 4))
def test_two_gaussians_give_the_known_rate(distance):
    """Phi(-d'/2), at the quantiles of 10 000 + 10 000 pairs right to the spacing of the points."""
    quantiles = norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    scores = np.append(quantiles + distance, quantiles)
    rate = equal_error_rate(scores, np.arange(20_000) < 10_000)
    assert rate == pytest.approx(norm.cdf(-distance / 2), abs=2e-4)


CASES = {  # scores of targets, of non-targets, rate
    "by hand": ([9, 6, 4], [7, 5, 3, 2], 1 / 3),  # misses 1/3 while false alarms go from 1/2 to 1/4
    "tie": ([2, 1], [1, 0], 1 / 4),  # both ones together: from (1/2, 0) straight to (0, 1/2)
    "tie of three": ([3, 1, 1], [1, 0], 2 / 7),  # the line from (1/2, 0) to (0, 2/3)
    "all the same": ([1, 1], [1, 1, 1], 1 / 2),
    "apart": ([3, 4], [1, 2], 0),
    "inverted": ([1, 2], [3, 4], 1),
    "one of each": ([1], [0], 0),
}


@pytest.mark.parametrize("case", CASES)
def test_small_cases_by_hand(case):
    targets, others, rate = CASES[case]
    scores = np.array(targets + others, dtype=float)
    kinds = np.arange(len(scores)) < len(targets)
    assert equal_error_rate(scores, kinds) == pytest.approx(rate, abs=1e-12)
    assert equal_error_rate(-scores, kinds) == pytest.approx(1 - rate, abs=1e-12)
    assert equal_error_rate(np.exp(scores), kinds) == pytest.approx(rate, abs=1e-12)


def test_the_curve_counts_misses_and_false_alarms():
    curve = detection_curve([9, 6, 4, 7, 5, 3, 2], [1, 1, 1, 0, 0, 0, 0])
    false_alarm, miss = zip(*sorted(zip(curve.false_alarm, curve.miss, strict=True)), strict=True)
    assert false_alarm == pytest.approx((0, 0, 0.25, 0.25, 0.5, 0.5, 0.75, 1))
    assert sorted(miss, reverse=True) == pytest.approx((1, 2 / 3, 2 / 3, 1 / 3, 1 / 3, 0, 0, 0))


def test_trials_are_the_cosines_of_all_pairs():
    generator = np.random.default_rng(0)
    vectors, speakers = generator.normal(size=(7, 3)), np.array(list("abacbba"))
    scores, targets = speaker_trials(vectors, speakers)
    for (i, j), score, target in zip(combinations(range(7), 2), scores, targets, strict=True):
        lengths = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
        assert score == pytest.approx(vectors[i] @ vectors[j] / lengths)
        assert target == (speakers[i] == speakers[j])
    np.testing.assert_array_equal(scores, speaker_trials(vectors * 3.0, speakers)[0])


def test_rounding_does_not_rank_equal_directions():
    generator = np.random.default_rng(0)
    same = np.tile(generator.normal(size=50), (40, 1)) * generator.uniform(1, 9, (40, 1))
    assert equal_error_rate(*speaker_trials(same, np.arange(40) % 4)) == 0.5


def spelt_out(vectors, speakers, copies):
    """EER of a resample in which speaker s has copies[s] copies, pair by pair."""
    utterances = []
    for speaker, times in enumerate(copies):
        for copy in range(times):
            utterances += [(speaker, copy, row) for row in np.flatnonzero(speakers == speaker)]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores, targets = [], []
    for (first, copy, i), (second, other_copy, j) in combinations(utterances, 2):
        if first != second or copy == other_copy:  # two copies of one speaker are no trial
            scores.append(round(float(unit[i] @ unit[j]), 12))
            targets.append(first == second)
    return equal_error_rate(scores, targets)


def test_a_speaker_drawn_twice_counts_as_two_people():
    """The rate of a draw is that of trials weighted by copies, as in notebook 38."""
    generator = np.random.default_rng(1)
    for _ in range(20):
        vectors, speakers = voices(generator, 5, 3, 1.0)
        vectors = np.round(vectors) + 0.25  # with ties
        copies = generator.multinomial(4, np.full(5, 0.2)) + np.array([1, 1, 0, 0, 0])
        scores, targets = speaker_trials(vectors, speakers)
        first, second = speakers[np.stack(np.triu_indices(15, 1))]
        weights = copies[first] * np.where(targets, 1, copies[second])
        rate = detection_curve(scores, targets, weights).equal_error_rate
        assert rate == pytest.approx(spelt_out(vectors, speakers, copies), abs=1e-9)


VECTORS = np.random.default_rng(0).normal(size=(6, 3))
ROWS = np.arange(6)[:, None]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: equal_error_rate([1, 2], [True]), "targets"),
        (lambda: equal_error_rate([1, np.nan], [True, False]), "scores"),
        (lambda: equal_error_rate([1, 2], [True, True]), "targets"),
        (lambda: equal_error_rate([], []), "targets"),
        (lambda: detection_curve([1, 2], [True, False], [1, -1]), "weights"),
        (lambda: detection_curve([1, 2], [True, False], [1, 0]), "weights"),
        (lambda: detection_curve([1, 2], [True, False], [1]), "weights"),
        (lambda: speaker_trials(VECTORS, [0, 1]), "speakers"),
        (lambda: speaker_trials(VECTORS[0], [0, 1, 2]), "vectors"),
        (lambda: speaker_trials(np.where(ROWS == 2, np.nan, VECTORS), range(6)), "vectors"),
        (lambda: speaker_trials(np.where(ROWS == 4, 0, VECTORS), range(6)), "vectors"),
    ],
)
def test_what_cannot_be_is_refused(call, name):
    with pytest.raises(ValueError, match=name):
        call()
