"""fit() is a plain loop. It repeats bit for bit, resumes exactly, and refuses what is not meant."""

import os

import numpy as np
import pytest
import torch
from helpers import MODELS, flip_bytes, hide
from torch.backends.cpu import get_cpu_capability
from unbraid import training
from unbraid.data.moving_digits import Digits, MovingDigits
from unbraid.support.schedules import Schedule, schedule_value
from unbraid.training import TrainingError, fit, read_rows

from papers.run import LogarithmicSchedule

CHANGING = {"learning_rate": [[0.0, 1e-2], [1.0, 0.0]], "weights": {"kl": lambda share: share}}


def make(name="unordered", seed=0, **changes):
    """A model of helpers.MODELS, and a function that draws noise which it can read."""
    kind, sizes = MODELS[name]
    torch.manual_seed(seed)
    model = kind(**sizes | changes)

    def draw(count, generator):
        frames = torch.rand(count, 10, *model.frame_shape, generator=generator)
        return hide(frames) if "series" in name else frames

    return model, draw


def train(checkpoint=None, *, name="unordered", weights_seed=0, draw=None, **options):
    """A small model trained for twelve updates: its weights and its curve without seconds."""
    model, own_draw = make(name, weights_seed)
    sizes = {"steps": 12, "batch_size": 4, "every": 5, "accelerator": "cpu", **CHANGING}
    rows = fit(model, draw or own_draw, checkpoint=checkpoint, **sizes | options)
    return model.state_dict(), without_seconds(rows)


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first.keys() | second.keys())


@pytest.mark.parametrize("name", ("independent", "unordered", "element", "element, series"))
def test_fit_is_a_plain_loop(name):
    """The rate is that of the share before an update, a weight that of the share after it."""
    model, draw = make(name, seed=3)
    model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.8, 0.9))
    data, noise = (torch.Generator().manual_seed(seed) for seed in (7, 8))
    terms = []
    for update in range(1, 9):
        bound = model.elbo(draw(4, data), noise)
        cost = sum(bound.kl.values())
        terms.append([value.mean().item() / bound.length for value in (bound.log_likelihood, cost)])
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - (update - 1) / 8)
        optimizer.zero_grad()
        (-(bound.log_likelihood - update / 8 * cost).mean() / bound.length).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    (likelihood, cost), reported, shares = np.mean(terms[4:], 0), [], []

    trained, draw = make(name, seed=3)
    options = {"betas": (0.8, 0.9), "gradient_norm": 5.0, "seed": 7, "every": 4} | CHANGING
    options |= {"report": reported.append, "on_progress": shares.append}
    rows = fit(trained, draw, steps=8, batch_size=4, **options)
    assert equal(trained.state_dict(), model.state_dict()) and not trained.training
    assert reported == rows and tuple(rows[1]) == training.COLUMNS
    assert shares == [update / 8 for update in range(8)]
    assert (rows[1]["step"], rows[1]["sequences"]) == (8, 32)
    assert rows[1]["log_likelihood_per_frame"] == pytest.approx(likelihood, rel=1e-5)
    assert rows[1]["kl_per_frame"] == pytest.approx(cost, rel=1e-4)
    assert rows[1]["elbo_per_frame"] == pytest.approx(likelihood - cost, rel=1e-5)


@pytest.mark.parametrize("precision", training.PRECISIONS)
def test_every_precision_trains_on_frames_of_its_type(precision):
    kind = {"64-true": torch.float64, "bf16-true": torch.bfloat16}.get(precision, torch.float32)
    _, draw = make()
    if precision.startswith("bf16") and get_cpu_capability() in training.WITHOUT_BF16:
        with pytest.raises(ValueError, match="precision: .*32-true"):
            train(precision=precision)
        return
    rows = train(precision=precision, draw=lambda *how: draw(*how).to(kind))[1]
    assert rows[-1]["step"] == 12


def test_the_same_seeds_give_the_same_bits_and_others_do_not():
    first = train()
    torch.manual_seed(77)  # The global generator has no say once the weights are made.
    again = train()
    assert equal(first[0], again[0]) and first[1] == again[1]
    assert not equal(first[0], train(seed=1)[0])
    assert not equal(first[0], train(weights_seed=1)[0])


def test_a_run_that_diverges_stops_and_keeps_nothing(tmp_path):
    with pytest.raises(TrainingError, match="^bound: .*learning_rate"):
        train(tmp_path / "a", learning_rate=1e30)
    assert list(tmp_path.iterdir()) == []


def stop_after(count, function):
    """The function, which is interrupted instead of its call of this number."""
    calls = 0

    def called(*arguments):
        nonlocal calls
        calls += 1
        if calls == count:
            raise KeyboardInterrupt
        return function(*arguments)

    return called


