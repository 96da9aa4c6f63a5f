"""The verdict on codes: what predicts each factor, what leaks, and what two codes differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import binomtest
from unbraid.checks import to_index
from unbraid.measures import leakage
from unbraid.measures.intervals import ratio_limits
from unbraid.measures.leakage import POOLINGS, Factor

from unbraid_own.arrays import Arrays

FEWEST = 80  # sequences, or groups, for a verdict
SIGNIFICANCE = 0.01  # the chance that any cell of a matrix counts as read where none is
SURE = 0.05  # the same of the differences of two codes
SMALLEST_SKILL = 0.05  # of a leak, however small its p-value is
LARGE = 0.5  # of a leak that limits leave room for: then nothing is decided
FEWEST_PERMUTATIONS, MOST_PERMUTATIONS = 1999, 9999  # of the factors: for 20 cells, and for 100
FLIPS, DRAWS = 1999, 1000  # of signs behind a p-value, of test groups behind an interval
PROBES = ("linear", "nonlinear")
CURE = "a smaller code, or one that is shared by all steps, may lose it (notebook 42)"
ORDER = "are the rows of all files in one order (a loader that shuffles, a batch that is dropped)?"

Pair = tuple[str, str]  # a code and a factor
Cells = dict[str, dict[str, "Cell"]]  # by factor, by code


@dataclass(frozen=True)
class Cell:
    """The skill of the best probe of a code for a factor, or the difference of two such skills."""

    value: float
    low: float
    high: float
    is_sure: bool  # corrected for the number of cells
    row: str = ""  # of the matrix, with the pooling
    probe: str = ""

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


class Probes:
    """Probes of codes for factors, on one split of the rows.

    numbers: groups of the rows (N,). held_out: the test rows, a mask (N,). cells: by factor, by
    code. Codes of steps are pooled in every way, because their mean over time can hide what a step
    tells, and a step what all steps tell together.
    """

    def __init__(
        self, codes: Arrays, factors: Arrays, numbers: np.ndarray, held_out: np.ndarray, seed: int
    ):
        self.codes, self.held_out, self.seed = [*codes], held_out, seed
        self.rows, self.targets = leakage.parse_inputs(codes, factors, tuple(POOLINGS))
        self.tested = to_index("groups", numbers[held_out])
        size = len(factors) * len(self.rows)
        count = int(np.clip(size / SIGNIFICANCE, FEWEST_PERMUTATIONS, MOST_PERMUTATIONS))
        self.level = max(SIGNIFICANCE / size, 1 / (1 + count))
        options: dict[str, Any] = {"test": held_out, "groups": numbers, "permutations": count}
        options |= {"pooling": tuple(POOLINGS), "seed": seed}
        self.matrices = [
            leakage.leakage_matrix(codes, factors, probe=each, doubt=each == PROBES[0], **options)
            for each in PROBES
        ]
        self.cells: Cells = {}
        for name in factors:
            self.cells[name] = {code: max(self.list_cells(code, name), key=rank) for code in codes}

    def list_cells(self, code: str, name: str) -> list[Cell]:
        """What each probe reads of a factor, from a code in each way in which it is pooled."""
        found = []
        for matrix, row in product(self.matrices, self.rows):
            if code not in (row, row.rpartition(", ")[0]):
                continue
            at = matrix.rows.index(row), matrix.columns.index(name)
            value, (low, high) = float(matrix.value[at]), matrix.test_interval[at].tolist()
            is_sure = matrix.p_value[at] <= self.level and value >= SMALLEST_SKILL and low > 0
            found.append(Cell(value, low, high, bool(is_sure), row, matrix.probe))
        return found

    def find_losses(self, x: np.ndarray, name: str, probe: str) -> np.ndarray:
        """The losses on the test rows, by group, of a probe of inputs (N, S, p), and of none."""
        [(said, true, constant)] = leakage.fit_and_predict(
            x, [self.targets[name]], self.held_out, probe
        )
        losses = (leakage.mean_loss(each, true, self.targets[name]) for each in (said, constant))
        return np.stack([np.bincount(self.tested, weights=each) for each in losses])

    def exceed(self, code: str, name: str, inputs: np.ndarray) -> tuple[bool, float]:
        """Whether a code surely predicts a factor better than other inputs, and their skill."""
        cell = self.cells[name][code]
        both = [self.find_losses(inputs, name, probe) for probe in PROBES]
        losses, base = min(both, key=lambda pair: pair[0].sum())
        gains = losses - self.find_losses(self.rows[cell.row], name, cell.probe)[0]
        is_more = gains.sum() > 0 and flip_signs(gains[:, None])[0] <= SIGNIFICANCE
        return bool(is_more), 1 - losses.sum() / base.sum()

    def judge(self, code: str, name: str, own: Mapping[str, Sequence[str]]) -> tuple[str, str]:
        """What a code tells of a factor that it should not contain, "leak", "open" or "none"; why.

        None, if it is no more than what the factors tell that it should contain; open, if one step
        of a code that may contain the factor tells as much, for one frame may show it.
        """
        known = [other for other, places in own.items() if code in places]
        if known:
            inputs = np.hstack([as_inputs(self.targets[other]) for other in known])
            is_more, skill = self.exceed(code, name, inputs[:, None])
            if not is_more:
                return "none", f"what {' with '.join(known)} tells of it ({skill:.2f})"
        steps = [self.rows.get(f"{home}, frames") for home in own[name]]
        is_whole = f"{code}, frames" not in self.rows and self.targets[name].values.shape[1] == 1
        for frames in (each for each in steps if each is not None and is_whole):
            is_more, skill = self.exceed(code, name, frames)
            if not is_more:
                return "open", f"what one step tells ({skill:.2f})"
        return "leak", ""


def decide(
    probes: Probes, own: Mapping[str, Sequence[str]], count: int, unit: str
) -> tuple[list[str], list[Pair]]:
    """The verdict on so many sequences or groups, in sentences, and the leaks.

    own: by factor the codes that may hold it, none if unknown.
    """
    cells, codes = probes.cells, probes.codes
    read = [(code, name) for name, code in product(cells, codes) if cells[name][code].is_sure]
    if count < FEWEST:
        said = f"Cannot be concluded: {count} {unit} are too few; give {FEWEST} or more, better"
        return [f"{said} several hundred."], []
    if not read:
        said = "Nothing is found, and this may be the files' fault: no probe predicts any factor"
        return [f"{said} from any code; {ORDER} If they are, the codes are useless here."], []
    judged = [name for name in cells if own[name]]
    foreign = [(code, name) for name, code in product(judged, codes) if code not in own[name]]
    found = {pair: probes.judge(*pair, own) for pair in foreign if pair in read}
    leaks = [pair for pair, (kind, _) in found.items() if kind == "leak"]
    sentences = describe_leaks(probes, found, foreign) if judged else []
    if rest := [name for name in cells if name not in judged]:
        sentences += [list_contents(probes, code, rest) for code in codes]
        said = "Leaks are judged with --dynamic, between codes of steps and of whole sequences."
        sentences += [said] * (len(codes) > 1)
    known, telling = {name for _, name in read}, {code for code, _ in read}
    silent = [code for code in codes if judged and code not in telling]
    sentences += [f"No factor is clearly in {code}; {ORDER}" for code in silent]
    if lost := [name for name in judged if name not in known]:
        sentences.append(f"Lost: no probe surely predicts {', '.join(lost)}.")
    return sentences, leaks


def list_contents(probes: Probes, code: str, names: Sequence[str]) -> str:
    """What is in a code, of the factors whose place is not known, ranked."""
    cells = {name: probes.cells[name][code] for name in names}
    ranked = sorted(cells, key=lambda name: rank(cells[name]), reverse=True)
    listed = ", ".join(f"{name} {cells[name]}" for name in ranked if cells[name].is_sure)
    rest = ", ".join(name for name in ranked if not cells[name].is_sure)
    said = f"{code} contains {listed}" if listed else f"No factor is clearly in {code}"
    return f"{said}; not surely: {rest}." if listed and rest else f"{said}."


def describe_leaks(
    probes: Probes, found: Mapping[Pair, tuple[str, str]], foreign: Sequence[Pair]
) -> list[str]:
    """The verdict on the factors whose place is known; found: as `Probes.judge` says it."""
    texts: dict[str, list[str]] = {"leak": [], "open": [], "none": []}
    for (code, name), (kind, why) in found.items():
        more = f" is not surely more than {why}" * bool(why)
        texts[kind].append(f"{name} in {code} ({probes.cells[name][code]}){more}")
    leaks, opened, explained = (", ".join(each) for each in texts.values())
    sentences = [f"Leak: {leaks}; {CURE}."] * bool(leaks)
    sentences += [f"Leak, unless one frame shows it: {opened}."] * bool(opened)
    sentences += [f"No leak: {explained}."] * bool(explained)
    if sentences:
        return sentences
    code, name = max(foreign, key=lambda pair: probes.cells[pair[1]][pair[0]].high)
    room = probes.cells[name][code]
    if room.high > LARGE:
        said = "Undecided: no leak is sure, and the limits leave room for a large one"
        return [f"{said}, {name} in {code} ({room})."]
    said = f"No leak was found; the limits leave room for {room.high:.2f} at most"
    return [f"{said} ({name} in {code})."]


# ---- two codes


def compare_codes(first: Probes, second: Probes) -> Cells:
    """By factor and code of the same name: the skill of the first less that of the second.

    Both are read in the way, and by the probe, in which both together are read best, so that
    neither has the choice; limits are those of other test rows, or groups, for these probes.
    """
    pairs, gains, bases = [*product(first.cells, first.codes)], [], []
    for name, code in pairs:
        cells = zip(first.list_cells(code, name), second.list_cells(code, name), strict=True)
        best, _ = max(cells, key=lambda pair: pair[0].value + pair[1].value)
        both = [each.find_losses(each.rows[best.row], name, best.probe) for each in (first, second)]
        gains.append(both[1][0] - both[0][0])
        bases.append(both[0][1])
    sums, sizes = np.array(gains), np.array(bases)
    limits = ratio_limits(np.divide, sums, sizes, DRAWS, first.seed)
    # Where no test group differs, no draw can: the exact limit of a share of which none was seen.
    same, n = ~sums.any(1), sums.shape[1]
    room = (1 - binomtest(n, n).proportion_ci().low) / sizes[same].mean(1)
    limits[same] = np.stack([-room, room], 1)
    values, is_sure = sums.sum(1) / sizes.sum(1), flip_signs(sums.T) <= SURE
    table: Cells = {name: {} for name in first.cells}
    for (name, code), *cell in zip(pairs, values, *limits.T, is_sure, strict=True):
        table[name][code] = Cell(*(each.item() for each in cell))
    return table


def describe_differences(table: Cells, names: tuple[str, str]) -> str:
    """The verdict on two codes in a sentence."""
    listed = []
    for name, row in table.items():
        listed += [(each, f"{name} in {code} {each}") for code, each in row.items()]
    listed.sort(key=lambda pair: -abs(pair[0].value))
    if sure := [text for each, text in listed if each.is_sure]:
        return f"{names[0]} less {names[1]}: {', '.join(sure)}; no other difference is sure."
    said = f"Undecided between {names[0]} and {names[1]}: no difference is sure, the largest is"
    return f"{said} {listed[0][1]}."


def flip_signs(gains: np.ndarray) -> np.ndarray:
    """Two-sided p-values (cells,) of gains (n, cells) by group, corrected for their number.

    If neither side were ahead, the gain on each group would be as likely with the other sign: the
    p-value is the share of random signs of which the largest sum of all cells, each in its own
    deviations, is as large.
    """
    scaled = gains / np.maximum(np.sqrt(np.square(gains).sum(0)), 1e-300)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (FLIPS, len(gains)))
    largest = np.abs(signs @ scaled).max(1)
    reached = largest[:, None] >= (1 - 1e-9) * np.abs(scaled.sum(0))
    return (1 + reached.sum(0)) / (1 + FLIPS)


# ---- places


def rank(cell: Cell) -> tuple[bool, float]:
    """What orders cells: what is read surely comes before all else."""
    return cell.is_sure, cell.value


def assign_codes(
    codes: Arrays, factors: Arrays, dynamic: Sequence[str] | None
) -> dict[str, tuple[str, ...]]:
    """For each factor the codes that may hold it, of steps or of sequences; none if unknown."""
    fixed = {"static": False, "dynamic": True}  # Others are known by their axes.
    of_steps = tuple(name for name, code in codes.items() if fixed.get(name, code.ndim == 3))
    others = tuple(name for name in codes if name not in of_steps)
    own: dict[str, tuple[str, ...]] = dict.fromkeys(factors, ())
    for name, values in factors.items() if of_steps and others else ():
        if values.ndim == 2 or dynamic is not None:
            own[name] = of_steps if values.ndim == 2 or name in (dynamic or ()) else others
    return own


def as_inputs(target: Factor) -> np.ndarray:
    """A factor as the inputs of a probe (N, p), classes with a unit for each."""
    values = target.values
    units = np.eye(values.max() + 1)[values] if target.kind == "classes" else values
    return units.reshape(len(values), -1)
