"""What is done to codes before decoding: what changes, what stays, what is refused."""

import pytest
import torch
from unbraid import settings
from unbraid.interventions import (
    ChangedCodes,
    generate_given,
    great_circle,
    hold,
    interpolate,
    move_one,
    principal_directions,
    random_directions,
    roll_forward,
    swap,
    traverse,
)
from unbraid.models.independent import IndependentPrediction
from unbraid.models.interface import SequenceModel


@pytest.fixture
def codes():
    """Three sequences of five steps: two factors, no two numbers alike."""
    return {
        "factor_0": torch.arange(90.0).view(3, 5, 6),
        "factor_1": 100 + torch.arange(90.0).view(3, 5, 6),
    }


@pytest.fixture
def mixed():
    """The codes of a model with a static part."""
    return {"static": torch.arange(12.0).view(3, 4), "dynamic": torch.arange(30.0).view(3, 5, 2)}


@pytest.fixture(autouse=True)
def the_given_codes_stay_as_they_were(codes, mixed):
    copies = [{name: code.clone() for name, code in one.items()} for one in (codes, mixed)]
    yield
    for one, copy in zip((codes, mixed), copies):
        assert one.keys() == copy.keys() and all(
            torch.equal(one[name], copy[name]) for name in copy
        )


def equal(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def test_swap_exchanges_one_code_and_twice_is_nothing(codes, mixed):
    other = {name: code + 1000 for name, code in codes.items()}
    left, right = swap(codes, other, "factor_0")
    assert torch.equal(left["factor_0"], other["factor_0"]) and torch.equal(
        left["factor_1"], codes["factor_1"]
    )
    assert torch.equal(right["factor_0"], codes["factor_0"]) and torch.equal(
        right["factor_1"], other["factor_1"]
    )
    again = swap(left, right, "factor_0")
    assert equal(again[0], codes) and equal(again[1], other)
    statics = swap(mixed, {name: code + 1 for name, code in mixed.items()}, "static")[0]
    assert torch.equal(statics["static"], mixed["static"] + 1) and torch.equal(
        statics["dynamic"], mixed["dynamic"]
    )


def test_hold_freezes_later_steps_and_no_earlier_one(codes):
    held = hold(codes, "factor_1", at=2)
    assert torch.equal(held["factor_1"][:, :3], codes["factor_1"][:, :3])
    assert torch.equal(held["factor_1"][:, 3:], codes["factor_1"][:, 2:3].expand(-1, 2, -1))
    assert torch.equal(held["factor_0"], codes["factor_0"])
    assert equal(hold(codes, "factor_1", at=4), codes)


def test_move_one_lets_one_code_go_on_and_holds_the_others(codes):
    moved = move_one(codes, "factor_0", primed=2)
    assert torch.equal(moved["factor_0"], codes["factor_0"])
    assert equal(
        {"factor_1": moved["factor_1"]}, {"factor_1": hold(codes, "factor_1", 1)["factor_1"]}
    )


def test_what_is_static_is_held_already(mixed):
    assert equal(move_one(mixed, "dynamic"), mixed)
    moved = move_one(mixed, "static", primed=1)
    assert torch.equal(moved["static"], mixed["static"]) and torch.equal(
        moved["dynamic"], mixed["dynamic"][:, :1].expand(-1, 5, -1)
    )


def test_traverse_sets_one_unit_and_no_other(codes, mixed):
    values = torch.tensor([-2.0, 0.0, 2.0, 4.0])
    one = {name: code[:1] for name, code in codes.items()}
    moved = traverse(one, "factor_1", unit=3, values=values)
    assert moved["factor_1"].shape == (4, 5, 6)
    assert torch.equal(moved["factor_1"][..., 3], values[:, None].expand(-1, 5))
    others = [unit for unit in range(6) if unit != 3]
    assert torch.equal(
        moved["factor_1"][..., others], one["factor_1"].expand(4, -1, -1)[..., others]
    )
    assert torch.equal(moved["factor_0"], one["factor_0"].expand(4, -1, -1))
    static = traverse({name: code[:1] for name, code in mixed.items()}, "static", 0, values)
    assert torch.equal(static["static"][:, 0], values) and static["dynamic"].shape == (4, 5, 2)
    assert torch.equal(
        traverse(one, "factor_0", 0, torch.tensor([7.0]))["factor_0"][0, :, 0],
        torch.full((5,), 7.0),
    )


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return IndependentPrediction.from_settings(
        settings.load("independent.factored", "smoke")
    ).eval()


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
    draws = [
        roll_forward(model, codes, "factor_1", 1, 6, True, torch.Generator().manual_seed(seed))
        for seed in (3, 3, 4)
    ]
    assert equal(draws[0], draws[1])
    assert not torch.equal(draws[0]["factor_1"], draws[2]["factor_1"]) and torch.equal(
        draws[0]["factor_0"], draws[2]["factor_0"]
    )


def first(codes):
    """The codes of the first sequence."""
    return {name: code[:1] for name, code in codes.items()}


def gaussian(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_direction_along_an_axis_is_that_unit(codes, mixed):
    values, axis = torch.tensor([-2.0, 0.0, 3.0]), torch.zeros(6)
    axis[3] = 5.0  # its length does not matter
    one = {name: code / 10 for name, code in first(codes).items()}
    for relative in (False, True):
        along, unit = (traverse(one, "factor_1", of, values, relative) for of in (axis, 3))
        torch.testing.assert_close(along["factor_1"], unit["factor_1"])
    torch.testing.assert_close(
        unit["factor_1"][..., 3], one["factor_1"][..., 3] + values[:, None]
    )  # each step moves by it
    static = traverse(first(mixed), "static", [0.0, 1.0, 0.0, 0.0], values)
    assert torch.equal(static["static"], traverse(first(mixed), "static", 1, values)["static"])


def test_a_direction_sets_the_projection_and_nothing_across_it():
    code, direction, values = (
        gaussian(0, 1, 8),
        random_directions(1, 8)[0],
        torch.tensor([-1.5, 0.0, 4.0]),
    )
    moved = traverse({"static": code}, "static", direction, values)["static"]
    torch.testing.assert_close(moved @ direction, values)
    across = lambda z: z - (z @ direction)[:, None] * direction  # noqa: E731
    torch.testing.assert_close(across(moved), across(code).expand(3, -1))


def test_principal_directions_of_a_gaussian_that_was_made():
    """50 000 points of deviations 3, 2, .5 along known axes: a deviation's standard error is .3 %, an angle's below .01."""
    axes = torch.linalg.qr(gaussian(1, 3, 3))[0]
    points = (gaussian(2, 50_000, 3) * torch.tensor([3.0, 2.0, 0.5])) @ axes.T + torch.tensor(
        [10.0, -4.0, 1.0]
    )
    found = principal_directions(points, 3)
    torch.testing.assert_close(found.deviations, torch.tensor([3.0, 2.0, 0.5]), rtol=0.02, atol=0)
    assert ((found.vectors @ axes).abs().diagonal() > 0.9998).all()
    torch.testing.assert_close(found.centres, points.mean(0) @ found.vectors.T)
    assert all(vector[vector.abs().argmax()] > 0 for vector in found.vectors)
    steps = principal_directions(points.view(500, 100, 3), 2)  # a dynamic code: each step is a row
    assert torch.equal(steps.vectors, found.vectors[:2])
    mean = {"static": points.mean(0, keepdim=True)}
    moved = traverse(
        mean,
        "static",
        found.vectors[0],
        found.centres[0] + found.deviations[0] * torch.tensor([-1.0, 0.0, 1.0]),
    )["static"]
    torch.testing.assert_close(moved[1], mean["static"][0], atol=1e-4, rtol=0)
    torch.testing.assert_close(
        moved[2] - moved[1], found.deviations[0] * found.vectors[0], atol=1e-4, rtol=0
    )


def test_random_directions_point_everywhere_alike():
    """20 000 in four dimensions: components have mean 0 and mean square 1/4, each within 5 standard errors."""
    found = random_directions(20_000, 4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(20_000))
    assert (
        found.mean(0).abs().max() < 5 * 0.5 / 20_000**0.5
        and (found.square().mean(0) - 0.25).abs().max() < 5 * 0.25 / 20_000**0.5
    )


@pytest.mark.parametrize("shape", ((1, 64), (1, 7, 64)), ids=("static", "dynamic"))
def test_a_great_circle_keeps_the_length_and_comes_back(shape):
    code, towards, turns = (
        gaussian(3, *shape),
        7 * gaussian(4, 64),
        torch.linspace(0, 2 * torch.pi, 9),
    )
    path = great_circle({"z": code}, "z", towards, turns)["z"]
    torch.testing.assert_close(path.norm(dim=-1), code.norm(dim=-1).expand(path.shape[:-1]))
    assert torch.equal(path[:1], code)
    torch.testing.assert_close(path[4:5], -code, atol=1e-5, rtol=0)
    torch.testing.assert_close(path[8:], code, atol=1e-5, rtol=0)
    quarter = path[2:3]  # at right angles to the code, and as far towards `towards` as it can be
    torch.testing.assert_close((quarter * code).sum(-1), torch.zeros(shape[:-1]), atol=1e-3, rtol=0)
    cosine = torch.nn.functional.cosine_similarity
    assert (cosine(quarter, towards, -1) > 0).all() and (
        cosine(path, towards, -1).amax(0) <= 1 + 1e-6
    ).all()


@pytest.mark.parametrize("spherical", (False, True), ids=("linear", "spherical"))
@pytest.mark.parametrize("name", ("static", "dynamic"))
def test_interpolation_begins_and_ends_at_the_codes_themselves(name, spherical):
    a, b = (
        {"static": gaussian(seed, 1, 16), "dynamic": gaussian(seed + 10, 1, 5, 16)}
        for seed in (0, 1)
    )
    between = interpolate(a, b, name, torch.tensor([0.0, 0.5, 1.0]), spherical)
    assert torch.equal(between[name][0], a[name][0]) and torch.equal(between[name][2], b[name][0])
    other = {"static": "dynamic", "dynamic": "static"}[name]
    assert torch.equal(between[other], a[other].expand(3, *a[other].shape[1:]))
    middle, (first_end, last_end) = between[name][1], (one[name][0] for one in (a, b))
    if not spherical:
        torch.testing.assert_close(middle, (first_end + last_end) / 2)


def test_an_arc_keeps_the_length_and_divides_the_angle():
    a, b = (
        {"z": torch.nn.functional.normalize(gaussian(seed, 1, 16), dim=-1) * 4} for seed in (0, 1)
    )
    path = interpolate(a, b, "z", torch.linspace(0, 1, 5), spherical=True)["z"]
    torch.testing.assert_close(path.norm(dim=-1), torch.full((5,), 4.0))
    cosines = torch.nn.functional.cosine_similarity(path[1:], path[:-1])
    torch.testing.assert_close(cosines, cosines[:1].expand(4), atol=1e-6, rtol=0)
    assert (
        interpolate(a, b, "z", torch.tensor([0.5]))["z"].norm() < 3.8
    )  # a straight line is shorter in the middle
    same = interpolate(a, a, "z", torch.tensor([0.3]), spherical=True)[
        "z"
    ]  # no arc between equal codes: a line
    torch.testing.assert_close(same, a["z"])


class Toy(SequenceModel):
    """A prior of independent codes: static N(5, I), dynamic a random walk."""

    code_names, frame_shape = ("static", "dynamic"), (1, 2, 2)
    elbo = infer = decode = None  # not needed here

    def generate(self, count, length, generator=None, given=None):
        start = 5 + torch.randn(count, 4, generator=generator)
        return {
            "static": start,
            "dynamic": torch.randn(count, length, 2, generator=generator).cumsum(1),
        }


class Tied(Toy):
    """A prior that is p(dynamic | static): every step is the static code's first unit."""

    def generate(self, count, length, generator=None, given=None):
        codes = super().generate(count, length, generator) | given
        return {
            "static": codes["static"],
            "dynamic": codes["static"][:, :1, None].expand(-1, length, 2),
        }


def test_what_is_kept_stays_and_the_rest_is_drawn(mixed):
    for kept, other in (("static", "dynamic"), ("dynamic", "static")):
        draws = [
            generate_given(Toy(), mixed, kept, torch.Generator().manual_seed(seed))
            for seed in (3, 3, 4)
        ]
        assert torch.equal(draws[0][kept], mixed[kept]) and tuple(draws[0]) == tuple(mixed)
        assert torch.equal(draws[0][other], draws[1][other]) and not torch.equal(
            draws[0][other], draws[2][other]
        )
        assert torch.equal(
            draws[0][other], Toy().generate(3, 5, torch.Generator().manual_seed(3))[other]
        )
    many = {"static": torch.zeros(4000, 4), "dynamic": torch.zeros(4000, 3, 2)}
    drawn = generate_given(Toy(), many, ("dynamic",), torch.Generator().manual_seed(0))["static"]
    assert (drawn.mean(0) - 5).abs().max() < 5 / 4000**0.5  # 5 standard errors


def test_a_prior_that_ties_codes_together_is_told_what_is_kept(mixed):
    drawn = generate_given(Tied(), mixed, "static")
    assert torch.equal(drawn["dynamic"], mixed["static"][:, :1, None].expand(-1, 5, 2))


def test_factors_are_drawn_anew_one_by_one(model, codes):
    drawn = generate_given(model, codes, "factor_1", torch.Generator().manual_seed(0))
    assert torch.equal(drawn["factor_1"], codes["factor_1"])
    assert torch.equal(
        drawn["factor_0"], model.generate(3, 5, torch.Generator().manual_seed(0))["factor_0"]
    )
    assert not drawn["factor_0"].requires_grad


def test_a_record_says_what_was_done(model, codes, mixed):
    one, values = first(mixed), torch.tensor([-1.0, 0.0, 2.0])
    done = {
        "swap": swap(mixed, mixed, "static")[1],
        "hold": hold(mixed, "dynamic", 1),
        "move_one": move_one(codes, "factor_1"),
        "roll_forward": roll_forward(
            model, {name: code / 100 for name, code in codes.items()}, "factor_0", 2, 7
        ),
        "traverse": traverse(one, "static", 2, values),
        "great_circle": great_circle(one, "static", torch.tensor([1.0, 0, 0, 0]), values),
        "interpolate": interpolate(one, one, "dynamic", values.abs() / 2),
        "generate_given": generate_given(Toy(), mixed, "static"),
    }
    for act, changed in done.items():
        record = changed.record
        assert isinstance(changed, ChangedCodes) and isinstance(changed, dict) and record.act == act
        assert (
            record.caption[0].isupper()
            and record.caption.endswith(".")
            and set(record.names) <= set(changed)
        )
        assert len(record.values) == (
            len(changed["static"]) if act in ("traverse", "great_circle", "interpolate") else 0
        )
    assert (
        done["hold"].record.steps == (2, 4)
        and done["hold"].record.caption == "From frame 2 on the dynamic code stands still."
    )
    assert done["move_one"].record.names == ("factor_0",) and done["move_one"].record.steps == (
        2,
        4,
    )
    assert (
        done["move_one"].record.caption
        == "After 2 frames only factor 1 goes on; all else stands still."
    )
    assert done["roll_forward"].record.steps == (2, 6)
    assert (
        done["traverse"].record.caption
        == "Unit 2 of the static code is set to −1, 0, 2; all else is the same."
    )
    assert (
        done["generate_given"].record.caption
        == "Kept: the static code. Drawn from the prior: the dynamic code."
    )


@pytest.mark.parametrize(
    "act, message",
    (
        (
            lambda c, m, o: swap(c, c, "static"),
            "name: expected one of factor_0, factor_1, found 'static'",
        ),
        (
            lambda c, m, o: swap(c, {**c, "factor_0": c["factor_0"][:2]}, "factor_0"),
            r"swap factor_0: expected one shape, .*\(2, 5, 6\)",
        ),
        (lambda c, m, o: hold(c, "factor_0", 5), "at: expected a step from 0 to 4, found 5"),
        (lambda c, m, o: hold(c, "factor_0", -1), "at: expected a step from 0 to 4, found -1"),
        (
            lambda c, m, o: hold(m, "static", 0),
            r"static: expected a code with steps \(B, T, d\), found \(3, 4\)",
        ),
        (
            lambda c, m, o: move_one(c, "dynamic"),
            "name: expected one of factor_0, factor_1, found 'dynamic'",
        ),
        (lambda c, m, o: move_one(c, "factor_0", primed=0), "expected .* 1 to 5, found 0|found -1"),
        (lambda c, m, o: move_one(c, "factor_0", primed=6), "found (5|6)"),
        (
            lambda c, m, o: traverse(c, "factor_0", 0, torch.zeros(2)),
            r"codes: expected one sequence \(1, ...\), found \[3, 3\]",
        ),
        (
            lambda c, m, o: traverse(
                {"factor_0": c["factor_0"][:1]}, "factor_0", 6, torch.zeros(2)
            ),
            "unit: expected 0 to 5, found 6",
        ),
        (
            lambda c, m, o: traverse(first(c), "factor_0", torch.ones(5), torch.zeros(2)),
            r"unit: expected a direction \(6,\) .*found \(5,\)",
        ),
        (
            lambda c, m, o: traverse(first(c), "factor_0", torch.zeros(6), torch.zeros(2)),
            "unit: expected a direction .* of length 0",
        ),
        (
            lambda c, m, o: great_circle(c, "factor_0", torch.ones(6), torch.zeros(2)),
            r"codes: expected one sequence \(1, ...\), found \[3, 3\]",
        ),
        (
            lambda c, m, o: great_circle(
                {"z": torch.ones(1, 4)}, "z", -2 * torch.ones(4), torch.zeros(2)
            ),
            "towards: expected a direction not along",
        ),
        (
            lambda c, m, o: great_circle(
                {"z": torch.zeros(1, 4)}, "z", torch.ones(4), torch.zeros(2)
            ),
            "a code that is not zero",
        ),
        (
            lambda c, m, o: interpolate(first(c), c, "factor_0", torch.zeros(2)),
            r"interpolate factor_0: expected one shape, found \(1, 5, 6\)",
        ),
        (
            lambda c, m, o: interpolate(c, c, "factor_0", torch.zeros(2)),
            "codes: expected one sequence",
        ),
        (
            lambda c, m, o: interpolate(first(m), first(m), "static_code", torch.zeros(2)),
            "name: expected one of static, dynamic, found",
        ),
        (
            lambda c, m, o: interpolate(
                {"z": torch.ones(1, 4)}, {"z": -torch.ones(1, 4)}, "z", torch.zeros(2), True
            ),
            "found opposite ones",
        ),
        (
            lambda c, m, o: principal_directions(m["static"], 3),
            r"count: expected 1 to 2 for \(3, 4\), found 3",
        ),
        (lambda c, m, o: principal_directions(m["static"] / 0, 1), "code: expected finite numbers"),
        (
            lambda c, m, o: generate_given(o, c, "static"),
            "name: expected one of factor_0, factor_1, found 'static'",
        ),
        (
            lambda c, m, o: generate_given(o, c, ("factor_0", "factor_1")),
            "kept: expected some of factor_0, factor_1, not none and not all",
        ),
        (
            lambda c, m, o: generate_given(Toy(), {"static": m["static"]}, ()),
            "kept: expected some of static, not none and not all, found none",
        ),
        (
            lambda c, m, o: generate_given(Toy(), {**m, "dynamic": c["factor_0"]}, "static"),
            r"dynamic: expected \(3, 5, 6\) from the prior, found",
        ),
        (
            lambda c, m, o: roll_forward(o, c, "factor_2", 2, 4),
            "name: expected one of factor_0, factor_1, found 'factor_2'",
        ),
        (lambda c, m, o: roll_forward(o, c, "factor_0", 4, 4), "primed: expected 1 to 3, found 4"),
        (
            lambda c, m, o: roll_forward(o, c, "factor_0", 6, 9),
            "primed: expected 1 to 5, found 6",
        ),  # the codes have five steps
    ),
)
def test_what_cannot_be_is_refused(act, message, codes, mixed, model):
    with pytest.raises(ValueError, match=message):
        act(codes, mixed, model)
