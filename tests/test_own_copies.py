"""Own copies: made trees like MUG, TIMIT and Aff-Wild; what is read and said of these."""

import re

import numpy as np
import pytest
import scipy.io.wavfile
import torch
from PIL import Image
from unbraid import store
from unbraid.data.fetch import DataError

from papers import commands as cli
from papers import provenance, runs, settings
from papers.datasets import load
from papers.own_copies import EXPRESSIONS, OWN

SMOKE = ("--profile", "smoke")


@pytest.fixture(autouse=True)
def copy(monkeypatch, tmp_path):
    """The folder that the environment names as everybody's copy; results go beside it."""
    monkeypatch.delenv("UNBRAID_MIRROR", raising=False)
    for variable, *_ in OWN.values():
        monkeypatch.setenv(variable, str(tmp_path / "copy"))
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "copy"


def draw(folder, count, colour):
    """`count` pictures of one colour, without a loss; their red is 4 x their number, from 1 on."""
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        picture = Image.new("RGB", (24, 16), (4 * number % 256, *colour))
        picture.save(folder / f"{number:05d}.jpg", format="PNG")


def test_mug_takes_fifteen_frames_as_the_paper_does(copy):
    """Four people with six expressions; one clip of 30 frames, one of 14, one person deeper."""
    for person in range(4):
        for number, expression in enumerate(EXPRESSIONS):
            count = {(0, 0): 30, (0, 1): 14}.get((person, number), 40)
            deeper = ["session0"] if person == 3 else []
            folder = copy.joinpath(f"{person:03d}", *deeper, expression, "take000")
            draw(folder, count, (person, number))
    draw(copy / "000" / "neutral" / "take000", 20, (99, 99))

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


def test_timit_splits_by_speaker_and_leaves_out_what_all_say(copy):
    """Two speakers of TRAIN, two of TEST of whom one is in the core test; capitals and not."""
    soundfile = pytest.importorskip("soundfile")
    folders = ("TRAIN/DR1/FCJF0", "train/dr2/maeb0", "TEST/DR1/FAKS0", "TEST/DR8/MPAM0")
    for number, name in enumerate(folders):
        folder = copy / "data" / name
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


def test_aff_wild_frames_masks_and_moods(copy):
    """Eleven videos of 40 frames, but one of 25, one of 19, one of 90; two are annotated."""
    counts = {1: 25, 2: 19, 3: 90}
    for video in range(11):
        draw(copy / f"video{video:02d}", counts.get(video, 40), (video, 0))
    (copy / "annotations").mkdir()
    for video, count in ((0, 40), (1, 20)):
        lines = [f"{number / 100},{-number / 100}" for number in range(1, count + 1)]
        lines[4] = "-5,-5"
        text = "\n".join(["valence,arousal", *lines])
        (copy / "annotations" / f"video{video:02d}.txt").write_text(text)

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


def make_faces(copy, people=3, takes=2, count=15):
    """MUG's layout: `people` subjects in six expressions, each in so many takes."""
    for person in range(people):
        for number, expression in enumerate(EXPRESSIONS):
            for take in range(takes):
                folder = copy / f"{person + 1:03d}" / expression / f"take{take:03d}"
                draw(folder, count, (80 * person, 40 * number))


def make_films(copy, count=12, frames=22):
    """Aff-Wild's layout: films of one colour each; valence and arousal of all frames."""
    (copy / "annotations").mkdir()
    for film in range(count):
        draw(copy / f"video{film:02d}", frames, (20 * film, 0))
        lines = [f"{step / frames},{-step / frames}" for step in range(frames)]
        text = "\n".join(["valence,arousal", *lines])
        (copy / "annotations" / f"video{film:02d}.txt").write_text(text)


def make_voices(copy, rate=16_000):
    """TIMIT's layout: two speakers of TRAIN and two of the core test, two sentences each."""
    generator = np.random.default_rng(0)
    people = ("TRAIN/DR1/FCJF0", "TRAIN/DR2/MAEB0", "TEST/DR1/FELC0", "TEST/DR8/MPAM0")
    for number, name in enumerate(people):
        folder = copy / name
        folder.mkdir(parents=True)
        for sentence in ("SA1", "SX37", "SI1027"):
            time = np.arange(8000) / rate
            tone = np.sin(2 * np.pi * (150 + 80 * number) * time) + generator.normal(0, 0.1, 8000)
            samples = (8000 * tone).astype(np.int16)
            scipy.io.wavfile.write(folder / f"{sentence}.WAV", rate, samples)


