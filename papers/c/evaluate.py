"""Paper C on clips: exchange, draw or partly keep one of the codes, then judge the clips.

The protocol is that of the paper and its predecessors, and of the benchmark MSD (arXiv
2510.17313). A judge names one of nine motions (the papers' action); its parts, action and
direction, are read off its probabilities, because a direction that leaks is the first thing to go
wrong. On your own copy of MUG the expression is what changes, and the subject what stays.
"""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from unbraid.checks import check_name
from unbraid.codes import (
    as_float,
    concatenate,
    decode_all,
    encode_all,
    generator_for,
)
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import ATTRIBUTES, split_motion
from unbraid.measures.judges import FrameJudge, judge_clips
from unbraid.measures.swaps import random_donors, swap_scores
from unbraid.models.base import Codes, SequenceModel
from unbraid_course.lessons.n33 import compute_scores, find_nearest, true_clip

from papers import encoded
from papers.datasets import load_clips
from papers.encoded import Encoded, Evaluation, Figures, encode
from papers.judge import find_judged, open_judge
from papers.settings import RunSettings

STATIC_LABELS = (*ATTRIBUTES, "subject")  # what the static code should carry
# Of generated clips, in nats: of a clip's class, and of all clips' classes.
SCORES = ("accuracy", "inception_score", "conditional_entropy", "marginal_entropy")
REPEATS = 5  # of draws, as in the authors' code
CLIPS_AT_ONCE, COMPARED = 32, 300  # decoded and judged; compared with all
# Labels of sprites by their names in the data: the papers' action, of nine classes, and its parts.
LABELS = {"action": "motion", "motion_action": "action", "motion_direction": "direction"}
LABELS |= {name: name for name in ATTRIBUTES}

ClassLabels = Mapping[str, np.ndarray]
# What of sprites is recorded: of a label the kinds of shares, and the labels that probes read.
SHARES = {
    "motion_action": ("",),
    "motion_direction": ("", "differing_", "leak_"),
    "hair": ("", "differing_", "leak_"),
    "skin": ("differing_",),
    "trousers": ("differing_",),
    "top": ("differing_",),
    "action": (),
}
KEPT = ("hair", "skin", "subject")
READ_OFF: dict[str, tuple[str, ...]] = {}
READ_OFF["static"] = ("motion_action", "motion_direction", "hair", "expression", "subject")
READ_OFF["dynamic"] = ("action", "motion_direction", "hair", "expression", "subject")
READ_OFF["static_draw"] = READ_OFF["static"]
READ_OFF["dynamic_draw"] = ("action", "hair", "expression", "subject")


def evaluate_clips(model: SequenceModel, settings: RunSettings, seed: int) -> Figures:
    """All figures of a model of clips of sprites, or of your own copy of MUG."""
    # Convolutions run fastest in this layout.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train, test = (encode(model, load_clips(settings, s, seed)) for s in ("train", "test"))
    judge = open_judge(*find_judged(settings), classes=test.sequences.classes)
    labels = class_labels(test.sequences)

    figures = swaps(model, test, judge, labels, seed)
    figures |= generations(model, test, judge, labels, seed)
    figures |= clip_probes(train, test, seed)
    figures |= draw_probes(model, train.sequences, test.sequences, seed)
    return figures


def class_labels(clips: Sequences) -> dict[str, np.ndarray]:
    """The true classes (N,) of each label that the judge names; what moves comes first."""
    names = {"expression": "expression", "subject": "subject"}
    if "motion" in clips.labels:
        names = LABELS
    for name in names.values():
        check_name("labels", name, clips.labels)
    return {label: clips.labels[name].numpy() for label, name in names.items()}


def judge_labels(judge: FrameJudge, frames: Tensor) -> dict[str, Tensor]:
    """The judge's probabilities (N, classes) of each label of `class_labels`."""
    seen = judge_clips(judge, frames)
    if "motion" not in seen:
        return seen
    seen = split_motion(seen)
    return {label: seen[name] for label, name in LABELS.items()}


# ---- swaps


def swaps(
    model: SequenceModel, test: Encoded, judge: FrameJudge, labels: ClassLabels, seed: int
) -> Figures:
    """Each test clip's dynamic code with another's static code; of sprites, what SHARES names.

    swap_<label>: share in which the judge names the dynamic donor's action (of faces: expression),
    the static donor's attributes (subject). swap_differing_*: the same where the two donors differ;
    swap_leak_*: there, the share of the other donor's. swap_nearest, of sprites, without a judge:
    share in which the true clip is the nearest of all test clips by squared error. plain_nearest:
    of plain reconstructions, the share of the own clip's.
    """
    donors, figures = random_donors(len(test), seed), {}
    if "motion" in test.labels:
        figures["plain_nearest"] = share_plain(model, test)
    frames = swap_static(model, test, donors)
    named = {name: p.numpy().argmax(1) for name, p in judge_labels(judge, frames).items()}
    given = {name: each[donors] for name, each in labels.items()}
    static = [name for name in labels if name in STATIC_LABELS]
    for name, scores in swap_scores(named, labels, given, static).factors.items():
        shares = {"": scores.right.mean, "differing_": scores.moved.mean, "leak_": scores.other}
        for kind in SHARES.get(name, shares):
            figures[f"swap_{kind}{name}"] = shares[kind]
    if "motion" in test.labels:
        expected = torch.as_tensor(true_clip(donors, np.arange(len(test))))
        figures["swap_nearest"] = share_nearest(frames, test.sequences, expected)
    return figures


