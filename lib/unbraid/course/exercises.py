"""Exercises that answer back: what one expects, and what `check` says to a learner's answer.

A folded cell beside each exercise calls `expect`; the visible cell below it calls `check`, which
never raises for a wrong answer and never changes it.
"""

import copy
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from unbraid.checks import as_array


@dataclass(frozen=True)
class Expectation:
    """What the answer to one exercise must be.

    value: numbers, arrays, or tuples, lists and dictionaries of them, to within
        absolute + relative * |value|; or, with calls, a function. A string, such as a name or a
        digit, is compared without regard to capital letters and blanks.
    calls: argument tuples, with which the answer, a function, and `value` are called.
    judge: instead of `value`, a function that says what is wrong with an answer, "" if nothing;
        with `calls`, with the list of what the learner's function returned.
    mistakes: wrong answers that a learner is likely to give, each with what is said of it.
    """

    value: object = None
    calls: Sequence[tuple] = ()
    judge: Callable[[object], str] | None = None
    relative: float = 1e-6
    absolute: float = 1e-9
    mistakes: Sequence[tuple[object, str]] = ()


class Verdict(NamedTuple):
    """The exercise's number, whether the answer is right, and a sentence."""

    exercise: str
    is_right: bool
    text: str

    def __repr__(self) -> str:
        return f"{self.exercise}: {self.text}"


SLIPS = {  # what a wrong number is, in units of the right one
    -1: "The sign is wrong.",
    100: "This is in per cent: give a share, from 0 to 1.",
    0.01: "This is a share: give it in per cent.",
    2: "This is twice the answer.",
    0.5: "This is half of the answer.",
}
EXPECTATIONS: dict[str, Expectation] = {}


def expect(exercise: str, value: object = None, **how: Any) -> None:
    """Say what an answer must be, by `Expectation`; ValueError if a mistake gets another reply."""
    EXPECTATIONS[exercise] = expectation = Expectation(value, **how)
    for wrong, why in expectation.mistakes:
        verdict = check(exercise, wrong)
        if why not in verdict.text:
            raise ValueError(f"{exercise}: expected the answer {why!r}, found {verdict.text!r}")


def check(exercise: str, answer: object) -> Verdict:
    """Whether an answer is right, and if not, why: shown as the cell's result."""
    if exercise not in EXPECTATIONS:
        return Verdict(exercise, False, "run the folded cell above this one first")
    expectation = EXPECTATIONS[exercise]
    try:
        found = answer if is_missing(answer) else apply_calls(answer, expectation.calls)
        if is_missing(found):
            return Verdict(exercise, False, "not answered yet")
        fault = explain_fault(expectation, found)
    except Exception as error:  # the learner's own function fails: the reason is what helps
        fault = f"Your code raises {type(error).__name__}{find_line(error)}: {error}"
    return Verdict(exercise, not fault, f"not yet. {fault}" if fault else "right")


def check_all(**answers: object) -> str:
    """Which exercises are solved, of all answers: answer_13_1=... is the one to exercise 13.1."""
    names = [".".join(name.split("_")[-2:]) for name in answers]
    verdicts = [check(*pair) for pair in zip(names, answers.values(), strict=True)]
    still = ", ".join(verdict.exercise for verdict in verdicts if not verdict.is_right)
    solved = sum(verdict.is_right for verdict in verdicts)
    return f"{solved} of {len(names)} exercises solved" + (f"; to do: {still}" if still else "")


def find_line(error: Exception) -> str:
    """Where in a learner's own cell an error arose, or ""."""
    for place in reversed(traceback.extract_tb(error.__traceback__)):
        if "ipykernel" in place.filename or "<ipython" in place.filename:
            return f" in line {place.lineno}, `{place.line}`" if place.line else ""
    return ""


def is_missing(answer: object) -> bool:
    """Whether this is the `...` of a stub, or a collection that still has one."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    parts = answer if isinstance(answer, tuple | list) else ()
    return answer is ... or any(map(is_missing, parts))


def explain_fault(expectation: Expectation, found: object) -> str:
    """What is wrong with an answer, or with what its function returned; "" if it is right."""
    if expectation.judge:
        return expectation.judge(found)
    expected = apply_calls(expectation.value, expectation.calls)
    tolerances = expectation.relative, expectation.absolute
    fault = describe_difference(expected, found, tolerances)
    if not fault:
        return ""
    for wrong, why in expectation.mistakes:
        if not describe_difference(apply_calls(wrong, expectation.calls), found, tolerances):
            return why
    return f"{fault} Open the hint, and try again."


def apply_calls(value: object, calls: Sequence[tuple]) -> object:
    """A value as it is, or what a function gives for each tuple of arguments."""
    if not calls:
        return value
    if not callable(value):
        raise TypeError(f"a function is expected, found {type(value).__name__}")
    return [value(*copy.deepcopy(arguments)) for arguments in calls]


def describe_difference(expected: object, found: object, tolerances: tuple[float, float]) -> str:
    """A sentence on the first place where two values differ; "" where they agree."""
    if isinstance(expected, dict):
        if not isinstance(found, dict) or set(found) != set(expected):
            keys = ", ".join(map(str, expected))
            return f"A dictionary with the keys {keys} is expected."
        expected, found = list(expected.values()), [found[key] for key in expected]
    if isinstance(expected, tuple | list):
        if not isinstance(found, tuple | list) or len(found) != len(expected):
            return f"{len(expected)} values are expected, in the order of the task."
        for place, pair in enumerate(zip(expected, found, strict=True), 1):
            if fault := describe_difference(*pair, tolerances):
                return f"Value {place}: {fault}" if isinstance(expected, tuple) else fault
        return ""
    if isinstance(expected, str):
        same = str(found).strip().casefold() == expected.strip().casefold()
        return "" if same else f"{found!r} is not the answer."
    return compare_arrays(as_array(expected), as_array(found), tolerances)


def compare_arrays(expected: np.ndarray, found: np.ndarray, tolerances: tuple[float, float]) -> str:
    """`describe_difference` for numbers."""
    if found.dtype.kind not in "biufc":
        wanted = "Numbers are" if expected.ndim else "A number is"
        return f"{wanted} expected, not {found.tolist()!r}."
    if found.shape != expected.shape:
        return f"The shape {expected.shape} is expected, yours is {found.shape}."
    if np.isnan(found).any() and not np.isnan(expected).any():
        return "Your answer holds nan."
    are_right = np.isclose(found, expected, *tolerances, equal_nan=True)
    if are_right.all():
        return ""
    if found.ndim:
        return f"{100 * are_right.mean():.0f} % of your values are right."
    if expected.dtype.kind == "b":
        return "It is the other way round."
    return explain_number(float(expected), float(found), tolerances)


def explain_number(expected: float, found: float, tolerances: tuple[float, float]) -> str:
    """What a wrong number looks like: another sign, unit, factor or number of decimals."""
    for factor, why in SLIPS.items():
        if np.isclose(found, factor * expected, *tolerances):
            return why
    if any(found == round(expected, digits) for digits in range(4)):
        return "This is right but rounded too far: give one more decimal."
    times = found / expected if expected else 0.0
    if 2.5 < times < 1e6 and np.isclose(times, round(times), 1e-6):
        return "This is a whole multiple of the answer: should a sum be a mean?"
    return f"{found:.6g} is too {'large' if found > expected else 'small'}."
