"""Evaluation in general, and paper A's on models whose latents are the true positions."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import seeded
from torch import nn
from unbraid import codes
from unbraid.data import weather
from unbraid.data.moving_digits import Digits, MovingDigits
from unbraid.data.sequences import Sequences
from unbraid.distributions import DiagonalGaussian
from unbraid.models.base import Batch, Bound

from papers import evaluation, settings
from papers.a import evaluate as independent
from papers.a.pairs import collect_pairs, coordinate_scores
from papers.run import build

DIGITS = Digits(torch.ones(3, 28, 28, dtype=torch.uint8), torch.arange(3), "test", "three squares")
LENGTH = 6
FLOOR = 0.25  # Pairs of one sequence resemble each other, which reads as cross-information.


def sample_positions(count, generator):
    """Sequences of 2 x 2 pixels that hold the positions: red (x, y), green (x, y)."""
    which, positions = MovingDigits(DIGITS, 32, LENGTH).draw(count, generator)
    static = {"red_digit": which[:, 0], "green_digit": which[:, 1]}
    dynamic = {"red_position": positions[:, :, 0], "green_position": positions[:, :, 1]}
    labels = static | dynamic
    return Sequences(positions[:, :, None], labels, tuple(static), tuple(dynamic), "test")


class Knowing(nn.Module):
    """A model that reads the pixels of such frames and mixes them; its bound is set by hand."""

    def __init__(self, mixing, noise=0.01):
        super().__init__()
        self.mixing = nn.Parameter(torch.as_tensor(mixing, dtype=torch.float32))
        self.noise = noise

    def draw_noise(self, count, length, generator):
        return torch.randn(count, length, 4, generator=generator)

    def infer(self, frames, noise):
        means = frames.flatten(2) @ self.mixing.T
        q = DiagonalGaussian(means, torch.full_like(means, 2 * math.log(self.noise or 1)))
        return q, q, means + self.noise * noise

    def elbo(self, batch, noise=None):
        count, length = Batch.of(batch).frames.shape[:2]
        ones = torch.ones(count)
        later = (length - 1) * ones
        kl = {"factor_0": 3 + 1.5 * later, "factor_1": 2 + 0.5 * later}
        return Bound(-10.0 * length * ones, kl, length)


SORTED = np.eye(4)  # factor 0: red x, red y; factor 1: green x, green y
ACROSS = SORTED[[0, 2, 1, 3]]  # factor 0: both x; factor 1: both y
MIXED = 0.75 * np.ones((4, 4)) + 0.25 * np.eye(4)  # every unit knows every position
SHUFFLED = np.kron(np.eye(2), [[1, 0.7], [0.7, 1]])[[2, 0, 3, 1]]  # two units a digit, mixed up


def find_parts(mixing, factors, sampler=sample_positions, size=2, seed=0):
    """A model that knows the positions, its settings, pairs, parts, and R2 of positions."""
    model = Knowing(mixing)
    names = {"profile": "quick", "judged_size": size}
    options = SimpleNamespace(**names, options={"factors": factors})
    draws = independent.draw_pairs(model, sampler, options, seeded(seed))
    parts = independent.order_units(draws[0][0], options, seed).reshape(-1, size)
    return model, options, draws, parts, coordinate_scores(draws[0][1], parts).mean(-1)


def measure(mixing, factors=2, seed=0):
    _, options, draws, _, scores = find_parts(mixing, factors, seed=seed)
    figures = independent.digit_information(draws, options, seed)
    return figures | independent.position_scores(scores)


def test_true_positions_sorted_by_digit_are_disentangled():
    figures = measure(SORTED)
    assert figures["mi_same_bits"] > 3 and -0.2 < figures["cross_to_same"] < FLOOR
    assert figures["own_position_r2"] > 0.97 and figures["other_position_r2"] < 0.05
    assert figures["separated"] == 1
    assert measure(SORTED) == figures
    assert measure(SORTED, seed=1)["mi_same_bits"] != figures["mi_same_bits"]


def test_coordinates_sorted_across_digits_own_no_digit():
    figures = measure(ACROSS)
    assert figures["mi_same_bits"] > 2 and figures["cross_to_same"] < FLOOR
    assert figures["own_position_r2"] == pytest.approx(figures["other_position_r2"], abs=0.05)
    assert figures["separated"] == 0


def test_only_scores_by_coordinate_tell_coordinates_from_a_mixture():
    """A mixture by 45 degrees has half of each coordinate, factors of x and y two whole ones."""
    turned = np.kron([[1, 1], [1, -1]], np.eye(2)) / 2**0.5
    by_coordinate = {}
    for name, mixing in {"across": ACROSS, "turned": turned}.items():
        *_, draws, parts, means = find_parts(mixing, 2)
        assert means == pytest.approx(np.full((2, 2), 0.5), abs=0.15)
        scores = coordinate_scores(draws[0][1], parts)
        assert scores.mean(-1) == pytest.approx(means)
        digits = tuple(draws[0][1].positions)
        by_coordinate[name] = independent.name_coordinates(scores, digits)
    across, (red, green) = by_coordinate["across"], digits
    assert min(across[f"r2_0_{red}_x"], across[f"r2_1_{green}_y"]) > 0.9
    assert max(across[f"r2_1_{green}_x"], across[f"r2_0_{red}_y"]) < 0.1
    assert min(by_coordinate["turned"].values()) > 0.3 and len(across) == 8
    assert max(by_coordinate["turned"].values()) < 0.7


def test_the_best_partition_finds_units_that_were_shuffled_and_none_of_mixed_ones():
    shuffled, in_this_order = measure(SHUFFLED, factors=1), measure(SHUFFLED)
    assert shuffled["cross_to_same"] < FLOOR and shuffled["own_position_r2"] > 0.9
    assert in_this_order["cross_to_same"] > 1.5 * shuffled["cross_to_same"]
    mixed = measure(MIXED, factors=1)
    assert mixed["mi_cross_bits"] > 0.4 * mixed["mi_same_bits"] > 0
    assert mixed["own_position_r2"] - mixed["other_position_r2"] < 0.3


def test_the_terms_of_a_known_bound_are_told_apart():
    figures = independent.transition_bound(
        Knowing(SORTED), sample_positions(250, seeded()), seeded()
    )
    expected = {
        "log_likelihood_per_frame": -10,
        "elbo_per_frame": -10 - (5 + 2 * (LENGTH - 1)) / LENGTH,
    }
    assert figures == pytest.approx(expected)


def test_pairs_are_of_one_sequence_with_the_later_position():
    pairs = collect_pairs(Knowing(SORTED, 0.0), sample_positions, 23, seeded(4))
    assert pairs.before.shape == pairs.after.shape == (23, 4)
    np.testing.assert_allclose(pairs.after[:, :2], pairs.positions["red_position"], atol=1e-6)
    np.testing.assert_allclose(pairs.after[:, 2:], pairs.positions["green_position"], atol=1e-6)
    moved = np.linalg.norm(pairs.after[:, :2] - pairs.before[:, :2], axis=1)
    assert (moved < 0.1 + 1e-5).all() and (moved > 0.09).mean() > 0.5  # one step, less at a wall
    np.testing.assert_array_equal(pairs.after[: LENGTH - 2], pairs.before[1 : LENGTH - 1])

    pairs = collect_pairs(Knowing(SORTED, 0.0), sample_positions, 23, seeded(4), apart=True)
    places = sample_positions(23, seeded(4)).labels["red_position"].numpy()  # (23, T, 2)
    steps = np.abs(places[:, 1:] - pairs.after[:, None, :2]).sum(-1).argmin(1)
    rows = np.arange(23)  # of a sequence each, at a random step
    np.testing.assert_allclose(pairs.before[:, :2], places[rows, steps], atol=1e-6)
    np.testing.assert_allclose(pairs.after[:, :2], places[rows, steps + 1], atol=1e-6)
    assert len(set(steps.tolist())) > 1


# ---- what all evaluations share


class Toy(nn.Module):
    """static: the first pixel of the first frame; dynamic: the mean of each frame."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def encode(self, batch, noise=None):
        frames = Batch.of(batch).frames
        return {"static": frames[:, 0, 0, 0, :1], "dynamic": frames.flatten(2).mean(2, True)}

    def decode(self, codes):
        return codes["dynamic"][..., None, None].expand(-1, -1, 1, 2, 2)

    def generate(self, count, length, noise, given):
        codes = {"static": torch.rand(count, 1), "dynamic": torch.rand(count, length, 1)}
        return codes | given

    def elbo(self, batch, noise):
        frames = Batch.of(batch).frames
        ones, length = torch.ones(len(frames)), frames.shape[1]
        return Bound(-5.0 * length * ones, {"static": ones, "dynamic": 2.0 * length * ones}, length)


