"""How far is Kraskov's estimator from the truth? Pairs of variables of known mutual information.

The tasks follow the benchmark of Czyż, Grabowski, Vogt, Beerenwinkel and Marx, "Beyond Normal: On
the Evaluation of Mutual Information Estimators" (NeurIPS 2023, arXiv:2306.11078), whose package
benchmark-mi (https://github.com/cbg-ethz/bmi at 6c569b9) needs other versions than ours. We add
the ring O, noise of width 0.01, Student's distribution with correlation, ten units, and codes in
which all pairs or a single pair of units are correlated. The estimator is
`unbraid.measures.information.kraskov` with k = 3 on raw scales, as in paper A; the benchmark
standardises each unit first.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import digamma, gammaln, i0e
from scipy.stats import norm
from unbraid.measures.information import kraskov

K = 3  # neighbours
SEED = 0


class Task(NamedTuple):
    """A pair of variables: draw(count, random) gives x (N, d) and y (N, e)."""

    truth: float  # bits
    draw: Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def dense(units):
    """Covariance (2 d, 2 d) in which every two units have a correlation of one half."""
    return np.full((2 * units, 2 * units), 0.5) + 0.5 * np.eye(2 * units)


def paired(*correlations):
    """Covariance (2 d, 2 d) in which unit i of x and unit i of y alone are correlated."""
    same, other = np.eye(len(correlations)), np.diag(correlations)
    return np.block([[same, other], [other, same]])


def two_pairs(units):
    """Two correlated pairs of units, as strong as in the benchmark; the other units are noise."""
    return paired(0.8, 0.8, *[0] * (units - 2))


def draw_normal(covariance, count, random):
    """x and y (N, d), jointly normal."""
    values = random.standard_normal((count, len(covariance))) @ np.linalg.cholesky(covariance).T
    return np.split(values, 2, axis=1)


def normal(covariance):
    """Half of the units of a normal vector, and the other half."""
    units = len(covariance) // 2
    blocks = covariance[:units, :units], covariance[units:, units:], covariance
    first, second, joint = (np.linalg.slogdet(block)[1] for block in blocks)
    truth = (first + second - joint) / (2 * np.log(2))
    return Task(truth, partial(draw_normal, covariance))


def student_entropy(freedom, units):
    """Of Student's distribution with the identity as dispersion, in nats.

    Arellano-Valle, Contreras-Reyes and Genton, Scand. J. Statist. 40, 42 (2013), equation (7).
    """
    half = (freedom + units) / 2
    density = gammaln(freedom / 2) - gammaln(half) + units / 2 * np.log(freedom * np.pi)
    return density + half * (digamma(half) - digamma(freedom / 2))


def student(dispersion, freedom):
    """Half of a vector with Student's distribution: normal vectors, each divided by one scale.

    The scale that both halves share adds information even without correlation.
    """

    def draw(count, random):
        scale = np.sqrt(random.chisquare(freedom, (count, 1)) / freedom)
        x, y = draw_normal(dispersion, count, random)
        return x / scale, y / scale

    units = len(dispersion) // 2
    shared = 2 * student_entropy(freedom, units) - student_entropy(freedom, 2 * units)
    return Task(normal(dispersion).truth + shared / np.log(2), draw)


def uniform_noise(width):
    """x uniform in [0, 1], and x with noise that is uniform in [-width, width]."""

    def draw(count, random):
        x = random.random((count, 1))
        return x, x + random.uniform(-width, width, (count, 1))

    nats = 1 / (4 * width) if width > 0.5 else width - np.log(2 * width)
    return Task(nats / np.log(2), draw)


def integrate(density, reach, points=1201):
    """Bits of one unit each with the joint density(x, y), by a sum over [-reach, reach]²."""
    line = np.linspace(-reach, reach, points)
    joint = density(line[:, None], line[None])
    joint = joint / joint.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0)
    held = joint > 0
    return float(np.sum(joint[held] * np.log2(joint[held] / independent[held])))


def cross(correlation):
    """Normal pairs of which every second has the opposite correlation: the letter X."""

    def draw(count, random):
        x, y = draw_normal(paired(correlation), count, random)
        return x, y * random.choice((-1, 1), (count, 1))

    def density(x, y):
        spread = 2 * (1 - correlation**2)
        squares, product = x**2 + y**2, 2 * correlation * x * y
        return np.exp((product - squares) / spread) + np.exp((-product - squares) / spread)

    return Task(integrate(density, 8), draw)


def ring(noise):
    """A circle of radius 1 with normal noise: the letter O."""

    def draw(count, random):
        angle = random.uniform(0, 2 * np.pi, (count, 1))
        x, y = noise * random.standard_normal((2, count, 1))
        return np.cos(angle) + x, np.sin(angle) + y

    def density(x, y):
        radius = np.hypot(x, y)
        return np.exp(-((radius - 1) ** 2) / (2 * noise**2)) * i0e(radius / noise**2)

    return Task(integrate(density, 2), draw)


def galaxy(distance, speed):
    """Two balls in three dimensions, wound up in the first two, which are x; y is the third."""

    def draw(count, random):
        sign = random.choice((-1, 1), (count, 1))
        balls = distance / 2 * sign + random.standard_normal((count, 3))
        return wind(balls[:, :2], speed, 0), balls[:, 2:]

    def density(x, y):  # x: the coordinate along which the two balls are apart
        along = distance / np.sqrt(2)
        first = np.exp(-((x - along) ** 2 + (y - distance / 2) ** 2) / 2)
        return first + np.exp(-((x + along) ** 2 + (y + distance / 2) ** 2) / 2)

    return Task(integrate(density, 10), draw)


def wind(values, speed, first):
    """Turn units `first` and `first` + 1 by an angle of speed times the squared length; (N, d)."""
    angle = speed * np.square(values).sum(1)
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


def change(task, change_x, change_y=None):
    """The same information in other coordinates; without change_y both change alike."""

    def draw(count, random):
        x, y = task.draw(count, random)
        return change_x(x), (change_y or change_x)(y)

    return Task(task.truth, draw)


def spiral(units):
    """Two correlated pairs, both variables wound up, as fast as in the benchmark."""
    turn_x, turn_y = (partial(wind, speed=1 / units, first=first) for first in (0, 1))
    return change(normal(two_pairs(units)), turn_x, turn_y)


def list_tasks() -> dict[str, Task]:
    """All tasks by name, which says the units of x and of y."""
    base, pairs = normal(paired(0.75)), normal(two_pairs(5))
    uniform, one_pair = change(base, norm.cdf), normal(paired(0.9, *[0] * 15))
    tasks = {
        "normal 1 x 1": base,
        "uniform 1 x 1": uniform,
        "half-cube 1 x 1": change(base, half_cube),
        "Student 1 x 1, dof 1": student(np.eye(2), 1),
        "asinh of Student 1 x 1, dof 1": change(student(np.eye(2), 1), np.arcsinh),
        "Swiss roll 2 x 1": change(uniform, roll, np.asarray),
        "X 1 x 1": cross(0.9),
        "O 1 x 1": ring(0.1),
        "galaxy 2 x 1": galaxy(3.0, 0.5),
    }
    for width in (0.01, 0.1, 0.75):
        tasks[f"uniform noise of {width} 1 x 1"] = uniform_noise(width)
    for units in (2, 3, 5, 10, 25):
        tasks[f"normal, dense {units} x {units}"] = normal(dense(units))
        tasks[f"normal, 2 pairs {units} x {units}"] = normal(two_pairs(units))
    for units in (2, 5, 10):
        tasks[f"normal, all pairs {units} x {units}"] = normal(paired(*[0.9] * units))
    for units, freedom in ((2, 1), (2, 2), (3, 3), (5, 2), (5, 3)):
        name = f"Student, dense {units} x {units}, dof {freedom}"
        tasks[name] = student(dense(units), freedom)
    tails = "Student, dense 5 x 5, dof 2"
    narrow = partial(np.multiply, [1.0] + 15 * [0.4])
    return tasks | {
        f"asinh of {tails}": change(tasks[tails], np.arcsinh),
        "uniform, 2 pairs 5 x 5": change(pairs, norm.cdf),
        "half-cube, 2 pairs 5 x 5": change(pairs, half_cube),
        "spiral, 2 pairs 3 x 3": spiral(3),
        "spiral, 2 pairs 5 x 5": spiral(5),
        "normal, 1 pair 16 x 16": one_pair,
        "normal, 1 pair 16 x 16, noise 0.4 as wide": change(one_pair, narrow),
    }


def estimate(name: str, task: Task, count: int, repetitions: int) -> np.ndarray:
    """Kraskov's estimates in bits, of fresh draws of `count` pairs; (repetitions,)."""
    bits = []
    for repetition in range(repetitions):
        # The name and not its place decides the draws, so that a new task changes no other.
        random = np.random.default_rng([SEED, zlib.crc32(name.encode()), count, repetition])
        bits.append(kraskov(*task.draw(count, random), K, raw=True).estimate)
    return np.array(bits)
