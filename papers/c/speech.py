"""Paper C on speech: is the static code informative about the voice, and the dynamic code not?

A recording's static vector is the mean over its chunks of q(s)'s means, its dynamic vector the
mean over chunks and steps of one draw of d (the authors' protocol).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.metrics import roc_curve
from torch import Tensor
from unbraid.codes import encode_all, generator_for
from unbraid.data.sequences import Sequences
from unbraid.data.speech import SpectrumScale
from unbraid.models.base import SequenceModel

from papers.datasets import load as load_dataset
from papers.encoded import Evaluation, Figures
from papers.settings import RunSettings

CHUNKS = 256  # chunks that are encoded at a time
DECIMALS = 12  # equal vectors must tie, in whatever order the products in their cosine are summed


@dataclass(frozen=True)
class Recordings:
    """The codes of U recordings; all tensors are on the CPU."""

    vectors: dict[str, Tensor]  # (U, ...) of each recording, by code
    labels: dict[str, Tensor]  # (U,) by name


def evaluate_speech(model: SequenceModel, settings: RunSettings, seed: int) -> Figures:
    """The error rates of a model of spoken digits, or of your own copy of TIMIT.

    eer_*: equal error rates of all pairs of test recordings by the cosine, chance .5. TIMIT, as in
    paper C, has 24 speakers whom training has not heard and sentences of 3 s; the test recordings
    of the spoken digits are other takes of the six training voices, digits of 0.4 s. With the
    setting scaled = false the model reads magnitudes, else spectra on the training chunks' scale.
    """
    test = load_chunks(settings, "test", seed)
    if settings.scaled:
        test = SpectrumScale.fit(load_chunks(settings, "train", seed)).transform(test)
    recordings = collect_recordings(model, test, seed)
    figures: Figures = {}
    for name, values in recordings.vectors.items():
        trials = speaker_trials(values, recordings.labels["speaker"])
        figures[f"eer_{name}"] = equal_error_rate(*trials)
    return figures


def load_chunks(settings: RunSettings, split: str, seed: int) -> Sequences:
    """The chunks of a split, as magnitudes that are not scaled yet."""
    return load_dataset(settings.dataset, split)


def collect_recordings(model: SequenceModel, sequences: Sequences, seed: int) -> Recordings:
    """Encode all chunks and average their codes over each recording."""
    # A last chunk may end before the centre of its first spectrum.
    chunks = sequences.subset(sequences.observed.any(1))
    static = encode_all(model, chunks, size=CHUNKS)["static"]
    drawn = encode_all(model, chunks, generator_for(model, seed), CHUNKS)["dynamic"]
    steps = chunks.observed.unflatten(1, (drawn.shape[1], -1)).any(2)
    numbers = chunks.labels["utterance"].numpy()
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    utterance = torch.from_numpy(inverse)
    vectors = {
        "static": utterance_means(static, utterance),
        "dynamic": utterance_means(drawn, utterance, steps),
    }
    labels = {name: chunks.labels[name][first] for name in chunks.classes}
    return Recordings(vectors, labels)


def utterance_means(values: Tensor, utterance: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over each utterance of values of its chunks, (N, D), or with a mask (N, T, D): (U, D).

    utterance: the label (N,); the rows of the result are in its ascending order. mask: which steps
    count, (N, T). Paper C verifies speakers by such means.
    """
    if mask is None:
        values, mask = values[:, None], torch.ones(len(values), 1)
    weights = mask.to(values)
    names, index = utterance.unique(return_inverse=True)
    sums = values.new_zeros(len(names), values.shape[-1])
    sums.index_add_(0, index, (values * weights[..., None]).sum(1))
    return sums / values.new_zeros(len(names)).index_add_(0, index, weights.sum(1))[:, None]


# ---- equal error rates: is it one voice? Every pair of recordings is a trial


def equal_error_rate(scores: ArrayLike, targets: ArrayLike) -> float:
    """The rate, 0 to 1, at which as many targets are missed as others are accepted.

    It is where the lines through the shares of false alarms and of misses cross. scores: (P,).
    targets: (P,) of 0 and 1, some of each.
    """
    false_alarm, hit, _ = roc_curve(targets, scores, drop_intermediate=False)
    miss = 1 - hit
    gap = false_alarm - miss  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = gap[after] / (gap[after] - gap[after - 1])
    return float((1 - share) * miss[after] + share * miss[after - 1])


def speaker_trials(vectors: ArrayLike, speakers: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Cosine scores of all P = N (N - 1) / 2 pairs of recordings, and which are targets; (P,) each.

    vectors: (N, D), none of length 0. speakers: (N,) labels. Pairs are in the order of
    `np.triu_indices(N, 1)`.
    """
    rows, names = np.asarray(vectors, float), np.asarray(speakers)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    first, second = np.triu_indices(len(rows), 1)
    return np.round((unit @ unit.T)[first, second], DECIMALS), names[first] == names[second]


EVALUATIONS = dict.fromkeys(("spoken_digits", "timit"), Evaluation(evaluate_speech, load_chunks))
