"""What is measured on trained models, which figures, and what they mean.

`EVALUATIONS` names the evaluation of each model and dataset that papers have measures for; any
other pair gets the generic one. A further measure of every model is a line in `MEASURES`.
"""

from __future__ import annotations

from papers.evaluation import clips, generic, independent, poses, series, speech, unordered
from papers.evaluation.common import MEASURES, Evaluation
from papers.evaluation.generic import draw_exchanges as draw

__all__ = ["EVALUATIONS", "MEASURES", "draw", "evaluation_for"]

EVALUATIONS: dict[tuple[str, str], Evaluation] = {
    **{("independent", law): independent.INDEPENDENT for law in independent.LAWS},
    ("independent", "street"): independent.STREET,
    ("independent", "frames"): independent.SINGLE_FRAMES,
    ("unordered", "digits"): unordered.DIGITS,
    ("unordered", "grey_digits"): unordered.DIGITS,
    ("unordered", "faces"): unordered.FACES,
    ("unordered", "sprites_poses"): poses.CHARACTERS,
    ("unordered", "sprites_directions"): poses.FACING,
    ("single_element", "sprites"): clips.CLIPS,
    ("single_element", "mug"): clips.FACE_CLIPS,
    ("single_element", "spoken_digits"): speech.SPEECH,
    ("single_element", "timit"): speech.TIMIT,
    **{("single_element", name): series.SERIES[name] for name in series.SERIES},
}


def evaluation_for(settings) -> Evaluation:
    """The evaluation of a run by its settings' model and dataset."""
    return EVALUATIONS.get((settings.model, settings.dataset), generic.GENERIC)
