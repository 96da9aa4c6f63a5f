"""Exercises that answer back: what one expects, and what `check` says to a learner's answer.

A folded cell beside each exercise calls `expect`; the visible cell below it calls `check`, which
never raises for a wrong answer and never changes it.
"""

import copy
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from itertools import chain, islice, permutations
from typing import Any, NamedTuple

import numpy as np
from unbraid.checks import as_array, check_field, check_type, check_whole

NUMBERS = "biuf"  # kinds of arrays: booleans, whole numbers of two kinds, and measures


@dataclass(frozen=True)
class Expectation:
    """What the answer to one exercise must be.

    value: numbers, arrays, or tuples, lists and dictionaries of them, to within
        absolute + relative * |value|; or, with calls, a function. A string, such as a name or a
        digit, is compared without regard to capital letters and blanks.
    calls: argument tuples, with which the answer, a function, and `value` are called.
    judge: a function that says what is wrong with an answer, "" if nothing; with `calls`, with the
        list of what the learner's function returned. Then `value` shows kind and form alone.
    decimals: how many the task asks for: right is what is equal when rounded to them.
    axes: what one index along each axis of an array stands for, such as "clip" and "frame".
    choices: numbers or words from which some values are chosen; a word that is none of them is
        said to be none. A wrong sign or a factor explains a measure alone, no choice, no word.
    rounding: the largest share by which an answer may be wrong to be called nearly right.
    mistakes: wrong answers that a learner is likely to give, each with what is said of it.
    """

    value: object = None
    calls: Sequence[tuple] = ()
    judge: Callable[[object], str] | None = None
    relative: float = 1e-6
    absolute: float = 1e-9
    decimals: int | None = None
    axes: Sequence[str] = ()
    choices: Sequence[Any] = ()
    rounding: float = 0.005
    mistakes: Iterable[tuple[object, str]] = ()

    def accepts(self, expected: object, found: object) -> bool:
        """Whether a word, a number or an array is the expected one."""
        if isinstance(expected, str):
            return str(found).strip().casefold() == expected.strip().casefold()
        return not self.find_wrong(expected, found).any()

    def find_wrong(self, expected: object, found: object) -> np.ndarray:
        """Which values of a number or an array are not the expected ones, of the same shape."""
        right, yours = as_array(expected), as_array(found)
        if self.decimals is not None:
            right, yours = right.round(self.decimals), yours.round(self.decimals)
        return ~np.isclose(yours, right, self.relative, self.absolute, equal_nan=True)

    def is_measure(self, expected: object) -> bool:
        """Whether a value is a continuous quantity."""
        values = as_array(expected)
        return values.dtype.kind == "f" and not (values.ndim == 0 and expected in self.choices)

    def resembles(self, wrong: object, found: object) -> bool:
        """Whether a value is this wrong one, at the digits that are printed."""
        return self.accepts(wrong, found) or (
            self.is_measure(wrong) and is_near(wrong, found, 40 * self.near, self.near)
        )

    @property
    def near(self) -> float:
        """The largest share by which a value may be off and still be taken for a wrong one."""
        return min(0.005, self.rounding)


class Verdict(NamedTuple):
    """The exercise's number, whether the answer is right, and a sentence."""

    exercise: str
    is_right: bool
    text: str

    def __repr__(self) -> str:
        return f"{self.exercise}: {self.text}"


class Sentence(str):
    """Text that a cell shows without quotes."""

    __repr__ = str.__str__


class Pair(NamedTuple):
    """A word, number or array that is expected, the learner's, and where: which call and value."""

    call: str
    place: str
    expected: Any
    found: Any


class KindError(TypeError):
    """An answer of another kind or form than expected."""


class WordError(KindError):
    """An answer that is no word, where one is expected."""


