"""What the codes of own data tell of the labels, next to linear models of the same inputs.

Differences are judged over the groups that the split keeps together, such as films; where these
are too few, nothing is concluded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor
from unbraid.checks import to_index
from unbraid.codes import decode_all
from unbraid.data.sequences import Sequences
from unbraid.measures import leakage
from unbraid.measures.intervals import Interval, bootstrap_interval
from unbraid.models.base import Batch
from unbraid.models.single_element import SingleElement

from unbraid_extras import measure
from unbraid_extras.own_page import Page, average, recolour, steps_of

FEWEST_GROUPS = 20  # of what the split keeps together, in the test; with fewer all is left open
FEWEST_DIFFERING = 6  # groups on which two probes differ; no sign test of fewer reaches 5 %
SIGNIFICANCE = 0.05  # the largest p-value of a difference that is called clear
SIDE = 16  # pixels to which frames are averaged for linear models, each way

# Of the best of some probes, compared with the best of others.
AHEAD, BEHIND, EQUAL = "more than", "less than", "as much as"
UNDECIDED, TOO_FEW = "it is open whether", "nothing can be concluded on whether"

# Rows of linear models of inputs.
ANCHOR_INPUTS = "inputs that static reads"
MEAN_INPUTS = "inputs, mean over time"
STEP_INPUTS = "inputs at the step"
WHICH_STEPS = "inputs, which steps are there"


@dataclass(frozen=True, eq=False)
class Probed:
    """Skills of codes and of inputs, and by label the losses on each test sequence behind them."""

    matrix: leakage.LeakageMatrix
    losses: dict[str, np.ndarray]  # (rows of the matrix, n)
    constant: dict[str, np.ndarray]  # (n,), of the best constant


@dataclass(frozen=True)
class Comparison:
    """Two sets of probes on the same groups: in a word, by how much, and with which p-value."""

    word: str  # AHEAD, BEHIND, EQUAL, UNDECIDED or TOO_FEW
    difference: Interval  # of skills
    p_value: float  # of no difference, two-sided; NaN if it is the same in every group

    def describe(self) -> str:
        """The difference, its limits where draws differ, and the p-value."""
        text = f"difference {self.difference.mean:+.2f}"
        if np.isfinite(self.difference.low):
            text += f" [{self.difference.low:+.2f}, {self.difference.high:+.2f}]"
        return text if np.isnan(self.p_value) else f"{text}, p {self.p_value:.2g}"


# ---- probes


def find_obstacle(page: Page, name: str) -> str:
    """Why nothing can be said of a label; "" if something can."""
    train, test = page.parts["train"].labels[name], page.test.labels[name]
    if name in page.test.dynamic:
        if not page.common.any():
            return "there is no step that all sequences have"
        train, test = train[:, page.common], test[:, page.common]
    if min(len(train.unique()), len(test.unique())) < 2:
        return "it has one value in the training or in the test split"
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
    codes, labels = {}, {}
    for name in page.codes["test"]:
        codes[name] = torch.cat([part[name] for part in page.codes.values()]).numpy()
    for name in names:
        labels[name] = torch.cat([part.labels[name] for part in page.parts.values()]).numpy()
    held_out = np.arange(len(next(iter(codes.values())))) >= len(page.parts["train"])
    still = {name: values for name, values in labels.items() if name not in page.test.dynamic}
    moving = {name: values for name, values in labels.items() if name in page.test.dynamic}
    probed = []
    if still:
        probed.append(probe(codes, list_inputs(page), still, "averaged", held_out))
    if moving:
        probed.append(probe_steps(page, codes, moving, held_out))
    return probed


def list_inputs(page: Page) -> dict[str, np.ndarray]:
    """The inputs of sequences by name: what the static code reads, the mean, which steps exist."""
    inputs = {}
    model = page.model
    if isinstance(model, SingleElement):
        inputs[ANCHOR_INPUTS] = join(page, lambda part: shrink(take_anchor(model, part)))
    inputs[MEAN_INPUTS] = join(page, lambda part: shrink(average(part.frames, part.observed)))
    seen = join(page, steps_of)
    if (seen != seen[:1]).any():
        inputs[WHICH_STEPS] = seen.astype(np.float32)
    return inputs


def probe_steps(
    page: Page,
    codes: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    held_out: np.ndarray,
) -> Probed:
    """Codes and inputs at each step that all sequences have, probed for labels (N, T) of steps."""
    common = page.common.numpy()
    if not common.all():
        page.findings.append(
            f"Labels of steps are read at {common.sum()} of {len(common)} steps, those that "
            "all sequences have."
        )
    rows = {}
    for name, code in codes.items():
        if code.ndim == 2:  # It stands at every step, so that all rows have the same constant.
            code = np.repeat(code[:, None], page.test.length, axis=1)
        rows[name] = code[:, common]
    steps = join(page, lambda part: shrink(part.frames.flatten(0, 1)))  # (N T, P)
    inputs = {STEP_INPUTS: steps.reshape(-1, len(common), steps.shape[1])[:, common]}
    labels = {name: values[:, common] for name, values in labels.items()}
    return probe(rows, inputs, labels, "frames", held_out)


@threadpool_limits.wrap(limits=1)  # The threads of small matrix products wait for each other.
def probe(
    codes: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    factors: Mapping[str, np.ndarray],
    pooling: str,
    held_out: np.ndarray,
) -> Probed:
    """Linear probes of codes and of inputs; the arguments are those of `leakage_matrix`."""
    read = {**codes, **inputs}
    count = measure.FEWEST_PERMUTATIONS
    options = {"pooling": pooling, "test": held_out, "permutations": count}
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


def best_skill(losses: np.ndarray, base: np.ndarray) -> float:
    """The best skill of probes with the losses (n, rows), where a constant has base (n,)."""
    return max(-1.0, 1 - losses.sum(0).min() / base.sum())


def compare_losses(
    first: np.ndarray, second: np.ndarray, base: np.ndarray, groups: np.ndarray
) -> Comparison:
    """Whether the best of the first probes is ahead of the best of the second ones.

    first, second: losses (n, rows) on the same test sequences. base: (n,), of a constant. groups:
    (n,), what the split keeps together.

    Each draw of the bootstrap takes the same whole groups for all probes, so that a sequence which
    is hard for both adds no doubt, and finds the best row anew. With 20 to 40 skewed groups the
    bootstrap alone would see a difference in 14 % of the cases without one. Therefore the paired
    t test over groups has to agree; together they see one in 3 to 6 %.
    """

    def subtract(first: np.ndarray, second: np.ndarray, base: np.ndarray) -> float:
        return best_skill(first, base) - best_skill(second, base) if base.any() else np.nan

    found = bootstrap_interval(first, second, base, statistic=subtract, clusters=groups)
    if found.n < FEWEST_GROUPS:
        return Comparison(TOO_FEW, found, np.nan)
    gain = second[:, second.sum(0).argmin()] - first[:, first.sum(0).argmin()]
    differing = len(np.unique(groups[gain != 0]))
    gains = np.bincount(to_index("groups", groups), weights=gain)
    p_value = np.nan
    if np.ptp(gains) > 1e-12 * np.abs(gains).max():
        p_value = float(stats.ttest_1samp(gains, 0).pvalue)
    low, high = np.nan_to_num([found.low, found.high], nan=found.mean)  # if all draws agree
    word = AHEAD if low > 0 else BEHIND
    if not differing:
        word = EQUAL
    elif differing < FEWEST_DIFFERING or low <= 0 <= high or p_value > SIGNIFICANCE:
        word = UNDECIDED
    return Comparison(word, found, p_value)


def compare_with_inputs(
    probed: Probed, column: str, own: Sequence[str], groups: np.ndarray, unit: str
) -> str:
    """A sentence that compares the code that should hold a label, or the best one, with inputs."""
    names, losses, base = probed.matrix.rows, probed.losses[column], probed.constant[column]
    inputs = [row for row, name in enumerate(names) if name.startswith("inputs")]
    codes = [row for row, name in enumerate(names) if name in own]
    codes = codes or [row for row in range(len(names)) if row not in inputs]
    code, best = (min(rows, key=lambda row: losses[row].sum()) for rows in (codes, inputs))
    found = compare_losses(losses[codes].T, losses[inputs].T, base, groups)
    pair = [best_skill(losses[row, :, None], base) for row in (code, best)]
    numbers = f"skill {pair[0]:.2f} against {pair[1]:.2f}"
    if found.word != TOO_FEW:
        numbers += f"; {found.describe()} over {found.difference.n} test {unit}"
    opening, word = "", found.word
    if word in (UNDECIDED, TOO_FEW):
        opening, word = f"{word} ", "more or less than"
    return (
        f"{column}: {opening}the {names[code]} code tells {word} a linear model on the "
        f"{names[best]} ({numbers})."
    )


def compare_swaps(losses: np.ndarray, judged: np.ndarray, groups: np.ndarray, unit: str) -> str:
    """A sentence that compares swaps with the best sequence without a model, on all labels.

    losses: (rows, n) wrong answers on each pair, the swap's first; judged: (n,) of how many.
    """
    if not judged.any():
        return "No pair differs in a label: nothing can be concluded about swaps."
    found = compare_losses(losses[:1].T, losses[1:].T, judged, groups)
    count = f"{found.difference.n} test {unit}"
    if found.word == TOO_FEW:
        return f"Nothing can be concluded about swaps: there are {count}."
    often = {AHEAD: "more often than", BEHIND: "less often than", EQUAL: "as often as"}
    word = often.get(found.word, "more or less often than")
    opening = "It is open whether on" if found.word == UNDECIDED else "On"
    return (
        f"{opening} all labels together the judge names what it should {word} for the best of the "
        f"other rows ({found.describe()} over {count})."
    )


# ---- the verdict


def conclude(page: Page, probed: Sequence[Probed], unprobed: Sequence[str]) -> None:
    """Add the verdict on leaks, and a sentence that compares each label's code with inputs."""
    pairs: measure.Pairs = set()
    columns: list[str] = []
    for each in probed:
        pairs |= measure.read_pairs(each.matrix, measure.FEWEST_PERMUTATIONS)
        columns += each.matrix.columns
        for name in each.matrix.columns:
            sentence = compare_with_inputs(each, name, page.own[name], page.groups, page.unit)
            page.findings.append(sentence)
    by_length = [name for name in columns if (WHICH_STEPS, name) in pairs]
    remedy = "; where lengths alone differ, --length cuts them to one"
    if page.data.kind == "recordings":  # whose chunks have one length
        remedy = ""
    for name in by_length:
        page.findings.append(f"{name}: which steps are there tells it without any model{remedy}.")

    own = {name: page.own[name] for name in columns if name not in by_length}
    read = {(code, name) for code, name in pairs if code in page.model.code_names and name in own}
    count = len(np.unique(page.groups))
    if own and count < FEWEST_GROUPS:
        verdict = f"Cannot be concluded: too few test {page.unit} to say what the codes hold "
        page.verdict.insert(0, f"{verdict}({count}, where {FEWEST_GROUPS} or more are needed).")
    elif own:
        page.verdict.append(judge_codes(own, read, [*unprobed, *by_length]))


