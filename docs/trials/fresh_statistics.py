"""Paper C on sprites with the statistics of batch normalisation measured anew after training.

    python -m docs.trials.fresh_statistics RUN:PROFILE:SEED [...] [--results FOLDER]

At a learning rate that does not fall, weights move more between two updates than the running
statistics follow. Here a trained model reads ten batches of training clips, from which the mean
statistics of each layer are taken, and is then measured: the bound and the swaps of test clips.
Those with the statistics that training has left stand in metrics.json. Writes
results/trials/fresh_statistics.json; a minute of one core per run at 32 pixels, ten at 64. Runs
whose weights do not ship are trained first (`python -m papers train`), and found with --results.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from unbraid import store
from unbraid.models.base import SequenceModel
from unbraid.parallel import find_normalising

from docs.trials.validation_swaps import measure
from papers import report, runs, settings

BATCHES = 10


@torch.no_grad()
def renew_statistics(model: SequenceModel, chosen: settings.Settings, seed: int) -> None:
    """Take the statistics of each layer as their mean over batches of training clips."""
    for layer in find_normalising(model):
        layer.reset_running_stats()
        layer.momentum = None  # a mean over all batches
    draw, generator = runs.make_sampler(chosen), torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(BATCHES):
        model.elbo(draw(chosen.batch_size, generator), generator)
    model.eval()


def main() -> None:
    """Measure every run that is named, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--results", type=Path, default=None, help="by default the clone's")
    given = parser.parse_args()

    folder = given.results or store.shipped()
    sections = {
        each.run: each.section for each in settings.select_runs("single_element", "sprites")
    }
    figures = {}
    for name in given.runs:
        run, profile, seed = name.split(":")
        chosen = settings.load(sections[run], profile)
        model = SequenceModel.load(runs.run_name(chosen, int(seed)), folder)
        renew_statistics(model, chosen, int(seed))
        figures[name] = measure(model, chosen, int(seed), "test")
        print(name, figures[name], flush=True)
    command = f"python -m docs.trials.fresh_statistics {' '.join(given.runs)}"
    settings_used = {"split": "test", "batches": BATCHES}
    seeds = sorted({int(name.split(":")[2]) for name in given.runs})
    print(report.write_trial("fresh_statistics", command, settings_used, seeds, figures))


if __name__ == "__main__":
    main()
