"""Is my model disentangled? All measures of the course on anybody's codes, in words and figures.

`measure` needs codes and known factors, and no model. Its report shows itself as a table, as JSON
and as one HTML page.
"""

from __future__ import annotations

import itertools
import json
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits
from unbraid.checks import check_seed, check_type, number_groups, to_index
from unbraid.measures.doubts import doubt_index, doubt_matrix, doubt_spellings
from unbraid.measures.information import kraskov, ross
from unbraid.measures.leakage import POOLINGS, LeakageMatrix, leakage_matrix, shuffle_groups
from unbraid.support.readable import Readable

from unbraid_extras.arrays import LARGEST_SEED, MADE_BY, Arrays, Named, check_inputs
from unbraid_extras.disentanglement import ross_all, scores

FEWEST_SEQUENCES = 100  # for a verdict
SIGNIFICANCE = 0.01  # the chance that any cell of a matrix counts as read where none is
HINT = 0.05  # the p-value up to which a linear probe may have read what another reads surely
SMALLEST_SKILL = 0.05  # of a leak, however small its p-value is
FEWEST_PERMUTATIONS = 1999  # of the factors: enough to correct for 20 cells
MOST_PERMUTATIONS = 9999  # enough for 100 cells; more would take much time and memory
INFORMATION_ROWS = 1000  # at most, since neighbours among many units are slow to find
SHUFFLED_ROWS = 2000  # at most behind a score of shuffled factors
FEWER_TREES = 8  # of their forests, where a small number is all that is asked for
MOST_CLASSES = 20  # of whole numbers: more may be measured
FEWEST_OF_CLASS = 4  # of each class in a sample of rows, if it has as many
ALIKE = 0.9  # the least share of rows with equal codes that have equal factors, of copies
ROWS = "more rows of each class"
GAPS = f"two units, classes alone as factors, and {ROWS}"
ACTIVE_ROWS = "two codes, or units, that contain information"
MEANING = {  # of each score, and what it cannot be told without
    "disentanglement": ("DCI: each code is important for one factor only", "two factors"),
    "completeness": ("DCI: each factor is predicted from one code only", "two codes, or units"),
    "informativeness": ("DCI: how well forests predict the factors from all codes", ROWS),
    "gap": ("MIG: the best unit is ahead of the second in information, by entropy", GAPS),
    "separation": ("SAP: the best unit is ahead of the second best in accuracy", GAPS),
    "modularity": ("InfoM: the information in each code is about one factor", "two factors"),
    "compactness": ("InfoC: the information on each factor is in one code", ACTIVE_ROWS),
    "explicitness": ("InfoE: the share of entropy that a linear classifier reads", ROWS),
}
OF_UNITS = ("gap", "separation")  # There is no gap between a code and its own units.

Pairs = set[tuple[str, str]]  # of a code and a factor that a probe reads from it
Bits = dict[str, dict[str, tuple[float, float]]]  # by code, factor: bits, and most if shuffled
Pair = dict[str, tuple[float, float]]  # by score: its value, and with shuffled factors; or NaN


