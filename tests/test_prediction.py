"""Paper C's heads: they learn what is there, and never mix up their series."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from helpers import count_parameters, seeded
from torch import nn

from papers.c.downstream import (
    CLASS,
    EVENT,
    VALUE,
    ClassHead,
    EventHead,
    Prediction,
    Task,
    ValueHead,
    fit_head,
    fit_rivals,
    predict,
    run_heads,
)


def events(generator, count, windows=6):
    """An event with log-odds of 2.5 each for a static unit and a unit of the last window."""
    static = torch.randn(count, 4, generator=generator)
    dynamic = torch.randn(count, windows, 3, generator=generator)
    lengths = torch.randint(1, windows + 1, (count,), generator=generator)
    odds = 2.5 * (static[:, 0] + dynamic[torch.arange(count), lengths - 1, 0]) - 1
    target = (torch.rand(count, generator=generator) < odds.sigmoid()).float()
    raw = static[:, :2] + torch.randn(count, 2, generator=generator)
    return target, (static, dynamic, lengths), raw


def angles(generator, count):
    """The class is the sector, of three, of two units' angle: no linear function of them."""
    static = torch.randn(count, 4, generator=generator)
    turn = (torch.atan2(static[:, 1], static[:, 0]) / torch.pi + 1) / 2
    codes = static, torch.zeros(count, 1, 1), torch.ones(count)
    return (turn * 3).long() % 3, codes, static[:, 2:]


def values(generator, count, windows=8):
    """3 + 2 x static unit + dynamic unit, with noise of .1."""
    static = torch.randn(count, 2, generator=generator)
    dynamic = torch.randn(count, windows, 3, generator=generator)
    noise = 0.1 * torch.randn(count, windows, generator=generator)
    target = 3 + 2 * static[:, :1] + dynamic[..., 0] + noise
    return target, (static, dynamic, torch.ones(count)), dynamic[..., :1]


def learn(make, sizes, task, epochs, seeds=(0,)):
    """What is predicted of made series of training, validation and test."""
    generator = seeded()
    targets, codes, raw = zip(*(make(generator, size) for size in sizes), strict=True)
    return predict(replace(task, epochs=epochs), seeds, targets, codes, {"linear": raw})


def test_event_head_learns_more_than_models_without_codes():
    result = learn(events, (600, 150, 300), EVENT, 15, seeds=(0, 1))
    assert tuple(result.outputs) == ("head", "trivial", "linear")
    assert result.score("auroc") > 0.87  # the log-odds themselves rank with .93
    assert result.score("auroc", "trivial") == 0.5
    assert result.score("auprc", "trivial") == pytest.approx(result.target.mean())
    # Raw means see the static part through noise, and no windows.
    assert 0.55 < result.score("auroc", "linear") < 0.85
    assert result.outputs["head"].shape == (2, 300)


def test_class_head_learns():
    result = learn(angles, (400, 100, 200), CLASS, 30)
    assert result.score("accuracy") > 0.85 and result.score("accuracy", "trivial") < 0.45
    assert abs(result.score("accuracy", "linear") - 1 / 3) < 0.1  # raw units tell nothing


def test_value_head_learns():
    result = learn(values, (100, 30, 40), VALUE, 50)
    assert result.score("mae") < 0.5
    # Ridge sees the window's part and not the static one, whose mean absolute value is known.
    assert result.score("mae", "linear") == pytest.approx(2 * np.sqrt(2 / np.pi), rel=0.35)
    assert result.score("mae") < result.score("mae", "linear") / 2


def test_constants_and_linear_models_learn_from_training_alone_as_heads_do():
    def predict_blindly(task, targets):
        ones = [torch.ones(len(each)) for each in targets]
        codes = [(each[:, None], each[:, None, None].expand(-1, 2, 1), each) for each in ones]
        return predict(replace(task, epochs=1), (0,), targets, codes, {})

    train, test = torch.tensor([[0.0, 1.0], [2.0, 9.0]]), torch.tensor([[3.0, 5.0]])
    result = predict_blindly(VALUE, [train, 100 * train, test])  # the mean of training is 3
    assert result.score("mae", "constant_mean") == pytest.approx(1)
    targets = [torch.tensor(each) for each in ([0, 0, 1, 2], [1, 1], [1, 1, 2, 0])]
    result = predict_blindly(CLASS, targets)
    assert (result.outputs["trivial"] == 0).all()  # 1 is the commonest with validation
    assert set(result.outputs) == {"head", "trivial"}  # no raw means were given

    lines = torch.arange(4.0)[:, None]
    rising, falling = lines, -lines  # in training, and in validation
    readings = {"linear": [lines[:, None]] * 3}  # one number of one element
    result = fit_rivals(VALUE, [rising, falling, rising], readings)
    assert (np.diff(result.outputs["linear"].flatten()) > 0.5).all()


