"""Speech as short chunks of spectra, as paper C cuts TIMIT, and the free set that stands in for it: spoken digits.

The speaker holds for a whole recording, what is said changes within it. The Free Spoken Digit Dataset has 3 000 recordings,
6 speakers x 10 digits x 50 takes, at 8 kHz. Its speakers are recorded at different levels, the quietest at an eighth of the
loudest, so that loudness alone tells who speaks in every second recording (chance: one in six); `level="equal"` takes that out.
"""

from __future__ import annotations

import os
import re
import struct
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unbraid.data.sequences import Sequences
from unbraid.data.sources import DataError, find, problem

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
HELD_OUT = (
    "theo",
    "yweweler",
)  # the test speakers of `by="speaker"`: the last two in alphabetical order
SPECTRA = {  # by samples a second: samples of a Fourier transform, of its window, and from one window to the next
    16_000: (400, 320, 165),  # paper C's: 25 ms, 20 ms, 10.3 ms
    8_000: (200, 160, 82),
}
STEPS = 20  # spectra in a chunk of 200 ms
BANDS = 40  # of the mel spectrum
SILENCE = 1e-6  # energy of a mel band that is far below any speech
LOUDNESS = 0.05  # root mean square of a recording's samples under level="equal"
LARGEST = 2**26  # bytes of a sound file that is read at all: half an hour at 16 kHz
FETCH = "python -m unbraid data fetch fsdd"


@dataclass(frozen=True)
class Utterances:
    """U whole recordings, before they are cut.

    waveforms   U tensors (samples,) of float32, of different lengths; as recorded they lie in [-1, 1]
    labels      by name, integers (U,)
    classes     names of the values of those labels that are classes
    rate        samples a second
    split, provenance  as of `Sequences`
    """

    waveforms: list[Tensor]
    labels: dict[str, Tensor]
    classes: dict[str, tuple[str, ...]]
    rate: int
    split: str
    provenance: str

    def __len__(self) -> int:
        return len(self.waveforms)


def read_wav(path: str | os.PathLike) -> tuple[np.ndarray, int]:
    """Read a RIFF sound file of one channel of 16-bit numbers: int16 (samples,), and how many of them make a second.

    The file must hold exactly what its header announces; `DataError` for anything else.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as stream:
            announced = struct.unpack("<4xI", stream.read(8))[0] + 8
            stream.seek(0)
            with wave.open(stream) as sound:
                channels, width, rate, count = sound.getparams()[:4]
                content = sound.readframes(count) if size <= LARGEST else b""
    except (OSError, EOFError, wave.Error, RuntimeError, ValueError, struct.error) as error:
        raise _damaged(
            path, "a RIFF file of uncompressed sound", error or type(error).__name__
        ) from error
    if announced != size:
        raise _damaged(path, f"{announced} bytes, as its header says", f"{size} bytes")
    return _samples(path, content, "<i2", count, channels, width, rate)


def read_sphere(path: str | os.PathLike) -> tuple[np.ndarray, int]:
    """Read a NIST SPHERE sound file, the format of TIMIT's .WAV files: as `read_wav`, with the same demands."""
    path = Path(path)
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= LARGEST else b""
    except OSError as error:
        raise _damaged(path, "a readable file", error) from error
    start = re.match(rb"NIST_1A\n +(\d{1,5})\n", content)
    header, end, _ = content[: int(start[1]) if start else 0].partition(b"\nend_head\n")
    fields = dict(re.findall(rb"^(\w+) -(?:i|s\d+) (\S{1,99})$", header, re.MULTILINE))
    order = {b"01": "<i2", b"10": ">i2"}.get(fields.get(b"sample_byte_format"))
    if not end or not order or fields.get(b"sample_coding", b"pcm") != b"pcm":
        raise _damaged(
            path,
            "a NIST_1A header of uncompressed sound, sample_byte_format 01 or 10",
            f"{size} bytes, {content[:300]!r}",
        )
    names = (b"sample_count", b"channel_count", b"sample_n_bytes", b"sample_rate")
    numbers = [
        int(fields[name]) if re.fullmatch(rb"\d{1,9}", fields.get(name, b"")) else 0
        for name in names
    ]
    return _samples(path, content[int(start[1]) :], order, *numbers)