SLIPS: list[tuple[Callable, str]] = [  # what a measure became, as a function of the right one
    (lambda right: -right, "The sign is wrong."),
    (lambda right: 100 * right, "This is in per cent: give a share, from 0 to 1."),
    (lambda right: right / 100, "This is a share: give it in per cent."),
    (lambda right: 2 * right, "This is twice the answer."),
    (lambda right: right / 2, "This is half of the answer."),
    (lambda right: right * np.log(2), "This is ln 2 times the answer: nats instead of bits?"),
    (lambda right: right / np.log(2), "This is the answer over ln 2: bits instead of nats?"),
    (np.degrees, "These are degrees: give radians."),
    (np.radians, "These are radians: give degrees."),
    (np.square, "This is the square of the answer."),
    (lambda right: abs(right) ** 0.5, "This is the root of the answer."),
    (lambda right: 1 / right, "This is the inverse of the answer."),
    (lambda right: 1 - right, "This is one minus the answer."),
]
EXPECTATIONS: dict[str, Expectation] = {}


def expect(exercise: str, value: object = None, **how: Any) -> None:
    """Say what an answer must be, by `Expectation`; ValueError if a mistake gets another reply."""
    check_type(str, exercise=exercise)
    EXPECTATIONS[exercise] = expectation = Expectation(value, **how)
    check_type((tuple, list), **{f"calls[{n}]": call for n, call in enumerate(expectation.calls)})
    check_whole(0, decimals=expectation.decimals or 0)
    for wrong, why in expectation.mistakes:
        verdict = check(exercise, wrong)
        if why not in verdict.text:
            raise ValueError(f"{exercise}: expected the answer {why!r}, found {verdict.text!r}")


def check(exercise: str, answer: object) -> Verdict:
    """Whether an answer is right, and if not, why: shown as the cell's result."""
    check_type(str, exercise=exercise)
    if exercise not in EXPECTATIONS:
        return Verdict(exercise, False, "run the folded cell above this one first")
    expectation = EXPECTATIONS[exercise]
    try:
        found = answer if is_missing(answer) else apply_calls(answer, expectation.calls)
        if is_missing(found):
            return Verdict(exercise, False, "not answered yet")
        fault = explain_fault(expectation, found)
    except KindError as error:
        fault = str(error)
    except Exception as error:  # the learner's own function fails: the reason is what helps
        fault = f"Your code raises {type(error).__name__}{find_line(error)}: {error}"
    check_type(str, judge=fault)
    return Verdict(exercise, not fault, f"not yet. {fault}" if fault else "right")


def check_all(**answers: object) -> Sentence:
    """Which exercises are solved, of all answers: answer_13_1=... is the one to exercise 13.1."""
    names = [".".join(name.split("_")[-2:]) for name in answers]
    for name in names:
        check_field("." in name, "answers", "names such as answer_13_1", name)
    verdicts = [check(*pair) for pair in zip(names, answers.values(), strict=True)]
    still = ", ".join(verdict.exercise for verdict in verdicts if not verdict.is_right)
    solved = sum(verdict.is_right for verdict in verdicts)
    to_do = f"; to do: {still}" if still else ""
    return Sentence(f"{solved} of {len(names)} exercises solved{to_do}")


def find_line(error: Exception, outermost: bool = False) -> str:
    """Where in a learner's own cells an error arose, or where the first of them calls; or ""."""
    places = traceback.extract_tb(error.__traceback__)
    for place in places if outermost else reversed(places):
        if "ipykernel" in place.filename or "<ipython" in place.filename:
            return f" in line {place.lineno}, `{place.line}`" if place.line else ""
    return ""


