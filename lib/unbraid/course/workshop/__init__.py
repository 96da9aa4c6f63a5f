"""The workshop: the reader types a model from an empty file, and each function answers.

The workshop edition of a notebook leaves the bodies of some functions to the reader (tools/
workshop.py makes it). `check` says of each whether it is right, `save` writes what was typed to
model_32.py, and `to_library` gives its weights to the library's class. What is run to check the
functions of a notebook stands in the module of its number, such as `n32`.
"""

import ast
import inspect
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

import unbraid
from unbraid.checks import check_name
from unbraid.course.exercises import Expectation, Verdict, explain_fault, find_line
from unbraid.files import write_atomically
from unbraid.lessons import list_free

Names = dict[str, Any]
NUMBERS = {"IndependentPrediction": "11", "UnorderedFrames": "22", "SingleElement": "32"}
SEEN = "what is given to "  # begins the name of an array that no answer is judged by
DRAW = torch.randn  # PyTorch's own, also while another one takes its place
solved: set[tuple[str, str]] = set()  # notebook and name of what checks have found right


class Unfit(Exception):
    """What a function gives is of another kind than its check can read; the message says which."""


@dataclass(frozen=True)
class Part:
    """A function that the reader types, and what is known of it.

    run: gives the arrays by which it is judged, by what they are; it gets the definitions of the
        lesson by name, among them the reader's.
    axes: what one index along each axis of an array stands for.
    right: gives what `run` must give, where it is not what the lesson's own definitions give.
    tolerance: the largest relative error.
    """

    run: Callable[[Names], dict[str, Any]]
    axes: tuple[str, ...] = ("clip", "frame", "unit")
    right: Callable[[Names], dict[str, Any]] | None = None
    tolerance: float = 1e-6


def check(number: str, name: str, typed: object) -> Verdict:
    """Whether a function of a notebook is right: shown as the cell's result.

    name: such as "kl" or "Posterior.forward". typed: the function, or the class that has it.
    """
    check_name("number", number, NUMBERS.values())
    notebook = import_module(f"{__name__}.n{number}")
    check_name("name", name, notebook.PARTS)
    part: Part = notebook.PARTS[name]
    lesson = import_module(f"unbraid.lessons.n{number}")
    place = name.split(".")[0]  # of a part of the lesson; else the whole class is given
    given = vars(lesson) | {place if place in vars(lesson) else notebook.WANTED[0]: typed}
    solved.discard((number, name))
    try:
        yours = part.run(given)
    except NotImplementedError as error:
        return Verdict(name, False, f"not typed yet ({error})")
    except Unfit as error:
        return Verdict(name, False, f"not yet. {error}")
    except Exception as error:  # the reader's own code fails: the reason is what helps
        text = f"not yet. Your code raises {type(error).__name__}{find_line(error)}: {error}"
        return Verdict(name, False, text)
    how: Names = {"relative": part.tolerance, "absolute": 1e-6, "axes": part.axes}
    right = (part.right or part.run)(vars(lesson))
    fault = explain_fault(Expectation(drop_seen(right), **how), drop_seen(yours))
    if fault:  # Only then it is of use to know what mistakes would give.
        mistakes = read_texts(number).get(name, {}).get("mistakes", [])
        made = [(part.run(change(lesson, name, *pair)), why) for *pair, why in mistakes]
        fault = explain_fault(Expectation(right, mistakes=made, **how), yours) or fault
    fault = fault.removesuffix(" Open the hint, and try again.")
    if not fault:
        solved.add((number, name))
    return Verdict(name, not fault, f"not yet. {fault}" if fault else "right")


def take_results(given: Any, *names: str) -> list[Tensor]:
    """The tensors that `loss` gives, if they are as many as these names."""
    if isinstance(given, tuple | list) and len(given) == len(names):
        return list(given)
    found = f"{len(given)} results" if isinstance(given, tuple | list) else type(given).__name__
    raise Unfit(f"`loss` gives {found}; expected {len(names)} results: {', '.join(names)}.")


