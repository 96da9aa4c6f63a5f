"""Judges: the papers' sizes, learning in seconds, what degrades a clip, records, and refusals."""

import json
import math

import pytest
import torch
from unbraid.measures import judges
from unbraid.measures.judges import (
    FrameJudge,
    JudgeError,
    SequenceJudge,
    blurred,
    fit_judge,
    load_judge,
    noisy,
    reliability,
    save_judge,
    shifted,
)
from unbraid.networks import count_parameters
from unbraid.results import ResultsError, equal_state, read_json, write_json

BARS = {"colour": ("red", "green", "blue"), "motion": ("left", "right")}
SMALL = {"image_size": 16, "width": 8, "features": 16, "hidden": 16}


def bars(count, generator):
    """Clips (n, 4, 3, 16, 16) of a bar, red, green or blue, on its way left or right, and their labels.

    Both ways lead through the same four places: the frames without their order do not tell the motion.
    """
    labels = {
        name: torch.randint(len(names), (count,), generator=generator)
        for name, names in BARS.items()
    }
    way = torch.tensor([[12, 8, 4, 0], [0, 4, 8, 12]])
    at = way[labels["motion"]] + torch.randint(2, (count, 1), generator=generator)  # (n, 4)
    frames = torch.zeros(count, 4, 3, 16, 16)
    across = torch.arange(16) - at[..., None]
    columns = ((across >= 0) & (across < 3)).float()  # (n, 4, 16)
    frames[torch.arange(count), :, labels["colour"]] = columns[:, :, None].expand(-1, -1, 16, -1)
    return frames * 0.8, labels


def new(kind=SequenceJudge, classes=BARS, **sizes):
    torch.manual_seed(0)
    return kind(classes, **{**SMALL, **sizes})


def trained(steps=150, seed=0, draw=bars, **more):
    judge = new()
    return judge, fit_judge(judge, draw, steps, 16, 1e-2, seed, **more)


@pytest.fixture(scope="module")
def judge():
    return trained()[0]


@pytest.fixture(scope="module")
def test_clips():
    return bars(300, torch.Generator().manual_seed(99))


@pytest.mark.parametrize(
    ("counts", "parameters"),
    [((9, 6, 6, 6, 6), 5_263_073), ((6, 52), 4_875_514)],
    ids=["Sprites", "MUG"],
)
def test_the_defaults_are_the_papers_judge(counts, parameters):
    classes = {
        f"label {index}": tuple(map(str, range(count))) for index, count in enumerate(counts)
    }
    made = SequenceJudge(classes).eval()
    assert count_parameters(made) == parameters
    logits = made(torch.rand(2, 3, 3, 64, 64))
    assert [tuple(logits[name].shape) for name in classes] == [(2, count) for count in counts]


@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_any_size_and_width(size):
    made = SequenceJudge(BARS, image_size=size, channels=1, width=4, features=5, hidden=6).eval()
    found = made.probabilities(torch.rand(2, 3, 1, size, size))
    assert {name: tuple(p.shape) for name, p in found.items()} == {
        "colour": (2, 3),
        "motion": (2, 2),
    }
    assert (
        sum(isinstance(layer, torch.nn.Conv2d) for layer in made.trunk) == math.log2(size / 4) + 1
    )
    assert made.trunk(torch.rand(7, 1, size, size)).abs().max() < 1


def test_the_heads_see_the_last_forward_and_the_first_backward_output():
    made, frames = new().eval(), torch.rand(2, 4, 3, 16, 16)
    outputs, (last, _) = made.lstm(made.trunk(frames.flatten(0, 1)).unflatten(0, (2, 4)))
    assert torch.allclose(
        made.embed(frames), torch.cat([outputs[:, 3, :16], outputs[:, 0, 16:]], -1), atol=1e-6
    )
    assert torch.allclose(
        made.embed(frames), last.transpose(0, 1).flatten(1), atol=1e-6
    )  # PyTorch's own final states


