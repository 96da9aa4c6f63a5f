"""Paper B: digits whose order is lost, photographs of faces, and what its evaluations share."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from unbraid.codes import as_float, bound_per_frame, device_of, dynamic_given, encode_all
from unbraid.data.sampling import FrameSampler
from unbraid.data.sequences import Sequences
from unbraid.models.unordered import UnorderedFrames

from papers.b.paths import PATH_LENGTH
from papers.datasets import make_paths, shortest_length
from papers.encoded import (
    Encoded,
    Evaluation,
    Figures,
    Labels,
    at_first_step,
    count_evaluated,
    load_split,
    name_skills,
    probe,
    seeded,
    select,
)
from papers.settings import Settings

PRIOR_DRAWS = 64  # draws of z from each p(z | f)
BOUND_SAMPLES = 4  # samples of each test sequence behind the bound
CODES = 20_000  # the seed of what is drawn to be encoded, plus the run's


def draw_frames(sequences: Sequences, count: int, generator: torch.Generator) -> Sequences:
    """`count` observed frames of every sequence, or as many as the shortest has, at random."""
    sampler = FrameSampler(sequences, min(count, shortest_length(sequences)))
    return replace(sampler.each(generator), mask=None)


def accuracy_from_skill(skill: float, train_labels: Tensor, labels: Tensor) -> float:
    """The accuracy of a probe from its skill, which is 0 for the commonest class of training."""
    commonest = train_labels.flatten().bincount().argmax()
    return 1 - (1 - skill) * float((labels != commonest).double().mean())


def unordered_bound(
    model: UnorderedFrames, test: Sequences, settings: Settings, seed: int
) -> Figures:
    """The bound and its terms in nats: means over four samples of N frames of every test sequence,
    with one draw of the codes of each. kl_static is of a sequence, kl_dynamic_per_frame of a
    frame."""
    generator = seeded(10_000 + seed)
    samples = [draw_frames(test, settings.length, generator) for _ in range(BOUND_SAMPLES)]
    return bound_per_frame(model, samples, seed)


@torch.no_grad()
def prior_from_average(model: UnorderedFrames, static: Tensor, seed: int) -> Figures:
    """prior_from_average: the mean over test sequences of KL(p(z | f) || average over all f) in
    nats per frame, by draws of z. It is the information of z about f under the prior: 0 where
    p(z | f) is the same for all f, at most the logarithm of their number."""
    prior = model.prior(static.to(device_of(model)))  # static: (M, D)
    mean = prior.mean[:, 0].double().cpu()  # (M, d)
    deviation = prior.standard_deviation[:, 0].double().cpu()
    generator, values = seeded(40_000 + seed), []
    for _ in range(PRIOR_DRAWS):
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        z = mean + deviation * noise
        densities = torch.distributions.Normal(mean, deviation).log_prob(z[:, None]).sum(-1)
        own = densities.diagonal()  # log p(z_m | f_m); a row holds those of all f
        values.append(own - densities.logsumexp(1) + math.log(len(mean)))
    return {"prior_from_average": float(torch.stack(values).mean())}


def class_probes(train: Encoded, test: Encoded, seed: int) -> Figures:
    """*_probe_*: classes read off codes of test sequences by a non-linear probe trained on codes of
    training sequences, as skill (0 chance, 1 perfect). Off f of N frames a label of frames is that
    of one frame; off z it is read frame by frame."""
    labels = train.labels, test.labels
    first = [at_first_step(of_split) for of_split in labels]
    figures = name_skills(probe(*only("static", train, test), *first, seed=seed))
    return figures | name_skills(probe(*only("dynamic", train, test), *labels, seed=seed))


def only(code: str, *parts: Encoded) -> list[dict[str, Tensor]]:
    """One of the codes, by its name, of each part."""
    return [{code: part.codes[code]} for part in parts]


# ---- moving digits whose order is lost


def evaluate_unordered_digits(model: UnorderedFrames, settings: Settings, seed: int) -> Figures:
    """All figures of a model of unordered moving digits, on two planes or grey on one."""
    train_paths, test_paths = (load_paths(settings, split, seed) for split in ("train", "test"))
    generator = seeded(CODES + seed)
    train, train_seen = encode_paths(model, train_paths, settings.length, generator)
    test, test_seen = encode_paths(model, test_paths, settings.length, generator)

    figures = unordered_bound(model, test_paths, settings, seed)
    figures |= prior_from_average(model, test.codes["static"], seed)
    figures |= digit_probes(train, test, train_seen, test_seen, seed)
    return figures


def load_paths(settings: Settings, split: str, seed: int) -> Sequences:
    """Paths of moving digits, all frames in their order; grey with one channel."""
    paths, count = make_paths(settings, split), count_evaluated(settings, split)
    return paths(count, seeded(2 * seed + (split == "test")))


def encode_paths(
    model: UnorderedFrames, paths: Sequences, count: int, generator: torch.Generator
) -> tuple[Encoded, Labels]:
    """f of `count` frames of each path, with z and labels of all its other frames.

    Also returned are the labels of the frames that f has seen.
    """
    sampler = FrameSampler(paths, PATH_LENGTH)
    rows = torch.arange(len(paths))
    steps = sampler.steps(rows, generator)
    seen = sampler.take(rows, steps[:, :count])
    others = sampler.take(rows, steps[:, count:])
    static = encode_all(model, seen)["static"]
    codes = {"static": static, "dynamic": dynamic_given(model, others.frames, static)}
    return Encoded(others, codes, others.labels), seen.labels


def digit_probes(
    train: Encoded, test: Encoded, train_seen: Labels, test_seen: Labels, seed: int
) -> Figures:
    """Skill (0 chance, 1 perfect; of positions R^2) of a non-linear probe, trained on codes of
    training paths. *_digit: mean of both digits. *_position: mean of both digits,
    each x and y, of frames that f has not seen; _seen: of one that it has. The mean of N frames
    alone tells a part of where those N were, and so of each."""
    labels = train.labels, test.labels
    first = [at_first_step(of_split) for of_split in labels]
    seen = [at_first_step(of_split) for of_split in (train_seen, test_seen)]
    digits, positions = test.sequences.static, test.sequences.dynamic
    read = {
        "static_probe_digit": ("static", digits, first),
        "dynamic_probe_digit": ("dynamic", digits, labels),
        "static_probe_position": ("static", positions, first),
        "static_probe_position_seen": ("static", positions, seen),
        "dynamic_probe_position": ("dynamic", positions, labels),
    }
    figures = {}
    for figure, (code, names, known) in read.items():
        chosen = [select(of_split, names) for of_split in known]
        skills = probe(*only(code, train, test), *chosen, seed=seed).value
        figures[figure] = float(skills.mean())
    return figures


# ---- faces


def evaluate_faces(model: UnorderedFrames, settings: Settings, seed: int) -> Figures:
    """All figures of a model of faces: unseen photographs of people whom training knows."""
    people = [load_split(settings, split, seed) for split in ("train", "test")]
    generator = seeded(CODES + seed)
    lots = 11 * people[0].mask.numel() + 10 * people[1].mask.numel()
    torch.rand(lots, generator=generator)  # results/ was drawn after them
    codes = [encode_photographs(model, part, settings.length, generator) for part in people]
    figures = unordered_bound(model, people[1], settings, seed)
    figures |= prior_from_average(model, codes[1].codes["static"], seed)
    return figures | class_probes(*codes, seed)


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


DIGITS = Evaluation(evaluate_unordered_digits, load_paths)
FACES = Evaluation(evaluate_faces, load_split)
EVALUATIONS = {"digits": DIGITS, "grey_digits": DIGITS, "faces": FACES}
