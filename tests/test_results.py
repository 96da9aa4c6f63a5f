"""results/: nothing is half-written, nothing damaged is read, what is shipped holds together."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from unbraid import store
from unbraid.store import ResultsError

from papers import commands as cli
from papers import provenance, report, runs, settings

ROOT = Path(__file__).resolve().parents[1]
MODELS = {experiment.model for experiment in settings.list_experiments()}
RECORDS = sorted(
    path for model in MODELS for path in (ROOT / "results" / model).glob("*/*/*.run.json")
)


def name_run(path):
    return "/".join(path.parts[-4:]).removesuffix(".run.json")


# ---- files


def fill(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ("fsync", "replace", "chmod"))
def test_a_write_that_fails_leaves_the_old_content_alone(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    store.write_atomically(path, b"old")

    monkeypatch.setattr(os, step, fill)
    with pytest.raises(OSError, match="No space left"):
        store.write_atomically(path, b"newer")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", (b"", b'{"x": 1', b"\x00\x01", b"\xff\xfe\xfa"))
def test_a_damaged_or_missing_json_is_named(tmp_path, content):
    path = tmp_path / "a.json"
    for _ in range(2):
        with pytest.raises(ResultsError, match=r"a\.json"):
            store.read_json(path)
        path.write_bytes(content)


def test_a_trial_is_recorded_with_what_repeats_it(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "shipped", lambda: tmp_path)
    path = report.write_trial("a_wide", "python a.py wide", {"steps": 3}, [0, 1], {"mae": 1.5})
    assert path == tmp_path / "trials" / "a_wide.json"
    record = store.read_json(path)
    assert (record["command"], record["seeds"]) == ("python a.py wide", [0, 1])
    assert (record["settings"], record["figures"]) == ({"steps": 3}, {"mae": 1.5})
    with pytest.raises(ValueError):
        report.write_trial("b", "python b.py", {}, [0], {"mae": float("nan")})


def test_a_curve_is_read_as_it_was_written(tmp_path):
    rows = [{"step": 50, "elbo": -2902.12}, {"step": 200000, "elbo": 1e-7}]
    store.write_csv(tmp_path / "a.csv", rows)
    assert store.read_csv(tmp_path / "a.csv") == rows
    for content in ("a,b\n1\n", "a\nx\n"):
        (tmp_path / "b.csv").write_text(content)
        with pytest.raises(ResultsError, match=r"b\.csv"):
            store.read_csv(tmp_path / "b.csv")


@pytest.mark.parametrize("folder", ("/proc/none", "/dev/null/none"))
def test_a_folder_that_cannot_be_written_is_refused(folder):
    with pytest.raises(ResultsError, match=f"^{folder}: expected .* --results"):
        store.check_writable(Path(folder))


def test_a_folder_is_left_as_it_was_also_if_it_is_full(tmp_path, monkeypatch):
    store.check_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(ResultsError, match="room .* No space left on device"):
        store.check_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from unbraid import store
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
store.check_writable(Path(sys.argv[1]))
"""


def test_a_process_that_is_killed_in_trying_a_folder_leaves_nothing(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


# ---- weights


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    network(torch.randn(8, 3, 4, 4))  # gives the running means their values
    return network.to(memory_format=torch.channels_last)


def test_weights_come_back_in_half_precision_and_are_stable(network, tmp_path):
    digest = store.save_weights(tmp_path / "a.safetensors", network)
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    store.load_weights(other, tmp_path / "a.safetensors", digest)
    state = other.state_dict()
    assert state["0.weight"].dtype == torch.float32
    for name, value in network.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=2**-11, atol=2**-24)
    assert store.save_weights(tmp_path / "b.safetensors", other) == digest


def test_tensors_come_back_bit_for_bit(tmp_path):
    numbers = torch.tensor(2.0, dtype=torch.float64)
    tensors = {"a": torch.randn(3, 4).T, "b": torch.arange(3, dtype=torch.uint8), "c": numbers}
    store.save_tensors(tmp_path / "t", tensors)
    digest = store.contents(tensors)
    assert store.contents(store.load_tensors(tmp_path / "t")) == digest
    assert store.contents(tensors | {"c": numbers + 0.5}) != digest
    assert store.contents({"a": tensors["a"]}) != digest


def test_weights_too_large_for_half_precision_are_refused(network, tmp_path):
    with torch.no_grad():
        network[3].bias[0] = 1e6
    with pytest.raises(ResultsError, match=r"3\.bias"):
        store.save_weights(tmp_path / "a.safetensors", network)
    assert list(tmp_path.iterdir()) == []


