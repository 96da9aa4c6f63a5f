"""Paper C on series: what codes predict of a series' labels, compared with simple baselines.

The heads are those of `measures.prediction`. They read codes of a model whose training is over.
The endings of figures say what the heads are given:

    <task>_<metric>            means of the codes, labels and codes of the same days
    <task>_<metric>_paper      one draw of the codes; of etth1 also the papers' turned days
    <task>_<metric>_dynamic    the dynamic codes alone
    <task>_<metric>_authors_protocol    of the authors' networks alone: codes drawn anew at every
                               pass and without a mask, and the epoch that their code keeps

After these may follow _low and _high, 95 % limits over test series, and for means of the codes
_less_linear, the score less that of the linear model on plain means, with its limits. A label that
is read from the static code alone has also _window and _less_window: the score of the linear model
on the anchor's window, which is all that the static code reads, and the lead over it.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as ListOf
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, l1_loss
from unbraid.data.sequences import Sequences
from unbraid.data.series import daily_mean, held_out
from unbraid.models.base import Batch, Codes, SequenceModel
from unbraid.models.published_series import PublishedSeries

from papers import datasets
from papers.evaluation import common
from papers.evaluation.common import Evaluation, Examined, Figures
from papers.heads import (
    CLASSIFIERS,
    EventHead,
    Examples,
    HeadTraining,
    Prediction,
    ValueHead,
    class_head,
    predict_class,
    predict_event,
    predict_on_draws,
    predict_value,
)

SERIES_SPLITS = ("train", "validation", "test")
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
TURNED = 14  # days by which published code turns the series of etth1, and not their labels
NAMES = {"average_precision": "auprc", "mean_absolute_error": "mae"}  # of metrics, in figures
# The linear baselines of `Prediction`, and what the lead over each is called.
LINEAR = {"logistic": "linear", "ridge": "linear", "window": "window"}
SERIES_BATCH = 256  # sequences that are encoded at a time
AUTHORS = "_authors_protocol"  # the ending of figures of heads as the authors train them
SET_DRAWS = 400  # bootstrap draws of whole days or months behind an interval


@dataclass(frozen=True)
class CodedSeries:
    """Codes of N series, static (N, D) and dynamic (N, W, d), and plain numbers beside their means.

    lengths (N,): how many of the W elements each series has. raw (N, F): `plain_means` of the whole
    series; window (N, F): of the one window that the static code reads.
    """

    static: Tensor
    dynamic: Tensor
    lengths: Tensor
    raw: Tensor | None = None
    window: Tensor | None = None

    @property
    def codes(self) -> Codes:
        """Both codes by name: static (N, D) and dynamic (N, W, d)."""
        return {"static": self.static, "dynamic": self.dynamic}

    def mean_dynamic(self) -> Tensor:
        """The mean (N, d) over the elements that each series has."""
        is_there = torch.arange(self.dynamic.shape[1]) < self.lengths[:, None]
        return (self.dynamic * is_there[..., None]).sum(1) / self.lengths[:, None]

    def dynamic_alone(self) -> CodedSeries:
        """The same with zeros in place of the static codes."""
        return replace(self, static=torch.zeros_like(self.static), raw=None)


def load_series(settings, split: str, seed: int = 0, **options) -> Sequences:
    """The series of a split. Vowels have no validation split: a fifth of train is held out."""
    if settings.dataset != "vowels" or split == "test":
        return datasets.load(settings.dataset, split, **options)
    train = datasets.load("vowels", "train")
    rows = held_out(len(train), 0.8, seed=0)[SERIES_SPLITS.index(split)]
    return train.subset(torch.from_numpy(rows))


def examine_series(model: SequenceModel, settings, seed: int, load) -> Examined:
    """The series of all three splits, with the means of their codes and with one draw of them."""
    examined = common.prepare(model, settings, seed, load)
    examined.splits = [examined.train, load(settings, "validation", seed), examined.test]
    examined.means = [encode_series(model, part) for part in examined.splits]
    examined.draws = []
    for number, part in enumerate(examined.splits):
        generator = common.generator_for(model, seed + number)
        examined.draws.append(encode_series(model, part, generator))
    codes = examined.means[0]
    examined.widths = codes.static.shape[1], codes.dynamic.shape[2]
    examined.train_codes, _, examined.test_codes = (coded.codes for coded in examined.means)
    return examined


def encode_series(
    model: SequenceModel, sequences: Sequences, generator: torch.Generator | None = None
) -> CodedSeries:
    """The means of the codes of all series, or with a generator of the device one draw alone."""
    codes = common.encode_all(model, sequences, generator, SERIES_BATCH)
    window = sequences.length // codes["dynamic"].shape[1]
    lengths = -(-Batch.of(sequences).lengths // window)
    if generator is not None:
        return CodedSeries(**codes, lengths=lengths)
    raw = plain_means(sequences.frames, observed_values(sequences), sequences.mask is not None)
    return CodedSeries(**codes, lengths=lengths, raw=raw)


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


def quality(examined: Examined) -> Figures:
    """elbo_per_step, kl_static (of a series) and kl_dynamic_per_step are in nats: means over test
    series, with one draw of the codes of each. reconstruct_rmse is the error of what is decoded
    from the codes' means, over the observed values and in training standard deviations;
    reconstruct_rmse_trivial is that of the training mean."""
    model, test = examined.model, examined.test
    terms = common.bound_over(model, [test], examined.seed, SERIES_BATCH)
    decoded, observed = common.decode_all(model, examined.means[2].codes), observed_values(test)
    trivial = torch.zeros_like(test.frames)
    return {
        "elbo_per_step": terms["elbo"] / test.length,
        "kl_static": terms["kl_static"],
        "kl_dynamic_per_step": terms["kl_dynamic"] / test.length,
        "reconstruct_rmse": common.root_mean_square(decoded, test.frames, observed),
        "reconstruct_rmse_trivial": common.root_mean_square(trivial, test.frames, observed),
    }


# ---- heads on codes that stay as they are


def train_heads(
    examined: Examined,
    predict: Callable,
    targets: ListOf[Tensor],
    coded: ListOf[CodedSeries],
    heads: int = 1,
    **options,
) -> Prediction:
    """What so many heads and, where there are raw means, baselines say of the test series.

    predict: a function of `measures.prediction`. targets (N, ...) and codes: of the three splits.
    """
    parts = [Examples(target, **vars(codes)) for target, codes in zip(targets, coded, strict=True)]
    if examined.settings.evaluation_epochs:
        options["epochs"] = examined.settings.evaluation_epochs
    return predict(*parts, seeds=head_seeds(examined, heads), **options)


def head_seeds(examined: Examined, heads: int) -> tuple[int, ...]:
    """The seeds of so many trainings of a head."""
    return tuple(100 * examined.seed + number for number in range(heads))


def figure_name(task: str, metric: str, ending: str) -> str:
    """<task>_<metric><ending>"""
    return f"{task}_{NAMES.get(metric, metric)}{ending}"


def head_scores(prediction: Prediction, task: str, ending: str) -> Figures:
    """The scores of the heads alone."""
    scores = prediction.scores["head"]
    return {figure_name(task, metric, ending): score for metric, score in scores.items()}


def head_intervals(
    prediction: Prediction, task: str, ending: str = "", size: int = 1, **predictors
) -> Figures:
    """The same with _low and _high; the score itself where an interval has no limits.

    size: so many neighbouring test series are one unit of the bootstrap. predictors: as for
    `Prediction.interval`.
    """
    figures, clusters = {}, np.arange(len(prediction.target)) // size
    for metric in prediction.metrics:
        interval = prediction.interval(metric, clusters, SET_DRAWS, **predictors)
        name = figure_name(task, metric, ending)
        figures[name] = interval.mean
        for end, limit in (("low", interval.low), ("high", interval.high)):
            figures[f"{name}_{end}"] = interval.mean if np.isnan(limit) else limit
    return figures


def compare_heads(prediction: Prediction, task: str, ending: str = "", size: int = 1) -> Figures:
    """The same, beside the scores of baselines, and of linear ones the limits and the lead."""
    figures = head_intervals(prediction, task, ending, size)
    for predictor, scores in prediction.scores.items():
        if predictor == "head":
            continue
        beside = f"{ending}_{predictor.replace(' ', '_')}"
        for metric, score in scores.items():
            figures[figure_name(task, metric, beside)] = score
        if predictor in LINEAR:
            lead = f"{ending}_less_{LINEAR[predictor]}"
            figures |= head_intervals(prediction, task, beside, size, of=predictor)
            figures |= head_intervals(prediction, task, lead, size, less=predictor)
    return figures


def classes(examined: Examined) -> Figures:
    """<label>_accuracy: read off the static code by the papers' head; _low, _high: 95 % limits over
    test series, those of one day or month together. _trivial: majority; _logistic, _boosting: on
    plain means of the whole series' observed values and, where values are missing, the share
    observed; _window: logistic regression on the same of the anchor's window alone, which is all
    that the static code reads; _dynamic: off the mean dynamic code, by logistic regression; _paper:
    one draw of the codes. Baselines are fitted to training and validation series. Heads:
    evaluation_heads trainings each, scores averaged, the epoch chosen on validation series; one
    training where figures have an ending. _less_linear, _less_window: the heads' score less that of
    _logistic, of _window."""
    figures, dataset = {}, examined.settings.dataset
    means = []
    for coded, part in zip(examined.means, examined.splits, strict=True):
        means.append(replace(coded, window=read_window(examined.model, part)))
    for label in SERIES_LABELS[dataset]:
        targets = [part.labels[label] for part in examined.splits]
        train = partial(train_heads, examined, predict_class, targets)
        prediction = train(means, examined.settings.evaluation_heads)
        figures |= compare_heads(prediction, label, size=TOGETHER.get(dataset, 1))
        if PAPER_CLASSES.get(dataset) == label:
            figures |= head_scores(train(examined.draws), label, "_paper")
        dynamic = [coded.mean_dynamic() for coded in examined.means]
        linear = clone(CLASSIFIERS["logistic"])
        linear.fit(torch.cat(dynamic[:2]), torch.cat(targets[:2]))
        figures[f"{label}_accuracy_dynamic"] = float(linear.score(dynamic[2], targets[2]))
    return figures


def mortality(examined: Examined) -> Figures:
    """mortality_*: death in hospital, AUPRC and AUROC, off both codes; endings as for classes, with
    _trivial a constant score, and _dynamic by the same head with zeros for the static code."""
    targets = [part.labels["mortality"] for part in examined.splits]
    train = partial(train_heads, examined, predict_event, targets)
    dynamic = [coded.dynamic_alone() for coded in examined.means]
    return {
        **compare_heads(train(examined.means, examined.settings.evaluation_heads), "mortality"),
        **head_scores(train(examined.draws), "mortality", "_paper"),
        **head_scores(train(dynamic), "mortality", "_dynamic"),
    }


def rain(examined: Examined) -> Figures:
    """rain_*: a day with at least 1 mm, told by the day's dynamic and the month's static code;
    AUPRC and AUROC, limits over months, which twelve stations share."""
    targets, days = [], []
    for part, coded in zip(examined.splits, examined.means, strict=True):
        targets.append((daily_mean(part.labels["rain"]) * 24 >= WET).long().flatten())
        total = daily_mean(part.frames).flatten(0, 1)  # (N * 28, D)
        count = daily_mean(observed_values(part).float()).flatten(0, 1)
        static = coded.static.repeat_interleave(coded.dynamic.shape[1], 0)
        dynamic = coded.dynamic.flatten(0, 1)[:, None]
        one = torch.ones(len(dynamic), dtype=torch.long)
        days.append(CodedSeries(static, dynamic, one, total / count.clamp(min=1 / 24)))
    train = partial(train_heads, examined, predict_event, targets, batch=100)
    rows = TOGETHER["air_quality"] * examined.means[2].dynamic.shape[1]
    figures = compare_heads(train(days, examined.settings.evaluation_heads), "rain", size=rows)
    alone = train([day.dynamic_alone() for day in days])
    return figures | head_scores(alone, "rain", "_dynamic")


def oil_temperature(examined: Examined) -> Figures:
    """oil_temperature_mae: °C, of each day's mean, off its dynamic and its month's static code.
    _trivial: the better of the constants; _ridge, _boosting: on plain means of the day. _paper:
    series turned by 14 days and not their labels, their first day for anchor, a draw of the codes,
    labels of training in another order than their codes, a leaky ReLU at the end. _interleaved:
    heads with months of all seasons in each part; the model, which sees no temperature, learnt
    from the papers' months, some of which are then in the test."""
    settings, seed = examined.settings, examined.seed
    figures = oil_by_day(examined, examined.splits, examined.means)
    targets = [oil_of_days(part) for part in examined.splits]
    train = partial(train_heads, examined, predict_value)
    alone = train(targets, [coded.dynamic_alone() for coded in examined.means])
    figures |= head_scores(alone, "oil_temperature", "_dynamic")

    model, turned = examined.model.with_anchor("first"), []
    for split in SERIES_SPLITS:
        series = load_series(settings, split, shift_days=TURNED)
        turned.append(encode_series(model, series, common.generator_for(model, seed)))
    order = torch.randperm(len(targets[0]), generator=torch.Generator().manual_seed(seed))
    targets[0] = targets[0][order]
    paper = train(targets, turned, settings.evaluation_heads, last_activation=True)
    figures |= head_scores(paper, "oil_temperature", "_paper")

    parts = [load_series(settings, split, months="interleaved") for split in SERIES_SPLITS]
    coded = [encode_series(examined.model, part) for part in parts]
    return figures | oil_by_day(examined, parts, coded, "_interleaved")


