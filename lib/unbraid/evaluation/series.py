"""Paper C on series: what its codes tell of a series' labels, beside what needs no model, by the papers' protocol and a mended one.

`evaluate_series` gives the figures of one model by name, `protocol_series` what the names mean. The heads are those of
`measures.prediction`, on codes of a model that learns no more; figures differ by what these are given:

    <task>_<measure>            means of the codes, labels and codes of the same days: the mended protocol
    <task>_<measure>_paper      the papers' own: one draw of the codes; of etth1 also their turned days and mixed-up labels
    <task>_<measure>_dynamic    from the dynamic codes alone, and _static from the static code alone: what each knows
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import clone
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score
from torch import Tensor

from unbraid.data import catalogue
from unbraid.data.scaling import held_out
from unbraid.data.sequences import Sequences
from unbraid.data.series import daily_mean, load_etth1
from unbraid.measures.prediction import (
    CLASSIFIERS,
    Examples,
    Prediction,
    predict_class,
    predict_event,
    predict_value,
)
from unbraid.measures.ranking import compare
from unbraid.measures.resampling import bootstrap_interval
from unbraid.models.single_element import SingleElement

CLASSES = {
    "vowels": ("speaker",),
    "weather": ("station", "month", "season"),
    "air_quality": ("month", "station"),
    "etth1": (),
    "physionet": ("icu",),
}
PAPER = {"air_quality": "month", "physionet": "icu"}  # the classes that the papers report
MEASURES = {
    "accuracy": accuracy_score,
    "auroc": roc_auc_score,
    "average_precision": average_precision_score,
}
SHORT = {"average_precision": "auprc", "mean_absolute_error": "mae"}
TOGETHER = {
    "weather": 3,
    "air_quality": 12,
}  # so many rows in a row, one a station, are of the same day or month: they share its sky
WET = 1.0  # mm of rain that make a day a wet one, as the World Meteorological Organization counts
TURNED = 14  # days by which published code turns the series of etth1, and not their labels
SEQUENCES, DRAWS, SHUFFLES = (
    256,
    400,
    2000,
)  # encoded at a time; of whole days or months behind intervals; and behind p-values


@dataclass(frozen=True)
class Coded:
    """Codes of N sequences, on the CPU: static (N, D), dynamic (N, W, d), how many of the W elements each has (N,), and its own
    plain numbers (N, F): of each variable the mean of what was observed, and where something was not, the share that was."""

    static: Tensor
    dynamic: Tensor
    lengths: Tensor
    raw: Tensor

    def pooled(self) -> Tensor:
        """(N, d): the mean dynamic code."""
        return self.dynamic.sum(1) / self.lengths[:, None]


def evaluate_series(model: SingleElement, dataset: str, chosen, seed: int) -> dict[str, float]:
    """All figures of one model by name; `protocol_series` says what they are. The model is put into eval mode.

    dataset: "vowels", "weather", "air_quality", "etth1" or "physionet". chosen: the settings it was trained with, of which
    evaluation_heads and evaluation_epochs are looked at. seed: of all that is drawn here.
    Raises `ValueError` for another dataset, `DataError` where its files are missing.
    """
    parts = parts_of(dataset)
    model.eval()
    codes = [coded(model, part) for part in parts]
    figures = quality(model, parts[2], codes[2], seed)
    drawn = [
        coded(model, part, torch.Generator().manual_seed(seed + number))
        for number, part in enumerate(parts)
    ]
    for task in CLASSES[dataset]:
        figures |= classes(task, dataset, parts, codes, drawn, chosen, seed)
    if dataset == "physionet":
        deaths = [part.labels["mortality"] for part in parts]
        figures |= events(
            "mortality", deaths, codes, {"_paper": drawn} | apart(codes), chosen, seed
        )
    if dataset == "air_quality":
        figures |= rain(parts, codes, chosen, seed)
    if dataset == "etth1":
        figures |= oil_temperature(model, parts, codes, chosen, seed)
    return figures


def parts_of(dataset: str, **options) -> list[Sequences]:
    """Train, validation and test sequences. Vowels have no validation split: a fifth of train is held out, of heads alone."""
    if dataset not in CLASSES:
        raise ValueError(f"dataset: expected one of {', '.join(CLASSES)}, found {dataset!r}")
    if dataset != "vowels":
        return [
            catalogue.load(dataset, split, **options) for split in ("train", "validation", "test")
        ]
    train, test = (catalogue.load(dataset, split) for split in ("train", "test"))
    return [
        *(train.subset(torch.from_numpy(rows)) for rows in held_out(len(train), 0.8, seed=0)),
        test,
    ]


@torch.no_grad()
def coded(
    model: SingleElement,
    sequences: Sequences,
    generator: torch.Generator | None = None,
    anchor=None,
) -> Coded:
    """Codes of all sequences: means, or with a generator one draw. anchor: another than the model's own, as `SingleElement`."""
    device, found = next(model.parameters()).device, []
    noise = (
        None if generator is None else torch.Generator(device).manual_seed(generator.initial_seed())
    )
    for start in range(0, len(sequences), SEQUENCES):
        part = sequences.subset(slice(start, start + SEQUENCES)).to(device)
        found.append(
            model.infer(
                part.frames,
                sample=noise is not None,
                generator=noise,
                mask=part.mask,
                anchor=anchor,
            )
        )
    static, dynamic = (
        torch.cat([codes[name].cpu() for codes in found]) for name in ("static", "dynamic")
    )
    shown = observed(sequences)
    some = shown.flatten(2).any(2).unflatten(1, (-1, model.window)).any(2)  # (N, W)
    lengths = (some * torch.arange(1, some.shape[1] + 1)).amax(1)
    count = shown.sum(1)
    raw = sequences.frames.sum(1) / count.clamp(min=1)
    if sequences.mask is not None:
        raw = torch.cat([raw, count / shown.shape[1]], 1)
    return Coded(static, dynamic, lengths, raw)


