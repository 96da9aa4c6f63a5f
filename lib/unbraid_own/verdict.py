"""The verdict on codes, one for both commands: what predicts each factor, beside its baselines.

A baseline is no code: the inputs that a code reads, the mean of the inputs, or the factors that a
code should contain, where others depend on them in the data. A code that predicts a factor no
better than such a baseline does not leak it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from unbraid.checks import to_index
from unbraid.measures import leakage
from unbraid.measures.leakage import POOLINGS, Factor, LeakageMatrix

from unbraid_own.arrays import Arrays
from unbraid_own.scores import as_classes, count_nats

FEWEST_SEQUENCES = 80  # or groups, for a verdict
TEST = 0.3  # of the rows, or of the groups
SIGNIFICANCE = 0.01  # the chance that any cell of a matrix counts as read where none is
HINT = 0.05  # the p-value up to which a linear probe may have read what another reads surely
SMALLEST_SKILL = 0.05  # of a leak, however small its p-value is
FEWEST_PERMUTATIONS = 1999  # of the factors: enough to correct for 20 cells
MOST_PERMUTATIONS = 9999  # enough for 100 cells; more would take much time and memory
FLIPS = 9999  # draws of signs behind a comparison
SHUFFLES = 999  # behind the bits that two factors share
INPUTS = re.compile(r"inputs(?:_(.+)_(frame|step|window)|_.+)?")  # arrays that are no codes
PROBES = ("linear", "nonlinear", "forest")  # that read a baseline
# As readable as a code is made by a network, inputs are to trees at best.
FOREST: dict[str, Any] = {"n_estimators": 100, "min_samples_leaf": 2, "random_state": 0}
leakage.PROBES["forest", "classes"] = lambda width: RandomForestClassifier(**FOREST)
leakage.PROBES["forest", "continuous"] = lambda width: RandomForestRegressor(**FOREST)

Pair = tuple[str, str]  # a code and a factor


@dataclass(frozen=True)
class Cell:
    """The best probe of a code, or of inputs, for a factor."""

    value: float
    low: float
    high: float
    is_read: bool  # surely, corrected for the number of cells, and above 0 within the limits
    row: str  # of the matrix, with the pooling
    probe: str

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Verdict:
    """What is concluded, in sentences, and what from."""

    findings: list[str]
    each: list[str]  # a sentence per factor
    leaks: list[Pair]
    cells: dict[str, dict[str, Cell]]  # by factor, by code or inputs


@dataclass
class Probes:
    """Probes of codes and of inputs for factors, on one split of the rows.

    own: by factor the codes that may hold it, none if unknown. numbers: groups of the rows (N,).
    """

    arrays: Arrays
    factors: Arrays
    own: Mapping[str, Collection[str]]
    numbers: np.ndarray
    seed: int
    matrices: list[LeakageMatrix] = field(init=False)  # linear, non-linear

    def __post_init__(self) -> None:
        # Codes of steps are pooled in every way, because their mean over time can hide what a step
        # tells, and a step what all steps tell together.
        poolings = tuple(POOLINGS)
        self.rows, self.targets = leakage.parse_inputs(self.arrays, self.factors, poolings)
        values = [target.values for target in self.targets.values()]
        random = np.random.default_rng(np.random.SeedSequence(self.seed).spawn(1)[0])
        self.held_out = leakage.held_out_mask(TEST, self.numbers, random, values)
        nothing = np.zeros((len(self.numbers), 1, 1))
        self.constants = {n: self.find_losses(nothing, n, PROBES[:1]) for n in self.factors}
        self.inputs = [name for name in self.arrays if INPUTS.fullmatch(name)]
        codes = {name: code for name, code in self.arrays.items() if name not in self.inputs}
        self.codes = [*codes]
        size = len(self.factors) * (len(self.rows) - len(self.inputs))  # cells of codes
        count = int(np.clip(size / SIGNIFICANCE, FEWEST_PERMUTATIONS, MOST_PERMUTATIONS))
        self.level = max(SIGNIFICANCE / size, 1 / (1 + count))
        options: dict[str, Any] = {"test": self.held_out, "groups": self.numbers}
        options |= {"pooling": poolings, "seed": self.seed, "permutations": count}
        read = partial(leakage.leakage_matrix, codes, self.factors, **options)
        # Each takes one thread, since those of small matrix products wait for each other.
        with ThreadPoolExecutor(2) as pool:
            tasks = [
                pool.submit(read, probe=probe, doubt=probe == "linear") for probe in PROBES[:2]
            ]
            self.matrices = [task.result() for task in tasks]
            names = [*itertools.product(self.factors, self.inputs)]
            tasks = [pool.submit(self.find_losses, self.rows[array], name) for name, array in names]
            self.losses = dict(zip(names, (task.result() for task in tasks), strict=True))
        self.cells: dict[str, dict[str, Cell]] = {name: {} for name in self.factors}
        for name, cells in self.cells.items():
            cells |= {code: self.find_best(code, name) for code in self.codes}
            cells |= {array: self.weigh(name, self.losses[name, array]) for array in self.inputs}

    def find_best(self, array: str, name: str) -> Cell:
        """The best probe of an array for a factor; one that reads surely before others."""
        found = []
        for matrix in self.matrices:
            column = matrix.columns.index(name)
            for row, of in enumerate(name_codes(matrix)):
                if of == array:
                    value, p_value = matrix.value[row, column], matrix.p_value[row, column]
                    low, high = map(float, matrix.test_interval[row, column])
                    is_read = bool(p_value <= self.level and value >= SMALLEST_SKILL and low > 0)
                    where = matrix.rows[row], matrix.probe
                    found.append(Cell(float(value), low, high, is_read, *where))
        return max(found, key=lambda cell: (cell.is_read, cell.value))

    def find_losses(self, x: np.ndarray, name: str, probes: Iterable[str] = PROBES) -> np.ndarray:
        """The losses (n,) on the test rows of the best of some probes of inputs (N, S, p)."""
        target, losses = self.targets[name], []
        for probe in probes:
            [(said, true, _)] = leakage.fit_and_predict(x, [target], self.held_out, probe)
            losses.append(leakage.mean_loss(said, true, target))
        return min(losses, key=np.sum)

    def compare(self, name: str, cell: Cell, losses: np.ndarray) -> tuple[str, float]:
        """Whether a code's probe does "better" or "worse" than losses (n,), or "as well"; and p.

        If neither were ahead, the gain on each group would be as likely with the other sign: the
        two-sided p-value is the share of random signs with a sum as large.
        """
        ours = self.find_losses(self.rows[cell.row], name, [cell.probe])
        groups = to_index("groups", self.numbers[self.held_out])
        gains = np.bincount(groups, weights=losses - ours)
        signs = np.random.default_rng(0).choice([-1, 1], (FLIPS, len(gains)))
        as_large = np.abs(signs @ gains) >= (1 - 1e-9) * abs(gains.sum())
        p_value = (1 + as_large.sum()) / (1 + FLIPS)
        word = "better" if gains.sum() > 0 else "worse"
        return (word if p_value <= HINT else "as well"), p_value

    def weigh(self, name: str, losses: np.ndarray) -> Cell:
        """The skill behind losses (n,) of a baseline, with its limits."""
        constant, groups = self.constants[name], to_index("groups", self.numbers[self.held_out])
        pair = np.stack([np.bincount(groups, weights=each) for each in (losses, constant)])
        loss, base = pair[:, None] / np.bincount(groups).mean()
        [[low, high]] = leakage.skill_limits(loss, base, self.seed).tolist()
        value = max(1 - losses.sum() / constant.sum(), -1.0)
        return Cell(float(value), low, high, False, "", PROBES[-1])

    def share_bits(self, first: str, second: str) -> tuple[float, float]:
        """The bits that two factors share in the data, less those of chance, and a p-value."""
        columns = [as_numbers(self.targets[name]) for name in (first, second)]
        steps = max(column.shape[1] for column in columns)
        one, other = (np.broadcast_to(each, (len(each), steps)) for each in columns)
        random, index = np.random.default_rng(0), to_index("groups", self.numbers)
        orders = (leakage.shuffle_groups(index, random) for _ in range(SHUFFLES))
        null = np.array([count_nats(one.ravel(), other[order].ravel()) for order in orders])
        nats = count_nats(one.ravel(), other.ravel())
        p_value = (1 + (null >= nats - 1e-12).sum()) / (1 + SHUFFLES)
        return float((nats - null.mean()) / np.log(2)), p_value

    def judge(self, code: str, name: str) -> tuple[str, str]:
        """What a code tells of a factor that it should not contain, "leak", "open" or "none"; why.

        It is open where nobody said what the code reads, and one step of a code that may contain
        the factor tells as much: then one frame may show it.
        """
        known, cell = {}, self.cells[name][code]
        for array in self.inputs:
            of, part = INPUTS.fullmatch(array).groups()  # type: ignore[union-attr]
            if of == code:
                known[f"the single {part} that it reads"] = self.rows[array]
        for other, places in self.own.items():
            if code in places and self.share_bits(name, other)[1] <= SIGNIFICANCE:
                known[other] = as_inputs(self.targets[other])
        if len(known) > 1:
            known[" and ".join(known)] = np.concatenate([*known.values()], 2)
        steps = [f"{home}, frames" for home in self.own[name] if f"{home}, frames" in self.rows]
        is_whole = f"{code}, frames" not in self.rows and self.targets[name].values.ndim == 2
        is_open = not known and is_whole and self.targets[name].values.shape[1] == 1
        if is_open:
            known = {f"one step of {row.partition(', ')[0]}": self.rows[row] for row in steps}
        losses = {said: self.find_losses(x, name) for said, x in known.items()}
        if not losses:
            return "leak", ""
        said = min(losses, key=lambda said: losses[said].sum())
        word, p_value = self.compare(name, cell, losses[said])
        shown = f"{said} ({self.weigh(name, losses[said]).value:.2f})"
        if word == "better" and p_value <= SIGNIFICANCE:
            return "leak", f", beyond {shown}"
        return "open" if is_open else "none", shown

    def describe(self, name: str, found: Mapping[Pair, tuple[str, str]]) -> str:
        """A sentence on a factor: what predicts it, the limits, the baselines, and the verdict."""
        cells, places = self.cells[name], self.own[name]
        if not places:
            known = ", ".join(f"{write(array)} {cell}" for array, cell in cells.items())
            return f"{name}: no verdict, as its place is not known ({known}; 0 is chance)."
        best = max(places, key=lambda code: (cells[code].is_read, cells[code].value))
        said = f"{name}: the {best} code predicts it ({cells[best]}; 0 is chance)"
        means = [array for array in self.inputs if not INPUTS.fullmatch(array)[1]]  # type: ignore
        if not cells[best].is_read:
            said = f"{name}: not surely in the {best} code ({cells[best]}; 0 is chance)"
        elif means:
            mean = max(means, key=lambda array: cells[array].value)
            word = self.compare(name, cells[best], self.losses[name, mean])[0]
            shown = f"({cells[best]} against {cells[mean].value:.2f}; 0 is chance)"
            said = f"{name}: the {best} code predicts it {word} than the {write(mean)} {shown}"
            if word == "as well":
                is_near = abs(cells[best].value - cells[mean].value) <= SMALLEST_SKILL
                how = "do equally well" if is_near else "do not surely differ"
                said = f"{name}: the {best} code and the {write(mean)} {how} {shown}"
        for (code, other), (kind, why) in found.items():
            if other == name:
                also = f"the {code} code predicts it, too ({cells[code]}"
                said += {
                    "leak": f"; {also}{why}): a leak",
                    "none": f"; {also}), but no better than {why}: this is no leak",
                    "open": f"; {also}), but no better than {why}: one frame may show it",
                }[kind]
        return f"{said}."


def decide(probes: Probes, count: int, unit: str) -> Verdict:
    """The verdict on so many sequences or groups."""
    cells, own, codes = probes.cells, probes.own, probes.codes
    read = {(c, name) for c, name in itertools.product(codes, cells) if cells[name][c].is_read}
    if count < FEWEST_SEQUENCES:
        rest = "" if read else " (no probe predicts anything so far)"
        said = f"Cannot be concluded: {count} {unit} are too few{rest}"
        said += f"; give {FEWEST_SEQUENCES} or more, better several hundred."
        return Verdict([said], [], [], cells)
    pairs = [(code, name) for name, code in itertools.product(cells, codes) if own[name]]
    foreign = [(code, name) for code, name in pairs if code not in own[name]]
    found = {pair: probes.judge(*pair) for pair in foreign if pair in read}
    each = [probes.describe(name, found) for name in cells]
    names = [name for name in cells if own[name]]
    for first, second in itertools.combinations(names, 2):
        if set(own[first]).isdisjoint(own[second]):
            bits, p_value = probes.share_bits(first, second)
            if p_value <= SIGNIFICANCE:
                said = f"{first} and {second} depend on each other in these data ({bits:.2f} bits)"
                each.append(f"{said}: a code that contains one predicts the other.")
    leaks = [pair for pair, (kind, _) in found.items() if kind == "leak"]
    if not read:
        sentences = ["Useless: no probe predicts any factor from any code."]
    else:
        sentences = describe_codes(probes, found, read)
    return Verdict(sentences, each, leaks, cells)


def describe_codes(
    probes: Probes, found: Mapping[Pair, tuple[str, str]], read: set[Pair]
) -> list[str]:
    """The verdict where something is read; found: as `Probes.judge` says it."""
    own, codes, supposed = probes.own, probes.codes, suppose(probes)
    telling, known = {code for code, _ in read}, {name for _, name in read}
    quiet = [code for code in codes if code not in telling]
    # Nothing is read from these, nor from others that may hold the same factors.
    groups = [place for place in own.values() if place]
    groups = groups or [(code,) for code in codes if not supposed]
    unused = set().union(*(group for group in groups if telling.isdisjoint(group)))
    silent = [code for code in codes if code in unused]
    sentences = []
    if silent:
        rest = ", ".join(code for code in codes if code not in quiet)
        said = f"Collapsed: of the factors none is in {', '.join(silent)}; they are in {rest}."
        sentences.append(said)
    elif any(own.values()):
        sentences += describe_leaks(probes, found, read)
    sentences += [supposed] * bool(supposed)
    if quiet and not silent:
        sentences.append(f"No factor is clearly in {', '.join(quiet)}.")
    if lost := [name for name in own if name not in known]:
        shown = {n for n, c in itertools.product(lost, probes.inputs) if probes.cells[n][c].low > 0}
        if unseen := [name for name in lost if probes.inputs and name not in shown]:
            said = "no probe surely predicts it from a code, nor from the inputs"
            sentences.append(f"Undecided: {', '.join(unseen)}; {said}.")
        if lost := [name for name in lost if name not in unseen]:
            sentences.append(f"Lost: no probe surely predicts {', '.join(lost)}.")
    if not (supposed or any(own.values())):
        sentences.append(
            "Which code should contain which factor is not known: name one static, or give it the "
            "shape (N, D), and name the other one dynamic, or give it the shape (N, T, d)."
        )
    return sentences


def describe_leaks(
    probes: Probes, found: Mapping[Pair, tuple[str, str]], read: set[Pair]
) -> list[str]:
    """The verdict on the factors whose place is known."""
    own, texts = probes.own, {}
    for kind in ("leak", "open", "none"):
        pairs = [(code, name) for (code, name), (is_, _) in found.items() if is_ == kind]
        texts[kind] = ", ".join(f"{n} in {code} ({probes.cells[n][code]})" for code, n in pairs)
    leaks = {pair for pair, (kind, _) in found.items() if kind == "leak"}
    judged = {name for name, places in own.items() if places}
    some = f" for {', '.join(sorted(judged))}" if len(judged) < len(own) else ""
    rest = [f"Leak, unless one frame shows it: {texts['open']}."] * bool(texts["open"])
    if leaks and not clear_pairs(probes.matrices[0], HINT) & leaks:
        return [f"Hidden leak: only the non-linear probe predicts {texts['leak']}.", *rest]
    if len(judged) > 1 and {name for _, name in leaks} == judged:
        said = f"Mixed (rotated){some}: each is in a code that should not contain it"
        return [f"{said}: {texts['leak']}.", *rest]
    if leaks:
        return [f"Leak: {texts['leak']}.", *rest]
    if rest:
        return rest
    if texts["none"]:
        said = ", ".join(f"{n} in {c} is no more than {why}" for (c, n), (_, why) in found.items())
        return [f"No leak was found{some}: {said}."]
    if judged - {name for code, name in read if code in own[name]}:
        return [f"No leak was found{some}."]  # Another sentence says what is lost.
    known = "each factor judged is in a code that may contain it"
    return [f"No leak was found{some}: {known}, and none clearly in one that should not."]


def suppose(probes: Probes) -> str:
    """Which factors get no verdict, and which of them codes of steps tell best; "" for none."""
    of_steps = assign_codes(probes.arrays, probes.factors, [*probes.own])
    unknown = [name for name in probes.own if of_steps[name] and not probes.own[name]]
    moving = []
    for name in unknown:
        best = max(probes.codes, key=lambda code: probes.cells[name][code].value)
        moving += [name] * (best in of_steps[name])
    option = ",".join(moving) or "''"
    said = f"No verdict on {', '.join(unknown)}: it is not said which factors belong to the motion"
    return (
        f"{said} (if {' and '.join(moving) or 'none'}, then --dynamic {option})." if unknown else ""
    )


def assign_codes(
    arrays: Mapping[str, Any], factors: Mapping[str, Any], dynamic: Sequence[str] | None
) -> dict[str, tuple[str, ...]]:
    """For each factor the codes that may hold it, of steps or of sequences; none if unknown."""
    codes = {name: code for name, code in arrays.items() if not INPUTS.fullmatch(name)}
    fixed = {"static": False, "dynamic": True}  # Others are known by their axes.
    of_steps = [name for name, code in codes.items() if fixed.get(name, code.ndim == 3)]
    of_sequences = [name for name in codes if name not in of_steps]
    own: dict[str, tuple[str, ...]] = dict.fromkeys(factors, ())
    for name, values in factors.items() if of_steps and of_sequences else ():
        if values.ndim == 2 or dynamic is not None:
            is_moving = values.ndim == 2 or name in (dynamic or ())
            own[name] = tuple(of_steps if is_moving else of_sequences)
    return own


def name_codes(matrix: LeakageMatrix) -> list[str]:
    """The code of each row of a matrix, without the way in which it is pooled."""
    return [re.sub(rf", ({'|'.join(POOLINGS)})$", "", row) for row in matrix.rows]


def clear_pairs(matrix: LeakageMatrix, level: float) -> set[Pair]:
    """The (code, factor) that a probe reads with a p-value of at most `level`, and not weakly."""
    clear = (matrix.p_value <= level) & (matrix.value >= SMALLEST_SKILL)
    names = name_codes(matrix)
    return {(names[row], matrix.columns[column]) for row, column in np.argwhere(clear)}


def as_numbers(target: Factor) -> np.ndarray:
    """A factor (N,) or (N, T) as class numbers (N, 1) or (N, T)."""
    return as_classes(target.values.ravel()).reshape(len(target.values), -1)


def as_inputs(target: Factor) -> np.ndarray:
    """A factor as the inputs of a probe (N, 1, p), classes with a unit for each."""
    values = target.values
    units = np.eye(values.max() + 1)[values] if target.kind == "classes" else values
    return units.reshape(len(values), 1, -1)


def write(array: str) -> str:
    """What a code, or an array of inputs, is called in a sentence or above a column."""
    found = INPUTS.fullmatch(array)
    if found and found[1]:
        return f"single {found[2]} that {found[1]} reads"
    return "mean of the inputs" if found else array
