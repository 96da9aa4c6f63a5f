"""What is measured on trained models: each model and dataset has its evaluation, or the generic."""

from __future__ import annotations

from unbraid.models.base import SequenceModel

from papers import generic
from papers.a import evaluate as independent
from papers.b import evaluate as unordered
from papers.b import poses
from papers.c import evaluate as clips
from papers.c import series, speech
from papers.encoded import Evaluation, Figures
from papers.settings import Settings
from papers.side_by_side import evaluate as side_by_side

EVALUATIONS: dict[str, dict[str, Evaluation]] = {  # by model and dataset
    "independent": independent.EVALUATIONS,
    "unordered": unordered.EVALUATIONS | poses.EVALUATIONS,
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
    """What the figures are measured on, for metrics.json."""
    test = find_evaluation(settings).load(settings, "test", 0)
    return {"data": test.provenance, "split": "test", "sequences": len(test)}
