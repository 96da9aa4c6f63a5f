"""Speed of this machine on the course's work: `make bench`, about two minutes on two cores.

For each part: frames that are drawn per second, updates per second, and the minutes that the
training of one model at `quick` would take. Then the seconds that measures take.
"""

import argparse
import statistics
import timeit
from collections.abc import Callable

import numpy as np
import torch
from unbraid.measures.information import kraskov
from unbraid.measures.leakage import leakage_matrix

from papers import runs, settings

SECTIONS = (
    "independent.bounce.factored",
    "unordered.digits",
    "unordered.sprites_poses",
    "single_element.sprites",
    "single_element.spoken_digits",
)
UPDATES = 20


def measure_seconds(function: Callable[[], object], repeats: int = 5) -> float:
    """The median time of a call, after one that is not counted."""
    times = timeit.repeat(function, repeat=repeats + 1, number=1)
    return statistics.median(times[1:])


def bench_training(section: str, profile: str) -> None:
    """Print what one run of a section draws and learns per second."""
    chosen = settings.load(section, profile)
    sampler = runs.make_sampler(chosen, "train")
    generator = torch.Generator().manual_seed(0)
    frames = chosen.batch_size * sampler(1, generator).frames.shape[1]
    drawing = measure_seconds(lambda: sampler(chosen.batch_size, generator))
    model, few = runs.build(chosen, 0), chosen.but(steps=UPDATES)
    update = measure_seconds(lambda: runs.train_model(model, sampler, few), repeats=1) / UPDATES
    rates = f"{frames / drawing:12,.0f}{frames / update:12,.0f}{1000 * update:10.1f}"
    print(f"{section:30}{rates}{update * chosen.steps / 60:10.1f}", flush=True)


def bench_measures() -> None:
    """Print the seconds that measures take on random codes of the usual sizes."""
    generator = np.random.default_rng(0)
    factors = {f"factor {n}": generator.integers(6, size=1000) for n in range(6)}
    codes = {name: generator.normal(size=(1000, 32)) for name in ("static", "dynamic")}
    pair = generator.normal(size=(2, 1000, 20))
    seconds = measure_seconds(lambda: kraskov(*pair, shuffles=5), repeats=3)
    print(f"{'mutual information, 6 estimates of 1000 pairs of 20 units':62}{seconds:10.2f} s")
    seconds = measure_seconds(lambda: leakage_matrix(codes, factors), repeats=1)
    print(f"{'leakage matrix, 2 codes of 32 units, 6 factors, 1000 sequences':62}{seconds:10.2f} s")


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__).parse_args()
    gpu = torch.cuda.is_available()
    place = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    profile = settings.current_profile()
    print(f"{place}, torch {torch.__version__}, profile {profile}\n")
    print(f"{'run':30}{'drawn/s':>12}{'trained/s':>12}{'ms/update':>10}{'minutes':>10}")
    for section in SECTIONS:
        try:
            bench_training(section, profile)
        except RuntimeError as error:  # its data are not here
            print(f"{section:30}{error}")
    print()
    bench_measures()


if __name__ == "__main__":
    main()
