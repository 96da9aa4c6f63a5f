"""The bench runs to its end, and what it times computes what it is said to compute."""

import math
from itertools import chain

import numpy as np
import pytest
import torch
from helpers import DOUBLE, ELEMENT, FRAMES_ALONE, seeded
from unbraid import store
from unbraid.measures.information import kraskov
from unbraid.models.independent import IndependentPrediction
from unbraid.models.single_element import SingleElement
from unbraid.models.unordered import UnorderedFrames
from unbraid.networks import count_parameters

from tests import bench
from tests import reference_measures as plain
from tests.reference_steps import IndependentStep, SingleElementStep, concatenate_pairs

RANDOM = np.random.default_rng(0)


def draw_frames(channels, size, length):
    return torch.rand(4, length, channels, size, size, generator=seeded(1), **DOUBLE)


def copy_weights(ours, theirs):
    """Into `theirs`, in the order of both; a layer with more outputs keeps its others."""
    with torch.no_grad():
        for before, after in zip(ours, theirs.parameters(), strict=True):
            after[tuple(map(slice, before.shape))] = before


def fix_draws(monkeypatch, *draws):
    """What `torch.randn_like` gives, one call after the other."""
    left = iter(draws)
    monkeypatch.setattr(torch, "randn_like", lambda _: next(left))


# ---- the authors' steps


def test_the_references_have_as_many_parameters_as_the_authors_networks():
    """C: the whole of it. A: by the layers of the paper, and what its code has otherwise."""
    assert count_parameters(SingleElementStep()) == 14_900_163
    encoder, combiner, generator, transitions = 3_020_640, 12_720, 3_087_787, 114_768
    combiner -= 2 * (40 * 40 + 40)  # no layers for mean and log-variance of the prior
    generator += 3 * (64 * 4 * 4 + 1)  # six channels
    transitions += 2 * 16_512  # four hidden layers of 128 to 128
    expected = encoder + combiner + generator + transitions
    assert count_parameters(IndependentStep()) == expected == 6_268_734


@pytest.mark.parametrize("is_training", (False, True))
def test_the_step_of_c_is_our_bound_with_the_authors_weights(monkeypatch, is_training):
    """Loss, gradients and running statistics; in training, batches have their own statistics."""
    torch.manual_seed(0)
    sizes = ELEMENT | {"channels": 3, "image_size": 16, "width": 3, "static_size": 5}
    model = SingleElement(**sizes, anchor_alone=True).double().train(is_training)
    theirs = SingleElementStep((3, 6), features=4, hidden=5, static=5, dynamic=2).double()
    theirs.train(is_training)
    parts = (model.codec.encoder, model.static_head, model.dynamic_encoder, model.prior)
    parts = (*parts, model.codec.decoder)
    weights = [weight for part in parts for weight in part.parameters()]
    copy_weights(iter(weights), theirs)

    frames, noise = draw_frames(3, 16, 5), model.draw_noise(4, 5, seeded())
    bound = model(frames, noise)
    constant = math.log(math.pi) / 2 * 3 * 16 * 16  # of log N(x; mean, 1/2) for each frame
    squared = -bound.log_likelihood - 5 * constant
    first = -bound.terms["anchor"] - constant
    expected = (5 * squared + first + sum(bound.kl.values())).mean()

    fix_draws(monkeypatch, noise["static"], noise["anchor"][:, None], noise["dynamic"])
    loss = theirs(frames)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    expected.backward()
    loss.backward()
    for ours, their in zip(weights, theirs.parameters(), strict=True):
        shape = tuple(map(slice, ours.shape))
        torch.testing.assert_close(their.grad[shape], ours.grad, rtol=1e-9, atol=1e-12)
    statistics = [statistic for part in parts for statistic in part.buffers()]
    for ours, their in zip(statistics, theirs.buffers(), strict=True):
        torch.testing.assert_close(their, ours, rtol=1e-9, atol=1e-12)


