"""Paper C on speech: does the static code know the voice, and the dynamic code not? What is said, and exchanged voices.

A recording's static vector is the mean over its chunks of q(s)'s means, its dynamic vector the mean over chunks and steps of one
draw of d (the authors' protocol; `measures.verification` makes error rates of them). `evaluate_speech` gives the figures of one
model by name, `protocol_speech` says what the names mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from threadpoolctl import threadpool_limits
from torch import Tensor

from unbraid.data import catalogue
from unbraid.data.sequences import Sequences
from unbraid.data.speech import utterance_means
from unbraid.measures.generation import random_donors
from unbraid.measures.intervals import share_interval
from unbraid.measures.leakage import leakage_matrix
from unbraid.measures.verification import verify_speakers
from unbraid.models.single_element import SingleElement

FLOOR = 0.01  # of magnitudes: what is quieter is all one
EVEN = 1.0  # how far variation within a chunk is evened out: 0 not at all, 1 to the same in every direction
PARTS = 6  # equal stretches of a recording, whose mean spectra the judge reads
CHUNKS = 256  # are encoded or decoded at a time
DRAWS = 1000  # of speakers, behind the intervals of error rates


@dataclass(frozen=True)
class Scale:
    """How spectra are laid before a model: (ln(a + .01) - centre) @ even, of magnitudes a (..., bins), in chunks (N, T, bins).

    On a logarithmic scale voice, vowel and loudness add up rather than multiply, and a whisper counts as much as a shout. What
    varies within 200 ms is not the voice, so its directions are made to count no more than others: within-class covariance
    normalisation (Hatch et al., Interspeech 2006) with chunks for classes, so that no label is used.
    """

    centre: Tensor
    even: Tensor
    back: Tensor

    @classmethod
    def of(cls, train: Sequences) -> Scale:
        """The scale of training chunks, of magnitudes as `load_spoken_digits` and `load_timit` give them."""
        mask = steps_of(train)
        spectra = ((train.frames + FLOOR).log() * mask[..., None]).double()
        means = spectra.sum(1) / mask.sum(1).clamp(min=1)[:, None]
        inner = (spectra - means[:, None])[mask]
        variance, directions = torch.linalg.eigh(inner.T @ inner / len(inner))
        factors = (variance + FLOOR) ** (EVEN / 2)
        even, back = ((directions * scaled) @ directions.T for scaled in (1 / factors, factors))
        return cls(*(part.float() for part in (means[mask.any(1)].mean(0), even, back)))

    def lay(self, sequences: Sequences) -> Sequences:
        """Sequences of magnitudes on this scale; what was not observed is 0."""
        frames = (
            ((sequences.frames + FLOOR).log() - self.centre)
            @ self.even
            * steps_of(sequences)[..., None]
        )
        return replace(
            sequences,
            frames=frames,
            provenance=f"{sequences.provenance}, logarithmic and evened out",
        )

    def magnitudes(self, frames: Tensor) -> Tensor:
        """The way back, of any shape (..., bins); none is below 0."""
        return ((frames @ self.back + self.centre).exp() - FLOOR).clamp(min=0)


@lru_cache(maxsize=1)
def scale_of_digits() -> Scale:
    """The scale of the spoken digits' training chunks."""
    return Scale.of(catalogue.load("spoken_digits", "train"))


def data_of(split: str) -> Sequences:
    """The spoken digits' chunks of a split, by take, on the scale of the training ones; `DataError` where they are missing."""
    return scale_of_digits().lay(catalogue.load("spoken_digits", split))


@dataclass(frozen=True)
class Recordings:
    """What a model finds in U recordings, of N chunks; all on the CPU.

    static (N, D), dynamic (N, W, d): means of the codes of each chunk. observed (N, W): which dynamic codes stand for sound.
    utterance (N,): of which recording, 0 ... U - 1. voice (U, D), course (U, d): the vectors of verification; course_means (U, d)
    of means of d rather than of a draw. spectrum (U, bins): the mean spectrum. labels: by name, (U,).
    """

    static: Tensor
    dynamic: Tensor
    observed: Tensor
    utterance: Tensor
    voice: Tensor
    course: Tensor
    course_means: Tensor
    spectrum: Tensor
    labels: dict[str, Tensor]


