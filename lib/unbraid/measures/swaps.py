"""Scores of generated and swapped clips, from the probabilities that a judge gives their classes.

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

from unbraid.checks import check_classes, check_field, check_whole, finite_array
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
    arXiv 1606.03498), and equals exp(H(y) - H(y|x)). Raises ValueError for rows that are not
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
    truth = check_classes("labels", labels, p.shape[1], len(p))
    check_whole(2, draws=draws)
    occurring, counts = np.unique(truth, return_counts=True)
    check_field(len(occurring) >= 2, "labels", "two classes or more", occurring.tolist())
    m = int(counts.min())
    balanced = np.concatenate([p[truth == label][:m] for label in occurring])  # (C m, classes)
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
    low, high = np.exp([log_score.low, log_score.high]).tolist()
    return GenerationScores(
        accuracy=share_interval(int((p.argmax(1) == truth).sum()), len(p), unit="clip"),
        conditional_entropy=interval(conditional, conditional_draws),
        marginal_entropy=interval(marginal, marginal_draws),
        inception_score=Interval(score, low, high, len(balanced), "clip"),
    )


def random_donors(count: int, seed: int = 0) -> np.ndarray:
    """A random permutation of two or more clips, (count,), none its own donor; or ValueError."""
    check_whole(2, count=count)
    circle = np.random.default_rng(seed).permutation(count)
    return np.roll(circle, 1)[np.argsort(circle)]


def check_probabilities(probabilities: ArrayLike) -> np.ndarray:
    """As float64 (n, classes), or ValueError: rows of two or more, none negative, sums of one."""
    p = finite_array("probabilities", probabilities)
    holds = p.ndim == 2 and len(p) > 0 and p.shape[1] >= 2
    check_field(holds, "probabilities", "(n, classes), n >= 1", p.shape)
    holds = bool((p >= 0).all()) and np.allclose(p.sum(1), 1, rtol=0, atol=1e-4)
    found = f"sums from {p.sum(1).min():g}, values from {p.min():g}"
    check_field(holds, "probabilities", "none below 0, sums of 1", found)
    return p


def agreement(judged: Tensor) -> float:
    """The share of K identities with the commonest class of their point, averaged over P points.

    judged: class numbers (K, P). Raises ValueError for none.
    """
    check_field(judged.ndim == 2 and judged.numel() > 0, "judged", "(K, P)", tuple(judged.shape))
    return float(F.one_hot(judged).sum(0).max(1).values.double().mean() / len(judged))