def swap_static(model: SequenceModel, test: Encoded, donors: np.ndarray) -> Tensor:
    """Clips (N, T, C, H, W) with their own dynamic code and the static code of their donors."""
    return decode_all(model, test.codes | {"static": test.codes["static"][donors]})


def share_plain(model: SequenceModel, test: Encoded) -> float:
    """Share of plain reconstructions to which, of all clips, their own is nearest."""
    own_clips = torch.arange(len(test))
    return share_nearest(decode_all(model, test.codes), test.sequences, own_clips)


def share_nearest(frames: Tensor, clips: Sequences, expected: Tensor) -> float:
    """Share of frames (N, T, C, H, W) to which, of all clips, the expected one (N,) is nearest."""
    true = as_float(clips.frames)
    nearest = torch.cat([find_nearest(part, true) for part in frames.split(COMPARED)])
    return float((nearest == expected).double().mean())


# ---- codes kept and codes drawn


def generations(
    model: SequenceModel, test: Encoded, judge: FrameJudge, labels: ClassLabels, seed: int
) -> Figures:
    """Means over repeats of SCORES: of what moves, where the static code was drawn.

    kept_<attribute>: on every third clip (of Sprites the one that looks to the front), share in
    which the judge names it where the static code is kept, with the means of the dynamic prior
    along a drawn path, as the authors do.
    """
    moving = next(iter(labels))
    thirds = {name: code[::3] for name, code in test.codes.items()}
    generator = generator_for(model, 30_000 + seed)
    repeats = defaultdict(list)
    for _ in range(REPEATS):
        drawn = encoded.draw_others(model, test.codes, "dynamic", generator)
        seen = judge_codes(model, judge, drawn)
        scores = compute_scores(seen[moving].astype(float), labels[moving])
        for name, score in zip(SCORES, scores, strict=True):
            repeats[name].append(score)

        drawn = encoded.draw_others(model, thirds, "static", generator)
        drawn["dynamic"] = encoded.prior_means(model, drawn["dynamic"])
        seen = judge_codes(model, judge, drawn)
        for name in labels.keys() & {*KEPT}:
            right = seen[name].argmax(1) == labels[name][::3]
            repeats[f"kept_{name}"].append(right.mean())
    return {name: float(np.mean(values)) for name, values in repeats.items()}


def judge_codes(model: SequenceModel, judge: FrameJudge, codes: Codes) -> dict[str, np.ndarray]:
    """The judge's probabilities (N, classes) for decoded codes, by label."""
    parts = []
    for rows in torch.arange(len(codes["static"])).split(CLIPS_AT_ONCE):
        frames = decode_all(model, {name: code[rows] for name, code in codes.items()})
        parts.append(judge_labels(judge, frames))
    return {name: seen.numpy() for name, seen in concatenate(parts).items()}


# ---- probes


def draw_probes(model: SequenceModel, train: Sequences, test: Sequences, seed: int) -> Figures:
    """<code>_draw_probe_<label>: as `clip_probes`, of one draw from the posterior of each clip, in
    training and test. The noise hides what a code has in small differences of its means."""
    generator, parts = generator_for(model, 50_000 + seed), []
    for clips in (train, test):
        codes = encode_all(model, clips, generator)
        parts.append(Encoded(clips, codes, clips.labels))
    return clip_probes(parts[0], parts[1], seed, "_draw")


def clip_probes(train: Encoded, test: Encoded, seed: int, ending: str = "") -> Figures:
    """<code><ending>_probe_<label>: skill, 0 for the commonest class, of a linear probe of whole
    codes."""
    figures: Figures = {}
    labels = [class_labels(part.sequences) for part in (train, test)]
    for code in test.codes:
        name = f"{code}{ending}"
        codes = [{name: part.codes[code].flatten(1)} for part in (train, test)]
        names = sorted(labels[0].keys() & {*READ_OFF[name]})
        read = [dict(zip(names, map(part.get, names), strict=True)) for part in labels]
        figures |= encoded.name_skills(*codes, *read, "linear", seed)
    return figures


CLIPS = Evaluation(evaluate_clips, load_clips)
EVALUATIONS = {"sprites": CLIPS, "mug": CLIPS}
