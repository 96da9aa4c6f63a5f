"""MUG, TIMIT, Aff-Wild from the command line, on made trees: train, judge, evaluate; layouts."""

import numpy as np
import pytest
import scipy.io.wavfile
from PIL import Image
from unbraid import cli, experiments, results, settings, training
from unbraid.data import load
from unbraid.data.fetch import DataError
from unbraid.data.own_copies import EXPRESSIONS, OWN

SMOKE = ("--profile", "smoke")
# Counted in the authors' modules, whose sizes the section has at full.
MUG_PARAMETERS = 8_784_515


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A folder with build/results of the test alone, and copies in copy/."""
    monkeypatch.delenv("UNBRAID_MIRROR", raising=False)
    for variable, *_ in OWN.values():
        monkeypatch.setenv(variable, str(tmp_path / "copy"))
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def draw_take(folder, colour, count=15):
    """A take of small pictures of one colour."""
    folder.mkdir(parents=True)
    for number in range(count):
        picture = Image.new("RGB", (12, 12), (10 * number, *colour))
        picture.save(folder / f"{number:05d}.jpg")


def make_faces(copy, people=3, takes=2, count=15):
    """MUG's layout: `people` subjects in six expressions, each in so many takes."""
    for person in range(people):
        for number, expression in enumerate(EXPRESSIONS):
            for take in range(takes):
                folder = copy / f"{person + 1:03d}" / expression / f"take{take:03d}"
                draw_take(folder, (80 * person, 40 * number), count)


def make_films(copy, count=12, frames=22):
    """Aff-Wild's layout: films of one colour each; valence and arousal of all frames."""
    (copy / "annotations").mkdir()
    for film in range(count):
        draw_take(copy / f"video{film:02d}", (20 * film, 0), frames)
        lines = [f"{step / frames},{-step / frames}" for step in range(frames)]
        text = "\n".join(["valence,arousal", *lines])
        (copy / "annotations" / f"video{film:02d}.txt").write_text(text)


def make_voices(copy, rate=16_000):
    """TIMIT's layout: two speakers of TRAIN and two of the core test, two sentences each."""
    generator = np.random.default_rng(0)
    for number, name in enumerate(
        ("TRAIN/DR1/FCJF0", "TRAIN/DR2/MAEB0", "TEST/DR1/FELC0", "TEST/DR8/MPAM0")
    ):
        folder = copy / name
        folder.mkdir(parents=True)
        for sentence in ("SA1", "SX37", "SI1027"):
            time = np.arange(8000) / rate
            tone = np.sin(2 * np.pi * (150 + 80 * number) * time) + generator.normal(0, 0.1, 8000)
            samples = (8000 * tone).astype(np.int16)
            scipy.io.wavfile.write(folder / f"{sentence}.WAV", rate, samples)


def measure(call, home, part, printed_figure):
    """The figures of a trained run, from the command that measures all runs of a set."""
    code, printed = call("evaluate", *part, "--write", "--all")
    assert code == 0 and printed_figure in printed
    metrics = results.read_json(home / f"build/results/{part[0]}/{part[2]}/smoke/metrics.json")
    assert results.form_faults(metrics) == []
    return metrics[part[0]]


def test_mug_is_trained_judged_and_evaluated(home, call):
    make_faces(home / "copy")
    part = ("single_element", "--dataset", "mug", *SMOKE)
    code, printed = call("train", *part)
    assert code == 0 and "27 clips of 3 people" in printed
    code, printed = call("evaluate", *part)
    assert code == 1 and "python -m unbraid judge mug --profile smoke" in printed
    code, printed = call("judge", "mug", *SMOKE)
    assert code == 0 and "real_expression" in printed and "real_subject" in printed
    figures = measure(call, home, part, "swap_expression")
    score = np.exp(figures["marginal_entropy"] - figures["conditional_entropy"])
    assert figures["inception_score"] == pytest.approx(score)
    shares = (
        "accuracy",
        "kept_subject",
        "kept_drawn_subject",
        "swap_subject",
        "swap_leak_expression",
    )
    assert all(0 <= figures[name] <= 1 for name in shares)


