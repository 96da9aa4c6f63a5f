"""The workshop: the reader types a model or instruments from an empty file, and each one answers.

The workshop edition of a notebook leaves the bodies of some functions to the reader (tools/
workshop.py makes it). `check` says of each whether it is right. `save` writes what was typed to a
file, such as model_32.py, or measures.py for notebook 03. `to_library` gives a model's weights to
the library's class. What is run to check the functions of a notebook stands in the module of its
number, such as `n32`.
"""

import ast
import inspect
import math
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
import unbraid
from torch import Tensor, nn
from unbraid.checks import as_array, check_field, check_name
from unbraid.files import write_atomically

from unbraid_course.exercises import (
    Expectation,
    Verdict,
    explain_fault,
    find_line,
    find_mistake,
)
from unbraid_course.lessons import list_free, open_lesson

Names = dict[str, Any]
NUMBERS = {"IndependentPrediction": "11", "UnorderedFrames": "22", "SingleElement": "32"}
EDITIONS = [path.stem[1:] for path in sorted(Path(__file__).parent.glob("n[0-9]*.toml"))]
GRADIENT = "gradient of "
STUB = "raise NotImplementedError"
REMARKS = {  # on errors of PyTorch that name another cure
    "Can't call numpy()": " NumPy knows no gradients: compute with torch, without `detach`.",
    "read-only": ": what is given belongs to the caller, so copy it first.",
    "dtype": " The check computes in double precision: make new tensors like those that are given.",
}
DRAW = torch.randn  # PyTorch's own, also while another one takes its place
solved: set[tuple[str, str]] = set()  # notebook and name of what checks have found right


class Unfit(Exception):
    """What a function gives is of another kind than its check can read; the message says which."""


class Case(NamedTuple):
    """What a function is run with: numbers of clips and frames, and the mode of its model."""

    clips: int
    frames: int
    is_training: bool

    def __str__(self) -> str:
        mode = "training" if self.is_training else "evaluation"
        return f"{self.clips} clip{'s' * (self.clips > 1)} of {self.frames} frames, {mode} mode"


CASES = (Case(4, 5, True), Case(1, 4, False))  # sizes unlike each other, and a single clip


@dataclass(frozen=True)
class Part:
    """A function that the reader types, and what is known of it.

    run: gives the arrays by which it is judged, by what they are; it gets the definitions of the
        lesson by name, among them the reader's, and a case.
    axes: what one index along each axis of an array stands for.
    right: gives what `run` must give, where it is not what the lesson's own definitions give.
    cases: what it is run with. Each is said by its `str`.
    share: by how much of itself a value may be wrong.
    """

    run: Callable[[Names, Any], Names]
    axes: tuple[str, ...] = ("clip", "frame", "unit")
    right: Callable[[Names, Any], Names] | None = None
    cases: tuple[Any, ...] = CASES
    share: float = 1e-6

    def expect(self, arrays: Names, mistakes: Iterable[tuple[Names, str]] = ()) -> Expectation:
        """Arrays as an answer, with the wrong ones that are known."""
        how: Names = {"relative": self.share, "absolute": 1e-6, "rounding": 1e-4}
        return Expectation(arrays, axes=self.axes, mistakes=mistakes, **how)


def check(number: str, name: str, *typed: object) -> Verdict:
    """Whether a function of a notebook is right: shown as the cell's result.

    name: such as "kl" or "Posterior.forward". typed: the function, or the class that has it; where
    instruments are checked together, all that the notebook's module names in WANTED.
    """
    check_name("number", number, EDITIONS)
    notebook = import_module(f"{__name__}.n{number}")
    check_name("name", name, notebook.PARTS)
    part: Part = notebook.PARTS[name]
    lesson = open_lesson(number)
    places = [name.split(".")[0]]
    if places[0] not in vars(lesson):  # The whole class is given, or all instruments are.
        places = notebook.WANTED[:1] if number in NUMBERS.values() else notebook.WANTED
    given = vars(lesson) | dict.fromkeys(places) | dict(zip(places, typed, strict=False))
    solved.discard((number, name))
    if untyped := ", ".join(place for place in places if not callable(given[place])):
        return Verdict(name, False, f"give this check your {untyped}, each a function or a class")
    for case in part.cases:
        where = "not yet. " if case is part.cases[0] else f"not yet. With {case}: "
        try:
            yours = part.run(given, case)
        except NotImplementedError as error:
            other = "" if error.args == (name,) else f" ({error})"
            return Verdict(name, False, f"not typed yet{other}")
        except Unfit as error:
            return Verdict(name, False, f"{where}{error}")
        except Exception as error:  # the reader's own code fails: the reason is what helps
            what = f"{type(error).__name__}{find_line(error, outermost=True)}: {error}"
            remark = next((said for text, said in REMARKS.items() if text in what), "")
            return Verdict(name, False, f"{where}Your code raises {what}{remark}")
        with warnings.catch_warnings(action="ignore"):  # of mistakes
            fault = explain_answer(number, name, case, given, yours)
        if fault:
            return Verdict(name, False, f"{where}{fault}")
    solved.add((number, name))
    return Verdict(name, True, "right")


