"""The classes that readers build, taken out of the notebooks' cells, and run beside the library's.

Cells of exercises are left out.
"""

import ast
import math
import subprocess
import sys
from functools import cache
from types import SimpleNamespace

import nbformat
import numpy as np
import torch
import torch.nn.functional as F
from helpers import NOTEBOOKS
from torch import nn

from tools import files

EXERCISE = {"stub", "expectation", "solution"}
# Of a script that has torch alone: an import of the project fails.
ALONE = """
import math
import sys

for name in ("unbraid", "papers", "tools"):
    sys.modules[name] = None

import torch
import torch.nn.functional as F
from torch import nn
"""


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
    """What a notebook defines, all or these names; `old`, which occurs once, becomes `new`."""
    sources = read_sources(number)
    source = "\n\n".join(sources[name] for name in names or sources)
    assert not old or source.count(old) == 1, old
    namespace = {"torch": torch, "nn": nn, "F": F, "math": math, "np": np} | given
    exec(source.replace(old, new) if old else source, namespace)
    return SimpleNamespace(**namespace)


def count_lines(number, names):
    """The lines of each of these functions and classes."""
    return [read_sources(number)[name].count("\n") + 1 for name in names]


def check_plain_torch(number, name):
    """It inherits from nn.Module alone, checks nothing, and each layer says its shapes."""
    source = read_sources(number)[name]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            assert [ast.unparse(base) for base in node.bases] == ["nn.Module"]
        assert not isinstance(node, ast.Import | ast.ImportFrom | ast.Assert | ast.Raise)
    for line in source.splitlines():
        is_layer = line.strip().startswith(("self.", "nn.Conv", "up", "down")) and "= nn." in line
        assert not is_layer or "->" in line or "nn.ModuleList" in line, line


def list_differences(pairs):
    """The names of the pairs of tensors that differ by more than a hundred thousandth."""
    return {
        name
        for name, (mine, other) in pairs.items()
        if (mine - other).abs().max() > 1e-5 * other.abs().max()
    }


def run_alone(folder, number, names, script):
    """The numbers that a script prints after these classes, with torch alone, in this folder."""
    sources = (read_sources(number)[name] for name in names)
    path = folder / "script.py"
    path.write_text("\n\n\n".join([ALONE, *sources, script]))
    command = [sys.executable, "-I", str(path)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()]