def oil_by_day(
    examined: Examined, parts: ListOf[Sequences], coded: ListOf[CodedSeries], ending: str = ""
) -> Figures:
    """Error of each day's mean; baselines read the day's plain means. _trivial: better constant."""
    pairs = zip(parts, coded, strict=True)
    coded = [replace(codes, raw=daily_mean(part.frames)) for part, codes in pairs]
    targets, heads = [oil_of_days(part) for part in parts], examined.settings.evaluation_heads
    prediction = train_heads(examined, predict_value, targets, coded, heads)
    figures, name = compare_heads(prediction, "oil_temperature", ending), f"mae{ending}_constant"
    constants = [figures[f"oil_temperature_{name}_{kind}"] for kind in ("mean", "median")]
    return figures | {f"oil_temperature_mae{ending}_trivial": min(constants)}


def oil_of_days(sequences: Sequences) -> Tensor:
    """The mean oil temperature (N, 28) of each day in °C."""
    return daily_mean(sequences.labels["oil_temperature"])


# ---- heads as the authors' code trains them


def authors_protocol(examined: Examined) -> Figures:
    """<task>_<metric>_authors_protocol, of runs of the authors' networks: heads as their code
    trains and scores them, on codes that are drawn anew at every pass and without a mask. The head
    of death or oil temperature is that of the last epoch, and evaluation_heads trainings are
    averaged. That of a class is chosen on validation series, then trained on and chosen again; both
    are averaged. Of etth1 also the turned days and labels in another order, as for _paper. _low,
    _high: 95 % limits over test series."""
    if not isinstance(examined.model, PublishedSeries):
        return {}
    tasks = {"physionet": (class_on_draws, death_on_draws), "air_quality": (class_on_draws,)}
    figures = {}
    for task in tasks.get(examined.settings.dataset, (oil_temperature_on_draws,)):
        figures |= task(examined)
    return figures


