"""What the runs of `full` take in arithmetic: for each the operations of an update, and how many.

    python -m docs.trials.full_costs

An update is made with two sequences of the run's own data, its products and convolutions are
counted, there and back, and the count is taken to grow with the batch. Nothing is timed. Runs whose
data are not at hand are left out, and the record names them. Writes results/trials/full_costs.json,
from which notebook 41 calculates prices; about two minutes of one core.
"""

from __future__ import annotations

import torch
from unbraid.data.fetch import DataError
from unbraid.models.base import Batch
from unbraid.networks import count_parameters

from papers import report, runs
from papers.settings import Settings, list_experiments
from papers.settings import load as load_settings
from tests.bench import count_gflop

COUNT = 2  # sequences, as batch normalisation needs more than one


def measure_run(settings: Settings) -> dict[str, float]:
    """Updates, seeds, parameters, and the GFLOP of an update with the run's whole batch."""
    batch = Batch.of(runs.make_sampler(settings)(COUNT, torch.Generator().manual_seed(0)))
    model = runs.build(settings, 0).train()
    weights = runs.term_weights(settings, settings.steps)
    noise = torch.Generator().manual_seed(0)
    gflop = count_gflop(lambda: model(batch, noise).loss(weights).backward())
    return {
        "updates": settings.steps,
        "seeds": settings.seeds,
        "batch_size": settings.batch_size,
        "parameters": count_parameters(model),
        "gflop_per_update": round(gflop * settings.batch_size / COUNT, 3),
    }


def main() -> None:
    """Count, print and write."""
    figures, left_out = {}, []
    for run in list_experiments():
        settings = load_settings(run.section, "full")
        if not settings.seeds:
            continue
        name = f"{run.model}/{run.dataset}/{run.run}"
        try:
            figures[name] = measure_run(settings)
            print(name, figures[name], flush=True)
        except DataError as error:
            left_out.append(name)
            print(f"{name} left out: {error}", flush=True)
    settings = {"profile": "full", "sequences": COUNT, "left_out": left_out}
    report.write_trial("full_costs", "python -m docs.trials.full_costs", settings, [0], figures)


if __name__ == "__main__":
    main()
