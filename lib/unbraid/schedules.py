"""Values that change over a training run, as functions of the share of the run that is over."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass

import numpy as np

from unbraid.checks import check_name, check_whole

Curve = float | Sequence[Sequence[float]] | Callable[[float], float]
"""A number, knots [[share, value], ...] of a linear `Schedule`, or a function of the share."""


@dataclass(frozen=True)
class Schedule:
    """The value between knots (share of the run, value); before and after them it is constant.

    interpolation: "linear", or "logarithmic", by which a value changes by equal factors, and not by
        equal amounts, between two knots.
    cycles: how often the knots are gone through; their shares are of one cycle.
    """

    knots: Sequence[Sequence[float]]
    interpolation: str = "linear"
    cycles: int = 1

    def __post_init__(self):
        check_name("interpolation", self.interpolation, ("linear", "logarithmic"))
        check_whole(1, cycles=self.cycles)

    def __call__(self, share: float) -> float:
        """The value after a share of the run, from 0 to 1."""
        if self.cycles > 1:
            share = share * self.cycles
            share = share + 1 - max(1, math.ceil(share - 1e-9))  # a cycle's last update has 1
        shares, values = np.array(self.knots, dtype=float).T
        if self.interpolation == "logarithmic":
            return float(np.exp(np.interp(share, shares, np.log(values))))
        return float(np.interp(share, shares, values))


@dataclass(frozen=True)
class Staircase:
    """A schedule, multiplied by `factor` once for every `sequences` that were seen."""

    schedule: Curve
    factor: float
    sequences: int
    batch_size: int  # sequences of an update
    steps: int  # updates of the run

    def __call__(self, share: float) -> float:
        """The value before the update that begins after this share of the run."""
        step = round(share * self.steps) + 1
        stairs = step * self.batch_size // self.sequences
        return schedule_value(self.schedule, share) * self.factor**stairs


def schedule_value(schedule: Curve, share: float) -> float:
    """The value that a number or a schedule has after a share of the run."""
    if isinstance(schedule, (int, float)):
        return float(schedule)
    if callable(schedule):
        return float(schedule(share))
    return Schedule(schedule)(share)


def describe_schedule(schedule: Curve) -> object:
    """A number or schedule as JSON can hold it; a plain function as its values at each percent."""
    if is_dataclass(schedule):
        values = {name: describe_schedule(value) for name, value in vars(schedule).items()}
        return {"kind": type(schedule).__name__} | values
    if callable(schedule):
        return [float(schedule(percent / 100)) for percent in range(101)]
    return schedule
