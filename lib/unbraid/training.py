"""fit(): the one training loop of the course, on Lightning Fabric. It logs, checkpoints and resumes bit for bit."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from unbraid import results
from unbraid.models.interface import Bound, SequenceModel


HELD = 0.02  # weight of a divergence that waits: enough to keep a posterior that says nothing yet near its prior
TERMS = ("elbo_per_frame", "log_likelihood_per_frame", "kl_per_frame")


class TrainingError(RuntimeError):
    """A run that diverged, or a checkpoint that belongs to another run."""


def fit(
    model: SequenceModel,
    draw: Callable[[int, torch.Generator], Tensor],
    settings,
    seed: int = 0,
    folder: Path | None = None,
    name: str = "model",
    precision: str = "32-true",
    log_every: int = 50,
    checkpoint_every: int = 500,
    report: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Train by maximising the bound per frame, and return the training curve.

    model: any SequenceModel; it is trained in place. draw(count, generator): frames (count, T, C, H, W); or a tuple of them and
    what else the model's forward takes, such as a mask.
    settings: batch_size, steps, learning_rate, decay, decay_every (see profiles.toml); and where they are there, kl_warm_up: the
    share of the updates over which the divergences' weight rises to 1; <code>_kl_warm_up: the shares between which that of one
    code's divergence does; cool_down: the share, at the end, over which the rate falls to 0; second_moment_decay: Adam's. What is
    logged is the bound all the same, also where the model weighs its terms (`Bound.objective`).
    seed: of the data and of the posterior's noise (the weights' own seed is the caller's).
    folder, name: where <name>.checkpoint lives; a run that finds one goes on from it. None: no checkpoint.
    log_every, checkpoint_every: in updates; a checkpoint is written where both divide the step, and at the end.
    precision: Lightning Fabric's, e.g. "bf16-mixed". report: called with each row of the curve.

    A row holds step, sequences, seconds, elbo_per_frame, log_likelihood_per_frame, kl_per_frame: means over the
    steps since the last row, in nats.
    """
    fabric = Fabric(accelerator="auto", devices=1, precision=precision)
    decays = (0.9, getattr(settings, "second_moment_decay", 0.999))
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, betas=decays)
    model.to(
        memory_format=torch.channels_last
    )  # what the convolutions of this course run fastest in
    wrapped, wrapped_optimizer = fabric.setup(model, optimizer)
    data_noise = torch.Generator().manual_seed(seed)
    code_noise = torch.Generator(device=fabric.device).manual_seed(seed + 1)
    path = folder / f"{name}.checkpoint" if folder else None
    rows, done, spent = [], 0, 0.0
    for stray in folder.glob(f".{name}.checkpoint.*") if folder else ():
        stray.unlink()  # what a run killed in the middle of writing has left
    if path is not None and path.exists():
        rows, done, spent = load_checkpoint(
            path, settings, seed, model, optimizer, data_noise, code_noise
        )
    model.train()
    cool_down = getattr(settings, "cool_down", 0.0) * settings.steps
    sums, counted, started = torch.zeros(3, device=fabric.device), 0, time.perf_counter() - spent
    for step in tqdm(
        range(done + 1, settings.steps + 1),
        initial=done,
        total=settings.steps,
        desc=name,
        disable=None,
    ):
        model.begin(step)
        batch = draw(settings.batch_size, data_noise)
        frames, *more = (
            part.to(fabric.device) for part in (batch if isinstance(batch, tuple) else (batch,))
        )
        bound: Bound = wrapped(frames, code_noise, *more)
        likelihood, divergence = (
            bound.log_likelihood.mean() / bound.frames,
            sum(bound.kl.values()).mean() / bound.frames,
        )
        weight = kl_weight(settings, step / settings.steps)
        gain, cost = (
            (term.mean() / bound.frames for term in bound.objective)
            if bound.objective
            else (likelihood, divergence)
        )
        loss = (
            weight * cost - gain
        )  # once warmed up, the bound per frame, its sign turned, or the model's own objective
        for code, term in bound.kl.items():
            if other := kl_weight(settings, step / settings.steps, code) - weight:
                loss = loss + other * term.mean() / bound.frames
        optimizer.param_groups[0]["lr"] = settings.learning_rate * settings.decay ** (
            step * settings.batch_size // settings.decay_every
        )
        if cool_down:
            optimizer.param_groups[0]["lr"] *= min(1.0, (settings.steps + 1 - step) / cool_down)
        wrapped_optimizer.zero_grad()
        fabric.backward(loss)
        wrapped_optimizer.step()
        sums += torch.stack([likelihood - divergence, likelihood, divergence]).detach()
        counted += 1
        if step % log_every == 0 or step == settings.steps:
            means = dict(zip(TERMS, (sums / counted).tolist()))
            if not all(map(math.isfinite, means.values())):
                raise TrainingError(
                    f"{name}: the bound stopped being finite by step {step}; lower learning_rate or look at the data"
                )
            rows.append(
                {
                    "step": step,
                    "sequences": step * settings.batch_size,
                    "seconds": round(time.perf_counter() - started, 3),
                    **means,
                }
            )
            sums.zero_()
            counted = 0
            if report:
                report(rows[-1])
            if path is not None and (step % checkpoint_every == 0 or step == settings.steps):
                save_checkpoint(
                    path, settings, seed, model, optimizer, data_noise, code_noise, rows
                )
    model.eval()
    return rows


