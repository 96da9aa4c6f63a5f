"""Paper C's evaluation on series: on made worlds whose answers are known."""

import math
from types import SimpleNamespace

import pytest
import torch
from helpers import seeded
from torch import nn
from unbraid.data.sequences import Sequences
from unbraid.models.base import Batch
from unbraid.models.elements import Codec
from unbraid.models.single_element import SingleElement

from papers import evaluation, settings
from papers.c import series
from papers.c.downstream import SPLITS
from papers.run import build


class Reader(nn.Module):
    """Knows where a made world keeps its answers: the class in variable 0, a value in variable 1.

    blind: its codes are 0. A draw of its codes has noise of `spread`.
    """

    choose_anchor = SingleElement.choose_anchor
    config = SimpleNamespace(static_size=12, dynamic_size=2, anchor="first")

    def __init__(self, window, blind=False, spread=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.window, self.blind, self.spread = window, blind, spread
        self.codec = Codec()
        self.codec.is_series, self.codec.window = True, window

    def with_anchor(self, anchor):
        return self

    def encode(self, batch, noise=None):
        frames = Batch.of(batch).frames
        value = frames.unflatten(1, (-1, self.window)).mean(2)[..., 1:2]
        static = 2 * nn.functional.one_hot(frames[:, 0, 0].long(), 12).float()
        codes = {"static": static, "dynamic": 2 * torch.cat([value, value.square()], 2)}
        for name, code in codes.items():
            codes[name] = code * (not self.blind)
            if noise is not None:
                drawn = torch.randn(code.shape, generator=noise)
                codes[name] = codes[name] + self.spread * drawn
        return codes


def make_world(monkeypatch, steps, window, classes, counts=(120, 36, 36), **labels):
    """Series of noise, but for the class in variable 0 and a value of each window in variable 1."""
    worlds = {}
    for seed, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        generator = seeded(seed)
        frames = torch.randn(count, steps, 4, generator=generator)
        known = torch.arange(count) % classes
        value = torch.randn(count, steps // window, generator=generator)
        frames[..., 0], frames[..., 1] = known[:, None], value.repeat_interleave(window, 1)
        made = {name: make(known, value) for name, make in labels.items()}
        dynamic = tuple(name for name, values in made.items() if values.ndim > 1)
        static = tuple(name for name in made if name not in dynamic)
        worlds[split] = Sequences(frames, made, static, dynamic, split)

    def load(settings, split, seed=0, shift_days=0, **options):
        world = worlds[split]
        frames = world.frames.roll(-24 * shift_days, 1)
        return Sequences(frames, world.labels, world.static, world.dynamic, split)

    monkeypatch.setattr(series, "load_series", load)


def make_stays(monkeypatch):
    """Stays in four wards, on one of which people die."""
    make_world(
        monkeypatch,
        *(24, 4, 4),
        counts=(160, 60, 80),
        mortality=lambda known, value: (known == 3).long(),
        icu=lambda known, value: known,
        length=lambda known, value: torch.full_like(known, 23),
    )


def make_oil(monkeypatch):
    """Months whose days have an oil temperature of 10 + 5 times their value."""
    make_world(
        monkeypatch,
        *(28 * 24, 24, 3),
        counts=(40, 12, 12),
        oil_temperature=lambda known, value: (10 + 5 * value).repeat_interleave(24, 1),
    )


def make_settings(dataset, epochs, heads=1):
    series.EPOCHS["made"], series.HEADS["made"] = epochs, heads
    return SimpleNamespace(model="single_element", dataset=dataset, profile="made")


def evaluate(model, dataset, epochs, heads=1):
    return evaluation.evaluate(model, make_settings(dataset, epochs, heads), 0)


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("weather", {"anchor": "middle"}),
        ("weather", {"anchor": "any"}),
        ("physionet.published_death", {}),
    ],
)
def test_the_window_holds_the_steps_that_the_static_code_reads(section, changes):
    """By gradients: they are other than 0 at the same steps of every series."""
    options = settings.load(f"single_element.{section}", "smoke").replace(**changes)
    model = build(options, seed=0).eval()
    windows = 6
    frames = torch.randn(4, windows * model.config.window, options.channels)
    mask = torch.ones_like(frames, dtype=torch.bool)
    mask[1, : 2 * model.config.window] = False
    mask[2, -2 * model.config.window :] = False

    read = []
    for look in (
        lambda x: model.encode(Batch(x, mask))["static"],
        lambda x: series.read_window(model, Batch(x, mask)),
    ):
        values = frames.clone().requires_grad_()
        look(values).square().sum().backward()
        read.append(values.grad.abs().sum(2) > 0)
    # Where nothing was observed the models read 0, whatever stands there.
    assert torch.equal(read[0], read[1] & mask.any(2))
    assert (read[1].sum(1) == model.config.window).all()


