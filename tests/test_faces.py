"""Faces: the counts of the real set, its pixels and labels against its files, its splits."""

import numpy as np
import pytest
import torch
from unbraid.data import fetch
from unbraid.data.faces import load


@pytest.fixture(scope="module")
def real():
    """Both splits."""
    if fetch.find("cmu-faces") is None:
        pytest.skip("needs the CMU faces: make data, or UNBRAID_MIRROR")
    return {split: load(split) for split in ("train", "test")}


def test_counts(real):
    counts = {key: (len(data), data.length, int(data.mask.sum())) for key, data in real.items()}
    assert counts == {"train": (20, 24, 474), "test": (20, 8, 150)}
    for data in real.values():
        assert not data.frames[~data.mask].any()
        assert (data.mask[:, :-1] >= data.mask[:, 1:]).all()  # what is missing is at the end


def test_a_picture_and_its_labels_are_those_of_the_file(real):
    paths, data = fetch.files("cmu-faces"), real["train"]
    names = data.classes
    for row in range(len(data)):
        for step in (0, 13, 20):
            words = [names["person"][data.labels["person"][row]]]
            words += [names[name][data.labels[name][row, step]] for name in data.dynamic]
            path = paths[f"faces/{words[0]}/{'_'.join(words)}_2.pgm"]
            pixels = np.frombuffer(path.read_bytes()[-3840:], np.uint8).reshape(60, 64)
            frame = data.frames[row, step, 0].numpy()
            assert np.abs(frame[2:62] - pixels * (5 / 3)).max() <= 0.5  # rounded
            assert (frame[:2] == frame[2]).all() and (frame[62:] == frame[61]).all()


def test_small_pictures_are_means(real):
    square, small = real["test"].frames, load("test", image_size=32).frames
    quarters = square.float().unflatten(-2, (32, 2)).unflatten(-1, (32, 2)).mean((-3, -1))
    assert small.shape == (20, 8, 1, 32, 32) and (small - quarters).abs().max() <= 0.5


def test_splits_share_people_but_no_picture(real):
    train, test = real["train"], real["test"]
    assert torch.equal(train.labels["person"], test.labels["person"])
    assert torch.equal(test.mask.sum(1), (train.mask.sum(1) + test.mask.sum(1)) // 4)
    pictures = []
    for data in (train, test):
        pictures.append({image.numpy().tobytes() for image in data.frames[data.mask]})
    assert not pictures[0] & pictures[1] and sum(map(len, pictures)) == 624
