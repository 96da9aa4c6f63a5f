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


def score_of_rows(
    metric: str, is_event: np.ndarray, predicted: np.ndarray
) -> Callable[[np.ndarray], float]:
    """A function of rows of N test items, which may repeat: their "auroc" or "auprc".

    is_event, predicted: (N,). NaN where rows lack events or hold nothing else. Items are sorted
    once, and a draw of them is counted, which takes a fiftieth of scikit-learn's time.
    """
    _, place = np.unique(-predicted, return_inverse=True)  # 0 is the most likely event
    cells, levels = 2 * place + is_event.astype(int), place.max() + 1

    def score(rows: np.ndarray) -> float:
        others, events = np.bincount(cells[rows], minlength=2 * levels).reshape(-1, 2).T
        alarms, hits = others.cumsum(), events.cumsum()
        if not (alarms[-1] and hits[-1]):
            return np.nan
        if metric == "auroc":  # others that lie lower, and half of those that tie
            return float(
                (events * (alarms[-1] - alarms + others / 2)).sum() / alarms[-1] / hits[-1]
            )
        return float((events * hits / np.maximum(hits + alarms, 1)).sum() / hits[-1])

    return score
