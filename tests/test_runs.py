"""Runs and judges: what they learn from, the files they leave, and how they go on."""

import threading
import time
from unittest.mock import Mock

import pandas as pd
import pytest
import torch
from helpers import seeded
from unbraid import files, records, training
from unbraid.checks import ResultsError, SettingsError
from unbraid.data.sequences import Sequences
from unbraid.measures.judges import load_judge
from unbraid.support.schedules import schedule_value
from unbraid.training import Diverged, TrainingError

from papers import datasets, judge, ledger, provenance, run, settings, verify
from papers.settings import RunSettings

EXPERIMENTS = settings.list_experiments()


def test_every_kind_of_model_is_built_from_its_seed():
    every = [settings.load(experiment.section, "smoke") for experiment in EXPERIMENTS]
    for chosen in {each.options["class"]: each for each in every}.values():
        first, again, other = (run.build(chosen, seed).state_dict() for seed in (3, 3, 4))
        assert all(map(torch.equal, first.values(), again.values())), chosen
        assert not all(map(torch.equal, first.values(), other.values())), chosen


def test_schedules_fall_in_stairs_and_repeat():
    drops = {"steps": 100, "decay_every": 1000}
    chosen = settings.load("independent.bounce.factored_long", "full").replace(**drops)
    rate = run.rate_schedule(chosen)  # of 100 updates of 100 sequences, .985 every ten updates
    assert [rate(share) for share in (0.0, 0.08, 0.09, 0.19)] == pytest.approx(
        [3e-4 * 0.985**stairs for stairs in (0, 0, 1, 2)]
    )
    full = settings.load("single_element.mug", "full")
    assert full.options["log_likelihood_weight"] + full.options["anchor_weight"] == 30
    for share, beta in ((0.0125, 0.5), (0.03, 1), (0.955, 0.0955), (0.51875, 0.8536), (1, 1)):
        weights = {}
        for term, curve in run.weight_schedules(full).items():
            weights[term] = schedule_value(curve, share)
        assert weights["dynamic_kl"] == pytest.approx(beta, abs=0.01)
        assert weights["static_kl"] == pytest.approx(15 * beta, abs=0.15)


# ---- what runs learn from


def test_a_set_holds_frames_of_all_clips_of_one_character(monkeypatch):
    character = torch.tensor([7, 3, 7, 3])  # Each clip has a value of its own in all pixels.
    frames = torch.arange(4, dtype=torch.uint8)[:, None, None, None, None].expand(4, 5, 1, 2, 2)
    names = ("character", "skin", "trousers", "top", "hair")
    clips = Sequences(frames, dict.fromkeys(names, character), static=names)
    monkeypatch.setattr(datasets, "load_sequences", lambda *_: clips)
    chosen = settings.load("benchmark.sprites.unordered_sets", "smoke")
    sets = datasets.make_sampler(chosen)(50, seeded(0))
    assert sets.frames.shape == (50, chosen.length, 1, 2, 2)
    shown = (255 * sets.frames[:, :, 0, 0, 0]).round().long()  # the clip of each frame
    assert torch.equal(shown % 2 == 0, (sets.labels["hair"] == 7)[:, None].expand_as(shown))
    assert any(len(row.unique()) == 2 for row in shown)  # and not from one clip


@pytest.mark.parametrize(
    "section", ("independent.bounce.factored_long", "unordered.digits.distinct")
)
def test_digits_are_drawn_from_their_split(section, data_of_the_clone):
    chosen = settings.load(section, "smoke")
    train, test = (datasets.make_sampler(chosen, split) for split in ("train", "test"))
    frames = train(4, seeded()).frames
    length = chosen.frames_drawn or chosen.length
    assert frames.shape == (4, length, 3, 32, 32)
    assert torch.equal(frames, train(4, seeded()).frames)
    assert not torch.equal(frames, test(4, seeded()).frames)
    assert list(train.digests) == ["mnist-sample"] and "train split" in train.provenance


