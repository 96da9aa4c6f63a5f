"""Predictors on frozen codes: they learn what is there, and never mix up their sequences."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from unbraid.networks import count_parameters

from papers.heads import (
    EventHead,
    Examples,
    HeadTraining,
    Prediction,
    ValueHead,
    class_head,
    fit_head,
    predict_class,
    predict_event,
    predict_on_draws,
    predict_value,
)

BASELINES = ("logistic", "boosting")


def events(generator, count, windows=6, signal=2.5):
    """An event with log-odds of `signal` each for a static unit and a unit of the last window."""
    static, dynamic = generator.normal(size=(count, 4)), generator.normal(size=(count, windows, 3))
    lengths = generator.integers(1, windows + 1, size=count)
    last = dynamic[np.arange(count), lengths - 1, 0]
    target = generator.random(count) < 1 / (1 + np.exp(1 - signal * (static[:, 0] + last)))
    raw = static[:, :2] + generator.normal(size=(count, 2))
    return Examples(target.astype(int), static, dynamic, lengths, raw)


def angles(generator, count, classes=3):
    """The class is the sector of two units' angle: no linear function of them."""
    static = generator.normal(size=(count, 4))
    turn = (np.arctan2(static[:, 1], static[:, 0]) / np.pi + 1) / 2
    return Examples((turn * classes).astype(int) % classes, static, raw=static[:, 2:])


def values(generator, count, windows=8):
    """3 + 2 x static unit + dynamic unit, with noise of .1."""
    static, dynamic = generator.normal(size=(count, 2)), generator.normal(size=(count, windows, 3))
    target = 3 + 2 * static[:, :1] + dynamic[..., 0] + 0.1 * generator.normal(size=(count, windows))
    return Examples(target, static, dynamic, raw=dynamic[..., :1])


def three(make, *sizes, **options):
    generator = np.random.default_rng(0)
    return [make(generator, size, **options) for size in sizes]


def test_event_head_learns_and_stands_beside_the_trivial():
    result = predict_event(*three(events, 600, 150, 300), seeds=(0, 1), epochs=25)
    scores = result.scores
    assert tuple(scores) == ("head", "trivial", *BASELINES)
    assert scores["head"]["auroc"] > 0.87  # the log-odds themselves rank with .93
    assert scores["trivial"]["auroc"] == 0.5
    assert scores["trivial"]["average_precision"] == pytest.approx(result.target.mean())
    for name in BASELINES:  # raw means see the static part through noise, and no windows
        assert 0.55 < scores[name]["auroc"] < 0.8
    assert result.outputs["head"].shape == (2, 300)
    interval = result.interval("auroc", draws=200)
    assert 0.8 < interval.low < interval.mean == pytest.approx(scores["head"]["auroc"])
    assert interval.n == 300 and interval.unit == "sequence"


def test_class_head_learns():
    scores = predict_class(*three(angles, 400, 100, 200), seeds=(0,), epochs=30).scores
    assert scores["head"]["accuracy"] > 0.85
    assert scores["trivial"]["accuracy"] < 0.45
    for name in BASELINES:  # raw units without information
        assert abs(scores[name]["accuracy"] - 1 / 3) < 0.1


def test_the_linear_model_on_the_window_reads_the_window_alone():
    """It knows the class where the window is a code of it, and not where only raw is."""
    parts = three(angles, 400, 100, 200)
    told = [np.eye(3)[part.target.astype(int)] for part in parts]
    for names, known in ((("window", "raw"), "window"), (("raw", "window"), "logistic")):
        given = []
        for part, answer in zip(parts, told, strict=True):
            values = (answer, part.static[:, 2:])  # the second without information
            given.append(replace(part, **dict(zip(names, values, strict=True))))
        scores = predict_class(*given, seeds=(0,), epochs=1).scores
        for name in ("window", "logistic"):
            expected = 1 if name == known else pytest.approx(1 / 3, abs=0.1)
            assert scores[name]["accuracy"] == expected


def test_value_head_learns():
    result = predict_value(*three(values, 100, 30, 40), seeds=(0,), epochs=60)
    assert result.scores["head"]["mean_absolute_error"] < 0.4
    # Ridge sees the window's part and not the static one, whose mean absolute value is known.
    ridge = result.scores["ridge"]["mean_absolute_error"]
    assert ridge == pytest.approx(2 * np.sqrt(2 / np.pi), rel=0.25)
    assert result.interval("mean_absolute_error", draws=200).high < ridge


