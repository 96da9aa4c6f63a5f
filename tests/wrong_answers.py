"""Wrong answers of an exercise, tried in a running notebook: mutants, and other kinds.

`insert_trials` puts a cell behind each solution. There `find_faults` says which wrong answers
`check` accepts, and whether it refuses the solution, rounded as the task says. The mistakes that an
exercise names itself are tried by `expect`, which raises for one that gets another reply.
"""

import ast
import contextlib
import copy
import io
import json
import random
import re
import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import floor, log10
from pathlib import Path

import nbformat
import numpy as np
from nbformat.v4 import new_code_cell
from unbraid_course.exercises import EXPECTATIONS, Expectation, check

TAG = "trial"
MUTANTS = 20  # of each function
SECONDS = 1  # of the processor that a mutant may take, which may never end
MARK = "faults: "  # before what a trial prints; a learner's function may print as well
ESTIMATES = ("42.3",)  # from draws of the learner's own, which differ in the second digit
NUMBERS = {"one": 1, "two": 2, "three": 3}
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div)
COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
PARTNERS = [("max", "min"), ("amax", "amin"), ("argmax", "argmin"), ("sum", "mean"), ("sin", "cos")]
PARTNERS = {one: other for pair in PARTNERS for one, other in (pair, pair[::-1])}
CHANGES = {  # by kind of expression, what one may become: another operator, number, name or part
    ast.BinOp: lambda node, _: [
        *(ast.BinOp(node.left, kind(), node.right) for kind in OPERATORS),
        *(node.left, node.right),
        *[ast.BinOp(node.right, node.op, node.left)] * isinstance(node.op, (ast.Sub, ast.Div)),
    ],
    ast.Compare: lambda node, _: [
        ast.Compare(node.left, [kind()], node.comparators[:1])
        for kind in COMPARISONS * isinstance(node.ops[0], COMPARISONS)
    ],
    ast.Constant: lambda node, _: [
        ast.Constant(node.value + step) for step in (1, -1) if type(node.value) in (int, float)
    ],
    ast.UnaryOp: lambda node, _: [node.operand],
    ast.Name: lambda node, names: [
        ast.Name(name, ast.Load()) for name in names * (node.id in names and is_read(node))
    ],
    ast.Attribute: lambda node, _: [
        ast.Attribute(node.value, PARTNERS[node.attr], ast.Load())
        for _ in range(node.attr in PARTNERS)
    ],
    ast.Call: lambda node, _: (
        [node.func.value] if isinstance(node.func, ast.Attribute) else node.args[:1]
    ),
    ast.Subscript: lambda node, _: [node.value] * is_read(node),
    ast.IfExp: lambda node, _: [node.body, node.orelse],
    ast.Return: lambda node, _: [
        ast.Return(ast.BinOp(ast.Constant(3), ast.Mult(), node.value)),
        ast.Return(ast.BinOp(ast.Constant(3), ast.Add(), node.value)),
    ],
}
EQUIVALENT: dict[str, tuple[str, ...]] = {  # parts of mutants that are as right as the solution
    # No difference is exactly .05. Any rule with so many hits is right.
    "23.2": (">= 0.05",),
    "23.3": ("is_painted = frames.amin(1", "is_painted = frames > 0.05"),
    # The value is a whole number already.
    "10.3": ("return np.argmin(list_errors(a, b))",),
    # All steps of the noise have one shape.
    "11.2": ("torch.zeros_like(noise[:, 1])", "torch.zeros_like(noise[:, -1])"),
    # At a wall itself nothing is folded; arrays of one length.
    "15.2": ("place <= 0", "place >= 1"),
    # An element that is not read has no part.
    "31.3": (", 9, memory)",),
    # Frames are as wide as they are high.
    "13.2": ("film.sum(-1) @ torch.arange(film.shape[-1])",),
    "36.2": ("/ len(readings)",),
    # Each multiple, inverse and shift of the quotient.
    "31.2": ("c_anchor / c", "+ c / c_anchor", "* (c / c_anchor)"),
    # The same summand in both entropies; a difference that is squared.
    "30.2": ("return 3 + torch",),
    "40.2": ("(four - made)",),
    # The hair is right in all of these swaps; what is printed is no answer.
    "34.3": ("[hair < hair", "[codes != hair", "{of_s:8}", "{label:8}"),
    # A share without float; the motion is right in all of these swaps.
    "40.3": ("(moves.double", ", wears.double", "motion[nearest] <= m", "motion[nearest] >= m"),
}


