"""The classes that readers build, as the chapters' modules have them, and with a line changed."""

import ast
import importlib.util
import inspect
import tempfile
from pathlib import Path

import pytest
import torch
from unbraid.models import lesson_b
from unbraid_course.lessons import open_lesson

with_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
each_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=with_cuda)])


def read_lesson(number):
    """The source of a chapter's module; of 22 with what stands in the library."""
    source = inspect.getsource(open_lesson(number))
    if number != "22":
        return source
    (shared,) = (line for line in source.splitlines() if lesson_b.__name__ in line)
    return inspect.getsource(lesson_b) + source.replace(shared, "")


def read_sources(number):
    """The source of each function and class of a chapter, by name."""
    source = read_lesson(number)
    nodes = [node for node in ast.parse(source).body if hasattr(node, "name")]
    return {node.name: ast.get_source_segment(source, node) for node in nodes}


def run_lesson(number, old="", new="", **given):
    """A chapter's module, new, with what is given; `old`, which its first definition that has it
    has once, becomes `new` there."""
    source = read_lesson(number)
    if old:
        first = next(each for each in read_sources(number).values() if old in each)
        assert first.count(old) == 1, old
        source = source.replace(first, first.replace(old, new))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "chapter.py")
        path.write_text(source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location("chapter", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    vars(module).update(given)
    return module


def check_form(number, papers):
    """The class and the paper's networks have at most 130 lines, ours 25 more, a part 25."""
    lines = [read_sources(number)[name].count("\n") + 1 for name in papers]
    ours = read_sources(number)["small_networks"].count("\n") + 1
    assert sum(lines) <= 130 and max(*lines, ours) <= 25
    for name in (*papers, "small_networks"):
        check_plain_torch(read_sources(number)[name])


def check_plain_torch(source):
    """It inherits from nn.Module alone, checks nothing, and each layer says its shapes."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            assert [ast.unparse(base) for base in node.bases] == ["nn.Module"]
        assert not isinstance(node, ast.Import | ast.ImportFrom | ast.Assert | ast.Raise)
    for line in source.splitlines():
        is_layer = line.strip().startswith(("self.", "nn.Conv", "up", "down")) and "= nn." in line
        assert not is_layer or "->" in line or "nn.ModuleList" in line, line


def list_differences(pairs):
    """The names of the pairs of doubles that differ by more than a hundred thousandth.

    In 32 bits a kink may lie between two gradients, and then this is a lottery.
    """
    for name, pair in pairs.items():
        assert {values.dtype for values in pair} == {torch.float64}, name
    return {
        name
        for name, (mine, other) in pairs.items()
        if (mine - other).abs().max() > 1e-5 * other.abs().max()
    }
