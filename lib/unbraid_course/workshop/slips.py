"""Slips in a lesson's own code: a sign, an axis, a sum, one step off, a gradient that is cut.

An answer that gives what the code gives with one of them has this slip, however it is typed.
"""

import ast
import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any

Changes = Iterator[tuple[ast.AST, str]]
INSTEAD = {  # of functions, methods and layers: what is taken for them
    "sum": "mean",
    "mean": "sum",
    "square": "abs",
    "leaky_relu": "relu",
    "relu": "leaky_relu",
    "SiLU": "ReLU",
    "tanh": "sigmoid",
    "randn_like": "zeros_like",
    "zeros_like": "ones_like",
    "zeros": "ones",
    "randn": "rand",
    "in_channels": "out_channels",
    "Adam": "SGD",
}
SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
NAMES = {  # what becomes of a name, and what is said
    "{0}.flip(1)": "`{0}` is in the reverse order.",
    "{0}.roll(1, 1)": "`{0}` is one step late.",
    "{0}[:, 1:]": "The first step of `{0}` is left out.",
    "{0}[:, :-1]": "The last step of `{0}` is left out.",
    "{0}.mean(1, keepdim=True)": "A mean over axis 1 stands where `{0}` is right.",
    "{0}.abs()": "`{0}` has lost its signs.",
    "{0}.mean()": "A single number, a mean, stands where `{0}` is right.",
}
POWERS = {"{0}**2": "`{0}` is squared.", "{0}**0.5": "The root of `{0}` is taken."}
CALLS = {  # of a call
    "torch.relu({0})": "There is a ReLU too many.",
    "F.leaky_relu({0})": "There is a leaky ReLU too many.",
    "torch.tanh({0})": "There is a tanh too many.",
    "torch.sigmoid({0})": "There is a sigmoid too many.",
    "({0})[:, 1:]": "Of what `{1}` gives, the first step is left out.",
    "({0})[:, :-1]": "Of what `{1}` gives, the last step is left out.",
    "({0})[::-1]": "What `{1}` gives is in the reverse order.",
    "({0}) ** 0.5": "Of what `{1}` gives, the root is taken.",
    "({0}) ** 2": "Of what `{1}` gives, the square is taken.",
}
STOPS = (
    "All values are right, but the gradient is cut at `{0}`: no `detach`, `no_grad`, `data` there."
)
CUTS = {"{0}.detach()": STOPS, "[part.detach() for part in {0}]": STOPS}


def plant(
    lesson: ModuleType, name: str, of_gradients: bool
) -> Iterator[tuple[dict[str, Any], str]]:
    """The definitions of a lesson with one slip in a function, such as Prior.forward; and what is
    said of it. of_gradients: those that leave all values as they are."""
    changed, last = name.split(".")[0], name.split(".")[-1]
    tree = ast.parse(inspect.getsource(getattr(lesson, changed)))
    each = ast.walk(tree)
    function = next(n for n in each if isinstance(n, ast.FunctionDef) and n.name == last)
    own = sorted({n.id for n in ast.walk(function) if isinstance(n, ast.Name) and is_set(n)})
    own += [argument.arg for argument in function.args.args if argument.arg != "self"]
    kinds: list[Callable[[Any], Changes]] = (
        [cut] if of_gradients else [slip, partial(rewrite, names=own)]
    )
    for change in kinds:
        for parent in list(ast.walk(function)):
            for field, value in ast.iter_fields(parent):
                for place, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                    for new, why in change(node):
                        put(parent, field, place, ast.copy_location(new, node))
                        ast.fix_missing_locations(new)
                        names = dict(vars(lesson))
                        with suppress(SyntaxError, ValueError):
                            exec(compile(tree, f"<{changed}>", "exec"), names)
                            yield names, why
                        put(parent, field, place, node)


def put(parent: ast.AST, field: str, place: int | None, node: ast.AST) -> None:
    """Set a child of a node of a tree."""
    if place is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[place] = node


def is_set(node: ast.Name) -> bool:
    """Whether a name gets its value here."""
    return isinstance(node.ctx, ast.Store)


