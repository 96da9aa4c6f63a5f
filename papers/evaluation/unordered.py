"""Paper B's evaluation: unordered moving digits, faces, and what `poses` shares with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from unbraid.codes import dynamic_given
from unbraid.data.moving_digits import PATH_LENGTH
from unbraid.data.sampling import FrameSampler
from unbraid.data.sequences import Sequences
from unbraid.models.unordered import UnorderedFrames

from papers.evaluation import common
from papers.evaluation.common import Evaluation, Examined, Figures
from papers.experiments import make_paths

NEIGHBOURS = 20  # neighbours that vote on a dynamic code's class; 50 were right less often
PRIOR_DRAWS = 64  # draws of z from each p(z | f)
BOUND_SAMPLES = 4  # samples of each test sequence behind the bound
SETS = 10  # sets of photographs of each person
WHITENING_FLOOR = 0.01  # is added to variances, as on the scale of speech: notebook 35, equation 3


def draw_frames(sequences: Sequences, count: int, generator: torch.Generator) -> Sequences:
    """`count` observed frames of every sequence, or as many as the shortest has, at random."""
    sampler = FrameSampler(sequences, min(count, shortest_length(sequences)))
    return replace(sampler.each(generator), mask=None)


def draw_sets(
    sequences: Sequences, count: int, draws: int, generator: torch.Generator
) -> list[Sequences]:
    """Draw frames of every sequence as `draw_frames` does, `draws` times."""
    return [draw_frames(sequences, count, generator) for _ in range(draws)]


def shortest_length(sequences: Sequences) -> int:
    """How many frames the shortest sequence has."""
    return int(sequences.observed.sum(1).min())


def accuracy_from_skill(skill: float, train_labels: Tensor, labels: Tensor) -> float:
    """The accuracy of a probe from its skill, which is 0 for the commonest class of training."""
    commonest = train_labels.flatten().bincount().argmax()
    return 1 - (1 - skill) * float((labels != commonest).double().mean())


def knn_accuracy(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> float:
    """The accuracy with which a code's `NEIGHBOURS` nearest neighbours name its class.

    Codes (N, d) or (N, T, d) in standard deviations, classes (N,) or (N, T).
    """
    spread = train.flatten(0, -2).std(0).clamp(min=1e-6)
    rows = []
    for codes, labels in ((train, train_labels), (test, test_labels)):
        if labels.ndim < codes.ndim - 1:
            labels = labels[:, None].expand(codes.shape[:-1])
        rows.append(((codes / spread).flatten(0, -2).numpy(), labels.flatten().numpy()))
    machine = KNeighborsClassifier(min(NEIGHBOURS, len(rows[0][0]))).fit(*rows[0])
    return float(machine.score(*rows[1]))


def nearest_accuracy(train: Tensor, train_labels: Tensor, test: Tensor, labels: Tensor) -> float:
    """The accuracy with which the Euclidean nearest neighbour of a vector (...) names its class."""
    distances = torch.cdist(test.flatten(1).double(), train.flatten(1).double())
    return float((train_labels[distances.argmin(1)] == labels).double().mean())


def unordered_bound(examined: Examined) -> Figures:
    """The bound and its terms in nats: means over four samples of N frames of every test sequence,
    with one draw of the codes of each. kl_static is of a sequence, kl_dynamic_per_frame of a
    frame."""
    generator = torch.Generator().manual_seed(10_000 + examined.seed)
    length = examined.settings.length
    samples = draw_sets(examined.test, length, BOUND_SAMPLES, generator)
    return common.bound_per_frame(examined.model, samples, examined.seed)


@torch.no_grad()
def prior_from_average(examined: Examined) -> Figures:
    """prior_from_average: the mean over test sequences of KL(p(z | f) || average over all f) in
    nats per frame, by draws of z. It is the information of z about f under the prior: 0 where
    p(z | f) is the same for all f, at most the logarithm of their number."""
    model, codes = examined.model, examined.test_codes["static"]
    prior = model.prior(codes.to(common.device_of(model)))
    mean = prior.mean[:, 0].double().cpu()  # (M, d)
    deviation = prior.standard_deviation[:, 0].double().cpu()
    generator = torch.Generator().manual_seed(40_000 + examined.seed)
    count = len(mean)
    values = []
    for _ in range(PRIOR_DRAWS):
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        z = mean + deviation * noise
        densities = torch.distributions.Normal(mean, deviation).log_prob(z[:, None]).sum(-1)
        own = densities.diagonal()  # log p(z_m | f_m); a row holds those of all f
        values.append(own - densities.logsumexp(1) + math.log(count))
    return {"prior_from_average": float(torch.stack(values).mean())}


def class_probes(examined: Examined) -> Figures:
    """Classes read off codes of test sequences by probes trained on codes of training sequences.
    *_probe_*: skill (0 chance, 1 perfect) of a non-linear probe. static_accuracy_*: accuracy of a
    linear one; dynamic_accuracy_*: of 20 nearest neighbours. Off f of N frames a label of frames
    is that of one frame; off z it is read frame by frame."""
    labels = examined.train_labels, examined.test_labels
    first = [common.at_first_frame(of) for of in labels]
    figures = common.probe_figures(common.probe_code(examined, "static", first))
    figures |= common.probe_figures(common.probe_code(examined, "dynamic", labels))
    linear = common.probe_code(examined, "static", first, "linear")
    known, asked = examined.train_codes["dynamic"], examined.test_codes["dynamic"]
    for name in labels[0]:
        skill = linear["static", name]
        figures[f"static_accuracy_{name}"] = accuracy_from_skill(skill, *(of[name] for of in first))
        train, test = (of[name] for of in labels)
        figures[f"dynamic_accuracy_{name}"] = knn_accuracy(known, train, asked, test)
    return figures


# ---- moving digits whose order is lost


def load_paths(settings, split: str, seed: int) -> Sequences:
    """Paths of moving digits, all frames in their order; grey with one channel."""
    count = settings.evaluation_training if split == "train" else settings.evaluation_sequences
    paths = make_paths(settings, split)
    return paths(count, torch.Generator().manual_seed(2 * seed + (split == "test")))


def examine_digits(model: UnorderedFrames, settings, seed: int, load) -> Examined:
    """Codes f of N frames, seen_labels, of each path; z and labels of all its other frames."""
    examined = common.prepare(model, settings, seed, load)
    for split in ("train", "test"):
        sampler = FrameSampler(getattr(examined, split), PATH_LENGTH)
        rows = torch.arange(len(sampler.sequences))
        steps = sampler.steps(rows, examined.generator)
        seen = sampler.take(rows, steps[:, : settings.length])
        others = sampler.take(rows, steps[:, settings.length :])
        static = common.encode_all(model, seen)["static"]
        codes = {"static": static, "dynamic": dynamic_given(model, others.frames, static)}
        examined.add(split, codes=codes, labels=others.labels, seen_labels=seen.labels)
    return examined


def digit_probes(examined: Examined) -> Figures:
    """Skill (0 chance, 1 perfect; of positions R^2) of a non-linear probe, trained on codes of
    training paths. *_digit: mean of both digits. *_position: mean of both digits,
    each x and y, of frames that f has not seen; _seen: of one that it has. The mean of N frames
    alone tells a part of where those N were, and so of each. *_sides, of grey digits: the same of
    the left and of the right digit, whichever they are, because z need not say whose a place is."""
    labels = examined.train_labels, examined.test_labels
    first = [common.at_first_frame(of) for of in labels]
    of_seen = examined.train_seen_labels, examined.test_seen_labels
    seen = [common.at_first_frame(of) for of in of_seen]

    def mean_skill(code: str, names: tuple[str, ...], labels) -> float:
        train, test = labels
        train_labels = {name: train[name] for name in names}
        test_labels = {name: test[name] for name in names}
        matrix = common.probe_code(examined, code, [train_labels, test_labels])
        return float(matrix.value.mean())

    digits, positions = examined.test.static, examined.test.dynamic
    figures = {
        "static_probe_digit": mean_skill("static", digits, first),
        "dynamic_probe_digit": mean_skill("dynamic", digits, labels),
        "static_probe_position": mean_skill("static", positions, first),
        "static_probe_position_seen": mean_skill("static", positions, seen),
        "dynamic_probe_position": mean_skill("dynamic", positions, labels),
    }
    if examined.settings.channels == 1:
        one, other = positions
        sides = [order_by_side(of[one], of[other]) for of in labels]
        figures["dynamic_probe_sides"] = mean_skill("dynamic", ("left", "right"), sides)
    return figures


def order_by_side(first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """Two positions (..., 2), x and y, by their names left and right."""
    is_left = first[..., :1] <= second[..., :1]
    left, right = torch.where(is_left, first, second), torch.where(is_left, second, first)
    return {"left": left, "right": right}


# ---- faces: unseen photographs of people that training knows


def examine_faces(model: UnorderedFrames, settings, seed: int, load) -> Examined:
    """Sets of photographs, and all photographs one by one with their codes and labels.

    The gallery is a random half of each person's training photographs.
    """
    examined = common.prepare(model, settings, seed, load)
    generator, mask = examined.generator, examined.train.mask
    half = random_half(mask, generator)
    parts = replace(examined.train, mask=half), examined.test
    draws = [draw_sets(of, settings.length, SETS, generator) for of in parts]
    examined.sets, examined.gallery = draws, half[mask]
    for split in ("train", "test"):
        people = getattr(examined, split)
        frames, mask = common.as_float(people.frames), people.mask
        of_person = draw_frames(people, settings.length, generator)
        static = common.encode_all(model, of_person)["static"]
        dynamic = dynamic_given(model, frames, static)[mask]
        alone = common.encode_all(model, frames[mask][:, None])["static"]
        codes = {"static": alone, "dynamic": dynamic}
        labels = labels_of_photographs(people)
        examined.add(split, photographs=frames[mask], codes=codes, labels=labels)
    return examined


def random_half(mask: Tensor, generator: torch.Generator) -> Tensor:
    """A random half, rounded up, of what is observed in each row of a mask (N, T)."""
    lots = torch.rand(mask.shape, generator=generator).masked_fill(~mask, 2.0)
    return (lots.argsort(1).argsort(1) < ((mask.sum(1) + 1) // 2)[:, None]) & mask


def labels_of_photographs(people: Sequences) -> Mapping[str, Tensor]:
    """Labels (n,) of all observed photographs."""
    person, _ = people.mask.nonzero(as_tuple=True)
    labels = {name: people.labels[name][person] for name in people.static}
    return labels | {name: people.labels[name][people.mask] for name in people.dynamic}


def fit_whitening(people: Sequences) -> Tensor:
    """The matrix (P, P) that makes what changes within sequences nearly equal in all directions.

    Frames of P values, as rows (n, P), are multiplied by it. It is fitted to the observed frames of
    `people` and their grouping by sequence, which is all that paper B's model is trained on, too.
    Source: within-class covariance normalisation, Hatch et al. 2006.
    """
    values = common.as_float(people.frames).flatten(2).double()  # (N, T, P)
    observed = people.observed
    means = (values * observed[..., None]).sum(1) / observed.sum(1)[:, None]  # (N, P)
    within = (values - means[:, None])[observed]
    variance, directions = torch.linalg.eigh(within.T @ within / len(within))
    scale = (variance.clamp(min=0) + WHITENING_FLOOR).rsqrt()
    return ((directions * scale) @ directions.T).float()


def person_accuracy(examined: Examined) -> Figures:
    """Share of test photographs whose person the nearest neighbour in a random half of the
    training photographs names, Euclidean; chance .05. static_person_1nn: ten sets of N a person,
    by f; static_person_1nn_single: single photographs, by f of each alone; pixels_person_1nn: the
    same by their pixels; whitened_person_1nn: by their pixels, whitened within people on all
    training photographs."""
    of_sets = []
    for draws in examined.sets:
        codes = [common.encode_all(examined.model, draw)["static"] for draw in draws]
        of_sets += [torch.cat(codes), torch.cat([draw.labels["person"] for draw in draws])]
    gallery, asked = examined.gallery, examined.test_labels["person"]
    known, static = examined.train_labels["person"][gallery], examined.test_codes["static"]
    alone = examined.train_codes["static"][gallery]
    pixels = examined.train_photographs[gallery].flatten(1), examined.test_photographs.flatten(1)
    whitening = fit_whitening(examined.train)
    whitened = [values @ whitening for values in pixels]
    return {
        "static_person_1nn": nearest_accuracy(*of_sets),
        "static_person_1nn_single": nearest_accuracy(alone, known, static, asked),
        "pixels_person_1nn": nearest_accuracy(pixels[0], known, pixels[1], asked),
        "whitened_person_1nn": nearest_accuracy(whitened[0], known, whitened[1], asked),
    }


DIGITS = Evaluation(load_paths, examine_digits, (unordered_bound, prior_from_average, digit_probes))
FACES = Evaluation(
    common.load_split,
    examine_faces,
    (unordered_bound, prior_from_average, person_accuracy, class_probes),
)
