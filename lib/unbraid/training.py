"""fit(): the one training loop of the course. It logs, checkpoints and resumes bit for bit."""

from __future__ import annotations

import atexit
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from unbraid import parallel
from unbraid.checkpoint import Run, TrainingError, make_row
from unbraid.checks import check_name, check_whole
from unbraid.models.base import Batch, BatchLike, Bound, SequenceModel
from unbraid.progress import progress_bar
from unbraid.replay import Replay
from unbraid.schedules import Curve, describe_schedule, schedule_value

if TYPE_CHECKING:
    from lightning_fabric import Fabric

ACCELERATORS = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "64-true")  # In float16 the bound overflows.
PATIENCE = timedelta(minutes=10)  # with a process that does not answer


@parallel.end_together()
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
    devices: int = 1,
    num_nodes: int = 1,
    synchronise: bool = True,
    accumulate: int = 1,
    replay: bool = False,
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
    devices, num_nodes: processes of each machine, one a device, and machines; see below.
    synchronise: whether batch normalisation takes the statistics of the whole batch, over all
        processes. False is faster, but the gradient becomes another one, and the results depend on
        the number of processes.
    accumulate: the parts, one after the other, in which each process works through its share of a
        batch, for a device that does not hold it. The gradient is the same but for the order of its
        sums, except that batch normalisation has the statistics of a part.
    replay: whether the fourth update is recorded as a CUDA graph, and replayed from then on, see
        `Replay`. Small networks train several times as fast on a GPU. Not for models that change in
        training other than by their weights, for batches with masks, and for several processes.
    every: the number of updates between two rows of the curve; by default a fiftieth of the run.
    report: a function that is called with each new row.
    on_progress: a function that is called before each update with the share that is over.

    Several processes divide each batch, and see the data and the noise that one process sees. A
    script that asks for `devices` is started again for each of them, from its first line on;
    torchrun and SLURM start them themselves. Every process calls `fit`; the first one alone writes
    the checkpoint, calls `report` and shows progress, and all read the checkpoint from the same
    folder. A run goes on with another number of processes. All parameters must have a gradient.

    A row holds `COLUMNS`: means over the updates since the last row, in nats, whatever the loss
    weights. Raises `TrainingError` where the bound stops being finite, the checkpoint is of
    another run, the batch or its noise cannot be divided, or another process has ended.
    """
    check_whole(1, steps=steps, batch_size=batch_size, accumulate=accumulate)
    weights = dict(weights or {})
    fabric = start_processes(accelerator, devices, num_nodes, precision)
    parts = parallel.divide(batch_size, fabric.world_size, accumulate)[fabric.global_rank]
    rate = schedule_value(learning_rate, 0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=betas)
    model.to(memory_format=torch.channels_last)  # convolutions run fastest in this layout
    if replay:
        check_replay(fabric, on_progress)
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
        "batch_normalisation_parts": parallel.count_statistics(
            model, accumulate, 1 if synchronise else fabric.world_size
        ),
    }
    for name, weight in weights.items():
        arguments[f"weights.{name}"] = describe_schedule(weight)
    # The unwrapped model and optimizer name their tensors without Fabric's prefixes.
    whole_identity = arguments | identify_model(model) | dict(identity or {})
    run = Run(model, optimizer, data_noise, code_noise, whole_identity)
    rows = run.resume(checkpoint) if checkpoint else []
    first = rows[-1]["step"] + 1 if rows else 1
    parallel.check_same_update(fabric, first)
    log = Log(rows[-1]["seconds"] if rows else 0.0, batch_size)
    every = every or max(1, steps // 50)

    model.train()
    updates = range(first, steps + 1)
    if fabric.is_global_zero:
        updates = progress_bar(updates, "updates", initial=first - 1, total=steps)
    with parallel.divided(model, code_noise, parts, synchronise, fabric.world_size) as noise:
        update = Update(fabric, wrapped_model, wrapped_optimizer, noise, parts, gradient_norm)
        if replay:
            update = Replay(update, optimizer, code_noise, list_changing(weights))
        for step in updates:
            before, after = (step - 1) / steps, step / steps
            set_rate(optimizer, schedule_value(learning_rate, before))
            if on_progress:
                on_progress(before)

            batch = Batch.of(draw(batch_size, data_noise))
            now = {name: schedule_value(weight, after) for name, weight in weights.items()}
            log.add(update(batch, now))

            if step % every == 0 or step == steps:
                rows.append(log.row(step, fabric))
                if report and fabric.is_global_zero:
                    report(rows[-1])
                if checkpoint and fabric.is_global_zero:
                    run.save(checkpoint, rows)
        fabric.barrier()  # Whoever returns finds the last checkpoint.
    model.eval()
    return rows


def start_processes(
    accelerator: str = "auto", devices: int = 1, num_nodes: int = 1, precision: str = "32-true"
) -> Fabric:
    """Lightning Fabric, in as many processes as `fit` is to train with; these are its arguments.

    Processes are started once. A later call finds those that are there.
    """
    from lightning_fabric import Fabric  # It is imported late, because that takes a second.
    from lightning_fabric.strategies import DDPStrategy

    # Otherwise every process prints that it has begun.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    check_whole(1, devices=devices, num_nodes=num_nodes)
    check_name("precision", precision, PRECISIONS)
    accelerator = choose_accelerator(accelerator)
    devices, num_nodes = parallel.count_processes(devices, num_nodes)
    if devices * num_nodes == 1:
        return Fabric(accelerator=accelerator, devices=1, precision=precision)
    fabric = Fabric(
        accelerator=accelerator,
        strategy=DDPStrategy(timeout=PATIENCE),
        devices=devices,
        num_nodes=num_nodes,
        precision=precision,
    )
    fabric.launch()
    atexit.unregister(parallel.leave_group)  # so that a second call does not add a second one
    atexit.register(parallel.leave_group)
    return fabric


def choose_accelerator(accelerator: str) -> str:
    """The accelerator as Fabric names it; refuses other names, and what this machine lacks."""
    check_name("accelerator", accelerator, ACCELERATORS)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(accelerator, True):
        raise ValueError(
            f"accelerator: expected one that this machine has, found {accelerator}; "
            "take auto or cpu, or install PyTorch for it"
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


def check_replay(fabric: Fabric, on_progress: Callable[[float], None] | None) -> None:
    """Refuse `replay` where an update cannot be recorded, or would be recorded once for all."""
    if fabric.device.type != "cuda":
        found = f"found {fabric.device.type}"
    elif fabric.world_size > 1:
        found = f"found {fabric.world_size} processes"
    elif on_progress:
        found = "found on_progress, which changes the model from update to update"
    else:
        return
    raise TrainingError(
        f"replay: expected one process on a CUDA GPU and a model that changes by its weights "
        f"alone, {found}; leave replay out"
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give the optimizer a learning rate; a recorded one reads it from a tensor."""
    group = optimizer.param_groups[0]
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def list_changing(weights: Mapping[str, Curve]) -> list[str]:
    """The names of the weights that change during a run."""
    return [name for name, curve in weights.items() if not isinstance(curve, (int, float))]