def test_a_score_has_the_interval_of_the_test_series():
    """Of 400 series half are named rightly; 40 events have an area of .5, and a month 28 days."""
    right = Prediction(np.arange(400) % 2, {"trivial": np.zeros((1, 400))})
    assert right.interval("accuracy", "trivial") == pytest.approx((0.5, 0.451, 0.549), abs=0.004)
    events = Prediction(np.arange(400) % 10 == 0, {"blind": np.ones((1, 400))})
    assert events.interval("auroc", "blind") == (0.5, 0.5, 0.5)
    assert events.interval("auprc", "blind").half_width == pytest.approx(0.0294, rel=0.1)
    months = np.repeat([[0.0], [2.0]], 28, 1)  # one is right on all days, one on none
    found = Prediction(months, {"constant_mean": np.zeros((1, 2, 28))})
    assert found.interval("mae", "constant_mean") == (1, 0, 2)  # as if of two numbers


def test_draws_without_an_event_have_no_rank():
    rare = Prediction(np.arange(6) == 0, {"good": np.arange(6.0)[None, ::-1]})
    assert rare.interval("auroc", "good") == (1, 1, 1)


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
    fit_head(Echo(), Task(Echo, loss, (), epochs=3, batch=10, passes=2), data.__getitem__)
    trained = [batch for batch in batches if len(batch) != 5]
    assert sorted(sum(trained[:3], [])) == rows.tolist()  # one pass: each sequence once
    assert len(trained) == 18 and {len(batch) for batch in trained} == {7, 8}
    assert trained[:3] != trained[3:6]  # in another order


def test_the_event_head_ends_with_the_last_valid_window():
    head, static, dynamic = EventHead(2, 3).eval(), torch.randn(2, 2), torch.randn(2, 5, 3)
    found = head(static, dynamic, torch.tensor([2, 5]))
    cut = head(static[:1], dynamic[:1, :2], torch.tensor([2]))
    torch.testing.assert_close(found[:1], cut)


def test_the_epoch_is_chosen_on_validation_and_never_on_test():
    generator = seeded()
    targets, codes, _ = zip(*(events(generator, size) for size in (100, 40, 60)), strict=True)

    def learn_turned(epochs=8, turned=()):
        """The head's outputs, where some splits have their labels turned round."""
        given = [1 - each if n in turned else each for n, each in enumerate(targets)]
        return predict(replace(EVENT, epochs=epochs), (0,), given, codes, {}).outputs["head"]

    late = learn_turned()
    # With validation labels turned round, learning makes validation worse: epoch 1 is kept.
    early = learn_turned(turned=(1,))
    assert np.array_equal(early, learn_turned(epochs=1, turned=(1,)))
    assert not np.array_equal(early, late) and np.array_equal(learn_turned(turned=(2,)), late)
    codes[1][0][0, 0] = np.nan
    with pytest.raises(ValueError, match="static"):  # No loss of validation is finite.
        learn_turned()


def test_on_draws_the_last_epoch_is_kept_or_that_of_the_smallest_validation_loss():
    """The inputs of training turn round after twenty epochs, so that only the first are of use."""
    target, calls = torch.arange(60) % 2, []

    def draw(split):
        calls.append(split)
        turned = split == "train" and calls.count("train") > 20 * 2
        sign = torch.where(target == 1, 1.0, -1.0) * (-1 if turned else 1)
        return (3 * sign[:, None], target, target), target

    def score(epochs, choose=False, rounds=1):
        calls.clear()
        task = replace(CLASS, epochs=epochs, batch=5, passes=2, equal=False, choose=choose)
        found = run_heads(partial(ClassHead, 1, 1, 2), task, draw, (0,), rounds, tests=2)
        return found.score("accuracy")

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
