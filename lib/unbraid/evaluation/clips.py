"""Paper C on clips: the static or the dynamic code is exchanged, drawn, or kept in part.

The protocol is that of the paper and its predecessors, and of the benchmark MSD (arXiv
2510.17313). A judge names the papers' action, nine motions; its parts, action and direction, are
read off its probabilities, because a direction that leaks is the first thing to go wrong.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unbraid import data
from unbraid.data.sequences import Sequences
from unbraid.evaluation import common, generic
from unbraid.evaluation.common import ATTRIBUTES, Evaluation, Examined, Figures
from unbraid.experiments import open_judge
from unbraid.measures.judges import JUDGED_AT_ONCE, SequenceJudge
from unbraid.measures.swaps import generation_scores, random_donors
from unbraid.models.base import Codes, SequenceModel

# The papers' action has nine classes, its two parts have three each.
MOTION_LABELS = ("action", "motion_action", "motion_direction")
BENCHMARK = ("action", *ATTRIBUTES)


def class_labels(clips: Sequences) -> dict[str, np.ndarray]:
    """The true classes (N,) of each label that the judge names.

    The papers' action is the dataset's label "motion".
    """
    motions = dict(zip(MOTION_LABELS, ("motion", "action", "direction"), strict=True))
    names = motions | {name: name for name in ATTRIBUTES}
    return {label: clips.labels[name].numpy() for label, name in names.items()}


def judge_codes(model: SequenceModel, judge: SequenceJudge, codes: Codes) -> dict[str, np.ndarray]:
    """The judge's probabilities (N, classes) for decoded codes, by label."""
    parts = []
    for rows in torch.arange(len(codes["static"])).split(JUDGED_AT_ONCE):
        frames = common.decode_all(model, {name: code[rows] for name, code in codes.items()})
        parts.append(judge_clips(judge, frames))
    return {name: values.numpy() for name, values in common.concatenate(parts).items()}


def judge_clips(judge: SequenceJudge, frames: Tensor) -> dict[str, Tensor]:
    """The judge's probabilities (N, classes) for clips (N, T, C, H, W), by label."""
    probabilities = common.judge_probabilities(judge, frames)
    motion = probabilities.pop("motion").double()
    parts = motion.unflatten(1, (-1, 3))  # A motion's number is 3 action + direction.
    summed = {"motion_action": parts.sum(2), "motion_direction": parts.sum(1)}
    return {"action": motion} | summed | probabilities


def load_clips(settings, split: str, seed: int) -> Sequences:
    """The clips of randomly chosen characters, one character after the other."""
    clips = data.load(settings.dataset, split, image_size=settings.image_size)
    count = settings.evaluation_characters
    if split == "train":
        count = settings.evaluation_training_characters
    character = clips.labels["character"]
    people = len(character.unique())
    order = character.argsort(stable=True).view(people, -1)  # each in all motions
    chosen = torch.randperm(people, generator=torch.Generator().manual_seed(0))[:count]
    return clips.subset(order[chosen.sort().values].flatten())


def examine_clips(model: SequenceModel, settings, seed: int) -> Examined:
    """Codes of training and test clips, the judge of clips, and the labels (N,) that it names."""
    examined = common.examine(model, settings, seed, load_clips)
    examined.labels = class_labels(examined.test)
    examined.judge = open_judge(settings.dataset, settings.profile, examined.test.classes)
    return examined


def clip_reconstruction(examined: Examined) -> Figures:
    """reconstruct_<label>: share of decoded test clips in which the judge, trained on real clips,
    names the label; reconstruct_rmse: of pixels in [0, 1]. action: the papers', nine classes;
    motion_action and motion_direction: its parts, three each; skin, trousers, top, hair: six."""
    decoded = common.decode_all(examined.model, examined.test_codes)
    figures = {"reconstruct_rmse": common.root_mean_square(decoded, examined.test.frames)}
    for name, probabilities in judge_clips(examined.judge, decoded).items():
        right = probabilities.numpy().argmax(1) == examined.labels[name]
        figures[f"reconstruct_{name}"] = float(right.mean())
    return figures


def swaps(examined: Examined) -> Figures:
    """Each test clip's dynamic code with another's static code. swap_<label>: share in which the
    judge names the dynamic donor's action, the static donor's attributes. swap_leak_*: where the
    two differ, the other donor's. swap_other_*: the other donor's in all pairs; _chance: how often
    the two agree anyway."""
    donors, figures = random_donors(len(examined.test), examined.seed), {}
    codes = examined.test_codes | {"static": examined.test_codes["static"][donors]}
    seen = judge_codes(examined.model, examined.judge, codes)
    for name, probabilities in seen.items():
        judged, expected = probabilities.argmax(1), examined.labels[name]
        other = expected[donors]
        if name in ATTRIBUTES:
            expected, other = other, expected
        right, leaked = common.donor_shares(judged, expected, other)
        figures[f"swap_{name}"] = right
        figures[f"swap_leak_{name}"] = leaked
        if name in BENCHMARK:
            figures[f"swap_other_{name}"] = float((judged == other).mean())
            figures[f"swap_other_{name}_chance"] = float((expected == other).mean())
    return figures


def generations(examined: Examined) -> Figures:
    """Dynamics kept, static drawn from N(0, I): accuracy of the action, and on as many clips of
    each class inception_score = exp(H(y) - H(y given x)). Static kept, dynamics drawn from their
    prior: kept_<attribute>, the share in which the judge names the clip's."""
    codes, labels = examined.test_codes, examined.labels
    generator, seen = common.generator_for(examined.model, 30_000 + examined.seed), {}
    for kept in ("dynamic", "static"):
        drawn = common.draw_others(examined.model, codes, kept, generator)
        seen[kept] = judge_codes(examined.model, examined.judge, drawn)
    scores = generation_scores(seen["dynamic"]["action"], labels["action"])
    figures = {"accuracy": scores.accuracy.mean, "inception_score": scores.inception_score.mean}
    for name in ATTRIBUTES:
        right = seen["static"][name].argmax(1) == labels[name]
        figures[f"kept_{name}"] = float(right.mean())
    return figures


def clip_probes(examined: Examined) -> Figures:
    """<code>_probe_<label>: skill, 0 for the commonest class, 1 if always right, of a linear probe
    trained on codes of clips of training characters, scored on test characters. dynamic: all its
    steps side by side."""
    codes = []
    for code in (examined.train_codes, examined.test_codes):
        codes.append({"static": code["static"], "dynamic": code["dynamic"].flatten(1)})
    labels = class_labels(examined.train), class_labels(examined.test)
    return common.probe_figures(common.probe(*codes, *labels, "linear", examined.seed))


CLIPS = Evaluation(
    load_clips,
    examine_clips,
    (generic.bound, clip_reconstruction, swaps, generations, clip_probes),
)
