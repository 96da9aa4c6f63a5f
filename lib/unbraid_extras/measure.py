"""Is my model disentangled? All measures of the course on anybody's codes, in words and figures.

`measure` needs codes and known factors, and no model. Its report shows itself as a table, as JSON
and as one HTML page.
"""

from __future__ import annotations

import itertools
import json
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from unbraid.checks import as_array, check_field, check_name, finite_array, to_index
from unbraid.measures.information import kraskov, ross
from unbraid.measures.leakage import POOLINGS, LeakageMatrix, leakage_matrix
from unbraid.readable import Readable

from unbraid_extras.arrays import may_be_classes
from unbraid_extras.disentanglement import Scores, scores

REPEATS = 4  # rows of a class, on average, at least
FEWEST = 10  # rows outside the most frequent class, at least
FEW = 100  # sequences: with fewer, nothing is concluded
SURE = 0.01  # the chance that any cell of a matrix counts as told where none is
DOUBTED = 0.05  # the p-value up to which a linear probe may have read what another reads surely
WEAK = 0.05  # skills below it are no leak, however small their p-value
SHARP = 0.8  # of the true frames' contrast; below, frames are blurred
MANY = 20  # classes: integers that have more may be measured
WIDE = 10  # units: above, an estimate by neighbours is much too low
PERMUTATIONS = 1999  # of the factors, at least: enough to correct for 20 cells
MOST = 9999  # of them, for 100 cells and more, since each takes time and memory
INFORMATION_ROWS = 1000  # at most, since neighbours among many units are slow to find
HALVES = 5  # random halves behind the range of a score
HALF_ROWS = 500  # at most, since a forest is grown for each half
MEANING = {
    "disentanglement": "DCI: each code is important for one factor only",
    "completeness": "DCI: each factor is predicted from one code only",
    "informativeness": "DCI: how well forests predict the factors from all codes",
    "gap": "MIG: the best unit is ahead of the second best in information, as a share of entropy",
    "separation": "SAP: the best unit is ahead of the second best in accuracy or R²",
    "modularity": "InfoM: the information in each code is about one factor",
    "compactness": "InfoC: the information about each factor is in one code",
    "explicitness": "InfoE: the share of the factors' entropy that a linear classifier reads",
}


