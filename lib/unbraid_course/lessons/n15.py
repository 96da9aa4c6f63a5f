"""What notebook 15 defines; written by `python -m tools export`."""

import numpy as np
import torch
from itertools import product
from safetensors.torch import load_file
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from unbraid import records
from unbraid.models.lesson_a import IndependentPrediction, all_at_once, small_networks

FOLDER = "independent/bounce/quick"
COORDINATES = ["orange x", "orange y", "blue x", "blue y"]
SIZES = {"features": 96, "K": 2, "d": 16, "hidden": 64, "depth": 2, "v": 0.1}


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


def find_centres(frames):
    """The middle of each digit, in pixels from the upper left, (B, T, digit, 2)."""
    light = frames[:, :, :2].clamp(min=0) ** 2  # a plane for each digit
    pixels = torch.arange(float(frames.shape[-1]))
    total = light.sum((-2, -1))
    x = (light.sum(-2) * pixels).sum(-1) / total
    y = (light.sum(-1) * pixels).sum(-1) / total
    return torch.stack([x, y], -1)


def decode_waiting(run, frames):
    """What a run decodes if nothing waits, if factor 0 waits, and if factor 1 does."""
    with torch.no_grad():
        return [
            run.decode(run.encode(frames)),
            *(run.freeze(frames, k) for k in (0, 1)),
        ]


def open_seed(number):
    """One of these runs, after 8,000 updates."""
    run = IndependentPrediction(small_networks(32), all_at_once, **SIZES)
    run.load_state_dict(load_file(records.weights(f"{FOLDER}/own-seed{number}")))
    return run.eval()


def measure_travel(run, frames):
    """The share of its movement that a coordinate keeps while a factor waits."""
    films = decode_waiting(run, frames)
    free, *frozen = (find_centres(each)[:, 1:].std(1).mean(0) for each in films)
    return np.stack([(each / free).flatten().numpy() for each in frozen])


def read_scores(row, kind=""):
    """R² (factor, coordinate) in a row, or shares if kind is "freeze_"."""
    names = [name.replace(" ", "_") for name in COORDINATES]
    pairs = product((0, 1), names)
    values = [row[f"{kind}{factor}_{name}"] for factor, name in pairs]
    return np.array(values, dtype=float).reshape(2, 4)


def score(numbers, memory):
    """R² of the next step of two numbers (N, 3, 2) from 1 or 2 frames."""
    past = numbers[:, 2 - memory : 2].flatten(1)
    step, train = numbers[:, 2] - numbers[:, 1], len(past) * 4 // 5
    neighbours = KNeighborsRegressor(15).fit(past[:train], step[:train])
    guess = neighbours.predict(past[train:])
    return r2_score(step[train:], guess, multioutput="variance_weighted")


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
