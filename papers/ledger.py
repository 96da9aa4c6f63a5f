"""How each run ended that was started: ledger.csv in a folder of results, beside its records.

A finished run has a record. A row says what else became of one: a run such as
"unordered/faces/quick/unordered", seeds such as "0 3-9" ("?" where nobody wrote them down), `end`,
the seeds or the run that came `instead`, and why. `python -m papers train` adds rows of its own.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unbraid import records
from unbraid.checks import ResultsError

from papers.settings import list_experiments, load

NAME = "ledger.csv"
COLUMNS = ("run", "seeds", "end", "instead", "why")
PRINTED = ("diverged", "stopped", "running")  # ends before the last update
ENDS = (
    *PRINTED,
    "finished",  # other files have its figures
    "removed",  # finished; its record was taken out of results/ again
    "replaced",  # finished; trained again under the same name, by other settings
    "not begun",
)


def read_ledger(folder: Path) -> list[dict[str, str]]:
    """The rows of a folder's ledger, none without one; `ResultsError` for an unknown end."""
    path = folder / NAME
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if tuple(row) != COLUMNS or row["end"] not in ENDS:
            expected = f"{', '.join(COLUMNS)} and an end of {', '.join(ENDS)}"
            raise ResultsError(f"{path}: expected {expected}, found {row}")
    return rows


def list_seeds(text: str) -> set[int]:
    """The seeds of a row: "0 3-5" is 0, 3, 4 and 5; none where they are not known."""
    seeds: set[int] = set()
    for part in text.replace("?", "").split():
        first, _, last = part.partition("-")
        seeds |= set(range(int(first), int(last or first) + 1))
    return seeds


def find_recorded(folder: Path, run: str) -> set[int]:
    """The seeds of a run that have a record."""
    paths = (folder / run).parent.glob(f"{Path(run).name}-seed*.run.json")
    return {int(path.name.removesuffix(".run.json").rpartition("-seed")[2]) for path in paths}


def find_ended(folder: Path, run: str, end: str) -> set[int]:
    """The seeds of a run that ended so, but for those that are finished by now."""
    rows = [row for row in read_ledger(folder) if (row["run"], row["end"]) == (run, end)]
    return set().union(*(list_seeds(row["seeds"]) for row in rows)) - find_recorded(folder, run)


def find_gaps(folder: Path) -> list[str]:
    """A line for each run of runs.toml whose seeds are not those that are recorded and measured,
    unless the ledger names those that are missing."""
    faults, rows = [], read_ledger(folder)
    for experiment in list_experiments():
        for profile in ("quick", "full"):
            settings = load(experiment.section, profile)
            place = folder / settings.model / settings.dataset / profile
            run = f"{place.relative_to(folder)}/{settings.run}"
            named = [list_seeds(row["seeds"]) for row in rows if row["run"] == run]
            declared = set(range(settings.seeds if settings.steps else 0))
            recorded = find_recorded(folder, run)
            if gap := sorted((declared ^ recorded).difference(*named)):
                faults.append(f"{folder / run}: expected seeds {gap} in both runs.toml and records")
            metrics = place / "metrics.json"
            weights = records.read_json(metrics)["protocol"]["weights"] if metrics.exists() else {}
            gap = sorted(recorded - set(map(int, weights.get(settings.run, recorded))))
            faults += [f"{metrics}: expected figures of {settings.run}, seeds {gap}"] if gap else []
    remedy = "train and measure them, or say in ledger.csv how they ended"
    return [f"{fault}; {remedy}" for fault in faults]


def summarise(folder: Path) -> list[str]:
    """How many runs ended how, and each that did not finish."""
    ends = Counter(finished=len([*folder.rglob("*-seed*.run.json")]))
    lines = []
    for row in read_ledger(folder):
        seeds = list_seeds(row["seeds"])
        if row["end"] in ("running", "stopped") and not row["instead"]:  # It may have gone on.
            seeds -= find_recorded(folder, row["run"])
        count = len(seeds) or row["seeds"].count("?")
        ends[row["end"]] += count
        if count and row["end"] in PRINTED:
            shown = " ".join(map(str, sorted(seeds))) or "?"
            instead = f"; instead {row['instead']}" if row["instead"] else ""
            lines.append(
                f"  {row['end']}: {row['run']} {shown}{instead}; {row['why']}".rstrip("; ")
            )
    return [f"runs: {', '.join(f'{ends[end]} {end}' for end in sorted(+ends))}", *sorted(lines)]


def add_row(folder: Path, name: str, end: str, instead: str = "", why: str = "") -> None:
    """Add a row, such as of "unordered/faces/quick/unordered-seed0", to a folder's ledger."""
    run, _, seed = name.rpartition("-seed")
    path = folder / NAME
    header = [] if path.exists() else [COLUMNS]
    with path.open("a", encoding="utf-8", newline="") as file:
        rows = [*header, (run, seed, end, instead, why)]
        csv.writer(file, lineterminator="\n").writerows(rows)


@contextmanager
def note_failure(folder: Path, name: str) -> Iterator[None]:
    """Add a row to the ledger if a training does not come to its end."""
    try:
        yield
    except BaseException as error:
        end = "diverged" if "expected finite numbers" in str(error) else "stopped"
        add_row(folder, name, end, why=f"{type(error).__name__}: {error}".strip(": "))
        raise
