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
    done = CliRunner().invoke(app, ["judge", "digits", "--profile", "smoke", "--results", str(tmp_path)])
    assert done.exit_code == 0, done.output
    folder = judging.folder_of("digits", "smoke", tmp_path)
    assert {path.name for path in folder.iterdir()} == {"judge-seed0.safetensors", "judge-seed0.run.json", "judge-seed0.training.csv", "metrics.json"}
    assert results.verify(tmp_path) == []
    again = judging.trust(judging.judge_of("digits", "smoke", folder=tmp_path), "digits", "smoke")
    assert again == results.read_json(folder / "metrics.json")  # the record is of the judge that was written


def test_an_unknown_dataset():
    with pytest.raises(ValueError, match="expected one of sprites"):
        judging.settings_of("weather")


@shipped
def test_a_shipped_judge_says_how_far_it_is_to_be_trusted(dataset):
    metrics = results.read_json(judging.folder_of(dataset, "quick") / "metrics.json")
    assert results.form_faults(metrics) == []
    for label in judging.JUDGED[dataset][2]:
        assert {f"{condition}_{label}" for condition in ("real", "blurred", "shifted", "noisy")} <= set(metrics["judge"])
        low, high = metrics["judge"]["intervals"][f"real_{label}"]
        assert low <= metrics["judge"][f"real_{label}"] <= high


@pytest.mark.parametrize("dataset", ("sprites", "drawn_sprites"))
def test_judges_of_characters_know_them_perfectly(dataset):
    metrics = results.read_json(judging.folder_of(dataset, "quick") / "metrics.json")["judge"]
    assert all(metrics[f"real_{label}"] >= 0.999 for label in judging.JUDGED[dataset][2])
    assert metrics["inception_score_motion"] <= 9 and math.isclose(metrics["inception_score_motion"], 9, rel_tol=0.02)


def test_a_shipped_judge_is_the_one_that_was_measured():
    """Of drawn characters, which need no file: how sure the judge is today is what its record says."""
    test = load("drawn_sprites", "test", image_size=32)
    found = judging.judge_of("drawn_sprites", "quick", test.classes).probabilities(test.as_float().frames)
    shipped = results.read_json(judging.folder_of("drawn_sprites", "quick") / "metrics.json")["judge"]
    for label, probabilities in found.items():
        scores = generation_scores(probabilities, test.labels[label], draws=10)
        assert scores.accuracy.mean == shipped[f"real_{label}"]
        assert math.isclose(scores.conditional_entropy.mean, shipped[f"conditional_entropy_{label}"], rel_tol=0.02)


def test_a_judge_is_not_given_other_data():
    classes = dict(load("drawn_sprites", "test", image_size=32).classes) | {"skin": ("one", "two")}
    with pytest.raises(results.ResultsError, match="take the judge of these data"):
        judging.judge_of("drawn_sprites", "quick", classes)


def test_examples_are_floats_with_their_labels():
    one = judging.examples("digits", "train", judging.settings_of("digits", "smoke"))
    frames, labels = one.draw(5, torch.Generator().manual_seed(0))
    assert frames.shape == (5, 3, 32, 32) and 0 <= frames.min() <= frames.max() <= 1
    assert set(labels) == {"red_digit", "green_digit"} and all(values.shape == (5,) for values in labels.values())
