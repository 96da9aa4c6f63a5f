"""Paper C on speech: is the static code informative about the voice, and the dynamic code not?

A recording's static vector is the mean over its chunks of q(s)'s means, its dynamic vector the
mean over chunks and steps of one draw of d (the authors' protocol).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from threadpoolctl import threadpool_limits
from torch import Tensor
from unbraid.codes import bound_over, decode_all, encode_all, generator_for
from unbraid.data.sequences import Sequences
from unbraid.data.speech import SpectrumScale, utterance_means
from unbraid.measures.swaps import random_donors
from unbraid.models.base import Codes, SequenceModel

from papers.c.verification import equal_error_rate, speaker_trials
from papers.datasets import load as load_dataset
from papers.encoded import Evaluation, Figures, donor_shares
from papers.settings import Settings

CHUNKS = 256  # chunks that are encoded at a time
STRETCHES = 6  # equal parts of a recording, whose mean spectra the judge reads


@dataclass(frozen=True)
class Recordings:
    """The codes of U recordings, which consist of N chunks; all tensors are on the CPU."""

    chunks: Sequences  # as the model reads them
    scale: SpectrumScale | None  # maps chunks to spectra; None if they are scaled already
    spectra: Tensor  # (N, T, bins) on the scale which judge and baselines read for every model
    codes: Codes  # the means of each chunk's codes, static (N, D), dynamic (N, W, d)
    utterance: Tensor  # (N,) the number of the recording of a chunk, 0 ... U - 1
    vectors: dict[str, Tensor]  # (U, ...) of each recording: both codes, and its mean spectrum
    labels: dict[str, Tensor]  # (U,) by name


def evaluate_speech(model: SequenceModel, settings: Settings, seed: int) -> Figures:
    """All figures of a model of spoken digits; of your own copy of TIMIT, bound and error rates.

    elbo, kl_static and kl_dynamic are in nats per chunk: means over test chunks, of one draw.
    """
    train, test = encode_recordings(model, settings, seed)
    figures = bound_over(model, [test.chunks], seed, CHUNKS)
    figures = {name: figures[name] for name in ("elbo", "kl_static", "kl_dynamic")}
    figures |= error_rates(test)
    return figures | (voices(model, train, test, seed) if settings.dataset != "timit" else {})


def load_chunks(settings: Settings, split: str, seed: int) -> Sequences:
    """The chunks of a split, as magnitudes that are not scaled yet."""
    return load_dataset(settings.dataset, split)


def encode_recordings(model: SequenceModel, settings: Settings, seed: int) -> list[Recordings]:
    """The recordings of training and test, encoded.

    The model reads them on the scale of the training chunks, or with the setting scaled = false
    as magnitudes.
    """
    splits = [load_chunks(settings, split, seed) for split in ("train", "test")]
    scale = SpectrumScale.fit(splits[0])
    if getattr(settings, "scaled", True):
        return [collect_recordings(model, scale.transform(part), seed) for part in splits]
    return [collect_recordings(model, part, seed, scale) for part in splits]


def collect_recordings(
    model: SequenceModel, sequences: Sequences, seed: int, scale: SpectrumScale | None = None
) -> Recordings:
    """Encode all chunks and average their codes over each recording; scale: as in `Recordings`."""
    # A last chunk may end before the centre of its first spectrum.
    chunks = sequences.subset(sequences.mask.any(1))
    spectra = chunks.frames if scale is None else scale.transform(chunks).frames
    codes = encode_all(model, chunks, size=CHUNKS)
    drawn = encode_all(model, chunks, generator_for(model, seed), CHUNKS)["dynamic"]
    steps = chunks.mask.unflatten(1, (drawn.shape[1], -1)).any(2)
    numbers = chunks.labels["utterance"].numpy()
    _, first, utterance = np.unique(numbers, return_index=True, return_inverse=True)
    utterance = torch.from_numpy(utterance)
    vectors = {
        "static": utterance_means(codes["static"], utterance),
        "dynamic": utterance_means(drawn, utterance, steps),
        "even_spectrum": utterance_means(spectra, utterance, chunks.mask),
    }
    labels = {name: chunks.labels[name][first] for name in chunks.classes}
    return Recordings(chunks, scale, spectra, codes, utterance, vectors, labels)


def error_rates(test: Recordings) -> Figures:
    """eer_*: equal error rates of all pairs of test recordings by the cosine, chance .5.

    even_spectrum reads neither model nor label; gap: dynamic - static. TIMIT, as in paper C, has 24
    speakers whom training has not heard and sentences of 3 s; the test recordings of the spoken
    digits are other takes of the six training voices, single digits of 0.4 s.
    """
    figures = {}
    for name, values in test.vectors.items():
        trials = speaker_trials(values, test.labels["speaker"])
        figures[f"eer_{name}"] = equal_error_rate(*trials)
    return figures | {"eer_gap": figures["eer_dynamic"] - figures["eer_static"]}


@threadpool_limits.wrap(limits=1)
def voices(model: SequenceModel, train: Recordings, test: Recordings, seed: int) -> Figures:
    """What a linear discriminant says that learnt real training recordings, by their stretches.

    reconstruct_*: share right on decoded test recordings; swap_*: with another's mean static code,
    the speaker being that of the static, the digit that of the dynamic donor; swap_leak_*: the
    other way round, where the two differ.
    """
    count, figures = len(test.vectors["static"]), {}
    own, donors = np.arange(count), random_donors(count, seed)
    known = describe_stretches(train, train.spectra)
    decoded = describe_stretches(test, decode_voices(model, test, own))
    swapped = describe_stretches(test, decode_voices(model, test, donors))
    for name in test.labels:
        judge = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        judge.fit(known, train.labels[name].numpy())
        truth = test.labels[name].numpy()
        # The voice comes with the static code, what is said with the dynamic ones.
        expected, other = (truth, truth[donors]) if name == "digit" else (truth[donors], truth)
        right, _, leaked = donor_shares(judge.predict(swapped), expected, other)
        figures[f"reconstruct_{name}"] = float((judge.predict(decoded) == truth).mean())
        figures[f"swap_{name}"] = right
        figures[f"swap_leak_{name}"] = leaked
    return figures


def describe_stretches(recordings: Recordings, frames: Tensor) -> np.ndarray:
    """The mean spectra (U, STRETCHES bins) of stretches of recordings; frames: (N, T, bins)."""
    mask, rows = recordings.chunks.mask, []
    for number in range(len(recordings.vectors["static"])):
        own = recordings.utterance == number
        spectra = frames[own][mask[own]]  # (steps, bins)
        means = torch.nn.functional.adaptive_avg_pool1d(spectra.T[None], STRETCHES)[0]
        rows.append(means.T.flatten())
    return torch.stack(rows).numpy()


def decode_voices(model: SequenceModel, recordings: Recordings, donors: np.ndarray) -> Tensor:
    """Chunks (N, T, bins) on the scale of spectra, from own dynamic codes and the voice of a donor.

    donors (U,): the number of the recording whose mean static code each recording gets.
    """
    static = recordings.vectors["static"][torch.from_numpy(donors)][recordings.utterance]
    frames = decode_all(model, recordings.codes | {"static": static})
    return frames if recordings.scale is None else recordings.scale.apply(frames)


EVALUATIONS = dict.fromkeys(("spoken_digits", "timit"), Evaluation(evaluate_speech, load_chunks))