def slip(node: Any) -> Changes:
    """What a piece of code becomes by a slip that changes values."""
    if isinstance(node, ast.BinOp):
        yield from slip_operation(node)
    elif isinstance(node, ast.Call):
        yield from slip_call(node)
    elif isinstance(node, ast.Constant) and node.value in (0, 1, 2, 3) and node.value is not True:
        for step in (1, -1):
            yield ast.Constant(node.value + step), "An index, an axis or a step is off by one."
    elif isinstance(node, ast.Slice) and isinstance(node.lower, ast.Constant) and not node.upper:
        end = ast.UnaryOp(ast.USub(), node.lower)
        ends = ast.Slice(None, end), ast.Slice(None, node.lower)
        yield ends[0], "A slice leaves out the end where it should leave out the beginning."
        yield ends[1], "A slice keeps the beginning where it should keep the rest."
    elif isinstance(node, ast.Tuple | ast.List) and isinstance(node.ctx, ast.Load | ast.Store):
        yield from exchange(node.elts, lambda e: type(node)(e, node.ctx), "Two results or entries")
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass(), f"`{name_call(node.value)}` is missing."
    elif isinstance(node, ast.Attribute) and node.attr in INSTEAD:
        why = f"`{INSTEAD[node.attr]}` stands where `{node.attr}` is right."
        yield ast.Attribute(node.value, INSTEAD[node.attr], node.ctx), why


def slip_operation(node: ast.BinOp) -> Changes:
    """The other operation, the other order, and one side alone."""
    kind = "summand" if isinstance(node.op, ast.Add | ast.Sub) else "factor"
    for part in (node.left, node.right):
        yield part, f"A {kind} or a power is missing."
    if isinstance(node.op, ast.Pow):
        yield from fill(
            {"({0}).abs()": "`abs` stands where a power is right."}, ast.unparse(node.left)
        )
    for other, sign in SIGNS.items() if type(node.op) in SIGNS else ():
        why = f"`{sign}` stands where `{SIGNS[type(node.op)]}` is right."
        yield ast.BinOp(node.left, other(), node.right), why
    if isinstance(node.op, ast.Sub | ast.Div):
        why = "A difference" if isinstance(node.op, ast.Sub) else "A quotient"
        yield ast.BinOp(node.right, node.op, node.left), f"{why} is the other way round."


def slip_call(node: ast.Call) -> Changes:
    """Other arguments, none, and what is called left out."""
    called = name_call(node)

    def remake(arguments: list) -> ast.Call:
        return ast.Call(node.func, arguments, node.keywords)

    yield from exchange(node.args, remake, f"Two arguments of `{called}`")
    if node.args and isinstance(node.args[-1], ast.Constant):
        yield remake([]), f"`{called}` goes over all axes: name one."
    inner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
    if called in ("sum", "mean") and inner:
        first = {"({0})[:, 0]": "The first stands where `{1}` is right."}
        yield from fill(first, ast.unparse(inner[0]), called)
    for part in inner + node.args[:1]:
        yield part, f"`{called}` is missing."


def exchange(parts: list, remake: Callable[[list], ast.AST], what: str) -> Changes:
    """A list of parts with each two of them exchanged."""
    for i in range(len(parts)):
        for j in range(i):
            new = [*parts]
            new[i], new[j] = parts[j], parts[i]
            yield remake(new), f"{what} are exchanged."


def rewrite(node: Any, names: list[str]) -> Changes:
    """What a name or a call becomes by a slip, and other names in its place."""
    if isinstance(node, ast.Name) and not is_set(node) and node.id in names:
        yield from fill(NAMES | POWERS, node.id)
        for name in names:
            if name != node.id:
                why = f"`{{1}}` stands where `{node.id}` is right."
                for code in {name, f"{name}[0]" if name[0] == "q" else f"{name}[:, 0]"}:
                    yield from fill({"{0}": why}, code, code)
    elif isinstance(node, ast.Attribute):
        yield from fill(POWERS, ast.unparse(node))
    elif isinstance(node, ast.Call):
        yield from fill(CALLS, ast.unparse(node), name_call(node))


def cut(node: Any) -> Changes:
    """What a piece of code becomes by a slip that stops a gradient, or lets one pass."""
    if isinstance(node, ast.Call) and name_call(node) == "detach":
        yield getattr(node.func, "value", node), "All values are right, but a `detach` is missing."
    elif isinstance(node, ast.Name | ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield from fill(CUTS, ast.unparse(node))


def fill(table: dict[str, str], *texts: str) -> Changes:
    """The pieces of code of a table, and what is said of them."""
    for code, why in table.items():
        parsed: Any = ast.parse(code.format(*texts)).body[0]
        yield parsed.value, why.format(*texts)


def name_call(call: ast.Call) -> str:
    """The name of what is called, without what it belongs to."""
    return ast.unparse(call.func).rpartition(".")[2]
