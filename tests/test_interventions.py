"""What is done to codes before decoding: what changes, what stays, what is refused."""

import pytest
import torch
from unbraid import settings
from unbraid.interventions import hold, move_one, roll_forward, swap, traverse
from unbraid.models.independent import IndependentPrediction


@pytest.fixture
def codes():
    """Three sequences of five steps: two factors, no two numbers alike."""
    return {"factor_0": torch.arange(90.0).view(3, 5, 6), "factor_1": 100 + torch.arange(90.0).view(3, 5, 6)}


@pytest.fixture
def mixed():
    """The codes of a model with a static part."""
    return {"static": torch.arange(12.0).view(3, 4), "dynamic": torch.arange(30.0).view(3, 5, 2)}


@pytest.fixture(autouse=True)
def the_given_codes_stay_as_they_were(codes, mixed):
    copies = [{name: code.clone() for name, code in one.items()} for one in (codes, mixed)]
    yield
    for one, copy in zip((codes, mixed), copies):
        assert one.keys() == copy.keys() and all(torch.equal(one[name], copy[name]) for name in copy)


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_swap_exchanges_one_code_and_twice_is_nothing(codes, mixed):
    other = {name: code + 1000 for name, code in codes.items()}
    left, right = swap(codes, other, "factor_0")
    assert torch.equal(left["factor_0"], other["factor_0"]) and torch.equal(left["factor_1"], codes["factor_1"])
    assert torch.equal(right["factor_0"], codes["factor_0"]) and torch.equal(right["factor_1"], other["factor_1"])
    again = swap(left, right, "factor_0")
    assert equal(again[0], codes) and equal(again[1], other)
    statics = swap(mixed, {name: code + 1 for name, code in mixed.items()}, "static")[0]
    assert torch.equal(statics["static"], mixed["static"] + 1) and torch.equal(statics["dynamic"], mixed["dynamic"])


def test_hold_freezes_later_steps_and_no_earlier_one(codes):
    held = hold(codes, "factor_1", at=2)
    assert torch.equal(held["factor_1"][:, :3], codes["factor_1"][:, :3])
    assert torch.equal(held["factor_1"][:, 3:], codes["factor_1"][:, 2:3].expand(-1, 2, -1))
    assert torch.equal(held["factor_0"], codes["factor_0"])
    assert equal(hold(codes, "factor_1", at=4), codes)


def test_move_one_lets_one_code_go_on_and_holds_the_others(codes):
    moved = move_one(codes, "factor_0", primed=2)
    assert torch.equal(moved["factor_0"], codes["factor_0"])
    assert equal({"factor_1": moved["factor_1"]}, {"factor_1": hold(codes, "factor_1", 1)["factor_1"]})


def test_what_is_static_is_held_already(mixed):
    assert equal(move_one(mixed, "dynamic"), mixed)
    moved = move_one(mixed, "static", primed=1)
    assert torch.equal(moved["static"], mixed["static"]) and torch.equal(moved["dynamic"], mixed["dynamic"][:, :1].expand(-1, 5, -1))


def test_traverse_sets_one_unit_and_no_other(codes, mixed):
    values = torch.tensor([-2.0, 0.0, 2.0, 4.0])
    one = {name: code[:1] for name, code in codes.items()}
    moved = traverse(one, "factor_1", unit=3, values=values)
    assert moved["factor_1"].shape == (4, 5, 6)
    assert torch.equal(moved["factor_1"][..., 3], values[:, None].expand(-1, 5))
    others = [unit for unit in range(6) if unit != 3]
    assert torch.equal(moved["factor_1"][..., others], one["factor_1"].expand(4, -1, -1)[..., others])
    assert torch.equal(moved["factor_0"], one["factor_0"].expand(4, -1, -1))
    static = traverse({name: code[:1] for name, code in mixed.items()}, "static", 0, values)
    assert torch.equal(static["static"][:, 0], values) and static["dynamic"].shape == (4, 5, 2)
    assert torch.equal(traverse(one, "factor_0", 0, torch.tensor([7.0]))["factor_0"][0, :, 0], torch.full((5,), 7.0))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return IndependentPrediction.from_settings(settings.load("independent.factored", "smoke")).eval()


def test_roll_forward_moves_one_factor_by_its_own_transition(model, codes):
    codes = {name: code / 100 for name, code in codes.items()}
    rolled = roll_forward(model, codes, "factor_0", primed=2, length=7)
    assert all(code.shape == (3, 7, 6) for code in rolled.values())
    assert all(torch.equal(rolled[name][:, :2], codes[name][:, :2]) for name in codes)
    assert torch.equal(rolled["factor_1"][:, 2:], codes["factor_1"][:, 1:2].expand(-1, 5, -1))
    with torch.no_grad():
        state = codes["factor_0"][:, 1]
        for step in range(2, 7):
            state = model.transitions[0](state).chunk(2, -1)[0]
            torch.testing.assert_close(rolled["factor_0"][:, step], state)
    assert not any(code.requires_grad for code in rolled.values())


def test_roll_forward_samples_by_the_given_generator(model, codes):
    draws = [roll_forward(model, codes, "factor_1", 1, 6, True, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert equal(draws[0], draws[1])
    assert not torch.equal(draws[0]["factor_1"], draws[2]["factor_1"]) and torch.equal(draws[0]["factor_0"], draws[2]["factor_0"])


@pytest.mark.parametrize("act, message", (
    (lambda c, m, o: swap(c, c, "static"), "name: expected one of factor_0, factor_1, found 'static'"),
    (lambda c, m, o: swap(c, {**c, "factor_0": c["factor_0"][:2]}, "factor_0"), r"swap factor_0: expected one shape, .*\(2, 5, 6\)"),
    (lambda c, m, o: hold(c, "factor_0", 5), "at: expected a step from 0 to 4, found 5"),
    (lambda c, m, o: hold(c, "factor_0", -1), "at: expected a step from 0 to 4, found -1"),
    (lambda c, m, o: hold(m, "static", 0), r"static: expected a code with steps \(B, T, d\), found \(3, 4\)"),
    (lambda c, m, o: move_one(c, "dynamic"), "name: expected one of factor_0, factor_1, found 'dynamic'"),
    (lambda c, m, o: move_one(c, "factor_0", primed=0), "expected .* 1 to 5, found 0|found -1"),
    (lambda c, m, o: move_one(c, "factor_0", primed=6), "found (5|6)"),
    (lambda c, m, o: traverse(c, "factor_0", 0, torch.zeros(2)), r"codes: expected one sequence \(1, ...\), found \[3, 3\]"),
    (lambda c, m, o: traverse({"factor_0": c["factor_0"][:1]}, "factor_0", 6, torch.zeros(2)), "unit: expected 0 to 5, found 6"),
    (lambda c, m, o: roll_forward(o, c, "factor_2", 2, 4), "name: expected one of factor_0, factor_1, found 'factor_2'"),
    (lambda c, m, o: roll_forward(o, c, "factor_0", 4, 4), "primed: expected 1 to 3, found 4"),
    (lambda c, m, o: roll_forward(o, c, "factor_0", 6, 9), "primed: expected 1 to 5, found 6"),  # the codes have five steps
))  # fmt: skip
def test_what_cannot_be_is_refused(act, message, codes, mixed, model):
    with pytest.raises(ValueError, match=message):
        act(codes, mixed, model)
