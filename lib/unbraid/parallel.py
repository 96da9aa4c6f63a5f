"""Several processes that train as one: parts of a batch, their noise, and statistics over all.

Data and noise are drawn for the whole batch, with the same generators, in every process, which
then keeps its own rows. So whatever is drawn does not depend on the number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.distributed
from torch import Generator, Tensor, nn

from unbraid.checkpoint import TrainingError
from unbraid.models.base import Batch, Noise, SequenceModel

if TYPE_CHECKING:
    from lightning_fabric import Fabric

REMEDY = "train in one process, without accumulate"


# ---- processes


def count_processes(devices: int, num_nodes: int) -> tuple[int, int]:
    """Processes on each node, and nodes: those asked for, or those torchrun or SLURM has started.

    What these have started counts where both numbers are 1. Raises `TrainingError` where other
    numbers were asked for, or where WORLD_SIZE is above 1 and nobody asks for several processes.
    """
    from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    read = os.environ.get
    starter, started, local = "WORLD_SIZE", int(read("WORLD_SIZE") or 0), 0
    if TorchElasticEnvironment.detect():
        starter, local = "torchrun", int(read("LOCAL_WORLD_SIZE") or started)
    elif SLURMEnvironment.detect():
        starter, started = "SLURM", int(read("SLURM_NTASKS") or 1)
        local = started // int(read("SLURM_NNODES") or 1)
    if local and devices == num_nodes == 1:
        return local, started // local
    if (local or started > 1) and started != devices * num_nodes:
        raise TrainingError(
            f"{starter}: expected devices x num_nodes = {devices} x {num_nodes} processes, found "
            f"{started} started; name as many devices and nodes, or start it without"
        )
    return devices, num_nodes


@contextmanager
def end_together() -> Iterator[None]:
    """Turn the error that follows the end of another process into one sentence.

    Nothing is lost by it, because the checkpoint is that of the last row.
    """
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, torch.distributed.DistError) or "gloo" in str(error)):
            raise
        raise TrainingError(
            "processes: expected all to go on, but another one has ended or does not answer; the "
            "same command goes on from the last checkpoint"
        ) from error


def check_same_update(fabric: Fabric, first: int) -> None:
    """Refuse processes that do not all begin with the same update."""
    theirs = fabric.broadcast(first)  # of the first process
    if first != theirs:
        raise TrainingError(
            "checkpoint: expected a folder that all processes share, found one from which process "
            f"{fabric.global_rank} goes on with update {first} and the first with {theirs}"
        )


def leave_group() -> None:
    """Leave the group of processes, which has to happen while Python still runs.

    Threads of gloo that outlive the interpreter now and then abort the process (SIGABRT).
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


# ---- parts of a batch, and their noise


@dataclass(frozen=True)
class Part:
    """The rows from `start` to before `stop` of a batch of `whole` sequences."""

    start: int
    stop: int
    whole: int

    @property
    def share(self) -> float:
        """Its rows as a share of the whole batch, with which the mean of its loss is weighted."""
        return (self.stop - self.start) / self.whole

    def of(self, batch: Batch) -> Batch:
        """Its sequences of a whole batch."""
        mask = None if batch.mask is None else batch.mask[self.start : self.stop]
        return Batch(batch.frames[self.start : self.stop], mask)


