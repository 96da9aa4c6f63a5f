"""Paper C on series: what codes predict of a series' labels, compared with simple baselines.

The heads are those of `papers.c.heads`. They read codes of a model whose training is over. The
endings of figures say what predicts, or what it is given:

    <task>_<metric>            heads on means of the codes, labels and codes of the same days
    <task>_<metric>_<model>    a model without codes: trivial, logistic, ridge, boosting, window
    <task>_<metric>_paper      of etth1: one draw of the codes and the paper's shifted days
    <task>_<metric>_authors_protocol    of the authors' networks alone: codes drawn anew at every
                               pass and without a mask, and the epoch that their code keeps

Those of heads, linear models and the authors may be followed by _low and _high, 95 % limits over
test series. A label that is read from the static code alone has also _window and _less_window: the
score of the linear model on the anchor's window, which is all that the static code reads, and the
lead over it.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as ListOf
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from unbraid.codes import encode_all, generator_for
from unbraid.data.sequences import Sequences
from unbraid.data.series import daily_mean, held_out
from unbraid.models.base import Batch, SequenceModel

from papers.c.heads import (
    CLASS,
    EVENT,
    SPLITS,
    VALUE,
    CodedSeries,
    EventHead,
    HeadTraining,
    Prediction,
    ValueHead,
    class_head,
    predict_class,
    predict_event,
    predict_value,
    run_heads,
)
from papers.c.published_series import PublishedSeries
from papers.datasets import load as load_dataset
from papers.encoded import Evaluation, Figures, seeded
from papers.settings import Settings

SERIES_LABELS = {  # labels that heads predict from the static code
    "vowels": ("speaker",),
    "weather": ("station", "month", "season"),
    "air_quality": ("month", "station"),
    "physionet": ("icu",),
}
PAPER_CLASSES = {"air_quality": "month", "physionet": "icu"}  # labels that the papers report
# Stations, whose rows of a day or month are neighbours.
TOGETHER = {"weather": 3, "air_quality": 12}
WET = 1.0  # mm of rain that make a day a wet one, as the World Meteorological Organization counts
SHIFT_DAYS = 14  # by which the published code shifts the series of etth1, and not their labels
LINEAR = ("logistic", "ridge", "window")  # models whose scores have limits
READ_WHOLE_SERIES = ("logistic", "ridge")  # models that read the whole series
SERIES_BATCH = 256  # sequences that are encoded at a time
AUTHORS = "_authors_protocol"  # the ending of figures of heads as the authors train them
SET_DRAWS = 400  # bootstrap draws of whole days or months behind an interval


def evaluate_series(model: SequenceModel, settings: Settings, seed: int) -> Figures:
    """All figures of a model of series: those of each of the dataset's `MEASURES`."""
    splits = [encode_series(model, split) for split in load_splits(settings)]
    figures: Figures = {}
    for measure in MEASURES[settings.dataset]:
        figures |= measure(model, splits, settings, seed)
    return figures


# ---- series and their codes


def load_series(settings: Settings, split: str, seed: int = 0, **options: object) -> Sequences:
    """The series of a split. Vowels have no validation split: a fifth of train is held out."""
    if settings.dataset != "vowels" or split == "test":
        return load_dataset(settings.dataset, split, **options)
    train = load_dataset("vowels", "train")
    rows = held_out(len(train), 0.8, seed=0)[SPLITS.index(split)]
    return train.subset(torch.from_numpy(rows))


def load_splits(settings: Settings, **options: object) -> list[Sequences]:
    """The training, validation and test series."""
    return [load_series(settings, split, **options) for split in SPLITS]


