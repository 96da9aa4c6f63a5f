"""Evaluation in general, and paper A's on models whose latents are the true positions."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from unbraid.data import catalogue
from unbraid.data.moving_digits import Digits, MovingDigits
from unbraid.data.sequences import Sequences
from unbraid.models.base import Batch, Bound

from papers import evaluation, experiments
from papers import settings as table
from papers.evaluation import common, generic, independent

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


def sample_named_positions(count, generator):
    """The same with a column that names the digits: red (x, y, name), green (x, y, name)."""
    plain = sample_positions(count, generator)
    names = torch.stack([plain.labels["red_digit"], plain.labels["green_digit"]], -1) / 2
    names = names[:, None, None, :, None].expand(-1, LENGTH, 1, 2, 1)
    return replace(plain, frames=torch.cat([plain.frames, names], -1))


class Knowing(nn.Module):
    """A model that reads the pixels of such frames and mixes them; its bound is set by hand."""

    def __init__(self, mixing, factors, noise=0.01):
        super().__init__()
        self.mixing = nn.Parameter(torch.as_tensor(mixing, dtype=torch.float32))
        self.factors, self.noise = factors, noise

    def encode(self, batch, noise=None):
        latents = Batch.of(batch).frames.flatten(2) @ self.mixing.T
        latents = latents + self.noise * torch.randn(latents.shape, generator=noise)
        parts = latents.chunk(self.factors, -1)
        return {f"factor_{index}": part for index, part in enumerate(parts)}

    def to_latents(self, codes):
        return torch.cat(list(codes.values()), -1)

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


def examine(mixing, factors=2, sampler=sample_positions, size=2, seed=0):
    """What paper A's measures take, of a model that knows the positions."""
    generator = torch.Generator().manual_seed(seed)
    examined = common.Examined(
        model=Knowing(mixing, factors),
        settings=SimpleNamespace(evaluation_pairs=600, evaluation_draws=2, judged_size=size),
        seed=seed,
        generator=generator,
        test=sampler(30, generator),
        sampler=sampler,
        entangled=factors == 1,
    )
    independent.choose_parts(examined)
    return examined


def measure(mixing, factors=2, seed=0):
    examined = examine(mixing, factors, seed=seed)
    figures = {}
    for part in (independent.digit_information, independent.digit_leakage):
        figures |= part(examined)
    return figures | independent.position_scores(examined)


@pytest.fixture(scope="module")
def figures_of_sorted():
    return measure(SORTED)


def test_true_positions_sorted_by_digit_are_disentangled(figures_of_sorted):
    figures = figures_of_sorted
    assert figures["mi_same_bits"] > 3 and -0.2 < figures["cross_to_same"] < FLOOR
    assert figures["own_position_skill"] > 0.97 and figures["other_position_skill"] < 0.05
    assert figures["own_digit_bits"] > 4
    assert abs(figures["other_digit_bits"]) < FLOOR * figures["own_digit_bits"]
    assert figures["block_fraction"] > 0.95
    assert figures["own_position_r2"] > 0.97 and figures["other_position_r2"] < 0.05
    assert figures["separated"] == 1


def test_coordinates_sorted_across_digits_own_no_digit():
    figures = measure(ACROSS)
    assert figures["mi_same_bits"] > 2 and figures["cross_to_same"] < FLOOR
    assert figures["own_digit_bits"] < 1.3 * figures["other_digit_bits"]
    assert figures["own_position_r2"] == pytest.approx(figures["other_position_r2"], abs=0.05)
    assert figures["separated"] == 0


def test_mixed_positions_are_entangled_even_in_the_best_partition():
    figures = measure(MIXED, factors=1)
    assert figures["mi_cross_bits"] > 0.4 * figures["mi_same_bits"] > 0
    assert figures["own_digit_bits"] < 2 * figures["other_digit_bits"]
    assert min(figures["own_position_skill"], figures["other_position_skill"]) > 0.2


def test_the_best_partition_finds_sorted_units_that_were_shuffled():
    figures, in_this_order = measure(SHUFFLED, factors=1), measure(SHUFFLED)
    assert figures["cross_to_same"] < FLOOR
    assert figures["own_position_skill"] > 0.9 and figures["other_position_skill"] < 0.05
    assert in_this_order["cross_to_same"] > 1.5 * figures["cross_to_same"]


def test_figures_repeat_with_the_seed_and_move_with_another(figures_of_sorted):
    assert measure(SORTED) == figures_of_sorted
    assert measure(SORTED, seed=1)["mi_same_bits"] != figures_of_sorted["mi_same_bits"]


