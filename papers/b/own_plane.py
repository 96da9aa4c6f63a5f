"""Notebook 22's own training: three seeds, and what each part of our training changes in it.

`python -m papers.b.own_plane` runs the functions that the notebook shows and measures, on test
characters, what it measures. Nothing was chosen by these figures. Runs whose rows are in the table
are not made again.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from unbraid import load_judge, records
from unbraid.data.sprites import POSE_LABELS, load_poses, visible_attributes
from unbraid.lessons import n22
from unbraid.networks import draw_he_weights

from papers.measured_runs import train_missing, watch

FOLDER = records.results() / "unordered" / "sprites_poses" / "quick"
WATCHED = 200  # test characters
EVERY = 600  # updates
RUNS = {  # updates of each, and seeds
    "paper": (2400, 3),
    "normalised": (600, 1),
    "he_weights": (600, 1),
    "little_noise": (600, 1),
    "rising_weights": (600, 1),
    "falling_rate": (600, 1),
}


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


def normalise(network: nn.Sequential) -> nn.Sequential:
    """The same layers, with batch normalisation after each convolution but a decoder's last."""
    layers: list[nn.Module] = []
    for number, layer in enumerate(network):
        layers.append(layer)
        is_last = number == len(network) - 1
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and not is_last:
            layers.append(nn.BatchNorm2d(layer.out_channels))
    return nn.Sequential(*layers)


def make_model(kind: str, seed: int) -> Any:
    """The notebook's small model, with the change of this kind, if it is one of the model."""
    model = n22.small_model(seed)
    if kind == "normalised":
        model.encoder.trunk, model.decoder = map(normalise, (model.encoder.trunk, model.decoder))
    if kind == "he_weights":
        draw_he_weights(model)
    if kind == "little_noise":
        for layer in (model.encoder.static.dense[-1], model.encoder.dynamic[-1]):
            layer.bias.data.chunk(2)[1].sub_(4)
    return model


def make_objective(kind: str, updates: int) -> Callable[..., Tensor]:
    """Minus the bound of each sample; where the weights rise, as in runs.toml."""
    made = count()  # It is called once for each update.
    if kind != "rising_weights":
        return lambda error, kl_s, kl_d: error + kl_s + kl_d

    def objective(error: Tensor, kl_s: Tensor, kl_d: Tensor) -> Tensor:
        share = next(made) / updates
        of_s = 0.02 + 0.98 * min(1.0, max(0.0, (share - 0.5) / 0.35))
        return error + of_s * kl_s + min(1.0, share / 0.3) * kl_d

    return objective


def make_optimizer(model: Any, kind: str, updates: int) -> torch.optim.Optimizer:
    """Adam with the notebook's rate, or with one that falls in the second half of the run."""
    made = count()
    if kind != "falling_rate":
        return torch.optim.Adam(model.parameters(), lr=1e-3)

    def set_rate(optimizer: torch.optim.Optimizer, *_: object) -> None:
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1.0, 2 - 2 * next(made) / updates)

    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    optimizer.register_step_pre_hook(set_rate)
    return optimizer


@torch.no_grad()
def measure(model: Any) -> dict[str, float]:
    """The bound's terms in nats (error and kl_d per frame, kl_s per sample), and the figures."""
    model.eval()
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(WATCHED, 64, generator=generator)
    of_frames = torch.randn(WATCHED, 4, 2, generator=generator)
    error, kl_s, kl_d = (t.mean().item() for t in model.loss(n22.watched, noise, of_frames))
    s, d, shares = n22.look(model)
    motions = n22.judge_plane(model, s[:100], n22.make_grid(d, 12, share=0.95))
    order = torch.rand(motions.shape, generator=generator).argsort(1)
    row = {"error": error / 4, "kl_s": kl_s, "kl_d": kl_d / 4}
    row["coherence"] = n22.coherence(motions)
    row["chance"] = n22.coherence(motions.gather(1, order))
    row["absent"] = n22.count_absent(model, s)
    model.train()
    return row | shares


def train_one(kind: str, seed: int, updates: int) -> list[dict[str, Any]]:
    """The rows of a run, measured every `EVERY` updates; seconds are the processor's."""
    lay_data()
    model, rows = make_model(kind, seed), []
    ours = make_objective(kind, updates), make_optimizer(model, kind, updates)
    training = n22.train(model, updates, seed, *ours)
    for update, seconds in watch(training, range(EVERY, updates + 1, EVERY)):
        figures = {name: round(value, 4) for name, value in measure(model).items()}
        rows.append({"run": kind, "seed": seed, "update": update, "seconds": seconds} | figures)
    return rows


if __name__ == "__main__":
    tasks: list[dict[str, Any]] = []
    for kind, (updates, seeds) in RUNS.items():
        tasks += [{"run": kind, "seed": seed, "update": updates} for seed in range(seeds)]
    train_missing(FOLDER / "own_plane.csv", tasks, train_one)
