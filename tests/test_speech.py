"""Speech: the sound readers, spectra of tones against their formula, mel bands against hand values, chunks, counts and splits."""

import io
import math
import wave

import numpy as np
import pytest
import torch
from fuzz import check_reader
from unbraid.data import sources, speech
from unbraid.data.sources import DataError
from unbraid.data.speech import (
    HELD_OUT,
    SPEAKERS,
    Utterances,
    cut,
    load_spoken_digits,
    magnitudes,
    mel_filters,
    read_sphere,
    read_wav,
    utterance_means,
    utterances,
    waveform,
)

SAMPLES = np.random.default_rng(0).integers(-3000, 3000, 4000).astype(np.int16)


def riff(samples=SAMPLES, rate=8000, channels=1, width=2):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def sphere(samples=SAMPLES, rate=16000, order="01", extra="", **changes):
    """A file as TIMIT's: 1 024 bytes of header, then the samples."""
    fields = {
        "channel_count": 1,
        "sample_count": len(samples),
        "sample_rate": rate,
        "sample_n_bytes": 2,
        "sample_sig_bits": 16,
    } | changes
    lines = [
        "NIST_1A",
        "   1024",
        "database_id -s5 TIMIT",
        *(f"{name} -i {value}" for name, value in fields.items()),
    ]
    lines += [f"sample_byte_format -s2 {order}", *([extra] if extra else []), "end_head", ""]
    return (
        "\n".join(lines).encode().ljust(1024)
        + samples.astype("<i2" if order == "01" else ">i2").tobytes()
    )


@pytest.fixture(scope="module")
def real():
    """Chunks of each split of the spoken digits."""
    if sources.find("fsdd") is None:
        pytest.skip("the spoken digits are not at hand: run make data, or set UNBRAID_MIRROR")
    return {
        (by, split): load_spoken_digits(split, by)
        for by in ("take", "speaker")
        for split in ("train", "test")
    }


def written(folder, content, name):
    path = folder / name
    path.write_bytes(content)
    return path


def made(*lengths, rate=8000):
    """Utterances of noise of the given lengths."""
    generator = torch.Generator().manual_seed(0)
    labels = {"speaker": torch.arange(len(lengths)) % 2}
    return Utterances(
        [torch.randn(n, generator=generator) for n in lengths],
        labels,
        {"speaker": ("a", "b")},
        rate,
        "test",
        "noise",
    )


@pytest.mark.parametrize(
    "read, content, rate",
    (
        (read_wav, riff(), 8000),
        (read_wav, riff(rate=16000), 16000),
        (read_sphere, sphere(), 16000),
        (read_sphere, sphere(order="10"), 16000),
        (read_sphere, sphere(extra="sample_coding -s3 pcm"), 16000),
    ),
    ids=("riff", "riff at 16 kHz", "sphere", "sphere, high byte first", "sphere that says pcm"),
)
def test_readers_give_back_what_was_written(tmp_path, read, content, rate):
    samples, found = read(written(tmp_path, content, "a.wav"))
    assert found == rate and samples.dtype == np.int16 and np.array_equal(samples, SAMPLES)


