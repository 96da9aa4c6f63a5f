"""What a judge of clips is asked: the motions of sprites and their parts, or the people of MUG."""

import numpy as np
from torch import Tensor
from unbraid.checks import check_name
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import ATTRIBUTES
from unbraid.measures.judges import FrameJudge, judge_probabilities

# Labels of a judge by their names in the data: the papers' action, of nine classes, and its parts.
MOTION_LABELS = {"action": "motion", "motion_action": "action", "motion_direction": "direction"}


def class_labels(clips: Sequences) -> dict[str, np.ndarray]:
    """The true classes (N,) of each label that the judge names; what moves comes first."""
    names = {"expression": "expression", "subject": "subject"}
    if "motion" in clips.labels:
        names = MOTION_LABELS | {name: name for name in ATTRIBUTES}
    for name in names.values():
        check_name("labels", name, clips.labels)
    return {label: clips.labels[name].numpy() for label, name in names.items()}


def judge_clips(judge: FrameJudge, frames: Tensor) -> dict[str, Tensor]:
    """The judge's probabilities (N, classes) for clips (N, T, C, H, W), by label."""
    probabilities = {name: p.double() for name, p in judge_probabilities(judge, frames).items()}
    if "motion" not in probabilities:
        return probabilities
    motion = probabilities.pop("motion")
    parts = motion.unflatten(1, (-1, 3))  # A motion's number is 3 action + direction.
    summed = {"motion_action": parts.sum(2), "motion_direction": parts.sum(1)}
    return {"action": motion} | summed | probabilities
