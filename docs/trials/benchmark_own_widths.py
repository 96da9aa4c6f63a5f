"""Papers B and C at their own widths, by the instruments of the benchmark, on its test clips.

    python -m docs.trials.benchmark_own_widths

Nothing is trained: the models are the runs below, wherever their weights are. They differ from the
rows of the benchmark in more than width, as `given` says of each. Writes
results/trials/benchmark_own_widths.json, with the digest of every file of weights; runs whose
weights are those of the record are not measured again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from unbraid import store
from unbraid.models.base import SequenceModel
from unbraid.networks import count_parameters

from papers import settings
from papers.evaluation import benchmark

RUNS = {  # results' folder and run: what its training was given
    "single_element/sprites/quick/released": "released objective, 3 500 batches of 32 clips",
    "single_element/sprites/quick/released_balanced": "the same, four times the nats per pixel",
    "single_element/sprites/quick/released_balanced_long": "the same for 20 000 batches",
    "unordered/sprites_poses/quick/paper_width": "14 000 batches of 8 sets of 4 of 178 poses",
}
SHOWN = (
    "static_knows",
    "dynamic_knows",
    "static_leaks",
    "dynamic_leaks",
    "kept_apart",
    "swap_right",
    "swap_unchanged",
    "swap_donor",
    "swap_rmse",
    "swap_looks",
    "swap_motion",
)


def measure(paths: dict[int, Path], known: settings.Settings) -> dict:
    """The number of parameters of a run, and its figures by seed; paths: of the weights."""
    measured = []
    for seed, path in paths.items():
        model = SequenceModel.load(path)
        measured.append(benchmark.evaluate(model, known, seed))
        row = ", ".join(f"{key} {measured[-1][key]:.2f}" for key in SHOWN)
        print(f"{path.stem}: {row}", flush=True)
    by_seed = {key: [each[key] for each in measured] for key in SHOWN}
    return {"parameters": count_parameters(model), "by_seed": by_seed}


def main(seeds: int, folder: Path) -> None:
    """The figures of each run and seed whose weights are here, and their record."""
    known = settings.load("benchmark.sprites.single_element", "quick")
    place = store.shipped() / "trials" / "benchmark_own_widths.json"
    before = store.read_json(place)["by_run"] if place.exists() else {}
    started, figures, by_run = time.perf_counter(), {}, {}
    for name, given in RUNS.items():
        found = {seed: folder / f"{name}-seed{seed}.safetensors" for seed in range(seeds)}
        paths = {seed: path for seed, path in found.items() if path.exists()}
        if not paths:
            continue
        run = name.rpartition("/")[2]
        digests = {str(seed): store.digest(path) for seed, path in paths.items()}
        by_run[run] = before.get(run, {})
        if by_run[run].get("weights") != digests:
            about = {"given": given, "seeds": list(paths), "weights": digests}
            by_run[run] = about | measure(paths, known)
        for key, values in by_run[run]["by_seed"].items():
            figures[f"{run}.{key}"] = sum(values) / len(values)
    record = {
        "command": f"python -m docs.trials.benchmark_own_widths --seeds {seeds}",
        "split": "the 500 test clips of benchmark/sprites; probes learn from its training clips",
        "seconds": round(time.perf_counter() - started, 1),
        "figures": figures,
        "by_run": by_run,
    }
    store.write_json(place, record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="0, 1, ... of each run")
    parser.add_argument("--results", type=Path, default=store.shipped(), help="where the runs are")
    options = parser.parse_args()
    main(options.seeds, options.results)
