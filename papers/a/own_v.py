"""Which variance v, and how many updates: notebook 12's own training over v and seeds.

The class, the networks, the loop and the measure are those that notebook 12 shows. It learns from
the 4 000 digits of the clone, and is judged on clips of the 1 000 digits of MNIST's training file
that no run learns from. `python -m papers.a.own_v --v 0.1 --seeds 0 1 2` adds rows to own_v.csv.
"""

import argparse
import ast
import copy
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import torch
from sklearn.neighbors import KNeighborsRegressor
from torch import nn
from unbraid import records
from unbraid.data.fetch import files
from unbraid.data.moving_digits import FILES, Digits, MovingDigits, in_turns, load_digits, read_idx

TABLE = records.results() / "independent" / "circle" / "quick" / "own_v.csv"
NOTEBOOK = records.results().parent / "notebooks" / "12_training_independent.ipynb"
LAW = {"motion": "circle", "speeds": (0.5, -0.9)}
EVERY, CLIPS = 250, 1000  # updates between two rows; clips behind each


def read_lesson() -> SimpleNamespace:
    """What notebook 12 defines, on the CPU."""
    names = {"torch": torch, "nn": nn, "F": nn.functional, "np": np}
    names |= {"KNeighborsRegressor": KNeighborsRegressor, "device": torch.device("cpu")}
    for cell in nbformat.read(NOTEBOOK, 4).cells:
        if cell.cell_type == "code" and "stub" not in cell.metadata.get("tags", []):
            kept = (ast.FunctionDef, ast.ClassDef)
            body = [node for node in ast.parse(cell.source).body if isinstance(node, kept)]
            exec(compile(ast.Module(body, []), str(NOTEBOOK), "exec"), names)
    return SimpleNamespace(**names)


def load_withheld() -> Digits:
    """The 1 000 digits that `load_digits` leaves out."""
    images, numbers = [read_idx(path) for path in files("mnist", FILES["train"]).values()]
    kept = in_turns(numbers)[4000:5000]
    labels = torch.from_numpy(numbers[kept].astype(np.int64))
    return Digits(torch.from_numpy(images[kept]), labels, "train", "withheld digits of MNIST")


def train_one(v: float, seed: int, updates: int, weights: Path | None) -> list[dict]:
    """Rows of one run: R2 by factor and digit, terms in nats per frame, processor seconds."""
    lesson, rows, seconds = read_lesson(), [], 0.0
    film = MovingDigits(load_digits("train", sample=True), 32, 5, **LAW)
    clips = MovingDigits(load_withheld(), 32, 5, **LAW)(CLIPS, torch.Generator().manual_seed(1))
    noise = torch.randn(CLIPS, 5, 32, generator=torch.Generator().manual_seed(2))
    model, begun = lesson.small_model(v, seed), time.process_time()
    for update, *_ in lesson.train(model, film, updates, seed):
        if update % EVERY == 0:
            seconds += time.process_time() - begun
            scores = lesson.know_places(model, clips)
            with torch.no_grad():
                error, costs = model.loss(clips.frames, noise)
            row = {"v": v, "seed": seed, "update": update, "seconds": round(seconds, 1)}
            row |= dict(zip(("r2_00", "r2_01", "r2_10", "r2_11"), scores.ravel(), strict=True))
            row |= {"error": error.item(), "kl_0": costs[0].item(), "kl_1": costs[1].item()}
            rows.append(row)
            print(row, lesson.name_state(scores), flush=True)
            if weights:
                torch.save(copy.deepcopy(model.state_dict()), weights / f"{v}-{seed}-{update}.pt")
            begun = time.process_time()
    return rows


def main() -> None:
    """Train runs and add their rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--v", type=float, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--updates", type=int, default=3000)
    parser.add_argument("--weights", type=Path, help="a folder for weights along the runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for seed in given.seeds:
        rows = train_one(given.v, seed, given.updates, given.weights)
        known = records.read_csv(TABLE) if TABLE.exists() else []
        kept = [row for row in known if (row["v"], row["seed"]) != (given.v, seed)]
        together = sorted(kept + rows, key=lambda row: (row["v"], row["seed"], row["update"]))
        records.write_csv(TABLE, together)


if __name__ == "__main__":
    main()
