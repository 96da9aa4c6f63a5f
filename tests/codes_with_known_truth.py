"""Intervals of what is measured on codes, beside the truth, on codes whose truth is known: information, leakage, factor scores.

Every function but the helpers draws data by a numpy generator and returns [(interval or (low, high), truth), ...], for
bench_coverage.py.
"""

from functools import lru_cache

import numpy as np
from unbraid.measures.discrete_information import (
    conditional,
    mixture_distance,
    mixture_information,
    ross,
)
from unbraid.measures.factor_metrics import SCORES, factor_metrics
from unbraid.measures.leakage import leakage_matrix
from unbraid.measures.mutual_information import kraskov

TRAIN = 120  # sequences to train a probe on


def gaussians(g, count, width, bits):
    rho = np.sqrt(1 - 2 ** (-2 * bits / width))
    x, noise = g.normal(size=(2, count, width))
    return [
        (
            kraskov(
                x, rho * x + np.sqrt(1 - rho**2) * noise, interval=3, seed=int(g.integers(2**31))
            ).interval,
            bits,
        )
    ]


def mixture(g, count, classes, distance, width):
    labels, x = g.integers(classes, size=count), g.normal(size=(count, width))
    x[:, 0] += distance * labels
    return [
        (
            ross(x, labels, interval=3, seed=int(g.integers(2**31))).interval,
            mixture_information(distance, classes),
        )
    ]


def given_third(g, count, bits):
    z, a, noise = g.normal(size=(3, count))
    rho = np.sqrt(1 - 2 ** (-2 * bits))
    y = 0.8 * z + 0.6 * (rho * a + np.sqrt(1 - rho**2) * noise)
    return [
        (
            conditional(0.8 * z + 0.6 * a, y, z, interval=3, seed=int(g.integers(2**31))).interval,
            bits,
        )
    ]


def given_label(g, count, bits):
    """Two classes beyond a third quantity, a label itself, that shifts both."""
    z, y = g.integers(2, size=(2, count))
    x = 3 * z + mixture_distance(bits, 2) * y + g.normal(size=count)
    return [(conditional(x, y, z, interval=3, seed=int(g.integers(2**31))).interval, bits)]


def sequences(g, count, kind, signal):
    y = {
        "classes": g.integers(4, size=count),
        "continuous": g.normal(size=count),
        "heavy tails": g.standard_t(6, size=count),
    }[kind]
    return signal * (np.eye(4)[y] if kind == "classes" else y[:, None]) + g.normal(
        size=(count, 4)
    ), y


def probed(g, kind, signal, count, bootstrap=100):
    """The leakage matrix of a probe trained on always the same sequences, over fresh ones."""
    (a, b), (x, y) = (
        sequences(np.random.default_rng(1), TRAIN, kind, signal),
        sequences(g, count, kind, signal),
    )
    settings = {"test": np.arange(TRAIN, TRAIN + count), "permutations": 1, "bootstrap": bootstrap}
    return leakage_matrix({"x": np.vstack([a, x])}, {"y": np.append(b, y)}, **settings)


@lru_cache
def true_skill(kind, signal):
    return probed(np.random.default_rng(2), kind, signal, 40_000, 20).value[0, 0]


def skill(g, kind, signal, count):
    return [(probed(g, kind, signal, count).test_interval[0, 0], true_skill(kind, signal))]


def two_factors(g, count, noise):
    """Codes (N, 2) that mix two factors of two classes, and the factors."""
    factors = g.integers(2, size=(count, 2))
    return factors @ np.array([[1, 0.3], [0.1, 1]]) + noise * g.normal(size=(count, 2)), {
        "a": factors[:, 0],
        "b": factors[:, 1],
    }


def factor_scores(g, count, noise):
    """The seven scores beside what is expected of them at this size, which is what their intervals are about."""
    found = factor_metrics(
        *two_factors(g, count, noise), trees=2, seed=int(g.integers(2**31))
    ).scores
    return list(zip(found.values(), expected_scores(count, noise)))


@lru_cache
def expected_scores(count, noise, repeats=200):
    g = np.random.default_rng(4)
    found = [
        factor_metrics(*two_factors(g, count, noise), trees=2, seed=seed).scores
        for seed in range(repeats)
    ]
    return [np.nanmean([scores[name].mean for scores in found]) for name in SCORES]
