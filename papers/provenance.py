"""What ties figures to the weights they were measured on, and how this is checked.

`protocol` of metrics.json names the SHA-256 of each run's weights, record and curve (`files`), of
the judges' weights (`judges`), and of its own content. `verify_results` compares all of them with
what is there; `measure_again` computes the figures anew, and so finds what was forged consistently.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from pathlib import Path

from unbraid import store
from unbraid.data.fetch import DataError
from unbraid.measures.judges import load_judge
from unbraid.store import RESTORE, ResultsError, find_seeds, read_json

from papers import claims, judging, report
from papers.report import list_runs
from papers.runs import load_run
from papers.settings import Settings, current_profile, select_runs
from papers.settings import load as load_settings

FILES = {"weights": ".safetensors", "record": ".run.json", "curve": ".training.csv"}  # of a run
STAMP = "if its figures were measured like this, run: python -m papers stamp"
Measured = list[tuple[Path, str, int]]  # a metrics.json, and a run and a seed that it has
TOLERANCE = 1e-4  # of a figure that is measured again, relative where it is larger than 1

# ---- the digests in `protocol`


def describe_files(path: Path) -> dict:
    """What ties figures to a run: the SHA-256 of its weights, record and curve, as they are now.

    path: that of the run, without suffix. shipped: whether the weights are there; where they are
    not, their digest is the one that the record names.
    """
    weights, record, curve = (path.with_suffix(suffix) for suffix in FILES.values())
    is_there = weights.exists()
    digests = {
        "weights": store.digest(weights) if is_there else read_json(record)["weights_sha256"],
        "record": store.digest(record),
        "curve": store.digest(curve),
    }
    return {"shipped": is_there, **digests}


def describe_judges(settings: Settings) -> dict[str, str]:
    """The judges that measure runs of these settings: names, and the SHA-256 of their weights."""
    paths = [judging.find_judge(*judge) for judge in judging.name_judges(settings).values()]
    return {"/".join(path.with_suffix("").parts[-4:]): store.digest(path) for path in paths}


def stamp_metrics(path: Path) -> None:
    """Write into a metrics.json the digests that it lacks, of the files that are there now.

    Digests that it has are kept, so that a file changed since remains a fault. Whether weights ship
    and the digest of its own content are written anew.
    """
    metrics = read_json(path)
    protocol = metrics["protocol"]
    known = protocol.get("files", {})
    files: dict[str, dict] = {}
    for run, seed in list_runs(metrics):
        run_path = path.with_name(f"{run}-seed{seed}")
        tied = known.get(run, {}).get(str(seed)) or describe_files(run_path)
        is_there = run_path.with_suffix(FILES["weights"]).exists()
        files.setdefault(run, {})[str(seed)] = tied | {"shipped": is_there}
    protocol["files"] = files

    part, dataset, profile = path.resolve().parts[-4:-1]
    judges: dict[str, str] = {}
    for run in files if part != "judges" else ():
        judges |= describe_judges(find_settings(part, dataset, run, profile))
    if judges:
        protocol["judges"] = judges | protocol.get("judges", {})
    report.write_metrics(path, metrics)


def find_settings(part: str, dataset: str, run: str, profile: str) -> Settings:
    """Today's settings of a run; they rule how it is measured."""
    (experiment,) = select_runs(part, dataset, run)
    return load_settings(experiment.section, profile)


# ---- which files do not fit together


def verify_results(folder: Path) -> list[str]:
    """Faults of a results folder, a line each, which begins with the file.

    Compared are: the digests of each metrics.json with the files of its runs; means and intervals
    with the values by seed; records with the names, weights and curves of their runs; the tables
    of the clone, where the folder is the clone's. What all of this leaves out: `list_unchecked`.
    """
    is_clone = folder.resolve() == store.shipped().resolve()
    paths, runs = find_metrics(folder), find_runs(folder)
    if not (paths or runs):
        raise ResultsError(f"{folder}: expected results, found none; name the right folder")
    faults = []
    for path in paths:
        faults += collect_faults(path, metrics_faults)
    for run in runs:
        faults += collect_faults(run, record_faults)
        if not is_measured(run) and (is_clone or find_metrics(run.parent)):
            metrics = run.with_name("metrics.json")
            faults.append(
                f"{metrics}: expected figures of {run.name}, of which there are files, found none; "
                "measure it with python -m papers evaluate --write"
            )
    for path in sorted((folder / "trials").glob("*.json")):
        faults += collect_faults(path, trial_faults)
    return faults + (report.table_faults() if is_clone else [])


