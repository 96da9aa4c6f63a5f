"""What all runs cost, and the command that makes them: order, prices, resumption, failures."""

from functools import partial

import pytest
import torch
from unbraid import experiments, prices, results, settings, training
from unbraid.data import load
from unbraid.settings import load as load_settings


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A folder without build/results, and only the data of the clone."""
    monkeypatch.delenv("UNBRAID_MIRROR", raising=False)
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prices, "TIMES", {})


def test_datasets_are_in_the_order_of_the_table_and_others_come_last(monkeypatch):
    order = settings.read_table()["everything"]["order"]
    assert ["/".join(pair) for pair in prices.order_datasets("smoke")] == order
    full = ["/".join(pair) for pair in prices.order_datasets("full")]
    assert full == [place for place in order if place in full] and len(full) < len(order)
    shorter = {"everything": {"order": order[3:]}}
    monkeypatch.setattr(prices, "read_table", lambda: shorter)
    pairs = ["/".join(pair) for pair in prices.order_datasets("smoke")]
    assert pairs[:-3] == order[3:] and set(pairs[-3:]) == set(order[:3])


@pytest.mark.parametrize("name", ("vowels", "weather"))
def test_lengths_are_those_of_the_data(name, monkeypatch):
    chosen = load_settings(f"single_element.{name}", "smoke")
    assert prices.count_steps(chosen) == load(name, "test").length
    monkeypatch.setattr(prices, "read_table", lambda: {"everything": {"lengths": {}}})
    assert prices.count_steps(chosen) == load(name, "test").length


def test_a_line_through_two_batches_leads_to_the_whole_one(monkeypatch):
    """A clock that a loss moves by 1 + 2 n seconds for n sequences: 1 + 2 x 100 for a hundred."""
    now = [0.0]
    monkeypatch.setattr(prices.time, "process_time", lambda: now[0])
    network = torch.nn.Linear(1, 1)

    def loss(frames):
        now[0] += 1 + 2 * len(frames)
        return network(frames[:, 0]).sum()

    seconds = prices.time_update(network, loss, 100, (1, 1))
    assert seconds == pytest.approx(prices.TWO_CORES * 201)


def test_what_is_finished_or_begun_is_not_priced_again(tmp_path):
    chosen = load_settings("independent.bounce.factored", "smoke")
    first = prices.price_run(chosen, tmp_path)
    assert first.updates == chosen.seeds * chosen.steps and first.core_seconds > 0
    assert first.gpu_seconds > prices.GPU_OVERHEAD or prices.has_gpu()

    path = tmp_path / experiments.run_name(chosen, 0)
    model = experiments.build(chosen, 0)
    half = chosen.steps // 2
    draw = experiments.make_sampler(chosen)

    def draw_few(count, generator, drawn=[]):  # noqa: B006 - it counts its calls
        drawn.append(count)
        if len(drawn) > half:
            raise KeyboardInterrupt
        return draw(count, generator)

    with pytest.raises(KeyboardInterrupt):
        training.fit(model, draw_few, chosen, 0, path.with_suffix(".checkpoint"))
    assert prices.price_run(chosen, tmp_path).updates == chosen.steps - half
    experiments.train_run(chosen, 0, draw, tmp_path)
    finished = prices.price_run(chosen, tmp_path)
    assert (finished.updates, finished.origin) == (0, "finished")
    more = prices.price_run(chosen.but(seeds=2), tmp_path)
    record = experiments.load_record(experiments.run_name(chosen, 0), tmp_path)
    assert (more.updates, more.origin) == (chosen.steps, "its record")
    assert more.core_seconds == record["seconds"] / record["steps"]
    table = prices.tabulate_prices([finished, more])
    assert "finished" in table and "its record" in table and "h, two cores" in table


@pytest.fixture
def call(call, monkeypatch):
    """`python -m unbraid full` at smoke, with two sets and one judge."""
    pairs = [("single_element", "vowels"), ("unordered", "digits")]
    monkeypatch.setattr(prices, "order_datasets", lambda profile: pairs)
    monkeypatch.setattr(experiments, "JUDGES", {"digits": experiments.JUDGES["digits"]})
    return partial(call, "full", "--profile", "smoke")


def test_full_says_what_it_costs_then_makes_everything_and_goes_on(call, home, tmp_path):
    code, printed = call("--plan")
    assert code == 0 and "judge of digits" in printed and "single_element/vowels" in printed
    assert not list((tmp_path / "build").rglob("*.safetensors"))
    code, printed = call()
    assert code == 0, printed
    assert results.verify_results(tmp_path / "build/results") == []
    for place in ("single_element/vowels", "unordered/digits", "judges/digits"):
        assert (tmp_path / "build/results" / place / "smoke/metrics.json").exists()
    begun = [printed.index(name) for name in ("digits real_", "single_element-seed0 begins")]
    assert begun == sorted(begun)  # judges come first
    code, printed = call()
    assert code == 0 and "judge of digits" in printed and "begins" not in printed


def test_a_failure_does_not_stop_the_other_runs(call, monkeypatch, tmp_path):
    def fail(settings, *_):
        raise training.TrainingError(f"{settings.run} diverged")

    monkeypatch.setattr(experiments, "train_run", fail)
    code, printed = call()
    assert code == 1 and "all was tried" in printed
    assert "train single_element vowels: single_element diverged" in printed
    assert "train unordered digits" in printed
