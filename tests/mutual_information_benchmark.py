"""How far is Kraskov's estimator from the truth? Pairs of variables of known mutual information.

    python -m tests.mutual_information_benchmark

The tasks follow the benchmark of Czyż, Grabowski, Vogt, Beerenwinkel and Marx, "Beyond Normal: On
the Evaluation of Mutual Information Estimators" (NeurIPS 2023, arXiv:2306.11078), whose package
benchmark-mi (https://github.com/cbg-ethz/bmi at 6c569b9) needs other versions than ours. We add
the ring O, noise of width 0.01, Student's distribution with correlation, ten units, and codes in
which all pairs or a single pair of units are correlated. The estimator is
`unbraid.measures.information.kraskov` with k = 3 on raw scales, as in the course; the benchmark
standardises each unit first.

Writes results/trials/mutual_information_benchmark.json; some four minutes of one core.
"""

from __future__ import annotations

import platform
import time
import zlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import scipy
from scipy.special import digamma, gammaln, i0e
from scipy.stats import norm
from unbraid.measures.information import kraskov

from papers import report

K = 3  # neighbours
REPETITIONS = {200: 20, 1000: 10, 5000: 3}  # fresh draws of so many pairs
SEED = 0


class Task(NamedTuple):
    """A pair of variables: draw(count, random) gives x (N, d) and y (N, e)."""

    truth: float  # bits
    draw: Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]


# ---- truths, in bits


def normal_information(covariance, units: int) -> float:
    """Between the first `units` and the other units of a normal vector with this covariance."""
    blocks = covariance[:units, :units], covariance[units:, units:], covariance
    first, second, joint = (np.linalg.slogdet(block)[1] for block in blocks)
    return (first + second - joint) / (2 * np.log(2))


def student_entropy(freedom: float, units: int) -> float:
    """Of Student's distribution with the identity as dispersion, in nats.

    Arellano-Valle, Contreras-Reyes and Genton, Scand. J. Statist. 40, 42 (2013), equation (7).
    """
    half = (freedom + units) / 2
    density = gammaln(freedom / 2) - gammaln(half) + units / 2 * np.log(freedom * np.pi)
    return density + half * (digamma(half) - digamma(freedom / 2))


def student_information(dispersion, units: int, freedom: float) -> float:
    """As `normal_information`, and a term that the shared scale adds even without correlation."""
    entropies = [student_entropy(freedom, u) for u in (units, len(dispersion) - units)]
    shared = sum(entropies) - student_entropy(freedom, len(dispersion))
    return normal_information(dispersion, units) + shared / np.log(2)


def uniform_noise_information(width: float) -> float:
    """Of x, uniform in [0, 1], and x + n with n uniform in [-width, width]."""
    nats = 1 / (4 * width) if width > 0.5 else width - np.log(2 * width)
    return nats / np.log(2)


def integrate_information(density, reach: float, points: int = 1201) -> float:
    """Of one unit each with the joint density(x, y), by a sum over the square [-reach, reach]²."""
    line = np.linspace(-reach, reach, points)
    joint = density(line[:, None], line[None])
    joint = joint / joint.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0)
    held = joint > 0
    return float(np.sum(joint[held] * np.log2(joint[held] / independent[held])))


# ---- draws


def dense(units: int) -> np.ndarray:
    """Covariance (2 d, 2 d) in which every two units have a correlation of one half."""
    return np.full((2 * units, 2 * units), 0.5) + 0.5 * np.eye(2 * units)


def paired(*correlations: float) -> np.ndarray:
    """Covariance (2 d, 2 d) in which unit i of x and unit i of y alone are correlated."""
    units = len(correlations)
    return np.block(
        [[np.eye(units), np.diag(correlations)], [np.diag(correlations), np.eye(units)]]
    )


def draw_normal(covariance, count, random):
    """x and y (N, d), jointly normal."""
    values = random.standard_normal((count, len(covariance))) @ np.linalg.cholesky(covariance).T
    return np.split(values, 2, axis=1)


