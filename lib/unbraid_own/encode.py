"""The codes of one's own sequences and their labels, as `measure` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from unbraid.codes import concatenate, encode_all
from unbraid.data.sequences import Sequences
from unbraid.models.base import SequenceModel

from unbraid_own.data import OwnData
from unbraid_own.verdict import FEWEST


class Sample(NamedTuple):
    """What `measure` reads, and the splits that it is of."""

    codes: dict[str, np.ndarray]
    factors: dict[str, np.ndarray]
    owners: np.ndarray  # (N,), the number of what each row is kept together with
    splits: list[str]


def encode(model: SequenceModel, data: OwnData) -> Sample:
    """Codes and labels of the test split, or of all where that is too small for a verdict.

    A model never sees labels, so that its training sequences may be measured. Steps that not all
    sequences have are left out.
    """
    is_enough = len(np.unique(data.owners["test"])) >= FEWEST
    splits = ["test"] if is_enough else [*data.splits]
    parts = [data.splits[name] for name in splits]
    steps, codes, factors = count_common(parts), {}, {}
    for name, code in concatenate([encode_all(model, part) for part in parts]).items():
        codes[name] = (code if code.ndim == 2 else code[:, :steps]).numpy()
    for name, values in concatenate([part.labels for part in parts]).items():
        numbers = (values if values.ndim == 1 else values[:, :steps]).numpy()
        classes = parts[0].classes.get(name)
        factors[name] = numbers if classes is None else np.array(classes)[numbers]
    owners = np.concatenate([data.owners[name] for name in splits])
    return Sample(codes, factors, owners, splits)


def count_common(parts: Sequence[Sequences]) -> int:
    """How many steps the shortest of all sequences has."""
    number = torch.arange(1, parts[0].length + 1)
    seen = (part.observed.reshape(len(part), part.length, -1).any(2) for part in parts)
    return min(int((steps * number).amax(1).min()) for steps in seen)


def average(part: Sequences) -> tuple[Tensor, Tensor]:
    """What was observed, and its mean over time, both in the shape of the frames (N, T, ...)."""
    mask, axes = part.observed, part.frames.ndim
    weight = mask.reshape(*mask.shape, *[1] * (axes - mask.ndim)).expand_as(part.frames)
    mean = (part.frames * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
    return weight, mean.expand_as(part.frames)
