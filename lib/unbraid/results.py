"""Reads and writes results/: metrics, curves, weights and the record of each run. Nothing is ever half-written.

results/<part>/<dataset>/<profile>/metrics.json
results/<part>/<dataset>/<profile>/<model>-seed<seed>.{safetensors,training.csv,run.json}
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unbraid.data.sources import repository_root


class ResultsError(RuntimeError):
    """A result that is missing, damaged or not the one its record names."""


def shipped() -> Path:
    """The folder results/ of this clone."""
    root = repository_root()
    if root is None:
        raise ResultsError(
            "results: expected the project's clone around the library, found none; install with pip install -e . inside the clone"
        )
    return root / "results"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a run killed meanwhile, sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: dict) -> None:
    """Write JSON atomically; NaN and infinity are refused, since JSON has no word for them."""
    write_atomically(
        path, (json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()
    )


def read_json(path: Path) -> dict:
    """Read JSON; a missing or damaged file is a ResultsError."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(
            f"{path}: expected a result, found no file; make it with: python -m unbraid train, then evaluate --write"
        ) from None
    except ValueError as error:
        raise ResultsError(
            f"{path}: expected JSON, found something else ({error}); restore it with: git checkout -- results"
        ) from None


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write rows with one set of names as CSV, atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
        for row in rows
    )
    write_atomically(path, text.getvalue().encode())


def read_csv(path: Path) -> list[dict[str, float]]:
    """Read a CSV of numbers as a list of rows."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [
                {name: float(value) for name, value in row.items()} for row in csv.DictReader(file)
            ]
    except (FileNotFoundError, TypeError, ValueError) as error:
        raise ResultsError(
            f"{path}: expected a table of numbers, found {error}; restore it with: git checkout -- results"
        ) from None


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def contents(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names and values, in the order of the names: what a file with a digest of its own is checked by."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(
            name.encode()
            + tensors[name].detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    return total.hexdigest()


def save_tensors(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None
) -> str:
    """Write tensors as safetensors, atomically; returns the file's SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            temporary,
            metadata,
        )
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return digest(path)