def kl_weight(settings, share: float, code: str = "") -> float:
    """The weight of the divergences after this share of the updates, or of one code's, where it has its own.

    kl_warm_up is the share over which it rises from 0 to 1; <code>_kl_warm_up the two shares between which it rises from `HELD` to 1.
    """
    if between := getattr(settings, f"{code}_kl_warm_up", None) if code else None:
        first, last = between
        return HELD + (1 - HELD) * min(1.0, max(0.0, (share - first) / (last - first)))
    warm_up = getattr(settings, "kl_warm_up", 0.0)
    return min(1.0, share / warm_up) if warm_up else 1.0


def identity(settings, seed: int) -> str:
    """What a checkpoint must share with the run that goes on from it."""
    return repr(sorted({**settings.as_dict(), "seed": seed}.items()))


def save_checkpoint(path, settings, seed, model, optimizer, data_noise, code_noise, rows) -> None:
    """All that the run needs to go on, in one safetensors file, written atomically. No pickle."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()
        }
    tensors["noise.data"], tensors["noise.codes"] = data_noise.get_state(), code_noise.get_state()
    for column in rows[0]:
        tensors[f"rows.{column}"] = torch.tensor([row[column] for row in rows], dtype=torch.float64)
    results.save_tensors(
        path, tensors, {"run": identity(settings, seed), "contents": results.contents(tensors)}
    )


def load_checkpoint(
    path, settings, seed, model, optimizer, data_noise, code_noise
) -> tuple[list[dict], int, float]:
    """Put a checkpoint back; returns the curve so far, the last step and the seconds spent."""
    from safetensors import safe_open

    tensors = results.load_tensors(path)
    with safe_open(path, "pt") as file:
        written = file.metadata() or {}
    if written.get("run") != identity(settings, seed):
        raise TrainingError(
            f"{path}: expected a checkpoint of these settings and this seed, found one of {written.get('run')}; delete it to start anew"
        )
    if written["contents"] != results.contents(tensors):
        raise results.ResultsError(
            f"{path}: expected the values it was written with, found others (a damaged disk?); delete it to start anew"
        )
    model.load_state_dict(
        {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}
    )
    states: dict[int, dict] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            states.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(
        {"state": states, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    data_noise.set_state(tensors["noise.data"])
    code_noise.set_state(tensors["noise.codes"])
    columns = {
        name[5:]: value.tolist() for name, value in tensors.items() if name.startswith("rows.")
    }
    order = ("step", "sequences", "seconds", *TERMS)
    rows = [
        {name: int(columns[name][i]) if name in order[:2] else columns[name][i] for name in order}
        for i in range(len(columns["step"]))
    ]
    return rows, rows[-1]["step"], rows[-1]["seconds"]


def run_record(
    command: str,
    settings,
    seed: int,
    rows: list[dict],
    precision: str,
    data: str,
    data_digests: dict,
    weights: str,
) -> dict:
    """run.json: command, settings, device, versions, data and weights, so that the run can be made again."""
    cuda = torch.cuda.is_available()
    return {
        "command": command,
        "profile": settings.profile,
        "seed": seed,
        "settings": settings.as_dict(),
        "device": torch.cuda.get_device_name()
        if cuda
        else f"CPU, {platform.machine()}, {torch.get_num_threads()} threads",
        "precision": precision,
        "versions": versions(),
        "data": data,
        "data_sha256": data_digests,
        "steps": rows[-1]["step"],
        "seconds": round(rows[-1]["seconds"], 1),
        "weights_sha256": weights,
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in ("unbraid", "torch", "numpy", "lightning-fabric")},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a GPU machine may carry Fabric inside the package lightning
        return "not installed under this name"
