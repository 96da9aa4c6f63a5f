"""Whole sequences at random; unordered samples: different frames of a sequence, all equally likely, none that is not observed; and what is withheld."""

import pytest
import torch
from scipy.stats import chisquare
from unbraid.data.sampling import FrameSampler, SequenceSampler, withhold
from unbraid.data.sequences import Sequences

SEQUENCES, LENGTH = 7, 9


def made(mask=None, floats=False):
    """Frames whose two values are their sequence and their step, with labels that say the same."""
    rows, steps = torch.meshgrid(torch.arange(SEQUENCES), torch.arange(LENGTH), indexing="ij")
    frames = torch.stack([rows, steps], -1).byte()[:, :, :, None, None]
    labels = {
        "row": torch.arange(SEQUENCES),
        "step": steps,
        "action": steps // 3,
        "place": torch.stack([rows, steps], -1).float(),
    }
    return Sequences(
        frames.float() / 255 if floats else frames,
        labels,
        ("row",),
        ("step", "action", "place"),
        mask=mask,
        classes={"action": ("walk", "cast", "slash")},
    )


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def places(sample):
    """Which sequence and which step each frame drawn is, (B, N) each, read off the pixels."""
    return (sample.frames[:, :, :, 0, 0] * 255).round().long().unbind(-1)


@pytest.mark.parametrize("length", (1, 4, LENGTH))
def test_frames_are_drawn_without_replacement(length):
    rows, steps = places(FrameSampler(made(), length).batch(200, generator()))
    assert steps.shape == (200, length) and (rows == rows[:, :1]).all()  # all of one sequence
    assert all(len(set(one)) == length for one in steps.tolist())


def test_all_sequences_frames_and_places_are_equally_likely():
    """6 300 draws each; p-values of a right sampler are uniform, so that this seed would fail with chance .003, once for all."""
    rows, steps = places(FrameSampler(made(), 4).batch(6300, generator(1)))
    for counted in (
        rows[:, 0].bincount(),
        steps.flatten().bincount(),
        steps[:, 0].bincount(),
        steps[:, -1].bincount(),
    ):
        assert chisquare(counted.numpy()).pvalue > 1e-3
    pairs = (
        (steps[:, 0] * LENGTH + steps[:, 1]).bincount(minlength=LENGTH**2).reshape(LENGTH, LENGTH)
    )
    assert (
        not pairs.diagonal().any()
        and chisquare(pairs[~torch.eye(LENGTH, dtype=torch.bool)].numpy()).pvalue > 1e-3
    )


def test_what_is_not_observed_is_never_drawn():
    mask = torch.rand(SEQUENCES, LENGTH, generator=generator(2)) < 0.5
    mask[:, :4] = True
    sample = FrameSampler(made(mask), 4).batch(2000, generator())
    rows, steps = places(sample)
    assert mask[rows, steps].all() and sample.mask.all() and sample.mask.shape == (2000, 4)
    assert set(zip(rows.flatten().tolist(), steps.flatten().tolist())) == set(
        map(tuple, mask.nonzero().tolist())
    )  # and all else is


@pytest.mark.parametrize("floats", (False, True))
def test_labels_go_with_their_frames(floats):
    sampler = FrameSampler(made(floats=floats), 5)
    sample = sampler.batch(50, generator())
    rows, steps = places(sample)
    assert (
        sample.frames.dtype == torch.float32
        and 0 <= sample.frames.min()
        and sample.frames.max() <= 1
    )
    assert torch.equal(sample.labels["row"], rows[:, 0]) and torch.equal(
        sample.labels["step"], steps
    )
    assert torch.equal(sample.labels["action"], steps // 3) and torch.equal(
        sample.labels["place"], torch.stack([rows, steps], -1).float()
    )
    assert torch.equal(sampler.frames(50, generator()), sample.frames) and sample.mask is None


def test_each_gives_every_sequence_once_in_order():
    mask = torch.ones(SEQUENCES, LENGTH, dtype=torch.bool)
    mask[3, 3:] = False
    sample = FrameSampler(made(mask), 3).each(generator())
    rows, steps = places(sample)
    assert torch.equal(rows[:, 0], torch.arange(SEQUENCES)) and set(steps[3].tolist()) == {0, 1, 2}
    assert torch.equal(sample.frames, FrameSampler(made(mask), 3).each(generator()).frames)
    assert not torch.equal(sample.frames, FrameSampler(made(mask), 3).each(generator(1)).frames)


