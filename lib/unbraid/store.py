"""Reads, writes and checks weights, records and figures. No file is ever half-written.

results/<model>/<dataset>/<profile>/metrics.json
results/<model>/<dataset>/<profile>/<run>-seed<seed>.{safetensors,training.csv,run.json}
results/judges/<dataset>/<profile>/: the same, with the run "judge"
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from unbraid.data.fetch import repository_root
from unbraid.measures.intervals import mean_interval

RESTORE = "restore or delete it, then train and evaluate again"
OVER_SEEDS = "95 %, Student t over seeds"  # the intervals of all figures but those of judges
FEWEST_SEEDS = 4  # that an interval is printed of; of fewer, Student's t is too narrow if one fails


class ResultsError(RuntimeError):
    """A result that is missing, damaged or not the one its record names."""


def shipped() -> Path:
    """The folder results/ of this clone."""
    root = repository_root()
    if root is None:
        raise ResultsError(
            "results: expected the project's clone around the library, found none; "
            "set UNBRAID_HOME to a clone, or name a file or another folder"
        )
    return root / "results"


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written into, or is full, before hours are spent for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A file without a name, of which a killed process leaves nothing.
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(2**20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ResultsError(
            f"{folder}: expected a folder with room that can be written into, found "
            f"{error.strerror}; make room, or name another folder with --results"
        ) from None


# ---- files


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: dict) -> None:
    """Write JSON; NaN and infinity, which JSON does not have, are refused with a ValueError."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(path, f"{text}\n".encode())


def read_json(path: Path) -> dict:
    """Read JSON; a missing or damaged file is a ResultsError."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(
            f"{path}: expected a result, found no file; make it with python -m papers train, "
            "then python -m papers evaluate --write"
        ) from None
    except ValueError as error:
        raise ResultsError(f"{path}: expected JSON, found {error}; {RESTORE}") from None


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write rows with one set of names as CSV, floats with six digits."""
    text = pd.DataFrame(rows).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_atomically(path, text.encode())


def read_csv(path: Path) -> list[dict[str, float]]:
    """Read a CSV of numbers as a list of rows; a missing or damaged file is a ResultsError."""
    try:
        table = pd.read_csv(path).astype(float)
    except (FileNotFoundError, ValueError) as error:
        raise ResultsError(f"{path}: expected numbers, found {error}; {RESTORE}") from None
    if table.isna().to_numpy().any():
        raise ResultsError(f"{path}: expected numbers, found empty cells; {RESTORE}")
    return table.to_dict("records")


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def check_digest(path: Path, expected: str | None) -> None:
    """Refuse a file that is there, but is not the one that a record names."""
    if path.exists() and digest(path) != expected:
        raise ResultsError(f"{path}: expected SHA-256 {expected}, found {digest(path)}; {RESTORE}")


# ---- tensors


