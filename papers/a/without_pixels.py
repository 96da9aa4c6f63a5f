"""Paper A without pixels: the model of notebook 14 under five laws of motion, ten starts each.

    python -m papers.a.without_pixels

The notebook's own functions and classes are run as they stand there, so what is stored in
results/independent/without_pixels.csv is what a reader gets from them with more updates: a row for
each factor, with the R2 of each coordinate and the bound in nats per frame.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from unbraid import DiagonalGaussian, records
from unbraid.data.moving_digits import PATHS
from unbraid.distributions import kl_by_unit

from papers.lessons import read_lesson

STARTS, UPDATES = 10, 1000
COORDINATES = ("orange_x", "orange_y", "blue_x", "blue_y")


def read_cells(seed: int = 0) -> dict[str, Any]:
    """What the notebook defines of this model; it needs float64 by default."""
    given = {"np": np, "PATHS": PATHS, "DiagonalGaussian": DiagonalGaussian, "seed": seed}
    given |= {"kl_by_unit": kl_by_unit, "r2_score": r2_score}
    given |= {"KNeighborsRegressor": KNeighborsRegressor}
    return read_lesson("14", ("WORLDS", "fixed", "MIXING"), **given).namespace


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
