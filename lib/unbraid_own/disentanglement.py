"""Scores of a whole code against known factors: DCI, MIG, SAP and InfoMEC.

Each begins with a matrix that has a row for each unit, or for each block of units, and a column for
each factor, and asks how near every row is to having one entry (is a unit about one factor?) and
every column (is a factor in one unit?). A block of units, such as a whole static code, is one row.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.parallel import Parallel, delayed
from threadpoolctl import threadpool_limits
from unbraid import checks
from unbraid.checks import as_array, check_field, check_seed, check_whole, number_groups
from unbraid.measures.information import prepare, ross_bits
from unbraid.measures.leakage import differs, held_out_mask, parse_inputs

from unbraid_own.arrays import LARGEST_SEED, Named
from unbraid_own.scores import as_classes, count_nats, disentanglement

BINS = 20  # of a unit's histogram, as in the code of Locatello et al. (2019)
TREES, TREE_ROWS = 30, 1500  # of a forest, and rows behind each tree
BLOCK_ROWS = 1500  # behind the information of a block, whose neighbours are slow to find
FEWEST_OF_CLASS = 4  # of each class in a sample of rows, if it has as many
ACTIVE = 1 / 20  # of the information in the fullest row: a row with less is not active

Columns = Sequence[np.ndarray]  # of each factor, (N,)


@dataclass(frozen=True)
class Scores:
    """What `scores` measures, each 1 at best; those of a code that tells nothing are near 0.

    A score that cannot be told, such as compactness with a single row, is NaN. InfoM and InfoC are
    not always those of their authors' code (latent_quantization, commit 9a420a3), which leaves out
    units whose *range* is at most a twentieth of the largest one. Here rows are left out that hold
    less than a twentieth of the *information* in the fullest row. So no score depends on the scale
    of a unit, and a wide unit of pure noise, which counts in their code, does not count here.
    """

    disentanglement: float  # DCI: is each row important for one factor?
    completeness: float  # DCI: is each factor predicted from one row?
    informativeness: float  # DCI: skill of the forests on held-out rows
    gap: float  # MIG: nats by which the best unit is ahead of the second, by the factor's entropy
    separation: float  # SAP: points by which the best unit's accuracy is ahead of the second's
    modularity: float  # InfoM: does each active row tell of one factor?
    compactness: float  # InfoC: is each factor in one active row?
    explicitness: float  # InfoE: share of the factors' nats that a linear classifier reads
    doubts: tuple[str, ...] = ()  # of each factor that is left out, a sentence that says why


@threadpool_limits.wrap(limits=1)
def scores(
    codes: Named,
    factors: Named,
    *,
    test: float = 0.3,
    groups: ArrayLike | None = None,
    trees: int = TREES,
    seed: int = 0,
) -> tuple[Scores, Scores]:
    """All scores of named codes: with each code as a row of every matrix, and with each unit.

    codes: name -> (N, D) floats, of which each unit is scaled to deviation 1. factors: name ->
        (N,); integers, booleans and strings are classes, floats are continuous.
    test: the share of rows on which informativeness and SAP are scored, drawn again for a factor
        that would not differ on both sides. One too rare for that is left out of all scores.
    groups: (N,), such as the person of each row: whole groups are drawn for these.
    trees: of each forest.
    Raises ValueError for NaN, other shapes, unequal numbers of rows, a factor of one value.
    """
    blocks, columns = check_inputs(codes, factors)
    code = np.hstack(blocks)  # (N, D)
    numbers = number_groups("groups", groups, len(code))
    check_seed(seed, LARGEST_SEED)
    check_whole(1, trees=trees)
    check_field(isinstance(test, float), "test", "a share of the rows, as 0.3", repr(test))
    known, doubts = [], []  # of each factor its values, its classes and the rows held out
    for name, column in zip(factors, columns, strict=True):
        held_out = held_out_mask(test, numbers, np.random.default_rng(seed), [column])
        classes = as_classes(column)
        if differs(column, held_out) and (np.bincount(classes) > 1).sum() > 1:
            known.append((column, classes, held_out))
        else:
            rarest = f"its rarest class has {np.bincount(classes).min()} rows"
            doubts.append(f"factor {name!r} is left out of the scores: {rarest}; give more")
    if not known:
        nan = float("nan")
        return (Scores(nan, nan, nan, nan, nan, nan, nan, nan, tuple(doubts)),) * 2

    values, labels, held_outs = zip(*known, strict=True)
    scaled = StandardScaler().fit_transform(code)  # A constant unit becomes 0.
    importance, skill = importances(scaled, values, held_outs, trees, seed)
    gap, ahead = mutual_information_gap(code, labels), separation(scaled, values, held_outs)
    explicit = explicitness(scaled, labels)

    def score(starts: Sequence[int], information: np.ndarray) -> Scores:
        rows_of = np.add.reduceat(importance, starts, axis=0)
        information = information[np.maximum.reduceat(np.ptp(code, axis=0), starts) > 0]
        told = information.sum(1)
        active = information[told >= ACTIVE * told.max(initial=0)]
        dci = disentanglement(rows_of), disentanglement(rows_of.T), skill
        infomec = above_even(active), above_even(active.T), explicit
        return Scores(*dci, gap, ahead, *infomec, tuple(doubts))

    starts = list(accumulate((block.shape[1] for block in blocks[:-1]), initial=0))
    by_code = score(starts, normalised_information(scaled, labels, starts))
    return by_code, score(range(len(code.T)), normalised_information(scaled, labels))


def in_threads(function: Callable[..., Any], *items: Iterable[Any]) -> list[Any]:
    """Results in order; what takes long in here, trees, sorting and solvers, runs side by side."""
    jobs = (delayed(function)(*each) for each in zip(*items, strict=True))
    return Parallel(n_jobs=-1, require="sharedmem")(jobs)


# DCI: Eastwood and Williams, ICLR 2018, section 2


def importances(
    code: np.ndarray, columns: Columns, held_outs: Columns, trees: int, seed: int
) -> tuple[np.ndarray, float]:
    """How much of each factor a random forest takes from each unit, (D, F), and its mean skill.

    The skill is 1 - loss / loss of the best constant on the rows held out. Forests are one of the
    two regressors of the paper; other codes take gradient boosting, with other importances.
    """

    def grow(values: np.ndarray, held_out: np.ndarray) -> tuple[np.ndarray, float]:
        if is_continuous := values.dtype.kind == "f":  # in any unit the same, to the last digit
            values = ((values - values.mean()) / values.std()).round(9)
        kind = RandomForestRegressor if is_continuous else RandomForestClassifier
        # Each tree may split by any unit, or units that know nothing would be given importance.
        options = {"min_samples_leaf": 5, "max_features": 1.0, "random_state": seed}
        true, known = values[held_out], values[~held_out]
        forest = kind(trees, max_samples=min(TREE_ROWS, len(known)), **options)
        predicted = forest.fit(code[~held_out], known).predict(code[held_out])
        best = known.mean() if is_continuous else np.bincount(known).argmax()
        differ = np.subtract if is_continuous else np.not_equal
        loss, base = (np.square(differ(said, true) * 1.0).mean() for said in (predicted, best))
        return forest.feature_importances_, max(1 - loss / base, 0.0)

    importance, skills = zip(*in_threads(grow, columns, held_outs), strict=True)
    return np.stack(importance, 1), float(np.mean(skills))


# MIG: Chen et al., NeurIPS 2018, section 4.1


def mutual_information_gap(code: np.ndarray, classes: Columns) -> float:
    """By how much the best unit knows more of a factor than the second, over the factor's entropy.

    Information is that of a histogram of 20 bins. It is about single units: there is no gap between
    a block and its own parts. NaN for a single unit.
    """
    if code.shape[1] < 2:
        return float("nan")
    bins = [np.digitize(unit, np.histogram_bin_edges(unit, BINS)[:-1]) for unit in code.T]
    gaps = []
    for factor in classes:
        second, best = np.sort([count_nats(factor, unit) for unit in bins])[-2:]
        gaps.append((best - second) / count_nats(factor, factor))
    return float(np.mean(gaps))


# SAP: Kumar et al., ICLR 2018, section 3


def separation(code: np.ndarray, columns: Columns, held_outs: Columns) -> float:
    """By how much the best unit predicts a factor better than the second, in accuracy or R^2.

    Of classes a linear classifier of one unit is scored on the rows held out, of a continuous
    factor the squared correlation. NaN for a single unit.
    """
    if code.shape[1] < 2:
        return float("nan")

    def score(unit: np.ndarray) -> list[float]:
        found = []
        for values, held_out in zip(columns, held_outs, strict=True):
            if not np.ptp(unit):
                found.append(0.0)
            elif values.dtype.kind == "f":
                found.append(np.corrcoef(unit, values)[0, 1] ** 2)
            else:
                classifier = LinearSVC(C=0.01, class_weight="balanced", random_state=0)
                classifier.fit(unit[~held_out, None], values[~held_out])
                right = classifier.predict(unit[held_out, None]) == values[held_out]
                found.append(right.mean())
        return found

    second, best = np.sort(in_threads(score, code.T), axis=0)[-2:]  # (F,) each
    return float(np.mean(best - second))


# InfoMEC: Hsu et al., NeurIPS 2023, section 4


def normalised_information(
    code: np.ndarray, classes: Columns, starts: Sequence[int] | None = None
) -> np.ndarray:
    """I(row; factor) / H(factor), (R, F), by nearest neighbours (Ross 2014).

    A row is a unit, with ten neighbours as in the authors' code, or the block from one of `starts`
    to the next, by `ross` on 1500 random rows at most.
    """
    code = StandardScaler().fit_transform(code)
    find: Callable[..., list[float]] = block_bits if starts else partial(ross_bits, k=10)
    if starts is None:  # with the noise of scikit-learn's mutual_info_classif, as the authors
        noise = np.random.RandomState(0).standard_normal(code.shape)
        code = code + 1e-10 * np.maximum(1, np.abs(code).mean(0)) * noise
    rows = np.split(code, starts[1:] if starts else code.shape[1], axis=1)
    bits = in_threads(find, rows, [classes] * len(rows))
    entropies = [count_nats(factor, factor) for factor in classes]
    return np.clip(bits, 0, None) * np.log(2) / entropies


def block_bits(block: np.ndarray, classes: Columns) -> list[float]:
    """Bits between a block (N, d) and factors on random rows, with four of each rare class."""
    order = np.random.default_rng(0).permutation(len(block))
    sample = np.sort(draw_rows(classes, BLOCK_ROWS, order))
    part = block[sample]
    part = part[:, np.ptp(part, axis=0) > 0]
    return ross_all(part, [factor[sample] for factor in classes], raw=True)


def draw_rows(factors: Columns, most: int, order: np.ndarray) -> np.ndarray:
    """The first `most` rows of an order, and at least four of each class, or all that it has."""
    is_drawn = np.arange(len(order)) < most
    for values in factors:
        numbers = checks.to_index("factor", values)[order]
        if FEWEST_OF_CLASS * (numbers.max() + 1) <= most and values.dtype.kind != "f":
            for number in range(numbers.max() + 1):
                is_drawn[np.flatnonzero(numbers == number)[:FEWEST_OF_CLASS]] = True
    return order[is_drawn]


def ross_all(x: np.ndarray, classes: Columns, raw: bool = False) -> list[float]:
    """`ross` of rows (N, d) and each factor, their distances found once; 0 without a unit."""
    if not x.size:
        return [0.0] * len(classes)
    generator = np.random.default_rng(np.random.SeedSequence(0).spawn(1)[0])  # that of `ross`
    return ross_bits(prepare(x, 1e-10, generator, raw), classes, k=3)


def above_even(matrix: np.ndarray) -> float:
    """The mean share of a row's sum in its largest entry, from 0 (all alike) to 1 (one only)."""
    count, width = matrix.shape
    if width < 2 or not count:
        return float("nan")
    sums = matrix.sum(1)
    shares = np.where(sums > 0, matrix.max(1) / np.where(sums > 0, sums, 1), 1 / width)
    return float((shares.mean() - 1 / width) / (1 - 1 / width))