@torch.no_grad()
def recordings(model: SingleElement, sequences: Sequences, seed: int) -> Recordings:
    """Codes of all chunks, put together by recording."""
    mask = steps_of(sequences)
    heard = sequences.subset(
        mask.any(1)
    )  # a last chunk may be shorter than the way to its first spectrum's middle
    device, generator = (
        next(model.parameters()).device,
        torch.Generator(next(model.parameters()).device).manual_seed(seed),
    )
    found = []
    for start in range(0, len(heard), CHUNKS):
        part = heard.subset(slice(start, start + CHUNKS)).to(device)
        codes = model.infer(part.frames, mask=part.mask)
        found.append(
            (
                codes["static"],
                codes["dynamic"],
                model.infer(part.frames, True, generator, part.mask)["dynamic"],
            )
        )
    static, dynamic, drawn = (
        torch.cat([parts[number].cpu() for parts in found]) for number in range(3)
    )
    mask = steps_of(heard)
    observed = mask.unflatten(1, (-1, model.window)).any(2)
    names, utterance = heard.labels["utterance"].unique(return_inverse=True)
    first = torch.stack([(utterance == number).nonzero()[0, 0] for number in range(len(names))])
    labels = {name: values[first] for name, values in heard.labels.items() if name in heard.classes}
    means = [utterance_means(values, utterance, observed) for values in (drawn, dynamic)]
    spectrum = utterance_means(heard.frames, utterance, mask)
    return Recordings(
        static,
        dynamic,
        observed,
        utterance,
        utterance_means(static, utterance),
        *means,
        spectrum,
        labels,
    )


def steps_of(sequences: Sequences) -> Tensor:
    """(N, T) booleans: which spectra were observed."""
    return (
        torch.ones(sequences.frames.shape[:2], dtype=torch.bool)
        if sequences.mask is None
        else sequences.mask
    )


@torch.no_grad()
def evaluate_speech(
    model: SingleElement, chosen, seed: int, data: tuple[Sequences, Sequences] | None = None
) -> dict[str, float]:
    """All figures of one model by name; `protocol_speech` says what they are. The model is put into eval mode.

    chosen: the settings it was trained with. seed: of all that is drawn here. data: chunks of magnitudes, train and test, with
    the labels of `speech.cut`, such as `load_timit` gives; without, the spoken digits. A label that is not known by the same
    classes in both, as TIMIT's speakers, is neither probed nor judged.
    Raises `DataError` where files are missing, `ValueError` for recordings of fewer than three speakers.
    """
    model.eval()
    train, test = data or [catalogue.load("spoken_digits", split) for split in ("train", "test")]
    scale = Scale.of(train)
    train, test = scale.lay(train), scale.lay(test)
    learn, tried = recordings(model, train, seed), recordings(model, test, seed)
    figures = bound(model, test, seed) | error_rates(tried, scale, seed)
    shared = [
        name
        for name in tried.labels
        if set(tried.labels[name].tolist()) <= set(learn.labels[name].tolist())
    ]
    if shared:
        figures |= probes(learn, tried, shared, seed) | judged(
            model, train, test, learn, tried, shared, seed
        )
    return figures


def bound(model: SingleElement, test: Sequences, seed: int) -> dict[str, float]:
    """The bound and its terms in nats, means over chunks, one draw of the codes each."""
    device, rows = next(model.parameters()).device, []
    generator, heard = torch.Generator(device).manual_seed(seed), test.subset(steps_of(test).any(1))
    for start in range(0, len(heard), CHUNKS):
        part = heard.subset(slice(start, start + CHUNKS)).to(device)
        found = model.elbo(part.frames, generator, mask=part.mask)
        rows.append(torch.stack([found.elbo, found.kl["static"], found.kl["dynamic"]], 1).cpu())
    return dict(zip(("elbo", "kl_static", "kl_dynamic"), torch.cat(rows).double().mean(0).tolist()))


