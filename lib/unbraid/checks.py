"""Refusals at the public doors: a name that is not known, a number that is none."""

from __future__ import annotations

import math
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral, Real


class SettingsError(ValueError):
    """A name or a value that is none of those that are expected."""


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