def is_missing(answer: object) -> bool:
    """Whether this is the `...` of a stub, or a collection that still has one."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    parts = answer if isinstance(answer, tuple | list) else ()
    return answer is ... or any(map(is_missing, parts))


def apply_calls(value: object, calls: Sequence[tuple]) -> object:
    """A value as it is, or what a function gives for each tuple of arguments."""
    if not calls:
        return value
    if not callable(value):
        raise KindError(f"A function is expected, not {show(value)}.")
    return [value(*copy.deepcopy(arguments)) for arguments in calls]


def explain_fault(expectation: Expectation, found: object) -> str:
    """What is wrong with an answer, or with what its function returned; "" if it is right."""
    calls, judge = expectation.calls, expectation.judge
    if judge and expectation.value is None:
        return judge(found) or find_nan(found)
    try:  # The kind of all values comes before any value.
        pairs = list(pair_results(apply_calls(expectation.value, calls), found, calls))
    except KindError as error:
        words = list_words(expectation) if isinstance(error, WordError) else ""
        names = f" The names are: {words}." if words else ""
        return find_mistake(expectation, found, {}) or f"{error}{names}"
    if judge:
        return judge(found) or find_nan(found)
    missed = {
        place: pair
        for place, pair in enumerate(pairs)
        if not expectation.accepts(pair.expected, pair.found)
    }
    if not missed:
        return ""
    if why := find_mistake(expectation, found, missed):
        return why
    reason = find_slip(expectation, pairs, missed)
    reason = reason or explain_value(expectation, next(iter(missed.values())))
    return f"{reason} Open the hint, and try again."


def find_nan(found: Any) -> str:
    """A sentence if nan is among the numbers of an answer: no comparison of a judge finds it."""
    parts = list(found.values()) if isinstance(found, dict) else found
    if isinstance(parts, tuple | list):
        return next(filter(None, map(find_nan, parts)), "")
    values = as_array(parts)
    is_nan = values.dtype.kind == "f" and np.isnan(values).any()
    return "Your answer contains nan." if is_nan else ""


def find_mistake(expectation: Expectation, found: object, missed: dict[int, Pair]) -> str:
    """What is said of the mistake that an answer is; "" if it is none.

    missed: the wrong values by their places. A mistake that is the whole answer comes first, then
    one that is so as it is printed, one that has all wrong values, and of an answer that is no
    function one that has the first. Of a 0 for a 1, or the reverse, the last two say little: there
    the mistake must have no wrong value that the answer has not.
    """
    replies: dict[int, str] = {}
    values = list(map(as_array, chain(*(pair[2:] for pair in missed.values()))))
    are_binary = all(each.dtype.kind in "biu" and np.isin(each, (0, 1)).all() for each in values)
    for mistake, why in expectation.mistakes:
        try:
            pairs = list(pair_results(apply_calls(mistake, expectation.calls), found, ()))
        except KindError:
            continue
        if all(expectation.accepts(pair.expected, pair.found) for pair in pairs):
            return why
        shared = [
            not expectation.accepts(pair.expected, pairs[place].expected)
            and expectation.resembles(pairs[place].expected, pair.found)
            for place, pair in missed.items()
            if place < len(pairs)
        ]
        others = [pair for place, pair in enumerate(pairs) if place not in missed]
        if are_binary and not all(expectation.accepts(*pair[2:]) for pair in others):
            shared = []
        if all(expectation.resembles(pair.expected, pair.found) for pair in pairs):
            replies.setdefault(0, why)
        elif shared and all(shared):
            replies.setdefault(1, why)
        elif any(shared[:1]) and not expectation.calls:
            replies.setdefault(2, next(iter(missed.values())).place + why)
    return replies[min(replies)] if replies else ""


def pair_results(expected: Any, found: Any, calls: Sequence[tuple]) -> Iterator[Pair]:
    """`pair_values` of an answer, or of what two functions returned for each call."""
    if not calls:
        yield from pair_values(expected, found)
        return
    for arguments, right, yours in zip(calls, expected, found, strict=True):
        shown = ", ".join(map(repr, arguments)) if all(map(np.isscalar, arguments)) else ""
        call = f"For ({shown}): " if shown else ""
        yield from pair_values(right, yours, call)


def pair_values(expected: Any, found: Any, call: str = "", place: str = "") -> Iterator[Pair]:
    """Each word, number and array that is expected, and the learner's; KindError for others."""
    if isinstance(expected, dict):
        if not isinstance(found, dict) or set(found) != set(expected):
            keys = ", ".join(map(str, expected))
            raise KindError(f"{call}{place}A dictionary with the keys {keys} is expected.")
        for key in expected:
            yield from pair_values(expected[key], found[key], call, f"{place}{key}: ")
    elif isinstance(expected, tuple | list):
        shape = "" if isinstance(found, tuple | list) else as_array(found).shape
        if not isinstance(found, tuple | list):
            found = list(as_array(found)) if shape else [found]
        if len(found) != len(expected):
            wanted = f"{len(expected)} values are expected, in the order of the task"
            what = f"one array of shape {shape}" if len(shape) > 1 else f"{len(found)}"
            with suppress(ValueError):  # of lists of different lengths
                what += ": transposed" * (np.shape(found) == np.shape(expected)[1::-1])
            raise KindError(f"{call}{place}{wanted}; found {what}.")
        name = "Number" if place else "Value"
        for number, pair in enumerate(zip(expected, found, strict=True), 1):
            yield from pair_values(*pair, call, f"{place}{name} {number}: ")
    elif fault := compare_kinds(expected, found):
        error = WordError if isinstance(expected, str) else KindError
        raise error(f"{call}{place}{fault}")
    else:
        yield Pair(call, place, expected, found)


