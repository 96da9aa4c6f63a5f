"""Faces: the reader against hand-written maps, the counts of the real set, its labels against its file names, its two splits."""

import numpy as np
import pytest
import torch
from fuzz import check_reader
from unbraid.data import faces, sources
from unbraid.data.faces import HELD_OUT, load_faces, read_pgm
from unbraid.data.sources import DataError


@pytest.fixture(scope="module")
def real():
    """Both splits by image and by person."""
    if sources.find("cmu-faces") is None:
        pytest.skip("CMU faces are not at hand: run make data, or set UNBRAID_MIRROR")
    return {
        (by, split): load_faces(split, by)
        for by in ("image", "person")
        for split in ("train", "test")
    }


def written(folder, content, name="picture.pgm"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_map_by_hand(tmp_path):
    path = written(tmp_path, b"P5\n3 2\n200\n" + bytes([0, 1, 2, 10, 100, 200]))
    assert read_pgm(path).tolist() == [[0, 1, 2], [10, 100, 200]]  # two rows of three columns
    assert read_pgm(str(path)).dtype == np.uint8
    assert read_pgm(written(tmp_path, b"P5 1 1 255 \n")).tolist() == [
        [10]
    ]  # one blank ends the header: the line feed is a pixel


@pytest.mark.parametrize(
    "content",
    (
        b"",
        b"P5",
        b"P2\n1 1\n255\n7",
        b"P5\n2 2\n255\n123",
        b"P5\n2 2\n255\n12345",
        b"P5\n0 0\n255\n",
        b"P5\n1 1\n256\n7",
        b"P5\n1 1\n0\n7",
        b"P5\n1 1\n6\n\x07",
        b"P5\n99999 99999\n255\n1",
        b"P5\n# note\n1 1\n255\n7",
        b"P5\n-1 -1\n255\n7",
    ),
)
def test_maps_that_are_not_right(tmp_path, content):
    with pytest.raises(
        DataError,
        match=r"picture.pgm: damaged(.|\n)*expected(.|\n)*found(.|\n)*mend: .*data fetch cmu-faces",
    ):
        read_pgm(written(tmp_path, content))


def test_a_file_that_is_not_there_or_too_large(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="nothing.pgm"):
        read_pgm(tmp_path / "nothing.pgm")
    monkeypatch.setattr(faces, "LARGEST", 10)
    with pytest.raises(DataError, match="at most 10 bytes"):
        read_pgm(written(tmp_path, b"P5\n1 1\n255\n7"))


def test_a_thousand_damaged_maps(tmp_path):
    content = (
        b"P5\n64 60\n156\n" + np.random.default_rng(0).integers(0, 150, 60 * 64, np.uint8).tobytes()
    )
    outcomes = check_reader(
        read_pgm,
        ".pgm",
        content,
        tmp_path,
        looks_right=lambda image: image.ndim == 2 and image.dtype == np.uint8,
    )
    assert outcomes["refused"] > 600  # the rest had only pixels changed


def test_counts(real):
    shapes = {key: tuple(sequences.frames.shape) for key, sequences in real.items()}
    assert shapes == {
        ("image", "train"): (20, 24, 1, 60, 64),
        ("image", "test"): (20, 8, 1, 60, 64),
        ("person", "train"): (16, 32, 1, 60, 64),
        ("person", "test"): (4, 32, 1, 60, 64),
    }
    pictures = {key: int(sequences.mask.sum()) for key, sequences in real.items()}
    assert pictures == {
        ("image", "train"): 474,
        ("image", "test"): 150,
        ("person", "train"): 499,
        ("person", "test"): 125,
    }
    each = torch.cat([real["person", split].mask.sum(1) for split in ("train", "test")])
    assert (int(each.min()), int(each.max()), int(each.sum())) == (28, 32, 624)
    assert all(sequences.frames.dtype == torch.uint8 for sequences in real.values())


def test_every_combination_of_labels_and_what_is_missing(real):
    whole = real["person", "train"], real["person", "test"]
    rows = set()
    for sequences in whole:
        person = sequences.labels["person"][:, None].expand(sequences.mask.shape)
        columns = [person, *(sequences.labels[name] for name in ("pose", "expression", "eyes"))]
        found = torch.stack(columns, -1)[sequences.mask]
        rows |= set(map(tuple, found.tolist()))
        assert not any(sequences.labels[name][~sequences.mask].any() for name in sequences.dynamic)
        assert (sequences.static, sequences.dynamic) == (
            ("person",),
            ("pose", "expression", "eyes"),
        )
    assert len(rows) == 624  # each person at most once in each of 4 x 4 x 2 ways
    assert {row[0] for row in rows} == set(range(20)) and {row[1:] for row in rows} == {
        (p, e, g) for p in range(4) for e in range(4) for g in range(2)
    }


def test_a_picture_and_its_labels_are_those_of_the_file(real):
    paths, sequences = sources.find("cmu-faces"), real["person", "train"]
    names = {name: sequences.classes[name] for name in sequences.labels}
    for row in range(len(sequences)):
        for step in (0, 13, 27):
            words = [names["person"][sequences.labels["person"][row]]]
            words += [names[name][sequences.labels[name][row, step]] for name in sequences.dynamic]
            image = read_pgm(paths[f"faces/{words[0]}/{'_'.join(words)}_2.pgm"])
            shown = sequences.frames[row, step, 0].numpy()
            assert np.abs(shown - image * (5 / 3)).max() <= 0.5  # rounded
    assert (
        max(int(each.frames.max()) for each in real.values()) == 255
    )  # the brightest pixel of all


def test_by_image_the_two_splits_share_people_but_no_picture(real):
    train, test = real["image", "train"], real["image", "test"]
    assert torch.equal(train.labels["person"], test.labels["person"])
    both = train.mask.sum(1) + test.mask.sum(1)
    assert both.tolist() == [
        32,
        32,
        32,
        32,
        32,
        32,
        31,
        31,
        30,
        31,
        31,
        32,
        30,
        28,
        32,
        31,
        32,
        32,
        31,
        30,
    ]
    assert torch.equal(test.mask.sum(1), both // 4)
    pictures = [
        {image.numpy().tobytes() for image in each.frames[each.mask]} for each in (train, test)
    ]
    assert not pictures[0] & pictures[1] and sum(map(len, pictures)) == 624
    again, other = load_faces("test"), load_faces("test", seed=1)
    assert torch.equal(again.frames, test.frames) and not torch.equal(other.frames, test.frames)


def test_by_person_the_test_shows_people_never_trained_on(real):
    train, test = real["person", "train"], real["person", "test"]
    names = test.classes["person"]
    assert tuple(names[number] for number in test.labels["person"]) == HELD_OUT == names[4::5]
    assert not set(train.labels["person"].tolist()) & set(test.labels["person"].tolist())


def test_what_is_not_observed_is_black(real):
    for sequences in real.values():
        assert not sequences.frames[~sequences.mask].any()
        assert sequences.frames[sequences.mask].flatten(1).any(1).all()
        assert (sequences.mask[:, :-1] >= sequences.mask[:, 1:]).all()  # at the end only


def test_other_sizes(real):
    published = real["image", "test"].frames
    square, small = (
        load_faces("test", image_size=64).frames,
        load_faces("test", image_size=32).frames,
    )
    assert torch.equal(square[..., 2:62, :], published)
    assert torch.equal(square[..., 0, :], published[..., 0, :]) and torch.equal(
        square[..., 63, :], published[..., 59, :]
    )
    assert small.shape == (20, 8, 1, 32, 32)
    quarters = square.float().unflatten(-2, (32, 2)).unflatten(-1, (32, 2)).mean((-3, -1))
    assert (small - quarters).abs().max() <= 0.5


def test_provenance(real):
    told = real["person", "test"].provenance
    assert "CMU Face Images" in told and "125 real photographs of 4 people" in told


@pytest.mark.parametrize("arguments", (("validation",), ("train", "pose"), ("train", "image", 48)))
def test_unknown_options_are_refused(arguments):
    with pytest.raises(ValueError, match="split, by, image_size: expected .* found"):
        load_faces(*arguments)


def test_without_the_files_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(faces, "find", lambda name: None)
    with pytest.raises(DataError, match="data fetch cmu-faces; meanwhile use drawn_sprites"):
        load_faces()


def test_a_map_of_another_size_is_not_taken(tmp_path, monkeypatch):
    path = written(tmp_path, b"P5\n2 1\n255\n12", "ann/ann_left_sad_open_2.pgm")
    monkeypatch.setattr(faces, "find", lambda name: {"faces/ann/x": path})
    with pytest.raises(DataError, match="not of this set"):
        load_faces("train", "person")