def _samples(
    path: Path, content: bytes, order: str, count: int, channels: int, width: int, rate: int
) -> tuple[np.ndarray, int]:
    if (channels, width) != (1, 2) or not 1000 <= rate <= 200_000:
        expected = "1 channel of 2 bytes, 1 000 to 200 000 samples a second"
        raise _damaged(path, expected, f"{channels} of {width} bytes, {rate} a second")
    if not 0 < 2 * count == len(content):
        raise _damaged(
            path,
            f"{count} samples as its header says, 1 to {LARGEST // 2}",
            f"{len(content) / 2:g} samples",
        )
    return np.frombuffer(content, order).astype(np.int16), rate


def _damaged(path: Path, expected: str, found: object) -> DataError:
    mend = f"replace it by a good copy; a spoken digit: delete it, then {FETCH}"
    return problem(f"{path}: damaged sound file", expected, found, mend)


def utterances(split: str = "train", by: str = "take", level: str = "equal") -> Utterances:
    """The whole recordings of a split of the spoken digits, sorted by speaker, digit and take.

    by     "take": takes 0 to 4 of each speaker and digit are the test, 300 recordings, and 5 to 49 train, 2 700 (the
           publisher's split); "speaker": two people (`HELD_OUT`) are the test, 1 000 recordings, the other four train, 2 000
    level  "equal": each recording less its mean, times what makes its root mean square 0.05; "recorded": as published

    Labels: speaker, digit, take. Raises `DataError` without the files, `ValueError` for an unknown option.
    """
    if (
        split not in ("train", "test")
        or by not in ("take", "speaker")
        or level not in ("equal", "recorded")
    ):
        found = f"{split!r}, {by!r}, {level!r}"
        raise ValueError(
            f"split, by, level: expected train or test, take or speaker, equal or recorded, found {found}"
        )
    files = find("fsdd")
    if files is None:
        raise problem(
            "spoken_digits: not at hand",
            "its 3 000 recordings in the cache or the mirror",
            "not all of them",
            f"{FETCH}; meanwhile use vowels, which travels with the clone",
        )
    rows = []
    for path in files.values():
        digit, speaker, take = path.stem.split("_")
        test = speaker in HELD_OUT if by == "speaker" else int(take) < 5
        if test == (split == "test"):
            rows.append((SPEAKERS.index(speaker), int(digit), int(take), path))
    rows.sort()
    waveforms = [waveform(path, 8000, level) for *_, path in rows]
    labels = {
        name: torch.tensor([row[column] for row in rows])
        for column, name in enumerate(("speaker", "digit", "take"))
    }
    provenance = f"Free Spoken Digit Dataset, {split} split by {by}: {len(rows)} real recordings, {level} level"
    return Utterances(
        waveforms,
        labels,
        {"speaker": SPEAKERS, "digit": tuple("0123456789")},
        8000,
        split,
        provenance,
    )


def load_spoken_digits(
    split: str = "train", by: str = "take", features: str = "spectrogram", level: str = "equal"
) -> Sequences:
    """The spoken digits as chunks of 200 ms, each a series (N, 20, 101) of spectra or (N, 20, 40) of mel bands.

    split, by, level: see `utterances`; features: see `cut`. 7 279 chunks train and 800 test, by take.
    Labels, all static: speaker, digit, take; utterance and chunk, see `cut`.
    """
    return cut(utterances(split, by, level), features)


