"""Own copies: small made trees, laid out as MUG, TIMIT and Aff-Wild are; what is read of them."""

import numpy as np
import pytest
import scipy.io.wavfile
import torch
from PIL import Image
from unbraid.data import load
from unbraid.data.own_copies import EXPRESSIONS, OWN


@pytest.fixture(autouse=True)
def copies(monkeypatch, tmp_path):
    """The folder that the environment names as everybody's copy."""
    for variable, *_ in OWN.values():
        monkeypatch.setenv(variable, str(tmp_path))


def draw(folder, count, colour):
    """`count` pictures of one colour, without a loss; their red is 4 x their number, from 1 on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        picture = Image.new("RGB", (24, 16), (4 * number % 256, *colour))
        picture.save(folder / f"{number:05d}.jpg", format="PNG")


def test_mug_takes_fifteen_frames_as_the_paper_does(tmp_path):
    """Four people with six expressions; one clip of 30 frames, one of 14, one person deeper."""
    for person in range(4):
        for number, expression in enumerate(EXPRESSIONS):
            count = {(0, 0): 30, (0, 1): 14}.get((person, number), 40)
            deeper = ["session0"] if person == 3 else []
            folder = tmp_path.joinpath(f"{person:03d}", *deeper, expression, "take000")
            draw(folder, count, (person, number))
    draw(tmp_path / "000" / "neutral" / "take000", 20, (99, 99))

    seen = set()
    starts = []
    for split, count in (("train", 18), ("test", 5)):
        clips = load("mug", split, image_size=8)
        assert clips.frames.shape == (count, 15, 3, 8, 8) and clips.frames.dtype == torch.uint8
        red, green, blue = clips.frames.flatten(3).float().mean(3).unbind(2)
        subject, expression = clips.labels["subject"], clips.labels["expression"]
        assert (green == subject[:, None]).all() and (blue == expression[:, None]).all()
        # Every second frame, of the clip of 30 every one.
        short = (subject == 0) & (expression == 0)
        strides = torch.where(short, 4, 8)[:, None]
        assert (red.diff(dim=1) == strides).all()
        seen |= set(zip(subject.tolist(), expression.tolist(), strict=True))
        starts += red[:, 0].tolist()
    everyone = {(person, number) for person in range(4) for number in range(6)}
    assert seen == everyone - {(0, 1)}
    assert len(set(starts)) > 5


def test_timit_splits_by_speaker_and_leaves_out_what_all_say(tmp_path):
    """Two speakers of TRAIN, two of TEST of whom one is in the core test; capitals and not."""
    soundfile = pytest.importorskip("soundfile")
    folders = ("TRAIN/DR1/FCJF0", "train/dr2/maeb0", "TEST/DR1/FAKS0", "TEST/DR8/MPAM0")
    for number, name in enumerate(folders):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for sentence, length in (("SA1", 4000), ("SX37", 3200), ("SI1027", 7000)):
            samples = np.random.default_rng(number).integers(-3000, 3000, length).astype(np.int16)
            if name.isupper():
                path = folder / f"{sentence}.WAV"
                soundfile.write(path, samples, 16_000, format="NIST")
                scipy.io.wavfile.write(folder / f"{sentence}.WAV.wav", 16_000, samples)
            else:
                scipy.io.wavfile.write(folder / f"{sentence.lower()}.wav", 16_000, samples)
            (folder / f"{sentence}.TXT").write_text("0 1 words")

    train, test = load("timit", "train"), load("timit", "test")
    assert train.classes["speaker"] == test.classes["speaker"] == ("FCJF0", "MAEB0", "MPAM0")
    assert train.frames.shape == (2 * (1 + 3), 20, 201) and test.frames.shape == (1 + 3, 20, 201)
    assert train.labels["speaker"].unique().tolist() == [0, 1]
    assert test.labels["speaker"].unique().tolist() == [2]
    assert train.labels["region"].unique().tolist() == [0, 1]
    assert test.labels["sex"].unique().tolist() == [1]
    assert sorted(test.labels["utterance"].bincount().tolist()) == [1, 3]


def test_aff_wild_frames_masks_and_moods(tmp_path):
    """Eleven videos of 40 frames, but one of 25, one of 19, one of 90; two are annotated."""
    counts = {1: 25, 2: 19, 3: 90}
    for video in range(11):
        draw(tmp_path / f"video{video:02d}", counts.get(video, 40), (video, 0))
    (tmp_path / "annotations").mkdir()
    for video, count in ((0, 40), (1, 20)):
        lines = [f"{number / 100},{-number / 100}" for number in range(1, count + 1)]
        lines[4] = "-5,-5"
        text = "\n".join(["valence,arousal", *lines])
        (tmp_path / "annotations" / f"video{video:02d}.txt").write_text(text)

    parts = [load("aff_wild", split, image_size=8) for split in ("train", "test")]
    assert [len(films) for films in parts] == [8, 2]
    assert sorted(torch.cat([films.labels["video"] for films in parts]).tolist()) == list(range(10))
    for films in parts:
        for row, video in enumerate(films.labels["video"]):
            name = films.classes["video"][video]
            count = min(64, counts.get(int(name[-2:]), 40))
            frame = films.labels["frame"][row, :count]
            assert films.mask[row].sum() == count and films.mask[row, :count].all()
            assert (films.frames[row, :count, 0, 4, 4] == 4 * frame % 256).all()
            annotated = frame <= {"video00": 40, "video01": 20}.get(name, 0)
            expected = torch.where(annotated & (frame != 5), frame / 100, 0.0)
            torch.testing.assert_close(films.labels["valence"][row, :count], expected)
            torch.testing.assert_close(films.labels["arousal"][row, :count], -expected)
        assert not films.frames[~films.mask].any()
