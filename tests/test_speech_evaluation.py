"""Paper C's evaluation on speech: on made voices whose codes are known, and by a small model."""

import pytest
import torch
from helpers import seeded
from torch import nn
from unbraid.data.sequences import Sequences
from unbraid.data.speech import SpectrumScale
from unbraid.models.base import Batch, Bound

from papers.c import speech
from papers.settings import RunSettings

BINS, STEPS = 12, 6
DIGITS = tuple("01234")


def voices(split, takes):
    """Magnitudes of recordings of two chunks, the second half silent: a voice times a course.

    The course of a digit has no mean over any chunk, so that what stays is the voice alone.
    """
    known = seeded(0)
    voice = torch.randn(6, BINS, generator=known)
    course = torch.randn(len(DIGITS), 2, STEPS // 2, BINS, generator=known)
    course = torch.stack([course, -course], 3).flatten(2, 3)  # (digits, 2, STEPS, BINS), + - + -
    rows = torch.cartesian_prod(torch.arange(6), torch.arange(len(DIGITS)), torch.arange(takes))
    speaker, digit = rows[:, 0].repeat_interleave(2), rows[:, 1].repeat_interleave(2)
    chunk = torch.arange(len(speaker)) % 2
    generator = seeded(int(split == "test"))
    noise = 0.3 * torch.randn(len(speaker), STEPS, BINS, generator=generator)
    logarithms = voice[speaker][:, None] + course[digit, chunk] + noise
    mask = (torch.arange(STEPS) < STEPS - 2) | (chunk == 0)[:, None]
    utterance = torch.arange(len(speaker)) // 2
    labels = {"speaker": speaker, "digit": digit, "utterance": utterance, "chunk": chunk}
    classes = {"speaker": tuple("abcdef"), "digit": DIGITS}
    frames = logarithms.exp() * mask[..., None]
    return Sequences(frames, labels, tuple(labels), (), split, "made voices", mask, classes)


class Reader(nn.Module):
    """Takes chunks apart as they were made: s is a chunk's mean, d what is left of each step.

    exchanged: s is 0, d everything. Draws of d have noise of 0.3, means a little.
    """

    def __init__(self, exchanged=False):
        super().__init__()
        self.weight, self.exchanged = nn.Parameter(torch.zeros(1)), exchanged

    def encode(self, batch, noise=None):
        frames, mask = batch.frames, batch.mask
        mean = frames.sum(1) / mask.sum(1)[:, None]
        generator = noise or seeded(0)
        spread = 1e-3 if noise is None else 0.3
        drawn = spread * torch.randn(frames.shape, generator=generator)
        if self.exchanged:
            return {"static": 1e-3 * drawn[:, 0], "dynamic": frames + drawn}
        return {"static": mean, "dynamic": (frames - mean[:, None]) * mask[..., None] + drawn}

    def elbo(self, batch, noise=None):
        ones = torch.ones(len(Batch.of(batch).frames))
        return Bound(-50 * ones, {"static": 3 * ones, "dynamic": 7 * ones}, STEPS)


@pytest.fixture(scope="module")
def splits():
    return {"train": voices("train", 8), "test": voices("test", 3)}


@pytest.fixture
def measure(splits, monkeypatch):
    """A function of a model, and of settings, which measures it on the made voices."""
    monkeypatch.setattr(speech, "load_chunks", lambda settings, split, seed: splits[split])

    def evaluate(model, **options):
        named = RunSettings(model="single_element", dataset="spoken_digits", **options)
        return speech.evaluate_speech(model.eval(), named, 0)

    return evaluate


@pytest.fixture
def expected(measure):
    return measure(Reader())


def test_vectors_of_recordings_are_means_over_what_was_heard(splits):
    chunks = SpectrumScale.fit(splits["train"]).transform(splits["test"])
    recordings = speech.collect_recordings(Reader(), chunks, 0)
    assert {vectors.shape for vectors in recordings.vectors.values()} == {(90, BINS)}
    two = chunks.subset([8, 9])  # of recording 4
    drawn = Reader().encode(chunks, seeded(0))["dynamic"][8:10]
    expected = {
        "static": Reader().encode(two)["static"].mean(0),
        "dynamic": drawn[two.mask].mean(0),
    }
    for name, vector in expected.items():
        found = recordings.vectors[name][4]
        torch.testing.assert_close(found, vector, rtol=1e-4, atol=1e-4, msg=name)


def test_a_model_that_takes_voices_apart_as_they_were_made(expected):
    figures = expected
    assert figures["eer_static"] < 0.02 and abs(figures["eer_dynamic"] - 0.5) < 0.1


def test_a_model_with_the_codes_exchanged_is_found_out(measure):
    figures = measure(Reader(exchanged=True))
    assert figures["eer_dynamic"] < 0.1 and figures["eer_static"] > 0.4


class MagnitudeReader(Reader):
    """The same on magnitudes: it goes to the scale of `SpectrumScale` by itself."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def encode(self, batch, noise=None):
        frames = self.scale.apply(batch.frames) * batch.mask[..., None]
        return super().encode(Batch(frames, batch.mask), noise)


def test_what_a_model_reads_does_not_change_how_it_is_measured(splits, measure, expected):
    figures = measure(MagnitudeReader(SpectrumScale.fit(splits["train"])), scaled=False)
    assert figures.keys() == expected.keys()
    for name in figures:
        assert figures[name] == pytest.approx(expected[name], abs=0.02), name
