"""Kraskov's estimator against pairs whose mutual information is known: where it holds, and fails.

The tasks follow the benchmark of Czyż, Grabowski, Vogt, Beerenwinkel and Marx, "Beyond Normal: On
the Evaluation of Mutual Information Estimators" (NeurIPS 2023, arXiv:2306.11078), whose package
benchmark-mi (https://github.com/cbg-ethz/bmi at 6c569b9) needs other versions than ours. We add
noise of width 0.01, and codes in which all pairs or a single pair of units are correlated. Scales
are raw, as in paper A; the benchmark standardises each unit first.
"""

import zlib
from functools import partial

import numpy as np
import pytest
from scipy.special import digamma
from scipy.stats import norm
from unbraid.measures.information import kraskov

# A task is its truth in bits, and draw(count, random), which gives x (N, d) and y (N, e).


def dense(units):
    """Covariance (2 d, 2 d) in which every two units have a correlation of one half."""
    return np.full((2 * units, 2 * units), 0.5) + 0.5 * np.eye(2 * units)


def paired(*correlations):
    """Covariance (2 d, 2 d) in which unit i of x and unit i of y alone are correlated."""
    same, other = np.eye(len(correlations)), np.diag(correlations)
    return np.block([[same, other], [other, same]])


def draw_normal(covariance, count, random):
    """x and y (N, d), jointly normal."""
    values = random.standard_normal((count, len(covariance))) @ np.linalg.cholesky(covariance).T
    return np.split(values, 2, axis=1)


def normal(covariance):
    """Half of the units of a normal vector, and the other half."""
    units = len(covariance) // 2
    blocks = covariance[:units, :units], covariance[units:, units:], covariance
    first, second, joint = (np.linalg.slogdet(block)[1] for block in blocks)
    return (first + second - joint) / (2 * np.log(2)), partial(draw_normal, covariance)


def uniform_noise(width):
    """x uniform in [0, 1], and x with noise that is uniform in [-width, width]."""

    def draw(count, random):
        x = random.random((count, 1))
        return x, x + random.uniform(-width, width, (count, 1))

    nats = 1 / (4 * width) if width > 0.5 else width - np.log(2 * width)
    return nats / np.log(2), draw


def change(task, change_both):
    """The same information in other coordinates."""
    truth, draw = task
    return truth, lambda count, random: map(change_both, draw(count, random))


BASE, ONE_PAIR = normal(paired(0.75)), normal(paired(0.9, *[0] * 15))
NARROW = partial(np.multiply, [1.0] + 15 * [0.4])
TASKS = {  # estimate - truth in bits at N = 1000: the least and the greatest that we accept
    "normal 1 x 1": (BASE, -0.08, 0.08),
    "uniform 1 x 1": (change(BASE, norm.cdf), -0.08, 0.08),
    "uniform noise of 0.75 1 x 1": (uniform_noise(0.75), -0.08, 0.08),
    "normal, dense 2 x 2": (normal(dense(2)), -0.08, 0.08),
    "normal, dense 5 x 5": (normal(dense(5)), -0.14, 0.02),
    # Here the estimator is known to fail, by at least as much as the second number says.
    "uniform noise of 0.01 1 x 1": (uniform_noise(0.01), -0.33, -0.2),
    "normal, all pairs 10 x 10": (normal(paired(*[0.9] * 10)), -8.1, -7.8),
    "normal, 1 pair 16 x 16": (ONE_PAIR, -1.1, -0.9),
    "normal, 1 pair 16 x 16, noise 0.4 as wide": (change(ONE_PAIR, NARROW), -0.5, -0.3),
}


@pytest.mark.parametrize("name", TASKS)
def test_the_estimate_is_as_far_from_the_truth_as_we_say(name):
    (truth, draw), lowest, highest = TASKS[name]
    bits = []
    for repetition in range(3):
        # The name and not its place decides the draws, so that a new task changes no other.
        random = np.random.default_rng([0, zlib.crc32(name.encode()), 1000, repetition])
        bits.append(kraskov(*draw(1000, random), 3, raw=True).estimate)
    assert lowest <= np.mean(bits) - truth <= highest


@pytest.mark.parametrize("count, k", [(100, 1), (1000, 3)])
def test_a_copy_gives_the_ceiling(count, k):
    """One of the two strips holds k other points and not only k - 1 where no distances are equal.

    Without noise all distances of a copy are equal, and the value is 1 / k nats higher.
    """
    x = np.random.default_rng(0).standard_normal((count, 2))
    ceiling = digamma(count) - digamma(k) - 1 / k
    assert kraskov(x, x, k).estimate == pytest.approx(ceiling / np.log(2), abs=1e-9)
    tied = kraskov(x, x, k, jitter=0).estimate
    assert tied == pytest.approx((ceiling + 1 / k) / np.log(2), abs=1e-9)
