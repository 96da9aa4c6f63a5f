"""What is measured on trained models: each model and dataset has its evaluation, or the generic."""

from __future__ import annotations

import torch
from unbraid.codes import bound_per_frame, decode_all, root_mean_square
from unbraid.data.sequences import Sequences
from unbraid.models.base import SequenceModel

from papers import encoded
from papers.a import evaluate as independent
from papers.b import evaluate as unordered
from papers.c import evaluate as clips
from papers.c import series, speech, wet_days
from papers.datasets import make_sampler
from papers.encoded import Evaluation, Figures, code_probes, encode, load_split, seeded
from papers.settings import Settings
from papers.side_by_side import evaluate as side_by_side

EVALUATIONS: dict[str, dict[str, Evaluation]] = {  # by model and dataset
    "independent": independent.EVALUATIONS,
    "unordered": unordered.EVALUATIONS,
    "single_element": (
        clips.EVALUATIONS | speech.EVALUATIONS | series.EVALUATIONS | wet_days.EVALUATIONS
    ),
    "benchmark": side_by_side.EVALUATIONS,
}


def find_evaluation(settings: Settings) -> Evaluation:
    """The evaluation of a run; the generic one for models and datasets that have none."""
    generic = Evaluation(evaluate_any, load_samples)
    return EVALUATIONS.get(settings.model, {}).get(settings.dataset, generic)


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


# ---- the generic evaluation, of any model on any dataset


def evaluate_any(model: SequenceModel, settings: Settings, seed: int) -> Figures:
    """All figures of a model that has no evaluation of its own; reconstruct_rmse: of test sequences
    decoded from the means of their codes."""
    train, test = (encode(model, load_samples(settings, s, seed)) for s in ("train", "test"))
    figures = bound_per_frame(model, [test.sequences], seed)
    frames, mask = test.sequences.frames, test.sequences.mask
    decoded = decode_all(model, test.codes)
    figures["reconstruct_rmse"] = root_mean_square(decoded, frames, mask)
    figures |= code_probes(train, test, seed)
    return figures


def load_samples(settings: Settings, split: str, seed: int) -> Sequences:
    """As many sequences as the settings say, drawn as in training, but whole ones once each."""
    count = encoded.count_evaluated(settings, split)
    generator = seeded(2 * seed + (split == "test"))
    if settings.sampler == "sequences":
        sequences = load_split(settings, split, seed)
        rows = torch.randperm(len(sequences), generator=generator)[:count]
        return sequences.subset(rows).as_float()
    return make_sampler(settings, split)(count, generator)
