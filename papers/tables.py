"""metrics.json, the figures of runs, and tables of them; pages.py puts these on pages."""

import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from unbraid import records
from unbraid.checks import ResultsError
from unbraid.measures.intervals import mean_interval

from papers.settings import RunSettings

FEWEST_SEEDS = 4  # that an interval is printed of; of fewer, Student's t is too narrow if one fails

# ---- metrics.json: for each run its figures, and beside them `protocol`


def summarise(by_seed: list[dict[str, float]]) -> dict:
    """One run's entry of metrics.json: means, and values by seed; NaN is a `ResultsError`.

    Where a seed lacks a figure, as one whose weights were gone before the figure existed, its value
    is null, and the mean is that of the others.
    """
    values, means = {}, {}
    for name in dict.fromkeys(itertools.chain(*by_seed)):
        values[name] = [figures.get(name) for figures in by_seed]
        measured = drop_absent(values[name])
        if not all(map(math.isfinite, measured)):
            raise ResultsError(f"metrics: expected finite numbers, found others in {name}")
        means[name] = sum(measured) / len(measured)
    return means | {"by_seed": values}


def drop_absent(values: Iterable[float | None]) -> list[float]:
    """The values of a figure by seed, without those of seeds that lack it."""
    return [float(value) for value in values if value is not None]


def find_seeds(metrics: dict, run: str) -> list[int]:
    """The seeds of a run, in the order of the values of by_seed."""
    return [int(seed) for seed in metrics["protocol"]["weights"].get(run, ())]


def is_measured(folder: Path, settings: RunSettings, seed: int) -> bool:
    """Whether a folder's metrics.json has the figures of a run with this seed."""
    path = folder / settings.model / settings.dataset / settings.profile / "metrics.json"
    return path.exists() and seed in find_seeds(records.read_json(path), settings.run)


def split_seeds(metrics: dict, run: str) -> dict[int, dict[str, float]]:
    """The figures of a run by seed; none where it was not measured."""
    by_seed: dict[int, dict[str, float]] = {}
    for place, seed in enumerate(find_seeds(metrics, run)):
        row = {name: values[place] for name, values in metrics[run]["by_seed"].items()}
        by_seed[seed] = {name: value for name, value in row.items() if value is not None}
    return by_seed


def merge(before: dict, measured: dict) -> dict:
    """A metrics.json with what was measured now; other runs, and other seeds, stay as they are.

    Raises `ResultsError` where data or judges are not those of before, or where what was measured
    now lacks a figure that another seed of its run has.
    """
    old, new = before["protocol"], measured["protocol"]
    judges = old.get("judges", {})
    differing = [name for name in ("data", "split", "sequences") if old.get(name) != new.get(name)]
    if any(new.get("judges", {}).get(name, sha) != sha for name, sha in judges.items()):
        differing.append("judges")
    merged, weights = dict(before), dict(old["weights"])
    del merged["protocol"]  # which stands last
    for run in measured.keys() - {"protocol"}:
        again = split_seeds(measured, run)
        by_seed = split_seeds(before, run) | again
        named = set().union(*by_seed.values())
        if any(figures.keys() != named for figures in again.values()):
            differing.append(f"the figures of {run}")
            continue
        merged[run] = summarise([by_seed[seed] for seed in sorted(by_seed)])
        digests = weights.get(run, {}) | new["weights"][run]
        weights[run] = {str(seed): digests[str(seed)] for seed in sorted(by_seed)}
    if differing:
        raise ResultsError(
            f"metrics.json: expected figures as those of other runs and seeds, found another "
            f"{', '.join(sorted(differing))}; remove the file and measure all of them"
        )
    merged["protocol"] = old | new | {"weights": weights}
    if "judges" in new:
        merged["protocol"]["judges"] = judges | new["judges"]
    return merged


def add_metrics(path: Path, measured: dict) -> None:
    """Write what was measured into a metrics.json, in which other runs and seeds stay."""
    if path.exists():
        measured = merge(records.read_json(path), measured)
    write_metrics(path, measured)


def write_metrics(path: Path, metrics: dict) -> None:
    """Write metrics.json; the SHA-256 of all else in its `protocol` tells damage later."""
    metrics["protocol"]["content_sha256"] = records.digest_content(metrics)
    records.write_json(path, metrics)


# ---- figures as text


def format_mean(values: Sequence[float], digits: int) -> str:
    """The mean of a figure and, where seeds differ, half the width of its 95 % interval."""
    interval = mean_interval(values)
    text = format_number(interval.mean, digits)
    return f"{text} ± {interval.half_width:.{digits}f}" if len(set(values)) > 1 else text


def format_number(value: float, digits: int) -> str:
    """A number with this many digits, a true minus, and no minus before zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def format_figure(entry: dict, figure: str) -> str:
    """The values of a figure of up to three seeds, or else `format_mean` of them; a dash for none.

    Where all seeds have the very same value, as baselines do, it is written once.
    """
    values = drop_absent(entry["by_seed"].get(figure, ()))
    if len(set(values)) > 1 and len(values) < FEWEST_SEEDS:
        return ", ".join(format_number(value, 2) for value in values)
    return format_mean(values, 2) if values else "–"


def tabulate_metrics(metrics: dict, figures: Iterable[str]) -> pd.DataFrame:
    """The figures of metrics.json as text, by run and figure."""
    rows = {}
    for run, entry in metrics.items():
        if run != "protocol":
            rows[run] = [format_figure(entry, name) for name in figures]
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(figures))


def print_metrics(metrics: dict) -> str:
    """The same of all figures, a line each."""
    figures: dict[str, object] = {}  # of all runs, once each
    for entry in metrics.values():
        figures |= entry.get("by_seed", {})
    return tabulate_metrics(metrics, figures).T.to_string(line_width=100)


def markdown_table(titles: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Titles and rows of cells as Markdown."""
    first, *others = ["| " + " | ".join(row) + " |" for row in (titles, *rows)]
    return "\n".join([first, "|" + "---|" * len(titles), *others])
