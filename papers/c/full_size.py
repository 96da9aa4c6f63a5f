"""Paper C's model at its own size, trained on one GPU: Sprites, 64 x 64.

`SingleElement.elbo` a second time, for speed alone; see papers/full_size.py. The data are the
sheets in sprites-li/. `python papers/c/full_size.py --seconds 560` trains so long.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, ClassVar

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
from unbraid.models.single_element import SingleElement

from papers import full_size as engine
from papers.c.variants import ReleasedElement


def run_lstm(network: nn.LSTM, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """The outputs (B, T, ...) of an LSTM, computed in `dtype`, in the precision of the inputs."""
    with torch.autocast(inputs.device.type, dtype, enabled=dtype != inputs.dtype):
        return network(inputs)[0].to(inputs.dtype)


@torch.no_grad()
def measure(model: SingleElement, clips: Tensor, numbers: np.ndarray) -> dict[str, float]:
    """Swaps of all test clips with random donors, named by the nearest of all test clips.

    clips: bytes (9 N, 8, 3, 64, 64), the motions of each of the characters `numbers` (N,). What is
    decoded has the clip's d and its donor's s. "direction_with_d" is the share that shows the
    clip's direction, of pairs with different directions; the other shares likewise.
    """
    donors = torch.randperm(len(clips), generator=torch.Generator().manual_seed(1)).to(clips.device)
    values = clips.flatten(1).float() / 255
    center = values.mean(0)
    values = values - center
    lengths = values.square().sum(1)
    codes = [model.encode(batch.float() / 255) for batch in clips.split(128)]
    lent = torch.cat([code["static"] for code in codes])[donors].split(128)
    nearest_of, errors = [], []
    for code, static, true in zip(codes, lent, values.split(128), strict=True):
        swapped = model.decode(code | {"static": static}).flatten(1) - center
        nearest_of.append((lengths - 2 * swapped @ values.T).argmin(1))
        errors.append((model.decode(code).flatten(1) - center - true).square().sum(1))
    nearest = torch.cat(nearest_of)

    motion = torch.arange(9, device=clips.device).repeat(len(numbers))
    names = torch.from_numpy(np.stack([numbers, *np.unravel_index(numbers, (6, 6, 6, 6))]))
    character, *clothes = names.to(clips.device).repeat_interleave(9, 1)
    is_true = (motion[nearest] == motion) & (character[nearest] == character[donors])
    found = {"nearest": is_true.float()}
    moving = {"direction": motion % 3, "action": motion // 3}
    staying = dict(zip(("skin", "trousers", "top", "hair"), clothes, strict=True))
    for name, label in (moving | staying).items():
        differ = label != label[donors]
        if name in moving:
            found[f"{name}_with_d"] = (label[nearest] == label)[differ].float()
        if name != "action":
            found[f"{name}_with_s"] = (label[nearest] == label[donors])[differ].float()
    found["squared_error_per_frame"] = torch.cat(errors) / clips.shape[1]
    return {name: round(value.mean().item(), 4) for name, value in found.items()}


class SpritesRun(engine.Run):
    """The training of paper C's model on clips, bytes (N, 8, 3, 64, 64).

    test_clips: nine of each of the characters `numbers`, which are measured at the marks.
    """

    model_class = ReleasedElement
    model: ReleasedElement
    rate = 2e-3
    reserve = 20  # the last measurement is among it
    marks = (1000, 3500, 5000, 10000, *range(20000, 140000, 20000))
    weights: ClassVar = {"log_likelihood": 5.0, "anchor": 1.0}  # the released ones

    def describe(self) -> dict[str, Any]:
        changes = {"anchor_alone": self.options.twice}
        if self.options.people != 1000:
            changes["people"] = self.options.people
        section = "single_element.sprites.published"
        return {"section": section, "run": "published", "changes": changes}

    def load(self) -> None:
        cells = np.array([sprites.POSES[pose].cell for pose in sprites.MOTION_POSES.flatten()])
        few = 3 if self.options.cpu else None
        self.numbers = sprites.characters("test")[:few]
        people = sprites.characters("train")[: few or self.options.people]
        clips = [engine.compose(numbers, cells) for numbers in (people, self.numbers)]
        clips = [part.reshape(-1, 8, 3, 64, 64) for part in clips]
        # After both, because they are drawn by copies of this process, which know no GPU.
        self.train_clips, self.test_clips = (part.to(self.device) for part in clips)

    def draw(self, count: int) -> Tensor:
        rows = torch.randint(len(self.train_clips), (count,), device=self.device)
        return self.train_clips[rows]

    def terms(self, frames: Tensor, noise: Noise, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """As in `Run`; the objective is the released one.

        With --twice the anchor is decoded once more, with batch statistics of its own, as the
        authors' code does.
        """
        model, (count, length), flat = self.model, frames.shape[:2], frames.flatten(0, 1)
        features = engine.run_network(model.codec.encoder, engine.to_patches(flat, dtype), dtype)
        features = features.to(noise["anchor"].dtype).unflatten(0, (count, length))  # (B, T, 256)

        static = model.static_head(features[:, 0])
        inputs = torch.cat([noise["anchor"][:, None], features[:, 1:] - features[:, :1]], 1)
        encoder, prior = model.dynamic_encoder, model.prior
        dynamic = encoder.head(run_lstm(encoder.recurrent, inputs, dtype))
        s, d = static.draw(noise["static"]), dynamic.draw(noise["dynamic"])
        predicted = prior.head(run_lstm(prior.recurrent, F.pad(d, (0, 0, 1, -1)), dtype))
        divergence = kl(static, standard_normal_like(s)) + kl(dynamic, predicted).sum(1)

        codes = torch.cat([d, s[:, None].expand(-1, length, -1)], 2)  # (B, T, 512)
        means = engine.run_network(model.codec.decoder, codes.flatten(0, 1), dtype)
        by_frame = engine.score(flat, means, model.variance).unflatten(0, (count, length))
        likelihood, anchor = by_frame.sum(1), by_frame[:, 0]
        if self.options.twice:
            means = engine.run_network(model.codec.decoder, codes[:, 0], dtype)
            anchor = engine.score(frames[:, 0], means, model.variance)
        weights = self.weights
        objective = weights["log_likelihood"] * likelihood + weights["anchor"] * anchor - divergence
        return objective, likelihood, divergence

    def save(self) -> None:
        """As in `Run`, after a measurement with exact products."""
        if self.step not in self.checks:
            engine.set_short_products(False)
            self.checks[self.step] = measure(self.model.eval(), self.test_clips, self.numbers)
            self.model.train()
            engine.set_short_products(True)
            engine.say(self.checks[self.step])
        super().save()


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line, or of these arguments."""
    parser = engine.make_parser(__doc__, "c", steps=140000, batch=128)
    parser.add_argument("--people", type=int, default=1000, help="characters to train on")
    parser.add_argument("--twice", action="store_true", help="decode the anchor a second time")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    engine.main(SpritesRun(read_options()))
