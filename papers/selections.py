"""Frames drawn from a path of moving digits, grey or not, and sequences that lack one action."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from unbraid.checks import check_field
from unbraid.data.moving_digits import MovingDigits
from unbraid.data.sequences import Sequences

PATH_LENGTH = 20  # frames of the path that unordered digits are drawn from


class DigitPaths(MovingDigits):
    """`MovingDigits` of whose frames only some are drawn.

    kept: so many of each path, at random; None: all, in order. grey: see `as_grey`.
    """

    def __init__(
        self, *places: Any, grey: bool = False, kept: int | None = None, **options: Any
    ) -> None:
        super().__init__(*places, **options)
        holds = kept is None or kept in range(1, self.length + 1)
        check_field(holds, "kept", f"1 to {self.length}, the length, or None", kept)
        self.grey = grey
        self.kept = kept

    @property
    def provenance(self) -> str:
        """A sentence on the data really used."""
        kept = f"{self.kept} of {self.length} frames of " if self.kept else ""
        return f"{'grey ' if self.grey else ''}{kept}{super().provenance}"

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Which digits (B, 2), and their positions (B, kept, 2, 2) in [0, 1]."""
        which, positions = super().draw(count, generator)
        if self.kept:
            lots = torch.rand(count, self.length, generator=generator)
            steps = lots.topk(self.kept, dim=1).indices  # (B, kept)
            positions = positions[torch.arange(count)[:, None], steps]
        return which, positions

    def __call__(self, count: int, generator: torch.Generator) -> Sequences:
        """`count` sequences, with the labels of `MovingDigits` or of `as_grey`."""
        sequences = super().__call__(count, generator)
        return as_grey(sequences) if self.grey else sequences


def as_grey(sequences: Sequences) -> Sequences:
    """The same moving digits in one grey plane, (B, T, 1, H, W): the brighter one hides the other.

    So are the Moving MNIST of Srivastava et al. (2015). Labels, ordered by the digits' names:
    smaller_digit and larger_digit (B,), static; smaller_position and larger_position (B, T, 2).
    """
    red, green, red_position, green_position = sequences.labels.values()
    swapped = (green < red)[:, None, None]
    labels = {
        "smaller_digit": torch.minimum(red, green),
        "larger_digit": torch.maximum(red, green),
        "smaller_position": torch.where(swapped, green_position, red_position),
        "larger_position": torch.where(swapped, red_position, green_position),
    }
    frames = sequences.frames[:, :, :2].amax(2, keepdim=True)
    static, dynamic = tuple(labels)[:2], tuple(labels)[2:]
    return replace(sequences, frames=frames, labels=labels, static=static, dynamic=dynamic)


def withhold(sequences: Sequences, label: str, share: float = 0.2, seed: int = 0) -> Sequences:
    """The same frames; a `share` of sequences, drawn with `seed`, lacks one class of a label."""
    classes = [name for name in sequences.dynamic if name in sequences.classes]
    check_field(label in classes, "label", f"one of the dynamic classes {classes}", repr(label))
    check_field(0 < share < 1, "share", "between 0 and 1", share)
    generator = torch.Generator().manual_seed(seed)
    count = round(share * len(sequences))
    rows = torch.randperm(len(sequences), generator=generator)[:count]
    absent = torch.randint(len(sequences.classes[label]), (count,), generator=generator)
    mask = sequences.observed.clone()
    mask[rows] &= sequences.labels[label][rows] != absent[:, None]  # (rows, T)
    return replace(sequences, mask=mask)
