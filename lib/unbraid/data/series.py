"""What the series of real measurements share: z-scores, masks, months, and their calendar.

Every loader returns z-scores by the observed entries of the training split, or with `scaled=False`
the data in their own units. What was not observed is 0 and false in the mask. Without its files a
loader raises `DataError`.
"""

from __future__ import annotations

import calendar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unbraid.checks import check_choice
from unbraid.data.sequences import Sequences

CALENDAR = {
    "month": tuple(calendar.month_name)[1:],
    "season": ("winter", "spring", "summer", "autumn"),  # whole months from December on
    "hour": tuple(f"{hour:02}:00" for hour in range(24)),
}
MONTH_HOURS = 672  # 28 days: as much of each month as the shortest has


def daily_mean(values: Tensor) -> Tensor:
    """Means of each 24 hours: (N, T, ...) becomes (N, T / 24, ...)."""
    return values.unflatten(1, (-1, 24)).mean(2)


def held_out(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """0 ... count - 1, shuffled: int(share * count) to train, the rest to validate; each sorted."""
    order = np.random.default_rng(seed).permutation(count)
    cut = int(share * count)
    return np.sort(order[:cut]), np.sort(order[cut:])


def make_series(
    values: np.ndarray,
    parts: dict[str, np.ndarray],
    split: str,
    scaled: bool,
    labels: dict[str, np.ndarray],
    classes: dict[str, tuple[str, ...]],
    about: str,
) -> Sequences:
    """One split of N series: values (N, T, D), NaN where nothing was observed.

    parts: the rows of each split. labels: (N,) are static, (N, T) dynamic. The mask is (N, T) where
    only whole steps are missing, else (N, T, D). about: for the provenance.
    """
    check_choice("split", split, parts)
    rows, observed = parts[split], ~np.isnan(values)
    mean, deviation = 0.0, 1.0
    if scaled:
        train = values[parts["train"]].astype(np.float64)
        mean, deviation = np.nanmean(train, axis=(0, 1)), np.nanstd(train, axis=(0, 1))
    frames = np.where(observed[rows], (values[rows] - mean) / deviation, 0.0)
    whole_steps = (observed.all(-1) == observed.any(-1)).all()
    mask = observed[rows, :, 0] if whole_steps else observed[rows]
    units = "z-scores by the observed training entries" if scaled else "in their own units"
    return Sequences(
        # Row by row in memory, whatever the table's order: sums over steps would round otherwise.
        frames=torch.from_numpy(np.ascontiguousarray(frames, np.float32)),
        labels={name: torch.as_tensor(label[rows]) for name, label in labels.items()},
        static=tuple(name for name, label in labels.items() if label.ndim == 1),
        dynamic=tuple(name for name, label in labels.items() if label.ndim == 2),
        split=split,
        provenance=f"{about}, {split} split: {len(rows)} real series, {units}",
        mask=None if observed.all() else torch.from_numpy(mask),
        classes=classes,
    )


def cut_months(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first 672 hours of each month that has them, float32 (M, 672, D); years; months."""
    months = [month for _, month in table.groupby(table.index.to_period("M"))]
    months = [month.iloc[:MONTH_HOURS] for month in months if len(month) >= MONTH_HOURS]
    values = np.stack([month.to_numpy(np.float32) for month in months])
    year = np.array([month.index[0].year for month in months])
    return values, year, np.array([month.index[0].month - 1 for month in months])


def split_months(rest: np.ndarray) -> dict[str, np.ndarray]:
    """The papers' split: where `rest` is false the test, the others shuffled, 85 % to train."""
    numbers = np.flatnonzero(rest)
    train, validation = held_out(len(numbers), 0.85, seed=0)
    tests = np.flatnonzero(~rest)
    return {"train": numbers[train], "validation": numbers[validation], "test": tests}


def season_of(month: np.ndarray) -> np.ndarray:
    """The season, 0 (winter) ... 3, of months 0 (January) ... 11."""
    return (month + 1) % 12 // 3


def hours_of(values: np.ndarray) -> np.ndarray:
    """The hour of the day (N, T) of each step of series (N, T, D) that begin at midnight."""
    return np.tile(np.arange(values.shape[1]) % 24, (len(values), 1))
