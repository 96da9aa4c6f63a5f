"""Runs and judges: what there is, what they learn from, and shipped judges as measured."""

import shutil
import subprocess
import threading
import time
from collections import namedtuple
from dataclasses import replace
from itertools import count
from types import FunctionType

import pytest
import torch
from helpers import seeded
from unbraid import store
from unbraid.data.sequences import Sequences
from unbraid.measures.swaps import generation_scores
from unbraid.models.base import SequenceModel
from unbraid.training import TrainingError

from papers import datasets, evaluation, judging, provenance, registry, runs, settings
from papers.costs import Meter
from papers.settings import Settings, SettingsError

EXPERIMENTS = settings.list_experiments()


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.section)
def test_every_run_is_built_from_its_settings(experiment):
    chosen = settings.load(experiment.section, "smoke")
    model = runs.build(chosen, 3)
    assert type(model) is registry.choose_class(chosen.as_dict())
    if experiment.model in registry.MODELS:
        assert isinstance(model, registry.MODELS[experiment.model])


def test_every_kind_of_model_is_built_from_its_seed():
    every = [settings.load(experiment.section, "smoke") for experiment in EXPERIMENTS]
    for chosen in {registry.choose_class(each.as_dict()): each for each in every}.values():
        first, again, other = (runs.build(chosen, seed).state_dict() for seed in (3, 3, 4))
        assert store.contents(first) == store.contents(again) != store.contents(other), chosen


def test_a_set_holds_frames_of_all_clips_of_one_character(monkeypatch):
    character = torch.tensor([7, 3, 7, 3])  # Each clip has a value of its own in all pixels.
    frames = torch.arange(4, dtype=torch.uint8)[:, None, None, None, None].expand(4, 5, 1, 2, 2)
    names = ("character", "skin", "trousers", "top", "hair")
    clips = Sequences(frames, dict.fromkeys(names, character), static=names)
    monkeypatch.setattr(runs, "load_sequences", lambda *_: clips)
    chosen = settings.load("benchmark.sprites.unordered_sets", "smoke")
    sets = runs.make_sampler(chosen)(50, seeded(0))
    assert sets.frames.shape == (50, chosen.length, 1, 2, 2)
    shown = (255 * sets.frames[:, :, 0, 0, 0]).round().long()  # the clip of each frame
    assert torch.equal(shown % 2 == 0, (sets.labels["hair"] == 7)[:, None].expand_as(shown))
    assert any(len(row.unique()) == 2 for row in shown)  # and not from one clip


def test_a_set_of_digits_is_drawn_from_the_path_that_its_settings_name():
    chosen = settings.load("benchmark.circle.unordered_sets", "smoke")
    sampler = runs.make_sampler(chosen)
    assert sampler(2, seeded(0)).frames.shape[:2] == (2, chosen.length)
    assert f"{chosen.length} of {chosen.path_length} frames" in sampler.provenance


def test_runs_are_selected_by_model_dataset_and_run():
    selected = settings.select_runs("unordered", run="no_pairs")
    assert [each.dataset for each in selected] == ["sprites_poses"]
    sections = [each.section for each in settings.select_runs("unordered", "faces", "lone")]
    assert sections == ["unordered.faces.lone"]


# ---- what runs learn from


@pytest.mark.parametrize("section", ("independent.bounce.factored", "unordered.digits"))
def test_digits_are_drawn_from_their_split(section, data_of_the_clone):
    chosen = settings.load(section, "smoke")
    train, test = (runs.make_sampler(chosen, split) for split in ("train", "test"))
    frames = train(4, seeded()).frames
    assert frames.shape == (4, chosen.length, 3, 32, 32)
    assert torch.equal(frames, train(4, seeded()).frames)
    assert not torch.equal(frames, test(4, seeded()).frames)
    assert train.sources == ("mnist-sample",) and "train split" in train.provenance
    assert list(train.digests) == ["mnist-sample"] and len(train.digests["mnist-sample"]) == 64


def test_series_come_with_their_mask():
    sampler = runs.make_sampler(settings.load("single_element.weather", "smoke"))
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

    monkeypatch.setitem(datasets.LOADERS, "squares", load_poses)


def see(sampler):
    """The (character, action) pairs among a thousand samples of three frames."""
    batch = sampler(1000, seeded(2))
    values = (255 * batch.frames[:, :, 0, 0, 0]).round().long()  # (B, N)
    assert torch.equal(values, 10 * batch.labels["character"][:, None] + batch.labels["action"])
    return set(values.flatten().tolist())


