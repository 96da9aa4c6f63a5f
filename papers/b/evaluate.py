"""Paper B: moving digits whose order is lost, and what its evaluations share."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from unbraid.codes import bound_per_frame, device_of, dynamic_given, encode_all
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
    name_skills,
    probe,
    seeded,
    select,
)
from papers.settings import Settings

NEIGHBOURS = 20  # neighbours that vote on a dynamic code's class; 50 were right less often
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


def knn_accuracy(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> float:
    """The accuracy with which a code's `NEIGHBOURS` nearest neighbours name its class.

    Codes (N, d) or (N, T, d), which are measured in standard deviations, classes (N,) or (N, T).
    """
    spread = train.flatten(0, -2).std(0).clamp(min=1e-6)
    rows = []
    for codes, labels in ((train, train_labels), (test, test_labels)):
        if labels.ndim < codes.ndim - 1:
            labels = labels[:, None].expand(codes.shape[:-1])
        rows.append(((codes / spread).flatten(0, -2).numpy(), labels.flatten().numpy()))
    machine = KNeighborsClassifier(min(NEIGHBOURS, len(rows[0][0]))).fit(*rows[0])
    return float(machine.score(*rows[1]))


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


def class_accuracies(
    train: Encoded,
    test: Encoded,
    static: tuple[str, ...],
    dynamic: tuple[str, ...],
    seed: int,
) -> Figures:
    """static_accuracy_*, dynamic_accuracy_*: accuracy of a linear probe of f, and of 20 nearest
    neighbours of z, for classes of test sequences, learnt on codes of training sequences."""
    figures: Figures = {}
    labels = select(train.labels, static), select(test.labels, static)
    skills = probe(*only("static", train, test), *labels, "linear", seed)
    for name in static:
        accuracy = accuracy_from_skill(skills["static", name], *(of[name] for of in labels))
        figures[f"static_accuracy_{name}"] = accuracy
    known, asked = train.codes["dynamic"], test.codes["dynamic"]
    for name in dynamic:
        accuracy = knn_accuracy(known, train.labels[name], asked, test.labels[name])
        figures[f"dynamic_accuracy_{name}"] = accuracy
    return figures


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
    if settings.channels == 1:
        figures |= side_probes(train, test, seed)
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


def side_probes(train: Encoded, test: Encoded, seed: int) -> Figures:
    """Of grey digits, *_sides: as *_position, of the left and of the right digit, whichever they
    are, because z need not say whose a place is."""
    one, other = test.sequences.dynamic
    sides = [order_by_side(part.labels[one], part.labels[other]) for part in (train, test)]
    skills = probe(*only("dynamic", train, test), *sides, seed=seed)
    return {"dynamic_probe_sides": float(skills.value.mean())}


def order_by_side(first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """Two positions (..., 2), x and y, by their names left and right."""
    is_left = first[..., :1] <= second[..., :1]
    left, right = torch.where(is_left, first, second), torch.where(is_left, second, first)
    return {"left": left, "right": right}


MEASURES = (unordered_bound, prior_from_average, digit_probes, side_probes)
DIGITS = Evaluation(evaluate_unordered_digits, load_paths, MEASURES)
EVALUATIONS = {"digits": DIGITS, "grey_digits": DIGITS}