def load_tensors(path: Path, expected_digest: str | None = None) -> dict[str, Tensor]:
    """Read safetensors; a missing, damaged or altered file is a ResultsError."""
    path = Path(path)
    if not path.exists():
        raise ResultsError(
            f"{path}: expected weights, found no file; train them with: python -m unbraid train"
        )
    if expected_digest and digest(path) != expected_digest:
        raise ResultsError(
            f"{path}: expected SHA-256 {expected_digest}, found {digest(path)}; restore it with: git checkout -- results"
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ResultsError(
            f"{path}: expected a safetensors file, found {error}; restore it or train again"
        ) from None


def save_weights(path: Path, model: nn.Module) -> str:
    """A model's weights in half precision (integers as they are); returns the file's SHA-256."""
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    if bad := [
        name
        for name, value in state.items()
        if value.is_floating_point() and not value.isfinite().all()
    ]:
        raise ResultsError(
            f"{path}: expected weights that half precision can hold, found NaN, infinity or above 65504 in {', '.join(bad)}"
        )
    return save_tensors(path, state)


def load_weights(model: nn.Module, path: Path, expected_digest: str | None = None) -> None:
    """Put shipped weights into a model, in the model's own precision."""
    state = load_tensors(path, expected_digest)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if expected != found:
        differing = sorted(
            name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
        )
        raise ResultsError(
            f"{path}: expected weights for this model, found {len(differing)} tensors that differ, first {differing[0]}: "
            f"expected {expected.get(differing[0])}, found {found.get(differing[0])}; was the profile another one?"
        )
    model.load_state_dict(state)


def summarise(by_seed: list[dict[str, float]], interval) -> dict:
    """One model's entry of metrics.json: means over seeds, the values by seed, 95 % intervals.

    interval: a function from the list of values to (low, high), or None where one cannot be given (one seed).
    """
    names = [name for name in by_seed[0] if isinstance(by_seed[0][name], (int, float))]
    values = {name: [float(one[name]) for one in by_seed] for name in names}
    bad = [name for name, numbers in values.items() if not all(map(math.isfinite, numbers))]
    if bad:
        raise ResultsError(
            f"metrics: expected finite numbers, found NaN or infinity in {', '.join(bad)}"
        )
    entry: dict = {name: sum(numbers) / len(numbers) for name, numbers in values.items()}
    entry["by_seed"] = values
    entry["intervals"] = {name: interval(numbers) for name, numbers in values.items()}
    return entry


def metrics_table(
    metrics: dict, columns: dict[str, str], digits: dict[str, int], path: Path | str = "metrics"
) -> str:
    """A Markdown table of metrics.json: a row a model, a column a name, "mean ± half-width of the 95 % interval".

    A figure that some model does not have is a dash; one that none has is a ResultsError, which names `path`.
    """
    models = [name for name in metrics if name != "protocol"]
    if missing := [name for name in columns if not any(name in metrics[model] for model in models)]:
        raise ResultsError(
            f"{path}: expected {', '.join(missing)}, found them of no model; run: python -m unbraid evaluate --write"
        )
    lines = ["| model | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
    for model in models:
        cells = [_cell(metrics[model], name, digits.get(name, 2)) for name in columns]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(entry: dict, name: str, digits: int) -> str:
    if name not in entry:
        return "–"
    interval = entry["intervals"].get(name)
    spread = f" ± {(interval[1] - interval[0]) / 2:.{digits}f}" if interval else ""
    return f"{entry[name]:.{digits}f}{spread}".replace("-", "−")


def equal_state(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two sets of tensors agree bit for bit."""
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def verify(folder: Path) -> list[str]:
    """Faults of a results folder, a line each: weights against their records, the form of metrics."""
    records, metrics = (sorted(folder.rglob(name)) for name in ("*.run.json", "metrics.json"))
    if not records and not metrics:
        raise ResultsError(f"{folder}: expected results, found none; is it the right folder?")
    faults = []
    for path in [*records, *metrics]:
        try:
            content = read_json(path)
        except ResultsError as error:
            faults.append(str(error))
            continue
        if path in metrics:
            faults += [f"{path}: {fault}" for fault in form_faults(content)]
            continue
        weights = path.with_name(path.name.replace(".run.json", ".safetensors"))
        if "weights_sha256" not in content:
            faults.append(f"{path}: expected weights_sha256, found none")
        elif weights.exists() and digest(weights) != content["weights_sha256"]:
            faults.append(
                f"{weights}: expected SHA-256 {content['weights_sha256']}, found {digest(weights)}"
            )
    for path in sorted(folder.rglob("*.safetensors")):
        if not path.with_name(path.stem + ".run.json").exists():
            faults.append(f"{path}: expected a record beside it, found none")
    return faults


def form_faults(metrics: dict) -> list[str]:
    """How a metrics.json departs from the one form of all parts: mean, by_seed and intervals under the same names.

    by_seed has a value for each of the protocol's seeds, or for a model with others for each of its own under seeds_of.
    """
    faults = [] if "protocol" in metrics else ["expected an entry protocol, found none"]
    for model, entry in metrics.items():
        if model == "protocol":
            continue
        names = {name for name in entry if name not in ("by_seed", "intervals")}
        for part in ("by_seed", "intervals"):
            if set(entry.get(part, {})) != names:
                faults.append(
                    f"{model}.{part}: expected the names {sorted(names)}, found {sorted(entry.get(part, {}))}"
                )
        protocol = metrics.get("protocol", {})
        for name, values in entry.get("by_seed", {}).items():
            if not values or len(values) != len(
                protocol.get("seeds_of", {}).get(model, protocol.get("seeds", values))
            ):
                faults.append(
                    f"{model}.by_seed.{name}: expected a value a seed, found {len(values)}"
                )
            elif name in names and abs(sum(values) / len(values) - entry[name]) > 1e-9 * max(
                1, abs(entry[name])
            ):
                faults.append(
                    f"{model}.{name}: expected the mean of its seeds, found {entry[name]}"
                )
    return faults