def is_read(node: ast.AST) -> bool:
    return isinstance(node.ctx, ast.Load)


def mutate(source: str, draw: random.Random) -> Iterator[str]:
    """All functions that differ from this one in one place, in any order."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [node.arg for node in nodes if isinstance(node, ast.arg)]
    names += [node.id for node in nodes if isinstance(node, ast.Name) and not is_read(node)]
    changes = []
    for place, node in enumerate(nodes):
        change = CHANGES.get(type(node), lambda *_: ())
        changes += [(place, number) for number in range(len(change(node, names)))]
    for place, number in draw.sample(changes, len(changes)):
        tree = ast.parse(source)
        old = list(ast.walk(tree))[place]
        put(tree, old, CHANGES[type(old)](old, names)[number])
        yield ast.unparse(tree)


def put(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    """Replace a node of a tree."""
    for node in ast.walk(tree):
        for field, value in ast.iter_fields(node):
            if value is old:
                return setattr(node, field, new)
            if isinstance(value, list) and any(part is old for part in value):
                return setattr(node, field, [new if part is old else part for part in value])


def choose_mutants(source: str) -> list[str]:
    """MUTANTS of a function, always the same; of a short one also some with two changes."""
    draw = random.Random(source)
    found = [ast.unparse(ast.parse(source))]
    for base in found:  # which grows: first the function itself, then its mutants
        for mutant in mutate(base, draw):
            if mutant not in found:
                found.append(mutant)
            if len(found) > MUTANTS:
                return found[1:]
    return found[1:]


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


def build(source: str, names: dict) -> object:
    """The function of a mutant, or the error that its definition raises."""
    try:
        exec(source, names := dict(names))
        return names[ast.parse(source).body[0].name]
    except Exception as error:
        return error


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """End what takes longer with an exception, and let nothing be printed."""

    def stop(*_: object) -> None:
        raise TimeoutError("takes too long")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def find_faults(exercise: str, solution: object, source: str, decimals: int | None) -> list[str]:
    """Sentences on wrong answers that are accepted, and on a right one that is refused.

    source: of the solution's cell. decimals: for which the task asks, by default three digits.
    """
    expectation = EXPECTATIONS[exercise]
    faults = []
    if expectation.calls:
        (body,) = (
            ast.unparse(node)
            for node in ast.parse(source).body
            if getattr(node, "name", "") == solution.__name__
        )
        wrong = {text: build(text, solution.__globals__) for text in choose_mutants(body)}
    else:
        wrong = {"None": None, "a word": "wrong", "a function": abs}
        if exercise not in ESTIMATES and not expectation.judge:
            wrong["half a unit off"] = change_values(solution, add_half_a_unit)
        wrong = {kind: value for kind, value in wrong.items() if repr(value) != repr(solution)}
        rounded = change_values(
            solution, lambda x: float(f"{x:.3g}") if decimals is None else round(x, decimals)
        )
        verdict = check(exercise, rounded)
        if not verdict.is_right:
            faults.append(f"{exercise} refuses its solution, rounded: {verdict.text}")
    # What is said of a wrong answer plays no role here, and one wrong result is enough.
    steps = [replace(expectation, mistakes=())]
    if expectation.calls and not expectation.judge:
        results = [expectation.value(*copy.deepcopy(each)) for each in expectation.calls]
        steps = [
            replace(steps[0], calls=[each], value=lambda *_, result=result: copy.deepcopy(result))
            for each, result in zip(expectation.calls, results, strict=True)
        ]
    for kind, answer in wrong.items():
        if not any(part in kind for part in EQUIVALENT.get(exercise, ())):
            with at_most(SECONDS):
                if all(is_right(exercise, step, answer) for step in steps):
                    faults.append(f"{exercise} accepts: {kind}")
    EXPECTATIONS[exercise] = expectation
    return faults


def is_right(exercise: str, expectation: Expectation, answer: object) -> bool:
    EXPECTATIONS[exercise] = expectation
    return check(exercise, answer).is_right


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
            given = f"{cell.source!r}, {decimals}"
            cell.source = "\n".join([*lines, f"check({exercise}, _tried := {answer})"])
            faults = f"_trials['json'].dumps(_trials['find_faults']({exercise}, _tried, {given}))"
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
