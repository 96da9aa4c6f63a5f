"""Is my model disentangled? All measures of the course on anybody's codes, in words and figures.

`measure` needs codes and known factors, and no model. Its report shows itself as a table, as JSON
and as one HTML page.
"""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits
from unbraid.checks import (
    check_field,
    check_function,
    check_seed,
    check_type,
    number_groups,
    to_index,
)
from unbraid.measures import doubts as about
from unbraid.measures.information import kraskov, ross
from unbraid.measures.leakage import LeakageMatrix, shuffle_groups
from unbraid.support.readable import Readable

from unbraid_own.arrays import LARGEST_SEED, MADE_BY, Arrays, Named, check_inputs
from unbraid_own.disentanglement import draw_rows, ross_all, scores
from unbraid_own.verdict import INPUTS, Probes, Verdict, assign_codes, decide, write

INFORMATION_ROWS = 1000  # at most, since neighbours among many units are slow to find
SHUFFLED_ROWS = 2000  # at most behind a score of shuffled factors
FEWER_TREES = 8  # of their forests, where a small number is all that is asked for
MOST_CLASSES = 20  # of whole numbers: more may be measured
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

Bits = dict[str, dict[str, tuple[float, float]]]  # by code, factor: bits, and most if shuffled
Pair = dict[str, tuple[float, float]]  # by score: its value, and with shuffled factors; or NaN


@dataclass(frozen=True, eq=False, repr=False)
class Report(Readable):
    """What `measure` has found."""

    rows: tuple[int, int]  # sequences that are measured, and how many of them are predicted
    count: int  # of what is independent
    unit: str  # of which these are: "sequences", "different sequences" or "groups"
    kinds: dict[str, str]  # by factor: "4 classes" or "continuous"
    constants: dict[str, float]  # by factor: accuracy of the best constant; NaN if continuous
    own: dict[str, tuple[str, ...]]  # by factor: the codes that may hold it; none if unknown
    linear: LeakageMatrix
    nonlinear: LeakageMatrix
    verdict: Verdict
    doubts: list[str]  # on rows, on estimates of information, on the kinds of factors
    bits: Bits = field(default_factory=dict)
    by_code: Pair = field(default_factory=dict)
    by_unit: Pair = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)  # of the command

    @property
    def findings(self) -> tuple[str, ...]:
        """The verdict in sentences, then one per factor."""
        return (*self.verdict.findings, *self.verdict.each)

    @property
    def sample(self) -> str:
        """Which rows the verdict is about."""
        rows, tested = self.rows
        groups = f" in {self.count} groups" if self.unit == "groups" else ""
        known = f"{rows} {self.unit if not groups else 'sequences'}{groups}"
        return f"Sample: {known}; probes learn from {rows - tested} and are tested on {tested}."

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
        for name in next(iter(self.bits.values()), ()):
            pairs = [cells[name] for cells in self.bits.values()]
            rows.append((name, *(f"{bits:.2f} (shuffled {null:.2f})" for bits, null in pairs)))
        return rows

    def score_table(self) -> list[tuple[str, ...]]:
        """A row for each score, of codes and of units."""
        each = ("by code", "shuffled", "by unit", "shuffled")
        rows: list[tuple[str, ...]] = [("score", *each, "meaning")]
        for name in self.by_code:
            meaning, values = MEANING[name][0], (*self.by_code[name], *self.by_unit[name])
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
            if name in found and np.isnan(found[name][0])
            if not (kind == "code" and name in OF_UNITS)
        ]

    def table(self) -> list[tuple[str, ...]]:
        """The verdict, a row for each code and factor, and a row for each score."""
        return [*self.verdict_table(), *self.rest_table()]

    def verdict_table(self) -> list[tuple[str, ...]]:
        """The verdict, and what probes read, which it follows from."""
        rows: list[tuple[str, ...]] = [("found", sentence) for sentence in self.findings]
        rows += [("sample", self.sample.partition(": ")[2]), *self.factor_table()]
        rows.append(("Skills of probes: 0 is chance, 1 is perfect.",))
        return [*rows, *self.linear.table(), *self.nonlinear.table()]

    def rest_table(self) -> list[tuple[str, ...]]:
        """What takes longer: bits, scores, and the doubts."""
        rows = self.information_table()
        rows += [row[:-1] for row in self.score_table()]  # The page alone says what they mean.
        return [*rows, *(("doubt", doubt) for doubt in self.doubts)]

    def as_json(self) -> str:
        """Everything, as JSON; NaN becomes null."""
        known = {"made_by": MADE_BY, "findings": self.findings} | asdict(self)
        text = json.dumps(known, default=lambda value: value.tolist())
        without_nan = json.loads(text, parse_constant=lambda _: None)
        return json.dumps(without_nan, indent=1, ensure_ascii=False)

    def as_html(self) -> str:
        """One page with figures, which needs no other file."""
        from unbraid_own import pages  # imported lazily, because figures need matplotlib

        shown = {"made_by": MADE_BY, "rows": SHUFFLED_ROWS, "write": write}
        return pages.render("measure.html.j2", report=self, **shown)


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
    if on_verdict is not None:
        check_function("report", on_verdict=on_verdict)
    report, flat, still, numbers = judge(codes, factors, dynamic=dynamic, groups=groups, seed=seed)
    if on_verdict:
        on_verdict(report)
    if not still:
        return report
    given = None if groups is None else numbers
    with warnings.catch_warnings(), threadpool_limits(1), ThreadPoolExecutor(2) as pool:
        warnings.simplefilter("ignore", UserWarning)  # They are said as doubts.
        scored = pool.submit(score, flat, still, numbers, seed)
        bits, of_bits = pool.submit(estimate_information, flat, still, seed, given).result()
        by_code, by_unit, lacking = scored.result()
    doubts = [*report.doubts, *lacking, *of_bits]
    return replace(report, bits=bits, doubts=doubts, by_code=by_code, by_unit=by_unit)