def collect_faults(path: Path, check: Callable[[Path], list[str]]) -> list[str]:
    """The faults that a check finds; whatever ends the check is one, too, and names the file."""
    try:
        return check(path)
    except ResultsError as error:
        return [str(error)]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return [f"{path}: expected the form that the commands write, found {error!r}; {RESTORE}"]


def form_faults(metrics: dict) -> list[str]:
    """How a metrics.json departs from its form: mean, by_seed and intervals under the same names.

    by_seed has a value for each of the protocol's seeds, or for each of the run's own `seeds_of`,
    and mean and interval are those of these values.
    """
    over_seeds = metrics["protocol"].get("intervals", store.OVER_SEEDS) == store.OVER_SEEDS
    faults = []
    for run in (run for run in metrics if run != "protocol"):
        entry, seeds = metrics[run], find_seeds(metrics, run)
        if len(set(seeds)) < len(seeds):
            faults.append(f"{run}: expected every seed once, found {seeds}")
        names = entry.keys() - {"by_seed", "intervals"}
        for part in ("by_seed", "intervals"):
            if differing := names ^ entry.get(part, {}).keys():
                faults.append(f"{run}.{part}: expected the names of {run}, not of {differing}")
        for name, values in entry.get("by_seed", {}).items():
            mean, limits = entry.get(name, math.nan), entry.get("intervals", {}).get(name)
            if len(values) != len(seeds):
                faults.append(f"{run}.by_seed.{name}: expected a value per seed, found {values}")
            elif not math.isclose(sum(values) / len(values), mean):
                faults.append(f"{run}.{name}: expected the mean of its seeds, found another")
            elif not fits(limits, values if over_seeds else mean):
                faults.append(f"{run}.intervals.{name}: expected other limits, found {limits}")
    return faults


def fits(limits: list[float] | None, of: list[float] | float) -> bool:
    """Whether limits are Student's over the values of seeds, or else contain a figure.

    The limits of a single seed are None.
    """
    if not isinstance(of, list):
        return limits[0] <= of <= limits[1]
    expected = report.limits_over_seeds(of)
    if limits is None or expected is None:
        return limits is expected
    tolerance = 1e-9 * max(map(abs, expected))  # versions of SciPy may round t differently
    pairs = zip(limits, expected, strict=True)
    return all(math.isclose(*pair, abs_tol=tolerance) for pair in pairs)


def find_metrics(folder: Path) -> list[Path]:
    """Every metrics.json, and of judges with other seeds metrics-seed<seed>.json."""
    return sorted(folder.rglob("metrics*.json"))


def find_runs(folder: Path) -> list[Path]:
    """The paths, without suffix, of all runs of which there is a file."""
    runs = set()
    for suffix in FILES.values():
        runs |= {path.with_name(path.name.partition(".")[0]) for path in folder.rglob(f"*{suffix}")}
    return sorted(runs)


def split_name(path: Path) -> tuple[str, int]:
    """The run and the seed that a path without suffix names."""
    run, _, seed = path.name.rpartition("-seed")
    return run, int(seed)


def is_measured(path: Path) -> bool:
    """Whether figures of a run stand beside it, or in a file that is too damaged to tell."""
    for metrics in find_metrics(path.parent):
        try:
            if split_name(path) in list_runs(read_json(metrics)):
                return True
        except (ResultsError, AttributeError, KeyError, TypeError, ValueError):
            return True
    return False


def metrics_faults(path: Path) -> list[str]:
    """Where a metrics.json disagrees with itself, and where with what it was measured on."""
    metrics = read_json(path)
    if "protocol" not in metrics:
        return [f"{path}: expected an entry protocol, found none"]
    faults = form_faults(metrics)
    if metrics["protocol"].get("content_sha256") != report.digest_content(metrics):
        faults.append(f"expected the content that protocol.content_sha256 names; {STAMP}")
    faults += judge_faults(metrics, path)
    return [f"{path}: {fault}" for fault in faults] + tie_faults(metrics, path)


