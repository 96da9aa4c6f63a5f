"""What `check` answers: to nothing, to the truth, to mistakes, and to nonsense."""

import numpy as np
import pytest
import torch
from unbraid import exercises
from unbraid.exercises import check, expect


@pytest.fixture(autouse=True)
def no_expectations(monkeypatch):
    monkeypatch.setattr(exercises, "EXPECTATIONS", {})


def swapped(s):
    return 2 * s, s


def in_order(s):
    return s, 2 * s


def answers_nothing(s):
    return ...


def answers_two_nothings(s):
    return ..., ...


def forgets_to_return(s): ...


@pytest.mark.parametrize(
    "answer, says",
    (
        (..., "not answered yet"),
        ((..., 3), "not answered yet"),
        ({"hair": ...}, "not answered yet"),
        (None, "A number is expected"),
        ([], "The shape () is expected"),
        ({}, "A number is expected"),
        (3.5, "right"),
        (torch.tensor(3.5, requires_grad=True), "right"),
        (np.float32(3.5), "right"),
        (7, "A factor of one half is missing."),
        (1e9, "too large"),
        (0, "too small"),
        (-3.5, "sign"),
        (float("nan"), "nan"),
        (float("inf"), "too large"),
        ("3.5", "A number is expected"),
        ([3.5], "shape"),
        (lambda: 3.5, "A number is expected"),
    ),
)
def test_a_number(answer, says):
    expect("1.1", 3.5, relative=1e-3, mistakes=[(7.0, "A factor of one half is missing.")])
    verdict = check("1.1", answer)
    assert says in repr(verdict) and repr(verdict).startswith("1.1: ")
    assert verdict.is_right == (says == "right")


def test_of_several_values_the_first_wrong_one_is_named():
    expect("1.2", (3, "right", float("nan")))
    assert check("1.2", (3, "right", float("nan"))).is_right
    assert "Value 1: A number is expected, not 'right'." in check("1.2", ("right", 3, 0)).text
    assert "Value 2: 'left' is not the answer." in check("1.2", (3, "left", 0)).text


@pytest.mark.parametrize(
    "answer, says",
    (
        (answers_nothing, "not answered yet"),
        (answers_two_nothings, "not answered yet"),
        (forgets_to_return, "2 values are expected"),
        (in_order, "right"),
        (swapped, "The two are exchanged."),
        (lambda s: s, "2 values are expected"),
        (lambda s: 1 / 0, "Your code raises ZeroDivisionError"),
        (lambda: 1, "Your code raises TypeError"),
        (5, "a function is expected"),
    ),
)
def test_a_function(answer, says):
    calls = [(1.0,), (2.0,)]
    expect("1.2", in_order, calls=calls, mistakes=[(swapped, "The two are exchanged.")])
    verdict = check("1.2", answer)
    assert says in verdict.text and verdict.is_right == (says == "right")


@pytest.mark.parametrize(
    "answer, says",
    (
        ({"hair": 1, "skin": np.ones(2)}, "right"),
        ({"hair": 1, "skin": np.array([1, 2])}, "50 %"),
        ({"hair": 1}, "keys"),
        ([1, np.ones(2)], "keys"),
    ),
)
def test_a_dictionary_of_numbers_and_arrays(answer, says):
    expect("1.3", {"hair": 1, "skin": np.ones(2)})
    assert says in check("1.3", answer).text


@pytest.mark.parametrize("answer, says", (("dynamic", "right"), ("static", "'static' is not")))
def test_a_word(answer, says):
    expect("1.4", "dynamic")
    assert says in check("1.4", answer).text


@pytest.mark.parametrize(
    "answer, says", ((True, "right"), (False, "other way round"), (..., "yet"))
)
def test_a_truth(answer, says):
    expect("1.5", True)
    assert says in check("1.5", answer).text


def judge_even(found):
    return "" if sum(found) % 2 == 0 else "The sum is odd."


@pytest.mark.parametrize(
    "answer, says",
    (
        (lambda n: n, "The sum is odd."),
        (lambda n: 2 * n, "right"),
        (lambda n: ..., "not answered yet"),
    ),
)
def test_a_judge_is_given_what_the_function_returns(answer, says):
    expect("1.6", judge=judge_even, calls=[(1,), (2,)])
    assert says in check("1.6", answer).text


def test_a_judge_of_a_plain_answer():
    expect("1.7", judge=lambda found: "" if found > 0 else "It is not positive.")
    assert check("1.7", 3).is_right and "positive" in check("1.7", -3).text


def test_a_mistake_that_would_pass_is_refused():
    with pytest.raises(ValueError, match="1.8"):
        expect("1.8", 1.0, mistakes=[(1.0 + 1e-9, "too near")])
    with pytest.raises(ValueError, match="expected the answer 'odd', found"):
        expect("1.8", judge=lambda found: "" if found > 0 else "negative", mistakes=[(-1, "odd")])


def test_without_an_expectation_the_reader_is_told_what_to_run():
    assert "run the folded cell above" in check("9.9", 1).text


def test_an_answer_is_not_changed():
    answer = [np.arange(3)]
    expect("1.9", [np.arange(3)[::-1]])
    check("1.9", answer)
    assert answer[0].tolist() == [0, 1, 2]