def test_it_learns_what_one_frame_shows_and_what_only_the_clip_shows(judge, test_clips):
    frames, labels = test_clips
    found = reliability(judge, frames, labels)
    assert (
        found.accuracy["real"]["colour"].mean == 1 and found.accuracy["real"]["motion"].mean >= 0.99
    )
    backwards = judge.probabilities(frames.flip(1))["motion"].argmax(-1)
    assert (backwards == 1 - labels["motion"]).float().mean() > 0.99


def test_a_frame_judge_learns_too():
    def first_frames(count, generator):
        frames, labels = bars(count, generator)
        return frames[:, 0], labels

    made = new(FrameJudge, {"colour": BARS["colour"]})
    fit_judge(made, first_frames, 60, 16, 1e-2)
    frames, labels = first_frames(200, torch.Generator().manual_seed(5))
    found = reliability(made, frames, labels)
    assert found.accuracy["real"]["colour"].mean == 1 and set(found.accuracy["real"]) == {"colour"}
    with pytest.raises(
        ValueError,
        match=r"frames: expected \(N, 3, 16, 16\), none of them 0, found \(2, 4, 3, 16, 16\)",
    ):
        made.probabilities(torch.rand(2, 4, 3, 16, 16))


def test_the_curve_falls_and_is_told():
    told = []
    rows = trained(steps=35, log_every=10, report=told.append)[1]
    assert told == rows and [row["step"] for row in rows] == [10, 20, 30, 35]
    assert (
        rows[-1]["cross_entropy"] < 0.7 * rows[0]["cross_entropy"]
        and rows[-1]["accuracy"] > rows[0]["accuracy"]
    )


def test_the_same_seed_gives_the_same_judge_and_another_does_not():
    states = []
    for seed in (0, 0, 1):
        made, _ = trained(steps=5, seed=seed)
        torch.rand(3)  # the global generator has no say in training
        states.append(made.state_dict())
    assert equal_state(states[0], states[1]) and not equal_state(states[0], states[2])


def test_the_rate_falls_over_the_last_half(monkeypatch):
    rates, step = [], torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self, *a, **k: (rates.append(self.param_groups[0]["lr"]), step(self, *a, **k))[1],
    )
    trained(steps=8)
    assert rates == pytest.approx(
        [
            1e-2 * rate
            for rate in (1, 1, 1, 1, 1, *(0.5 + 0.5 * math.cos(math.pi * k / 4) for k in (1, 2, 3)))
        ]
    )


def test_probabilities_are_probabilities_whatever_the_batch_and_leave_the_judge_alone(
    judge, test_clips
):
    frames = test_clips[0][:50]
    judge.train()
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    found = judge.probabilities(frames)
    assert judge.training and equal_state(before, judge.state_dict())
    judge.eval()
    for name, p in judge.probabilities(frames, batch_size=7).items():
        assert p.shape == (50, len(BARS[name])) and not p.requires_grad
        assert torch.allclose(p.sum(-1), torch.ones(50)) and torch.allclose(
            p, found[name], atol=1e-5
        )
    assert torch.allclose(
        judge.probabilities(frames.double())["motion"], found["motion"], atol=1e-5
    )


def test_blur_smooths_space_and_nothing_else():
    point = torch.zeros(2, 3, 1, 15, 15)
    point[0, 1, 0, 7, 7] = 1
    found = blurred(point, 1.0)
    assert found[0, 1].sum() == pytest.approx(1, abs=1e-4) and found[
        0, 1, 0, 7, 7
    ] == pytest.approx(1 / (2 * math.pi), abs=0.003)
    assert (
        torch.allclose(found, found.transpose(-1, -2))
        and found[0, [0, 2]].abs().max() == 0
        and found[1].abs().max() == 0
    )
    assert torch.allclose(
        blurred(torch.full((1, 2, 3, 8, 8), 0.3), 2.0), torch.tensor(0.3)
    )  # edges do not darken
    assert torch.equal(blurred(point, 0.0), point)


