"""One door to every dataset of the course: `unbraid.data.load(name, split)`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from unbraid.data.sequences import Sequences
from unbraid.data.sources import DataError, problem


@dataclass(frozen=True)
class Dataset:
    """One row: the function that loads it (module:function), the sources it reads, its splits, and one sentence on it."""

    loader: str
    sources: tuple[str, ...]
    splits: tuple[str, ...]
    about: str
