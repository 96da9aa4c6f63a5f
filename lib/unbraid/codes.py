"""Codes, decoded frames and bounds of more sequences than fit through a model at once.

A model works on a batch; these functions cut many sequences into batches, on the model's device,
and give back what comes out on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unbraid.checks import check_field
from unbraid.data.sequences import Sequences, as_float
from unbraid.distributions import DiagonalGaussian
from unbraid.models.base import Batch, BatchLike, Codes, SequenceModel
from unbraid.models.independent import IndependentPrediction
from unbraid.models.unordered import UnorderedFrames

FRAMES = 600  # frames that are encoded or decoded at a time
SEQUENCES = 100  # sequences that paper A's model filters at a time


def device_of(model: torch.nn.Module) -> torch.device:
    """Where a model's weights are."""
    return next(model.parameters()).device


def generator_for(model: torch.nn.Module, seed: int) -> torch.Generator:
    """A new generator on the model's device."""
    return torch.Generator(device_of(model)).manual_seed(seed)


def batches(model: torch.nn.Module, data: BatchLike, size: int | None = None) -> Iterator[Batch]:
    """Sequences in batches of `size` on the model's device, by default of `FRAMES` frames each.

    Raises `ValueError` for no sequences.
    """
    whole, device = Batch.of(data), device_of(model)
    check_field(len(whole.frames) > 0, "data", "a sequence or more", "none")
    size = size or max(1, FRAMES // whole.frames.shape[1])
    for start in range(0, len(whole.frames), size):
        rows = slice(start, start + size)
        frames = as_float(whole.frames[rows].to(device))
        yield Batch(frames, None if whole.mask is None else whole.mask[rows].to(device))


@torch.no_grad()
def encode_all(
    model: SequenceModel,
    data: BatchLike,
    generator: torch.Generator | None = None,
    size: int | None = None,
) -> Codes:
    """Codes of many sequences, on the CPU: means, or with a generator of the device one draw.

    Raises `ValueError` for no sequences.
    """
    return concatenate([model.encode(batch, generator) for batch in batches(model, data, size)])


def concatenate(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Join the tensors (n, ...) of the same name in several parts, on the CPU."""
    return {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}


@torch.no_grad()
def decode_all(model: SequenceModel, codes: Codes) -> Tensor:
    """Frames (B, T, C, H, W), or series, of many codes, on the CPU."""
    length = max(code.shape[1] for code in codes.values() if code.ndim == 3)
    device, size = device_of(model), max(1, FRAMES // length)
    parts = []
    for start in range(0, len(next(iter(codes.values()))), size):
        rows = slice(start, start + size)
        part = {name: code[rows].to(device) for name, code in codes.items()}
        parts.append(model.decode(part).cpu())
    return torch.cat(parts)


@torch.no_grad()
def draw_others(model: SequenceModel, codes: Codes, kept: str, generator: torch.Generator) -> Codes:
    """The same codes, all but the one called `kept` drawn from their prior."""
    length = next(code.shape[1] for code in codes.values() if code.ndim == 3)
    given = {kept: codes[kept].to(device_of(model))}
    drawn = model.generate(len(codes[kept]), length, generator, given)
    return {name: code.cpu() for name, code in drawn.items()}


@torch.no_grad()
def bound_over(
    model: SequenceModel,
    samples: Iterable[BatchLike],
    seed: int,
    size: int | None = None,
) -> dict[str, float]:
    """elbo, log_likelihood, kl_<code>: means over all samples of one draw, nats per sequence.

    samples: each a tensor of frames or `Sequences`. Raises `ValueError` for none.
    """
    generator, parts = generator_for(model, seed), []
    for sample in samples:
        for batch in batches(model, sample, size):
            bound = model.elbo(batch, generator)
            terms = {"elbo": bound.elbo, "log_likelihood": bound.log_likelihood}
            parts.append(terms | {f"kl_{name}": value for name, value in bound.kl.items()})
    check_field(bool(parts), "samples", "one or more", "none")
    return {name: float(values.double().mean()) for name, values in concatenate(parts).items()}


def bound_per_frame(
    model: SequenceModel, samples: Iterable[BatchLike], seed: int
) -> dict[str, float]:
    """The same with the ending _per_frame, in nats per frame; kl_static stays per sequence.

    samples: as in `bound_over`, all of one length.
    """
    all_samples = list(samples)
    check_field(bool(all_samples), "samples", "one or more", "none")
    length = Batch.of(all_samples[0]).frames.shape[1]
    figures = {}
    for name, value in bound_over(model, all_samples, seed).items():
        if name == "kl_static":
            figures[name] = value
        else:
            figures[f"{name}_per_frame"] = value / length
    return figures


def root_mean_square(first: Tensor, second: Tensor, mask: Tensor | None = None) -> float:
    """The root mean square difference of two sets of frames, over the values where mask is True.

    Raises `ValueError` for two shapes, and for a mask that is True nowhere.
    """
    shapes = tuple(first.shape), tuple(second.shape)
    check_field(shapes[0] == shapes[1], "second", f"the shape of first, {shapes[0]}", shapes[1])
    squares = (as_float(first) - as_float(second)).double().square()
    if mask is not None:
        check_field(bool(mask.any()), "mask", "a value that is True", "none")
        squares = squares[mask]
    return float(squares.mean().sqrt())


@torch.no_grad()
def dynamic_given(
    model: UnorderedFrames,
    frames: Tensor,
    static: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The means of q(z_i | f, x_i), (B, T, d), or with a generator draws, all on the CPU.

    static: the codes f, (B, D), which may have been inferred from other frames.
    """
    parts, start = [], 0
    for batch in batches(model, frames):
        part = static[start : start + len(batch.frames)].to(batch.frames.device)
        parts.append(vars(model.dynamic_posterior(model.features(batch.frames), part)))
        start += len(part)
    return DiagonalGaussian(**concatenate(parts)).draw(generator)


# ---- pairs of latents in time, of paper A


@dataclass(frozen=True)
class Pairs:
    """Latents at t and at t + 1 from the same sequences, and the digits' positions at t + 1."""

    before: np.ndarray  # (N, K d)
    after: np.ndarray  # (N, K d)
    positions: dict[str, np.ndarray]  # (N, 2) in [0, 1], by the name of the label


def derived_generator(model: torch.nn.Module, generator: torch.Generator) -> torch.Generator:
    """A generator on the model's device, seeded from a CPU one."""
    return generator_for(model, int(torch.randint(2**31, (1,), generator=generator)))


@torch.no_grad()
def sample_latents(
    model: IndependentPrediction, sequences: Sequences, generator: torch.Generator
) -> Tensor:
    """Posterior samples of all sequences, (B, T, K d), on the CPU."""
    parts = []
    for batch in batches(model, sequences, SEQUENCES):
        codes = model.encode(batch, derived_generator(model, generator))
        parts.append(model.to_latents(codes).cpu())
    return torch.cat(parts)


def collect_pairs(
    model: IndependentPrediction,
    sampler: Callable[[int, torch.Generator], Sequences],
    count: int,
    generator: torch.Generator,
    apart: bool = False,
) -> Pairs:
    """`count` pairs (z_t, z_{t+1}) of posterior samples from new test sequences.

    All pairs of a sequence are among them, as in the authors' code; they resemble each other, which
    an estimate counts as information. apart: one pair per sequence, at a random step.
    """
    length = sampler(1, torch.Generator().manual_seed(0)).length
    sequences = sampler(count if apart else -(-count // (length - 1)), generator)
    latents = sample_latents(model, sequences, generator)
    if apart:
        rows, steps = torch.arange(count), torch.randint(length - 1, (count,), generator=generator)
    else:
        rows, steps = consecutive_pairs(len(sequences), length)
        rows, steps = rows[:count], steps[:count]
    positions = {}
    for name in sequences.dynamic:
        positions[name] = sequences.labels[name][rows, steps + 1].numpy()
    return Pairs(latents[rows, steps].numpy(), latents[rows, steps + 1].numpy(), positions)


def consecutive_pairs(count: int, length: int) -> tuple[Tensor, Tensor]:
    """The sequences and the steps t of all pairs (t, t + 1) of `count` sequences."""
    rows = torch.arange(count).repeat_interleave(length - 1)
    return rows, torch.arange(length - 1).repeat(count)