def test_constants_by_hand():
    target = np.array([[0.0, 1.0], [2.0, 9.0]])
    parts = []
    for count in (6, 2, 4):
        zeros = np.zeros((count, 2, 1))
        parts.append(Examples(target[np.arange(count) % 2], zeros[:, 0], zeros))
    scores = predict_value(*parts, seeds=(0,), epochs=1).scores
    mean, median = np.abs(target - 3).mean(), np.abs(target - 1.5).mean()
    assert scores["constant mean"]["mean_absolute_error"] == pytest.approx(mean)
    assert scores["constant median"]["mean_absolute_error"] == pytest.approx(median)
    parts = [Examples(c, np.zeros((len(c), 1))) for c in ([0, 0, 1, 2], [1, 1], [1, 1, 2, 0])]
    result = predict_class(*parts, seeds=(0,), epochs=1)
    assert (result.outputs["trivial"] == 1).all()
    assert set(result.outputs) == {"head", "trivial"}  # no raw means were given


class Echo(nn.Module):
    """Says what it was given, and has something to train."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))

    def forward(self, first, second):
        assert torch.equal(first, second)
        return first + 0 * self.nothing


def test_inputs_and_targets_stay_together_in_every_batch():
    batches = []

    def loss(output, target):
        assert torch.equal(output.detach(), target)
        batches.append(target.tolist())
        return output.sum()

    rows = torch.arange(23.0)
    few = rows[:5]
    data = {"train": ((rows, rows), rows), "validation": ((few, few), few)}
    fit_head(Echo(), HeadTraining(loss, epochs=3, batch=10, passes=2), data.__getitem__)
    trained = [batch for batch in batches if len(batch) != 5]
    assert sorted(sum(trained[:3], [])) == rows.tolist()  # one pass: each sequence once
    assert len(trained) == 18 and {len(batch) for batch in trained} == {7, 8}
    assert trained[:3] != trained[3:6]  # in another order


def test_what_lies_beyond_the_last_valid_window_is_not_read():
    parts = three(events, 60, 20, 40)
    base = predict_event(*parts, seeds=(0,), epochs=2)
    spoilt = []
    for part in parts:
        dynamic = part.dynamic.copy()
        dynamic[np.arange(6) >= part.lengths[:, None]] = np.nan
        spoilt.append(replace(part, dynamic=dynamic))
    again = predict_event(*spoilt, seeds=(0,), epochs=2)
    assert np.array_equal(again.outputs["head"], base.outputs["head"])


def test_the_event_head_ends_with_the_last_valid_window():
    torch.manual_seed(0)
    head, static, dynamic = EventHead(2, 3).eval(), torch.randn(2, 2), torch.randn(2, 5, 3)
    found = head(static, dynamic, torch.tensor([2, 5]))
    cut = head(static[:1], dynamic[:1, :2], torch.tensor([2]))
    torch.testing.assert_close(found[:1], cut)


def test_a_difference_of_two_predictors_is_paired():
    """Of 20 classes the first predictor gets 15, the second 10, which are among the 15."""
    target, numbers = np.zeros(20), np.arange(20)
    outputs = {"head": np.stack([numbers >= 15] * 2), "trivial": (numbers >= 10)[None]}
    prediction = Prediction(target, outputs, ("accuracy",))
    ahead = prediction.interval("accuracy", less="trivial")
    assert ahead.mean == pytest.approx(0.25) and 0 <= ahead.low < 0.25 < ahead.high < 0.55
    other = prediction.interval("accuracy", of="trivial")
    assert other.mean == 0.5 and other.low < 0.35 and other.high > 0.65
    same = prediction.interval("accuracy", of="trivial", less="trivial")
    assert same.mean == 0


def test_a_score_that_was_not_computed_is_refused_by_its_name():
    prediction = Prediction(np.zeros(4), {"head": np.zeros((1, 4))}, ("accuracy",))
    for asked in ({"metric": "f1"}, {"of": "ridge"}, {"less": "ridge"}):
        with pytest.raises(ValueError, match="expected one of .* found '(f1|ridge)'"):
            prediction.interval(**{"metric": "accuracy"} | asked)


def test_the_epoch_is_chosen_on_validation_and_never_on_test():
    train, validation, test = three(events, 100, 40, 60)
    turned = replace(validation, target=1 - validation.target)
    late = predict_event(train, validation, test, seeds=(0,), epochs=12)
    # With validation labels turned round, learning makes validation worse: epoch 1 is kept.
    early = predict_event(train, turned, test, seeds=(0,), epochs=12)
    stopped = predict_event(train, turned, test, seeds=(0,), epochs=1)
    assert np.array_equal(early.outputs["head"], stopped.outputs["head"])
    assert not np.array_equal(early.outputs["head"], late.outputs["head"])
    other = predict_event(
        train, validation, replace(test, target=1 - test.target), seeds=(0,), epochs=12
    )
    assert np.array_equal(other.outputs["head"], late.outputs["head"])


def test_on_draws_the_last_epoch_is_kept_or_that_of_the_smallest_validation_loss():
    """The inputs of training turn round after twenty epochs, so that only the first are of use."""
    loss, target = nn.functional.cross_entropy, torch.arange(60) % 2
    make_head = partial(class_head, 1, 2)
    calls = []

    def draw(split):
        calls.append(split)
        turned = split == "train" and calls.count("train") > 20 * 2
        sign = torch.where(target == 1, 1.0, -1.0) * (-1 if turned else 1)
        return (3 * sign[:, None],), target

    def score(epochs, choose=False, rounds=1):
        calls.clear()
        training = HeadTraining(loss, epochs, batch=5, passes=2, equal=False, choose=choose)
        prediction = predict_on_draws(make_head, training, draw, ("accuracy",), rounds=rounds)
        return prediction.scores["head"]["accuracy"]

    def count():
        return [calls.count(split) for split in ("train", "validation", "test")]

    assert score(20) == 1 and score(80) == 0 and count() == [160, 0, 2]
    assert score(80, choose=True) == 1 and count() == [160, 160, 2]
    assert score(20, rounds=5) < 1  # the same head is trained on
    before = torch.random.get_rng_state()
    assert score(2) == score(2) and torch.equal(before, torch.random.get_rng_state())


def test_heads_are_the_papers():
    assert count_parameters(EventHead(8, 8)) == 4 * 32 * (8 + 32) + 2 * 4 * 32 + (40 * 16 + 16) + 17
    assert count_parameters(ValueHead(8, 8)) == 2 * 16 + (16 * 32 + 32) + (32 * 8 + 8) + 9
    head = ValueHead(2, 3, last_activation=True)
    with torch.no_grad():
        head.layers[-2].weight.zero_()
        head.layers[-2].bias.fill_(-5.0)
        assert torch.allclose(head(torch.zeros(2, 2), torch.zeros(2, 4, 3)), torch.tensor(-0.05))


EVENTS, CLASSES, VALUES = (
    three(events, 20, 10, 10),
    three(angles, 20, 10, 10),
    three(values, 6, 3, 4),
)
X, W, Y = np.zeros((4, 2)), np.zeros((4, 3, 2)), np.arange(4) % 2


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Examples(Y, X[:3]), "static"),
        (lambda: Examples([], X[:0]), "target"),
        (lambda: Examples(Y, X, W, [3, 2, 0, 1]), "lengths"),
        (lambda: Examples(Y, np.where(X == 0, np.nan, X)), "static"),
        (lambda: predict_event(*EVENTS[:2], CLASSES[2]), "dynamic"),
        (lambda: predict_event(*(replace(v, target=v.target + 1) for v in EVENTS)), "0 or 1"),
        (lambda: predict_class(*(replace(v, target=v.target - 0.5) for v in CLASSES)), "classes 0"),
        (lambda: predict_class(*CLASSES[:2], replace(CLASSES[2], raw=None)), "raw"),
        (lambda: predict_class(*CLASSES[:2], replace(CLASSES[2], window=X[[0] * 10])), "window"),
        (lambda: predict_value(*(replace(v, target=v.target[:, :4]) for v in VALUES)), "target"),
    ],
)
def test_bad_input_is_refused_by_its_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()