@pytest.mark.parametrize("length", (0, 3, LENGTH + 1))
def test_a_length_that_a_sequence_does_not_have(length):
    mask = torch.ones(SEQUENCES, LENGTH, dtype=torch.bool)
    mask[2, 2:] = False
    with pytest.raises(
        ValueError,
        match=f"length: expected 1 to 2, the frames of the shortest sequence, found {length}",
    ):
        FrameSampler(made(mask), length)


@pytest.mark.parametrize(
    "sequences, found",
    (
        (Sequences(torch.zeros(3, 5, 2)), "3 of series"),
        (Sequences(torch.zeros(0, 5, 3, 4, 4)), "0 of frames"),
    ),
)
def test_a_series_and_nothing_at_all_are_refused(sequences, found):
    with pytest.raises(
        ValueError, match=f"sequences: expected at least one sequence of frames, found {found}"
    ):
        FrameSampler(sequences, 1)


# --- combinations that training does not see ---------------------------------------------------------------------------


def test_whole_sequences_are_drawn_alike_often_with_what_belongs_to_them():
    sampler = SequenceSampler(made())
    batch, frames = sampler.batch(700, generator()), sampler.frames(700, generator())
    assert torch.equal(batch.frames, frames) and frames.dtype == torch.float32
    assert torch.equal(
        (255 * frames[:, :, 0, 0, 0]).round().long(),
        batch.labels["row"][:, None].expand(-1, LENGTH),
    )
    assert torch.equal(
        (255 * frames[:, :, 1, 0, 0]).round().long(), batch.labels["step"]
    )  # in order, none left out
    assert chisquare(batch.labels["row"].bincount().numpy()).pvalue > 1e-3
    mask = torch.rand(SEQUENCES, LENGTH, generator=generator(3)) < 0.5
    masked, seen = SequenceSampler(made(mask)).frames(9, generator())
    assert torch.equal(masked, frames[:9]) and torch.equal(seen, mask[batch.labels["row"][:9]])
    with pytest.raises(ValueError, match="sequences: expected at least one, found none"):
        SequenceSampler(made().subset([]))


def test_one_class_of_a_share_of_the_sequences_is_withheld():
    known = made()
    kept = withhold(known, "action", 0.4, seed=3)
    hidden = ~kept.mask
    assert hidden.any(1).sum() == round(0.4 * SEQUENCES)
    for row in hidden.any(1).nonzero()[:, 0]:
        absent = known.labels["action"][row][hidden[row]].unique()
        assert len(absent) == 1 and torch.equal(hidden[row], known.labels["action"][row] == absent)
    assert known.mask is None and torch.equal(
        kept.frames, known.frames
    )  # nothing is lost, and the first is as it was
    assert torch.equal(withhold(known, "action", 0.4, seed=3).mask, kept.mask)
    assert any(
        not torch.equal(withhold(known, "action", 0.4, seed=seed).mask, kept.mask)
        for seed in (4, 5)
    )
    rows, steps = places(FrameSampler(kept, 6).batch(500, generator()))
    assert kept.mask[rows, steps].all()


def test_what_was_not_observed_stays_so():
    mask = torch.ones(SEQUENCES, LENGTH, dtype=torch.bool)
    mask[:, 4] = False
    kept = withhold(made(mask), "action", 0.5)
    assert not (kept.mask & ~mask).any() and mask.sum() > kept.mask.sum() and mask[:, :4].all()


def test_all_classes_and_sequences_may_be_withheld():
    hidden = torch.stack([~withhold(made(), "action", 0.3, seed).mask for seed in range(60)])
    assert hidden.any(0).all()


@pytest.mark.parametrize("label", ("row", "step", "place", "colour"))
def test_only_dynamic_classes_can_be_withheld(label):
    with pytest.raises(
        ValueError, match=f"label: expected one of the dynamic classes action, found '{label}'"
    ):
        withhold(made(), label)
    with pytest.raises(ValueError, match="there are none"):
        withhold(Sequences(torch.zeros(1, 2, 3, 4, 4)), label)


@pytest.mark.parametrize("share", (0, 1, -0.1, 2))
def test_no_share_and_all_are_refused(share):
    with pytest.raises(ValueError, match="share: expected between 0 and 1"):
        withhold(made(), "action", share)
