"""Series with gaps: z-scores by what was observed in training, and their place in `Sequences`."""

from __future__ import annotations

import numpy as np
import torch

from unbraid.data.sequences import Sequences

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
SEASONS = (
    "winter",
    "spring",
    "summer",
    "autumn",
)  # by whole months of the northern half: winter is December to February
HOURS = tuple(f"{hour:02}:00" for hour in range(24))


def season(month: np.ndarray) -> np.ndarray:
    """The index in `SEASONS` of months 0 (January) ... 11."""
    return (month + 1) % 12 // 3


def observed_moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (D,) of what was observed in values (..., D), NaN where nothing was.

    A variable that never varies gets the deviation 1, so that its z-scores are 0.
    """
    flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
    mean, deviation = np.nanmean(flat, axis=0), np.nanstd(flat, axis=0)
    return mean, np.where(deviation > 0, deviation, 1.0)


def held_out(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """0 ... count - 1 shuffled and cut as the papers do, int(share * count) to train and the rest to validate; each in order."""
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[: int(share * count)]), np.sort(order[int(share * count) :])


def check_split(split: str, *known: str) -> None:
    """Raise `ValueError` for a split that there is not."""
    if split not in known:
        raise ValueError(f"split: expected {' or '.join(known)}, found {split!r}")


def series(
    values: np.ndarray,
    parts: dict[str, np.ndarray],
    split: str,
    scaled: bool,
    labels: dict[str, np.ndarray],
    classes: dict[str, tuple[str, ...]],
    told: str,
    dynamic: tuple[str, ...] = (),
    units: str = "the file's own units",
) -> Sequences:
    """One split of a set of series.

    values   (N, T, D), NaN where nothing was observed; becomes 0 there, and a mask (N, T, D), or (N, T) where whole steps miss
    parts    of each split, which of the N
    scaled   z-scores by the observed entries of parts["train"], else as given, in `units`
    labels   by name, for all N; those named in `dynamic` have a value at each step
    told     the beginning of the provenance
    """
    chosen, observed = parts[split], ~np.isnan(values)
    mean, deviation = observed_moments(values[parts["train"]]) if scaled else (0.0, 1.0)
    shown = np.where(observed[chosen], (values[chosen] - mean) / deviation, 0.0).astype(np.float32)
    mask = torch.from_numpy(observed[chosen])
    whole_steps = bool((observed.all(-1) == observed.any(-1)).all())
    how = "z-scores by the observed training entries" if scaled else units
    return Sequences(
        frames=torch.from_numpy(shown),
        labels={
            name: torch.from_numpy(np.ascontiguousarray(label[chosen]))
            for name, label in labels.items()
        },
        static=tuple(name for name in labels if name not in dynamic),
        dynamic=dynamic,
        split=split,
        provenance=f"{told}, {split} split: {len(chosen)} real series, {how}",
        mask=None if observed.all() else mask[..., 0] if whole_steps else mask,
        classes=classes,
    )
