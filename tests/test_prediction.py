"""Predictors on frozen codes: they learn what is there, stay at chance where nothing is, and never mix up their sequences."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from unbraid.measures.prediction import (
    EventHead,
    Examples,
    ValueHead,
    fit_head,
    predict_class,
    predict_event,
    predict_value,
)
from unbraid.networks import count_parameters

BASE = ("constant", "logistic on raw means", "gradient boosting on raw means")


def events(generator, count, windows=6, signal=2.5):
    """An event that hangs on the static code's first unit and on the first unit of the last valid window, log-odds `signal` each."""
    static, dynamic = generator.normal(size=(count, 4)), generator.normal(size=(count, windows, 3))
    lengths = generator.integers(1, windows + 1, size=count)
    last = dynamic[np.arange(count), lengths - 1, 0]
    target = generator.random(count) < 1 / (1 + np.exp(1 - signal * (static[:, 0] + last)))
    raw = np.stack(
        [static[:, 0] + generator.normal(size=count), generator.normal(size=count)], axis=1
    )
    return Examples(target.astype(int), static, dynamic, lengths, raw)


def angles(generator, count, classes=3, noise=False):
    """The class is the sector of the first two units' angle: no linear function of them, but the head's hidden layer suffices."""
    static = generator.normal(size=(count, 4))
    target = (
        np.floor((np.arctan2(static[:, 1], static[:, 0]) / np.pi + 1) / 2 * classes).astype(int)
        % classes
    )
    target = generator.integers(classes, size=count) if noise else target
    return Examples(target, static, raw=static[:, 2:])


def values(generator, count, windows=8, noise=False):
    """3 + 2 x static unit + dynamic unit, with noise of .1; or noise of 2 alone."""
    static, dynamic = generator.normal(size=(count, 2)), generator.normal(size=(count, windows, 3))
    target = 3 + 2 * static[:, :1] + dynamic[..., 0] + 0.1 * generator.normal(size=(count, windows))
    target = 3 + 2 * generator.normal(size=(count, windows)) if noise else target
    return Examples(target, static, dynamic, raw=dynamic[..., :1])


def three(make, *sizes, seed=0, **options):
    generator = np.random.default_rng(seed)
    return [make(generator, size, **options) for size in sizes]


@pytest.fixture(scope="module")
def event():
    return predict_event(*three(events, 600, 150, 300), seeds=(0, 1), epochs=25)


def test_event_head_learns_and_stands_beside_the_trivial(event):
    assert tuple(event.outputs) == ("head", *BASE)
    # The log-odds themselves rank these 300 with .93: the head may not be far from what is possible.
    assert (
        event.scores["head"]["auroc"].value > 0.87
        and event.scores["head"]["auroc"].over_sequences.low > 0.8
    )
    assert event.scores["constant"]["auroc"].value == 0.5
    base_rate = event.target.mean()
    assert event.scores["constant"]["average_precision"].value == pytest.approx(base_rate)
    assert event.scores["head"]["average_precision"].over_sequences.low > base_rate + 0.2
    for name in BASE[1:]:  # raw means see the static part through noise, and nothing of the windows
        assert 0.55 < event.scores[name]["auroc"].value < 0.8
        assert event.compare("head", name).p_value < 0.001
    assert (
        event.outputs["head"].shape == (2, 300) and len(event.scores["head"]["auroc"].by_seed) == 2
    )
    assert 0 <= event.outputs["head"].min() and event.outputs["head"].max() <= 1
    assert event.scores["head"]["auroc"].over_seeds.n == 2 and event.sequences == {
        "train": 600,
        "validation": 150,
        "test": 300,
    }


def test_a_result_is_plain_data(event):
    plain = json.loads(json.dumps(event.as_dict()))
    assert plain["scores"]["head"]["auroc"]["value"] == event.scores["head"]["auroc"].value
    assert (
        plain["task"] == "event"
        and len(plain["chosen_epochs"]) == 2
        and set(plain["scores"]) == {"head", *BASE}
    )


