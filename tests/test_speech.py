"""Speech: spectra of a tone and a click, chunks and their masks, splits, levels, the scale."""

import math

import numpy as np
import pytest
import scipy.io.wavfile
import torch
from unbraid.data import fetch, speech
from unbraid.data.speech import SpectrumScale, cut, magnitudes

from papers.c.speech import utterance_means
from papers.datasets import load_spoken_digits


@pytest.fixture(scope="module")
def digits():
    """Chunks of each split of the spoken digits."""
    if fetch.find("fsdd") is None:
        pytest.skip("the spoken digits are not at hand: run make data, or set UNBRAID_MIRROR")
    return {split: load_spoken_digits(split) for split in ("train", "test")}


def noise(*lengths, rate=8000):
    """Recordings of noise by two speakers in turn."""
    generator = torch.Generator().manual_seed(0)
    waveforms = [torch.randn(length, generator=generator) for length in lengths]
    labels = {"speaker": torch.arange(len(lengths)) % 2}
    return speech.Utterances(waveforms, labels, {"speaker": ("a", "b")}, rate, "test", "noise")


@pytest.mark.parametrize(("rate", "bin"), [(8000, 60), (16000, 25)])
def test_a_tone_stands_in_its_bin_at_half_its_amplitude_times_the_window(rate, bin):
    time = torch.arange(rate // 5, dtype=torch.float64) / rate
    tone = 0.3 * torch.cos(2 * math.pi * 40 * bin * time)
    spectra = magnitudes(tone[None], rate)[0]
    assert spectra.shape == (20, {8000: 101, 16000: 201}[rate])
    inner = spectra[2:-2]  # The mirrored ends break the tone's phase.
    expected = 0.3 / 2 * (rate // 50) / 2  # The sum of a Hann window is half its length.
    assert (inner[:, bin] / expected - 1).abs().max() < 2e-3
    assert (inner.argmax(1) == bin).all()
    assert inner[:, bin + 10 :].max() < 0.01 * expected


def test_a_click_is_seen_by_the_spectra_around_it():
    chunk = torch.zeros(1, 1600)
    chunk[0, 820] = 1.0  # ten hops of 82 samples from the start
    spectra = magnitudes(chunk, 8000)[0]
    assert (spectra[10] - 1).abs().max() < 1e-5
    assert not spectra[[9, 11]].any()  # Windows reach 80 samples to each side.
    later = magnitudes(chunk.roll(20, 1), 8000)[0, 10]
    assert (later - math.cos(math.pi * 20 / 160) ** 2).abs().max() < 1e-5


def test_chunks_and_what_is_observed_of_them():
    whole = noise(1600, 1601, 4000, 10)
    chunks = cut(whole)
    assert chunks.frames.shape == (1 + 2 + 3 + 1, 20, 101)
    assert chunks.labels["utterance"].tolist() == [0, 1, 1, 2, 2, 2, 3]
    assert chunks.labels["chunk"].tolist() == [0, 0, 1, 0, 1, 2, 0]
    assert chunks.labels["speaker"].tolist() == [0, 1, 1, 0, 0, 0, 1]
    # The middles of the spectra lie at 0, 82, 164, ... samples.
    assert chunks.mask.sum(1).tolist() == [20, 20, 1, 20, 20, math.ceil(800 / 82), 1]
    assert not chunks.frames[~chunks.mask].any()
    # One sample later the second middle lies in the recording, on its last sample.
    assert cut(noise(82, 83)).mask.sum(1).tolist() == [1, 2]
    second = magnitudes(whole.waveforms[2][None, 1600:3200], 8000)[0]
    torch.testing.assert_close(chunks.frames[4], second)
    assert cut(noise(3200, 3201, rate=16000)).frames.shape == (3, 20, 201)
    with pytest.raises(ValueError, match="rate"):
        cut(noise(3000, rate=11025))


def test_means_over_utterances():
    values = torch.tensor([[1.0, 0], [3, 0], [5, 8], [7, 8]])
    means = utterance_means(values, torch.tensor([4, 4, 2, 4]))
    torch.testing.assert_close(means, torch.tensor([[5, 8], [11 / 3, 8 / 3]]))
    steps, mask = torch.arange(12.0).view(3, 4, 1), torch.zeros(3, 4, dtype=torch.bool)
    mask[0], mask[1, :2], mask[2, 3] = True, True, True
    assert utterance_means(steps, torch.tensor([0, 0, 1]), mask).flatten().tolist() == [
        2.5,
        11,
    ]


def test_the_two_splits_hold_all_recordings_once(digits):
    rows = {}
    for split, chunks in digits.items():
        columns = [chunks.labels[name].tolist() for name in ("speaker", "digit", "take")]
        rows[split] = set(zip(*columns, strict=True))
    assert [len(chunks) for chunks in digits.values()] == [7279, 800]
    assert len(rows["train"]) == 2700 and len(rows["train"] | rows["test"]) == 3000
    assert {take for _, _, take in rows["test"]} == set(range(5))


def test_a_chunk_is_cut_from_the_recording_of_its_labels_and_scaled_by_the_training(digits):
    test, number = digits["test"], 333
    speaker, digit, take, _, chunk = (int(test.labels[name][number]) for name in test.static)
    path = fetch.files("fsdd")[f"recordings/{digit}_{speech.SPEAKERS[speaker]}_{take}.wav"]
    samples = scipy.io.wavfile.read(path)[1] / 2**15
    samples = torch.from_numpy(samples - samples.mean()).float()
    samples = samples / samples.square().mean().sqrt() * 0.05
    piece = samples[1600 * chunk : 1600 * (chunk + 1)]
    expected = magnitudes(torch.nn.functional.pad(piece, (0, 1600 - len(piece)))[None], 8000)[0]
    observed = test.mask[number]
    actual = test.frames[number][observed]
    torch.testing.assert_close(actual, expected[observed], atol=1e-4, rtol=1e-3)
    scale = SpectrumScale.fit(digits["train"])
    assert torch.equal(load_spoken_digits("test", scaled=True).frames, scale.transform(test).frames)


def test_the_scale_equalises_the_variation_within_chunks_and_has_an_inverse():
    generator = np.random.default_rng(0)
    lengths = generator.integers(1700, 9000, 150)
    train = cut(noise(*lengths.tolist()))
    train = train.subset(train.mask.sum(1) > 1)
    scale = SpectrumScale.fit(train)
    scaled = scale.transform(train)
    mask = train.mask
    means = scaled.frames.sum(1) / mask.sum(1)[:, None]
    within = (scaled.frames - means[:, None])[mask]
    variance = torch.linalg.eigvalsh(within.T @ within / len(within))
    # A variance v becomes v / (v + 0.01).
    assert variance.min() > 0.7 and variance.max() <= 1.001
    assert not scaled.frames[~mask].any()
    assert means.mean(0).abs().max() < 1e-3
    magnitude = scale.inverse(scaled.frames)[mask]
    torch.testing.assert_close(magnitude, train.frames[mask], rtol=1e-3, atol=1e-3)
    assert (scale.inverse(torch.full((3, 101), -99.0)) >= 0).all()
