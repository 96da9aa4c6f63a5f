"""What `check` answers: to nothing, to the truth, to mistakes, and to nonsense."""

import linecache

import numpy as np
import pytest
import torch
from unbraid_course import exercises
from unbraid_course.exercises import check, expect


@pytest.fixture(autouse=True)
def no_expectations(monkeypatch):
    monkeypatch.setattr(exercises, "EXPECTATIONS", {})


def swapped(s):
    return 2 * s, s


def in_order(s):
    return s, 2 * s


def answers_two_nothings(s):
    return ..., ...


def judge_even(found):
    return "" if sum(found) % 2 == 0 else "The sum is odd."


CHOICES = (0.3, 3.0, 1000.0)
THICK = [((1000.0, 0.000274), "Thick fog says nothing.")]
ONES = [((0.97, 0.97), "Twice."), ((1.0, 1.0), "Itself.")]
WHOLE = [((6.93, 0.693), "Named once.")]
TWICE, YET = [(1.0,), (2.0,)], "not answered yet"
STATES = "both in one factor", "a digit dropped", "separated"
FACTORS = [((1, 0, 0, 0), "Upside down."), ((0, 0, 1, 1), "x and y apart.")]
EXPECTED = {
    "number": {"value": 3.5, "relative": 1e-3, "mistakes": [(7.0, "One half is missing.")]},
    "function": {"value": in_order, "calls": TWICE, "mistakes": [(swapped, "Exchanged.")]},
    "dictionary": {"value": {"hair": 1, "skin": np.ones(2)}},
    "word": {"value": "dynamic"},
    "name": {"value": "right", "choices": ("left", "right")},
    "digit": {"value": "7"},
    "share": {"value": 1.63, "relative": 1e-3},
    "truth": {"value": True},
    "two decimals": {"value": (0.6146, 2), "decimals": 2},
    "choice": {"value": (0.3, 0.1281), "relative": 0.01, "choices": CHOICES, "mistakes": THICK},
    "counts": {"value": (512, 35_000, 0), "mistakes": [((512, 5000, 1024), "These are within.")]},
    "worth": {"value": (6.931, 0.173), "absolute": 0.0035, "mistakes": WHOLE},
    "as printed": {
        "value": (1.0, 2.0),
        "mistakes": [((5.0, 2.0), "First."), ((5.0, 7.0), "Both.")],
    },
    "exact": {"value": 1.0, "rounding": 1e-4, "mistakes": [(2.0, "Doubled.")]},
    "ones": {"value": (0.97, 0.52), "mistakes": ONES},
    "pairs": {"value": ((4, 4), (0, 7)), "mistakes": [(((4, 4), (4, 8)), "Not subtracted.")]},
    "shares": {"value": (0.02, 0.65), "relative": 0, "absolute": 0.1},
    "which": {"value": lambda n: np.arange(4) < n, "calls": [(1,), (3,)]},
    "measures": {"value": lambda x: x / 2, "calls": [(np.array([0.1, 0.7, -0.4]),)]},
    "two measures": {"value": lambda x: x**1.5, "calls": [(2.0,), (3.0,)]},
    "no judge of nan": {"judge": lambda found: ""},
    "a kind": {"value": 16, "judge": lambda count: "" if count == 7 else f"not {count}"},
    "kinds": {"value": lambda n: (True, 2), "judge": lambda found: "", "calls": [(1,)]},
    "function with a judge": {"judge": judge_even, "calls": TWICE},
    "state": {"value": ("a digit dropped", "both in one factor"), "choices": STATES},
    "factors": {"value": (0, 1, 1, 1), "choices": (0, 1), "mistakes": FACTORS},
    "sets": {"value": ("both", "a", "b", "none"), "choices": ("both", "a", "b", "none")},
    "two by two": {"value": (0, 0, 1, 1)},
    "rows": {"value": ((4, 4), (0, 7), (4, 8))},
    "table": {"value": np.arange(6).reshape(2, 3)},
    "square": {"value": lambda n: n + np.arange(16).reshape(4, 4), "calls": [(1,), (2,)]},
    "batch": {"value": lambda z: (z, 2 * z), "calls": [(np.ones((5, 3)),)]},
    "mixed": {"value": (0.5, "left", 3.0, "up")},
    "judge": {"judge": lambda found: "" if found > 0 else "It is not positive."},
}
ANSWERS = (  # what is expected, an answer, and what is said of it
    ("number", ..., YET),
    ("number", None, "A number is expected"),
    ("number", 3.5, "right"),
    ("number", torch.tensor(3.5, requires_grad=True), "right"),
    ("number", 7, "One half is missing."),
    ("number", 1e9, "too large"),
    ("number", -3.5, "sign"),
    ("number", [3.5], "shape"),
    ("function", answers_two_nothings, YET),
    ("function", in_order, "right"),
    ("function", swapped, "Exchanged."),
    ("function", lambda s: s, "2 values are expected"),
    ("function", lambda s: 1 / 0, "Your code raises ZeroDivisionError"),
    ("function", 5, "A function is expected, not 5."),
    ("dictionary", {"hair": 1, "skin": np.ones(2)}, "right"),
    (
        "dictionary",
        {"hair": 1, "skin": np.array([1, 2])},
        "skin: 50 % of your values are right. The first wrong one is at [1]: found 2, expected 1.",
    ),
    ("word", "static", "'static' is not"),
    ("name", "rigth", "'rigth' is none of the names: left, right"),
    ("name", "left", "'left' is not the answer"),
    ("word", " Dynamic", "right"),
    ("digit", 7, "right"),
    ("number", 350, "per cent"),
    ("number", 1.75, "half"),
    ("number", 42, "sum be a mean"),
    ("share", 1.6, "one more decimal"),
    ("truth", False, "other way round"),
    ("two decimals", (0.61, 2), "right"),
    ("two decimals", (0.62, 2), "Value 1: 0.62 is too large."),
    ("choice", (3.0, 0.0741), "Value 1: It is not 3."),
    ("choice", (1000, 0.0003), "Thick fog says nothing."),
    ("choice", (0.3, 0.0003), "Thick fog says nothing."),
    ("worth", (6.93, 0.7), "Named once."),
    ("worth", (6.93, 0.5), "Value 2: 0.5 is too large."),
    ("ones", (1.0, 1.0), "Itself."),
    ("counts", (512, 5000, 7), "Value 2: These are within."),
    ("choice", (0.3, 0.13), "Value 2: This is right but rounded too far"),
    ("counts", (512, 35_000, 1024), "not yet. These are within."),
    ("as printed", (5.0, 7.01), "not yet. Both."),
    ("exact", 2.004, "2.004 is too large"),
    ("counts", (512, 0.5, 0), "Value 2: A whole number is expected, not 0.5."),
    ("pairs", ((4, 4), (0, 8)), "Not subtracted."),
    ("shares", (0.02, 0.0065), "Value 2: This is a share: give it in per cent."),
    ("shares", np.array([0.02, 0.65, 1]), "2 values are expected, in the order of the task; found"),
    ("which", lambda n: np.arange(4) - n, "For (1): True or False is expected, not -1."),
    ("which", lambda n: np.arange(4) <= n, "[1]: found True, expected False. Open"),
    ("which", lambda n: 1 * (np.arange(4) < n), "right"),
    ("measures", lambda x: 0.501 * x, "nearly right"),
    ("shares", (0.02, 0.2), "Value 2: 0.2 is too small."),
    ("measures", lambda x: np.degrees(x / 2), "These are degrees: give radians."),
    ("measures", lambda x: x > 0, "Numbers are expected, not True."),
    ("measures", lambda x: np.cos, "Numbers are expected, not a function: call it."),
    ("two measures", lambda x: x**0.75, "This is the root of the answer."),
    ("two measures", lambda x: x**0.5, "For (2.0): 1.41421 is too small."),
    ("a kind", 7, "right"),
    ("a kind", -1, "not -1"),
    ("a kind", 6.5, "A whole number is expected, not 6.5."),
    ("kinds", lambda n: (5, 2), "Value 1: True or False is expected, not 5."),
    ("word", 3, "A word is expected, not 3."),
    ("function with a judge", lambda n: n, "The sum is odd."),
    ("function with a judge", lambda n: 2 * n, "right"),
    ("state", ("a digit dropped", "both in one"), "Value 2: 'both in one' is none of the names: b"),
    ("state", ("Dropped", "separated"), "Did you mean 'a digit dropped'?"),
    ("state", ("a digit dropped", 0), "A word is expected, not 0. The names are: both in one "),
    ("factors", (0, 1, 0, 1), "not yet. Value 3: It is not 0. Open"),
    ("factors", (1, 0, 0, 0), "Upside down."),
    ("factors", (0, 0, 0, 1), "Value 2: x and y apart."),
    ("two by two", (0, 1, 0, 1), "right values in another order: transposed? Open"),
    ("two by two", (0, 1, 1, 0), "Value 2: 1 is too large."),
    ("rows", ((4, 0, 4), (4, 7, 8)), "found 2: transposed."),
    ("rows", ((4, 0), (7, 4), (8, 4)), "All values are one place early."),
    ("table", np.arange(6).reshape(2, 3).T, "yours is (3, 2): transposed?"),
    ("square", lambda n: (n + np.arange(16).reshape(4, 4)).T, "For (1): These are the right "),
    ("square", lambda n: np.roll(n + np.arange(16).reshape(4, 4), 1, 1), "one place late along a"),
    ("square", lambda n: n + np.arange(16).reshape(4, 4)[:, ::-1], "opposite one along axis 1"),
    ("sets", ("none", "b", "a", "both"), "The order is the opposite one."),
    ("sets", ("none", "a", "b", "none"), "Value 1: 'none' is not the answer."),
    ("batch", lambda z: 2 * z, "found one array of shape (5, 3)"),
    ("mixed", ("up", 3.0, "left", 0.5), "Value 1: A number is expected, not 'up'."),
    ("mixed", (3.1, "left", 0.5, "up"), "Value 1: 3.1 is too large."),
    ("judge", 3, "right"),
    ("judge", -3, "not positive"),
    ("no judge of nan", [2, float("nan")], "Your answer contains nan."),
    ("no judge of nan", {"a": [2.0]}, "right"),
)


