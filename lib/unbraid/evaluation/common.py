"""What all evaluations share: their one form, codes and bounds of many sequences, and probes.

Measures are functions from an `Examined`, a model with its data and codes, to figures by name;
their docstrings are the protocol of metrics.json.
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
from unbraid.experiments import load_sequences
from unbraid.measures.judges import FrameJudge
from unbraid.measures.leakage import LeakageMatrix, leakage_matrix
from unbraid.models.base import Batch, Codes, SequenceModel

ATTRIBUTES = ("skin", "trousers", "top", "hair")  # of characters: what stays the same
FRAMES = 600  # frames that are encoded or decoded at a time

Figures = dict[str, float]


class Examined(SimpleNamespace):
    """What the measures of one model share; an evaluation may add to it.

    model, settings, seed; train, test: `Sequences`; train_codes, test_codes: posterior means, on
    the CPU; generator: of the CPU, from which measures draw in their order.
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

    load(settings, split, seed): the sequences of a split. examine(model, settings, seed, load):
    what the measures, which are called in their order, share.
    """

    load: Callable[[object, str, int], Sequences]
    examine: Callable[[SequenceModel, object, int, Callable], Examined]
    measures: tuple[Measure, ...]

    def evaluate(self, model: SequenceModel, settings, seed: int) -> Figures:
        """All figures of one model by name; seed: of all that is drawn here.

        The model is put into eval mode. Raises `DataError` and `ResultsError` where data or the
        judge are missing.
        """
        return self.measure(self.examine(model.eval(), settings, seed, self.load))

    def measure(self, examined: Examined) -> Figures:
        """All figures of what was examined, which need not be data of the catalogue."""
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


def load_split(settings, split: str, seed: int) -> Sequences:
    """All sequences of a split, as the model reads them."""
    return load_sequences(settings.dataset, split, settings)


def prepare(model: SequenceModel, settings, seed: int, load: Callable) -> Examined:
    """A model with the sequences of both splits, and without codes; load: as of an `Evaluation`."""
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
    """Sequences or frames in batches on the model's device, by default of `FRAMES` frames each."""
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
    joined = {}
    for name in parts[0]:
        joined[name] = torch.cat([part[name] for part in parts]).cpu()
    return joined


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
    """elbo, log_likelihood, kl_<code>: means over all samples of one draw, nats per sequence."""
    generator, parts = generator_for(model, seed), []
    for sample in samples:
        for batch in batches(model, sample, size):
            bound = model.elbo(batch, generator)
            terms = {"elbo": bound.elbo, "log_likelihood": bound.log_likelihood}
            parts.append(terms | {f"kl_{name}": value for name, value in bound.kl.items()})
    return {name: float(values.double().mean()) for name, values in concatenate(parts).items()}


def bound_per_frame(model: SequenceModel, samples: Iterable, seed: int) -> Figures:
    """The same with the ending _per_frame, in nats per frame; kl_static stays per sequence.

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
    """The root mean square difference of two sets of frames, over the values where mask is True."""
    squares = (as_float(first) - as_float(second)).double().square()
    return float((squares if mask is None else squares[mask]).mean().sqrt())


def probe(
    train: Mapping[str, Tensor],
    test: Mapping[str, Tensor],
    train_labels: Mapping[str, Tensor],
    test_labels: Mapping[str, Tensor],
    kind: str = "nonlinear",
    seed: int = 0,
) -> LeakageMatrix:
    """What a probe, trained on the codes of some sequences, reads off those of others.

    Codes are (B, D), or (B, T, d) if they are read frame by frame; labels as in `leakage_matrix`.
    """
    codes = {name: np.concatenate([train[name], test[name]]) for name in train}
    labels = {n: np.concatenate([train_labels[n], test_labels[n]]) for n in train_labels}
    known = len(next(iter(train.values())))
    held_out = np.arange(len(next(iter(codes.values())))) >= known
    options = {"probe": kind, "pooling": "frames", "test": held_out, "permutations": 1}
    matrix = leakage_matrix(codes, labels, **options, seed=seed)
    return replace(matrix, rows=tuple(codes))


def probe_code(
    examined: Examined, code: str, labels: ListOf[Mapping], kind: str = "nonlinear"
) -> LeakageMatrix:
    """`probe` of one of the codes; labels: those of training and of test sequences."""
    codes = [{code: part[code]} for part in (examined.train_codes, examined.test_codes)]
    return probe(*codes, *labels, kind, examined.seed)


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
    """How often a judge names the class (N,) of the right donor after a swap, and the other's.

    The other's share is over the swaps where the two donors differ.
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
