"""Paper C's evaluation on speech: on made voices whose codes are known, and by small models."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from unbraid import settings
from unbraid.data import sources
from unbraid.data.sequences import Sequences
from unbraid.evaluation import speech
from unbraid.measures.verification import verify_speakers
from unbraid.models.interface import Bound
from unbraid.models.single_element import SingleElement

BINS, STEPS = 12, 6
SPEAKERS, DIGITS = tuple("abcdef"), tuple("01234")


def voices(split, takes, seed=0, speakers=range(6)):
    """Magnitudes of recordings of two chunks, the second of them half silent: a voice times a course of time, with noise.

    The course of a digit has no mean over any chunk, so that what stays is the voice alone.
    """
    known = torch.Generator().manual_seed(0)
    voice = torch.randn(9, BINS, generator=known)
    course = torch.randn(len(DIGITS), 2, STEPS // 2, BINS, generator=known)
    course = torch.cat(
        [course, -course], 2
    )  # (digits, 2, STEPS, BINS), step by step in the order + - of one half
    course = course[
        :, :, torch.arange(STEPS).view(2, -1).T.flatten()
    ]  # + - + - ..., so that half a chunk has no mean either
    generator = torch.Generator().manual_seed(seed + (split == "test"))
    rows = [
        (speaker, digit)
        for speaker in speakers
        for digit in range(len(DIGITS))
        for _ in range(takes)
    ]
    speaker, digit = (torch.tensor(column).repeat_interleave(2) for column in zip(*rows))
    chunk = torch.arange(len(speaker)) % 2
    logarithms = (
        voice[speaker][:, None]
        + course[digit, chunk]
        + 0.3 * torch.randn(len(speaker), STEPS, BINS, generator=generator)
    )
    mask = (torch.arange(STEPS) < STEPS - 2) | (chunk == 0)[:, None]
    labels = {
        "speaker": speaker,
        "digit": digit,
        "utterance": torch.arange(len(speaker)) // 2,
        "chunk": chunk,
    }
    classes = {"speaker": tuple("abcdefghi"), "digit": DIGITS}
    frames = logarithms.exp() * mask[..., None]
    return Sequences(
        frames,
        labels,
        tuple(labels),
        split=split,
        provenance="made voices",
        mask=mask,
        classes=classes,
    )


class Reader(nn.Module):
    """A model that takes chunks apart as they were made: s is a chunk's mean spectrum, d what is left of each step.

    exchanged: s says nothing, d everything. Samples of d have noise of 0.3, means a little, so that they have a direction.
    """

    window = 1

    def __init__(self, exchanged=False):
        super().__init__()
        self.weight, self.exchanged = nn.Parameter(torch.zeros(1)), exchanged

    def infer(self, frames, sample=False, generator=None, mask=None):
        mask = torch.ones(frames.shape[:2], dtype=torch.bool) if mask is None else mask
        mean = frames.sum(1) / mask.sum(1)[:, None]
        left = (frames - mean[:, None]) * mask[..., None]
        noise = torch.randn(
            frames.shape, generator=generator or torch.Generator().manual_seed(0)
        ) * (0.3 if sample else 1e-3)
        if self.exchanged:
            return {"static": 1e-3 * noise[:, 0], "dynamic": frames + noise}
        return {"static": mean, "dynamic": left + noise}

    def decode(self, codes):
        return codes["dynamic"] if self.exchanged else codes["static"][:, None] + codes["dynamic"]

    def elbo(self, frames, generator=None, mask=None):
        none = frames.new_zeros(len(frames))
        return Bound(none - 50, {"static": none + 3, "dynamic": none + 7}, frames.shape[1])


@pytest.fixture(scope="module")
def data():
    return voices("train", 8), voices("test", 3)


def test_the_scale_evens_out_what_varies_within_chunks_and_has_a_way_back(data):
    train = data[0]
    scale = speech.Scale.of(train)
    laid = scale.lay(train)
    mask = train.mask
    means = laid.frames.sum(1) / mask.sum(1)[:, None]
    inner = (laid.frames - means[:, None])[mask]
    eigenvalues = torch.linalg.eigvalsh(inner.T @ inner / len(inner))
    assert (
        eigenvalues.min() > 0.85 and eigenvalues.max() <= 1.001
    )  # v / (v + .01) of the least, v >= .09, is .9
    assert (laid.frames[~mask] == 0).all() and torch.equal(laid.mask, mask)
    assert means.mean(0).abs().max() < 1e-3  # of standard deviations of about 1
    torch.testing.assert_close(
        scale.magnitudes(laid.frames)[mask], train.frames[mask], rtol=1e-3, atol=1e-3
    )  # float32 exponentials
    assert (scale.magnitudes(torch.full((3, BINS), -99.0)) >= 0).all()


def test_vectors_of_recordings_are_means_over_what_was_heard(data):
    model, laid = Reader(), speech.Scale.of(data[0]).lay(data[1])
    found = speech.recordings(model, laid, 0)
    assert found.voice.shape == found.course.shape == (90, BINS) and found.static.shape == (
        180,
        BINS,
    )
    two = laid.subset([8, 9])  # the chunks of recording 4
    codes = model.infer(two.frames, mask=two.mask)
    torch.testing.assert_close(found.voice[4], codes["static"].mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        found.spectrum[4], two.frames[two.mask].mean(0), rtol=1e-4, atol=1e-4
    )
    assert found.observed.sum() == laid.mask.sum() and len(found.labels["speaker"]) == 90
    by_hand = torch.stack([found.dynamic[8:10][two.mask].mean(0)])[0]
    torch.testing.assert_close(found.course_means[4], by_hand, rtol=1e-4, atol=1e-5)


def test_a_model_that_takes_voices_apart_as_they_were_made(data):
    figures = speech.evaluate_speech(Reader(), None, 0, data)
    assert figures["eer_static"] < 0.02 and abs(figures["eer_dynamic"] - 0.5) < 0.1
    assert figures["eer_gap"] == pytest.approx(figures["eer_dynamic"] - figures["eer_static"])
    assert figures["eer_gap_low"] <= figures["eer_gap"] <= figures["eer_gap_high"]
    assert figures["static_probe_speaker"] > 0.95 and figures["dynamic_probe_speaker"] < 0.25
    assert figures["judge_speaker"] > 0.95 and figures["judge_digit"] > 0.9
    assert figures["reconstruct_digit"] > 0.9 and figures["reconstruct_speaker"] > 0.95
    assert figures["swap_speaker"] > 0.9 and figures["swap_leak_speaker"] < 0.1
    assert figures["swap_digit"] > 0.85 and figures["swap_leak_digit"] < 0.15
    assert (figures["elbo"], figures["kl_static"], figures["kl_dynamic"]) == (-60, 3, 7)
    assert figures["targets"] == 6 * 15 * 14 / 2


def test_a_model_with_the_codes_exchanged_is_found_out(data):
    figures = speech.evaluate_speech(Reader(exchanged=True), None, 0, data)
    assert figures["eer_gap"] < -0.3 and figures["eer_dynamic"] < 0.1
    assert figures["reconstruct_speaker"] > 0.95  # which no reconstruction shows
    assert figures["swap_speaker"] < 0.3 and figures["swap_leak_speaker"] > 0.9


def test_error_rates_are_those_of_verification(data):
    train, test = data
    laid = speech.Scale.of(train).lay(test)
    found = speech.recordings(Reader(), laid, 5)
    expected = verify_speakers(
        found.voice, found.course, found.labels["speaker"], draws=speech.DRAWS, seed=5
    )
    figures = speech.evaluate_speech(Reader(), None, 5, data)
    assert (
        figures["eer_dynamic"] == expected.dynamic.mean
        and figures["eer_dynamic_low"] == expected.dynamic.low
    )
    spectrum = (
        laid.frames @ torch.linalg.inv(speech.Scale.of(train).even)
    ).numpy()  # back on the logarithmic scale
    means = np.stack(
        [
            spectrum[2 * n : 2 * n + 2][laid.mask[2 * n : 2 * n + 2].numpy()].mean(0)
            for n in range(90)
        ]
    )
    raw = verify_speakers(means, found.voice, found.labels["speaker"], draws=2)
    assert (
        figures["eer_mean_spectrum"]
        == figures["eer_static_trivial"]
        == pytest.approx(raw.static.mean, abs=2e-3)
    )  # a tie in float32


def test_speakers_that_training_has_not_seen_are_verified_and_not_probed(data):
    strangers = voices("test", 3, speakers=range(3, 9))
    figures = speech.evaluate_speech(Reader(), None, 0, (data[0], strangers))
    assert figures["eer_static"] < 0.05
    assert "static_probe_digit" in figures and not [
        name for name in figures if name.endswith("probe_speaker") or name == "swap_speaker"
    ]
    told = speech.protocol_speech(None, (data[0], strangers))
    assert told["speakers"] == {"train": 6, "test": 6, "test_in_train": 3}


def test_too_few_speakers_are_refused(data):
    with pytest.raises(ValueError, match="expected three or more"):
        speech.evaluate_speech(Reader(), None, 0, (data[0], voices("test", 3, speakers=range(2))))


@pytest.mark.parametrize("window", [1, 3])
def test_small_models_give_numbers_twice_the_same(data, window):
    torch.manual_seed(0)
    chosen = settings.load("single_element.spoken_digits", "smoke", channels=BINS, window=window)
    model = SingleElement.from_settings(chosen)
    figures = speech.evaluate_speech(model, chosen, 0, data)
    assert all(isinstance(value, float) and math.isfinite(value) for value in figures.values())
    assert figures == speech.evaluate_speech(model, chosen, 0, data)
    json.dumps(speech.protocol_speech(chosen, data), allow_nan=False)


@pytest.mark.skipif(sources.find("fsdd") is None, reason="needs the spoken digits")
def test_the_spoken_digits_and_the_plain_spectrum():
    """A model that has learnt nothing, and what the mean spectrum of real voices tells without one."""
    torch.manual_seed(0)
    chosen = settings.load("single_element.spoken_digits", "smoke")
    figures = speech.evaluate_speech(SingleElement.from_settings(chosen), chosen, 0)
    assert figures["targets"] == 6 * 50 * 49 / 2
    assert (
        0.25 < figures["eer_mean_spectrum"] < 0.4
        and figures["eer_even_spectrum"] < figures["eer_mean_spectrum"]
    )
    assert figures["judge_speaker"] > 0.9 and figures["judge_digit"] > 0.9
    told = speech.protocol_speech(chosen)
    assert (
        told["recordings"] == {"train": 2700, "test": 300}
        and told["speakers"]["test_in_train"] == 6
    )
