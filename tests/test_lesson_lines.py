"""The classes that 11 and 21 build are the library's, method by method and line by line.

Docstrings, annotations, comments and checks of arguments aside.
"""

import ast
import inspect
import textwrap
from functools import cache

import nbformat
import pytest
from helpers import NOTEBOOKS
from unbraid.models import independent, unordered

BOUND = "elbo encode decode generate"
LESSONS = {  # notebook and class of the lesson: the library's class, and what is compared
    "11 FilteringPosterior": (independent.FilteringPosterior, "__init__ forward"),
    "11 IndependentPrediction": (independent.IndependentPrediction, f"prior filter {BOUND}"),
    "21 Networks": (unordered.UnorderedFrames, "features"),
    "21 Coding": (unordered.UnorderedFrames, "logits encode decode generate"),
    "21 UnorderedFrames": (
        unordered.UnorderedFrames,
        "prior dynamic_posterior posterior elbo",
    ),
}
METHODS = [(name, method) for name in LESSONS for method in LESSONS[name][1].split()]


@cache
def read_class(name):
    """The class of that notebook and name, as its cell defines it."""
    number, own_name = name.split()
    (path,) = [path for path in NOTEBOOKS if path.name.startswith(number)]
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    nodes = [node for cell in cells for node in ast.parse(cell.source).body]
    (found,) = [node for node in nodes if getattr(node, "name", None) == own_name]
    return found


class Plain(ast.NodeTransformer):
    """Takes away docstrings, annotations and checks of arguments."""

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        node.returns = None
        return node

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        return ast.Assign([node.target], node.value)

    def visit_Expr(self, node):
        called = getattr(node.value, "func", None)
        is_check = getattr(called, "attr", getattr(called, "id", "")).startswith("check_")
        return None if is_check or isinstance(node.value, ast.Constant) else node


def describe(method):
    """A method's syntax tree as text; a method is its tree or its source."""
    tree = ast.parse(textwrap.dedent(method)).body[0] if isinstance(method, str) else method
    return ast.dump(Plain().visit(tree), indent=1)


@pytest.mark.parametrize("name, method", METHODS)
def test_the_lesson_has_the_librarys_lines(name, method):
    (shown,) = [node for node in read_class(name).body if getattr(node, "name", None) == method]
    assert describe(shown) == describe(inspect.getsource(LESSONS[name][0].__dict__[method]))


@pytest.mark.parametrize("name", [name for name in LESSONS if "elbo" in LESSONS[name][1]])
def test_the_lessons_main_class_has_no_other_method(name):
    methods = {node.name for node in read_class(name).body if isinstance(node, ast.FunctionDef)}
    assert methods == set(LESSONS[name][1].split())


def test_another_line_is_seen_and_another_annotation_is_not():
    method = "def elbo(self, batch):\n    '''Text.'''\n    a: int = self.f(batch)\n    return a"
    same = method.replace("batch):", "batch: Batch) -> Bound:").replace("Text", "Other text")
    assert describe(same.replace("    a:", "    self.check_codes(a)\n    a:")) == describe(method)
    for old, new in (("return a", "return -a"), ("batch)", "codes)"), ("self.f", "self.g")):
        assert describe(method.replace(old, new)) != describe(method)