def test_a_run_that_is_interrupted_anywhere_ends_in_the_same_bits(tmp_path, monkeypatch):
    """While a batch is drawn, a row is reported, or a checkpoint is moved to its place."""
    path = tmp_path / "new" / "run.ck"
    options = {"name": "element", "every": 3, "steps": 14}
    whole, rows = train(**options)
    _, draw = make("element")
    stopping = [{"draw": stop_after(count, draw)} for count in (2, 5, 4)]
    stopping.append({"report": stop_after(2, lambda row: None)})
    reached = []
    for how in stopping:
        with pytest.raises(KeyboardInterrupt):
            train(str(path), **options, **how)
        reached.append(len(read_rows(path)))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", stop_after(1, os.replace))
        train(path, **options)
    assert reached == [0, 1, 2, 3] and read_rows(path)[-1]["step"] == 9
    for _ in range(2):  # A finished run is not made again, whatever the model was before.
        resumed, rows_resumed = train(path, weights_seed=5, **options)
        assert equal(whole, resumed) and rows == rows_resumed
    assert without_seconds(read_rows(path)) == rows and rows[-1]["step"] == 14
    assert [left.name for left in path.parent.iterdir()] == ["run.ck"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "a.ck"
    train(path)
    return path


BLACK = Digits(torch.zeros(2, 28, 28).byte(), torch.arange(2), "train", "others")
OTHERS = MovingDigits(BLACK, 32)
OTHERS.digests = {"mnist": "0"}  # say that these are other data


@pytest.mark.parametrize(
    "changes, names",
    (
        ({"steps": 16}, "steps"),
        ({"seed": 1, "learning_rate": 1e-4}, "learning_rate, seed"),
        ({"weights": {"kl": lambda share: share**2}}, "weights.kl"),
        ({"weights": {"kl": lambda share: share, "static_kl": 1.0}}, "weights.static_kl"),
        ({"gradient_norm": 3.0, "precision": "64-true"}, "gradient_norm, precision"),
        ({"identity": {"split": 3}}, "split"),
        ({"draw": OTHERS}, "data"),
        ({"name": "unordered, no pairs"}, "model.pairs"),
        ({"name": "element"}, "model, model.anchor"),
    ),
)
def test_a_checkpoint_of_another_run_is_refused_with_what_differs(checkpoint, changes, names):
    before = checkpoint.read_bytes()
    with pytest.raises(TrainingError, match=f"a.ck: .* another {names}.*; name another file"):
        train(checkpoint, **changes)
    assert checkpoint.read_bytes() == before
    train(checkpoint, every=1)  # Neither rows nor reports decide what is learnt.


@pytest.mark.parametrize("seed", range(5))
def test_a_checkpoint_with_other_bytes_is_refused(checkpoint, tmp_path, seed):
    path = flip_bytes(checkpoint, tmp_path / "c.ck", 1, seed)
    with pytest.raises(TrainingError, match=r"c.ck: expected the SHA-256 .*name another file"):
        train(path)


@pytest.mark.parametrize(
    "name, values",
    {
        "steps": (0, 2.5, "12", None),
        "batch_size": (0, 1.5, True),
        "every": (0, -1, 2.5),
        "seed": (-1, 0.5, 2**63 - 1),
        "learning_rate": (0, -1e-3, float("nan"), "1e-3", None, [[0, 1e-3], [100, 1e-4]]),
        "weights.kl": (float("nan"), -1.0, "1", [[0.5, 1], [0.2, 0]], lambda share: 1 / (2 - 3)),
        "betas": ((0.9, 1.0), (-0.1, 0.9), (float("nan"), 0.9), 0.9),
        "gradient_norm": (0, -1.0, float("nan"), float("inf")),
        "precision": ("16-mixed", 32),
        "accelerator": ("gpu",),
        "draw": (3,),
        "weights": (1.0,),
        "identity": ("a run",),
    }.items(),
)
def test_arguments_are_refused_by_their_names_before_anything_is_done(name, values, tmp_path):
    for value in values:
        option = {"weights": {"kl": value}} if name == "weights.kl" else {name: value}
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            train(**{"checkpoint": tmp_path / "a"} | option)
    with pytest.raises(ValueError, match="^draw: expected 4 .*found 5"):
        train(draw=lambda count, _: torch.rand(count + 1, 10, 2, 8, 8))
    assert list(tmp_path.iterdir()) == []


def test_a_weight_of_an_unknown_term_is_refused_and_further_terms_may_be_negative():
    with pytest.raises(ValueError, match="^weights: .*static_kl.*found statik_kl"):
        train(weights={"statik_kl": 1.0})
    assert train(name="element", weights={"anchor": -0.5})[1]


def test_a_schedule_changes_by_equal_amounts_or_by_equal_factors():
    knots = [[0.0, 8.0], [0.5, 8.0], [1.0, 2.0]]
    assert schedule_value(knots, 0.2) == 8
    assert schedule_value(knots, 0.75) == Schedule(knots)(0.75) == pytest.approx(5)
    assert schedule_value(LogarithmicSchedule(knots), 0.75) == pytest.approx(4)
    assert schedule_value(lambda share: 4 * share, 0.75) == schedule_value(3, 0.75) == 3
