"""results/: figures as text, pages of tables, what verify finds, and what is shipped."""

from pathlib import Path

import pytest
from unbraid import files, records
from unbraid.checks import ResultsError

from papers import run, settings, tables, verify

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = {tuple(each[1:]): each.section for each in settings.list_experiments()}
RECORDS = []  # of runs that have a section; others say themselves how they were trained
for PATH in sorted((ROOT / "results").glob("*/*/*/*-seed*.run.json")):
    if (*PATH.parts[-4:-2], PATH.name.rpartition("-seed")[0]) in SECTIONS:
        RECORDS.append(PATH)


def summarise(**values):
    """An entry of metrics.json: of each figure its values by seed."""
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return tables.summarise(rows)


def make_metrics(torch="2.9", **protocol):
    """A metrics.json of two runs with three seeds each."""
    weights = {str(seed): f"sha {seed}" for seed in range(3)}
    named = {"data": "made", "versions": {"torch": torch}}
    return {
        "factored": summarise(elbo=[1.0, 2.0, 3.0], same=[2.0, 4.0, 6.0]),
        "entangled": summarise(elbo=[-4.0, -4.5, -5.0], same=[-8.0, -9.0, -10.0]),
        "protocol": named | {"weights": {"factored": weights, "entangled": weights}} | protocol,
    }


# ---- metrics.json


def test_a_summary_holds_means_and_values():
    assert make_metrics()["factored"] == {
        "elbo": 2,
        "same": 4,
        "by_seed": {"elbo": [1, 2, 3], "same": [2, 4, 6]},
    }
    with pytest.raises(ResultsError, match="others in b$"):
        summarise(a=[1.0], b=[float("nan")])


def measure(seeds, run="factored", **figures):
    """What an evaluation of some seeds of one run gives."""
    weights = {run: {str(seed): f"new sha {seed}" for seed in seeds}}
    protocol = {"data": "made", "versions": {"torch": "2.10"}, "weights": weights}
    return {run: summarise(**figures), "protocol": protocol}


def test_new_figures_join_those_of_other_runs_and_seeds():
    before = make_metrics()
    merged = tables.merge(before, measure([1, 5], elbo=[2.5, 9.0], same=[1.0, 1.0]))
    assert merged["entangled"] == before["entangled"]
    assert tables.split_seeds(merged, "factored") == {
        0: {"elbo": 1, "same": 2},
        1: {"elbo": 2.5, "same": 1},
        2: {"elbo": 3, "same": 6},
        5: {"elbo": 9, "same": 1},
    }
    weights = merged["protocol"]["weights"]["factored"]
    assert weights == {"0": "sha 0", "1": "new sha 1", "2": "sha 2", "5": "new sha 5"}
    assert tables.find_seeds(tables.merge(merged, measure([0], "short", elbo=[1.0])), "short") == [
        0
    ]
    assert before == make_metrics()


def test_figures_that_were_measured_otherwise_do_not_join():
    before = make_metrics(judges={"a": "1"})
    new = measure([3], elbo=[1.0], same=[1.0])
    new["protocol"]["judges"] = {"a": "1", "b": "1"}
    assert len(tables.merge(before, new)["factored"]["by_seed"]["elbo"]) == 4
    for change, found in (({"data": "others"}, "data"), ({"judges": {"a": "2"}}, "judges")):
        with pytest.raises(ResultsError, match=f"another {found}"):
            tables.merge(before, new | {"protocol": new["protocol"] | change})
    with pytest.raises(ResultsError, match="figures of factored"):
        tables.merge(before, new | {"factored": summarise(elbo=[1.0])})


# ---- text and pages


# ---- verify


@pytest.fixture
def written(tmp_path):
    """The path of a run with weights, record, curve and figures that are tied to them."""
    path = tmp_path / "toy" / "data" / "quick" / "a-seed0"
    path.parent.mkdir(parents=True)
    path.with_suffix(".safetensors").write_bytes(b"weights")
    records.write_csv(path.with_suffix(".training.csv"), [{"step": 1, "elbo": 2.0}])
    suffixes = {"weights": ".safetensors", "curve": ".training.csv"}
    digests = {f"{n}_sha256": files.digest(path.with_suffix(s)) for n, s in suffixes.items()}
    records.write_json(path.with_suffix(".run.json"), digests | {"settings": {}})
    weights = {"a": {"0": digests["weights_sha256"]}}
    metrics = {"a": summarise(elbo=[2.0]), "protocol": {"weights": weights}}
    tables.write_metrics(path.with_name("metrics.json"), metrics)
    assert verify.verify_results(tmp_path) == []
    return path


def break_figure(path):
    metrics = records.read_json(path.with_name("metrics.json"))
    metrics["a"]["elbo"] = 3.0
    records.write_json(path.with_name("metrics.json"), metrics)


DAMAGE = {
    "weights": lambda path: path.with_suffix(".safetensors").write_bytes(b"others"),
    "curve": lambda path: path.with_suffix(".training.csv").write_text("step,elbo\n1,3.0\n"),
    "no curve": lambda path: path.with_suffix(".training.csv").unlink(),
    "record": lambda path: records.write_json(path.with_suffix(".run.json"), {"settings": {}}),
    "no JSON": lambda path: path.with_suffix(".run.json").write_text("{"),
    "figure": break_figure,
    "no metrics": lambda path: path.with_name("metrics.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found(written, damage):
    DAMAGE[damage](written)
    faults = verify.verify_results(written.parents[3])
    assert faults and all(str(written.parent) in fault for fault in faults)


# ---- what is shipped


def test_what_is_shipped_holds_together():
    assert verify.verify_results(records.results()) == []


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: "/".join(path.parts[-4:])[:-9])
def test_shipped_records_are_of_the_tables_settings(path):
    record, (model, dataset, profile) = records.read_json(path), path.parts[-4:-1]
    name = record["settings"]["run"]
    assert path.name == f"{name}-seed{record['seed']}.run.json" and record["seconds"] > 0
    today = settings.load(SECTIONS[model, dataset, name], profile)
    today = today.replace(steps=record["settings"]["steps"])  # A run may have been stopped early.
    if path.parts[-4:] != ("single_element", "sprites", "full", "published-seed0.run.json"):
        assert run.list_changes(record, today) == []  # That one is without the second decoding.


def test_shipped_results_are_small():
    files = [path for path in (ROOT / "results").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 145e6
    assert max(path.stat().st_size for path in files) <= 50e6  # GitHub warns of larger files