@dataclass(frozen=True, eq=False, repr=False)
class Report(Readable):
    """What `measure` has found."""

    count: int  # of what is independent
    unit: str  # of which these are: "sequences", "different sequences" or "groups"
    kinds: dict[str, str]  # by factor: "4 classes" or "continuous"
    constants: dict[str, float]  # by factor: accuracy of the best constant; NaN if continuous
    own: dict[str, tuple[str, ...]]  # by factor: the codes that may hold it; none if unknown
    linear: LeakageMatrix
    nonlinear: LeakageMatrix
    bits: Bits
    doubts: list[str]  # on rows, on estimates of information, on the kinds of factors
    by_code: Pair = field(default_factory=dict)
    by_unit: Pair = field(default_factory=dict)
    findings: tuple[str, ...] = ()  # sentences, the verdict first
    provenance: dict[str, Any] = field(default_factory=dict)  # of the command

    def factor_table(self) -> list[tuple[str, ...]]:
        """A row for each factor: what it is, and where it should be."""
        rows: list[tuple[str, ...]] = [("factor", "kind", "best constant", "should be in")]
        for name, kind in self.kinds.items():
            constant = self.constants[name]
            shown = f"{constant:.2f}" if np.isfinite(constant) else "R² 0"
            rows.append((name, kind, shown, " or ".join(self.own[name]) or "?"))
        return rows

    def information_table(self) -> list[tuple[str, ...]]:
        """A row for each factor: the bits that it shares with each code."""
        rows = [("bits", *self.bits)]
        for name in next(iter(self.bits.values())):
            pairs = [cells[name] for cells in self.bits.values()]
            rows.append((name, *(f"{bits:.2f} (shuffled {null:.2f})" for bits, null in pairs)))
        return rows

    def score_table(self) -> list[tuple[str, ...]]:
        """A row for each score, of codes and of units."""
        each = ("by code", "shuffled", "by unit", "shuffled")
        rows: list[tuple[str, ...]] = [("score", *each, "meaning")]
        for name, (meaning, _) in MEANING.items():
            values = (*self.by_code[name], *self.by_unit[name])
            cells = ["–" if np.isnan(value) else f"{value:.2f}" for value in values]
            score, _, meaning = meaning.partition(": ")
            rows.append((f"{score} {name}", *cells, meaning))
        return rows

    def absent_scores(self) -> list[str]:
        """A sentence on each score that is not available, and why."""
        pairs = itertools.product((("code", self.by_code), ("unit", self.by_unit)), MEANING.items())
        return [
            f"{meaning.partition(':')[0]} {name} by {kind} is not available: it needs {needed}."
            for (kind, found), (name, (meaning, needed)) in pairs
            if np.isnan(found[name][0]) and not (kind == "code" and name in OF_UNITS)
        ]

    def table(self) -> list[tuple[str, ...]]:
        """The verdict, a row for each code and factor, and a row for each score."""
        return [*self.verdict_table(), *self.rest_table()]

    def verdict_table(self) -> list[tuple[str, ...]]:
        """The verdict, and what probes read, which it follows from."""
        rows: list[tuple[str, ...]] = [("found", sentence) for sentence in self.findings]
        rows += [*self.factor_table(), ("Skills of probes: 0 is chance, 1 is perfect.",)]
        return [*rows, *self.linear.table(), *self.nonlinear.table()]

    def rest_table(self) -> list[tuple[str, ...]]:
        """What takes longer: bits, scores, and the doubts."""
        rows = self.information_table()
        rows += [row[:-1] for row in self.score_table()]  # The page alone says what they mean.
        return [*rows, *(("doubt", doubt) for doubt in self.doubts)]

    def as_json(self) -> str:
        """Everything, as JSON; NaN becomes null."""
        text = json.dumps({"made_by": MADE_BY} | asdict(self), default=lambda value: value.tolist())
        without_nan = json.loads(text, parse_constant=lambda _: None)
        return json.dumps(without_nan, indent=1, ensure_ascii=False)

    def as_html(self) -> str:
        """One page with figures, which needs no other file."""
        from unbraid_extras import pages  # imported lazily, because figures need matplotlib

        matrices = [pages.draw_matrix(matrix) for matrix in (self.linear, self.nonlinear)]
        shown = {"made_by": MADE_BY, "rows": SHUFFLED_ROWS}
        return pages.render("measure.html.j2", report=self, matrices=matrices, **shown)


