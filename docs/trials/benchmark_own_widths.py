"""The papers by the benchmark's instruments, at their own widths, or longer, or on other sets.

    python -m docs.trials.benchmark_own_widths

Nothing is trained: the models are the runs below, wherever their weights are. They differ from the
rows of the benchmark in more than width, as `given` says of each. Writes
results/trials/benchmark_own_widths.json, with the digest of every file of weights. A seed whose
weights are those of the record, or are not here, keeps what the record says of it.
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

RUNS = {  # results' folder and run: its seeds, and what its training was given
    "single_element/sprites/quick/released": (5, "released objective, 3 500 batches of 32 clips"),
    "single_element/sprites/quick/released_balanced": (3, "the same, four times the nats a pixel"),
    "single_element/sprites/quick/released_balanced_long": (3, "the same for 20 000 batches"),
    "unordered/sprites_poses/quick/unordered": (2, "our networks, 14 000 batches of 8 sets of 4"),
    "unordered/sprites_poses/quick/long": (1, "the same for 27 000 batches"),
    "unordered/sprites_poses/quick/paper_width": (1, "the paper's, 14 000 batches of 8 sets of 4"),
    "independent/circle/quick/long": (3, "our width, the central model of notebooks 11 to 13"),
    "independent/circle/quick/paper_width_long": (1, "the paper's, 7 680 batches of five frames"),
}  # B's sets are four of all 178 poses of a character, and no clips.
DATA = {"independent": "circle"}  # Each paper is read on the benchmark's clips of its own data.
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
    "thing_right",  # of digits alone
)


def list_known(before: dict) -> dict[int, dict]:
    """What the record says of a run: its figures and the digest of its weights, by seed."""
    known = {}
    for place, seed in enumerate(before.get("seeds", [])):
        known[seed] = {key: values[place] for key, values in before["by_seed"].items()}
        known[seed]["weights"] = before["weights"][str(seed)]
    return known


def measured_by(rows: dict[int, dict]) -> list[str]:
    """The names of the figures that a run has, in their order."""
    return [key for key in SHOWN if all(key in row for row in rows.values())]


def main(folder: Path) -> None:
    """The figures of each run and seed, and their record."""
    place = store.shipped() / "trials" / "benchmark_own_widths.json"
    before = store.read_json(place)["by_run"] if place.exists() else {}
    started, figures, by_run = time.perf_counter(), {}, {}
    for name, (seeds, given) in RUNS.items():
        paper, run = name.partition("/")[0], name.rpartition("/")[2]
        key = f"{paper}.{run}"
        kept = before.get(key, {})
        rows, parameters = list_known(kept), kept.get("parameters")
        data = DATA.get(paper, "sprites")
        options = settings.load(f"benchmark.{data}.single_element", "quick")
        for seed in range(seeds):
            path = folder / f"{name}-seed{seed}.safetensors"
            if not path.exists() or rows.get(seed, {}).get("weights") == store.digest(path):
                continue
            model = SequenceModel.load(path)
            parameters = count_parameters(model)
            measured = benchmark.evaluate(model, options, seed)
            measured = {figure: measured[figure] for figure in SHOWN if figure in measured}
            shown = (f"{figure} {value:.2f}" for figure, value in measured.items())
            print(path.stem, *shown, flush=True)
            rows[seed] = measured | {"weights": store.digest(path)}
        if not rows:  # neither weights nor a record
            continue
        rows = dict(sorted(rows.items()))
        by_run[key] = {
            "given": given,
            "seeds": list(rows),
            "weights": {str(seed): row["weights"] for seed, row in rows.items()},
            "parameters": parameters,
            "by_seed": {
                figure: [row[figure] for row in rows.values()] for figure in measured_by(rows)
            },
        }
        for figure, values in by_run[key]["by_seed"].items():
            figures[f"{key}.{figure}"] = sum(values) / len(values)
    record = {
        "command": "python -m docs.trials.benchmark_own_widths",
        "split": "test clips of benchmark/sprites (A: circle); probes learn from training clips",
        "seconds": round(time.perf_counter() - started, 1),
        "figures": figures,
        "by_run": by_run,
    }
    store.write_json(place, record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=store.shipped(), help="where the runs are")
    main(parser.parse_args().results)
