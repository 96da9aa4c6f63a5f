"""What is in a code? All measures of the course on anybody's codes, in words and figures.

`measure` needs codes and known factors, and no model; of two codes it says what differs. Its report
shows itself as a few lines, as JSON and as one HTML page.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits
from unbraid.checks import check_field, check_seed, to_index
from unbraid.figures import plots
from unbraid.measures import doubts as about
from unbraid.measures.calibration import Calibration, calibrate, probe_bits
from unbraid.measures.information import kraskov_bits, prepare, ross_bits
from unbraid.measures.leakage import held_out_mask
from unbraid.measures.reduction import MOST_UNITS, STEPS_READ, reduce_units, summarise_steps

from unbraid_own import pages, scores, suspicion, verdict
from unbraid_own.arrays import Arrays, Inputs, Named, check_inputs

MADE_BY = "unbraid measure"  # what files of this command say of themselves
LARGEST_SEED = 2**32 - 1  # of scikit-learn
SHARES = {"training": 0.7, "test": 0.3}  # of the rows, or of the groups
MOST_LINES = 12  # on a terminal
INFORMATION_ROWS = 1000  # at most, since neighbours among many units are slow to find
NULLS = 10  # estimates with a factor shuffled
MOST_COMPONENTS = 32  # of a code whose neighbours are counted
FEWEST_ALIKE = 10  # rows of the largest class, where bits are calibrated
CALIBRATION_DRAWS = 2  # of each amount that is planted
UNITS_SHOWN = 3  # of each factor
DCI = ("disentanglement", "completeness", "informativeness")

Rows = list[tuple[str, ...]]  # of a table


@dataclass(frozen=True, eq=False)
class Report:
    """What `measure` has found."""

    findings: list[str]  # what is wrong with the files, then the verdict
    sample: str
    independent: int  # sequences, or groups
    own: dict[str, tuple[str, ...]]  # by factor: the codes that may hold it; none if unknown
    leaks: list[verdict.Pair]
    doubts: list[str]
    factors: Rows  # a row per factor: its kind, and where it should be
    probes: verdict.Probes
    bits: dict[str, dict[str, str]]  # by code, by factor
    calibrations: dict[str, tuple[str, float, Calibration] | None]  # by code: a factor, its reading
    units: Rows  # a row per factor: the units that tell most of it, and MIG
    dci: dict[str, float]
    second: Report | None = None
    differences: verdict.Cells = field(default_factory=dict)
    made: str = ""  # when and by which command

    def lines(self, page: object) -> list[str]:
        """What a terminal shows, in at most twelve lines."""
        rows = [("0 chance, 1 perfect", *self.probes.codes)]
        for name, cells in self.probes.cells.items():
            rows.append((name, *(f"{cell}{'*' * cell.is_sure}" for cell in cells.values())))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        said = self.findings[: MOST_LINES // 2]
        room = MOST_LINES - len(said) - 1
        if len(table) > room:
            table[room - 1 :] = [f"... {len(table) - room + 1} factors more"]
        return [*said, *table, f"The page has the rest: {page}"]

    def as_json(self) -> str:
        """Everything, as JSON; NaN becomes null."""
        text = json.dumps({"made_by": MADE_BY} | as_plain(self), default=as_plain)
        without_nan = json.loads(text, parse_constant=lambda _: None)
        return json.dumps(without_nan, indent=1, ensure_ascii=False)

    def as_html(self, title: str = "What is in the code?", top: str = "", bottom: str = "") -> str:
        """One page with figures, which needs no other file.

        top: Markup above the matrix; bottom: below all folds.
        """
        figures = {c: draw_calibration(*each) for c, each in self.calibrations.items() if each}
        shown: dict[str, Any] = {"title": title, "top": top, "bottom": bottom, "made_by": MADE_BY}
        shown |= {"steps_read": STEPS_READ, "calibrations": figures}
        return pages.render("measure.html.j2", report=self, **shown)


def as_plain(value: Any) -> Any:
    """What JSON has, of an array or a dataclass; of probes what they read."""
    if isinstance(value, verdict.Probes):
        return {"cells": value.cells, "matrices": value.matrices}
    if is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    return value.tolist()


@threadpool_limits.wrap(limits=1)
def measure(
    codes: Named,
    factors: Named,
    *,
    other: Named | None = None,
    dynamic: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    names: tuple[str, str] = ("the first code", "the second"),
    seed: int = 0,
) -> Report:
    """Measure named codes against known factors, and compare them with those of another encoder.

    codes, other: name -> (N, D), one a sequence, or (N, T, d), one a step.
    factors: name -> (N,), or (N, T) of the steps; integers, booleans and strings are classes,
        floats are continuous.
    dynamic: the factors that codes of steps should hold, and others should not; () for none. By
        default no leak of factors (N,) is judged. Factors (N, T) are dynamic without being named.
    groups: (N,), such as the person of each sequence: a split keeps a group together, limits are
        those of other groups, and whole groups are shuffled. Groups of one row each say that rows
        are independent; without any, copies are looked for and kept together.
    names: of both codes, in sentences.

    Raises ValueError, with its name, for an array that cannot be measured, and for a factor that
    looks like a group while none is given.
    """
    check_seed(seed, LARGEST_SEED)
    inputs = check_inputs(codes, factors, dynamic, groups)
    if inputs.groups is None:
        suspicion.refuse_group(inputs.given)
    suspicions, inputs = suspicion.suspect(inputs)
    held_out, uneven = draw_test(inputs, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # They are said as doubts.
        report = read(inputs, dynamic, held_out, seed)
        suspicions += uneven
        if other is None:
            return replace(report, findings=suspicions + report.findings)
        rival = replace(inputs, codes=check_inputs(match(other, inputs.codes), factors).codes)
        second = read(rival, dynamic, held_out, seed)
    differences = verdict.compare_codes(report.probes, second.probes)
    findings = list(suspicions)
    if report.independent >= verdict.FEWEST:
        findings.append(verdict.describe_differences(differences, names))
    for name, each in zip(names, (report, second), strict=True):
        findings += [f"{name}: {said}" for said in each.findings]
    return replace(report, findings=findings, second=second, differences=differences)


def match(other: Named, codes: Arrays) -> Named:
    """The codes of a second encoder under the names of the first; a single one may have its own."""
    if len(other) == len(codes) == 1:
        other = dict(zip(codes, other.values(), strict=True))
    axes = {name: code.ndim for name, code in codes.items()}
    found = {name: np.ndim(code) for name, code in other.items()}
    check_field(found == axes, "other codes", f"names and axes {axes}", found)
    return {name: other[name] for name in codes}


def draw_test(inputs: Inputs, seed: int) -> tuple[np.ndarray, list[str]]:
    """The rows (N,) that probes are tested on, and what is wrong with such a split."""
    values = [as_numbers(each) for each in inputs.factors.values()]
    rows = np.arange(len(values[0]))
    if inputs.groups is None:
        random = np.random.default_rng(seed)
        return held_out_mask(SHARES["test"], rows, random, values), []
    parts = suspicion.draw_parts(SHARES, values, inputs.groups, seed)
    return np.isin(rows, parts["test"]), suspicion.doubt_parts(parts, SHARES)


def as_numbers(values: np.ndarray) -> np.ndarray:
    """Floats as they are, classes as their numbers."""
    return values if values.dtype.kind == "f" else to_index("factor", values).reshape(values.shape)


def read(inputs: Inputs, dynamic: Sequence[str] | None, held_out: np.ndarray, seed: int) -> Report:
    """The report on one set of codes, on one split of the rows."""
    codes, factors, doubts = {}, inputs.factors, about.doubt_index(inputs.codes)
    for name, code in inputs.codes.items():
        codes[name], share = reduce_units(code, ~held_out, seed=seed)
        if share < 1:
            says = f"{name}: of its {code.shape[-1]} units {MOST_UNITS} components are read"
            doubts.append(f"{says}, fitted on training rows ({share:.0%} of the variance)")
    own, count = verdict.assign_codes(codes, factors, dynamic), len(held_out)
    numbers = np.arange(count) if inputs.groups is None else inputs.groups
    probes = verdict.Probes(codes, factors, numbers, held_out, seed)
    independent, unit = int(numbers.max()) + 1, "sequences" if inputs.groups is None else "groups"
    findings, leaks = verdict.decide(probes, own, independent, unit)
    doubts += probes.matrices[0].doubts
    table: Rows = [("factor", "kind", "should be in")]
    for name, values in factors.items():
        doubts += about.doubt_factor(name, values)
        kinds = len(np.unique(values))
        kind = "measured" if values.dtype.kind == "f" else f"{kinds} classes"
        table.append((name, kind, " or ".join(own[name]) or "?"))

    still = {name: values for name, values in factors.items() if values.ndim == 1}
    flat = {name: summarise_steps(code) for name, code in codes.items()}
    rows, bits, calibrations = draw_rows(inputs.groups, count, seed), {}, {}
    known = {name: values[rows] for name, values in still.items()}
    for name, x in flat.items():
        varying = x[rows][:, np.ptp(x[rows], axis=0) > 0]
        if varying.size and known and independent >= verdict.FEWEST:
            least = {factor: probes.cells[factor][name].value for factor in known}
            x = reduce_units(varying, most=MOST_COMPONENTS).code
            x = x / x.std(axis=0)  # Which units are active is a matter of no scale.
            bits[name], calibrations[name] = measure_bits(x, known, least, seed)
    units, dci = tabulate_units(flat, still, held_out, seed)
    groups = f" in {independent} groups" * (unit == "groups")
    sample = f"{count} sequences{groups}, {held_out.sum()} of which are for tests."
    lists = findings, sample, independent, own, leaks, doubts, table
    return Report(*lists, probes, bits, calibrations, units, dci)


# ---- bits


def draw_rows(groups: np.ndarray | None, count: int, seed: int) -> np.ndarray:
    """Some rows, or one of each group, whose neighbours are counted."""
    order = np.random.default_rng(seed).permutation(count)
    if groups is not None:
        order = order[np.sort(np.unique(groups[order], return_index=True)[1])]
    return order[:INFORMATION_ROWS]


def read_bits(code: np.ndarray, *columns: np.ndarray) -> list[float]:
    """Bits between a code (N, D) and factors (N,) of one kind, by nearest neighbours."""
    noise = np.random.default_rng(0)
    x = prepare(code, 1e-10, noise, raw=False)
    if columns[0].dtype.kind == "f":
        return [kraskov_bits(x, prepare(y[:, None], 1e-10, noise, raw=False), 3) for y in columns]
    return ross_bits(x, [to_index("factor", y) for y in columns], 3)


def measure_bits(
    code: np.ndarray, factors: Arrays, least: dict[str, float], seed: int
) -> tuple[dict[str, str], tuple[str, float, Calibration] | None]:
    """Of each factor (N,) the bits in a code (N, D), and the most if it is shuffled.

    least: by factor how well it is predicted. For the classes of which that is least, with a
    probe's lower bound, the second is their name, their reading, and its calibration.
    """
    random, texts = np.random.default_rng(seed), {}
    for name, values in factors.items():
        orders = (random.permutation(len(values)) for _ in range(NULLS))
        bits, *null = read_bits(code, values, *(values[order] for order in orders))
        texts[name] = f"{bits:.2f} (shuffled {max(null):.2f})"
    classes = [name for name, values in factors.items() if values.dtype.kind != "f"]
    classes = [name for name in classes if max(Counter(factors[name]).values()) >= FEWEST_ALIKE]
    if not classes or code.shape[1] < 2:  # A product needs two units.
        return texts, None
    name = min(classes, key=least.__getitem__)

    def read_one(x: np.ndarray, y: np.ndarray) -> float:
        return read_bits(x, y)[0]

    bound = probe_bits(code, factors[name], seed=seed)
    texts[name] += f", a probe reads {bound.mean:.2f} [{bound.low:.2f}, {bound.high:.2f}]"
    curves = calibrate(code, factors[name], read_one, draws=CALIBRATION_DRAWS, seed=seed)
    return texts, (name, read_one(code, factors[name]), curves)


@pages.course_style()
def draw_calibration(
    name: str, reading: float, curves: Calibration
) -> tuple[pages.Picture, list[str]]:
    """Bits read over bits planted, and what the reading may stand for in each form."""
    figure = Figure(figsize=(5.6, 4), layout="constrained")
    plots.calibration(curves, reading, figure.subplots())
    alt = f"Bits read over bits planted, in {len(curves.curves)} forms, and those of the real code"
    return pages.draw(figure, alt), [f"{name}, {said}" for said in curves.say(reading)]


# ---- units


def tabulate_units(
    codes: Arrays, factors: Arrays, held_out: np.ndarray, seed: int
) -> tuple[Rows, dict[str, float]]:
    """A row per factor: the units that tell most of it, and MIG; and DCI of all units."""
    if not factors or not codes:
        return [], {}
    names = []
    for name, code in codes.items():
        names += [f"{name} {unit}" for unit in range(code.shape[1])]
    units, columns = np.hstack([*codes.values()]), [as_numbers(each) for each in factors.values()]
    shares, gaps = scores.map_units(units, columns)
    rows: Rows = [("factor", "units that tell most of it, and the share of its entropy", "MIG")]
    for name, share, gap in zip(factors, shares.T, gaps, strict=True):
        best = np.argsort(-share)[:UNITS_SHOWN]
        listed = ", ".join(f"{names[unit]} ({share[unit]:.2f})" for unit in best)
        rows.append((name, listed, f"{gap:.2f}"))
    importance, skills = scores.importances(units, columns, held_out, seed)
    both = [scores.disentanglement(each) for each in (importance, importance.T)]
    return rows, dict(zip(DCI, (*both, float(skills.mean())), strict=True))
