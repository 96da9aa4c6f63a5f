"""Moving digits as paper A: a red and a green MNIST digit, each moving in its own colour plane.

The digits never meet, so a frame shows two independent things whose true positions are known.
Paper A's digits bounce at the edges; digits that circle about the middle are ours.
"""

import copy
import gzip
import math
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from unbraid import checks
from unbraid.checks import check_field, check_name, check_type, check_whole
from unbraid.data.fetch import files, find
from unbraid.data.sequences import Sequences, as_indices

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
DESCRIPTIONS = {"mnist": "MNIST", "mnist-sample": "the clone's sample of MNIST"}


class Digits(NamedTuple):
    """Single digits: images (N, 28, 28) of bytes, labels (N,) in 0 ... 9, where they are from."""

    images: Tensor
    labels: Tensor
    split: str
    provenance: str
    source: str = ""  # "mnist", "mnist-sample", or nothing for others


def read_idx(path: Path) -> np.ndarray:
    """The content of a gzipped IDX file: MNIST's labels (N,) or images (N, 28, 28), bytes."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    shape = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + shape.nbytes).reshape(shape)


def load_digits(split: str = "train", sample: bool = False) -> Digits:
    """MNIST's digits of a split: "test", the 10 000 of its test file, or "train", 59 000 of its
    training file, or where that is missing those 4 000 of them that travel with the clone.

    sample: of the training digits take these 4 000 in any case, so that runs can be repeated.
    """
    check_name("split", split, FILES)
    check_type(bool, sample=sample)
    is_whole = split == "test" or (not sample and find("mnist", FILES["train"]))
    source = "mnist" if is_whole else "mnist-sample"
    images, numbers = [read_idx(path) for path in files(source, FILES[split]).values()]
    if split == "train" and source == "mnist":
        kept = np.ones(len(numbers), bool)
        kept[in_turns(numbers)[4000:5000]] = False  # No record here was trained on these.
        images, numbers = images[kept], numbers[kept]
    provenance = f"{DESCRIPTIONS[source]}, {split} split, {len(images)} digits"
    labels = torch.from_numpy(numbers.astype(np.int64))
    return Digits(torch.from_numpy(images), labels, split, provenance, source)


def in_turns(numbers: np.ndarray) -> np.ndarray:
    """Places of digits (N,) in turns: the first 0, first 1, ... MNIST's first 4 000: the sample."""
    is_digit = numbers == np.arange(10)[:, None]  # (10, N)
    turn = is_digit.cumsum(axis=1)[numbers, np.arange(len(numbers))]
    return np.lexsort((numbers, turn))


def bounce(count: int, frames: Tensor, speeds: Tensor, generator: torch.Generator) -> Tensor:
    """Positions (B, T, 2, 2) that walls reflect; frames (1, T, 1, 1), speeds (2, 1) in travels."""
    start = torch.rand(count, 1, 2, 2, generator=generator)
    angle = 2 * math.pi * torch.rand(count, 1, 2, 1, generator=generator)
    direction = torch.cat([angle.cos(), angle.sin()], -1)
    straight = start + speeds * frames * direction
    # A reflected path is a straight one on the unfolded canvas, folded back.
    folded = straight.remainder(2)
    return torch.where(folded > 1, 2 - folded, folded)