def test_events_and_classes_of_a_made_world(monkeypatch):
    make_stays(monkeypatch)
    figures = evaluate(Reader(4), "physionet", 20)
    assert figures["mortality_auprc_trivial"] == pytest.approx(0.25)
    assert figures["mortality_auroc_trivial"] == 0.5
    assert figures["icu_accuracy_window"] == 1  # the raw mean of variable 0 is the class


def test_the_value_of_a_day_is_told_better_than_by_a_constant(monkeypatch):
    make_oil(monkeypatch)
    figures = evaluate(Reader(24), "etth1", 80)
    name = "oil_temperature_mae"
    trivial = figures[f"{name}_constant_mean"]
    assert trivial == pytest.approx(5 * math.sqrt(2 / math.pi), rel=0.1)  # mean of |5 N(0, 1)|
    assert figures[f"{name}_constant_low"] < figures[f"{name}_constant_high"] < 1.1 * trivial
    assert figures[name] < 0.4 * trivial


def test_a_constant_varies_with_the_months_that_it_is_the_mean_of():
    """One month of two: its mean is 0 or 4, each about as often, and the test's value is 1."""
    targets = [torch.full((1, 28), value) for value in (0.0, 4.0, 1.0)]
    assert series.vary_constant(targets) == {"constant_low": 1, "constant_high": 3}
    targets[1] = torch.empty(0, 28)  # Without a choice there is one constant.
    assert series.vary_constant(targets) == {"constant_low": 1, "constant_high": 1}


def make_authors_model(monkeypatch):
    """Have a `Reader` treated as the authors' networks; the list keeps what it was given."""
    seen = []

    class Recorder(Reader):
        def encode(self, batch, noise=None):
            seen.append((Batch.of(batch).mask, noise))
            return super().encode(batch, noise)

    monkeypatch.setattr(series, "PublishedSeries", Recorder)
    return Recorder, seen


def test_heads_of_the_authors_protocol_learn_from_new_draws_without_a_mask(monkeypatch):
    make_stays(monkeypatch)
    model, seen = make_authors_model(monkeypatch)
    options = make_settings("physionet", epochs=20)
    figures = series.authors_protocol(model(4, spread=0.1), options, 0)
    # Of the ward two rounds of 20 epochs of five passes over training and validation, and of five
    # over test; of death an epoch is one pass over training.
    assert len(seen) == 2 * (20 * 10 + 5) + 20 + 1
    assert all(mask is None and noise is not None for mask, noise in seen)
    assert figures["icu_accuracy_authors_protocol"] > 0.9
    assert figures["mortality_auroc_authors_protocol"] > 0.95
    assert figures["mortality_auprc_authors_protocol"] > 0.9


def test_days_of_the_authors_protocol_are_turned(monkeypatch):
    make_oil(monkeypatch)
    model, _ = make_authors_model(monkeypatch)
    figures = series.evaluate_series(model(24), make_settings("etth1", epochs=40), 0)
    assert figures["oil_temperature_mae_authors_protocol"] > 3.5  # 3.99 is the best constant's
    assert figures["oil_temperature_mae"] < 3


def test_what_was_not_observed_is_left_out_of_codes_and_means():
    frames, mask = torch.ones(2, 12, 4), torch.ones(2, 12, 4, dtype=torch.bool)
    mask[0, 5:], mask[1, 3:9, 0] = False, False
    gaps = Sequences(frames * mask, mask=mask)
    assert series.encode_series(Reader(3), gaps)[2].tolist() == [2, 4]  # lengths
    (raw,) = series.read_plainly(Reader(3), [gaps], "logistic", [])
    assert torch.equal(raw[:, :4], torch.ones(2, 4))
    assert torch.equal(raw[:, 4], torch.tensor([5 / 12, 6 / 12]))
    whole = series.read_plainly(Reader(3), [Sequences(frames)], "logistic", [])
    assert whole[0].shape == (2, 4)


def test_the_mask_of_a_window_has_no_value_and_s_stands_beside_it():
    frames, mask = torch.randn(2, 12, 4), torch.ones(2, 12, 4, dtype=torch.bool)
    mask[0, :2, 0] = False
    gaps = Sequences(frames * mask, mask=mask)
    codes = torch.tensor([[7.0], [8.0]]), torch.zeros(2, 4, 1), torch.tensor([4, 4])

    def read(data, name):
        return series.read_plainly(Reader(3), [data], name, [codes])[0]

    mask_read = read(gaps, "mask")
    assert torch.allclose(mask_read, torch.tensor([[1 / 3, 1, 1, 1], [1, 1, 1, 1]]))
    assert torch.equal(read(gaps, "mask_static"), torch.cat([codes[0], mask_read], 1))
    frames[1, 1], mask[1, 1] = 0, False
    later = Sequences(frames * mask, mask=mask)
    assert torch.equal(read(later, "first_hour"), torch.tensor([[0.0, 1, 1, 1], [1, 1, 1, 1]]))
    assert torch.allclose(read(later, "means"), (frames * mask)[:, :3].mean(1))  # gaps are 0
