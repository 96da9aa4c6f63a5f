"""What ties figures to the weights they were measured on, and how this is checked.

A record names the SHA-256 of its weights and curve; `protocol` of metrics.json those of each run's
weights, record and curve, of the judges' weights, and of its own content. `verify_results` compares
them with what is there; `verify_again` measures the figures anew.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

from unbraid import records
from unbraid.checks import ResultsError, SettingsError
from unbraid.data.fetch import DataError
from unbraid.measures.judges import load_judge
from unbraid.records import RESTORE, digest, read_json

from papers import claims, judge, tables
from papers.run import FILES, load_run
from papers.settings import Settings, load, select_runs

STAMP = "if its figures were measured like this, run: python -m papers stamp"
TOLERANCE = 1e-4  # of a figure that is measured again, relative where it is larger than 1
Measured = list[tuple[Path, str, int]]  # a metrics.json, and a run and a seed that it has


def find_metrics(folder: Path) -> list[Path]:
    """Every metrics.json, and of judges with other seeds metrics-seed<seed>.json."""
    return sorted(folder.rglob("metrics*.json"))


def describe_files(path: Path) -> dict:
    """What ties figures to a run: the SHA-256 of its weights, record and curve, as they are now.

    path: that of the run, without suffix. shipped: whether the weights are there; where they are
    not, their digest is the one that the record names.
    """
    weights, record, curve = (path.with_suffix(suffix) for suffix in FILES.values())
    is_there = weights.exists()
    of_weights = digest(weights) if is_there else read_json(record)["weights_sha256"]
    of_files = {"record": digest(record), "curve": digest(curve)}
    return {"shipped": is_there, "weights": of_weights, **of_files}


def describe_judges(settings: Settings) -> dict[str, str]:
    """The judges that measure runs of these settings: names, and the SHA-256 of their weights."""
    paths = [judge.find_judge(*each) for each in judge.name_judges(settings).values()]
    return {"/".join(path.with_suffix("").parts[-4:]): digest(path) for path in paths}


def stamp_metrics(path: Path) -> None:
    """Write into a metrics.json the digests that it lacks, of the files that are there now.

    Digests that it has are kept, so that a file changed since remains a fault. Whether weights ship
    and the digest of its own content are written anew.
    """
    metrics = read_json(path)
    known = metrics["protocol"].get("files", {})
    files: dict[str, dict] = {}
    for run, seed in tables.list_runs(metrics):
        place = path.with_name(f"{run}-seed{seed}")
        tied = known.get(run, {}).get(str(seed)) or describe_files(place)
        is_there = place.with_suffix(FILES["weights"]).exists()
        files.setdefault(run, {})[str(seed)] = tied | {"shipped": is_there}
    metrics["protocol"]["files"] = files
    tables.write_metrics(path, metrics)


# ---- which files do not fit together


def verify_results(folder: Path) -> list[str]:
    """Faults of a results folder, a line each, which begins with the file.

    Compared are the digests of each metrics.json and of each record with the files that are there,
    and, where the folder is the clone's, the pages with its tables.
    """
    checks = [(path, metrics_faults) for path in find_metrics(folder)]
    checks += [(path, record_faults) for path in sorted(folder.rglob(f"*{FILES['record']}"))]
    if not checks:
        raise ResultsError(f"{folder}: expected results, found none; name the right folder")
    faults = []
    for path, check in checks:
        try:
            faults += check(path)
        except ResultsError as error:
            faults.append(str(error))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            faults.append(f"{path}: expected the commands' form, found {error!r}; {RESTORE}")
    is_clone = folder.resolve() == records.results().resolve()
    return faults + (tables.table_faults() if is_clone else [])


def metrics_faults(path: Path) -> list[str]:
    """Where a metrics.json disagrees with itself, and with the files that it was measured on."""
    metrics = read_json(path)
    protocol, faults = metrics["protocol"], []
    if protocol.get("content_sha256") != tables.digest_content(metrics):
        faults.append(f"{path}: expected the content that its content_sha256 names; {STAMP}")
    for name, expected in protocol.get("judges", {}).items():
        # A judge that a folder of results does not have is the clone's.
        folders = (path.resolve().parents[3], records.results())
        files = [records.weights(name, folder) for folder in folders]
        if expected not in [digest(file) for file in files if file.exists()]:
            faults.append(f"{path}: expected the judge {name} of SHA-256 {expected}; {RESTORE}")
    for run, seed in tables.list_runs(metrics):
        tied = protocol.get("files", {}).get(run, {}).get(str(seed))
        if not tied:
            faults.append(f"{path}: expected digests of {run}, seed {seed}, found none; {STAMP}")
            continue
        for kind, suffix in FILES.items():
            file = path.with_name(f"{run}-seed{seed}{suffix}")
            is_expected = kind != "weights" or tied["shipped"]
            if file.exists() != is_expected:
                faults.append(f"{file}: expected {'a' if is_expected else 'no'} file by {path}")
            elif file.exists() and digest(file) != tied[kind]:
                faults.append(f"{file}: expected SHA-256 {tied[kind]} by {path}; {RESTORE}")
    return faults


def record_faults(path: Path) -> list[str]:
    """Which files beside a record are not those that it names."""
    record, faults = read_json(path), []
    for kind, suffix in (FILES | {"swaps": ".swaps.csv"}).items():
        file = path.with_name(path.name.removesuffix(FILES["record"]) + suffix)
        expected = record.get(f"{kind}_sha256")  # that of the curve is only in newer ones
        if expected and file.exists() and digest(file) != expected:
            faults.append(f"{file}: expected SHA-256 {expected} by {path}; {RESTORE}")
    return faults


# ---- measuring again


def select_measured(
    folder: Path, names: tuple[str, str, str], seeds: list[int] | None, headline: bool
) -> Measured:
    """The measured runs of a folder whose part, dataset and run have these names, or "all".

    headline: only those behind the papers' claims whose weights ship.
    """
    runs = claims.list_runs(claims.read_claims()) if headline else {}
    selected = []
    for path in find_metrics(folder):
        part, dataset, profile = path.resolve().parts[-4:-1]
        for run, seed in tables.list_runs(read_json(path)):
            pairs = zip(names, (part, dataset, run), strict=True)
            is_named = all(name in ("all", own) for name, own in pairs)
            is_shown = not headline or runs.get((f"{part}/{dataset}/{profile}", run, seed), False)
            if is_named and is_shown and (not seeds or seed in seeds):
                selected.append((path, run, seed))
    if not selected:
        raise ValueError(f"--again: expected a run that {folder} has figures of, found none")
    return selected


def verify_again(runs: Measured) -> list[str]:
    """Measure runs again; the figures that differ, and the runs that could not be measured.

    A figure that only the new measurement has is no fault: measures are added with time.
    """
    faults = []
    for path, run, seed in runs:
        name = f"{'/'.join(path.resolve().parts[-4:-1])}/{run}-seed{seed}"
        begin = time.perf_counter()
        try:
            measured = measure_again(path, run, seed)
        except (DataError, ResultsError, SettingsError) as error:
            faults.append(f"not checked: {name}: {' '.join(str(error).split())}")
            continue
        found = []
        for figure, kept in tables.split_seeds(read_json(path), run)[seed].items():
            again = measured.get(figure, math.nan)
            if not abs(again - kept) <= TOLERANCE * max(1, abs(again)):
                found.append(f"{path}: {run}.{figure}, seed {seed}: {kept:.6g}, again {again:.6g}")
        seconds = time.perf_counter() - begin
        print(f"measured again: {name}: {len(found)} faults, {seconds:.0f} s", flush=True)
        faults += found
    return faults


def measure_again(path: Path, run: str, seed: int) -> dict[str, float]:
    """All figures of one run of a metrics.json, by name, from the weights beside that file.

    Raises `ResultsError` for weights that are not the record's, `DataError` where the data that
    they were measured on, or the weights, are not at hand.
    """
    from papers import evaluation  # It takes seconds to import.

    part, dataset, profile = path.resolve().parts[-4:-1]
    weights = path.with_name(f"{run}-seed{seed}{FILES['weights']}")
    if not weights.exists():
        raise DataError("its weights do not ship")
    if part == "judges":
        metrics = judge.measure_judge(load_judge(weights), dataset, profile, seed)
        check_data(path, metrics["protocol"])
        return tables.split_seeds(metrics, run)[seed]
    (experiment,) = select_runs(part, dataset, run)
    settings = load(experiment.section, profile)
    check_data(path, evaluation.describe_protocol(settings))
    return evaluation.evaluate(load_run(settings, seed, path.parents[3]), settings, seed)


def check_data(path: Path, protocol: dict) -> None:
    """Refuse data that are not those of a metrics.json, such as a sample in place of the whole."""
    expected, found = read_json(path)["protocol"]["data"], protocol["data"]
    if found != expected:
        remedy = "python -m unbraid data fetch brings the others"
        raise DataError(f"data: expected {expected}, found {found}; {remedy}")
