"""What models learn from: whole sequences drawn at random, or, as paper B, N of their frames without an order."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from unbraid.data.sequences import Sequences


class FrameSampler:
    """An endless supply of unordered samples: sequences drawn at random, and of each `length` different frames in random order.

    sequences: frames (M, T, C, H, W), bytes or floats. Frames that their mask (M, T) marks as not observed are never drawn.
    length: N, the number of frames of a sample.

    Raises `ValueError` when a sequence has fewer than `length` observed frames, or for a series.
    """

    def __init__(self, sequences: Sequences, length: int):
        if sequences.kind != "frames" or not len(sequences):
            raise ValueError(
                f"sequences: expected at least one sequence of frames, found {len(sequences)} of {sequences.kind}"
            )
        shape = sequences.frames.shape[:2]
        observed = torch.ones(shape, dtype=torch.bool) if sequences.mask is None else sequences.mask
        fewest = int(observed.sum(1).min())
        if not 1 <= length <= fewest:
            raise ValueError(
                f"length: expected 1 to {fewest}, the frames of the shortest sequence, found {length}"
            )
        self.sequences, self.length, self.observed = sequences, length, observed

    def choose(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Which sequences (B,), drawn with replacement, and which of their frames (B, N), without."""
        rows = torch.randint(len(self.sequences), (count,), generator=generator)
        return rows, self.steps(rows, generator)

    def steps(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Different frames (B, N) of each of the sequences `rows` (B,), in random order."""
        lots = torch.rand(
            len(rows), self.sequences.length, generator=generator
        )  # the N highest lots of each sequence are drawn
        return lots.masked_fill(~self.observed[rows], -1.0).topk(self.length, dim=1).indices

    def frames(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` samples as floats (B, N, C, H, W) in [0, 1]."""
        return self.take(*self.choose(count, generator)).frames

    def batch(self, count: int, generator: torch.Generator) -> Sequences:
        """`count` samples with all labels, those of frames at the frames drawn."""
        return self.take(*self.choose(count, generator))

    def take(self, rows: Tensor, steps: Tensor) -> Sequences:
        """The frames `steps` (B, N) of the sequences `rows` (B,), as floats, with their labels."""
        known = self.sequences
        at = (rows[:, None], steps)
        frames = known.frames[at]
        frames = frames.float().div_(255) if frames.dtype == torch.uint8 else frames
        labels = {
            name: values[rows] if name in known.static else values[at]
            for name, values in known.labels.items()
        }
        return replace(
            known,
            frames=frames,
            labels=labels,
            mask=None if known.mask is None else self.observed[at],
        )

    def each(self, generator: torch.Generator) -> Sequences:
        """One sample of every sequence, in their order."""
        rows = torch.arange(len(self.sequences))
        return self.take(rows, self.steps(rows, generator))


class SequenceSampler:
    """An endless supply of whole sequences, drawn at random with replacement: frames, or series with what of them was observed."""

    def __init__(self, sequences: Sequences):
        if not len(sequences):
            raise ValueError("sequences: expected at least one, found none")
        self.sequences = sequences

    def frames(self, count: int, generator: torch.Generator) -> Tensor | tuple[Tensor, Tensor]:
        """`count` sequences as floats, (B, T, C, H, W) in [0, 1] or (B, T, D); with their mask where they have one."""
        drawn = self.batch(count, generator)
        return drawn.frames if drawn.mask is None else (drawn.frames, drawn.mask)

    def batch(self, count: int, generator: torch.Generator) -> Sequences:
        """`count` sequences with all their labels."""
        return self.sequences.subset(
            torch.randint(len(self.sequences), (count,), generator=generator)
        ).as_float()


def withhold(sequences: Sequences, label: str, share: float = 0.2, seed: int = 0) -> Sequences:
    """The same sequences, in a `share` of which the frames of one class of the dynamic `label` are marked as not observed.

    Which sequences and which class of each is drawn with `seed`. A model trained on the rest has seen these identities and has
    seen these poses, never together; the complement of the mask says which.
    """
    if label not in sequences.dynamic or label not in sequences.classes:
        known = [name for name in sequences.dynamic if name in sequences.classes]
        raise ValueError(
            f"label: expected one of the dynamic classes {', '.join(known) or '(there are none)'}, found {label!r}"
        )
    if not 0 < share < 1:
        raise ValueError(f"share: expected between 0 and 1, found {share}")
    generator = torch.Generator().manual_seed(seed)
    count = round(share * len(sequences))
    rows = torch.randperm(len(sequences), generator=generator)[:count]
    absent = torch.randint(len(sequences.classes[label]), (count,), generator=generator)
    mask = (
        torch.ones(sequences.frames.shape[:2], dtype=torch.bool)
        if sequences.mask is None
        else sequences.mask.clone()
    )
    mask[rows] &= sequences.labels[label][rows] != absent[:, None]
    return replace(sequences, mask=mask)
