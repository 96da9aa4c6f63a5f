"""Paper A without pixels: the model of notebook 14 under five laws of motion.

    python -m papers.a.without_pixels          # a factor has as many units as a digit has numbers
    python -m papers.a.without_pixels units    # circles: 2, 4, 8 and 20 units, twenty starts each

The notebook's own functions and classes are run as they stand there, so what is stored in
results/independent/without_pixels.csv (and without_pixels_units.csv) is what a reader gets from
them with more updates: a row for each factor, with the R2 of each coordinate and the bound in nats
per frame.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from unbraid import records
from unbraid_course.lessons import n14

STARTS, UPDATES = 10, 1000
UNITS, UNIT_STARTS = (2, 4, 8, 20), 20  # of the second table; the paper has 20 units a factor
COORDINATES = ("orange_x", "orange_y", "blue_x", "blue_y")


def measure_law(
    law: str, starts: int = STARTS, updates: int = UPDATES, units: int | None = None
) -> Iterator[dict]:
    """Rows of the table: the factors of models that were trained under a law.

    units: of a factor, instead of the notebook's number. Needs float64 by default.
    """
    torch.manual_seed(0)
    filters = n14.Filter(starts, units or n14.WORLDS[law][1])
    list(n14.train(filters, law, updates, seed=0))
    tables, loss = n14.measure(filters, law, seed=0)
    for start, factor in np.ndindex(starts, 2):
        scores = dict(zip(COORDINATES, tables[start, factor].tolist(), strict=True))
        yield {"law": law, "start": start, "factor": factor, "bound": -loss[start].item()} | scores


def main(table: str = "laws") -> None:
    """Train and measure under all laws, or with all numbers of units, and write the table."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    if table == "units":
        return measure_units(records.results() / "independent" / "without_pixels_units.csv")
    rows: list[dict] = []
    for law in n14.WORLDS:
        before = time.process_time()
        rows += measure_law(law)
        print(f"{law}: {time.process_time() - before:.0f} seconds", flush=True)
    records.write_csv(records.results() / "independent" / "without_pixels.csv", rows)


def measure_units(path: Path) -> None:
    """Add to a table what it lacks of the circles with each number of units, cell by cell."""
    for units in UNITS:
        for law in (each for each in n14.WORLDS if each.startswith("circle")):
            table = pd.read_csv(path).to_dict("records") if path.exists() else []
            if not any((row["law"], row["units"]) == (law, units) for row in table):
                rows = measure_law(law, UNIT_STARTS, units=units)
                records.write_csv(path, table + [{"units": units} | row for row in rows])


if __name__ == "__main__":
    main(*sys.argv[1:])
