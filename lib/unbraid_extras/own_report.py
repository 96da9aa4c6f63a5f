"""One page on a model that was trained on anybody's own data: the verdict, numbers, and pictures.

Each number stands beside a baseline, and what the test split is too small for is said to be open.
The page's prose stands in own_report.html.j2.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor
from unbraid import plots, store
from unbraid.checks import to_index
from unbraid.codes import decode_all, encode_all, root_mean_square
from unbraid.data.sequences import Sequences
from unbraid.interventions import MIDDLE, traverse
from unbraid.measures.intervals import Comparison, bootstrap_interval, paired_comparison
from unbraid.measures.leakage import (
    PROBES,
    LeakageMatrix,
    fit_and_predict,
    leakage_matrix,
    mean_loss,
    parse_inputs,
)
from unbraid.measures.swaps import random_donors
from unbraid.models.base import Codes, SequenceModel
from unbraid.models.single_element import SingleElement

from unbraid_extras import measure as report
from unbraid_extras import pages
from unbraid_extras.own_data import OwnData
from unbraid_extras.own_training import Trained

FEWEST = 20  # groups that the split keeps together, in the test: with fewer, all is open
DIFFERING = 6  # groups on which two probes differ: with fewer, no sign test reaches 5 %
SURE = 0.05  # the largest p-value of a difference that is said to be clear
OPEN, UNKNOWN = "it is open whether", "nothing can be concluded on whether"
SILENT = 0.05  # a code whose exchange changes decoded values by less is not in use
PROBED = {"train": 600, "test": 300}  # sequences that probes and pictures see, at most
SIDE = 16  # pixels to which frames are averaged for linear models, each way
SHOWN = 3  # test sequences in a picture
VALUES = 7  # of a unit that is dragged
MOST_FRAMES = 12  # of a sequence in a picture
LINES = 8  # variables that are drawn as lines; more are drawn as an image
READ = "inputs that static reads"
MEAN = "inputs, mean over time"
STEP = "inputs at the step"
THERE = "inputs, which steps are there"


@dataclass(frozen=True, eq=False)
class Page:
    """What the sections read: a model, some sequences, what it makes of them; and sentences."""

    model: SequenceModel
    data: OwnData
    parts: dict[str, Sequences]  # of the training and of the test split, as floats
    names: list[str]  # of the test sequences
    codes: dict[str, Codes]  # by part
    decoded: Tensor  # from the codes of the test sequences
    own: dict[str, tuple[str, ...]]  # by label the codes that may hold it; none if unknown
    donors: Tensor  # for each test sequence the number of another one
    groups: np.ndarray  # for each test sequence what the split keeps together with it, as a number
    unit: str  # the name of these groups, such as "films"
    verdict: list[str] = field(default_factory=list)  # The sections add to it, and to findings.
    findings: list[str] = field(default_factory=list)

    @property
    def test(self) -> Sequences:
        """The test sequences."""
        return self.parts["test"]

    @property
    def is_coloured(self) -> bool:
        """Whether sequences are frames of three colours."""
        return self.test.kind == "frames" and self.test.frames.shape[2] == 3

    @property
    def common(self) -> Tensor:
        """Which steps (T,) all sequences have: of others a label is filled in."""
        return torch.cat([steps_of(part) for part in self.parts.values()]).all(0)


@pages.course_style()
def write(trained: Trained, data: OwnData, folder: Path, dynamic: Sequence[str] = ()) -> Path:
    """Write the page, the codes of the test split, and its labels; returns the page's path.

    dynamic: labels, a value per sequence, of the motion.
    """
    page = open_page(trained.model, data, dynamic)
    sections = {
        "training": describe_training(page, trained),
        "reconstructions": show_reconstructions(page),
        "swaps": show_swaps(page),
        "traversals": show_traversals(page),
        "labels": show_labels(page),
    }
    about = data.splits["train"].provenance.split(",")[0].removeprefix("own data from ")
    title = f"{trained.plan.model} on {about}"
    html = pages.render("own_report.html.j2", title=title, page=page, side=SIDE, **sections)
    write_arrays(folder / "codes.npz", page.codes["test"])
    if page.test.labels:
        write_arrays(folder / "factors.npz", page.test.labels)
    path = folder / "report.html"
    store.write_atomically(path, html.encode())
    return path


def write_arrays(path: Path, arrays: Mapping[str, Tensor]) -> None:
    """Named arrays as npz, without pickle; numpy's own function refuses the name "file"."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values.numpy(), allow_pickle=False)
    store.write_atomically(path, file.getvalue())


