"""Paper C on sets that each reader must obtain: faces of MUG, sentences of TIMIT.

The protocols are those of `clips` and `speech`, with the labels that these sets have. On MUG the
expression is what changes in a clip, and the subject what stays.
"""

from __future__ import annotations

import numpy as np
import torch

from unbraid import data
from unbraid.data.sequences import Sequences
from unbraid.evaluation import common, generic, speech
from unbraid.evaluation.common import Evaluation, Examined, Figures
from unbraid.experiments import open_judge
from unbraid.measures.judges import JUDGED_AT_ONCE
from unbraid.measures.swaps import generation_scores, random_donors
from unbraid.models.base import Codes, SequenceModel

KEPT_BY = {"expression": "dynamic", "subject": "static"}  # which code carries a label


def load_expressions(settings, split: str, seed: int) -> Sequences:
    """All clips of a split, with one label for each clip."""
    return data.load(settings.dataset, split, image_size=settings.image_size)


def examine_expressions(model: SequenceModel, settings, seed: int) -> Examined:
    """Codes of training and test clips, and the judge of expressions and subjects."""
    examined = common.examine(model, settings, seed, load_expressions)
    examined.labels = {name: examined.test.labels[name].numpy() for name in KEPT_BY}
    examined.judge = open_judge(settings.dataset, settings.profile, examined.test.classes)
    return examined


def judge_faces(examined: Examined, codes: Codes) -> dict[str, np.ndarray]:
    """The judge's probabilities (N, classes) for decoded codes, by label."""
    parts = []
    for rows in torch.arange(len(codes["static"])).split(JUDGED_AT_ONCE):
        chosen = {name: code[rows] for name, code in codes.items()}
        frames = common.decode_all(examined.model, chosen)
        parts.append(common.judge_probabilities(examined.judge, frames))
    return {name: values.double().numpy() for name, values in common.concatenate(parts).items()}


def face_reconstruction(examined: Examined) -> Figures:
    """reconstruct_<label>: share of decoded test clips in which the judge, trained on real clips,
    names the label; reconstruct_rmse: of pixels in [0, 1]."""
    figures = generic.reconstruction(examined)
    for name, probabilities in judge_faces(examined, examined.test_codes).items():
        right = probabilities.argmax(1) == examined.labels[name]
        figures[f"reconstruct_{name}"] = float(right.mean())
    return figures


def face_generations(examined: Examined) -> Figures:
    """Dynamics kept, static drawn from N(0, I): accuracy of the expression, and on as many clips
    of each class inception_score = exp(H(y) - H(y given x)), entropy H(y), conditional_entropy
    H(y given x), in nats; leak_subject, the share in which the judge names the clip's subject.
    Static kept, dynamics drawn from their prior: kept_subject, and leak_expression."""
    labels, seen = examined.labels, {}
    generator = common.generator_for(examined.model, 30_000 + examined.seed)
    for kept in ("dynamic", "static"):
        drawn = common.draw_others(examined.model, examined.test_codes, kept, generator)
        seen[kept] = judge_faces(examined, drawn)
    scores = generation_scores(seen["dynamic"]["expression"], labels["expression"])

    def share(kept: str, label: str) -> float:
        return float((seen[kept][label].argmax(1) == labels[label]).mean())

    return {
        "accuracy": scores.accuracy.mean,
        "inception_score": scores.inception_score.mean,
        "entropy": scores.marginal_entropy.mean,
        "conditional_entropy": scores.conditional_entropy.mean,
        "leak_subject": share("dynamic", "subject"),
        "kept_subject": share("static", "subject"),
        "leak_expression": share("static", "expression"),
    }


def face_swaps(examined: Examined) -> Figures:
    """Each test clip's dynamic code with another's static code. swap_<label>: share in which the
    judge names the dynamic donor's expression, the static donor's subject. swap_leak_*: where the
    two differ, the other donor's."""
    donors, figures = random_donors(len(examined.test), examined.seed), {}
    codes = examined.test_codes | {"static": examined.test_codes["static"][donors]}
    for name, probabilities in judge_faces(examined, codes).items():
        own, other = examined.labels[name], examined.labels[name][donors]
        if KEPT_BY[name] == "static":
            own, other = other, own
        right, leaked = common.donor_shares(probabilities.argmax(1), own, other)
        figures[f"swap_{name}"] = right
        figures[f"swap_leak_{name}"] = leaked
    return figures


def face_probes(examined: Examined) -> Figures:
    """<code>_probe_<label>: skill, 0 for the commonest class, 1 if always right, of a linear probe
    trained on codes of training clips. dynamic: all its steps side by side."""
    codes, labels = [], []
    for split in ("train", "test"):
        code = getattr(examined, f"{split}_codes")
        codes.append({"static": code["static"], "dynamic": code["dynamic"].flatten(1)})
        labels.append({name: getattr(examined, split).labels[name] for name in KEPT_BY})
    return common.probe_figures(common.probe(*codes, *labels, "linear", examined.seed))


def sentence_error_rates(examined: Examined) -> Figures:
    """eer_*: equal error rates, chance .5, of speakers whom training has not seen; all pairs of
    test sentences, cosine. static: mean over chunks of q(s)'s means; dynamic: mean over chunks and
    steps of one draw of d (_means: of its means); gap: dynamic - static. Without model or label:
    mean_spectrum and even_spectrum, a sentence's mean logarithmic spectrum as recorded, and
    evened out within chunks."""
    return speech.error_rates(examined)


MUG = Evaluation(
    load_expressions,
    examine_expressions,
    (generic.bound, face_reconstruction, face_swaps, face_generations, face_probes),
)
TIMIT = Evaluation(
    speech.load_chunks,
    speech.examine_speech,
    (speech.speech_bound, sentence_error_rates),
)
