"""What notebook 13 defines; written by `python -m tools export`."""

import numpy as np
import torch
from sklearn.neighbors import KNeighborsRegressor
from unbraid.codes import batches, generator_for


def sample_codes(model, clips, draws, means=False):
    """Codes (N, T, K d) and the posterior's deviations, of clips."""
    parts = []
    for batch in batches(model, clips, 100):
        number = int(torch.randint(2**31, (1,), generator=draws))
        size, random = batch.frames.shape[:2], generator_for(model, number)
        noise = None if means else model.draw_noise(*size, random)
        q, _, z = model.infer(batch.frames, noise)
        parts.append((z, q.standard_deviation.flatten(2)))
    return [torch.cat(part).cpu().numpy() for part in zip(*parts)]


def correlate(now, later):
    """C of (1) for codes (N, K d) and those a frame later."""
    now, later = now - now.mean(0), later - later.mean(0)
    sizes = np.sqrt(np.outer((now**2).sum(0), (later**2).sum(0)))
    return now.T @ later / np.where(sizes > 0, sizes, 1)  # constant unit: 0


def inside(C):
    """Equation (1) for two blocks of equal size."""
    half = len(C) // 2
    first, second = C[:half, :half] ** 2, C[half:, half:] ** 2
    return (first.sum() + second.sum()) / (C**2).sum()


def inside_by_chance(C, seed, tries=200):
    """The mean share inside two random halves of the units."""
    random = np.random.default_rng(seed)
    orders = [random.permutation(len(C)) for _ in range(tries)]
    return np.mean([inside(C[np.ix_(order, order)]) for order in orders])


def freeze(model, x, name):
    """Clips, decoded while one factor keeps its value of frame 2."""
    codes = model.encode(x)  # means, each (B, T, d)
    frozen = codes[name].clone()
    frozen[:, 2:] = codes[name][:, 1:2]
    return model.decode({**codes, name: frozen})


def measure_use(model, a, b):
    """Change of clips a with each factor of b, (K,); with all it is 1."""
    own, other = model.encode(a), model.encode(b)
    mixed = [{**own, name: other[name]} for name in model.code_names]
    decoded = model.decode(own)
    pictures = torch.stack(list(map(model.decode, [*mixed, other])))
    changes = (pictures - decoded).square().flatten(1).mean(1)
    return changes[:-1] / changes[-1]


def score_places(codes, places):
    """R² of each digit's place (column), from each half of the units."""
    half, scores = len(codes) // 2, []
    for units in np.hsplit(codes, 2):
        for place in places:
            learnt = KNeighborsRegressor(15).fit(units[:half], place[:half])
            scores.append(learnt.score(units[half:], place[half:]))
    return np.reshape(scores, (2, 2))