def test_class_head_learns():
    found = predict_class(*three(angles, 400, 100, 200), seeds=(0,), epochs=15, learning_rate=1e-2)
    assert found.scores["head"]["accuracy"].value > 0.9
    assert found.scores["majority"]["accuracy"].value < 0.45
    for name in BASE[1:]:  # raw units that know nothing
        assert (
            found.scores[name]["accuracy"].over_sequences.low
            < 1 / 3
            < found.scores[name]["accuracy"].over_sequences.high + 0.03
        )
    assert found.compare("head", "majority").p_value < 1e-6


def test_value_head_learns_and_linear_regression_is_as_good_as_it_should():
    found = predict_value(*three(values, 100, 30, 40), seeds=(0,), epochs=60)
    assert found.scores["head"]["mean_absolute_error"].value < 0.4
    # Ridge sees the window's part and not the static one, whose mean absolute value is 2 sqrt(2 / pi).
    assert found.scores["ridge on raw means"]["mean_absolute_error"].value == pytest.approx(
        2 * np.sqrt(2 / np.pi), rel=0.25
    )
    assert found.compare("head", "ridge on raw means").difference.high < 0


def test_heads_stay_at_chance_on_noise():
    noise = predict_event(*three(events, 200, 60, 300, signal=0.0, seed=1), seeds=(0,), epochs=8)
    for name in ("head", *BASE):
        area = noise.scores[name]["auroc"].over_sequences
        assert area.low <= 0.5 <= area.high
    guess = predict_class(
        *three(angles, 200, 60, 300, noise=True, seed=1), seeds=(0,), epochs=4
    ).scores["head"]["accuracy"]
    assert guess.over_sequences.low < 1 / 3 < guess.over_sequences.high
    flat = predict_value(*three(values, 60, 20, 40, noise=True, seed=1), seeds=(0,), epochs=60)
    assert flat.compare("head", "constant median").difference.high > 0  # no better than a constant


def test_constants_by_hand():
    target = np.array([[0.0, 1.0], [2.0, 9.0]])
    parts = [
        Examples(target[rows % 2], np.zeros((len(rows), 1)), np.zeros((len(rows), 2, 1)))
        for rows in map(np.arange, (6, 2, 4))
    ]
    found = predict_value(*parts, seeds=(0,), epochs=1)
    assert found.scores["constant mean"]["mean_absolute_error"].value == pytest.approx(
        np.abs(target - 3).mean()
    )
    assert found.scores["constant median"]["mean_absolute_error"].value == pytest.approx(
        np.abs(target - 1.5).mean()
    )
    parts = [
        Examples(classes, np.zeros((len(classes), 1)))
        for classes in ([0, 1, 1, 2], [1], [1, 1, 2, 0])
    ]
    found = predict_class(*parts, seeds=(0,), epochs=1)
    assert (found.outputs["majority"] == 1).all() and found.scores["majority"][
        "accuracy"
    ].value == 0.5
    assert set(found.outputs) == {"head", "majority"}  # no raw means given, none used


