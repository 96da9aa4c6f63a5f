"""Paper C's evaluation on series: on made worlds whose answers are known, and by small models on the clone's own data."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from unbraid import settings, training
from unbraid.data.scaling import MONTHS
from unbraid.data.sequences import Sequences
from unbraid.evaluation import series
from unbraid.measures.ranking import accuracy
from unbraid.models.interface import Bound
from unbraid.models.single_element import SingleElement

QUICKLY = SimpleNamespace(evaluation_heads=1, evaluation_epochs=20)


class Reader(nn.Module):
    """A model that knows where a made world keeps its answers: variable 0 says the class, variable 1 the value of each window.

    blind: it says nothing. A draw of its codes says less than their means: noise of `spread`.
    """

    def __init__(self, window, blind=False, spread=0.0):
        super().__init__()
        self.weight, self.window, self.blind, self.spread = (
            nn.Parameter(torch.zeros(1)),
            window,
            blind,
            spread,
        )

    def infer(self, frames, sample=False, generator=None, mask=None, anchor=None):
        dynamic = frames.unflatten(1, (-1, self.window)).mean(2)[..., 1:2]
        static = 2 * nn.functional.one_hot(frames[:, 0, 0].long(), 12).float()
        codes = {"static": static, "dynamic": 2 * torch.cat([dynamic, dynamic.square()], 2)}
        codes = {name: one * (not self.blind) for name, one in codes.items()}
        noise = {
            name: self.spread * torch.randn(one.shape, generator=generator) if sample else 0.0
            for name, one in codes.items()
        }
        return {name: one + noise[name] for name, one in codes.items()}

    def elbo(self, frames, generator=None, mask=None):
        none = frames.new_zeros(len(frames))
        return Bound(
            none - 2 * frames.shape[1],
            {"static": none + 3, "dynamic": none + frames.shape[1]},
            frames.shape[1],
        )

    def decode(self, codes):
        shape = (len(codes["dynamic"]), codes["dynamic"].shape[1] * self.window, 4)
        return torch.zeros(shape)


def world(split, count, length, window, classes, seed, **labels):
    """`count` series (length, 4) of noise, but for the class in variable 0 and a value for each window in variable 1."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(count, length, 4, generator=generator)
    told, value = (
        torch.arange(count) % classes,
        torch.randn(count, length // window, generator=generator),
    )
    frames[..., 0], frames[..., 1] = told[:, None].float(), value.repeat_interleave(window, 1)
    made = {name: make(told, value) for name, make in labels.items()}
    dynamic = tuple(name for name, one in made.items() if one.ndim > 1)
    return Sequences(
        frames, made, tuple(name for name in made if name not in dynamic), dynamic, split
    )


def worlds(monkeypatch, *shape, counts=(120, 36, 36), **labels):
    """The three parts in the place of a dataset's own."""
    parts = [
        world(split, count, *shape, seed=n, **labels)
        for n, (split, count) in enumerate(zip(("train", "validation", "test"), counts))
    ]
    monkeypatch.setattr(series, "parts_of", lambda dataset, **options: parts)
    return parts


@pytest.mark.parametrize("blind", [False, True], ids=["right", "blind"])
def test_classes_of_a_made_world(monkeypatch, blind):
    """All right with p below .01 where the static code says the class; no better than the majority where codes say nothing."""
    worlds(
        monkeypatch,
        24,
        6,
        3,
        station=lambda told, value: told,
        month=lambda told, value: told // 2,
        season=lambda told, value: told % 2,
    )
    figures = series.evaluate_series(
        Reader(6, blind), "weather", SimpleNamespace(evaluation_heads=2, evaluation_epochs=8), 0
    )
    assert figures["station_accuracy_trivial"] == pytest.approx(1 / 3)  # three classes in turn
    assert (
        figures["elbo_per_step"] == pytest.approx(-2 - 3 / 24 - 1)
        and figures["kl_static"] == 3
        and figures["kl_dynamic_per_step"] == 1
    )
    assert figures["reconstruct_rmse"] == pytest.approx(
        figures["reconstruct_rmse_trivial"]
    )  # this model decodes nothing but the mean
    assert figures["station_accuracy_logistic"] == 1  # the raw mean of variable 0 is the class
    if blind:
        assert (
            figures["station_accuracy"] == pytest.approx(1 / 3)
            and figures["station_accuracy_p"] > 0.2
        )
    else:
        assert (
            figures["station_accuracy"] > 0.8 and figures["station_accuracy_p"] < 1e-3
        )  # heads as narrow as three units may get stuck
        assert (
            figures["station_accuracy_static"] == 1 and figures["station_accuracy_dynamic"] < 0.65
        )  # by chance .33 ± .08 of 36 rows
    assert (
        figures["station_accuracy_low"]
        <= figures["station_accuracy"]
        <= figures["station_accuracy_high"]
    )


def test_events_of_a_made_world(monkeypatch):
    """Death that the static code tells: areas near 1 from it, near chance from the dynamic code; a draw tells less than the means."""
    worlds(
        monkeypatch,
        24,
        4,
        4,
        counts=(160, 60, 80),
        mortality=lambda told, value: (told == 3).long(),
        icu=lambda told, value: told,
    )
    figures = series.evaluate_series(
        Reader(4, spread=3.0),
        "physionet",
        SimpleNamespace(evaluation_heads=1, evaluation_epochs=30),
        0,
    )
    assert (
        figures["mortality_auprc_trivial"] == pytest.approx(0.25)
        and figures["mortality_auroc_trivial"] == 0.5
    )
    assert (
        figures["mortality_auroc"] > 0.95
        and figures["mortality_auroc_p"] < 0.01
        and figures["mortality_auroc_static"] > 0.95
    )
    assert abs(figures["mortality_auroc_dynamic"] - 0.5) < 0.25  # 20 of 80: standard error .075
    assert (
        figures["mortality_auroc_paper"] < 0.9
        and figures["icu_accuracy_paper"] < figures["icu_accuracy"] - 0.1
    )
    assert (
        figures["mortality_auroc_low"]
        < figures["mortality_auroc"]
        <= figures["mortality_auroc_high"]
        <= 1
    )


def test_rain_is_a_days_own(monkeypatch):
    """Wet days that the day's dynamic code tells, at twelve stations that share their month."""

    def rain(told, value):
        return ((value > 0.8).float() / 12).repeat_interleave(24, 1)  # 2 mm a day, or none

    monkeypatch.setattr(series, "DRAWS", 50)
    worlds(
        monkeypatch,
        672,
        24,
        12,
        counts=(60, 24, 36),
        month=lambda told, value: torch.arange(len(told)) // 12 % 2,
        station=lambda told, value: told,
        rain=rain,
    )
    figures = series.evaluate_series(
        Reader(24), "air_quality", SimpleNamespace(evaluation_heads=1, evaluation_epochs=12), 0
    )
    assert (
        figures["rain_auroc"] > 0.95
        and abs(figures["rain_auroc_static"] - 0.5) < 0.2
        and figures["rain_auroc_boosting"] > 0.95
    )
    assert 0.1 < figures["rain_auprc_trivial"] < 0.35  # P(value > .8) = .21
    assert (
        "rain_auroc_p" not in figures
    )  # days of a month share its weather: the interval over months says what can be said


def test_value_of_a_day_and_what_turning_the_series_does(monkeypatch):
    """Mean of a day told by its dynamic code: below the best constant, unless codes and labels are of different days."""
    shape = {
        "counts": (40, 12, 12),
        "oil_temperature": lambda told, value: (10 + 5 * value).repeat_interleave(24, 1),
    }
    parts = worlds(monkeypatch, 28 * 24, 24, 3, **shape)
    split = {part.split: part for part in parts}

    def turned(name, shift_days):
        frames = split[name].frames.roll(-24 * shift_days, 1)
        return Sequences(frames, split[name].labels, (), ("oil_temperature",), name)

    monkeypatch.setattr(series, "load_etth1", turned)
    figures = series.evaluate_series(
        Reader(24), "etth1", SimpleNamespace(evaluation_heads=1, evaluation_epochs=80), 0
    )
    name = "oil_temperature_mae"
    assert figures[f"{name}_trivial"] == min(
        figures[f"{name}_constant_mean"], figures[f"{name}_constant_median"]
    )
    assert figures[f"{name}_trivial"] == pytest.approx(
        5 * math.sqrt(2 / math.pi), rel=0.1
    )  # mean of |5 N(0, 1)|
    assert (
        figures[name] < 0.4 * figures[f"{name}_trivial"]
        and figures[f"{name}_p"] < 0.01
        and figures[f"{name}_ridge"] < 0.1
    )
    assert figures[f"{name}_paper"] > 0.9 * figures[f"{name}_trivial"] > figures[f"{name}_dynamic"]
    assert figures[f"{name}_interleaved"] == figures[name]  # the made world has one way to be split


def test_codes_leave_out_what_was_not_observed():
    """Lengths end with the last observed element; raw numbers are means of what was observed, and the share that was."""
    frames, mask = torch.ones(2, 12, 4), torch.ones(2, 12, 4, dtype=torch.bool)
    mask[0, 5:], mask[1, 3:9, 0] = False, False
    found = series.coded(Reader(3), Sequences(frames * mask, mask=mask))
    assert found.lengths.tolist() == [2, 4]
    assert torch.equal(found.raw[:, :4], torch.ones(2, 4))
    assert torch.equal(found.raw[:, 4], torch.tensor([5 / 12, 6 / 12]))
    whole = series.coded(Reader(3), Sequences(frames))
    assert whole.raw.shape == (2, 4) and torch.equal(whole.pooled(), whole.dynamic.mean(1))


def test_rows_of_a_day_are_no_independent_witnesses():
    """Stations that are always right or wrong together: the interval over days is about sqrt(3) times that over rows."""
    target = np.repeat(np.arange(30) % 2, 3)
    said = np.where(np.repeat(np.arange(30) < 21, 3), target, 1 - target)[None]
    found = SimpleNamespace(
        target=target, outputs={"head": said}, scores={"head": {"accuracy": accuracy(target, said)}}
    )
    rows, days = (series.written("a", found, "accuracy", size) for size in (1, 3))
    width = {name: one["a_high"] - one["a_low"] for name, one in (("rows", rows), ("days", days))}
    assert rows["a"] == days["a"] == pytest.approx(0.7)
    assert 1.4 < width["days"] / width["rows"] < 2.1


@pytest.mark.parametrize(
    ("dataset", "least"), [("weather", 26), ("vowels", 14)], ids=["weather", "vowels"]
)
def test_clones_own_data(dataset, least):
    """A smoke-size model gives every figure as a finite float in its range, and twice the same ones."""
    chosen = settings.load(f"single_element.{dataset}", "smoke")
    chosen.evaluation_heads, chosen.evaluation_epochs = 1, 1
    train = series.parts_of(dataset)[0]

    def draw(count, generator):
        rows = torch.randint(len(train), (count,), generator=generator)
        return train.frames[rows], train.mask[rows]

    torch.manual_seed(0)
    model = SingleElement.from_settings(chosen)
    training.fit(model, draw, chosen, 0)
    figures = series.evaluate_series(model, dataset, chosen, 0)
    assert (
        all(type(value) is float and math.isfinite(value) for value in figures.values())
        and len(figures) >= least
    )
    assert all(0 <= value <= 1 for name, value in figures.items() if "accuracy" in name)
    if dataset == "vowels":
        assert figures == series.evaluate_series(model, dataset, chosen, 0)
    told = series.protocol_series(dataset, chosen)
    assert (
        told["data"].startswith({"weather": "weather of 3", "vowels": "Japanese Vowels"}[dataset])
        and len(told["heads"]) > 20
    )


def test_rows_in_threes_are_one_day():
    """The interval's units are what they are said to be: in every part of the weather three stations in turn share a month."""
    for part in series.parts_of("weather"):
        station, month = (
            part.labels[name].view(-1, series.TOGETHER["weather"]) for name in ("station", "month")
        )
        assert (
            torch.equal(station, torch.arange(3).expand_as(station))
            and (month == month[:, :1]).all()
        )
        assert int(month.max()) < len(MONTHS)


def test_validation_of_vowels_is_of_train_alone():
    train, validation, test = series.parts_of("vowels")
    assert (len(train), len(validation), len(test)) == (216, 54, 370)
    assert (train.split, validation.split, test.split) == ("train", "train", "test")


@pytest.mark.parametrize(
    "call",
    [
        lambda: series.evaluate_series(Reader(1), "sprites", QUICKLY, 0),
        lambda: series.protocol_series("mnist", QUICKLY),
    ],
    ids=["evaluate", "protocol"],
)
def test_refuses_other_datasets(call):
    with pytest.raises(ValueError, match="expected one of vowels, weather"):
        call()