def observed(sequences: Sequences) -> Tensor:
    """(N, T, D) booleans: which values were observed."""
    mask = sequences.mask
    if mask is None:
        return torch.ones_like(sequences.frames, dtype=torch.bool)
    return mask if mask.ndim == 3 else mask[..., None].expand_as(sequences.frames)


@torch.no_grad()
def quality(model: SingleElement, test: Sequences, codes: Coded, seed: int) -> dict[str, float]:
    """The bound on test sequences in nats, one draw of the codes, and the error of what the codes' means are decoded to.

    reconstruct_rmse is in standard deviations of what was observed in training; _trivial writes the training mean everywhere.
    """
    device = next(model.parameters()).device
    generator, rows, squares = torch.Generator(device).manual_seed(seed), [], []
    for start in range(0, len(test), SEQUENCES):
        some = slice(start, start + SEQUENCES)
        part = test.subset(some).to(device)
        bound = model.elbo(part.frames, generator, mask=part.mask)
        rows.append(
            torch.stack(
                [bound.per_frame, bound.kl["static"], bound.kl["dynamic"] / bound.frames], 1
            )
        )
        shown = model.decode(
            {"static": codes.static[some].to(device), "dynamic": codes.dynamic[some].to(device)}
        )
        squares.append((shown - part.frames).square().cpu())
    seen, squares = observed(test), torch.cat(squares)
    names = ("elbo_per_step", "kl_static", "kl_dynamic_per_step")
    errors = {
        "reconstruct_rmse": squares[seen],
        "reconstruct_rmse_trivial": test.frames[seen].square(),
    }
    figures = dict(zip(names, torch.cat(rows).double().mean(0).tolist()))
    return figures | {name: float(of.double().mean().sqrt()) for name, of in errors.items()}


def heads(chosen, seed: int, several: bool = True) -> dict:
    """Seeds of the heads, and their epochs where the settings limit them."""
    count = getattr(chosen, "evaluation_heads", 3) if several else 1
    epochs = getattr(chosen, "evaluation_epochs", 0)
    return {"seeds": tuple(100 * seed + number for number in range(count))} | (
        {"epochs": epochs} if epochs else {}
    )


def classes(
    task: str, dataset: str, parts, codes: list[Coded], drawn: list[Coded], chosen, seed: int
) -> dict[str, float]:
    """Accuracy of a class read off the static code by the head, and off the means of either code by logistic regression."""
    size, name, labels = (
        TOGETHER.get(dataset, 1),
        f"{task}_accuracy",
        [part.labels[task] for part in parts],
    )
    found = predict_class(
        *(Examples(of, static=code.static, raw=code.raw) for of, code in zip(labels, codes)),
        **heads(chosen, seed),
    )
    figures = written(name, found, "accuracy", size) | beside(
        name, found, "accuracy", "majority", size
    )
    for ending, values in (
        ("static", [code.static for code in codes]),
        ("dynamic", [code.pooled() for code in codes]),
    ):
        fitted = clone(CLASSIFIERS["logistic"]).fit(torch.cat(values[:2]), torch.cat(labels[:2]))
        figures[f"{name}_{ending}"] = float(fitted.score(values[2], labels[2]))
    if PAPER.get(dataset) == task:
        found = predict_class(
            *(Examples(of, static=code.static) for of, code in zip(labels, drawn)),
            **heads(chosen, seed, several=False),
        )
        figures |= written(f"{name}_paper", found, "accuracy", size)
    return figures


