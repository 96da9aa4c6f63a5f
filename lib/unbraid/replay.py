"""CUDA graphs: an update is recorded once, and its kernels are then started all together.

A small network keeps a GPU waiting: starting one of its kernels takes the processor longer than the
GPU needs to run it. A recorded update is started by a single call. What may change from one update
to the next are the numbers in its tensors: the batch, the noise, the learning rate, the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer

from unbraid.models.base import Batch

WARM_UP = 3  # updates made one kernel at a time, in which PyTorch's libraries make their choices

Weights = Mapping[str, float | Tensor]
Update = Callable[[Batch, Weights], Tensor]
"""Trains on a whole batch with these weights of the bound's terms; returns the terms' means."""


class Replay:
    """An `Update` that is recorded at its fourth call, and replayed at this and every later one.

    update: what is recorded. It must start the same kernels every time: whatever it decides in
        Python, it decides once. Batches must have one shape and no masks.
    optimizer: whose update it makes. generator: of the noise, on the GPU. changing: the names of
        the weights that are not the same in all updates.
    """

    def __init__(
        self, update: Update, optimizer: Optimizer, generator: Generator, changing: Iterable[str]
    ):
        self.update = update
        self.device = generator.device
        for group in optimizer.param_groups:
            # A recorded Adam counts its updates, and reads its rate, on the GPU.
            group["capturable"] = True
            group["lr"] = torch.tensor(float(group["lr"]), device=self.device)
        for state in optimizer.state.values():  # of a run that goes on
            state["step"] = state["step"].to(self.device)
        self.stream = torch.cuda.Stream()
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(generator)
        self.calls = 0
        # The weights that change, where the GPU reads them.
        self.numbers = {name: torch.zeros((), device=self.device) for name in changing}
        self.frames: Tensor | None = None
        self.terms: Tensor | None = None

    def __call__(self, batch: Batch, weights: Weights) -> Tensor:
        """One update."""
        if batch.mask is not None and not batch.mask.all():
            raise ValueError("replay: expected batches without masks, found one; leave replay out")
        self.calls += 1
        if self.calls <= WARM_UP:
            return self.warm_up(batch, weights)
        if self.terms is None:
            self.record(batch, weights)
        self.take(batch.frames, weights)
        self.graph.replay()
        return self.terms.clone()

    def warm_up(self, batch: Batch, weights: Weights) -> Tensor:
        """An update on a stream of its own, as a later recording demands."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            terms = self.update(batch, weights)
        torch.cuda.current_stream().wait_stream(self.stream)
        return terms

    def record(self, batch: Batch, weights: Weights) -> None:
        """Record an update without making it."""
        self.frames = torch.empty_like(batch.frames, device=self.device)
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.terms = self.update(Batch(self.frames), {**weights, **self.numbers})

    def take(self, frames: Tensor, weights: Weights) -> None:
        """Put a batch and its weights where the recorded update reads them.

        From pinned memory the GPU fetches the frames itself, while the next batch is drawn.
        """
        self.frames.copy_(frames if frames.is_cuda else frames.pin_memory(), non_blocking=True)
        for name, number in self.numbers.items():
            number.fill_(weights[name])