RIFF, SPHERE = riff(), sphere()
BAD = {
    "empty": (read_wav, b""),
    "text": (read_wav, b"hello, this is no sound file at all, but long enough to be one"),
    "cut": (read_wav, RIFF[:-10]),
    "longer": (read_wav, RIFF + b"12"),
    "no sample": (read_wav, riff(SAMPLES[:0])),
    "stereo": (read_wav, riff(channels=2)),
    "bytes": (read_wav, riff(width=1)),
    "slow": (read_wav, riff(rate=10)),
    "floats": (read_wav, RIFF[:20] + b"\3\0" + RIFF[22:]),
    "sphere as riff": (read_wav, SPHERE),
    "riff as sphere": (read_sphere, RIFF),
    "empty sphere": (read_sphere, b""),
    "cut sphere": (read_sphere, SPHERE[:-1]),
    "only a header": (read_sphere, SPHERE[:1024]),
    "cut header": (read_sphere, SPHERE[:100]),
    "stereo sphere": (read_sphere, sphere(channel_count=2)),
    "bytes sphere": (read_sphere, sphere(sample_n_bytes=1)),
    "other order": (read_sphere, sphere(order="11")),
    "compressed": (read_sphere, sphere(extra="sample_coding -s26 pcm,embedded-shorten-v2.00")),
    "mu-law": (read_sphere, sphere(extra="sample_coding -s4 ulaw")),
    "no rate": (read_sphere, sphere(sample_rate=0)),
    "one too many": (read_sphere, sphere(sample_count=len(SAMPLES) + 1)),
    "huge": (read_sphere, sphere(sample_count=999999999)),
    "negative": (read_sphere, sphere(sample_count=-4000)),
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_sound_files(tmp_path, name):
    read, content = BAD[name]
    with pytest.raises(
        DataError, match=r"bad.wav: damaged sound file(.|\n)*expected(.|\n)*found(.|\n)*mend"
    ):
        read(written(tmp_path, content, "bad.wav"))


@pytest.mark.parametrize("read", (read_wav, read_sphere))
def test_files_that_are_missing_or_too_large(tmp_path, monkeypatch, read):
    with pytest.raises(DataError, match="none.wav"):
        read(tmp_path / "none.wav")
    monkeypatch.setattr(speech, "LARGEST", 5000)
    with pytest.raises(DataError, match="large.wav"):
        read(written(tmp_path, {read_wav: RIFF, read_sphere: SPHERE}[read], "large.wav"))


@pytest.mark.parametrize(
    "read, content", ((read_wav, RIFF), (read_sphere, SPHERE)), ids=("riff", "sphere")
)
def test_a_thousand_damaged_sound_files(tmp_path, read, content):
    def right(found):
        return (
            found[0].dtype == np.int16
            and 1 <= len(found[0]) <= 4000
            and 1000 <= found[1] <= 200_000
        )

    outcomes = check_reader(read, ".wav", content, tmp_path, looks_right=right)
    assert outcomes["refused"] > 600


@pytest.mark.parametrize("rate", (8000, 16000))
@pytest.mark.parametrize("bin", (5, 25, 60))
def test_a_tone_stands_in_its_bin_at_half_its_amplitude_times_the_window(rate, bin):
    """A cosine of amplitude A at the frequency of a bin gives A / 2 x the sum of the window, which is half the window's length."""
    time = torch.arange(rate // 5, dtype=torch.float64) / rate
    spectra = magnitudes((0.3 * torch.cos(2 * math.pi * 40 * bin * time))[None], rate)[0]
    assert spectra.shape == (20, {8000: 101, 16000: 201}[rate])
    inner = spectra[2:-2]  # away from the mirrored ends, where the tone's phase breaks
    expected = 0.3 / 2 * (rate // 50) / 2
    assert (
        inner[:, bin] / expected - 1
    ).abs().max() < 2e-3  # the tail of the tone's mirror image at negative frequency
    assert (inner.argmax(1) == bin).all() and inner[:, bin + 10 :].max() < 0.01 * expected


def test_a_click_is_seen_by_the_spectra_around_it():
    chunk = torch.zeros(1, 1600)
    chunk[0, 820] = 1.0  # ten hops of 82 samples from the start
    spectra = magnitudes(chunk, 8000)[0]
    assert (
        spectra[10] - 1
    ).abs().max() < 1e-5  # a click in the middle of its window has a flat spectrum
    assert not spectra[[9, 11]].any()  # windows reach 80 samples to each side
    chunk = chunk.roll(20, 1)
    assert (magnitudes(chunk, 8000)[0, 10] - math.cos(math.pi * 20 / 160) ** 2).abs().max() < 1e-5


def test_mel_filters_by_hand():
    """Two bands up to 4 kHz: equal steps in mel are equal factors of 700 Hz + f, here the cube root of 4700 / 700."""
    filters = mel_filters(2, 101, 8000)
    corners = [700 * (47 / 7) ** (part / 3) - 700 for part in range(4)]
    assert [round(corner, 1) for corner in corners] == [0.0, 620.6, 1791.3, 4000.0]
    assert filters.shape == (2, 101) and filters.argmax(1).tolist() == [
        16,
        45,
    ]  # 640 and 1800 Hz lie next to the corners
    assert filters[0, 10].item() == pytest.approx(400 / corners[1], rel=1e-5)
    assert filters[0, 30].item() == pytest.approx(
        (corners[2] - 1200) / (corners[2] - corners[1]), rel=1e-5
    )
    between = slice(16, 45)
    torch.testing.assert_close(
        filters[:, between].sum(0), torch.ones(29)
    )  # between two middles the triangles add up to one
    assert filters[0, 45:].sum() == filters[1, :16].sum() == 0


@pytest.mark.parametrize("rate, bins", ((8000, 101), (16000, 201)))
def test_no_mel_band_is_empty(rate, bins):
    assert mel_filters(speech.BANDS, bins, rate).sum(1).min() > 0.5


def test_chunks_and_what_is_observed_of_them():
    whole = made(1600, 1601, 4000, 10)
    sequences = cut(whole)
    assert sequences.frames.shape == (1 + 2 + 3 + 1, 20, 101) and sequences.kind == "series"
    assert sequences.labels["utterance"].tolist() == [0, 1, 1, 2, 2, 2, 3] and sequences.labels[
        "chunk"
    ].tolist() == [0, 0, 1, 0, 1, 2, 0]
    assert sequences.labels["speaker"].tolist() == [0, 1, 1, 0, 0, 0, 1]
    assert sequences.mask.sum(1).tolist() == [
        20,
        20,
        1,
        20,
        20,
        math.ceil(800 / 82),
        1,
    ]  # middles at 0, 82, 164, ... samples
    assert (
        not sequences.frames[~sequences.mask].any()
        and sequences.frames[sequences.mask].any(1).all()
    )
    torch.testing.assert_close(
        sequences.frames[4], magnitudes(whole.waveforms[2][None, 1600:3200], 8000)[0]
    )
    last = torch.nn.functional.pad(whole.waveforms[2][3200:], (0, 800))
    torch.testing.assert_close(sequences.frames[5, :10], magnitudes(last[None], 8000)[0, :10])


def test_log_mel_is_the_logarithm_of_the_energies_and_nought_for_silence():
    whole = made(1600)
    spectra, bands = cut(whole).frames[0], cut(whole, "log_mel").frames[0]
    assert bands.shape == (20, 40)
    torch.testing.assert_close(
        bands, torch.log(1 + spectra**2 @ mel_filters(40, 101, 8000).T / 1e-6)
    )
    silence = Utterances([torch.zeros(1600)], {}, {}, 8000, "test", "silence")
    assert not cut(silence, "log_mel").frames.any()


def test_16_khz_has_201_bins():
    assert cut(made(3200, 3201, rate=16000)).frames.shape == (3, 20, 201)


@pytest.mark.parametrize("features, rate", (("cepstra", 8000), ("spectrogram", 11025)))
def test_unknown_features_and_rates(features, rate):
    with pytest.raises(
        ValueError, match="expected spectrogram or log_mel at 16000 or 8000 samples a second, found"
    ):
        cut(made(3000, rate=rate), features)


def test_means_over_utterances():
    values = torch.tensor([[1.0, 0], [3, 0], [5, 8], [7, 8]])
    means = utterance_means(
        values, torch.tensor([4, 4, 2, 4])
    )  # of utterance 2, then of utterance 4
    torch.testing.assert_close(means, torch.tensor([[5, 8], [11 / 3, 8 / 3]]))
    steps = torch.arange(12.0).view(3, 4, 1)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1]]).bool()
    assert utterance_means(steps, torch.tensor([0, 0, 1]), mask).flatten().tolist() == [
        (0 + 1 + 2 + 3 + 4 + 5) / 6,
        11,
    ]
    with pytest.raises(ValueError, match="utterance_means: expected"):
        utterance_means(steps, torch.tensor([0, 0, 1]), mask[:, :3])