def test_the_anchor_decoded_alone_is_another_term_in_training_only():
    torch.manual_seed(0)
    model, alone = SingleElement(**ELEMENT), SingleElement(**ELEMENT, anchor_alone=True)
    alone.load_state_dict(model.state_dict())
    noise = model.draw_noise(4, 5, seeded())
    frames = draw_frames(ELEMENT["channels"], ELEMENT["image_size"], 5).float()
    for is_training in (False, True):
        first, second = (each.train(is_training)(frames, noise) for each in (model, alone))
        torch.testing.assert_close(first.log_likelihood, second.log_likelihood)
        is_same = torch.allclose(first.terms["anchor"], second.terms["anchor"], rtol=1e-5)
        assert is_same != is_training


def test_the_step_of_a_is_our_bound_of_a_single_frame(monkeypatch):
    """Of one frame, because the prior of the next goes through other layers."""
    torch.manual_seed(0)
    sizes = {"image_size": 16, "width": 3, "features": 4, "factor_size": 3, "hidden": 5}
    model = IndependentPrediction(**sizes).double()
    theirs = IndependentStep((3, 6), 4, 2, 3, 5, variance=0.25).double()
    posterior = model.posterior
    for layer in (posterior.from_mean, posterior.from_log_variance):
        torch.nn.init.zeros_(layer.bias)
    kept = (posterior.from_frame, posterior.combine, posterior.head)
    parts = (model.encoder, *kept, theirs.transitions, model.decoder)
    copy_weights(chain(*(part.parameters() for part in parts)), theirs)

    frames, noise = draw_frames(3, 16, 1), model.draw_noise(4, 1, seeded())
    constant = math.log(2 * math.pi * 0.25) / 2 * 3 * 16 * 16
    expected = -model(frames, noise).elbo.mean() - constant
    fix_draws(monkeypatch, model.to_latents(noise)[:, 0])
    assert theirs(frames).item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("length", (2, 3, 10))
def test_stacked_pairs_are_our_sum_and_difference_of_them(length):
    torch.manual_seed(0)
    model = UnorderedFrames(**FRAMES_ALONE)
    frames = torch.rand(3, length, 2, 8, 8, generator=seeded(2))
    noise = model.draw_noise(3, length, seeded())
    stacked = concatenate_pairs(model)
    for one in (model, stacked):
        one(frames, noise).loss().backward()
    difference = (model(frames, noise).elbo - stacked(frames, noise).elbo).abs().max()
    assert difference < 1e-5 * model(frames, noise).elbo.abs().max()
    for ours, theirs in zip(model.parameters(), stacked.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4)


# ---- measures


@pytest.mark.parametrize("units", (1, 5, 20))
def test_npeet_and_our_kraskov_give_the_same_bits(units):
    x = RANDOM.normal(size=(500, units))
    y = x + RANDOM.normal(size=x.shape)
    assert plain.npeet_mi(x, y) == pytest.approx(kraskov(x, y).estimate, abs=1e-6)


def test_npeet_gives_separate_classes_all_bits_of_the_label():
    labels = RANDOM.integers(4, size=2000)
    x = 10 * labels[:, None] + RANDOM.normal(size=(2000, 1))
    assert plain.npeet_micd(x, labels) == pytest.approx(2, abs=0.1)
    assert plain.npeet_micd(x, RANDOM.permutation(labels)) < 0.1


def test_the_loops_know_a_mean_and_a_leak():
    values = RANDOM.normal(size=400)
    error = values.std() / 20
    expected = values.mean() + 1.96 * error * np.array([-1, 1])
    assert plain.bootstrap_by_loop(values) == pytest.approx(expected, abs=0.2 * error)
    factor = RANDOM.integers(2, size=400)
    codes = {"full": factor[:, None] + RANDOM.normal(0, 0.1, (400, 3)), "empty": values[:, None]}
    accuracy = plain.leakage_by_loop(codes, {"factor": factor})
    assert accuracy[0, 0] > 0.98 and accuracy[1, 0] < 0.7


