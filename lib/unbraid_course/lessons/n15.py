"""What notebook 15 defines; written by `python -m tools export`."""

import numpy as np
import torch
from itertools import product
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor

COORDINATES = ["orange x", "orange y", "blue x", "blue y"]


def know(model, frames, wanted, probe=None):
    """R² of each column of wanted (N, any), from each factor at the last frame."""
    probe = probe or KNeighborsRegressor(15)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(*frames.shape[:2], model.K * model.d, generator=generator)
    with torch.no_grad():
        z = model.filter(frames, noise)[0][:, -1]  # (N, K d)
    if not z.isfinite().all():
        return np.full((model.K, wanted.shape[1]), np.nan)  # it has diverged
    scores, half = np.zeros((model.K, wanted.shape[1])), len(z) // 2
    for factor, code in enumerate(z.chunk(model.K, 1)):  # (N, d)
        guess = probe.fit(code[:half], wanted[:half]).predict(code[half:])
        scores[factor] = r2_score(wanted[half:], guess, multioutput="raw_values")
    return scores


def read_scores(row, kind=""):
    """R² (factor, coordinate) in a row, or shares if kind is "freeze_"."""
    names = [name.replace(" ", "_") for name in COORDINATES]
    pairs = product((0, 1), names)
    values = [row[f"{kind}{factor}_{name}"] for factor, name in pairs]
    return np.array(values, dtype=float).reshape(2, 4)


def name_grouping(scores):
    """What a run has found, by its R² (factor, coordinate)."""
    belongs = (scores >= 0.6) & (scores[::-1] <= 0.3)
    if belongs.any(0).all():
        first = tuple(belongs[0].tolist())  # of factor 0
        if len(set(first)) == 1:
            return "all in one"
        if sum(first) != 2:
            return "three and one"
        if first[0] == first[1]:
            return "digits"
        return "x with x" if first[0] == first[2] else "x with the other's y"
    unknown = (scores < 0.3).all(0).reshape(2, 2).all(1)  # of a digit
    return "dropped" if unknown.any() else "not decided"
