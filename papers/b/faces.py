"""Paper B on faces: unseen photographs of people whom training knows."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from unbraid.codes import as_float, dynamic_given, encode_all
from unbraid.data.sequences import Sequences
from unbraid.models.unordered import UnorderedFrames

from papers.b.evaluate import (
    CODES,
    class_probes,
    draw_frames,
    prior_from_average,
    unordered_bound,
)
from papers.encoded import Encoded, Evaluation, Figures, load_split, seeded
from papers.settings import Settings

SETS = 10  # sets of photographs of each person
WHITENING_FLOOR = 0.01  # is added to variances, as on the scale of speech: notebook 35, equation 3


def evaluate_faces(model: UnorderedFrames, settings: Settings, seed: int) -> Figures:
    """All figures of a model of faces; the gallery is a random half of the training photographs."""
    train_people, test_people = (load_split(settings, split, seed) for split in ("train", "test"))
    generator, count = seeded(CODES + seed), settings.length
    half = random_half(train_people.mask, generator)
    known_sets = encode_sets(model, replace(train_people, mask=half), count, generator)
    asked_sets = encode_sets(model, test_people, count, generator)
    train = encode_photographs(model, train_people, count, generator)
    test = encode_photographs(model, test_people, count, generator)

    figures = unordered_bound(model, test_people, settings, seed)
    figures |= prior_from_average(model, test.codes["static"], seed)
    gallery, whitening = half[train_people.mask], fit_whitening(train_people)
    figures |= person_accuracy(known_sets, asked_sets, train, test, gallery, whitening)
    figures |= class_probes(train, test, seed)
    return figures


def random_half(mask: Tensor, generator: torch.Generator) -> Tensor:
    """A random half, rounded up, of what is observed in each row of a mask (N, T)."""
    lots = torch.rand(mask.shape, generator=generator).masked_fill(~mask, 2.0)
    return (lots.argsort(1).argsort(1) < ((mask.sum(1) + 1) // 2)[:, None]) & mask


def encode_sets(
    model: UnorderedFrames, people: Sequences, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """f (10 N, D) of ten sets of `count` photographs of each person, and the persons (10 N,)."""
    draws = [draw_frames(people, count, generator) for _ in range(SETS)]
    codes = [encode_all(model, draw)["static"] for draw in draws]
    return torch.cat(codes), torch.cat([draw.labels["person"] for draw in draws])


def encode_photographs(
    model: UnorderedFrames, people: Sequences, count: int, generator: torch.Generator
) -> Encoded:
    """All observed photographs one by one: f of each alone, z given f of `count` of its person."""
    of_person = encode_all(model, draw_frames(people, count, generator))["static"]
    frames, mask = as_float(people.frames), people.mask
    person, _ = mask.nonzero(as_tuple=True)
    labels = {name: people.labels[name][person] for name in people.static}
    labels |= {name: people.labels[name][mask] for name in people.dynamic}
    single = Sequences(frames[mask][:, None], labels, tuple(labels), (), people.split)
    codes = {
        "static": encode_all(model, single)["static"],
        "dynamic": dynamic_given(model, frames, of_person)[mask],
    }
    return Encoded(single, codes, labels)


def nearest_accuracy(train: Tensor, train_labels: Tensor, test: Tensor, labels: Tensor) -> float:
    """The accuracy with which the Euclidean nearest neighbour of a vector (...) names its class."""
    distances = torch.cdist(test.flatten(1).double(), train.flatten(1).double())
    return float((train_labels[distances.argmin(1)] == labels).double().mean())


def fit_whitening(people: Sequences) -> Tensor:
    """The matrix (P, P) that makes what changes within sequences nearly equal in all directions.

    Frames of P values, as rows (n, P), are multiplied by it. It is fitted to the observed frames of
    `people` and their grouping by sequence, which is all that paper B's model is trained on, too.
    Source: within-class covariance normalisation, Hatch et al. 2006.
    """
    values = as_float(people.frames).flatten(2).double()  # (N, T, P)
    observed = people.observed
    means = (values * observed[..., None]).sum(1) / observed.sum(1)[:, None]  # (N, P)
    within = (values - means[:, None])[observed]
    variance, directions = torch.linalg.eigh(within.T @ within / len(within))
    scale = (variance.clamp(min=0) + WHITENING_FLOOR).rsqrt()
    return ((directions * scale) @ directions.T).float()


def person_accuracy(
    known_sets: tuple[Tensor, Tensor],
    asked_sets: tuple[Tensor, Tensor],
    train: Encoded,
    test: Encoded,
    gallery: Tensor,
    whitening: Tensor,
) -> Figures:
    """Share of test photographs whose person the nearest neighbour in a random half of the
    training photographs names, Euclidean; chance .05. static_person_1nn: ten sets of N a person,
    by f; static_person_1nn_single: single photographs, by f of each alone; pixels_person_1nn: the
    same by their pixels; whitened_person_1nn: by their pixels, whitened within people on all
    training photographs."""
    pixels = [part.sequences.frames.flatten(1) for part in (train, test)]  # (n, P)
    vectors = {
        "static_person_1nn_single": (train.codes["static"], test.codes["static"]),
        "pixels_person_1nn": pixels,
        "whitened_person_1nn": [values @ whitening for values in pixels],
    }
    figures = {"static_person_1nn": nearest_accuracy(*known_sets, *asked_sets)}
    person = train.labels["person"][gallery]
    for name, (known, asked) in vectors.items():
        figures[name] = nearest_accuracy(known[gallery], person, asked, test.labels["person"])
    return figures


MEASURES = (unordered_bound, prior_from_average, person_accuracy, class_probes)
EVALUATIONS = {"faces": Evaluation(evaluate_faces, load_split, MEASURES)}
