"""Codes, frames and bounds of many sequences, in batches and in evaluation mode; on the CPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import torch
from torch import Generator, Tensor

from unbraid.checks import check_field, check_seed, check_type, check_whole, refuse
from unbraid.data.sequences import as_float
from unbraid.models.base import Batch, BatchLike, Codes, SequenceModel
from unbraid.models.unordered import UnorderedFrames
from unbraid.networks import evaluating

FRAMES = 600  # at a time where codes are drawn: of one seed, other batches draw other numbers
FOR_MEANS = {"cpu": 64}  # by device, where nothing is drawn: more leave a processor's caches


def device_of(model: torch.nn.Module) -> torch.device:
    """Where a model's weights are."""
    check_type(torch.nn.Module, model=model)
    weight = next(model.parameters(), None)
    if weight is None:
        refuse("model", "one with weights", "none")
    return weight.device


def generator_for(model: torch.nn.Module, seed: int) -> Generator:
    """A new generator on the model's device."""
    check_seed(seed)
    return Generator(device_of(model)).manual_seed(int(seed))


def frames_at_once(model: torch.nn.Module) -> int:
    """How many frames are encoded or decoded at a time on the model's device."""
    return FOR_MEANS.get(device_of(model).type, FRAMES)


def batches(
    model: torch.nn.Module, data: BatchLike, size: int | None = None, frames: int = FRAMES
) -> Iterator[Batch]:
    """One or more sequences in batches of `size` on the model's device, by default of `frames`."""
    whole, device = Batch.of(data), device_of(model)
    check_field(len(whole.frames) > 0, "data", "a sequence or more", "none")
    check_field(device.type != "meta", "model", "weights with values", "none (device meta)")
    check_whole(1, frames=frames, size=1 if size is None else size)
    size = size or max(1, frames // whole.frames.shape[1])
    for start in range(0, len(whole.frames), size):
        rows = slice(start, start + size)
        part = as_float(whole.frames[rows].to(device))
        yield Batch(part, None if whole.mask is None else whole.mask[rows].to(device))


@torch.no_grad()
def encode_all(
    model: SequenceModel,
    data: BatchLike,
    generator: Generator | None = None,
    size: int | None = None,
) -> Codes:
    """Codes of one or more sequences, on the CPU: means of q, or with a generator one sample."""
    parts = batches(model, data, size, frames_at_once(model) if generator is None else FRAMES)
    with evaluating(model):
        return concatenate([model.encode(batch, generator) for batch in parts])


def concatenate(parts: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Join the tensors (n, ...) of the same name in several parts, on the CPU."""
    parts = list(parts)
    check_field(parts, "parts", "one or more", "none")
    joined = {}
    for name in dict.fromkeys(chain.from_iterable(parts)):
        shapes = {tuple(part[name].shape[1:]) if name in part else None for part in parts}
        check_field(len(shapes) == 1, name, "a tensor of one width in all parts", shapes)
        joined[name] = torch.cat([part[name] for part in parts]).cpu()
    return joined


@torch.no_grad()
def decode_all(model: SequenceModel, codes: Codes) -> Tensor:
    """Frames (B, T, C, H, W), or series, of many codes, on the CPU."""
    check_type(Mapping, codes=codes)
    check_type(Tensor, **codes)
    lengths = [code.shape[1] for code in codes.values() if code.ndim == 3]
    check_field(lengths, "codes", "one code of each frame (B, T, d) at least", ", ".join(codes))
    device, size = device_of(model), max(1, frames_at_once(model) // max(lengths))
    parts = []
    with evaluating(model):
        for start in range(0, len(next(iter(codes.values()))), size):
            part = {name: code[start : start + size].to(device) for name, code in codes.items()}
            parts.append(model.decode(part).cpu())
    return torch.cat(parts)


@torch.no_grad()
def bound_per_frame(
    model: SequenceModel, samples: Iterable[BatchLike], seed: int, size: int | None = None
) -> dict[str, float]:
    """elbo, log_likelihood, kl_<code>: means of one draw over one or more samples of one length,
    tensors or `Sequences`: <name>_per_frame in nats per frame, kl_static in nats per sequence.
    """
    is_list = isinstance(samples, Iterable) and not {"frames", "shape"} & {*dir(samples)}
    check_field(is_list, "samples", "a list of them, [data]", type(samples).__name__)
    generator, parts, length = generator_for(model, seed), [], 0
    with evaluating(model):
        for batch in chain.from_iterable(batches(model, sample, size) for sample in samples):
            bound = model.elbo(batch, generator)
            if length not in (0, bound.length):
                refuse("samples", f"one length, {length} steps", f"{bound.length} steps as well")
            terms = {"elbo": bound.elbo, "log_likelihood": bound.log_likelihood}
            parts.append(terms | {f"kl_{name}": value for name, value in bound.kl.items()})
            length = bound.length
    check_field(parts, "samples", "one or more", "none")
    figures: dict[str, float] = {}
    for name, values in concatenate(parts).items():
        mean = float(values.double().mean())
        figures |= {name: mean} if name == "kl_static" else {f"{name}_per_frame": mean / length}
    return figures


def root_mean_square(first: Tensor, second: Tensor, mask: Tensor | None = None) -> float:
    """The root mean square difference of two sets of frames of one shape.

    mask: booleans of the first axes, true where a value counts.
    """
    check_type(Tensor, first=first, second=second)
    shape, other = tuple(first.shape), tuple(second.shape)
    check_field(first.numel() > 0, "first", "one value or more", shape)
    check_field(shape == other, "second", f"the shape of first, {shape}", other)
    squares = (as_float(first) - as_float(second)).double().square()
    if mask is not None:
        check_field(mask.dtype == torch.bool, "mask", "booleans", mask.dtype)
        squares = squares[mask]
    return float(squares.mean().sqrt())


@torch.no_grad()
def dynamic_given(model: UnorderedFrames, frames: Tensor, static: Tensor) -> Tensor:
    """The means of q(d_i | s, x_i), (B, T, d), on the CPU, for s (B, D), also of other frames."""
    check_type(Tensor, frames=frames, static=static)
    if isinstance(model, SequenceModel):  # a stand-in of one's own may be anything
        check_type(UnorderedFrames, model=model)
        model.check_tensor("static", static, (len(frames), model.code_sizes["static"]))
    check_field(len(static) == len(frames), "static", f"{len(frames)} rows", len(static))
    parts, rest = [], static.to(device_of(model))
    with evaluating(model):
        for batch in batches(model, frames, frames=frames_at_once(model)):
            part, rest = rest.tensor_split([len(batch.frames)])
            parts.append(model.dynamic_posterior(model.features(batch.frames), part).mean.cpu())
    return torch.cat(parts)
