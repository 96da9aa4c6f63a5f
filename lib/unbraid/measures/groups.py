"""A probe is scored on whole groups that it has not seen: new characters, persons, stays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import GroupShuffleSplit, cross_val_score

from unbraid import checks
from unbraid.checks import as_array, check_field, check_whole


def score_groups(
    probe: Any,
    values: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    splits: int = 5,
    test: float = 0.5,
    seed: int = 0,
) -> np.ndarray:
    """The scores (splits,) of a probe on groups that it has not learnt from, of random splits.

    probe: a classifier or a regression of scikit-learn, which learns anew in each split; its own
        `score` counts, so accuracy or R^2.
    values: (N, D). labels: (N,). groups: (N,), such as the character of each clip.
    test: the share of the groups that are for scoring; no group is on both sides.
    Clips of one character share all its labels. A probe that has met the character can look them
    up, and what it then scores says nothing about a new one.
    """
    x, y = as_array(values, "values"), checks.given_array("labels", labels)
    checks.finite_array("values", x)
    check_field(x.ndim == 2, "values", "(N, D); of one unit x[:, None]", x.shape)
    check_field(y.shape == (len(x),), "labels", f"({len(x)},), one for each row", y.shape)
    of = checks.number_groups("groups", np.zeros(0) if groups is None else groups, len(x))
    check_whole(1, splits=splits)
    checks.check_number(test=test)
    check_field(0 < test < 1, "test", "a share of the groups, between 0 and 1", test)
    draws = GroupShuffleSplit(splits, test_size=test, random_state=seed)
    return cross_val_score(probe, x, y, groups=of, cv=draws, error_score="raise")
