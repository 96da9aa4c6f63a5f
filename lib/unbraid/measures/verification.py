"""Speaker verification: do two codes belong to the same voice? Equal error rates (paper C, TIMIT).

Every pair of utterances is a trial, scored by the cosine of their vectors; a target is a pair of
one speaker. At a threshold, the false-alarm rate is the share of non-targets that score at or
above it, and the miss rate the share of targets below it. The equal error rate (EER) is where the
two meet. Static codes should know the speaker (low), dynamic codes should not (.5, chance).

Pairs share utterances and utterances share speakers, so that an interval must draw speakers and
weigh the trials by how often theirs were drawn, as in notebook 38.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import roc_curve

from unbraid.checks import finite_array
from unbraid.readable import Readable

DECIMALS = 12  # equal vectors must tie, in whatever order the products in their cosine are summed


@dataclass(frozen=True, eq=False, repr=False)
class DetectionCurve(Readable):
    """The detection error trade-off: false_alarm and miss (M,), from accepting none to all."""

    false_alarm: np.ndarray
    miss: np.ndarray

    @property
    def equal_error_rate(self) -> float:
        """Where the line between the points on either side of false_alarm = miss meets it."""
        gap = self.false_alarm - self.miss  # rises from -1 to 1
        after = int(np.argmax(gap >= 0))
        share = gap[after] / (gap[after] - gap[after - 1])
        return float((1 - share) * self.miss[after] + share * self.miss[after - 1])


def detection_curve(
    scores: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None
) -> DetectionCurve:
    """False-alarm and miss rate at every threshold.

    scores: (P,). targets: (P,) booleans, at least one of each kind. weights: (P,) how often each
    trial counts, 0 or more. Raises ValueError for other shapes, NaN, a kind without any weight.
    """
    scores, targets = finite_array("scores", scores), np.asarray(targets, dtype=bool)
    if scores.shape != targets.shape or scores.ndim != 1:
        raise ValueError(f"targets: expected {scores.shape} as scores, found {targets.shape}")
    if targets.all() or not targets.any():
        raise ValueError(f"targets: expected both kinds of trial, found only {targets[:1]}")
    if weights is not None:
        weights = check_weights(weights, targets)
    false_alarm, hit, _ = roc_curve(targets, scores, sample_weight=weights, drop_intermediate=False)
    return DetectionCurve(false_alarm, 1 - hit)


def check_weights(weights: ArrayLike, targets: np.ndarray) -> np.ndarray:
    """The weights as an array; refuses others than (P,), 0 or more, above 0 in each kind."""
    weights = finite_array("weights", weights)
    if weights.shape != targets.shape:
        raise ValueError(f"weights: expected {targets.shape}, found {weights.shape}")
    if weights.min() < 0:
        raise ValueError(f"weights: expected 0 or more, found {weights.min()}")
    if not weights[targets].any() or not weights[~targets].any():
        raise ValueError("weights: expected both kinds of trial above 0, found one of them at 0")
    return weights


def equal_error_rate(scores: ArrayLike, targets: ArrayLike) -> float:
    """The rate, 0 to 1, where false alarms and misses are equal; raises as `detection_curve`."""
    return detection_curve(scores, targets).equal_error_rate


def speaker_trials(vectors: ArrayLike, speakers: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Cosine scores of all P = N (N - 1) / 2 pairs of utterances; returns scores and targets (P,).

    vectors: (N, D), one for each utterance; speakers: (N,). Pairs are in the order of
    `np.triu_indices(N, 1)`. Raises ValueError for other shapes, NaN, and a vector of zeros.
    """
    vectors, speakers = finite_array("vectors", vectors), np.asarray(speakers)
    if vectors.ndim != 2 or len(vectors) < 2:
        raise ValueError(f"vectors: expected (N, D) with N >= 2, found {vectors.shape}")
    if speakers.shape != vectors.shape[:1]:
        raise ValueError(f"speakers: expected ({len(vectors)},), found {speakers.shape}")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if (lengths == 0).any():
        raise ValueError(f"vectors: expected a direction, found zeros in row {lengths.argmin()}")
    unit = vectors / lengths
    first, second = np.triu_indices(len(vectors), 1)
    scores = np.round((unit @ unit.T)[first, second], DECIMALS)
    return scores, speakers[first] == speakers[second]
