"""What `check` answers: to nothing, to the truth, to mistakes, and to nonsense."""

import linecache

import numpy as np
import pytest
import torch
from unbraid import exercises
from unbraid.course.exercises import check, expect


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


TWICE, YET = [(1.0,), (2.0,)], "not answered yet"
EXPECTED = {
    "number": {"value": 3.5, "relative": 1e-3, "mistakes": [(7.0, "One half is missing.")]},
    "function": {"value": in_order, "calls": TWICE, "mistakes": [(swapped, "Exchanged.")]},
    "dictionary": {"value": {"hair": 1, "skin": np.ones(2)}},
    "word": {"value": "dynamic"},
    "digit": {"value": "7"},
    "share": {"value": 1.63, "relative": 1e-3},
    "truth": {"value": True},
    "function with a judge": {"judge": judge_even, "calls": TWICE},
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
    ("number", float("nan"), "nan"),
    ("number", [3.5], "shape"),
    ("function", answers_two_nothings, YET),
    ("function", in_order, "right"),
    ("function", swapped, "Exchanged."),
    ("function", lambda s: s, "2 values are expected"),
    ("function", lambda s: 1 / 0, "Your code raises ZeroDivisionError"),
    ("function", 5, "a function is expected"),
    ("dictionary", {"hair": 1, "skin": np.ones(2)}, "right"),
    ("dictionary", {"hair": 1, "skin": np.array([1, 2])}, "50 %"),
    ("word", "static", "'static' is not"),
    ("word", " Dynamic", "right"),
    ("digit", 7, "right"),
    ("digit", 1, "1 is not the answer"),
    ("number", 350, "per cent"),
    ("number", 1.75, "half"),
    ("number", 42, "sum be a mean"),
    ("share", 1.6, "one more decimal"),
    ("share", 1.5, "too small"),
    ("truth", False, "other way round"),
    ("function with a judge", lambda n: n, "The sum is odd."),
    ("function with a judge", lambda n: 2 * n, "right"),
    ("judge", 3, "right"),
    ("judge", -3, "not positive"),
)


@pytest.mark.parametrize("kind, answer, says", ANSWERS)
def test_what_is_said_of_an_answer(kind, answer, says):
    expect("1.1", **EXPECTED[kind])
    verdict = check("1.1", answer)
    assert says in verdict.text and verdict.is_right == (says == "right")
    assert repr(verdict).startswith("1.1: ")


def test_of_several_values_the_first_wrong_one_is_named():
    expect("1.2", (3, "right", float("nan")))
    assert check("1.2", (3, "right", float("nan"))).is_right
    assert "Value 1: A number is expected, not 'right'." in check("1.2", ("right", 3, 0)).text
    assert "Value 2: 'left' is not the answer." in check("1.2", (3, "left", 0)).text


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
    assert told == "1 of 2 exercises solved; to do: 1.3"


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
