"""What all runs cost, and the command that makes them: order, prices, resumption, failures."""

from dataclasses import replace
from functools import partial

import pytest
from unbraid import training

from papers import experiments, prices, provenance, settings
from papers.settings import load as load_settings


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A folder without build/results, and only the data of the clone."""
    monkeypatch.delenv("UNBRAID_MIRROR", raising=False)
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_datasets_are_in_the_order_of_the_table_and_others_come_last(monkeypatch):
    order = settings.read_table()["everything"]["order"]
    assert ["/".join(pair) for pair in prices.order_datasets("smoke")] == order
    full = ["/".join(pair) for pair in prices.order_datasets("full")]
    assert full == [place for place in order if place in full] and len(full) < len(order)
    shorter = {"everything": {"order": order[3:]}}
    monkeypatch.setattr(prices, "read_table", lambda: shorter)
    pairs = ["/".join(pair) for pair in prices.order_datasets("smoke")]
    assert pairs[:-3] == order[3:] and set(pairs[-3:]) == set(order[:3])


def test_a_price_is_the_time_of_an_update_times_what_is_neither_finished_nor_begun(tmp_path):
    chosen = load_settings("independent.bounce.factored", "smoke")
    draw = experiments.make_sampler(chosen)
    first = prices.price_run(chosen, draw, tmp_path)
    assert first.updates == chosen.seeds * chosen.steps and first.seconds > 0
    assert first.origin == "measured now"

    half = chosen.steps // 2
    drawn = []

    def draw_few(count, generator):
        drawn.append(count)
        if len(drawn) > half:
            raise KeyboardInterrupt
        return draw(count, generator)

    with pytest.raises(KeyboardInterrupt):
        experiments.train_run(chosen, 0, replace(draw, draw=draw_few), tmp_path)
    assert prices.price_run(chosen, draw, tmp_path).updates == chosen.steps - half
    experiments.train_run(chosen, 0, draw, tmp_path)
    finished = prices.price_run(chosen, draw, tmp_path)
    assert (finished.updates, finished.origin) == (0, "finished")
    more = prices.price_run(chosen.but(seeds=2), draw, tmp_path)
    record = experiments.load_record(experiments.run_name(chosen, 0), tmp_path)
    assert (more.updates, more.origin) == (chosen.steps, "its record")
    assert more.seconds == record["seconds"] / record["steps"]


def test_the_table_of_prices_has_hours_and_their_sum():
    rows = [prices.Price("a", 100, 36.0, "measured now"), prices.Price("b", 10, 3600.0, "x")]
    assert "all: 11.0 hours here" in prices.tabulate_prices(rows)


@pytest.fixture
def call(call, monkeypatch):
    """`python -m unbraid full` at smoke, with two sets and one judge."""
    pairs = [("single_element", "vowels"), ("unordered", "digits")]
    monkeypatch.setattr(prices, "order_datasets", lambda profile: pairs)
    monkeypatch.setattr(experiments, "JUDGES", {"digits": experiments.JUDGES["digits"]})
    return partial(call, "full", "--profile", "smoke")


def test_full_says_what_it_costs_then_makes_everything_and_goes_on(call, home, tmp_path):
    code, printed = call("--plan")
    assert code == 0 and "single_element/vowels" in printed and "hours here" in printed
    assert not list((tmp_path / "build").rglob("*.safetensors"))
    code, printed = call()
    assert code == 0, printed
    assert provenance.verify_results(tmp_path / "build/results") == []
    for place in ("single_element/vowels", "unordered/digits", "judges/digits"):
        assert (tmp_path / "build/results" / place / "smoke/metrics.json").exists()
    begun = [printed.index(name) for name in ("digits real_", "single_element-seed0 begins")]
    assert begun == sorted(begun)  # judges come first
    code, printed = call()
    assert code == 0 and "finished" in printed and "begins" not in printed


def test_a_failure_does_not_stop_the_other_runs(call, monkeypatch, tmp_path):
    def fail(settings, *_):
        raise training.TrainingError(f"{settings.run} diverged")

    monkeypatch.setattr(experiments, "train_run", fail)
    code, printed = call()
    assert code == 1 and "all was tried" in printed
    assert "train single_element vowels: single_element diverged" in printed
    assert "train unordered digits" in printed
