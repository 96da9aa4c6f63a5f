"""The benchmark: every model by the same instruments, whatever its codes are called.

Two questions are asked. Are what stays and what moves in two codes, `static` and `dynamic`? And, of
moving digits, are the two things in two codes? Paper A's factors have no such names. Which of them
counts as static, and which as the red digit's, is decided on validation sequences.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from unbraid.codes import as_float, decode_all, root_mean_square
from unbraid.data.moving_digits import MovingDigits, load_digits
from unbraid.data.sampling import FrameSampler
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import ATTRIBUTES, class_labels
from unbraid.measures.judges import judge_clips, judge_probabilities
from unbraid.measures.swaps import random_donors
from unbraid.models.base import Codes, SequenceModel
from unbraid_extras.disentanglement import scores

from papers.a.evaluate import centroids
from papers.c.evaluate import load_clips, true_swaps
from papers.datasets import load_frames, shortest_length
from papers.encoded import (
    Encoded,
    Evaluation,
    Figures,
    count_evaluated,
    encode,
    name_skills,
    probe,
    seeded,
    select,
)
from papers.generic import bound, reconstruction
from papers.judge import open_judge
from papers.settings import Settings


class Known(NamedTuple):
    """The labels of a dataset that stay within a sequence, and those that move."""

    static: tuple[str, ...]
    dynamic: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """All of them."""
        return self.static + self.dynamic


DIGITS = Known(("red_digit", "green_digit"), ("red_position", "green_position"))
LABELS = {
    "circle": DIGITS,
    "bounce": DIGITS,
    "sprites": Known(ATTRIBUTES, ("action", "direction")),
    "faces": Known(("person",), ("pose", "expression", "eyes")),
}
THINGS = Known(("red_digit", "red_position"), ("green_digit", "green_position"))
PATCH = 4  # Pixels are read as means of 4 x 4.
SPLITS = ("train", "validation", "test")


def evaluate_side_by_side(model: SequenceModel, settings: Settings, seed: int) -> Figures:
    """All figures of a model in the benchmark."""
    train, validation, test = (
        encode(model, load_benchmark(settings, split, seed)) for split in SPLITS
    )
    known = LABELS[settings.dataset]
    roles = assign(validation, known, seed)
    figures = bound(model, test, seed)
    figures |= reconstruction(model, test)
    figures |= leakage(train, test, known, roles, seed)
    figures |= block_scores(test, known, roles, seed)
    if settings.dataset != "faces":
        figures |= swaps(model, test, settings, roles, seed)
    if known is DIGITS:
        things = assign(validation, THINGS, seed, free=True)
        figures |= exchanged_things(model, test, settings, things, seed)
    if settings.run == "pca":
        figures |= pixel_probes(train, test, known, seed)
    return figures


# ---- data


def load_benchmark(settings: Settings, split: str, seed: int) -> Sequences:
    """Sequences of "train", "validation" or "test", bytes as floats.

    Validation digits are new paths of training digits, validation sprites are a tenth of the
    training characters, and faces have none: "validation" draws from the people of training. Moving
    digits have the label `which` (N, 2), the numbers of their images.
    """
    if settings.dataset == "sprites":
        split = {"train": settings.training_split}.get(split, split)
        return load_clips(settings, split, seed).as_float()
    count, number = count_evaluated(settings, split), 3 * seed + SPLITS.index(split)
    if settings.sampler == "moving_digits":
        draw = digits_of(settings, split)
        sequences = draw(count, seeded(number))
        which, _ = draw.draw(count, seeded(number))  # The same once more.
        labels = sequences.labels | {"which": which}
        return replace(sequences, labels=labels, static=(*sequences.static, "which"))
    train, test = (load_frames(settings, part) for part in ("train", "test"))
    # Test people may have fewer frames than a training sequence.
    length = min(settings.length, shortest_length(train), shortest_length(test))
    return FrameSampler(test if split == "test" else train, length)(count, seeded(number))


def digits_of(settings: Settings, split: str) -> MovingDigits:
    """What draws the moving digits of a split."""
    law = settings.motion, tuple(settings.speeds)
    digits = load_digits("test" if split == "test" else "train")
    return MovingDigits(digits, settings.image_size, settings.length, *law)


# ---- which code is which


def assign(validation: Encoded, known: Known, seed: int, free: bool = False) -> tuple[str, str]:
    """The names of the two codes that play the parts of `known.static` and `known.dynamic`.

    A code that is called static keeps its part, unless free. Otherwise it is the pair of codes for
    which linear probes, trained on half of the validation sequences, know most of their own labels.
    """
    names = tuple(validation.codes)
    if "static" in names and not free:
        return "static", "dynamic"
    half = len(validation) // 2
    skills = {}
    for part in known:
        labels = select(validation.labels, part)
        first = {name: values[:half] for name, values in labels.items()}
        second = {name: values[half:] for name, values in labels.items()}
        for code in names:
            values = validation.codes[code].flatten(1)  # of a path all steps, side by side
            codes = {code: values[:half]}, {code: values[half:]}
            skills[part, code] = probe(*codes, first, second, "linear", seed).value.mean()
    return max(
        permutations(names, 2),
        key=lambda pair: skills[known.static, pair[0]] + skills[known.dynamic, pair[1]],
    )


# ---- what each code is informative about


def leakage(
    train: Encoded, test: Encoded, known: Known, roles: tuple[str, str], seed: int
) -> Figures:
    """<code>_probe_<label>: skill, 0 for the best constant, 1 if always right, of a non-linear
    probe trained on codes of training sequences. The static code of a model whose factors have
    paths is the mean over time of the factor that is assigned. Off the dynamic code a label of the
    sequence is read from all steps side by side, one of frames frame by frame; off the static
    code the labels of all frames are read at once. static_knows, dynamic_knows: means over the
    labels that stay, and over those that move. static_leaks, dynamic_leaks: over the others'.
    kept_apart: the mean of the first two less that of the last two. static_code: the number, from
    0, of the code that counts as static."""
    figures: Figures = {"static_code": float(list(test.codes).index(roles[0]))}
    for role, code in zip(("static", "dynamic"), roles, strict=True):
        for name in known.all:
            labels = [part.labels[name] for part in (train, test)]
            codes = [part.codes[code] for part in (train, test)]
            if role == "static":
                codes = [values.mean(1) if values.ndim == 3 else values for values in codes]
            elif labels[0].ndim == 1:
                codes = [values.flatten(1) for values in codes]
            pairs = [{role: values} for values in codes] + [{name: values} for values in labels]
            figures |= name_skills(probe(*pairs, seed=seed))
    figures["static_knows"] = mean_of(figures, "static", known.static)
    figures["static_leaks"] = mean_of(figures, "static", known.dynamic)
    figures["dynamic_knows"] = mean_of(figures, "dynamic", known.dynamic)
    figures["dynamic_leaks"] = mean_of(figures, "dynamic", known.static)
    known_skill = figures["static_knows"] + figures["dynamic_knows"]
    leaked = figures["static_leaks"] + figures["dynamic_leaks"]
    return figures | {"kept_apart": (known_skill - leaked) / 2}


def mean_of(figures: Figures, role: str, names: tuple[str, ...]) -> float:
    """The mean skill of a code for these labels; a skill below 0 counts as 0."""
    return float(np.mean([max(figures[f"{role}_probe_{name}"], 0.0) for name in names]))


def pixel_probes(train: Encoded, test: Encoded, known: Known, seed: int) -> Figures:
    """pixels_probe_<label>: the same probe on the frames themselves, as means of 4 x 4 pixels: of a
    label of the sequence on all frames side by side, of one of frames frame by frame."""
    small = []
    for part in (train, test):
        frames = part.sequences.frames
        means = F.avg_pool2d(frames.flatten(0, 1), PATCH).flatten(1)
        small.append(means.unflatten(0, frames.shape[:2]))  # (N, T, pixels)
    figures: Figures = {}
    for name in known.all:
        labels = [part.labels[name] for part in (train, test)]
        pixels = [values.flatten(1) if labels[0].ndim == 1 else values for values in small]
        pairs = [{"pixels": values} for values in pixels] + [{name: values} for values in labels]
        figures |= name_skills(probe(*pairs, seed=seed))
    return figures


def block_scores(test: Encoded, known: Known, roles: tuple[str, str], seed: int) -> Figures:
    """Scores of the two codes as blocks, and with the ending _units of single units, on the codes
    and labels of the middle frame of each test sequence: disentanglement, completeness and
    informativeness of DCI (random forests), gap (MIG), and modularity, compactness and explicitness
    of InfoMEC. A place counts as two factors, x and y."""
    middle = test.sequences.length // 2
    codes, factors = {}, {}
    for role, code in zip(("static", "dynamic"), roles, strict=True):
        values = test.codes[code]
        codes[role] = (values[:, middle] if values.ndim == 3 else values).numpy()
    for name in known.all:
        values = test.labels[name]
        if name in test.sequences.dynamic:
            values = values[:, middle]
        if values.ndim == 2:
            factors |= {f"{name}_x": values[:, 0].numpy(), f"{name}_y": values[:, 1].numpy()}
        else:
            factors[name] = values.numpy()
    blocks, units = scores(codes, factors, seed=seed)
    figures: Figures = {}
    for found, ending in ((blocks, ""), (units, "_units")):
        for name in ("disentanglement", "completeness", "modularity", "compactness"):
            figures[f"{name}{ending}"] = float(np.nan_to_num(getattr(found, name)))
    for name in ("informativeness", "gap", "explicitness"):
        figures[name] = float(np.nan_to_num(getattr(blocks, name)))
    return figures


# ---- swaps


def exchange(model: SequenceModel, codes: Codes, given: str, donors: np.ndarray) -> Tensor:
    """Frames of all codes, of which the one called `given` is that of the donors."""
    frames = decode_all(model, codes | {given: codes[given][torch.as_tensor(donors)]})
    return frames.clamp(0, 1)


def swaps(
    model: SequenceModel,
    test: Encoded,
    settings: Settings,
    roles: tuple[str, str],
    seed: int,
) -> Figures:
    """Each test clip's dynamic code with another clip's static code, decoded, beside the true clip
    with the donor's looks and the own motion. swap_right: share in which this true clip is the
    nearest, by squared error, of four: it, the own clip, the donor's, and that with the own looks
    and the donor's motion, over the clips that differ from their donors in both. swap_unchanged,
    swap_donor: shares of the own clip and of the donor's.
    swap_rmse: root mean square error to the true clip; unchanged_rmse: that of the own clip.
    swap_looks: share in which a judge names what the donor wears (a digit's name, in every frame).
    swap_motion: of sprites the share in which it names the own motion, of nine; of digits R2 of the
    centroids of both digits, in all frames, for those of the true clip."""
    donors = random_donors(len(test), seed)
    frames = exchange(model, test.codes, roles[0], donors)
    own = as_float(test.sequences.frames)
    if settings.sampler == "moving_digits":
        draw, labels = digits_of(settings, "test"), test.labels
        places = torch.stack([labels["red_position"], labels["green_position"]], 2)
        true = draw.render(labels["which"][donors], places)
        reverse = draw.render(labels["which"], places[donors])
        figures = judge_digits(frames, true, test.labels, donors, settings)
    else:
        true = own[true_swaps(test.sequences, donors)]
        reverse = own[true_swaps(test.sequences, np.argsort(donors))[donors]]
        figures = judge_sprites(frames, test.sequences, donors, settings)
    other = own[torch.as_tensor(donors)]
    differ = (true != other).flatten(1).any(1) & (true != own).flatten(1).any(1)
    nearest = find_nearest(frames, (true, own, other, reverse))[differ]
    shares = {"swap_right": 0, "swap_unchanged": 1, "swap_donor": 2}
    figures |= {name: float((nearest == row).double().mean()) for name, row in shares.items()}
    errors = {"swap_rmse": frames, "unchanged_rmse": own}
    return figures | {name: root_mean_square(each, true) for name, each in errors.items()}


def find_nearest(frames: Tensor, candidates: tuple[Tensor, ...]) -> Tensor:
    """Which of the candidates (N, ...) is nearest to each of the frames (N, ...), (N,)."""
    errors = [(frames - each).square().flatten(1).sum(1) for each in candidates]
    return torch.stack(errors).argmin(0)


def judge_sprites(
    frames: Tensor, clips: Sequences, donors: np.ndarray, settings: Settings
) -> Figures:
    """swap_looks and swap_motion of clips of sprites, and the scores of the benchmark MSD (arXiv
    2510.17313): 1 less half the sum of two means, of |accuracy - 1| over what must stay and of
    |accuracy - 1 / classes| over what must not. msd_static_swap: of the clips that keep their
    motion; msd_dynamic_swap: of the same pictures as clips that keep their looks."""
    judge = open_judge("sprites", settings.profile, clips.classes, settings.image_size)
    labels, own, donor = class_labels(clips), {}, {}
    for name, probabilities in judge_clips(judge, frames).items():
        judged = probabilities.argmax(1).numpy()
        own[name] = (judged == labels[name]).mean()
        donor[name] = (judged == labels[name][donors]).mean()
    worn = float(np.mean([donor[name] for name in ATTRIBUTES]))
    motion = float(own["action"])
    kept_looks = np.mean([abs(own[name] - 1 / 6) for name in ATTRIBUTES])
    kept_motion = abs(donor["action"] - 1 / 9)
    return {
        "swap_looks": worn,
        "swap_motion": motion,
        "msd_static_swap": float(1 - (1 - motion + kept_looks) / 2),
        "msd_dynamic_swap": float(1 - (1 - worn + kept_motion) / 2),
    }


def judge_digits(
    frames: Tensor,
    true: Tensor,
    labels: dict[str, Tensor],
    donors: np.ndarray,
    settings: Settings,
) -> Figures:
    """swap_looks and swap_motion of moving digits."""
    judge = open_judge("digits", settings.profile, image_size=settings.image_size)
    length, right = frames.shape[1], []
    for name, p in judge_probabilities(judge, frames.flatten(0, 1)).items():
        expected = labels[name][torch.as_tensor(donors)].repeat_interleave(length)
        right.append((p.argmax(1) == expected).double().mean())
    found, places = centroids(frames).double(), centroids(true).double()
    spread = (places - places.mean((0, 1))).square().sum()
    motion = 1 - (found - places).square().sum() / spread
    return {"swap_looks": float(torch.stack(right).mean()), "swap_motion": float(motion)}


def exchanged_things(
    model: SequenceModel,
    test: Encoded,
    settings: Settings,
    things: tuple[str, str],
    seed: int,
) -> Figures:
    """Of moving digits, the code that knows most of the red digit on validation (the other must
    know the green one) is exchanged with another sequence's. thing_right: share in which, of four
    true clips, the nearest has the donor's red digit, its looks and its path, beside the own green
    one. The others are the own clip, the donor's, and the one with the donor's green digit.
    red_code: the number, from 0, of the code that was exchanged."""
    donors = random_donors(len(test), seed)
    frames = exchange(model, test.codes, things[0], donors)
    own = as_float(test.sequences.frames)
    other = own[torch.as_tensor(donors)]
    red_planes = torch.tensor([True, False, False])[:, None, None]
    mixed = [torch.where(planes, other, own) for planes in (red_planes, ~red_planes)]
    nearest = find_nearest(frames, (mixed[0], own, other, mixed[1]))
    number = list(test.codes).index(things[0])
    return {"red_code": float(number), "thing_right": float((nearest == 0).double().mean())}


OF_CODES = (bound, reconstruction, leakage, block_scores)
BENCHMARK = Evaluation(
    evaluate_side_by_side,
    load_benchmark,
    (*OF_CODES, swaps, exchanged_things, pixel_probes),
)
EVALUATIONS = dict.fromkeys(LABELS, BENCHMARK)
