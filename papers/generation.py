"""Generation as paper C measures it: one code is kept, the others come from the prior."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import entr
from unbraid.checks import as_array, check_field
from unbraid.codes import device_of
from unbraid.measures.intervals import Interval, share_interval
from unbraid.measures.swaps import check_probabilities, entropies
from unbraid.models.base import Codes, SequenceModel


@torch.no_grad()
def draw_others(model: SequenceModel, codes: Codes, kept: str, generator: torch.Generator) -> Codes:
    """The same codes, all but the one called `kept` drawn from their prior."""
    length = next(code.shape[1] for code in codes.values() if code.ndim == 3)
    given = {kept: codes[kept].to(device_of(model))}
    drawn = model.generate(len(codes[kept]), length, generator, given)
    return {name: code.cpu() for name, code in drawn.items()}


def generation_scores(
    probabilities: ArrayLike, labels: ArrayLike, draws: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """accuracy, conditional_entropy, marginal_entropy (nats), inception_score of a kept label.

    probabilities: (n, classes), the judge's for the generated clips. labels: (n,) integers, of the
    clips they were made from. Accuracy is of all clips; the entropies take the first m clips of
    each class that occurs, m those of the rarest. draws, seed: of a bootstrap over clips within
    classes. Raises ValueError as `entropies`, and for labels of other clips or of a single class.
    """
    p = check_probabilities(probabilities)
    truth = as_array(labels)
    check_field(truth.shape == (len(p),), "labels", f"({len(p)},)", truth.shape)
    occurring, counts = np.unique(truth, return_counts=True)
    holds = len(occurring) >= 2 and occurring[0] >= 0 and occurring[-1] < p.shape[1]
    check_field(holds, "labels", f"two or more of 0 to {p.shape[1] - 1}", occurring.tolist())
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
    return {
        "accuracy": share_interval(int((p.argmax(1) == truth).sum()), len(p), unit="clip"),
        "conditional_entropy": interval(conditional, conditional_draws),
        "marginal_entropy": interval(marginal, marginal_draws),
        "inception_score": Interval(score, low, high, len(balanced), "clip"),
    }
