"""How many bits does an instrument read of those that are there? A curve for each form of a leak.

Known amounts are planted in a code itself: its rows are shuffled, so that they tell nothing of the
classes, and one part of it, drawn anew each time, becomes the output of a channel of known capacity
for these classes. Everything else stays independent, so the planted bits are exact. A reading of
the real code is read off each curve: no form's curve is a meter for another.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import entr, rel_entr, stdtrit
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import SelectPercentile
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from unbraid import checks
from unbraid.checks import check_field, check_whole, measurable_array
from unbraid.measures.intervals import Interval, ratio_limits
from unbraid.measures.leakage import shuffle_groups
from unbraid.measures.reduction import summarise_steps

Read = Callable[[np.ndarray, np.ndarray], float]  # of a code and class numbers: bits
FORMS = {
    "one unit": "if it lies in one unit",
    "three units": "if three units tell a part each",
    "product of two units": "if it is a product of two units",
    "scale of a unit": "if it lies in how far a unit spreads",
    "all units": "if it is spread over all units",
}
LEVELS = (0.05, 0.12, 0.25, 0.4, 0.6, 0.8, 1.0)  # of the most bits that a form is given
MOST, MOST_IN_SCALE = 0.9, 0.6  # of the letters' entropy; more in a scale would need absurd ones
LETTERS = 8  # levels of a channel at most: more classes share them
NULLS = 19  # readings without a plant
ACTIVE_NATS, ACTIVE_VARIANCE = 0.05, 0.01  # of a unit: nats, or share of the largest variance
FEW_UNITS = SelectPercentile(percentile=10)  # by their variance between the classes
PROBES: tuple[Any, ...] = (  # of which training rows choose one
    (LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),),
    *((LogisticRegression(C=strength, max_iter=1000),) for strength in (0.003, 0.03, 0.3, 10)),
    (FEW_UNITS, LogisticRegression(C=10, max_iter=1000)),
)
PRIOR = 0.01  # share of a probe's forecast that is what it would say without a code


class Range(NamedTuple):
    """Bits that a reading stands for, with 95 % limits, if they are of one form.

    seen: the share of draws in which the largest plant was read above what chance gives.
    """

    low: float
    best: float
    high: float
    seen: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """What an instrument reads of planted bits."""

    curves: dict[str, tuple[np.ndarray, np.ndarray]]  # by form: bits (P,), readings (P, draws)
    null: np.ndarray  # readings without a plant
    entropy: float  # bits of the classes, more than which nobody can tell
    share: float  # of what the code has that lies in the units which the instrument reads
    share_of: str  # "nats" or "variance"

    @property
    def limit(self) -> float:
        """What a reading without a plant stays below, in 39 of 40 cases."""
        count = len(self.null)
        reach = stdtrit(count - 1, 0.975) * self.null.std(ddof=1) * np.sqrt(1 + 1 / count)
        return float(self.null.mean() + reach)

    def band(self, form: str) -> tuple[np.ndarray, ...]:
        """Planted bits from 0 on, (P + 1,); of each the mean and the 95 % limits of one reading."""
        planted, read = self.curves[form]
        rows = [self.null, *read]
        mean, count = np.array([each.mean() for each in rows]), np.array([*map(len, rows)])
        squares = np.array([((each - each.mean()) ** 2).sum() for each in rows])
        # The spread changes slowly: neighbours have a part in it.
        squares, freedom = (np.convolve(each, [1, 1, 1], "same") for each in (squares, count - 1))
        reach = stdtrit(freedom, 0.975) * np.sqrt(squares / freedom * (1 + 1 / count))
        return np.append(0, planted), mean, mean - reach, mean + reach

    def ranges(self, reading: float) -> dict[str, Range]:
        """The bits that a reading of the real code stands for, form by form."""
        found = {}
        for form, (_, read) in self.curves.items():
            planted, *lines = self.band(form)
            bits = np.linspace(0, planted[-1], 400)
            mean, low, high = (np.interp(bits, planted, line) for line in lines)
            fits = bits[(low <= reading) & (reading <= high)]
            if not fits.size:
                fits = bits[-1:] if reading > high.max() else bits[:1]
            # Above the last plant nobody has looked.
            top = self.entropy if fits[-1] == bits[-1] else float(fits[-1])
            best = np.interp(reading, np.maximum.accumulate(mean), bits).clip(fits[0], top)
            seen = float((read[-1] > self.limit).mean())
            found[form] = Range(float(fits[0]), float(best), top, seen)
        return found

    def say(self, reading: float) -> list[str]:
        """A sentence on each form."""
        said = []
        for form, (low, best, high, seen) in self.ranges(reading).items():
            if seen < 0.5:
                most = self.curves[form][0][-1]
                says = (
                    f"this instrument cannot tell, it sees {most:.1f} bits in {seen:.0%} of draws"
                )
            elif reading <= self.limit:
                says = f"none is seen, and up to {high:.2f} bits may be there"
            elif low == self.curves[form][0][-1]:
                says = f"{low:.2f} bits or more"
            else:
                says = f"about {best:.2f} bits ({low:.2f} to {high:.2f})"
            said.append(f"{FORMS[form]}: {says}")
        return said


def calibrate(
    code: ArrayLike,
    classes: ArrayLike,
    read: Read,
    *,
    nats: ArrayLike | None = None,
    units: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    draws: int = 10,
    seed: int = 0,
) -> Calibration:
    """Plant known bits about classes (N,) in a code (N, D) or (N, T, d), and read them.

    read: the instrument, read(code, class numbers) -> bits, of codes of the same shape.
    nats: of each unit, its KL term: plants lie in units above 0.05 of them, or without it in those
        of a hundredth of the largest variance, drawn from all of them and not where `read` looks.
    units: the numbers of those that `read` looks at, for the share that it reads; else all.
    groups: (N,), whose rows stay together where rows are shuffled.
    draws: of unit, order and noise for each number of bits. `read` is called 19 + 28 draws times.
    In a code of steps a plant is in the mean of a unit over time, and the form "scale of a unit" is
    its spread over time. ValueError for other shapes or values.
    """
    given = measurable_array("code", code)
    check_field(given.ndim in (2, 3) and given.size, "code", "(N, D) or (N, T, d)", given.shape)
    check_whole(2, draws=draws)
    labels, of, shares = number_rows(classes, groups, len(given))
    random, rows = np.random.default_rng(seed), given.reshape(-1, given.shape[-1])
    weight = rows.var(axis=0) if nats is None else measurable_array("nats", nats)
    check_field(weight.shape == rows.shape[1:], "nats", f"{rows.shape[1:]}", weight.shape)
    least = ACTIVE_VARIANCE * weight.max() if nats is None else ACTIVE_NATS
    active = np.flatnonzero((weight > least) & (np.ptp(rows, axis=0) > 0))
    check_field(len(active) > 1, "code", "two units that are active", f"{len(active)}")

    null = [read(given[shuffle_groups(of, random)], labels) for _ in range(NULLS)]
    curves = {}
    for form in FORMS:
        planted, found = [], []
        for level in np.repeat(LEVELS, draws):
            steps = given[shuffle_groups(of, random)].reshape(len(given), -1, given.shape[-1])
            planted.append(plant_form(steps, labels, form, level, active, random))
            found.append(read(steps.reshape(given.shape), labels))
        shape = len(LEVELS), draws
        curves[form] = np.reshape(planted, shape).mean(axis=1), np.reshape(found, shape)
    read_off = slice(None) if units is None else np.asarray(units)
    share = weight[read_off].sum() / weight.sum()
    entropy = entr(shares).sum() / np.log(2)
    name = "variance" if nats is None else "nats"
    return Calibration(curves, np.array(null), float(entropy), float(share), name)


def number_rows(
    classes: ArrayLike, groups: ArrayLike | None, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class numbers (N,), group numbers (N,) and the shares of the classes."""
    given = checks.given_array("classes", classes)
    check_field(given.shape == (count,), "classes", f"({count},)", given.shape)
    labels, of = checks.to_index("classes", given), checks.number_groups("groups", groups, count)
    check_field(labels.max() > 0, "classes", "two or more", "one")
    check_field(of.max() > 0, "groups", "two or more", "one")
    return labels, of, np.bincount(labels) / count


