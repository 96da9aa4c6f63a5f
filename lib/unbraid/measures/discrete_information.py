"""Information of continuous codes on class labels, given a third quantity, by chance, and whether to trust the figure.

Sources: Ross, "Mutual information between discrete and continuous data sets", PLoS ONE 9(2), e87357 (2014), for labels;
Frenzel and Pompe, "Partial mutual information for coupling analysis of multivariate time series", Phys. Rev. Lett. 99,
204101 (2007), for a continuous condition. Both are Kraskov's first estimator in other coordinates: a label is a coordinate
whose classes lie farther apart than any two codes, so that all k neighbours of a point belong to its class. The search for
neighbours is that of `mutual_information`, with the max-norm. Floats are continuous; integers, booleans and strings are labels.
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, xlogy
from scipy.stats import norm

from unbraid.measures.mutual_information import (
    NATS_PER_UNIT,
    MutualInformation,
    check_settings,
    information_in_nats,
    kraskov,
    neighbour_counts,
    samples,
)
from unbraid.measures.resampling import GROUPS, TRUSTED_UNITS, jackknife_limits

# The rule of `trust`; the study behind it is in its docstring.
TOLERANCE_BITS, TOLERANCE_SHARE = 0.15, 0.15
VERDICTS = ("nothing seen", "lower bound", "value")


class InformationWarning(UserWarning):
    """The figure rests on less than was given: classes or strata too small for k neighbours."""


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """`p_value` = (1 + how many of the null reach the estimate) / (1 + how many there are): never zero, valid for any number."""

    estimate: float
    null: np.ndarray  # (permutations,)
    p_value: float
    unit: str


@dataclass(frozen=True, eq=False)
class Trust:
    """`verdict`: "value", right within the tolerance; "lower bound", there is at least so much; "nothing seen"."""

    verdict: str
    reason: str
    found: MutualInformation  # in bits, with its null
    shortfall: float  # bits that the estimate may lack, from its growth between N / 2 and N
    tolerance: float  # bits


def ross(
    x, labels, k=3, unit="bits", shuffles=0, interval=0, confidence=0.95, jitter=1e-10, seed=0
):
    """I(x; label) from N pairs, at most the entropy of the labels; returns `MutualInformation`.

    x: (N,) or (N, d) floats. labels: (N,) integers, booleans or strings. The other arguments are those of `kraskov`, but
        the interval is wider by the jackknife's estimate of the bias, and by what one more point among the wrong class
        would change, which near the ceiling is all that is uncertain.
        Of 100 intervals of 95 % 96 to 100 held the truth (1 to 5 units, N = 100 and 300). In more than 6 units there is no
        upper limit but the logarithm of the number of classes: the estimate may lack more than its spread.
    A class of n <= k members is searched for its n - 1 neighbours, and one of a single member is left out of the estimate,
    as in scikit-learn's mutual_info_classif, to which this is equal for d = 1; an `InformationWarning` names them.
    Raises ValueError for NaN or infinity, a constant column, lengths that differ, one class only, k or unit out of range.
    """
    x, (labels, names) = samples("x", x), classes("labels", labels)
    check_settings(x, labels, k, 1, unit)
    sizes = np.bincount(labels)
    if small := [str(n) for n, size in zip(names, sizes) if size <= k]:
        warnings.warn(
            f"labels: expected more than k = {k} members of each class, found fewer of {', '.join(small[:9])}; these are searched "
            "for fewer neighbours, and left out if single: give more samples or a lower k",
            InformationWarning,
            stacklevel=2,
        )
    if (sizes > 1).sum() < 2:
        raise ValueError(
            "labels: expected two classes of two members or more, found fewer; merge classes or give more samples"
        )
    return _measured(
        lambda x, y, z: ross_in_nats(x, y, k),
        x,
        labels,
        None,
        k,
        unit,
        shuffles,
        interval,
        confidence,
        jitter,
        seed,
    )


def ross_in_nats(x, labels, k):
    """Ross's equation (2), <psi(N) - psi(N_class) + psi(k) - psi(m)>, on checked (N, d) floats and (N,) class numbers."""
    sizes = np.bincount(labels)[labels]
    x, labels, sizes = x[sizes > 1], labels[sizes > 1], sizes[sizes > 1]
    neighbours = np.minimum(k, sizes - 1)
    coordinate, total = apart(labels, x), 0.0
    for own in np.unique(neighbours):  # one search, but for classes of k members or fewer
        rows = neighbours == own
        closer = neighbour_counts(x, coordinate, own, 1)[0][rows]
        total += np.sum(digamma(own) - digamma(closer + 1) - digamma(sizes[rows]))
    return float(digamma(len(x)) + total / len(x))


