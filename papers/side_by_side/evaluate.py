"""The benchmark: every model by the same instruments, whatever its codes are called.

Two questions are asked. Are what stays and what moves in two codes, `static` and `dynamic`? And, of
moving digits, are the two things in two codes? Paper A's factors have no such names. Which of them
counts as static, and which as the red digit's, is decided on validation sequences.
"""

from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from unbraid.codes import as_float, bound_per_frame, decode_all
from unbraid.data.moving_digits import MovingDigits, load_digits
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import ATTRIBUTES
from unbraid.measures.judges import judge_clips, judge_probabilities
from unbraid.measures.swaps import random_donors
from unbraid.models.base import Codes, SequenceModel

from papers import encoded
from papers.datasets import load_clips
from papers.encoded import Encoded, Evaluation, Figures, true_swaps
from papers.judge import open_judge
from papers.settings import RunSettings


class Known(NamedTuple):
    """The labels of a dataset that stay within a sequence, and those that move."""

    static: tuple[str, ...]
    dynamic: tuple[str, ...]


DIGITS = Known(("red_digit", "green_digit"), ("red_position", "green_position"))
LABELS = {"circle": DIGITS, "sprites": Known(ATTRIBUTES, ("action", "direction"))}
THINGS = Known(("red_digit", "red_position"), ("green_digit", "green_position"))
SPLITS = ("train", "validation", "test")


def evaluate_side_by_side(model: SequenceModel, settings: RunSettings, seed: int) -> Figures:
    """All figures of a model in the benchmark."""
    parts = [load_benchmark(settings, split, seed) for split in SPLITS]
    train, validation, test = (encoded.encode(model, part) for part in parts)
    known = LABELS[settings.dataset]
    roles = assign(validation, known, seed)
    figures = bound_per_frame(model, [test.sequences], seed)
    figures |= leakage(train, test, known, roles[0], seed)
    figures |= swaps(model, test, settings, roles[0], seed)
    if known is DIGITS:
        things = assign(validation, THINGS, seed, free=True)
        figures |= exchanged_things(model, test, things, seed)
    return figures


# ---- data


def load_benchmark(settings: RunSettings, split: str, seed: int) -> Sequences:
    """Sequences of "train", "validation" or "test", bytes as floats; digits have the label `which`.

    Validation digits are new paths of training digits, and sprites a tenth of the characters.
    """
    if settings.dataset == "sprites":
        split = {"train": settings.training_split}.get(split, split)
        return load_clips(settings, split, seed).as_float()
    count, number = encoded.count_evaluated(settings, split), 3 * seed + SPLITS.index(split)
    draw = digits_of(settings, split)
    sequences = draw(count, encoded.seeded(number))
    which, _ = draw.draw(count, encoded.seeded(number))  # The same once more.
    labels = sequences.labels | {"which": which}
    return replace(sequences, labels=labels, static=(*sequences.static, "which"))


def digits_of(settings: RunSettings, split: str) -> MovingDigits:
    """What draws the moving digits of a split."""
    law = settings.motion, tuple(settings.speeds)
    digits = load_digits("test" if split == "test" else "train")
    return MovingDigits(digits, settings.image_size, settings.length, *law)


# ---- which code is which


def assign(validation: Encoded, known: Known, seed: int, free: bool = False) -> tuple[str, str]:
    """The names of the two codes that play the parts of `known.static` and `known.dynamic`.

    A code called static keeps its part, unless free. Otherwise it is the pair for which linear
    probes, trained on half of the validation sequences, know most of their own labels.
    """
    names = tuple(validation.codes)
    if "static" in names and not free:
        return "static", "dynamic"
    half, skills = len(validation) // 2, {}
    for part in known:
        labels = encoded.select(validation.labels, part)
        halves = [{name: values[:half] for name, values in labels.items()}]
        halves.append({name: values[half:] for name, values in labels.items()})
        for code in names:
            values = validation.codes[code].flatten(1)  # of a path all steps, side by side
            codes = {code: values[:half]}, {code: values[half:]}
            found = encoded.probe(*codes, halves[0], halves[1], "linear", seed)
            skills[part, code] = found.value.mean()
    pairs = permutations(names, 2)
    return max(pairs, key=lambda pair: sum(skills[of] for of in zip(known, pair, strict=True)))


# ---- what the static code is informative about


