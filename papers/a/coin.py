"""How often does notebook 12's training separate the digits? More seeds, and other initial weights.

`python -m papers.a.coin` trains by the functions of `own_v.py`, measures as they do, and keeps the
weights of the runs that `own_v.csv` has. Runs whose rows are in the table are not made again.
"""

from pathlib import Path

from papers.a.own_v import FOLDER, keep, train_watched
from papers.measured_runs import train_missing
from papers.settings import load

LENGTH = 4000  # updates
RUNS = {  # initial weights and v: seeds, their updates, and of how many the weights are kept
    ("ours", 0.1): (20, LENGTH, 5),
    ("torch", 0.1): (10, LENGTH, 0),
    ("ours", 0.25): (10, LENGTH, 3),
    ("ours", 0.05): (3, 2500, 3),
    ("ours", 0.15): (3, 2000, 3),
}


def train_one(run: str, seed: int, updates: int) -> list[dict]:
    """The rows of a run, such as "ours 0.1"."""
    initial, v = run.split()
    rows = []
    for row, model in train_watched(float(v), seed, updates, initial):  # noqa: B007
        rows.append({"run": run} | row)
    if seed < RUNS[initial, float(v)][2]:
        settings = load("independent.circle.plain_both", "quick")
        settings = settings.but(variance=float(v), steps=updates)
        path = FOLDER / f"own_v{round(100 * float(v)):02}"
        keep(model, settings, "python -m papers.a.coin", path, rows)
    return rows


def list_tasks() -> list[dict]:
    """All runs, in the order in which they are made."""
    tasks = []
    for (initial, v), (seeds, updates, _) in RUNS.items():
        for seed in range(seeds):
            tasks.append({"run": f"{initial} {v}", "seed": seed, "update": updates})
    return tasks


def main(table: Path = FOLDER / "coin.csv") -> None:
    """Train what the table lacks."""
    train_missing(table, list_tasks(), train_one)


if __name__ == "__main__":
    main()
