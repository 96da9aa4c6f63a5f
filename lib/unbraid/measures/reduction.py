"""Codes of many units, or of many steps, made small enough for measures that count neighbours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from unbraid.checks import check_field, check_whole, measurable_array

MOST_UNITS = 200
STEPS_READ = "each unit's mean, spread, trend and mean step over time"


class Reduced(NamedTuple):
    """A code of fewer units, and the share of the training rows' variance that they have."""

    code: np.ndarray
    share: float


def summarise_steps(code: ArrayLike) -> np.ndarray:
    """What a code (N, T, d) does over time, in the order of the columns (N, 4 d).

    Of each unit its mean; its spread, the deviation over time; its trend, the mean of the last
    half of the steps minus that of the first; and its mean step, the absolute change from one to
    the next. A mean alone hides a direction of motion, and mean and spread hide how fast a unit
    swings. A code (N, D), or of one step, is returned as (N, D).
    """
    steps = measurable_array("code", code)
    check_field(steps.ndim in (2, 3) and steps.size, "code", "(N, D) or (N, T, d)", steps.shape)
    if steps.ndim == 2 or steps.shape[1] == 1:
        return steps.reshape(len(steps), -1)
    half = steps.shape[1] // 2
    trend = steps[:, -half:].mean(axis=1) - steps[:, :half].mean(axis=1)
    pace = np.abs(np.diff(steps, axis=1)).mean(axis=1)
    return np.hstack([steps.mean(axis=1), steps.std(axis=1), trend, pace])


def reduce_units(
    code: ArrayLike, train: ArrayLike | None = None, most: int = MOST_UNITS, seed: int = 0
) -> Reduced:
    """A code (N, D), or (N, T, d), of more than `most` units as its principal components.

    Units are divided by their deviations, and scales and components are those of the rows `train`,
    an (N,) mask, or of all rows, so that rows held out have no part in them. A code of few units is
    returned as it is. What the components leave out no later measure can find: say the share.
    """
    given = measurable_array("code", code)
    check_field(given.ndim in (2, 3) and given.size, "code", "(N, D) or (N, T, d)", given.shape)
    check_whole(1, most=most)
    known = np.ones(len(given), bool) if train is None else np.asarray(train)
    is_mask = known.dtype == bool and known.shape == given.shape[:1] and known.sum() > 1
    check_field(is_mask, "train", "a mask (N,) of two rows or more", known.shape)
    if given.shape[-1] <= most:
        return Reduced(given, 1.0)
    rows, steps = given.reshape(-1, given.shape[-1]), given[0].size // given.shape[-1]
    learnt = np.repeat(known, steps)
    scaler = StandardScaler().fit(rows[learnt])
    model = PCA(min(most, int(learnt.sum()) - 1), random_state=seed)
    model.fit(scaler.transform(rows[learnt]))
    reduced = model.transform(scaler.transform(rows))
    return Reduced(
        reduced.reshape(*given.shape[:-1], -1), float(model.explained_variance_ratio_.sum())
    )