@dataclass
class Update:
    """One update of a model by its optimizer, on a batch in as many parts as are asked for.

    The model and its optimizer are wrapped by Fabric. noise: of the parts of a batch.
    """

    fabric: Fabric
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    noise: parallel.NoiseOfParts
    parts: list[parallel.Part]
    gradient_norm: float | None

    def __call__(self, batch: Batch, weights: Mapping[str, float | Tensor]) -> Tensor:
        """Train on a whole batch; returns the means of the bound's terms, (3,), as `mean_terms`."""
        fabric, terms = self.fabric, []
        self.optimizer.zero_grad()
        for part in self.parts:
            is_last = part is self.parts[-1]
            with fabric.no_backward_sync(self.model, enabled=not is_last):
                # `SequenceModel.forward` computes the bound.
                bound = self.model(part.of(batch).to(fabric.device), self.noise.of(part))
                loss = part.share * bound.loss(weights)
                # Fabric takes the mean over the processes, and the gradient is their sum.
                fabric.backward(fabric.world_size * loss)
            # What is logged is always the bound itself, whatever the loss weights.
            terms.append(part.share * mean_terms(bound))
        if self.gradient_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.gradient_norm)
        self.optimizer.step()
        return torch.stack(terms).sum(0)


def mean_terms(bound: Bound) -> Tensor:
    """The mean bound, log-likelihood and divergence of a batch in nats per frame, (3,)."""
    likelihood = bound.log_likelihood.detach().mean() / bound.length
    divergence = sum(bound.kl.values()).detach().mean() / bound.length
    return torch.stack([likelihood - divergence, likelihood, divergence])


class Log:
    """Means of the bound's terms over the updates since the last row of the training curve."""

    def __init__(self, seconds_before: float, batch_size: int):
        self.started = time.perf_counter() - seconds_before
        self.batch_size = batch_size
        self.terms: list[Tensor] = []

    def add(self, terms: Tensor) -> None:
        """Keep the terms (3,) of an update, of the rows that this process has of its batch."""
        self.terms.append(terms)

    def row(self, step: int, fabric: Fabric) -> dict:
        """The next row of the curve; `TrainingError` where the bound is not finite any more."""
        means = torch.stack(self.terms).mean(0)
        means = fabric.all_reduce(means, reduce_op="sum").tolist()
        self.terms.clear()
        if not all(map(math.isfinite, means)):
            raise TrainingError(
                f"bound: expected finite numbers, found {means[0]} by update {step}; "
                "lower learning_rate or look at the data"
            )
        seconds = round(time.perf_counter() - self.started, 3)
        return make_row(step, step * self.batch_size, seconds, *means)
