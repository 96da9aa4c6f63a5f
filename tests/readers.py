"""The classes that readers build, taken out of the notebooks' cells, and run beside the library's.

Cells of exercises are left out.
"""

import ast
import math
from functools import cache
from types import SimpleNamespace

import nbformat
import pytest
import torch
import torch.nn.functional as F
from helpers import NOTEBOOKS
from torch import nn

from tools import files

EXERCISE = {"stub", "expectation", "solution"}
with_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
each_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=with_cuda)])


@cache
def read_sources(number):
    """The source of each function and class that a notebook's cells define, by name."""
    (path,) = [path for path in NOTEBOOKS if path.name.startswith(number)]
    sources = {}
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code" and not EXERCISE & set(files.tags(cell)):
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    sources[node.name] = ast.get_source_segment(cell.source, node)
    return sources


def run_lesson(number, *names, old="", new="", **given):
    """What a notebook defines, all or these names, with torch alone and what is given.

    `old`, which occurs once, becomes `new`.
    """
    sources = read_sources(number)
    source = "\n\n".join(sources[name] for name in names or sources)
    assert not old or source.count(old) == 1, old
    namespace = {"torch": torch, "nn": nn, "F": F, "math": math} | given
    exec(source.replace(old, new) if old else source, namespace)
    return SimpleNamespace(**namespace)


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