def find_part(number: str, name: str) -> Part:
    """What is known of a function."""
    return import_module(f"{__name__}.n{number}").PARTS[name]


@cache
def run_right(number: str, name: str, case: Any) -> Names:
    """What must be given in a case."""
    part = find_part(number, name)
    return (part.right or part.run)(vars(open_lesson(number)), case)


@cache
def run_mistake(number: str, name: str, place: int, case: Any) -> Names | None:
    """What a known mistake, by its place in the list, gives in a case; None if that is an error."""
    part = find_part(number, name)
    old, new, _ = read_texts(number)[name]["mistakes"][place]
    return attempt(part, change(open_lesson(number), name, old, new), case)


def attempt(part: Part, names: Names, case: Any) -> Names | None:
    """What a part is judged by, or None if that is an error."""
    with suppress(Exception):
        return part.run(names, case)
    return None


def explain_answer(number: str, name: str, case: Any, given: Names, yours: Names) -> str:
    """Why arrays are wrong in a case, "" if they are right: a known mistake, a property that does
    not hold, a gradient that does not arrive, or what `explain_fault` says of the first of them."""
    part, right = find_part(number, name), run_right(number, name, case)
    wrong = [each for each in right if not is_same(part, {each: right[each]}, yours)]
    if not wrong:
        return ""
    mistakes = list_mistakes(number, name, case, given, dict)
    if why := find_mistake(part.expect(right, mistakes), yours, {}):
        return why
    if untrue := [each for each in wrong if as_array(right[each]).dtype.kind == "b"]:
        return f"This must hold, and does not: {untrue[0]}."
    if all(each.startswith(GRADIENT) for each in wrong):
        return explain_gradients(wrong, right, yours)
    mistakes = list_mistakes(number, name, case, given, drop_gradients)
    return explain_fault(part.expect(drop_gradients(right), mistakes), drop_gradients(yours))


def list_mistakes(
    number: str, name: str, case: Any, given: Names, pick: Callable[[Names], Names]
) -> Iterator[tuple[Names, str]]:
    """What known mistakes give in a case, of those that give what an answer gives in all others.

    pick: takes from arrays those that count.
    """
    part = find_part(number, name)
    others = {each: attempt(part, given, each) for each in part.cases if each != case}
    for place, (*_, why) in enumerate(read_texts(number).get(name, {}).get("mistakes", [])):
        make = partial(run_mistake, number, name, place)
        made = make(case)
        if made and all(is_same(part, pick(make(at) or {}), each) for at, each in others.items()):
            yield pick(made), why


def is_same(part: Part, arrays: Names, yours: Names | None) -> bool:
    """Whether arrays are those of an answer, which may have more; of none, whether it failed."""
    if not arrays or yours is None:
        return not arrays and yours is None
    return not explain_fault(part.expect(arrays), {name: yours.get(name) for name in arrays})


def drop_gradients(arrays: Names) -> Names:
    """Arrays without their gradients."""
    return {name: each for name, each in arrays.items() if not name.startswith(GRADIENT)}


