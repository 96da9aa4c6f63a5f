"""Own copies: small made trees, laid out as MUG, TIMIT and Aff-Wild are; what is read of them, and what is said without them."""

import io

import numpy as np
import pytest
import torch
from fuzz import check_reader
from PIL import Image
from test_speech import riff, sphere
from unbraid.data import own_copies
from unbraid.data.own_copies import (
    CORE_TEST,
    DEVELOPMENT,
    EXPRESSIONS,
    load_aff_wild,
    load_mug,
    load_timit,
    read_moods,
    read_picture,
)
from unbraid.data.sources import DataError

LOADERS = {"mug": load_mug, "timit": load_timit, "aff_wild": load_aff_wild}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """No test writes into the cache of the clone, and none sees copies that happen to be here."""
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    for variable, *_ in own_copies.OWN.values():
        monkeypatch.delenv(variable, raising=False)


def draw(folder, count, colour, first=0, suffix=".png", name="img_{:04d}"):
    """`count` pictures of one colour; their red is 4 x their number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        Image.new("RGB", (24, 16), (4 * number % 256, *colour)).save(
            folder / f"{name.format(number)}{suffix}"
        )


@pytest.fixture(scope="module")
def mug(tmp_path_factory):
    """Four people with the six expressions in clips of 40 frames, one of 30, one of 14; one person a folder deeper; other folders."""
    root = tmp_path_factory.mktemp("mug")
    for person in range(4):
        for number, expression in enumerate(EXPRESSIONS):
            count = {(0, 0): 30, (0, 1): 14}.get((person, number), 40)
            deeper = ["session0"] if person == 3 else []
            draw(
                root.joinpath(f"{person:03d}", *deeper, expression, "take000"),
                count,
                (person, number),
            )
    draw(root / "000" / "neutral" / "take000", 20, (99, 99))
    return root


@pytest.fixture(scope="module")
def timit(tmp_path_factory):
    """Two speakers of TRAIN, one for development, one of the core test, one of the rest; RIFF and SPHERE, capitals and not."""
    root = tmp_path_factory.mktemp("timit")
    speakers = (
        "TRAIN/DR1/FCJF0",
        "train/dr2/maeb0",
        "TEST/DR1/FAKS0",
        "TEST/DR8/MPAM0",
        "TEST/DR3/FPKT9",
    )
    for number, name in enumerate(speakers):
        suffix = "WAV" if name.isupper() else "wav"
        (root / "data" / name).mkdir(parents=True)
        for sentence, length in (("SA1", 4000), ("SX37", 3200), ("SI1027", 7000)):
            samples = np.random.default_rng(number).integers(-3000, 3000, length).astype(np.int16)
            content = riff(samples, 16_000) if suffix == "wav" else sphere(samples)
            stem = sentence.lower() if suffix == "wav" else sentence
            (root / "data" / name / f"{stem}.{suffix}").write_bytes(content)
            (root / "data" / name / f"{stem}.TXT").write_text("0 1 words")
    doubled = root / "data" / "TRAIN/DR1/FCJF0"
    (doubled / "SX37.WAV.wav").write_bytes(
        riff(np.ones(9600, np.int16), 16_000)
    )  # some copies hold a RIFF file beside the SPHERE file
    return root


@pytest.fixture(scope="module")
def aff_wild(tmp_path_factory):
    """Eleven videos, of 40 frames, of 25 (one missing in the middle), of 19; annotations of two of them."""
    root = tmp_path_factory.mktemp("aff-wild")
    for video in range(11):
        count = {1: 25, 2: 19}.get(video, 40)
        draw(root / f"video{video:02d}", count, (video, 0), first=1, name="{:05d}")
    (root / "video01" / "00010.png").unlink()
    (root / "annotations").mkdir()
    for video, count in ((0, 40), (1, 20)):
        lines = [f"{line / 100},{-line / 100}" for line in range(1, count + 1)]
        lines[4] = "-5,-5"
        (root / "annotations" / f"video{video:02d}.txt").write_text(
            "\n".join(["valence,arousal", *lines])
        )
    return root


@pytest.mark.parametrize("name", LOADERS)
def test_without_a_copy_it_says_how_to_obtain_one_and_what_to_use(name, monkeypatch, tmp_path):
    variable, obtain, meanwhile = own_copies.OWN[name]
    for words in ("none named", "nowhere, which is none"):
        with pytest.raises(DataError) as told:
            LOADERS[name]()
        assert all(
            part in str(told.value)
            for part in (words, obtain, variable, f"meanwhile use {meanwhile}")
        )
        monkeypatch.setenv(variable, "nowhere")
    with pytest.raises(DataError, match=f"{tmp_path}: no (clip|utterance|video)"):
        LOADERS[name](folder=tmp_path)


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("split", ("validation", "Train"))
def test_unknown_splits(name, split, tmp_path):
    with pytest.raises(ValueError, match="expected train or test"):
        LOADERS[name](split, tmp_path)


def test_mug_takes_fifteen_frames_as_the_paper_does(mug, monkeypatch):
    monkeypatch.setenv("UNBRAID_MUG", str(mug))
    train, test = load_mug("train", image_size=8), load_mug("test", image_size=8)
    assert (len(train), len(test)) == (
        18,
        5,
    )  # 24 clips less the one of 14 frames; a quarter, rounded down
    seen = set()
    for sequences in (train, test):
        assert sequences.frames.shape[1:] == (15, 3, 8, 8) and sequences.frames.dtype == torch.uint8
        red, green, blue = sequences.frames.flatten(3).float().mean(3).unbind(2)
        assert (sequences.labels["subject"][:, None] == green).all() and (
            sequences.labels["expression"][:, None] == blue
        ).all()
        strides = red.diff(dim=1)
        short = (sequences.labels["subject"] == 0) & (sequences.labels["expression"] == 0)
        assert (strides[~short] == 8).all() and (
            strides[short] == 4
        ).all()  # every second frame, of the clip of 30 each
        assert red.max() <= 4 * 39
        seen |= set(
            zip(sequences.labels["subject"].tolist(), sequences.labels["expression"].tolist())
        )
        assert sequences.classes == {
            "subject": ("000", "001", "002", "003"),
            "expression": EXPRESSIONS,
        }
    assert seen == {(person, number) for person in range(4) for number in range(6)} - {(0, 1)}
    starts = torch.cat([each.frames[:, 0, 0, 0, 0] for each in (train, test)])
    assert len(starts.unique()) > 5  # starts differ from clip to clip
    assert "MUG (own copy), test split: 5 clips of 4 people" in test.provenance


def test_the_start_of_a_clip_lies_anywhere_in_it():
    starts = {tuple(own_copies._fifteen(range(32), "a", seed)) for seed in range(100)}
    assert starts == {tuple(range(start, start + 29, 2)) for start in range(4)}
    assert {tuple(own_copies._fifteen(range(16), "a", seed)) for seed in range(50)} == {
        tuple(range(15)),
        tuple(range(1, 16)),
    }
    assert tuple(own_copies._fifteen(range(15), "a", 0)) == tuple(range(15))


def test_mug_leaves_out_what_is_named_and_changes_nothing_else(mug):
    whole = load_mug("train", mug, 8)
    person, expression = int(whole.labels["subject"][0]), EXPRESSIONS[whole.labels["expression"][0]]
    less = load_mug("train", mug, 8, leave_out=[f"{person:03d}/{expression}/take000"])
    assert (
        torch.equal(less.frames, whole.frames[1:]) and "1 named clips left out" in less.provenance
    )
    other = load_mug("test", mug, 8, leave_out=[f"{person:03d}/{expression}/take000"])
    assert (
        torch.equal(other.frames, load_mug("test", mug, 8).frames)
        and "0 named clips left out" in other.provenance
    )  # it is not there
    with pytest.raises(
        ValueError, match="leave_out: expected clips such as .*found .'003/anger/take000'"
    ):
        load_mug("train", mug, 8, leave_out=["003/anger/take000"])  # it lies under session0
    assert not torch.equal(load_mug("train", mug, 8, seed=1).frames, whole.frames)
    with pytest.raises(ValueError, match="crop: expected"):
        load_mug("train", mug, crop=0)


def test_pictures_are_read_once_and_again_when_they_change(mug, monkeypatch, tmp_path):
    draw(tmp_path / "copy" / "1" / "anger" / "take0", 15, (1, 1), suffix=".jpg")
    for take in range(1, 5):
        draw(tmp_path / "copy" / "1" / "fear" / f"take{take}", 15, (1, 2))
    first = load_mug("train", tmp_path / "copy", 8)
    with monkeypatch.context() as patch:
        patch.setattr(own_copies, "read_picture", lambda *_: pytest.fail("read again"))
        assert torch.equal(load_mug("train", tmp_path / "copy", 8).frames, first.frames)
    for path in (tmp_path / "copy").rglob("*.png"):
        Image.new("RGB", (240, 160), (255, 255, 255)).save(path)
    assert load_mug("train", tmp_path / "copy", 8).frames.max() == 255


def test_a_picture_is_cut_from_the_middle(tmp_path):
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 20:60], picture[10:30, 30:50] = (0, 0, 200), (200, 0, 0)
    Image.fromarray(picture).save(tmp_path / "a.png")
    whole, half = (
        read_picture(tmp_path / "a.png", 16),
        read_picture(tmp_path / "a.png", 16, crop=0.5),
    )
    assert (
        whole.shape == (3, 16, 16)
        and whole[:, 1, 1].tolist() == [0, 0, 200]
        and whole[:, 8, 8].tolist() == [200, 0, 0]
    )
    assert (
        half == np.array([200, 0, 0])[:, None, None]
    ).mean() > 0.75  # but for the edge, which blends with its neighbours
    large = np.kron(
        picture, np.ones((20, 20, 1), np.uint8)
    )  # 800 x 1600, as large JPEGs are decoded smaller at once
    Image.fromarray(large).save(tmp_path / "b.jpg", quality=95)
    assert np.abs(read_picture(tmp_path / "b.jpg", 16).astype(int) - whole).mean() < 6


@pytest.mark.parametrize("format", ("JPEG", "PNG"))
def test_damaged_pictures(tmp_path, format):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 24, 3), np.uint8)).save(
        buffer, format
    )
    outcomes = check_reader(
        lambda path: read_picture(path, 16),
        ".img",
        buffer.getvalue(),
        tmp_path,
        looks_right=lambda image: image.shape == (3, 16, 16),
    )
    assert outcomes["refused"] > 300
    (tmp_path / "wide.png").write_bytes(buffer.getvalue())
    Image.new("L", (9000, 1)).save(tmp_path / "wide.png")
    with pytest.raises(DataError, match="wide.png: damaged picture(.|\n)*9000 x 1 pixels"):
        read_picture(tmp_path / "wide.png", 16)


def test_timit_splits_by_speaker_and_drops_what_all_say(timit, monkeypatch):
    monkeypatch.setenv("UNBRAID_TIMIT", str(timit))
    train, test = load_timit("train"), load_timit("test")
    names = train.classes["speaker"]
    assert names == (
        "FAKS0",
        "FCJF0",
        "MAEB0",
        "MPAM0",
    )  # the one of the rest of TEST is in neither
    assert {names[number] for number in train.labels["speaker"]} == {"FAKS0", "FCJF0", "MAEB0"}
    assert {names[number] for number in test.labels["speaker"]} == {"MPAM0"}
    assert (
        len(train) == 3 * (1 + 3) and len(test) == 1 + 3
    )  # 3 200 and 7 000 samples; SA1 is not there, nor the doubled file
    assert train.frames.shape == (12, 20, 201) and test.labels["utterance"].tolist() == [0, 0, 0, 1]
    assert test.labels["sex"].unique().tolist() == [1] and test.labels[
        "region"
    ].unique().tolist() == [7]
    regions = dict(
        zip((names[n] for n in train.labels["speaker"]), train.labels["region"].tolist())
    )
    assert regions == {"FAKS0": 0, "FCJF0": 0, "MAEB0": 1}
    assert "TIMIT (own copy), test split: 2 of 192 utterances, 1 of 24 speakers" in test.provenance
    assert load_timit("test", features="log_mel").frames.shape == (4, 20, 40)
    loud, equal = (load_timit("test", level=level).frames for level in ("recorded", "equal"))
    assert loud.max() > equal.max() > 0
    with pytest.raises(ValueError, match="level: expected recorded or equal"):
        load_timit("test", level="loud")


def test_the_lists_of_timits_speakers():
    assert len(CORE_TEST) == 24 and len(DEVELOPMENT) == 50 and not CORE_TEST & DEVELOPMENT
    assert (
        sum(name[0] == "M" for name in CORE_TEST) == 16
    )  # two men and a woman of each of 8 regions


def test_aff_wild_in_time(aff_wild, monkeypatch):
    monkeypatch.setenv("UNBRAID_AFF_WILD", str(aff_wild))
    train, test = load_aff_wild("train", image_size=8), load_aff_wild("test", image_size=8)
    assert (len(train), len(test)) == (8, 2) and train.classes["video"] == tuple(
        f"video{n:02d}" for n in (0, 1, *range(3, 11))
    )
    assert not set(train.labels["video"].tolist()) & set(test.labels["video"].tolist())
    for sequences in (train, test):
        assert sequences.frames.shape[1:] == (40, 3, 8, 8) and sequences.static == ("video",)
        for row, video in enumerate(sequences.labels["video"]):
            name = sequences.classes["video"][video]
            numbers = (
                [n for n in range(1, 26) if n != 10] if name == "video01" else list(range(1, 41))
            )
            assert sequences.mask[row].tolist() == [True] * len(numbers) + [False] * (
                40 - len(numbers)
            )
            frame = sequences.labels["frame"][row, : len(numbers)]
            assert (
                frame.tolist() == numbers
                and (sequences.frames[row, : len(numbers), 0, 4, 4] == 4 * frame).all()
            )
            known = [
                n for n in numbers if n != 5 and n <= {"video00": 40, "video01": 20}.get(name, 0)
            ]
            assert frame[sequences.labels["annotated"][row, : len(numbers)] == 1].tolist() == known
            expected = [n / 100 if n in known else 0.0 for n in numbers]
            np.testing.assert_allclose(
                sequences.labels["valence"][row, : len(numbers)], expected, atol=1e-6
            )
            np.testing.assert_allclose(
                sequences.labels["arousal"][row, : len(numbers)],
                [-value for value in expected],
                atol=1e-6,
            )
        assert not sequences.frames[~sequences.mask].any()
    assert "Aff-Wild (own copy), test split: 2 videos" in test.provenance


def test_aff_wild_in_random_order_is_the_same_frames(aff_wild):
    time, random = (
        load_aff_wild("train", aff_wild, 8, length=30, order=order) for order in ("time", "random")
    )
    assert torch.equal(time.mask, random.mask) and not torch.equal(time.frames, random.frames)
    assert torch.equal(time.labels["frame"].sort(1).values, random.labels["frame"].sort(1).values)
    assert (
        random.frames[:, :, 0, 4, 4] == 4 * random.labels["frame"]
    ).all()  # labels move with their frames
    full = time.mask.all(1)
    assert (
        time.labels["frame"][full][:, [0, -1]] == torch.tensor([1, 40])
    ).all()  # equally far apart, from end to end


def test_aff_wild_without_annotations(tmp_path):
    for video in range(5):
        draw(tmp_path / f"v{video}", 20, (video, 0), first=1)
    sequences = load_aff_wild("test", tmp_path, 8)
    assert sequences.dynamic == ("frame",) and len(sequences) == 1
    with pytest.raises(ValueError, match="length, order: expected"):
        load_aff_wild("test", tmp_path, order="sorted")
    for number in range(20):
        (tmp_path / "v0" / f"img_{number + 1:04d}.png").unlink()
    with pytest.raises(
        DataError, match=r"too little to split(.|\n)*5 sequences or more(.|\n)*found: 4"
    ):
        load_aff_wild("test", tmp_path)


def test_damaged_annotations(tmp_path):
    content = "\n".join(
        ["valence,arousal", *(f"{line / 50:.3f},{-line / 70:.3f}" for line in range(40)), "-5,-5"]
    ).encode()

    def right(values):
        return values.shape[1] == 2 and np.isfinite(values).all() and values.max() <= 1

    assert check_reader(read_moods, ".txt", content, tmp_path, looks_right=right)["refused"] > 400
    for text in ("", "valence,arousal", "1,2", "0.1", "0.1,0.2,0.3", "nan,0", "é,1"):
        (tmp_path / "bad.txt").write_text(text)
        with pytest.raises(DataError, match=r"bad.txt: damaged annotation(.|\n)*expected"):
            read_moods(tmp_path / "bad.txt")
