"""The verdict that `train` and `measure` share, and runs that go on: known answers."""

import shlex
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from unbraid import files
from unbraid.data.sequences import Sequences
from unbraid.training import TrainingError
from unbraid_own import measure, own_data, own_page, own_training
from unbraid_own.__main__ import run

N = 300


def one_hot(classes, noise, random):
    """Classes (...) as units (..., K) with noise."""
    units = np.eye(classes.max() + 1)[classes]
    return units + noise * random.normal(size=units.shape)


def judge(codes, factors, dynamic):
    return measure.judge(codes, factors, dynamic=dynamic)[0]


def frames_that_show(seed, planted):
    """A static code of a frame that shows the motion in half of the clips, or of the motion too."""
    random = np.random.default_rng(seed)
    hair, move = random.integers(3, size=(2, N))
    seen = np.where(random.random(N) < 0.5, move, random.integers(3, size=N))
    frame = np.hstack([one_hot(hair, 0.2, random), one_hot(seen, 0.2, random)])
    mixed = frame @ random.normal(size=(6, 40))
    static = frame + 0.1 * random.normal(size=frame.shape)
    if planted:
        static = np.hstack([static, one_hot(move, 0.3, random)])
    steps = one_hot(np.repeat(move[:, None], 5, 1), 0.8, random)
    return {"static": static, "dynamic": steps}, mixed, {"hair": hair, "move": move}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("planted", (False, True))
def test_no_more_than_the_frame_shows_is_no_leak_and_more_is(seed, planted):
    codes, frame, factors = frames_that_show(seed, planted)
    found = judge(codes | {"inputs_static_frame": frame}, factors, ["move"])
    said, cell = found.verdict.each[1], found.verdict.cells["move"]["static"]
    assert cell.is_read and str(cell) in found.findings[0] + said
    if planted:
        assert found.findings[0].startswith(f"Leak: move in static ({cell})")
        assert found.verdict.leaks == [("static", "move")] and "beyond the single frame" in said
    else:
        assert found.findings[0].startswith("No leak was found: move in static is no more than the")
        assert not found.verdict.leaks and "this is no leak" in said
    for wrong in ({"inputs_mean": frame}, codes | {"inputs_mean": frame[:, None]}):
        with pytest.raises(ValueError, match="^codes: .*beside|^code 'inputs_mean': .*N, P"):
            judge(wrong, factors, ["move"])
    # Without the frame it is said that it is open, and the pair is named all the same.
    open_ = judge(codes, factors, ["move"])
    assert not open_.verdict.leaks or planted
    assert "move in static (" in open_.findings[0] and "eak" in open_.findings[0]


def test_what_not_even_the_inputs_show_is_undecided_and_what_they_show_is_lost():
    codes, frame, factors = frames_that_show(0, False)
    random = np.random.default_rng(9)
    factors |= {"luck": random.integers(3, size=N), "shade": random.integers(3, size=N)}
    frame = np.hstack([frame, one_hot(factors["shade"], 0.2, random)])
    found = judge(codes | {"inputs_static_frame": frame}, factors, ["move"])
    said = [word for word in found.findings if word.startswith(("Undecided", "Lost"))]
    assert [word.partition(";")[0].split()[-1] for word in said] == ["luck", "shade."]


@pytest.mark.parametrize("planted", (False, True))
def test_of_dependent_factors_only_what_is_beyond_is_a_leak(planted):
    """Four of five actions have the class of their hair, of three classes that are alike."""
    random = np.random.default_rng(1)
    hair = random.integers(3, size=600)
    action = np.where(random.random(600) < 0.7, hair, random.integers(3, size=600))
    static = one_hot(hair, 0.1, random)
    if planted:
        static = np.hstack([static, one_hot(action, 0.5, random)])
    steps = one_hot(np.repeat(action[:, None], 4, 1), 0.1, random)
    known = {"hair": hair, "action": action}
    found = judge({"static": static, "dynamic": steps}, known, ["action"])
    assert found.verdict.leaks == [("static", "action")] * planted
    assert found.findings[0].startswith("Leak: action in s" if planted else "No leak was found: ")
    joint = 0.7 * np.eye(3) / 3 + 0.3 / 9  # of a pair of classes; each class alone has a third
    bits = float((joint * np.log2(joint * 9)).sum())
    (depend,) = [said for said in found.verdict.each if "depend" in said]
    assert abs(float(depend.partition("(")[2].split()[0]) - bits) < 0.12


