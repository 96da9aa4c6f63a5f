"""What a report on own data is made from: a model, some sequences, their codes, and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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


@dataclass(frozen=True, eq=False)
class Page:
    """What the sections of a report read; they add sentences to `verdict` and to `findings`."""

    model: SequenceModel
    data: OwnData
    parts: dict[str, Sequences]  # of the training and of the test split, as floats
    names: list[str]  # of the test sequences
    times: list[np.ndarray]  # of the test sequences, of each step
    clock: str  # what the times are, such as "frame"
    codes: dict[str, Codes]  # by part
    decoded: Tensor  # from the codes of the test sequences
    own: dict[str, tuple[str, ...]]  # by label the codes that may hold it; none if unknown
    donors: Tensor  # for each test sequence the number of another one
    groups: np.ndarray  # for each test sequence what the split keeps together with it, as a number
    unit: str  # the name of these groups, such as "films"
    verdict: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @property
    def test(self) -> Sequences:
        """The test sequences."""
        return self.parts["test"]

    @property
    def is_coloured(self) -> bool:
        """Whether sequences are frames of three colours."""
        return self.test.kind == "frames" and self.test.frames.shape[2] == 3

    @property
    def within(self) -> Tensor:
        """Which steps (N, T) lie between the first and the last one of each test sequence."""
        return lie_within(steps_of(self.test))

    @property
    def common(self) -> Tensor:
        """Which steps (T,) all sequences have; at others a label is only filled in."""
        return torch.cat([steps_of(part) for part in self.parts.values()]).all(0)


def open_page(model: SequenceModel, data: OwnData, dynamic: Sequence[str] = ()) -> Page:
    """A page without sentences. dynamic: labels, a value per sequence, of the motion."""
    parts, rows = {}, {}
    for name, most in MOST_SEQUENCES.items():
        order = torch.randperm(len(data.splits[name]), generator=torch.Generator().manual_seed(0))
        rows[name] = order[:most].sort().values
        parts[name] = data.splits[name].subset(rows[name]).as_float()
    codes = {name: encode_observed(model, part) for name, part in parts.items()}
    count = len(rows["test"])
    groups, unit = find_groups(data, rows["test"])
    times, clock = read_clock(data, rows["test"])
    return Page(
        model=model,
        data=data,
        parts=parts,
        names=[data.names["test"][row] for row in rows["test"]],
        times=times,
        clock=clock,
        codes=codes,
        decoded=decode_all(model, codes["test"]),
        own=assign_codes(codes["test"], parts["test"].labels, dynamic),
        donors=torch.from_numpy(random_donors(max(2, count)))[:count] % count,
        groups=groups,
        unit=unit,
    )


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
        if isinstance(written[0], pd.DatetimeIndex):  # `own_tables.read_times` makes them UTC.
            return [np.asarray(each.tz_localize(None)) for each in times], f"{name} (UTC)"
        return [np.asarray(each) for each in times], name
    if data.kind == "recordings":
        rate = 16_000  # At the other one steps are as long, within half a per cent.
        steps = 1000 / rate * speech.TRANSFORMS[rate][2] * np.arange(test.length)
        return [steps] * len(rows), "time (ms)"
    name = "frame" if test.kind == "frames" else "step"
    return [np.arange(1, test.length + 1)] * len(rows), name


def find_groups(data: OwnData, rows: Tensor) -> tuple[np.ndarray, str]:
    """What the split keeps together: of each of these test sequences the group, and their name.

    A group is a film, folder, recording, row or series, whose clips are not independent; or a class
    of a label whose classes no two splits share, such as the person, if these are fewer.
    """
    test = data.splits["test"]
    groups = {data.kind: np.array(data.sources["test"])[rows.numpy()]}
    for name in [name for name in test.static if name in test.classes]:
        classes = [set(part.labels[name].tolist()) for part in data.splits.values()]
        if len(set.union(*classes)) == sum(map(len, classes)):
            groups[f"groups of {name}"] = test.labels[name][rows].numpy()
    unit = min(groups, key=lambda unit: len(np.unique(groups[unit])))
    return groups[unit], unit


def steps_of(part: Sequences) -> Tensor:
    """Which steps (N, T) sequences have."""
    return part.observed.reshape(len(part), part.length, -1).any(2)


def lie_within(there: Tensor) -> Tensor:
    """Which steps (N, T) lie between the first and the last of those that are there (N, T)."""
    return (there.cumsum(1) > 0) & (there.flip(1).cumsum(1).flip(1) > 0)


def widen(observed: Tensor, frames: Tensor) -> Tensor:
    """What was observed, (N, T) or (N, T, D), in the shape of the frames (N, T, ...)."""
    more = [1] * (frames.ndim - observed.ndim)
    return observed.reshape(*observed.shape, *more).expand_as(frames)


def average(frames: Tensor, observed: Tensor, axes: tuple[int, ...] = (1,)) -> Tensor:
    """The mean over what was observed of sequences (N, T, ...): (N, ...) over steps alone."""
    weight = widen(observed, frames).float()
    return (frames * weight).sum(axes) / weight.sum(axes).clamp(min=1)


def recolour(sequences: Sequences, donors: Tensor) -> Tensor:
    """The frames (N, T, 3, H, W), each sequence in the mean colour of its donor (N,)."""
    frames = sequences.frames
    colour = average(frames, sequences.observed).mean((2, 3), keepdim=True)[:, None]
    return (frames + colour[donors] - colour).clamp(0, 1)