def judge_faults(metrics: dict, path: Path) -> list[str]:
    """Which judges, by the digests of their weights, are not those that measured a metrics.json."""
    faults = []
    for name, expected in metrics["protocol"].get("judges", {}).items():
        # A judge that a folder of results does not have is the clone's.
        folders = (path.resolve().parents[3], store.shipped())
        files = [folder / f"{name}{FILES['weights']}" for folder in folders]
        if expected not in [store.digest(file) for file in files if file.exists()]:
            faults.append(f"protocol.judges: expected {name} of SHA-256 {expected}; {RESTORE}")
    return faults


def tie_faults(metrics: dict, path: Path) -> list[str]:
    """Which files are not those that a metrics.json was measured on, by the digests it names."""
    faults, owners = [], {}
    for run, seed in list_runs(metrics):
        name = f"{run}-seed{seed}"
        tied = metrics["protocol"].get("files", {}).get(run, {}).get(str(seed))
        if not tied:
            faults.append(
                f"{path}: protocol.files: expected digests of {name}, found none; {STAMP}"
            )
            continue
        for kind, suffix in FILES.items():
            file = path.with_name(name + suffix)
            is_expected = kind != "weights" or tied["shipped"]
            if file.exists() != is_expected:
                faults.append(f"{file}: expected {'a' if is_expected else 'no'} file by {path}")
            elif file.exists() and store.digest(file) != tied[kind]:
                faults.append(f"{file}: expected SHA-256 {tied[kind]} by {path}; {RESTORE}")
        # Two runs may be one at small settings, but two seeds of a run are drawn differently.
        owner = owners.setdefault((run, tied["weights"]), name)
        if owner != name:
            faults.append(f"{path}: expected weights of its own for {name}, found those of {owner}")
    return faults


def record_faults(path: Path) -> list[str]:
    """Where a run's record disagrees with its name, its weights or its curve; path: no suffix."""
    weights, record_path, curve = (path.with_suffix(suffix) for suffix in FILES.values())
    if not record_path.exists():
        return [f"{path}.*: expected a record beside it, found none; {RESTORE}"]
    record, rows = read_json(record_path), store.read_csv(curve)
    store.check_digest(weights, record["weights_sha256"])
    if "swaps_sha256" in record:
        store.check_digest(path.with_suffix(".swaps.csv"), record["swaps_sha256"])

    model, dataset, profile = path.resolve().parts[-4:-1]
    run, seed = split_name(path)
    expected = {"profile": profile, "seed": seed}
    found = {name: record[name] for name in expected}
    if model == "judges":
        # Until the commands moved into papers/, they began with python -m unbraid.
        expected["command"] = f"judge {dataset} --profile {profile} --seed {seed}"
        found["command"] = re.sub(r"^python -m (papers|unbraid) ", "", record["command"])
    else:
        named = {"model": model, "dataset": dataset, "profile": profile, "run": run}
        expected["settings"] = named
        found["settings"] = {name: record["settings"][name] for name in named}
    faults = []
    if found != expected:
        faults.append(f"{record_path}: expected the record of {expected}, found that of {found}")
    if not rows or not is_last_row(rows[-1], record):
        last = {name: record[name] for name in ("steps", "seconds")}
        faults.append(f"{curve}: expected a last row of {last}, as recorded; {RESTORE}")
    return faults


def is_last_row(row: dict, record: dict) -> bool:
    """Whether a curve that ends with this row is one of the record's run.

    What a full_size.py writes may end up to a hundredth of the updates before the run does.
    """
    seconds = math.isclose(row["seconds"], record["seconds"], rel_tol=0.01, abs_tol=0.1)
    return math.isclose(row["step"], record["steps"], rel_tol=0.01) and seconds


def trial_faults(path: Path) -> list[str]:
    """Whether the record of a trial can be read."""
    if isinstance(read_json(path), dict):
        return []
    return [f"{path}: expected the record of a trial, found something else; {RESTORE}"]


