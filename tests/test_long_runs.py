"""papers/a/long_runs.py: a run goes on where it was interrupted, and is shown as it stands."""

import numpy as np
import pytest
import torch
from unbraid import records
from unbraid.checks import ResultsError
from unbraid.models import IndependentPrediction

from papers import run, settings, verify
from papers.a import long_runs
from papers.settings import load


class Stop(Exception):
    """Stands for a session that ends."""


@pytest.fixture
def short(monkeypatch, data_of_the_clone):
    """Runs of six updates whose checkpoints are kept after two and four."""
    monkeypatch.setattr(long_runs, "EVERY", 1)
    monkeypatch.setattr(long_runs, "MARKS", (2, 4, 6))
    monkeypatch.setattr(long_runs, "FRAMES", (2,))


def train_until(stop, monkeypatch, folder, name="paper_width"):
    """Train at smoke and stop before this update, if it comes."""
    printed = []

    def print_row(row):
        printed.append(row["step"])
        if row["step"] == stop:
            raise Stop

    monkeypatch.setattr(run, "print_row", print_row)
    long_runs.main(["train", name, "--profile", "smoke", "--to", str(folder)])
    return printed


@pytest.mark.parametrize("name", ["paper_width", "paper_width_entangled"])
def test_a_long_run_goes_on_and_is_shown_as_it_stands(name, short, tmp_path, monkeypatch):
    chosen = load(f"independent.bounce.{name}", "smoke")
    path = tmp_path / "train" / run.run_name(chosen, 0)
    with pytest.raises(Stop):
        train_until(5, monkeypatch, tmp_path / "train", name)  # The checkpoint has four updates.
    command = ["show", name, "--profile", "smoke", "--to", str(tmp_path / "train")]
    long_runs.main([*command, "--results", str(tmp_path / "results")])

    target = tmp_path / "results" / run.run_name(chosen, 0)
    record = records.read_json(target.with_suffix(".run.json"))
    assert record["stopped"] == "stopped at 4 of 6" and record["steps"] == 4
    assert [entry["after"] for entry in record["begun"]] == [0]
    assert all(record[name] == record["begun"][0][name] for name in ("commit", "device"))
    rows = records.read_csv(target.with_suffix(".along.csv"))
    assert [row["step"] for row in rows] == [2, 4]
    wanted = {"elbo_per_frame", "mi_same_bits", "mi_cross_bits", "own_position_r2"}
    assert wanted | {"other_position_r2", "forecast_error_20"} <= rows[0].keys()
    kept = np.load(target.with_suffix(".along.npz"))
    assert kept["frozen"].shape == (1, 2, 2, long_runs.LENGTH, 3, 32, 32)
    assert kept["truth"].max() > 250
    moves = kept["frozen"][0, :, :, 2:].astype(int) - kept["frozen"][0, :, :, 1:2]
    assert moves.any(), "frozen factors must leave the other's motion"
    model = IndependentPrediction.load(target.with_suffix(".safetensors"))
    assert model.factors == chosen.others["factors"]
    assert not verify.record_faults(target.with_suffix(".run.json"))

    # What is measured once is not measured again, and the run ends as if it had never stopped.
    marked = dict.fromkeys(rows[0].keys() - {"step"}, 1.0)
    monkeypatch.setattr(long_runs, "evaluate_moving_digits", lambda *_: marked)
    assert train_until(None, monkeypatch, tmp_path / "train", name) == [5, 6]
    long_runs.main([*command, "--results", str(tmp_path / "results")])
    again = records.read_csv(target.with_suffix(".along.csv"))
    assert again[:2] == [pytest.approx(row) for row in rows]
    assert again[2] == marked | {"step": 6}
    record = records.read_json(target.with_suffix(".run.json"))
    assert [entry["after"] for entry in record["begun"]] == [0, 4]
    train_until(None, monkeypatch, tmp_path / "at_once", name)
    resumed, _ = long_runs.open_checkpoint(path.with_suffix(".checkpoint"), chosen, 0)
    at_once = tmp_path / "at_once" / run.run_name(chosen, 0)
    whole, _ = long_runs.open_checkpoint(at_once.with_suffix(".checkpoint"), chosen, 0)
    assert all(map(torch.equal, resumed.state_dict().values(), whole.state_dict().values()))


def test_the_runs_are_the_paper_s_recipe_at_32_pixels():
    for name, factors, size in (("paper_width", 2, 20), ("paper_width_entangled", 1, 40)):
        chosen = load(f"independent.bounce.{name}", "quick")
        full = settings.load("independent.bounce.factored", "full")
        config, published = (vars(run.make_config(each)) for each in (chosen, full))
        differing = {name for name in config if config[name] != published[name]}
        assert differing <= {"image_size", "factors", "factor_size"}
        assert (config["factors"], config["factor_size"]) == (factors, size)
        for shared in ("steps", "batch_size", "length", "learning_rate", "decay", "decay_every"):
            assert getattr(chosen, shared) == getattr(full, shared)
        assert run.weight_schedules(chosen) == {"kl": 1.0}


def test_a_run_that_has_not_begun_is_refused(short, tmp_path):
    command = ["show", "paper_width", "--profile", "smoke", "--to", str(tmp_path)]
    with pytest.raises(ResultsError, match="train the run first"):
        long_runs.main([*command, "--results", str(tmp_path / "results")])
    with pytest.raises(ResultsError, match="other than --to"):
        long_runs.main([*command, "--results", str(tmp_path)])