def test_shift_moves_a_whole_clip_diagonally():
    frames = torch.rand(40, 2, 3, 8, 8)
    found = shifted(frames, 2, torch.Generator().manual_seed(0))
    directions = set()
    for clip, moved in zip(frames, found):
        fits = [
            (down, right)
            for down in (-2, 2)
            for right in (-2, 2)
            if torch.equal(
                moved[..., 2:-2, 2:-2], clip.roll((down, right), (-2, -1))[..., 2:-2, 2:-2]
            )
        ]
        assert len(fits) == 1
        directions |= set(fits)
    assert len(directions) == 4
    columns = torch.arange(8.0).expand(1, 1, 8, 8) / 8  # the edge is repeated, not wrapped around
    assert shifted(columns, 3, torch.Generator().manual_seed(0)).unique().numel() == 5
    assert torch.equal(shifted(frames, 0, torch.Generator()), frames)


def test_noise_has_its_deviation_and_stays_in_range():
    found = noisy(torch.full((10, 4, 3, 16, 16), 0.5), 0.1, torch.Generator().manual_seed(0))
    assert float((found - 0.5).std()) == pytest.approx(0.1, rel=0.03) and float(
        found.mean()
    ) == pytest.approx(0.5, abs=0.003)
    white = noisy(torch.ones(1, 1, 3, 16, 16), 0.5, torch.Generator().manual_seed(0))
    assert 0 <= white.min() and white.max() == 1


def test_reliability_says_what_the_judge_is_worth(judge, test_clips):
    frames, labels = test_clips
    found = reliability(judge, frames, labels, deviation=0.05)
    assert (
        set(found.accuracy) == set(found.conditions) == {"real", "blurred", "shifted", "noisy"}
        and found.clips == 300
    )
    assert (
        found.conditions["blurred"] == "smoothed by a Gaussian of 0.5 pixels"
        and "by 1 pixels" in found.conditions["shifted"]
    )
    one = found.accuracy["real"]["colour"]
    assert (one.mean, one.high, one.n, one.unit) == (
        1,
        1,
        300,
        "clip",
    ) and one.low == pytest.approx(1 / (1 + 1.96**2 / 300), abs=1e-4)
    json.dumps(found.as_dict(), allow_nan=False)
    assert (
        found
        == reliability(judge, frames, labels, deviation=0.05, batch_size=300)
        == reliability(judge, frames, labels, deviation=0.05)
    )
    assert reliability(judge, frames, labels, deviation=3.0).accuracy["noisy"]["motion"].mean < 0.9
    wrong = {**labels, "colour": (labels["colour"] + 1) % 3}
    assert reliability(judge, frames, wrong).accuracy["real"]["colour"].mean == 0


def test_a_judge_comes_back_from_its_file(judge, test_clips, tmp_path):
    path = tmp_path / "bars-seed0.safetensors"
    save_judge(judge, path, {"seed": 0, "steps": 150})
    again = load_judge(path, {**BARS, "another label": ("a", "b")})
    assert (
        type(again) is SequenceJudge
        and not again.training
        and again.classes == judge.classes
        and again.sizes == judge.sizes
    )
    first, second = (one.probabilities(test_clips[0])["motion"] for one in (judge, again))
    assert torch.allclose(first, second, atol=2e-2)  # half precision
    record = read_json(tmp_path / "bars-seed0.run.json")
    assert (record["seed"], record["judge"]["kind"], record["judge"]["sizes"]["width"]) == (
        0,
        "sequences",
        8,
    )
    frame_judge = new(FrameJudge)
    save_judge(frame_judge, path, {})
    assert type(load_judge(path)) is FrameJudge


@pytest.mark.parametrize(
    ("classes", "complaint"),
    [
        (
            {"colour": BARS["colour"]},
            "expected data labelled motion = left, right, found no such label",
        ),
        ({**BARS, "motion": ("right", "left")}, "found right, left; take the judge of these data"),
        ({**BARS, "motion": ("left", "right", "up")}, "found left, right, up"),
    ],
)
def test_a_judge_is_not_put_to_other_labels(judge, tmp_path, classes, complaint):
    save_judge(judge, tmp_path / "a.safetensors", {})
    with pytest.raises(ResultsError, match=complaint):
        load_judge(tmp_path / "a.safetensors", classes)


