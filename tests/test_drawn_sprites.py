"""Drawn sprites: put together as if drawn at once, laid out as the real ones, and told apart without fail."""

import time

import numpy as np
import pytest
import torch
from unbraid.data import drawn_figures, drawn_sprites, sprites
from unbraid.data.drawn_figures import PAINTS, POINTS, figure
from unbraid.data.drawn_sprites import (
    FROM_FRONT,
    FROM_SIDE,
    load_drawn_poses,
    load_drawn_sprites,
    stance,
)

STATIC = ("skin", "trousers", "top", "hair", "action", "direction", "motion")


@pytest.fixture(scope="module")
def drawn():
    """Both splits, and the seconds of processor time they took."""
    started = time.process_time()
    train, test = load_drawn_sprites("train", 32), load_drawn_sprites("test", 32)
    return train, test, time.process_time() - started


@pytest.fixture
def train(drawn):
    return drawn[0]


@pytest.fixture
def test(drawn):
    return drawn[1]


def drawn_at_once(worn, pose, size):
    """One picture of one character: its points coloured, and the means of the points of each pixel, halves up."""
    skin, trousers, top, hair = worn
    columns = drawn_sprites._colours(hair).reshape(PAINTS, 19, 3)
    colours = columns[:, skin] + columns[:, 6 + trousers] + columns[:, 12 + top] + columns[:, 18]
    strokes = (FROM_FRONT if pose.direction == "front" else FROM_SIDE)[hair]
    points = colours[figure(pose.direction, stance(*pose[:3]), *strokes)].astype(int)
    side = POINTS // size
    total = points.reshape(size, side, size, side, 3).sum(axis=(1, 3))
    return ((total + side**2 // 2) // side**2).transpose(2, 0, 1)


@pytest.mark.parametrize("size", (32, 64))
def test_a_character_is_what_drawing_it_at_once_gives(train, size):
    sequences = train if size == 32 else load_drawn_sprites("validation", size)
    labels = sequences.labels
    for row, slot in np.random.default_rng(1).integers(0, (len(sequences), 8), (12, 2)):
        worn = [labels[name][row].item() for name in STATIC[:4]]
        pose = sprites.POSES[labels["pose"][row, slot]]
        assert np.array_equal(sequences.frames[row, slot].numpy(), drawn_at_once(worn, pose, size))
    if size == 64:
        assert len(sequences) == 900 and torch.equal(
            labels["character"], train.labels["character"][8100:]
        )


def test_each_paint_belongs_to_one_attribute_or_to_all():
    columns = drawn_sprites._colours(0).reshape(PAINTS, 19, 3).any(axis=2)
    owners = np.stack(
        [columns[:, :6].any(1), columns[:, 6:12].any(1), columns[:, 12:18].any(1), columns[:, 18]]
    )
    assert not owners[:, :4].any() and (owners[:, 4:].sum(0) == 1).all()


def test_layout_labels_and_splits_are_those_of_sprites(train, test):
    assert (
        train.frames.shape == (9000, 8, 3, 32, 32)
        and test.frames.shape == (2664, 8, 3, 32, 32)
        and train.frames.dtype == torch.uint8
    )
    for sequences, split in ((train, "train"), (test, "test")):
        real = sprites.sprite_sequences(sequences.frames, sprites.characters(split), split, "real")
        assert (sequences.static, sequences.dynamic, sequences.classes, sequences.split) == (
            real.static,
            real.dynamic,
            real.classes,
            split,
        )
        assert all(torch.equal(sequences.labels[name], real.labels[name]) for name in real.labels)
    assert (
        "drawn by our own code" in test.provenance
        and "32 x 32, test split, 2664 sequences" in test.provenance
    )


def test_poses_are_the_same_frames_as_one_sequence_of_a_character(test):
    poses, real = load_drawn_poses("test", 32), sprites.POSES
    assert poses.frames.shape == (296, 72, 3, 32, 32) and poses.frames.dtype == torch.uint8
    assert torch.equal(poses.frames.flatten(0, 1), test.frames.flatten(0, 1))
    assert poses.static == (*STATIC[:4], "character") and poses.dynamic == (
        "pose",
        "action",
        "direction",
        "position",
    )
    assert all(
        torch.equal(poses.labels[name].repeat_interleave(9), test.labels[name])
        for name in poses.static
    )
    for step in range(72):
        pose = real[poses.labels["pose"][5, step]]
        named = [
            poses.classes[name][poses.labels[name][5, step]]
            for name in ("action", "direction", "position")
        ]
        assert (
            named == [pose.action, pose.direction, str(pose.position)]
            and poses.classes["pose"] == sprites.POSE_NAMES
        )
    assert (
        len(poses.labels["pose"].unique()) == 63
        and (poses.labels["pose"] == poses.labels["pose"][:1]).all()
    )
    assert (
        "drawn by our own code" in poses.provenance
        and "32 x 32, test split, 296 sequences" in poses.provenance
    )


def test_figures_stand_whole_on_black(train):
    for pose in (sprites.POSES[number] for number in np.ravel(sprites.MOTION_POSES)):
        for strokes in (FROM_FRONT if pose.direction == "front" else FROM_SIDE)[
            :: 2 if pose.position % 2 else -2
        ]:  # three styles each
            points = figure(pose.direction, stance(*pose[:3]), *strokes) > 0
            assert not (
                points[0].any() or points[-1].any() or points[:, 0].any() or points[:, -1].any()
            )  # nothing is cut off
    share = (train.frames[::7].amax(dim=2) > 0).float().mean(dim=(-1, -2))
    assert 0.2 < share.min() and share.max() < 0.6


def test_every_attribute_shows_in_every_drawing():
    """Where one attribute changes its value, the picture changes: at 32 x 32 in at least three pixels, by a tenth of the range and more."""
    used = [sprites.POSES[number] for number in sorted(set(np.ravel(sprites.MOTION_POSES)))]
    for style in (2, 3, 5):  # those that cover most
        *parts, _ = drawn_sprites._contributions(used, style, 32)
        for part in parts:
            for one in range(6):
                for other in range(one):
                    change = (
                        np.abs(part[one].astype(int) - part[other])
                        .max(axis=1)
                        .reshape(len(used), -1)
                        / 256
                    )
                    assert (change > 25).sum(axis=1).min() >= 3


def judged(train, train_labels, test, classes):
    """A linear judge (Fisher's discriminant, Gaussian classes of one common covariance): the labels of `test`, (n, pixels)."""
    seen = train.amax(dim=0) > 0
    train, test = train[:, seen], test[:, seen]
    means = torch.stack([train[train_labels == value].mean(dim=0) for value in range(classes)])
    within = train - means[train_labels]
    covariance = within.T @ within / len(within)
    covariance.diagonal().add_(1e-3 * covariance.diagonal().mean())
    weights = torch.linalg.solve(covariance, means.T)
    return (test @ weights - (means * weights.T).sum(dim=1) / 2).argmax(dim=1)


def test_a_linear_judge_tells_every_label_of_new_characters(train, test):
    """Trained on the mean frames of 100 training characters, tried on the 296 test characters: not one mistake is allowed."""
    some = train.subset(slice(0, 900)).as_float()
    pictures, tried = (
        sequences.frames.mean(dim=1).flatten(1) for sequences in (some, test.as_float())
    )
    for name in STATIC:
        assert torch.equal(
            judged(pictures, some.labels[name], tried, len(some.classes[name])), test.labels[name]
        ), name


def test_a_linear_judge_tells_every_pose_of_new_characters(train, test):
    some, others = train.subset(slice(0, 270)).as_float(), test.subset(slice(0, 900)).as_float()
    used, poses = torch.unique(some.labels["pose"].flatten(), return_inverse=True)
    assert len(used) == 63
    found = judged(
        some.frames.flatten(0, 1).flatten(1), poses, others.frames.flatten(0, 1).flatten(1), 63
    )
    assert torch.equal(used[found], others.labels["pose"].flatten())


def test_to_the_left_is_the_mirror_of_to_the_right_but_for_the_light():
    pose = stance("walk", "left", 3)
    left, right = (figure(direction, pose, *FROM_SIDE[1]) // 4 for direction in ("left", "right"))
    assert (
        left != right[:, ::-1]
    ).mean() < 0.03  # materials; points on an edge may fall either way


def test_drawing_all_is_quick(drawn):
    """20 s are allowed for all 11 664 sequences at 32 x 32; three are usual."""
    assert drawn[2] < 20


@pytest.mark.parametrize(
    "arguments, message",
    (
        (("all", 32), "split: expected train, fit, validation, test, found 'all'"),
        (("train", 16), "image_size: expected 64 or 32, found 16"),
    ),
)
def test_other_splits_and_sizes_are_refused(arguments, message):
    for load in (load_drawn_sprites, load_drawn_poses):
        with pytest.raises(ValueError, match=message):
            load(*arguments)


def test_drawings_keep_to_their_paints():
    points = figure("front", stance("slash", "front", 4), *FROM_FRONT[4])
    assert points.shape == (256, 256) and points.dtype == np.uint8 and points.max() < PAINTS
    assert {drawn_figures.BLADE, drawn_figures.GLOW, drawn_figures.HAIR, drawn_figures.KNEE} <= set(
        (points // 4).ravel().tolist()
    )