def toy_sequences(count=120, generator=None):
    """Frames (count, 4, 1, 2, 2) whose first pixel is a class of the sequence."""
    who, level = torch.arange(count) % 3, torch.rand(count, 4, generator=seeded(count))
    frames = level[..., None, None, None].expand(-1, -1, 1, 2, 2).clone()
    frames[:, :, 0, 0, 0] = who[:, None] / 2
    labels = {"who": who, "level": level}
    return Sequences(frames, labels, ("who",), ("level",), provenance="toys")


def test_the_bound_over_many_sequences_is_a_mean_over_all():
    figures = codes.bound_per_frame(Toy(), [toy_sequences(), toy_sequences(30)], seed=0)
    assert figures == {
        "elbo_per_frame": -5 - 2 - 1 / 4,
        "log_likelihood_per_frame": -5,
        "kl_static": 1,
        "kl_dynamic_per_frame": 2,
    }


def test_a_pair_without_an_evaluation_of_its_own_gets_the_generic_one(monkeypatch):
    monkeypatch.setattr(evaluation, "make_sampler", lambda settings, split: toy_sequences)
    names = {"model": "toy", "dataset": "toys", "sampler": "toys"}
    toys = SimpleNamespace(**names, profile="smoke")
    figures = evaluation.evaluate(Toy(), toys, 0)
    assert figures["elbo_per_frame"] == -7.25 and 0 < figures["reconstruct_rmse"] < 0.5
    assert figures["static_probe_who"] == 1 and figures["dynamic_probe_level"] > 0.5
    assert abs(figures["static_probe_level"]) < 0.3
    protocol = evaluation.describe_protocol(toys)
    assert protocol == {"data": "toys", "split": "test", "sequences": 40}


def test_the_generic_evaluation_measures_each_sequence_of_a_small_set_once():
    series = {"dataset": "weather", "sampler": "sequences"}
    options = settings.load("unordered.digits", "quick", **series)
    whole, drawn = weather.load("test"), evaluation.load_samples(options, "test", 0)
    assert len(drawn) == len(whole) < 500
    assert len(drawn.frames.flatten(1).unique(dim=0)) == len(whole.frames.flatten(1).unique(dim=0))
    fewer = settings.load("unordered.digits", "smoke", **series)
    assert len(evaluation.load_samples(fewer, "test", 0)) == 40


@pytest.mark.parametrize(
    "section",
    (
        "unordered.digits",
        "unordered.grey_digits",
        "single_element.weather",
    ),
)
def test_a_small_model_has_every_figure_twice_alike(section):
    options = settings.load(section, "smoke")
    model = build(options, 0)
    figures = evaluation.evaluate(model, options, 0)
    assert figures and all(map(math.isfinite, figures.values()))
    assert figures == evaluation.evaluate(model, options, 0)
    assert not section.startswith("unordered") or len(figures) == 7
    assert evaluation.describe_protocol(options)["data"]