def plant_form(
    code: np.ndarray,
    labels: np.ndarray,
    form: str,
    level: float,
    active: np.ndarray,
    random: np.random.Generator,
) -> float:
    """Make part of a code (N, T, d) tell of labels (N,), in place, and return the bits.

    Nothing else in the code may tell of them. T is 1 for a code of sequences.
    """
    units = random.permutation(active)
    means = code[:, :, units].mean(axis=1)  # (N, active)
    centre, scale = means.mean(axis=0), means.std(axis=0)
    if form == "product of two units":
        sent, bits = send(labels, level, random, letters=2)
        key = random.choice([-1, 1], len(code))  # a one-time pad: neither unit tells alone
        sign = np.where(means[:, 0] > np.median(means[:, 0]), 1, -1)
        first = (means[:, 0] - np.median(means[:, 0])) * sign * key
        second = scale[1] * key * sent[:, 0] / np.sqrt((sent**2).mean())
        new = centre[:2] + np.stack([first, second], axis=1)
    elif form == "all units":
        scaled = (means - centre) / scale
        direction = random.normal(size=len(units))
        along = scaled @ direction / (direction @ direction)
        sent, bits = send(labels, level, random)
        change = sent[:, 0] * along.std() + along.mean() - along
        new = means + change[:, None] * direction * scale
    else:
        steps = code[:, :, units[0]] - means[:, :1]
        spread = steps.std(axis=1)
        of_steps = form == "scale of a unit" and spread.all()
        in_scale = form == "scale of a unit" and not of_steps
        count = min(3, len(units)) if form == "three units" else 1
        sent, bits = send(labels, level, random, in_scale=in_scale, copies=count)
        if of_steps:
            logs = np.log(spread)
            factor = np.exp(logs.mean() + logs.std() * sent[:, 0] - logs)
            code[:, :, units[0]] += (factor - 1)[:, None] * steps
            return bits
        new = centre[:count] + scale[:count] * sent
    count = new.shape[1]
    code[:, :, units[:count]] += (new - means[:, :count])[:, None]
    return bits