@pytest.fixture
def poses(monkeypatch):
    """Twenty characters in three actions of four frames; a pixel is 10 x character + action."""

    def load_poses(split, image_size=32):
        action = torch.arange(3).repeat_interleave(4).expand(20, -1)
        pixels = (10 * torch.arange(20)[:, None] + action).byte()[..., None, None, None]
        frames = pixels.expand(-1, -1, 3, image_size, image_size)
        labels = {"character": torch.arange(20), "action": action}
        names = {"action": ("a", "b", "c")}
        about = (("character",), ("action",), split, "twenty squares")
        return Sequences(frames, labels, *about, classes=names)

    monkeypatch.setitem(datasets.LOADERS, "squares", load_poses)


def see(sampler):
    """The (character, action) pairs among a thousand samples of three frames."""
    batch = sampler(1000, seeded(2))
    values = (255 * batch.frames[:, :, 0, 0, 0]).round().long()  # (B, N)
    assert torch.equal(values, 10 * batch.labels["character"][:, None] + batch.labels["action"])
    return set(values.flatten().tolist())


def test_what_is_withheld_is_never_trained_on_and_is_said(poses):
    chosen = RunSettings(dataset="squares", sampler="frames", image_size=32, length=3, withheld=0.2)
    everything = {10 * character + action for character in range(20) for action in range(3)}
    train = datasets.make_sampler(chosen)
    lacking = everything - see(train)
    assert len(lacking) == 4 and len({value // 10 for value in lacking}) == 4
    assert "one action withheld of 20 %" in train.provenance
    assert see(datasets.make_sampler(chosen, "test")) == everything
    assert see(datasets.make_sampler(chosen.replace(withheld=0.0))) == everything


# ---- what a run leaves


@pytest.fixture(scope="module")
def smallest():
    """Settings of a run of some updates, and what it learns from."""
    chosen = settings.load("single_element.weather", "smoke")
    return chosen, datasets.make_sampler(chosen)


@pytest.fixture
def trained(smallest, tmp_path):
    """Settings, data, and the path of the finished run in the test's folder."""
    chosen, sampler = smallest
    run.train_run(chosen, 0, sampler, tmp_path)
    return chosen, sampler, tmp_path / run.run_name(chosen, 0)


def list_kinds(path):
    """The suffixes of a run's files."""
    return sorted(file.name.removeprefix(path.name) for file in path.parent.iterdir())


WHOLE = sorted(run.FILES.values())


def test_a_record_names_its_files_and_says_how_they_were_made(trained):
    chosen, sampler, path = trained
    record = records.read_record(path.name, path.parent)
    assert list_kinds(path) == WHOLE
    assert record["weights_sha256"] == files.digest(path.with_suffix(".safetensors"))
    assert record["curve_sha256"] == files.digest(path.with_suffix(".training.csv"))
    assert record["settings"] == chosen.as_dict() and record["seed"] == 0
    assert record["data_sha256"] == sampler.digests and record["steps"] == chosen.steps
    assert record["versions"] == provenance.read_versions() and len(record["commit"]) >= 7
    assert "--run single_element" in record["command"]


def test_a_run_is_finished_only_if_its_weights_are_those_of_its_record(trained, tmp_path):
    chosen, sampler, path = trained
    now = {"precision": "32-true", "data_sha256": sampler.digests}
    assert run.find_record(chosen, path, now)["seed"] == 0
    assert run.find_record(chosen, path, now | {"precision": "bf16-mixed"}, True) is None
    weights = path.with_suffix(".safetensors")
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert run.find_record(chosen, path, now) is None
    with pytest.raises(ResultsError, match="SHA-256"):
        run.load_run(chosen, 0, tmp_path)
    run.train_run(chosen, 0, sampler, tmp_path)
    assert weights.read_bytes() == content


def test_a_finished_run_is_not_replaced_by_one_of_other_settings_without_a_word(trained, tmp_path):
    chosen, sampler, path = trained
    kept = path.with_suffix(".safetensors").read_bytes()
    longer = chosen.replace(steps=chosen.steps + 1)
    other = chosen.replace(**{"class": "unbraid.variants.AblatedElement"})
    for changed, machine, said in (
        (longer, {}, rf"steps {chosen.steps} \(now {longer.steps}\).*--again"),
        (other, {}, r"class .*SingleElement \(now .*AblatedElement\)"),
        (chosen, {"precision": "bf16-mixed"}, r"precision 32-true \(now bf16-mixed\)"),
    ):
        with pytest.raises(TrainingError, match=said):
            run.train_run(changed, 0, sampler, tmp_path, **machine)
    assert path.with_suffix(".safetensors").read_bytes() == kept
    run.train_run(longer, 0, sampler, tmp_path, again=True)
    assert path.with_suffix(".safetensors").read_bytes() != kept


def test_the_ledger_says_how_a_run_ended_that_has_no_record(smallest, tmp_path, monkeypatch):
    chosen, sampler = smallest
    name = run.run_name(chosen, 0).removesuffix("-seed0")
    for error in (Diverged("bound: found nan"), KeyboardInterrupt()):
        with monkeypatch.context() as patch, pytest.raises(type(error)):
            patch.setattr(training, "fit", Mock(side_effect=error))
            run.train_run(chosen, 0, sampler, tmp_path)
    run.train_run(chosen, 0, sampler, tmp_path)  # which went on after it was stopped
    run.train_run(chosen.replace(steps=chosen.steps + 1), 0, sampler, tmp_path, again=True)
    rows = pd.read_csv(tmp_path / ledger.NAME, dtype=str)
    assert list(rows.columns) == list(ledger.COLUMNS)
    assert [*rows["end"]] == ["diverged", "stopped", "replaced"]
    assert {*rows["run"]} == {name} and {*rows["seeds"]} == {"0"}
    assert rows["why"][0] == "Diverged: bound: found nan"


def test_two_processes_do_not_train_one_run_and_nothing_is_left(smallest, held, tmp_path):
    """One is refused at once, or waits where it is told to, until the other has ended."""
    chosen, sampler = smallest
    path = tmp_path / run.run_name(chosen, 0)
    other = held(path.with_suffix(".lock"))
    with pytest.raises(TrainingError, match=r"seed0: .* another process"):
        run.train_run(chosen, 0, sampler, tmp_path)
    begin = time.perf_counter()
    threading.Timer(0.5, other.kill).start()
    run.train_run(chosen, 0, sampler, tmp_path, wait=True)
    assert time.perf_counter() - begin > 0.4 and list_kinds(path) == WHOLE


# ---- judges


def test_a_judge_is_trained_written_and_measured(tmp_path, call):
    for seed in ("0", "1"):
        where = ("--profile", "smoke", "--seed", seed, "--results", tmp_path)
        assert call("judge", "sprites", *where)[0] == 0
    trained = load_judge(judge.judge_path("sprites", "smoke", 0, tmp_path))
    written = records.read_json(tmp_path / "judges/sprites/smoke/metrics.json")
    measured = judge.measure_judge(trained, "sprites", "smoke")
    record = records.read_json(tmp_path / "judges/sprites/smoke/judge-seed1.run.json")
    assert record["commit"] == provenance.read_commit()
    assert measured["judge"] == written["judge"]  # that of seed 0
    assert measured["protocol"].items() <= written["protocol"].items()
    assert verify.verify_results(tmp_path) == []
    with pytest.raises(SettingsError, match="dataset"):
        judge.judge_settings("weather")


def test_a_part_of_a_batch_is_roughened():
    frames = torch.rand(10, 3, 16, 16, generator=seeded())
    rough = judge.roughen(frames, 0.4, seeded(1))
    assert torch.equal(rough[:6], frames[:6]) and rough.min() >= 0 and rough.max() <= 1
    assert rough[6:].std() < frames[6:].std() and rough.shape == frames.shape
