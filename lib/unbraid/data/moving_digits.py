"""Moving digits as paper A: a red and a green MNIST digit, each moving in its own colour plane.

The digits never meet, so a frame holds two independent things whose true positions are known. A
law of motion moves them. Paper A's digits bounce: each moves on a straight line and is reflected
at the edges. Digits that circle about the middle of the canvas are ours. Paper B's data, the Moving
MNIST of Srivastava et al. (2015), have one grey plane, in which the digits overlap: `as_grey`.
"""

from __future__ import annotations

import gzip
import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unbraid.checks import check_choice, check_field, check_whole
from unbraid.data.fetch import files, find
from unbraid.data.sequences import Sequences

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
DESCRIPTIONS = {"mnist": "MNIST", "mnist-sample": "the clone's sample of MNIST"}
PATH_LENGTH = 20  # frames of the path that unordered digits are drawn from
RADII = (0.15, 0.5)  # of the circles, as shares of the travel


class Digits(NamedTuple):
    """Single digits: images (N, 28, 28) of bytes, labels (N,) in 0..9, and where they are from."""

    images: Tensor
    labels: Tensor
    split: str
    provenance: str
    source: str = ""  # "mnist", "mnist-sample", or nothing for digits that come from elsewhere


def read_idx(path: Path) -> np.ndarray:
    """The content of a gzipped IDX file of bytes: MNIST's (N,) labels or (N, 28, 28) images."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    shape = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + shape.nbytes).reshape(shape)


def load_digits(split: str = "train", source: str = "auto") -> Digits:
    """MNIST's digits of a split, "train" or "test".

    The test are the 10 000 digits of MNIST's test file, which travels with the clone. source says
    whence the training digits come: "mnist", 59 000 of its training file; "mnist-sample", those
    4 000 of them that travel with the clone; "auto", the first if they are at hand.
    """
    check_choice("split", split, FILES)
    check_choice("source", source, ("auto", *DESCRIPTIONS))
    if source == "auto":
        source = "mnist" if find("mnist", FILES["train"]) else "mnist-sample"
    if split == "test":
        source = "mnist"
    images, numbers = [read_idx(path) for path in files(source, FILES[split]).values()]
    if split == "train" and source == "mnist":
        kept = np.ones(len(numbers), bool)
        kept[in_turns(numbers)[4000:5000]] = False  # No record here was trained on these.
        images, numbers = images[kept], numbers[kept]
    provenance = f"{DESCRIPTIONS[source]}, {split} split, {len(images)} digits"
    labels = torch.from_numpy(numbers.astype(np.int64))
    return Digits(torch.from_numpy(images), labels, split, provenance, source)


def in_turns(numbers: np.ndarray) -> np.ndarray:
    """The places of digits (N,) in turns: the first 0, the first 1, ... the second 0, and so on.

    In MNIST's training file the first 4 000 of these are the sample of the clone, and the next
    1 000, which were once its test, are left out of all training.
    """
    turn = np.zeros(len(numbers), int)
    for digit in range(10):
        places = np.flatnonzero(numbers == digit)
        turn[places] = np.arange(len(places))
    return np.lexsort((numbers, turn))


def bounce(count: int, frames: Tensor, speeds: Tensor, generator: torch.Generator) -> Tensor:
    """Positions (B, T, 2, 2) of digits on straight lines that walls reflect.

    frames: the numbers of the frames, (1, T, 1, 1). speeds: (2, 1), shares of the travel.
    """
    start = torch.rand(count, 1, 2, 2, generator=generator)
    angle = 2 * math.pi * torch.rand(count, 1, 2, 1, generator=generator)
    direction = torch.cat([angle.cos(), angle.sin()], -1)
    straight = start + speeds * frames * direction
    # A reflected path is a straight one on the unfolded canvas, folded back.
    folded = straight.remainder(2)
    return torch.where(folded > 1, 2 - folded, folded)


def circle(count: int, frames: Tensor, speeds: Tensor, generator: torch.Generator) -> Tensor:
    """Positions (B, T, 2, 2) of digits on circles about the middle.

    frames: the numbers of the frames, (1, T, 1, 1). speeds: (2, 1), rad per frame.
    """
    low, high = RADII
    radius = low + (high - low) * torch.rand(count, 1, 2, 1, generator=generator)
    phase = 2 * math.pi * torch.rand(count, 1, 2, 1, generator=generator)
    angle = phase + speeds * frames
    return 0.5 + radius * torch.cat([angle.cos(), angle.sin()], -1)


PATHS = {"bounce": bounce, "circle": circle}


class MovingDigits:
    """An endless supply of sequences drawn from a set of digits.

    digits      `load_digits(...)`
    image_size  64 as paper A, or 32 (digits halved to 14 x 14 by averaging 2 x 2 pixels)
    length      T
    motion      "bounce", on straight lines between the walls, or "circle", about the middle; place,
                direction, radius and phase are drawn uniformly
    speeds      of the red and of the green digit per frame; for "bounce" as a share of the travel,
                the way that a digit's corner can go (36 pixels at 64); for "circle" in rad, whose
                sign is the sense of rotation
    grey        whether both digits are drawn in one plane, see `as_grey`
    kept        only so many of the T frames are drawn, without their order
    """

    def __init__(
        self,
        digits: Digits,
        image_size: int = 64,
        length: int = 5,
        motion: str = "bounce",
        speeds: tuple[float, float] = (0.1, 0.1),
        grey: bool = False,
        kept: int | None = None,
    ) -> None:
        check_choice("image_size", image_size, (32, 64))
        check_whole(1, length=length)
        check_choice("motion", motion, PATHS)
        check_field(len(speeds) == 2, "speeds", "one for each of the two digits", speeds)
        holds = kept is None or kept in range(1, length + 1)
        check_field(holds, "kept", f"1 to {length}, the length, or None", kept)
        self.digits = digits
        self.images = digits.images.float() / 255  # (M, side, side)
        if image_size == 32:
            self.images = torch.nn.functional.avg_pool2d(self.images, 2)
        self.image_size = image_size
        self.length = length
        self.motion = motion
        self.speeds = torch.tensor(speeds)[:, None]  # (2, 1): a digit, then x and y
        self.grey = grey
        self.kept = kept
        self.travel = image_size - self.images.shape[-1]  # pixels that a digit's corner can move

    @property
    def provenance(self) -> str:
        """A sentence on the data really used."""
        speeds = " and ".join(f"{speed:g}" for speed in self.speeds.flatten().tolist())
        law = f"{self.image_size} x {self.image_size} ({self.motion}, speeds {speeds})"
        kept = f"{self.kept} of {self.length} frames of " if self.kept else ""
        grey = "grey " if self.grey else ""
        return f"{grey}{kept}moving digits {law}, drawn from {self.digits.provenance}"

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Which digits (B, 2), and their positions (B, T, 2, 2) in [0, 1] (digit n; x, then y)."""
        which = torch.randint(len(self.images), (count, 2), generator=generator)
        frames = torch.arange(self.length)[None, :, None, None]
        positions = PATHS[self.motion](count, frames, self.speeds, generator)
        if self.kept:
            lots = torch.rand(count, self.length, generator=generator)
            steps = lots.topk(self.kept, dim=1).indices  # (B, kept)
            positions = positions[torch.arange(count)[:, None], steps]
        return which, positions

    def render(self, which: Tensor, positions: Tensor) -> Tensor:
        """Float frames (B, T, 3, H, W) of the digits `which` (B, 2) at `positions` (B, T, 2, 2).

        Channel 0 (red) holds the first digit, channel 1 (green) the second, channel 2 nothing.
        """
        count, length = positions.shape[:2]
        size, side = self.image_size, self.images.shape[-1]
        frames = torch.zeros(count, length, 3, size, size)
        corners = (positions * self.travel).round().long()  # whole pixels, (B, T, 2, 2)
        plane = torch.arange(count * length).view(count, length, 1) * 3 + torch.arange(2)
        first = plane * size * size + corners[..., 1] * size + corners[..., 0]  # (B, T, 2)
        # All windows of side x side pixels, by the place of their first pixel: views, no copies.
        number = frames.numel() - (side - 1) * (size + 1)
        windows = frames.view(-1).as_strided((number, side, side), (1, size, 1))
        windows[first] = self.images[which][:, None]
        return frames

    def __call__(self, count: int, generator: torch.Generator) -> Sequences:
        """`count` sequences: frames as `render`, or grey ones with the labels of `as_grey`.

        Labels: red_digit, green_digit (B,), static; red_position, green_position (B, T, 2) in
        [0, 1], dynamic.
        """
        which, positions = self.draw(count, generator)
        red, green = self.digits.labels[which].unbind(1)
        labels = {"red_digit": red, "green_digit": green}
        labels |= {"red_position": positions[:, :, 0], "green_position": positions[:, :, 1]}
        static, dynamic = ("red_digit", "green_digit"), ("red_position", "green_position")
        frames = self.render(which, positions)
        sequences = Sequences(frames, labels, static, dynamic, self.digits.split, self.provenance)
        return as_grey(sequences) if self.grey else sequences