def divide(batch_size: int, processes: int, accumulate: int) -> list[list[Part]]:
    """The parts of each process: neighbouring rows, and sizes that differ by at most 1.

    The gradient is exact whatever the sizes are, because each part counts by its share. Raises
    `TrainingError` where a part would be empty.
    """
    count = processes * accumulate
    if batch_size < count:
        raise TrainingError(
            f"batch_size: expected at least {count}, a sequence for each of {processes} processes "
            f"x {accumulate} parts, found {batch_size}; start fewer, or take larger batches"
        )
    bounds = [batch_size * number // count for number in range(count + 1)]
    parts = [Part(start, stop, batch_size) for start, stop in pairwise(bounds)]
    return [parts[first : first + accumulate] for first in range(0, count, accumulate)]


class NoiseOfParts:
    """The noise of parts of a batch, drawn for the whole of it by the model's own `draw_noise`.

    A model asks for the noise of as many sequences as it is given, or of R times as many where it
    reads a batch R times over, one after the other, as `PublishedSeries` does.
    """

    def __init__(self, model: SequenceModel, generator: Generator, parts: list[Part]):
        self.generator = generator
        self.part = self.first = parts[0]
        self.is_whole = self.first.share == 1
        if self.is_whole:
            return
        if getattr(model, "compares_sequences", False):
            raise TrainingError(
                f"{type(model).__name__}: expected whole batches, because its objective compares "
                f"the sequences of a batch, found parts; {REMEDY}"
            )
        if not hasattr(model, "draw_noise"):
            raise TrainingError(
                "draw_noise: expected a model that draws its noise with it, so that it can be "
                f"divided, found none in {type(model).__name__}; {REMEDY}"
            )
        self.draw_whole = model.draw_noise
        # The model is given a generator that it only hands to its draw_noise.
        self.unread = Generator(generator.device).manual_seed(0)
        self.unread_state = self.unread.get_state()

    def of(self, part: Part) -> Generator:
        """What the model is called with for a part."""
        if self.is_whole:
            return self.generator
        self.check()
        if part is self.first:
            self.before = self.generator.get_state()
        self.generator.set_state(self.before)  # All parts of a batch draw the same numbers.
        self.part = part
        return self.unread

    def draw(self, count: int, length: int, generator: Generator | None = None) -> Noise:
        """As `draw_noise`: the rows of the part at hand of the noise of the whole batch."""
        part = self.part
        times, rest = divmod(count, part.stop - part.start)
        if rest:
            raise TrainingError(
                f"draw_noise: expected a call for {part.stop - part.start} sequences or a multiple "
                f"of them, found {count}, which cannot be divided; {REMEDY}"
            )
        whole = self.draw_whole(times * part.whole, length, self.generator)
        starts = part.whole * torch.arange(times)
        rows = (starts[:, None] + torch.arange(part.start, part.stop)).flatten()
        return {name: values[rows.to(values.device)] for name, values in whole.items()}

    def check(self) -> None:
        """Refuse a model that has drawn from the generator itself."""
        if not torch.equal(self.unread.get_state(), self.unread_state):
            raise TrainingError(
                "draw_noise: expected the model to draw all its noise with it, found numbers drawn "
                f"from the generator elsewhere, which cannot be divided; {REMEDY}"
            )


# ---- batch normalisation over all processes


class SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes. Each of its terms has the sum of all gradients."""

    @staticmethod
    def forward(context: object, values: Tensor) -> Tensor:
        """The sum, of the shape of `values`, the same in every process."""
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        """Every process reads the sum, so the gradients of all of them are added."""
        return SumOverProcesses.apply(gradient)


def normalise_over_processes(layer: nn.BatchNorm2d, inputs: Tensor) -> Tensor:
    """What a layer of batch normalisation puts out in training, with statistics of all processes.

    inputs: (N, C, ...). Unlike PyTorch's SyncBatchNorm it works on CPUs, too. Processes may have
    different N. It changes the running statistics as one process does that has all N.
    """
    if not layer.training:
        return type(layer).forward(layer, inputs)
    # Statistics of half precision are kept in single precision.
    values = inputs if inputs.dtype == torch.float64 else inputs.float()
    axes = [axis for axis in range(inputs.ndim) if axis != 1]
    shape = [1, -1] + [1] * (inputs.ndim - 2)

    number = values.new_tensor([values.numel() / values.shape[1]])
    sums = SumOverProcesses.apply(torch.cat([values.sum(axes), number]))  # (C + 1,)
    total, count = sums[:-1], sums[-1]
    mean = total / count  # (C,)
    centred = values - mean.view(shape)
    variance = SumOverProcesses.apply(centred.square().sum(axes)) / count  # (C,)
    outputs = centred * torch.rsqrt(variance + layer.eps).view(shape)
    if layer.affine:
        outputs = outputs * layer.weight.view(shape) + layer.bias.view(shape)

    if layer.track_running_stats:
        with torch.no_grad():
            layer.num_batches_tracked += 1
            momentum = layer.momentum
            if momentum is None:  # a mean over all batches so far
                momentum = 1 / layer.num_batches_tracked.item()
            unbiased = variance * count / (count - 1)
            layer.running_mean.lerp_(mean.to(layer.running_mean), momentum)
            layer.running_var.lerp_(unbiased.to(layer.running_var), momentum)
    return outputs.to(inputs.dtype)


def find_normalising(model: nn.Module) -> list[nn.Module]:
    """The layers of batch normalisation of a model."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return [layer for layer in model.modules() if isinstance(layer, kinds)]


def count_statistics(model: nn.Module, accumulate: int, processes: int) -> int | None:
    """In how many parts batch normalisation sees a batch; None for all of it, or for no such layer.

    A checkpoint names it, because the result depends on it.
    """
    parts = accumulate * processes
    return parts if parts > 1 and find_normalising(model) else None


@contextmanager
def divided(
    model: SequenceModel,
    generator: Generator,
    parts: list[Part],
    synchronise: bool,
    processes: int,
) -> Iterator[NoiseOfParts]:
    """Within it, a model works on parts of batches; afterwards it is as it was.

    Its `draw_noise` and the `forward` of its layers of batch normalisation are replaced, so that
    the names of its tensors stay. Where the only part is the whole batch, nothing is.

    generator: of the noise. synchronise: whether the layers take statistics over all processes.
    """
    noise = NoiseOfParts(model, generator, parts)
    layers = find_normalising(model) if synchronise and processes > 1 else []
    if not noise.is_whole:
        model.draw_noise = noise.draw
    for layer in layers:
        layer.forward = partial(normalise_over_processes, layer)
    try:
        yield noise
        if not noise.is_whole:
            noise.check()
    finally:
        model.__dict__.pop("draw_noise", None)
        for layer in layers:
            del layer.forward
