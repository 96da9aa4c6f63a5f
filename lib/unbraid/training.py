"""fit(): the one training loop of the course. It logs, checkpoints and resumes bit for bit."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Generator, Tensor

from unbraid.checkpoint import Run, TrainingError, make_row
from unbraid.checks import check_name, check_whole
from unbraid.models.base import Batch, BatchLike, Bound, SequenceModel
from unbraid.progress import progress_bar
from unbraid.schedules import Curve, describe_schedule, schedule_value

ACCELERATORS = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "64-true")  # In float16 the bound overflows.


def fit(  # noqa: PLR0913 - all but the first two go by name
    model: SequenceModel,
    draw: Callable[[int, Generator], BatchLike],
    *,
    steps: int,
    batch_size: int,
    learning_rate: Curve = 1e-3,
    weights: Mapping[str, Curve] | None = None,
    betas: tuple[float, float] = (0.9, 0.999),
    gradient_norm: float | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    identity: Mapping[str, object] | None = None,
    precision: str = "32-true",
    accelerator: str = "auto",
    every: int | None = None,
    report: Callable[[dict], None] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> list[dict]:
    """Train a model in place by maximising its weighted bound; return the training curve.

    draw(count, generator): a batch of `count` sequences, as `Batch.of` takes it. Its digests, if
        it has that attribute, say which data a checkpoint must be of.
    steps: updates. batch_size: sequences behind each.
    learning_rate: Adam's; a number or a schedule, of the share of the run that is over before an
        update. A schedule is knots [[share, value], ...], or a function of the share.
    weights: of the bound's terms, by the names that `Bound.loss` knows; numbers or schedules, of
        the share that is over after an update.
    betas: Adam's decays of its two moments. gradient_norm: longer gradients are shortened to it.
    seed: the seed of the data and of the posterior's noise. The caller has seeded the weights.
    checkpoint: a file that is written with each row of the curve. A run that finds it goes on
        from it and ends in the same bits as one that was never interrupted.
    identity: what a checkpoint must agree in beside these arguments and the model's config, such as
        how the data were chosen; values that JSON can hold.
    precision: one of `PRECISIONS`, as Lightning Fabric names them.
    accelerator: one of `ACCELERATORS`. "auto" takes a CUDA GPU where there is one, else the CPU;
        "mps", the GPU of Apple silicon, is only taken when it is asked for.
    every: the number of updates between two rows of the curve; by default a fiftieth of the run.
    report: a function that is called with each new row.
    on_progress: a function that is called before each update with the share that is over.

    A row holds `COLUMNS`: means over the updates since the last row, in nats, whatever the loss
    weights. Raises `TrainingError` where the bound stops being finite, the checkpoint is of
    another run, or several processes were started to train together.
    """
    from lightning_fabric import Fabric  # It is imported late, because that takes a second.

    check_whole(1, steps=steps, batch_size=batch_size)
    check_name("precision", precision, PRECISIONS)
    accelerator = choose_accelerator(accelerator)
    weights = dict(weights or {})
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    rate = schedule_value(learning_rate, 0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=betas)
    model.to(memory_format=torch.channels_last)  # convolutions run fastest in this layout
    wrapped_model, wrapped_optimizer = fabric.setup(model, optimizer)

    data_noise = torch.Generator().manual_seed(seed)
    code_noise = torch.Generator(device=fabric.device).manual_seed(seed + 1)
    arguments = {
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": describe_schedule(learning_rate),
        "betas": betas,
        "gradient_norm": gradient_norm,
        "seed": seed,
        "precision": precision,
        "data": getattr(draw, "digests", None),
    }
    for name, weight in weights.items():
        arguments[f"weights.{name}"] = describe_schedule(weight)
    # The unwrapped model and optimizer name their tensors without Fabric's prefixes.
    whole_identity = arguments | identify_model(model) | dict(identity or {})
    run = Run(model, optimizer, data_noise, code_noise, whole_identity)
    rows = run.resume(checkpoint) if checkpoint else []
    first = rows[-1]["step"] + 1 if rows else 1
    log = Log(rows[-1]["seconds"] if rows else 0.0, batch_size)
    every = every or max(1, steps // 50)

    model.train()
    updates = range(first, steps + 1)
    for step in progress_bar(updates, "updates", initial=first - 1, total=steps):
        before, after = (step - 1) / steps, step / steps
        optimizer.param_groups[0]["lr"] = schedule_value(learning_rate, before)
        if on_progress:
            on_progress(before)

        batch = Batch.of(draw(batch_size, data_noise)).to(fabric.device)
        bound = wrapped_model(batch, code_noise)  # `SequenceModel.forward` computes the bound
        now = {name: schedule_value(weight, after) for name, weight in weights.items()}
        loss = bound.loss(now)

        wrapped_optimizer.zero_grad()
        fabric.backward(loss)
        if gradient_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), gradient_norm)
        wrapped_optimizer.step()

        log.add(bound)  # always the bound itself, whatever the loss weights
        if step % every == 0 or step == steps:
            rows.append(log.row(step))
            if report:
                report(rows[-1])
            if checkpoint:
                run.save(checkpoint, rows)
    model.eval()
    return rows


def choose_accelerator(accelerator: str) -> str:
    """The accelerator as Fabric names it; refuses other names, and several processes.

    Raises `TrainingError` where WORLD_SIZE, which torchrun sets, is above 1.
    """
    check_name("accelerator", accelerator, ACCELERATORS)
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes not in ("", "0", "1"):
        raise TrainingError(
            "WORLD_SIZE: expected 1, because fit trains in one process and each would train the "
            f"same model anew, found {processes}; start it without torchrun, one process for a run"
        )
    is_apple = torch.backends.mps.is_available() and not torch.cuda.is_available()
    if accelerator == "auto" and is_apple:
        tell_of_apple()
        return "cpu"
    return accelerator


@cache
def tell_of_apple() -> None:
    """Say once where a model is trained on Apple silicon, and how to train it elsewhere."""
    print(
        'training on the CPU; accelerator="mps" tries Apple\'s GPU, on which nothing was measured'
    )


def identify_model(model: SequenceModel) -> dict[str, object]:
    """The class and the config of a model, by which a checkpoint knows it."""
    described = {"model": type(model).__name__}
    config = getattr(model, "config", None)
    if is_dataclass(config):
        described |= {f"model.{name}": value for name, value in asdict(config).items()}
    return described


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