def measure(
    codes: Named,
    factors: Named,
    *,
    dynamic: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    seed: int = 0,
    on_verdict: Callable[[Report], object] | None = None,
) -> Report:
    """Measure named codes against known factors.

    codes: name -> (N, D), one a sequence, or (N, T, d), one a step.
    factors: name -> (N,), or (N, T) of the steps; integers, booleans and strings are classes,
        floats are continuous.
    dynamic: the factors that codes of steps should hold, and others should not; () for none. By
        default nothing is concluded on factors (N,). Factors (N, T) are dynamic without being
        named, unless they never change within a sequence.
    groups: (N,), such as the person of each sequence: a split keeps a group together, limits are
        those of other groups, and whole groups are shuffled. Without it, each row stands for
        itself, and of rows that are exact copies one is taken.
    on_verdict: is called with the report as soon as it has the verdict, before bits and scores.

    Bits and scores are those of the mean of a code of steps over time, and of factors of sequences
    alone. Raises ValueError, with its name, for an array that cannot be measured.
    """
    check_seed(seed, LARGEST_SEED)
    check_type((Iterable, type(None)), dynamic=dynamic)
    check_type((Callable, type(None)), on_verdict=on_verdict)
    arrays, known = check_inputs(codes, factors, dynamic, groups)
    doubts, unit = doubt_index(arrays), "sequences"
    is_copy = find_copies(arrays, known) if groups is None else np.zeros(0, bool)
    if is_copy.any():
        unit = "different sequences"
        copies = f"{is_copy.sum()} of {len(is_copy)} rows are exact copies of others, in codes and"
        remedy = "each is taken once (if they are sequences of their own, name groups)"
        doubts.append(f"{copies} factors: {remedy}")
        arrays = {name: code[~is_copy] for name, code in arrays.items()}
        known = {name: values[~is_copy] for name, values in known.items()}
        check_inputs(arrays, known, dynamic)
    unit = unit if groups is None else "groups"
    numbers = number_groups("groups", groups, len(next(iter(arrays.values()))))
    flat = {name: code if code.ndim == 2 else code.mean(1) for name, code in arrays.items()}
    still = {name: values for name, values in known.items() if values.ndim == 1}
    cells = len(known) * sum(len(POOLINGS) if c.ndim == 3 else 1 for c in arrays.values())

    # Codes of steps are pooled in every way, because their mean over time can hide what a step
    # tells, and a step what all steps tell together.
    options: dict[str, Any] = {"pooling": tuple(POOLINGS), "seed": seed, "groups": numbers}
    wanted = np.clip(cells / SIGNIFICANCE, FEWEST_PERMUTATIONS, MOST_PERMUTATIONS)
    read = partial(leakage_matrix, arrays, known, permutations=int(wanted), **options)
    own = assign_codes(arrays, known, dynamic)
    kinds, constants, more = {}, {}, []
    for name, values in known.items():
        kinds[name], constants[name], said = describe_factor(name, values)
        is_matrix = values.ndim == 2 and all(code.ndim == 2 for code in arrays.values())
        more += [*said, *([doubt_matrix(name, values)] if is_matrix else [])]
    # Each part takes one thread, since those of small matrix products wait for each other.
    with warnings.catch_warnings(), threadpool_limits(1), ThreadPoolExecutor(2) as pool:
        warnings.simplefilter("ignore", UserWarning)  # They are said as doubts.
        nonlinear, linear = (pool.submit(read, probe=kind) for kind in ("nonlinear", "linear"))
        matrices = linear.result(), nonlinear.result()
        none: Bits = {name: {} for name in flat}
        count = int(numbers.max()) + 1
        report = Report(count, unit, kinds, constants, own, *matrices, none, doubts)
        report = replace(report, findings=tuple(conclude(report, arrays, known)))
        if on_verdict:
            on_verdict(report)
        scored = pool.submit(score, flat, still, numbers, seed)
        bits, of_bits = pool.submit(estimate_information, flat, still, seed, numbers).result()
        by_code, by_unit, lacking = scored.result()
    doubts += [*lacking, *of_bits, *more]
    return replace(report, bits=bits, doubts=doubts, by_code=by_code, by_unit=by_unit)