@pytest.mark.parametrize("kind, answer, says", ANSWERS)
def test_what_is_said_of_an_answer(kind, answer, says):
    expect("1.1", **EXPECTED[kind])
    verdict = check("1.1", answer)
    assert says in verdict.text and verdict.is_right == (says == "right")
    assert repr(verdict).startswith("1.1: ")


LAW = np.arange(24.0).reshape(2, 3, 4) / 7  # clips, frames, units
PLACES = (  # what is wrong in LAW, its new value, and what is said
    (np.s_[1, 2, 3], 9.0, "96 % of your values are right. The first wrong one is at [1, 2, 3]: "),
    (np.s_[:, 1:], -1.0, "expected 0.571429. All is right before frame 2, index 1 of axis 1."),
    (
        np.s_[:, :, 2],
        -1.0,
        "at [0, 0, 2]: found -1, expected 0.285714. All is right before index 2",
    ),
    (np.s_[0, 2, 1], np.nan, "Your answer contains nan. 96 % of your values are right."),
)


@pytest.mark.parametrize("place, value, says", PLACES)
def test_it_is_said_where_an_array_is_first_wrong(place, value, says):
    expect("1.7", LAW, axes=("clip", "frame"))
    answer = LAW.copy()
    answer[place] = value
    assert says in check("1.7", answer).text
    expect("1.7", lambda n: n * LAW, calls=[(1,), (2,)], axes=("clip", "frame"))
    assert "For (2): 96 %" in check("1.7", lambda n: n * LAW + (n > 1) * (LAW > 3.2)).text


