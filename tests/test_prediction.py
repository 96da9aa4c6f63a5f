"""Paper C's heads: they learn what is there, and never mix up their series."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from helpers import seeded
from torch import nn
from unbraid.data.sequences import Sequences
from unbraid.networks import count_parameters

from papers.c.heads import (
    CLASS,
    EVENT,
    VALUE,
    CodedSeries,
    EventHead,
    HeadTraining,
    Prediction,
    ValueHead,
    class_head,
    fit_head,
    predict_class,
    predict_event,
    predict_value,
    run_heads,
)

BASELINES = ("logistic", "boosting")


def code(static, dynamic, lengths=None, **numbers):
    """Codes of series whose steps do not matter here."""
    if lengths is None:
        lengths = torch.full((len(static),), dynamic.shape[1])
    sequences = Sequences(torch.zeros(len(static), 1, 1))
    return CodedSeries(sequences, static, dynamic, lengths, **numbers)


def events(generator, count, windows=6, signal=2.5):
    """An event with log-odds of `signal` each for a static unit and a unit of the last window."""
    static = torch.randn(count, 4, generator=generator)
    dynamic = torch.randn(count, windows, 3, generator=generator)
    lengths = torch.randint(1, windows + 1, (count,), generator=generator)
    last = dynamic[torch.arange(count), lengths - 1, 0]
    odds = signal * (static[:, 0] + last) - 1
    target = (torch.rand(count, generator=generator) < odds.sigmoid()).long()
    raw = static[:, :2] + torch.randn(count, 2, generator=generator)
    return target, code(static, dynamic, lengths, raw=raw)


def angles(generator, count, classes=3):
    """The class is the sector of two units' angle: no linear function of them."""
    static = torch.randn(count, 4, generator=generator)
    turn = (torch.atan2(static[:, 1], static[:, 0]) / torch.pi + 1) / 2
    target = (turn * classes).long() % classes
    return target, code(static, torch.zeros(count, 1, 1), raw=static[:, 2:])


def values(generator, count, windows=8):
    """3 + 2 x static unit + dynamic unit, with noise of .1."""
    static = torch.randn(count, 2, generator=generator)
    dynamic = torch.randn(count, windows, 3, generator=generator)
    noise = 0.1 * torch.randn(count, windows, generator=generator)
    target = 3 + 2 * static[:, :1] + dynamic[..., 0] + noise
    return target, code(static, dynamic, raw=dynamic[..., :1])


def three(make, *sizes):
    """Targets and codes of training, validation and test series."""
    generator = seeded()
    return tuple(zip(*(make(generator, size) for size in sizes), strict=True))


def test_event_head_learns_more_than_models_without_codes():
    result = predict_event(
        *three(events, 600, 150, 300), seeds=(0, 1), training=replace(EVENT, epochs=15)
    )
    assert tuple(result.outputs) == ("head", "trivial", *BASELINES)
    assert result.score("auroc") > 0.87  # the log-odds themselves rank with .93
    assert result.score("auroc", "trivial") == 0.5
    assert result.score("auprc", "trivial") == pytest.approx(result.target.mean())
    for name in BASELINES:  # raw means see the static part through noise, and no windows
        assert 0.55 < result.score("auroc", name) < 0.85
    assert result.outputs["head"].shape == (2, 300)
    interval = result.interval("auroc", draws=200)
    assert 0.8 < interval.low < interval.mean == pytest.approx(result.score("auroc"))
    assert interval.n == 300 and interval.unit == "sequence"


def test_class_head_learns():
    result = predict_class(
        *three(angles, 400, 100, 200), seeds=(0,), training=replace(CLASS, epochs=30)
    )
    assert result.score("accuracy") > 0.85 and result.score("accuracy", "trivial") < 0.45
    for name in BASELINES:  # raw units without information
        assert abs(result.score("accuracy", name) - 1 / 3) < 0.1


def test_value_head_learns():
    result = predict_value(
        *three(values, 100, 30, 40), seeds=(0,), training=replace(VALUE, epochs=50)
    )
    assert result.score("mae") < 0.5
    # Ridge sees the window's part and not the static one, whose mean absolute value is known.
    ridge = result.score("mae", "ridge")
    assert ridge == pytest.approx(2 * np.sqrt(2 / np.pi), rel=0.35)
    assert result.interval("mae", draws=200).high < ridge


def test_constants_by_hand():
    target = torch.tensor([[0.0, 1.0], [2.0, 9.0]])
    targets = [target.repeat(count, 1) for count in (3, 1, 2)]
    coded = [code(torch.zeros(len(each), 1), torch.zeros(len(each), 2, 1)) for each in targets]
    result = predict_value(targets, coded, seeds=(0,), training=replace(VALUE, epochs=1))
    for name, constant in (("constant mean", 3), ("constant median", 1.5)):
        assert result.score("mae", name) == pytest.approx(float((target - constant).abs().mean()))
    targets = [torch.tensor(each) for each in ([0, 0, 1, 2], [1, 1], [1, 1, 2, 0])]
    coded = [code(torch.zeros(len(each), 1), torch.zeros(len(each), 1, 1)) for each in targets]
    result = predict_class(targets, coded, seeds=(0,), training=replace(CLASS, epochs=1))
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
    assert prediction.interval("accuracy", of="trivial", less="trivial").mean == 0


def test_the_epoch_is_chosen_on_validation_and_never_on_test():
    targets, coded = three(events, 100, 40, 60)

    def predict(epochs=8, turned=()):
        """The head's outputs, where some splits have their labels turned round."""
        given = [1 - each if n in turned else each for n, each in enumerate(targets)]
        return predict_event(
            given, coded, seeds=(0,), training=replace(EVENT, epochs=epochs)
        ).outputs["head"]

    late = predict()
    # With validation labels turned round, learning makes validation worse: epoch 1 is kept.
    early = predict(turned=(1,))
    assert np.array_equal(early, predict(epochs=1, turned=(1,)))
    assert not np.array_equal(early, late) and np.array_equal(predict(turned=(2,)), late)


def test_no_epoch_without_a_finite_loss_is_chosen():
    targets, coded = three(angles, 20, 10, 10)
    coded[1].static[0, 0] = np.nan
    with pytest.raises(ValueError, match="static"):
        predict_class(targets, coded, seeds=(0,), training=replace(CLASS, epochs=1))


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
        logits, _ = run_heads(make_head, training, draw, (0,), rounds, tests=2)
        return float((logits.argmax(2) == target).double().mean())

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
