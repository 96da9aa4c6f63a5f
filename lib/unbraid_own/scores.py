"""Scores of units against known factors: which unit is which factor, MIG and DCI.

Each begins with a matrix that has a row for each unit and a column for each factor, and asks how
near every row is to having one entry (is a unit about one factor?) and every column (is a factor in
one unit?).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy.special import entr
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

BINS = 20  # of a unit's histogram, as in the code of Locatello et al. (2019)
TREES, TREE_ROWS = 12, 1500  # of a forest, and rows behind each tree
QUANTILES = 10  # classes of a continuous factor

Columns = Sequence[np.ndarray]  # of each factor (N,): class numbers, or floats


@threadpool_limits.wrap(limits=1)
def importances(
    code: np.ndarray, columns: Columns, held_out: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """How much of each factor a random forest takes from each unit, (D, F), and its skill (F,).

    code: (N, D). held_out: (N,) mask of the rows on which a forest is scored: 1 - loss / loss of
    the best constant. DCI of Eastwood and Williams, ICLR 2018, section 2: forests are one of the
    two regressors of the paper; other codes take gradient boosting, with other importances.
    """
    scaled = StandardScaler().fit_transform(code)  # A constant unit becomes 0.
    # Each tree may split by any unit, or units that know nothing would be given importance.
    options = {"min_samples_leaf": 5, "max_features": 1.0, "random_state": seed}
    options["max_samples"] = min(TREE_ROWS, int((~held_out).sum()))
    grown, skills = [], []
    for classes in map(as_classes, columns):
        known, true = classes[~held_out], classes[held_out]
        forest = RandomForestClassifier(TREES, **options).fit(scaled[~held_out], known)
        loss = (forest.predict(scaled[held_out]) != true).mean()
        base = (np.bincount(known).argmax() != true).mean()
        grown.append(forest.feature_importances_)
        skills.append(max(1 - loss / base, 0.0))
    return np.stack(grown, 1), np.array(skills)


def map_units(code: np.ndarray, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Which unit tells of which factor, (D, F), and by how much the best is ahead of the second.

    code: (N, D). The first is the share of a factor's entropy that a histogram of the unit shares
    with it, less what chance gives (Miller: bins - 1 times classes - 1, by 2 N). The second, (F,),
    is the gap of MIG (Chen et al., NeurIPS 2018, section 4.1), as published without the correction;
    NaN for a single unit.
    """
    labels = [as_classes(values) for values in columns]
    bins = [np.digitize(unit, np.histogram_bin_edges(unit, BINS)[:-1]) for unit in code.T]
    pairs = [count_nats(factor, unit) for unit, factor in product(bins, labels)]
    nats = np.reshape(pairs, (len(bins), len(labels)))
    entropies = np.array([count_nats(factor, factor) for factor in labels])
    filled = [len(np.unique(each)) - 1 for each in bins]
    chance = np.outer(filled, [len(np.unique(each)) - 1 for each in labels]) / (2 * len(code))
    told = np.clip(nats - chance, 0, None) / entropies
    if len(nats) < 2:
        return told, np.full(len(labels), np.nan)
    second, best = np.sort(nats, axis=0)[-2:]
    return told, (best - second) / entropies


def disentanglement(importance: np.ndarray) -> float:
    """Is each row of an importance matrix (R, F) about one factor? 1: yes, 0: about all alike.

    Of the matrix turned over (F, R) this is completeness: is each factor in one row? A row can be
    a whole code, the sum of its units' rows. NaN for a single column.
    """
    if importance.shape[1] < 2:
        return float("nan")
    share, weights = importance + 1e-11, importance.sum(1)
    share /= share.sum(1, keepdims=True)
    by_row = 1 - entr(share).sum(1) / np.log(importance.shape[1])
    return float(np.average(by_row, weights=weights if weights.any() else None))


def count_nats(first: np.ndarray, second: np.ndarray) -> float:
    """Mutual information of two columns of small whole numbers (N,), by their counts."""
    width = second.max() + 1
    table = np.bincount(width * first + second, minlength=width * (first.max() + 1))
    share = table.reshape(-1, width) / len(first)
    alone = entr(share.sum(0)).sum() + entr(share.sum(1)).sum()
    return float(alone - entr(share).sum())


def as_classes(column: np.ndarray) -> np.ndarray:
    """Class numbers; a continuous factor is cut into ten classes of equally many rows."""
    if column.dtype.kind != "f":
        return column
    edges = np.quantile(column, np.linspace(0, 1, QUANTILES + 1)[1:-1])
    return np.unique(np.digitize(column, edges), return_inverse=True)[1]
