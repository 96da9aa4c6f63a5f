"""Kraskov's estimator against pairs whose mutual information is known: where it holds, and fails.

The tasks follow the benchmark of Czyż, Grabowski, Vogt, Beerenwinkel and Marx, "Beyond Normal: On
the Evaluation of Mutual Information Estimators" (NeurIPS 2023, arXiv:2306.11078), whose package
benchmark-mi (https://github.com/cbg-ethz/bmi at 6c569b9) needs other versions than ours. We add
the ring O, noise of width 0.01, and codes in which all pairs or a single pair of units are
correlated. Scales are raw, as in paper A; the benchmark standardises each unit first.
"""

import zlib
from functools import partial

import numpy as np
import pytest
from scipy.special import digamma, i0e
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


def integrate(density, reach, points=1201):
    """Bits of one unit each with the joint density(x, y), by a sum over [-reach, reach]²."""
    line = np.linspace(-reach, reach, points)
    joint = density(line[:, None], line[None])
    joint = joint / joint.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0)
    some = joint > 0
    return float(np.sum(joint[some] * np.log2(joint[some] / independent[some])))


def cross(correlation):
    """Normal pairs of which every second has the opposite correlation: the letter X."""

    def draw(count, random):
        x, y = draw_normal(paired(correlation), count, random)
        return x, y * random.choice((-1, 1), (count, 1))

    def density(x, y):
        spread = 2 * (1 - correlation**2)
        squares, product = x**2 + y**2, 2 * correlation * x * y
        return np.exp((product - squares) / spread) + np.exp((-product - squares) / spread)

    return integrate(density, 8), draw


def ring(noise):
    """A circle of radius 1 with normal noise: the letter O."""

    def draw(count, random):
        angle = random.uniform(0, 2 * np.pi, (count, 1))
        x, y = noise * random.standard_normal((2, count, 1))
        return np.cos(angle) + x, np.sin(angle) + y

    def density(x, y):
        radius = np.hypot(x, y)
        return np.exp(-((radius - 1) ** 2) / (2 * noise**2)) * i0e(radius / noise**2)

    return integrate(density, 2), draw


def change(task, change_x, change_y=None):
    """The same information in other coordinates; without change_y both change alike."""
    truth, draw = task

    def draw_changed(count, random):
        x, y = draw(count, random)
        return change_x(x), (change_y or change_x)(y)

    return truth, draw_changed


def wind(values, first):
    """Turn units `first` and `first` + 1 by a fifth of the squared length; (N, 5)."""
    angle = np.square(values).sum(1) / 5
    one, two = values[:, first], values[:, first + 1]
    wound = values.copy()
    wound[:, first] = np.cos(angle) * one - np.sin(angle) * two
    wound[:, first + 1] = np.sin(angle) * one + np.cos(angle) * two
    return wound


def half_cube(values):
    """The power 3/2 with the sign kept, which gives long tails."""
    return values * np.sqrt(np.abs(values))


def roll(values):
    """A number in [0, 1] as a point of the Swiss roll, (N, 2)."""
    angle = 1.5 * np.pi * (1 + 2 * values)
    return np.hstack([angle * np.cos(angle), angle * np.sin(angle)]) / 21


BASE, ONE_PAIR = normal(paired(0.75)), normal(paired(0.9, *[0] * 15))
UNIFORM, TWO_PAIRS = change(BASE, norm.cdf), normal(paired(0.8, 0.8, 0, 0, 0))
NARROW = partial(np.multiply, [1.0] + 15 * [0.4])
TASKS = {  # estimate - truth in bits at N = 1000: the least and the greatest that we accept
    "normal 1 x 1": (BASE, -0.08, 0.08),
    "uniform 1 x 1": (UNIFORM, -0.08, 0.08),
    "half-cube 1 x 1": (change(BASE, half_cube), -0.08, 0.08),
    "Swiss roll 2 x 1": (change(UNIFORM, roll, np.asarray), -0.08, 0.08),
    "X 1 x 1": (cross(0.9), -0.08, 0.08),
    "O 1 x 1": (ring(0.1), -0.05, 0.11),
    "uniform noise of 0.75 1 x 1": (uniform_noise(0.75), -0.08, 0.08),
    "normal, dense 2 x 2": (normal(dense(2)), -0.08, 0.08),
    "normal, dense 5 x 5": (normal(dense(5)), -0.14, 0.02),
    # Here the estimator is known to fail, by at least as much as the second number says.
    "uniform noise of 0.01 1 x 1": (uniform_noise(0.01), -0.33, -0.2),
    "spiral, 2 pairs 5 x 5": (
        change(TWO_PAIRS, partial(wind, first=0), partial(wind, first=1)),
        *(-0.95, -0.7),
    ),
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
