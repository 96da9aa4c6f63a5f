"""One page on a model that was trained on anybody's own data: the verdict, numbers, and pictures.

Each number stands beside a baseline, and what the test split is too small for is said to be open.
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor

from unbraid import report, store
from unbraid.checks import check_name
from unbraid.codes import decode_all, encode_all, root_mean_square
from unbraid.data.own import OwnData
from unbraid.data.sequences import Sequences
from unbraid.interventions import MIDDLE, traverse
from unbraid.measures.intervals import (
    Comparison,
    bootstrap_interval,
    paired_comparison,
    to_index,
)
from unbraid.measures.leakage import (
    PROBES,
    LeakageMatrix,
    fit_and_predict,
    leakage_matrix,
    mean_loss,
    parse_inputs,
)
from unbraid.measures.swaps import random_donors
from unbraid.models.single_element import SingleElement
from unbraid.own_training import Trained

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
IMAGES = " Series of many variables are drawn as images: steps to the right, variables upwards."
READ = "inputs that static reads"
MEAN = "inputs, mean over time"
STEP = "inputs at the step"


def check_labels(data: OwnData, dynamic: Sequence[str]) -> None:
    """Refuse names of labels that there are not."""
    for name in dynamic:
        check_name("dynamic", name, data.splits["train"].labels)


def write(trained: Trained, data: OwnData, folder: Path, dynamic: Sequence[str] = ()) -> Path:
    """Write the page, the codes of the test split, and its labels; returns the page's path.

    dynamic: labels, a value per sequence, of the motion.
    """
    import matplotlib.pyplot as plt  # It is imported late, because only figures need it.

    from unbraid import plots

    with plt.rc_context():
        plots.use_style()
        page = Page(trained, data, dynamic)
        sections = [
            page.describe_origin(),
            page.describe_training(),
            page.show_reconstructions(),
            page.show_swaps(),
            page.show_traversals(),
            page.show_labels(),
        ]
    about = data.splits["train"].provenance.split(",")[0].removeprefix("own data from ")
    head = report.write_head(f"{trained.plan.model} on {about}", page.find_verdict())
    write_arrays(folder / "codes.npz", page.codes["test"])
    if page.test.labels:
        write_arrays(folder / "factors.npz", page.test.labels)
    path = folder / "report.html"
    body = "\n".join(map("\n".join, sections))
    store.write_atomically(path, f"{head}{body}\n</html>\n".encode())
    return path


def select(count: int, most: int) -> Tensor:
    """The numbers of at most so many of `count` sequences, drawn with a fixed seed, in order."""
    rows = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:most]
    return rows.sort().values


def write_arrays(path: Path, arrays: Mapping[str, Tensor]) -> None:
    """Named arrays as npz, without pickle."""
    file = io.BytesIO()
    np.savez_compressed(file, **{name: values.numpy() for name, values in arrays.items()})
    store.write_atomically(path, file.getvalue())


class Page:
    """The sections of a page, and the sentences that are found on the way."""

    def __init__(self, trained: Trained, data: OwnData, dynamic: Sequence[str]):
        self.trained, self.model, self.data = trained, trained.model, data
        self.parts: dict[str, Sequences] = {}
        for name, most in PROBED.items():
            rows = select(len(data.splits[name]), most)
            self.parts[name] = data.splits[name].subset(rows).as_float()
        self.test = self.parts["test"]
        self.names = [data.names["test"][row][:24] for row in rows]
        self.codes = {name: encode_all(self.model, part) for name, part in self.parts.items()}
        self.own = report.assign(self.codes["test"], self.test.labels, dynamic)
        self.decoded = decode_all(self.model, self.codes["test"])
        count = len(self.test)
        self.donors = torch.from_numpy(random_donors(max(2, count)))[:count] % count
        self.groups, self.unit = find_groups(data, rows)
        self.verdict: list[str] = []
        self.findings: list[str] = []

    def find_verdict(self) -> list[str]:
        """All sentences, the verdict first."""
        if not self.test.labels:
            self.verdict.append(
                "Without labels it cannot be concluded whether the codes are disentangled; a file "
                "of labels (--labels) says what should be where."
            )
        elif not self.verdict:
            self.verdict.append("Cannot be concluded: of no label anything can be said.")
        return [*self.verdict, *self.findings]

    # ---- sections

    def describe_origin(self) -> list[str]:
        """What was read."""
        sizes = [("split", "sequences")]
        for name, part in self.data.splits.items():
            sizes.append((name, *part.table()[0]))
        return ["<h2>What was read</h2>", report.as_items(self.data.notes), report.as_table(sizes)]

    def describe_training(self) -> list[str]:
        """The settings with their reasons, and the bound's curve."""
        plan, record, curve = self.trained.plan, self.trained.record, self.trained.curve
        best, last = record["best_update"], record["updates"]
        steps = [row["step"] for row in curve]
        figure, ax = new_figure(6.5, 3)
        ax.plot(steps, [row["elbo_per_frame"] for row in curve], label="training")
        bounds = [row["validation"] for row in curve]
        ax.plot(steps, bounds, label="validation")
        ax.axvline(best, color="grey", linewidth=1, linestyle=":", label=f"kept: {best}")
        late = [row["elbo_per_frame"] for row in curve[1:]] + bounds[1:]
        if late:  # The first row is far below all others.
            margin = 0.05 * (max(late) - min(late)) + 1e-6
            ax.set_ylim(min(late) - margin, max(late) + margin)
        ax.set(xlabel="update", ylabel="bound (nats per step)")
        ax.legend()
        if best < 0.7 * last:
            self.findings.append(
                f"The validation bound was best at update {best} of {last}; what followed fitted "
                "the training sequences alone, and those weights are not kept."
            )
        text = f"The bound on training and validation split, best at update {best} of {last}"
        minutes = f"{record['seconds'] / 60:.1f} minutes"
        return [
            "<h2>How it was trained</h2>",
            report.as_items(plan.reasons),
            f"<p>{record['parameters']} parameters, {last} updates in {minutes}. The bound is a "
            "lower limit of the data's log-likelihood; higher is better. It is one draw per "
            "sequence; on the training split a mean over the updates of a row, with the weights "
            "of that moment.</p>",
            report.embed(report.draw_png(figure), text),
        ]

    def show_reconstructions(self) -> list[str]:
        """Test sequences and what is decoded of their codes, beside two baselines."""
        test, mask = self.test, self.whole_mask(self.test)
        train = self.parts["train"]
        weight = self.whole_mask(train).float()
        mean = (train.frames * weight).sum((0, 1)) / weight.sum((0, 1)).clamp(min=1)
        errors = {
            "decoded from the codes": root_mean_square(self.decoded, test.frames, mask),
            "each sequence's own mean over time": root_mean_square(
                average(test.frames, test.observed)[:, None].expand_as(test.frames),
                test.frames,
                mask,
            ),
            "the mean of the training split": root_mean_square(
                mean.expand_as(test.frames), test.frames, mask
            ),
        }
        rows = [("test split", "root mean square error")]
        rows += [(name, f"{error:.4f}") for name, error in errors.items()]
        model, still, constant = errors.values()
        pair = f"{model:.3f} against {min(still, constant):.3f}"
        if model < min(still, constant):
            self.findings.append(
                f"What is decoded is nearer to the test sequences than their own mean over time "
                f"(error {pair})."
            )
        else:
            self.verdict.append(
                "The model has learnt little: a mean without any motion is at least as near to the "
                f"test sequences as what is decoded (error {pair})."
            )
        clips = {}
        for name, true, decoded in zip(self.names[:SHOWN], test.frames, self.decoded, strict=False):
            clips |= {name: true, f"{name}, decoded": decoded}
        text = "Test sequences, and below each what is decoded of its codes"
        return [
            "<h2>Reconstructions</h2>",
            "<p>The error is that of a value (of a pixel from 0 to 1, or in standard deviations). "
            "Codes that hold what moves beat the mean over time, which knows the look of each "
            f"sequence and no motion.{IMAGES * (self.test.kind == 'series')}</p>",
            report.as_table(rows),
            self.draw_rows(clips, text),
        ]

    def show_swaps(self) -> list[str]:
        """Each code taken from another sequence, as a film or a figure, and how much it changes."""
        frames, other = self.test.frames, self.test.frames[self.donors]
        columns = {"sequence": frames, "donor": other}
        rows = [("code of the donor", "change of what is decoded")]
        whole = root_mean_square(self.decoded[self.donors], self.decoded)
        silent = []
        for name, code in self.codes["test"].items():
            swapped = decode_all(self.model, self.codes["test"] | {name: code[self.donors]})
            columns[f"{name} of donor"] = swapped
            share = root_mean_square(swapped, self.decoded) / max(whole, 1e-9)
            rows.append((name, f"{share:.0%}"))
            if share < SILENT and whole > 0:
                silent.append(name)
        if self.is_coloured:
            columns["recoloured"] = recolour(frames, other)
        if silent:
            names = ", ".join(silent)
            self.verdict.append(f"Collapsed: what is decoded hardly depends on {names}.")
        elif whole > 0:
            self.findings.append("All codes are in use: each one changes what is decoded.")
        pairs = list(range(min(SHOWN, len(frames))))
        shown = {name: self.shown(clips[pairs]) for name, clips in columns.items()}
        text = f"{len(pairs)} pairs of test sequences: {', '.join(columns)}"
        if self.test.kind == "frames":
            picture = report.embed(film(list(shown.values()), list(shown)), text)
        else:
            clips = {}
            for row in range(len(pairs)):
                clips |= {f"{row + 1}: {name}": shown[name][row] for name in shown}
            picture = self.draw_grid(clips, len(shown), text)
        recoloured = "The last column is the sequence in the donor's mean colour, without a model. "
        return [
            "<h2>Swaps</h2>",
            "<p>Each code is taken from another test sequence, the donor, and the rest kept. "
            f"{recoloured * self.is_coloured}The change is the difference that the exchange makes, "
            "as a share of the difference between two decoded sequences; a code near 0 % is not in "
            "use.</p>",
            report.as_table(rows),
            picture,
        ]

    def show_traversals(self) -> list[str]:
        """One unit of each code dragged over the values that it has on the test split."""
        rows, names = [], []
        for name, code in self.codes["test"].items():
            units = code.flatten(0, -2)
            unit = int(units.var(0).argmax())
            ends = torch.quantile(units[:, unit], torch.tensor(MIDDLE)).tolist()
            values = torch.linspace(*ends, VALUES)
            one = {key: values[:1] for key, values in self.codes["test"].items()}
            rows.append(decode_all(self.model, traverse(one, name, unit, values)))
            names.append(f"{name}, unit {unit + 1}")
        text = f"One unit dragged from its lowest to its highest values: {', '.join(names)}"
        if self.test.kind == "frames":
            middle = self.test.length // 2
            shown = torch.stack([self.shown(clips)[:, middle] for clips in rows])
            picture = self.draw_frames(shown, names, "value of the unit, from low to high", text)
        else:
            clips = {}
            for name, row in zip(names, rows, strict=True):
                clips |= {f"{name}: {number + 1}": clip for number, clip in enumerate(row)}
            picture = self.draw_grid(clips, VALUES, text)
        return [
            "<h2>One unit dragged</h2>",
            "<p>Of each code the unit that varies most over the test split, dragged from its 2.5 % "
            "to its 97.5 % quantile (at all steps alike), while the rest of one test sequence's "
            "codes stays.</p>",
            picture,
        ]

    def show_labels(self) -> list[str]:
        """What linear models read off codes and off inputs, and swaps before a linear judge."""
        test = self.test
        if not test.labels:
            return []
        open_ones, usable = {}, {}
        for name, values in test.labels.items():
            why = self.find_obstacle(name)
            if why:
                open_ones[name] = f"{name}: cannot be concluded, because {why}."
            else:
                usable[name] = torch.cat([self.parts["train"].labels[name], values]).numpy()
        texts = ["<h2>What the codes tell, beside linear models on the same inputs</h2>"]
        texts.append(
            "<p>A cell is the skill of a linear probe that is trained on the training split and "
            "scored on the test split: 0 is the best constant, 1 is perfect; below it are limits "
            "over test sequences, and brackets where shuffled labels do as well in one of a "
            "hundred cases. Rows of inputs are the same probe on the values themselves "
            f"(frames of {SIDE} x {SIDE} pixels at most): a code that is behind them has lost "
            "something, one that is ahead makes plain what the inputs hide from a linear model. "
            "Whether it is ahead is decided by the difference on the same test sequences, drawn by "
            "what the split keeps together, and by a paired t test; two intervals that overlap do "
            "not decide it.</p>"
        )
        texts.append(report.as_items(open_ones.values()))
        static = {name: values for name, values in usable.items() if name not in test.dynamic}
        steps = {name: values for name, values in usable.items() if name in test.dynamic}
        probed = []
        if static:
            probed.append(self.probe(static, self.read_inputs(), "averaged"))
        if steps:
            probed.append(self.probe(steps, {STEP: self.join(flat_steps)}, "frames"))
        texts += [report.draw_matrix(each.matrix) for each in probed]
        self.findings += open_ones.values()
        self.judge_labels(probed, list(open_ones))
        judged = {name for name in static if name in test.classes}
        if judged and "static" in self.model.code_names:
            texts += self.judge_swaps(sorted(judged))
        return texts

    # ---- labels

    def find_obstacle(self, name: str) -> str:
        """Why nothing can be said of a label; "" if something can."""
        train, test = (self.parts[part].labels[name] for part in ("train", "test"))
        if min(len(train.unique()), len(test.unique())) < 2:
            return "it has one value in the training or in the test split"
        if name in self.test.dynamic and bool((test == test[:1]).all()):
            return "all test sequences have the same values at each step"
        if name in self.test.classes:
            missing = set(test.unique().tolist()) - set(train.unique().tolist())
            if missing:
                names = [self.test.classes[name][number] for number in sorted(missing)]
                return f"{', '.join(names[:3])} never occur in training"
            if len(train.unique()) > train.numel() / 2:
                return "nearly every training sequence has a class of its own"
        return ""

    def join(self, change: Callable[[Sequences], Tensor]) -> np.ndarray:
        """A function of the sequences of both splits, one below the other."""
        return torch.cat([change(self.parts[name]) for name in PROBED]).numpy()

    def read_inputs(self) -> dict[str, np.ndarray]:
        """The inputs that linear models read of whole sequences."""
        inputs = {MEAN: self.join(lambda part: shrink(average(part.frames, part.observed)))}
        if isinstance(self.model, SingleElement):
            inputs = {READ: self.join(lambda part: shrink(take_anchor(self.model, part)))} | inputs
        return inputs

    def probe(
        self, factors: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray], pooling: str
    ) -> Probed:
        """Codes and inputs probed, trained on one split and scored on the other."""
        rows = {}
        for name in self.codes["train"]:
            codes = torch.cat([self.codes[part][name] for part in PROBED])
            if pooling == "frames" and codes.ndim == 2:
                # It stands at every step, so that all rows have the constant of all steps.
                codes = codes[:, None].expand(-1, self.test.length, -1)
            rows[name] = codes.numpy()
        held_out = np.arange(len(next(iter(factors.values())))) >= len(self.parts["train"])
        return probe(rows, inputs, factors, pooling, held_out)

    def judge_labels(self, probed: Sequence[Probed], unprobed: Sequence[str]) -> None:
        """Sentences on leaks, and on each code beside the best linear model on inputs."""
        if not probed:
            return
        told, own = set(), {}
        for each in probed:
            told |= {pair for pair in report.told_by(each.matrix) if pair[0] in self.codes["test"]}
            for column in each.matrix.columns:
                own[column] = self.own[column]
                sentence = compare_with_inputs(each, column, own[column], self.groups, self.unit)
                self.findings.append(sentence)
        count = len(np.unique(self.groups))
        if count < FEWEST:
            verdict = f"Cannot be concluded: too few test {self.unit} to say what the codes hold "
            self.verdict.insert(0, f"{verdict}({count}, where {FEWEST} or more are needed).")
            return
        if not told:
            names = ", ".join(own) if unprobed else "any label"
            verdict = f"Useless: no linear probe reads {names} from any code."
        elif any(own.values()):
            verdict = report.describe_leak(own, told, told)
        else:
            pairs = ", ".join(f"{name} by {code}" for code, name in sorted(told))
            verdict = f"No factor is meant for a label; read were {pairs}."
        if unprobed:
            names = ", ".join(unprobed)
            verdict += f" Nothing is concluded about {names}, which could not be probed."
        self.verdict.append(verdict)

    def judge_swaps(self, names: Sequence[str]) -> list[str]:
        """Swaps, the unchanged and the recoloured clip before a linear judge of inputs."""
        frames, codes = self.test.frames, self.codes["test"]
        swapped = decode_all(self.model, codes | {"static": codes["static"][self.donors]})
        clips = {"swap: static of donor": swapped, "unchanged sequence": frames}
        if self.is_coloured:
            clips["recoloured sequence"] = recolour(frames, frames[self.donors])
        head, first, counts = ["judged"], ["true test sequences"], []
        rows = [[title] for title in clips]
        losses = np.zeros((len(clips), len(frames)))
        judged = np.zeros(len(frames))
        for name in names:
            true = self.test.labels[name]
            wanted, whose = true, "sequence's own"
            if self.own[name] == "static":
                wanted, whose = true[self.donors], "donor's"
            differ = true != true[self.donors]
            judged += differ.numpy()
            counts.append(int(differ.sum()))
            judge = self.train_judge(name)
            head.append(f"{whose} {name}")
            first.append(f"{(judge(frames) == true).float().mean():.2f}")
            for row, values in enumerate(clips.values()):
                is_right = judge(values) == wanted
                rows[row].append(f"{is_right[differ].float().mean():.2f}")
                losses[row] += (differ & ~is_right).numpy()
        sentence = self.compare_swaps(losses, judged)
        return [
            "<h3>Swaps before a judge</h3>",
            "<p>The judge is a linear model that names a label from a sequence's mean over time; "
            "it has learnt from true training sequences, and the first row says how often it is "
            "right. The other rows are shares of the pairs whose labels differ "
            f"({min(counts)} or more) in which it names what it should: the donor's static label, "
            "and the sequence's own dynamic one. A swap is worth something if it beats the last "
            "rows on all labels together.</p>",
            report.as_table([head, first, *rows]),
            f"<p>{html.escape(sentence)}</p>",
        ]

    def compare_swaps(self, losses: np.ndarray, judged: np.ndarray) -> str:
        """A sentence on swaps beside the best sequence without a model, on all labels together.

        losses: (rows, n) wrong answers on each pair, the swap's first; judged: (n,) of how many.
        """
        if not judged.any():
            return "No pair differs in a label: nothing can be concluded about swaps."
        word, found = compare_losses(losses[:1].T, losses[1:].T, judged, self.groups)
        count = f"{found.difference.n} test {self.unit}"
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

    def train_judge(self, name: str) -> Callable[[Tensor], Tensor]:
        """A linear model that names a label of test sequences from their mean over time."""
        train = self.parts["train"]
        x = shrink(average(train.frames, train.observed))
        judge = make_pipeline(StandardScaler(), PROBES["linear", "classes"](x.shape[1]))
        judge.fit(x.numpy(), train.labels[name].numpy())
        mask = self.test.observed
        return lambda frames: torch.from_numpy(judge.predict(shrink(average(frames, mask)).numpy()))

    # ---- pictures

    @property
    def is_coloured(self) -> bool:
        """Whether sequences are frames of three colours."""
        return self.test.kind == "frames" and self.test.frames.shape[2] == 3

    def whole_mask(self, part: Sequences) -> Tensor:
        """Which values were observed, in the frames' shape."""
        mask = part.observed
        return mask.reshape(*mask.shape, *[1] * (part.frames.ndim - mask.ndim)).expand_as(
            part.frames
        )

    def shown(self, clips: Tensor) -> Tensor:
        """Values as they are drawn: frames in [0, 1], spectra as logarithms of magnitudes."""
        if self.test.kind == "frames":
            return clips.clamp(0, 1)
        if self.data.scale is not None:
            return (self.data.scale.inverse(clips) + 0.01).log()
        return clips

    def draw_rows(self, clips: Mapping[str, Tensor], text: str) -> str:
        """Clips below each other."""
        shown = {name: self.shown(clip) for name, clip in clips.items()}
        if self.test.kind == "series":
            return self.draw_grid(shown, 2, text)
        steps = np.linspace(0, self.test.length - 1, min(MOST_FRAMES, self.test.length))
        stacked = torch.stack(list(shown.values()))[:, steps.round().astype(int)]
        return self.draw_frames(stacked, list(clips), "frame", text)

    def draw_frames(self, clips: Tensor, names: Sequence[str], xlabel: str, text: str) -> str:
        """Clips (N, T, C, H, W) below each other, as a picture."""
        from unbraid import plots

        figure, ax = new_figure(0.62 * clips.shape[1] + 1.3, 0.62 * len(clips) + 0.5)
        plots.grid(clips, names, ax, xlabel)
        return report.embed(report.draw_png(figure), text)

    def draw_grid(self, clips: Mapping[str, Tensor], columns: int, text: str) -> str:
        """Series (T, D) with titles in so many columns: a few as lines, many as an image."""
        rows = -(-len(clips) // columns)
        figure, axes = new_figure(1.5 * columns + 0.5, 1.3 * rows + 0.3, rows, columns)
        values = torch.stack(list(clips.values()))
        low, high = torch.quantile(
            values.flatten()[:1_000_000], torch.tensor([0.01, 0.99])
        ).tolist()
        for ax, (name, clip) in zip(np.ravel(axes), clips.items(), strict=False):
            if clip.shape[1] <= LINES:
                ax.plot(clip.numpy(), linewidth=1)
                ax.set_ylim(low, high)
            else:
                ax.imshow(clip.T.numpy(), aspect="auto", origin="lower", vmin=low, vmax=high)
            ax.set_title(name, fontsize=7)
            ax.set(xticks=[], yticks=[])
        return report.embed(report.draw_png(figure), text)


# ---- functions of sequences


def average(frames: Tensor, observed: Tensor) -> Tensor:
    """The mean over the observed steps of each sequence (N, T, ...), which is (N, ...)."""
    weight = observed.reshape(*observed.shape, *[1] * (frames.ndim - observed.ndim)).float()
    return (frames * weight).sum(1) / weight.sum(1).clamp(min=1)


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


def recolour(frames: Tensor, donors: Tensor) -> Tensor:
    """Frames (N, T, 3, H, W) whose mean colour is that of their donors."""
    change = donors.mean((1, 3, 4), keepdim=True) - frames.mean((1, 3, 4), keepdim=True)
    return (frames + change).clamp(0, 1)


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
    sources = [data.names["test"][row].rsplit(" #", 1)[0] for row in rows]
    groups = {data.kind: to_index("names", sources)}
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
    probed: Probed, column: str, own: str, groups: np.ndarray, unit: str
) -> str:
    """A sentence on the code that should hold a label, or the best one, beside the inputs."""
    names, losses, base = probed.matrix.rows, probed.losses[column], probed.constant[column]
    inputs = [row for row, name in enumerate(names) if name.startswith("inputs")]
    codes = [row for row, name in enumerate(names) if name == own]
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


# ---- pieces of a page


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple:
    """A figure in inches that no window knows, and its axes."""
    from matplotlib.figure import Figure  # It is imported late, because only figures need it.

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns)


def film(columns: Sequence[Tensor], titles: Sequence[str]) -> bytes:
    """Clips (N, T, C, H, W) of several columns as a moving PNG with titles."""
    from unbraid import plots

    clips = torch.stack(list(columns), 1).flatten(0, 1)  # row by row
    scale = max(1, 110 // clips.shape[-1])
    pictures = []
    for frames in clips.unbind(1):
        pixels = (255 * plots.picture(frames, len(columns[0]))).astype("uint8")
        image = Image.fromarray(pixels)
        size = (scale * image.width, scale * image.height)
        pictures.append(plots.write_above(image.resize(size, Image.Resampling.NEAREST), titles))
    png = io.BytesIO()
    options = {"append_images": pictures[1:], "duration": 200, "loop": 0}
    pictures[0].save(png, "PNG", save_all=True, optimize=True, **options)
    return png.getvalue()
