"""What is written of results: metrics.json, trials, and the pages with tables.

results/tables.toml says which figures results/README.md shows; claims.py makes the other pages.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from unbraid.measures.intervals import mean_interval
from unbraid.store import (
    ResultsError,
    find_seeds,
    metrics_table,
    read_json,
    shipped,
    write_atomically,
    write_json,
)

from papers import claims
from papers.settings import Jobs, Settings


def run_record(
    command: str, settings: Settings, seed: int, rows: list[dict], **more: object
) -> dict[str, object]:
    """run.json: the command, settings, device and versions with which a run can be made again.

    more: what else the record holds, such as precision, data, data_sha256 and weights_sha256.
    """
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else describe_cpu()
    return {
        "command": command,
        "profile": settings.profile,
        "seed": seed,
        "settings": settings.as_dict(),
        "device": device,
        "versions": read_versions(),
        "steps": rows[-1]["step"],
        "seconds": round(rows[-1]["seconds"], 1),
        **more,
    }


def describe_cpu() -> str:
    """The processor, as a record names it."""
    return f"CPU, {platform.machine()}, {torch.get_num_threads()} threads"


def read_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers."""
    versions = {"python": platform.python_version()}
    for package in ("unbraid", "torch", "numpy", "lightning-fabric"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # a GPU machine may carry Fabric inside the package lightning
            versions[package] = "not installed under this name"
    return versions


def write_trial(name: str, command: str, settings: dict, seeds: list[int], figures: dict) -> Path:
    """Write results/trials/<name>.json, the record of a trial that a text may mention.

    command: what repeats it. settings: all that ruled it. figures: finite numbers by name.
    """
    path = shipped() / "trials" / f"{name}.json"
    record = {"command": command, "seeds": seeds, "settings": settings, "figures": figures}
    write_json(path, record)
    return path


def write_metrics(path: Path, metrics: dict) -> None:
    """Write metrics.json; the SHA-256 of all else in its `protocol` tells damage later."""
    metrics["protocol"]["content_sha256"] = digest_content(metrics)
    write_json(path, metrics)


def digest_content(metrics: dict) -> str:
    """SHA-256 of a metrics.json without the entry that holds it."""
    protocol = dict(metrics["protocol"])
    protocol.pop("content_sha256", None)
    return hashlib.sha256(json.dumps(metrics | {"protocol": protocol}).encode()).hexdigest()


def check_nothing_is_lost(path: Path, jobs: Jobs, run: str = "all") -> None:
    """Refuse to write over figures of runs and seeds whose weights are not there.

    jobs: those on the dataset. run: the only one whose figures are written, or all.
    """
    metrics = read_json(path) if path.exists() else {}
    there = {settings.run: seeds for settings, seeds in jobs}
    for name in metrics.keys() - {"protocol"} if run == "all" else metrics.keys() & {run}:
        seeds = find_seeds(metrics, name)
        if absent := set(seeds) - set(there.get(name, [])):
            raise ResultsError(
                f"{path}: expected the weights of all runs that it has figures of, found none of "
                f"{name}, seeds {sorted(absent)}; train them, or write into another --results"
            )


def add_seeds(metrics: dict, measured: dict, run: str) -> dict:
    """What was measured of some seeds of a run, with its figures of other seeds in metrics.json.

    These keep the versions that they were measured with, and the new ones name theirs where they
    differ. Raises `ResultsError` if these are not the same figures, or if the judge is another.
    """
    if run not in metrics:
        return measured
    before, protocol = metrics["protocol"], dict(measured["protocol"])
    names = metrics[run]["by_seed"].keys() ^ measured[run]["by_seed"].keys()
    judges = before.get("judges", {}) | protocol.get("judges", {}) != before.get("judges", {})
    if names or judges:
        found = f"that {sorted(names)} are of some seeds alone" if names else "another judge"
        raise ResultsError(
            f"{run}: expected figures and a judge like those of its other seeds, found {found}; "
            "measure all seeds, without --seed"
        )
    by_seed: dict[int, dict[str, float]] = {}
    for source in (metrics, measured):
        columns = source[run]["by_seed"]
        for place, number in enumerate(find_seeds(source, run)):
            by_seed[number] = {name: values[place] for name, values in columns.items()}
    seeds = sorted(by_seed)
    versions = before.get("versions_of", {}).get(run, before["versions"])
    files = dict(protocol["files"][run])
    if protocol["versions"] != versions:
        files = {seed: entry | {"versions": protocol["versions"]} for seed, entry in files.items()}
    files = before.get("files", {}).get(run, {}) | files
    protocol["files"] = {run: {seed: files[seed] for seed in map(str, seeds) if seed in files}}
    protocol |= {"seeds": seeds, "versions": versions}
    return measured | {run: summarise([by_seed[number] for number in seeds]), "protocol": protocol}


def add_run(metrics: dict, measured: dict, run: str) -> dict:
    """metrics.json with one more run, or with this run measured anew; all others stay as they are.

    Raises `ResultsError` if it was measured in another way than the others.
    """
    protocol, added = dict(metrics["protocol"]), measured["protocol"]
    of_runs = {"seeds", "seeds_of", "versions", "files", "judges", "content_sha256"}
    differing = [key for key in added.keys() - of_runs if added[key] != protocol.get(key)]
    if differing:
        raise ResultsError(
            f"{run}: expected to be measured as the other runs of metrics.json, found another "
            f"protocol ({', '.join(sorted(differing))}); measure all runs, without --run"
        )
    for key in ("files", "judges"):
        if key in added:
            protocol[key] = protocol.get(key, {}) | added[key]
    for key in ("seeds", "versions"):  # Those of a run stand apart where they differ.
        apart = {name: own for name, own in protocol.pop(f"{key}_of", {}).items() if name != run}
        if added[key] != protocol[key]:
            apart[run] = added[key]
        if apart:
            protocol[f"{key}_of"] = apart
    others = {name: entry for name, entry in metrics.items() if name != "protocol"}
    return others | {run: measured[run], "protocol": protocol}


def list_runs(metrics: dict) -> list[tuple[str, int]]:
    """Every run of a metrics.json with each of its seeds."""
    pairs = []
    for run in (run for run in metrics if run != "protocol"):
        pairs += [(run, seed) for seed in find_seeds(metrics, run)]
    return pairs


def limits_over_seeds(values: list[float]) -> list[float] | None:
    """The limits [low, high] of Student's 95 % interval over seeds; None of a single one."""
    interval = mean_interval(values)
    return [interval.low, interval.high] if interval.n > 1 else None


def summarise(by_seed: list[dict[str, float]]) -> dict:
    """One run's entry of metrics.json: means over seeds, the values by seed, 95 % intervals.

    An interval is [low, high], Student's over seeds; None where there is one seed.
    Raises `ResultsError` for NaN and infinity.
    """
    values, intervals = {}, {}
    for name in by_seed[0]:
        values[name] = [float(figures[name]) for figures in by_seed]
        if not all(map(math.isfinite, values[name])):
            raise ResultsError(f"metrics: expected finite numbers, found others in {name}")
        intervals[name] = limits_over_seeds(values[name])
    entry: dict = {name: sum(numbers) / len(numbers) for name, numbers in values.items()}
    return entry | {"by_seed": values, "intervals": intervals}


# ---- tables: results/tables.toml -> results/README.md


def read_tables() -> dict:
    """results/tables.toml: an introduction, and `table`, a list of tables."""
    return tomllib.loads((shipped() / "tables.toml").read_text(encoding="utf-8"))


def split_columns(columns: list[dict]) -> tuple[dict[str, str], dict[str, int]]:
    """The titles of a table's figures, and the digits of those that do not have two."""
    titles = {column["figure"]: column["title"] for column in columns}
    return titles, {column["figure"]: column.get("digits", 2) for column in columns}


def render_page(tables: dict) -> str:
    """results/README.md: every table whose metrics.json exists, with its introduction.

    A table of quick results comes again with those of the same folder at full, where there are any.
    """
    parts = [tables["introduction"].strip()]
    places = [table["results"] for table in tables["table"]]
    for table in tables["table"]:
        texts = {table["results"]: (table["title"], table["introduction"].strip())}
        full = re.sub("quick$", "full", table["results"])
        if full not in places:  # A table of its own wins.
            texts[full] = (f"{table['title']}, at full size", "The figures of the table above.")
        for place, (title, introduction) in texts.items():
            path = shipped() / place / "metrics.json"
            if path.exists():
                content = metrics_table(read_json(path), *split_columns(table["columns"]))
                parts += [f"## {title}", introduction, content]
    return "\n\n".join(parts) + "\n"


def render_pages() -> dict[Path, str]:
    """The pages with tables: results/README.md, and those of the papers' claims."""
    results = shipped() / "README.md"
    return {results: render_page(read_tables()), **claims.render_pages()}


def write_tables() -> None:
    """Write the pages from what results/ holds."""
    for path, content in render_pages().items():
        write_atomically(path, content.encode())


def table_faults() -> list[str]:
    """A line for each page whose tables are not those of results/."""
    path = shipped() / "tables.toml"
    try:
        pages = render_pages()
        faults = claims.head_faults()
    except ResultsError as error:
        return [f"{path}: {error}"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return [f"{path}: expected runs and figures that there are, found {error!r}"]
    for path, content in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            faults.append(f"{path}: its tables are old; run: python -m papers verify --write")
    return faults