def draw_student(dispersion, freedom, count, random):
    """x and y (N, d) of Student's distribution: normal vectors, each divided by one scale."""
    scale = np.sqrt(random.chisquare(freedom, (count, 1)) / freedom)
    x, y = draw_normal(dispersion, count, random)
    return x / scale, y / scale


def draw_uniform_noise(width, count, random):
    """x uniform in [0, 1], and x with uniform noise; (N, 1) each."""
    x = random.random((count, 1))
    return x, x + random.uniform(-width, width, (count, 1))


def draw_cross(correlation, count, random):
    """Normal pairs of which every second has the opposite correlation: the letter X."""
    x, y = draw_normal(paired(correlation), count, random)
    return x, y * random.choice((-1, 1), (count, 1))


def cross_density(correlation, x, y):
    """Of `draw_cross`, up to a factor."""
    spread = 2 * (1 - correlation**2)
    squares, product = x**2 + y**2, 2 * correlation * x * y
    return np.exp((product - squares) / spread) + np.exp((-product - squares) / spread)


def draw_ring(noise, count, random):
    """A circle of radius 1 with normal noise: the letter O."""
    angle = random.uniform(0, 2 * np.pi, (count, 1))
    x, y = noise * random.standard_normal((2, count, 1))
    return np.cos(angle) + x, np.sin(angle) + y


def ring_density(noise, x, y):
    """Of `draw_ring`, up to a factor."""
    radius = np.hypot(x, y)
    return np.exp(-((radius - 1) ** 2) / (2 * noise**2)) * i0e(radius / noise**2)


def draw_galaxy(distance, speed, count, random):
    """Two balls in three dimensions, wound up in the first two, which are x; y is the third."""
    sign = random.choice((-1, 1), (count, 1))
    balls = distance / 2 * sign + random.standard_normal((count, 3))
    return wind(balls[:, :2], speed, 0), balls[:, 2:]


def galaxy_density(distance, x, y):
    """Of y and of the coordinate of x along which the two balls are apart, up to a factor."""
    along = distance / np.sqrt(2)
    first = np.exp(-((x - along) ** 2 + (y - distance / 2) ** 2) / 2)
    return first + np.exp(-((x + along) ** 2 + (y + distance / 2) ** 2) / 2)


# ---- invertible maps of x or of y, which change no information


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


def draw_mapped(draw, change_x, change_y, count, random):
    """What `draw` gives, with x and y changed."""
    x, y = draw(count, random)
    return change_x(x), change_y(y)


def change(task: Task, change_x, change_y=None) -> Task:
    """The same information in other coordinates; without change_y both change alike."""
    return Task(task.truth, partial(draw_mapped, task.draw, change_x, change_y or change_x))