def send(
    labels: np.ndarray,
    level: float,
    random: np.random.Generator,
    *,
    in_scale: bool = False,
    letters: int = LETTERS,
    copies: int = 1,
) -> tuple[np.ndarray, float]:
    """What a channel makes of classes (N,), (N, copies) of mean 0 and deviation 1; its exact bits.

    It adds Gaussian noise to a level of each class, or, `in_scale`, multiplies Gaussian noise by
    the exponential of the level: the logarithm of the product's size is a sum again. Copies have
    noise of their own, and tell the bits together.
    """
    letter = (random.permutation(labels.max() + 1) % letters)[labels]
    shares = np.bincount(letter) / len(labels)
    levels = np.arange(len(shares)) - (len(shares) - 1) / 2
    bits = level * (MOST_IN_SCALE if in_scale else MOST) * entr(shares).sum() / np.log(2)

    def excess(size: float) -> float:
        return channel_bits(size * levels, shares, in_scale) - bits

    size = float(brentq(excess, 0, 30, xtol=1e-3))  # type: ignore[arg-type]
    noise = random.normal(size=(len(labels), copies))
    sent = size / np.sqrt(copies) * levels[letter][:, None]
    values = noise * np.exp(sent) if in_scale else noise + sent
    centre = values.mean(axis=0) if letters > 2 else 0  # Signs of two letters stay about 0.
    return (values - centre) / values.std(axis=0), bits + excess(size)


def channel_bits(levels: np.ndarray, shares: np.ndarray, in_scale: bool) -> float:
    """I(class; level + noise) by quadrature, of classes with these shares.

    The noise is standard normal or, in a scale, the logarithm of the size of such a value.
    """
    x = np.arange(levels.min() - 14, levels.max() + 8, 0.1)
    gap = x - levels[:, None]  # (classes, x)
    logs = gap - np.exp(2 * np.minimum(gap, 5)) / 2 + np.log(2) if in_scale else -(gap**2) / 2
    density = np.exp(logs) / np.sqrt(2 * np.pi)
    nats = rel_entr(density, shares @ density).sum(axis=1) * 0.1
    return float(shares @ nats / np.log(2))


def probe_bits(
    code: ArrayLike, classes: ArrayLike, *, groups: ArrayLike | None = None, seed: int = 0
) -> Interval:
    """What a code (N, D) or (N, T, d) tells of classes (N,) at least: a bound that needs no plant.

    H(class) minus the cross-entropy in bits of a linear probe for rows of groups (N,) that it has
    not learnt from, five parts in turn; not below 0. No probe can gain more than I(code; class).
    Of a code of steps it reads `summarise_steps`. Limits are those of other groups.
    """
    x = summarise_steps(code)
    labels, of, shares = number_rows(classes, groups, len(x))
    probes = PROBES if x.shape[1] > 1 else PROBES[:-1]  # of one unit there are no few ones

    def gain(probe: Any, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Bits (n,) that a probe gains on each test row over the shares of the classes."""
        model = make_pipeline(StandardScaler(), *probe).fit(x[train], labels[train])
        said = np.zeros((len(test), len(shares)))
        said[:, model.classes_] = model.predict_proba(x[test])
        said = (1 - PRIOR) * said + PRIOR * shares
        return np.log2(said / shares)[np.arange(len(test)), labels[test]]

    gains = np.zeros(len(x))
    for train, test in split(np.arange(len(x)), labels, of, seed):
        inner, choice = next(split(train, labels, of, seed))
        chosen = np.argmax([gain(probe, inner, choice).mean() for probe in probes])
        gains[test] = gain(probes[chosen], train, test)
    sums, sizes = np.bincount(of, weights=gains)[None], np.bincount(of)[None]
    [(low, high)] = ratio_limits(np.divide, sums, sizes, 1000, seed)
    return Interval(*(max(0.0, float(each)) for each in (gains.mean(), low, high)))


def split(
    rows: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Five times four parts and one of some rows, of whole groups, with like shares of classes."""
    count = len(np.unique(groups[rows]))
    # Folds of groups are balanced in a loop over them, which rows of their own do not need.
    kind = StratifiedKFold if count == len(rows) else StratifiedGroupKFold
    folds = kind(min(5, count), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # A class may be too rare for all parts.
        for train, test in folds.split(rows, labels[rows], groups[rows]):
            yield rows[train], rows[test]
