"""What evaluations share: sequences with their codes, and probes that read labels off codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from unbraid.codes import encode_all
from unbraid.data.sequences import Sequences
from unbraid.measures.leakage import LeakageMatrix, leakage_matrix
from unbraid.models.base import Codes, SequenceModel

from papers.datasets import load_sequences
from papers.settings import Settings

Figures = dict[str, float]
Labels = Mapping[str, Tensor]


class Evaluation(NamedTuple):
    """How models of one paper are measured on one dataset.

    evaluate(model, settings, seed): all figures by name. load(settings, split, seed): the sequences
    of a split. measures: the functions from which `evaluate` has its figures, in their order; what
    their docstrings say goes into metrics.json.
    """

    evaluate: Callable[[SequenceModel, Settings, int], Figures]
    load: Callable[[Settings, str, int], Sequences]
    measures: tuple[Callable[..., Figures], ...]


@dataclass(frozen=True)
class Encoded:
    """N sequences of one split with the codes that a model gives them, all on the CPU.

    codes: the means of the posterior, (N, D) of a sequence or (N, T, d) of its steps.
    labels: what is read off these codes, (N,) of a sequence or (N, T, ...) of its steps.
    """

    sequences: Sequences
    codes: Codes
    labels: Labels

    def __len__(self) -> int:
        return len(self.sequences)


def encode(model: SequenceModel, sequences: Sequences) -> Encoded:
    """All sequences with the means of their codes and with their own labels."""
    return Encoded(sequences, encode_all(model, sequences), sequences.labels)


def load_split(settings: Settings, split: str, seed: int) -> Sequences:
    """All sequences of a split, as the model reads them; the seed draws nothing here."""
    return load_sequences(settings.dataset, split, settings)


def count_evaluated(settings: Settings, split: str) -> int:
    """How many sequences of a split are measured: those of "train" are what probes learn from."""
    return settings.evaluation_training if split == "train" else settings.evaluation_sequences


def seeded(seed: int) -> torch.Generator:
    """A new generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def probe(
    train_codes: Codes,
    test_codes: Codes,
    train_labels: Labels,
    test_labels: Labels,
    kind: str = "nonlinear",
    seed: int = 0,
) -> LeakageMatrix:
    """What a probe, trained on the codes of some sequences, reads off those of others.

    Codes are (N, D), or (N, T, d) if they are read step by step; labels as in `leakage_matrix`.
    """
    codes = {name: np.concatenate([code, test_codes[name]]) for name, code in train_codes.items()}
    labels = {}
    for name, values in train_labels.items():
        labels[name] = np.concatenate([values, test_labels[name]])
    count, known = (len(next(iter(of.values()))) for of in (codes, train_codes))
    is_test = np.arange(count) >= known
    matrix = leakage_matrix(
        codes, labels, probe=kind, pooling="frames", test=is_test, permutations=1, seed=seed
    )
    return replace(matrix, rows=tuple(codes))


def name_skills(matrix: LeakageMatrix) -> Figures:
    """<code>_probe_<label>: the cells of a leakage matrix."""
    figures = {}
    for row in matrix.rows:
        for column in matrix.columns:
            figures[f"{row}_probe_{column}"] = matrix[row, column]
    return figures


def select(labels: Labels, names: Iterable[str]) -> dict[str, Tensor]:
    """The labels of these names."""
    return {name: labels[name] for name in names}


def at_first_step(labels: Labels) -> dict[str, Tensor]:
    """Labels of sequences (N,) as they are, those of steps (N, T, ...) at the first of them."""
    return {name: values[:, 0] if values.ndim > 1 else values for name, values in labels.items()}


def donor_shares(
    judged: np.ndarray, expected: np.ndarray, other: np.ndarray
) -> tuple[float, float, float]:
    """How often a judge names the class (N,) of the right donor after a swap.

    Of all swaps, and of those where the two donors differ; then how often, of these, the other's.
    """
    right, differ = judged == expected, expected != other
    return float(right.mean()), float(right[differ].mean()), float((judged == other)[differ].mean())
