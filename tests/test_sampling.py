"""Sampling: all sequences and frames equally likely, labels with their frames, what is withheld."""

from dataclasses import replace

import pytest
import torch
from helpers import seeded
from scipy.stats import chisquare
from unbraid.data.sampling import FrameSampler, SequenceSampler
from unbraid.data.sequences import Sequences

from papers.selections import withhold

SEQUENCES, LENGTH = 7, 9


def numbered(mask=None, floats=False):
    """Frames whose two values are their sequence and their step, with labels that say the same."""
    rows, steps = torch.meshgrid(torch.arange(SEQUENCES), torch.arange(LENGTH), indexing="ij")
    frames = torch.stack([rows, steps], -1).byte()[:, :, :, None, None]
    labels = {"row": torch.arange(SEQUENCES), "step": steps, "action": steps // 3}
    return Sequences(
        frames.float() / 255 if floats else frames,
        labels,
        ("row",),
        ("step", "action"),
        mask=mask,
        classes={"action": ("walk", "cast", "slash")},
    )


def places(sample):
    """Which sequence and which step each frame drawn is, (B, N) each, read off the pixels."""
    return (sample.frames[:, :, :, 0, 0] * 255).round().long().unbind(-1)


def test_all_sequences_frames_and_places_are_equally_likely():
    """6 300 draws; this seed would fail by chance with probability .005."""
    rows, steps = places(FrameSampler(numbered(), 4)(6300, seeded(1)))
    for values in (rows[:, 0], steps.flatten(), steps[:, 0], steps[:, -1]):
        assert chisquare(values.bincount().numpy()).pvalue > 1e-3
    pairs = (steps[:, 0] * LENGTH + steps[:, 1]).bincount(minlength=LENGTH**2)
    pairs = pairs.reshape(LENGTH, LENGTH)
    assert not pairs.diagonal().any()
    assert chisquare(pairs[~torch.eye(LENGTH, dtype=torch.bool)].numpy()).pvalue > 1e-3


def test_what_is_not_observed_is_never_drawn_and_all_else_is():
    mask = torch.rand(SEQUENCES, LENGTH, generator=seeded(2)) < 0.5
    mask[:, :4] = True
    sample = FrameSampler(numbered(mask), 4)(2000, seeded())
    rows, steps = places(sample)
    assert sample.mask.all() and sample.mask.shape == (2000, 4)
    drawn = set(zip(rows.flatten().tolist(), steps.flatten().tolist(), strict=True))
    assert drawn == set(map(tuple, mask.nonzero().tolist()))


@pytest.mark.parametrize(("length", "floats"), [(1, False), (5, True), (LENGTH, False)])
def test_frames_are_drawn_without_replacement_and_keep_their_labels(length, floats):
    sample = FrameSampler(numbered(floats=floats), length)(50, seeded())
    rows, steps = places(sample)
    assert steps.shape == (50, length) and (rows == rows[:, :1]).all()
    assert all(len(set(sample)) == length for sample in steps.tolist())
    assert sample.frames.dtype == torch.float32 and sample.frames.max() <= 1
    assert torch.equal(sample.labels["row"], rows[:, 0])
    assert torch.equal(sample.labels["step"], steps)


def test_each_gives_every_sequence_once_in_order():
    sampler = FrameSampler(numbered(), 3)
    rows, steps = places(sampler.each(seeded()))
    assert torch.equal(rows[:, 0], torch.arange(SEQUENCES))
    assert not torch.equal(steps, places(sampler.each(seeded(1)))[1])


def test_whole_sequences_are_equally_likely_and_whole():
    mask = torch.rand(SEQUENCES, LENGTH, generator=seeded(3)) < 0.5
    sample = SequenceSampler(numbered(mask))(700, seeded())
    rows, steps = places(sample)
    assert torch.equal(rows, sample.labels["row"][:, None].expand(-1, LENGTH))
    assert torch.equal(steps, sample.labels["step"])  # in order, none left out
    assert torch.equal(sample.mask, mask[sample.labels["row"]])
    assert chisquare(sample.labels["row"].bincount().numpy()).pvalue > 1e-3


def test_one_class_of_a_share_of_the_sequences_is_withheld():
    whole = numbered()
    kept = withhold(whole, "action", 0.4, seed=3)
    hidden = ~kept.mask
    assert not (withhold(replace(whole, mask=hidden), "action", 0.5).mask & ~hidden).any()
    assert hidden.any(1).sum() == round(0.4 * SEQUENCES)
    for row in hidden.any(1).nonzero()[:, 0]:
        absent = whole.labels["action"][row][hidden[row]].unique()
        assert len(absent) == 1 and torch.equal(hidden[row], whole.labels["action"][row] == absent)
    assert torch.equal(kept.frames, whole.frames)


@pytest.mark.parametrize("make", (SequenceSampler, lambda data: FrameSampler(data, 4)))
def test_frames_are_drawn_where_they_lie_and_the_draws_are_the_same(make):
    here = make(numbered())
    there = here.to("meta")(5, seeded(3))
    assert there.frames.is_meta and there.frames.is_floating_point()
    expected, moved = (sampler(5, seeded(3)) for sampler in (here, here.to("cpu")))
    assert torch.equal(moved.frames, expected.frames) and there.frames.shape == moved.frames.shape
    assert all(torch.equal(there.labels[name], values) for name, values in expected.labels.items())
