"""Scores of a whole code against known factors: DCI, MIG, SAP and InfoMEC.

Each begins with a matrix that has a row for each unit, or for each block of units, and a column for
each factor, and asks how near every row is to having one entry (is a unit about one factor?) and
every column (is a factor in one unit?). A block of units, such as a whole static code, is one row.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import entropy
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, mutual_info_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits
from unbraid.checks import as_array, check_field, finite_array, to_index
from unbraid.measures.information import ross

BINS = 20  # of a unit's histogram, as in the code of Locatello et al. (2019)
TREES, TREE_ROWS = 30, 1500  # of a forest, and rows behind each tree
BLOCK_ROWS = 1500  # behind the information of a block, whose neighbours are slow to find
QUANTILES = 10  # classes of a continuous factor
ACTIVE = 1 / 20  # A unit of a smaller range, as a share of the largest, is not active.


@dataclass(frozen=True)
class Scores:
    """What `scores` measures, each 1 at best; those of a code that tells nothing are near 0.

    A score that cannot be told, such as compactness with a single row, is NaN.
    """

    disentanglement: float  # DCI: is each row important for one factor?
    completeness: float  # DCI: is each factor predicted from one row?
    informativeness: float  # DCI: skill of the forests on held-out rows
    gap: float  # MIG: nats by which the best unit is ahead of the second, by the factor's entropy
    separation: float  # SAP: points by which the best unit's accuracy is ahead of the second's
    modularity: float  # InfoM: does each active row tell of one factor?
    compactness: float  # InfoC: is each factor in one row?
    explicitness: float  # InfoE: share of the factors' nats that a linear classifier reads


@threadpool_limits.wrap(limits=1)
def scores(
    codes: Mapping[str, ArrayLike],
    factors: Mapping[str, ArrayLike],
    *,
    test: float = 0.3,
    seed: int = 0,
) -> tuple[Scores, Scores]:
    """All scores of named codes: with each code as a row of every matrix, and with each unit.

    codes: name -> (N, D) floats. factors: name -> (N,); integers, booleans and strings are classes,
        floats are continuous. test: the share of rows on which informativeness and SAP are scored.
    Raises ValueError for NaN, other shapes, unequal numbers of rows, a factor of one value.
    """
    blocks, columns = as_blocks(codes), as_columns(factors)
    code = np.hstack(blocks)  # (N, D)
    lengths = {name: len(column) for name, column in zip(factors, columns, strict=True)}
    holds = set(lengths.values()) == {len(code)}
    found = f"{len(code)} of the codes and {lengths}"
    check_field(holds, "codes, factors", "one row for each sequence in all", found)
    rows = np.random.default_rng(seed).permutation(len(code))
    held_out = np.zeros(len(code), dtype=bool)
    held_out[rows[: round(test * len(code))]] = True

    classes = [as_classes(column) for column in columns]
    importance, skill = importances(code, columns, held_out, seed)
    shared = {
        "informativeness": skill,
        "gap": mutual_information_gap(code, classes),
        "separation": separation(code, columns, held_out),
        "explicitness": explicitness(code, classes),
    }
    by_kind = []
    for sizes in ([block.shape[1] for block in blocks], None):
        starts = np.cumsum([0, *(sizes or [1] * code.shape[1])[:-1]])
        rows_of = np.add.reduceat(importance, starts, axis=0)
        information = normalised_information(code, classes, sizes)
        dci = {"disentanglement": disentanglement(rows_of), "completeness": completeness(rows_of)}
        modularity, compactness = modularity_and_compactness(code, information, starts)
        by_kind.append(Scores(**dci, **shared, modularity=modularity, compactness=compactness))
    return by_kind[0], by_kind[1]


# DCI: Eastwood and Williams, ICLR 2018, section 2


def importances(
    code: np.ndarray, columns: Sequence[np.ndarray], held_out: np.ndarray, seed: int
) -> tuple[np.ndarray, float]:
    """How much of each factor a random forest takes from each unit, (D, F), and its mean skill.

    The skill is 1 - loss / loss of the best constant on the rows held out. Random forests are one
    of the two regressors of the paper; other codes take gradient boosting, which is slower and
    gives other importances.
    """
    importance, skills = np.zeros((code.shape[1], len(columns))), []
    for j, values in enumerate(columns):
        is_continuous = values.dtype.kind == "f"
        kind = RandomForestRegressor if is_continuous else RandomForestClassifier
        # Each tree may split by any unit, or units that know nothing would be given importance.
        options = {"min_samples_leaf": 5, "max_features": 1.0, "random_state": seed}
        rows = min(TREE_ROWS, int((~held_out).sum()))
        forest = kind(TREES, max_samples=rows, **options)
        forest.fit(code[~held_out], values[~held_out])
        importance[:, j] = forest.feature_importances_
        true, known = values[held_out], values[~held_out]
        predicted = forest.predict(code[held_out])
        if is_continuous:
            loss, base = ((predicted - true) ** 2).mean(), ((known.mean() - true) ** 2).mean()
        else:
            loss, base = (predicted != true).mean(), (np.bincount(known).argmax() != true).mean()
        skills.append(max(1 - loss / base, 0.0) if base else 0.0)
    return importance, float(np.mean(skills))


def disentanglement(importance: np.ndarray) -> float:
    """Is each row of an importance matrix (R, F) about one factor? 1: yes, 0: about all alike."""
    if importance.shape[1] < 2:
        return float("nan")
    by_row = 1 - entropy(importance.T + 1e-11, base=importance.shape[1])
    return weighted(by_row, importance.sum(1))


def completeness(importance: np.ndarray) -> float:
    """Is each factor of an importance matrix (R, F) in one row? 1: yes, 0: in all alike."""
    if len(importance) < 2:
        return float("nan")
    by_factor = 1 - entropy(importance + 1e-11, base=len(importance))
    return weighted(by_factor, importance.sum(0))


def weighted(values: np.ndarray, weights: np.ndarray) -> float:
    """The mean of values, weighted by importance; without any importance the plain mean."""
    return float(np.average(values, weights=weights if weights.sum() else None))


# MIG: Chen et al., NeurIPS 2018, section 4.1


def mutual_information_gap(code: np.ndarray, classes: Sequence[np.ndarray]) -> float:
    """By how much the best unit knows more of a factor than the second, over the factor's entropy.

    Information is that of a histogram of 20 bins. It is about single units: there is no gap between
    a block and its own parts. NaN for a single unit.
    """
    if code.shape[1] < 2:
        return float("nan")
    bins = [np.digitize(unit, np.histogram(unit, BINS)[1][:-1]) for unit in code.T]
    gaps = []
    for factor in classes:
        second, best = np.sort([mutual_info_score(factor, unit) for unit in bins])[-2:]
        gaps.append((best - second) / mutual_info_score(factor, factor))
    return float(np.mean(gaps))


# SAP: Kumar et al., ICLR 2018, section 3


def separation(code: np.ndarray, columns: Sequence[np.ndarray], held_out: np.ndarray) -> float:
    """By how much the best unit predicts a factor better than the second, in accuracy or R^2.

    Of classes a linear classifier of one unit is scored on the rows held out, of a continuous
    factor the squared correlation. NaN for a single unit.
    """
    if code.shape[1] < 2:
        return float("nan")
    gaps = []
    for values in columns:
        found = []
        for unit in code.T[:, :, None]:
            if not np.ptp(unit):
                found.append(0.0)
            elif values.dtype.kind == "f":
                found.append(np.corrcoef(unit[:, 0], values)[0, 1] ** 2)
            else:
                classifier = LinearSVC(C=0.01, class_weight="balanced", random_state=0)
                classifier.fit(unit[~held_out], values[~held_out])
                found.append((classifier.predict(unit[held_out]) == values[held_out]).mean())
        second, best = np.sort(found)[-2:]
        gaps.append(best - second)
    return float(np.mean(gaps))


# InfoMEC: Hsu et al., NeurIPS 2023, section 4


def normalised_information(
    code: np.ndarray, classes: Sequence[np.ndarray], sizes: Sequence[int] | None
) -> np.ndarray:
    """I(row; factor) / H(factor), (R, F), by nearest neighbours (Ross 2014).

    A row is a unit, with ten neighbours as in the authors' code, or a block, by `ross` on 1500
    random rows at most.
    """
    standard = StandardScaler().fit_transform(code)
    sample = np.sort(np.random.default_rng(0).permutation(len(code))[:BLOCK_ROWS])
    found = []
    for factor in classes:
        whole = mutual_info_score(factor, factor)
        if sizes is None:
            options = {"n_neighbors": 10, "random_state": 0, "discrete_features": False}
            found.append(mutual_info_classif(standard, factor, **options) / whole)
            continue
        parts = np.split(standard[sample], np.cumsum(sizes)[:-1], axis=1)
        nats = []
        for part in parts:
            part = part[:, np.ptp(part, axis=0) > 0]
            nats.append(ross(part, factor[sample]).estimate * np.log(2) if part.size else 0.0)
        found.append(np.clip(nats, 0, None) / whole)
    return np.array(found).T


def modularity_and_compactness(
    code: np.ndarray, information: np.ndarray, starts: np.ndarray
) -> tuple[float, float]:
    """Of normalised information (R, F): the share that goes to the largest entry of each active
    row (modularity) and of each factor (compactness), less what it would be with all alike."""
    ranges = np.ptp(code, axis=0)
    widest = np.maximum.reduceat(ranges, starts)
    active = information[widest > widest.max() * ACTIVE] if widest.max() else information[:0]
    return above_even(active), above_even(active.T)


def above_even(matrix: np.ndarray) -> float:
    """The mean share of a row's sum in its largest entry, from 0 (all alike) to 1 (one only)."""
    count, width = matrix.shape
    if width < 2 or not count:
        return float("nan")
    sums = matrix.sum(1)
    shares = np.where(sums > 0, matrix.max(1) / np.where(sums > 0, sums, 1), 1 / width)
    return float((shares.mean() - 1 / width) / (1 - 1 / width))


