"""Files of results: weights, records, curves and figures by their names in the clone's results/.

results/<model>/<dataset>/<profile>/metrics.json
results/<model>/<dataset>/<profile>/<run>-seed<seed>.{safetensors,training.csv,run.json}
"""

import hashlib
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from unbraid import checks
from unbraid.checks import ResultsError, check_field, check_json, check_path, check_type
from unbraid.files import repository_root, write_atomically

RESTORE = "restore or delete it, then train and evaluate again"


def results() -> Path:
    """The folder results/ of this clone."""
    root = repository_root()
    if root is None:
        remedy = "set UNBRAID_HOME to a clone, or name a file or another folder"
        raise ResultsError(f"results: expected the project's clone, found none; {remedy}")
    return root / "results"


def choose_folder(name: str, folder: Path | str | None) -> Path:
    """The folder that is given, or that of results; refuses a name that is no text."""
    check_type(str, name=name)
    check_type((str, PathLike, type(None)), folder=folder)
    return Path(folder or results())


def weights(name: str, folder: Path | str | None = None) -> Path:
    """The file of weights of a run, such as "unordered/faces/quick/unordered-seed0", for `load`."""
    folder = choose_folder(name, folder)
    is_inside = (folder / name).resolve().is_relative_to(folder.resolve())
    check_field(is_inside, "name", f"a run inside {folder.name}/", repr(name))
    return folder / f"{name}.safetensors"


def read_record(name: str, folder: Path | str | None = None) -> dict:
    """The record of the run that `weights` names. `ResultsError` if it is missing or damaged."""
    path = choose_folder(name, folder) / f"{name}.run.json"
    record = read_json(path)
    if not isinstance(record, dict) or not {"settings", "weights_sha256"} <= record.keys():
        raise ResultsError(f"{path}: expected settings and a digest of weights, found others")
    return record


def read_metrics(name: str, folder: Path | str | None = None) -> dict:
    """The figures of all runs on one dataset, such as "single_element/sprites/quick", by run.

    An entry has the mean over seeds of each figure and, in "by_seed", those of each seed;
    "protocol" says how they were measured. Raises as `read_record`.
    """
    return read_json(choose_folder(name, folder) / name / "metrics.json")


def digest_content(metrics: dict) -> str:
    """SHA-256 of a metrics.json without the entry that holds it."""
    protocol = dict(metrics["protocol"])
    protocol.pop("content_sha256", None)
    return hashlib.sha256(json.dumps(metrics | {"protocol": protocol}).encode()).hexdigest()


def read_json(path: Path) -> dict:
    """Read JSON; a missing or damaged file is a ResultsError."""
    check_path(path=path)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "make it with python -m papers train, then python -m papers evaluate --write"
        raise ResultsError(f"{path}: expected a result, found no file; {remedy}") from None
    except ValueError as error:
        raise ResultsError(f"{path}: expected JSON, found {error}; {RESTORE}") from None


def read_csv(path: Path) -> list[dict[str, float]]:
    """Read a CSV of numbers as a list of rows; a missing or damaged file is a ResultsError."""
    import pandas as pd

    check_path(path=path)
    try:
        table = pd.read_csv(path).astype(float)
        check_field(not table.isna().to_numpy().any(), "cells", "a number in each", "empty ones")
    except (FileNotFoundError, ValueError) as error:
        raise ResultsError(f"{path}: expected numbers, found {error}; {RESTORE}") from None
    return table.to_dict("records")


def write_json(path: Path | str, value: dict) -> None:
    """Write JSON; what it does not have, such as NaN and arrays, is refused with a ValueError."""
    check_json(str(path), value)
    text = json.dumps(value, indent=1, ensure_ascii=False)
    write_atomically(path, f"{text}\n".encode(errors="backslashreplace"))


def as_csv(rows: list[dict]) -> bytes:
    """Rows with one set of names as a CSV file, floats with six digits."""
    import pandas as pd

    given = checks.check_list("rows", rows, "a list of dicts")
    check_type(Mapping, **{f"rows[{number}]": row for number, row in enumerate(given)})
    is_table = given and all(row.keys() == given[0].keys() for row in given)
    check_field(is_table, "rows", "one or more, of the same names", "others" if given else "none")
    table = pd.DataFrame(rows)
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()


def write_csv(path: Path | str, rows: list[dict]) -> None:
    """Write `as_csv` of rows."""
    write_atomically(path, as_csv(rows))
