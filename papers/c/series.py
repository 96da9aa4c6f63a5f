"""Paper C on series: what codes predict of a series' labels, compared with simple baselines.

The heads are those of `papers.c.downstream`. They read codes of a model whose training is over. The
endings of figures say what predicts, or what it is given:

    <label>_<metric>           heads on means of the codes, labels and codes of the same days
    <label>_<metric>_<model>   without codes: trivial, constant_mean, logistic, window, means,
                               mask, first_hour
    <label>_<metric>_mask_static                    of a linear model that reads s as well
    ..._low, ..._high          after a model that has no seeds, such as those without codes: the
                               limits of its 95 % interval, by a bootstrap of the test series
    <label>_mae_constant_low, _high      the 5th and 95th percentile of the error of a constant,
                               over random choices of the series that it is the mean of
    <label>_<metric>_authors_protocol    of the authors' networks alone: codes drawn anew at every
                               pass and without a mask, and the epoch that their code keeps

window: a linear model on the anchor's window, which is all that the static code reads: on the mean
of each variable's observed values, and the shares of the steps in which it was observed. means: on
the means of the window with gaps as 0, as the encoder reads it. mask: on these shares alone, and on
no value; first_hour: on what was observed in the first step. All models without codes are fitted to
the training series alone, as the heads are.
"""

import itertools
from collections.abc import Sequence as ListOf
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from unbraid.codes import encode_all, generator_for
from unbraid.data.sequences import Sequences
from unbraid.data.series import daily_mean
from unbraid.models.base import Batch, SequenceModel
from unbraid.models.single_element import SingleElement
from unbraid.variants import PublishedSeries

from papers.c import downstream
from papers.c.downstream import Codes, Draw, HeadData, Task
from papers.datasets import load as load_dataset
from papers.encoded import Evaluation, Figures, seeded
from papers.settings import RunSettings

LABELS = {  # what heads predict
    "weather": {"season": downstream.CLASS},
    "air_quality": {"month": downstream.CLASS},
    "physionet": {"icu": downstream.CLASS, "mortality": downstream.EVENT},
    "etth1": {"oil_temperature": downstream.VALUE},
}
THEIR_CLASS = replace(downstream.CLASS, epochs=41, equal=False)
PAPERS = {  # what the papers report, with the training of the authors' code
    "air_quality": {"month": replace(THEIR_CLASS, batch=10)},
    "physionet": {
        "icu": THEIR_CLASS,
        "mortality": replace(downstream.EVENT, equal=False, choose=False),
    },
    "etth1": {"oil_temperature": replace(downstream.VALUE, equal=False, choose=False)},
}
READ = {
    "season": ["window"],
    "month": ["window"],
    "mortality": ["logistic"],
    "oil_temperature": [],
}  # without codes
READ["icu"] = ["window", "mask", "mask_static", "means", "first_hour"]
# By profile: trainings of each head that reads codes, and epochs of each, else as in the paper.
HEADS, EPOCHS = {"smoke": 1}, {"smoke": 1, "quick": 20}
SHIFT_DAYS = 14  # by which the published code shifts the series of etth1, and not their labels


def evaluate_series(model: SingleElement, settings: RunSettings, seed: int) -> Figures:
    """All figures of a model of series: of heads on means of codes, and of models without codes."""
    splits, figures = load_splits(settings), {}
    codes = [encode_series(model, split) for split in splits]
    for label, task in LABELS[settings.dataset].items():
        targets = [read_label(split, label) for split in splits]
        readings = {name: read_plainly(model, splits, name, codes) for name in READ[label]}
        if task.head is downstream.ValueHead:
            found = downstream.predict(*plan_heads(settings, seed, task), targets, codes, {})
        else:
            found = downstream.fit_rivals(task, targets, readings)
        for metric, name in itertools.product(task.metrics, found.outputs):
            figure = f"{label}_{metric}" if name == "head" else f"{label}_{metric}_{name}"
            figures[figure] = found.score(metric, name)
            if name != "head":
                _, figures[f"{figure}_low"], figures[f"{figure}_high"] = found.interval(
                    metric, name
                )
        if task.head is downstream.ValueHead:
            figures |= {f"{label}_mae_{name}": x for name, x in vary_constant(targets).items()}
    if settings.dataset in PAPERS and isinstance(model, PublishedSeries):
        figures |= authors_protocol(model, settings, seed)
    return figures


# ---- series and their codes


def load_series(settings: RunSettings, split: str, seed: int = 0, **options: Any) -> Sequences:
    """The series of a split."""
    return load_dataset(settings.dataset, split, **options)


def load_splits(settings: RunSettings, **options: Any) -> list[Sequences]:
    """The training, validation and test series."""
    return [load_series(settings, split, **options) for split in downstream.SPLITS]