def test_counts(real):
    whole = {key: (len(each), len(each.labels["utterance"].unique())) for key, each in real.items()}
    assert whole == {
        ("take", "train"): (7279, 2700),
        ("take", "test"): (800, 300),
        ("speaker", "train"): (5708, 2000),
        ("speaker", "test"): (2371, 1000),
    }
    for sequences in real.values():
        assert sequences.frames.shape[1:] == (20, 101) and sequences.static == (
            "speaker",
            "digit",
            "take",
            "utterance",
            "chunk",
        )
        assert sequences.classes == {"speaker": SPEAKERS, "digit": tuple("0123456789")}


@pytest.mark.parametrize("by", ("take", "speaker"))
def test_the_two_splits_are_all_recordings_once(real, by):
    rows = [
        {
            tuple(row)
            for row in torch.stack(
                [each.labels[name] for name in ("speaker", "digit", "take")], 1
            ).tolist()
        }
        for each in (real[by, "train"], real[by, "test"])
    ]
    assert not rows[0] & rows[1] and rows[0] | rows[1] == {
        (s, d, t) for s in range(6) for d in range(10) for t in range(50)
    }
    if by == "take":
        assert {take for *_, take in rows[1]} == set(range(5))
    else:
        assert {SPEAKERS[speaker] for speaker, *_ in rows[1]} == set(HELD_OUT)


