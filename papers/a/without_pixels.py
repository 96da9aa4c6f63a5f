"""Paper A without pixels: the model of notebook 14 under five laws of motion, ten starts each.

    python -m papers.a.without_pixels

The cells of the notebook that define the model are run as they stand there, so what is stored in
results/independent/without_pixels.csv is what a reader gets from them with more updates: a row for
each factor, with the R2 of each coordinate and the bound in nats per frame.
"""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from unbraid import records
from unbraid.data.moving_digits import PATHS

STARTS, UPDATES = 10, 1000
NUMBER = "14"  # of the notebook
DEFINED = {"draw_clips", "Layer", "Networks", "Filter", "train", "measure"}
COORDINATES = ("orange_x", "orange_y", "blue_x", "blue_y")


def read_cells(seed: int = 0) -> dict[str, Any]:
    """The names that the notebook's cells of this model define; they need float64 by default."""
    (path,) = (Path(__file__).parents[2] / "notebooks").glob(f"{NUMBER}_*.ipynb")
    space: dict[str, Any] = {"torch": torch, "np": np, "PATHS": PATHS, "seed": seed}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and DEFINED & name_definitions(source):
            exec(compile(source, str(path), "exec"), space)
    return space


def name_definitions(source: str) -> set[str]:
    """The functions and classes that a cell defines."""
    kinds = ast.FunctionDef | ast.ClassDef
    return {node.name for node in ast.parse(source).body if isinstance(node, kinds)}


def measure_law(law: str, starts: int = STARTS, updates: int = UPDATES) -> Iterator[dict]:
    """Rows of the table: the factors of models that were trained under a law."""
    page = read_cells()
    *_, filters = page["train"](law, starts, updates)
    tables, loss = page["measure"](filters, law)
    for start, factor in np.ndindex(starts, 2):
        scores = dict(zip(COORDINATES, tables[start, factor].tolist(), strict=True))
        yield {"law": law, "start": start, "factor": factor, "bound": -loss[start].item()} | scores


def main() -> None:
    """Train and measure under all laws, and write the table."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    rows: list[dict] = []
    for law in read_cells()["WORLDS"]:
        before = time.process_time()
        rows += measure_law(law)
        print(f"{law}: {time.process_time() - before:.0f} seconds", flush=True)
    records.write_csv(records.results() / "independent" / "without_pixels.csv", rows)


if __name__ == "__main__":
    main()
