"""The benchmark with equally many trials for everybody: which learning rate does validation choose?

    python -m docs.trials.benchmark_equal_trials sprites

Each method of the benchmark is trained with seed 0 at a third of its learning rate, at the rate
itself and at three times the rate; everything else stays. The trial with the highest bound of
validation sequences is chosen, and nothing is seen of swaps, probes or the test split. Where this
is another rate than the benchmark's, all seeds are trained with it and measured as the benchmark
measures. Writes results/trials/benchmark_equal_trials.json after each method; a call that was
interrupted goes on. Some 80 minutes of one core for a data set.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from unbraid import store
from unbraid.codes import bound_per_frame
from unbraid.models.base import SequenceModel

from papers import runs, settings
from papers.evaluation import benchmark

RATES = {"a third": 1 / 3, "as it is": 1.0, "three times": 3.0}  # times the benchmark's rate
SEEDS = (0, 1, 2)
METHODS = (
    "sequence_vae",
    "single_element",
    "unordered_sets",
    "independent",
    "frame_vae",
    "contrastive_vae",
    "unordered",
)
SHOWN = (
    "static_leaks",
    "dynamic_leaks",
    "kept_apart",
    "swap_right",
    "swap_looks",
    "disentanglement",
    "elbo_per_frame",
)
RECORD = store.shipped() / "trials" / "benchmark_equal_trials.json"


def scale_rate(chosen: settings.Settings, factor: float) -> settings.Settings:
    """The same settings with every value of the learning rate's schedule times the factor."""
    return chosen.but(learning_rate=[[at, factor * rate] for at, rate in chosen.learning_rate])


def open_or_train(chosen: settings.Settings, rate: str, seed: int, folder: Path) -> SequenceModel:
    """The model of a trial: shipped or trained before, or trained now."""
    trained = f"{chosen.run}-{rate.replace(' ', '_')}-seed{seed}.safetensors"
    path = folder / chosen.dataset / trained
    shipped = store.shipped() / "benchmark" / chosen.dataset / "quick"
    as_shipped = shipped / f"{chosen.run}-seed{seed}.safetensors"
    if RATES[rate] == 1 and as_shipped.exists():
        path = as_shipped
    model = runs.build(chosen, seed)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint = path.with_suffix(".checkpoint")
        sampler = runs.make_sampler(chosen)
        runs.train_model(model, sampler, scale_rate(chosen, RATES[rate]), seed, checkpoint)
        store.save_weights(path, model)
        checkpoint.unlink(missing_ok=True)
    store.load_weights(model, path)
    return model.eval()


def validation_bound(model: SequenceModel, chosen: settings.Settings) -> float:
    """The bound of validation sequences in nats per frame, minus infinity for a broken model."""
    validation = benchmark.load(chosen, "validation", 0)
    found = bound_per_frame(model, [validation], 0)["elbo_per_frame"]
    return -math.inf if math.isnan(found) else found


def try_method(dataset: str, run: str, folder: Path) -> dict:
    """The trials of one method, the rate that they choose, and its figures by seed."""
    chosen = settings.load(f"benchmark.{dataset}.{run}", "quick")
    bounds = {}
    for rate in RATES:
        bounds[rate] = validation_bound(open_or_train(chosen, rate, 0, folder), chosen)
        print(f"{dataset} {run}, rate {rate}: validation bound {bounds[rate]:.1f}", flush=True)
    best = max(bounds, key=bounds.__getitem__)
    if RATES[best] == 1:
        known = store.read_metrics(f"benchmark/{dataset}/quick")[run]["by_seed"]
        by_seed = {key: known[key] for key in SHOWN}
    else:
        measured = []
        for seed in SEEDS:
            model = open_or_train(chosen, best, seed, folder)
            measured.append(benchmark.evaluate(model, chosen, seed))
        by_seed = {key: [each[key] for each in measured] for key in SHOWN}
    return {"validation_bounds": bounds, "chosen": best, "by_seed": by_seed}


def main(dataset: str, folder: Path) -> None:
    """All methods of a data set, and the record."""
    record = store.read_json(RECORD) if RECORD.exists() else {"by_data": {}}
    by_run = record["by_data"].setdefault(dataset, {})
    for run in METHODS:
        if run in by_run:
            continue
        by_run[run] = try_method(dataset, run, folder)
        right = " ".join(f"{value:.2f}" for value in by_run[run]["by_seed"]["swap_right"])
        print(f"{dataset} {run}: {by_run[run]['chosen']}, swaps right {right}", flush=True)
        figures = {}
        for name, rows in record["by_data"].items():
            for each, row in rows.items():
                for key, values in row["by_seed"].items():
                    figures[f"{name}.{each}.{key}"] = sum(values) / len(values)
        names = " ".join(record["by_data"])
        record = {
            "command": f"python -m docs.trials.benchmark_equal_trials {names}",
            "split": "chosen by the bound of validation sequences; figures of the test sequences",
            "figures": figures,
            "by_data": record["by_data"],
        }
        store.write_json(RECORD, record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", choices=("sprites", "circle", "bounce"))
    parser.add_argument("--folder", type=Path, default=Path("build/equal_trials"))
    given = parser.parse_args()
    for each in given.datasets:
        main(each, given.folder)
