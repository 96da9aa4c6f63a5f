"""Judges: the papers' sizes, learning in seconds, what degrades a clip, records, and refusals."""

import pytest
import torch
from helpers import count_parameters
from unbraid.checks import ResultsError
from unbraid.data.sprites import split_motion
from unbraid.measures.judges import (
    FrameJudge,
    SequenceJudge,
    judge_clips,
    judge_probabilities,
    load_judge,
)
from unbraid.records import read_json, write_json

from papers.judge import fit_judge, save_judge

BARS = {"colour": ("red", "green", "blue"), "motion": ("left", "right")}
SMALL = {"image_size": 16, "width": 8, "features": 16, "hidden": 16}


def bars(count, generator):
    """Clips (n, 4, 3, 16, 16) of a bar, red, green or blue, on its way left or right.

    Both ways lead through the same four places: the frames without their order do not tell the
    motion.
    """
    colour = torch.randint(3, (count,), generator=generator)
    motion = torch.randint(2, (count,), generator=generator)
    start = torch.tensor([[12, 8, 4, 0], [0, 4, 8, 12]])[motion]
    start = start + torch.randint(2, (count, 1), generator=generator)  # (n, 4)
    across = torch.arange(16) - start[..., None]  # (n, 4, 16)
    columns = 0.8 * ((across >= 0) & (across < 3)).float()
    frames = torch.zeros(count, 4, 3, 16, 16)
    frames[torch.arange(count), :, colour] = columns[:, :, None].expand(-1, -1, 16, -1)
    return frames, {"colour": colour, "motion": motion}


def new(kind=SequenceJudge, classes=BARS):
    torch.manual_seed(0)
    return kind(classes, **SMALL)


@pytest.fixture(scope="module")
def judge():
    judge = new()
    fit_judge(judge, bars, 150, 16, 1e-2)
    return judge


@pytest.fixture(scope="module")
def test_clips():
    return bars(300, torch.Generator().manual_seed(99))


@pytest.mark.parametrize("counts, parameters", [((9, 6, 6, 6, 6), 5_263_073), ((6, 52), 4_875_514)])
def test_the_defaults_are_the_papers_judge(counts, parameters):
    """Of Sprites and of MUG."""
    classes = {f"label {n}": tuple(map(str, range(count))) for n, count in enumerate(counts)}
    judge = SequenceJudge(classes).eval()
    assert count_parameters(judge) == parameters
    logits = judge(torch.rand(2, 3, 3, 64, 64))
    assert [tuple(logits[name].shape) for name in classes] == [(2, count) for count in counts]


SHIPPED = {  # probability of the first class of some label for grey frames, when it was shipped
    "digits": ("red_digit", 6.13898e-05),
    "sprites": ("motion", 2.0038e-05),
}


@pytest.mark.parametrize("dataset", SHIPPED)
def test_shipped_judges_judge_as_they_did(dataset):
    name, expected = SHIPPED[dataset]
    judge = load_judge(dataset)
    size = judge.sizes["image_size"]
    shape = (1, 8) if judge.recurrent else (1,)
    grey = torch.full((*shape, judge.sizes["channels"], size, size), 0.5)
    assert float(judge.probabilities(grey)[name][0, 0]) == pytest.approx(expected, rel=1e-4)


def test_it_learns_what_one_frame_shows_and_what_only_the_clip_shows(judge, test_clips):
    frames, labels = test_clips
    for name, probabilities in judge.probabilities(frames).items():
        assert (probabilities.argmax(1) == labels[name]).float().mean() >= 0.99
    backwards = judge.probabilities(frames.flip(1))["motion"].argmax(-1)
    assert (backwards == 1 - labels["motion"]).float().mean() > 0.99


def test_a_judge_in_training_judges_each_clip_alone(judge, test_clips):
    """Normalisation by the batch would let a clip's neighbours have a say."""
    frames, _ = test_clips
    expected = judge.probabilities(frames[:5])["motion"]
    judge.train()
    found = judge.probabilities(frames[:5])["motion"]
    assert all(layer.training for layer in judge.modules())
    judge.eval()
    torch.testing.assert_close(found, expected)


def test_decoded_frames_are_cut_and_averaged(judge, test_clips):
    frames = test_clips[0][:5]
    expected = judge.probabilities(frames)["colour"]
    larger = frames.repeat_interleave(2, -1).repeat_interleave(2, -2)
    for given in (larger, frames - 0.05 * (frames == 0), larger.double()):
        torch.testing.assert_close(judge_probabilities(judge, given)["colour"], expected)


def test_a_motion_has_an_action_and_a_direction_where_it_is_one_of_nine():
    judged = torch.eye(9)[[5]] * 0.75 + torch.eye(9)[[2]] * 0.25
    parts = split_motion({"motion": judged})
    assert [parts[name].tolist() for name in ("action", "direction")] == [
        [[0.25, 0.75, 0]],
        [[0, 0, 1]],
    ]
    seen = judge_clips(new(), torch.rand(3, 4, 3, 16, 16))
    assert {name: p.shape for name, p in seen.items()} == {"colour": (3, 3), "motion": (3, 2)}
    with pytest.raises(RuntimeError):
        split_motion(seen)


def test_a_judge_comes_back_from_its_file_and_names_its_own_labels(judge, test_clips, tmp_path):
    path, record = tmp_path / "bars-seed0.safetensors", tmp_path / "bars-seed0.run.json"
    save_judge(judge, path, {"seed": 0, "settings": {}})
    again = load_judge(path, {**BARS, "another label": ("a", "b")})
    assert type(again) is SequenceJudge and not again.training
    assert again.classes == judge.classes and again.sizes == judge.sizes
    first, second = (one.probabilities(test_clips[0])["motion"] for one in (judge, again))
    assert torch.allclose(first, second, atol=2e-2)  # half precision
    assert read_json(record)["seed"] == 0
    for motion in ((), ("right", "left"), ("left", "right", "up")):
        with pytest.raises(ResultsError, match="motion"):
            load_judge(path, {**BARS, "motion": motion})
    save_judge(new(FrameJudge), path, {"settings": {}})
    assert type(load_judge(path)) is FrameJudge
    described = read_json(record)
    write_json(record, described | {"judge": described["judge"] | {"kind": "songs"}})
    with pytest.raises(ResultsError, match="songs"):
        load_judge(path)
