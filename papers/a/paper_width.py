"""Digits or coordinates, with the paper's networks: its layers, activations, normalisation, rate
and batches, on its bouncing digits at 32 pixels, measured while they train.

    python -m papers.a.paper_width build/results [seed ...]

Seeds take turns: each reaches a mark before the next mark is begun. Seeds that are named go to
their end, one after the other. A run goes on at its checkpoint in that folder, rows that the table
has are not made again. Matrix products are in bfloat16.
"""

import sys
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from torch import Tensor
from unbraid import decode_all, encode_all, records
from unbraid.codes import bound_per_frame
from unbraid.data.sequences import Sequences
from unbraid.interventions import move_one
from unbraid.models.base import Codes, SequenceModel
from unbraid_course.lessons.n15 import find_centres

from papers import run
from papers.a.evaluate import at_evaluation_length
from papers.a.lesson_bouncing import COORDINATES, FOLDER, measure_bits, seeded
from papers.datasets import Sampler, make_sampler
from papers.settings import RunSettings, load

MARKS = (1000, 2000, 4000, 7680)  # updates at which a run is measured
EVERY = 40  # updates between two checkpoints, a divisor of all marks
PRECISION = "bf16-mixed"
TABLE = FOLDER / "paper_width_long.csv"


def measure(model: SequenceModel, clips: Sequences) -> dict[str, float]:
    """What each factor's code at the last of eight frames contains, R2 of the four coordinates and
    of their last steps and accuracies of the digits' classes by 15 neighbours, and what freezes
    while a factor waits; from posterior means and from samples."""
    row: dict[str, float] = {}
    for how in ("means", "samples"):
        codes = encode_all(model, clips, seeded(0) if how == "samples" else None)
        figures = measure_contents(codes, clips) | measure_freeze(model, codes)
        row |= {f"{how}_{name}": round(value, 4) for name, value in figures.items()}
    return row | measure_bits(torch.cat([*codes.values()], 2))  # of samples


def measure_contents(codes: Codes, clips: Sequences) -> dict[str, float]:
    """Scores of neighbours, fitted on the first half of the clips, on the second half."""
    positions = torch.cat([clips.labels[name] for name in clips.dynamic], 2)  # (N, T, 4)
    places, steps = positions[:, -1], positions[:, -1] - positions[:, -2]
    half, row = len(places) // 2, {}
    for factor, code in enumerate(codes.values()):
        last = code[:, -1].numpy()
        fit = partial(KNeighborsRegressor(15).fit, last[:half])
        for name, place, step in zip(COORDINATES, places.T, steps.T, strict=True):
            row[f"{factor}_{name}"] = fit(place[:half]).score(last[half:], place[half:])
            row[f"{factor}_{name}_step"] = fit(step[:half]).score(last[half:], step[half:])
        for name in clips.static:
            digit = clips.labels[name]
            probe = KNeighborsClassifier(15).fit(last[:half], digit[:half])
            row[f"{factor}_{name}"] = probe.score(last[half:], digit[half:])
    return row


def measure_freeze(model: SequenceModel, codes: Codes) -> dict[str, float]:
    """The share of its movement that a coordinate keeps while a factor waits at frame 2."""

    def travel(films: Codes) -> Tensor:  # (4,)
        return find_centres(decode_all(model, films))[:, 1:].std(1).mean(0).flatten()

    first = {name: code[:400] for name, code in codes.items()}
    free, row = travel(first), {}
    for factor, other in enumerate(reversed([*first])):  # Of two, one moves and the other waits.
        shares = travel(move_one(first, other)) / free
        for coordinate, share in zip(COORDINATES, shares.tolist(), strict=True):
            row[f"freeze_{factor}_{coordinate}"] = share
    return row


def train_to(
    settings: RunSettings, seed: int, mark: int, film: Sampler, clips: Sequences, path: Path
) -> dict:
    """Train on to a mark, by the run's checkpoint; the row of the mark, measured on test clips."""
    model = run.build(settings, seed)
    arguments = {"checkpoint": path, "every": EVERY, "precision": PRECISION}
    curve = run.train_model(
        model, film, settings, seed, report=lambda row: row["step"] >= mark, **arguments
    )
    last = [row for row in curve if mark - 320 < row["step"] <= mark]
    row = {"seed": seed, "update": mark, "seconds": curve[-1]["seconds"]}
    row |= {"training_bound": round(float(np.mean([each["elbo_per_frame"] for each in last])), 2)}
    bound = bound_per_frame(model, [clips], 0)
    row |= {name.replace("_per_frame", ""): round(value, 3) for name, value in bound.items()}
    return row | measure(model, clips)


def main(folder: str, *seeds: str) -> None:
    """Bring all seeds to each mark in turn, or these seeds to their end."""
    torch.set_num_threads(1)
    settings = load("independent.bounce.paper_width_long", "quick")
    film = make_sampler(settings)
    clips = make_sampler(at_evaluation_length(settings), "test")(1200, seeded(7))
    in_turn = [(seed, mark) for mark, seed in product(MARKS, range(settings.seeds))]
    for seed, mark in [*product(map(int, seeds), MARKS)] or in_turn:
        rows = records.read_csv(TABLE) if TABLE.exists() else []
        if not any((row["seed"], row["update"]) == (seed, mark) for row in rows):
            path = Path(folder) / f"{run.run_name(settings, seed)}.checkpoint"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows.append(train_to(settings, seed, mark, film, clips, path))
            records.write_csv(TABLE, sorted(rows, key=lambda row: (row["update"], row["seed"])))


if __name__ == "__main__":
    main(*sys.argv[1:])