def open_page(model: SequenceModel, data: OwnData, dynamic: Sequence[str]) -> Page:
    """A page without sentences; the arguments are those of `write`."""
    parts, rows = {}, {}
    for name, most in PROBED.items():
        order = torch.randperm(len(data.splits[name]), generator=torch.Generator().manual_seed(0))
        rows[name] = order[:most].sort().values
        parts[name] = data.splits[name].subset(rows[name]).as_float()
    codes = {name: encode_observed(model, part) for name, part in parts.items()}
    count = len(rows["test"])
    groups, unit = find_groups(data, rows["test"])
    return Page(
        model=model,
        data=data,
        parts=parts,
        names=[data.names["test"][row][:24] for row in rows["test"]],
        codes=codes,
        decoded=decode_all(model, codes["test"]),
        own=report.assign(codes["test"], parts["test"].labels, dynamic),
        donors=torch.from_numpy(random_donors(max(2, count)))[:count] % count,
        groups=groups,
        unit=unit,
    )


def encode_observed(model: SequenceModel, part: Sequences) -> Codes:
    """The codes of sequences; those of steps before the first or after the last one are the mean.

    A model makes the same code of each of them, and its share would tell how long a sequence is. In
    a gap the code is the model's guess, and stays.
    """
    codes, seen = encode_all(model, part), steps_of(part)
    for name, code in codes.items():
        if code.ndim == 3:
            there = seen.unflatten(1, (code.shape[1], -1)).any(2)  # a window is a step of a code
            within = (there.cumsum(1) > 0) & (there.flip(1).cumsum(1).flip(1) > 0)
            codes[name] = torch.where(within[..., None], code, average(code, there)[:, None])
    return codes


def steps_of(part: Sequences) -> Tensor:
    """Which steps (N, T) sequences have."""
    return part.observed.reshape(len(part), part.length, -1).any(2)


# ---- sections: what the template shows of each, and sentences


def describe_training(page: Page, trained: Trained) -> dict[str, object]:
    """The settings with their reasons, and the bound's curve."""
    record, curve = trained.record, trained.curve
    best, last = record["best_update"], record["updates"]
    if best < 0.7 * last:
        page.findings.append(
            f"The validation bound was best at update {best} of {last}; what followed fitted "
            "the training sequences alone, and those weights are not kept."
        )
    bounds = {"training": [row["elbo_per_frame"] for row in curve]}
    bounds["validation"] = [row["validation"] for row in curve]
    figure, ax = pages.new_figure(6.5, 3)
    for name, values in bounds.items():
        ax.plot([row["step"] for row in curve], values, label=name)
    ax.axvline(best, color="grey", linewidth=1, linestyle=":", label=f"kept: {best}")
    late = bounds["training"][1:] + bounds["validation"][1:]
    if late:  # The first row is far below all others.
        margin = 0.05 * (max(late) - min(late)) + 1e-6
        ax.set_ylim(min(late) - margin, max(late) + margin)
    ax.set(xlabel="update", ylabel="bound (nats per step)")
    ax.legend()
    alt = f"The bound on training and validation split, best at update {best} of {last}"
    return record | {"curve": pages.draw(figure, alt)}


