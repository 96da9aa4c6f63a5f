"""The list of jobs for a grid: which trainings there are, and what each may need."""

import json

import pytest
from unbraid import store
from unbraid.data.fetch import DataError
from unbraid.training import TrainingError

from papers import claims, jobs, runs, settings
from papers.settings import SettingsError
from papers.settings import load as load_settings

VOWELS = "single_element.vowels"


@pytest.fixture(autouse=True)
def home(data_of_the_clone, monkeypatch, tmp_path):
    """A folder without build/results, and only the data of the clone."""
    monkeypatch.chdir(tmp_path)


def write_run(folder, chosen, **costs):
    """The files of a finished run of 4 updates in 100 seconds, with weights that none can load."""
    path = folder / runs.run_name(chosen, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".safetensors").write_bytes(b"weights")
    digest = store.digest(path.with_suffix(".safetensors"))
    record = {"settings": chosen.as_dict(), "weights_sha256": digest, "steps": 4, "costs": costs}
    store.write_json(path.with_suffix(".run.json"), record)
    rows = [{"step": step, "seconds": 25.0 * step} for step in (2, 4)]
    store.write_csv(path.with_suffix(".training.csv"), rows)


def test_targets_name_all_runs_a_part_a_dataset_and_the_rows_of_the_readme():
    every = jobs.select_settings("all", "quick")
    assert len(every) == sum(
        load_settings(each.section, "quick").seeds > 0 for each in settings.list_experiments()
    )
    assert {each.model for each in jobs.select_settings("unordered", "quick")} == {"unordered"}
    (vowels,) = jobs.select_settings("single_element/vowels", "smoke")
    assert (vowels.section, vowels.profile) == (VOWELS, "smoke")
    rows = list({key[:2] for key in claims.list_runs(claims.read_claims())})
    chosen = jobs.select_settings("readme", "quick")
    of_quick = [row for row in rows if row[0].endswith("/quick")]
    assert sorted((f"{c.model}/{c.dataset}/quick", c.run) for c in chosen) == sorted(of_quick)
    at_full = {
        (f"{c.model}/{c.dataset}/full", c.run) for c in jobs.select_settings("readme", "full")
    }
    assert len(of_quick) < len(rows) and at_full >= set(rows) - set(of_quick)
    for wrong in ("nobody", "unordered/nobody", ""):
        with pytest.raises(SettingsError):
            jobs.select_settings(wrong, "quick")


def test_the_command_prints_each_training_once(tmp_path, call):
    targets = ["single_element/vowels", "single_element", "unordered/aff_wild"]
    code, printed = call("runs", *targets, "--profile", "smoke")
    answer = json.loads(printed)
    assert code == 0 and answer["profile"] == "smoke"
    names = [(each["dataset"], each["run"], each["seed"]) for each in answer["trainings"]]
    assert len(set(names)) == len(names) > 1 and names[0] == ("vowels", "single_element", 0)
    assert not {"timit", "aff_wild"} & {name[0] for name in names}
    assert len([line for line in answer["left_out"] if "UNBRAID_TIMIT" in line]) == 1


def test_a_grid_without_any_data_is_refused():
    with pytest.raises(DataError, match="UNBRAID_TIMIT"):
        jobs.list_jobs(["single_element/timit"], "smoke", settings.OWN_RESULTS)


def test_needs_are_those_of_records_with_a_margin_or_a_default(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "shipped", lambda: tmp_path / "shipped")
    chosen = load_settings(VOWELS, "smoke").but(steps=8, seeds=1)
    (training,) = jobs.describe_trainings(chosen, tmp_path)
    assert (training["mem_mb"], training["runtime"]) == (4000, 15)
    write_run(tmp_path / "shipped", chosen, peak_memory_mb=1000)
    (training,) = jobs.describe_trainings(chosen, tmp_path)
    assert (training["mem_mb"], training["runtime"]) == (1500, 10 + 10)  # 3 times 200 seconds
    write_run(tmp_path / "shipped", chosen, peak_memory_mb=None)  # on Windows
    assert jobs.estimate_memory(chosen, tmp_path) == 4000


def test_a_record_without_its_curve_is_that_of_a_run_to_be_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "shipped", lambda: tmp_path / "shipped")
    chosen = load_settings(VOWELS, "smoke").but(seeds=1)
    write_run(tmp_path, chosen)
    assert jobs.estimate_minutes(chosen, tmp_path) > 10
    (tmp_path / f"{runs.run_name(chosen, 0)}.training.csv").unlink()
    (training,) = jobs.describe_trainings(chosen, tmp_path)
    assert training["runtime"] == 15


def test_a_finished_run_of_other_settings_is_named(tmp_path):
    chosen = load_settings(VOWELS, "smoke").but(seeds=1)
    write_run(tmp_path, chosen)
    jobs.describe_trainings(chosen, tmp_path)
    with pytest.raises(TrainingError, match="steps"):
        jobs.describe_trainings(chosen.but(steps=8), tmp_path)


def test_only_runs_of_full_size_wait_for_a_judge():
    poses = "unordered.sprites_poses"
    assert jobs.find_missing_judge(load_settings(poses, "full")) == "sprites_poses"
    assert jobs.find_missing_judge(load_settings(poses, "quick")) is None
    assert jobs.find_missing_judge(load_settings("single_element.sprites", "full")) is None
    assert jobs.find_missing_judge(load_settings(VOWELS, "full")) is None