def normal(covariance) -> Task:
    """Half of the units of a normal vector, and the other half."""
    truth = normal_information(covariance, len(covariance) // 2)
    return Task(truth, partial(draw_normal, covariance))


def student(dispersion, freedom) -> Task:
    """Half of the units of a vector with Student's distribution, and the other half."""
    truth = student_information(dispersion, len(dispersion) // 2, freedom)
    return Task(truth, partial(draw_student, dispersion, freedom))


def uniform_noise(width) -> Task:
    """A uniform number, and the same with uniform noise."""
    return Task(uniform_noise_information(width), partial(draw_uniform_noise, width))


def spiral(task: Task, units: int) -> Task:
    """Both variables wound up, as fast as in the benchmark."""
    turn_x = partial(wind, speed=1 / units, first=0)
    turn_y = partial(wind, speed=1 / units, first=1)
    return change(task, turn_x, turn_y)


def two_pairs(units: int) -> np.ndarray:
    """Two correlated pairs of units, as strong as in the benchmark; the other units are noise."""
    return paired(0.8, 0.8, *[0] * (units - 2))


def list_tasks() -> dict[str, Task]:
    """All tasks by name, which says the units of x and of y."""
    base = normal(paired(0.75))
    uniform = change(base, norm.cdf)
    cross = integrate_information(partial(cross_density, 0.9), 8)
    ring = integrate_information(partial(ring_density, 0.1), 2)
    galaxy = integrate_information(partial(galaxy_density, 3.0), 10)
    tasks = {
        "normal 1 x 1": base,
        "uniform 1 x 1": uniform,
        "half-cube 1 x 1": change(base, half_cube),
        "Student 1 x 1, dof 1": student(np.eye(2), 1),
        "asinh of Student 1 x 1, dof 1": change(student(np.eye(2), 1), np.arcsinh),
        "Swiss roll 2 x 1": change(uniform, roll, np.asarray),
        "X 1 x 1": Task(cross, partial(draw_cross, 0.9)),
        "O 1 x 1": Task(ring, partial(draw_ring, 0.1)),
        "galaxy 2 x 1": Task(galaxy, partial(draw_galaxy, 3.0, 0.5)),
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
    tasks[f"asinh of {tails}"] = change(tasks[tails], np.arcsinh)
    tasks["uniform, 2 pairs 5 x 5"] = change(normal(two_pairs(5)), norm.cdf)
    tasks["half-cube, 2 pairs 5 x 5"] = change(normal(two_pairs(5)), half_cube)
    for units in (3, 5):
        tasks[f"spiral, 2 pairs {units} x {units}"] = spiral(normal(two_pairs(units)), units)
    one_pair = normal(paired(0.9, *[0] * 15))
    tasks["normal, 1 pair 16 x 16"] = one_pair
    narrow = partial(np.multiply, [1.0] + 15 * [0.4])
    tasks["normal, 1 pair 16 x 16, noise 0.4 as wide"] = change(one_pair, narrow)
    return tasks


def estimate(name: str, task: Task, count: int, repetitions: int) -> np.ndarray:
    """Kraskov's estimates in bits, of fresh draws of `count` pairs; (repetitions,)."""
    bits = []
    for repetition in range(repetitions):
        # The name and not its place decides the draws, so that a new task changes no other.
        random = np.random.default_rng([SEED, zlib.crc32(name.encode()), count, repetition])
        bits.append(kraskov(*task.draw(count, random), K).estimate)
    return np.array(bits)


def measure(name: str, task: Task) -> dict:
    """The record of a task: its units, the truth, and mean and standard deviation by N."""
    x, y = task.draw(2, np.random.default_rng(SEED))
    record = {"units": [x.shape[1], y.shape[1]], "truth": task.truth}
    for count, repetitions in REPETITIONS.items():
        bits = estimate(name, task, count, repetitions)
        spread = bits.std(ddof=1)
        record[str(count)] = {"mean": bits.mean(), "standard_deviation": spread}
    return record


def main() -> None:
    """Measure all tasks, print them, and write the record."""
    print(f"{'bits':40} truth " + "".join(f"{f'N = {count}':>16}" for count in REPETITIONS))
    figures, start = {}, time.perf_counter()
    for name, task in list_tasks().items():
        found = figures[name] = measure(name, task)
        cells = [found[str(count)] for count in REPETITIONS]
        line = "".join(f"{c['mean']:8.2f} ± {c['standard_deviation']:5.3f}" for c in cells)
        print(f"{name:40} {task.truth:5.2f} {line}", flush=True)
    settings = {
        "estimator": "unbraid.measures.information.kraskov",
        "k": K,
        "repetitions": {str(count): number for count, number in REPETITIONS.items()},
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "seconds": round(time.perf_counter() - start, 1),
    }
    command = "python -m tests.mutual_information_benchmark"
    print(report.write_trial("mutual_information_benchmark", command, settings, [SEED], figures))


if __name__ == "__main__":
    main()