def show_reconstructions(page: Page) -> dict[str, object]:
    """Test sequences and what is decoded of their codes, beside two baselines."""
    train, test = page.parts["train"], page.test
    guesses = {
        "decoded from the codes": page.decoded,
        "each sequence's own mean over time": average(test.frames, test.observed)[:, None],
        "the mean of the training split": average(train.frames, train.observed, (0, 1)),
    }
    mask, errors = widen(test.observed, test.frames), {}
    for name, guess in guesses.items():
        errors[name] = root_mean_square(guess.expand_as(test.frames), test.frames, mask)
    model, *means = errors.values()
    if model < min(means):
        page.findings.append(
            "What is decoded is nearer to the test sequences than their own mean over time (error "
            f"{model:.3f} against {min(means):.3f})."
        )
    else:
        page.verdict.append(
            "The model has learnt little: a mean without any motion is at least as near to the "
            f"test sequences as what is decoded (error {min(means):.3f} against {model:.3f})."
        )
    rows = [("test split", "root mean square error")]
    rows += [(name, f"{error:.4f}") for name, error in errors.items()]
    clips = {}
    for row, name in enumerate(page.names[:SHOWN]):
        title = f"{row + 1}: {name}"
        clips |= {title: test.frames[row], f"{title}, decoded": page.decoded[row]}
    alt = "Test sequences, and below each what is decoded of its codes"
    return {"errors": rows, "clips": draw_rows(page, clips, alt)}


def show_swaps(page: Page) -> dict[str, object]:
    """Each code taken from another sequence, as a film or a figure, and how much it changes."""
    frames, others = page.test.frames, page.test.frames[page.donors]
    columns, shares = {"sequence": frames, "donor": others}, {}
    whole = root_mean_square(page.decoded[page.donors], page.decoded)
    for name, code in page.codes["test"].items():
        swapped = decode_all(page.model, page.codes["test"] | {name: code[page.donors]})
        columns[f"{name} of donor"] = swapped
        shares[name] = root_mean_square(swapped, page.decoded) / max(whole, 1e-9)
    if page.is_coloured:
        columns["recoloured"] = recolour(page.test, page.donors)
    silent = [name for name, share in shares.items() if share < SILENT]
    if whole > 0 and silent:
        page.verdict.append(f"Collapsed: what is decoded hardly depends on {', '.join(silent)}.")
    elif whole > 0:
        page.findings.append("All codes are in use: each one changes what is decoded.")
    rows = [("code of the donor", "change of what is decoded")]
    rows += [(name, f"{share:.0%}") for name, share in shares.items()]

    count = min(SHOWN, len(frames))
    shown = {name: as_drawn(page, clips[:count]) for name, clips in columns.items()}
    alt = f"{count} pairs of test sequences: {', '.join(columns)}"
    if page.test.kind == "frames":
        return {"changes": rows, "clips": pages.embed(film(shown), alt)}
    clips = {}
    for row in range(count):
        clips |= {f"{row + 1}: {name}": shown[name][row] for name in shown}
    return {"changes": rows, "clips": draw_grid(clips, len(shown), alt)}


