"""Moving digits as paper A: a red and a green MNIST digit that travel and bounce, each in a colour plane of its own.

The digits never meet (each has its plane), so a frame holds two independent things, and their true positions are
known. A digit moves on a straight line by `step` of the canvas a frame and is reflected at the edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from unbraid.data.idx import read_idx
from unbraid.data.sequences import Sequences
from unbraid.data.sources import DataError, find

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
DESCRIPTIONS = {"mnist": "MNIST", "mnist-sample": "the clone's sample of 5 000 MNIST digits"}


@dataclass(frozen=True)
class Digits:
    """Single digits: images (N, 28, 28) uint8, labels (N,) in 0..9, a sentence that says whose they are, and its source's name."""

    images: Tensor
    labels: Tensor
    split: str
    provenance: str
    source: str = ""  # "mnist" or "mnist-sample"; nothing for digits that come from elsewhere

    def __len__(self) -> int:
        return len(self.images)


def load_digits(split: str = "train", source: str = "auto") -> Digits:
    """MNIST's digits of a split, "train" or "test".

    source: "mnist" (all 70 000; `make data` brings them), "mnist-sample" (the 5 000 that travel with the clone)
    or "auto" (the first if it is at hand, else the second).

    The sample's test digits come from MNIST's training file. They are left out of MNIST's training split here, so
    that whoever trains on the one may test on the other.
    """
    if split not in FILES:
        raise ValueError(f"split: expected train or test, found {split!r}")
    if source not in ("auto", *DESCRIPTIONS):
        raise ValueError(f"source: expected auto, {' or '.join(DESCRIPTIONS)}, found {source!r}")
    name = source if source != "auto" else "mnist" if find("mnist") is not None else "mnist-sample"
    images, labels = _read(name, split)
    if name == "mnist" and split == "train":
        held_out = {image.tobytes() for image in _read("mnist-sample", "test")[0]}
        keep = np.array([image.tobytes() not in held_out for image in images])
        images, labels = images[keep], labels[keep]
    provenance = f"{DESCRIPTIONS[name]}, {split} split, {len(images)} digits"
    return Digits(
        torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)), split, provenance, name
    )


