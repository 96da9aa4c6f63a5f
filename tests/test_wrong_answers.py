"""The trials of wrong answers find exercises that accept too much, and too little."""

import numpy as np
import pytest
from exercise_notebook import make_cells
from nbformat.v4 import new_code_cell, new_notebook
from unbraid.course.exercises import EXPECTATIONS, expect
from wrong_answers import HALF_A_UNIT, TAG, find_faults, insert_trials


@pytest.fixture
def tried():
    """A function that defines an exercise and returns what its trial finds."""

    def find(solution, *value, **how):
        expect("11.1", *value, **how)
        faults = find_faults("11.1", solution)
        return [fault.removeprefix("11.1 ").partition(":") for fault in faults]

    yield find
    EXPECTATIONS.clear()


@pytest.mark.parametrize(
    "answer",
    (2 / 3, 12, (0.4, -3.0), np.array([0.25, 1.5]), ("5", "right"), {"low": 0.1}, ("orange", 3)),
    ids=str,
)
def test_a_good_exercise_has_no_fault(answer, tried):
    assert tried(answer, answer, relative=2e-3) == []


def test_a_good_exercise_of_a_function_has_none(tried):
    calls = [(np.arange(3.0), 2), (np.ones(4), 3)]
    assert tried(lambda x, k: k * x, lambda x, k: x * k, calls=calls) == []


def test_too_loose_and_too_tight_tolerances_are_found(tried):
    ((kind, _, which),) = tried(0.62, 0.62, absolute=0.01)
    assert (kind, which.strip()) == ("accepts", HALF_A_UNIT)
    ((kind, _, _),) = tried(2 / 3, 2 / 3, absolute=1e-6)
    assert kind == "refuses its solution with three digits"


def test_a_judge_that_accepts_everything_is_found(tried):
    kinds = [which.strip() for _, _, which in tried(0.62, judge=lambda found: "")]
    assert kinds == ["ten times", "the negative", "None", "a string", "a function"]


def test_a_function_that_may_return_its_argument_is_found(tried):
    calls = [(np.ones(4), 1)]
    kinds = [
        which.strip() for _, _, which in tried(lambda x, k: k * x, lambda x, k: x, calls=calls)
    ]
    assert kinds == ["returns its first argument"]


def test_each_solution_is_followed_by_its_trial():
    parameters = new_code_cell("seed = 0", metadata={"tags": ["parameters"]})
    book = new_notebook(cells=[new_code_cell("import math"), parameters, *make_cells("11.2")])
    cells = insert_trials(book).cells
    assert cells[1].metadata["tags"] == ["parameters"] and "_trials" in cells[2].source
    (place,) = [place for place, cell in enumerate(cells) if TAG in cell.metadata.get("tags", [])]
    assert "solution" in cells[place - 1].metadata["tags"]
    assert cells[place - 1].source.endswith("check('11.2', _tried := solution_11_2)")
    assert "'11.2', _tried" in cells[place].source