def assign_codes(
    codes: Mapping[str, Any], factors: Mapping[str, Any], dynamic: Sequence[str] | None
) -> dict[str, tuple[str, ...]]:
    """For each factor the codes that may hold it, of steps or of sequences; none if unknown."""
    fixed = {"static": False, "dynamic": True}  # Others are known by their axes.
    of_steps = [name for name, code in codes.items() if fixed.get(name, code.ndim == 3)]
    of_sequences = [name for name in codes if name not in of_steps]
    own: dict[str, tuple[str, ...]] = dict.fromkeys(factors, ())
    for name, values in factors.items() if of_steps and of_sequences else ():
        if values.ndim == 2 or dynamic is not None:
            is_moving = values.ndim == 2 or name in (dynamic or ())
            own[name] = tuple(of_steps if is_moving else of_sequences)
    return own


def describe_factor(name: str, values: np.ndarray) -> tuple[str, float, list[str]]:
    """The kind of a factor in words, the share of its most frequent class, and doubts."""
    if values.dtype.kind == "f":
        return "continuous", float("nan"), []
    classes, sizes = np.unique(values, return_counts=True)
    is_many = len(classes) > MOST_CLASSES and values.dtype.kind in "iu"
    found, share = f"{name}: its {len(classes)} whole", float(sizes.max() / values.size)
    doubt = f"{found} numbers are read as classes; write them with a decimal point if measured"
    return f"{len(classes)} classes", share, [doubt] * is_many + doubt_spellings(name, classes)


# ---- rows


def find_copies(codes: Arrays, factors: Arrays) -> np.ndarray:
    """Which rows (N,) are exact copies of an earlier one, in codes and in factors.

    Codes that take few values, such as the entries of a code book, come again by chance: none of
    their rows is taken for a copy.
    """
    count = len(next(iter(codes.values())))
    units = np.hstack([code.reshape(count, -1) for code in codes.values()])  # (N, P)
    columns = [to_index(name, values).reshape(count, -1) for name, values in factors.items()]
    of_codes = to_index("rows", [blake2b(row, digest_size=16).digest() for row in units])
    rows = np.hstack([of_codes[:, None], *columns])
    is_copy, different = np.ones(count, bool), of_codes.max() + 1
    is_copy[np.unique(rows, axis=0, return_index=True)[1]] = False
    # Where codes come again by chance, other factors stand beside them.
    is_alike = is_copy.sum() >= ALIKE * (count - different)
    fewest = max(MOST_CLASSES, different / 2)
    is_fine = (len(np.unique(unit)) > fewest and (unit % 1).any() for unit in units.T)
    return is_copy if is_copy.any() and is_alike and any(is_fine) else np.zeros(count, bool)


def draw_rows(factors: Arrays, most: int, order: np.ndarray) -> np.ndarray:
    """The first `most` rows of an order, and at least four of each class, or all that it has."""
    is_drawn = np.arange(len(order)) < most
    for name, values in factors.items():
        numbers = to_index(name, values)[order]
        if FEWEST_OF_CLASS * (numbers.max() + 1) <= most and values.dtype.kind != "f":
            for number in range(numbers.max() + 1):
                is_drawn[np.flatnonzero(numbers == number)[:FEWEST_OF_CLASS]] = True
    return order[is_drawn]


# ---- measures


def estimate_information(
    codes: Arrays, factors: Arrays, seed: int, groups: np.ndarray | None = None
) -> tuple[Bits, list[str]]:
    """Bits between each code (N, D) and each factor (N,), and doubts.

    They are those of about 1000 rows, or of one row of each group, since neighbours are counted.
    """
    bits: Bits = {}
    said: dict[str, list[str]] = {}
    random = np.random.default_rng(seed)
    order = random.permutation(len(next(iter(factors.values()))))
    rows = draw_rows(factors, INFORMATION_ROWS, order)
    if groups is not None and len(np.unique(groups)) < len(groups):
        rows = order[np.unique(groups[order], return_index=True)[1]]
    for name, code in codes.items():
        code, bits[name] = code[rows][:, np.ptp(code[rows], axis=0) > 0], {}
        for factor, values in factors.items():
            bits[name][factor], doubts = estimate_cell(code, values[rows], random)
            for doubt in doubts:
                said.setdefault(f"{name}: {doubt}", []).append(factor)
    texts = (text.replace(": ", f", {', '.join(names)}: ", 1) for text, names in said.items())
    return bits, list(texts)


