"""Generated and swapped clips as a judge sees them: its probabilities, and scores made of them.

* Generation (paper C and its predecessors): codes of one kind come from a test clip, the others
  from the prior; accuracy, H(y|x), H(y) and the inception score of what was kept, in nats.
* Swap: the others come from another test clip, the donor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from numpy.typing import ArrayLike
from scipy.special import entr, rel_entr
from torch import Tensor

from unbraid.checks import as_array, finite_array
from unbraid.measures.intervals import Interval, share_interval
from unbraid.readable import Readable


class Entropies(NamedTuple):
    """H(y|x) and H(y) in nats, and the inception score, from 1 to the number of classes."""

    conditional: float
    marginal: float
    inception_score: float


@dataclass(frozen=True, repr=False)
class GenerationScores(Readable):
    """Scores of a label that was kept: accuracy of all clips, the rest of as many of each class."""

    accuracy: Interval
    conditional_entropy: Interval
    marginal_entropy: Interval
    inception_score: Interval


def entropies(probabilities: ArrayLike) -> Entropies:
    """H(y|x), H(y) and the inception score of p(y|x) (n, classes), rows summing to one.

    The score is exp of the mean divergence of p(y|x) from the mean p(y) (Salimans et al. 2016,
    arXiv 1606.03498), and equals exp(H(y) - H(y|x)). Raises ValueError for rows that are no
    distributions.
    """
    p = check_probabilities(probabilities)
    mean = p.mean(0)
    score = float(np.exp(rel_entr(p, mean).sum(1).mean()))
    return Entropies(float(entr(p).sum(1).mean()), float(entr(mean).sum()), score)


def generation_scores(
    probabilities: ArrayLike, labels: ArrayLike, draws: int = 1000, seed: int = 0
) -> GenerationScores:
    """Accuracy, H(y|x), H(y) and inception score of a label that was kept.

    probabilities: (n, classes), the judge's for the generated clips. labels: (n,) integers, of the
    clips they were made from. The entropies take the first m clips of each class that occurs, m
    those of the rarest. draws, seed: of a bootstrap over clips within classes. Raises ValueError as
    `entropies`, and for labels of other clips or of a single class.
    """
    p = check_probabilities(probabilities)
    labels = check_labels("labels", labels, p.shape[1], len(p))
    occurring, counts = np.unique(labels, return_counts=True)
    if len(occurring) < 2:
        raise ValueError(f"labels: expected two classes or more, found only {occurring.tolist()}")
    m = int(counts.min())
    balanced = np.concatenate([p[labels == label][:m] for label in occurring])  # (C m, classes)
    conditional, marginal, score = entropies(balanced)

    generator = np.random.default_rng(seed)
    copies = generator.multinomial(m, np.full(m, 1 / m), (draws, len(occurring)))  # (draws, C, m)
    weights = copies.reshape(draws, -1) / len(balanced)
    conditional_draws = weights @ entr(balanced).sum(1)
    marginal_draws = entr(weights @ balanced).sum(1)
    ceiling = float(np.log(p.shape[1]))

    def interval(value: float, drawn: np.ndarray) -> Interval:
        # An entropy at its maximum can only be fallen short of, so that quantiles of the draws
        # would miss it: the farther of the two sets the limits on both sides.
        low, high = np.quantile(drawn, [0.025, 0.975])
        reach = max(value - low, high - value) * np.sqrt(m / (m - 1)) if m > 1 else ceiling
        low, high = max(value - reach, 0.0), min(value + reach, ceiling)
        return Interval(value, float(low), float(high), len(balanced), "clip")

    log_score = interval(marginal - conditional, marginal_draws - conditional_draws)
    limits = np.exp([log_score.low, log_score.high]).tolist()
    return GenerationScores(
        accuracy=share_interval(int((p.argmax(1) == labels).sum()), len(p), unit="clip"),
        conditional_entropy=interval(conditional, conditional_draws),
        marginal_entropy=interval(marginal, marginal_draws),
        inception_score=Interval(score, *limits, len(balanced), "clip"),
    )


def random_donors(count: int, seed: int = 0) -> np.ndarray:
    """A random permutation of two or more clips, (count,), none its own donor; or ValueError."""
    if count < 2:
        raise ValueError(f"count: expected at least 2 clips to swap, found {count}")
    circle = np.random.default_rng(seed).permutation(count)
    return np.roll(circle, 1)[np.argsort(circle)]


def check_probabilities(probabilities: ArrayLike) -> np.ndarray:
    """As float64 (n, classes), or ValueError: rows of two or more, none negative, sums of one."""
    p = finite_array("probabilities", probabilities)
    if p.ndim != 2 or not len(p) or p.shape[1] < 2:
        raise ValueError(f"probabilities: expected (n, classes), n >= 1, found {p.shape}")
    if (p < 0).any() or not np.allclose(p.sum(1), 1, rtol=0, atol=1e-4):
        low, total = p.min(), p.sum(1).min()
        raise ValueError(f"probabilities: expected sums of 1, found {total:g}; lowest {low:g}")
    return p


def check_labels(name: str, labels: ArrayLike, classes: int, count: int) -> np.ndarray:
    """Labels as an array (count,) of integers from 0 to classes - 1, or ValueError."""
    labels = as_array(labels)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        shape = f"{labels.dtype} {labels.shape}"
        raise ValueError(f"{name}: expected integers ({count},), found {shape}")
    if labels.min() < 0 or labels.max() >= classes:
        found = f"{labels.min()} to {labels.max()}"
        raise ValueError(f"{name}: expected 0 to {classes - 1}, found {found}")
    return labels


def agreement(judged: Tensor) -> float:
    """The share of identities with the commonest class of their point; judged: classes (K, P)."""
    return float(F.one_hot(judged).sum(0).max(1).values.double().mean() / len(judged))
