"""python -m tests.benchmark_budget [--write]: what an update of each model of the benchmark costs.

All models take updates in turn in one process on one core, so that what else the machine does
slows all alike. --write keeps the table as results/trials/benchmark_budget.json.
"""

import sys
import time
from statistics import median

import torch
from unbraid.networks import count_parameters

from papers import report, runs, settings

ROUNDS, UPDATES = 20, 5


def time_updates(sections: list[str]) -> dict[str, dict[str, float]]:
    """Parameters, median CPU milliseconds of an update, and updates in the file, by section."""
    torch.set_num_threads(1)
    frames, models, spent = torch.rand(8, 8, 3, 32, 32), {}, {}
    for section in sections:
        model = runs.build(settings.load(section, "quick"), 0).train()
        models[section] = model, torch.optim.Adam(model.parameters())
        spent[section] = []
    for _ in range(ROUNDS):
        for section, (model, optimiser) in models.items():
            begin = time.process_time()
            for _ in range(UPDATES):
                optimiser.zero_grad()
                model(frames).loss().backward()
                optimiser.step()
            spent[section].append((time.process_time() - begin) / UPDATES)
    rows = {}
    for section, (model, _) in models.items():
        rows[section] = {
            "parameters": count_parameters(model),
            "milliseconds": round(1000 * median(spent[section]), 1),
            "updates": settings.load(section, "quick").steps,
        }
    return rows


def main() -> None:
    """Print the table, and keep it where it is asked for."""
    experiments = settings.list_experiments()
    sections = []
    for run in experiments:
        if run.model == "benchmark" and run.dataset in ("circle", "sprites") and run.run != "pca":
            sections.append(run.section)
    rows = time_updates(sections)
    figures = {}
    for section, row in rows.items():
        seconds = row["milliseconds"] * row["updates"] / 1000
        counts = f"{row['parameters']:7} parameters, {row['milliseconds']:5} ms an update"
        print(f"{section:36} {counts}, {row['updates']} updates: {seconds:.0f} s")
        for name, value in row.items():
            figures[f"{section.removeprefix('benchmark.')}.{name}"] = value
    if "--write" in sys.argv:
        given = {"rounds": ROUNDS, "updates": UPDATES, "threads": 1}
        command = "python -m tests.benchmark_budget --write"
        report.write_trial("benchmark_budget", command, given, [0], figures)


if __name__ == "__main__":
    main()
