"""What is measured on trained models, which figures, and what they mean.

To add a measure, write a function that returns `Figures`, call it in an `evaluate_...` function
and name it among the measures of that `Evaluation`; metrics.json says of its figures what its
docstring says.
"""

from __future__ import annotations

import inspect

from unbraid.models.base import SequenceModel

from papers import generic
from papers.a import evaluate as independent
from papers.b import evaluate as unordered
from papers.b import faces, poses
from papers.c import evaluate as clips
from papers.c import series, speech
from papers.encoded import Evaluation, Figures
from papers.generic import draw_exchanges as draw
from papers.settings import Settings
from papers.side_by_side import evaluate as side_by_side

__all__ = ["EVALUATIONS", "describe_protocol", "draw", "evaluate", "find_evaluation"]

EVALUATIONS: dict[str, dict[str, Evaluation]] = {  # by model and dataset
    "independent": independent.EVALUATIONS,
    "unordered": unordered.EVALUATIONS | poses.EVALUATIONS | faces.EVALUATIONS,
    "single_element": clips.EVALUATIONS | speech.EVALUATIONS | series.EVALUATIONS,
    "benchmark": side_by_side.EVALUATIONS,
}


def find_evaluation(settings: Settings) -> Evaluation:
    """The evaluation of a run; the generic one for models and datasets that have none."""
    return EVALUATIONS.get(settings.model, {}).get(settings.dataset, generic.GENERIC)


def evaluate(model: SequenceModel, settings: Settings, seed: int) -> Figures:
    """All figures of one model by name; seed: of all that is drawn here.

    The model is put into eval mode. Raises `DataError` and `ResultsError` where data or the judge
    are missing.
    """
    return find_evaluation(settings).evaluate(model.eval(), settings, seed)


def describe_protocol(settings: Settings) -> dict[str, object]:
    """What the figures mean, for metrics.json: the data, and a sentence on each measure."""
    evaluation = find_evaluation(settings)
    test = evaluation.load(settings, "test", 0)
    protocol = {"data": test.provenance, "split": "test", "sequences": len(test)}
    for measure in evaluation.measures:
        protocol[measure.__name__] = " ".join(inspect.getdoc(measure).split())
    return protocol