def leakage(train: Encoded, test: Encoded, known: Known, code: str, seed: int) -> Figures:
    """static_probe_<label>: skill, 0 for the best constant, 1 if always right, of a probe.

    code: that which counts as static, of a factor with a path its mean over time; static_code is
    its number, from 0. static_leaks: the mean over the labels that move.
    """
    values = [part.codes[code] for part in (train, test)]
    codes = [{"static": each.mean(1) if each.ndim == 3 else each} for each in values]
    figures: Figures = {"static_code": float(list(test.codes).index(code))}
    for name in (*known.static, *known.dynamic):
        labels = [encoded.select(part.labels, [name]) for part in (train, test)]
        figures |= encoded.name_skills(*codes, *labels, seed=seed)
    # A skill below 0 counts as 0.
    leaks = [max(figures[f"static_probe_{name}"], 0.0) for name in known.dynamic]
    return figures | {"static_leaks": float(np.mean(leaks))}


# ---- swaps


def exchange(model: SequenceModel, codes: Codes, given: str, donors: np.ndarray) -> Tensor:
    """Frames decoded from all codes, where the code called `given` comes from the donors."""
    frames = decode_all(model, codes | {given: codes[given][torch.as_tensor(donors)]})
    return frames.clamp(0, 1)


def swaps(
    model: SequenceModel, test: Encoded, settings: RunSettings, code: str, seed: int
) -> Figures:
    """Each test clip with another clip's static code, which `code` names, and, plain, with its own.

    swap_right: share in which the true clip, with the donor's looks and the own motion, is the
    nearest, by squared error, of four: it, the own clip, the donor's, and that with the own looks
    and the donor's motion, over the clips that differ from their donors in both. swap_looks: how
    often a judge names what the donor wears, or its digits; swap_looks_<name>: one of them.
    plain_right, plain_looks: the same of reconstructions, of which the own clip is the true one.
    """
    donors = random_donors(len(test), seed)
    itself = np.arange(len(test))
    own = as_float(test.sequences.frames)
    if settings.sampler == "moving_digits":
        draw, labels = digits_of(settings, "test"), test.labels
        places = torch.stack([labels["red_position"], labels["green_position"]], 2)
        true = draw.render(labels["which"][donors], places)
        reverse = draw.render(labels["which"], places[donors])
    else:
        true = own[true_swaps(test.sequences, donors)]
        reverse = own[true_swaps(test.sequences, np.argsort(donors))[donors]]
    other = own[torch.as_tensor(donors)]
    differ = (true != other).flatten(1).any(1) & (true != own).flatten(1).any(1)
    figures: Figures = {}
    for name, given, expected in (("swap", donors, 0), ("plain", itself, 1)):
        frames = exchange(model, test.codes, code, given)
        nearest = find_nearest(frames, (true, own, other, reverse))[differ]
        figures[f"{name}_right"] = float((nearest == expected).double().mean())
        looks = judge_looks(frames, test, given, settings)
        figures[f"{name}_looks"] = float(np.mean(list(looks.values())))
        figures |= {f"{name}_looks_{part}": share for part, share in looks.items()}
    return figures


def find_nearest(frames: Tensor, candidates: tuple[Tensor, ...]) -> Tensor:
    """Which of the candidates (N, ...) is nearest to each of the frames (N, ...), (N,)."""
    errors = [(frames - each).square().flatten(1).sum(1) for each in candidates]
    return torch.stack(errors).argmin(0)


def judge_looks(
    frames: Tensor, test: Encoded, donors: np.ndarray, settings: RunSettings
) -> dict[str, float]:
    """How often a judge names each thing the donor wears; of digits in each frame which it is."""
    size, classes = settings.image_size, test.sequences.classes
    names: tuple[str, ...] = ATTRIBUTES
    length = 1
    if settings.dataset == "sprites":
        judge = open_judge("sprites", settings.profile, classes, size)
        seen = judge_clips(judge, frames)
    else:
        judge = open_judge("digits", settings.profile, size=size)
        seen = judge_probabilities(judge, frames.flatten(0, 1))
        names, length = DIGITS.static, frames.shape[1]
    right = {}
    for name in names:
        expected = test.labels[name][torch.as_tensor(donors)].repeat_interleave(length)
        right[name] = float((seen[name].argmax(1) == expected).double().mean())
    return right


def exchanged_things(
    model: SequenceModel, test: Encoded, things: tuple[str, str], seed: int
) -> Figures:
    """The code that knows most of the red digit is exchanged with another sequence's.

    thing_right: share in which, of four true clips, the nearest has the donor's red digit and the
    own green one; the others are both own, both the donor's, and the reverse. red_code: the
    number, from 0, of what was exchanged.
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