@pytest.mark.parametrize("crossed", [False, True])
def test_the_leakage_matrix_says_where_and_who(crossed):
    """Of 300 test sequences a name that is not in the code is guessed right one time in three."""
    mixing = np.eye(6)[[3, 4, 2, 0, 1, 5]] if crossed else np.eye(6)
    figures = independent.digit_leakage(examine(mixing, 2, sample_named_positions, size=3))
    own, other = (0, 1) if crossed else (1, 0)
    assert figures["own_position_skill"] > 0.97 and figures["other_position_skill"] < 0.05
    assert figures["own_identity_skill"] == pytest.approx(own, abs=0.12)
    assert figures["other_identity_skill"] == pytest.approx(other, abs=0.12)
    assert figures["leakage_red_factor_red_position"] > 0.97
    assert figures["leakage_green_factor_red_digit"] == pytest.approx(other, abs=0.12)


def test_the_terms_of_a_known_bound_are_told_apart():
    sequences = sample_positions(250, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    figures = independent.bound_terms(Knowing(SORTED, 2), sequences, generator)
    expected = {
        "log_likelihood_per_frame": -10,
        "kl_first_frame": 5,
        "kl_per_transition": 2,
        "elbo_per_frame": -10 - (5 + 2 * (LENGTH - 1)) / LENGTH,
    }
    assert figures == pytest.approx(expected)


def test_pairs_are_of_one_sequence_with_the_later_position():
    generator = torch.Generator().manual_seed(4)
    pairs = independent.collect_pairs(Knowing(SORTED, 2, 0.0), sample_positions, 23, generator)
    assert pairs.before.shape == pairs.after.shape == (23, 4)
    np.testing.assert_allclose(pairs.after[:, :2], pairs.positions["red_position"], atol=1e-6)
    np.testing.assert_allclose(pairs.after[:, 2:], pairs.positions["green_position"], atol=1e-6)
    moved = np.linalg.norm(pairs.after[:, :2] - pairs.before[:, :2], axis=1)
    assert (moved < 0.1 + 1e-5).all() and (moved > 0.09).mean() > 0.5  # one step, less at a wall
    np.testing.assert_array_equal(pairs.after[: LENGTH - 2], pairs.before[1 : LENGTH - 1])


def test_batch_statistics_are_used_and_leave_no_trace():
    torch.manual_seed(0)
    layer = nn.Sequential(nn.BatchNorm2d(3)).eval()
    frames = 5 + 2 * torch.randn(40, 3, 4, 4)
    before = layer(frames)
    normalised = independent.with_batch_statistics(layer)(frames)
    assert normalised.mean().abs() < 1e-5 and (normalised.std() - 1).abs() < 0.01
    torch.testing.assert_close(layer(frames), before)


def test_batch_statistics_give_a_bound_of_their_own_but_no_divergence_of_first_frames():
    known = table.load("independent.circle.factored", "smoke", normalise=True)
    torch.manual_seed(0)
    model = experiments.build(known, 0).eval()
    loaded = lambda *_: independent.load_test_digits(known, "test", 0)  # noqa: E731
    examined = independent.examine_plainly(model, known, 0, loaded)
    examined.test = loaded()
    figures = independent.transition_bound(examined)
    added = {name for name in figures if name.endswith("_batch_statistics")}
    assert added == {
        "elbo_per_frame_batch_statistics",
        "log_likelihood_per_frame_batch_statistics",
    }
    # Running statistics of a new model are 0 and 1, which its features do not have.
    assert abs(figures["elbo_per_frame_batch_statistics"] - figures["elbo_per_frame"]) > 1


ANGLES = (0.5, -0.9)  # rad per frame


class Turning(nn.Module):
    """A model whose latents are the digits' true places, whose transitions turn them as they do
    turn, and which paints a dot at each place."""

    def __init__(self, angles=ANGLES):
        super().__init__()
        self.middle = nn.Parameter(torch.tensor(15.5))
        cosines, sines = torch.tensor(angles).cos(), torch.tensor(angles).sin()
        self.turn = torch.stack([cosines, sines, -sines, cosines], -1).view(2, 2, 2)

    def encode(self, batch, noise=None):
        places = independent.centroids(Batch.of(batch).frames) - self.middle  # (B, T, 2, 2)
        return {"factor_0": places[:, :, 0], "factor_1": places[:, :, 1]}

    def to_latents(self, codes):
        return torch.cat(list(codes.values()), -1)

    def prior(self, latents):
        places = latents.unflatten(-1, (2, 1, 2)) @ self.turn
        return SimpleNamespace(mean=places.flatten(-3))

    def decode_latents(self, latents):
        x, y = latents.unflatten(-1, (2, 2)).add(self.middle).unbind(-1)  # (B, T, 2) each
        grid = torch.arange(32.0)
        across = (-(grid - x[..., None]).square() / 4).exp()
        down = (-(grid - y[..., None]).square() / 4).exp()
        planes = down[..., :, None] * across[..., None, :]  # (B, T, 2, 32, 32)
        return torch.cat([planes, torch.zeros_like(planes[:, :, :1])], 2)


def circling(length, count=200):
    sampler = MovingDigits(DIGITS, 32, length, "circle", ANGLES)
    return sampler(count, torch.Generator().manual_seed(7))


def test_a_model_that_knows_the_law_foretells_the_motion_and_another_does_not():
    frames = circling(12).frames
    moved, still = independent.forecast_errors(Turning(), frames, 4)
    assert moved.shape == still.shape == (200, 8, 2)
    assert moved.mean() < 1 and still.mean() > 4  # places are whole pixels
    wrong, _ = independent.forecast_errors(Turning((0.9, -0.5)), frames, 4)
    assert wrong[:, 3:].mean() > 4


def test_a_swapped_factor_brings_the_place_of_the_sequence_before_and_leaves_the_other_digit():
    sequences = circling(3)
    truth = independent.centroids(sequences.frames[:, -1])
    decoded, swapped = independent.decode_swapped(Turning(), sequences, torch.tensor([0, 1]))
    assert (independent.centroids(decoded) - truth).abs().max() < 0.6
    places = independent.centroids(swapped)
    assert (places[:, 0] - truth[:, 0].roll(1, 0)).abs().max() < 0.6
    assert (places[:, 1] - truth[:, 1]).abs().max() < 0.6


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
        drawn = torch.rand(len(frames), generator=noise)
        kl = {"static": torch.ones(len(frames)), "dynamic": 2.0 * frames.shape[1] + 0 * drawn}
        return Bound(-5.0 * frames.shape[1] + 0 * drawn, kl, frames.shape[1])


def toy_sequences(count=120):
    """Frames (count, 4, 1, 2, 2) whose first pixel is a class of the sequence."""
    generator = torch.Generator().manual_seed(count)
    who = torch.arange(count) % 3
    level = torch.rand(count, 4, generator=generator)
    frames = level[..., None, None, None].expand(-1, -1, 1, 2, 2).clone()
    frames[:, :, 0, 0, 0] = who[:, None] / 2
    labels = {"who": who, "level": level}
    return Sequences(frames, labels, ("who",), ("level",), provenance="toys")


def test_the_bound_over_many_sequences_is_a_mean_over_all():
    figures = common.bound_per_frame(Toy(), [toy_sequences(), toy_sequences(30)], seed=0)
    assert figures == {
        "elbo_per_frame": -5 - 2 - 1 / 4,
        "log_likelihood_per_frame": -5,
        "kl_static": 1,
        "kl_dynamic_per_frame": 2,
    }


def test_root_mean_square_counts_observed_values_alone():
    first, second = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    second[0] = 7
    assert common.root_mean_square(first, second, second == 1) == 1
    error = common.root_mean_square(first.byte(), (255 * (second == 1)).byte())
    assert error == pytest.approx(math.sqrt(0.5))


def test_a_pair_without_an_evaluation_of_its_own_gets_the_generic_one(monkeypatch, tmp_path):
    """And a measure that is registered is part of it, its docstring of the protocol."""

    def brightness(examined):
        """Mean of the test frames."""
        return {"brightness": float(examined.test.frames.mean())}

    def make_sampler(settings, split):
        return lambda count, generator: toy_sequences(count)

    monkeypatch.setattr(generic, "make_sampler", make_sampler)
    monkeypatch.setitem(evaluation.MEASURES, "brightness", brightness)
    settings = SimpleNamespace(
        model="toy",
        dataset="toys",
        sampler="toys",
        evaluation_training=150,
        evaluation_sequences=90,
    )
    figures = evaluation.evaluation_for(settings).evaluate(Toy(), settings, 0)
    assert figures["elbo_per_frame"] == -7.25 and 0 < figures["reconstruct_rmse"] < 0.5
    assert figures["static_probe_who"] == 1 and figures["dynamic_probe_level"] > 0.5
    assert abs(figures["static_probe_level"]) < 0.3 and 0 < figures["brightness"] < 1
    evaluation.draw(Toy(), settings, tmp_path / "toys.png")
    assert (tmp_path / "toys.png").stat().st_size > 1000
    protocol = evaluation.evaluation_for(settings).protocol(settings)
    assert protocol["data"] == "toys" and protocol["brightness"] == "Mean of the test frames."


def test_the_generic_evaluation_measures_each_sequence_of_a_small_set_once():
    settings = table.load("single_element.vowels", "smoke", evaluation_sequences=1000)
    whole = catalogue.load_dataset("vowels", "test")
    drawn = generic.load_samples(settings, "test", 0)
    assert len(drawn) == len(whole) < 1000
    assert len(drawn.frames.flatten(1).unique(dim=0)) == len(whole.frames.flatten(1).unique(dim=0))
    fewer = table.load("single_element.vowels", "smoke", evaluation_sequences=7)
    assert len(generic.load_samples(fewer, "test", 0)) == 7


def test_a_judge_of_another_size_sees_the_digits_of_the_papers_size():
    options = table.load("independent.circle.factored", "smoke", image_size=64)
    model = experiments.build(options, 0)
    examined = independent.examine_independent(model, options, 0, independent.load_test_digits)
    assert 0 <= independent.digit_swaps(examined)["decoded_name"] < 0.5
