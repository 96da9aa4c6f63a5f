"""Checks of arguments: each refusal names the field, what was expected and what was found."""

from __future__ import annotations

import math
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike


class SettingsError(ValueError):
    """A name or a value other than those that are expected."""


class ResultsError(RuntimeError):
    """Weights, a record or a figure that is missing, damaged or not the expected one."""


def check_name(field: str, name: str, names: Iterable[str]) -> None:
    """Refuse a name that is not among `names`, and suggest the nearest of them."""
    names = list(names)
    if name in names:
        return
    message = f"{field}: expected one of {', '.join(names)}, found {name!r}"
    close = get_close_matches(str(name).lower(), names, 1)
    raise SettingsError(f"{message}; did you mean {close[0]}?" if close else message)


def check_whole(least: int, **values: object) -> None:
    """Refuse values, given by their names, that are not whole numbers of `least` or more."""
    for name, value in values.items():
        is_whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not is_whole or int(value) < least:  # type: ignore[call-overload]
            raise ValueError(f"{name}: expected a whole number from {least}, found {value!r}")


def check_number(above: float = -math.inf, **values: object) -> None:
    """Refuse values, given by their names, that are not finite numbers larger than `above`."""
    for name, value in values.items():
        number = float(value) if isinstance(value, Real) else math.nan
        if isinstance(value, bool) or not math.isfinite(number) or number <= above:
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
    if not hasattr(values, "detach"):
        return np.asarray(values)
    tensor = values.detach().cpu()
    return np.asarray(tensor.double() if tensor.is_floating_point() else tensor)


def finite_array(name: str, values: ArrayLike) -> np.ndarray:
    """Values as a float64 array; refuses complex numbers, text, NaN and infinity by `name`."""
    array = as_array(values)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name}: expected real numbers, found {array.dtype}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        place = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
        raise ValueError(f"{name}: expected finite numbers, found {array[place]} at {place}")
    return array


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


def check_classes(name: str, labels: object, classes: int, count: int) -> np.ndarray:
    """Labels as an array (count,) of integers from 0 to classes - 1, or `ValueError`."""
    array = as_array(labels)  # type: ignore[arg-type]
    found = f"{array.dtype} {array.shape}"
    holds = array.shape == (count,) and array.dtype.kind in "iu"
    check_field(holds, name, f"integers ({count},)", found)
    low, high = int(array.min()), int(array.max())
    check_field(low >= 0 and high < classes, name, f"0 to {classes - 1}", f"{low} to {high}")
    return array
