"""The leakage matrix: how much of each known factor can be read off each code, with intervals and chance beside it.

Rows are codes, columns factors. `leakage_matrix` reads with a probe trained on some sequences and scored on others;
`information_matrix` counts neighbours instead (Kraskov or Ross), in bits. Both take arrays or tensors, never a model.

A cell of the first is a skill: 1 - loss of the probe / loss of the constant that does best in training. For classes the loss
is an error, and the skill (accuracy - chance) / (1 - chance), with the chance that always naming the commonest training
class has in the test set; for continuous factors it is squared, and the skill R^2. So 0 is a code that tells nothing, 1 a
perfect reading, and less than 0 a probe misled by noise.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import kurtosis
from scipy.stats import t as student_t
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from unbraid.measures.codes_and_factors import read
from unbraid.measures.discrete_information import VERDICTS, trust
from unbraid.measures.intervals import mean_interval, score_interval, skewed_reach

# One configuration for every model and factor, chosen on synthetic codes of 8, 64 and 256 units (600 training rows), among
# them clean, noisy, bent, partial, XOR, product and empty ones: tests/bench_leakage.py. Mean skills there: logistic C = 1/width
# .325 (.01 .314, which reads six classes in a row on one of 8 units at .54, where 1/width has .75; 3/width .326); ridge 30, the
# largest penalty that reads all clean and bent codes at .98 or better; RBF machine
# C = 1 .650 (.3 .529, 3 .648), a network of 256 units .620 in 20 times the time, random trees .586, boosting .561; kernel
# ridge .3 .663 (.1 .653, 1 .654), a network .678 but -.3 on empty codes of 256 units, random trees .631, boosting .599.
PROBES = {
    ("linear", "classes"): lambda width: LogisticRegression(C=1 / width, max_iter=1000),
    ("linear", "continuous"): lambda width: Ridge(alpha=30.0),
    ("nonlinear", "classes"): lambda width: SVC(C=1.0, gamma=1 / width),
    ("nonlinear", "continuous"): lambda width: KernelRidge(
        alpha=0.3, kernel="rbf", gamma=1 / width
    ),
}
NONLINEAR_ROWS = 3000  # at most so many training rows for the non-linear probe, whose time grows with their square or cube


@dataclass(frozen=True, eq=False)
class LeakageMatrix:
    """Cells (R, F) with their two kinds of uncertainty, kept apart; lower and upper limits lie along the last axis."""

    value: np.ndarray  # (R, F)
    test_interval: np.ndarray  # (R, F, 2) of this model and this probe, over other test sequences
    p_value: (
        np.ndarray
    )  # (R, F) of the hypothesis that the code tells nothing; not corrected for the number of cells
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    unit: str  # "skill" or "bits"
    probe: str  # "linear", "nonlinear" or "neighbours"
    seeds: int = 1
    seed_interval: np.ndarray | None = (
        None  # (R, F, 2) of the mean over seeds of the model; None for one seed
    )
    verdict: np.ndarray | None = None  # (R, F) of `trust`, for bits of one seed

    def __getitem__(self, cell):
        """The value of a cell by its names: matrix["static", "hair"]."""
        return float(self.value[self.rows.index(cell[0]), self.columns.index(cell[1])])

    def as_dict(self, prefix=""):
        """Flat numbers for metrics.json: "<prefix>row/column" and the same with _low, _high, _p, and _seed_low, _seed_high.

        None for an upper limit that there is not, as of bits that are a lower bound.
        """
        parts = {
            "": self.value,
            "_low": self.test_interval[..., 0],
            "_high": self.test_interval[..., 1],
            "_p": self.p_value,
        }
        if self.seed_interval is not None:
            parts |= {
                "_seed_low": self.seed_interval[..., 0],
                "_seed_high": self.seed_interval[..., 1],
            }
        cells = [
            (i, j, f"{prefix}{row}/{column}")
            for i, row in enumerate(self.rows)
            for j, column in enumerate(self.columns)
        ]
        return {
            name + end: float(part[i, j]) if np.isfinite(part[i, j]) else None
            for i, j, name in cells
            for end, part in parts.items()
        }


@threadpool_limits.wrap(
    limits=1
)  # threads of small matrix products wait for each other: twice as fast on one as on two
def leakage_matrix(
    codes,
    factors,
    *,
    kinds=None,
    probe="linear",
    pooling=("flattened", "averaged"),
    test=0.3,
    bootstrap=100,
    permutations=999,
    confidence=0.95,
    seed=0,
):
    """Train a probe for every code and factor on some sequences, score it on the others; returns `LeakageMatrix` of skills.

    codes: name -> (N, D), one code a sequence, or (N, T, d), one a frame. factors: name -> (N,) of a sequence; (N, T) or
        (N, T, m) of its frames; (N, m) continuous. Integers, booleans and strings are classes, floats are continuous;
        kinds: name -> "classes" or "continuous" where that is wrong.
    pooling: how codes of frames are read, a row of the matrix for each: "flattened" (N, T d) and "averaged" (N, d) know the
        whole sequence, and a factor of frames is read off them by a probe for each step; "frames" reads off the code of a
        frame the factor at that frame.
    probe: "linear" or "nonlinear", see PROBES; units are standardised on the training sequences.
    test: the share of sequences to score on, drawn with `seed`, or their (n,) indices, or an (N,) mask.
    bootstrap: draws of the test sequences, whole ones, for `test_interval`: Student's t with the bootstrap's standard error.
    permutations: of the test sequences' factors against what the probe says of them, whole sequences, for p_value:
        (1 + reached) / (1 + permutations), whether the code tells anything at all.
    A constant code has skill 0 and p 1, with a `LeakageWarning`; constant units change nothing. R^2 below -1 counts as -1.
    Raises ValueError for NaN, lengths or numbers of steps that differ, a factor with one class or constant, fewer training
    sequences than classes, a test set that is empty, everything, or of one class, or an argument out of range.
    """
    features, targets, count = read(codes, factors, kinds, pooling)
    if probe not in ("linear", "nonlinear"):
        raise ValueError(f"probe: expected 'linear' or 'nonlinear', found {probe!r}")
    if bootstrap < 20 or permutations < 1:
        raise ValueError(
            f"bootstrap, permutations: expected at least 20 and 1, found {bootstrap} and {permutations}"
        )
    seeds = np.random.SeedSequence(seed).spawn(3)
    held_out = _held_out(test, count, np.random.default_rng(seeds[0]))
    shape = (len(features), len(targets))
    value, limits, p_value = np.empty(shape), np.empty((*shape, 2)), np.empty(shape)
    for j, (name, target) in enumerate(targets.items()):
        if target.kind == "classes" and (needed := target.values.max() + 1) > (
            found := np.sum(~held_out)
        ):
            raise ValueError(
                f"factor {name!r}: expected as many training sequences as classes, {needed}, found {found}"
            )
        for i, x in enumerate(features.values()):
            said, true, constant = _predict(x, target, held_out, probe)
            loss, base = target.loss(said, true), target.loss(constant, true)
            if not base.any():
                raise ValueError(
                    f"factor {name!r}: expected test sequences that differ, found all alike; give more of them"
                )
            value[i, j] = max(1 - loss.sum() / base.sum(), -1.0)
            generators = [
                np.random.default_rng(s) for s in seeds[1:]
            ]  # the same draws for every cell
            limits[i, j] = _bootstrap(loss, base, target.kind, bootstrap, confidence, generators[0])
            p_value[i, j] = _permutation(said, true, target, permutations, generators[1])
    return LeakageMatrix(value, limits, p_value, tuple(features), tuple(targets), "skill", probe)


@threadpool_limits.wrap(limits=1)
def information_matrix(
    codes,
    factors,
    *,
    kinds=None,
    pooling=("flattened", "averaged"),
    count=1000,
    components=10,
    steps=4,
    k=3,
    shuffles=20,
    interval=2,
    seed=0,
):
    """The same matrix in bits, by Kraskov's or Ross's estimator, which need no probe; returns `LeakageMatrix`.

    codes, factors, kinds, pooling: as `leakage_matrix`. What changes within a sequence counts as the mean over `steps` frames
        at equal distances, one figure each, since the frames of a sequence are no independent samples.
    count: at most so many sequences, drawn with `seed`; 0 for all: figures compare only at one N. components: a code of more
        units is reduced to so many directions of greatest variance, not whitened. Ten keep an XOR of 1 bit, hidden in 64 units
        rotated at random, at .53 to .76 bits if its two units vary more than the others, at .37 among six that vary alike and
        at .08 among twenty (more components keep .11); in units that vary half as much as six others it is lost, which the
        non-linear probe, whose units are standardised, can still find.
    shuffles: for the null: p_value is Student's t of the estimate against the null's mean and spread. interval: as in `ross`;
        the test_interval is that of these sequences, without an upper limit (the logarithm of the number of classes, or
        infinity) unless every step is a "value". verdict: of `trust`, the worst of the steps.
    A constant code has 0 bits and p 1, with a `LeakageWarning`; constant units change nothing. Errors as `leakage_matrix`.
    """
    if shuffles < 2 or interval < 1 or steps < 1:
        raise ValueError(
            f"shuffles, interval, steps: expected at least 2, 1 and 1, found {shuffles}, {interval} and {steps}"
        )
    features, targets, total = read(codes, factors, kinds, pooling)
    rows = np.sort(np.random.default_rng(seed).permutation(total)[: count or total])
    shape = (len(features), len(targets))
    value, limits, p_value, verdict = (
        np.zeros(shape),
        np.zeros((*shape, 2)),
        np.ones(shape),
        np.full(shape, VERDICTS[0], dtype=object),
    )
    for i, x in enumerate(features.values()):
        for j, (name, target) in enumerate(targets.items()):
            length = max(x.shape[1], target.values.shape[1])
            found = []
            for step in np.unique(
                np.linspace(0, length - 1, min(steps, length)).round().astype(int)
            ):
                code, truth = (v[rows, min(step, v.shape[1] - 1)] for v in (x, target.values))
                code, truth = (
                    _scaled(code, components),
                    truth if target.kind == "classes" else _scaled(truth),
                )
                if code.size and truth.size and (truth != truth[0]).any():
                    try:
                        found.append(trust(code, truth, k, shuffles, interval=interval, seed=seed))
                    except ValueError as error:
                        raise ValueError(f"factor {name!r}: {error}") from error
            if not found:
                continue
            value[i, j] = np.mean([one.found.estimate for one in found])
            limits[i, j] = np.mean([one.found.interval for one in found], axis=0)
            null = np.mean([one.found.null for one in found], axis=0)
            excess = (value[i, j] - null.mean()) / (null.std(ddof=1) * np.sqrt(1 + 1 / shuffles))
            p_value[i, j] = student_t.sf(excess, shuffles - 1)
            verdict[i, j] = min((one.verdict for one in found), key=VERDICTS.index)
            if verdict[i, j] != "value":
                limits[i, j, 1] = max(one.found.interval[1] for one in found)
    return LeakageMatrix(
        value,
        limits,
        p_value,
        tuple(features),
        tuple(targets),
        "bits",
        "neighbours",
        verdict=verdict,
    )


def combine(matrices, confidence=0.95):
    """Matrices of several seeds of one model as one; returns `LeakageMatrix`.

    value: the mean over seeds. test_interval: the mean of the seeds' limits, the uncertainty left if all were scored on the
    same test sequences. seed_interval: `intervals.score_interval` of the skills (of bits Student's), each from a model of its
    own, and never narrower than the test intervals leave it, over sqrt(n): few seeds may agree by chance, and perfect ones
    always do. Of 100 intervals of 95 % 93 or more held the mean (2 to 10 seeds), also of wildly different models (spread .2).
    p_value: twice the median, which holds whatever the seeds have in common (Rüger, Psychometrika 43, 255, 1978).
    Raises ValueError for none, or matrices with other rows, columns, unit or probe.
    """
    heads, count = {(one.rows, one.columns, one.unit, one.probe) for one in matrices}, len(matrices)
    if len(heads) != 1 or any(one.seeds != 1 for one in matrices):
        raise ValueError(
            f"matrices: expected one seed each, all with the same rows, columns, unit and probe, found {len(heads)} kinds"
        )
    if count == 1:
        return matrices[0]
    values, limits, p_values = (
        np.array([getattr(one, name) for one in matrices])
        for name in ("value", "test_interval", "p_value")
    )
    value, limits, over_seeds = values.mean(0), limits.mean(0), np.empty(limits.shape[1:])
    over = score_interval if matrices[0].unit == "skill" else mean_interval
    for cell in np.ndindex(value.shape):
        found, (low, high) = over(values[(slice(None), *cell)], confidence), limits[cell]
        over_seeds[cell] = (
            min(found.low, found.mean - (found.mean - low) / np.sqrt(count)),
            max(found.high, found.mean + (high - found.mean) / np.sqrt(count)),
        )
    return LeakageMatrix(
        value,
        limits,
        np.minimum(1, 2 * np.median(p_values, axis=0)),
        *heads.pop(),
        count,
        over_seeds,
    )


def _held_out(test, count, generator):
    """The test sequences as a mask (N,)."""
    mask = np.zeros(count, dtype=bool)
    chosen = (
        generator.permutation(count)[: round(test * count)]
        if isinstance(test, float)
        else np.asarray(test)
    )
    mask[chosen] = True
    if not 2 <= mask.sum() <= count - 2:
        raise ValueError(
            f"test: expected a share, indices or a mask, two sequences or more on each side, found {mask.sum()} of {count}"
        )
    return mask


def _predict(x, target, held_out, probe):
    """What the probe says of the test sequences, what is true, and the best constant: (n, values of a sequence) each.

    Continuous values are in standard deviations of the training set about its mean, so that the best constant is 0.
    """
    y, steps = target.values, x.shape[1]
    if steps > 1:  # a row for each frame
        y = np.broadcast_to(y, (len(y), steps, *y.shape[2:])).reshape(
            len(y) * steps, 1, *y.shape[2:]
        )
    x, test = x.reshape(-1, x.shape[2]), np.repeat(held_out, steps)
    x = x[:, np.ptp(x[~test], axis=0) > 0]
    train = np.flatnonzero(~test)
    x = (x - x[train].mean(0)) / x[train].std(0)
    if probe == "nonlinear" and len(train) > NONLINEAR_ROWS:
        train = train[np.linspace(0, len(train) - 1, NONLINEAR_ROWS).astype(int)]
    y = y.reshape(len(y), -1)
    if target.kind == "continuous":
        spread = y[~test].std(0)
        y = (y - y[~test].mean(0)) / np.where(spread > 0, spread, 1)
        constant = np.zeros(y.shape[1])
    else:
        constant = np.array([np.bincount(column).argmax() for column in y[~test].T])
    said = np.broadcast_to(constant, y[test].shape).copy()
    if x.shape[1]:
        model = PROBES[probe, target.kind](x.shape[1])
        if target.kind == "continuous":
            said = model.fit(x[train], y[train]).predict(x[test])
        else:
            for step, column in enumerate(y[train].T):
                if np.ptp(column):  # else the one class there is
                    said[:, step] = model.fit(x[train], column).predict(x[test])
    n = held_out.sum()
    return (
        said.reshape(n, -1),
        y[test].reshape(n, -1),
        np.broadcast_to(constant, y[test].shape).reshape(n, -1),
    )


def _bootstrap(loss, base, kind, draws, confidence, generator):
    """Limits of the skill over test sequences, whose mean losses are given, (n,) each.

    Not the percentiles of the draws, which with 100 of them hold 90 to 93 times in 100, but Student's t with the draws'
    standard error. Classes get one imagined sequence all wrong and one all right (after Agresti and Coull), without which
    a perfect score would have no width; squares get fewer degrees of freedom the heavier their tails, and `skewed_reach`.
    """
    skill = 1 - loss.sum() / base.sum()
    if (loss == base).all():
        return 0.0, 0.0
    tails = 0.0
    if kind == "classes":
        loss, base = np.append(loss, [1, 0]), np.append(base, [base.mean()] * 2)
    else:
        tails = (kurtosis(loss - (1 - skill) * base, fisher=False) - 1) / (2 * len(loss))
    n = len(loss)
    drawn = generator.multinomial(n, np.full(n, 1 / n), draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        skills = 1 - (drawn @ loss) / (drawn @ base)
    error = skills[np.isfinite(skills)].std(ddof=1) * np.sqrt(n / (n - 1))
    freedom = 1 / (1 / (draws - 1) + 1 / (n - 1) + tails)
    below, above = skewed_reach(
        np.zeros(n) if kind == "classes" else (1 - skill) * base - loss, error, freedom, confidence
    )
    centre = 1 - loss.sum() / base.sum()
    return np.clip([min(centre - below, skill), max(centre + above, skill)], -1, 1)


def _permutation(said, true, target, permutations, generator):
    """p-value: how often the factors of other test sequences fit what the probe says as well as their own."""
    own = target.loss(said, true).mean()
    reached = sum(
        target.loss(said, true[generator.permutation(len(true))]).mean() <= own + 1e-12
        for _ in range(permutations)
    )
    return (1 + reached) / (1 + permutations)


def _scaled(x, components=0):
    """(N, p) less its constant columns, in units of its spread; at most so many principal components, not whitened."""
    x = x[:, np.ptp(x, axis=0) > 0]
    x = x / np.sqrt(x.var(axis=0).mean()) if x.size else x
    return (
        PCA(components, random_state=0).fit_transform(x)
        if components and x.shape[1] > components
        else x
    )