@dataclass(frozen=True, eq=False, repr=False)
class Report(Readable):
    """What `measure` has found."""

    count: int  # sequences
    kinds: dict[str, str]  # by factor: "4 classes" or "continuous"
    constants: dict[str, float]  # by factor: accuracy of the best constant; NaN if continuous
    own: dict[str, tuple[str, ...]]  # by factor: the codes that may hold it; none if unknown
    linear: LeakageMatrix
    nonlinear: LeakageMatrix
    bits: dict[str, dict[str, tuple[float, float]]]  # code, factor: estimate, largest shuffled one
    doubts: list[str]  # why an estimate of information, or a factor's kind, cannot be believed
    by_code: dict[str, tuple[float, float, float, float]]  # score: value, range of halves, floor
    by_unit: dict[str, tuple[float, float, float, float]]
    sharpness: float  # of decoded frames as a share of the true ones'; NaN without frames
    findings: list[str]  # sentences, the verdict first

    def factor_table(self) -> list[tuple[str, ...]]:
        """A row for each factor: what it is, and where it should be."""
        rows = [("factor", "kind", "best constant", "should be in")]
        for name, kind in self.kinds.items():
            constant = self.constants[name]
            shown = f"{constant:.2f}" if np.isfinite(constant) else "R² 0"
            rows.append((name, kind, shown, " or ".join(self.own[name]) or "?"))
        return rows

    def information_table(self) -> list[tuple[str, ...]]:
        """A row for each code: the bits that it shares with each factor."""
        rows = [("bits", *next(iter(self.bits.values())))]
        for code, cells in self.bits.items():
            texts = [f"{bits:.2f} (shuffled {null:.2f})" for bits, null in cells.values()]
            rows.append((code, *texts))
        return rows

    def score_table(self) -> list[tuple[str, ...]]:
        """A row for each score, of codes and of units."""
        each = ("five halves", "shuffled")
        rows = [("score", "by code", *each, "by unit", *each, "meaning")]
        for name, meaning in MEANING.items():
            cells = []
            for value, low, high, floor in (self.by_code[name], self.by_unit[name]):
                cells += [f"{value:.2f}", f"{low:.2f} to {high:.2f}", f"{floor:.2f}"]
            cells = [cell.replace("nan to nan", "–").replace("nan", "–") for cell in cells]
            rows.append((name, *cells, meaning))
        return rows

    def table(self) -> list[tuple[str, ...]]:
        """The verdict, a row for each code and factor, and a row for each score."""
        rows = [("found", sentence) for sentence in self.findings]
        rows += [*self.factor_table(), *self.linear.table(), *self.nonlinear.table()]
        rows += self.information_table()
        rows += [row[:-1] for row in self.score_table()]  # The page alone says what they mean.
        return [*rows, *(("doubt", doubt) for doubt in self.doubts)]

    def as_json(self) -> str:
        """Everything, as JSON; what cannot be told is null."""
        text = json.dumps(asdict(self), default=lambda value: value.tolist())
        without_nan = json.loads(text, parse_constant=lambda _: None)
        return json.dumps(without_nan, indent=1, ensure_ascii=False)

    def as_html(self) -> str:
        """One page with figures, which needs no other file."""
        from unbraid_extras import pages

        matrices = [pages.draw_matrix(matrix) for matrix in (self.linear, self.nonlinear)]
        return pages.render("report.html.j2", report=self, matrices=matrices, half=HALF_ROWS)


def measure(
    codes: Mapping[str, ArrayLike],
    factors: Mapping[str, ArrayLike],
    *,
    dynamic: Sequence[str] = (),
    frames: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
) -> Report:
    """Measure named codes against known factors.

    codes: name -> (N, D), one a sequence, or (N, T, d), one a step.
    factors: name -> (N,), or (N, T) of the steps; integers, booleans and strings are classes,
        floats are continuous.
    dynamic: the factors that codes of steps should hold, and others should not. Factors (N, T) are
        dynamic without being named, unless they never change within a sequence.
    Bits and scores are of the mean of a code of steps over time, and of factors of sequences alone.
    frames: true and decoded ones, alike in shape and kind: (N, T, C, H, W) or (N, C, H, W), or
        with the colours last.
    Raises ValueError for what cannot be read, with its name.
    """
    codes, factors = check_inputs(codes, factors, dynamic)
    sharpness = compare_sharpness(*frames) if frames else float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="factor .* is taken as continuous")
        # The mean over time of a code of steps can hide what a step tells, and what all steps do.
        rows = sum(len(POOLINGS) if code.ndim == 3 else 1 for code in codes.values())
        permutations = int(np.clip(rows * len(factors) / SURE, PERMUTATIONS, MOST))
        options = {"pooling": POOLINGS, "permutations": permutations, "seed": seed}
        linear = leakage_matrix(codes, factors, probe="linear", **options)
        nonlinear = leakage_matrix(codes, factors, probe="nonlinear", **options)
    flat = {name: code if code.ndim == 2 else code.mean(1) for name, code in codes.items()}
    still = {name: values for name, values in factors.items() if values.ndim == 1}
    bits, doubts = estimate_information(flat, still, seed)
    by_code, by_unit = score_halves(flat, still, seed)
    described = {name: describe_factor(values) for name, values in factors.items()}
    doubts += [doubt for name, values in factors.items() if (doubt := doubt_kind(name, values))]
    report = Report(
        count=len(next(iter(codes.values()))),
        kinds={name: kind for name, (kind, _) in described.items()},
        constants={name: constant for name, (_, constant) in described.items()},
        own=assign(codes, factors, dynamic),
        linear=linear,
        nonlinear=nonlinear,
        bits=bits,
        doubts=doubts,
        by_code=by_code,
        by_unit=by_unit,
        sharpness=sharpness,
        findings=[],
    )
    report.findings.extend(conclude(report))
    return report