def test_the_line_that_fails_is_shown_and_what_is_solved_is_counted():
    code = compile("def own(s):\n    return nam + s\n", "/tmp/ipykernel_7/1.py", "exec")
    linecache.cache["/tmp/ipykernel_7/1.py"] = (
        9,
        None,
        ["def own(s):\n", "    return nam + s\n"],
        "",
    )
    cell = {}
    exec(code, cell)
    expect("1.3", **EXPECTED["function"])
    assert "NameError in line 2, `return nam + s`" in check("1.3", cell["own"]).text
    expect("1.4", 2)
    told = exercises.check_all(answer_1_3=cell["own"], answer_1_4=2)
    assert repr(told) == told == "1 of 2 exercises solved; to do: 1.3"  # a cell shows no quotes


def test_a_mistake_that_would_pass_is_refused():
    with pytest.raises(ValueError, match="1.8"):
        expect("1.8", 1.0, mistakes=[(1.0 + 1e-9, "too near")])
    with pytest.raises(ValueError, match="expected the answer 'odd', found"):
        expect("1.8", judge=lambda found: "" if found > 0 else "negative", mistakes=[(-1, "odd")])


def test_an_answer_is_not_changed():
    assert "run the folded cell above" in check("1.9", 1).text
    answer = [np.arange(3)]
    expect("1.9", [np.arange(3)[::-1]])
    check("1.9", answer)
    assert answer[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("of", ["distribution", "module"])
def test_a_judge_may_be_given_what_is_no_array(of):
    from unbraid import DiagonalGaussian

    zeros = torch.zeros(2)
    given = DiagonalGaussian(zeros, zeros) if of == "distribution" else torch.nn.Linear(1, 1)
    expect("1.1", judge=lambda found: "", calls=[(given,)])
    assert check("1.1", lambda same: (same, same)).is_right
    expect("1.1", judge=lambda found: "")
    assert check("1.1", given).is_right
