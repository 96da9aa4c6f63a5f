"""Swapped and generated clips: who lends a code to whom, and what a judge's answers come to.

A swap decodes one code of a clip with the others of another clip, the donor.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr, rel_entr

from unbraid.checks import LARGEST_BATCH, check_field, check_whole, finite_array, refuse


class Entropies(NamedTuple):
    """H(y|x) and H(y) in nats, and the inception score, from 1 to the number of classes."""

    conditional: float
    marginal: float
    inception_score: float


def entropies(probabilities: ArrayLike) -> Entropies:
    """H(y|x), H(y) and the inception score of p(y|x) (n, classes), rows summing to one.

    The score is exp of the mean divergence of p(y|x) from the mean p(y) (Salimans et al. 2016,
    arXiv 1606.03498), and equals exp(H(y) - H(y|x)). Raises ValueError for other rows.
    """
    p = finite_array("probabilities", probabilities)
    are_rows = p.ndim == 2 and len(p) > 0 and p.shape[1] >= 2
    check_field(are_rows, "probabilities", "(n, classes), n >= 1", p.shape)
    if (p < 0).any() or not np.allclose(p.sum(1), 1, rtol=0, atol=1e-4):
        others = f"sums from {p.sum(1).min():g}, values from {p.min():g}"
        refuse("probabilities", "none below 0, sums of 1", others)
    mean = p.mean(0)
    score = float(np.exp(rel_entr(p, mean).sum(1).mean()))
    return Entropies(float(entr(p).sum(1).mean()), float(entr(mean).sum()), score)


def random_donors(count: int, seed: int = 0) -> np.ndarray:
    """A random permutation of two or more clips, (count,), none its own donor; or ValueError."""
    check_whole((2, LARGEST_BATCH), count=count)
    check_whole(0, seed=seed)
    circle = np.random.default_rng(seed).permutation(count)
    return np.roll(circle, 1)[np.argsort(circle)]