def conditional(
    x, y, z, k=3, unit="bits", shuffles=0, interval=0, confidence=0.95, jitter=1e-10, seed=0
):
    """I(x; y | z): what x tells of y to somebody who knows z; returns `MutualInformation`.

    x: (N,) or (N, d) floats; y: floats, or (N,) labels; z: floats, or (N,) labels. With labels for z, the mean over its
    values of Kraskov's or Ross's estimate within each, weighted by their share; shuffles stay within the values. Values of
    k members or fewer are left out with an `InformationWarning`. With floats for z, Frenzel and Pompe's estimator
    psi(k) - <psi(n_xz + 1) + psi(n_yz + 1) - psi(n_z + 1)>; it has no shuffles, since no two rows share z. The interval is
    as `ross`'s; of 100 it holds 96 or more true values of 0 to 1.2 bits between Gaussians given a third, N = 100.
    Raises ValueError as `ross`; for shuffles with continuous z; for a class of y of k members or fewer there.
    """
    x = samples("x", x)
    y = classes("y", y)[0] if is_labels(y) else samples("y", y)
    check_settings(x, y, k, 1, unit)
    if is_labels(z):
        z, names = classes("z", z)
        check_settings(x, z, k, 1, unit)
        if small := [str(n) for n, size in zip(names, np.bincount(z)) if size <= k]:
            warnings.warn(
                f"z: values of k = {k} members or fewer are left out: {', '.join(small[:9])}",
                InformationWarning,
                stacklevel=2,
            )
            kept = np.bincount(z)[z] > k
            x, y, z = x[kept], y[kept], z[kept]
            if not kept.any():
                raise ValueError(
                    f"z: expected values of more than k = {k} members, found none; merge values or give floats"
                )
        return _measured(
            lambda x, y, z: _stratified(x, y, z, k),
            x,
            y,
            z,
            k,
            unit,
            shuffles,
            interval,
            confidence,
            jitter,
            seed,
        )
    z = samples("z", z)
    check_settings(x, z, k, 1, unit)
    if shuffles:
        raise ValueError(
            "shuffles: expected 0 where z is continuous, since no two rows share z; give z as labels, e.g. its quartiles"
        )
    if y.ndim == 1 and np.bincount(y).min() <= k:
        raise ValueError(
            f"y: expected more than k = {k} members of each class, found {np.bincount(y).min()}; merge classes or lower k"
        )
    return _measured(
        lambda x, y, z: _frenzel_pompe(x, y, z, k),
        x,
        y,
        z,
        k,
        unit,
        0,
        interval,
        confidence,
        jitter,
        seed,
    )


def _stratified(x, y, z, k):
    """Nats; a value of z within which y has one class only tells nothing, and one left with k rows or fewer is passed over."""
    total = used = 0
    for value in np.unique(z):
        rows = z == value
        if (count := rows.sum()) <= k:
            continue
        used += count
        if y.ndim == 2:
            total += count * information_in_nats(x[rows], y[rows], k, 1)
        elif (np.bincount(y[rows]) > 1).sum() > 1:
            total += count * ross_in_nats(x[rows], y[rows], k)
    return total / used if used else 0.0


def _frenzel_pompe(x, y, z, k):
    """Nats. The joint neighbours of (x, z) and (y, z), and of z and (x, y), are the same: those of (x, y, z)."""
    y = apart(y, x, z) if y.ndim == 1 else y
    count_xz, count_yz = neighbour_counts(np.hstack([x, z]), np.hstack([y, z]), k, 1)
    count_z = neighbour_counts(z, np.hstack([x, y]), k, 1)[0]
    return float(
        digamma(k) - np.mean(digamma(count_xz + 1) + digamma(count_yz + 1) - digamma(count_z + 1))
    )


def information(x, y, z=None, **settings):
    """I(x; y) by Kraskov or, for labels y, by Ross; I(x; y | z) if z is given. Arguments and errors as these have them."""
    if z is not None:
        return conditional(x, y, z, **settings)
    return ross(x, y, **settings) if is_labels(y) else kraskov(x, y, **settings)


def permutation_test(x, y, z=None, permutations=199, k=3, unit="bits", seed=0):
    """Is there any information of x on y (given labels z: beyond z)? Returns `PermutationTest`.

    The null permutes y, within the values of z where it is given, and so destroys the pairing and nothing else. Rows must
    be independent: take one frame a sequence. The smallest p-value is 1 / (1 + permutations). Errors as `information`.
    """
    if permutations < 1:
        raise ValueError(f"permutations: expected at least 1, found {permutations}")
    found = information(x, y, z, k=k, unit=unit, shuffles=permutations, seed=seed)
    reached = np.sum(found.null >= found.estimate)
    return PermutationTest(
        found.estimate, found.null, float((1 + reached) / (1 + permutations)), unit
    )