def explicitness(code: np.ndarray, classes: Sequence[np.ndarray]) -> float:
    """The share of each factor's nats that a linear classifier reads off the code, their mean.

    As in the paper it is fitted and scored on the same rows, without a penalty: with many units and
    few rows it flatters.
    """
    x = StandardScaler().fit_transform(code)  # A constant unit becomes 0.
    shares = []
    for factor in classes:
        model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=100)
        losses = []
        for inputs in (np.zeros((len(code), 1)), x):
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # 100 steps, as the authors
                losses.append(log_loss(factor, model.fit(inputs, factor).predict_proba(inputs)))
        shares.append(1 - losses[1] / losses[0])
    return float(np.mean(shares))


# What goes in


def as_blocks(codes: Mapping[str, ArrayLike]) -> list[np.ndarray]:
    """Each code as floats (N, D)."""
    blocks = []
    for name, code in codes.items():
        field, values = f"code {name!r}", finite_array(f"code {name!r}", code)
        check_field(values.ndim == 2 and values.size > 0, field, "(N, D)", values.shape)
        blocks.append(values)
    lengths = sorted(set(map(len, blocks)))
    expected = "at least one code, all with the same number of rows"
    check_field(len(lengths) == 1, "codes", expected, lengths)
    return blocks


def as_columns(factors: Mapping[str, ArrayLike]) -> list[np.ndarray]:
    """Each factor as class numbers or as floats, (N,)."""
    check_field(len(factors) > 0, "factors", "at least one", "none")
    columns = []
    for name, factor in factors.items():
        field, values = f"factor {name!r}", as_array(factor)
        check_field(values.ndim == 1 and values.size > 0, field, "(N,)", values.shape)
        values = (finite_array if values.dtype.kind == "f" else to_index)(field, values)
        check_field(bool((values != values[0]).any()), field, "values that differ", "one only")
        columns.append(values)
    return columns


def as_classes(column: np.ndarray) -> np.ndarray:
    """Class numbers; a continuous factor is cut into ten classes of equally many rows."""
    if column.dtype.kind != "f":
        return column
    edges = np.quantile(column, np.linspace(0, 1, QUANTILES + 1)[1:-1])
    return np.unique(np.digitize(column, edges), return_inverse=True)[1]