def contents(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names and values, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().reshape(-1).view(torch.uint8)
        total.update(name.encode() + values.numpy().tobytes())
    return total.hexdigest()


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict | None = None) -> str:
    """Write tensors as safetensors; returns the file's SHA-256."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(plain, metadata))
    return digest(path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read safetensors; a missing or damaged file is a ResultsError."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ResultsError(
            f"{path}: expected weights, found no file; train them with python -m papers train"
        ) from None
    except SafetensorError as error:
        raise ResultsError(f"{path}: expected safetensors, found {error}; {RESTORE}") from None


def save_weights(path: Path, model: nn.Module, described: dict | None = None) -> str:
    """A model's weights in half precision (integers as they are); returns the file's SHA-256.

    described: what the file says of the model, as JSON, for `describe_weights`.
    """
    state = {}
    for name, value in model.state_dict().items():
        state[name] = value.half() if value.is_floating_point() else value
        if not state[name].isfinite().all():
            raise ResultsError(
                f"{path}: expected weights that half precision can hold, found NaN, infinity or "
                f"more than 65504 in {name}"
            )
    metadata = None
    if described is not None:  # One entry, because safetensors writes several in any order.
        metadata = {"model": json.dumps(described | {"contents": contents(state)})}
    return save_tensors(path, state, metadata)


def describe_weights(path: Path) -> dict | None:
    """What a file of weights says of its model; None where it says nothing, or is not there.

    "contents" is the digest of its tensors. Raises `ResultsError` for a damaged file.
    """
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {}).get("model", "null"))
    except FileNotFoundError:
        return None
    except (SafetensorError, ValueError) as error:
        raise ResultsError(f"{path}: expected safetensors, found {error}; {RESTORE}") from None


def describe_run(path: Path) -> tuple[dict, str | None]:
    """Class and config of the model whose weights lie at a path, and their digest if it is known.

    The record of a run, run.json beside the weights, says both. Raises `ResultsError` where neither
    it nor the file says which model it is, or where it is damaged.
    """
    record_path = path.with_name(f"{path.name.removesuffix('.safetensors')}.run.json")
    described = describe_weights(path)
    if described is not None and not record_path.exists():
        return described, None
    record = read_record(record_path.name.removesuffix(".run.json"), path.parent)
    described = record.get("model", described)
    if described is None:
        raise ResultsError(
            f"{record_path}: expected class and config of the model under model, found a record of "
            "before; in the clone, python -m papers convert adds them"
        )
    return described, record["weights_sha256"]


def load_weights(model: nn.Module, path: Path, expected_digest: str | None = None) -> None:
    """Put shipped weights into a model, in the model's own precision."""
    if expected_digest:
        check_digest(path, expected_digest)
    state = load_tensors(path)
    described = describe_weights(path) or {}
    if described.get("contents", contents(state)) != contents(state):
        raise ResultsError(f"{path}: expected the weights it was written with, found others")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ResultsError(
            f"{path}: expected weights for this model; use the profile they were trained with. "
            f"Found: {error}"
        ) from None


# ---- metrics.json: for each run its figures, and beside them `protocol`


def format_values(values: list[float], digits: int = 2) -> str:
    """The values of up to three seeds, or else "mean ± half-width of the 95 % interval".

    Where all seeds have the very same value, as baselines do, it is written once.
    """
    if len(set(values)) == 1:
        text = f"{values[0]:.{digits}f}"
    elif len(values) < FEWEST_SEEDS:
        text = ", ".join(f"{value:.{digits}f}" for value in values)
    else:
        interval = mean_interval(values)
        text = f"{interval.mean:.{digits}f} ± {interval.half_width:.{digits}f}"
    return text.replace("-", "−")


def format_figure(entry: dict, figure: str, digits: int = 2) -> str:
    """A figure of a run over its seeds, as `format_values` writes it; a dash where it has none."""
    return format_values(entry["by_seed"][figure], digits) if figure in entry else "–"


def tabulate_metrics(metrics: dict, figures: Iterable[str], digits: dict[str, int]) -> pd.DataFrame:
    """The figures of metrics.json as text, by run and figure; digits: where there are not two."""
    rows = {}
    for run, entry in metrics.items():
        if run != "protocol":
            rows[run] = [format_figure(entry, name, digits.get(name, 2)) for name in figures]
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(figures))


def metrics_table(metrics: dict, columns: dict[str, str], digits: dict[str, int]) -> str:
    """The same in Markdown, with a title for each figure.

    Raises `ResultsError` for a figure that no run has.
    """
    for figure in columns:
        if not any(figure in entry for entry in metrics.values()):
            raise ResultsError(
                f"metrics: expected the figure {figure}, found it of no run; "
                "run: python -m papers evaluate --write"
            )
    rows = [("run", *columns.values()), ("---",) * (len(columns) + 1)]
    rows += tabulate_metrics(metrics, columns, digits).itertuples()
    return markdown_table(rows)


def markdown_table(rows: Iterable[Iterable[str]]) -> str:
    """Rows of cells as Markdown; the second one separates the titles from the others."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines[1] = lines[1].replace(" ", "")
    return "\n".join(lines)


def find_seeds(metrics: dict, run: str) -> list[int]:
    """The seeds of a run, in the order of the values of by_seed: its own, or the protocol's."""
    protocol = metrics["protocol"]
    return protocol.get("seeds_of", {}).get(run, protocol.get("seeds", [0]))


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