def trust(x, y, k=3, shuffles=20, splits=3, interval=0, seed=0):
    """Whether I(x; y) is to be trusted as a figure, in bits; y floats or labels; returns `Trust`.

    It is measured on all N rows, on halves of them (`splits` divisions) and with y shuffled, and called a "value" if
      1. x and continuous y have at most 6 units together (labels count for none),
      2. twice the spread of the shuffled estimates is within the tolerance, the greater of .15 bits and 15 %,
      3. so is the shortfall: growth from N / 2 to N, and half a spread for its noise, over 2^(1/D) - 1 for D units. A bias
         that falls as N^(-1/D), the spacing of points in D dimensions, is that many times its growth.
    Otherwise, if it lies more than three spreads above the shuffled mean, it is a "lower bound": the bias of these estimators
    is downward. If not, "nothing seen". In both cases the interval has no upper limit but what there is to know: the logarithm
    of the number of classes, or infinity.
    Measured on 3 248 estimates (Gaussians, classes on a line, XOR of signs; N = 100 to 2000, 1 to 20 units on a side): of 779
    called "value" none was off by more than the tolerance, of all 34 %. On 1 200 others (uniform noise, cubes, flipped
    sectors of a circle, rare classes, units of noise), which the rule was not made on: 15 of 440, of all 39 %; and 5 of 541
    lower bounds too high. A right figure is called a "value" four to six times in ten: the rule would rather doubt.
    """
    found = information(x, y, k=k, shuffles=shuffles, interval=interval, seed=seed)
    x = samples("x", x)
    y = classes("y", y)[0] if is_labels(y) else samples("y", y)
    generator, halves = np.random.default_rng([seed, 1]), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InformationWarning)
        for _ in range(splits):
            order = generator.permutation(len(x))
            halves += [
                information(x[part], y[part], k=k, seed=seed).estimate
                for part in (order[::2], order[1::2])
            ]
    units = x.shape[1] + (y.shape[1] if y.ndim == 2 else 0)
    growth, spread = found.estimate - float(np.mean(halves)), float(found.null.std(ddof=1))
    shortfall = (max(growth, 0.0) + spread / 2) / (2 ** (1 / units) - 1)
    tolerance = max(TOLERANCE_BITS, TOLERANCE_SHARE * found.estimate)
    reasons = {
        f"{units} units together are more than {TRUSTED_UNITS}": units > TRUSTED_UNITS,
        f"N = {len(x)} leaves a spread of {spread:.2f} bits without any information": 2 * spread
        > tolerance,
        f"it still grows with N and may lack {shortfall:.2f} bits": shortfall > tolerance,
    }
    against = [reason for reason, holds in reasons.items() if holds]
    seen = found.estimate > found.null.mean() + 3 * spread
    verdict = "value" if not against else "lower bound" if seen else "nothing seen"
    if against and found.interval:
        found = replace(found, interval=(found.interval[0], float(most(y) / NATS_PER_UNIT["bits"])))
    return Trust(
        verdict, "; ".join(against) or f"within {tolerance:.2f} bits", found, shortfall, tolerance
    )


def bias_study(
    widths=(1, 2, 5, 10, 20),
    counts=(300, 1000, 3000),
    neighbours=(3,),
    true=1.0,
    labels=0,
    informative=None,
    repeats=10,
    seed=0,
):
    """Estimates beside the truth, in bits: a list of rows with units, samples, k, true, mean, spread and bias.

    labels=0: Kraskov on d pairs of Gaussians, `true` bits spread evenly over the first `informative` pairs (None: all).
    labels=C: Ross on C Gaussian classes at equal distances on a line through the first `informative` of d units, with the
    distance at which `mixture_information` is `true`, less than log2(C). Raises ValueError for a truth out of range.
    """
    if not 0 <= true < (np.log2(labels) if labels else np.inf):
        raise ValueError(
            f"true: expected bits from 0 up to less than the entropy of {labels} labels, found {true}"
        )
    distance = mixture_distance(true, labels) if labels else None
    rows = []
    for units, count, k in ((u, n, k) for u in widths for n in counts for k in neighbours):
        found = []
        for repeat in range(repeats):
            generator = np.random.default_rng([seed, units, count, k, repeat])
            x, carriers = (
                generator.normal(size=(count, units)),
                np.arange(units) < (informative or units),
            )
            if labels:
                y = generator.integers(labels, size=count)
                x = x + distance / np.sqrt(carriers.sum()) * y[:, None] * carriers
            else:
                rho = np.sqrt(1 - 2 ** (-2 * true / carriers.sum())) * carriers
                y = rho * x + np.sqrt(1 - rho**2) * generator.normal(size=x.shape)
            found.append(information(x, y, k=k, seed=repeat).estimate)
        mean, spread = (
            float(np.mean(found)),
            float(np.std(found, ddof=1)) if repeats > 1 else np.nan,
        )
        rows.append(
            {
                "units": units,
                "samples": count,
                "k": k,
                "true": true,
                "mean": mean,
                "spread": spread,
                "bias": mean - true,
            }
        )
    return rows


