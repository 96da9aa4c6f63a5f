"""What decides in part C: its two ideas, or how it is trained? Notebook 32's own small model.

    python -m papers.c.ideas sprites    # subtraction on and off, one element or all, four recipes
    python -m papers.c.ideas circle     # both ideas, four recipes, on circling digits
    python -m papers.c.ideas picture    # docs/recipes.svg, from the table of sprites

The recipes are those of notebook 32: as released, the start alone, the prices alone, both. Their
constants were found on sprites by counting right swaps; on the digits they are used as they are,
and nothing is chosen by a label. Runs whose rows are in a table are not made again.
"""

import sys
from collections.abc import Callable, Iterator
from itertools import product
from types import MethodType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from sklearn.linear_model import RidgeClassifier
from torch import Tensor
from unbraid import MovingDigits, load_digits, records
from unbraid.data import sprites
from unbraid.data.sequences import Sequences
from unbraid.measures.judges import judge_clips, judge_probabilities
from unbraid.measures.swaps import random_donors
from unbraid_course.lessons import n32

from papers.encoded import true_swaps
from papers.judge import open_judge
from papers.measured_runs import train_missing, watch
from papers.side_by_side.evaluate import find_nearest

FOLDERS = {
    "sprites": records.results() / "single_element" / "sprites" / "quick",
    "circle": records.results() / "benchmark" / "circle" / "quick",
}
UPDATES, SEEDS = 2500, 5
RECIPES = {  # has d a head start, has it other prices
    "released": (False, False),
    "start": (True, False),
    "prices": (False, True),
    "both": (True, True),
}
IDEAS = {  # does s read one element, is it subtracted from what d reads
    "both ideas": (True, True),
    "s reads all": (False, True),
    "no subtraction": (True, False),
    "neither": (False, False),
}
COLUMNS = "as\nreleased", "start\nalone", "prices\nalone", "start and\nprices"
WITH, WITHOUT = "#009E73", "#CC79A7"  # the subtraction, by colour
LOOKS = {"both ideas": (WITH, "o"), "s reads all": (WITH, "s")}  # a circle: s reads one element
LOOKS |= {"no subtraction": (WITHOUT, "o"), "neither": (WITHOUT, "s")}
LAW: dict[str, Any] = {"motion": "circle", "speeds": (0.5, -0.9)}
CLIPS = 1000  # circling digits of the test split


# ---- the model without one of its ideas


def leave_out(posterior: Any, one_element: bool, subtract: bool) -> None:
    """Have notebook 32's posterior read otherwise: s the mean of all features, d the features."""

    def forward(self: Any, x: Tensor, fill: Callable[[Tensor], Tensor]) -> tuple:
        c = self.encoder(x.flatten(0, 1)).unflatten(0, x.shape[:2])  # (B, T, features)
        anchor = c[:, 0]
        rest = c[:, 1:] - anchor[:, None] if subtract else c[:, 1:]
        inputs = torch.cat([fill(anchor)[:, None], rest], 1)
        read = anchor if one_element else c.mean(1)
        return self.static(torch.tanh(self.dense(read))), self.dynamic(self.read(inputs)[0])

    posterior.forward = MethodType(forward, posterior)


# ---- measures


def swap_all(model: Any, frames: Tensor, donors: Tensor) -> tuple[Tensor, Tensor]:
    """Each clip (N, T, 3, H, W) with the donor's s, decoded from means, and the draws of s."""
    s, d, draws = [], [], []
    for part in frames.split(300):
        (mean, log_variance), (path, _) = model.posterior(part, torch.zeros_like)
        s.append(mean)
        d.append(path)
        draws.append(mean + (log_variance / 2).exp() * torch.randn_like(mean))
    given = torch.cat(s)[donors].split(300)
    pairs = zip(given, torch.cat(d).split(300), strict=True)
    return torch.cat([model.decode(*pair) for pair in pairs]), torch.cat(draws)


