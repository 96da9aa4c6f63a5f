"""What models learn from: whole sequences drawn at random, or paper B's N frames without an order.

A sampler is called with a count and a generator and returns labelled `Sequences` of floats.
"""

from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from unbraid.checks import LARGEST_BATCH, check_field, check_type, check_whole
from unbraid.data.sequences import Sequences, as_indices


def draw_rows(sequences: Sequences, count: int, generator: torch.Generator) -> Tensor:
    """The numbers of `count` sequences, drawn at random with replacement."""
    check_whole((0, LARGEST_BATCH), count=count)
    check_type(torch.Generator, generator=generator)
    return torch.randint(len(sequences), (count,), generator=generator)


def move(sequences: Sequences, device: torch.device | str) -> Sequences:
    """The sequences with their frames on a device; labels and masks stay."""
    return replace(sequences, frames=sequences.frames.to(device))


class SequenceSampler:
    """An endless supply of whole sequences, drawn at random with replacement."""

    def __init__(self, sequences: Sequences) -> None:
        check_type(Sequences, sequences=sequences)
        check_field(len(sequences) > 0, "sequences", "at least one", "none")
        self.sequences = sequences

    def to(self, device: torch.device | str) -> Self:
        """The same draws, of frames that lie on a device."""
        return type(self)(move(self.sequences, device))

    def __call__(self, count: int, generator: torch.Generator) -> Sequences:
        """`count` sequences as floats, with their labels and, where they have one, their mask."""
        return self.sequences.subset(draw_rows(self.sequences, count, generator)).as_float()


class FrameSampler:
    """An endless supply of unordered samples: of random sequences, different frames at random.

    sequences: frames (M, T, C, H, W), bytes or floats. Frames that their mask (M, T) marks as not
    observed are never drawn. length: N, frames of a sample, as many as each sequence has at least.
    """

    def __init__(self, sequences: Sequences, length: int) -> None:
        check_type(Sequences, sequences=sequences)
        has_frames = sequences.kind == "frames" and len(sequences) > 0
        check_field(has_frames, "sequences", "at least one sequence of frames", sequences.kind)
        self.observed = sequences.observed  # (M, T)
        shortest = int(self.observed.sum(1).min())
        check_whole(1, length=length)
        check_field(length <= shortest, "length", f"at most the {shortest} of the shortest", length)
        self.sequences, self.length = sequences, length

    def to(self, device: torch.device | str) -> Self:
        """The same draws, of frames that lie on a device."""
        return type(self)(move(self.sequences, device), self.length)

    def __call__(self, count: int, generator: torch.Generator) -> Sequences:
        """`count` samples as floats (B, N, C, H, W), with the labels of the frames drawn."""
        rows = draw_rows(self.sequences, count, generator)
        return self.take(rows, self.steps(rows, generator))

    def steps(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Different frames (B, N) of each of the sequences `rows` (B,), in random order."""
        rows = as_indices("rows", rows, len(self.sequences), "B")
        check_type(torch.Generator, generator=generator)
        lots = torch.rand(len(rows), self.sequences.length, generator=generator)  # (B, T)
        lots = lots.masked_fill(~self.observed[rows], -1.0)
        return lots.topk(self.length, dim=1).indices

    def take(self, rows: Tensor, steps: Tensor) -> Sequences:
        """The frames `steps` (B, N) of the sequences `rows` (B,), as floats, with their labels."""
        sequences = self.sequences
        rows = as_indices("rows", rows, len(sequences), "B")
        steps = as_indices("steps", steps, sequences.length, len(rows), "N")
        pairs = (rows[:, None], steps)
        labels = {}
        for name, values in sequences.labels.items():
            labels[name] = values[rows] if name in sequences.static else values[pairs]
        mask = None if sequences.mask is None else self.observed[pairs]
        frames = sequences.frames[pairs]  # (B, N, C, H, W)
        return replace(sequences, frames=frames, labels=labels, mask=mask).as_float()

    def each(self, generator: torch.Generator) -> Sequences:
        """One sample of every sequence, in their order."""
        rows = torch.arange(len(self.sequences))
        return self.take(rows, self.steps(rows, generator))
