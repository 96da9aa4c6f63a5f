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
from torch import Tensor
from unbraid.codes import as_float, decode_all
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
    Labels,
    count_evaluated,
    encode,
    name_skills,
    probe,
    seeded,
    select,
)
from papers.generic import bound
from papers.judge import open_judge
from papers.settings import Settings


class Known(NamedTuple):
    """The labels of a dataset that stay within a sequence, and those that move."""

    static: tuple[str, ...]
    dynamic: tuple[str, ...]


DIGITS = Known(("red_digit", "green_digit"), ("red_position", "green_position"))
LABELS = {
    "circle": DIGITS,
    "bounce": DIGITS,
    "sprites": Known(ATTRIBUTES, ("action", "direction")),
    "faces": Known(("person",), ("pose", "expression", "eyes")),
}
THINGS = Known(("red_digit", "red_position"), ("green_digit", "green_position"))
SPLITS = ("train", "validation", "test")


def evaluate_side_by_side(model: SequenceModel, settings: Settings, seed: int) -> Figures:
    """All figures of a model in the benchmark."""
    train, validation, test = (
        encode(model, load_benchmark(settings, split, seed)) for split in SPLITS
    )
    known = LABELS[settings.dataset]
    roles = assign(validation, known, seed)
    figures = bound(model, test, seed)
    figures |= leakage(train, test, known, roles, seed)
    figures |= block_scores(test, known, roles, seed)
    if settings.dataset != "faces":
        figures |= swaps(model, test, settings, roles, seed)
    if known is DIGITS:
        things = assign(validation, THINGS, seed, free=True)
        figures |= exchanged_things(model, test, things, seed)
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
    half, skills = len(validation) // 2, {}
    for part in known:
        labels = select(validation.labels, part)
        halves = [{name: values[:half] for name, values in labels.items()}]
        halves.append({name: values[half:] for name, values in labels.items()})
        for code in names:
            values = validation.codes[code].flatten(1)  # of a path all steps, side by side
            codes = {code: values[:half]}, {code: values[half:]}
            skills[part, code] = probe(*codes, *halves, "linear", seed).value.mean()
    return max(
        permutations(names, 2),
        key=lambda pair: skills[known.static, pair[0]] + skills[known.dynamic, pair[1]],
    )


# ---- what each code is informative about


def leakage(
    train: Encoded, test: Encoded, known: Known, roles: tuple[str, str], seed: int
) -> Figures:
    """<code>_probe_<label>: skill, 0 for the best constant, 1 if always right, of a probe.

    Of a factor with a path the mean over time is the static code. Off the dynamic code a label of
    the sequence is read from all steps at once, one of frames frame by frame. static_knows,
    dynamic_knows: means over the labels that stay, and over those that move; static_leaks,
    dynamic_leaks: over the others'. kept_apart: the mean of the first two less that of the others.
    static_code: the number, from 0, of the code that counts as static.
    """
    figures: Figures = {"static_code": float(list(test.codes).index(roles[0]))}
    for role, code in zip(("static", "dynamic"), roles, strict=True):
        for name in (*known.static, *known.dynamic):
            labels = [part.labels[name] for part in (train, test)]
            codes = [part.codes[code] for part in (train, test)]
            if role == "static":
                codes = [values.mean(1) if values.ndim == 3 else values for values in codes]
            elif labels[0].ndim == 1:
                codes = [values.flatten(1) for values in codes]
            pairs = [{role: values} for values in codes] + [{name: values} for values in labels]
            figures |= name_skills(probe(*pairs, seed=seed))
    for role, own, others in (("static", *known), ("dynamic", *known[::-1])):
        for kind, names in (("knows", own), ("leaks", others)):
            # A skill below 0 counts as 0.
            skills = [max(figures[f"{role}_probe_{name}"], 0.0) for name in names]
            figures[f"{role}_{kind}"] = float(np.mean(skills))
    known_skill = figures["static_knows"] + figures["dynamic_knows"]
    leaked = figures["static_leaks"] + figures["dynamic_leaks"]
    return figures | {"kept_apart": (known_skill - leaked) / 2}


def block_scores(test: Encoded, known: Known, roles: tuple[str, str], seed: int) -> Figures:
    """DCI's disentanglement (random forests), and modularity and explicitness of InfoMEC.

    Of both codes as blocks, at the middle frame of each test sequence; a place counts as two
    factors, x and y.
    """
    middle = test.sequences.length // 2
    codes, factors = {}, {}
    for role, code in zip(("static", "dynamic"), roles, strict=True):
        values = test.codes[code]
        codes[role] = (values[:, middle] if values.ndim == 3 else values).numpy()
    for name in (*known.static, *known.dynamic):
        values = test.labels[name]
        if name in test.sequences.dynamic:
            values = values[:, middle]
        if values.ndim == 2:
            factors |= {f"{name}_x": values[:, 0].numpy(), f"{name}_y": values[:, 1].numpy()}
        else:
            factors[name] = values.numpy()
    blocks, _ = scores(codes, factors, seed=seed)
    names = ("disentanglement", "modularity", "explicitness")
    return {name: float(np.nan_to_num(getattr(blocks, name))) for name in names}