def explicitness(code: np.ndarray, classes: Columns) -> float:
    """The share of each factor's nats that a linear classifier reads off the code, their mean.

    As in the paper it is fitted and scored on the same rows, without a penalty: with many units and
    few rows it flatters.
    """
    x = StandardScaler().fit_transform(code)  # A constant unit becomes 0.

    def read(factor: np.ndarray) -> float:
        model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=100)
        losses = []
        for inputs in (np.zeros((len(code), 1)), x):
            with np.errstate(all="ignore"):
                losses.append(log_loss(factor, model.fit(inputs, factor).predict_proba(inputs)))
        return 1 - losses[1] / losses[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 100 steps, as the authors
        return float(np.mean(in_threads(read, classes)))


# What goes in


def check_inputs(codes: Named, factors: Named) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Each code as floats (N, D), and each factor as class numbers or floats, (N,)."""
    rows, targets = parse_inputs(codes, factors, "flattened")
    for name, code in codes.items():
        check_field(name in rows, f"code {name!r}", "(N, D)", as_array(code).shape)
    count = len(next(iter(rows.values())))
    for name, factor in factors.items():
        shape = as_array(factor).shape
        check_field(shape == (count,), f"factor {name!r}", "(N,)", shape)
    blocks = [row[:, 0] for row in rows.values()]
    return blocks, [target.values.reshape(count) for target in targets.values()]