def explain_gradients(wrong: list[str], right: Names, yours: Names) -> str:
    """What is said if all values are right, but not these gradients."""
    says = "All values are right, but "
    stops = "`detach`, `no_grad`, `data`, `item` or NumPy stops it."
    silent = [name for name in wrong if not as_array(yours[name]).any()]
    gradients = [name for name in right if name.startswith(GRADIENT)]
    if not any(as_array(yours[name]).any() for name in gradients):
        return f"{says}no gradient arrives anywhere: {stops}"
    if silent:
        return f"{says}no {silent[0]} arrives: {stops}"
    if extra := [name for name in wrong if not as_array(right[name]).any()]:
        return f"{says}a {extra[0]} arrives, where none belongs: a `detach` is missing."
    return f"{says}the {wrong[0]} is not: on some path {stops}"


def take(typed: str, given: Any, form: Any) -> Names:
    """The tensors that a function gives, by their names in a form such as ("s", ("mean", "d"));
    Unfit if they are not of this form."""
    refuse_nothing(typed, given)
    if isinstance(form, str):
        if isinstance(given, tuple | list):
            raise Unfit(f"`{typed}` gives {len(given)} results for {form}: a tensor is expected.")
        return {form: torch.as_tensor(as_array(given) if isinstance(given, float) else given)}
    is_several = isinstance(given, tuple | list) or (isinstance(given, Tensor) and given.ndim)
    if not is_several or len(given) != len(form):
        found = f"{len(given)} results" if isinstance(given, tuple | list) else f"a {kind(given)}"
        wanted = ", ".join(
            each if isinstance(each, str) else f"({', '.join(each)})" for each in form
        )
        raise Unfit(f"`{typed}` gives {found}; expected {len(form)} results: {wanted}.")
    taken: Names = {}
    for part, each in zip(given, form, strict=True):
        taken |= take(typed, part, each)
    return taken


def take_numbers(typed: str, given: Any, name: str) -> Names:
    """The numbers that an instrument gives, by their name; Unfit if there are none."""
    refuse_nothing(typed, given)
    with suppress(ValueError, TypeError):  # of lists of unlike lengths, and of what is no number
        numbers = as_array(given)
        if numbers.dtype.kind in "biuf":
            return {name: numbers}
    raise Unfit(f"`{typed}` gives a {kind(given)}; numbers are expected: {name}.")


def refuse_nothing(typed: str, given: Any) -> None:
    """Unfit if a function gives None."""
    if given is None:
        raise Unfit(f"`{typed}` gives nothing: is its `return` missing?")


def kind(given: Any) -> str:
    """A value in a sentence."""
    if isinstance(given, Tensor | np.ndarray):
        return f"{'tensor' if isinstance(given, Tensor) else 'array'} {tuple(given.shape)}"
    return type(given).__name__


