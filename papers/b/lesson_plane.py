"""Notebook 22's own training: three seeds with the paper's initial weights, and three with ours.

`python -m papers.b.lesson_plane` runs the functions that the notebook shows and measures, on test
characters, what it measures. Nothing was chosen by these figures. Runs whose rows are in the table
are not made again.
"""

from itertools import product
from typing import Any

import torch
from torch import nn
from unbraid import load_judge, records
from unbraid.data.sprites import POSE_LABELS, load_poses, visible_attributes
from unbraid.lessons import n22

from papers.measured_runs import train_missing, watch

FOLDER = records.results() / "unordered" / "sprites_poses" / "quick"
WATCHED = 200  # test characters
EVERY = 600  # updates
UPDATES, SEEDS = 2400, 3
INITIAL = {"paper": nn.init.xavier_uniform_, "ours": nn.init.kaiming_normal_}  # by run


def lay_data() -> None:
    """Give notebook 22's functions the data that they take from its page."""
    test, train = load_poses("test", image_size=32), load_poses("train", image_size=32)
    lacks = torch.full((len(train),), -1)
    lacks[::5] = torch.arange(len(lacks[::5])) % 6
    n22.frames, n22.seen = train.frames, (POSE_LABELS["action"] != lacks[:, None]).float()
    n22.test, n22.judge = test, load_judge("sprites_poses", test.classes)
    n22.visible = visible_attributes(test.classes["pose"])
    n22.some, n22.who = WATCHED, torch.arange(WATCHED)[:, None]
    generator = torch.Generator().manual_seed(0)
    n22.poses = n22.pick(torch.ones(WATCHED, 178), n22.N, generator)
    n22.watched = test.frames[n22.who, n22.poses].float() / 255


@torch.no_grad()
def measure(model: Any) -> dict[str, float]:
    """The bound's terms in nats (error and kl_d per frame, kl_s per sample), and the figures."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(WATCHED, 64, generator=generator)
    of_frames = torch.randn(WATCHED, 4, 2, generator=generator)
    error, kl_s, kl_d = (t.mean().item() for t in model.loss(n22.watched, noise, of_frames))
    s, d, shares = n22.judge_watched(model)
    motions = n22.judge_plane(model, s[:100], n22.make_grid(d, 12, share=0.95))
    order = torch.rand(motions.shape, generator=generator).argsort(1)
    row = {"error": error / 4, "kl_s": kl_s, "kl_d": kl_d / 4}
    row["coherence"] = n22.coherence(motions)
    row["chance"] = n22.coherence(motions.gather(1, order))
    row["absent"] = n22.count_absent(model, s)
    return row | shares


def train_one(run: str, seed: int, updates: int) -> list[dict[str, Any]]:
    """The rows of a run, measured every `EVERY` updates; seconds are the processor's."""
    lay_data()
    model, rows = n22.small_model(seed, INITIAL[run]), []
    training = n22.train(model, updates, seed)
    for update, seconds in watch(training, range(EVERY, updates + 1, EVERY)):
        figures = {name: round(value, 4) for name, value in measure(model).items()}
        rows.append({"run": run, "seed": seed, "update": update, "seconds": seconds} | figures)
    return rows


if __name__ == "__main__":
    runs = product(INITIAL, range(SEEDS))
    tasks = [{"run": run, "seed": seed, "update": UPDATES} for run, seed in runs]
    train_missing(FOLDER / "own_plane.csv", tasks, train_one)