def rain(parts, codes: list[Coded], chosen, seed: int) -> dict[str, float]:
    """Whether a day is a wet one, from its dynamic and its month's static code, and from each alone. Every day is a row."""
    wet = [(daily_mean(part.labels["rain"]) * 24 >= WET).long().flatten() for part in parts]
    days = []
    for part, code in zip(parts, codes):
        total, count = (
            daily_mean(values.float()).flatten(0, 1) for values in (part.frames, observed(part))
        )  # (N * 28, D)
        one = torch.ones(code.dynamic.shape[:2], dtype=torch.long).flatten()
        static = code.static.repeat_interleave(code.dynamic.shape[1], 0)
        days.append(
            Coded(static, code.dynamic.flatten(0, 1)[:, None], one, total / count.clamp(min=1 / 24))
        )
    rows = (
        TOGETHER["air_quality"] * codes[2].dynamic.shape[1]
    )  # all days of a month at all stations
    return events("rain", wet, days, apart(days), chosen, seed, rows, batch=100)


def apart(codes: list[Coded]) -> dict[str, list[Coded]]:
    """The static codes with zeros for dynamic ones, and the reverse."""
    none = torch.zeros_like
    return {
        "_static": [
            Coded(code.static, none(code.dynamic), code.lengths, code.raw) for code in codes
        ],
        "_dynamic": [
            Coded(none(code.static), code.dynamic, code.lengths, code.raw) for code in codes
        ],
    }


def events(
    task: str,
    target: list[Tensor],
    codes: list[Coded],
    others: dict[str, list[Coded]],
    chosen,
    seed: int,
    size: int = 1,
    **settings,
) -> dict[str, float]:
    """AUPRC and AUROC of an event; `size` rows in a row share an interval's unit."""
    figures = {}
    for ending, given in ({"": codes} | others).items():
        rows = [
            (code.static, code.dynamic, code.lengths, None if ending else code.raw)
            for code in given
        ]
        examples = [Examples(truth, *row) for truth, row in zip(target, rows)]
        found = predict_event(*examples, **heads(chosen, seed, several=not ending), **settings)
        for metric in ("average_precision", "auroc"):
            name = f"{task}_{SHORT.get(metric, metric)}"
            figures |= written(name + ending, found, metric, size)
            if not ending:
                figures |= beside(name, found, metric, "constant", size)
    return figures


def oil_temperature(
    model: SingleElement, parts, codes: list[Coded], chosen, seed: int
) -> dict[str, float]:
    """Each day's mean oil temperature in °C: mended, as the papers, and with months of all seasons in each part.

    The papers' own: series turned by 14 days and not the labels, their first day for anchor; a draw of the codes; labels of the
    training sequences in another order than their codes; a leaky ReLU behind the last layer.
    """
    target = [daily_mean(part.labels["oil_temperature"]) for part in parts]
    figures = days_told("oil_temperature_mae", target, codes, chosen, seed)
    for ending, given in apart(codes).items():
        examples = [
            Examples(truth, code.static, code.dynamic) for truth, code in zip(target, given)
        ]
        found = predict_value(*examples, **heads(chosen, seed, several=False))
        figures |= written(f"oil_temperature_mae{ending}", found, "mean_absolute_error")
    generator = torch.Generator().manual_seed(seed)
    turned = [
        coded(model, load_etth1(part.split, shift_days=TURNED), generator, "first")
        for part in parts
    ]
    mixed = [target[0][torch.randperm(len(target[0]), generator=generator)], *target[1:]]
    examples = [Examples(truth, code.static, code.dynamic) for truth, code in zip(mixed, turned)]
    found = predict_value(*examples, last_activation=True, **heads(chosen, seed))
    figures |= written("oil_temperature_mae_paper", found, "mean_absolute_error")
    parts = parts_of("etth1", months="interleaved")
    target = [daily_mean(part.labels["oil_temperature"]) for part in parts]
    return figures | days_told(
        "oil_temperature_mae_interleaved",
        target,
        [coded(model, part) for part in parts],
        chosen,
        seed,
        parts,
    )


def days_told(
    name: str, target: list[Tensor], codes: list[Coded], chosen, seed: int, parts=None
) -> dict[str, float]:
    """Mean absolute error of a value of each day from its dynamic and its month's static code, beside what needs no codes."""
    plain = [daily_mean(part.frames) for part in parts or parts_of("etth1")]  # (N, 28, D)
    examples = [
        Examples(truth, code.static, code.dynamic, raw=raw)
        for truth, code, raw in zip(target, codes, plain)
    ]
    found = predict_value(*examples, **heads(chosen, seed))
    constants = {
        which: found.scores[which]["mean_absolute_error"].value
        for which in ("constant mean", "constant median")
    }
    figures = written(name, found, "mean_absolute_error") | beside(
        name, found, "mean_absolute_error", min(constants, key=constants.get)
    )
    return figures | {
        f"{name}_{which.replace(' ', '_')}": value for which, value in constants.items()
    }


