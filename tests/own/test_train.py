"""unbraid train: from a folder or a table to weights and a page, or a refusal before training."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image
from unbraid import records
from unbraid.measures.swaps import random_donors, swap_scores
from unbraid.models.single_element import SingleElement
from unbraid.training import TrainingError
from unbraid_own import codes, train
from unbraid_own.data import load

COLOURS, WAYS = {"orange": (230, 120, 20), "blue": (20, 110, 230)}, ("across", "down")
FILES = {"report.html", "codes.npz", "factors.npz", train.WEIGHTS, train.CURVE, train.CHECKPOINT}


def paint(colour, way, start, steps=5):
    """Frames (T, 32, 32, 3) of a square of this colour that goes this way."""
    frames = np.full((steps, 32, 32, 3), 20, np.uint8)
    for step in range(steps):
        moved, still = (start + 5 * step) % 22, start
        left, top = (moved, still) if way == "across" else (still, moved)
        frames[step, top : top + 9, left : left + 9] = COLOURS[colour]
    return frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """84 clips of two colours and ways, and as many series; labels of both, and a few of them."""
    folder = tmp_path_factory.mktemp("own")
    random, rows, lines = np.random.default_rng(0), ["id,colour,way"], ["id,time,x,y"]
    phases = ["id,time,phase,half"]
    for number in range(84):
        colour, way = [*COLOURS][number % 2], WAYS[number // 2 % 2]
        (folder / "clips" / f"{number}").mkdir(parents=True)
        for step, frame in enumerate(paint(colour, way, random.integers(20))):
            Image.fromarray(frame).save(folder / "clips" / f"{number}" / f"{step}.png")
        rows.append(f"{number},{colour},{way}")
        start = random.uniform(0, 6)
        for step in range(8):
            x, y = np.sin(start + step / 2), (number % 2) * np.cos(start + step / 2)
            lines.append(f"{number},{step},{x:.4f},{y + 0.01 * x:.4f}")
            phases.append(f"{number},{step},{np.cos(start + step / 2):.4f},{'ab'[number % 2]}")
    (folder / "clips" / "labels.csv").write_text("\n".join(rows))
    (folder / "waves.csv").write_text("\n".join(lines))
    (folder / "phases.csv").write_text("\n".join(phases))
    shutil.copytree(folder / "clips", folder / "few", ignore=lambda *_: {*map(str, range(70))})
    few = [row for row in rows if not row[0].isdigit() or int(row.split(",")[0]) >= 70]
    (folder / "few" / "labels.csv").write_text("\n".join(few))
    shutil.copytree(folder / "clips", folder / "bare")
    (folder / "bare" / "labels.csv").unlink()
    return folder


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(codes, "UPDATES", 30)


def run(data, to, labels=None, group=None, dynamic=("way",), steps=12):
    train.run(Path(data), labels and Path(labels), group, dynamic, Path(to), steps, 0)


def test_clips_become_weights_and_a_page_and_are_not_trained_twice(
    folder, tmp_path, quick, capsys, monkeypatch
):
    run(folder / "clips", tmp_path / "run")
    printed = capsys.readouterr().out
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    assert re.search(r"clips +84 of 5 frames", printed)
    assert re.search(r"label way +2 classes: across, down", printed)
    assert "12 updates (" in printed and "report.html" in printed
    page = BeautifulSoup((tmp_path / "run" / "report.html").read_text("utf-8"), "html.parser")
    assert not page.find_all(["link", "script"]) and page.find(class_="film")
    assert [part.name for part in page.main.find_all(recursive=False)[:3]] == ["h1", "p", "figure"]
    rows = [row.find_all(["td", "th"]) for row in page.find("table").find_all("tr")]
    cells = [[cell.text for cell in row] for row in rows]
    assert [row[0] for row in cells] == ["label", "colour", "way"]
    assert [row[-1] for row in cells[1:]] == ["its own", "the donor's"]
    assert all(re.fullmatch(r"\d\.\d\d \[\d\.\d\d, \d\.\d\d\]", row[1]) for row in cells[1:])
    with np.load(tmp_path / "run" / "codes.npz") as arrays:
        assert {name: arrays[name].shape for name in arrays} == {
            "static": (84, 32),
            "dynamic": (84, 5, 12),
        }
    weights = (tmp_path / "run" / train.WEIGHTS).read_bytes()
    monkeypatch.setattr(torch.optim.Adam, "step", None)  # of the model; the judge is fitted anew
    untrained = codes.SequenceJudge({"0": (*COLOURS,), "1": WAYS}, **codes.SIZES)
    monkeypatch.setattr(codes, "fit_judge", lambda *_: untrained)
    run(folder / "clips", tmp_path / "run")
    assert (tmp_path / "run" / train.WEIGHTS).read_bytes() == weights


def test_series_with_labels_of_steps_become_a_page(folder, tmp_path, quick, capsys):
    run(folder / "waves.csv", tmp_path, folder / "phases.csv", dynamic=None, steps=40)
    assert "label phase" in capsys.readouterr().out
    model = SingleElement.load(tmp_path / train.WEIGHTS)
    assert (model.config.kind, model.config.channels, model.config.anchor) == (
        "series",
        2,
        "middle",
    )
    page = BeautifulSoup((tmp_path / "report.html").read_text("utf-8"), "html.parser")
    assert page.find("img")["alt"].startswith("Pairs of test sequences: sequence, decoded, donor")
    with np.load(tmp_path / "factors.npz") as factors:
        assert factors["phase"].shape == (84, 8) and set(factors["half"]) == {"a", "b"}


def test_an_interrupted_run_ends_in_the_same_bits(folder, tmp_path, monkeypatch):
    own = load(folder / "clips")
    plan = train.choose(own.splits["train"], steps=60)
    whole = train.train(plan, own, tmp_path / "whole")
    measure, calls = train.bound_per_frame, []

    def stop(*arguments):
        calls.append(0)
        if len(calls) == 30:
            raise KeyboardInterrupt
        return measure(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train, "bound_per_frame", stop)
        train.train(plan, own, tmp_path / "parts")
    parts = train.train(plan, own, tmp_path / "parts")
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, parts.state_dict()[name]), name
    curves = [records.read_csv(tmp_path / name / train.CURVE) for name in ("whole", "parts")]
    for one, other in zip(*curves, strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
    with pytest.raises(TrainingError, match="another steps"):
        train.train(train.choose(own.splits["train"], steps=61), own, tmp_path / "whole")
    with pytest.raises(TrainingError, match="another sequences"):
        train.train(plan, load(folder / "clips", seed=1), tmp_path / "whole")


def test_the_weights_of_the_best_validation_bound_are_kept(folder, tmp_path, monkeypatch):
    own, bounds = load(folder / "clips"), iter([1.0, 3.0, 2.0, 0.0])
    monkeypatch.setattr(train, "bound_per_frame", lambda *_: {"elbo_per_frame": next(bounds)})
    saved, save = [], SingleElement.save
    monkeypatch.setattr(SingleElement, "save", lambda *each: (saved.append(0), save(*each)))
    train.train(train.choose(own.splits["train"], steps=4), own, tmp_path)
    assert len(saved) == 2


CLIPS = {
    "few": ("few", {}, "data: .*80 independent .*14"),
    "without labels": ("bare", {}, "labels: .*labels.csv .*load, choose and train"),
    "without a word on the motion": ("clips", {"dynamic": None}, "dynamic: .*colour, way .*''"),
    "another name": ("clips", {"dynamic": ("gait",)}, "dynamic: .*gait"),
    "no updates": ("clips", {"steps": 0}, "steps: "),
}


@pytest.mark.parametrize("case", CLIPS)
def test_what_cannot_conclude_is_refused_before_training(case, folder, tmp_path, monkeypatch):
    data, options, says = CLIPS[case]
    monkeypatch.setattr(train, "train", None)
    with pytest.raises(ValueError, match=says) as refusal:
        run(folder / data, tmp_path / "run", **options)
    assert "\n" not in str(refusal.value) and not (tmp_path / "run").exists()


def test_nothing_of_the_users_is_written_over(folder, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(ValueError, match="to: expected a new folder"):
        run(folder / "clips", tmp_path)
    with pytest.raises(ValueError, match="to: expected a folder outside"):
        run(folder / "clips", folder / "clips" / "report")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_label_that_looks_like_a_group_is_named_before_training(folder, tmp_path, monkeypatch):
    rows = (folder / "clips" / "labels.csv").read_text().splitlines()
    who = ["who", *(f"p{n // 4}{n % 2}" for n in range(84))]
    rows = [f"{row},{name}" for row, name in zip(rows, who, strict=True)]
    (tmp_path / "l.csv").write_text("\n".join(rows))
    monkeypatch.setattr(train, "train", None)
    with pytest.raises(ValueError, match="who looks like a group .*--group"):
        run(folder / "clips", tmp_path / "run", tmp_path / "l.csv")


@pytest.mark.parametrize("share", (0.5, 0.8, 1.0))
def test_planted_swaps_are_read_within_their_interval(share, monkeypatch):
    """240 films; a decoder of our own takes the donor's way in this share of the swaps."""
    random, count = np.random.default_rng(int(10 * share)), 240
    colours, ways = random.integers(2, size=(2, count))
    starts = random.integers(20, size=count)

    def show(ways):
        clips = [
            paint([*COLOURS][c], WAYS[w], s) for c, w, s in zip(colours, ways, starts, strict=True)
        ]
        return torch.from_numpy(np.stack(clips)).permute(0, 1, 4, 2, 3).float() / 255

    labels = {"colour": torch.from_numpy(colours), "way": torch.from_numpy(ways)}
    classes = {"colour": tuple(COLOURS), "way": WAYS}
    monkeypatch.setattr(codes, "UPDATES", 80)
    judge = codes.fit_judge(show(ways)[:160], labels, classes)
    donors = random_donors(count)
    differ = ways != ways[donors]
    is_right = np.ones(count, bool)
    is_right[differ] = random.permutation(differ.sum()) < share * differ.sum()
    judged = codes.name_classes(judge, show(np.where(is_right, ways[donors], ways)), classes)
    own = {"colour": colours, "way": ways}
    scores = swap_scores(judged, own, {n: each[donors] for n, each in own.items()}, ["way"])
    assert scores.factors["colour"].right.mean > 0.98
    _, low, high = scores.factors["way"].moved
    assert low <= share <= high and high - low < 0.2
