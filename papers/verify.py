"""What ties figures to the weights they were measured on, and how this is checked.

A record names the SHA-256 of its weights and curve; `protocol` of metrics.json those of the weights
of each run and of the judges, and of its own content. `verify_results` compares them with what is
there; evaluation.py measures the figures anew.
"""

from fnmatch import fnmatch
from pathlib import Path

from unbraid import records
from unbraid.checks import ResultsError, check_field
from unbraid.files import digest
from unbraid.records import RESTORE, read_json

from papers import claims, pages, tables
from papers.run import FILES

Measured = list[tuple[Path, str, int]]  # a metrics.json, and a run and a seed that it has


# ---- which files do not fit together


def verify_results(folder: Path) -> list[str]:
    """Faults of a results folder, a line each, which begins with the file.

    Digests of metrics.json and records are compared with files; in the clone also seeds with those
    that runs.toml declares, and pages with what is there.
    """
    checks = [(path, metrics_faults) for path in sorted(folder.rglob("metrics*.json"))]
    checks += [(path, record_faults) for path in sorted(folder.rglob(f"*{FILES['record']}"))]
    if not checks:
        raise ResultsError(f"{folder}: expected results, found none; name the right folder")
    faults = []
    for path, check in checks:
        try:
            faults += check(path)
        except ResultsError as error:
            faults.append(str(error))
        except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            faults.append(f"{path}: expected the commands' form, found {error!r}; {RESTORE}")
    is_clone = folder.resolve() == records.results().resolve()
    return faults + (pages.table_faults() if is_clone else [])


def metrics_faults(path: Path) -> list[str]:
    """Where a metrics.json disagrees with itself, and with the runs that it was measured on."""
    metrics = read_json(path)
    protocol, faults = metrics["protocol"], []
    if protocol["content_sha256"] != records.digest_content(metrics):
        faults.append(f"{path}: expected the content that its content_sha256 names; {RESTORE}")
    for name, expected in protocol.get("judges", {}).items():
        # A judge that a folder of results does not have is the clone's.
        folders = (path.resolve().parents[3], records.results())
        files = [records.weights(name, folder) for folder in folders]
        if expected not in [digest(file) for file in files if file.exists()]:
            faults.append(f"{path}: expected the judge {name} of SHA-256 {expected}; {RESTORE}")
    for run, seeds in protocol["weights"].items():
        for seed, expected in seeds.items():
            if records.read_record(f"{run}-seed{seed}", path.parent)["weights_sha256"] != expected:
                faults.append(f"{path}: expected {run}, seed {seed}, of SHA-256 {expected}")
    return faults


def record_faults(path: Path) -> list[str]:
    """Which files beside a record are not those that it names; weights need not ship."""
    record, faults = read_json(path), []
    for kind, suffix in (FILES | {"swaps": ".swaps.csv"}).items():
        file = path.with_name(path.name.removesuffix(FILES["record"]) + suffix)
        expected = record.get(f"{kind}_sha256")
        if kind in ("weights", "curve") and not expected:
            faults.append(f"{path}: expected the SHA-256 of its {kind}, found none; {RESTORE}")
        elif expected and (file.exists() or kind != "weights") and expected != digest(file):
            faults.append(f"{file}: expected SHA-256 {expected} by {path}; {RESTORE}")
    return faults


# ---- which runs have figures


def select_measured(folder: Path, pattern: str = "") -> Measured:
    """The measured runs of a folder whose names fit a pattern, such as "unordered/faces/*".

    Without a pattern: those behind the papers' claims whose weights ship.
    """
    shown = claims.list_runs(claims.read_claims().values()) if not pattern else {}
    selected = []
    for path in sorted(folder.rglob("metrics*.json")):  # metrics-seed<seed>.json of other judges
        place = "/".join(path.resolve().parts[-4:-1])
        for run in read_json(path)["protocol"]["weights"]:
            for seed in tables.find_seeds(read_json(path), run):
                is_named = fnmatch(f"{place}/{run}-seed{seed}", pattern)
                if is_named or shown.get((f"{place}/{run}", seed)):
                    selected.append((path, run, seed))
    check_field(selected, "--only", f"a run that {folder} has figures of", f"none of {pattern}")
    return selected
