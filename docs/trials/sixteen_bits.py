"""Do results stay with 16-bit floats? Runs of both precisions, figure by figure.

    python -m papers train independent --dataset circle --run factored --precision bf16-mixed \\
        --seed 0 --seed 1 --seed 2 --results build/bf16
    python -m papers evaluate independent --dataset circle --run factored \\
        --results build/bf16 --write
    python -m docs.trials.sixteen_bits --results build/bf16

The other runs are made in the same way; of what is not there the record's rows are kept. The
figures are those that results/README.md prints of a run. The rule is that of section 12 of
docs/predictions.md: a figure stays if the means of the same seeds differ by less than the range of
the seeds in float32, or by less than .02. Writes results/trials/sixteen_bits.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from unbraid import store

from papers import report

RUNS = (
    ("independent/circle/quick", "factored"),
    ("single_element/sprites/quick", "single_element"),
    ("unordered/sprites_poses/quick", "unordered"),
)
LEAST = 0.02


def list_figures(folder: str) -> list[str]:
    """The figures of a folder that results/README.md prints."""
    names = []
    for table in report.read_tables()["table"]:
        if table["results"] == folder:
            names += [column["figure"] for column in table["columns"]]
    return sorted(set(names))


def compare(made: list[float], known: list[float]) -> dict:
    """The seeds of both precisions, the difference of their means, and whether it stays."""
    known = known[: len(made)]
    difference = float(np.mean(made) - np.mean(known))
    least = max(LEAST, float(np.ptp(known)))
    return {
        "bf16-mixed": made,
        "32-true": known,
        "difference": difference,
        "stays": abs(difference) < least,
    }


def main(folder: Path) -> None:
    """Compare all runs that are there."""
    place = store.shipped() / "trials" / "sixteen_bits.json"
    before = store.read_json(place)["compared"] if place.exists() else {}
    compared, figures = {}, {}
    for name, run in RUNS:
        path = folder / name / "metrics.json"
        if not path.exists():
            if (kept := f"{name}/{run}") in before:
                compared[kept] = before[kept]
            continue
        made = store.read_json(path)[run]["by_seed"]
        known = store.read_metrics(name)[run]["by_seed"]
        rows = {}
        for figure in list_figures(name):
            if figure in made and figure in known:
                rows[figure] = compare(made[figure], known[figure])
        compared[f"{name}/{run}"] = rows
    for name, rows in compared.items():
        staying = sum(row["stays"] for row in rows.values())
        figures |= {f"{name}.stay": staying, f"{name}.figures": len(rows)}
        print(f"{name}: {staying} of {len(rows)} figures stay")
        for figure, row in rows.items():
            values = [" ".join(f"{x:.3f}" for x in row[key]) for key in ("bf16-mixed", "32-true")]
            print(f"  {'' if row['stays'] else 'NOT '}{figure}: {values[0]} against {values[1]}")
    record = {
        "command": "python -m docs.trials.sixteen_bits --results build/bf16",
        "figures": figures,
        "compared": compared,
    }
    store.write_json(place, record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="the runs in 16 bits")
    main(parser.parse_args().results)
