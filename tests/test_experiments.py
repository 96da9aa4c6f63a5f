"""Runs and judges: what there is, what they learn from, and shipped judges as measured."""

import pytest
import torch
from test_bound import seeded
from unbraid import experiments, results, settings
from unbraid.data import catalogue
from unbraid.data.sequences import Sequences
from unbraid.measures.swaps import generation_scores
from unbraid.models import registry
from unbraid.settings import Settings, SettingsError

EXPERIMENTS = settings.list_experiments()


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.section)
def test_every_run_is_built_from_its_settings_and_its_seed(experiment):
    chosen = settings.load(experiment.section, "smoke")
    first, again, other = (experiments.build(chosen, seed) for seed in (3, 3, 4))
    assert isinstance(first, registry.MODELS[experiment.model])
    digests = [results.contents(model.state_dict()) for model in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]


def test_runs_are_selected_by_model_dataset_and_run():
    selected = settings.select_runs("unordered", run="no_pairs")
    assert [each.dataset for each in selected] == ["sprites_poses"]
    sections = [each.section for each in settings.select_runs("unordered", "faces", "lone")]
    assert sections == ["unordered.faces.lone"]
    for names in (("both",), ("unordered", "cars"), ("unordered", "faces", "no_pairs")):
        with pytest.raises(SettingsError):
            settings.select_runs(*names)


# ---- what runs learn from


@pytest.mark.parametrize("section", ("independent.bounce.factored", "unordered.digits"))
def test_digits_are_drawn_from_their_split(section, monkeypatch, tmp_path):
    monkeypatch.delenv("UNBRAID_MIRROR", raising=False)
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path))
    chosen = settings.load(section, "smoke")
    train, test = (experiments.make_sampler(chosen, split) for split in ("train", "test"))
    frames = train(4, seeded()).frames
    assert frames.shape == (4, chosen.length, 3, 32, 32)
    assert torch.equal(frames, train(4, seeded()).frames)
    assert not torch.equal(frames, test(4, seeded()).frames)
    assert train.sources == ("mnist-sample",) and "train split" in train.provenance
    assert list(train.digests) == ["mnist-sample"] and len(train.digests["mnist-sample"]) == 64


def test_series_come_with_their_mask():
    sampler = experiments.make_sampler(settings.load("single_element.weather", "smoke"))
    batch = sampler(5, seeded())
    assert batch.frames.shape == (5, 24, 8) and batch.mask is not None
    assert sampler.sources == ("weather",)


@pytest.fixture
def poses(monkeypatch):
    """Twenty characters in three actions of four frames; a pixel is 10 x character + action."""

    def load_poses(split, image_size=32):
        action = torch.arange(3).repeat_interleave(4).expand(20, -1)
        pixels = (10 * torch.arange(20)[:, None] + action).byte()[..., None, None, None]
        return Sequences(
            pixels.expand(-1, -1, 3, image_size, image_size),
            {"character": torch.arange(20), "action": action},
            ("character",),
            ("action",),
            split,
            "twenty squares",
            classes={"action": ("a", "b", "c")},
        )

    row = catalogue.Dataset(load_poses, ("sprites-li",))
    monkeypatch.setitem(catalogue.DATASETS, "squares", row)


def see(sampler):
    """The (character, action) pairs among a thousand samples of three frames."""
    batch = sampler(1000, seeded(2))
    values = (255 * batch.frames[:, :, 0, 0, 0]).round().long()  # (B, N)
    assert torch.equal(values, 10 * batch.labels["character"][:, None] + batch.labels["action"])
    return set(values.flatten().tolist())


def test_what_is_withheld_is_never_trained_on_and_is_said(poses):
    chosen = Settings(dataset="squares", sampler="frames", image_size=32, length=3, withheld=0.2)
    everything = {10 * character + action for character in range(20) for action in range(3)}
    train = experiments.make_sampler(chosen)
    lacking = everything - see(train)
    assert len(lacking) == 4 and len({value // 10 for value in lacking}) == 4
    assert "one action withheld of 20 %" in train.provenance
    assert see(experiments.make_sampler(chosen, "test")) == everything
    chosen.withheld = 0.0
    assert see(experiments.make_sampler(chosen)) == everything


# ---- judges


def test_a_judge_is_trained_written_and_measured(tmp_path, call):
    for seed in ("0", "1"):
        where = ("--profile", "smoke", "--seed", seed, "--results", tmp_path)
        assert call("judge", "digits", *where)[0] == 0
    judge = experiments.load_judge(experiments.judge_path("digits", "smoke", 0, tmp_path))
    written = results.read_json(tmp_path / "judges/digits/smoke/metrics.json")
    assert experiments.measure_judge(judge, "digits", "smoke") == written  # that of seed 0
    assert results.form_faults(written) == [] and results.verify_results(tmp_path) == []
    with pytest.raises(SettingsError, match="dataset"):
        experiments.judge_settings("weather")


def test_a_shipped_judge_is_the_one_that_was_measured():
    chosen = experiments.judge_settings("digits", "quick")
    _, examples = experiments.judge_examples("digits", "test", chosen)
    frames, labels = experiments.show_judge("digits", examples)
    path = experiments.judge_path("digits", "quick").with_name("metrics.json")
    shipped = results.read_json(path)["judge"]
    judge = experiments.open_judge("digits", classes=examples.classes)
    for label, probabilities in judge.probabilities(frames).items():
        scores = generation_scores(probabilities, labels[label], draws=10)
        assert scores.accuracy.mean == pytest.approx(shipped[f"real_{label}"], abs=0.02)
    with pytest.raises(results.ResultsError):
        experiments.open_judge("digits", classes={"red_digit": ("one", "two")})


def test_a_judge_of_frames_sees_frames_with_the_labels_of_both_kinds(poses, monkeypatch):
    task = experiments.JudgeTask(experiments.FrameJudge, "judge.poses", ("character", "action"))
    monkeypatch.setitem(experiments.JUDGES, "squares", task)
    chosen = experiments.judge_settings("squares", "smoke")
    sampler, examples = experiments.judge_examples("squares", "train", chosen)
    assert len(examples) == 240
    for drawn in (examples, sampler(50, seeded())):
        frames, labels = experiments.show_judge("squares", drawn)
        values = (255 * frames[:, 0, 0, 0]).round().long()
        assert frames.ndim == 4 and torch.equal(values, 10 * labels["character"] + labels["action"])


def test_a_part_of_a_batch_is_roughened():
    frames = torch.rand(10, 3, 16, 16, generator=seeded())
    rough = experiments.roughen(frames, 0.4, seeded(1))
    assert torch.equal(rough[:6], frames[:6]) and rough.min() >= 0 and rough.max() <= 1
    assert (rough[6:] - frames[6:]).abs().mean() > 0.02 and rough[6:].std() < frames[6:].std()
    assert experiments.roughen(frames, 0, seeded()) is frames
