"""Faces: the counts of the real set, its pixels and labels against its files, its two splits."""

import numpy as np
import pytest
import torch
from unbraid.data import fetch
from unbraid.data.faces import TEST_PEOPLE, load

from papers.b.data import invented_faces


@pytest.fixture(scope="module")
def real():
    """Both splits by image and by person."""
    if fetch.find("cmu-faces") is None:
        pytest.skip("needs the CMU faces: make data, or UNBRAID_MIRROR")
    data = {}
    for by in ("image", "person"):
        for split in ("train", "test"):
            data[by, split] = load(split, by)
    return data


def test_counts(real):
    counts = {key: (len(data), data.length, int(data.mask.sum())) for key, data in real.items()}
    assert counts == {
        ("image", "train"): (20, 24, 474),
        ("image", "test"): (20, 8, 150),
        ("person", "train"): (16, 32, 499),
        ("person", "test"): (4, 32, 125),
    }
    for data in real.values():
        assert not data.frames[~data.mask].any()
        assert (data.mask[:, :-1] >= data.mask[:, 1:]).all()  # what is missing is at the end


def test_a_picture_and_its_labels_are_those_of_the_file(real):
    paths, data = fetch.files("cmu-faces"), real["person", "train"]
    names = data.classes
    for row in range(len(data)):
        for step in (0, 13, 27):
            words = [names["person"][data.labels["person"][row]]]
            words += [names[name][data.labels[name][row, step]] for name in data.dynamic]
            path = paths[f"faces/{words[0]}/{'_'.join(words)}_2.pgm"]
            pixels = np.frombuffer(path.read_bytes()[-3840:], np.uint8).reshape(60, 64)
            frame = data.frames[row, step, 0].numpy()
            assert np.abs(frame[2:62] - pixels * (5 / 3)).max() <= 0.5  # rounded
            assert (frame[:2] == frame[2]).all() and (frame[62:] == frame[61]).all()


def test_small_pictures_are_means(real):
    square, small = real["image", "test"].frames, load("test", image_size=32).frames
    quarters = square.float().unflatten(-2, (32, 2)).unflatten(-1, (32, 2)).mean((-3, -1))
    assert small.shape == (20, 8, 1, 32, 32) and (small - quarters).abs().max() <= 0.5


def test_splits_by_image_share_people_but_no_picture_and_those_by_person_no_people(real):
    train, test = real["image", "train"], real["image", "test"]
    assert torch.equal(train.labels["person"], test.labels["person"])
    assert torch.equal(test.mask.sum(1), (train.mask.sum(1) + test.mask.sum(1)) // 4)
    pictures = []
    for data in (train, test):
        pictures.append({image.numpy().tobytes() for image in data.frames[data.mask]})
    assert not pictures[0] & pictures[1] and sum(map(len, pictures)) == 624
    train, test = real["person", "train"], real["person", "test"]
    names = test.classes["person"]
    assert tuple(names[number] for number in test.labels["person"]) == TEST_PEOPLE == names[4::5]
    assert not set(train.labels["person"].tolist()) & set(test.labels["person"].tolist())


def test_invented_people_are_divided_as_the_photographs_are():
    frames = torch.arange(10 * 8, dtype=torch.uint8).view(10, 8, 1, 1, 1)
    turns = torch.stack([torch.linspace(-1, 1, 8), -torch.ones(8)], 1).expand(10, 8, 2)
    train, test = (invented_faces(frames, turns, split) for split in ("train", "test"))
    assert train.mask.shape == (10, 6) and test.mask.shape == (10, 2)
    assert torch.equal(torch.cat([train.frames, test.frames], 1), frames)
    assert train.labels["pose"].tolist() == [[0, 0, 1, 1, 2, 2]] * 10
    assert not train.labels["eyes"].any()
    train, test = (invented_faces(frames, turns, split, "person") for split in ("train", "test"))
    assert test.labels["person"].tolist() == [4, 9] and torch.equal(test.frames, frames[[4, 9]])
    assert train.labels["person"].tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
