"""What a report on own data is made from: a model, some sequences, their codes, and sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from unbraid.codes import concatenate, decode_all, encode_all
from unbraid.data import speech
from unbraid.data.sequences import Sequences
from unbraid.measures.swaps import random_donors
from unbraid.models.base import Batch, Codes, SequenceModel
from unbraid.models.single_element import SingleElement

from unbraid_own.arrays import check_inputs
from unbraid_own.own_data import ENOUGH, OwnData

MOST_SEQUENCES = {"train": 600, "validation": 150, "test": 300}  # that probes and pictures read
SIDE = 16  # pixels to which frames are averaged for probes, each way


class Page:
    """What the sections of a report read; they add sentences to `verdict`, `findings` and `advice`.

    sample: codes and inputs, which is what `measure` reads. factors: the labels beside them of
    which something can be said. obstacles: of the others, why nothing can.
    """

    def __init__(self, model: SequenceModel, data: OwnData):
        self.model, self.data, self.unit = model, data, data.unit
        self.parts: dict[str, Sequences] = {}  # of each split some, as floats
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
        # The number of another test sequence for each, (n,).
        self.donors = torch.from_numpy(random_donors(max(2, count)))[:count] % count
        self.within = lie_within(steps_of(self.test))  # steps (N, T) from the first to the last
        self.factors: dict[str, Tensor] = {}
        self.obstacles: dict[str, str] = {}
        self.left = 1.0  # the model's error as a share of the smaller one of two means
        self.verdict: list[str] = []
        self.findings: list[str] = []
        self.advice: list[str] = []
        self.collect()

    def collect(self) -> None:
        """Make the sample: of the test split, or of all where that is too small for a verdict.

        A model never sees labels, so that its training sequences may be measured; what it makes of
        new ones is said by the test split alone.
        """
        is_enough = len(np.unique(self.groups["test"])) >= ENOUGH
        self.measured = ["test"] if is_enough else [*self.parts]
        parts = [self.parts[name] for name in self.measured]
        self.sample = concatenate([self.codes[name] for name in self.measured])
        labels = concatenate([part.labels for part in parts])
        owner = np.concatenate([self.groups[name] for name in self.measured])
        self.group = owner if len(np.unique(owner)) < len(owner) else None
        common = torch.cat([steps_of(part) for part in parts]).all(0)
        if self.test.dynamic and not common.all():  # At other steps a label is only filled in.
            said = f"Labels of steps are read at {common.sum()} of {len(common)} steps"
            self.findings.append(f"{said}, those that all sequences have.")
            for named in (self.sample, labels):
                named |= {k: x[:, common] for k, x in named.items() if x.shape[1:2] == common.shape}
        for name, values in labels.items():
            try:
                check_inputs(self.sample, {name: values}, None, self.group)
                self.factors[name] = values
            except ValueError as error:
                said = str(error).partition(";")[0]
                self.obstacles[name] = said.removeprefix(f"factor {name!r}: ")
        means = (average(part.frames, part.observed) for part in parts)
        self.sample["inputs_mean"] = torch.cat([shrink(mean) for mean in means])
        if isinstance(self.model, SingleElement):
            what = "frame" if self.test.kind == "frames" else "step"
            what = "window" if getattr(self.model.config, "window", 1) > 1 else what
            read = torch.cat([shrink(take_anchor(self.model, part)) for part in parts])
            self.sample[f"inputs_static_{what}"] = read


def take_anchor(model: SingleElement, part: Sequences) -> Tensor:
    """The element (N, ...) that the static code of each sequence reads."""
    elements, mask = model.check_batch(Batch.of(part))
    observed = torch.ones(elements.shape[:2], dtype=torch.bool)
    if mask is not None:
        observed = mask.flatten(2).any(2)
    anchor = model.choose_anchor(observed, torch.zeros(len(elements)))
    return elements[torch.arange(len(elements)), anchor]


def shrink(values: Tensor) -> Tensor:
    """Values (N, ...) as rows (N, P), frames averaged to at most `SIDE` pixels each way."""
    if values.ndim == 4 and values.shape[3] > SIDE:
        values = F.adaptive_avg_pool2d(values, SIDE)
    return values.flatten(1)


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