def gaussian(*shape: int, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """A mean and a log-variance, which note their gradients."""
    mean, log_variance = noise((*shape, 2)).unbind(-1)
    return (mean + shift).requires_grad_(), ((1 - shift) * log_variance).requires_grad_()


def with_gradients(found: Names, model: nn.Module | None = None, **inputs: Any) -> Names:
    """Arrays, and the gradients of each at a model's weights and at inputs, or pairs of them."""
    places: dict[str, Tensor] = {}
    for name, each in inputs.items():
        pair = [f"the mean of {name}", f"the log-variance of {name}"]
        places |= zip(pair, each, strict=True) if isinstance(each, tuple) else {name: each}
    weights = model.named_parameters() if model else ()
    places |= {name: weight for name, weight in weights if weight.ndim > 1}
    nothing = torch.stack([0 * each.sum() for each in places.values()]).sum()
    gradients: Names = {}
    for name, value in found.items():
        total = (value * noise(tuple(value.shape))).sum() + nothing
        each = torch.autograd.grad(total, [*places.values()], retain_graph=True)
        gradients |= {
            f"{GRADIENT}{name} at {place}": g for place, g in zip(places, each, strict=True)
        }
    return found | gradients


def read_texts(number: str) -> Names:
    """Of each function of a notebook: what it gives, the hint, and the mistakes."""
    path = Path(__file__).with_name(f"n{number}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def change(lesson: ModuleType, name: str, old: str, new: str) -> Names:
    """The definitions of a lesson, one of them with a mistake: new in the place of old."""
    changed = name.split(".")[0]
    source = inspect.getsource(getattr(lesson, changed))
    if source.count(old) != 1:
        raise ValueError(f"{changed}: expected {old!r} once, found it {source.count(old)} times")
    names = dict(vars(lesson))
    exec(compile(source.replace(old, new), f"<{changed}>", "exec"), names)
    return names


def noise(shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers that depend on their shape alone, axes of size 1 apart."""
    sizes = [n for n in shape if n != 1]
    generator = torch.Generator().manual_seed(sum(n * 31**place for place, n in enumerate(sizes)))
    return DRAW(shape, generator=generator, dtype=torch.float64)


@contextmanager
def settled_noise(*given: Tensor) -> Iterator[None]:
    """Let all draws be the given ones of as many numbers, in this order, or else `noise` of their
    number, in 64ths: then neither their order nor their form matters, nor their precision."""
    waiting = [*given]

    def draw(shape: Any, like: Names) -> Tensor:
        size = math.prod(shape)
        fits = [n for n, each in enumerate(waiting) if each.numel() == size]
        drawn = waiting.pop(fits[0]) if fits else (64 * noise((size,))).round() / 64
        how = {name: like[name] for name in ("dtype", "device") if like.get(name) is not None}
        return drawn.view(shape).to(**how or {"dtype": DRAW(0).dtype})

    def randn(*shape: Any, size: Any = (), **how: Any) -> Tensor:
        return draw(shape if shape and isinstance(shape[0], int) else [*shape, size][0], how)

    def normal(mean: Any, std: Any = 1.0, size: Any = None, **how: Any) -> Tensor:
        like = next((each for each in (mean, std) if isinstance(each, Tensor)), None)
        how = how if like is None else {"dtype": like.dtype, "device": like.device}
        return mean + std * draw(size if like is None else like.shape, how)

    def randn_like(like: Tensor, **how: Any) -> Tensor:
        return draw(like.shape, {"dtype": like.dtype, "device": like.device} | how)

    def refill(filled: Tensor, mean: float = 0.0, std: float = 1.0, **_: Any) -> Tensor:
        return filled.copy_(mean + std * randn_like(filled))

    draws: Names = {"randn": randn, "normal": normal, "randn_like": randn_like}
    with patch.multiple(torch, **draws), patch.object(Tensor, "normal_", refill):
        yield


def protect(*given: np.ndarray) -> tuple[np.ndarray, ...]:
    """Arrays that nobody can change: what a function gets belongs to its caller."""
    for each in given:
        each.flags.writeable = False
    return given


def build(typed: Callable[..., Any], *arguments: Any, **sizes: Any) -> Any:
    """A module in double precision, whose weights are always the same and none of them 0."""
    model = typed(*arguments, **sizes).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.copy_(drawn / max(1, weight[0].numel()) ** 0.5)
    return model


def tiny_networks(units: int) -> tuple[nn.Module, nn.Module]:
    """Features (N, 5) of images (N, 3, 2, 2), and images of units: what is normalised together
    changes both."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Tanh())
    layers = nn.Linear(units, 12), nn.BatchNorm1d(12), nn.Sigmoid(), nn.Unflatten(1, (3, 2, 2))
    return encoder, nn.Sequential(*layers)


# ---- Loops that train


class Line(nn.Module):
    """A model of one weight, which notes what it is given in each update, and the gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.given: list[tuple[Tensor, ...]] = []
        self.gradients: dict[int, float] = {}
        self.weight.register_hook(self.note)

    def note(self, gradient: Tensor) -> None:
        """Add what arrives at the weight in this update."""
        number = len(self.given)
        self.gradients[number] = self.gradients.get(number, 0.0) + gradient.item()


def follow(model: Line, rows: Any, terms: int) -> Names:
    """What a training loop yields, and the weight and its gradient in each update."""
    if not isinstance(rows, Iterator):
        given = f"`train` gives a {kind(rows)}, not one thing after the other: "
        raise Unfit(f"{given}`yield` after each update its number and the {terms} terms.")
    numbers, values, weights = [], [], []
    for row in rows:
        if not isinstance(row, tuple | list) or len(row) != 2:
            raise Unfit(
                f"`train` yields a {kind(row)}; expected two: the update's number, the terms."
            )
        if np.shape(row[1]) != (terms,):
            raise Unfit(f"`train` yields {np.shape(row[1])} terms; expected a list of {terms}.")
        numbers.append(row[0])
        values.append([torch.as_tensor(term).item() for term in row[1]])
        weights.append(model.weight.item())
    gradients = [*model.gradients.values()]
    found = {"numbers of the updates": numbers, "the first gradient": gradients[:1]}
    found |= {"the first step of the weight": [weight - 1 for weight in weights[:1]]}
    found |= {"terms": values, "weight after each": weights, "gradients": gradients}
    return {name: torch.tensor(each, dtype=torch.float64) for name, each in found.items()}


# ---- What was typed, as a file


def save(number: str, cells: list[str] | None = None) -> None:
    """Write what was typed beside the page; the file before it is kept if it is another one.

    cells: sources in the order in which they were run; by default those of this session.
    """
    check_name("number", number, EDITIONS)
    cells = sys.modules["__main__"].__dict__.get("In", []) if cells is None else cells
    check_field(not isinstance(cells, str), "cells", "a list of sources", "one text")
    notebook = import_module(f"{__name__}.n{number}")
    path = Path(f"{name_file(number)}.py")
    source = write_model(cells, notebook.WANTED)
    if doubtful := [name for name in notebook.PARTS if (number, name) not in solved]:
        print(f"Not right yet, or not checked since the start: {', '.join(doubtful)}.")
    if path.exists() and path.read_text(encoding="utf-8") != source:
        kept = path.replace(path.with_stem(f"{path.stem}_before"))
        print(f"The file before, which differs, is now {kept.name}.")
    write_atomically(path, source.encode())
    print(f"{path.resolve()} has what you have typed.")


def name_file(number: str) -> str:
    """The module to which `save` writes what was typed on a page; notebooks read that of 03."""
    if number in NUMBERS.values():
        return f"model_{number}"
    return "measures" if number == "03" else f"measures_{number}"


def write_model(cells: list[str], wanted: Sequence[str]) -> str:
    """A module of these definitions, as the cells made them last, and of what they need."""
    statements: dict[str, tuple[ast.stmt, str]] = {}
    for cell in cells:
        try:
            nodes = ast.parse(cell).body
        except SyntaxError:
            continue
        for node in nodes:
            for name in list_made(node):
                statements.pop(name, None)
                statements[name] = node, ast.get_source_segment(cell, node) or ""
    if missing := [name for name in wanted if name not in statements]:
        raise ValueError(f"run the cells above first: {', '.join(missing)} is not defined yet")
    kept, todo = set(), list(wanted)
    while todo:
        name = todo.pop()
        if name in statements and name not in kept:
            kept.add(name)
            todo += list_free(statements[name][0])
    texts = dict.fromkeys(text for name, (_, text) in statements.items() if name in kept)
    stubs = [text.split("(")[0] for text in texts if STUB in text]
    if stubs:
        raise ValueError(f"functions are still to be typed in: {', '.join(stubs)}")
    imports = [text for text in texts if text.startswith(("import ", "from "))]
    others = [text for text in texts if text not in imports]
    return "\n\n\n".join(["\n".join(imports), *others]) + "\n"


def list_made(node: ast.stmt) -> list[str]:
    """The names that a statement makes: of imports, of a definition, of plain assignments."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    if isinstance(node, ast.Assign):
        return [each.id for each in node.targets if isinstance(each, ast.Name)]
    return [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []


# ---- The library's class with the reader's weights


def to_library(model: Any) -> Any:
    """The library's model with the weights of one that was typed, of notebook 11, 22 or 32.

    The image networks must be the paper's or ours of that page, for paper B those of 32 x 32.
    """
    name = type(model).__name__
    if name not in NUMBERS or isinstance(model, getattr(unbraid, name)):
        own = "one of the library" if name in NUMBERS else name
        raise TypeError(f"model: expected a typed class of {', '.join(NUMBERS)}, found {own}")
    config = import_module(f"{__name__}.n{NUMBERS[name]}").read_config(model)
    library = getattr(unbraid, name)(**config).to(next(model.parameters()))
    lesson, weights = open_lesson(NUMBERS[name]), model.state_dict()
    rename = getattr(lesson, "rename", str)  # of paper C alone
    library.load_state_dict({theirs: weights[rename(theirs)] for theirs in library.state_dict()})
    return library.train(model.training)