def test_altered_files_are_refused(judge, tmp_path):
    path, record = tmp_path / "a.safetensors", tmp_path / "a.run.json"
    with pytest.raises(ResultsError, match="expected a result, found no file"):
        load_judge(path)
    save_judge(judge, path, {})
    content, written = path.read_bytes(), read_json(record)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ResultsError, match="expected SHA-256"):
        load_judge(path)
    path.write_bytes(content)
    for damaged in (
        {"weights_sha256": "0"},
        {**written, "judge": {**written["judge"], "kind": "songs"}},
    ):
        write_json(record, damaged)
        with pytest.raises(ResultsError, match="expected a judge's record, found none"):
            load_judge(path)
    write_json(
        record,
        {**written, "judge": {**written["judge"], "sizes": {**SMALL, "channels": 3, "hidden": 17}}},
    )
    with pytest.raises(ResultsError, match="expected weights for this model"):
        load_judge(path)


CLIPS = torch.rand(2, 4, 3, 16, 16)


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        (CLIPS[0], r"expected \(N, T, 3, 16, 16\), none of them 0, found \(4, 3, 16, 16\)"),
        (torch.rand(2, 4, 3, 32, 32), r"found \(2, 4, 3, 32, 32\)"),
        (torch.rand(2, 4, 1, 16, 16), r"found \(2, 4, 1, 16, 16\)"),
        (CLIPS[:0], "none of them 0"),
        (CLIPS[:, :0], "none of them 0"),
        (
            CLIPS.mul(255).byte(),
            "expected floats in .0, 1., found torch.uint8; divide integers by 255",
        ),
        (CLIPS + 0.5, r"expected values in \[0, 1\], found 0.5\d* to 1.\d+; clamp"),
        (CLIPS - 0.5, r"found -0.\d+ to 0.\d+"),
        (CLIPS.clone().index_fill_(0, torch.tensor([1]), math.nan), "found nan to nan"),
    ],
    ids=[
        "a single clip",
        "size",
        "channels",
        "no clips",
        "no frames",
        "bytes",
        "too bright",
        "negative",
        "NaN",
    ],
)
def test_frames_of_another_kind_are_refused(judge, frames, complaint):
    labels = {name: torch.zeros(len(frames), dtype=torch.long) for name in BARS}
    calls = (
        judge.probabilities,
        lambda f: reliability(judge, f, labels),
        lambda f: fit_judge(new(), lambda *_: (f, labels), 1),
    )
    for call in calls:
        with pytest.raises(ValueError, match=complaint):
            call(frames)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ({"colour": [0, 1]}, "labels: expected colour, motion, found colour"),
        (
            {"colour": [0, 1], "motion": [0, 1, 1]},
            r"labels\['motion'\]: expected integers \(2,\), found torch.int64 \(3,\)",
        ),
        ({"colour": [0, 1], "motion": [0.0, 1.0]}, "found torch.float32"),
        (
            {"colour": [0, 3], "motion": [0, 1]},
            r"labels\['colour'\]: expected classes 0 to 2, found 0 to 3",
        ),
        ({"colour": [0, -1], "motion": [0, 1]}, "found -1 to 0"),
    ],
    ids=["missing", "length", "floats", "too large", "negative"],
)
def test_labels_of_another_kind_are_refused(judge, labels, complaint):
    labels = {name: torch.tensor(values) for name, values in labels.items()}
    for call in (
        lambda: reliability(judge, CLIPS, labels),
        lambda: fit_judge(new(), lambda *_: (CLIPS, labels), 1),
    ):
        with pytest.raises(ValueError, match=complaint):
            call()


@pytest.mark.parametrize(
    "classes",
    [{}, {"a": ("one",)}, {"a": ("one", "one")}],
    ids=["no label", "one class", "a name twice"],
)
def test_judges_of_nothing_are_refused(classes):
    with pytest.raises(
        ValueError, match="classes: expected labels with two or more different class names each"
    ):
        SequenceJudge(classes)
    with pytest.raises(ValueError, match="image_size: expected 8, 16, 32, 64, ... found 20"):
        SequenceJudge(BARS, image_size=20)


def test_a_judge_that_diverges_is_stopped(monkeypatch):
    monkeypatch.setattr(judges.F, "cross_entropy", lambda logits, truth: logits.sum() * math.nan)
    with pytest.raises(JudgeError, match="stopped being finite by step 3"):
        trained(steps=3)
