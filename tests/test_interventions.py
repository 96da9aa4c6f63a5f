"""What is done to codes before decoding: what changes, what stays, what is refused."""

import pytest
import torch
from unbraid.interventions import move_one, swap, traverse

from papers.b.evaluate import grid_points


def equal(first, second):
    return first.keys() == second.keys() and all(map(torch.equal, first.values(), second.values()))


@pytest.fixture
def codes():
    """Three sequences of five steps: two factors, no two numbers alike."""
    first = torch.arange(90.0).view(3, 5, 6)
    codes = {"factor_0": first, "factor_1": 100 + first}
    copies = {name: code.clone() for name, code in codes.items()}
    yield codes
    assert equal(codes, copies)  # what is given stays as it was


@pytest.fixture
def mixed():
    """The codes of a model with a static part."""
    return {"static": torch.arange(12.0).view(3, 4), "dynamic": torch.arange(30.0).view(3, 5, 2)}


def one(codes):
    """The codes of the first sequence."""
    return {name: code[:1] for name, code in codes.items()}


def test_swap_exchanges_one_code_and_twice_is_nothing(codes):
    other = {name: code + 1000 for name, code in codes.items()}
    left, right = swap(codes, other, "factor_0")
    assert equal(left, {"factor_0": other["factor_0"], "factor_1": codes["factor_1"]})
    assert equal(right, {"factor_0": codes["factor_0"], "factor_1": other["factor_1"]})
    again = swap(left, right, "factor_0")
    assert equal(again[0], codes) and equal(again[1], other)


def test_move_one_lets_one_code_go_on_and_holds_the_others(codes, mixed):
    moved = move_one(codes, "factor_0")
    assert torch.equal(moved["factor_0"], codes["factor_0"])
    assert torch.equal(moved["factor_1"], codes["factor_1"][:, [0, 1, 1, 1, 1]])
    assert equal(move_one(mixed, "dynamic"), mixed)
    still = move_one(mixed, "static")
    assert torch.equal(still["dynamic"], mixed["dynamic"][:, [0, 1, 1, 1, 1]])


def test_traverse_sets_one_unit_and_no_other(codes, mixed):
    values = torch.tensor([-2.0, 0.0, 2.0, 4.0])
    first = one(codes)
    moved = traverse(first, "factor_1", unit=3, values=values)
    expected = first["factor_1"].repeat(4, 1, 1)
    expected[..., 3] = values[:, None]
    torch.testing.assert_close(moved["factor_1"], expected)
    assert torch.equal(moved["factor_0"], first["factor_0"].expand(4, -1, -1))
    assert traverse(one(mixed), "static", 1, values)["dynamic"].shape == (4, 5, 2)


def test_a_grid_covers_the_middle_of_two_units_and_grows_to_the_right():
    codes = torch.stack([torch.linspace(0, 40, 41), torch.linspace(-20, 20, 41)], 1)
    points = grid_points(codes, 3)
    assert points[0].tolist() == [1, -19] and points[4].tolist() == [20, 0]
    assert points[1].tolist() == [20, -19]  # the first unit moves first
