"""What notebook 23 defines; written by `python -m tools export`."""

import numpy as np
import torch

TIE = 1e-4  # squared distances that differ by less count as equal


def coherence(motions):
    """The share of motions (characters, points) that are the most common there."""
    return np.mean([np.bincount(column).max() / len(column) for column in motions.T])


def count_nearer(made, truth, candidates):
    """How many candidates (K, ...) are nearer to pictures than the true one (Q,)."""
    made, candidates = made.flatten(1), candidates.flatten(1)
    centre = candidates.mean(0)  # small numbers lose less to rounding
    squared = torch.cdist(made - centre, candidates - centre).square()
    return (squared < squared.gather(1, truth[:, None]) - TIE).sum(1)
