"""Own copies: made trees like MUG and TIMIT; what is read, measured and refused."""

import itertools

import numpy as np
import pytest
import scipy.io.wavfile
import torch
from PIL import Image
from unbraid.data.fetch import DataError

from papers.datasets import load
from papers.licensed_sets import EXPRESSIONS, OWN


@pytest.fixture(autouse=True)
def copy(monkeypatch, tmp_path):
    """The folder that the environment names as everybody's copy."""
    for variable, *_ in OWN.values():
        monkeypatch.setenv(variable, str(tmp_path / "copy"))
    (tmp_path / "copy").mkdir()
    return tmp_path / "copy"


def draw(folder, count, colour, name="{:05d}.jpg"):
    """`count` pictures of one colour, without a loss; their red is 4 x their number, from 1 on."""
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        picture = Image.new("RGB", (24, 16), (4 * number % 256, *colour))
        picture.save(folder / name.format(number), format="PNG")


def make_faces(copy, people=3, counts=None, **more):
    """MUG's layout: so many subjects in six expressions, two takes of 15 pictures each."""
    for person, number, take in itertools.product(range(people), range(6), range(2)):
        folder = copy / f"{person:03d}" / EXPRESSIONS[number] / f"take{take:03d}"
        draw(folder, (counts or {}).get((person, number), 15), (person, number), **more)


def make_voices(copy, rate=16_000):
    """TIMIT's layout: two speakers of TRAIN, in small letters, too, and three of TEST."""
    generator = np.random.default_rng(0)
    people = ("TRAIN/DR1/FCJF0", "train/dr2/maeb0", "TEST/DR1/FELC0", "TEST/DR8/MPAM0")
    for number, name in enumerate((*people, "TEST/DR1/FAKS0")):  # not of the core test
        (copy / name).mkdir(parents=True)
        for sentence in ("SA1", "SX37", "SI1027"):
            tone = np.sin(2 * np.pi * (150 + 80 * number) * np.arange(8000) / rate)
            samples = 8000 * (tone + generator.normal(0, 0.1, 8000))
            path = copy / name / (f"{sentence}.WAV" if name.isupper() else f"{sentence}.wav")
            scipy.io.wavfile.write(path, rate, samples.astype(np.int16))


def test_mug_takes_fifteen_frames_as_the_paper_does(copy):
    """Three people; clips of 40 frames, some of 30, and some too short."""
    counts = {(person, number): 40 for person in range(3) for number in range(6)}
    make_faces(copy, counts=counts | {(0, 0): 30, (0, 1): 14}, name="img_{}.jpg")
    for split, count in (("train", 26), ("test", 8)):
        clips = load("mug", split, image_size=8)
        assert clips.frames.shape == (count, 15, 3, 8, 8) and clips.frames.dtype == torch.uint8
        red, green, blue = clips.frames.flatten(3).float().mean(3).unbind(2)
        subject, expression = clips.labels["subject"], clips.labels["expression"]
        assert (green == subject[:, None]).all() and (blue == expression[:, None]).all()
        # Every second frame, of the clips of 30 every one, in the order of their numbers.
        short = (subject == 0) & (expression == 0)
        assert (red.diff(dim=1) == torch.where(short, 4, 8)[:, None]).all()


def test_timit_splits_by_speaker_and_leaves_out_what_all_say(copy):
    pytest.importorskip("soundfile")
    make_voices(copy)
    train, test = load("timit", "train"), load("timit", "test")
    assert train.classes["speaker"] == ("FCJF0", "FELC0", "MAEB0", "MPAM0")
    assert train.frames.shape == test.frames.shape == (2 * 2 * 3, 20, 201)
    assert train.labels["speaker"].unique().tolist() == [0, 2]
    assert test.labels["speaker"].unique().tolist() == [1, 3]
    make_voices(copy / "a slow copy", rate=8000)  # it is read first
    with pytest.raises(DataError, match="8000 samples per second"):
        load("timit")


REFUSED = {
    "mug, empty": lambda copy: None,
    "mug, one person": lambda copy: make_faces(copy, 1),
    "mug, no subjects": lambda copy: draw(copy / "fear" / "take000", 15, (0, 0)),
    "mug, a folder too many": lambda copy: make_faces(copy / "x" / "y"),
    "mug, no numbers": lambda copy: make_faces(copy, name="{}a.jpg"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_another_layout_is_refused_with_the_right_one_and_the_variable(copy, case):
    name = case.partition(",")[0]
    REFUSED[case](copy)
    with pytest.raises(DataError) as error:
        load(name)
    for part in (str(copy), *OWN[name][::2]):
        assert part in str(error.value)