def encode_series(
    model: SequenceModel, sequences: Sequences, generator: torch.Generator | None = None
) -> CodedSeries:
    """The means of the codes of all series, or with a generator of the device one draw alone."""
    codes = encode_all(model, sequences, generator, SERIES_BATCH)
    window = sequences.length // codes["dynamic"].shape[1]
    lengths = -(-Batch.of(sequences).lengths // window)
    coded = CodedSeries(sequences, **codes, lengths=lengths)
    if generator is not None:
        return coded
    raw = plain_means(sequences.frames, observed_values(sequences), sequences.mask is not None)
    return replace(coded, raw=raw)


def plain_means(frames: Tensor, observed: Tensor, has_gaps: bool) -> Tensor:
    """Means (N, F) over the steps of frames (N, T, C), which are 0 where nothing was observed.

    F: the mean of each variable's observed values and, with gaps, the share of those observed.
    """
    count = observed.sum(1)
    means = frames.sum(1) / count.clamp(min=1)
    return torch.cat([means, count / observed.shape[1]], 1) if has_gaps else means


def read_window(model: SequenceModel, sequences: Sequences) -> Tensor:
    """`plain_means` (N, F) of the window that is each series' anchor, of evaluation.

    It depends on the model's anchor and not on its weights. The static code of a model without
    context that reads its anchor reads nothing else.
    """
    elements = model.codec.split(sequences.frames)  # (N, W, w, C)
    observed = model.codec.split(observed_values(sequences))
    has_value = observed.flatten(2).any(2)
    if isinstance(model, PublishedSeries):  # Its anchor has the same number in every series.
        has_value = torch.ones_like(has_value)
    anchor = model.choose_anchor(has_value, torch.zeros(len(elements)))
    rows = torch.arange(len(elements))
    return plain_means(elements[rows, anchor], observed[rows, anchor], sequences.mask is not None)


def observed_values(sequences: Sequences) -> Tensor:
    """Booleans (N, T, D), which are True where a value was observed."""
    mask = sequences.mask
    if mask is None:
        return torch.ones_like(sequences.frames, dtype=torch.bool)
    return mask if mask.ndim == 3 else mask[..., None].expand_as(sequences.frames)


# ---- heads on codes that stay as they are


def plan_heads(
    settings: Settings, seed: int, training: HeadTraining, **changes: object
) -> tuple[list[int], HeadTraining]:
    """The seeds of the trainings of a head, and the training; evaluation_epochs 0: as it is."""
    seeds = [100 * seed + number for number in range(settings.evaluation_heads)]
    epochs = settings.evaluation_epochs or training.epochs
    return seeds, replace(training, epochs=epochs, **changes)


def head_intervals(
    prediction: Prediction,
    task: str,
    ending: str = "",
    size: int = 1,
    of: str = "head",
    less: str | None = None,
) -> Figures:
    """<task>_<metric><ending>: the scores of the predictor `of` with _low and _high.

    size: so many neighbouring test series are one unit of the bootstrap. less: a predictor whose
    scores are subtracted. Where an interval has no limits they are the score itself.
    """
    figures, clusters = {}, np.arange(len(prediction.target)) // size
    for metric in prediction.metrics:
        interval = prediction.interval(metric, clusters, SET_DRAWS, of, less)
        name = f"{task}_{metric}{ending}"
        figures[name] = interval.mean
        for end, limit in (("low", interval.low), ("high", interval.high)):
            figures[f"{name}_{end}"] = interval.mean if np.isnan(limit) else limit
    return figures


def compare_heads(prediction: Prediction, task: str, ending: str = "", size: int = 1) -> Figures:
    """The scores of the heads and of the other predictors, those of linear models with limits."""
    figures = head_intervals(prediction, task, ending, size)
    for predictor in prediction.outputs.keys() - {"head"}:
        beside = f"{ending}_{predictor.replace(' ', '_')}"
        for metric in prediction.metrics:
            figures[f"{task}_{metric}{beside}"] = prediction.score(metric, predictor)
        if predictor in LINEAR:
            figures |= head_intervals(prediction, task, beside, size, of=predictor)
        if predictor in READ_WHOLE_SERIES:
            lead = f"{ending}_less_linear"
            figures |= head_intervals(prediction, task, lead, size, less=predictor)
    return figures


def classes(
    model: SequenceModel, splits: ListOf[CodedSeries], settings: Settings, seed: int
) -> Figures:
    """<label>_accuracy: read off the static code by the papers' head; _low, _high: 95 % limits over
    test series, those of one day or month together. _trivial: majority; _logistic, _boosting: on
    plain means of the whole series' observed values and, where values are missing, the share
    observed; _window: logistic regression on the same of the anchor's window alone, which is all
    that the static code reads. Baselines are fitted to training and validation series. Heads:
    evaluation_heads trainings each, scores averaged, the epoch chosen on validation series.
    _less_window: the heads' score less that of _window; _less_linear: less that of _logistic."""
    coded = [replace(split, window=read_window(model, split.sequences)) for split in splits]
    figures: Figures = {}
    for label in SERIES_LABELS[settings.dataset]:
        targets = [split.sequences.labels[label] for split in splits]
        prediction = predict_class(targets, coded, *plan_heads(settings, seed, CLASS))
        figures |= compare_heads(prediction, label, size=TOGETHER.get(settings.dataset, 1))
        name = f"{label}_accuracy"
        figures[f"{name}_less_window"] = figures[name] - figures[f"{name}_window"]
    return figures


def mortality(
    model: SequenceModel, splits: ListOf[CodedSeries], settings: Settings, seed: int
) -> Figures:
    """mortality_*: death in hospital, AUPRC and AUROC, off both codes; endings as for classes, with
    _trivial a constant score."""
    targets = [split.sequences.labels["mortality"] for split in splits]
    prediction = predict_event(targets, splits, *plan_heads(settings, seed, EVENT))
    return compare_heads(prediction, "mortality")


def rain(
    model: SequenceModel, splits: ListOf[CodedSeries], settings: Settings, seed: int
) -> Figures:
    """rain_*: a day with at least 1 mm, told by the day's dynamic and the month's static code;
    AUPRC and AUROC, limits over months, which twelve stations share."""
    targets, days = [], []
    for split in splits:
        targets.append((daily_mean(split.sequences.labels["rain"]) * 24 >= WET).long().flatten())
        total = daily_mean(split.sequences.frames).flatten(0, 1)  # (N * 28, D)
        count = daily_mean(observed_values(split.sequences).float()).flatten(0, 1)
        day = replace(
            split,
            static=split.static.repeat_interleave(split.dynamic.shape[1], 0),
            dynamic=split.dynamic.flatten(0, 1)[:, None],
            lengths=torch.ones(len(total), dtype=torch.long),
            raw=total / count.clamp(min=1 / 24),
        )
        days.append(day)
    prediction = predict_event(targets, days, *plan_heads(settings, seed, EVENT, batch=100))
    size = TOGETHER["air_quality"] * splits[2].dynamic.shape[1]
    return compare_heads(prediction, "rain", size=size)


def oil_temperature(
    model: SequenceModel, splits: ListOf[CodedSeries], settings: Settings, seed: int
) -> Figures:
    """oil_temperature_mae: °C, of each day's mean, off its dynamic and its month's static code.
    _trivial: the better of the constants; _ridge, _boosting: on plain means of the day. _paper:
    series turned by 14 days and not their labels, their first day for anchor, a draw of the codes,
    labels of training in another order than their codes, a leaky ReLU at the end. _interleaved:
    heads with months of all seasons in each part; the model, which sees no temperature, learnt
    from the papers' months, some of which are then in the test."""
    figures = oil_by_day(splits, settings, seed)

    first, turned = model.with_anchor("first"), []
    for split in load_splits(settings, shift_days=SHIFT_DAYS):
        turned.append(encode_series(first, split, generator_for(model, seed)))
    targets = [oil_of_days(split.sequences) for split in splits]
    targets[0] = targets[0][torch.randperm(len(targets[0]), generator=seeded(seed))]
    heads = plan_heads(settings, seed, VALUE)
    prediction = predict_value(targets, turned, *heads, last_activation=True)
    figures["oil_temperature_mae_paper"] = prediction.score("mae")

    mixed = [encode_series(model, each) for each in load_splits(settings, months="interleaved")]
    return figures | oil_by_day(mixed, settings, seed, "_interleaved")


def oil_by_day(
    splits: ListOf[CodedSeries], settings: Settings, seed: int, ending: str = ""
) -> dict[str, float]:
    """Error of each day's mean; baselines read the day's plain means. _trivial: better constant."""
    days = [replace(split, raw=daily_mean(split.sequences.frames)) for split in splits]
    targets = [oil_of_days(split.sequences) for split in splits]
    prediction = predict_value(targets, days, *plan_heads(settings, seed, VALUE))
    figures, name = compare_heads(prediction, "oil_temperature", ending), f"mae{ending}_constant"
    constants = [figures[f"oil_temperature_{name}_{kind}"] for kind in ("mean", "median")]
    return figures | {f"oil_temperature_mae{ending}_trivial": min(constants)}


def oil_of_days(sequences: Sequences) -> Tensor:
    """The mean oil temperature (N, 28) of each day in °C."""
    return daily_mean(sequences.labels["oil_temperature"])


# ---- heads as the authors' code trains them


def authors_protocol(
    model: SequenceModel, splits: ListOf[CodedSeries], settings: Settings, seed: int
) -> Figures:
    """<task>_<metric>_authors_protocol, of runs of the authors' networks: heads as their code
    trains and scores them, on codes that are drawn anew at every pass and without a mask. The head
    of death or oil temperature is that of the last epoch, and evaluation_heads trainings are
    averaged. That of a class is chosen on validation series, then trained on and chosen again; both
    are averaged. Of etth1 also the turned days and labels in another order, as for _paper. _low,
    _high: 95 % limits over test series."""
    if not isinstance(model, PublishedSeries):
        return {}
    if settings.dataset == "etth1":
        return oil_on_draws(model, settings, seed)
    parts = unmask([split.sequences for split in splits])
    figures = class_on_draws(model, parts, settings, seed)
    if settings.dataset == "physionet":
        figures |= death_on_draws(model, parts, settings, seed)
    return figures


def unmask(splits: ListOf[Sequences]) -> dict[str, Sequences]:
    """Series without their mask, by the name of their split."""
    return {name: replace(part, mask=None) for name, part in zip(SPLITS, splits, strict=True)}


def class_on_draws(
    model: SequenceModel, parts: dict[str, Sequences], settings: Settings, seed: int
) -> Figures:
    """The class that the papers report, by the static code."""
    label, generator = PAPER_CLASSES[settings.dataset], generator_for(model, seed)

    def draw(split):
        coded = encode_series(model, parts[split], generator)
        return (coded.static,), parts[split].labels[label]

    classes = int(parts["train"].labels[label].max()) + 1
    build = partial(class_head, model.config.static_size, classes)
    batch = 10 if settings.dataset == "air_quality" else 30
    how = {"batch": batch, "equal": False}
    seeds, training = plan_heads(settings, seed, replace(CLASS, epochs=41), **how)
    logits, target = run_heads(build, training, draw, seeds[:1], rounds=2, tests=5)
    prediction = Prediction(target.numpy(), {"head": logits.argmax(2).numpy()}, ("accuracy",))
    return head_intervals(prediction, label, AUTHORS, TOGETHER.get(settings.dataset, 1))


def death_on_draws(
    model: SequenceModel, parts: dict[str, Sequences], settings: Settings, seed: int
) -> Figures:
    """Death in hospital, by both codes; a stay's last window is that of its last whole four hours,
    whether anything was measured in it or not."""
    generator = generator_for(model, seed)

    def draw(split):
        coded, labels = encode_series(model, parts[split], generator), parts[split].labels
        window = parts[split].length // coded.dynamic.shape[1]
        inputs = coded.static, coded.dynamic, labels["length"] // window
        return inputs, labels["mortality"].float()

    build = partial(EventHead, model.config.static_size, model.config.dynamic_size)
    seeds, training = plan_heads(settings, seed, EVENT, equal=False, choose=False)
    logits, target = run_heads(build, training, draw, seeds)
    prediction = Prediction(target.numpy(), {"head": logits.numpy()}, ("auprc", "auroc"))
    return head_intervals(prediction, "mortality", AUTHORS)


def oil_on_draws(model: SequenceModel, settings: Settings, seed: int) -> Figures:
    """The oil temperature of each day, by its dynamic and its month's static code."""
    parts = unmask(load_splits(settings, shift_days=SHIFT_DAYS))
    first, generator, order = model.with_anchor("first"), generator_for(model, seed), seeded(seed)

    def draw(split):
        coded = encode_series(first, parts[split], generator)
        rows = torch.arange(len(coded.static))
        if split == "train":  # Their loader shuffles series anew at every pass, but not labels.
            rows = torch.randperm(len(rows), generator=order)
        return (coded.static[rows], coded.dynamic[rows]), oil_of_days(parts[split])

    sizes = model.config.static_size, model.config.dynamic_size
    build = partial(ValueHead, *sizes, last_activation=True)
    seeds, training = plan_heads(settings, seed, VALUE, equal=False, choose=False)
    values, target = run_heads(build, training, draw, seeds)
    prediction = Prediction(target.numpy(), {"head": values.numpy()}, ("mae",))
    return head_intervals(prediction, "oil_temperature", AUTHORS)


MEASURES: dict[str, tuple[Callable[..., Figures], ...]] = {
    "vowels": (classes,),
    "weather": (classes,),
    "air_quality": (classes, rain, authors_protocol),
    "physionet": (classes, mortality, authors_protocol),
    "etth1": (oil_temperature, authors_protocol),
}
EVALUATIONS = {
    name: Evaluation(evaluate_series, load_series, measures) for name, measures in MEASURES.items()
}
