"""Paper C on sprites, judged without the test split: which seeds keep the direction with d?

    python -m docs.trials.validation_swaps released released_balanced --results build/results

Measures runs that were trained on the "fit" characters (`training_split`) on the 100 validation
characters that they have never seen: the bound, swaps, and the true clip. From the bounds it
computes how often the best of three restarts separates the codes, if the bound alone chooses
among them. Writes results/trials/validation_swaps.json, or another record that --record names; half
a minute of one core per run.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

from unbraid import store
from unbraid.data.sprites import class_labels
from unbraid.models.base import SequenceModel

from papers import report, runs, settings
from papers.evaluation import clips
from papers.evaluation.encoded import encode
from papers.evaluation.generic import bound
from papers.judging import open_judge

SEPARATED = 0.1  # the largest leak of the direction into s that counts as separated


def measure(
    model: SequenceModel, chosen: settings.Settings, seed: int, split: str = "validation"
) -> dict[str, float]:
    """The bound and the swaps on clips of the characters of a split."""
    test = encode(model, clips.load_clips(chosen, split, seed))
    judge = open_judge(chosen.dataset, chosen.profile, test.sequences.classes)
    labels = class_labels(test.sequences)
    return bound(model, test, seed) | clips.swaps(model, test, judge, labels, seed)


def choose_by_bound(by_seed: dict[str, list[float]], restarts: int = 3) -> dict[str, float]:
    """What the bound chooses among all sets of so many seeds.

    separated: share of the sets whose seed with the highest bound has a leak of at most
    `SEPARATED`; possible: share of the sets that hold such a seed at all.
    """
    bounds, leaks = by_seed["elbo_per_frame"], by_seed["swap_leak_motion_direction"]
    sets = list(combinations(range(len(bounds)), min(restarts, len(bounds))))
    best = [max(seeds, key=bounds.__getitem__) for seeds in sets]
    chosen = [leaks[seed] <= SEPARATED for seed in best]
    possible = [min(leaks[seed] for seed in seeds) <= SEPARATED for seeds in sets]
    return {"separated": sum(chosen) / len(sets), "possible": sum(possible) / len(sets)}


def main() -> None:
    """Measure every seed that is there, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--results", type=Path, default=None, help="by default the clone's")
    parser.add_argument("--record", default="validation_swaps", help="the name of what is written")
    given = parser.parse_args()

    folder = given.results or store.shipped()
    sections = {
        each.run: each.section for each in settings.select_runs("single_element", "sprites")
    }
    figures, seeds = {}, {}
    for run in given.runs:
        chosen = settings.load(sections[run], "quick")
        names = {seed: runs.run_name(chosen, seed) for seed in range(chosen.seeds)}
        there = [s for s, name in names.items() if (folder / f"{name}.safetensors").exists()]
        by_seed = []
        for seed in there:
            model = SequenceModel.load(names[seed], folder)
            by_seed.append(measure(model, chosen, seed))
            print(run, seed, by_seed[-1], flush=True)
        values = {name: [figure[name] for figure in by_seed] for name in by_seed[0]}
        figures[run] = {"by_seed": values, "best_of_three": choose_by_bound(values)}
        seeds[run] = there
    command = f"python -m docs.trials.validation_swaps {' '.join(given.runs)}"
    if given.record != parser.get_default("record"):
        command += f" --record {given.record}"
    settings_used = {"split": "validation", "separated": SEPARATED}
    print(report.write_trial(given.record, command, settings_used, seeds, figures))


if __name__ == "__main__":
    main()