def as_grey(sequences: Sequences) -> Sequences:
    """The same moving digits in one grey plane, (B, T, 1, H, W): the brighter one hides the other.

    Labels, ordered by the digits' names: smaller_digit and larger_digit (B,), static;
    smaller_position and larger_position (B, T, 2), dynamic.
    """
    red, green, red_position, green_position = sequences.labels.values()
    swapped = green < red
    names = sequences.classes.get("red_digit")
    by_frame = swapped[:, None, None]
    return replace(
        sequences,
        frames=sequences.frames[:, :, :2].amax(2, keepdim=True),
        labels={
            "smaller_digit": torch.minimum(red, green),
            "larger_digit": torch.maximum(red, green),
            "smaller_position": torch.where(by_frame, green_position, red_position),
            "larger_position": torch.where(by_frame, red_position, green_position),
        },
        static=("smaller_digit", "larger_digit"),
        dynamic=("smaller_position", "larger_position"),
        classes={f"{size}_digit": names for size in ("smaller", "larger")} if names else {},
        provenance=f"grey {sequences.provenance.removeprefix('grey ')}",
    )


def load(
    split: str = "train",
    count: int = 1000,
    image_size: int = 64,
    length: int = 5,
    motion: str = "bounce",
    speeds: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
) -> Sequences:
    """Moving digits: two MNIST digits that bounce or circle, bytes (count, length, 3, S, S).

    split: "train" or "test", from which digits; a path of the one is no path of the other. count:
    the first sequences stay the same whatever the count. Others: as `MovingDigits`.
    """
    check_whole(1, count=count)
    check_whole(0, seed=seed)
    sampler = MovingDigits(load_digits(split), image_size, length, motion, speeds)
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))
    batches = []
    for _ in range(0, count, 100):  # in whole hundreds, so that the count changes no draw
        batch = sampler(100, generator)
        batches.append(replace(batch, frames=batch.frames.mul(255).round().byte()))
    frames = torch.cat([batch.frames for batch in batches])
    names = list(batches[0].labels)
    labels = {name: torch.cat([batch.labels[name] for batch in batches]) for name in names}
    about = f"{count} sequences of {sampler.provenance}; seed {seed}"
    classes = dict.fromkeys(names[:2], tuple("0123456789"))
    static, dynamic = batches[0].static, batches[0].dynamic
    whole = Sequences(frames, labels, static, dynamic, split, about, classes=classes)
    return whole.subset(slice(count))