def written(name: str, found: Prediction, metric: str, size: int = 1) -> dict[str, float]:
    """The head's score with its interval over test sequences, or over sets of `size` rows in a row that share a day or a month."""
    score = found.scores["head"][metric]
    low, high = score.over_sequences.low, score.over_sequences.high
    if size > 1:
        unit, head = (
            np.arange(len(found.target)) // size,
            found.outputs["head"].T,
        )  # (N,) and (N, S)

        def statistic(target, said):
            return np.mean([MEASURES[metric](target, one) for one in said.T])

        found = bootstrap_interval(
            found.target, head, statistic=statistic, clusters=unit, draws=DRAWS, unit="set"
        )
        alike = np.isnan(found.low)  # as where the head names one class: no spread
        low, high = (
            (score.value, score.value) if alike else (max(found.low, 0.0), min(found.high, 1.0))
        )
    return {name: score.value, f"{name}_low": low, f"{name}_high": high}


def beside(
    name: str, found: Prediction, metric: str, trivial: str, size: int = 1
) -> dict[str, float]:
    """What needs no codes: a constant, a linear model and boosting on raw means; and, but for events that share days, p that
    the head does no better than the constant."""
    named = {"trivial": trivial} | {
        which.split()[-1]: f"{which} on raw means"
        for which in ("logistic", "ridge", "gradient boosting")
    }
    figures = {
        f"{name}_{ending}": found.scores[which][metric].value
        for ending, which in named.items()
        if which in found.scores
    }
    if size == 1:
        figures[f"{name}_p"] = float(
            compare(metric, found.target, found.outputs["head"], found.outputs[trivial]).p_value
        )
    elif metric == "accuracy":
        figures[f"{name}_p"] = shuffled_p(found, trivial, size)
    return figures


def shuffled_p(found: Prediction, trivial: str, size: int) -> float:
    """How often labels shuffled among sets of `size` rows (where a set holds several classes: within it) are told as well.

    Codes that say nothing of shuffled labels may still fall short of the commonest class: the accuracies of shuffled labels are
    raised to the trivial one on average. Where all classes are as common there is nothing to raise: every constant has that accuracy.
    """
    said, target = (
        found.outputs["head"].reshape(-1, len(found.target) // size, size),
        found.target.reshape(-1, size),
    )
    generator, within = np.random.default_rng(0), (target != target[:, :1]).any()
    shuffled = [
        generator.permuted(target, axis=1) if within else generator.permutation(target)
        for _ in range(SHUFFLES)
    ]
    chance = np.array([(said == labels).mean() for labels in shuffled])
    lift = found.scores[trivial]["accuracy"].value - chance.mean() if np.ptp(chance) else 0.0
    observed = found.scores["head"]["accuracy"].value
    return float((1 + np.sum(chance + lift >= observed - 1e-9)) / (1 + SHUFFLES))


def protocol_series(dataset: str, chosen) -> dict:
    """What the figures of `evaluate_series` mean, for metrics.json: the data, sizes, and a sentence on each group of names."""
    train, validation, test = parts_of(dataset)
    shared = {
        "weather": "days, which three stations share",
        "air_quality": "months, which twelve stations share",
    }.get(dataset, "")
    return {
        "data": test.provenance,
        "split": "test",
        "sequences": {"train": len(train), "validation": len(validation), "test": len(test)},
        "heads": f"{getattr(chosen, 'evaluation_heads', 3)} trainings of each head on frozen codes, their scores averaged; the epoch is "
        "chosen on validation sequences; one training where figures have another ending",
        "names": f"_low, _high: 95 % interval over {shared or 'test sequences'}; _p: that the head does no better than _trivial"
        + (
            ", of accuracies, by shuffling labels among (of stations within) them"
            if shared
            else ", two-sided"
        )
        + "; _trivial: majority, a constant score, the better of the training mean and median; _logistic, _ridge, _boosting: on plain means of "
        "the observed values, and where values are missing the share that is not; _static, _dynamic: one code alone, of classes by logistic "
        "regression; _paper: one draw of the codes",
        "quality": "elbo_per_step, kl_*: nats, one draw of the codes; reconstruct_rmse: of what was observed, in training standard "
        "deviations; _trivial: the training mean",
    } | TOLD.get(dataset, {})


TOLD = {
    "air_quality": {
        "rain": f"a day with at least {WET:g} mm, told by the day's dynamic and the month's static code"
    },
    "etth1": {
        "oil_temperature": f"°C, mean of each day. _paper: also series turned by {TURNED} days and not their labels, labels of training in "
        "another order than their codes, a leaky ReLU at the end. _interleaved: heads with months of all seasons in each part; the model, "
        "which sees no temperature, learnt from the papers' months, some of which are then in the test"
    },
    "physionet": {"mortality": "in hospital; AUROC's interval is DeLong's, on the logit scale"},
}
