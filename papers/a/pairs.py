"""Paper A: pairs of latents in time, and what a factor knows of a digit's place."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from torch import Tensor
from unbraid.data.sequences import Sequences
from unbraid.measures.information import same_and_cross
from unbraid.models.independent import IndependentPrediction
from unbraid_course.lessons.n13 import sample_codes

TRIES = 20  # partitions of an entangled code
NEIGHBOURS = 15  # of the regression from a factor to a position


@dataclass(frozen=True)
class Pairs:
    """Latents at t and at t + 1 from the same sequences, and the digits' positions at t + 1."""

    before: np.ndarray  # (N, K d)
    after: np.ndarray  # (N, K d)
    positions: dict[str, np.ndarray]  # (N, 2) in [0, 1], by the name of the label


@torch.no_grad()
def collect_pairs(
    model: IndependentPrediction,
    sampler: Callable[[int, torch.Generator], Sequences],
    count: int,
    generator: torch.Generator,
    apart: bool = False,
) -> Pairs:
    """`count` pairs (z_t, z_{t+1}) of posterior samples from new test sequences.

    All of a sequence, as in the authors' code, whose likeness an estimate counts as information.
    apart: one pair per sequence, at a random step.
    """
    length = sampler(1, torch.Generator().manual_seed(0)).length
    sequences = sampler(count if apart else -(-count // (length - 1)), generator)
    latents, _ = sample_codes(model, sequences, generator)  # (B, T, K d)
    if apart:
        rows, steps = torch.arange(count), torch.randint(length - 1, (count,), generator=generator)
    else:
        rows, steps = consecutive_pairs(len(sequences), length)
        rows, steps = rows[:count], steps[:count]
    positions = {}
    for name in sequences.dynamic:
        positions[name] = sequences.labels[name][rows, steps + 1].numpy()
    return Pairs(latents[rows, steps], latents[rows, steps + 1], positions)


def consecutive_pairs(count: int, length: int) -> tuple[Tensor, Tensor]:
    """The sequences and the steps t of all pairs (t, t + 1) of `count` sequences."""
    rows = torch.arange(count).repeat_interleave(length - 1)
    return rows, torch.arange(length - 1).repeat(count)


def best_partition(
    before: np.ndarray, after: np.ndarray, block: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The favourable reading of an entangled code, as in the authors' code.

    before, after: (N, D), all units at t and at t + 1. The D units are permuted at random TRIES
    times, alike at both times, and cut into factors of `block` units; the partition with the
    greatest same - cross among those with both above zero is taken (if there is none, the greatest
    of all). Returns its units (D,), block after block, and same and cross of all tried, (TRIES, 2).
    """
    generator = np.random.default_rng(seed)
    permutations = [generator.permutation(before.shape[1]) for _ in range(TRIES)]
    tried = np.empty((TRIES, 2))
    for row, permutation in enumerate(permutations):
        cuts = permutation.reshape(-1, block)
        factors = [before[:, cut] for cut in cuts], [after[:, cut] for cut in cuts]
        found = same_and_cross(*factors, seed, raw=True)
        tried[row] = found.same, found.cross
    gap = tried[:, 0] - tried[:, 1]
    positive = (tried > 0).all(axis=1)
    best = int(np.argmax(np.where(positive, gap, -np.inf) if positive.any() else gap))
    return permutations[best], tried


def coordinate_scores(pairs: Pairs, parts: np.ndarray) -> np.ndarray:
    """R2 of a regression by neighbours from each factor to each digit's coordinates, such as x and
    y: (K, digits, coordinates).

    Half of the pairs are the neighbours, the others are predicted. parts: the units of each
    factor, (K, d).
    """
    half, scores = len(pairs.after) // 2, []
    for units in parts:
        factor = pairs.after[:, units]
        for position in pairs.positions.values():
            neighbours = KNeighborsRegressor(min(NEIGHBOURS, half))
            guess = neighbours.fit(factor[:half], position[:half]).predict(factor[half:])
            scores.append(r2_score(position[half:], guess, multioutput="raw_values"))
    return np.reshape(scores, (len(parts), len(pairs.positions), -1))
