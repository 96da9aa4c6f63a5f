"""Weights, records and figures on disk. No file is ever half-written."""

from pathlib import Path

from unbraid.results import (  # noqa: F401
    ResultsError,
    check_digest,
    check_writable,
    contents,
    describe_weights,
    digest,
    find_seeds,
    format_figure,
    format_values,
    load_tensors,
    load_weights,
    read_csv,
    read_json,
    save_tensors,
    save_weights,
    shipped,
    tabulate_metrics,
    write_atomically,
    write_csv,
    write_json,
)


def read_record(name: str, folder: Path | None = None) -> dict:
    """How a finished run was trained, such as "unordered/faces/quick/lone-seed0": its record.

    folder: of results; by default the clone's. Raises `ResultsError` for a missing or damaged one.
    """
    path = (folder or shipped()) / f"{name}.run.json"
    record = read_json(path)
    if not isinstance(record, dict) or not {"settings", "weights_sha256"} <= record.keys():
        raise ResultsError(
            f"{path}: expected a run's record, found no settings or no digest of weights"
        )
    return record


def read_metrics(name: str, folder: Path | None = None) -> dict:
    """The figures of all runs on one dataset, such as "single_element/sprites/quick", by run.

    An entry holds the mean over seeds of each figure, "by_seed" the figures of each seed and
    "intervals" limits over seeds; "protocol" says how they were measured. Raises as `read_record`.
    """
    return read_json((folder or shipped()) / name / "metrics.json")
