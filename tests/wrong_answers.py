"""Wrong answers of an exercise, tried in a running notebook.

`insert_trials` puts a cell behind each solution. There `find_faults` says which wrong answers
`check` accepts, and whether it refuses the solution, rounded as the task says. The mistakes that an
exercise names itself are tried by `expect`, which raises for one that gets another reply.
"""

import ast
import copy
import json
import re
from collections.abc import Callable
from math import floor, log10
from pathlib import Path

import nbformat
import numpy as np
from nbformat.v4 import new_code_cell
from unbraid_course.exercises import EXPECTATIONS, check

TAG = "trial"
MARK = "faults: "  # before what a trial prints; a learner's function may print as well
ESTIMATES = ("42.3",)  # from draws of the learner's own, which differ in the second digit
NUMBERS = {"one": 1, "two": 2, "three": 3}


def change_values(answer: object, number: Callable) -> object:
    """The same answer with every number in it replaced."""
    if isinstance(answer, dict):
        return {key: change_values(part, number) for key, part in answer.items()}
    if isinstance(answer, tuple | list):
        return type(answer)([change_values(part, number) for part in answer])
    values = np.asarray(answer)
    if values.dtype.kind != "f":
        return answer
    changed = np.vectorize(number, otypes=[float])(values) if values.size else values
    return changed if values.ndim else changed.item()


def add_half_a_unit(value: float) -> float:
    """A number that is off by half a unit of its second digit."""
    return value and value + 0.5 * 10.0 ** (floor(log10(abs(value))) - 1)


def give_zeros(solution: Callable) -> Callable:
    """A function that gives zeros in the form of its results, or nothing if none is a number."""

    def answer(*values: object) -> object:
        result = solution(*values)
        zeros = change_values(result, lambda _: 0.0)
        return None if repr(zeros) == repr(result) else zeros

    return answer


def find_faults(exercise: str, solution: object, decimals: int | None) -> list[str]:
    """Sentences on wrong answers that are accepted, and on a right one that is refused.

    decimals: for which the task asks, by default three digits.
    """
    expectation = EXPECTATIONS[exercise]
    wrong = {"None": None, "a word": "wrong", "another function": abs}
    faults = []
    if expectation.calls:
        wrong |= {"a function of nothing": lambda *_: None, "zeros": give_zeros(solution)}
    else:
        if exercise not in ESTIMATES and not expectation.judge:
            wrong["half a unit off"] = change_values(solution, add_half_a_unit)
        wrong = {kind: value for kind, value in wrong.items() if repr(value) != repr(solution)}
        digits = (lambda x: float(f"{x:.3g}")) if decimals is None else lambda x: round(x, decimals)
        verdict = check(exercise, change_values(solution, digits))
        if not verdict.is_right:
            faults.append(f"{exercise} refuses its solution, rounded: {verdict.text}")
    accepted = [kind for kind, answer in wrong.items() if check(exercise, answer).is_right]
    return faults + [f"{exercise} accepts: {kind}" for kind in accepted]


def insert_trials(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy of a notebook with a trial behind each solution.

    The notebook's kernel finds no tests, and has names of its own, so this file is read into a
    namespace of its own.
    """
    book = copy.deepcopy(book)
    source = Path(__file__).read_text()
    cells = [new_code_cell(f"_trials = {{'__file__': ''}}\nexec({source!r}, _trials)")]
    task = ""
    for cell in book.cells:
        tags = cell.metadata.get("tags", [])
        task = cell.source if "exercise" in tags else task
        cells.append(cell)
        if cell.cell_type == "code" and "solution" in tags:
            last = ast.parse(cell.source).body[-1]
            exercise, answer = map(ast.unparse, last.value.args)  # of `check`
            lines = cell.source.splitlines()[: last.lineno - 1]
            word = re.search(r"to (\w+) decimal", task)
            decimals = NUMBERS[word[1]] if word else None
            cell.source = "\n".join([*lines, f"check({exercise}, _tried := {answer})"])
            faults = (
                f"_trials['json'].dumps(_trials['find_faults']({exercise}, _tried, {decimals}))"
            )
            cells.append(new_code_cell(f"print({MARK!r} + {faults})", metadata={"tags": [TAG]}))
    # Behind the parameters, before which nothing may stand.
    is_first = ["parameters" in cell.metadata.get("tags", []) for cell in cells].index(True)
    book.cells = [*cells[1 : is_first + 1], cells[0], *cells[is_first + 1 :]]
    return book


def read_faults(book: nbformat.NotebookNode) -> list[str]:
    """What the trials of an executed notebook found."""
    trials = [cell for cell in book.cells if TAG in cell.metadata.get("tags", [])]
    texts = ["".join(output.get("text", "") for output in trial.outputs) for trial in trials]
    lines = [line for text in texts for line in text.splitlines() if line.startswith(MARK)]
    assert len(lines) == len(trials)
    return [fault for line in lines for fault in json.loads(line.removeprefix(MARK))]
