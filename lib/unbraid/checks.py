"""Checks of arguments: each refusal says what was expected and what was found."""

from __future__ import annotations

import math
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike


class SettingsError(ValueError):
    """A name or a value that is none of those that are expected."""


class ResultsError(RuntimeError):
    """Weights, a record or a figure that is missing, damaged or not the expected one."""


def check_name(field: str, name: str, names: Iterable[str]) -> None:
    """Refuse a name that is none of `names`, with the nearest of them."""
    names = list(names)
    if name in names:
        return
    message = f"{field}: expected one of {', '.join(names)}, found {name!r}"
    close = get_close_matches(str(name).lower(), names, 1)
    raise SettingsError(f"{message}; did you mean {close[0]}?" if close else message)


def check_whole(least: int, **values: object) -> None:
    """Refuse values, given by their names, that are no whole numbers or lie below `least`."""
    for name, value in values.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name}: expected a whole number from {least}, found {value!r}")


def check_number(above: float = -math.inf, **values: object) -> None:
    """Refuse values, given by their names, that are no finite numbers larger than `above`."""
    for name, value in values.items():
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value <= above:
            more = "" if above == -math.inf else f" above {above:g}"
            raise ValueError(f"{name}: expected a finite number{more}, found {value!r}")


def check_field(holds: bool, name: str, expected: object, found: object) -> None:
    """Raise `ValueError` with the field's name, what was expected and what was found."""
    if not holds:
        raise ValueError(f"{name}: expected {expected}, found {found}")


def check_choice(name: str, value: object, choices: Iterable) -> None:
    """Raise `ValueError` unless `value` is one of `choices`, none of which is a float."""
    choices = tuple(choices)
    holds = value in choices and not isinstance(value, float)  # 32.0 is equal to 32
    check_field(holds, name, f"one of {', '.join(map(str, choices))}", repr(value))


def as_array(values: ArrayLike) -> np.ndarray:
    """Values as an array; a tensor may need a gradient, lie on a GPU, or be bfloat16."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values
    return np.asarray(values)


def to_index(name: str, labels: ArrayLike) -> np.ndarray:
    """The number 0, 1, ... of each label's class; refuses missing labels by `name`."""
    expected = "labels that can be sorted, none missing"
    try:
        classes, numbers = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"{name}: expected {expected}, found others; {error}") from None
    if classes.dtype.kind == "f" and np.isnan(classes).any():
        raise ValueError(f"{name}: expected {expected}, found NaN")
    return numbers


def finite_array(name: str, values: ArrayLike) -> np.ndarray:
    """Values as a float64 array; refuses complex numbers, text, NaN and infinity by `name`."""
    values = as_array(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name}: expected real numbers, found {values.dtype}")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        place = tuple(np.argwhere(~np.isfinite(values))[0].tolist())
        raise ValueError(f"{name}: expected finite numbers, found {values[place]} at {place}")
    return values
