"""Runs of a chapter's own training, measured as they go, a row for each mark."""

from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from time import process_time
from typing import Any

import pandas as pd
import torch
from unbraid import records


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
            rows = kept + train(*task.values())
            # Some figures are measured at the last mark alone: elsewhere their cells are empty.
            filled = pd.DataFrame(rows).astype(object)
            records.write_csv(path, filled.where(filled.notna(), None).to_dict("records"))
