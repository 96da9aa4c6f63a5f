"""The leakage matrix: how much of each known factor a probe reads off each code.

Rows are codes, columns factors. A probe is trained on some sequences and scored on others. A cell
is its skill, 1 - loss of the probe / loss of the best constant of the training set. For classes
the loss is the error rate, so the skill is (accuracy - chance) / (1 - chance); for continuous
factors it is the squared error, so the skill is R^2.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from unbraid import checks
from unbraid.checks import check_field, check_name, check_whole, measurable_array, refuse
from unbraid.measures import doubts
from unbraid.measures.independence import BY_GROUPS, doubt_frames, doubt_independence
from unbraid.measures.intervals import ratio_limits
from unbraid.support.readable import Readable

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
KERNEL_ROWS = 2000  # test rows whose kernels are in memory at once
VALUES_AT_ONCE = 200_000  # values of a factor in permutations
SPLITS = 100  # that are drawn at most, until each factor differs on both sides
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
    doubts: tuple[str, ...] = ()  # what the rows show of why limits and p-values may be too small

    def __getitem__(self, cell: tuple[str, str]) -> float:
        is_cell = isinstance(cell, tuple) and len(cell) == 2
        check_field(is_cell, "cell", 'a row and a column, ["static", "hair"]', repr(cell))
        row, column = cell
        check_name("row", row, self.rows)
        check_name("column", column, self.columns)
        return float(self.value[self.rows.index(row), self.columns.index(column)])

    def table(self) -> list[tuple[str, ...]]:
        rows = [(f"{self.probe} probe", *self.columns)]
        for code, cells in zip(self.rows, np.dstack([self.value, self.test_interval]), strict=True):
            texts = [f"{value:.2f} [{low:.2f}, {high:.2f}]" for value, low, high in cells]
            rows.append((code, *texts))
        return rows


@dataclass(frozen=True, eq=False)
class Factor:
    """A known factor with S values per sequence, S = 1 for a factor of the whole sequence."""

    kind: str  # "classes" or "continuous"
    values: np.ndarray  # class numbers (N, S) or floats (N, S, m)


@threadpool_limits.wrap(limits=1)  # The threads of small matrix products wait for each other.
def leakage_matrix(  # noqa: PLR0913 - all but the first two go by name
    codes: Mapping[str, ArrayLike],
    factors: Mapping[str, ArrayLike],
    *,
    probe: str = "linear",
    pooling: str | Sequence[str] = ("flattened", "averaged"),
    test: float | ArrayLike = 0.3,
    groups: ArrayLike | None = None,
    permutations: int = 999,
    seed: int = 0,
    doubt: bool = True,
) -> LeakageMatrix:
    """Train a probe for every code and factor on some sequences and score it on the others.

    codes: name -> (N, D), one code per sequence, or (N, T, d), one per frame: means, or samples if
        it is asked what a decoder can use, since it was trained on samples. factors: name -> (N,)
        of sequences; (N, T) or (N, T, m) of their frames; (N, m) continuous. Integers, booleans
        and strings are classes, floats are continuous.
    pooling: how codes of frames are read, a row of the matrix for each: "flattened" (N, T d) and
        "averaged" (N, d) know the whole sequence, and a factor of frames is read off them by a
        probe for each step; "frames" predicts a frame's factor from the code of that frame.
    probe: "linear" or "nonlinear", see PROBES; units are standardised on the training sequences.
    test: the share of sequences to score on, drawn with `seed`, or their indices, or an (N,) mask.
    groups: (N,), such as the person of each sequence: a share of whole groups is drawn, limits are
        those of other groups, and `shuffle_groups` makes the draws behind the p-value.
    permutations: of the test sequences' factors, for p_value = (1 + reached) / (1 + permutations).
    doubt: whether the rows are looked at for what makes limits and p-values too small. It is the
        same for each probe.
    A constant code has skill 0 and p 1. A skill below -1 counts as -1.
    """
    check_name("probe", probe, ("linear", "nonlinear"))
    check_whole(1, permutations=permutations)
    check_whole(0, seed=seed)
    features, targets = parse_inputs(codes, factors, pooling)
    for_split, _, for_null = np.random.SeedSequence(seed).spawn(3)
    numbers = checks.number_groups("groups", groups, len(next(iter(features.values()))))
    values = [target.values for target in targets.values()]
    held_out = held_out_mask(test, numbers, np.random.default_rng(for_split), values)
    null, tested = np.random.default_rng(for_null), checks.to_index("groups", numbers[held_out])

    cells, losses = [], []  # row by row: predictions, truth, factor; (2, n) loss and baseline
    for code in features.values():
        outcomes = fit_and_predict(code, [*targets.values()], held_out, probe)
        for (name, target), (said, true, constant) in zip(targets.items(), outcomes, strict=True):
            cells.append((said.reshape(1, -1), true, target))
            losses.append([mean_loss(each, true, target) for each in (said, constant)])
            says = "two values or more in the test; bring more rows, or leave rare values out"
            check_field(losses[-1][1].any(), f"factor {name!r}", says, "one")
    loss, base = np.swapaxes(losses, 0, 1)  # (cells, n) each
    value = np.maximum(1 - loss.sum(axis=1) / base.sum(axis=1), -1.0)
    by_group = np.apply_along_axis(partial(np.bincount, tested), 2, [loss, base])
    share = np.bincount(tested).mean()
    limits = skill_limits(by_group[0] / share, by_group[1] / share, seed)

    reached, level = np.zeros(len(cells)), loss.mean(axis=1) + 1e-12
    size = max(1, VALUES_AT_ONCE // max(true.size for _, true, _ in cells))  # of a batch of orders
    for start in range(0, permutations, size):
        batch = range(start, min(start + size, permutations))
        orders = np.stack([shuffle_groups(tested, null) for _ in batch])  # the same for every cell
        for cell, (said, true, target) in enumerate(cells):
            shuffled = mean_loss(said, true[orders].reshape(len(orders), -1), target)
            reached[cell] += (shuffled <= level[cell]).sum()
    p_value, shape = (1 + reached) / (1 + permutations), (len(features), len(targets))
    figures = value.reshape(shape), limits.reshape(*shape, 2), p_value.reshape(shape)
    has_groups = np.bincount(numbers).max() > 1
    found = doubt_rows(codes, targets) if doubt and not has_groups else []
    return LeakageMatrix(*figures, tuple(features), tuple(targets), probe, tuple(found))


def doubt_rows(codes: Mapping[str, ArrayLike], targets: Mapping[str, Factor]) -> list[str]:
    """Sentences on sequences of which one tells of another, in codes and in factors."""
    arrays = [checks.as_array(code) for code in codes.values()]
    # The steps of a unit are neighbours, as `follow` looks for them.
    flat = [np.moveaxis(code, 1, -1).reshape(len(code), -1) for code in arrays]
    each = {"classes": [flat[0][:, :0]], "continuous": [flat[0][:, :0]]}
    for target in targets.values():
        values = target.values.reshape(len(flat[0]), -1)
        if target.kind == "continuous" or values.shape[1] == 1:
            each[target.kind].append(values)
    classes = [*np.hstack(each["classes"]).T.astype(int)]
    measured = np.hstack(each["continuous"])
    found = doubt_independence(np.hstack(flat), measured, classes, BY_GROUPS)
    alone = zip(codes, arrays, strict=True) if len(arrays) > 1 and not found else ()
    for name, code in alone:
        if code.ndim == 2:
            found += [f"{name}: {each}" for each in doubt_frames(code, measured, classes)]
    return found


def fit_and_predict(
    code: np.ndarray, targets: Sequence[Factor], held_out: np.ndarray, probe: str
) -> list[list[np.ndarray]]:
    """For each factor predictions, truth and best constant of n test sequences, (n, s) each.

    code: (N, S, p). Continuous values are in standard deviations of the training set, so that
    several columns weigh alike. The non-linear probes of all factors share one kernel matrix.
    """
    steps, count = code.shape[1], held_out.sum()
    x, test = code.reshape(-1, code.shape[2]), np.repeat(held_out, steps)
    x, train = x[:, np.ptp(x[~test], axis=0) > 0], np.flatnonzero(~test)
    width, columns, outcomes = x.shape[1], [], []
    for target in targets:
        y = by_row(target, steps, train)
        best = y[train].mean(axis=0)
        if target.kind == "classes":
            best = np.array([np.bincount(column).argmax() for column in y[train].T])
        constant = np.tile(best, (test.sum(), 1))
        columns.append((y, constant.copy()))  # the second until a probe says something else
        outcomes.append([each.reshape(count, -1) for each in (columns[-1][1], y[test], constant)])

    if width:
        x = StandardScaler().fit(x[train]).transform(x)
        show: Callable[[np.ndarray], np.ndarray] = np.asarray
        if probe == "nonlinear":
            train = choose_rows(train, [y for y, _ in columns])
            show = partial(rbf_kernel, Y=x[train], gamma=1 / width)
        inputs, models = show(x[train]), []
        for target, (y, said) in zip(targets, columns, strict=True):
            varies = np.flatnonzero(np.ptp(y[train], axis=0) > 0)
            for column in [slice(None)] if target.kind == "continuous" else varies:
                model = PROBES[probe, target.kind](width)
                if probe == "nonlinear":
                    model.set_params(kernel="precomputed")
                models.append((said, column, model.fit(inputs, y[train][:, column])))
        for rows in np.array_split(np.arange(test.sum()), 1 + test.sum() // KERNEL_ROWS):
            asked = show(x[test][rows])
            for said, column, model in models:
                said[rows, column] = model.predict(asked).reshape(said[rows, column].shape)
    return outcomes


def choose_rows(train: np.ndarray, columns: Iterable[np.ndarray]) -> np.ndarray:
    """Some training rows for a slow probe, and ten of each class that would else have none."""
    if len(train) <= NONLINEAR_ROWS:
        return train
    some = train[np.linspace(0, len(train) - 1, NONLINEAR_ROWS).astype(int)]
    chosen = [some]
    for y in columns:
        lost = np.setdiff1d(y[train], y[some]) if y.dtype.kind != "f" else ()
        chosen += [train[(y[train] == label).any(axis=1)][:10] for label in lost]
    return np.unique(np.concatenate(chosen))


def by_row(target: Factor, steps: int, train: np.ndarray) -> np.ndarray:
    """The values of a factor for each row of inputs, (N S, s): one for each frame if S > 1."""
    y = target.values
    if steps > 1:
        y = np.broadcast_to(y, (len(y), steps, *y.shape[2:])).reshape(len(y) * steps, -1)
    y = y.reshape(len(y), -1)
    return y if target.kind == "classes" else StandardScaler().fit(y[train]).transform(y)


def mean_loss(predicted: np.ndarray, true: np.ndarray, target: Factor) -> np.ndarray:
    """Error rate or mean squared error of each sequence, (n,), of values (n, s)."""
    wrong = predicted != true if target.kind == "classes" else (predicted - true) ** 2
    return wrong.mean(axis=1)


def skill_limits(loss: np.ndarray, base: np.ndarray, seed: int) -> np.ndarray:
    """BCa limits (m, 2) of m skills over n test sequences, or groups, with losses (m, n)."""
    limits = ratio_limits(lambda lost, of: 1 - lost / of, loss, base, BOOTSTRAP_DRAWS, seed)
    # Of a perfect probe no draw can differ: the exact limit of a share of n without an error.
    perfect, n = ~loss.any(axis=1), loss.shape[1]
    wrong = 1 - binomtest(n, n).proportion_ci().low
    if n > 1:
        limits[perfect, 0], limits[perfect, 1] = 1 - wrong / base[perfect].mean(axis=1), 1
    return np.clip(limits, -1, 1)


def held_out_mask(
    test: float | ArrayLike,
    groups: np.ndarray,
    generator: np.random.Generator,
    factors: Iterable[np.ndarray] = (),
) -> np.ndarray:
    """A mask (N,) of tests; a share is of groups (N,), drawn again until each factor differs."""
    count, known = len(groups), list(factors)
    mask, chosen = np.zeros(count, dtype=bool), checks.as_array(test, "test")
    expected = "a share, indices or a mask, with two sequences or more on each side"
    if chosen.ndim == 0 and chosen.dtype.kind == "f":
        share = float(chosen)
        check_field(0 < share < 1, "test", expected, test)
        check_field(groups.max() > 0, "groups", "two or more, of which some are held out", "one")
        for _ in range(SPLITS):
            drawn = generator.permutation(groups.max() + 1)
            chosen = np.isin(groups, drawn[: round(share * len(drawn))])
            if all(differs(values, chosen) for values in known):
                break
    elif chosen.ndim == 0 or chosen.dtype.kind not in "biu":
        refuse("test", f"{expected}, rows as a list of whole numbers", checks.shorten(repr(test)))
    if chosen.dtype.kind in "iu" and chosen.shape == mask.shape and set(chosen.tolist()) <= {0, 1}:
        chosen = chosen.astype(bool)  # a mask of 0 and 1, not the rows 0 and 1 again and again
    elif chosen.dtype.kind in "iu" and len(np.unique(chosen)) < chosen.size:
        refuse("test", "different indices", "some twice; or give a mask")
    try:
        mask[chosen] = True
    except IndexError as error:
        raise ValueError(f"test: expected {expected}; {error}") from None
    if not 2 <= mask.sum() <= count - 2:
        raise ValueError(f"test: expected {expected}, found {mask.sum()} of {count}")
    is_cut = np.isin(groups[mask], groups[~mask]).any()
    check_field(not is_cut, "test", "whole groups on each side", "some on both; give a share")
    return mask


def differs(values: np.ndarray, held_out: np.ndarray) -> bool:
    """Whether a factor (N, ...) of numbers has two values or more both in training and in test."""
    sides = values[held_out], values[~held_out]
    return all(side.size > 0 and np.ptp(side) > 0 for side in sides)


def shuffle_groups(groups: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """For each row (n,) the row whose factor it gets if a code says nothing beyond its group.

    groups: numbers 0, 1, ... of the rows. The rows of each group are rolled by a random number of
    places, and groups of like size (up to 1, 3, 7, 15, ... rows) change places. So neighbours stay
    neighbours, and a factor is shuffled both if it differs between groups alone and if all groups
    have its values in the same order. A group that gets a smaller one repeats it, and of a larger
    one it gets a part.
    """
    if groups.max() + 1 == len(groups):
        return generator.permutation(len(groups))
    sizes = np.bincount(groups)
    likeness = np.frexp(sizes)[1]  # how many binary digits a size has
    donor = np.empty(len(sizes), dtype=int)
    donor[np.argsort(likeness)] = np.lexsort((generator.random(len(sizes)), likeness))
    begin, first = generator.integers(sizes), np.cumsum(sizes) - sizes

    rows = np.argsort(groups, kind="stable")  # group by group
    of_row, place = groups[rows], np.arange(len(rows)) - np.repeat(first, sizes)
    giver = donor[of_row]
    order = np.empty(len(rows), dtype=int)
    order[rows] = rows[first[giver] + (begin[giver] + place) % sizes[giver]]
    return order


def parse_inputs(
    codes: Mapping[str, ArrayLike], factors: Mapping[str, ArrayLike], pooling: str | Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, Factor]]:
    """Codes by row name, (N, S, p), and factors by name, `Factor`; see `leakage_matrix`."""
    checks.check_named(codes=codes, factors=factors)
    hows = checks.check_names("pooling", np.atleast_1d(pooling), POOLINGS)
    check_field(hows, "pooling", f"one or more of {', '.join(POOLINGS)}", "none")
    rows: dict[str, np.ndarray] = {}
    frames = set()
    for name, given in codes.items():
        code = measurable_array(f"code {name!r}", given)
        if code.ndim not in (2, 3) or 0 in code.shape:
            refuse(f"code {name!r}", "(N, D) or (N, T, d); of one unit x[:, None]", code.shape)
        if code.ndim == 2:
            rows[name] = code[:, None]
        else:
            frames.add(code.shape[1])
            rows |= {f"{name}, {how}": POOLINGS[how](code) for how in hows}
    known = {name: checks.as_array(each, f"factor {name!r}") for name, each in factors.items()}
    for name, values in known.items():
        check_field(values.ndim, f"factor {name!r}", "a list or an array (N, ...)", factors[name])
    lengths = [len(values) for values in (*rows.values(), *known.values())]
    check_field(len(set(lengths)) == 1, "codes, factors", "one row per sequence in all", lengths)
    check_field(len(frames) < 2, "codes", "equally many frames in all", sorted(frames))
    steps = frames.pop() if frames else None
    return rows, {name: read_factor(name, values, steps) for name, values in known.items()}


def read_factor(name: str, values: np.ndarray, frames: int | None) -> Factor:
    """One checked column; frames: T of the codes of frames, or None."""
    field = f"factor {name!r}"
    checks.check_classes(field, values)
    classes = values.dtype.kind in "biuUSO"
    if not classes:
        values = measurable_array(field, values)
    is_shaped = values.ndim in ((1, 2) if classes else (1, 2, 3))
    check_field(is_shaped, field, "(N,), (N, T) or, of floats, (N, T, m)", values.shape)
    of_frames = values.ndim == 3 or (values.ndim == 2 and classes)
    if of_frames and frames and values.shape[1] != frames:
        refuse(field, f"a value for each of {frames} frames", values.shape)
    if of_frames and frames is None and classes and values.shape[1] > 1:
        warnings.warn(doubts.doubt_matrix(field, values), stacklevel=4)
    if (values == values.flat[0]).all():
        (value,) = values.flat[:1].tolist()
        refuse(field, "values that differ", f"only {value!r}")
    if classes:
        numbers = checks.to_index(field, values).reshape(len(values), -1)
        count, most = numbers.max() + 1, numbers.size // 2
        found = f"{count}; give numbers as floats, and leave names out"
        check_field(count <= most, field, f"at most {most} classes in so few values", found)
        return Factor("classes", numbers)
    if len(np.unique(values)) <= 20 and (values == np.round(values)).all():
        warnings.warn(f"{field} is taken as continuous; give classes as integers", stacklevel=4)
    of_frames = of_frames or (values.ndim == 2 and values.shape[1] == frames)
    steps = values.shape[1] if of_frames else 1
    return Factor("continuous", values.reshape(len(values), steps, -1))
