"""The trials of wrong answers find exercises that accept too much, and too little."""

import ast

import numpy as np
import pytest
from exercise_notebook import COUNTING
from nbformat.v4 import new_code_cell, new_notebook
from unbraid_course.exercises import EXPECTATIONS, expect
from wrong_answers import MUTANTS, TAG, choose_mutants, find_faults, insert_trials

TWICE = "def twice(x, k):\n    return k * x"
PRODUCT = {"value": lambda x, k: x * k, "calls": [(np.arange(3.0), 2), (np.ones(4), 3)]}
CASES = (  # a solution, its exercise, the decimals for which the task asks, and the faults found
    (2 / 3, {"value": 2 / 3, "relative": 2e-3}, None, []),
    (0.6146, {"value": 0.6146, "decimals": 2}, 2, []),
    (("5", "right"), {"value": ("5", "right")}, None, []),
    (0.62, {"value": 0.62, "absolute": 0.01}, None, ["accepts: half a unit off"]),
    (2 / 3, {"value": 2 / 3}, None, ["refuses its solution, rounded"]),
    (0.6146, {"value": 0.6146, "absolute": 2e-3}, 2, ["refuses its solution, rounded"]),
    (0.6, {"judge": lambda found: ""}, None, ["accepts"] * 3),
    (TWICE, PRODUCT, None, []),
    (TWICE, {"judge": lambda found: "", "calls": [(1, 2)]}, None, ["accepts: def"] * MUTANTS),
    (TWICE, PRODUCT | {"calls": [(2.0, 2)]}, None, ["accepts: def"]),  # such as k * k
)


@pytest.mark.parametrize("solution, how, decimals, expected", CASES)
def test_what_is_found(solution, how, decimals, expected):
    expect("11.1", **how)
    source, names = "", {}
    if solution is TWICE:
        exec(source := TWICE, names)
        solution = names["twice"]
    faults = find_faults("11.1", solution, source, decimals)
    EXPECTATIONS.clear()
    assert len(faults) >= len(expected) and bool(faults) == bool(expected), faults
    for fault, says in zip(faults, expected, strict=False):
        assert fault.removeprefix("11.1 ").startswith(says)


def test_mutants_differ_from_the_function_and_from_each_other():
    mutants = choose_mutants(TWICE)
    assert len({*mutants, TWICE}) == MUTANTS + 1 and mutants == choose_mutants(TWICE)
    assert all(ast.parse(mutant).body[0].name == "twice" for mutant in mutants)


def test_each_solution_is_followed_by_its_trial():
    parameters = new_code_cell("seed = 0", metadata={"tags": ["parameters"]})
    exercise = [cell for cell in COUNTING.cells if "11.2" in cell.source]
    book = new_notebook(cells=[new_code_cell("import math"), parameters, *exercise])
    cells = insert_trials(book).cells
    assert cells[1].metadata["tags"] == ["parameters"] and "_trials" in cells[2].source
    (place,) = [place for place, cell in enumerate(cells) if TAG in cell.metadata.get("tags", [])]
    assert "solution" in cells[place - 1].metadata["tags"]
    assert cells[place - 1].source.endswith("check('11.2', _tried := solution_11_2)")
    assert "'11.2', _tried" in cells[place].source
