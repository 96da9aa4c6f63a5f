"""Records of runs of before, to which class and config of their model are added.

`SequenceModel.load` reads both from run.json, so that the library knows no settings. Weights stay
as they are; the digests of the records in metrics.json follow.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from unbraid import store
from unbraid.models.base import dotted_name

from papers import report
from papers.registry import choose_class, read_config

RECORD = ".run.json"


def convert_records(folder: Path) -> int:
    """Add the entry "model" to each record of a folder of results that lacks it; how many did.

    A record is only changed where the figures beside it, if any, were measured on the very record
    that is there; else both stay as they are, and `verify` goes on to name the fault.
    """
    places = {path.parent for path in folder.rglob(f"*{RECORD}")}
    return sum(convert_folder(place) for place in sorted(places))


def convert_folder(folder: Path) -> int:
    """`convert_records` of the runs on one dataset at one profile."""
    metrics_path = folder / "metrics.json"
    metrics = store.read_json(metrics_path) if metrics_path.exists() else {}
    measured = {}  # the digests that figures are tied to, by the name of the record
    for run, seeds in metrics.get("protocol", {}).get("files", {}).items():
        measured |= {f"{run}-seed{seed}{RECORD}": digests for seed, digests in seeds.items()}
    converted = []
    for path in sorted(folder.glob(f"*{RECORD}")):
        record = store.read_json(path)
        if "model" not in record.get("settings", {}) or "model" in record:
            continue  # A judge's record, or one that has the entry.
        digests = measured.get(path.name, {})
        if digests.get("record", store.digest(path)) == store.digest(path):
            store.write_json(path, add_model(record))
            digests["record"] = store.digest(path)
            converted.append(path.name)
    if measured.keys() & converted:
        report.write_metrics(metrics_path, metrics)
    return len(converted)


def add_model(record: dict) -> dict:
    """A record with class and config of its model, which its settings say, after these settings."""
    settings = record["settings"]
    config = asdict(read_config(settings))
    described = {"class": dotted_name(choose_class(settings)), "config": config}
    entries = {}
    for name, value in record.items():
        entries[name] = value
        if name == "settings":
            entries["model"] = described
    return entries