def mixture_information(distance, count):
    """I(x; label) in bits, by numerical integration: `count` equally likely normal classes of spread 1, `distance` apart."""
    at = np.linspace(-10, distance * (count - 1) + 10, 20_001)
    density = norm.pdf(at[:, None], distance * np.arange(count)).mean(axis=1)
    return float(
        -np.trapezoid(xlogy(density, density), at) - np.log(2 * np.pi * np.e) / 2
    ) / np.log(2)


def mixture_distance(bits, count):
    """The distance at which `mixture_information` is so many bits."""
    return (
        brentq(lambda distance: mixture_information(distance, count) - bits, 1e-3, 40.0)
        if bits
        else 0.0
    )


def is_labels(values):
    """Whether values are class labels: integers, booleans or strings."""
    return np.asarray(values).dtype.kind in "biuUSO"


def classes(name, labels):
    """Labels as (N,) class numbers, and the classes' names in order; refuses floats, other shapes and a single class."""
    labels = np.asarray(labels)
    if not is_labels(labels) or labels.ndim != 1 or not labels.size:
        raise ValueError(
            f"{name}: expected (N,) labels as integers, booleans or strings, found {labels.dtype} {labels.shape}; "
            "round floats that stand for classes to integers"
        )
    names, numbers = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f"{name}: expected two classes or more, found only {names[0]!r}; a constant label carries no information"
        )
    return numbers, names


def apart(labels, *others):
    """Class numbers as a coordinate (N, 1) whose classes are farther from each other than any two values of the others."""
    return labels[:, None] * 2.0 * (1 + max(float(np.ptp(other, axis=0).max()) for other in others))


def most(y):
    """The most there is to know of y, in nats: the logarithm of its number of classes."""
    return np.log(len(np.unique(y))) if y.ndim == 1 else np.inf


def _measured(value, x, y, z, k, unit, shuffles, interval, confidence, jitter, seed):
    """Estimate, null and interval of value(x, y, z) in nats, with jitter on what is continuous."""
    if interval and len(x) - -(-len(x) // GROUPS) <= k:
        raise ValueError(
            f"interval: expected more than k = {k} samples without one of {GROUPS} groups, found N = {len(x)}; give more"
        )
    for_jitter, for_null, for_interval = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)
    )
    x, y, z = (
        v + jitter * v.std(axis=0) * for_jitter.random(v.shape)
        if v is not None and v.ndim == 2
        else v
        for v in (x, y, z)
    )
    strata = z if z is not None and z.ndim == 1 else np.zeros(len(x), dtype=int)
    scale, everything, within = (
        NATS_PER_UNIT[unit],
        np.arange(len(x)),
        np.argsort(strata, kind="stable"),
    )

    def at(rows, partners):
        return value(x[rows], y[partners], None if z is None else z[rows]) / scale

    estimate = at(everything, everything)
    null = [
        at(within, np.lexsort((for_null.random(len(x)), strata))) for _ in range(shuffles)
    ]  # y moves within its stratum
    limits = None
    if interval:
        groups = [for_interval.permutation(len(x)) % GROUPS for _ in range(interval)]
        without = np.array(
            [
                [at(rows, rows) for rows in (np.flatnonzero(group != g) for g in range(GROUPS))]
                for group in groups
            ]
        )
        bias = (GROUPS - 1) * np.sqrt(np.mean((without.mean(axis=1) - estimate) ** 2))
        one_more = (
            np.log(2) / scale * (k + 1) / len(x)
        )  # a point more in the wrong class, and its neighbours, a bit each
        units = sum(v.shape[1] for v in (x, y, z) if v is not None and v.ndim == 2)
        limits = jackknife_limits(
            estimate, without, units, confidence, np.hypot(bias, one_more), most(y) / scale
        )
    return MutualInformation(
        estimate, np.array(null) if shuffles else None, limits, len(x), k, 1, unit
    )