def unmasked_draws(model: SequenceModel, parts: ListOf[Sequences], seed: int) -> Callable:
    """A function of a split, which draws the codes of its series without their mask."""
    whole = [replace(part, mask=None) for part in parts]
    by_split = dict(zip(SERIES_SPLITS, whole, strict=True))
    generator = common.generator_for(model, seed)
    return lambda split: encode_series(model, by_split[split], generator)


def class_on_draws(examined: Examined) -> Figures:
    """The class that the papers report, by the static code."""
    settings, label = examined.settings, PAPER_CLASSES[examined.settings.dataset]
    targets = {part.split: part.labels[label] for part in examined.splits}
    draw_codes = unmasked_draws(examined.model, examined.splits, examined.seed)

    def draw(split):
        return (draw_codes(split).static,), targets[split]

    build = partial(class_head, examined.widths[0], int(targets["train"].max()) + 1)
    batch = 10 if settings.dataset == "air_quality" else 30
    epochs = settings.evaluation_epochs or 41
    training = HeadTraining(cross_entropy, epochs, batch, passes=5, equal=False)
    seeds = head_seeds(examined, 1)
    prediction = predict_on_draws(build, training, draw, ("accuracy",), seeds, rounds=2)
    return head_intervals(prediction, label, AUTHORS, TOGETHER.get(settings.dataset, 1))


