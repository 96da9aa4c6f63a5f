"""Who learns the direction first: notebook 32's own training, with and without its two helps.

`python -m papers.c.lesson_race` trains by the functions that the notebook shows. All along a run
swaps and probes are those of the validation characters; the test clips are measured once, at its
end. Runs whose rows are in the table are not made again.
"""

import torch
from sklearn.linear_model import RidgeClassifier
from unbraid import Sequences, records
from unbraid.data import sprites
from unbraid_course.lessons import n32

from papers.measured_runs import train_missing, watch

TABLE = records.results() / "single_element" / "sprites" / "quick" / "own_race.csv"
SEEDS = 3
MARKS = (*range(100, 500, 100), *range(500, 2501, 500))  # updates that are measured
RUNS = {  # updates, has d a head start, has it other prices
    "released": (400, False, False),
    "head start": (400, True, False),
    "prices": (400, False, True),
    "both": (2500, True, True),
}


def look(model: n32.SingleElement, clips: Sequences) -> dict[str, float]:
    """Scores of the swaps, and how well a probe reads the direction from a draw."""
    model.eval()
    row = n32.score_swaps(clips, *n32.swap_all(model, clips))
    parts = (clips.frames / 255).split(300)
    with torch.no_grad():
        q = [model.posterior(part, torch.zeros_like) for part in parts]
    draws = {"s": torch.cat([n32.draw(q_s) for q_s, _ in q]).cpu()}
    draws["d"] = torch.cat([n32.draw(q_d)[:, 3] for _, q_d in q]).cpu()  # of frame 4
    way, half = clips.labels["direction"], len(clips.frames) // 2
    for name, code in draws.items():
        probe = RidgeClassifier().fit(code[:half], way[:half])
        row[f"probe of {name}"] = probe.score(code[half:], way[half:])
    model.train()
    return row


def train_one(name: str, seed: int, updates: int) -> list[dict]:
    """What `look` sees of a run, often at first, and at the end of test clips."""
    _, has_start, has_prices = RUNS[name]
    practice, validation = sprites.load("fit", 32).frames, sprites.load("validation", 32)
    model = n32.small_model(seed)
    if has_start:
        n32.give_start(model)
    # A short run has the prices of the long run's first updates.
    part = updates / RUNS["both"][0]
    weigh = (lambda share: n32.prices(part * share)) if has_prices else n32.released
    training = n32.train(model, practice, updates, weigh, seed)
    about, rows = {"run": name, "seed": seed}, []
    for update, seconds in watch(training, MARKS):
        seen = {"update": update, "seconds": seconds, "split": "validation"}
        rows.append(about | seen | look(model, validation))
    if name == "both":
        seen = {"update": updates, "seconds": seconds, "split": "test"}
        rows.append(about | seen | look(model, sprites.load("test", 32)))
    return rows


if __name__ == "__main__":
    tasks: list[dict] = []
    for seed in range(SEEDS):
        for name, (updates, *_) in RUNS.items():
            tasks.append({"run": name, "seed": seed, "update": updates})
    train_missing(TABLE, tasks, train_one)