def test_a_factor_of_the_steps_is_judged_beside_factors_without_a_verdict():
    random = np.random.default_rng(0)
    hair, turn = random.integers(3, size=N), random.integers(2, size=(N, 4))
    static = np.hstack([one_hot(hair, 0.2, random), one_hot(turn[:, 0], 0.2, random)])
    steps = one_hot(turn, 0.2, random)
    found = judge({"static": static, "dynamic": steps}, {"hair": hair, "turn": turn}, None)
    cell = found.verdict.cells["turn"]["static"]
    assert found.findings[0] == f"Leak: turn in static ({cell})."
    assert found.findings[1].startswith("No verdict on hair: ")
    assert found.verdict.each[0].startswith("hair: no verdict") and "each factor" not in str(found)
    assert 0.15 < cell.value < 0.35  # One step of four is known, the others are guessed.


class Reader(torch.nn.Module):
    """A model whose code is the label that it finds in the first value of each step."""

    config, code_names, frame_shape = SimpleNamespace(), ("dynamic",), (2,)

    def encode(self, batch, noise=None):
        return {"dynamic": batch.frames[..., :1]}

    def decode(self, codes):
        return codes["dynamic"].expand(-1, -1, 2)

    def parameters(self):
        yield torch.zeros(1)


def test_labels_of_steps_are_measured_where_all_sequences_have_a_step():
    """A code of the last label alone would be right at each step that is filled in."""
    generator = torch.Generator().manual_seed(0)
    moves = torch.randint(3, (300, 10), generator=generator)
    moves[1:, 4:] = moves[1:, 3:4]  # All but one sequence end after four steps.
    mask = torch.ones(300, 10, dtype=torch.bool)
    mask[1:, 4:] = False
    known = {"dynamic": ("move",), "classes": {"move": ("a", "b", "c")}, "mask": mask}
    part = Sequences(moves[..., None] * torch.ones(2), {"move": moves}, **known)
    splits = dict.fromkeys(own_data.SPLITS, part)
    rows = dict.fromkeys(own_data.SPLITS, [*range(300)])
    names = {name: list(map(str, numbers)) for name, numbers in rows.items()}
    data = own_data.OwnData(splits, [], names, "rows", sources=rows, unit="rows")
    page = own_page.Page(Reader(), data)
    assert "4 of 10 steps" in page.findings[0] and page.factors["move"].shape == (300, 4)
    assert {code.shape[1] for name, code in page.sample.items() if name == "dynamic"} == {4}


def make_data(count=90):
    """Arrays of two values, which move, and of a label that is in all steps, of so many clips."""
    random = np.random.default_rng(0)
    hair, move = random.integers(2, size=(2, count))
    values = 0.3 * random.normal(size=(count, 6, 2)) + hair[:, None, None]
    values[..., 1] += move[:, None] * np.arange(6)
    return {"x": values.astype(np.float32), "hair": hair, "move": move}


def test_both_doors_say_the_same_of_one_sample(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", **make_data())
    words = ["train", "--data", str(tmp_path / "x.npz"), "--to", str(tmp_path), "--steps", "30"]
    run([*words, "--dynamic", "move"])
    asked = capsys.readouterr().out.rpartition("to measure them: python -m unbraid_own ")[2]
    run(shlex.split(asked))
    texts = [(tmp_path / name).read_text() for name in ("report.html", "measured.html")]
    pages = [BeautifulSoup(text, "html.parser") for text in texts]
    ours, theirs = ([item.text for item in page.select(".verdict, .found li")] for page in pages)
    assert {*theirs} <= {*ours} and len(theirs) >= 3
    assert len({str(page.select(".cells")) for page in pages}) == 1
    assert "Sample: 90 sequences; probes learn from 63 and are tested on 27." in pages[0].text


LEVEL = {"learning_rate": 1e-3, "weights": {}}


@pytest.mark.parametrize(
    "change", (LEVEL, {}, LEVEL | {"weights": {"static_kl": [[0.1, 0], [1, 1]]}})
)
def test_a_finished_run_goes_on_and_says_whether_it_is_one_run(change, tmp_path):
    np.savez(tmp_path / "x.npz", **make_data())
    data = own_data.load(tmp_path / "x.npz")
    plans = {}
    for steps in (40, 80):
        plan = own_training.choose("single_element", data, steps=steps)
        plans[steps] = replace(plan, options=plan.options | change)
    own_training.train(plans[40], data, tmp_path / "on")
    said = own_training.train(plans[80], data, tmp_path / "on").record["reasons"][-1]
    own_training.train(plans[80], data, tmp_path / "once")
    weights = {files.digest(tmp_path / name / "model.safetensors") for name in ("on", "once")}
    is_same = "would have ended in the same weights" in said
    assert said.startswith("It goes on from ") and is_same == (change is LEVEL)
    assert len(weights) == 1 if is_same else "differed in" in said and len(weights) == 2
    with pytest.raises(TrainingError, match="other steps"):
        own_training.train(plans[40], data, tmp_path / "on")