def estimate_cell(
    code: np.ndarray, values: np.ndarray, random: np.random.Generator
) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Bits between a code and a factor, the largest of ten estimates with it shuffled, doubts."""
    orders, classes = [random.permutation(len(values)) for _ in range(10)], to_index("", values)
    if not code.size:
        return (0.0, 0.0), ()
    if (np.bincount(classes) > (values.dtype.kind != "f")).sum() < 2:
        return (np.nan, np.nan), ("fewer than two classes have two rows or groups; bring more",)
    if values.dtype.kind == "f":
        found = kraskov(code, values)
        null = [kraskov(code, values[order]).estimate for order in orders]
    else:
        found, null = ross(code, classes), ross_all(code, [classes[order] for order in orders])
    return (found.estimate, max(null)), found.doubts


def score(
    codes: Arrays, factors: Arrays, groups: np.ndarray, seed: int
) -> tuple[Pair, Pair, list[str]]:
    """All scores, by code and by unit, beside those of shuffled factors; and doubts."""
    random = np.random.default_rng(seed)
    rows = draw_rows(factors, SHUFFLED_ROWS, random.permutation(len(groups)))
    order = shuffle_groups(to_index("groups", groups[rows]), random)
    some = {name: code[rows] for name, code in codes.items()}
    others = {name: values[rows][order] for name, values in factors.items()}
    whole = scores(codes, factors, groups=groups, seed=seed)
    floor = scores(some, others, groups=groups[rows], trees=FEWER_TREES, seed=seed)

    has_gaps = all(values.dtype.kind != "f" for values in factors.values())
    by_code, by_unit = {}, {}
    for name in MEANING:
        is_told = has_gaps or name not in OF_UNITS
        pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(whole, floor, strict=True)]
        by_code[name] = pairs[0] if name not in OF_UNITS else (np.nan, np.nan)
        by_unit[name] = pairs[1] if is_told else (np.nan, np.nan)
    return by_code, by_unit, list(whole[0].doubts)


# ---- words


def conclude(report: Report, codes: Arrays, factors: Arrays) -> list[str]:
    """The findings in sentences, the verdict first."""
    matrices = report.linear, report.nonlinear
    read = set().union(*(read_pairs(matrix, MOST_PERMUTATIONS) for matrix in matrices))
    if report.count < FEWEST_SEQUENCES:
        rest = "" if read else " (no probe predicts anything so far)"
        found = f"Cannot be concluded: {report.count} {report.unit} are too few{rest}"
        return [f"{found}; give {FEWEST_SEQUENCES} or more, better several hundred."]
    if not read:
        return ["Useless: no probe predicts any factor from any code."]
    linear = clear_pairs(report.linear, HINT)
    if_named = suppose(matrices, codes, factors, report.own, linear, read)
    telling, known = {code for code, _ in read}, {name for _, name in read}
    quiet = [code for code in report.bits if code not in telling]
    # Nothing is read from these, nor from others that may hold the same factors.
    groups = [own for own in report.own.values() if own]
    groups = groups or [(code,) for code in report.bits if not if_named]
    unused = set().union(*(group for group in groups if telling.isdisjoint(group)))
    silent = [code for code in report.bits if code in unused]
    sentences = [if_named] * bool(if_named)
    if silent:
        rest = ", ".join(code for code in report.bits if code not in quiet)
        found = f"Collapsed: of the factors none is in {', '.join(silent)}; they are in {rest}."
        sentences.append(found)
    elif any(report.own.values()):
        sentences.append(describe_leak(report.own, linear, read))
    if quiet and not silent:
        sentences.append(f"No factor is clearly in {', '.join(quiet)}.")
    if lost := [name for name in report.own if name not in known]:
        sentences.append(f"Lost: no probe surely predicts {', '.join(lost)}.")
    if not (if_named or any(report.own.values())):
        sentences.append(
            "Which code should contain which factor is not known: name one static, or give it the "
            "shape (N, D), and name the other one dynamic, or give it the shape (N, T, d)."
        )
    return sentences


def suppose(
    matrices: Iterable[LeakageMatrix],
    codes: Mapping[str, Any],
    factors: Mapping[str, Any],
    own: Mapping[str, Collection[str]],
    linear: Pairs,
    read: Pairs,
) -> str:
    """What would be found if those factors were named that codes of steps tell best.

    "" if it is known where all should be. The arguments are those of `describe_leak`.
    """
    of_steps = assign_codes(codes, factors, [*factors])
    unknown = [name for name in own if of_steps[name] and not own[name]]
    skills: dict[tuple[str, str], float] = {}
    for matrix in matrices:
        for code, values in zip(name_codes(matrix), matrix.value, strict=True):
            for name, value in zip(matrix.columns, values, strict=True):
                skills[name, code] = max(value, skills.get((name, code), -1))
    best = {name: max(codes, key=lambda code: skills[name, code]) for name in unknown}
    named = [name for name in unknown if best[name] in of_steps[name]]
    verdict = describe_leak(assign_codes(codes, factors, named), linear, read)
    listed = f"{' and '.join(named) or 'none'} should be in the dynamic code alone"
    option = ",".join(named) or "''"
    said = "It is not said which factors belong to the motion, so that no leak is claimed. If "
    return f"{said}{listed} (--dynamic {option}): {verdict}" if unknown else ""


def name_codes(matrix: LeakageMatrix) -> list[str]:
    """The code of each row of a matrix, without the way in which it is pooled."""
    return [re.sub(rf", ({'|'.join(POOLINGS)})$", "", row) for row in matrix.rows]


def read_pairs(matrix: LeakageMatrix, permutations: int) -> Pairs:
    """The (code, factor) that a probe reads surely, corrected for the number of cells."""
    return clear_pairs(matrix, max(SIGNIFICANCE / matrix.value.size, 1 / (1 + permutations)))


def clear_pairs(matrix: LeakageMatrix, level: float) -> Pairs:
    """The (code, factor) that a probe reads with a p-value of at most `level`, and not weakly."""
    clear = (matrix.p_value <= level) & (matrix.value >= SMALLEST_SKILL)
    names = name_codes(matrix)
    return {(names[row], matrix.columns[column]) for row, column in np.argwhere(clear)}


def describe_leak(own: Mapping[str, Collection[str]], linear: Pairs, read: Pairs) -> str:
    """The verdict on codes from which something is read.

    own: by factor the codes that may hold it. linear: the pairs that a linear probe may have read;
        a leak is hidden if it is none of them. read: the pairs that any probe reads surely.
    """
    foreign = [(code, name) for code, name in sorted(read) if own[name] and code not in own[name]]
    pairs = ", ".join(f"{name} in {code}" for code, name in foreign)
    judged = {name for name, codes in own.items() if codes}
    some = f" for {', '.join(sorted(judged))}" if len(judged) < len(own) else ""
    if not foreign and {name for code, name in read if code in own[name]} < judged:
        return f"No leak was found{some}."  # Another sentence says what is lost.
    if not foreign:
        known = "each factor judged is in a code that may contain it"
        return f"No leak was found{some}: {known}, and none clearly in one that should not."
    if not linear & set(foreign):
        return f"Hidden leak: only the non-linear probe predicts {pairs}."
    if len(judged) > 1 and {name for _, name in foreign} == judged:
        return f"Mixed (rotated){some}: each is in a code that should not contain it: {pairs}."
    return f"Leak: {pairs}."