def show_traversals(page: Page) -> pages.Picture:
    """One unit of each code dragged over the values that it has on the test split."""
    first = {name: code[:1] for name, code in page.codes["test"].items()}
    rows, titles = [], []
    for name, code in page.codes["test"].items():
        units = code.flatten(0, -2)
        unit = int(units.var(0).argmax())
        ends = torch.quantile(units[:, unit], torch.tensor(MIDDLE)).tolist()
        decoded = decode_all(page.model, traverse(first, name, unit, torch.linspace(*ends, VALUES)))
        rows.append(as_drawn(page, decoded))
        titles.append(f"{name}, unit {unit + 1}")
    alt = f"One unit dragged from its lowest to its highest values: {', '.join(titles)}"
    if page.test.kind == "frames":
        shown = torch.stack(rows)[:, :, page.test.length // 2]
        return draw_frames(shown, titles, "value of the unit, from low to high", alt)
    clips = {}
    for title, row in zip(titles, rows, strict=True):
        clips |= {f"{title}: {number + 1}": clip for number, clip in enumerate(row)}
    return draw_grid(clips, VALUES, alt)


def show_labels(page: Page) -> dict[str, object] | None:
    """What linear models read off codes and off inputs, and swaps before a linear judge."""
    if not page.test.labels:
        page.verdict.append(
            "Without labels it cannot be concluded whether the codes are disentangled; a file "
            "of labels (--labels) says what should be where."
        )
        return None
    obstacles = {name: find_obstacle(page, name) for name in page.test.labels}
    open_ones = [name for name in obstacles if obstacles[name]]
    sentences = [f"{name}: cannot be concluded, because {obstacles[name]}." for name in open_ones]
    page.findings.extend(sentences)
    usable = [name for name in obstacles if not obstacles[name]]
    probed = probe_labels(page, usable)
    conclude(page, probed, open_ones)
    if not page.verdict:
        page.verdict.append("Cannot be concluded: of no label anything can be said.")
    judged = None
    classes = {name for name in usable if name in page.test.static and name in page.test.classes}
    if classes and "static" in page.model.code_names:
        judged = judge_swaps(page, sorted(classes))
    matrices = [pages.draw_matrix(each.matrix) for each in probed]
    return {"obstacles": sentences, "matrices": matrices, "judged": judged}


# ---- labels


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
    if name in page.test.classes:
        missing = sorted(set(test.unique().tolist()) - set(train.unique().tolist()))
        if missing:
            names = [page.test.classes[name][number] for number in missing[:3]]
            return f"{', '.join(names)} never occur in training"
        if len(train.unique()) > train.numel() / 2:
            return "nearly every training sequence has a class of its own"
    return ""


def probe_labels(page: Page, names: Sequence[str]) -> list[Probed]:
    """Codes and inputs probed for the labels of sequences, and for those of steps, if any."""

    def join(change: Callable[[Sequences], Tensor]) -> np.ndarray:
        return torch.cat([change(part) for part in page.parts.values()]).numpy()

    whole, steps = {}, {}
    for name in page.codes["test"]:
        code = torch.cat([codes[name] for codes in page.codes.values()])
        whole[name] = steps[name] = code.numpy()
        if code.ndim == 2:
            # It stands at every step, so that all rows have the constant of all steps.
            steps[name] = code[:, None].expand(-1, page.test.length, -1).numpy()
    held_out = np.arange(len(whole[name])) >= len(page.parts["train"])
    labels = {name: join(lambda part, name=name: part.labels[name]) for name in names}
    probed = []
    still = {name: values for name, values in labels.items() if name not in page.test.dynamic}
    if still:
        inputs = {MEAN: join(lambda part: shrink(average(part.frames, part.observed)))}
        if isinstance(page.model, SingleElement):
            read = join(lambda part: shrink(take_anchor(page.model, part)))
            inputs = {READ: read} | inputs
        seen = join(steps_of)
        if (seen != seen[:1]).any():
            inputs[THERE] = seen.astype(np.float32)
        probed.append(probe(whole, inputs, still, "averaged", held_out))
    moving = {name: values for name, values in labels.items() if name in page.test.dynamic}
    if moving:
        common = page.common.numpy()
        if not common.all():
            page.findings.append(
                f"Labels of steps are read at {common.sum()} of {len(common)} steps, those that "
                "all sequences have."
            )
        steps, moving = at_steps(steps, common), at_steps(moving, common)
        inputs = at_steps({STEP: join(flat_steps)}, common)
        probed.append(probe(steps, inputs, moving, "frames", held_out))
    return probed


def at_steps(values: Mapping[str, np.ndarray], steps: np.ndarray) -> dict[str, np.ndarray]:
    """Of named values (N, T, ...) those at some steps, booleans (T,)."""
    return {name: each[:, steps] for name, each in values.items()}


def conclude(page: Page, probed: Sequence[Probed], unprobed: Sequence[str]) -> None:
    """Add the verdict on leaks, and a sentence on each code beside linear models on inputs."""
    pairs, columns = set(), []
    for each in probed:
        least = max(report.SURE / each.matrix.value.size, 1 / (1 + report.PERMUTATIONS))
        pairs |= report.told_by(each.matrix, least)
        columns += each.matrix.columns
        for name in each.matrix.columns:
            sentence = compare_with_inputs(each, name, page.own[name], page.groups, page.unit)
            page.findings.append(sentence)
    by_length = [name for name in columns if (THERE, name) in pairs]
    for name in by_length:
        page.findings.append(describe_length(name, page.data.kind))
    own = {name: page.own[name] for name in columns if name not in by_length}
    told = {(code, name) for code, name in pairs if code in page.model.code_names and name in own}
    unjudged = [*unprobed, *by_length]
    count = len(np.unique(page.groups))
    if not own:
        return
    if count < FEWEST:
        verdict = f"Cannot be concluded: too few test {page.unit} to say what the codes hold "
        page.verdict.insert(0, f"{verdict}({count}, where {FEWEST} or more are needed).")
        return
    if not told:
        names = ", ".join(own) if unjudged else "any label"
        verdict = f"Useless: no linear probe reads {names} from any code."
    elif any(own.values()):
        verdict = report.describe_leak(own, told, told)
        read = {name for _, name in told}
        if lost := [name for name in own if name not in read]:
            verdict += f" Lost: no code tells {', '.join(lost)}."
    else:
        listed = ", ".join(f"{name} by {code}" for code, name in sorted(told))
        verdict = f"No factor is meant for a label; read were {listed}."
    if unjudged:
        names = ", ".join(unjudged)
        verdict += f" Nothing is concluded about {names}, which could not be judged."
    page.verdict.append(verdict)


def describe_length(name: str, kind: str) -> str:
    """A sentence on a label that the length of a sequence tells."""
    remedy = "; where lengths alone differ, --length cuts them to one"
    if kind == "recordings":  # whose chunks have one length
        remedy = ""
    return f"{name}: which steps are there tells it without any model{remedy}."


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
    judge = make_pipeline(StandardScaler(), PROBES["linear", "classes"](x.shape[1]))
    judge.fit(x.numpy(), train.labels[name].numpy())
    return lambda frames: torch.from_numpy(judge.predict(shrink(average(frames, mask)).numpy()))


def compare_swaps(losses: np.ndarray, judged: np.ndarray, groups: np.ndarray, unit: str) -> str:
    """A sentence on swaps beside the best sequence without a model, on all labels together.

    losses: (rows, n) wrong answers on each pair, the swap's first; judged: (n,) of how many.
    """
    if not judged.any():
        return "No pair differs in a label: nothing can be concluded about swaps."
    word, found = compare_losses(losses[:1].T, losses[1:].T, judged, groups)
    count = f"{found.difference.n} test {unit}"
    if word == UNKNOWN:
        return f"Nothing can be concluded about swaps: there are {count}."
    opening = "On all labels together"
    words = {"more than": "more often than", "less than": "less often than"}
    words |= {"as much as": "as often as", OPEN: "more or less often than"}
    if word == OPEN:
        opening = "It is open whether on all labels together"
    return (
        f"{opening} the judge names what it should {words[word]} for the best of the other "
        f"rows ({describe_difference(found)} over {count})."
    )


# ---- pictures


def as_drawn(page: Page, clips: Tensor) -> Tensor:
    """Values as they are drawn: frames in [0, 1], spectra as logarithms of magnitudes."""
    if page.test.kind == "frames":
        return clips.clamp(0, 1)
    if page.data.scale is not None:
        return (page.data.scale.inverse(clips) + 0.01).log()
    return clips


def draw_rows(page: Page, clips: Mapping[str, Tensor], alt: str) -> pages.Picture:
    """Clips below each other."""
    shown = {name: as_drawn(page, clip) for name, clip in clips.items()}
    if page.test.kind == "series":
        return draw_grid(shown, 2, alt)
    steps = np.linspace(0, page.test.length - 1, min(MOST_FRAMES, page.test.length))
    stacked = torch.stack(list(shown.values()))[:, steps.round().astype(int)]
    return draw_frames(stacked, list(clips), "frame", alt)


def draw_frames(clips: Tensor, names: Sequence[str], xlabel: str, alt: str) -> pages.Picture:
    """Clips (N, T, C, H, W) below each other, as a picture."""
    figure, ax = pages.new_figure(0.62 * clips.shape[1] + 1.3, 0.62 * len(clips) + 0.5)
    plots.grid(clips, list(map(pages.plain, names)), ax, xlabel)
    return pages.draw(figure, alt)


def draw_grid(clips: Mapping[str, Tensor], columns: int, alt: str) -> pages.Picture:
    """Series (T, D) with titles in so many columns: a few as lines, many as an image."""
    rows = -(-len(clips) // columns)
    figure, axes = pages.new_figure(1.5 * columns + 0.5, 1.3 * rows + 0.3, rows, columns)
    values = torch.stack(list(clips.values())).flatten()[:1_000_000]
    low, high = torch.quantile(values, torch.tensor([0.01, 0.99])).tolist()
    for ax, (name, clip) in zip(np.ravel(axes), clips.items(), strict=False):
        if clip.shape[1] <= LINES:
            ax.plot(clip.numpy(), linewidth=1)
            ax.set_ylim(low, high)
        else:
            ax.imshow(clip.T.numpy(), aspect="auto", origin="lower", vmin=low, vmax=high)
        ax.set_title(pages.plain(name), fontsize=7)
        ax.set(xticks=[], yticks=[])
    return pages.draw(figure, alt)


def film(columns: Mapping[str, Tensor]) -> bytes:
    """Clips (N, T, C, H, W) of several columns as a moving PNG with titles."""
    clips = torch.stack(list(columns.values()), 1).flatten(0, 1)  # row by row
    scale = max(1, 110 // clips.shape[-1])
    pictures = []
    for frames in clips.unbind(1):
        pixels = (255 * plots.picture(frames, len(clips) // len(columns))).astype("uint8")
        image = Image.fromarray(pixels)
        size = (scale * image.width, scale * image.height)
        image = image.resize(size, Image.Resampling.NEAREST)
        pictures.append(plots.write_above(image, list(columns)))
    png = io.BytesIO()
    options = {"append_images": pictures[1:], "duration": 200, "loop": 0}
    pictures[0].save(png, "PNG", save_all=True, optimize=True, **options)
    return png.getvalue()


# ---- functions of sequences


def widen(observed: Tensor, frames: Tensor) -> Tensor:
    """What was observed, (N, T) or (N, T, D), in the shape of the frames (N, T, ...)."""
    more = [1] * (frames.ndim - observed.ndim)
    return observed.reshape(*observed.shape, *more).expand_as(frames)


def average(frames: Tensor, observed: Tensor, axes: tuple[int, ...] = (1,)) -> Tensor:
    """The mean over what was observed of sequences (N, T, ...): (N, ...) over steps alone."""
    weight = widen(observed, frames).float()
    return (frames * weight).sum(axes) / weight.sum(axes).clamp(min=1)


def take_anchor(model: SingleElement, part: Sequences) -> Tensor:
    """The element (N, ...) that the static code of each sequence reads."""
    elements, mask = model.check_batch(part)
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


def flat_steps(part: Sequences) -> Tensor:
    """The values of each step as rows (N, T, P)."""
    return shrink(part.frames.flatten(0, 1)).unflatten(0, part.frames.shape[:2])


def recolour(sequences: Sequences, donors: Tensor) -> Tensor:
    """The frames (N, T, 3, H, W), each sequence in the mean colour of its donor (N,)."""
    frames = sequences.frames
    colour = average(frames, sequences.observed).mean((2, 3), keepdim=True)[:, None]
    return (frames + colour[donors] - colour).clamp(0, 1)


# ---- codes beside inputs


@dataclass(frozen=True, eq=False)
class Probed:
    """Skills of codes and of inputs, and by label the losses on each test sequence behind them."""

    matrix: LeakageMatrix
    losses: dict[str, np.ndarray]  # (rows of the matrix, n)
    constant: dict[str, np.ndarray]  # (n,), of the best constant


@threadpool_limits.wrap(limits=1)  # The threads of small matrix products wait for each other.
def probe(
    codes: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    factors: Mapping[str, np.ndarray],
    pooling: str,
    held_out: np.ndarray,
) -> Probed:
    """Linear probes of codes and of inputs; the arguments are those of `leakage_matrix`."""
    options = {"pooling": pooling, "test": held_out, "permutations": report.PERMUTATIONS}
    matrix = leakage_matrix({**codes, **inputs}, factors, **options)
    rows, targets = parse_inputs({**codes, **inputs}, factors, pooling)
    losses, constants = {}, {}
    for name, target in targets.items():
        losses[name] = []
        for row in rows.values():
            predicted, true, constant = fit_and_predict(row, target, held_out, "linear")
            losses[name].append(mean_loss(predicted, true, target))
            constants[name] = mean_loss(constant, true, target)
        losses[name] = np.stack(losses[name])
    return Probed(replace(matrix, rows=(*codes, *inputs)), losses, constants)


def find_groups(data: OwnData, rows: Tensor) -> tuple[np.ndarray, str]:
    """What the split keeps together: of each of these test sequences the group, and their name.

    It is the film, folder, recording, row or series, whose clips are no independent witnesses; or
    a label whose classes no two splits share, such as the person, if it makes fewer groups.
    """
    test = data.splits["test"]
    groups = {data.kind: np.array(data.sources["test"])[rows.numpy()]}
    for name in [name for name in test.static if name in test.classes]:
        classes = [set(part.labels[name].tolist()) for part in data.splits.values()]
        if len(set.union(*classes)) == sum(map(len, classes)):
            groups[f"groups of {name}"] = test.labels[name][rows].numpy()
    unit = min(groups, key=lambda unit: len(np.unique(groups[unit])))
    return groups[unit], unit


def best_skill(losses: np.ndarray, base: np.ndarray) -> float:
    """The best skill of probes with the losses (n, rows), where a constant has base (n,)."""
    return max(-1.0, 1 - losses.sum(0).min() / base.sum())


def compare_losses(
    first: np.ndarray, second: np.ndarray, base: np.ndarray, groups: np.ndarray
) -> tuple[str, Comparison]:
    """Whether the best of the first probes is ahead of the best of the second ones: a word.

    first, second: losses (n, rows) on the same test sequences; base: (n,), of a constant. groups:
    (n,), what the split keeps together. Each draw takes the same whole groups for all, so what is
    hard for both probes does not count as doubt; and the best of rows is found in each draw anew.
    Of 20 to 40 skewed groups the bootstrap alone would see a difference in 14 % of cases without
    one, so that the paired t test over groups has to agree; it does so in 3 to 6 %.
    """

    def subtract(first: np.ndarray, second: np.ndarray, base: np.ndarray) -> float:
        return best_skill(first, base) - best_skill(second, base) if base.any() else np.nan

    found = bootstrap_interval(first, second, base, statistic=subtract, clusters=groups)
    if found.n < FEWEST:
        return UNKNOWN, Comparison(found, np.nan)
    gain = second[:, second.sum(0).argmin()] - first[:, first.sum(0).argmin()]
    differing = len(np.unique(groups[gain != 0]))
    gains = np.bincount(to_index("groups", groups), weights=gain)
    p_value = paired_comparison(gains, np.zeros(found.n)).p_value  # NaN if all are the same
    low, high = np.nan_to_num([found.low, found.high], nan=found.mean)  # if all draws agree
    word = "more than" if low > 0 else "less than"
    if not differing:
        word = "as much as"
    elif differing < DIFFERING or low <= 0 <= high or p_value > SURE:
        word = OPEN
    return word, Comparison(found, p_value)


def compare_with_inputs(
    probed: Probed, column: str, own: Sequence[str], groups: np.ndarray, unit: str
) -> str:
    """A sentence on the code that should hold a label, or the best one, beside the inputs."""
    names, losses, base = probed.matrix.rows, probed.losses[column], probed.constant[column]
    inputs = [row for row, name in enumerate(names) if name.startswith("inputs")]
    codes = [row for row, name in enumerate(names) if name in own]
    codes = codes or [row for row in range(len(names)) if row not in inputs]
    code, best = (min(rows, key=lambda row: losses[row].sum()) for rows in (codes, inputs))
    word, found = compare_losses(losses[codes].T, losses[inputs].T, base, groups)
    pair = [best_skill(losses[row, :, None], base) for row in (code, best)]
    numbers = f"skill {pair[0]:.2f} against {pair[1]:.2f}"
    if word != UNKNOWN:
        numbers += f"; {describe_difference(found)} over {found.difference.n} test {unit}"
    opening = ""
    if word in (OPEN, UNKNOWN):
        opening, word = f"{word} ", "more or less than"
    return (
        f"{column}: {opening}the {names[code]} code tells {word} a linear model on the "
        f"{names[best]} ({numbers})."
    )


def describe_difference(found: Comparison) -> str:
    """A difference, its limits where draws differ, and the p-value."""
    difference = found.difference
    text = f"difference {difference.mean:+.2f}"
    if np.isfinite(difference.low):
        text += f" [{difference.low:+.2f}, {difference.high:+.2f}]"
    return text if np.isnan(found.p_value) else f"{text}, p {found.p_value:.2g}"
