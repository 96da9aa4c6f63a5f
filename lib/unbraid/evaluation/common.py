"""What all evaluations share: their one form, codes and bounds of many sequences, and probes.

An `Evaluation` is the measures of one kind of model on one dataset. Measures are functions from an
`Examined`, the model with its data and codes, to figures by name; their docstrings are the
protocol of metrics.json.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as ListOf
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unbraid.data.sequences import Sequences
from unbraid.measures.judges import FrameJudge
from unbraid.measures.leakage import LeakageMatrix, leakage_matrix
from unbraid.models.base import Batch, Codes, SequenceModel

ATTRIBUTES = ("skin", "trousers", "top", "hair")  # of characters: what stays the same
FRAMES = 600  # frames that are encoded or decoded at a time

Figures = dict[str, float]


class Examined(SimpleNamespace):
    """What the measures of one model share.

    model, settings, seed; train, test: `Sequences`; train_codes, test_codes: posterior means, on
    the CPU; generator: of the CPU, from which measures draw in their order, so that a new measure
    comes last. An evaluation may add to these.
    """

    def add(self, split: str, **parts) -> None:
        """Set an attribute <split>_<name>, such as train_codes, for each part."""
        for name, value in parts.items():
            setattr(self, f"{split}_{name}", value)


Measure = Callable[[Examined], Figures]
MEASURES: dict[str, Measure] = {}  # further measures, which every model gets


@dataclass(frozen=True)
class Evaluation:
    """How models of one kind are measured on one dataset.

    load(settings, split, seed) returns the sequences of a split.
    examine(model, settings, seed) returns what the measures share.
    measures are called in this order.
    """

    load: Callable[[object, str, int], Sequences]
    examine: Callable[[SequenceModel, object, int], Examined]
    measures: tuple[Measure, ...]

    def evaluate(self, model: SequenceModel, settings, seed: int) -> Figures:
        """All figures of one model by name. The model is put into eval mode."""
        return self.measure(self.examine(model.eval(), settings, seed))

    def measure(self, examined: Examined) -> Figures:
        """The figures of a model on data that were examined, which need not be in the catalogue."""
        figures: Figures = {}
        for measure in (*self.measures, *MEASURES.values()):
            figures |= measure(examined)
        return figures

    def protocol(self, settings) -> dict:
        """What the figures mean, for metrics.json: the data, and a sentence on each measure."""
        test = self.load(settings, "test", 0)
        entry = {"data": test.provenance, "split": "test", "sequences": len(test)}
        for measure in (*self.measures, *MEASURES.values()):
            entry[measure.__name__] = " ".join(inspect.getdoc(measure).split())
        return entry


def prepare(model: SequenceModel, settings, seed: int, load: Callable) -> Examined:
    """A model with the sequences of both splits, and without codes.

    load: the function of an `Evaluation` that returns the sequences of a split.
    """
    train, test = load(settings, "train", seed), load(settings, "test", seed)
    generator = torch.Generator().manual_seed(20_000 + seed)
    shared = {"model": model, "settings": settings, "seed": seed, "generator": generator}
    return Examined(**shared, train=train, test=test)


def examine(model: SequenceModel, settings, seed: int, load: Callable) -> Examined:
    """A model with the sequences of both splits and the posterior means of their codes."""
    examined = prepare(model, settings, seed, load)
    examined.train_codes = encode_all(model, examined.train)
    examined.test_codes = encode_all(model, examined.test)
    return examined


def device_of(model: torch.nn.Module) -> torch.device:
    """Where a model's weights are."""
    return next(model.parameters()).device


def generator_for(model: torch.nn.Module, seed: int) -> torch.Generator:
    """A new generator on the model's device."""
    return torch.Generator(device_of(model)).manual_seed(seed)


