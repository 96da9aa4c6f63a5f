"""How often does notebook 12's training separate the digits? Over v, seeds and initial weights.

`python -m papers.a.separation_rate` runs the functions that the notebook shows, and measures clips
of 1 000 digits of MNIST that no run learns from. Runs whose rows are in the table are not made
again.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from unbraid import MovingDigits, load_digits, records
from unbraid.data.fetch import files
from unbraid.data.moving_digits import FILES, Digits, in_turns, read_idx
from unbraid_course.lessons import n12

from papers import run
from papers.measured_runs import train_missing, watch
from papers.settings import RunSettings, load

FOLDER = records.results() / "independent" / "circle" / "quick"
TERMS = ("r2_00", "r2_01", "r2_10", "r2_11", "error", "kl_0", "kl_1")
LAW: dict[str, Any] = {"motion": "circle", "speeds": (0.5, -0.9)}
RUNS = {  # initial weights and v: how many seeds, their updates, whose weights are kept
    ("ours", 0.1): (20, 4000, (0, 1, 2, 3, 4)),
    ("torch", 0.1): (10, 4000, ()),
    ("ours", 0.25): (10, 4000, (0,)),
    ("ours", 0.05): (3, 2500, (0,)),
    ("ours", 0.15): (3, 2000, ()),
}


def train_watched(
    v: float, seed: int, updates: int, initial: str = "ours"
) -> Iterator[tuple[dict, nn.Module]]:
    """R2 by factor and digit, and terms in nats per frame, every 250 updates, and the model.

    initial: "ours", the notebook's weights, or "torch", those of PyTorch's own image layers.
    """
    images, numbers = [read_idx(path) for path in files("mnist", FILES["train"]).values()]
    withheld = torch.from_numpy(in_turns(numbers)[4000:5000])
    pair = (torch.from_numpy(each)[withheld] for each in (images, numbers.astype(np.int64)))
    digits = Digits(next(pair), next(pair), "train", "withheld digits of MNIST")
    clips = MovingDigits(digits, 32, 5, **LAW)(1000, torch.Generator().manual_seed(1))
    noise = torch.randn(1000, 5, 32, generator=torch.Generator().manual_seed(2))

    film = MovingDigits(load_digits("train", sample=True), 32, 5, **LAW)
    model = n12.small_model(v, seed)
    if initial == "torch":
        torch.manual_seed(seed)
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.reset_parameters()
    for update, seconds in watch(n12.train(model, film, updates, seed), range(0, 4001, 250)):
        with torch.no_grad():
            error, costs = model.loss(clips.frames, noise)
        row = {"v": v, "seed": seed, "update": update, "seconds": seconds}
        terms = map(float, [*n12.know_places(model, clips).flat, error, *costs])
        yield row | dict(zip(TERMS, terms, strict=True)), model


def train_one(run: str, seed: int, updates: int) -> list[dict]:
    """The rows of a run, such as "ours 0.1"."""
    initial, v = run.split()
    steps = list(train_watched(float(v), seed, updates, initial))
    rows = [{"run": run} | row for row, _ in steps]
    if seed in RUNS[initial, float(v)][2]:
        settings = load("independent.circle.own", "quick").replace(variance=float(v), steps=updates)
        path = FOLDER / f"own_v{round(100 * float(v)):02}"
        keep(steps[-1][1], settings, "python -m papers.a.separation_rate", path, rows)
    return rows


def keep(model: nn.Module, settings: RunSettings, command: str, path: Path, rows: list) -> None:
    """Write a run as the library's model, in half precision, with its record and its curve, under
    a path that its seed completes."""
    seed = rows[0]["seed"]
    with torch.random.fork_rng():  # a library's model is built from a seed of its own
        library = run.build(settings, seed)
    library.load_state_dict(model.state_dict())
    steps = [row | {"step": row["update"]} for row in rows]
    record = run.make_record(command, settings, seed, steps)
    record["data"] = load_digits("train", sample=True).provenance
    run.write_run(library.half(), rows, path.with_name(f"{path.name}-seed{seed}"), record)


def list_tasks() -> list[dict[str, Any]]:
    """All runs, in the order in which they are made."""
    tasks = []
    for (initial, v), (seeds, updates, _) in RUNS.items():
        tasks += [
            {"run": f"{initial} {v}", "seed": seed, "update": updates} for seed in range(seeds)
        ]
    return tasks


if __name__ == "__main__":
    train_missing(FOLDER / "coin.csv", list_tasks(), train_one)