def test_missing_altered_and_truncated_weights_are_not_loaded(network, tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(ResultsError, match="expected weights, found no file"):
        store.load_weights(network, path)
    digest = store.save_weights(path, network)
    content = path.read_bytes()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ResultsError, match=f"expected SHA-256 {digest}"):
        store.load_weights(network, path, digest)
    for length in (0, 7, 40, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ResultsError, match="expected safetensors"):
            store.load_weights(network, path)
    store.save_weights(path, network)
    with pytest.raises(ResultsError, match=r"expected weights for this model"):
        store.load_weights(nn.Linear(16, 2), path)
    assert store.contents(before) == store.contents(network.state_dict())


# ---- metrics and tables


def summarise(**values):
    """An entry of metrics.json: of each figure its values by seed."""
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return report.summarise(rows)


# The weights of the second seed of each run do not ship.
FILES = dict.fromkeys(
    ("factored", "entangled"), {str(seed): {"shipped": seed != 1} for seed in range(3)}
)


def make_metrics():
    return {
        "factored": summarise(elbo=[1.0, 2.0, 3.0], same=[2.0, 4.0, 6.0]),
        "entangled": summarise(elbo=[-4.0, -4.5, -5.0], same=[-8.0, -9.0, -10.0]),
        "protocol": {"seeds": [0, 1, 2], "files": FILES},
    }


def test_a_summary_holds_means_values_and_intervals():
    metrics = make_metrics()
    entry = metrics["factored"]
    assert entry["elbo"] == 2 and entry["by_seed"]["same"] == [2, 4, 6]
    assert entry["intervals"]["elbo"] == pytest.approx([2 - 2.4841, 2 + 2.4841], abs=1e-3)
    assert provenance.form_faults(metrics) == []
    assert summarise(x=[1.0])["intervals"] == {"x": None}
    with pytest.raises(ResultsError, match="others in b$"):
        summarise(a=[1.0], b=[float("nan")])


def test_a_run_may_have_seeds_of_its_own():
    metrics = make_metrics() | {"short": summarise(elbo=[1.0])}
    assert len(provenance.form_faults(metrics)) == 1
    metrics["protocol"]["seeds_of"] = {"short": [0]}
    assert provenance.form_faults(metrics) == []
    assert report.list_runs(metrics)[2:4] == [("factored", 2), ("entangled", 0)]
    assert report.list_runs(metrics)[-1] == ("short", 0)


def test_a_seed_counts_once():
    metrics = make_metrics()
    metrics["protocol"]["seeds"] = [0, 1, 1]
    faults = provenance.form_faults(metrics)
    assert sorted(faults) == [
        f"{run}: expected every seed once, found [0, 1, 1]" for run in ("entangled", "factored")
    ]


def test_up_to_three_seeds_are_shown_as_they_are_and_more_with_their_interval():
    assert store.format_values([1.0]) == store.format_values([1.0, 1.0, 1.0, 1.0]) == "1.00"
    assert store.format_values([1.0, 1.001, 1.0]) == "1.00, 1.00, 1.00"
    assert store.format_values([0.854, -0.89, 0.88]) == "0.85, −0.89, 0.88"
    # Student's t of four values: 3.182 standard errors of 0.6455.
    assert store.format_values([1.0, 2.0, 3.0, 4.0]) == "2.50 ± 2.05"
    entry = summarise(x=[0.0, 1.0, 0.0, 1.0])
    assert store.format_figure(entry, "x", 1) == "0.5 ± 0.9"
    assert store.format_figure(entry, "y") == store.format_figure({}, "x") == "–"