def measure(call, copy, part, printed_figure):
    """The figures of a trained run, from the command that measures all runs of a set."""
    code, printed = call("evaluate", *part, "--write", "--all")
    assert code == 0 and printed_figure in printed
    metrics = store.read_json(copy.parent / f"build/results/{part[0]}/{part[2]}/smoke/metrics.json")
    assert provenance.form_faults(metrics) == []
    return metrics[part[0]]


def test_mug_is_trained_judged_and_evaluated(copy, call):
    make_faces(copy)
    part = ("single_element", "--dataset", "mug", *SMOKE)
    code, printed = call("train", *part)
    assert code == 0 and "27 clips of 3 people" in printed
    code, printed = call("evaluate", *part)
    assert code == 1 and "python -m papers judge mug --profile smoke" in printed
    code, printed = call("judge", "mug", *SMOKE)
    assert code == 0 and "real_expression" in printed and "real_subject" in printed
    figures = measure(call, copy, part, "swap_expression")
    score = np.exp(figures["marginal_entropy"] - figures["conditional_entropy"])
    assert figures["inception_score"] == pytest.approx(score)
    shares = ("accuracy", "kept_subject", "swap_subject", "swap_leak_expression")
    assert all(0 <= figures[name] <= 1 for name in shares)


def test_timit_is_trained_and_evaluated(copy, call):
    pytest.importorskip("soundfile")
    make_voices(copy)
    part = ("single_element", "--dataset", "timit", *SMOKE)
    code, printed = call("train", *part)
    assert code == 0 and "4 utterances" in printed
    figures = measure(call, copy, part, "eer_gap")
    assert 0 <= figures["eer_static"] <= 1
    assert figures["eer_gap"] == pytest.approx(figures["eer_dynamic"] - figures["eer_static"])


def test_aff_wild_is_trained_and_evaluated(copy, call):
    make_films(copy)
    part = ("unordered", "--dataset", "aff_wild", *SMOKE)
    code, printed = call("train", *part)
    assert code == 0 and "10 videos" in printed
    figures = measure(call, copy, part, "dynamic_probe_valence")
    # No film of the test is one of training, so no probe can name it.
    assert not [name for name in figures if name.endswith("probe_video")]


def test_without_copies_the_other_sets_go_on_and_the_remedy_is_said(call, monkeypatch):
    monkeypatch.delenv("UNBRAID_MUG")
    monkeypatch.setattr(runs, "find_weights", lambda jobs, folders: pytest.fail("evaluated"))
    code, printed = call("evaluate", "single_element", "--dataset", "mug", *SMOKE)
    assert code == 1 and "UNBRAID_MUG" in printed
    assert cli.keep_at_hand(["mug", "bounce", "vowels"]) == ["bounce", "vowels"]


def wrong_depth(copy):
    """The expressions lie where the subjects should."""
    for number, expression in enumerate(EXPRESSIONS):
        draw(copy / expression / "001" / "take000", 15, (0, number))
        draw(copy / expression / "take000", 15, (0, number))


def assert_refused(copy, name, found, **options):
    """The error names what was found, the folder, and the variable of the environment."""
    with pytest.raises(DataError, match=found) as error:
        load(name, **options)
    assert str(copy) in str(error.value) and OWN[name][0] in str(error.value)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize(
    "make",
    (
        lambda copy: None,
        lambda copy: draw(copy / "001" / "4" / "take000", 15, (0, 0)),
        lambda copy: make_faces(copy, 1, count=9),
        wrong_depth,
    ),
    ids=("empty", "numbers", "short", "upside_down"),
)
def test_another_layout_is_named_with_the_right_one_and_the_remedy(copy, name, make):
    make(copy)
    assert_refused(copy, name, re.escape(OWN[name][2]))


def rename_all(folder, name):
    """Name the pictures below a folder by their numbers."""
    for path in [*folder.rglob("*.jpg")]:
        path.rename(path.with_name(name(int(path.stem))))


