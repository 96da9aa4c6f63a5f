"""What all runs of a profile cost in hours, before the first begins.

A price is the seconds of one update times the updates that are left. The seconds come from the
record of a run of the same settings, else from two small updates made here and now.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from papers import experiments
from papers.settings import Settings, list_experiments, read_table
from papers.settings import load as load_settings

FEW = 4  # sequences in the batch that is timed on a processor
# Without a GPU its seconds are a guess. Two cores do 0.15 TFLOP/s in the largest models, a large
# GPU about 50 in TF32, and it needs 15 ms more for launches and drawing.
GPU_FACTOR, GPU_OVERHEAD = 330, 0.015


class Price(NamedTuple):
    """What one run still costs with all of its seeds; seconds are those of one update."""

    run: str
    updates: int
    seconds: float
    origin: str


def order_datasets(profile: str) -> list[tuple[str, str]]:
    """The model and dataset of all runs of a profile, in the order of their worth.

    Those that the table does not order come last.
    """
    order = read_table()["everything"]["order"]
    places = []
    for run in list_experiments():
        if load_settings(run.section, profile).seeds:
            places.append(f"{run.model}/{run.dataset}")
    rank = {place: number for number, place in enumerate(order)}
    places = sorted(dict.fromkeys(places), key=lambda place: rank.get(place, len(order)))
    return [tuple(place.split("/")) for place in places]


def price_run(settings: Settings, sampler: experiments.Sampler, folder: Path) -> Price:
    """The price of one run with all its seeds, less what lies finished or begun in a folder."""
    left, seconds, origin = 0, 0.0, "finished"
    now = {"precision": "32-true", "data_sha256": sampler.digests}
    for seed in range(settings.seeds):
        path = folder / experiments.run_name(settings, seed)
        if record := experiments.find_record(settings, path, now):
            seconds = record["seconds"] / record["steps"]
        else:
            left += settings.steps - experiments.last_update(path.with_suffix(".checkpoint"))
    if left:
        origin = "its record" if seconds else "measured now"
        seconds = seconds or time_update(settings, sampler)
    run = "/".join((settings.model, settings.dataset, settings.run))
    return Price(run, left, seconds, origin)


def time_update(settings: Settings, sampler: experiments.Sampler) -> float:
    """Seconds of one update here: of a whole batch on a GPU, else in proportion to a small one."""
    batch_size = settings.batch_size if torch.cuda.is_available() else FEW
    few = settings.but(steps=2, batch_size=batch_size)
    first, second = experiments.train_model(experiments.build(few, 0), sampler, few, every=1)
    return (second["seconds"] - first["seconds"]) * settings.batch_size / batch_size


def tabulate_prices(prices: list[Price]) -> str:
    """The table of prices as text, with their sum."""
    table = pd.DataFrame(prices)
    table["h, here"] = table.updates * table.seconds / 3600
    gpu_seconds = GPU_OVERHEAD + table.seconds / GPU_FACTOR
    if torch.cuda.is_available():
        gpu_seconds = table.seconds
    table["h, GPU"] = table.updates * gpu_seconds / 3600
    total = f"all: {table['h, here'].sum():.1f} hours here, {table['h, GPU'].sum():.1f} on a GPU"
    note = "Hours on a GPU are a guess where there is none. Judges and evaluations are not counted."
    return f"{table.to_string(index=False, float_format='{:.3g}'.format)}\n{total}\n{note}"