def judge(
    codes: Named,
    factors: Named,
    *,
    dynamic: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> tuple[Report, Arrays, Arrays, np.ndarray]:
    """The report with the verdict, and without bits and scores; see `measure`.

    Also what these are measured from: codes (N, D), factors (N,), and the groups of the rows.
    """
    check_seed(seed, LARGEST_SEED)
    check_type((Iterable, type(None)), dynamic=dynamic)
    arrays, known = check_inputs(codes, factors, dynamic, groups)
    own = assign_codes(arrays, known, dynamic)
    inputs = {name: code for name, code in arrays.items() if INPUTS.fullmatch(name)}
    check_field(len(inputs) < len(arrays), "codes", "a code beside the inputs", [*arrays])
    for name, values in inputs.items():
        check_field(values.ndim == 2, f"code {name!r}", "inputs (N, P)", values.shape)
    made = {name: code for name, code in arrays.items() if name not in inputs}
    doubts = about.doubt_index(made)
    for name, code in made.items():
        ends = about.doubt_padding(code if code.ndim == 3 else [], "Cut all to one length")
        doubts += [f"{name}: {each}" for each in ends]
    unit = "sequences" if groups is None else "groups"
    is_copy = find_copies(arrays, known) if groups is None else np.zeros(0, bool)
    if is_copy.any():
        unit = "different sequences"
        copies = f"{is_copy.sum()} of {len(is_copy)} rows are exact copies of others, in codes and"
        remedy = "each is taken once (if they are sequences of their own, name groups)"
        doubts.append(f"{copies} factors: {remedy}")
        arrays = {name: code[~is_copy] for name, code in arrays.items()}
        known = {name: values[~is_copy] for name, values in known.items()}
        check_inputs(arrays, known, dynamic)
    numbers = number_groups("groups", groups, len(next(iter(arrays.values()))))
    kinds, constants = {}, {}
    for name, values in known.items():
        kinds[name], constants[name], said = describe_factor(name, values)
        is_matrix = values.ndim == 2 and all(code.ndim == 2 for code in arrays.values())
        doubts += [*said, *([about.doubt_matrix(name, values)] if is_matrix else [])]
    count = int(numbers.max()) + 1
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", UserWarning)  # They are said as doubts.
        probes = Probes(arrays, known, own, numbers, seed)
        verdict = decide(probes, count, unit)
    rows = len(numbers), int(probes.held_out.sum())
    linear, nonlinear = probes.matrices
    doubts += linear.doubts
    report = Report(rows, count, unit, kinds, constants, own, linear, nonlinear, verdict, doubts)
    flat = {name: arrays[name] for name in arrays if name not in inputs}
    flat = {name: code if code.ndim == 2 else code.mean(1) for name, code in flat.items()}
    still = {name: values for name, values in known.items() if values.ndim == 1}
    return report, flat, still, numbers


def describe_factor(name: str, values: np.ndarray) -> tuple[str, float, list[str]]:
    """The kind of a factor in words, the share of its most frequent class, and doubts."""
    doubts = about.doubt_factor(name, values)
    if values.dtype.kind == "f":
        is_odd = any(about.WHOLE in doubt for doubt in doubts)
        return "continuous" + ", or classes?" * is_odd, float("nan"), doubts
    classes, sizes = np.unique(values, return_counts=True)
    is_many = len(classes) > MOST_CLASSES and values.dtype.kind in "iu"
    found, share = f"{name}: its {len(classes)} whole", float(sizes.max() / values.size)
    doubt = f"{found} numbers are read as classes; write them with a decimal point if measured"
    return f"{len(classes)} classes", share, [*[doubt] * is_many, *doubts]


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
    rows = draw_rows([*factors.values()], INFORMATION_ROWS, order)
    if groups is not None and len(np.unique(groups)) < len(groups):
        rows = order[np.sort(np.unique(groups[order], return_index=True)[1])]
    for name, code in codes.items():
        code, bits[name] = code[rows][:, np.ptp(code[rows], axis=0) > 0], {}
        for factor, values in factors.items():
            bits[name][factor], doubts = estimate_cell(code, values[rows], random)
            for doubt in doubts:
                said.setdefault(f"bits of {name}: {doubt}", []).append(factor)
    texts = (text.replace(": ", f" and {', '.join(names)}: ", 1) for text, names in said.items())
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
    # Of a factor of few whole values it was said already, by its name.
    return (found.estimate, max(null)), tuple(d for d in found.doubts if "y: its" not in d)


def score(
    codes: Arrays, factors: Arrays, groups: np.ndarray, seed: int
) -> tuple[Pair, Pair, list[str]]:
    """All scores, by code and by unit, beside those of shuffled factors; and doubts."""
    random = np.random.default_rng(seed)
    rows = draw_rows([*factors.values()], SHUFFLED_ROWS, random.permutation(len(groups)))
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
