"""Wrong answers of each likely kind, tried on an exercise in a running notebook.

`insert_trials` puts a cell behind each solution; there `find_faults` says which wrong answers
`check` accepts, and whether it refuses the solution with three digits, as a reader would print it.
The mistakes that an exercise names are tried by `expect` itself, which raises for one that does not
get its own explanation.
"""

import ast
import copy
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from math import floor, log10
from pathlib import Path

import nbformat
import numpy as np
import torch
from nbformat.v4 import new_code_cell
from unbraid.course.exercises import EXPECTATIONS, apply_calls, check

TAG = "trial"
HALF_A_UNIT = "half a unit off in the second digit"
ESTIMATES = ("03.3", "20.3")  # from draws of the learner's own, which differ in the second digit
MARK = "faults: "  # before what a trial prints; a learner's function may print as well


def change(answer: object, number: Callable, text: Callable = str) -> object:
    """The same answer with every number and every string in it replaced."""
    if isinstance(answer, dict):
        return {key: change(part, number, text) for key, part in answer.items()}
    if isinstance(answer, tuple | list):
        return type(answer)([change(part, number, text) for part in answer])
    if isinstance(answer, str):
        return text(answer)
    if isinstance(answer, torch.Tensor):
        answer = answer.detach().numpy()
    values = np.asarray(answer)
    if values.dtype.kind not in "iuf":
        return answer
    changed = np.vectorize(number, otypes=[float])(values) if values.size else values + 0.0
    if values.dtype.kind in "iu" and (changed == np.round(changed)).all():
        changed = changed.astype(int)  # Where a name is expected, 3.0 is not 3.
    return changed.item() if not values.ndim else changed


def add_half_a_unit(value: float, digits: int = 2) -> float:
    """A number that is off by half a unit of its second digit."""
    if value == 0 or not np.isfinite(value):
        return value
    return value + 0.5 * 10.0 ** (floor(log10(abs(value))) - digits + 1)


def round_as_printed(value: float) -> float:
    """A number with three digits."""
    return float(f"{value:.3g}")


def replay(results: list) -> Callable:
    """A function that returns these results, one a call, again and again."""
    results = itertools.cycle(results)
    return lambda *arguments: copy.deepcopy(next(results))


def fail(*arguments: object) -> None:
    raise RuntimeError("wrong on purpose")


def differ(first: object, second: object) -> bool:
    return repr(first) != repr(second)


def list_wrong_answers(found: object, is_function: bool) -> dict[str, object]:
    """Wrong answers by their kind. found: the answer, or what the function returned, by call."""
    kinds = {
        "ten times": change(found, lambda value: 10 * value),
        "the negative": change(found, lambda value: -value),
        HALF_A_UNIT: change(found, add_half_a_unit),
        "another string": change(found, float, lambda text: f"not {text}"),
    }
    unchanged = change(found, float)
    wrong = {kind: value for kind, value in kinds.items() if differ(value, unchanged)}
    if not is_function:
        return wrong | {"None": None, "a string": "wrong", "a function": fail}
    wrong = {f"returns {kind}": replay(value) for kind, value in wrong.items()}
    if differ(zeros := change(found, lambda value: 0.0), unchanged):
        wrong["returns zeros"] = replay(zeros)
    return wrong | {
        "returns its first argument": lambda *arguments: arguments[0],
        "returns None": lambda *arguments: None,
        "raises": fail,
        "None": None,
        "a number": 1.0,
    }


def may_be_right(kind: str, found: object, has_judge: bool, is_estimate: bool) -> bool:
    """Whether an answer of this kind is right for a good reason.

    A judge looks at more than a number: at an order, or at a code, which holds as much at another
    scale.
    """
    if HALF_A_UNIT in kind:
        return has_judge or is_estimate
    holds_codes = isinstance(found, tuple | list) and any(np.ndim(part) > 1 for part in found)
    is_scaled = kind.endswith(("ten times", "the negative"))
    return has_judge and is_scaled and (holds_codes or kind.startswith("returns"))


def find_faults(exercise: str, solution: object) -> list[str]:
    """Sentences on wrong answers that are accepted and right ones that are refused."""
    expectation = EXPECTATIONS[exercise]
    is_function = bool(expectation.calls)
    found = apply_calls(solution, expectation.calls)
    quick = replace(expectation, mistakes=())  # What is said of a wrong answer plays no role here.
    if is_function and not expectation.judge:
        quick = replace(quick, value=replay(apply_calls(expectation.value, expectation.calls)))
    faults = []
    EXPECTATIONS[exercise] = quick
    try:
        for kind, wrong in list_wrong_answers(found, is_function).items():
            if may_be_right(kind, found, bool(expectation.judge), exercise in ESTIMATES):
                continue
            if check(exercise, wrong).is_right:
                faults.append(f"{exercise} accepts: {kind}")
        if not is_function:
            verdict = check(exercise, change(found, round_as_printed))
            if not verdict.is_right:
                faults.append(f"{exercise} refuses its solution with three digits: {verdict.text}")
    finally:
        EXPECTATIONS[exercise] = expectation
    return faults


def insert_trials(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy of a notebook with a trial behind each solution.

    The notebook's kernel finds no tests, and has names of its own, so this file is read into a
    namespace of its own.
    """
    book = copy.deepcopy(book)
    source = Path(__file__).read_text()
    cells = [new_code_cell(f"_trials = {{'__file__': ''}}\nexec({source!r}, _trials)")]
    for cell in book.cells:
        cells.append(cell)
        if cell.cell_type == "code" and "solution" in cell.metadata.get("tags", []):
            last = ast.parse(cell.source).body[-1]
            exercise, answer = map(ast.unparse, last.value.args)  # of `check`
            lines = cell.source.splitlines()[: last.lineno - 1]
            cell.source = "\n".join([*lines, f"check({exercise}, _tried := {answer})"])
            faults = f"_trials['json'].dumps(_trials['find_faults']({exercise}, _tried))"
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