# ---- measuring


def test_a_method_of_half_the_seconds_has_the_ratio_two(monkeypatch):
    monkeypatch.setattr(bench, "measure", lambda call, clock="wall": call())
    methods = [bench.Method("a", lambda: 6.0, items=2), bench.Method("b", lambda: 1.5)]
    first, second = bench.compare(bench.Comparison("work", methods, 3), {})
    assert (first["seconds"], first["ratio"]) == ([3, 3, 3], [1, 1, 1])
    assert (second["seconds"], second["ratio"]) == ([1.5, 1.5, 1.5], [2, 2, 2])


def test_a_method_that_fails_is_named_and_the_others_are_measured():
    def fail():
        raise RuntimeError("no compiler\nand more")

    methods = [bench.Method(name, call) for name, call in (("a", list), ("b", fail), ("c", list))]
    rows = bench.compare(bench.Comparison("work", methods, 2), {})
    assert rows[1]["error"] == "RuntimeError: no compiler" and "seconds" not in rows[1]
    assert rows[0]["ratio"] == [1, 1, 1] and rows[2]["ratio"][1] > 0
    with pytest.raises(RuntimeError, match="no compiler"):
        bench.compare(bench.Comparison("work", methods[1:], 2), {})


def test_the_operations_of_products_convolutions_and_recurrent_networks_are_counted():
    matrix, frames, series = torch.ones(50, 50), torch.ones(2, 3, 16, 16), torch.ones(4, 7, 32)
    convolution = torch.nn.Conv2d(3, 8, 4, 2, 1)
    recurrent = torch.nn.LSTM(32, 64, batch_first=True)
    for call, expected in (
        (lambda: matrix @ matrix, 2 * 50**3),
        (lambda: convolution(frames), 2 * 2 * 8 * 8 * 8 * 3 * 16),
        (lambda: recurrent(series), 2 * 4 * 7 * (32 + 64) * 4 * 64),
    ):
        assert bench.count_gflop(call) == pytest.approx(expected / 1e9)


def test_the_whole_bench_writes_its_record_and_its_page(tmp_path, capsys):
    bench.main(["--size", "tiny", "--folder", str(tmp_path)])
    record = store.read_json(tmp_path / "bench.json")
    assert (tmp_path / "speed.md").read_text("utf-8") == bench.render_page(record)
    works = {row["work"] for row in record["rows"]}
    for name in ("A smoke", "B smoke", "C smoke", "options, A", "series", "Kraskov", "Ross"):
        assert any(name in work for work in works), name
    for row in record["rows"]:
        assert "error" not in row, row
        assert 0 < row["seconds"][0] <= row["seconds"][1] <= row["seconds"][2]
        assert row["method"] in capsys.readouterr().out or row["ratio"][1] > 0
    firsts = {row["work"]: row for row in reversed(record["rows"])}
    assert all(row["ratio"] == [1, 1, 1] for row in firsts.values())
    assert all("gflop" in row for work, row in firsts.items() if "smoke," in work[:9])


@pytest.mark.parametrize(
    "arguments, says",
    (
        (["--help"], "usage:"),
        (["--size", "tiny"], "--folder: expected"),  # or it would replace the clone's numbers
        (["--size", "tiny", "--folder", "x", "--clock", "processor"], "OMP_NUM_THREADS=1"),
    ),
)
def test_help_and_wrong_arguments_measure_nothing(arguments, says, monkeypatch, capsys):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(bench, "run_bench", None)
    with pytest.raises(SystemExit):
        bench.main(arguments)
    printed = capsys.readouterr()
    assert says in printed.out + printed.err


def test_the_page_of_the_clone_is_that_of_its_record(root):
    record = store.read_json(store.shipped() / "bench.json")
    page = (root / "docs" / "speed.md").read_text("utf-8")
    assert page == bench.render_page(record), "run make bench"
