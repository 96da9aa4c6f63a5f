"""What a report on own data is made from: a model, some sequences, their codes, and sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from unbraid.codes import decode_all, encode_all
from unbraid.data import speech
from unbraid.data.sequences import Sequences
from unbraid.measures.swaps import random_donors
from unbraid.models.base import Codes, SequenceModel

from unbraid_extras.measure import assign_codes
from unbraid_extras.own_data import OwnData

MOST_SEQUENCES = {"train": 600, "test": 300}  # that probes and pictures read


class Page:
    """What the sections of a report read; they add sentences to `verdict`, `findings` and `advice`.

    dynamic: labels, a value per sequence, of the motion; None: it is not said which these are.
    """

    def __init__(self, model: SequenceModel, data: OwnData, dynamic: Sequence[str] | None = None):
        self.model, self.data, self.unit = model, data, data.unit
        self.parts: dict[str, Sequences] = {}  # of the training and of the test split, as floats
        self.groups: dict[str, np.ndarray] = {}
        for name, most in MOST_SEQUENCES.items():
            generator = torch.Generator().manual_seed(0)
            rows = torch.randperm(len(data.splits[name]), generator=generator)[:most].sort().values
            self.parts[name] = data.splits[name].subset(rows).as_float()
            # What the split keeps together with each, (n,), which `unit` names.
            self.groups[name] = np.array(data.sources[name])[rows.numpy()]
        self.test, count = self.parts["test"], len(rows)  # The test split is the last.
        self.names = [data.names["test"][row] for row in rows]  # of the test sequences
        self.times, self.clock = read_clock(data, rows)  # of their steps, and what the times are
        self.codes = {name: encode_observed(model, part) for name, part in self.parts.items()}
        self.decoded = decode_all(model, self.codes["test"])  # the test sequences
        # The codes that may hold a label, none if unknown.
        self.own = assign_codes(self.codes["test"], self.test.labels, dynamic)
        # The number of another test sequence for each, (n,).
        self.donors = torch.from_numpy(random_donors(max(2, count)))[:count] % count
        self.within = lie_within(steps_of(self.test))  # steps (N, T) from the first to the last
        self.obstacles: dict[str, str] = {}  # by label: why nothing can be said of it, or ""
        self.verdict: list[str] = []
        self.findings: list[str] = []
        self.advice: list[str] = []

    @property
    def common(self) -> Tensor:
        """Which steps (T,) all sequences have; at others a label is only filled in."""
        return torch.cat([steps_of(part) for part in self.parts.values()]).all(0)


def encode_observed(model: SequenceModel, part: Sequences) -> Codes:
    """The codes of sequences; before the first and after the last step they are the mean.

    A model makes the same code of each step that does not exist, and the share of these would tell
    how long a sequence is. In a gap the code is the model's guess, and stays.
    """
    codes, seen = encode_all(model, part), steps_of(part)
    for name, code in codes.items():
        if code.ndim == 3:
            there = seen.unflatten(1, (code.shape[1], -1)).any(2)  # a code may have a step a window
            within = lie_within(there)[..., None]
            codes[name] = torch.where(within, code, average(code, there)[:, None])
    return codes


def read_clock(data: OwnData, rows: Tensor) -> tuple[list[np.ndarray], str]:
    """The times of the steps of these test sequences, and what they are."""
    test = data.splits["test"]
    if written := data.times.get("test"):
        name, times = str(written[0].name), [written[row] for row in rows]
        if isinstance(written[0], pd.DatetimeIndex):  # `own_tables.index_steps` makes them UTC.
            return [np.asarray(each.tz_localize(None)) for each in times], f"{name} (UTC)"
        return [np.asarray(each) for each in times], name
    if data.kind == "recordings":
        rate = 16_000  # At the other one steps are as long, within half a per cent.
        steps = 1000 / rate * speech.TRANSFORMS[rate][2] * np.arange(test.length)
        return [steps] * len(rows), "time (ms)"
    name = "frame" if test.kind == "frames" else "step"
    return [np.arange(1, test.length + 1)] * len(rows), name


def steps_of(part: Sequences) -> Tensor:
    """Which steps (N, T) sequences have."""
    return part.observed.reshape(len(part), part.length, -1).any(2)


def lie_within(there: Tensor) -> Tensor:
    """Which steps (N, T) lie between the first and the last of those that are there (N, T)."""
    return (there.cumsum(1) > 0) & (there.flip(1).cumsum(1).flip(1) > 0)


def widen(observed: Tensor, frames: Tensor) -> Tensor:
    """What was observed, (N, T) or (N, T, D), in the shape of the frames (N, T, ...)."""
    return observed[(..., *[None] * (frames.ndim - observed.ndim))].expand_as(frames)


def average(frames: Tensor, observed: Tensor, axes: tuple[int, ...] = (1,)) -> Tensor:
    """The mean over what was observed of sequences (N, T, ...): (N, ...) over steps alone."""
    weight = widen(observed, frames).float()
    return (frames * weight).sum(axes) / weight.sum(axes).clamp(min=1)