def error_rates(tried: Recordings, scale: Scale, seed: int) -> dict[str, float]:
    """Equal error rates of the codes, with intervals over speakers, and of what needs no model."""
    speakers = tried.labels["speaker"].numpy()
    codes = verify_speakers(tried.voice, tried.course, speakers, draws=DRAWS, seed=seed)
    figures = {
        f"eer_{name}{end}": value
        for name in ("static", "dynamic", "gap")
        for end, value in limits(getattr(codes, name)).items()
    }
    plain = verify_speakers(
        tried.spectrum @ scale.back, tried.spectrum, speakers, draws=DRAWS, seed=seed
    )
    figures |= {f"eer_mean_spectrum{end}": value for end, value in limits(plain.static).items()}
    figures |= {f"eer_even_spectrum{end}": value for end, value in limits(plain.dynamic).items()}
    means = verify_speakers(tried.voice, tried.course_means, speakers, draws=2, seed=seed)
    return figures | {
        "eer_static_trivial": plain.static.mean,
        "eer_dynamic_means": means.dynamic.mean,
        "targets": float(codes.targets),
    }


def limits(interval) -> dict[str, float]:
    """The estimate and, where there are any, its limits."""
    ends = {"": interval.mean, "_low": interval.low, "_high": interval.high}
    return {end: float(value) for end, value in ends.items() if math.isfinite(value)}


def probes(learn: Recordings, tried: Recordings, names: list[str], seed: int) -> dict[str, float]:
    """<code>_probe_<label>: skill of a linear probe on recordings' vectors, learnt from training recordings; _nonlinear: of another."""
    pairs = {
        "static": (learn.voice, tried.voice),
        "dynamic": (learn.course_means, tried.course_means),
    }
    codes = {name: torch.cat(pair).numpy() for name, pair in pairs.items()}
    labels = {name: torch.cat([learn.labels[name], tried.labels[name]]).numpy() for name in names}
    held_out = np.arange(len(codes["static"])) >= len(learn.voice)
    figures = {}
    for kind, ending in (("linear", ""), ("nonlinear", "_nonlinear")):
        matrix = leakage_matrix(
            codes, labels, probe=kind, test=held_out, bootstrap=100, permutations=1, seed=seed
        )
        for row, code in enumerate(matrix.rows):
            for column, name in enumerate(matrix.columns):
                low, high = matrix.test_interval[row, column].tolist()
                key = f"{code}_probe_{name}{ending}"
                figures |= {
                    key: float(matrix.value[row, column]),
                    f"{key}_low": low,
                    f"{key}_high": high,
                }
    return figures


def portrait(frames: Tensor, mask: Tensor, utterance: Tensor) -> Tensor:
    """A recording as the judge sees it, (U, PARTS bins): its observed spectra, of chunks (N, T, bins), as means of equal stretches."""
    rows = []
    for number in range(int(utterance.max()) + 1):
        mine = utterance == number
        spectra = frames[mine].flatten(0, 1)[mask[mine].flatten()]  # (steps, bins)
        rows.append(torch.nn.functional.adaptive_avg_pool1d(spectra.T[None], PARTS)[0].T.flatten())
    return torch.stack(rows)


@torch.no_grad()
def exchanged(model: SingleElement, tried: Recordings, donors: np.ndarray) -> Tensor:
    """Chunks (N, T, bins) decoded from their own dynamic codes and the mean static code of another recording, donors (U,)."""
    device, static = (
        next(model.parameters()).device,
        tried.voice[torch.from_numpy(donors)][tried.utterance],
    )
    parts = zip(static.split(CHUNKS), tried.dynamic.split(CHUNKS))
    return torch.cat(
        [model.decode({"static": s.to(device), "dynamic": d.to(device)}).cpu() for s, d in parts]
    )


