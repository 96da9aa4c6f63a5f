"""What is measured on trained models: each model and dataset has its evaluation, or the generic."""

from __future__ import annotations

import torch
from torch import Tensor
from unbraid.codes import bound_per_frame, decode_all, root_mean_square
from unbraid.data.sequences import Sequences
from unbraid.models.base import SequenceModel

from papers.a import evaluate as independent
from papers.b import evaluate as unordered
from papers.c import evaluate as clips
from papers.c import series, speech
from papers.datasets import make_sampler
from papers.encoded import (
    Encoded,
    Evaluation,
    Figures,
    at_first_step,
    count_evaluated,
    encode,
    load_split,
    name_skills,
    probe,
    seeded,
    select,
)
from papers.settings import Settings
from papers.side_by_side import evaluate as side_by_side

EVALUATIONS: dict[str, dict[str, Evaluation]] = {  # by model and dataset
    "independent": independent.EVALUATIONS,
    "unordered": unordered.EVALUATIONS,
    "single_element": clips.EVALUATIONS | speech.EVALUATIONS | series.EVALUATIONS,
    "benchmark": side_by_side.EVALUATIONS,
}


def find_evaluation(settings: Settings) -> Evaluation:
    """The evaluation of a run; the generic one for models and datasets that have none."""
    return EVALUATIONS.get(settings.model, {}).get(
        settings.dataset, Evaluation(evaluate_any, load_samples)
    )


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
    """As many sequences as the settings say, drawn as training draws them.

    Whole sequences of a set are drawn without replacement, so that each counts once.
    """
    count, generator = count_evaluated(settings, split), seeded(2 * seed + (split == "test"))
    if settings.sampler == "sequences":
        sequences = load_split(settings, split, seed)
        rows = torch.randperm(len(sequences), generator=generator)[:count]
        return sequences.subset(rows).as_float()
    return make_sampler(settings, split)(count, generator)


def code_probes(train: Encoded, test: Encoded, seed: int) -> Figures:
    """<code>_probe_<label>: skill, 0 for the best constant, 1 if always right, of a non-linear
    probe trained on codes of training sequences. A dynamic code tells a label of frames frame by
    frame; a static code, or one with other steps than the frames, tells that of the first frame.
    Labels with a class that training lacks, such as the number of a film, are left out."""
    names = [name for name in test.labels if is_readable(train.labels[name], test.labels[name])]
    labels = [select(part.labels, names) for part in (train, test)]
    figures: Figures = {}
    for code in test.codes if names else ():
        codes, read = [train.codes[code], test.codes[code]], labels
        if codes[1].ndim == 2 or codes[1].shape[1] != test.sequences.length:
            codes = [values.flatten(1) for values in codes]
            read = [at_first_step(of_split) for of_split in labels]
        figures |= name_skills(probe({code: codes[0]}, {code: codes[1]}, *read, seed=seed))
    return figures


def is_readable(train: Tensor, test: Tensor) -> bool:
    """Whether a probe can be scored: by several values in the test, and no class unknown."""
    is_known = test.is_floating_point() or bool(torch.isin(test, train).all())
    return is_known and len(test.unique()) > 1