def circle(count: int, frames: Tensor, speeds: Tensor, generator: torch.Generator) -> Tensor:
    """Positions (B, T, 2, 2) of digits on circles about the middle; speeds (2, 1) in rad."""
    low, high = 0.15, 0.5  # radii as shares of the travel
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
    motion      "bounce" or "circle"; place, direction, radius and phase are drawn uniformly
    speeds      of the red and of the green digit per frame; for "bounce" as a share of the travel,
                the way that a digit's corner can go (36 pixels at 64); for "circle" in signed rad
    """

    def __init__(
        self,
        digits: Digits,
        image_size: int = 64,
        length: int = 5,
        motion: str = "bounce",
        speeds: tuple[float, float] = (0.1, 0.1),
    ) -> None:
        check_name("image_size", image_size, (32, 64))
        check_whole(1, length=length)
        check_name("motion", motion, PATHS)
        check_type(Digits, digits=digits)
        shape = checks.finite_array("speeds", speeds).shape
        check_field(shape == (2,), "speeds", "one for each of the two digits", speeds)
        images, labels = digits.images, digits.labels
        fits = images.dtype == torch.uint8 and images.shape[:1] == labels.shape != (0,)
        fits &= images.ndim == 3 and not labels.is_floating_point()
        found = f"{images.dtype} {tuple(images.shape)}, {labels.dtype} {tuple(labels.shape)}"
        check_field(fits, "digits", "bytes (N, 28, 28), whole numbers (N,)", found)
        self.digits, self.image_size, self.length, self.motion = digits, image_size, length, motion
        self.images = images.float() / 255  # (M, side, side)
        if image_size == 32:
            self.images = torch.nn.functional.avg_pool2d(self.images, 2)
        self.speeds = torch.tensor(speeds)[:, None]  # (2, 1): a digit, then x and y
        self.travel = image_size - self.images.shape[-1]  # pixels that a digit's corner can move

    def to(self, device: torch.device | str) -> Self:
        """The same draws, of frames that are rendered on a device."""
        new = copy.copy(self)
        new.images = self.images.to(device)
        return new

    @property
    def provenance(self) -> str:
        """A sentence on the data really used."""
        speeds = " and ".join(f"{speed:g}" for speed in self.speeds.flatten().tolist())
        law = f"{self.image_size} x {self.image_size} ({self.motion}, speeds {speeds})"
        return f"moving digits {law}, drawn from {self.digits.provenance}"

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Which digits (B, 2), and their positions (B, T, 2, 2) in [0, 1] (digit n; x, then y)."""
        check_whole(1, count=count)
        check_type(torch.Generator, generator=generator)
        which = torch.randint(len(self.images), (count, 2), generator=generator)
        frames = torch.arange(self.length)[None, :, None, None]
        return which, PATHS[self.motion](count, frames, self.speeds, generator)

    def render(self, which: Tensor, positions: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W) of `which` (B, 2), red and green, at `positions` (B, T, 2, 2)."""
        which = as_indices("which", which, len(self.images), len(positions), 2)
        inside = bool(((positions >= 0) & (positions <= 1)).all())
        check_field(inside, "positions", "values in [0, 1]", "others")
        count, length = positions.shape[:2]
        size, side, device = self.image_size, self.images.shape[-1], self.images.device
        frames = torch.zeros(count, length, 3, size, size, device=device)
        corners = (positions * self.travel).round().long()  # whole pixels, (B, T, 2, 2)
        plane = torch.arange(count * length).view(count, length, 1) * 3 + torch.arange(2)
        first = plane * size * size + corners[..., 1] * size + corners[..., 0]  # (B, T, 2)
        # All windows of side x side pixels, by the place of their first pixel: views, no copies.
        number = frames.numel() - (side - 1) * (size + 1)
        windows = frames.view(-1).as_strided((number, side, side), (1, size, 1))
        windows[first.to(device)] = self.images[which.to(device)][:, None]
        return frames

    def __call__(self, count: int, generator: torch.Generator) -> Sequences:
        """`count` sequences of float frames, with the labels of `label`."""
        return self.label(*self.draw(count, generator))

    def label(self, which: Tensor, positions: Tensor) -> Sequences:
        """What `render` shows, and its labels: red_digit, green_digit (B,), static; red_position,
        green_position (B, T, 2), dynamic.
        """
        frames = self.render(which, positions)  # which checks both
        red, green = self.digits.labels[which].unbind(1)
        static = {"red_digit": red, "green_digit": green}
        dynamic = {"red_position": positions[:, :, 0], "green_position": positions[:, :, 1]}
        names = tuple(static), tuple(dynamic)
        return Sequences(frames, static | dynamic, *names, self.digits.split, self.provenance)
