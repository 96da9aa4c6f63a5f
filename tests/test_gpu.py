"""`make gpu`, its whole way with tiny sizes on a CPU: train, resume, measure, leave as it is."""

import shlex
import subprocess
import sys
import tomllib

import pytest
from unbraid import records

from papers import evaluation, run

RUNS = {
    "independent/bounce/smoke/published": "elbo_per_frame r2_0_red_position_x mi_same_bits",
    "independent/bounce/smoke/published_entangled": "r2_1_green_position_y",
    "unordered/sprites_poses/smoke/published": "grid_coherence grid_skin",
    "single_element/sprites/smoke/published": "swap_nearest accuracy",
}


@pytest.fixture
def make_gpu(root, tmp_path, call):
    """A function that runs the first commands of `make gpu`: exit code and output of each."""
    tiny = ["PROFILE=smoke", "SEED=1", f"RESULTS={tmp_path}", "ON=--accelerator cpu"]
    command = ["make", "--no-print-directory", "-n", "gpu", f"PYTHON={sys.executable}", *tiny]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    lines = [shlex.split(line, comments=True)[2:] for line in said.splitlines()]
    assert lines.pop(0) == ["unbraid", "data", "fetch", "mnist"]

    return lambda count=None: [call(*arguments) for _, *arguments in lines[:count]]


@pytest.mark.timeout(300)
def test_four_runs_are_trained_resumed_and_measured_once(make_gpu, tmp_path, monkeypatch):
    def stop(row):
        if row["step"] == 4:
            raise KeyboardInterrupt

    make_gpu(2)
    with monkeypatch.context() as patch:
        patch.setattr(run, "print_row", stop)
        (_, again), _, (code, _) = make_gpu(3)  # in the second training
    assert "left as it is: independent.bounce.published, seed 1" in again and code == 130

    printed = [said for _, said in make_gpu()]
    assert len(printed) == 8 and "goes on after update 3 of 6" in printed[2]
    for place, names in RUNS.items():
        assert records.read_record(f"{place}-seed1", tmp_path)["steps"] == 6
        folder, _, name = place.rpartition("/")
        metrics = records.read_json(tmp_path / folder / "metrics.json")
        assert set(names.split()) <= metrics[name].keys()

    monkeypatch.setattr(evaluation, "measure_runs", None)
    monkeypatch.setattr(run, "train_run", None)
    assert all("left as it is" in said for _, said in make_gpu())


def test_the_runs_are_those_whose_claims_name_the_command(root):
    entries = tomllib.loads((root / "papers" / "claims.toml").read_text())["claim"].values()
    named = [entry for entry in entries if entry.get("command", "").startswith("make gpu")]
    runs = {entry.get("full", entry)["run"] for entry in named}
    assert runs == {place.replace("smoke", "full") for place in RUNS}
