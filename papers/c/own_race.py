"""Who learns the direction first: notebook 32's own training, with and without its two helps.

`python -m papers.c.own_race` runs the functions that the notebook shows. All along a run swaps and
probes are those of the validation characters; the test clips are measured once, at its end. Runs
whose rows are in the table are not made again.
"""

from time import process_time

import pandas as pd
import torch
from sklearn.linear_model import RidgeClassifier
from unbraid import records
from unbraid.data import sprites

from papers.lessons import read_lesson

TABLE = records.results() / "single_element" / "sprites" / "quick" / "own_race.csv"
SEEDS = 3
RUNS = {  # updates, has d a head start, has it other prices
    "released": (400, False, False),
    "head start": (400, True, False),
    "prices": (400, False, True),
    "both": (2500, True, True),
}


def train_one(name: str, seed: int) -> list[dict]:
    """What the notebook's `watch` sees of a run, often at first, and at the end of test clips."""
    updates, has_start, has_prices = RUNS[name]
    lesson = read_lesson("32", RidgeClassifier=RidgeClassifier)
    practice, validation = sprites.load("fit", 32).frames, sprites.load("validation", 32)
    model = lesson.small_model(seed)
    if has_start:
        lesson.give_head_start(model)
    # A short run has the prices of the long run's first updates.
    part = updates / RUNS["both"][0]
    weigh = (lambda share: lesson.prices(part * share)) if has_prices else lesson.released
    about = {"run": name, "seed": seed}
    rows, seconds, begun = [], 0.0, process_time()
    for update, _ in lesson.train(model, practice, updates, weigh, seed):
        if update % (100 if update <= 400 else 500) == 0:
            seconds += process_time() - begun
            seen = {"update": update, "seconds": round(seconds), "split": "validation"}
            rows.append(about | seen | lesson.watch(model, validation))
            begun = process_time()
    if name == "both":
        test = sprites.load("test", 32)
        seen = {"update": updates, "seconds": round(seconds), "split": "test"}
        rows.append(about | seen | lesson.watch(model, test))
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    table = pd.read_csv(TABLE).to_dict("records") if TABLE.exists() else []
    made = {(row["run"], row["seed"]) for row in table}
    for seed in range(SEEDS):
        for name in RUNS:
            if (name, seed) not in made:
                table += train_one(name, seed)
                records.write_csv(TABLE, table)
