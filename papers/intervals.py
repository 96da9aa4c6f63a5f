"""The 95 % interval of any score of test items; those of means and shares are the library's."""

from collections.abc import Callable

import numpy as np
from unbraid.measures.intervals import Interval, bca_limits

DRAWS = 2000  # of as many items, with replacement


def bootstrap_interval(score: Callable[[np.ndarray], float], n: int) -> Interval:
    """BCa interval of a score of n test items, such as an accuracy, over draws of as many items.

    score: of the items of these numbers (n,), which may repeat; NaN where it is undefined. It is
    called DRAWS + n + 1 times. Of a single item the limits are NaN.
    """
    rows, random = np.arange(n), np.random.default_rng(0)
    estimate = float(score(rows))
    if n < 2:
        return Interval(estimate, np.nan, np.nan)
    drawn = np.array([score(random.integers(n, size=n)) for _ in range(DRAWS)])
    left_out = np.array([score(np.delete(rows, row)) for row in rows])
    return Interval(estimate, *bca_limits(estimate, drawn, left_out))