def compare_kinds(expected: Any, found: Any) -> str:
    """How a word, a number or an array is of another kind or shape than expected; "" if not."""
    if isinstance(expected, str):
        is_word = isinstance(found, str) or (expected.isdigit() and np.isscalar(found))
        return "" if is_word else f"A word is expected, not {show(found)}."
    right, yours = as_array(expected), as_array(found)
    wanted = "Numbers are" if right.ndim else "A number is"
    if right.dtype.kind == "b":
        wanted = "True or False is"
    if yours.dtype.kind not in NUMBERS:
        return f"{wanted} expected, not {show(found)}."
    if yours.shape != right.shape:
        is_turned = ": transposed?" if sorted(yours.shape) == sorted(right.shape) else "."
        return f"The shape {right.shape} is expected, yours is {yours.shape}{is_turned}"
    if "b" in (right.dtype.kind, yours.dtype.kind) and right.dtype != yours.dtype:
        is_other = ~np.isin(yours if right.dtype.kind == "b" else right, (0, 1))
        if is_other.any():
            return f"{wanted} expected, not {show(yours[is_other][0])}."
    is_count = right.ndim == 0 and right.dtype.kind in "iu"
    if is_count and np.isfinite(yours) and abs(yours - yours.round()) > 0.25:
        return f"A whole number is expected, not {show(found)}."
    return ""


def show(value: object) -> str:
    """An answer in a sentence on what it should have been."""
    if callable(value):
        return "a function: call it"
    text = repr(getattr(value, "tolist", lambda: value)())
    return text if len(text) < 40 else f"a {type(value).__name__}"


def is_rounded(right: np.ndarray, yours: np.ndarray, most: float) -> bool:
    """Whether a number is another one at the digits with which it is printed, off by a share."""
    if yours.ndim or not np.isfinite(yours):
        return False
    half_a_unit = 0.5001 * 10.0 ** int(Decimal(repr(yours.item())).as_tuple().exponent)
    return abs(yours - right) <= min(half_a_unit, most * abs(yours))


def is_near(right: object, found: object, most: float, share: float = 0.005) -> bool:
    """Whether values are others to within a share, or as they are printed."""
    wanted, yours = as_array(right), as_array(found)
    within = abs(yours - wanted) <= share * abs(wanted) + 1e-9
    return bool(within.all()) or is_rounded(wanted, yours, most)


def find_slip(expectation: Expectation, pairs: list[Pair], missed: dict[int, Pair]) -> str:
    """What wrong values are of the right ones: in another order, nearly right, or of another sign,
    unit or factor; "" if they are none of these."""
    first, near = next(iter(missed.values())), expectation.near
    if why := find_order(expectation, [pair for pair in pairs if pair.call == first.call], first):
        return f"{first.call}{why}"
    alike = [pair for pair in missed.values() if pair.place == first.place]  # in other calls, too
    if not all(expectation.is_measure(pair.expected) for pair in alike):
        return ""
    if is_rounded(as_array(first.expected), as_array(first.found), 92 * near):
        return f"{first.place}This is right but rounded too far: give one more decimal."
    if is_near(first.expected, first.found, 0, expectation.rounding):
        return f"{first.call}{first.place}This is nearly right: was something rounded on the way?"
    with np.errstate(all="ignore"):
        for change, why in SLIPS:
            slips = ((change(as_array(pair.expected)), pair.found) for pair in alike)
            if all(is_near(*slip, 4 * near, near) for slip in slips):
                return first.place + why
    return ""