class Echo(nn.Module):
    """Says what it was given, and has something to train."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))

    def forward(self, first, second):
        assert torch.equal(first, second)
        return first + 0 * self.nothing


def test_inputs_and_targets_stay_together_in_every_batch():
    """Every batch the loop makes, in training and validation, pairs each input with its own target."""
    seen = []

    def loss(output, target):
        assert torch.equal(output.detach(), target)
        seen.append(target.tolist())
        return output.sum()

    rows = torch.arange(23.0)
    fit_head(
        Echo,
        loss,
        ((rows, rows), rows),
        ((rows[:5], rows[:5]), rows[:5]),
        epochs=3,
        batch=10,
        learning_rate=0.1,
        passes=2,
    )
    training = [batch for batch in seen if len(batch) != 5]
    assert (
        sorted(np.concatenate(training[:3]).tolist()) == rows.tolist()
    )  # one pass: each sequence once
    assert len(training) == 18 and {len(batch) for batch in training} == {7, 8}
    assert training[:3] != training[3:6]  # in another order


def test_labels_of_other_sequences_cost_what_was_learnt():
    """The fault of collecting labels apart from codes: the same head, the same data, labels of the training set permuted."""
    train, validation, test = three(values, 100, 30, 40)
    order = np.random.default_rng(0).permutation(100)
    together = predict_value(train, validation, test, seeds=(0,), epochs=40)
    apart = predict_value(
        replace(train, target=train.target[order]), validation, test, seeds=(0,), epochs=40
    )
    assert (
        together.scores["head"]["mean_absolute_error"].value
        < 0.5 * apart.scores["head"]["mean_absolute_error"].value
    )
    # Permuting whole sequences, codes and labels alike, is no change of the data.
    moved = Examples(
        train.target[order], train.static[order], train.dynamic[order], raw=train.raw[order]
    )
    same = predict_value(moved, validation, test, seeds=(0,), epochs=40)
    assert (
        same.scores["head"]["mean_absolute_error"].value
        < 0.5 * apart.scores["head"]["mean_absolute_error"].value
    )
    assert same.scores["ridge on raw means"]["mean_absolute_error"].value == pytest.approx(
        together.scores["ridge on raw means"]["mean_absolute_error"].value
    )


def test_what_lies_beyond_the_last_valid_window_is_not_read():
    parts = three(events, 60, 20, 40)
    base = predict_event(*parts, seeds=(0,), epochs=2)
    spoilt = []
    for part in parts:
        dynamic = part.dynamic.copy()
        dynamic[np.arange(6) >= part.lengths[:, None]] = np.nan
        spoilt.append(replace(part, dynamic=dynamic))
    assert np.array_equal(
        predict_event(*spoilt, seeds=(0,), epochs=2).outputs["head"], base.outputs["head"]
    )
    head, static, dynamic = EventHead(2, 3).eval(), torch.randn(4, 2), torch.randn(4, 6, 3)
    lengths = torch.tensor([1, 2, 3, 3])
    assert torch.allclose(
        head(static, dynamic, lengths), head(static, dynamic[:, :3], lengths), atol=1e-6
    )


def test_the_epoch_is_chosen_on_validation_and_never_on_test():
    train, validation, test = three(events, 100, 40, 60)
    base = predict_event(train, validation, test, seeds=(0,), epochs=12)
    other = predict_event(
        train, validation, replace(test, target=1 - test.target), seeds=(0,), epochs=12
    )
    assert (
        np.array_equal(base.outputs["head"], other.outputs["head"])
        and base.chosen_epochs == other.chosen_epochs
    )
    # With validation labels turned round, learning makes validation worse: an early epoch is kept.
    turned = predict_event(
        train, replace(validation, target=1 - validation.target), test, seeds=(0,), epochs=12
    )
    assert turned.chosen_epochs[0] < base.chosen_epochs[0] == 12
    # The head that comes back is that of the chosen epoch, as if training had stopped there.
    stopped = predict_event(train, validation, test, seeds=(0,), epochs=turned.chosen_epochs[0])
    assert np.array_equal(stopped.outputs["head"], turned.outputs["head"])


def test_seeds_repeat_and_leave_the_callers_random_numbers_alone():
    parts = three(events, 60, 20, 40)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = predict_event(*parts, seeds=(3, 4), epochs=2)
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(
        first.outputs["head"], predict_event(*parts, seeds=(3, 4), epochs=2).outputs["head"]
    )
    assert not np.array_equal(first.outputs["head"][0], first.outputs["head"][1])


def test_heads_are_the_papers():
    assert count_parameters(EventHead(8, 8)) == 4 * 32 * (8 + 32) + 2 * 4 * 32 + (40 * 16 + 16) + 17
    assert count_parameters(ValueHead(8, 8)) == 2 * 16 + (16 * 32 + 32) + (32 * 8 + 8) + 9
    head = ValueHead(2, 3, last_activation=True)
    with torch.no_grad():
        last = [layer for layer in head.layers if isinstance(layer, nn.Linear)][-1]
        last.weight.zero_(), last.bias.fill_(-5.0)
        assert torch.allclose(
            head(torch.zeros(2, 2), torch.zeros(2, 4, 3)), torch.full((2, 4), -0.05)
        )


EVENT, CLASS, VALUE = three(events, 20, 10, 10), three(angles, 20, 10, 10), three(values, 6, 3, 4)
X, W, Y = np.zeros((4, 2)), np.zeros((4, 3, 2)), np.arange(4) % 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Examples(Y, X[:3]),
            r"Examples: expected the same N >= 1 sequences in all arrays, found {'target': 4, 'static': 3}",
        ),
        (
            lambda: Examples([], X[:0]),
            r"Examples: expected the same N >= 1 sequences",
        ),  # an empty validation split
        (lambda: Examples(Y, W), r"static: expected 2 axes, found shape \(4, 3, 2\)"),
        (
            lambda: Examples(Y, X, W, [3, 2, 0, 1]),
            r"lengths: expected 1 to 3 valid windows, found 0 for sequence 2; leave out",
        ),
        (lambda: Examples(Y, X, W, [3, 2, 4, 1]), r"lengths: expected 1 to 3 .* found 4"),
        (
            lambda: Examples(Y, np.where(X == 0, np.nan, X)),
            r"static: expected finite numbers, found nan at \(0, 0\); fill",
        ),
        (lambda: Examples([0, 1, np.nan, 1], X), r"target: expected finite numbers"),
        (
            lambda: predict_event(EVENT[0], EVENT[1], CLASS[2]),
            r"test: expected static and dynamic .* found no dynamic",
        ),
        (
            lambda: predict_event(Examples(np.ones(4), X, W), *EVENT[1:]),
            r"train.target: expected at least two classes, found only \[1.0\]",
        ),
        (
            lambda: predict_event(*EVENT[:2], replace(EVENT[2], target=np.zeros(10))),
            r"test.target: expected at least two classes",
        ),
        (
            lambda: predict_event(*EVENT[:2], replace(EVENT[2], target=np.arange(10))),
            r"test.target: expected 0 and 1, found",
        ),
        (
            lambda: predict_event(*EVENT[:2], Examples(Y, X, W)),
            r"static: expected the same shape in train, validation and test",
        ),
        (
            lambda: predict_event(VALUE[0], *EVENT[1:]),
            r"train.target: expected \(N,\), found shape \(6, 8\)",
        ),
        (
            lambda: predict_class(*CLASS[:2], replace(CLASS[2], target=np.arange(10))),
            r"test.target: expected whole numbers from 0",
        ),
        (
            lambda: predict_class(*CLASS[:2], replace(CLASS[2], raw=None)),
            r"raw: expected the same shape",
        ),
        (
            lambda: predict_value(*VALUE[:2], EVENT[2]),
            r"test.target: expected \(N, W\), found shape \(10,\)",
        ),
        (
            lambda: predict_value(*(replace(v, target=v.target[:, :4]) for v in VALUE)),
            r"as many windows .* found \[4, 8\]",
        ),
        (
            lambda: predict_value(*VALUE, epochs=0),
            r"epochs, passes, batch: expected at least 1 each, found 0, 1, 10",
        ),
        (lambda: predict_value(*VALUE, seeds=()), r"seeds: expected at least one"),
        (
            lambda: predict_value(*VALUE, epochs=2, learning_rate=1e30),
            r"validation loss: expected a finite number",
        ),
        (
            lambda: predict_value(*VALUE, seeds=(0,), epochs=1).compare("head", "forest"),
            r"predictor: expected one of 'head', .* 'forest'",
        ),
    ],
)
def test_errors_name_thing_expectation_finding_and_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call()
