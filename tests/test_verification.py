"""Speaker verification: error rates with known answers."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm

from papers.c.speech import equal_error_rate, speaker_trials


@pytest.mark.parametrize("distance", (0, 2, 4))
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
}


@pytest.mark.parametrize("case", CASES)
def test_small_cases_by_hand(case):
    targets, others, rate = CASES[case]
    scores = np.array(targets + others, dtype=float)
    kinds = np.arange(len(scores)) < len(targets)
    assert equal_error_rate(scores, kinds) == pytest.approx(rate, abs=1e-12)
    assert equal_error_rate(-scores, kinds) == pytest.approx(1 - rate, abs=1e-12)


def test_trials_are_the_cosines_of_all_pairs():
    vectors, speakers = np.random.default_rng(0).normal(size=(7, 3)), np.array(list("abacbba"))
    scores, targets = speaker_trials(vectors, speakers)
    for (i, j), score, target in zip(combinations(range(7), 2), scores, targets, strict=True):
        lengths = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
        assert score == pytest.approx(vectors[i] @ vectors[j] / lengths)
        assert target == (speakers[i] == speakers[j])


def test_rounding_does_not_rank_equal_directions():
    generator = np.random.default_rng(0)
    same = np.tile(generator.normal(size=50), (40, 1)) * generator.uniform(1, 9, (40, 1))
    assert equal_error_rate(*speaker_trials(same, np.arange(40) % 4)) == 0.5
