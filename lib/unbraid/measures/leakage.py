"""The leakage matrix: how much of each known factor a probe reads off each code.

Rows are codes, columns factors. A probe is trained on some sequences and scored on others. A cell
is its skill, 1 - loss of the probe / loss of the best constant of the training set. For classes
the loss is the error rate, so the skill is (accuracy - chance) / (1 - chance); for continuous
factors it is the squared error, so the skill is R^2.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from unbraid.checks import as_array, check_field, check_name, check_whole, finite_array, to_index
from unbraid.measures.intervals import bca_limits, share_interval
from unbraid.readable import Readable

PROBES = {  # one for every model and factor, as a function of the number of units of the code
    ("linear", "classes"): lambda width: LogisticRegression(C=1 / width, max_iter=1000),
    ("linear", "continuous"): lambda width: Ridge(alpha=30.0),
    ("nonlinear", "classes"): lambda width: SVC(C=1.0, gamma=1 / width),
    ("nonlinear", "continuous"): lambda w: KernelRidge(alpha=0.3, kernel="rbf", gamma=1 / w),
}
POOLINGS = {  # codes of frames (N, T, d) as the inputs of a probe, (N, S, p)
    "flattened": lambda code: code.reshape(len(code), 1, -1),
    "averaged": lambda code: code.mean(axis=1, keepdims=True),
    "frames": lambda code: code,
}
NONLINEAR_ROWS = 3000  # at most: the time of this probe grows with the square of its rows
BOOTSTRAP_DRAWS = 1000  # of the test sequences, behind an interval


@dataclass(frozen=True, eq=False, repr=False)
class LeakageMatrix(Readable):
    """Skills (R, F) of a probe; matrix["static", "hair"] is the skill of one cell."""

    value: np.ndarray  # (R, F)
    test_interval: np.ndarray  # (R, F, 2) limits over other test sequences, for this probe
    p_value: np.ndarray  # (R, F) of a permutation test; not corrected for multiple testing
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    probe: str  # "linear" or "nonlinear"

    def __getitem__(self, cell: tuple[str, str]) -> float:
        row, column = cell
        check_name("row", row, self.rows)
        check_name("column", column, self.columns)
        return float(self.value[self.rows.index(row), self.columns.index(column)])

    def table(self) -> list[tuple[str, ...]]:
        """A row for each code: its skills with their limits."""
        rows = [(f"{self.probe} probe", *self.columns)]
        for code, values, limits in zip(self.rows, self.value, self.test_interval, strict=True):
            cells = zip(values, limits, strict=True)
            texts = [f"{value:.2f} [{low:.2f}, {high:.2f}]" for value, (low, high) in cells]
            rows.append((code, *texts))
        return rows


@dataclass(frozen=True, eq=False)
class Factor:
    """A known factor with S values per sequence, S = 1 for a factor of the whole sequence."""

    kind: str  # "classes" or "continuous"
    values: np.ndarray  # class numbers (N, S) or floats (N, S, m)


@threadpool_limits.wrap(limits=1)  # The threads of small matrix products wait for each other.
def leakage_matrix(
    codes: Mapping[str, ArrayLike],
    factors: Mapping[str, ArrayLike],
    *,
    probe: str = "linear",
    pooling: str | Iterable[str] = ("flattened", "averaged"),
    test: float | ArrayLike = 0.3,
    permutations: int = 999,
    seed: int = 0,
) -> LeakageMatrix:
    """Train a probe for every code and factor on some sequences and score it on the others.

    codes: name -> (N, D), one code per sequence, or (N, T, d), one per frame. factors: name -> (N,)
        of sequences; (N, T) or (N, T, m) of their frames; (N, m) continuous. Integers, booleans
        and strings are classes, floats are continuous.
    pooling: how codes of frames are read, a row of the matrix for each: "flattened" (N, T d) and
        "averaged" (N, d) know the whole sequence, and a factor of frames is read off them by a
        probe for each step; "frames" predicts a frame's factor from the code of that frame.
    probe: "linear" or "nonlinear", see PROBES; units are standardised on the training sequences.
    test: the share of sequences to score on, drawn with `seed`, or their indices, or an (N,) mask.
    permutations: of the test sequences' factors, for p_value = (1 + reached) / (1 + permutations).
    A constant code has skill 0 and p 1. A skill below -1 counts as -1. Raises ValueError for NaN,
    unequal numbers of sequences or frames, a factor of one value, fewer than two on a side.
    """
    check_name("probe", probe, ("linear", "nonlinear"))
    check_whole(1, permutations=permutations)
    check_whole(0, seed=seed)
    features, targets = parse_inputs(codes, factors, pooling)
    for_split, _, for_null = np.random.SeedSequence(seed).spawn(3)
    count = len(next(iter(features.values())))
    held_out = held_out_mask(test, count, np.random.default_rng(for_split))
    null, tested = np.random.default_rng(for_null), held_out.sum()
    orders = [null.permutation(tested) for _ in range(permutations)]  # the same for every cell

    shape = len(features), len(targets)
    value, limits, p_value = np.empty(shape), np.empty((*shape, 2)), np.empty(shape)
    for j, (name, target) in enumerate(targets.items()):
        for i, code in enumerate(features.values()):
            predicted, true, constant = fit_and_predict(code, target, held_out, probe)
            loss, base = mean_loss(predicted, true, target), mean_loss(constant, true, target)
            check_field(base.any(), f"factor {name!r}", "test sequences that differ", "none")
            value[i, j] = max(1 - loss.sum() / base.sum(), -1.0)
            limits[i, j] = skill_limits(loss, base, seed)
            shuffled = [mean_loss(predicted, true[order], target).mean() for order in orders]
            reached = np.sum(np.array(shuffled) <= loss.mean() + 1e-12)
            p_value[i, j] = (1 + reached) / (1 + permutations)
    return LeakageMatrix(value, limits, p_value, tuple(features), tuple(targets), probe)


def fit_and_predict(
    code: np.ndarray, target: Factor, held_out: np.ndarray, probe: str
) -> list[np.ndarray]:
    """Predictions, truth and best constant of n test sequences, each (n, s): s values a sequence.

    code: (N, S, p). Continuous values are in standard deviations of the training set, so that
    several columns weigh alike.
    """
    steps = code.shape[1]
    y = target.values
    if steps > 1:  # one row for each frame
        y = np.broadcast_to(y, (len(y), steps, *y.shape[2:]))
        y = y.reshape(len(y) * steps, -1)
    y = y.reshape(len(y), -1)
    x, test = code.reshape(-1, code.shape[2]), np.repeat(held_out, steps)
    x = x[:, np.ptp(x[~test], axis=0) > 0]
    train = np.flatnonzero(~test)
    dummy = DummyClassifier(strategy="most_frequent")
    if target.kind == "continuous":
        y = StandardScaler().fit(y[train]).transform(y)
        dummy = DummyRegressor()
    constant = dummy.fit(x[train], y[train]).predict(x[test]).reshape(y[test].shape)
    predicted = constant.copy()
    if x.shape[1]:
        x = StandardScaler().fit(x[train]).transform(x)
        if probe == "nonlinear" and len(train) > NONLINEAR_ROWS:
            train = train[np.linspace(0, len(train) - 1, NONLINEAR_ROWS).astype(int)]
        model = PROBES[probe, target.kind](x.shape[1])
        if target.kind == "continuous":
            predicted = model.fit(x[train], y[train]).predict(x[test])
        else:
            for step, column in enumerate(y[train].T):
                if np.ptp(column) > 0:
                    predicted[:, step] = model.fit(x[train], column).predict(x[test])
    count = held_out.sum()
    return [values.reshape(count, -1) for values in (predicted, y[test], constant)]


def mean_loss(predicted: np.ndarray, true: np.ndarray, target: Factor) -> np.ndarray:
    """Error rate or mean squared error of each sequence, (n,), of values (n, s)."""
    wrong = predicted != true if target.kind == "classes" else (predicted - true) ** 2
    return wrong.mean(axis=1)


def skill_limits(loss: np.ndarray, base: np.ndarray, seed: int) -> tuple[float, float]:
    """BCa limits of the skill over test sequences with these losses (n,)."""

    def skill(loss: np.ndarray, base: np.ndarray, axis: int) -> np.ndarray:
        return 1 - loss.sum(axis) / base.sum(axis)

    if not loss.any():  # No draw can differ: Wilson's limits of a share of n without an error.
        wrong = 1 - share_interval(len(loss), len(loss)).low
        return max(1 - wrong / base.mean(), -1.0), 1.0
    return tuple(np.clip(bca_limits(skill, (loss, base), BOOTSTRAP_DRAWS, seed), -1, 1))


def held_out_mask(
    test: float | ArrayLike, count: int, generator: np.random.Generator
) -> np.ndarray:
    """The test sequences as a mask (N,)."""
    mask, chosen = np.zeros(count, dtype=bool), as_array(test)
    if isinstance(test, float):
        chosen = generator.permutation(count)[: max(round(test * count), 0)]
    try:
        mask[chosen] = True
    except IndexError as error:
        raise ValueError(f"test: expected a share, indices or a mask; {error}") from None
    holds = 2 <= mask.sum() <= count - 2
    expected = "a share, indices or a mask with two sequences or more on each side"
    check_field(holds, "test", expected, f"{mask.sum()} of {count}")
    return mask


def parse_inputs(
    codes: Mapping[str, ArrayLike],
    factors: Mapping[str, ArrayLike],
    pooling: str | Iterable[str],
) -> tuple[dict[str, np.ndarray], dict[str, Factor]]:
    """Codes by row name, (N, S, p), and factors by name, `Factor`; see `leakage_matrix`."""
    for argument, values in (("codes", codes), ("factors", factors)):
        holds = isinstance(values, Mapping) and len(values) > 0
        check_field(holds, argument, 'names and arrays, {"name": array}', type(values).__name__)
    hows = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    check_field(
        hows and set(hows) <= set(POOLINGS), "pooling", f"some of {', '.join(POOLINGS)}", hows
    )
    checked = {name: read_code(name, code) for name, code in codes.items()}
    lengths = [len(as_array(values)) for values in (*checked.values(), *factors.values())]
    one_length = len(set(lengths)) == 1
    check_field(one_length, "codes, factors", "one row per sequence in all", lengths)
    frames = {code.shape[1] for code in checked.values() if code.ndim == 3}
    check_field(len(frames) <= 1, "codes", "equally many frames in all", sorted(frames))
    rows = {}
    for name, code in checked.items():
        if code.ndim == 2:
            rows[name] = code[:, None]
        else:
            rows |= {f"{name}, {how}": POOLINGS[how](code) for how in hows}
    steps = frames.pop() if frames else None
    return rows, {name: read_factor(name, values, steps) for name, values in factors.items()}


def read_code(name: str, code: ArrayLike) -> np.ndarray:
    """One checked code, (N, D) or (N, T, d)."""
    values = finite_array(f"code {name!r}", code)
    hint = "; for one unit pass x[:, None]" if values.ndim == 1 else ""
    holds = values.ndim in (2, 3) and 0 not in values.shape
    check_field(holds, f"code {name!r}", f"(N, D) or (N, T, d){hint}", values.shape)
    return values


def read_factor(name: str, given: ArrayLike, frames: int | None) -> Factor:
    """One checked column; frames: T of the codes of frames, or None."""
    field, values = f"factor {name!r}", as_array(given)
    classes = values.dtype.kind in "biuUSO"
    if not classes:
        values = finite_array(field, values)
    holds = values.ndim in ((1, 2) if classes else (1, 2, 3))
    check_field(holds, field, "(N,), (N, T) or, of floats, (N, T, m)", values.shape)
    of_frames = values.ndim == 3 or (values.ndim == 2 and classes)
    holds = not (of_frames and frames) or values.shape[1] == frames
    check_field(holds, field, f"a value for each of {frames} frames", values.shape)
    differ = not (values == values.flat[0]).all()
    check_field(differ, field, "values that differ", f"only {values.flat[0]!r}")
    if classes:
        return Factor("classes", to_index(field, values).reshape(len(values), -1))
    if len(np.unique(values)) <= 20 and (values == np.round(values)).all():
        warnings.warn(f"{field} is taken as continuous; give classes as integers", stacklevel=4)
    of_frames = of_frames or (values.ndim == 2 and values.shape[1] == frames)
    steps = values.shape[1] if of_frames else 1
    return Factor("continuous", values.reshape(len(values), steps, -1))
