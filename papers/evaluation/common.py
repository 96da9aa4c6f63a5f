"""What all evaluations share: their one form, codes and bounds of many sequences, and probes.

Measures are functions from an `Examined`, a model with its data and codes, to figures by name;
their docstrings are the protocol of metrics.json.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from collections.abc import Sequence as ListOf
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor
from unbraid.codes import (  # noqa: F401 - under their former names
    as_float,
    batches,
    bound_over,
    bound_per_frame,
    concatenate,
    decode_all,
    device_of,
    draw_others,
    encode_all,
    generator_for,
    root_mean_square,
)
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import ATTRIBUTES  # noqa: F401
from unbraid.measures.judges import judge_probabilities  # noqa: F401
from unbraid.measures.leakage import LeakageMatrix, leakage_matrix
from unbraid.models.base import SequenceModel

from papers.experiments import load_sequences

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
