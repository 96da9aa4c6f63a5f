"""Checkpoints: a run that was interrupted goes on and ends in the same bits."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Generator, Tensor, nn

from unbraid import store

TERMS = ("elbo_per_frame", "log_likelihood_per_frame", "kl_per_frame")
COLUMNS = ("step", "sequences", "seconds", *TERMS)
"""Of a training curve: the update, the sequences and seconds up to it, and terms in nats."""


class TrainingError(RuntimeError):
    """A run that diverged, or a checkpoint that belongs to another run."""


def make_row(step: float, sequences: float, *values: float) -> dict:
    """A row of the training curve from its values in the order of COLUMNS."""
    return dict(zip(COLUMNS, (int(step), int(sequences), *values), strict=True))


class Run:
    """All that a training run needs to go on after an interruption, as one safetensors file."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        data_noise: Generator,
        code_noise: Generator,
        identity: dict,
    ):
        self.model, self.optimizer = model, optimizer
        self.generators = {"data": data_noise, "codes": code_noise}
        self.identity = identity  # A run only goes on from a checkpoint of the same.

    def save(self, path: Path, rows: list[dict]) -> None:
        """Write weights, optimizer, generators and curve, atomically and without pickle."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer.{index}.{name}"] = value
        for name, generator in self.generators.items():
            tensors[f"noise.{name}"] = generator.get_state()
        values = [list(row.values()) for row in rows]
        tensors["rows"] = torch.tensor(values, dtype=torch.float64)  # (rows, columns)
        metadata = {"run": json.dumps(self.identity), "contents": store.contents(tensors)}
        store.save_tensors(path, tensors, metadata)

    def resume(self, path: Path) -> list[dict]:
        """Put a checkpoint back and return its curve; an empty curve where there is no file.

        Raises `TrainingError` for a checkpoint of other settings, another seed or older code,
        `ResultsError` for a damaged one.
        """
        for temporary in path.parent.glob(f".{path.name}.*"):
            # A run that was killed while it was writing has left this file.
            temporary.unlink(missing_ok=True)  # Another process of this run may have been faster.
        if not path.exists():
            return []
        tensors = store.load_tensors(path)
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        self.check_identity(path, metadata.get("run", ""))
        if metadata.get("contents") != store.contents(tensors):
            raise store.ResultsError(
                f"{path}: expected the values it was written with, found others; "
                "delete it to start anew"
            )
        self.check_device(path, tensors)
        moments: dict[int, dict[str, Tensor]] = {}  # of each parameter, by its number
        for key, value in select(tensors, "optimizer.").items():
            index, name = key.split(".")
            moments.setdefault(int(index), {})[name] = value
        try:
            self.model.load_state_dict(select(tensors, "model."))
            self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
            for name, generator in self.generators.items():
                generator.set_state(tensors[f"noise.{name}"])
        except (KeyError, RuntimeError) as error:
            raise older_code(path) from error
        return read_rows(path)

    def check_device(self, path: Path, tensors: dict[str, Tensor]) -> None:
        """Refuse noise that a generator of another kind of device has drawn."""
        generator, state = self.generators["codes"], tensors.get("noise.codes")
        if state is not None and state.shape != generator.get_state().shape:
            raise TrainingError(
                f"{path}: expected a checkpoint of a run on a {generator.device.type}, found one "
                "of another device, which draws other numbers; go on with its --accelerator, or "
                "delete it to start anew"
            )

    def check_identity(self, path: Path, written: str) -> None:
        """Refuse a checkpoint of another run, and name what differs."""
        try:
            theirs = json.loads(written)
        except ValueError as error:
            raise older_code(path) from error
        ours = json.loads(json.dumps(self.identity))  # tuples become lists, as in the file
        differences = []
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                found = f"{name} {theirs.get(name)} (of this run: {ours.get(name)})"
                differences.append(found)
        if differences:
            raise TrainingError(
                f"{path}: expected a checkpoint of this run, found one with "
                f"{', '.join(differences)}; delete it to start anew"
            )


def read_rows(checkpoint: Path) -> list[dict]:
    """The training curve that a checkpoint holds."""
    try:
        values = store.load_tensors(checkpoint)["rows"].tolist()
        return [make_row(*row) for row in values]
    except (KeyError, ValueError) as error:
        raise older_code(checkpoint) from error


def older_code(path: Path) -> TrainingError:
    """What is said of a checkpoint that lacks what this code writes."""
    return TrainingError(
        f"{path}: expected a checkpoint of this version, found one of older code; "
        "delete it to start anew"
    )


def select(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with a prefix; the prefix is cut off their names."""
    chosen = (name for name in tensors if name.startswith(prefix))
    return {name.removeprefix(prefix): tensors[name] for name in chosen}