def find_order(expectation: Expectation, pairs: list[Pair], wrong: Pair) -> str:
    """What is said of an array, or of a list of single values, that is right in another order."""
    if np.ndim(wrong.expected):
        right, yours, place = as_array(wrong.expected), as_array(wrong.found), wrong.place
    elif len({(np.ndim(pair.expected), isinstance(pair.expected, str)) for pair in pairs}) > 1:
        return ""  # words and numbers, or arrays
    else:
        right, yours = (as_array(list(side)) for side in [*zip(*pairs, strict=True)][2:])
        place = ""
    for table, why in list_orders(right):
        if table.shape == yours.shape and all(map(expectation.accepts, table, yours)):
            return place + why
    return ""


def list_orders(right: np.ndarray) -> Iterator[tuple[np.ndarray, str]]:
    """What an array becomes if its axes or its order are confused, and what is said."""
    if right.size < 4:
        return
    turned = "These are the right values in another order: transposed?"
    if right.ndim == 1:
        rows = [n for n in range(2, len(right)) if len(right) % n == 0]
        yield from ((right.reshape(n, -1).T.ravel(), turned) for n in rows)
    for axes in islice(permutations(range(right.ndim)), 1, 100):
        yield right.transpose(axes), turned
    if len(np.unique(right)) < 3:  # where a wrong value is soon another one's, too
        return
    for axis in range(right.ndim):
        along = f" along axis {axis}" if right.ndim > 1 else ""
        yield np.flip(right, axis), f"The order is the opposite one{along}."
        yield np.roll(right, 1, axis), f"All values are one place late{along}."
        yield np.roll(right, -1, axis), f"All values are one place early{along}."


def list_words(expectation: Expectation) -> str:
    """The names from which an answer is chosen."""
    return ", ".join(choice for choice in expectation.choices if isinstance(choice, str))


def find_place(expectation: Expectation, right: np.ndarray, yours: np.ndarray) -> str:
    """How much of an array is right, and where it is first wrong.

    Its values are read as they are stored, the first axis slowest. If all are right before some
    index of a later axis, as where a loop over the frames of all clips fails, this is said, too.
    """
    wrong = expectation.find_wrong(right, yours)
    first = tuple(map(int, np.argwhere(wrong)[0]))
    there = ", ".join(map(str, first))
    text = (
        f"{100 * (1 - wrong.mean()):.0f} % of your values are right. The first wrong one is at "
        f"[{there}]: found {write_value(yours[first])}, expected {write_value(right[first])}."
    )
    if why := find_nan(yours[wrong]):
        text = f"{why} {text}"
    starts = np.argwhere(wrong).min(0)  # along each axis, the first index with a wrong value
    axis = int((starts > 0).argmax())
    if axis == 0:
        return text
    name = f"{expectation.axes[axis]} {starts[axis] + 1}, " if axis < len(expectation.axes) else ""
    return f"{text} All is right before {name}index {starts[axis]} of axis {axis}."


def write_value(value: np.generic) -> str:
    """A value of an array in a sentence."""
    return f"{value:.6g}" if value.dtype.kind == "f" else str(value)


def explain_value(expectation: Expectation, pair: Pair) -> str:
    """What is said of a wrong value for which no other reason is found."""
    where = pair.call + pair.place
    if isinstance(pair.expected, str):
        known = any(expectation.accepts(word, pair.found) for word in expectation.choices)
        if known or pair.expected not in expectation.choices:
            return f"{where}{pair.found!r} is not the answer."
        near = get_close_matches(str(pair.found).lower(), expectation.choices, 1, 0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"{where}{pair.found!r} is none of the names: {list_words(expectation)}.{hint}"
    right, yours = as_array(pair.expected), as_array(pair.found)
    if right.ndim:
        return f"{where}{find_place(expectation, right, yours)}"
    if why := find_nan(yours):
        return where + why
    if right.dtype.kind == "b":
        return f"{where}It is the other way round."
    if expectation.is_measure(pair.expected):
        times = float(yours / right) if right else 0.0
        if 2.5 < times < 1e6 and np.isclose(times, round(times), 1e-6):
            return f"{where}This is a whole multiple of the answer: should a sum be a mean?"
    elif pair.expected in expectation.choices:
        return f"{where}It is not {yours:g}."
    return f"{where}{yours:.6g} is too {'large' if yours > right else 'small'}."