def test_what_is_withheld_is_never_trained_on_and_is_said(poses):
    chosen = Settings(dataset="squares", sampler="frames", image_size=32, length=3, withheld=0.2)
    everything = {10 * character + action for character in range(20) for action in range(3)}
    train = runs.make_sampler(chosen)
    lacking = everything - see(train)
    assert len(lacking) == 4 and len({value // 10 for value in lacking}) == 4
    assert "one action withheld of 20 %" in train.provenance
    assert see(runs.make_sampler(chosen, "test")) == everything
    chosen.withheld = 0.0
    assert see(runs.make_sampler(chosen)) == everything


def test_the_part_of_the_training_sequences_is_a_setting(monkeypatch):
    monkeypatch.setitem(runs.SAMPLERS, "parts", lambda _, split: split)
    whole, part = Settings(sampler="parts"), Settings(sampler="parts", training_split="fit")
    assert runs.make_sampler(whole) == "train"
    assert runs.make_sampler(part) == "fit"
    for split in ("test", "validation"):
        assert runs.make_sampler(part, split) == split


# ---- what a run leaves


@pytest.fixture(scope="module")
def smallest():
    """Settings of a run of some updates, and what it learns from."""
    chosen = settings.load("single_element.weather", "smoke")
    return chosen, runs.make_sampler(chosen)


@pytest.fixture
def trained(smallest, tmp_path):
    """Settings, data, and the path of the finished run in the test's folder."""
    chosen, sampler = smallest
    runs.train_run(chosen, 0, sampler, tmp_path)
    return chosen, sampler, tmp_path / runs.run_name(chosen, 0)


def interrupt(sampler):
    """A supply that ends with Ctrl-C after three batches."""
    calls = count()

    def draw(*arguments):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return sampler.draw(*arguments)

    return replace(sampler, draw=draw)


WHOLE = [".run.json", ".safetensors", ".training.csv"]


def list_kinds(path):
    """The suffixes of a run's files."""
    return sorted(file.name.removeprefix(path.name) for file in path.parent.iterdir())


def test_a_run_is_finished_only_if_its_weights_are_those_of_its_record(trained, tmp_path):
    chosen, sampler, path = trained
    now = {"precision": "32-true", "data_sha256": sampler.digests}
    assert runs.find_record(chosen, path, now)["seed"] == 0
    assert runs.find_record(chosen, path, now | {"precision": "bf16-mixed"}, True) is None
    weights = path.with_suffix(".safetensors")
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert runs.find_record(chosen, path, now) is None
    runs.train_run(chosen, 0, sampler, tmp_path)
    assert weights.read_bytes() == content


def test_a_finished_run_is_not_replaced_by_one_of_other_settings_without_a_word(trained, tmp_path):
    chosen, sampler, path = trained
    kept = path.with_suffix(".safetensors").read_bytes()
    longer = chosen.but(steps=chosen.steps + 1)
    said = rf"run\.json: .*steps {chosen.steps} \(now {longer.steps}\).*--again"
    with pytest.raises(TrainingError, match=said):
        runs.train_run(longer, 0, sampler, tmp_path)
    with pytest.raises(TrainingError, match=r"precision 32-true \(now bf16-mixed\)"):
        runs.train_run(chosen, 0, sampler, tmp_path, "bf16-mixed")
    assert path.with_suffix(".safetensors").read_bytes() == kept
    runs.train_run(longer, 0, sampler, tmp_path, again=True)
    assert path.with_suffix(".safetensors").read_bytes() != kept
    assert store.read_record(path.name, path.parent)["steps"] == longer.steps


def test_two_processes_do_not_train_one_run_and_nothing_is_left(smallest, held, tmp_path):
    """One is refused at once, or waits where it is told to, until the other has ended."""
    chosen, sampler = smallest
    path = tmp_path / runs.run_name(chosen, 0)
    other = held(path.with_suffix(".lock"))
    orphan = path.parent / f".{path.name}.safetensors.kbt5lmpe"
    orphan.write_bytes(b"half of a file")
    with pytest.raises(TrainingError, match=r"seed0: .* another process"):
        runs.train_run(chosen, 0, sampler, tmp_path)
    assert orphan.exists()  # it may be the other process's
    begin = time.perf_counter()
    threading.Timer(0.5, other.kill).start()
    with runs.hold(path, wait=True):
        assert time.perf_counter() - begin > 0.4
    runs.train_run(chosen, 0, sampler, tmp_path)
    assert list_kinds(path) == WHOLE


def test_a_disk_without_room_for_two_checkpoints_is_refused_before_the_first(
    smallest, tmp_path, monkeypatch
):
    chosen, sampler = smallest
    with pytest.raises(KeyboardInterrupt):
        runs.train_run(chosen, 0, interrupt(sampler), tmp_path)
    path = tmp_path / runs.run_name(chosen, 0)
    needed = 2 * path.with_suffix(".checkpoint").stat().st_size
    for left in path.parent.iterdir():
        left.unlink()
    Usage = namedtuple("Usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(needed))
    with pytest.raises(store.ResultsError, match="room.*make room"):
        runs.train_run(chosen, 0, sampler, tmp_path)
    assert not list(path.parent.iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(needed + 2**20))
    runs.train_run(chosen, 0, sampler, tmp_path)


def stop(*arguments):
    raise KeyboardInterrupt


def test_a_record_never_stands_beside_files_that_are_being_replaced(trained, tmp_path, monkeypatch):
    """A run whose curve was deleted is trained again, and killed when it has written the curve."""
    chosen, sampler, path = trained
    path.with_suffix(".training.csv").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(SequenceModel, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            runs.train_run(chosen, 0, sampler, tmp_path)
    kinds = list_kinds(path)
    assert ".run.json" not in kinds and {".training.csv", ".checkpoint"} <= set(kinds)
    runs.train_run(chosen, 0, sampler, tmp_path)
    assert runs.is_whole(path) and not path.with_suffix(".checkpoint").exists()


def test_what_a_run_leaves_that_was_killed_after_its_record_is_removed(trained, tmp_path):
    chosen, sampler, path = trained
    runs.note_beginning(path, resumed=False)
    path.with_suffix(".checkpoint").write_bytes(b"of the last update")
    runs.train_run(chosen, 0, sampler, tmp_path)
    assert list_kinds(path) == WHOLE


def test_a_record_says_when_its_run_began_also_if_it_was_interrupted(
    smallest, tmp_path, monkeypatch
):
    chosen, sampler = smallest
    path = tmp_path / runs.run_name(chosen, 0)
    note = path.with_suffix(".begun.json")
    monkeypatch.setattr(runs, "read_commit", lambda: "c0")
    with pytest.raises(KeyboardInterrupt):
        runs.train_run(chosen, 0, interrupt(sampler), tmp_path)
    first = store.read_json(note)
    assert first["commit"] == "c0" and first["started"].endswith("+00:00")
    store.write_json(note, first | {"started": "2026-01-01T00:00:00+00:00"})
    monkeypatch.setattr(runs, "read_commit", lambda: "c1")
    runs.train_run(chosen, 0, sampler, tmp_path)
    record = store.read_json(path.with_suffix(".run.json"))
    assert (record["started"], record["commit"]) == ("2026-01-01T00:00:00+00:00", "c0")
    assert not note.exists()
    assert record["costs"]["cpu_updates"] == chosen.steps - 3  # the others were of another process


def test_a_record_says_what_its_run_cost(trained):
    chosen, _, path = trained
    record = store.read_record(path.name, path.parent)
    costs = record["costs"]
    assert costs["cpu_updates"] == record["steps"] == chosen.steps
    assert costs["threads"] == torch.get_num_threads()
    assert 0 < costs["update_seconds"] < record["seconds"]
    assert 100 < costs["peak_memory_mb"] < 20_000


def test_processor_seconds_are_those_of_the_work_between():
    meter = Meter()
    begin = time.process_time()
    while time.process_time() < begin + 0.3:
        pass
    time.sleep(0.3)
    found = meter.read([{"step": 4, "seconds": 2.0}], updates_before=1)
    assert found["cpu_seconds"] == pytest.approx(0.3, abs=0.15)
    assert (found["update_seconds"], found["cpu_updates"]) == (0.5, 3)


def test_a_run_that_begins_anew_has_a_new_beginning(tmp_path, monkeypatch):
    old = {"started": "2026-01-01T00:00:00+00:00", "commit": "c0"}
    store.write_json(tmp_path / "a-seed0.begun.json", old)
    monkeypatch.setattr(runs, "read_commit", lambda: "c1")
    path = tmp_path / "a-seed0"
    assert runs.note_beginning(path, resumed=True) == old
    assert runs.note_beginning(path, resumed=False)["commit"] == "c1"
    assert runs.note_beginning(path, resumed=True)["commit"] == "c1"


def test_the_commit_is_that_of_the_clone_and_says_whether_files_differ(tmp_path, monkeypatch):
    for name in ("notebooks", "data"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("UNBRAID_HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert runs.read_commit() == "unknown"

    def git(*arguments):
        name = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        command = ["git", "-C", tmp_path, *name, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "a.txt").write_text("a")
    git("init", "-q")
    git("add", "a.txt")
    git("commit", "-qm", "a")
    commit = git("rev-parse", "HEAD")
    (tmp_path / "new.txt").write_text("not tracked")
    assert len(commit) == 40 and runs.read_commit() == commit
    (tmp_path / "a.txt").write_text("b")
    assert runs.read_commit() == f"{commit}+changes"
    monkeypatch.setenv("PATH", str(tmp_path))  # without git
    assert runs.read_commit() == "unknown"
    monkeypatch.setenv("UNBRAID_COMMIT", "told")  # of a copy without its history
    assert runs.read_commit() == "told"


# ---- judges


def collect_called(function, called: set) -> set:
    """The functions of papers/ that a function names, and those that these name."""
    for name in function.__code__.co_names:
        other = function.__globals__.get(name)
        is_ours = isinstance(other, FunctionType) and other.__module__.startswith("papers.")
        if is_ours and other not in called:
            called.add(other)
            collect_called(other, called)
    return called


def test_the_runs_that_a_judge_measures_are_known():
    """Those whose evaluation calls `open_judge`; of digits and benchmark their settings decide."""
    for (model, dataset), each in evaluation.EVALUATIONS.items():
        called: set = set()
        collect_called(each.evaluate, called)
        chosen = Settings(model=model, dataset=dataset, profile="quick", image_size=32)
        is_judged = bool(judging.name_judges(chosen))
        if model in ("independent", "benchmark"):
            assert not is_judged
        else:
            assert is_judged == (judging.open_judge in called), (model, dataset)
    chosen = settings.load("independent.circle.factored", "quick")
    (name,) = provenance.describe_judges(chosen)
    assert name == "judges/digits/quick/judge-seed0"
    assert provenance.describe_judges(settings.load("independent.circle.plain_start")) == {}


def test_a_judge_is_trained_written_and_measured(tmp_path, call):
    for seed in ("0", "1"):
        where = ("--profile", "smoke", "--seed", seed, "--results", tmp_path)
        assert call("judge", "digits", *where)[0] == 0
    judge = judging.load_judge(judging.judge_path("digits", "smoke", 0, tmp_path))
    written = store.read_json(tmp_path / "judges/digits/smoke/metrics.json")
    measured = judging.measure_judge(judge, "digits", "smoke")
    assert measured["judge"] == written["judge"]  # that of seed 0
    assert measured["protocol"].items() <= written["protocol"].items()
    assert provenance.form_faults(written) == [] and provenance.verify_results(tmp_path) == []
    with pytest.raises(SettingsError, match="dataset"):
        judging.judge_settings("weather")


def test_a_shipped_judge_is_the_one_that_was_measured():
    chosen = judging.judge_settings("digits", "quick")
    _, examples = judging.judge_examples("digits", "test", chosen)
    frames, labels = judging.show_judge("digits", examples)
    path = judging.judge_path("digits", "quick").with_name("metrics.json")
    shipped = store.read_json(path)["judge"]
    judge = judging.open_judge("digits", classes=examples.classes)
    for label, probabilities in judge.probabilities(frames).items():
        scores = generation_scores(probabilities, labels[label], draws=10)
        assert scores.accuracy.mean == pytest.approx(shipped[f"real_{label}"], abs=0.02)
    with pytest.raises(store.ResultsError):
        judging.open_judge("digits", classes={"red_digit": ("one", "two")})


def test_a_judge_of_frames_sees_frames_with_the_labels_of_both_kinds(poses, monkeypatch):
    task = judging.JudgeTask(judging.FrameJudge, "judge.poses", ("character", "action"))
    monkeypatch.setitem(judging.JUDGES, "squares", task)
    chosen = judging.judge_settings("squares", "smoke")
    sampler, examples = judging.judge_examples("squares", "train", chosen)
    assert len(examples) == 240
    for drawn in (examples, sampler(50, seeded())):
        frames, labels = judging.show_judge("squares", drawn)
        values = (255 * frames[:, 0, 0, 0]).round().long()
        assert frames.ndim == 4 and torch.equal(values, 10 * labels["character"] + labels["action"])


def test_a_part_of_a_batch_is_roughened():
    frames = torch.rand(10, 3, 16, 16, generator=seeded())
    rough = judging.roughen(frames, 0.4, seeded(1))
    assert torch.equal(rough[:6], frames[:6]) and rough.min() >= 0 and rough.max() <= 1
    assert (rough[6:] - frames[6:]).abs().mean() > 0.02 and rough[6:].std() < frames[6:].std()
    assert judging.roughen(frames, 0, seeded()) is frames