@threadpool_limits.wrap(limits=1)
def judged(
    model: SingleElement,
    train: Sequences,
    test: Sequences,
    learn: Recordings,
    tried: Recordings,
    names: list[str],
    seed: int,
) -> dict[str, float]:
    """Who speaks, and what is said, in decoded recordings whose static code is another's: by a judge that knows real ones."""
    of_train, of_test = (part.subset(steps_of(part).any(1)) for part in (train, test))
    known = portrait(of_train.frames, steps_of(of_train), learn.utterance)
    own, donors, mask = (
        np.arange(len(tried.voice)),
        random_donors(len(tried.voice), seed),
        steps_of(of_test),
    )
    shown = {
        "judge": of_test.frames,
        "reconstruct": exchanged(model, tried, own),
        "swap": exchanged(model, tried, donors),
    }
    seen = {act: portrait(frames, mask, tried.utterance).numpy() for act, frames in shown.items()}
    figures = {}
    for name in names:
        judge = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(
            known.numpy(), learn.labels[name].numpy()
        )
        truth = tried.labels[name].numpy()
        of_donor, right = (
            truth[donors],
            {act: judge.predict(portraits) for act, portraits in seen.items()},
        )
        # the voice and the like come with the static code, what is said with the dynamic ones
        given, other = (truth, of_donor) if name == "digit" else (of_donor, truth)
        differ = truth != of_donor
        counts = {
            f"judge_{name}": right["judge"] == truth,
            f"reconstruct_{name}": right["reconstruct"] == truth,
            f"swap_{name}": right["swap"] == given,
            f"swap_leak_{name}": (right["swap"] == other)[differ],
        }
        for key, one in counts.items():
            figures |= {
                f"{key}{end}": value
                for end, value in limits(share_interval(int(one.sum()), len(one))).items()
            }
    return figures


def protocol_speech(chosen, data: tuple[Sequences, Sequences] | None = None) -> dict:
    """What the figures of `evaluate_speech` mean, for metrics.json: the data, sizes, and a sentence on each group of names."""
    train, test = data or [catalogue.load("spoken_digits", split) for split in ("train", "test")]
    count = [len(part.labels["utterance"].unique()) for part in (train, test)]
    speakers = [set(part.labels["speaker"].tolist()) for part in (train, test)]
    return {
        "data": test.provenance,
        "split": "test",
        "recordings": {"train": count[0], "test": count[1]},
        "speakers": {
            "train": len(speakers[0]),
            "test": len(speakers[1]),
            "test_in_train": len(speakers[0] & speakers[1]),
        },
        "scale": f"(ln(a + {FLOOR:g}) - mean) of magnitudes a, times the covariance within training chunks to the power {-EVEN / 2:g}",
        "error_rates": "eer_*: shares, chance .5; all pairs of test recordings, cosine. static: mean over chunks of q(s)'s means; dynamic: "
        "mean over chunks and steps of one draw of d (_means: of its means); gap: dynamic - static. mean_spectrum (and static_trivial): a "
        "recording's mean logarithmic spectrum less the training mean; even_spectrum: on the scale that the model is given; neither has a "
        "model or a label. _low, _high: 95 % over speakers, of this model",
        "protocol": "paper C: TIMIT, 24 test speakers whom training has not seen, 8 sentences of about 3 s each. Here the speakers of "
        "training return in the test with other takes of single digits of about 0.4 s: known voices, but a seventh of the sound",
        "bound": "nats a chunk of 20 spectra, mean over test chunks, one draw of the codes each, no weights",
        "probes": "<code>_probe_<label>: skill, 0 for the commonest class, 1 if always right, of a linear probe on a recording's mean code "
        "(of d: its mean over chunks and steps), _nonlinear of a kernel machine; learnt on training, scored on test recordings",
        "judge": f"linear discriminant on the mean spectra of {PARTS} equal stretches of a recording, learnt on real training recordings. "
        "judge_*: share right on real test recordings; reconstruct_*: on decoded ones; swap_*: with another's mean static code, the "
        "speaker being that of the static, the digit that of the dynamic donor; swap_leak_*: the other way round, where the two differ",
    }
