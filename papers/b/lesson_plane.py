"""Notebook 22's own training: three seeds with the paper's initial weights, and three with ours.

`python -m papers.b.lesson_plane` runs the functions that the notebook shows and measures, on test
characters, what it measures. Nothing was chosen by these figures. Runs whose rows are in the table
are not made again.
"""

from functools import partial
from itertools import product
from typing import Any

import torch
from torch import nn
from unbraid import load_judge, records
from unbraid.data.sprites import POSE_LABELS, load_poses, visible_attributes
from unbraid.measures.judges import judge_classes
from unbraid_course.lessons import n22

from papers.measured_runs import train_missing, watch

FOLDER = records.results() / "unordered" / "sprites_poses" / "quick"
WATCHED = 200  # test characters
EVERY = 600  # updates
UPDATES, SEEDS = 2400, 3
INITIAL = {"paper": nn.init.xavier_uniform_, "ours": nn.init.kaiming_normal_}  # by run


class World:
    """Notebook 22's data: each fifth training character lacks an action, and some are watched."""

    def __init__(self) -> None:
        self.test, train = load_poses("test", image_size=32), load_poses("train", image_size=32)
        lacks = torch.full((len(train),), -1)
        lacks[::5] = torch.arange(len(lacks[::5])) % 6
        self.frames, action = train.frames, POSE_LABELS["action"]
        self.seen = (action != lacks[:, None]).float()
        self.motion = 4 * action + POSE_LABELS["direction"]
        self.judge = partial(judge_classes, load_judge("sprites_poses", self.test.classes))
        self.visible = visible_attributes(self.test.classes["pose"])
        generator = torch.Generator().manual_seed(0)
        self.poses = n22.pick(torch.ones(WATCHED, 178), n22.N, generator)

    @torch.no_grad()
    def measure(self, model: Any) -> dict[str, float]:
        """The bound's terms in nats (error and kl_d per frame, kl_s per sample), and figures."""
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(WATCHED, 64, generator=generator)
        of_frames = torch.randn(WATCHED, 4, 2, generator=generator)
        watched = self.test.frames[torch.arange(WATCHED)[:, None], self.poses].float() / 255
        error, kl_s, kl_d = (t.mean().item() for t in model.loss(watched, noise, of_frames))
        s, d, shares = n22.judge_watched(model, self.test, self.poses, self.judge, self.visible)
        motions = n22.judge_plane(model, s[:100], n22.make_grid(d, 12, share=0.95), self.judge)
        order = torch.rand(motions.shape, generator=generator).argsort(1)
        row = {"error": error / 4, "kl_s": kl_s, "kl_d": kl_d / 4}
        row["coherence"] = n22.coherence(motions)
        row["chance"] = n22.coherence(motions.gather(1, order))
        drawn = n22.draw_absent(model, s, self.frames, self.seen, self.test)
        row["absent"] = n22.count_right(*drawn, self.judge, self.motion)
        return row | shares


def train_one(run: str, seed: int, updates: int) -> list[dict[str, Any]]:
    """The rows of a run, measured every `EVERY` updates; seconds are the processor's."""
    world, model, rows = World(), n22.small_model(seed, INITIAL[run]), []
    draw = partial(n22.draw_sets, world.frames, world.seen)
    training = n22.train(model, updates, seed, draw=draw)
    for update, seconds in watch(training, range(EVERY, updates + 1, EVERY)):
        figures = {name: round(value, 4) for name, value in world.measure(model).items()}
        rows.append({"run": run, "seed": seed, "update": update, "seconds": seconds} | figures)
    return rows


if __name__ == "__main__":
    runs = product(INITIAL, range(SEEDS))
    tasks = [{"run": run, "seed": seed, "update": UPDATES} for run, seed in runs]
    train_missing(FOLDER / "own_plane.csv", tasks, train_one)