def encode_series(
    model: SequenceModel, sequences: Sequences, generator: torch.Generator | None = None
) -> Codes:
    """The means of the codes of all series, or with a generator of the device one draw."""
    codes = encode_all(model, sequences, generator, size=256)
    window = sequences.length // codes["dynamic"].shape[1]
    return codes["static"], codes["dynamic"], -(-Batch.of(sequences).lengths // window)


def plain_means(frames: Tensor, observed: Tensor, has_gaps: bool) -> Tensor:
    """Means (N, F) over the steps of frames (N, T, C), which are 0 where nothing was observed.

    F: the mean of each variable's observed values and, with gaps, the share of those observed.
    """
    count = observed.sum(1)
    means = frames.sum(1) / count.clamp(min=1)
    return torch.cat([means, count / observed.shape[1]], 1) if has_gaps else means


def read_window(model: SingleElement, sequences: Sequences) -> Tensor:
    """`plain_means` (N, F) of the window that is each series' anchor, of evaluation.

    Without context, the static code of a model that reads its anchor reads nothing else.
    """
    return plain_means(*take_window(model, sequences), sequences.mask is not None)


def take_window(model: SingleElement, sequences: Sequences) -> tuple[Tensor, Tensor]:
    """The anchor's window of each series (N, w, C), and where it was observed."""
    elements = model.codec.split(sequences.frames)  # (N, W, w, C)
    observed = model.codec.split(observed_values(sequences))
    has_value = observed.flatten(2).any(2)
    if isinstance(model, PublishedSeries):  # Its anchor has the same number in every series.
        has_value = torch.ones_like(has_value)
    anchor = model.choose_anchor(has_value, torch.zeros(len(elements)))
    rows = torch.arange(len(elements))
    return elements[rows, anchor], observed[rows, anchor]


def observed_values(sequences: Sequences) -> Tensor:
    """Booleans (N, T, D), which are True where a value was observed."""
    mask = sequences.mask
    if mask is None:
        return torch.ones_like(sequences.frames, dtype=torch.bool)
    return mask if mask.ndim == 3 else mask[..., None].expand_as(sequences.frames)


def read_label(sequences: Sequences, label: str) -> Tensor:
    """What a head is to predict: classes or events (N,), or the mean of each day in °C (N, 28)."""
    values = sequences.labels[label]
    if label == "oil_temperature":
        return daily_mean(values)
    return values.float() if label == "mortality" else values


def vary_constant(targets: ListOf[Tensor]) -> dict[str, float]:
    """How much the error of a constant depends on the series that happen to be in training.

    targets: of training, validation and test series. From the first two as many as training has are
    chosen at random, 300 times; the constant is their mean.
    """
    known, generator, errors = torch.cat([*targets[:2]]), seeded(0), []
    for _ in range(300):
        chosen = torch.randperm(len(known), generator=generator)[: len(targets[0])]
        errors.append(float((targets[2] - known[chosen].mean()).abs().mean()))
    low, high = np.quantile(errors, (0.05, 0.95))
    return {"constant_low": float(low), "constant_high": float(high)}


# ---- heads


def plan_heads(settings: RunSettings, seed: int, task: Task) -> tuple[Task, list[int]]:
    """A task with the epochs of the profile, and the seeds of its heads."""
    seeds = [100 * seed + number for number in range(HEADS.get(settings.profile, 3))]
    return replace(task, epochs=EPOCHS.get(settings.profile, task.epochs)), seeds


def read_plainly(
    model: SingleElement, splits: ListOf[Sequences], name: str, codes: ListOf[Codes]
) -> list[Tensor]:
    """What the linear model of this name reads of all series."""
    if name == "logistic":
        return [plain_means(s.frames, observed_values(s), s.mask is not None) for s in splits]
    if name == "means":
        return [take_window(model, split)[0].mean(1) for split in splits]
    if name == "first_hour":
        return [take_window(model, split)[1][:, 0].float() for split in splits]
    windows = [read_window(model, split) for split in splits]
    if name == "window":
        return windows
    masks = [window.chunk(2, 1)[1] for window in windows]
    if name == "mask":
        return masks
    both = zip(codes, masks, strict=True)
    return [torch.cat([code[0], numbers], 1) for code, numbers in both]


def authors_protocol(model: PublishedSeries, settings: RunSettings, seed: int) -> Figures:
    """Heads as the authors' code trains and scores them: that of the last epoch.

    The head of a class is chosen on validation series, then trained on and chosen again; both are
    averaged. The days of etth1 are turned, and not their labels.
    """
    options: dict[str, int] = {}
    figures: Figures = {}
    if settings.dataset == "etth1":
        model, options = model.with_anchor("first"), {"shift_days": SHIFT_DAYS}
    parts = [replace(part, mask=None) for part in load_splits(settings, **options)]
    for label, task in PAPERS[settings.dataset].items():
        task, seeds = plan_heads(settings, seed, task)
        repeats: tuple[int, ...] = ()
        sizes = [model.config.static_size, model.config.dynamic_size]
        if task.head is downstream.ClassHead:
            sizes.append(int(parts[0].labels[label].max()) + 1)
            seeds, repeats = seeds[:1], (2, 5)
        elif task.head is downstream.ValueHead:
            sizes.append(True)
        draw = draw_codes(model, dict(zip(downstream.SPLITS, parts, strict=True)), label, seed)
        found = downstream.run_heads(partial(task.head, *sizes), task, draw, seeds, *repeats)
        for metric in task.metrics:
            figures[f"{label}_{metric}_authors_protocol"] = found.score(metric)
    return figures


def draw_codes(model: SequenceModel, parts: dict[str, Sequences], label: str, seed: int) -> Draw:
    """Give a head codes that are sampled again at every pass."""
    generator, order = generator_for(model, seed), seeded(seed)

    def draw(split: str) -> HeadData:
        part = parts[split]
        static, dynamic, lengths = encode_series(model, part, generator)
        if label == "mortality":  # The last window is that of the last whole four hours.
            lengths = part.labels["length"] // (part.length // dynamic.shape[1])
        if label == "oil_temperature" and split == "train":
            # Their loader shuffles series again at every pass, but not labels.
            rows = torch.randperm(len(static), generator=order)
            static, dynamic = static[rows], dynamic[rows]
        return (static, dynamic, lengths), read_label(part, label)

    return draw


EVALUATIONS = dict.fromkeys(LABELS, Evaluation(evaluate_series, load_series))