def batches(model: torch.nn.Module, data, size: int | None = None) -> Iterator[Batch]:
    """Sequences or a tensor of frames in batches on the model's device, bytes as floats.

    size: sequences in a batch; by default as many as have `FRAMES` frames.
    """
    whole, device = Batch.of(data), device_of(model)
    size = size or max(1, FRAMES // whole.frames.shape[1])
    for start in range(0, len(whole.frames), size):
        rows = slice(start, start + size)
        frames = as_float(whole.frames[rows].to(device))
        yield Batch(frames, None if whole.mask is None else whole.mask[rows].to(device))


def as_float(frames: Tensor) -> Tensor:
    """Bytes as floats in [0, 1]; floats as they are."""
    return frames.float() / 255 if frames.dtype == torch.uint8 else frames


@torch.no_grad()
def encode_all(
    model: SequenceModel,
    data,
    generator: torch.Generator | None = None,
    size: int | None = None,
) -> Codes:
    """Codes of many sequences, on the CPU: means, or with a generator of the device one draw."""
    return concatenate([model.encode(batch, generator) for batch in batches(model, data, size)])


def concatenate(parts: ListOf[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Join the tensors (n, ...) that bear the same name in several parts, on the CPU."""
    whole = {}
    for name in parts[0]:
        pieces = [part[name].cpu() for part in parts]
        whole[name] = torch.cat(pieces)
    return whole


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
    samples: Iterable,
    seed: int,
    size: int | None = None,
) -> Figures:
    """Means over all samples of the bound and its terms, in nats per sequence.

    Each sequence has one draw of its codes. The names are elbo, log_likelihood and kl_<code>.
    """
    generator, parts = generator_for(model, seed), []
    for sample in samples:
        for batch in batches(model, sample, size):
            bound = model.elbo(batch, generator)
            terms = {"elbo": bound.elbo, "log_likelihood": bound.log_likelihood}
            parts.append(terms | {f"kl_{name}": value for name, value in bound.kl.items()})
    return {name: float(values.double().mean()) for name, values in concatenate(parts).items()}


def bound_per_frame(model: SequenceModel, samples: Iterable, seed: int) -> Figures:
    """Means over all samples of the bound and its terms, in nats per frame.

    The names are elbo_per_frame, log_likelihood_per_frame, kl_<code>_per_frame, and kl_static,
    which is in nats per sequence.
    samples: sequences of one length, each a tensor of frames or `Sequences`.
    """
    samples = list(samples)
    length = Batch.of(samples[0]).frames.shape[1]
    figures = {}
    for name, value in bound_over(model, samples, seed).items():
        if name == "kl_static":
            figures[name] = value
        else:
            figures[f"{name}_per_frame"] = value / length
    return figures


def root_mean_square(first: Tensor, second: Tensor, mask: Tensor | None = None) -> float:
    """The root mean square difference of two sets of frames, which may be bytes or floats.

    mask: booleans of the frames' shape; the mean is over the values where it is True.
    """
    squares = (as_float(first) - as_float(second)).double().square()
    if mask is not None:
        squares = squares[mask]
    return float(squares.mean().sqrt())


def probe(
    train: Mapping[str, Tensor],
    test: Mapping[str, Tensor],
    train_labels: Mapping[str, Tensor],
    test_labels: Mapping[str, Tensor],
    kind: str = "nonlinear",
    seed: int = 0,
) -> LeakageMatrix:
    """What a probe, trained on the codes of some sequences, reads off those of others.

    Codes are (B, D), or (B, T, d) if they are read frame by frame. Labels have the shapes that
    `leakage_matrix` asks for.
    """
    codes = {name: np.concatenate([train[name], test[name]]) for name in train}
    labels = {}
    for name in train_labels:
        labels[name] = np.concatenate([train_labels[name], test_labels[name]])
    count = len(next(iter(train.values())))
    held_out = np.arange(len(next(iter(codes.values())))) >= count
    options = {"probe": kind, "pooling": "frames", "test": held_out, "permutations": 1}
    matrix = leakage_matrix(codes, labels, **options, seed=seed)
    return replace(matrix, rows=tuple(codes))


def probe_figures(matrix: LeakageMatrix) -> Figures:
    """<code>_probe_<label>: the cells of a leakage matrix."""
    figures = {}
    for row in matrix.rows:
        for column in matrix.columns:
            figures[f"{row}_probe_{column}"] = matrix[row, column]
    return figures


def donor_shares(
    judged: np.ndarray, expected: np.ndarray, other: np.ndarray
) -> tuple[float, float]:
    """How often a judge names the right donor's class after a swap, and how often the other's.

    All arguments are class numbers (N,): what the judge names, the class of the donor it should be,
    and that of the other donor. The other's share is over the swaps where the two differ.
    """
    differ = expected != other
    return float((judged == expected).mean()), float((judged == other)[differ].mean())


def at_first_frame(labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Labels of sequences (N,) as they are, those of frames (N, T, ...) at the first of them."""
    return {name: values[:, 0] if values.ndim > 1 else values for name, values in labels.items()}


def judge_probabilities(judge: FrameJudge, frames: Tensor) -> dict[str, Tensor]:
    """What a judge sees in frames (N, ..., C, H, W), averaged down to its size: (N, classes)."""
    size = judge.sizes["image_size"]
    if frames.shape[-1] != size:
        small = F.adaptive_avg_pool2d(frames.flatten(0, -4), size)
        frames = small.unflatten(0, frames.shape[:-3])
    return judge.probabilities(frames.clamp(0, 1))