def cut(whole: Utterances, features: str = "spectrogram") -> Sequences:
    """Cut recordings into chunks of 200 ms, the last one of each filled up with zeros, and take 20 spectra of each chunk.

    features  "spectrogram": magnitudes of the short-time Fourier transform (paper C; `SPECTRA`), at 8 kHz 101 of them, 40 Hz
              apart, at 16 kHz 201; "log_mel": ln(1 + e / 1e-6) of the energies e in 40 mel bands, 0 is silence

    Spectra whose middle lies past the recording's end are zero and not observed, see the mask (N, 20).
    Labels: those of the recordings, and `utterance`, the recording's number in `whole`, and `chunk`, the chunk's in its recording.
    """
    if features not in ("spectrogram", "log_mel") or whole.rate not in SPECTRA:
        expected = f"spectrogram or log_mel at {' or '.join(map(str, SPECTRA))} samples a second"
        raise ValueError(f"features: expected {expected}, found {features!r} at {whole.rate}")
    size, hop = whole.rate // 5, SPECTRA[whole.rate][2]
    chunks = torch.tensor([-(-len(samples) // size) for samples in whole.waveforms])
    bins = SPECTRA[whole.rate][0] // 2 + 1
    filters = mel_filters(BANDS, bins, whole.rate)
    series = torch.zeros(int(chunks.sum()), STEPS, BANDS if features == "log_mel" else bins)
    mask, start = torch.zeros(series.shape[:2], dtype=torch.bool), 0
    for samples, count in zip(whole.waveforms, chunks.tolist()):
        part = slice(start, start := start + count)
        padded = torch.nn.functional.pad(samples, (0, count * size - len(samples))).view(
            count, size
        )
        middles = torch.arange(count)[:, None] * size + torch.arange(STEPS) * hop
        mask[part] = middles < len(samples)
        spectra = magnitudes(padded, whole.rate)
        if features == "log_mel":
            spectra = (spectra.square() @ filters.T / SILENCE).log1p()
        series[part] = spectra * mask[part, :, None]
    labels = {name: values.repeat_interleave(chunks) for name, values in whole.labels.items()}
    labels["utterance"] = torch.arange(len(whole)).repeat_interleave(chunks)
    labels["chunk"] = torch.cat([torch.arange(count) for count in chunks.tolist()])
    return Sequences(
        frames=series,
        labels=labels,
        static=tuple(labels),
        split=whole.split,
        mask=mask,
        classes=whole.classes,
        provenance=f"{whole.provenance}, {len(series)} chunks of 200 ms, {features}",
    )


def magnitudes(chunks: Tensor, rate: int) -> Tensor:
    """Magnitudes of the short-time Fourier transform of chunks (N, samples): (N, 20, bins), with the sizes of `SPECTRA`.

    Hann windows centred on samples 0, hop, 2 hop, ...; past its ends each chunk is mirrored. The bins lie 40 Hz apart, from 0 Hz.
    """
    size, window, hop = SPECTRA[rate]
    shape = torch.hann_window(window, dtype=chunks.dtype)
    return (
        torch.stft(
            chunks, size, hop, window, shape, center=True, pad_mode="reflect", return_complex=True
        )
        .abs()
        .transpose(1, 2)
    )


def mel_filters(bands: int, bins: int, rate: int) -> Tensor:
    """The weights (bands, bins) of `bands` triangles over `bins` frequencies from 0 to rate / 2.

    Their corners are equally far apart in mel, 2595 log10(1 + f / 700) (the HTK formula); each triangle is 1 at its middle
    and starts and ends at the middles of its neighbours.
    """
    top = 2595 * np.log10(1 + rate / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    left, middle, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    frequencies = np.linspace(0, rate / 2, bins)
    weights = np.minimum(
        (frequencies - left) / (middle - left), (right - frequencies) / (right - middle)
    )
    return torch.from_numpy(weights.clip(0)).float()


def utterance_means(values: Tensor, utterance: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of what was found for chunks, (N, D) or (N, T, D), over each utterance: (U, D), utterances in ascending order.

    utterance: (N,), the label. mask: (N, T), the steps to count; all without it. Used for speaker verification as in paper C.
    """
    if values.ndim == 2:
        values = values[:, None]
    if utterance.shape != values.shape[:1] or (mask is not None and mask.shape != values.shape[:2]):
        shapes = [tuple(tensor.shape) for tensor in (values, utterance, mask) if tensor is not None]
        raise ValueError(
            f"utterance_means: expected values (N, T, D), utterance (N,), mask (N, T), found {shapes}"
        )
    weights = torch.ones(values.shape[:2]).to(values) if mask is None else mask.to(values)
    names, which = utterance.unique(return_inverse=True)
    sums = values.new_zeros(len(names), values.shape[-1]).index_add_(
        0, which, (values * weights[..., None]).sum(1)
    )
    return sums / values.new_zeros(len(names)).index_add_(0, which, weights.sum(1))[:, None]


def waveform(path: Path, rate: int, level: str) -> Tensor:
    """A RIFF or SPHERE file as floats (samples,): as "recorded", in [-1, 1], or at "equal" level, see `utterances`.

    rate: the samples a second that it must have, else `DataError`. Silence stays silence.
    """
    try:
        with open(path, "rb") as stream:
            read = read_sphere if stream.read(4) == b"NIST" else read_wav
    except OSError as error:
        raise _damaged(path, "a readable file", error) from error
    samples, found = read(path)
    if found != rate:
        raise _damaged(path, f"{rate} samples a second", found)
    values = torch.from_numpy(samples.astype(np.float32)) / 2**15
    if level == "recorded":
        return values
    values = values - values.mean()
    return values * (LOUDNESS / values.square().mean().sqrt().clamp(min=1e-6))