def test_timit_is_trained_and_evaluated(home, call):
    pytest.importorskip("soundfile")
    make_voices(home / "copy")
    part = ("single_element", "--dataset", "timit", *SMOKE)
    code, printed = call("train", *part)
    assert code == 0 and "4 utterances" in printed
    figures = measure(call, home, part, "eer_gap")
    assert 0 <= figures["eer_static"] <= 1
    assert figures["eer_gap"] == pytest.approx(figures["eer_dynamic"] - figures["eer_static"])


def test_aff_wild_is_trained_and_evaluated(home, call):
    make_films(home / "copy")
    part = ("unordered", "--dataset", "aff_wild", *SMOKE)
    code, printed = call("train", *part)
    assert code == 0 and "10 videos" in printed
    figures = measure(call, home, part, "dynamic_probe_valence")
    # No film of the test is one of training, so no probe can name it.
    assert not [name for name in figures if name.endswith("probe_video")]


def test_without_copies_the_other_sets_go_on_and_the_remedy_is_said(call, monkeypatch):
    monkeypatch.delenv("UNBRAID_MUG")
    monkeypatch.setattr(cli, "find_weights", lambda jobs, folders: pytest.fail("evaluated"))
    code, printed = call("evaluate", "single_element", "--dataset", "mug", *SMOKE)
    assert code == 1 and "UNBRAID_MUG" in printed
    assert cli.keep_at_hand(["mug", "bounce", "vowels"]) == ["bounce", "vowels"]


def wrong_depth(copy):
    """The expressions lie where the subjects should."""
    for number, expression in enumerate(EXPRESSIONS):
        draw_take(copy / expression / "001" / "take000", (0, number))
        draw_take(copy / expression / "take000", (0, number))


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize(
    "make",
    (
        lambda copy: None,
        lambda copy: draw_take(copy / "001" / "4" / "take000", (0, 0)),
        lambda copy: make_faces(copy, 1, count=9),
        wrong_depth,
    ),
    ids=("empty", "numbers", "short", "upside_down"),
)
def test_another_layout_is_named_with_the_right_one_and_the_remedy(home, name, make):
    make(home / "copy")
    with pytest.raises(DataError, match=OWN[name][0]) as error:
        load(name)
    assert str(home / "copy") in str(error.value) and OWN[name][2] in str(error.value)


def test_files_that_cannot_be_read_are_named(home):
    pytest.importorskip("soundfile")
    make_faces(home / "copy", 1)
    make_voices(home / "copy" / "deeper")
    assert len(load("timit")) == 12
    make_voices(home / "copy" / "a slow copy", rate=8000)  # it is read first
    with pytest.raises(DataError, match="8000 samples per second"):
        load("timit")
    for path in [*(home / "copy").rglob("*.WAV"), *(home / "copy").rglob("00003.jpg")]:
        path.write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"\.WAV"):
        load("timit")
    with pytest.raises(DataError, match=r"00003\.jpg"):
        load("mug", image_size=8)


def test_mug_at_full_has_the_published_size_weights_and_cycles():
    full = settings.load("single_element.mug", "full")
    model = experiments.build(full, 0)
    assert sum(weights.numel() for weights in model.parameters()) == MUG_PARAMETERS
    assert full.log_likelihood_weight + full.anchor_weight == 30
    for share, beta in ((0.0125, 0.5), (0.03, 1), (0.955, 0.0955), (0.51875, 0.8536), (1, 1)):
        weights = training.term_weights(full, round(share * full.steps))
        assert weights["dynamic_kl"] == pytest.approx(beta, abs=0.01)
        assert weights["static_kl"] == pytest.approx(15 * beta, abs=0.15)