def test_pictures_are_read_in_the_order_of_their_numbers(copy):
    make_faces(copy, 2)
    make_films(copy)
    before = [load("mug", image_size=8).frames, load("aff_wild", image_size=8).frames]
    rename_all(copy, "img_{}.jpg".format)  # img_10 comes before img_2 in the alphabet
    after = [load("mug", image_size=8).frames, load("aff_wild", image_size=8).frames]
    assert all(map(torch.equal, before, after))


@pytest.mark.parametrize(
    ("make", "found"),
    (
        (lambda copy: make_faces(copy / "x"), "folder too many in x/001"),
        (lambda copy: make_faces(copy / "x" / "y"), "folder too many in x/y"),
        (lambda copy: make_faces(copy, 1), "one folder 001"),
        (lambda copy: rename_all(copy, "{}a.jpg".format), "without a number"),
        (lambda copy: (copy / "001/fear/take000/1.jpg").touch(), "number of another picture"),
    ),
    ids=("parent", "grandparent", "one_person", "no_numbers", "same_numbers"),
)
def test_people_of_mug_who_would_be_mixed_up_are_refused(copy, make, found):
    make_faces(copy, 0 if "folder" in found else 2)
    make(copy)
    assert_refused(copy, "mug", found)


@pytest.mark.parametrize(
    ("change", "found"),
    (
        (lambda text: text.partition("\n")[2], "begins with the line '0.0,"),
        (lambda text: text.replace("valence,arousal", "arousal,valence"), "'arousal,valence'"),
        (lambda text: text.replace(",", " "), "video00.txt"),
        (lambda text: text.replace("\n", ",1\n").replace("l,1", "l"), "begins with"),
        (lambda text: text + "\n0,1000", "line 24"),
        (lambda text: text.replace("\n", "\n\n"), "line 2"),
        (lambda text: text + "\n0.5,", "line 24"),
        (lambda text: "", "video00.txt"),
    ),
    ids=("headless", "swapped", "blanks", "wide", "large", "empty_lines", "half", "empty"),
)
def test_annotations_in_another_form_are_refused(copy, change, found):
    make_films(copy)
    for path in (copy / "annotations").iterdir():
        path.write_text(change(path.read_text()))
    assert_refused(copy, "aff_wild", found, image_size=8)


def test_films_without_any_annotation_are_refused(copy):
    make_films(copy)
    (copy / "annotations").rename(copy / "moods")
    assert_refused(copy, "aff_wild", "no annotations of video00", image_size=8)


@pytest.mark.parametrize("bytes_left", (44, 44 + 2 * 7999), ids=("empty", "cut"))
@pytest.mark.parametrize("kind", ("WAV", "NIST"))
def test_a_cut_recording_is_refused(copy, kind, bytes_left):
    soundfile = pytest.importorskip("soundfile")
    make_voices(copy)
    path = copy / "TRAIN/DR1/FCJF0/SX37.WAV"
    if kind == "NIST":
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path, samples, rate, format="NIST")
        bytes_left += 1024 - 44
    path.write_bytes(path.read_bytes()[:bytes_left])
    with pytest.raises(DataError, match=r"SX37\.WAV[^$]*8000 samples"):
        load("timit")


def test_files_that_cannot_be_read_are_named(copy):
    pytest.importorskip("soundfile")
    make_faces(copy, 2)
    make_voices(copy / "deeper")
    assert len(load("timit")) == 12
    make_voices(copy / "a slow copy", rate=8000)  # it is read first
    with pytest.raises(DataError, match="8000 samples per second"):
        load("timit")
    for path in [*copy.rglob("*.WAV"), *copy.rglob("00003.jpg")]:
        path.write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"\.WAV"):
        load("timit")
    with pytest.raises(DataError, match=r"00003\.jpg"):
        load("mug", image_size=8)


def test_mug_at_full_has_the_published_weights_and_cycles():
    full = settings.load("single_element.mug", "full")
    assert full.log_likelihood_weight + full.anchor_weight == 30
    for share, beta in ((0.0125, 0.5), (0.03, 1), (0.955, 0.0955), (0.51875, 0.8536), (1, 1)):
        weights = runs.term_weights(full, round(share * full.steps))
        assert weights["dynamic_kl"] == pytest.approx(beta, abs=0.01)
        assert weights["static_kl"] == pytest.approx(15 * beta, abs=0.15)
