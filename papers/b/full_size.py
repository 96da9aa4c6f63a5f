"""Paper B's model at its own size, trained on one GPU: all 178 poses of the sprites, 64 x 64.

`UnorderedFrames.elbo` a second time, for speed alone; see papers/full_size.py. The data are the
sheets in sprites-li/. `python papers/b/full_size.py --seconds 560` trains so long.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

if not __package__:  # run as a script, below or beside lib/
    root = next(place for place in Path(__file__).resolve().parents if (place / "lib").is_dir())
    sys.path[:0] = [str(root), str(root / "lib")]

from unbraid.data import sprites
from unbraid.distributions import kl, standard_normal_like
from unbraid.models.base import Noise
from unbraid.models.unordered import Decoder, UnorderedFrames

from papers import full_size as engine


@engine.compiled
def decode(decoder: Decoder, s: Tensor, d: Tensor, dtype: torch.dtype) -> Tensor:
    """Logits (N, 64, 64, 3) of s (N, 512) and d (N, 2)."""
    first = decoder.first
    maps = F.linear(torch.cat([s, d], 1).to(dtype), first.weight.to(dtype), first.bias.to(dtype))
    maps = F.leaky_relu(maps, decoder.slope).unflatten(1, (-1, 4, 4)).permute(0, 2, 3, 1)
    for layer in decoder.stages:
        maps = F.leaky_relu(engine.convolve(maps, cast(nn.ConvTranspose2d, layer)), decoder.slope)
    return engine.paint(maps, decoder.last)


@engine.compiled
def score(frames: Tensor, logits: Tensor) -> Tensor:
    """Log-likelihoods (N,) in nats, Bernoulli, of bytes (N, 3, 64, 64) and logits."""
    values = frames.permute(0, 2, 3, 1).to(logits.dtype) * (1 / 255)
    return -(F.softplus(logits) - logits * values).flatten(1).sum(1)


class PosesRun(engine.Run):
    """The training of paper B's model on all poses of characters, bytes (P, 178, 3, 64, 64)."""

    model_class = UnorderedFrames
    model: UnorderedFrames
    chunk, row, reserve = 125, 500, 12
    marks = range(0, 10**9, 10000)

    def describe(self) -> dict[str, Any]:
        options, run = self.options, "published"
        changes: dict[str, Any] = {}
        if options.no_pairs:
            run += "_no_pairs"
            changes["pairs"] = False
        if options.free_prior:
            run += "_free_prior"
            changes["prior_given_static"] = False
        if options.rate != 1e-4:
            changes["learning_rate"] = options.rate
        if options.frames != 10:
            changes["length"] = options.frames
        return {"section": f"unordered.sprites_poses.{run}", "run": run, "changes": changes}

    def load(self) -> None:
        self.rate = self.options.rate
        cells = np.array([pose.cell for pose in sprites.POSES])
        people = sprites.characters("train")[: 3 if self.options.cpu else None]
        self.people = engine.compose(people, cells).to(self.device)

    def draw(self, count: int) -> Tensor:
        """As in `Run`: characters with replacement, of each some poses without."""
        rows = torch.randint(len(self.people), (count,), device=self.device)
        chances = torch.rand(count, 178, device=self.device)
        return self.people[rows[:, None], chances.topk(self.options.frames, 1).indices]

    def terms(self, frames: Tensor, noise: Noise, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """As in `Run`; the library's own encoders behind the convolutions, and its prior."""
        model, (count, length), flat = self.model, frames.shape[:2], frames.flatten(0, 1)
        maps = engine.run_network(model.trunk, engine.to_patches(flat, dtype), dtype)
        features = maps.permute(0, 3, 1, 2).to(noise["static"].dtype).contiguous()  # (N, 256, 4, 4)
        features = features.unflatten(0, (count, length))
        static = model.static_encoder(features)
        s = static.draw(noise["static"])  # (B, 512)
        dynamic = model.dynamic_posterior(features, s)
        d = dynamic.draw(noise["dynamic"])  # (B, T, 2)
        divergence = kl(static, standard_normal_like(s)) + kl(dynamic, model.prior(s)).sum(1)

        by_frame = s[:, None].expand(-1, length, -1).flatten(0, 1)
        logits = decode(model.decoder, by_frame, d.flatten(0, 1), dtype)
        likelihood = score(flat, logits).unflatten(0, (count, length)).sum(1)
        return likelihood - divergence, likelihood, divergence


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line, or of these arguments."""
    parser = engine.make_parser(__doc__, "b", steps=43000, batch=120)
    parser.add_argument("--frames", type=int, default=10, help="drawn of each character")
    parser.add_argument("--rate", type=float, default=1e-4, help="of Adam")
    parser.add_argument("--no-pairs", action="store_true", help="each frame with itself alone")
    parser.add_argument("--free-prior", action="store_true", help="d from N(0, I)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    engine.main(PosesRun(read_options()))
