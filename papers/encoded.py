"""What evaluations share: sequences with their codes, probes of codes, and drawn codes."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from unbraid.codes import device_of, encode_all
from unbraid.data.sequences import Sequences
from unbraid.measures.leakage import LeakageMatrix, leakage_matrix
from unbraid.models.base import Codes, SequenceModel

from papers.settings import RunSettings, at_smoke

COUNTS = {"train": (400, 1000), "test": (40, 500)}  # sequences, at smoke and else
Figures = dict[str, float]
Labels = Mapping[str, Tensor]


class Evaluation(NamedTuple):
    """How models of one paper are measured on one dataset."""

    evaluate: Callable[[Any, RunSettings, int], Figures]  # of a model: all by name; int: a seed
    load: Callable[[RunSettings, str, int], Sequences]  # of a split, which is named


@dataclass(frozen=True)
class Encoded:
    """N sequences of one split with the codes that a model gives them, all on the CPU."""

    sequences: Sequences
    codes: Codes  # the posterior's means, (N, D) of a sequence or (N, T, d) of its steps
    labels: Labels  # what is read off them, (N,) of a sequence or (N, T, ...) of its steps

    def __len__(self) -> int:
        return len(self.sequences)


def encode(model: SequenceModel, sequences: Sequences) -> Encoded:
    """All sequences with the means of their codes and with their own labels."""
    return Encoded(sequences, encode_all(model, sequences), sequences.labels)


def count_evaluated(settings: RunSettings, split: str) -> int:
    """How many sequences of a split are measured: those of "train" are what probes learn from."""
    return at_smoke(settings, *COUNTS[split])


def seeded(seed: int) -> torch.Generator:
    """A new generator on the CPU."""
    return torch.Generator().manual_seed(seed)


# ---- labels, and what a probe reads off codes


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
    labels = {name: np.concatenate([row, test_labels[name]]) for name, row in train_labels.items()}
    count, known = len(next(iter(codes.values()))), len(next(iter(train_codes.values())))
    is_test = np.arange(count) >= known
    matrix = leakage_matrix(
        codes, labels, probe=kind, pooling="frames", test=is_test, permutations=1, seed=seed
    )
    return replace(matrix, rows=tuple(codes))


def name_skills(*codes_and_labels: Any, **options: Any) -> Figures:
    """<code>_probe_<label>: the skills of a `probe` of these arguments."""
    matrix = probe(*codes_and_labels, **options)
    pairs = itertools.product(matrix.rows, matrix.columns)
    return {f"{code}_probe_{label}": matrix[code, label] for code, label in pairs}


def code_probes(train: Encoded, test: Encoded, seed: int) -> Figures:
    """<code>_probe_<label>: skill, 0 for the best constant, 1 if always right, of a non-linear
    probe trained on codes of training sequences. A dynamic code tells a label of frames frame by
    frame; a static code, or one with other steps than the frames, tells that of the first frame.
    Labels with a class that training lacks, such as the number of a film, or with one value, such
    as the hour of the first frame, are left out."""
    figures: Figures = {}
    for code in test.codes:
        codes, labels = [train.codes[code], test.codes[code]], [train.labels, test.labels]
        if codes[1].ndim == 2 or codes[1].shape[1] != test.sequences.length:
            codes = [values.flatten(1) for values in codes]
            labels = [at_first_step(of_split) for of_split in labels]
        names = [name for name in labels[1] if is_readable(labels[0][name], labels[1][name])]
        if names:
            read = [select(of_split, names) for of_split in labels]
            figures |= name_skills({code: codes[0]}, {code: codes[1]}, *read, seed=seed)
    return figures


def is_readable(train: Tensor, test: Tensor) -> bool:
    """Whether a probe can be scored: by several values in the test, and no class unknown."""
    is_known = test.is_floating_point() or bool(torch.isin(test, train).all())
    return is_known and len(test.unique()) > 1


def select(labels: Labels, names: Iterable[str]) -> dict[str, Tensor]:
    """The labels of these names."""
    return {name: labels[name] for name in names}


def at_first_step(labels: Labels) -> dict[str, Tensor]:
    """Labels of sequences (N,) as they are, those of steps (N, T, ...) at the first of them."""
    return {name: values[:, 0] if values.ndim > 1 else values for name, values in labels.items()}


# ---- drawn codes


@torch.no_grad()
def draw_others(model: SequenceModel, codes: Codes, kept: str, generator: torch.Generator) -> Codes:
    """The same codes, all but the one called `kept` drawn from their prior."""
    length = next(code.shape[1] for code in codes.values() if code.ndim == 3)
    given = {kept: codes[kept].to(device_of(model))}
    drawn = model.generate(len(codes[kept]), length, generator, given)
    return {name: code.cpu() for name, code in drawn.items()}


@torch.no_grad()
def prior_means(model: Any, dynamic: Tensor) -> Tensor:
    """The means of p(d_t | d_<t) along a path of draws (B, T, d), on the CPU; 0 stays 0.

    model: one with a `prior`.
    """
    means = model.prior(dynamic.to(device_of(model))).mean.cpu()
    return means.masked_fill((dynamic == 0).all(2, keepdim=True), 0.0)
