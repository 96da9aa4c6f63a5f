"""What the codes of own data tell of the labels, next to linear models of the same inputs.

Differences are judged over the groups that the split keeps together, such as films; where these
are too few, nothing is concluded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor
from unbraid.checks import to_index
from unbraid.codes import concatenate
from unbraid.data.sequences import Sequences
from unbraid.measures import leakage
from unbraid.models.base import Batch
from unbraid.models.single_element import SingleElement

from unbraid_extras import measure
from unbraid_extras.arrays import Arrays
from unbraid_extras.own_data import FEWEST_TESTED
from unbraid_extras.own_page import Page, average

SIGNIFICANCE = 0.05  # the largest p-value of a difference that is called clear
FLIPS = 9999  # draws of signs behind a p-value
SIDE = 16  # pixels to which frames are averaged for linear models, each way

# Rows of linear models of inputs.
ANCHOR_INPUTS = "inputs that static reads"
MEAN_INPUTS = "inputs, mean over time"
STEP_INPUTS = "inputs at the step"


@dataclass(frozen=True, eq=False)
class Probed:
    """Skills of codes and of inputs, and by label the losses on each test sequence behind them."""

    matrix: leakage.LeakageMatrix
    losses: dict[str, np.ndarray]  # (rows of the matrix, n)
    constant: dict[str, np.ndarray]  # (n,), of the best constant


@dataclass(frozen=True)
class Comparison:
    """Whether the best of some probes is ahead of the best of others."""

    word: str  # "more", "less" or "open"
    p_value: float  # of no difference, two-sided
    count: int  # of the groups behind it


# ---- probes


def find_obstacle(page: Page, name: str) -> str:
    """Why nothing can be said of a label; "" if something can."""
    train, test = page.parts["train"].labels[name], page.test.labels[name]
    if name in page.test.dynamic:
        train, test = train[:, page.common], test[:, page.common]
    if min(len(train.unique()), len(test.unique())) < 2:
        return "it has one value or none in the training or in the test split"
    if name in page.test.dynamic and bool((test == test[:1]).all()):
        return "all test sequences have the same values at each step"
    if name not in page.test.classes:
        return ""
    missing = sorted(set(test.unique().tolist()) - set(train.unique().tolist()))
    if missing:
        names = [page.test.classes[name][number] for number in missing[:3]]
        return f"{', '.join(names)} never occur in training"
    if len(train.unique()) > train.numel() / 2:
        return "nearly every training sequence has a class of its own"
    return ""


def probe_labels(page: Page, names: Sequence[str]) -> list[Probed]:
    """Codes and inputs probed for the labels of sequences, and for those of steps, if any."""
    labels, dynamic = concatenate([part.labels for part in page.parts.values()]), page.test.dynamic
    codes = {name: code.numpy() for name, code in concatenate([*page.codes.values()]).items()}
    still = {name: labels[name].numpy() for name in names if name not in dynamic}
    moving = {name: labels[name].numpy() for name in names if name in dynamic}
    held_out = np.arange(sum(map(len, page.parts.values()))) >= len(page.parts["train"])
    probed = []
    if still:
        probed.append(probe(codes, list_inputs(page), still, "averaged", held_out))
    if moving:
        common = page.common.numpy()
        if not common.all():
            said = f"Labels of steps are read at {common.sum()} of {len(common)} steps"
            page.findings.append(f"{said}, those that all sequences have.")
        for name, code in codes.items():
            if code.ndim == 2:  # It stands at every step, so that all rows have the same constant.
                code = np.repeat(code[:, None], len(common), axis=1)
            codes[name] = code[:, common]
        parts = (part.frames for part in page.parts.values())
        frames = join(shrink(x.flatten(0, 1)).unflatten(0, x.shape[:2]) for x in parts)  # (N, T, P)
        moving = {name: values[:, common] for name, values in moving.items()}
        probed.append(probe(codes, {STEP_INPUTS: frames[:, common]}, moving, "frames", held_out))
    return probed


def list_inputs(page: Page) -> Arrays:
    """The inputs of sequences by name: what the static code reads, and the mean over time."""
    inputs, model, parts = {}, page.model, page.parts.values()
    if isinstance(model, SingleElement):
        inputs[ANCHOR_INPUTS] = join(shrink(take_anchor(model, part)) for part in parts)
    inputs[MEAN_INPUTS] = join(shrink(average(part.frames, part.observed)) for part in parts)
    return inputs


@threadpool_limits.wrap(limits=1)  # The threads of small matrix products wait for each other.
def probe(
    codes: Arrays, inputs: Arrays, factors: Arrays, pooling: str, held_out: np.ndarray
) -> Probed:
    """Linear probes of codes and of inputs; the arguments are those of `leakage_matrix`."""
    read = {**codes, **inputs}
    options = {"pooling": pooling, "test": held_out, "permutations": measure.FEWEST_PERMUTATIONS}
    matrix = leakage.leakage_matrix(read, factors, **options)
    rows, targets = leakage.parse_inputs(read, factors, pooling)
    losses, constants = {}, {}
    for name, target in targets.items():
        of_rows = []
        for row in rows.values():
            [(said, true, constant)] = leakage.fit_and_predict(row, [target], held_out, "linear")
            of_rows.append(leakage.mean_loss(said, true, target))
            constants[name] = leakage.mean_loss(constant, true, target)
        losses[name] = np.stack(of_rows)
    return Probed(replace(matrix, rows=(*codes, *inputs)), losses, constants)


# ---- comparisons


def compare_losses(first: np.ndarray, second: np.ndarray, groups: np.ndarray) -> Comparison:
    """Whether the best of the first probes is ahead of the best of the second ones.

    first, second: losses (n, rows) on the same test sequences, so that one which is hard for both
    adds no doubt. groups: (n,), what the split keeps together.

    If neither were ahead, the gain on each group would be as likely with the other sign: the
    p-value is the share of random signs with a sum as large. Six groups that differ are needed.
    """
    ours, theirs = (losses[:, losses.sum(0).argmin()] for losses in (first, second))
    gains = np.bincount(to_index("groups", groups), weights=theirs - ours)
    signs = np.random.default_rng(0).choice([-1, 1], (FLIPS, len(gains)))
    as_large = np.abs(signs @ gains) >= (1 - 1e-9) * abs(gains.sum())
    p_value = (1 + as_large.sum()) / (1 + FLIPS)
    word = "more" if gains.sum() > 0 else "less"
    if len(gains) < FEWEST_TESTED or p_value > SIGNIFICANCE:
        word = "open"
    return Comparison(word, p_value, len(gains))


def compare_with_inputs(
    probed: Probed, column: str, own: Sequence[str], groups: np.ndarray, unit: str
) -> str:
    """A sentence that compares the code that should hold a label, or the best one, with inputs."""
    names, losses = probed.matrix.rows, probed.losses[column]
    inputs = [row for row, name in enumerate(names) if name.startswith("inputs")]
    codes = [row for row, name in enumerate(names) if name in own]
    codes = codes or [row for row in range(len(names)) if row not in inputs]
    code, best = (min(rows, key=lambda row: losses[row].sum()) for rows in (codes, inputs))
    found = compare_losses(losses[codes].T, losses[inputs].T, groups)
    opening, word = "", f"{found.word} than"
    if found.word == "open":
        opening, word = "it is open whether ", "more or less than"
    skills = [probed.matrix[names[row], column] for row in (code, best)]
    numbers = f"skill {skills[0]:.2f} against {skills[1]:.2f}"
    if found.count >= FEWEST_TESTED:
        numbers += f", p {found.p_value:.2g} over {found.count} test {unit}"
    said = f"{column}: {opening}the {names[code]} code tells {word} a linear model on the"
    return f"{said} {names[best]} ({numbers})."


# ---- the verdict


def conclude(page: Page, probed: Sequence[Probed]) -> None:
    """Add the verdict on leaks, and a sentence that compares each label's code with inputs."""
    read: measure.Pairs = set()
    own: dict[str, tuple[str, ...]] = {}
    for each in probed:
        pairs = measure.read_pairs(each.matrix, measure.FEWEST_PERMUTATIONS)
        read |= {(code, name) for code, name in pairs if code in page.model.code_names}
        for name in each.matrix.columns:
            own[name] = page.own[name]
            said = compare_with_inputs(each, name, own[name], page.groups["test"], page.unit)
            page.findings.append(said)
    count = len(np.unique(page.groups["test"]))
    if own and count < FEWEST_TESTED:
        verdict = f"Cannot be concluded: too few test {page.unit} to say what the codes contain "
        page.verdict.insert(0, f"{verdict}({count}, where {FEWEST_TESTED} or more are needed).")
    elif own:
        labels = {name: page.test.labels[name] for name in own}
        matrices = [each.matrix for each in probed]
        said = measure.suppose(matrices, page.codes["test"], labels, own, read, read)
        page.verdict.append(said if said and read else judge_codes(own, read))


