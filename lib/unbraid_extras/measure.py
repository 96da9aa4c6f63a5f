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
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from unbraid.checks import as_array, check_field, check_name, finite_array, to_index
from unbraid.measures.information import kraskov, ross
from unbraid.measures.leakage import POOLINGS, LeakageMatrix, leakage_matrix
from unbraid.readable import Readable

from unbraid_extras.arrays import may_be_classes
from unbraid_extras.disentanglement import Scores, scores

ROWS_PER_CLASS = 4  # on average, at least
ROWS_OUTSIDE = 10  # of the most frequent class, at least
FEWEST_SEQUENCES = 100  # for a verdict
SIGNIFICANCE = 0.01  # the chance that any cell of a matrix counts as read where none is
HINT = 0.05  # the p-value up to which a linear probe may have read what another reads surely
SMALLEST_SKILL = 0.05  # of a leak, however small its p-value is
SHARP_FROM = 0.8  # of the true frames' contrast; below, frames are blurred
MANY_CLASSES = 20  # integers with more values may be measurements
MANY_UNITS = 10  # above, an estimate by neighbours is much too low
FEWEST_PERMUTATIONS = 1999  # of the factors: enough to correct for 20 cells
MOST_PERMUTATIONS = 9999  # enough for 100 cells; more would take much time and memory
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

Arrays = dict[str, np.ndarray]
Pairs = set[tuple[str, str]]
"""Names of a code and of a factor that a probe reads from it."""

Bits = dict[str, dict[str, tuple[float, float]]]
"""By code and factor: the estimate in bits, and the largest one with shuffled factors."""

Ranges = dict[str, tuple[float, float, float, float]]
"""By score: its value, the lowest and the highest one of the halves, that of shuffled factors."""


