"""python -m tests.benchmark_budget [--write]: what an update of each model of the benchmark costs.

All models take updates in turn in one process on one core, so that what else the machine does
slows all alike. --write keeps the table as results/trials/benchmark_budget.json.
"""

import sys
import time
from statistics import median

import torch
from unbraid import records
from unbraid.networks import count_parameters

from papers import run, settings

ROUNDS, UPDATES = 20, 5

if __name__ == "__main__":
    torch.set_num_threads(1)
    frames, models, spent = torch.rand(8, 8, 3, 32, 32), {}, {}
    for each in settings.list_experiments():
        is_meant = each.dataset in ("circle", "sprites") and each.run != "pca"
        if each.model == "benchmark" and is_meant:
            chosen = settings.load(each.section, "quick")
            model, name = run.build(chosen, 0).train(), f"{each.dataset}.{each.run}"
            models[name] = model, torch.optim.Adam(model.parameters()), chosen.steps
            spent[name] = []
    for _ in range(ROUNDS):
        for name, (model, optimiser, _) in models.items():
            begin = time.process_time()
            for _ in range(UPDATES):
                optimiser.zero_grad()
                model(frames).loss().backward()
                optimiser.step()
            spent[name].append(1000 * (time.process_time() - begin) / UPDATES)
    figures = {}
    for name, (model, _, steps) in models.items():
        milliseconds = round(median(spent[name]), 1)
        own = {
            "parameters": count_parameters(model),
            "milliseconds": milliseconds,
            "updates": steps,
        }
        figures |= {f"{name}.{figure}": value for figure, value in own.items()}
    print("\n".join(f"{name:40} {value}" for name, value in figures.items()))
    if "--write" in sys.argv:
        record = {"command": "python -m tests.benchmark_budget --write", "seeds": [0]}
        record["settings"] = {"rounds": ROUNDS, "updates": UPDATES, "threads": 1}
        path = records.results() / "trials" / "benchmark_budget.json"
        records.write_json(path, record | {"figures": figures})
