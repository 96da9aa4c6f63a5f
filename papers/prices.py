"""What all runs of a profile cost in seconds, as the records of finished runs say."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import NamedTuple

import pandas as pd
from unbraid import store

from papers.costs import median_update
from papers.runs import has_settings, run_name
from papers.settings import OWN_RESULTS, Settings, list_experiments, read_order
from papers.settings import load as load_settings


class Price(NamedTuple):
    """What the seeds of one run that are not yet trained cost.

    seconds: of one seed, by the median over its records of the median seconds of an update; None
    where there is no record. recorded: the updates that these records have together.
    """

    run: str
    updates: int
    seeds_left: int
    recorded: int
    seconds: float | None


def order_datasets(profile: str) -> list[tuple[str, str]]:
    """The model and dataset of all runs of a profile, in the order of their worth.

    Those that common.toml does not order come last.
    """
    rank = {place: number for number, place in enumerate(read_order())}
    runs = [run for run in list_experiments() if load_settings(run.section, profile).seeds]
    pairs = dict.fromkeys((run.model, run.dataset) for run in runs)
    return sorted(pairs, key=lambda pair: rank.get("/".join(pair), len(rank)))


def price_run(settings: Settings, folder: Path) -> Price:
    """The price of one run: its seeds that `folder` lacks, at the seconds of finished runs.

    Runs count if they are of the same name at the same profile and have a record, in `folder`, in
    build/results or in results/. Their seconds are those of the training curves beside the records.
    """
    updates, seconds, left = [], [], 0
    for seed in range(settings.seeds):
        name = run_name(settings, seed)
        records = find_records(name, folder)
        for place, record in records.items():
            updates.append(record["steps"])
            seconds.append(median_update(store.read_csv(place / f"{name}.training.csv")))
        here = records.get(folder.resolve())
        left += here is None or not has_settings(here, settings)
    run = "/".join((settings.model, settings.dataset, settings.run))
    price = median(seconds) * settings.steps if seconds else None
    return Price(run, settings.steps, left, sum(updates), price)


def find_records(name: str, folder: Path) -> dict[Path, dict]:
    """The records of one run in `folder`, in build/results and in results/, by these folders.

    Those without a curve beside them are of runs that must be trained again, and left out.
    """
    records = {}
    for place in (folder, OWN_RESULTS, store.shipped()):
        files = (place / f"{name}.run.json", place / f"{name}.training.csv")
        if all(file.exists() for file in files):
            records[place.resolve()] = store.read_record(name, place)
    return records


def tabulate_prices(prices: list[Price]) -> str:
    """The table of prices as text, with the sum of those that are known."""
    table = pd.DataFrame(prices, columns=Price._fields).astype({"seconds": float})
    total = (table["seconds"] * table["seeds_left"]).sum()
    unknown = (table["seconds"].isna() & table["seeds_left"].gt(0)).sum()
    table["seconds"] = table["seconds"].map("{:.0f}".format).replace("nan", "no record")
    table.columns = ["run", "updates", "seeds left", "updates recorded", "seconds per seed"]
    return (
        f"{table.to_string(index=False)}\n"
        f"all: {total:.0f} seconds, and {unknown} runs without a record\n"
        "Seconds are those of the machines that trained the runs. "
        "Judges and evaluations are not counted."
    )