def _read(name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    files = find(name)
    if files is None:
        raise DataError(
            f"{name}: expected its files in the cache or the mirror, found none; run: python -m unbraid data fetch {name}"
        )
    images, labels = (read_idx(files[file]) for file in FILES[split])
    if images.ndim != 3 or images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise DataError(
            f"{name}: expected images (N, 28, 28) with N labels, found {images.shape} and {labels.shape}; "
            f"run: python -m unbraid data fetch {name}"
        )
    return images, labels


class MovingDigits:
    """An endless supply of sequences drawn from a set of digits.

    digits: load_digits(...). image_size: 64 as paper A, or 32 (digits halved to 14 x 14 by averaging 2 x 2 pixels).
    length: T. step: distance a frame, as a share of the canvas a digit's corner can travel
    (36 pixels at 64, hence 3.6 pixels a frame at 0.1).
    """

    def __init__(self, digits: Digits, image_size: int = 64, length: int = 5, step: float = 0.1):
        if image_size not in (32, 64):
            raise ValueError(f"image_size: expected 32 or 64, found {image_size}")
        if length < 1 or not 0 <= step <= 1:
            raise ValueError(
                f"expected length >= 1 and 0 <= step <= 1, found length {length} and step {step}"
            )
        images = digits.images.float() / 255
        if image_size == 32:
            images = torch.nn.functional.avg_pool2d(images[:, None], 2)[:, 0]
        self.images, self.digits = images, digits
        self.image_size, self.length, self.step = image_size, length, step
        self.travel = image_size - images.shape[-1]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Which digits and where: indices (B, 2), and positions (B, T, 2, 2) in [0, 1] (digit n; x, then y)."""
        which = torch.randint(len(self.images), (count, 2), generator=generator)
        start = torch.rand(count, 1, 2, 2, generator=generator)
        angle = 2 * math.pi * torch.rand(count, 1, 2, 1, generator=generator)
        direction = torch.cat([angle.cos(), angle.sin()], -1)
        straight = start + self.step * torch.arange(self.length)[None, :, None, None] * direction
        folded = straight.remainder(
            2
        )  # reflection: unfold the canvas, walk straight on, fold it back
        return which, torch.where(folded > 1, 2 - folded, folded)

    def frames(
        self, count: int, generator: torch.Generator, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`count` sequences as float frames (B, T, 3, H, W) in [0, 1], their digits (B, 2) and positions (B, T, 2, 2).

        Channel 0 (red) holds the first digit, channel 1 (green) the second, channel 2 nothing.
        out: a buffer of the frames' shape to draw into, which spares allocating one a batch.
        """
        which, positions = self.draw(count, generator)
        size = self.image_size
        shape = (count, self.length, 3, size, size)
        if out is None:
            out = torch.zeros(shape)
        elif tuple(out.shape) != shape or not out.is_contiguous() or out.dtype != torch.float32:
            raise ValueError(
                f"out: expected {shape}, contiguous float32, found {tuple(out.shape)}, {out.dtype}; make it with torch.zeros"
            )
        else:
            out.zero_()
        corners = (positions * self.travel).round().long()  # whole pixels, (B, T, 2, 2)
        plane = torch.arange(count * self.length).view(count, self.length, 1) * 3 + torch.arange(2)
        first = (
            plane * size * size + corners[..., 1] * size + corners[..., 0]
        )  # (B, T, 2): a digit's top left pixel in memory
        side = self.images.shape[-1]
        # every window of side x side pixels, numbered by its first pixel; no copy, and digits never share a plane
        windows = out.view(-1).as_strided(
            (out.numel() - (side - 1) * (size + 1), side, side), (1, size, 1)
        )
        windows[first] = self.images[which][:, None]
        return out, which, positions

    def batch(self, count: int, generator: torch.Generator) -> Sequences:
        """`count` sequences with everything known about them.

        Labels: red_digit, green_digit (B,), static; red_position, green_position (B, T, 2) in [0, 1], dynamic.
        """
        frames, which, positions = self.frames(count, generator)
        labels = {
            "red_digit": self.digits.labels[which[:, 0]],
            "green_digit": self.digits.labels[which[:, 1]],
            "red_position": positions[:, :, 0],
            "green_position": positions[:, :, 1],
        }
        return Sequences(
            frames=frames,
            labels=labels,
            static=("red_digit", "green_digit"),
            dynamic=("red_position", "green_position"),
            split=self.digits.split,
            provenance=f"moving digits {self.image_size} x {self.image_size}, drawn from {self.digits.provenance}",
        )


def load_moving_digits(
    split: str = "train",
    count: int = 1000,
    image_size: int = 64,
    length: int = 5,
    seed: int = 0,
    source: str = "auto",
) -> Sequences:
    """A fixed sample of moving digits: `count` sequences as bytes (count, length, 3, image_size, image_size).

    split       "train" or "test": from which digits, and so that no path of the one is a path of the other
    image_size  64 or 32; length: steps; seed: of the drawing, the first sequences stay the same whatever the count
    source      as `load_digits`

    Labels as `MovingDigits.batch`, whose endless supply is the better choice for training.
    """
    if count < 1:
        raise ValueError(f"count: expected at least 1, found {count}")
    supply = MovingDigits(load_digits(split, source), image_size, length)
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))
    drawn = []
    for _ in range(
        0, count, 100
    ):  # always whole hundreds, so that the count changes nothing in what is drawn
        batch = supply.batch(100, generator)
        drawn.append(replace(batch, frames=batch.frames.mul(255).round().byte()))
    digits = tuple(map(str, range(10)))
    return replace(
        drawn[0],
        frames=torch.cat([batch.frames for batch in drawn])[:count],
        labels={
            name: torch.cat([batch.labels[name] for batch in drawn])[:count]
            for name in drawn[0].labels
        },
        provenance=f"{count} sequences of {drawn[0].provenance}; seed {seed}",
        classes={"red_digit": digits, "green_digit": digits},
    )
