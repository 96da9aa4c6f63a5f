"""Does the bound decide? One function, wired in four ways, and then trained by the bound alone.

A base of four factors, each with one unit in use, is taught the four coordinates of two bouncing
digits. Its transitions are then wired into the two factors of notebook 11's class: a digit a
factor (D), x with x and y with y (X), x with the other digit's y (O), or all in one (A). Wired
models are one function with one bound; they differ only in which code may be predicted from which.
Clips and noise are the same for all wirings of a seed, so that they are compared in pairs.

    python -m papers.a.wirings            all runs; what the table has is not made again
    python -m papers.a.wirings 0 2        every second one, from the first; 1 2 makes the others
"""

import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import rel_entr
from torch import Tensor, nn
from unbraid import MovingDigits, load_digits
from unbraid.data.sequences import Sequences
from unbraid.models.lesson_a import (
    Filter,
    IndependentPrediction,
    all_at_once,
    kl,
    small_networks,
    transition,
)
from unbraid_course.lessons.n15 import COORDINATES, SIZES, know, measure_travel, name_grouping

from papers.settings import own_results

WIRINGS = {  # the coordinates orange x, orange y, blue x, blue y of each factor
    "D": ([0, 1], [2, 3]),
    "X": ([0, 2], [1, 3]),
    "O": ([0, 3], [2, 1]),
    "A": ([0, 1, 2, 3], []),
}
SEEDS, VARIANCES, DETACHED = range(5), (0.1, 0.25), (True, False)
TABLE = "independent/bounce/quick/wirings.csv"
UNITS, BLOCK, HIDDEN = 32, 8, 16  # of all codes; of a factor of the base; of its transition
TAUGHT, RELEASED, CALM = 1500, 4000, 300  # updates: of the base, at the rate 2e-3, at 2e-4
MOMENTS = (0, 500, 1000, 2000, RELEASED, RELEASED + CALM)  # of which the table has a row
HELD = 0.1  # the standard deviation within which the base is taught a coordinate