def find_nearest_of_all(swaps: Tensor, real: Tensor) -> Tensor:
    """The number of the real clip that is nearest to each swap, by squared error, (N,)."""
    flat = real.flatten(1)
    return torch.cat([torch.cdist(part.flatten(1), flat).argmin(1) for part in swaps.split(300)])


def probe(code: Tensor, labels: Tensor) -> float:
    """Accuracy of a linear probe on the second half of the rows, which it has not seen."""
    half = len(code) // 2
    return RidgeClassifier().fit(code[:half], labels[:half]).score(code[half:], labels[half:])


def share(hits: Tensor, kept: Tensor) -> float:
    """The share of hits among the rows that are kept."""
    return hits[kept].double().mean().item()


def measure_sprites(model: Any, clips: Sequences) -> dict[str, float]:
    """Shares of the swaps of all clips, each with a random donor of s.

    motion, direction, action: those of the nearest of all clips are the own ones; direction and
    action over pairs that differ in it. nearest: the nearest of all is the true clip. of_four: it
    is nearer than the own clip, the donor's, and the own looks in the donor's motion, over pairs
    that differ in both. skin, bottomwear, topwear, hair: the judge names the donor's, over pairs
    that differ in it; appearance is their mean. probe_...: accuracy of a linear probe of draws.
    """
    frames = clips.frames / 255
    donors = torch.as_tensor(random_donors(len(frames), seed=0))
    swaps, s = swap_all(model, frames, donors)
    nearest = find_nearest_of_all(swaps, frames)
    true, labels = true_swaps(clips, donors.numpy()), clips.labels
    everything = torch.ones(len(frames), dtype=torch.bool)
    row = {"motion": share(labels["motion"][nearest] == labels["motion"], everything)}
    for name in ("direction", "action"):
        differ = labels[name] != labels[name][donors]
        row[name] = share(labels[name][nearest] == labels[name], differ)
    row["nearest"] = share(nearest == true, everything)

    reverse = true_swaps(clips, np.argsort(donors.numpy()))[donors]
    candidates = (frames[true], frames, frames[donors], frames[reverse])
    motions_differ = labels["motion"] != labels["motion"][donors]
    both_differ = motions_differ & (labels["character"] != labels["character"][donors])
    row["of_four"] = share(find_nearest(swaps, candidates) == 0, both_differ)

    seen = judge_clips(open_judge("sprites", "quick", clips.classes, 32), swaps.clamp(0, 1))
    for name in sprites.ATTRIBUTES:
        differ = labels[name] != labels[name][donors]
        row[name] = share(seen[name].argmax(1) == labels[name][donors], differ)
    row["appearance"] = np.mean([row[name] for name in sprites.ATTRIBUTES]).item()
    for name in ("direction", "action"):
        row[f"probe_{name}"] = probe(s, labels[name])
    return row


def measure_circle(model: Any, clips: Sequences, which: Tensor) -> dict[str, float]:
    """Shares of the swaps of circling digits: of_four as of sprites; appearance: the judge names
    the donor's digits in single frames, over pairs that differ in it."""
    donors = torch.as_tensor(random_donors(len(clips), seed=0))
    swaps, _ = swap_all(model, clips.frames, donors)
    places = torch.stack([clips.labels["red_position"], clips.labels["green_position"]], 2)
    draw = MovingDigits(load_digits("test"), 32, clips.length, **LAW)
    candidates = [draw.render(which[donors], places), clips.frames, clips.frames[donors]]
    candidates.append(draw.render(which, places[donors]))
    nearest = find_nearest(swaps, tuple(candidates))
    everything = torch.ones(len(clips), dtype=torch.bool)
    row = {"of_four": share(nearest == 0, everything)}
    judge = open_judge("digits", "quick", size=32)
    seen, length, right = judge_probabilities(judge, swaps.clamp(0, 1).flatten(0, 1)), 8, []
    for name in ("red_digit", "green_digit"):
        label = clips.labels[name]
        differ = (label != label[donors]).repeat_interleave(length)
        right.append(share(seen[name].argmax(1) == label[donors].repeat_interleave(length), differ))
    return row | {"appearance": np.mean(right).item()}


# ---- runs