def judge_codes(own: Mapping[str, Sequence[str]], read: measure.Pairs) -> str:
    """The verdict on the labels that were probed, from the pairs (code, label) that are read.

    own: by label the codes that may hold it.
    """
    if not read:
        return f"Useless: no linear probe predicts {', '.join(own)} from any code."
    if not any(own.values()):
        listed = ", ".join(f"{name} from {code}" for code, name in sorted(read))
        return f"No code is meant for a label; probes predict {listed}."
    lost = sorted(own.keys() - {name for _, name in read})
    verdict = measure.describe_leak(own, read, read)
    return verdict + f" Lost: no probe surely predicts {', '.join(lost)}." * bool(lost)


def join(parts: Iterable[Tensor]) -> np.ndarray:
    """What is made of the training and of the test sequences, one after the other."""
    return torch.cat(list(parts)).numpy()


def take_anchor(model: SingleElement, part: Sequences) -> Tensor:
    """The element (N, ...) that the static code of each sequence reads."""
    elements, mask = model.check_batch(Batch.of(part))
    observed = torch.ones(elements.shape[:2], dtype=torch.bool)
    if mask is not None:
        observed = mask.flatten(2).any(2)
    anchor = model.choose_anchor(observed, torch.zeros(len(elements)))
    return elements[torch.arange(len(elements)), anchor]


def shrink(values: Tensor) -> Tensor:
    """Values (N, ...) as rows (N, P), frames averaged to at most `SIDE` pixels each way."""
    if values.ndim == 4 and values.shape[3] > SIDE:
        values = F.adaptive_avg_pool2d(values, SIDE)
    return values.flatten(1)
