"""Speech as short chunks of spectra, as paper C cuts TIMIT, and the spoken digits that stand in.

The Free Spoken Digit Dataset has 3 000 recordings at 8 kHz: 6 speakers x 10 digits x 50 takes.
Loudness alone would name every second speaker, so it is made equal.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from unbraid.checks import check_field, check_name, check_type, refuse
from unbraid.data.fetch import files
from unbraid.data.sequences import Sequences

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
LOUDNESS = 0.05  # root mean square of a recording's samples
STEPS = 20  # spectra in a chunk of 200 ms
# By samples per second: samples in a Fourier transform, in its window, and between two windows.
# At 16 kHz these are paper C's 25 ms, 20 ms and 10.3 ms.
TRANSFORMS = {16_000: (400, 320, 165), 8_000: (200, 160, 82)}
FLOOR = 0.01  # is added to magnitudes before the logarithm, and to variances within chunks


@dataclass(frozen=True)
class Utterances:
    """U whole recordings, before they are cut; what has no comment is as in `Sequences`."""

    waveforms: list[Tensor]  # U of float32 (samples,)
    labels: dict[str, Tensor]  # integers (U,)
    classes: dict[str, tuple[str, ...]]
    rate: int  # samples per second
    split: str
    provenance: str


def utterances(split: str = "train") -> Utterances:
    """The whole recordings of a split of the spoken digits, sorted by speaker, digit and take.

    split: "test", takes 0 to 4 of each speaker and digit, as published: 300 recordings; "train",
    the other 2 700. Labels: speaker, digit, take. Raises `DataError` without the files.
    """
    from scipy.io import wavfile  # imported lazily, because it takes half a second

    check_name("split", split, ("train", "test"))
    rows = []
    for path in files("fsdd").values():
        digit, speaker, take = path.stem.split("_")
        if (int(take) < 5) == (split == "test"):
            rows.append((SPEAKERS.index(speaker), int(digit), int(take), path))
    *columns, paths = zip(*sorted(rows), strict=True)
    samples = [torch.from_numpy(wavfile.read(path)[1].astype(np.float32)) for path in paths]
    waveforms = [equal_level(values / 2**15) for values in samples]
    about = f"Free Spoken Digit Dataset, {split} split by take: {len(rows)} real recordings"
    return label_digits(waveforms, torch.tensor(columns), split, f"{about}, equal level")


def label_digits(waveforms: list[Tensor], columns: Tensor, split: str, about: str) -> Utterances:
    """Recordings of spoken digits; columns: speaker, digit and take of each, (3, U)."""
    labels = dict(zip(("speaker", "digit", "take"), columns, strict=True))
    classes = {"speaker": SPEAKERS, "digit": tuple("0123456789")}
    return Utterances(waveforms, labels, classes, 8000, split, about)


def equal_level(waveform: Tensor) -> Tensor:
    """A recording (samples,) minus its mean, at a root mean square of `LOUDNESS`."""
    is_one = isinstance(waveform, Tensor) and waveform.ndim == 1 and waveform.isfinite().all()
    check_field(is_one, "waveform", "a tensor of one recording (samples,), finite", waveform)
    waveform = waveform - waveform.mean()
    return waveform * (LOUDNESS / waveform.square().mean().sqrt().clamp(min=1e-6))


def cut(whole: Utterances) -> Sequences:
    """Cut recordings into chunks of 200 ms, the last padded with zeros, of 20 spectra each.

    Spectra (`magnitudes`) whose middle lies past the recording's end are 0 and not observed. The
    labels, all static: those of the recordings, `utterance` (its number), `chunk` (that in it).
    """
    check_type(Utterances, whole=whole)
    check_name("rate", whole.rate, TRANSFORMS)
    size, hop = whole.rate // 5, TRANSFORMS[whole.rate][2]
    spectra, masks, counts = [], [], []
    for samples in whole.waveforms:
        count = -(-len(samples) // size)
        padded = torch.nn.functional.pad(samples, (0, count * size - len(samples)))
        middles = torch.arange(count)[:, None] * size + torch.arange(STEPS) * hop
        mask = middles < len(samples)  # (count, 20)
        spectra.append(magnitudes(padded.view(count, size), whole.rate) * mask[..., None])
        masks.append(mask)
        counts.append(count)

    labels, repeats = whole.labels | {"utterance": torch.arange(len(counts))}, torch.tensor(counts)
    labels = {name: values.repeat_interleave(repeats) for name, values in labels.items()}
    labels["chunk"] = torch.cat([torch.arange(count) for count in counts])
    about = f"{whole.provenance}, {sum(counts)} chunks of 200 ms, spectrogram"
    frames, mask = torch.cat(spectra), torch.cat(masks)
    return Sequences(frames, labels, tuple(labels), (), whole.split, about, mask, whole.classes)


def magnitudes(chunks: Tensor, rate: int) -> Tensor:
    """Magnitudes of the short-time Fourier transform of chunks (N, samples): (N, 20, bins).

    Hann windows are centred on samples 0, hop, 2 hop, ... (`TRANSFORMS`); past its ends each chunk
    is mirrored. Bin k of 101 at 8 kHz, of 201 at 16 kHz, stands for 40 k Hz.
    """
    check_name("rate", rate, TRANSFORMS)
    check_type(Tensor, chunks=chunks)
    if chunks.ndim != 2 or not chunks.is_floating_point() or not chunks.numel():
        refuse("chunks", "floats (N, samples)", f"{chunks.dtype} {tuple(chunks.shape)}")
    size, window, hop = TRANSFORMS[rate]
    shape = torch.hann_window(window, dtype=chunks.dtype)
    return torch.stft(chunks, size, hop, window, shape, return_complex=True).abs().transpose(1, 2)


@dataclass(frozen=True)
class SpectrumScale:
    """The scale on which models read magnitudes a: x = (ln(a + 0.01) - centre) @ whitening.

    Whitening makes the variation within chunks equal in all directions, as within-class covariance
    normalisation does (Hatch et al., Interspeech 2006); colouring is its inverse.
    """

    centre: Tensor  # (bins,)
    whitening: Tensor  # (bins, bins)
    colouring: Tensor

    @classmethod
    def fit(cls, train: Sequences) -> Self:
        """The scale of training chunks of magnitudes (N, T, bins)."""
        check_type(Sequences, train=train)
        check_field(train.kind == "series", "train", "chunks (N, T, bins)", train.kind)
        least = train.frames.min()
        check_field(least >= 0, "train", "magnitudes, none below 0", f"{float(least):g}")
        mask = train.observed
        spectra = ((train.frames + FLOOR).log() * mask[..., None]).double()
        means = spectra.sum(1) / mask.sum(1).clamp(min=1)[:, None]  # (N, bins)
        within = (spectra - means[:, None])[mask]
        variance, directions = torch.linalg.eigh(within.T @ within / len(within))
        deviation = (variance + FLOOR).sqrt()
        scales = [(directions * size) @ directions.T for size in (1 / deviation, deviation)]
        return cls(means[mask.any(1)].mean(0).float(), *(scale.float() for scale in scales))

    def apply(self, magnitudes: Tensor) -> Tensor:
        """Magnitudes (..., bins) on this scale; values below 0, which are none, count as 0."""
        return ((magnitudes.clamp(min=0) + FLOOR).log() - self.centre) @ self.whitening

    def transform(self, sequences: Sequences) -> Sequences:
        """Chunks of magnitudes on this scale; what was not observed is 0."""
        check_type(Sequences, sequences=sequences)
        frames = self.apply(sequences.frames) * sequences.observed[..., None]
        about = f"{sequences.provenance}, logarithmic and evened out"
        return replace(sequences, frames=frames, provenance=about)

    def inverse(self, frames: Tensor) -> Tensor:
        """The magnitudes (..., bins) of values on this scale, none below 0."""
        return ((frames @ self.colouring + self.centre).exp() - FLOOR).clamp(min=0)
