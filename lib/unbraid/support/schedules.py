"""Values that change over a training run, as functions of the share of the run that is over."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from unbraid.checks import check_field, check_number, finite_array, refuse

Curve = float | Sequence[Sequence[float]] | Callable[[float], float]
"""A number, knots [[share, value], ...] of a linear `Schedule`, or a function of the share."""


@dataclass(frozen=True)
class Schedule:
    """The value between knots [[share of the run, value], ...]; before and after it is constant.

    Raises `ValueError` for shares that are not in order or not from 0 to 1.
    """

    knots: Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        knots = finite_array("knots", self.knots)
        if knots.ndim != 2 or knots.shape[1] != 2 or len(knots) == 0:
            refuse("knots", "pairs [share, value]", self.knots)
        shares = knots[:, 0]
        if shares[0] < 0 or shares[-1] > 1 or (np.diff(shares) < 0).any():
            refuse("knots", "shares of updates in order from 0 to 1", self.knots)

    def __call__(self, share: float) -> float:
        """The value after a share of the run, from 0 to 1."""
        check_number(share=share)
        check_field(0 <= share <= 1, "share", "a share of the run, from 0 to 1", share)
        shares, values = np.array(self.knots, dtype=float).T
        return float(np.interp(share, shares, values))


def schedule_value(curve: Curve, share: float) -> float:
    """The value that a number, knots or a function has after a share of the run."""
    curve = Schedule(curve) if isinstance(curve, Sequence) else curve
    value = curve(share) if callable(curve) else curve
    check_number(curve=value)
    return float(value)


def check_curve(name: str, curve: Curve, least: float = -math.inf) -> list[float]:
    """The values at each percent of a run, or that of a number, all from `least` on."""
    if isinstance(curve, Sequence):
        try:
            curve = Schedule(curve)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: expected a number, knots or a function; {error}") from None
    values = [curve(percent / 100) for percent in range(101)] if callable(curve) else [curve]
    for value in values:
        check_number(**{name: value})
        check_field(value >= least, name, f"values from {least:g}", value)
    return [float(value) for value in values]