def drop_seen(arrays: Names) -> Names:
    """The arrays without those that only help to find a fault."""
    return {name: each for name, each in arrays.items() if not name.startswith(SEEN)}


@contextmanager
def seen_by(layer: nn.Module, name: str, arrays: Names) -> Iterator[None]:
    """Note what a layer is given, to say of a wrong answer from which index on it goes wrong."""
    hook = layer.register_forward_pre_hook(lambda _, given: arrays.update({SEEN + name: given[0]}))
    yield
    hook.remove()


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


def noise(shape: tuple[int, ...], like: Tensor | None = None) -> Tensor:
    """Standard normal numbers that depend on their shape alone, axes of size 1 apart."""
    sizes = [n for n in shape if n != 1]
    generator = torch.Generator().manual_seed(sum(n * 31**place for place, n in enumerate(sizes)))
    drawn = DRAW(shape, generator=generator, dtype=torch.float64)
    return drawn if like is None else drawn.to(like)


@contextmanager
def settled_noise() -> Iterator[None]:
    """Let all draws be `noise`: then it does not matter which code is drawn first."""

    def fill(*shape: Any, **_: Any) -> Tensor:
        given = shape if isinstance(shape[0], int) else shape[0]
        return noise(tuple(given)).to(torch.get_default_dtype())

    def normal(mean: Any, std: Any = 1.0, *_: Any, **__: Any) -> Tensor:
        like = mean if isinstance(mean, Tensor) else std
        return mean + std * noise(tuple(like.shape), like)

    draws: Names = {"randn": fill, "normal": normal}
    draws["randn_like"] = lambda like, **_: noise(tuple(like.shape), like)

    def refill(filled: Tensor, mean: float = 0.0, std: float = 1.0, **_: Any) -> Tensor:
        return filled.copy_(mean + std * noise(tuple(filled.shape), filled))

    with patch.multiple(torch, **draws), patch.object(Tensor, "normal_", refill):
        yield


def build(typed: Callable[..., Any], *arguments: Any, **sizes: Any) -> Any:
    """A module in double precision, whose weights are always the same and none of them 0."""
    model = typed(*arguments, **sizes).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.copy_(drawn / max(1, weight[0].numel()) ** 0.5)
    return model


# ---- What was typed, as a file


def save(number: str, cells: list[str] | None = None) -> None:
    """Write what was typed to model_32.py beside the page; a file that differs is kept by its date.

    cells: sources in the order in which they were run; by default those of this session.
    """
    cells = sys.modules["__main__"].__dict__["In"] if cells is None else cells
    check_name("number", number, NUMBERS.values())
    notebook = import_module(f"{__name__}.n{number}")
    source = write_model(cells, notebook.WANTED)
    if doubtful := [name for name in notebook.PARTS if (number, name) not in solved]:
        print(f"Not right yet, or not checked since the start: {', '.join(doubtful)}.")
    path = Path(f"model_{number}.py")
    before = path.read_text(encoding="utf-8") if path.exists() else source
    if before != source:
        kept = path.with_name(f"{path.stem}_{datetime.now():%Y_%m_%d_%H%M%S_%f}.py")
        path.replace(kept)
        print(f"The model before, which differs, is now {kept.name}.")
    write_atomically(path, source.encode())
    print(f"{path.resolve()} has what you have typed.")


def write_model(cells: list[str], wanted: tuple[str, ...]) -> str:
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
    stubs = [text.split("(")[0] for text in texts if "raise NotImplementedError" in text]
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
    rename = import_module(f"unbraid.lessons.n{NUMBERS[name]}").rename
    weights = model.state_dict()
    mine = {theirs: weights[rename(theirs)] for theirs in library.state_dict()}
    library.load_state_dict(mine)
    return library.train(model.training)