def train_clips(world: str) -> Tensor:
    """Training clips as bytes, (N, 8, 3, 32, 32)."""
    if world == "sprites":
        return sprites.load("fit", 32).frames
    film = MovingDigits(load_digits("train", sample=True), 32, 8, **LAW)
    frames = film(2000, torch.Generator().manual_seed(3)).frames
    return (255 * frames).round().to(torch.uint8)


def train_one(name: str, seed: int, updates: int) -> list[dict]:
    """The row of a run, such as "sprites, both ideas, released"."""
    world, ideas, recipe = name.split(", ")
    model: Any = n32.small_model(seed)
    leave_out(model.posterior, *IDEAS[ideas])
    has_start, has_prices = RECIPES[recipe]
    if has_start:
        n32.give_start(model)
    weigh = n32.prices if has_prices else n32.released
    training = n32.train(model, train_clips(world), updates, weigh, seed)
    (_, seconds), terms = collect(training, updates)
    model.eval()
    row = {"run": name, "seed": seed, "update": updates, "ideas": ideas, "recipe": recipe}
    row |= {"seconds": seconds}
    row |= dict(zip(("error", "anchor", "kl_s", "kl_d"), terms, strict=True))
    torch.manual_seed(seed)  # of the draws that are probed
    with torch.no_grad():
        if world == "sprites":
            return [row | measure_sprites(model, sprites.load("test", 32))]
        draw = MovingDigits(load_digits("test"), 32, 8, **LAW)
        clips = draw(CLIPS, torch.Generator().manual_seed(4))
        which, _ = draw.draw(CLIPS, torch.Generator().manual_seed(4))  # the same once more
        return [row | measure_circle(model, clips, which)]


def collect(training: Iterator[tuple], updates: int) -> tuple[tuple[int, float], list[float]]:
    """The last update with its seconds, and the mean terms of the last 100 updates."""
    kept: list[list[float]] = []

    def listen() -> Iterator[tuple]:
        for update, terms in training:
            kept.append(terms)
            yield update, terms

    *_, last = watch(listen(), (updates,))
    return last, np.mean(kept[-100:], 0).tolist()


def list_tasks(world: str) -> list[dict[str, Any]]:
    """All runs of a world, seed by seed, so that each seed's comparison is complete early."""
    tasks: list[dict[str, Any]] = []
    ideas = IDEAS if world == "sprites" else ["both ideas"]
    for seed, each, recipe in product(range(SEEDS), ideas, RECIPES):
        name = f"{world}, {each}, {recipe}"
        tasks.append({"run": name, "seed": seed, "update": UPDATES})
    return tasks


def draw_recipes(table: pd.DataFrame) -> Figure:
    """A column for each recipe with a dot for each run: its share of swaps of the right motion."""
    figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for number, (ideas, (colour, marker)) in enumerate(LOOKS.items()):
        for place, recipe in enumerate(RECIPES):
            runs = table[(table["ideas"] == ideas) & (table["recipe"] == recipe)]
            beside = place + 0.2 * (number - 1.5) + np.linspace(-0.07, 0.07, len(runs))
            ax.plot(beside, runs["motion"], marker, color=colour, alpha=0.7, markersize=5)
        ax.plot([], [], marker, color=colour, label=ideas)
    ax.set_xticks(range(len(COLUMNS)), COLUMNS)
    ax.set(ylim=(-0.03, 1.03), ylabel="share of swaps with the right motion")
    ax.grid(axis="y", color="0.92")
    figure.legend(loc="outside lower center", ncols=len(LOOKS))
    return figure


def main(world: str) -> None:
    """Train what a world's table lacks, or draw the table of sprites."""
    if world == "picture":
        plt.rcParams["svg.hashsalt"] = "recipes"
        figure = draw_recipes(pd.read_csv(FOLDERS["sprites"] / "starts.csv"))
        figure.savefig(records.results().parent / "docs" / "recipes.svg", metadata={"Date": None})
        return
    train_missing(FOLDERS[world] / "starts.csv", list_tasks(world), train_one)


if __name__ == "__main__":
    main(*sys.argv[1:])