def judge_codes(
    own: Mapping[str, Sequence[str]], read: measure.Pairs, unjudged: Sequence[str]
) -> str:
    """The verdict on the labels that were probed, from the pairs (code, label) that are read.

    own: by label the codes that may hold it. unjudged: labels on which nothing can be said.
    """
    if not read:
        names = ", ".join(own) if unjudged else "any label"
        verdict = f"Useless: no linear probe reads {names} from any code."
    elif any(own.values()):
        verdict = measure.describe_leak(own, read, read)
        known = {name for _, name in read}
        if lost := [name for name in own if name not in known]:
            verdict += f" Lost: no code tells {', '.join(lost)}."
    else:
        listed = ", ".join(f"{name} from {code}" for code, name in sorted(read))
        verdict = f"No code is meant for a label; probes read {listed}."
    if unjudged:
        names = ", ".join(unjudged)
        verdict += f" Nothing is concluded about {names}, which could not be judged."
    return verdict


def judge_swaps(page: Page, names: Sequence[str]) -> dict[str, object]:
    """Swaps, the unchanged and the recoloured clip before a linear judge of inputs."""
    frames, codes = page.test.frames, page.codes["test"]
    swapped = decode_all(page.model, codes | {"static": codes["static"][page.donors]})
    clips = {"swap: static of donor": swapped, "unchanged sequence": frames}
    if page.is_coloured:
        clips["recoloured sequence"] = recolour(page.test, page.donors)
    columns = {"judged": ["true test sequences", *clips]}
    losses, judged, counts = np.zeros((len(clips), len(frames))), np.zeros(len(frames)), []
    for name in names:
        true = page.test.labels[name]
        differ = true != true[page.donors]
        counts.append(int(differ.sum()))
        judged += differ.numpy()
        wanted, whose = true, "sequence's own"
        if "static" in page.own[name]:
            wanted, whose = true[page.donors], "donor's"
        judge = train_judge(page, name)
        shares = [(judge(frames) == true).float().mean()]
        for row, values in enumerate(clips.values()):
            is_right = judge(values) == wanted
            losses[row] += (differ & ~is_right).numpy()
            shares.append(is_right[differ].float().mean())
        columns[f"{whose} {name}"] = [f"{share:.2f}" for share in shares]
    rows = [tuple(columns), *zip(*columns.values(), strict=True)]
    verdict = compare_swaps(losses, judged, page.groups, page.unit)
    return {"rows": rows, "fewest": min(counts), "verdict": verdict}


def train_judge(page: Page, name: str) -> Callable[[Tensor], Tensor]:
    """A linear model that names a label of test sequences from their mean over time."""
    train, mask = page.parts["train"], page.test.observed
    x = shrink(average(train.frames, train.observed))
    judge = make_pipeline(StandardScaler(), leakage.PROBES["linear", "classes"](x.shape[1]))
    judge.fit(x.numpy(), train.labels[name].numpy())
    return lambda frames: torch.from_numpy(judge.predict(shrink(average(frames, mask)).numpy()))


def join(page: Page, change: Callable[[Sequences], Tensor]) -> np.ndarray:
    """What is made of the training and of the test sequences, one after the other."""
    return torch.cat([change(part) for part in page.parts.values()]).numpy()


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
