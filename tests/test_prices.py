"""What all runs cost, and the command that makes them: order, prices, resumption, failures."""

from functools import partial

import pytest
from unbraid import store, training

from papers import costs, judging, prices, provenance, runs, settings
from papers.settings import load as load_settings


@pytest.fixture(autouse=True)
def home(data_of_the_clone, monkeypatch, tmp_path):
    """A folder without build/results, and only the data of the clone."""
    monkeypatch.chdir(tmp_path)


def test_datasets_are_in_the_order_of_the_table_and_others_come_last(monkeypatch):
    order = settings.read_order()
    assert ["/".join(pair) for pair in prices.order_datasets("smoke")] == order
    full = ["/".join(pair) for pair in prices.order_datasets("full")]
    assert full == [place for place in order if place in full] and len(full) < len(order)
    monkeypatch.setattr(prices, "read_order", lambda: order[3:])
    pairs = ["/".join(pair) for pair in prices.order_datasets("smoke")]
    assert pairs[:-3] == order[3:] and set(pairs[-3:]) == set(order[:3])


def write_record(folder, chosen, seed, seconds=10.0):
    """A record of a run of 4 updates, as before there were costs in it, and its curve."""
    record = {"settings": chosen.as_dict(), "weights_sha256": "0", "seconds": seconds, "steps": 4}
    name = runs.run_name(chosen, seed)
    store.write_json(folder / f"{name}.run.json", record)
    rows = [{"step": step, "seconds": seconds * step / 4} for step in (2, 4)]
    store.write_csv(folder / f"{name}.training.csv", rows)


def test_a_price_is_what_records_say_of_the_seeds_that_are_left(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "shipped", lambda: tmp_path / "shipped")
    own = tmp_path / "own"
    chosen = load_settings("independent.bounce.factored", "smoke").but(seeds=3, steps=8)
    unknown = prices.price_run(chosen, own)
    assert unknown[1:] == (8, 3, 0, None)

    write_record(tmp_path / "shipped", chosen, 0)
    write_record(settings.OWN_RESULTS, chosen, 1, seconds=50.0)
    assert prices.price_run(chosen, own)[1:] == (8, 3, 8, 60.0)  # of seeds elsewhere

    write_record(own, chosen, 2, seconds=90.0)
    assert prices.price_run(chosen, own)[1:] == (8, 2, 12, 100.0)
    write_record(own, chosen.but(batch_size=1), 2, seconds=90.0)
    assert prices.price_run(chosen, own).seeds_left == 3  # it is not the run of these settings


def test_a_price_is_not_that_of_a_seed_that_was_trained_on_a_busy_machine(tmp_path):
    """Of three seeds one took fourteen times as long, and of one curve a row has a pause."""
    chosen = load_settings("independent.bounce.factored", "smoke").but(seeds=3, steps=8)
    for seed, seconds in enumerate((10.0, 140.0, 11.0)):
        write_record(tmp_path, chosen, seed, seconds=seconds)
    assert prices.price_run(chosen, tmp_path).seconds == pytest.approx(22.0)
    rows = [{"step": 10, "seconds": 1.0}, {"step": 20, "seconds": 500.0}]
    rows += [{"step": 30, "seconds": 501.0}, {"step": 35, "seconds": 501.5}]
    assert costs.median_update(rows) == pytest.approx(0.1)


def test_a_record_that_is_found_twice_counts_once(tmp_path):
    chosen = load_settings("independent.bounce.factored", "smoke")
    write_record(settings.OWN_RESULTS, chosen, 0)
    assert prices.price_run(chosen, settings.OWN_RESULTS).recorded == 4


def test_the_table_has_seconds_their_sum_and_what_is_not_known():
    rows = [prices.Price("a", 100, 2, 100, 36.0), prices.Price("b", 10, 1, 0, None)]
    lines = prices.tabulate_prices(rows).splitlines()
    assert lines[1].split() == ["a", "100", "2", "100", "36"]
    assert lines[2].split() == ["b", "10", "1", "0", "no", "record"]
    assert lines[3] == "all: 72 seconds, and 1 runs without a record"


@pytest.fixture
def call(call, monkeypatch):
    """`python -m papers full` at smoke, with two sets and one judge."""
    pairs = [("single_element", "vowels"), ("independent", "bounce_two_speeds")]
    monkeypatch.setattr(prices, "order_datasets", lambda profile: pairs)
    monkeypatch.setattr(judging, "JUDGES", {"digits": judging.JUDGES["digits"]})
    return partial(call, "full", "--profile", "smoke")


def test_full_says_what_it_costs_then_makes_everything_and_goes_on(call, home, tmp_path):
    code, printed = call("--plan")
    assert code == 0 and "single_element/vowels" in printed and "no record" in printed
    assert not list((tmp_path / "build").rglob("*.safetensors"))
    code, printed = call()
    assert code == 0, printed
    assert provenance.verify_results(tmp_path / "build/results") == []
    for place in ("single_element/vowels", "independent/bounce_two_speeds", "judges/digits"):
        assert (tmp_path / "build/results" / place / "smoke/metrics.json").exists()
    begun = [printed.index(name) for name in ("digits real_", "single_element-seed0 begins")]
    assert begun == sorted(begun)  # judges come first
    code, printed = call()
    assert code == 0 and "finished before" in printed and "begins" not in printed
    assert "all: 0 seconds" in printed  # nothing is left


def test_a_failure_does_not_stop_the_other_runs(call, monkeypatch, tmp_path):
    def fail(settings, *_):
        raise training.TrainingError(f"{settings.run} diverged")

    monkeypatch.setattr(runs, "train_run", fail)
    code, printed = call()
    assert code == 1 and "all was tried" in printed
    assert "train single_element vowels: single_element diverged" in printed
    assert "train independent bounce_two_speeds" in printed
