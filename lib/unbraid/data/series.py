"""What the series of real measurements share: z-scores, masks, months, and their calendar.

Every loader returns z-scores by the observed entries of the training split. What is missing is 0
and false in the mask. Without files: `DataError`.
"""

import calendar
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unbraid.checks import check_field, check_name, check_seed, check_type, check_whole
from unbraid.data.sequences import Sequences

CALENDAR = {
    "month": tuple(calendar.month_name)[1:],
    "season": ("winter", "spring", "summer", "autumn"),  # whole months from December on
    "hour": tuple(f"{hour:02}:00" for hour in range(24)),
}
UNITS = "z-scores by the observed training entries"
MONTH_HOURS = 672  # 28 days: as much of each month as the shortest has


def daily_mean(values: Tensor) -> Tensor:
    """Means of each 24 hours: (N, T, ...) becomes (N, T / 24, ...)."""
    check_type(Tensor, values=values)
    is_whole = values.ndim > 1 and values.shape[1] % 24 == 0
    check_field(is_whole, "values", "(N, T, ...), whole days of 24 hours", tuple(values.shape))
    return values.unflatten(1, (-1, 24)).mean(2)


def held_out(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """0 ... count - 1, shuffled: int(share * count) to train, the rest to validate; each sorted."""
    check_whole(1, count=count)
    check_seed(seed)
    is_share = isinstance(share, float) and 0 < share < 1
    check_field(is_share, "share", "a share between 0 and 1", repr(share))
    order, cut = np.random.default_rng(seed).permutation(count), int(share * count)
    return np.sort(order[:cut]), np.sort(order[cut:])


def label_times(steps: int, month: np.ndarray, **others: np.ndarray) -> dict[str, np.ndarray]:
    """Labels of series of hours from midnight on: month (0 ... 11), season (N,); hour (N, T)."""
    check_type(np.ndarray, month=month)
    hour = np.tile(np.arange(steps) % 24, (len(month), 1))
    return {"month": month, "season": (month + 1) % 12 // 3, **others, "hour": hour}


def cut_months(tables: list[pd.DataFrame]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The first 672 hours of each month that has them, of tables of the same hours (the index).

    Values, float32 (N, 672, D), by month, then table. Labels: as `label_times`; year, from 0 on.
    """
    period = tables[0].index.to_period("M")
    values, times = [], []
    for month in [month for month in period.unique() if (period == month).sum() >= MONTH_HOURS]:
        for table in tables:
            values.append(table[period == month].iloc[:MONTH_HOURS].to_numpy(np.float32))
            times.append((month.month - 1, month.year))
    months, years = np.array(times).T
    return np.stack(values), label_times(MONTH_HOURS, months, year=years - years.min())


def split_months(is_test: np.ndarray) -> dict[str, np.ndarray]:
    """The papers' split of months: the others than the test are shuffled, 85 % to train."""
    numbers = np.flatnonzero(~is_test)
    train, validation = held_out(len(numbers), 0.85, seed=0)
    tests = np.flatnonzero(is_test)
    return {"train": numbers[train], "validation": numbers[validation], "test": tests}


def standardise(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Values (N, T, D) as z-scores by the entries of `train` that are not NaN."""
    deviation = np.nanstd(train, axis=(0, 1))
    check_field((deviation > 0).all(), "train", "variables that vary", f"deviations {deviation}")
    return (values - np.nanmean(train, axis=(0, 1))) / deviation


def make_series(
    values: np.ndarray,
    parts: dict[str, np.ndarray],
    split: str,
    labels: dict[str, np.ndarray],
    classes: Mapping[str, tuple[str, ...]],
    about: str,
) -> Sequences:
    """One split of N series: values (N, T, D), NaN where nothing was observed.

    parts: the rows of each split. labels: (N,) are static, (N, T) dynamic. The mask is (N, T) where
    only whole steps are missing, else (N, T, D). about: for the provenance.
    """
    check_type(np.ndarray, values=values)
    check_type(Mapping, parts=parts, labels=labels)
    check_name("split", split, parts)
    rows, observed = parts[split], ~np.isnan(values)
    train = values[parts["train"]].astype(np.float64)
    frames = np.where(observed[rows], standardise(values[rows], train), 0.0)
    whole_steps = (observed.all(-1) == observed.any(-1)).all()
    mask = observed[rows, :, 0] if whole_steps else observed[rows]
    return Sequences(
        # Row by row in memory, whatever the table's order: sums over steps would round otherwise.
        frames=torch.from_numpy(np.ascontiguousarray(frames, np.float32)),
        labels={name: torch.as_tensor(label[rows]) for name, label in labels.items()},
        static=tuple(name for name, label in labels.items() if label.ndim == 1),
        dynamic=tuple(name for name, label in labels.items() if label.ndim == 2),
        split=split,
        provenance=f"{about}, {split} split: {len(rows)} real series, {UNITS}",
        mask=None if observed.all() else torch.from_numpy(mask),
        classes=classes,
    )