def death_on_draws(examined: Examined) -> Figures:
    """Death in hospital, by both codes; a stay's last window is that of its last whole four hours,
    whether anything was measured in it or not."""
    settings, labels = examined.settings, {part.split: part.labels for part in examined.splits}
    draw_codes = unmasked_draws(examined.model, examined.splits, examined.seed)

    def draw(split):
        coded = draw_codes(split)
        window = examined.train.length // coded.dynamic.shape[1]
        lengths = labels[split]["length"] // window
        return (coded.static, coded.dynamic, lengths), labels[split]["mortality"].float()

    build = partial(EventHead, *examined.widths)
    options = {"clip": 1.0, "equal": False, "choose": False}
    epochs = settings.evaluation_epochs or 41
    training = HeadTraining(binary_cross_entropy_with_logits, epochs, batch=30, **options)
    metrics, seeds = ("average_precision", "auroc"), head_seeds(examined, settings.evaluation_heads)
    prediction = predict_on_draws(build, training, draw, metrics, seeds)
    return head_intervals(prediction, "mortality", AUTHORS)


def oil_temperature_on_draws(examined: Examined) -> Figures:
    """The oil temperature of each day, by its dynamic and its month's static code."""
    settings, seed = examined.settings, examined.seed
    parts = [load_series(settings, split, shift_days=TURNED) for split in SERIES_SPLITS]
    targets = {part.split: oil_of_days(part) for part in parts}
    draw_codes = unmasked_draws(examined.model.with_anchor("first"), parts, seed)
    order = torch.Generator().manual_seed(seed)

    def draw(split):
        coded = draw_codes(split)
        rows = torch.arange(len(coded.static))
        if split == "train":  # Their loader shuffles series anew at every pass, but not labels.
            rows = torch.randperm(len(rows), generator=order)
        return (coded.static[rows], coded.dynamic[rows]), targets[split]

    build = partial(ValueHead, *examined.widths, last_activation=True)
    epochs = settings.evaluation_epochs or 301
    training = HeadTraining(l1_loss, epochs, batch=10, equal=False, choose=False)
    metrics, seeds = ("mean_absolute_error",), head_seeds(examined, settings.evaluation_heads)
    prediction = predict_on_draws(build, training, draw, metrics, seeds)
    return head_intervals(prediction, "oil_temperature", AUTHORS)


def evaluation_of(*measures) -> Evaluation:
    """The evaluation of one of the datasets."""
    return Evaluation(load_series, examine_series, (quality, *measures))


SERIES = {
    "vowels": evaluation_of(classes),
    "weather": evaluation_of(classes),
    "air_quality": evaluation_of(classes, rain, authors_protocol),
    "etth1": evaluation_of(oil_temperature, authors_protocol),
    "physionet": evaluation_of(classes, mortality, authors_protocol),
}
