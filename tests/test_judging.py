"""The shipped judges and the command that makes them."""

import math

import pytest
import torch
from typer.testing import CliRunner

from unbraid import judging, results
from unbraid.cli import app
from unbraid.data import load
from unbraid.measures.generation import generation_scores

shipped = pytest.mark.parametrize("dataset", sorted(judging.JUDGED))


def test_the_command_trains_writes_and_measures(tmp_path):
    done = CliRunner().invoke(
        app, ["judge", "digits", "--profile", "smoke", "--results", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    folder = judging.folder_of("digits", "smoke", tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        "judge-seed0.safetensors",
        "judge-seed0.run.json",
        "judge-seed0.training.csv",
        "metrics.json",
    }
    assert results.verify(tmp_path) == []
    again = judging.trust(judging.judge_of("digits", "smoke", folder=tmp_path), "digits", "smoke")
    assert again == results.read_json(
        folder / "metrics.json"
    )  # the record is of the judge that was written


def test_an_unknown_dataset():
    with pytest.raises(ValueError, match="expected one of sprites"):
        judging.settings_of("weather")


@shipped
def test_a_shipped_judge_says_how_far_it_is_to_be_trusted(dataset):
    metrics = results.read_json(judging.folder_of(dataset, "quick") / "metrics.json")
    assert results.form_faults(metrics) == []
    for label in judging.JUDGED[dataset][2]:
        assert {
            f"{condition}_{label}" for condition in ("real", "blurred", "shifted", "noisy")
        } <= set(metrics["judge"])
        low, high = metrics["judge"]["intervals"][f"real_{label}"]
        assert low <= metrics["judge"][f"real_{label}"] <= high


@pytest.mark.parametrize("dataset", ("sprites", "drawn_sprites"))
def test_judges_of_characters_know_them_perfectly(dataset):
    metrics = results.read_json(judging.folder_of(dataset, "quick") / "metrics.json")["judge"]
    assert all(metrics[f"real_{label}"] >= 0.999 for label in judging.JUDGED[dataset][2])
    assert metrics["inception_score_motion"] <= 9 and math.isclose(
        metrics["inception_score_motion"], 9, rel_tol=0.02
    )


def test_the_judge_of_drawn_poses_knows_soft_frames_too():
    metrics = results.read_json(judging.folder_of("drawn_poses", "quick") / "metrics.json")["judge"]
    labels = judging.JUDGED["drawn_poses"][2]
    assert all(
        metrics[f"{condition}_{label}"] >= 0.99
        for label in labels
        for condition in ("real", "blurred", "noisy")
    )
    assert (
        "inception_score_pose" not in metrics
    )  # 63 of the 178 poses occur: no balanced set can be had


def test_the_judge_of_real_poses_is_near_what_can_be_known():
    """Some poses are one and the same picture, so that nobody names more than 96.7 % of them."""
    metrics = results.read_json(judging.folder_of("sprites_poses", "quick") / "metrics.json")[
        "judge"
    ]
    assert 0.85 < metrics["real_pose"] <= 0.967 and metrics["real_action"] > 0.95
    labels = (*judging.WORN, "direction")
    assert all(
        metrics[f"{condition}_{label}"] > 0.94
        for label in labels
        for condition in ("real", "blurred", "noisy")
    )


def test_a_shipped_judge_of_frames_is_the_one_that_was_measured():
    test = judging.examples("drawn_poses", "test", judging.settings_of("drawn_poses", "quick"))
    assert len(test.frames) == judging.TEST_FRAMES and test.frames.dtype == torch.uint8
    some = slice(0, 2000)
    found = judging.judge_of("drawn_poses", "quick", test.classes).probabilities(
        test.frames[some].float() / 255
    )
    for label, probabilities in found.items():
        assert (probabilities.argmax(1) == test.labels[label][some]).float().mean() >= 0.999, label


def test_a_shipped_judge_is_the_one_that_was_measured():
    """Of drawn characters, which need no file: how sure the judge is today is what its record says."""
    test = load("drawn_sprites", "test", image_size=32)
    found = judging.judge_of("drawn_sprites", "quick", test.classes).probabilities(
        test.as_float().frames
    )
    shipped = results.read_json(judging.folder_of("drawn_sprites", "quick") / "metrics.json")[
        "judge"
    ]
    for label, probabilities in found.items():
        scores = generation_scores(probabilities, test.labels[label], draws=10)
        assert scores.accuracy.mean == shipped[f"real_{label}"]
        assert math.isclose(
            scores.conditional_entropy.mean, shipped[f"conditional_entropy_{label}"], rel_tol=0.02
        )


def test_a_judge_is_not_given_other_data():
    classes = dict(load("drawn_sprites", "test", image_size=32).classes) | {"skin": ("one", "two")}
    with pytest.raises(results.ResultsError, match="take the judge of these data"):
        judging.judge_of("drawn_sprites", "quick", classes)


def test_examples_of_poses_are_single_frames_with_the_labels_of_both():
    known = load("drawn_poses", "test", image_size=32)
    one = judging.examples("drawn_poses", "test", judging.settings_of("drawn_poses", "quick"))
    assert (
        set(one.labels) == {"pose", "action", "direction", *judging.WORN}
        and one.classes["pose"] == known.classes["pose"]
    )
    frames, labels = one.draw(40, torch.Generator().manual_seed(0))
    assert frames.shape == (40, 3, 32, 32) and frames.dtype == torch.float32
    for frame, row in zip(frames.mul(255).round().byte(), range(40)):
        same = (
            torch.stack([known.labels[name] == labels[name][row] for name in judging.WORN])
            .all(0)
            .nonzero()[0, 0]
        )
        step = (known.labels["pose"][same] == labels["pose"][row]).nonzero()[0, 0]
        assert torch.equal(known.frames[same, step], frame)
        assert all(
            known.labels[name][same, step] == labels[name][row] for name in ("action", "direction")
        )


def test_a_part_of_a_batch_is_roughened():
    frames = torch.rand(10, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    rough = judging.roughened(frames, 0.4, torch.Generator().manual_seed(1))
    assert torch.equal(rough[:6], frames[:6]) and 0 <= rough.min() and rough.max() <= 1
    assert (rough[6:] - frames[6:]).abs().mean() > 0.02 and rough[6:].std() < frames[6:].std()
    assert torch.equal(rough, judging.roughened(frames, 0.4, torch.Generator().manual_seed(1)))
    assert judging.roughened(frames, 0, torch.Generator()) is frames


def test_examples_are_floats_with_their_labels():
    one = judging.examples("digits", "train", judging.settings_of("digits", "smoke"))
    frames, labels = one.draw(5, torch.Generator().manual_seed(0))
    assert frames.shape == (5, 3, 32, 32) and 0 <= frames.min() <= frames.max() <= 1
    assert set(labels) == {"red_digit", "green_digit"} and all(
        values.shape == (5,) for values in labels.values()
    )