def count_runs() -> str:
    """A line on how many of the runs behind the papers' claims can be measured again here."""
    runs = claims.list_runs(claims.read_claims())
    return f"claims: {sum(runs.values())} of {len(runs)} runs can be measured again: verify --again"


def list_unchecked(folder: Path) -> list[str]:
    """What `verify_results` cannot tell: how many runs are without weights or without figures."""
    runs = find_runs(folder)
    without_weights = [run for run in runs if not run.with_suffix(FILES["weights"]).exists()]
    nowhere = [run for run in runs if not is_measured(run)]
    lines = []
    for title, paths in (
        ("not checked, as their weights do not ship", without_weights),
        ("measured nowhere", nowhere),
    ):
        names: dict[Path, list[str]] = {}
        for path in paths:
            names.setdefault(path.parent.relative_to(folder), []).append(path.name)
        lines += [f"{title}: {len(paths)} runs"] if paths else []
        lines += [f"  {place.as_posix()}: {len(names[place])}" for place in names]
    return lines


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
        for run, seed in list_runs(read_json(path)):
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

    It prints the seconds of each.
    """
    faults = []
    for path, run, seed in runs:
        name = f"{'/'.join(path.resolve().parts[-4:-1])}/{run}-seed{seed}"
        if not path.with_name(f"{run}-seed{seed}.safetensors").exists():
            faults.append(f"not checked: {name}: its weights do not ship")
            continue
        begin = time.perf_counter()
        try:
            measured = measure_again(path, run, seed)
            found = figure_faults(path, run, seed, measured)
            verdict = f"{len(found)} faults in {len(measured)} figures"
        except ResultsError as error:
            found, verdict = [str(error)], "1 fault"
        except DataError as error:
            faults.append(f"not checked: {name}: {' '.join(str(error).split())}")
            continue
        seconds = time.perf_counter() - begin
        print(f"measured again: {name}: {verdict}, {seconds:.0f} s", flush=True)
        faults += found
    return faults


def measure_again(path: Path, run: str, seed: int) -> dict[str, float]:
    """All figures of one run of a metrics.json, by name, from the weights beside that file.

    Raises `ResultsError` for weights that are not the record's, `DataError` where the data that
    they were measured on are not at hand.
    """
    from papers import evaluation  # It takes seconds to import.

    part, dataset, profile = path.resolve().parts[-4:-1]
    if part == "judges":
        judge = load_judge(path.with_name(f"{run}-seed{seed}{FILES['weights']}"))
        measured = judging.measure_judge(judge, dataset, profile, seed)
        check_data(path, measured["protocol"])
        return {name: values[0] for name, values in measured[run]["by_seed"].items()}
    if current_profile(profile) != profile:
        raise ValueError(f"UNBRAID_PROFILE: expected {profile}, with which {path} was measured")
    settings = find_settings(part, dataset, run, profile)
    check_data(path, evaluation.describe_protocol(settings))
    return evaluation.evaluate(load_run(settings, seed, path.parents[3]), settings, seed)


def check_data(path: Path, protocol: dict) -> None:
    """Refuse data that are not those of a metrics.json, such as a sample in place of the whole."""
    expected, found = read_json(path)["protocol"]["data"], protocol["data"]
    if found != expected:
        remedy = "python -m unbraid data fetch brings the others"
        raise DataError(f"data: expected {expected}, found {found}; {remedy}")


def figure_faults(path: Path, run: str, seed: int, measured: dict[str, float]) -> list[str]:
    """Which figures of a run in metrics.json are not those that were measured again.

    A figure that only the new measurement has is no fault: measures are added with time.
    """
    metrics = read_json(path)
    place = find_seeds(metrics, run).index(seed)
    faults = []
    for name, values in metrics[run]["by_seed"].items():
        kept, again = values[place], measured.get(name, math.nan)
        if not abs(again - kept) <= TOLERANCE * max(1, abs(again)):
            faults.append(f"{path}: {run}.{name}, seed {seed}: found {kept:.6g}, again {again:.6g}")
    return faults
