"""What a notebook defines, for runs that train a reader's own model as the notebook does."""

from __future__ import annotations

import ast
from types import SimpleNamespace
from typing import Any

import nbformat
import torch
from torch import nn
from unbraid import records

LEFT_OUT = {"stub", "solution", "expectation", "hide-cell"}  # tags: exercises, and a gate


def read_lesson(number: str, constants: tuple[str, ...] = (), **given: Any) -> SimpleNamespace:
    """The functions, classes and some constants of a notebook, on the CPU.

    given: what they need of the notebook's imports and data beside torch.
    """
    (path,) = (records.results().parent / "notebooks").glob(f"{number}_*.ipynb")
    names = {"torch": torch, "nn": nn, "F": nn.functional, "device": torch.device("cpu")} | given
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code" and not LEFT_OUT & set(cell.metadata.get("tags", [])):
            kept = [each for each in ast.parse(cell.source).body if is_kept(each, constants)]
            exec(compile(ast.Module(kept, []), str(path), "exec"), names)
    return SimpleNamespace(**names, namespace=names)


def is_kept(node: ast.stmt, constants: tuple[str, ...]) -> bool:
    """Whether a statement defines a function, a class or one of these constants."""
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) in constants
    return isinstance(node, ast.FunctionDef | ast.ClassDef)
