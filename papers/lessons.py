"""What a notebook defines, for runs that train a reader's own model as the notebook does."""

import ast
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from time import process_time
from types import SimpleNamespace
from typing import Any

import nbformat
import pandas as pd
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


def watch(training: Iterable[tuple], marks: Container[int]) -> Iterator[tuple[int, float]]:
    """The updates of a training that are among the marks, each with the processor's seconds of all
    updates so far; what is done at a mark takes no part in them."""
    seconds, begun = 0.0, process_time()
    for update, *_ in training:
        if update in marks:
            seconds += process_time() - begun
            yield update, round(seconds, 1)
            begun = process_time()


def train_missing(path: Path, tasks: list[dict[str, Any]], train: Callable[..., list]) -> None:
    """Add to a table the rows of the runs that it lacks, one run after the other.

    A task has a run's name, its seed and its last update, by the names of their columns.
    """
    torch.set_num_threads(1)
    for task in tasks:
        table = pd.read_csv(path).to_dict("records") if path.exists() else []
        if not any(task.items() <= row.items() for row in table):
            (name, run), *_ = task.items()
            kept = [row for row in table if (row[name], row["seed"]) != (run, task["seed"])]
            records.write_csv(path, kept + train(*task.values()))