def test_a_table_has_a_row_for_each_run_and_a_dash_for_what_is_not_measured():
    metrics = make_metrics()
    del metrics["entangled"]["same"]
    table = store.metrics_table(metrics, {"elbo": "ELBO", "same": "same (bits)"}, {"elbo": 1})
    assert table.splitlines() == [
        "| run | ELBO | same (bits) |",
        "|---|---|---|",
        "| factored | 1.0, 2.0, 3.0 | 2.00, 4.00, 6.00 |",
        "| entangled | −4.0, −4.5, −5.0 | – |",
    ]
    with pytest.raises(ResultsError, match="absent"):
        store.metrics_table(metrics, {"absent": "a"}, {})


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone with one run and one table, written once."""
    for name in ("notebooks", "data"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("UNBRAID_HOME", str(tmp_path))
    folder = tmp_path / "results" / "toy" / "data" / "quick"
    store.write_json(folder / "metrics.json", make_metrics())
    (tmp_path / "results" / "tables.toml").write_text(
        'introduction = "# Results"\n'
        '[[table]]\ntitle = "A"\nintroduction = "It is so."\nresults = "toy/data/quick"\n'
        'columns = [{ figure = "elbo", title = "ELBO", digits = 1 }]\n'
        '[[table]]\ntitle = "none"\nintroduction = ""\nresults = "toy/other/quick"\ncolumns = []\n'
    )
    return folder


def test_pages_that_do_not_agree_are_faults_until_they_are_written(clone):
    home = clone.parents[3]
    assert len(report.table_faults()) == 1
    report.write_tables()
    assert report.table_faults() == []
    page = (home / "results" / "README.md").read_text()
    assert "## A\n\nIt is so.\n\n| run | ELBO |" in page and "none" not in page


def test_a_table_of_quick_results_comes_again_with_those_at_full(clone):
    full = clone.with_name("full")
    store.write_json(full / "metrics.json", make_metrics())
    page = report.render_page(report.read_tables())
    assert page.index("## A\n\nIt is so.") < page.index("## A, at full size\n\n")
    assert page.count("| run | ELBO |") == 2
    tables = clone.parents[2] / "tables.toml"
    tables.write_text(tables.read_text().replace("toy/other/quick", "toy/data/full"))
    assert "## none" in (page := report.render_page(report.read_tables()))
    assert "at full size" not in page


# ---- what is shipped


def test_what_is_shipped_holds_together():
    assert provenance.verify_results(store.shipped()) == []


METRICS = {path.with_name("metrics.json") for path in RECORDS}


@pytest.mark.parametrize("path", sorted(METRICS), ids=lambda path: "/".join(path.parts[-4:-1]))
def test_profiles_train_all_seeds_of_what_is_shipped(path):
    """Otherwise `make full` and `evaluate --write` would refuse to write over these figures."""
    model, dataset, profile = path.parts[-4:-1]
    report.check_nothing_is_lost(path, cli.select_jobs(model, dataset, "all", profile, None))


def test_at_quick_the_factored_model_separates_circling_digits_and_its_twin_does_not():
    path = ROOT / "results" / "independent" / "circle" / "quick" / "metrics.json"
    metrics = store.read_json(path)
    factored, entangled = metrics["factored"]["by_seed"], metrics["entangled"]
    separated = [value <= 0.05 for value in factored["cross_to_same"]]
    assert sum(separated) >= 4
    assert entangled["mi_cross_bits"] > 5 * metrics["factored"]["mi_cross_bits"]


@pytest.mark.parametrize("path", RECORDS, ids=name_run)
def test_shipped_records_have_the_settings_of_the_table_and_their_weights_load(path):
    record = store.read_json(path)
    (model, dataset, profile), run = path.parts[-4:-1], record["settings"]["run"]
    (experiment,) = settings.select_runs(model, dataset, run)
    today = settings.load(experiment.section, profile)
    if profile == "quick":  # a run at full may have been stopped early
        if f" --steps {record['steps']} " in record["command"]:  # and says so
            assert record["steps"] < today.steps
            today = today.but(steps=record["steps"])
        assert runs.has_settings(record, today), "the table has changed; train again"
        assert record["steps"] == today.steps
    assert path.name == f"{run}-seed{record['seed']}.run.json" and record["seconds"] > 0
    curve = store.read_csv(path.with_name(path.name.replace(".run.json", ".training.csv")))
    assert provenance.is_last_row(curve[-1], record)
    # Training that multiplies the likelihood, as the authors' of speech, need not raise the bound.
    is_multiplied = record["settings"].get("log_likelihood_weight", 1.0) > 1
    learnt = "log_likelihood_per_frame" if is_multiplied else "elbo_per_frame"
    assert curve[-1][learnt] > curve[0][learnt] or record["steps"] == 1  # computed, not trained
    weights = path.with_name(path.name.replace(".run.json", ".safetensors"))
    if weights.exists():
        assert weights.stat().st_size <= 50e6  # GitHub warns of larger files
        trained = runs.load_run(today, record["seed"])
        # A run of a full_size.py says what it did otherwise than its section.
        own = today if profile == "quick" else settings.Settings(**record["settings"])
        assert trained.config == runs.make_config(own)
        assert all(value.isfinite().all() for value in trained.parameters())


def test_shipped_results_are_small():
    files = [path for path in (ROOT / "results").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 140e6
