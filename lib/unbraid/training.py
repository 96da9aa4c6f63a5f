"""fit(): the one training loop of the course. It logs, checkpoints and resumes bit for bit."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from unbraid import results
from unbraid.models.base import Batch, Bound, SequenceModel
from unbraid.progress import progress_bar

TERMS = ("elbo_per_frame", "log_likelihood_per_frame", "kl_per_frame")
PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "64-true")  # In float16 the bound overflows.
COLUMNS = ("step", "sequences", "seconds", *TERMS)


class TrainingError(RuntimeError):
    """A run that diverged, or a checkpoint that belongs to another run."""


def fit(
    model: SequenceModel,
    draw: Callable[[int, torch.Generator], Tensor | Batch],
    settings,
    seed: int = 0,
    checkpoint: Path | None = None,
    precision: str = "32-true",
    every: int | None = None,
    report: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Train a model in place by maximising its weighted bound; return the training curve.

    draw(count, generator): a batch of `count` sequences, as `Batch.of` takes it. Its digests, if
        it has that attribute, say which data a checkpoint must be of.
    settings: a `Settings` of profiles.toml, or an object with as_dict(), batch_size, steps,
        second_moment_decay (Adam's beta_2), weight_interpolation, and what `learning_rate` and
        `term_weights` below read. gradient_norm is optional: longer gradients are shortened to it.
    seed: the seed of the data and of the posterior's noise. The caller has seeded the weights.
    checkpoint: a file that is written with each row of the curve. A run that finds it goes on
        from it and ends in the same bits as one that was never interrupted.
    precision: one of `PRECISIONS`, as Lightning Fabric names them.
    every: the number of updates between two rows of the curve; by default a fiftieth of the run.
    report: a function that is called with each new row.

    A row holds `COLUMNS`: means over the updates since the last row, in nats, whatever the loss
    weights. Raises `TrainingError` where the bound stops being finite, or the checkpoint is of
    another run.
    """
    from lightning_fabric import Fabric  # It is imported late, because that takes a second.

    fabric = Fabric(accelerator="auto", devices=1, precision=precision)
    betas = (0.9, settings.second_moment_decay)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate(settings, 1), betas=betas)
    model.to(memory_format=torch.channels_last)  # convolutions run fastest in this layout
    wrapped_model, wrapped_optimizer = fabric.setup(model, optimizer)

    data_noise = torch.Generator().manual_seed(seed)
    code_noise = torch.Generator(device=fabric.device).manual_seed(seed + 1)
    # The unwrapped model and optimizer name their tensors without Fabric's prefixes.
    data = getattr(draw, "digests", None)
    identity = select_decisive(settings) | {"seed": seed, "precision": precision, "data": data}
    run = Run(model, optimizer, data_noise, code_noise, identity)
    rows = run.resume(checkpoint) if checkpoint else []
    first = rows[-1]["step"] + 1 if rows else 1
    log = Log(rows[-1]["seconds"] if rows else 0.0, settings.batch_size)
    every = every or max(1, settings.steps // 50)
    longest = getattr(settings, "gradient_norm", None)

    model.train()
    steps = range(first, settings.steps + 1)
    for step in progress_bar(steps, "updates", initial=first - 1, total=settings.steps):
        optimizer.param_groups[0]["lr"] = learning_rate(settings, step)
        model.advance((step - 1) / settings.steps)

        batch = Batch.of(draw(settings.batch_size, data_noise)).to(fabric.device)
        bound = wrapped_model(batch, code_noise)  # `SequenceModel.forward` computes the bound
        loss = bound.loss(term_weights(settings, step))

        wrapped_optimizer.zero_grad()
        fabric.backward(loss)
        if longest:
            torch.nn.utils.clip_grad_norm_(model.parameters(), longest)
        wrapped_optimizer.step()

        log.add(bound)  # always the bound itself, whatever the loss weights
        if step % every == 0 or step == settings.steps:
            rows.append(log.row(step))
            if report:
                report(rows[-1])
            if checkpoint:
                run.save(checkpoint, rows)
    model.eval()
    return rows


def select_decisive(settings) -> dict:
    """The settings that decide a run: all but its seeds, its section and those of evaluations."""
    values = {}
    for name, value in settings.as_dict().items():
        if name not in ("seeds", "section") and not name.startswith("evaluation_"):
            values[name] = value
    return values


def learning_rate(settings, step: int) -> float:
    """The learning rate of one update.

    It is the schedule's value, multiplied by `decay` once for every `decay_every` sequences seen.
    """
    rate = schedule_value(settings.learning_rate, (step - 1) / settings.steps)
    return rate * settings.decay ** (step * settings.batch_size // settings.decay_every)


def term_weights(settings, step: int) -> dict[str, float]:
    """The weights of the bound's terms at one update, by the names that `Bound.loss` knows.

    Every setting that ends in _weight is a schedule: static_kl_weight weighs KL(static),
    log_likelihood_weight the likelihood. Where weight_interpolation is "logarithmic", a weight
    changes by equal factors, and not by equal amounts, between two knots. weight_cycles is
    optional: the schedules are gone through so many times, and their shares are of one cycle.
    """
    logarithmic = settings.weight_interpolation == "logarithmic"
    share = step / settings.steps
    if (cycles := getattr(settings, "weight_cycles", 1)) > 1:
        share = share * cycles + 1 - math.ceil(share * cycles)  # a cycle's last update has 1
    weights = {}
    for name, schedule in settings.as_dict().items():
        if name.endswith("_weight"):
            weight = schedule_value(schedule, share, logarithmic)
            weights[name.removesuffix("_weight")] = weight
    return weights


def schedule_value(schedule: float | list, share: float, logarithmic: bool = False) -> float:
    """The value that a schedule has after a share of the run.

    A schedule is a number, or knots [[share, value], ...] between which values are interpolated.
    """
    if isinstance(schedule, (int, float)):
        return float(schedule)
    shares, values = np.array(schedule, dtype=float).T
    if logarithmic:
        return float(np.exp(np.interp(share, shares, np.log(values))))
    return float(np.interp(share, shares, values))


class Log:
    """Means of the bound's terms over the updates since the last row of the training curve."""

    def __init__(self, seconds_before: float, batch_size: int):
        self.started = time.perf_counter() - seconds_before
        self.batch_size = batch_size
        self.bounds: list[Tensor] = []

    def add(self, bound: Bound) -> None:
        """Keep the mean terms of one batch, in nats per frame."""
        likelihood = bound.log_likelihood.detach().mean() / bound.frames
        divergence = sum(bound.kl.values()).detach().mean() / bound.frames
        self.bounds.append(torch.stack([likelihood - divergence, likelihood, divergence]))

    def row(self, step: int) -> dict:
        """The next row of the curve; `TrainingError` where the bound is not finite any more."""
        means = torch.stack(self.bounds).mean(0).tolist()
        self.bounds.clear()
        if not all(map(math.isfinite, means)):
            raise TrainingError(
                f"bound: expected finite numbers, found {means[0]} by update {step}; "
                "lower learning_rate or look at the data"
            )
        seconds = round(time.perf_counter() - self.started, 3)
        return make_row(step, step * self.batch_size, seconds, *means)


def make_row(step: float, sequences: float, *values: float) -> dict:
    """A row of the training curve from its values in the order of COLUMNS."""
    return dict(zip(COLUMNS, (int(step), int(sequences), *values), strict=True))


class Run:
    """All that a training run needs to go on after an interruption, as one safetensors file."""

    def __init__(self, model, optimizer, data_noise, code_noise, identity: dict):
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
        metadata = {"run": json.dumps(self.identity), "contents": results.contents(tensors)}
        results.save_tensors(path, tensors, metadata)

    def resume(self, path: Path) -> list[dict]:
        """Put a checkpoint back and return its curve; an empty curve where there is no file.

        Raises `TrainingError` for a checkpoint of other settings, another seed or older code,
        `ResultsError` for a damaged one.
        """
        for temporary in path.parent.glob(f".{path.name}.*"):
            temporary.unlink()  # A run that was killed while it was writing has left this file.
        if not path.exists():
            return []
        tensors = results.load_tensors(path)
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        self.check_identity(path, metadata.get("run", ""))
        if metadata.get("contents") != results.contents(tensors):
            raise results.ResultsError(
                f"{path}: expected the values it was written with, found others; "
                "delete it to start anew"
            )
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
        values = results.load_tensors(checkpoint)["rows"].tolist()
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


def run_record(command: str, settings, seed: int, rows: list[dict], **more) -> dict:
    """run.json: the command, settings, device and versions with which a run can be made again.

    more: what else the record holds, such as precision, data, data_sha256 and weights_sha256.
    """
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else describe_cpu()
    return {
        "command": command,
        "profile": settings.profile,
        "seed": seed,
        "settings": settings.as_dict(),
        "device": device,
        "versions": read_versions(),
        "steps": rows[-1]["step"],
        "seconds": round(rows[-1]["seconds"], 1),
        **more,
    }


def describe_cpu() -> str:
    """The processor, as a record names it."""
    return f"CPU, {platform.machine()}, {torch.get_num_threads()} threads"


def read_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers."""
    versions = {"python": platform.python_version()}
    for package in ("unbraid", "torch", "numpy", "lightning-fabric"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # a GPU machine may carry Fabric inside the package lightning
            versions[package] = "not installed under this name"
    return versions
