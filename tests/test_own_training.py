"""python -m unbraid train --data: from a folder or a table to weights and a page, or a sentence."""

import re
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from bs4 import BeautifulSoup
from PIL import Image
from typer.testing import CliRunner
from unbraid import store, training
from unbraid.__main__ import app, main
from unbraid.data.sequences import Sequences
from unbraid.measures.intervals import bootstrap_interval
from unbraid.measures.leakage import LeakageMatrix, leakage_matrix
from unbraid.models.base import SequenceModel
from unbraid_extras import measure as report
from unbraid_extras import own_data as own
from unbraid_extras import own_report, own_training

PARTS = ["What was read", "How it was trained", "Reconstructions", "Swaps", "One unit dragged"]
LABELS = "What the codes tell, beside linear models on the same inputs"
FILES = {"report.html", "codes.npz", own_training.BEGUN, *own_training.RESULTS}
QUICK = ("--size", 8, "--length", 4, "--steps", 10, "--batch-size", 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Films of a square that moves in one of two colours, and a table of waves; labels of both.

    Of the waves' labels `half` is the same in all series, and `place` has one class. There are
    also films without colours, and a folder with one film alone.
    """
    folder = tmp_path_factory.mktemp("own")
    films = folder / "films"
    films.mkdir()
    lines = ["film,colour"]
    for number in range(24):
        colour = (255, 128, 0) if number % 2 else (0, 128, 255)
        frames = []
        for step in range(4):
            frame = Image.new("RGB", (16, 16))
            left = (number + 3 * step) % 12
            frame.paste(colour, (left, 4, left + 4, 8))
            frames.append(frame)
        frames[0].save(films / f"{number}.gif", save_all=True, append_images=frames[1:])
        lines.append(f"{number}.gif,{'orange' if number % 2 else 'blue'}")
    (films / "labels.csv").write_text("\n".join(lines))
    shutil.copytree(films, folder / "one", ignore=lambda *_: [f"{n}.gif" for n in range(1, 24)])
    (folder / "one" / "labels.csv").unlink()
    np.save(folder / "grey.npy", np.random.default_rng(0).random((24, 4, 1, 8, 8)))
    rows = []
    for number in range(140):
        for step in range(6):
            values = np.sin(step + number), np.cos(step * (1 + number % 2))
            texts = "ab"[number % 2], "up" if step > 2 else "down"
            turn = ("ab", "cd", "ef")[(number + step) % 3]
            rows.append((number, step, *values, *texts, turn, "here"))
    columns = ["id", "time", "x", "y", "kind", "half", "turn", "place"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "waves.csv", index=False)
    return folder


def call(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def run(*arguments):
    result = call(*arguments)
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.output


def parts_of(folder):
    page = BeautifulSoup((folder / "report.html").read_text(encoding="utf-8"), "html.parser")
    for image in page.find_all("img"):
        assert image["src"].startswith("data:image/png;base64,") and len(image["alt"].split()) > 4
    assert not page.find_all(["link", "script"])
    return page


@pytest.mark.parametrize("model", own_training.MODELS)
def test_films_become_weights_and_a_page(model, folder, tmp_path):
    printed = run(model, "--data", folder / "films", *QUICK, "--to", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"factors.npz"}
    loaded = SequenceModel.load(tmp_path / "model.safetensors")
    assert type(loaded) is own_training.MODELS[model]
    record = store.read_json(tmp_path / "model.run.json")
    for reason in record["reasons"]:
        assert reason in printed
    page = parts_of(tmp_path)
    assert [title.text for title in page.find_all("h2")] == [*PARTS, LABELS]
    assert page.find("li").text.startswith("Cannot be concluded: too few test films")
    assert "recoloured" in str(page) and len(page.find_all("img")) == 5
    with np.load(tmp_path / "codes.npz") as codes:
        assert set(codes) == set(loaded.code_names) and {len(codes[name]) for name in codes} == {4}


def test_a_table_becomes_a_page_and_its_config_says_why(folder, tmp_path, monkeypatch):
    shapes = []

    def note(rows, factors, **options):
        if options["pooling"] == "frames":
            shapes.extend(values.shape[:2] for values in rows.values())
        return leakage_matrix(rows, factors, **options)

    monkeypatch.setattr(own_report, "leakage_matrix", note)
    data = ("--data", folder / "waves.csv")
    printed = run("single_element", *data, "--steps", 60, "--to", tmp_path)
    assert "Static code of 16 units, which reads the step in the middle" in printed
    assert "Dynamic code of 4 units per step" in printed
    config = SequenceModel.load(tmp_path / "model.safetensors").config
    assert (config.static_size, config.dynamic_size, config.anchor) == (16, 4, "middle")
    page = parts_of(tmp_path)
    assert [title.text for title in page.find_all("h2")] == [*PARTS, LABELS]
    sentences = [item.text for item in page.find(class_="found").find_all("li")]
    assert not sentences[0].startswith("Cannot")  # 21 test series
    assert "linear model on the inputs" in page.text and "recoloured" not in page.text
    # A code (N, D) would have a constant for each step, and look better than one (N, T, d).
    assert len(shapes) == 3 and {shape[1] for shape in shapes} == {6}
    # Labels that cannot be probed are named, once each.
    (verdict,) = (sentence for sentence in sentences if "Nothing is concluded about" in sentence)
    assert verdict.endswith("about place, half, which could not be judged.")
    assert "place: cannot be concluded, because it has one value" in "".join(sentences)
    for name in ("place:", "kind:", "turn:"):
        assert sum(sentence.startswith(name) for sentence in sentences) == 1

    curve = store.read_csv(tmp_path / "model.training.csv")
    best = max(curve, key=lambda row: row["validation"])
    assert store.read_json(tmp_path / "model.run.json")["best_update"] == best["step"]
    before = store.digest(tmp_path / "model.safetensors")
    (tmp_path / "report.html").unlink()
    assert "trained before" in run("single_element", *data, "--steps", 60, "--to", tmp_path)
    assert store.digest(tmp_path / "model.safetensors") == before
    assert (tmp_path / "report.html").exists()


def test_recordings_become_a_page(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "voices").mkdir()
    for number in range(6):
        tone = np.sin(2 * np.pi * (200 + 50 * number) * np.arange(6000) / 8000)
        tone += 0.01 * random.normal(size=6000)
        soundfile.write(tmp_path / "voices" / f"{number}.wav", tone, 8000)
    to = ("--steps", 4, "--batch-size", 4, "--to", tmp_path / "out")
    printed = run("single_element", "--data", tmp_path / "voices", *to)
    assert "Recordings in chunks of 20 spectra of 101 bins" in printed
    page = parts_of(tmp_path / "out")
    assert [title.text for title in page.find_all("h2")] == PARTS
    assert "Without labels it cannot be concluded" in page.text


def test_an_interrupted_run_ends_in_the_same_bits(folder, tmp_path, monkeypatch):
    arguments = ("single_element", "--data", folder / "films", *QUICK, "--to")
    run(*arguments, tmp_path / "whole")
    watched = own_training.Watch.__call__

    def press(self, row):
        watched(self, row)  # The bound of update 6 is kept, and its checkpoint is lost.
        if row["step"] == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(own_training.Watch, "__call__", press)
    result = call(*arguments, tmp_path / "broken")
    assert result.exit_code == 130 and "the same command goes on after update 5" in result.output
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    monkeypatch.undo()
    shutil.copytree(folder / "films", tmp_path / "films")
    first, second, *_ = sorted((tmp_path / "films").glob("*.gif"))
    shutil.copy(first, second)
    others = {  # what is no longer the same, and the arguments that make it so
        "seed 0 .now 1., data_sha256": (*arguments, tmp_path / "broken", "--seed", 1),
        "data_sha256": (*arguments[:2], tmp_path / "films", *arguments[3:], tmp_path / "broken"),
    }
    for name, given in others.items():
        result = call(*given)
        assert type(result.exception) is training.TrainingError
        assert re.search(f"found one with other {name}; --again", str(result.exception))
        assert "goes on" not in result.output
    assert "goes on after update 5" in run(*arguments, tmp_path / "broken")
    for name in ("model.safetensors", "codes.npz"):
        digests = {store.digest(tmp_path / each / name) for each in ("whole", "broken")}
        assert len(digests) == 1
    left = {path.name for path in (tmp_path / "broken").iterdir()}
    assert left == FILES | {"factors.npz"}


def test_training_ends_when_the_validation_bound_falls(folder, tmp_path, monkeypatch):
    bounds = iter([1.0, 2.0, *range(0, -100, -1)])
    found = (dict.fromkeys(["elbo_per_frame"], bound) for bound in bounds)
    monkeypatch.setattr(own_training, "bound_per_frame", lambda *_: next(found))
    printed = run("single_element", "--data", folder / "waves.csv", "--steps", 50, "--to", tmp_path)
    record = store.read_json(tmp_path / "model.run.json")
    assert "training ends" in printed and record["best_update"] == 2
    assert record["updates"] < 30
    assert "fitted the training sequences alone" in parts_of(tmp_path).text


def test_a_folder_belongs_to_one_run_and_one_process(folder, tmp_path):
    data = ("--data", folder / "waves.csv", "--to", tmp_path)
    run("single_element", *data, "--steps", 4)
    refusals = {
        ("--steps", 5): "steps 4 (now 5)",
        ("--steps", 4, "--seed", 1): "seed 0 (now 1)",
        ("--again", "--accelerator", "gpu"): "accelerator",  # before anything is removed
    }
    for options, named in refusals.items():
        assert named in str(call("single_element", *data, *options).exception)
    with own_training.hold(tmp_path):
        result = call("single_element", *data, "--steps", 4)
        assert "another process" in str(result.exception)
    assert (tmp_path / "model.safetensors").exists()
    run("single_element", *data, "--steps", 5, "--again")
    assert store.read_json(tmp_path / "model.run.json")["settings"]["steps"] == 5


BAD = [  # model, data, options, and what the sentence names
    ("independant", "films", (), "model: .*independent"),
    ("unordered", "waves.csv", (), "model: .*single_element"),
    ("independent", "waves.csv", (), "model: .*single_element"),
    ("single_element", "one", (), "length: .*16 steps"),
    ("single_element", "one", ("--group", "x"), "group: "),
    ("unordered", "films", ("--labels", "none.csv"), "labels: "),
    ("unordered", "films", ("--to", "/proc/none"), "--to"),
    ("unordered", "films", ("--dynamic", "speed", *QUICK), "dynamic: "),
    ("independent", "grey.npy", ("--size", 8), "data: .*grey"),
    ("unordered", "films", ("--accelerator", "gpu"), "accelerator: .*cpu"),
    ("unordered", "films", ("--accelerator", "cuda"), "accelerator: .*cuda"),
    ("unordered", "films", ("--to", "films/out"), "to: .*--to"),
    ("unordered", "films", ("--to", "films"), "to: .*--to"),
    ("unordered", "none", (), "data: "),
]


@pytest.mark.parametrize("model, data, options, named", BAD)
def test_a_bad_request_gets_one_sentence_and_leaves_nothing(
    model, data, options, named, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(folder)
    result = call(model, "--data", data, "--to", tmp_path, *options)
    assert result.exit_code == 1 and isinstance(result.exception, ValueError)
    assert re.search(named, str(result.exception)) and "\n" not in str(result.exception)
    assert not list(tmp_path.iterdir()) and not (folder / "films" / "out").exists()


def test_what_another_run_made_of_its_data_does_not_stay(folder, tmp_path):
    """Codes of new data beside old factors would be measured with them."""
    run("single_element", "--data", folder / "films", *QUICK, "--to", tmp_path)
    assert (tmp_path / "factors.npz").exists()
    run("single_element", "--data", folder / "grey.npy", *QUICK, "--to", tmp_path, "--again")
    assert (tmp_path / "codes.npz").exists() and not (tmp_path / "factors.npz").exists()


def test_a_lacking_package_is_named_with_its_remedy(folder, monkeypatch, capsys):
    def lack(*arguments, **options):
        raise ModuleNotFoundError("No module named 'soundfile'", name="soundfile")

    monkeypatch.setattr(own, "load", lack)
    words = ["unbraid", "train", "single_element", "--data", str(folder / "films")]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert said.startswith("error: this needs the package soundfile; python -m pip install")


def test_sequences_of_unequal_length_are_refused_where_masks_are_not_read():
    frames = torch.zeros(6, 4, 3, 8, 8)
    mask = torch.ones(6, 4, dtype=torch.bool)
    mask[2, 3] = False
    parts = {name: Sequences(frames, split=name, mask=mask) for name in own.SPLITS}
    with pytest.raises(ValueError, match="--length 3"):
        own_training.choose("unordered", own.OwnData(parts, [], {}, "folders"))
    few = {name: part.subset([0, 1, 2]) for name, part in parts.items()}
    with pytest.raises(ValueError, match="4 training sequences or more"):
        own_training.choose("single_element", own.OwnData(few, [], {}, "folders"))
    plan = own_training.choose("single_element", own.OwnData(parts, [], {}, "folders"))
    assert any("are few" in reason for reason in plan.reasons)


@pytest.mark.parametrize("size", (8, 16, 32, 64, 128, 256))
@pytest.mark.parametrize("model", own_training.MODELS)
def test_each_size_of_frames_has_a_config(model, size):
    parts = {name: Sequences(torch.zeros(4, 2, 3, size, size), split=name) for name in own.SPLITS}
    plan = own_training.choose(model, own.OwnData(parts, [], {}, "films"))
    with torch.device("meta"):
        assert own_training.MODELS[model](plan.config).frame_shape == (3, size, size)


# ---- numbers of the page


def test_a_recoloured_clip_has_its_donors_mean_colour():
    frames, donors = torch.rand(5, 4, 3, 8, 8) * 0.2 + 0.4, torch.tensor([1, 2, 3, 4, 0])
    made = own_report.recolour(Sequences(frames), donors)
    torch.testing.assert_close(made.mean((1, 3, 4)), frames[donors].mean((1, 3, 4)))
    shape = made - made.mean((1, 3, 4), keepdim=True)
    torch.testing.assert_close(shape, frames - frames.mean((1, 3, 4), keepdim=True))


def test_what_follows_the_end_of_a_clip_has_no_colour():
    frames, mask = torch.full((2, 8, 3, 4, 4), 0.8), torch.ones(2, 8, dtype=torch.bool)
    mask[1, 2:] = False
    frames[1, 2:] = 0.0
    made = own_report.recolour(Sequences(frames, mask=mask), torch.tensor([1, 0]))
    torch.testing.assert_close(made, frames)


def test_the_mean_over_time_leaves_out_what_was_not_observed():
    frames = torch.tensor([[[1.0, 5.0], [3.0, 0.0]]])
    mask = torch.tensor([[[True, True], [True, False]]])
    assert own_report.average(frames, mask).tolist() == [[2.0, 5.0]]


# ---- codes beside linear models on inputs: known answers


GROUPS = np.arange(40)
BASE = np.ones(40)
EASY = np.arange(40) % 2 * 1.0  # losses of a probe that is right on every second sequence


def compare(first, second, base=BASE, groups=GROUPS):
    word, found = own_report.compare_losses(first[:, None], second[:, None], base, groups)
    return word, found.difference


def first(count):
    """A perfect probe, one that is never right, and the constant, on so many sequences."""
    return np.zeros(count), np.ones(count), np.ones(count), np.arange(count)


WORSE = np.maximum(EASY, np.arange(40) % 4 == 0)  # It errs on ten sequences more.
RIGHT, FEW = np.zeros(40), (np.arange(40) < 3) * 1.0
CLIPS = np.zeros(400), np.repeat(FEW, 10), np.ones(400)
FIVE, SIX = ((np.arange(40) < wrong) * 1.0 for wrong in (5, 6))
KNOWN = {  # losses of both probes and of the constant, groups, and the word
    "equal losses": (EASY, EASY, BASE, GROUPS, "as much as"),
    "it errs less": (EASY, WORSE, BASE, GROUPS, "more than"),
    "it errs more": (WORSE, EASY, BASE, GROUPS, "less than"),
    "three films of forty differ": (RIGHT, FEW, BASE, GROUPS, own_report.OPEN),
    "ten clips of a film count as one": (*CLIPS, np.repeat(GROUPS, 10), own_report.OPEN),
    "ten clips of ten films": (*CLIPS, np.arange(400), "more than"),
    # All draws agree that a perfect probe is one better than the constant, even if one errs.
    "a sign test needs more than five": (RIGHT, FIVE, FIVE, GROUPS, own_report.OPEN),
    "a sign test reaches 5 % with six": (RIGHT, SIX, SIX, GROUPS, "more than"),
    "too few groups": (*first(own_report.FEWEST - 1), own_report.UNKNOWN),
    "enough groups": (*first(own_report.FEWEST), "more than"),
}


@pytest.mark.parametrize("case", KNOWN)
def test_losses_of_known_answer_are_compared(case):
    *losses, groups, word = KNOWN[case]
    found, difference = compare(*losses, groups)
    assert (found, difference.n) == (word, len(np.unique(groups)))


def test_a_difference_has_limits_and_a_sign():
    gain, loss = compare(EASY, WORSE)[1], compare(WORSE, EASY)[1]
    assert gain.mean == -loss.mean == 0.25 and 0 < gain.low < 0.25 < gain.high


def test_a_paired_difference_is_decided_though_the_intervals_overlap():
    """Both probes fail on the same hard sequences, which makes both skills uncertain."""
    random = np.random.default_rng(0)
    hard = random.exponential(size=40)
    ours, theirs = 0.5 * hard, 0.5 * hard + 0.05 + 0.02 * random.random(40)
    limits = [bootstrap_interval(1 - losses) for losses in (ours, theirs)]
    assert limits[0].low < limits[1].mean < limits[0].mean < limits[1].high
    assert compare(ours, theirs)[0] == "more than"
    assert compare(ours, random.permutation(theirs))[0] == own_report.OPEN


def test_of_few_skewed_groups_the_bootstrap_alone_does_not_decide():
    """Twenty squared errors of two equal probes, of a draw in which the bootstrap is mistaken."""
    ours, theirs = np.random.default_rng(6).normal(size=(2, 20)) ** 2
    word, difference = compare(ours, theirs, 2 * np.ones(20), np.arange(20))
    assert difference.high < 0 and word == own_report.OPEN


def test_swaps_are_compared_with_the_best_of_the_other_rows():
    right, wrong = np.zeros(40), np.ones(40)

    def say(*losses, groups=GROUPS):
        return own_report.compare_swaps(np.stack(losses), np.ones(40), groups, "films")

    ahead = say(right, wrong, EASY)
    assert "more often than" in ahead and "difference +0.50" in ahead and "40 test films" in ahead
    assert "less often than" in say(EASY, wrong, right)
    assert "as often as" in say(EASY, wrong, EASY)
    assert say(EASY, 1 - EASY).startswith("It is open whether")
    few = say(right, wrong, EASY, groups=GROUPS // 4)
    assert few == "Nothing can be concluded about swaps: there are 10 test films."


@pytest.mark.parametrize(
    "code, inputs, sentence",
    (
        (0.5, 0.5, "hair: the static code tells as much as a linear model on the inputs"),
        (0.1, 3.0, "hair: the static code tells more than a linear model on the inputs"),
        (3.0, 0.1, "hair: the static code tells less than a linear model on the inputs"),
        (1.0, 1.05, "hair: it is open whether the static code tells more or less than a linear"),
    ),
)
def test_codes_and_inputs_of_known_noise_are_ranked(code, inputs, sentence):
    """Values of a label, seen through noise, which is the same for both if it is of one size."""
    hair = np.random.default_rng(0).normal(size=300)
    views = {}
    for seed, noise in enumerate((code, inputs)):
        random = np.random.default_rng(1 if code == inputs else 1 + seed)
        views[seed] = (hair + noise * random.normal(size=300))[:, None]
    held_out = np.arange(300) >= 200
    pair = {"static": views[0]}, {own_report.MEAN: views[1]}
    probed = own_report.probe(*pair, {"hair": hair}, "averaged", held_out)
    found = own_report.compare_with_inputs(probed, "hair", ("static",), np.arange(100), "films")
    assert found.startswith(sentence)
    assert found.endswith("over 100 test films).")
    assert ("p " in found.split(";")[1]) == (code != inputs)


def test_the_losses_are_those_behind_the_skills_of_the_matrix():
    random = np.random.default_rng(0)
    hair, turn = random.integers(3, size=90), random.normal(size=(90, 4))
    static = np.eye(3)[hair] + random.normal(size=(90, 3))
    steps = turn[..., None] + random.normal(size=(90, 4, 2))
    held_out = np.arange(90) >= 60
    for factors, rows, pooling in (
        ({"hair": hair}, {"static": static}, "averaged"),
        ({"turn": turn}, {"dynamic": steps}, "frames"),
    ):
        inputs = {own_report.MEAN: random.normal(size=next(iter(rows.values())).shape)}
        probed = own_report.probe(rows, inputs, factors, pooling, held_out)
        for column, name in enumerate(factors):
            skills = 1 - probed.losses[name].sum(1) / probed.constant[name].sum()
            np.testing.assert_allclose(np.maximum(skills, -1), probed.matrix.value[:, column])


def test_groups_are_what_the_split_keeps_together():
    """Films, or the classes of a label that no two splits share, if these are fewer."""
    owner, hair = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    parts = {}
    for number, name in enumerate(own.SPLITS):
        options = {"classes": {"owner": tuple("abcdef"), "hair": ("fair", "dark")}, "split": name}
        labels = {"owner": owner + 2 * number, "hair": hair}
        frames = torch.zeros(4, 3, 2)
        parts[name] = Sequences(frames, labels=labels, static=("owner", "hair"), **options)
    names = {"test": ["patient #1", "patient #2", "b", "c"]}
    more = {"kind": "films", "sources": {"test": [0, 0, 1, 2]}}
    groups, unit = own_report.find_groups(own.OwnData(parts, [], names, **more), torch.arange(4))
    assert (groups.tolist(), unit) == ([4, 4, 5, 5], "groups of owner")
    shared = {name: parts["test"] for name in own.SPLITS}
    for sources, count in (([0, 0, 1, 2], 3), ([3, 4, 1, 2], 4)):  # whatever their names are
        data = own.OwnData(shared, [], names, "films", sources={"test": sources})
        groups, unit = own_report.find_groups(data, torch.arange(4))
        assert (len(set(groups[:2])), len(set(groups)), unit) == (count - 2, count, "films")


def test_labels_of_steps_are_read_where_all_sequences_have_a_step():
    """A code that holds the last label alone would be right at each step that is filled in."""
    generator = torch.Generator().manual_seed(0)
    splits, codes = {}, {}
    for name in ("train", "test"):
        moves = torch.randint(3, (200, 10), generator=generator)
        moves[1:, 4:] = moves[1:, 3:4]  # All but one sequence end after four steps.
        mask = torch.ones(200, 10, dtype=torch.bool)
        mask[1:, 4:] = False
        classes = {"move": ("a", "b", "c")}
        labels = {"labels": {"move": moves}, "dynamic": ("move",), "classes": classes}
        splits[name] = Sequences(torch.rand(200, 10, 2), mask=mask, **labels)
        codes[name] = {"static": torch.nn.functional.one_hot(moves[:, 3], 3).float()}
    page = SimpleNamespace(parts=splits, test=splits["test"], codes=codes, model=None, findings=[])
    page.common = own_report.Page.common.fget(page)
    assert own_report.find_obstacle(page, "move") == ""
    (probed,) = own_report.probe_labels(page, ["move"])
    assert page.findings[0].startswith("Labels of steps are read at 4 of 10 steps")
    assert 0.1 < probed.matrix["static", "move"] < 0.35  # One step of four is right, not seven.
    splits["train"].mask[0] = ~splits["train"].mask[1]
    page.common = own_report.Page.common.fget(page)
    assert "no step" in own_report.find_obstacle(page, "move")


def test_the_length_of_a_sequence_is_no_leak():
    """Noise in series of two lengths, and a label that is the length."""
    generator = torch.Generator().manual_seed(0)
    splits, codes = {}, {}
    for name in ("train", "test"):
        visit = torch.arange(120) % 2
        mask = torch.ones(120, 12, dtype=torch.bool)
        mask[visit == 0, 6:] = False
        labels = {"labels": {"visit": visit}, "static": ("visit",)}
        values = torch.randn(120, 12, 2, generator=generator) * mask[..., None]
        splits[name] = Sequences(values, mask=mask, classes={"visit": ("a", "b")}, **labels)
        codes[name] = {"dynamic": values}
    page = SimpleNamespace(parts=splits, test=splits["test"], codes=codes, findings=[], verdict=[])
    page.model, page.own = SimpleNamespace(code_names=("dynamic",)), {"visit": ""}
    page.data = SimpleNamespace(kind="series")
    page.groups, page.unit = np.arange(120), "series"
    (probed,) = own_report.probe_labels(page, ["visit"])
    assert probed.matrix[own_report.THERE, "visit"] == 1
    own_report.conclude(page, [probed], [])
    assert not page.verdict and "which steps are there tells it" in page.findings[-1]


class Constant:
    """A model whose code of a step that is not there is 9."""

    def encode(self, batch, noise=None):
        return {"dynamic": torch.where(batch.mask[..., None], batch.frames, 9.0)}

    def parameters(self):
        yield torch.zeros(1)


def test_the_code_of_a_step_that_is_not_there_is_the_mean_of_the_others():
    mask = torch.tensor([[False, True, False, True, False]])
    part = Sequences(torch.tensor([[[0.0], [1.0], [0.0], [3.0], [0.0]]]), mask=mask)
    code = own_report.encode_observed(Constant(), part)["dynamic"]
    assert code.flatten().tolist() == [2.0, 1.0, 9.0, 3.0, 2.0]  # what is in a gap stays


def test_a_label_may_be_called_file(tmp_path):
    own_report.write_arrays(tmp_path / "a.npz", {"file": torch.arange(3), "x": torch.ones(2)})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["file"].tolist() == [0, 1, 2] and arrays["x"].dtype == np.float32


def test_what_no_code_tells_is_lost():
    page = make_page(40, "static")
    value = np.array([[0.0, 0.9], [0.0, 0.0], [0.5, 0.5]])
    own_report.conclude(page, [make_probed(value, 40)], [])
    assert "No leak was found. Lost: no code tells hair." in page.verdict[-1]


def make_page(groups, own):
    """What `conclude` reads of a page, with so many test films, and labels that belong to `own`."""
    page = SimpleNamespace(groups=np.arange(groups), unit="films", verdict=[], findings=[])
    page.model = SimpleNamespace(code_names=("static", "dynamic"))
    page.data = SimpleNamespace(kind="films")
    labels = dict.fromkeys(("hair", "side", "coat"), np.zeros(4))
    codes = {"static": np.zeros((4, 2)), "dynamic": np.zeros((4, 3, 2))}
    page.own = report.assign(codes if own else {"dynamic": codes["dynamic"]}, labels, ())
    return page


def make_probed(value, groups):
    """Skills of both codes and of inputs for hair and side; losses that agree with them."""
    rows = ("static", "dynamic", own_report.MEAN)
    p_value = np.where(value > 0.3, 0.0005, 1.0)
    limits = np.stack([value - 0.1, value + 0.1], -1)
    matrix = LeakageMatrix(value, limits, p_value, rows, ("hair", "side"), "linear")
    losses = {}
    for name, skills in zip(matrix.columns, value.T, strict=True):
        losses[name] = np.repeat(1 - skills[:, None], groups, 1)
    return own_report.Probed(matrix, losses, dict.fromkeys(losses, np.ones(groups)))


@pytest.mark.parametrize(
    "dynamic, own, films, verdict",
    (
        ([0.0, 0.6], "static", 30, "Leak: side in dynamic."),
        ([0.0, 0.0], "static", 30, "No leak was found"),
        ([0.9, 0.9], "static", 30, "Mixed (rotated)"),
        ([0.0, 0.6], "", 30, "No factor is meant for a label; read were side by dynamic"),
        ([0.0, 0.6], "static", 10, "Cannot be concluded: too few test films"),
    ),
)
def test_the_verdict_follows_from_what_probes_read(dynamic, own, films, verdict):
    page = make_page(films, own)
    static = [0.9, 0.9] if own else [0.0, 0.0]
    probed = make_probed(np.array([static, dynamic, [0.5, 0.5]]), films)
    own_report.conclude(page, [probed], [])
    assert page.verdict[0].startswith(verdict)
    assert len(page.findings) == 2
    unknown = [own_report.UNKNOWN in sentence for sentence in page.findings]
    assert unknown == [films < own_report.FEWEST] * 2


@pytest.mark.parametrize("skill, word", ((0.0, "Useless"), (0.9, "No leak")))
def test_a_verdict_is_on_the_labels_that_were_probed(skill, word):
    page, value = make_page(30, "static"), np.zeros((3, 2))
    value[0] = skill
    own_report.conclude(page, [make_probed(value, 30)], [])
    own_report.conclude(page, [make_probed(value, 30)], ["coat"])
    whole, part = page.verdict
    assert whole.startswith(word) and "coat" not in whole
    assert part.startswith(word) and "Nothing is concluded about coat" in part
    assert "concluded" not in whole
    if word == "Useless":
        assert "any label" in whole and "any label" not in part and "hair, side" in part


def test_films_that_are_split_by_person_are_witnesses_by_person(folder, tmp_path):
    lines = (folder / "films" / "labels.csv").read_text().splitlines()
    lines = [f"{line},{number // 6}" for number, line in enumerate(lines[1:])]
    (tmp_path / "labels.csv").write_text("\n".join(["film,colour,person", *lines]))
    labels = ("--labels", tmp_path / "labels.csv", "--group", "person")
    run("unordered", "--data", folder / "films", *labels, *QUICK, "--to", tmp_path / "to")
    page = parts_of(tmp_path / "to")
    assert page.find("li").text.startswith("Cannot be concluded: too few test groups of person")
    assert "colour: nothing can be concluded on whether" in page.text
