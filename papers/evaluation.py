"""What is measured on trained models, which figures, and what they mean.

`EVALUATIONS` names the evaluation of each model and dataset that papers have measures for; any
other pair gets the generic one. To add a measure, write a function that returns `Figures` and call
it in an `evaluate` function; its docstring is what metrics.json says of its figures.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NamedTuple

from unbraid.data.sequences import Sequences
from unbraid.models.base import SequenceModel

from papers import generic
from papers.a import evaluate as independent
from papers.b import evaluate as unordered
from papers.b import faces, poses
from papers.c import evaluate as clips
from papers.c import series, speech
from papers.encoded import Figures, load_split
from papers.generic import draw_exchanges as draw
from papers.settings import Settings
from papers.side_by_side import evaluate as benchmark

__all__ = ["EVALUATIONS", "Evaluation", "describe_protocol", "draw", "evaluate", "find_evaluation"]


class Evaluation(NamedTuple):
    """How models of one paper are measured on one dataset.

    evaluate(model, settings, seed): all figures by name. load(settings, split, seed): the sequences
    of a split.
    """

    evaluate: Callable[[SequenceModel, Settings, int], Figures]
    load: Callable[[Settings, str, int], Sequences]


MOVING = Evaluation(independent.evaluate_digits, independent.load_digits)
UNORDERED = Evaluation(unordered.evaluate_digits, unordered.load_paths)
CLIPS = Evaluation(clips.evaluate_clips, clips.load_clips)
LABELS = Evaluation(series.evaluate_labels, series.load_series)
BENCHMARK = Evaluation(benchmark.evaluate, benchmark.load)
GENERIC = Evaluation(generic.evaluate, generic.load_samples)

EVALUATIONS: dict[tuple[str, str], Evaluation] = {
    ("independent", "circle"): MOVING,
    ("independent", "circle_equal"): MOVING,
    ("independent", "circle_opposite"): MOVING,
    ("independent", "bounce"): MOVING,
    ("independent", "bounce_two_speeds"): MOVING,
    ("independent", "street"): Evaluation(independent.evaluate_street, load_split),
    ("independent", "frames"): Evaluation(independent.evaluate_frames, independent.load_digits),
    ("unordered", "digits"): UNORDERED,
    ("unordered", "grey_digits"): UNORDERED,
    ("unordered", "faces"): Evaluation(faces.evaluate_faces, load_split),
    ("unordered", "sprites_poses"): Evaluation(poses.evaluate_characters, poses.load_characters),
    ("unordered", "sprites_directions"): Evaluation(
        poses.evaluate_directions, poses.load_characters
    ),
    ("single_element", "sprites"): CLIPS,
    ("single_element", "mug"): CLIPS,
    ("single_element", "spoken_digits"): Evaluation(speech.evaluate_digits, speech.load_chunks),
    ("single_element", "timit"): Evaluation(speech.evaluate_timit, speech.load_chunks),
    ("single_element", "vowels"): LABELS,
    ("single_element", "weather"): LABELS,
    ("single_element", "air_quality"): Evaluation(series.evaluate_air_quality, series.load_series),
    ("single_element", "etth1"): Evaluation(series.evaluate_etth1, series.load_series),
    ("single_element", "physionet"): Evaluation(series.evaluate_physionet, series.load_series),
    ("benchmark", "circle"): BENCHMARK,
    ("benchmark", "sprites"): BENCHMARK,
    ("benchmark", "bounce"): BENCHMARK,
    ("benchmark", "faces"): BENCHMARK,
}


def find_evaluation(settings: Settings) -> Evaluation:
    """The evaluation of a run by its settings' model and dataset."""
    return EVALUATIONS.get((settings.model, settings.dataset), GENERIC)


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
    protocol: dict[str, object] = {
        "data": test.provenance,
        "split": "test",
        "sequences": len(test),
    }
    for measure in list_measures(evaluation.evaluate):
        protocol[measure.__name__] = " ".join(inspect.getdoc(measure).split())
    return protocol


def list_measures(function: Callable[..., Figures]) -> list[Callable[..., Figures]]:
    """The functions that an `evaluate` calls, in their order, which return figures."""
    named = [function.__globals__.get(name) for name in function.__code__.co_names]
    functions = [each for each in named if inspect.isfunction(each)]
    return [each for each in functions if each.__annotations__.get("return") == "Figures"]