def test_a_chunk_is_that_of_its_file(real):
    files, sequences = sources.find("fsdd"), real["take", "test"]
    for number in (0, 333, 799):
        speaker, digit, take, _, chunk = (
            int(sequences.labels[name][number]) for name in sequences.static
        )
        samples = read_wav(files[f"recordings/{digit}_{SPEAKERS[speaker]}_{take}.wav"])[0] / 2**15
        samples = torch.from_numpy(samples - samples.mean()).float()
        samples = samples / samples.square().mean().sqrt() * 0.05
        piece = samples[1600 * chunk : 1600 * (chunk + 1)]
        expected = magnitudes(torch.nn.functional.pad(piece, (0, 1600 - len(piece)))[None], 8000)[0]
        shown, observed = sequences.frames[number], sequences.mask[number]
        torch.testing.assert_close(shown[observed], expected[observed], atol=1e-4, rtol=1e-3)


def test_level(real):
    recorded, equal = utterances("test", level="recorded"), utterances("test")
    loudness = torch.stack([samples.square().mean().sqrt() for samples in recorded.waveforms])
    by_speaker = torch.stack(
        [loudness[recorded.labels["speaker"] == number].mean() for number in range(6)]
    )
    assert by_speaker.max() > 6 * by_speaker.min()  # why the level is made equal
    assert all(
        abs(samples.square().mean().sqrt().item() - 0.05) < 1e-4 for samples in equal.waveforms
    )
    assert all(abs(samples.mean().item()) < 1e-4 for samples in equal.waveforms)
    assert (
        len(recorded) == 300
        and recorded.rate == 8000
        and max(samples.abs().max() for samples in recorded.waveforms) <= 1
    )
    assert (
        "recorded level" in recorded.provenance
        and "equal level, 800 chunks" in real["take", "test"].provenance
    )


def test_silence_stays_silence(tmp_path):
    assert not waveform(
        written(tmp_path, riff(np.zeros(100, np.int16)), "silent.wav"), 8000, "equal"
    ).any()
    with pytest.raises(DataError, match=r"8000 samples a second(.|\n)*16000"):
        waveform(written(tmp_path, riff(rate=16000), "fast.wav"), 8000, "equal")


@pytest.mark.parametrize("options", ({"split": "validation"}, {"by": "digit"}, {"level": "loud"}))
def test_unknown_options_are_refused(options):
    with pytest.raises(ValueError, match="split, by, level: expected .* found"):
        utterances(**options)


def test_without_the_files_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(speech, "find", lambda name: None)
    with pytest.raises(DataError, match="data fetch fsdd; meanwhile use vowels"):
        load_spoken_digits()
