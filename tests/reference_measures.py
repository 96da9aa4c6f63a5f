"""Measures as others compute them, and as plain loops, against which ours are timed."""

from __future__ import annotations

import numpy as np
from scipy.special import digamma
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import BallTree, KDTree
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits


def npeet_tree(points: np.ndarray) -> KDTree | BallTree:
    """The tree that NPEET (github.com/gregversteeg/NPEET) takes for points (N, d)."""
    kind = BallTree if points.shape[1] >= 20 else KDTree
    return kind(points, metric="chebyshev")


def npeet_distances(points: np.ndarray, k: int) -> np.ndarray:
    """The distance of each point to its k-th neighbour, (N,)."""
    return npeet_tree(points).query(points, k=k + 1)[0][:, k]


def npeet_noise(x: np.ndarray) -> np.ndarray:
    """Samples (N, d) with NPEET's noise against ties."""
    return x + 1e-10 * np.random.default_rng(0).random(x.shape)


def npeet_mi(x: np.ndarray, y: np.ndarray, k: int = 3) -> float:
    """NPEET's `mi` of (N, d) samples in bits: Kraskov's first estimator."""
    x, y = npeet_noise(x), npeet_noise(y)
    distances = npeet_distances(np.hstack([x, y]), k) - 1e-15
    total = digamma(k) + digamma(len(x))
    for points in (x, y):
        counts = npeet_tree(points).query_radius(points, distances, count_only=True)
        total -= np.mean(digamma(counts))
    return total / np.log(2)


def npeet_entropy(x: np.ndarray, k: int) -> float:
    """NPEET's `entropy` of (N, d) samples in bits, by Kozachenko and Leonenko."""
    x = npeet_noise(x)
    count, width = x.shape
    log_volume = width * (np.mean(np.log(npeet_distances(x, k))) + np.log(2))
    return (digamma(count) - digamma(k) + log_volume) / np.log(2)


def npeet_micd(x: np.ndarray, labels: np.ndarray, k: int = 3) -> float:
    """NPEET's `micd` of (N, d) samples and labels (N,) in bits.

    It is a difference of entropies and not Ross's estimator, for which NPEET has nothing.
    """
    total = npeet_entropy(x, k)
    for label in np.unique(labels):
        of_class = x[labels == label]
        total -= len(of_class) / len(x) * npeet_entropy(of_class, k)
    return abs(total)


def bootstrap_by_loop(values: np.ndarray, draws: int = 2000) -> np.ndarray:
    """The percentile limits of a mean, one draw of the rows after the other."""
    generator = np.random.default_rng(0)
    rows = len(values)
    means = [values[generator.integers(rows, size=rows)].mean() for _ in range(draws)]
    return np.quantile(means, [0.025, 0.975])


@threadpool_limits.wrap(limits=1)  # as ours: with two threads it takes nine times as long
def leakage_by_loop(codes: dict[str, np.ndarray], factors: dict[str, np.ndarray]) -> np.ndarray:
    """The accuracy of a linear probe for each code (N, D) and factor (N,), and nothing else."""
    accuracy = np.empty((len(codes), len(factors)))
    for i, code in enumerate(codes.values()):
        held_out = np.arange(len(code)) < 0.3 * len(code)
        code = StandardScaler().fit(code[~held_out]).transform(code)
        for j, factor in enumerate(factors.values()):
            probe = LogisticRegression(C=1 / code.shape[1], max_iter=1000)
            probe.fit(code[~held_out], factor[~held_out])
            accuracy[i, j] = probe.score(code[held_out], factor[held_out])
    return accuracy