@dataclass(frozen=True, eq=False, repr=False)
class Report(Readable):
    """What `measure` has found."""

    count: int  # sequences
    kinds: dict[str, str]  # by factor: "4 classes" or "continuous"
    constants: dict[str, float]  # by factor: accuracy of the best constant; NaN if continuous
    own: dict[str, tuple[str, ...]]  # by factor: the codes that may hold it; none if unknown
    linear: LeakageMatrix
    nonlinear: LeakageMatrix
    bits: Bits
    doubts: list[str]  # why an estimate of information, or a factor's kind, cannot be believed
    by_code: Ranges
    by_unit: Ranges
    sharpness: float  # of decoded frames as a share of the true ones'; NaN without frames
    findings: tuple[str, ...] = ()  # sentences, the verdict first

    def factor_table(self) -> list[tuple[str, ...]]:
        """A row for each factor: what it is, and where it should be."""
        rows: list[tuple[str, ...]] = [("factor", "kind", "best constant", "should be in")]
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
        rows: list[tuple[str, ...]] = [("score", "by code", *each, "by unit", *each, "meaning")]
        for name, meaning in MEANING.items():
            cells = []
            for value, low, high, floor in (self.by_code[name], self.by_unit[name]):
                cells += [f"{value:.2f}", f"{low:.2f} to {high:.2f}", f"{floor:.2f}"]
            cells = [cell.replace("nan to nan", "–").replace("nan", "–") for cell in cells]
            rows.append((name, *cells, meaning))
        return rows

    def table(self) -> list[tuple[str, ...]]:
        """The verdict, a row for each code and factor, and a row for each score."""
        rows: list[tuple[str, ...]] = [("found", sentence) for sentence in self.findings]
        rows += [*self.factor_table(), *self.linear.table(), *self.nonlinear.table()]
        rows += self.information_table()
        rows += [row[:-1] for row in self.score_table()]  # The page alone says what they mean.
        return [*rows, *(("doubt", doubt) for doubt in self.doubts)]

    def as_json(self) -> str:
        """Everything, as JSON; NaN becomes null."""
        text = json.dumps(asdict(self), default=lambda value: value.tolist())
        without_nan = json.loads(text, parse_constant=lambda _: None)
        return json.dumps(without_nan, indent=1, ensure_ascii=False)

    def as_html(self) -> str:
        """One page with figures, which needs no other file."""
        from unbraid_extras import pages  # imported lazily, because figures need matplotlib

        matrices = [pages.draw_matrix(matrix) for matrix in (self.linear, self.nonlinear)]
        return pages.render("measure.html.j2", report=self, matrices=matrices, half=HALF_ROWS)


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
    frames: true and decoded ones, alike in shape and kind: (N, T, C, H, W) or (N, C, H, W), or
        with the colours last.

    Bits and scores are those of the mean of a code of steps over time, and of factors of sequences
    alone. Raises ValueError, with its name, for an array that cannot be measured.
    """
    arrays, known = check_inputs(codes, factors, dynamic)
    sharpness = compare_sharpness(*frames) if frames else float("nan")
    linear, nonlinear = probe(arrays, known, seed)
    flat = {name: code if code.ndim == 2 else code.mean(1) for name, code in arrays.items()}
    still = {name: values for name, values in known.items() if values.ndim == 1}
    bits, doubts = estimate_information(flat, still, seed)
    by_code, by_unit = score_halves(flat, still, seed)
    described = {name: describe_factor(values) for name, values in known.items()}
    kind_doubts = [doubt_kind(name, values) for name, values in known.items()]
    report = Report(
        count=len(next(iter(arrays.values()))),
        kinds={name: kind for name, (kind, _) in described.items()},
        constants={name: constant for name, (_, constant) in described.items()},
        own=assign_codes(arrays, known, dynamic),
        linear=linear,
        nonlinear=nonlinear,
        bits=bits,
        doubts=[*doubts, *filter(None, kind_doubts)],
        by_code=by_code,
        by_unit=by_unit,
        sharpness=sharpness,
    )
    return replace(report, findings=tuple(conclude(report)))


def check_inputs(
    codes: Mapping[str, ArrayLike], factors: Mapping[str, ArrayLike], dynamic: Sequence[str]
) -> tuple[Arrays, Arrays]:
    """Codes and factors as arrays, checked as far as the measures do not check them."""
    arrays = {name: as_array(code) for name, code in codes.items()}
    check_field(bool(codes and factors), "codes, factors", "at least one array in each", "none")
    for name in dynamic:
        check_name("dynamic", name, factors)
    steps = {code.shape[1] for code in arrays.values() if code.ndim == 3}
    known = {}
    for name, values in factors.items():
        known[name] = check_factor(f"factor {name!r}", as_array(values), steps)
    is_given = any(values.ndim == 1 for values in known.values())
    check_field(is_given, "factors", "at least one with a value per sequence (N,)", "none")
    return arrays, known


def check_factor(field: str, values: np.ndarray, steps: set[int]) -> np.ndarray:
    """A factor (N,), or (N, T) if it changes within a sequence; steps: T of the codes of steps."""
    check_field(values.ndim in (1, 2), field, "(N,) or (N, T)", values.shape)
    if values.ndim == 2 and (values == values[:, :1]).all():
        values = values[:, 0]
    fits = values.ndim == 1 or not steps or values.shape[1] in steps
    expected = f"a value for each of the {max(steps, default=0)} steps of the codes"
    check_field(fits, field, expected, values.shape)
    if values.dtype.kind == "f":
        return values
    # Of a class for nearly each row, or of nearly one class alone, nothing can be learnt.
    sizes = np.bincount(to_index(field, values).ravel())
    found = f"{len(sizes)} classes in {values.size} rows; give numbers as floats, leave names out"
    expected = f"classes of {ROWS_PER_CLASS} rows or more"
    check_field(len(sizes) <= values.size / ROWS_PER_CLASS, field, expected, found)
    rest = values.size - sizes.max()
    expected = f"at least {ROWS_OUTSIDE} rows outside the most frequent class"
    check_field(rest == 0 or rest >= ROWS_OUTSIDE, field, expected, rest)
    return values


def assign_codes(
    codes: Mapping[str, Any], factors: Mapping[str, Any], dynamic: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """For each factor the codes that may hold it, of steps or of sequences; none if unknown."""
    fixed = {"static": False, "dynamic": True}  # Others are known by their axes.
    of_steps = [name for name, code in codes.items() if fixed.get(name, code.ndim == 3)]
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
    count, kind = len(np.unique(values)), values.dtype.kind
    if kind in "iu" and count > MANY_CLASSES:
        remedy = "write them with a decimal point if they are measured"
        return f"{name}: its {count} whole numbers are read as classes; {remedy}"
    if kind == "f" and may_be_classes(values):
        remedy = "give integers or text if they are classes"
        return f"{name}: its {count} whole values are decimal and read as continuous; {remedy}"
    return ""


# ---- measures


def probe(codes: Arrays, factors: Arrays, seed: int) -> tuple[LeakageMatrix, LeakageMatrix]:
    """The leakage matrices of the linear and of the non-linear probe.

    Codes of steps are pooled in every way, because their mean over time can hide what a step tells,
    and a step what all steps tell together.
    """
    rows = sum(len(POOLINGS) if code.ndim == 3 else 1 for code in codes.values())
    wanted = rows * len(factors) / SIGNIFICANCE
    permutations = int(np.clip(wanted, FEWEST_PERMUTATIONS, MOST_PERMUTATIONS))
    read = partial(
        leakage_matrix, codes, factors, pooling=POOLINGS, permutations=permutations, seed=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="factor .* is taken as continuous")
        return read(probe="linear"), read(probe="nonlinear")


def estimate_information(
    codes: Mapping[str, np.ndarray], factors: Mapping[str, np.ndarray], seed: int
) -> tuple[Bits, list[str]]:
    """Bits between each code (N, D) and each factor (N,), on at most 1000 rows, and doubts."""
    bits: Bits = {}
    doubts = []
    random = np.random.default_rng(seed)
    rows = random.permutation(len(next(iter(codes.values()))))[:INFORMATION_ROWS]
    for name, whole_code in codes.items():
        code = whole_code[rows]
        code = code[:, np.ptp(code, axis=0) > 0]
        count, width = code.shape
        cells = {factor: (0.0, 0.0) for factor in factors}
        if width:
            for factor, values in factors.items():
                cells[factor] = estimate_cell(code, values[rows], random)
        bits[name] = cells
        if width > MANY_UNITS:
            doubts.append(
                f"{name}: its {width} units are too many for estimates by neighbours; the bits are "
                "much too low, so compare them with the shuffled ones only"
            )
        most = max((value for value, _ in cells.values()), default=0.0)
        if width and most > np.log2(count) - 4:
            limit = f"near what {count} sequences can show; take more"
            doubts.append(f"{name}: {most:.1f} bits are {limit}")
    return bits, doubts


def estimate_cell(
    code: np.ndarray, values: np.ndarray, random: np.random.Generator
) -> tuple[float, float]:
    """Bits between a code and a factor, and the largest of ten estimates with it shuffled."""
    estimate = kraskov if values.dtype.kind == "f" else ross
    null = [estimate(code, random.permutation(values)).estimate for _ in range(10)]
    return estimate(code, values).estimate, max(null)


def score_halves(
    codes: Mapping[str, np.ndarray], factors: Mapping[str, np.ndarray], seed: int
) -> tuple[Ranges, Ranges]:
    """All scores, with each code as a block and with each unit: on all rows, halves, shuffles."""
    random = np.random.default_rng(seed)
    count = len(next(iter(codes.values())))
    whole = scores(codes, factors, seed=seed)
    halves = []
    for _ in range(HALVES):
        rows = random.permutation(count)[: min(count // 2, HALF_ROWS)]
        halves.append(score_some(codes, factors, rows, rows))
    rows = random.permutation(count)[:HALF_ROWS]
    floor = score_some(codes, factors, rows, random.permutation(rows))
    found: tuple[Ranges, Ranges] = ({}, {})
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
    pair = as_array(true), as_array(decoded)
    is_alike = pair[0].shape == pair[1].shape and pair[0].dtype.kind == pair[1].dtype.kind
    expected = "true and decoded ones of one shape, (N, ..., C, H, W), both bytes or both floats"
    found = " and ".join(f"{frames.dtype} {frames.shape}" for frames in pair)
    check_field(is_alike and pair[0].ndim > 3, "frames", expected, found)
    edges = []
    for given in pair:
        frames = finite_array("frames", given)
        if frames.shape[-1] in (1, 3) and frames.shape[-3] not in (1, 3):  # The colours come last.
            frames = np.moveaxis(frames, -1, -3)
        down, across = (np.abs(np.diff(frames, axis=axis)).mean() for axis in (-2, -1))
        edges.append(across + down)
    check_field(edges[0] != 0, "frames", "true ones that differ within a frame", "one colour")
    return float(edges[1] / edges[0])


# ---- words


def conclude(report: Report) -> list[str]:
    """The findings in sentences, the verdict first."""
    matrices = report.linear, report.nonlinear
    read = set().union(*(read_pairs(matrix, MOST_PERMUTATIONS) for matrix in matrices))
    sentences = [judge_codes(report, read), *describe_rest(report, read)]
    if not any(report.own.values()):
        sentences.append(
            "Which code should hold which factor is not known: give a code of sequences (N, D), or "
            "the name static, and one of steps (N, T, d), or the name dynamic."
        )
    if np.isfinite(report.sharpness):
        word = "Blurred" if report.sharpness < SHARP_FROM else "Sharp"
        sentences.append(
            f"{word}: decoded frames have {report.sharpness:.0%} of the contrast between "
            "neighbouring pixels of the true ones."
        )
    return [sentence for sentence in sentences if sentence]


def judge_codes(report: Report, read: Pairs) -> str:
    """The verdict on what probes read surely; "" if which code should hold what is not known."""
    if report.count < FEWEST_SEQUENCES:
        return (
            f"Cannot be concluded: {report.count} sequences are too few; give {FEWEST_SEQUENCES} "
            "or more, better several hundred."
        )
    if not read:
        return "Useless: no probe reads any factor from any code."
    if silent := find_silent(report, read):
        telling = {code for code, _ in read}
        rest = ", ".join(code for code in report.bits if code in telling)
        return f"Collapsed: of what is known nothing is in {', '.join(silent)}; it is in {rest}."
    if not any(report.own.values()):
        return ""
    return describe_leak(report.own, clear_pairs(report.linear, HINT), read)


def find_silent(report: Report, read: Pairs) -> list[str]:
    """The codes from which nothing is read, nor from others that may hold the same factors."""
    telling = {code for code, _ in read}
    groups = [own for own in report.own.values() if own] or [(code,) for code in report.bits]
    unused = set().union(*(group for group in groups if telling.isdisjoint(group)))
    return [code for code in report.bits if code in unused]


def describe_rest(report: Report, read: Pairs) -> list[str]:
    """Sentences on codes from which nothing is read, and may be, and on factors that are lost."""
    if not read or report.count < FEWEST_SEQUENCES:
        return []
    telling, known = {code for code, _ in read}, {name for _, name in read}
    quiet = [code for code in report.bits if code not in telling]
    lost = [name for name in report.own if name not in known]
    sentences = []
    if quiet and not find_silent(report, read):
        sentences.append(f"Of what is known nothing is clearly in {', '.join(quiet)}.")
    if lost:
        sentences.append(f"Lost: no code tells {', '.join(lost)}.")
    return sentences


def read_pairs(matrix: LeakageMatrix, permutations: int) -> Pairs:
    """The (code, factor) that a probe reads surely, corrected for the number of cells."""
    return clear_pairs(matrix, max(SIGNIFICANCE / matrix.value.size, 1 / (1 + permutations)))


def clear_pairs(matrix: LeakageMatrix, level: float) -> Pairs:
    """The (code, factor) that a probe reads with a p-value of at most `level`, and not weakly."""
    clear = (matrix.p_value <= level) & (matrix.value >= SMALLEST_SKILL)
    names = [re.sub(rf", ({'|'.join(POOLINGS)})$", "", row) for row in matrix.rows]
    return {(names[row], matrix.columns[column]) for row, column in np.argwhere(clear)}


def describe_leak(own: Mapping[str, Collection[str]], linear: Pairs, read: Pairs) -> str:
    """The verdict on codes from which something is read.

    own: by factor the codes that may hold it. linear: the pairs that a linear probe may have read;
        a leak is hidden if it is none of them. read: the pairs that any probe reads surely.
    """
    foreign = [(code, name) for code, name in sorted(read) if own[name] and code not in own[name]]
    pairs = ", ".join(f"{name} in {code}" for code, name in foreign)
    judged = {name for name, codes in own.items() if codes}
    held = {name for code, name in read if code in own[name]}
    if not foreign and held < judged:
        return "No leak was found."  # Another sentence says what is lost.
    if not foreign:
        known = "each factor is told by a code that may hold it"
        return f"No leak was found: {known}, and none clearly by a code that should not hold it."
    if not linear & set(foreign):
        return f"Hidden leak: only the non-linear probe reads {pairs}."
    if len(judged) > 1 and {name for _, name in foreign} == judged:
        return f"Mixed (rotated): every factor is told by a code that should not hold it: {pairs}."
    return f"Leak: {pairs}."