# What goes in


def check_inputs(
    codes: Mapping[str, ArrayLike], factors: Mapping[str, ArrayLike], dynamic: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Codes and factors as arrays, checked as far as the measures do not check them."""
    codes = {name: as_array(code) for name, code in codes.items()}
    factors = {name: as_array(values) for name, values in factors.items()}
    check_field(bool(codes and factors), "codes, factors", "at least one array in each", "none")
    for name in dynamic:
        check_name("dynamic", name, factors)
    steps = {code.shape[1] for code in codes.values() if code.ndim == 3}
    for name, values in factors.items():
        check_field(values.ndim in (1, 2), f"factor {name!r}", "(N,) or (N, T)", values.shape)
        if values.ndim == 2 and (values == values[:, :1]).all():
            factors[name] = values = values[:, 0]
        fits = values.ndim == 1 or not steps or values.shape[1] in steps
        expected = f"a value for each of the {max(steps, default=0)} steps of the codes"
        check_field(fits, f"factor {name!r}", expected, values.shape)
        check_classes(name, factors[name])
    is_given = any(values.ndim == 1 for values in factors.values())
    check_field(is_given, "factors", "at least one with a value per sequence (N,)", "none")
    return codes, factors


def check_classes(name: str, values: np.ndarray) -> None:
    """Refuse classes that nothing can be learnt of: one for nearly each row, or nearly one only."""
    if values.dtype.kind == "f":
        return
    sizes = np.bincount(to_index(f"factor {name!r}", values).ravel())
    found = f"{len(sizes)} classes in {values.size} rows; give numbers as floats, leave names out"
    expected = f"classes of {REPEATS} rows or more"
    check_field(len(sizes) <= values.size / REPEATS, f"factor {name!r}", expected, found)
    rest = values.size - sizes.max()
    expected = f"at least {FEWEST} rows outside the most frequent class"
    check_field(rest == 0 or rest >= FEWEST, f"factor {name!r}", expected, rest)


def assign(
    codes: Mapping[str, np.ndarray], factors: Mapping[str, np.ndarray], dynamic: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """For each factor the codes that may hold it, of steps or of sequences; none if unknown."""
    of_steps = [
        name
        for name, code in codes.items()
        if name == "dynamic" or (code.ndim == 3 and name != "static")
    ]
    of_sequences = [name for name in codes if name not in of_steps]
    is_known = bool(of_steps and of_sequences)
    own = {}
    for name, values in factors.items():
        candidates = of_steps if name in dynamic or values.ndim == 2 else of_sequences
        own[name] = tuple(candidates) if is_known else ()
    return own


def describe_factor(values: np.ndarray) -> tuple[str, float]:
    """The kind of a factor in words, and the share of its most frequent class, or NaN."""
    if values.dtype.kind == "f":
        return "continuous", float("nan")
    sizes = np.unique(values, return_counts=True)[1]
    return f"{len(sizes)} classes", float(sizes.max() / values.size)


def doubt_kind(name: str, values: np.ndarray) -> str:
    """A sentence on floats that may number classes, or integers that may not; "" on all else."""
    count = len(np.unique(values))
    if values.dtype.kind in "iu" and count > MANY:
        return (
            f"{name}: its {count} whole numbers are read as classes; write them with a decimal "
            "point if they are measured"
        )
    if values.dtype.kind != "f" or not may_be_classes(values):
        return ""
    return (
        f"{name}: its {count} whole values are decimal numbers and are read as "
        "continuous; give integers or text if they are classes"
    )


# Measures


def estimate_information(
    codes: Mapping[str, np.ndarray], factors: Mapping[str, np.ndarray], seed: int
) -> tuple[dict[str, dict[str, tuple[float, float]]], list[str]]:
    """Bits between each code and each factor on at most 1000 rows, the largest of ten shuffled
    estimates, and doubts."""
    bits, doubts = {}, []
    random = np.random.default_rng(seed)
    rows = random.permutation(len(next(iter(codes.values()))))[:INFORMATION_ROWS]
    factors = {name: values[rows] for name, values in factors.items()}
    for name, code in codes.items():
        code = code[rows]
        code = code[:, np.ptp(code, axis=0) > 0]
        count, width = code.shape
        cells = {}
        for factor, values in factors.items():
            cells[factor] = (0.0, 0.0)
            if width:
                estimate = kraskov if values.dtype.kind == "f" else ross
                null = [estimate(code, random.permutation(values)).estimate for _ in range(10)]
                cells[factor] = (estimate(code, values).estimate, max(null))
        bits[name] = cells
        if width > WIDE:
            doubts.append(
                f"{name}: its {width} units are too many for estimates by neighbours; the bits are "
                "much too low, so compare them with the shuffled ones only"
            )
        most = max((value for value, _ in cells.values()), default=0.0)
        if width and most > np.log2(count) - 4:
            doubts.append(
                f"{name}: {most:.1f} bits are near what {count} sequences can show; take more"
            )
    return bits, doubts


def score_halves(
    codes: Mapping[str, np.ndarray], factors: Mapping[str, np.ndarray], seed: int
) -> list[dict[str, tuple[float, float, float, float]]]:
    """For blocks and for units, by score: its value on all rows, its range in five random halves,
    and its value where the rows of the factors are shuffled."""
    random = np.random.default_rng(seed)
    count = len(next(iter(codes.values())))
    whole = scores(codes, factors, seed=seed)
    halves = []
    for _ in range(HALVES):
        rows = random.permutation(count)[: min(count // 2, HALF_ROWS)]
        halves.append(score_some(codes, factors, rows, rows))
    rows = random.permutation(count)[:HALF_ROWS]
    floor = score_some(codes, factors, rows, random.permutation(rows))
    found: list[dict[str, tuple[float, float, float, float]]] = [{}, {}]
    for number, name in itertools.product(range(2), MEANING):
        values = [getattr(half[number], name) for half in halves if half]
        low, high = (min(values), max(values)) if values else (float("nan"),) * 2
        least = getattr(floor[number], name) if floor else float("nan")
        found[number][name] = (getattr(whole[number], name), low, high, least)
    return found


def score_some(
    codes: Mapping[str, np.ndarray],
    factors: Mapping[str, np.ndarray],
    rows: np.ndarray,
    others: np.ndarray,
) -> tuple[Scores, Scores] | None:
    """The scores of some rows of the codes with `others` of the factors; None if too few vary."""
    some = {name: values[others] for name, values in factors.items()}
    if any(len(np.unique(values[: len(values) // 2])) < 2 for values in some.values()):
        return None
    return scores({name: code[rows] for name, code in codes.items()}, some)


def compare_sharpness(true: ArrayLike, decoded: ArrayLike) -> float:
    """Mean absolute difference of neighbouring pixels in decoded frames, over that in true ones."""
    true, decoded = as_array(true), as_array(decoded)
    is_alike = true.shape == decoded.shape and true.dtype.kind == decoded.dtype.kind
    expected = "true and decoded ones of one shape, (N, ..., C, H, W), both bytes or both floats"
    found = f"{true.dtype} {true.shape} and {decoded.dtype} {decoded.shape}"
    check_field(is_alike and true.ndim > 3, "frames", expected, found)
    true, decoded = finite_array("frames", true), finite_array("frames", decoded)
    if true.shape[-1] in (1, 3) and true.shape[-3] not in (1, 3):  # The colours come last.
        true, decoded = np.moveaxis(true, -1, -3), np.moveaxis(decoded, -1, -3)
    edges = [
        np.abs(np.diff(x, axis=-1)).mean() + np.abs(np.diff(x, axis=-2)).mean()
        for x in (true, decoded)
    ]
    check_field(edges[0] != 0, "frames", "true ones that differ within a frame", "one colour")
    return float(edges[1] / edges[0])


# Words


def conclude(report: Report) -> list[str]:
    """The findings in sentences, the verdict first."""
    sure = max(SURE / report.linear.value.size, 1 / (1 + MOST))
    both = told_by(report.linear, sure) | told_by(report.nonlinear, sure)
    codes = list(report.bits)
    telling, told = {code for code, _ in both}, {name for _, name in both}
    # A code may be silent if no factor is known of it, or if another one may hold its factors.
    groups = [own for own in report.own.values() if own] or [(code,) for code in codes]
    unused = set().union(*(group for group in groups if telling.isdisjoint(group)))
    silent = [code for code in codes if code in unused]
    quiet = [code for code in codes if code not in telling]
    lost = [name for name in report.own if name not in told]
    sentences = []
    if report.count < FEW:
        sentences.append(
            f"Cannot be concluded: {report.count} sequences are too few; give {FEW} or more, "
            "better several hundred."
        )
    elif not both:
        sentences.append("Useless: no probe reads any factor from any code.")
    elif silent:
        rest = ", ".join(code for code in codes if code in telling)
        names = ", ".join(silent)
        sentences.append(f"Collapsed: of what is known nothing is in {names}; it is in {rest}.")
    elif any(report.own.values()):
        sentences.append(describe_leak(report.own, told_by(report.linear, DOUBTED), both))
    if quiet and both and not silent and report.count >= FEW:
        sentences.append(f"Of what is known nothing is clearly in {', '.join(quiet)}.")
    if lost and both and report.count >= FEW:
        sentences.append(f"Lost: no code tells {', '.join(lost)}.")
    if not any(report.own.values()):
        sentences.append(
            "Which code should hold which factor is not known: give a code of sequences (N, D), or "
            "the name static, and one of steps (N, T, d), or the name dynamic."
        )
    if np.isfinite(report.sharpness):
        word = "Blurred" if report.sharpness < SHARP else "Sharp"
        sentences.append(
            f"{word}: decoded frames have {report.sharpness:.0%} of the contrast between "
            "neighbouring pixels of the true ones."
        )
    return sentences


def told_by(matrix: LeakageMatrix, chance: float) -> set[tuple[str, str]]:
    """The (code, factor) that a probe reads with a p-value of at most `chance`, and not weakly."""
    clear = (matrix.p_value <= chance) & (matrix.value >= WEAK)
    names = [re.sub(rf", ({'|'.join(POOLINGS)})$", "", row) for row in matrix.rows]
    return {(names[row], matrix.columns[column]) for row, column in np.argwhere(clear)}


def describe_leak(
    own: Mapping[str, Collection[str]], linear: set[tuple[str, str]], both: set[tuple[str, str]]
) -> str:
    """The verdict on codes that tell something.

    linear: the pairs (code, factor) that a linear probe may have read; a leak is hidden if it is
        none of them. both: the pairs that any probe reads surely.
    """
    foreign = [(code, name) for code, name in sorted(both) if own[name] and code not in own[name]]
    pairs = ", ".join(f"{name} in {code}" for code, name in foreign)
    judged = {name for name, codes in own.items() if codes}
    told = {name for code, name in both if code in own[name]}
    if not foreign and told < judged:
        return "No leak was found."  # What is lost is said beside it.
    if not foreign:
        known = "each factor is told by a code that may hold it"
        return f"No leak was found: {known}, and none clearly by a code that should not hold it."
    if not linear & set(foreign):
        return f"Hidden leak: only the non-linear probe reads {pairs}."
    if len(judged) > 1 and {name for _, name in foreign} == judged:
        return f"Mixed (rotated): every factor is told by a code that should not hold it: {pairs}."
    return f"Leak: {pairs}."