# ---- swaps


def exchange(model: SequenceModel, codes: Codes, given: str, donors: np.ndarray) -> Tensor:
    """Frames of all codes, of which the one called `given` is that of the donors."""
    frames = decode_all(model, codes | {given: codes[given][torch.as_tensor(donors)]})
    return frames.clamp(0, 1)


def swaps(
    model: SequenceModel, test: Encoded, settings: Settings, roles: tuple[str, str], seed: int
) -> Figures:
    """Each test clip's dynamic code with another clip's static code.

    swap_right: share in which the true clip, with the donor's looks and the own motion, is the
    nearest, by squared error, of four: it, the own clip, the donor's, and that with the own looks
    and the donor's motion, over the clips that differ from their donors in both. swap_unchanged:
    share of the own clip. swap_looks: how often a judge names what the donor wears. swap_motion: of
    sprites how often it names the own motion; of digits R2 of the centroids for the true clip's.
    """
    donors = random_donors(len(test), seed)
    frames = exchange(model, test.codes, roles[0], donors)
    own = as_float(test.sequences.frames)
    if settings.sampler == "moving_digits":
        draw, labels = digits_of(settings, "test"), test.labels
        places = torch.stack([labels["red_position"], labels["green_position"]], 2)
        true = draw.render(labels["which"][donors], places)
        reverse = draw.render(labels["which"], places[donors])
        worn, motion = judge_digits(frames, true, labels, donors, settings)
    else:
        true = own[true_swaps(test.sequences, donors)]
        reverse = own[true_swaps(test.sequences, np.argsort(donors))[donors]]
        worn, motion = judge_sprites(frames, test.sequences, donors, settings)
    other = own[torch.as_tensor(donors)]
    differ = (true != other).flatten(1).any(1) & (true != own).flatten(1).any(1)
    nearest = find_nearest(frames, (true, own, other, reverse))[differ]
    right, unchanged = (float((nearest == row).double().mean()) for row in (0, 1))
    figures = {"swap_right": right, "swap_unchanged": unchanged}
    return figures | {"swap_looks": float(worn), "swap_motion": float(motion)}


def find_nearest(frames: Tensor, candidates: tuple[Tensor, ...]) -> Tensor:
    """Which of the candidates (N, ...) is nearest to each of the frames (N, ...), (N,)."""
    errors = [(frames - each).square().flatten(1).sum(1) for each in candidates]
    return torch.stack(errors).argmin(0)


def judge_sprites(
    frames: Tensor, clips: Sequences, donors: np.ndarray, settings: Settings
) -> tuple[float, float]:
    """How often a judge names what the donor wears, and the own motion."""
    judge = open_judge("sprites", settings.profile, clips.classes, settings.image_size)
    labels, seen = class_labels(clips), judge_clips(judge, frames)
    judged = {name: probabilities.argmax(1).numpy() for name, probabilities in seen.items()}
    worn = [(judged[name] == labels[name][donors]).mean() for name in ATTRIBUTES]
    return np.mean(worn), (judged["action"] == labels["action"]).mean()


def judge_digits(
    frames: Tensor, true: Tensor, labels: Labels, donors: np.ndarray, settings: Settings
) -> tuple[float, float]:
    """In how many frames a judge names the donor's digits, and R2 of the places of both digits."""
    judge = open_judge("digits", settings.profile, image_size=settings.image_size)
    right = []
    for name, p in judge_probabilities(judge, frames.flatten(0, 1)).items():
        expected = labels[name][torch.as_tensor(donors)].repeat_interleave(frames.shape[1])
        right.append((p.argmax(1) == expected).double().mean())
    found, places = centroids(frames).double(), centroids(true).double()
    spread = (places - places.mean((0, 1))).square().sum()
    return torch.stack(right).mean(), 1 - (found - places).square().sum() / spread


def exchanged_things(
    model: SequenceModel, test: Encoded, things: tuple[str, str], seed: int
) -> Figures:
    """The code that knows most of the red digit is exchanged with another sequence's.

    thing_right: share in which, of four true clips, the nearest has the donor's red digit, its
    looks and its path, beside the own green one. The others are the own clip, the donor's, and the
    one with the donor's green digit. red_code: the number, from 0, of what was exchanged.
    """
    donors = random_donors(len(test), seed)
    frames = exchange(model, test.codes, things[0], donors)
    own = as_float(test.sequences.frames)
    other = own[torch.as_tensor(donors)]
    red_planes = torch.tensor([True, False, False])[:, None, None]
    mixed = [torch.where(planes, other, own) for planes in (red_planes, ~red_planes)]
    nearest = find_nearest(frames, (mixed[0], own, other, mixed[1]))
    number = list(test.codes).index(things[0])
    return {"red_code": float(number), "thing_right": float((nearest == 0).double().mean())}


EVALUATIONS = dict.fromkeys(LABELS, Evaluation(evaluate_side_by_side, load_benchmark))
