"""Paper A's model at its own size, trained on one GPU: two moving digits, 64 x 64.

`IndependentPrediction.elbo` a second time, for speed alone; see papers/full_size.py. The data are
MNIST's training files. `python papers/a/full_size.py --seconds 560` trains so long.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

if not __package__:  # run as a script, below or beside lib/
    root = next(place for place in Path(__file__).resolve().parents if (place / "lib").is_dir())
    sys.path[:0] = [str(root), str(root / "lib")]

from unbraid.data import fetch, moving_digits
from unbraid.distributions import DiagonalGaussian, kl
from unbraid.models.base import Noise
from unbraid.models.independent import IndependentPrediction

from papers import full_size as engine

UNWEIGHTED = [[0.0, 1.0]]  # the paper's KL term: a weight of 1 from the first update on


def draw(
    images: Tensor,
    count: int,
    length: int,
    law: Callable[..., Tensor],
    speeds: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sequences of two moving digits, bytes (B, T, 3, 64, 64), on the device of the images.

    images: bytes (M, 28, 28). law: `bounce` or `circle` of unbraid.data.moving_digits. speeds:
    (2, 1), as the law reads them. Red is the first digit.
    """
    with images.device:
        positions = law(count, torch.arange(length)[None, :, None, None], speeds, generator)
        which = torch.randint(len(images), (count, 2), generator=generator)
        frames = torch.zeros(count, length, 3, 64, 64, dtype=torch.uint8)
        plane = torch.arange(count * length).view(count, length, 1) * 3 + torch.arange(2)
        offset = (torch.arange(28)[:, None] * 64 + torch.arange(28)).flatten()  # (784,)
    corner = (positions * 36).round().long()  # (B, T, 2, 2): digit; x, then y
    first = plane * 64 * 64 + corner[..., 1] * 64 + corner[..., 0]
    digits = images[which][:, None].expand(count, length, 2, 28, 28)
    frames.view(-1).scatter_(0, (first[..., None] + offset).flatten(), digits.reshape(-1))
    return frames


@engine.compiled
def filter_codes(
    model: IndependentPrediction, features: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Latents (T, B, K d) and KL (B,) of features (T, B, 32) and noise (T, B, K d)."""
    prior = DiagonalGaussian(torch.zeros_like(noise[0]), torch.zeros_like(noise[0]))
    latents: list[Tensor] = []
    divergences: list[Tensor] = []
    for seen, drawn in zip(features, noise, strict=True):
        if latents:
            prior = model.prior(latents[-1])
        # The posterior may use the prediction; only the KL term may shape it.
        posterior = model.posterior(seen, prior.detach())
        latents.append(posterior.draw(drawn))
        divergences.append(kl(posterior, prior))
    return torch.stack(latents), torch.stack(divergences).sum(0)


class DigitsRun(engine.Run):
    """The training of paper A's model on moving digits."""

    model_class = IndependentPrediction
    model: IndependentPrediction
    rate: Tensor
    kl_weight: Tensor

    def describe(self) -> dict[str, Any]:
        options, dataset, run = self.options, "bounce", "published"
        changes: dict[str, Any] = {"factors": 2, "factor_size": 20}
        if options.circle:
            dataset, run = "circle", "published_circle"
            changes["speeds"] = options.circle
        if options.kl != UNWEIGHTED:
            run += "_weights"
            changes["kl_weight"] = options.kl
        if options.entangled:
            run += "_entangled"
            changes |= {"factors": 1, "factor_size": 40}
        if options.length != 5:
            changes["length"] = options.length
        return {"section": f"independent.{dataset}.{run}", "run": run, "changes": changes}

    def load(self) -> None:
        options = self.options
        fetch.files("mnist", moving_digits.FILES["train"])  # never the clone's small sample
        self.digits = moving_digits.load_digits("train").images.to(self.device)
        self.law = moving_digits.PATHS["circle" if options.circle else "bounce"]
        self.speeds = torch.tensor(options.circle or [0.1, 0.1], device=self.device)[:, None]
        # The recorded update reads both where `prepare` writes them.
        self.rate = torch.tensor(3e-4, device=self.device)
        self.kl_weight = torch.tensor(1.0, device=self.device)

    def prepare(self) -> int:
        """The rate falls by 1.5 % every 320 000 sequences; the KL term weighs as asked."""
        options = self.options
        self.rate.fill_(3e-4 * 0.985 ** (self.step * options.batch // 320000))
        shares, weights = zip(*options.kl, strict=True)
        self.kl_weight.fill_(float(np.interp(self.step / options.steps, shares, weights)))
        return super().prepare()

    def draw(self, count: int) -> Tensor:
        return draw(self.digits, count, self.options.length, self.law, self.speeds)

    def terms(self, frames: Tensor, noise: Noise, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """As in `Run`; inside, steps come first, because each is normalised by itself."""
        model, length = self.model, frames.shape[1]
        flat = frames.transpose(0, 1).flatten(0, 1)  # (T B, 3, 64, 64)
        patches = engine.to_patches(flat, dtype)
        features = engine.run_network(model.encoder, patches, dtype, length)
        draws = torch.cat(list(noise.values()), 2).transpose(0, 1)  # (T, B, K d)
        features = features.to(draws.dtype).unflatten(0, (length, -1))  # (T, B, 32)
        latents, divergence = filter_codes(model, features, draws)
        means = engine.run_network(model.decoder, latents.flatten(0, 1), dtype, length)
        likelihood = engine.score(flat, means, model.variance).unflatten(0, (length, -1)).sum(0)
        return likelihood - self.kl_weight * divergence, likelihood, divergence


def read_numbers(text: str) -> list[float]:
    """Numbers between commas."""
    return [float(part) for part in text.split(",")]


def read_knots(text: str) -> list[list[float]]:
    """Knots [share of the updates, weight], written share:weight, between commas."""
    return [read_numbers(part.replace(":", ",")) for part in text.split(",")]


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line, or of these arguments."""
    parser = engine.make_parser(__doc__, "a", steps=200000, batch=100)
    parser.add_argument("--length", type=int, default=5, help="frames of a sequence")
    parser.add_argument("--entangled", action="store_true", help="one factor of 40 units")
    parser.add_argument("--circle", type=read_numbers, help="two speeds in rad, e.g. 0.5,-0.9")
    parser.add_argument("--kl", type=read_knots, default=UNWEIGHTED, help="e.g. 0:.1,.1:1,.5:4")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    engine.main(DigitsRun(read_options()))