class OneUnit(Filter):
    """The base: of each factor one unit is in use, and predicted from its own past."""

    def __init__(self, encoder: nn.Module):
        super().__init__(encoder, all_at_once, 96, UNITS // BLOCK, BLOCK, HIDDEN, 2)
        self.transitions = nn.ModuleList(transition(1, HIDDEN, 2) for _ in COORDINATES)
        self.in_use = torch.arange(UNITS) % BLOCK == 0
        self.means = torch.empty(0)  # of the units in use, (B, T, 4), of the last call

    def predict(self, z: Tensor) -> tuple[Tensor, Tensor]:
        pasts = z[:, self.in_use].split(1, 1)
        outputs = [f(past) for f, past in zip(self.transitions, pasts, strict=True)]
        both = z.new_zeros(len(z), UNITS, 2)  # mean and log-variance
        both[:, self.in_use] = torch.stack(outputs, 1)
        return both[..., 0], both[..., 1]

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        seen, p = self.over_time(self.encoder, x), (torch.zeros_like(noise[:, 0]),) * 2
        codes, costs, means = [], [], []
        for e, eps in zip(seen.unbind(1), noise.unbind(1), strict=True):
            q = self.posterior(e, [part.detach() for part in p])
            codes.append((q[0] + (q[1] / 2).exp() * eps) * self.in_use)
            costs.append((kl(q, p) * self.in_use).unflatten(1, (self.K, self.d)).sum(2))
            means.append(q[0][:, self.in_use])
            p = self.predict(codes[-1])
        self.means = torch.stack(means, 1)
        return torch.stack(codes, 1), torch.stack(costs, 1)


class Attached(Filter):
    """The filter of notebook 11, but that gradients also flow into what was expected."""

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        seen, p = self.over_time(self.encoder, x), (torch.zeros_like(noise[:, 0]),) * 2
        codes, costs = [], []
        for e, eps in zip(seen.unbind(1), noise.unbind(1), strict=True):
            q = self.posterior(e, p)
            codes.append(q[0] + (q[1] / 2).exp() * eps)
            costs.append(kl(q, p).unflatten(1, (self.K, self.d)).sum(2))
            p = self.predict(codes[-1])
        return torch.stack(codes, 1), torch.stack(costs, 1)


def make_base(v: float, seed: int) -> IndependentPrediction:
    """An untrained base: small networks, in which four units are in use."""
    torch.manual_seed(seed)
    model = IndependentPrediction(small_networks(32), all_at_once, **SIZES | {"v": v})
    model.filter, model.K, model.d = OneUnit(model.filter.encoder), UNITS // BLOCK, BLOCK
    model.filter.posterior.log_variance.bias.data -= 4
    return model


def list_places(clips: Sequences) -> Tensor:
    """Where the digits are, x and y of each, (N, T, 4) in 0 to 1."""
    return torch.cat([clips.labels[name] for name in clips.dynamic], 2)


def teach(model: IndependentPrediction, film: MovingDigits, seed: int, updates: int) -> None:
    """Train the base by the bound, and by the distance of its codes from the true coordinates."""
    draws = torch.Generator().manual_seed(1000 + seed)
    adam = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(updates):
        clips = film(8, draws)
        error, costs = model.loss(clips.frames, torch.randn(8, 5, UNITS, generator=draws))
        wanted = 12**0.5 * (list_places(clips) - 0.5)  # standardised: uniform in 0 to 1
        held = (model.filter.means - wanted).square().sum(2).mean() / (2 * HELD**2)
        adam.zero_grad()
        (error + costs.sum() + held).backward()
        adam.step()


def order_units(wiring: str) -> Tensor:
    """The unit of the base behind each unit of a wired model, (32,)."""
    order = torch.full((UNITS,), -1)
    for factor, group in enumerate(WIRINGS[wiring]):
        for place, coordinate in enumerate(group):
            order[16 * factor + place] = BLOCK * coordinate
    order[order < 0] = torch.arange(UNITS)[torch.arange(UNITS) % BLOCK > 0]
    return order


@torch.no_grad()
def wire(
    base: IndependentPrediction, wiring: str, is_detached: bool = True
) -> tuple[IndependentPrediction, Tensor]:
    """The base as a model of notebook 11 with two factors, all of whose units are open.

    What was closed begins at its prior, N(0, 1), with a tenth of the decoder's weights. Returns the
    model, and the unit of the base whose noise each unit is to have, (32,).
    """
    torch.manual_seed(0)
    model = IndependentPrediction(small_networks(32), all_at_once, **SIZES | {"v": base.v})
    if not is_detached:
        model.filter.__class__ = Attached
    order, old, new = order_units(wiring), base.state_dict(), model.state_dict()
    closed = order % BLOCK > 0
    for name, value in new.items():
        if "transitions" not in name:
            value.copy_(old[name])
    of_posterior = "filter.posterior."
    for name in ("mean.weight", "mean.bias", "log_variance.weight", "log_variance.bias"):
        new[of_posterior + name].copy_(old[of_posterior + name][order])
        new[of_posterior + name][closed] = 0
    for name in ("from_mean.weight", "from_log_variance.weight"):
        new[of_posterior + name].copy_(old[of_posterior + name][:, order])
    new["decoder.0.weight"].copy_(old["decoder.0.weight"][:, order])
    new["decoder.0.weight"][:, closed] *= 0.1
    for network, group in zip(model.filter.transitions, WIRINGS[wiring], strict=True):
        first, second, last = (network[layer] for layer in (0, 2, 4))
        last.weight.zero_()
        last.bias.zero_()
        for unit, coordinate in enumerate(group):
            rows, source = slice(HIDDEN * unit, HIDDEN * (unit + 1)), base.filter.transitions
            a, b, c = (source[coordinate][layer] for layer in (0, 2, 4))
            first.weight[rows], first.bias[rows] = 0, a.bias
            first.weight[rows, unit] = a.weight[:, 0]
            second.weight[rows], second.bias[rows] = 0, b.bias
            second.weight[rows, rows] = b.weight
            for half in (0, 1):  # mean and log-variance
                last.weight[16 * half + unit, rows] = c.weight[half]
                last.bias[16 * half + unit] = c.bias[half]
    return model, order


@torch.no_grad()
def measure_start(model: IndependentPrediction, order: Tensor, frames: Tensor) -> np.ndarray:
    """Frames, the sum of the KL terms and the loss before the first update, in double precision."""
    twin = IndependentPrediction(small_networks(32), all_at_once, **SIZES | {"v": model.v})
    twin.load_state_dict(model.state_dict())
    size = (*frames.shape[:2], UNITS)
    noise = torch.randn(size, generator=torch.Generator().manual_seed(0))[..., order].double()
    twin, x = twin.double(), frames.double()
    error, costs = twin.loss(x, noise)
    decoded = twin.decode(twin.filter(x, noise)[0]).flatten()
    return torch.cat([decoded, costs.sum()[None], (error + costs.sum())[None]]).numpy()


def check_starts(base: IndependentPrediction, frames: Tensor) -> float:
    """The largest difference of frames, KL and loss between wirings, and of KL to the base's.

    More than 1e-6 is refused.
    """
    starts = np.stack([measure_start(*wire(base, wiring), frames) for wiring in WIRINGS])
    noise = torch.randn((*frames.shape[:2], UNITS), generator=torch.Generator().manual_seed(0))
    twin = make_base(base.v, 0)
    twin.load_state_dict(base.state_dict())  # what was closed costs nothing yet: its KL stays
    with torch.no_grad():
        taught = float(twin.double().loss(frames.double(), noise.double())[1].sum())
    largest = float(max(np.abs(starts - starts[0]).max(), np.abs(starts[:, -2] - taught).max()))
    if largest > 1e-6:
        raise ValueError(f"wirings: expected one function, found a difference of {largest:.2g}")
    return largest


def release(
    model: IndependentPrediction, order: Tensor, film: MovingDigits, seed: int
) -> Iterator[tuple[int, float]]:
    """Train by the bound alone; after each of MOMENTS the update and the mean loss before it."""
    draws, losses = torch.Generator().manual_seed(seed), [float("nan")]
    adam = torch.optim.Adam(model.parameters(), 2e-3)
    for update in range(RELEASED + CALM + 1):
        if update in MOMENTS:
            yield update, float(np.mean(losses[-500:]))
        x = film(8, draws).frames
        error, costs = model.loss(x, torch.randn(8, 5, UNITS, generator=draws)[..., order])
        adam.param_groups[0]["lr"] = 2e-3 if update < RELEASED else 2e-4
        adam.zero_grad()
        (error + costs.sum()).backward()
        adam.step()
        losses.append(float(error.detach() + costs.detach().sum()))


def train_wiring(
    base: IndependentPrediction, wiring: str, is_detached: bool, seed: int
) -> Iterator[dict[str, object]]:
    """One run: a row for each of MOMENTS; a run that diverges has its last row with NaN."""
    film = MovingDigits(load_digits("train", sample=True), 32, 5)
    tests = MovingDigits(load_digits("test"), 32, 5)(2000, torch.Generator().manual_seed(11)).frames
    clips = MovingDigits(load_digits("test"), 32, 8)(1200, torch.Generator().manual_seed(7))
    still = MovingDigits(load_digits("test"), 32, 16)(400, torch.Generator().manual_seed(1)).frames
    model, order = wire(base, wiring, is_detached)
    noise = torch.randn(2000, 5, UNITS, generator=torch.Generator().manual_seed(0))[..., order]
    begun, names = time.process_time(), [name.replace(" ", "_") for name in COORDINATES]
    for update, trained in release(model, order, film, seed):
        with torch.no_grad():
            error, costs = model.loss(tests, noise)
        scores = know(model, clips.frames, list_places(clips)[:, -1])
        row = {"wiring": wiring, "v": base.v, "detached": is_detached, "seed": seed}
        row |= {"update": update, "trained": trained, "error": float(error)}
        row |= {f"kl_{factor}": float(cost) for factor, cost in enumerate(costs)}
        row["found"] = name_grouping(scores)
        kept = measure_travel(model, still) if update == MOMENTS[-1] else np.full((2, 4), np.nan)
        for (factor, place), score in np.ndenumerate(scores):
            row[f"{factor}_{names[place]}"] = float(score)
            row[f"freeze_{factor}_{names[place]}"] = float(kept[factor, place])
        yield row | {"cpu_seconds": round(time.process_time() - begun)}


def count_ceiling(length: int, travel: int = 18, angles: int = 720, starts: int = 4000) -> float:
    """The nats a frame that whole digits can win over coordinates at best: 2 I(x path; y path) / T.

    Counted on a grid of all directions and starts of `MovingDigits`' law, places in whole pixels.
    """
    turn, shares = (np.arange(angles) + 0.5) / angles * 2 * np.pi, []
    start = (np.arange(starts) + 0.5)[:, None] / starts
    for direction in (np.cos(turn), np.sin(turn)):
        straight = start + 0.1 * np.arange(length) * direction[:, None, None]
        pixels = np.rint((1 - np.abs(straight % 2 - 1)) * travel).astype(int)  # walls reflect
        paths = (pixels * (travel + 1) ** np.arange(length)).sum(2)  # a number each
        numbers = np.unique(paths, return_inverse=True)[1].reshape(paths.shape)
        rows = [np.bincount(row, minlength=numbers.max() + 1) for row in numbers]
        shares.append(np.array(rows) / starts)  # of each path, given the direction
    joint, (x, y) = shares[0].T @ shares[1] / angles, (share.mean(0) for share in shares)
    return float(2 * rel_entr(joint, np.outer(x, y)).sum() / length)


def find_base(v: float, seed: int, folder: Path) -> IndependentPrediction:
    """The taught base of a variance and a seed, which is kept in a folder."""
    path, model = folder / f"base-v{100 * v:.0f}-seed{seed}.pt", make_base(v, seed)
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model
    film = MovingDigits(load_digits("train", sample=True), 32, 5)
    teach(model, film, seed, TAUGHT)
    largest = check_starts(model, film(4, torch.Generator().manual_seed(0)).frames)
    print(f"base, v {v}, seed {seed}: wirings begin alike to {largest:.1g}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), path)
    return model


def main(part: int = 0, parts: int = 1) -> None:
    """Make the runs that the table of this part lacks, each with its rows at once."""
    folder = own_results() / Path(TABLE).parent
    path = folder / f"wirings-{part}-{parts}.csv"
    jobs = [*product(VARIANCES, DETACHED, SEEDS)][part::parts]
    for (v, is_detached, seed), wiring in product(jobs, WIRINGS):
        done = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["update"])
        named = {"wiring": wiring, "v": v, "detached": is_detached, "seed": seed}
        if len(done) and (done[[*named]] == pd.Series(named)).all(axis=1).any():
            continue
        rows = [*train_wiring(find_base(v, seed, folder), wiring, is_detached, seed)]
        pd.concat([done, pd.DataFrame(rows)]).to_csv(path, index=False, float_format="%.6g")
        print(*named.values(), rows[-1]["found"], rows[-1]["cpu_seconds"], "s", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*map(int, sys.argv[1:]))
