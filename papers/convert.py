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
    converted = 0
    for place in sorted({path.parent for path in folder.rglob(f"*{RECORD}")}):
        converted += convert_folder(place)
    return converted


def convert_folder(folder: Path) -> int:
    """`convert_records` of the runs on one dataset at one profile."""
    changes: dict[str, tuple[str, str]] = {}  # digests of a record before and after, by its name
    metrics_path = folder / "metrics.json"
    metrics = store.read_json(metrics_path) if metrics_path.exists() else {}
    known = list_digests(metrics)
    for path in sorted(folder.glob(f"*{RECORD}")):
        record = store.read_json(path)
        before = store.digest(path)
        if "settings" not in record or "model" not in record["settings"] or "model" in record:
            continue  # A judge's record, or one that has the entry.
        if known.get(path.name, before) != before:
            continue
        store.write_json(path, add_model(record))
        changes[path.name] = before, store.digest(path)
    if any(name in known for name in changes):
        replace_digests(metrics, changes)
        report.write_metrics(metrics_path, metrics)
    return len(changes)


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


def list_digests(metrics: dict) -> dict[str, str]:
    """The digests of records that a metrics.json names, by the names of the files."""
    digests = {}
    for run, seeds in metrics.get("protocol", {}).get("files", {}).items():
        for seed, tied in seeds.items():
            digests[f"{run}-seed{seed}{RECORD}"] = tied["record"]
    return digests


def replace_digests(metrics: dict, changes: dict[str, tuple[str, str]]) -> None:
    """Put the records' new digests into a metrics.json, in place."""
    for run, seeds in metrics["protocol"]["files"].items():
        for seed, tied in seeds.items():
            _, tied["record"] = changes.get(f"{run}-seed{seed}{RECORD}", (None, tied["record"]))
