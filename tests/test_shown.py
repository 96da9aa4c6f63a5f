"""What a notebook writes out gives the numbers of the library's or of papers' own function."""

import math

import numpy as np
import pytest
import torch
from helpers import seeded, small
from unbraid import records
from unbraid.data.moving_digits import Digits, MovingDigits
from unbraid.data.sequences import Sequences
from unbraid.training import fit

from papers.a.pairs import best_partition
from papers.a.variants import CanvasPredictionConfig, GatedPrediction
from papers.b import evaluate as unordered
from papers.b import poses
from papers.c import evaluate as clips
from papers.c.published_series import PublishedSeries
from papers.c.published_speech import PublishedSpeech
from papers.encoded import donor_shares, generation_scores

pytestmark = pytest.mark.usefixtures("without_gradients")


# ---- 11, 12 and 13, paper A


@pytest.fixture(scope="module")
def sampler():
    """Moving digits of which each is a patch of noise."""
    images = torch.randint(256, (20, 28, 28), generator=seeded(0), dtype=torch.uint8)
    digits = Digits(images, torch.arange(20) % 10, "test", "noise")
    return MovingDigits(digits, image_size=32, length=4, motion="circle", speeds=(0.5, -0.9))


GATED = {"image_size": 32, "width": 4, "features": 8, "hidden": 8, "hidden_layers": 2}
GATED |= {"factor_size": 6, "decoder_hidden": 24, "activation": "silu", "normalise": False}
GATED |= {"output": "linear", "output_bias": 0.0, "variance": 0.05, "initial_log_variance": -4.0}
OF_11 = ("bounded", "FilteringPosterior", "Sizes", "Networks", "IndependentPrediction")


def build_gated():
    """The class of the long run, small and not trained."""
    torch.manual_seed(0)
    opening = ((0.0, (16, 16)), (0.0125, (5, 5)), (0.07, (16, 16)))  # of the long run
    return GatedPrediction(**GATED, opening=opening, decoder_apart=(0.07, 0.7))


def test_the_long_run_opens_in_the_class_of_11_and_has_its_bound(define, sampler):
    library = GatedPrediction.load(records.weights("independent/circle/quick/long-seed0"))
    model = define("11", *OF_11).IndependentPrediction()
    model.load_state_dict(library.state_dict())
    assert model.variance == library.variance
    frames, noise = sampler(5, seeded(1)).frames, library.draw_noise(5, 4, seeded(2))
    assert model.elbo(frames, noise).elbo == pytest.approx(library.elbo(frames, noise).elbo)


def test_the_loop_of_12(define, sampler):
    shown = define("12", "train", draw=sampler, seed=4, device="cpu").train
    how = {"learning_rate": 2e-3, "weights": {"kl": 0.3}, "seed": 4, "accelerator": "cpu"}
    with torch.enable_grad():
        found = shown(build_gated().train(), 8, batch_size=3, beta=0.3)
        rows = fit(build_gated(), sampler, steps=8, batch_size=3, every=1, **how)
    assert found == pytest.approx([row["elbo_per_frame"] for row in rows], rel=1e-4)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_gate_of_12(define, sampler, share):
    """With the same weights and noise it gives the bound and the codes of `GatedPrediction`."""
    shown = define("12", "CLOSES", "OPEN", "GatedModel")
    opening = ((0.0, (6, 6)), (shown.CLOSES, (shown.OPEN, shown.OPEN)))
    torch.manual_seed(0)
    library = GatedPrediction(**GATED, opening=opening)
    config = CanvasPredictionConfig(**GATED)
    model = shown.GatedModel(config)
    model.load_state_dict(library.state_dict())
    for each in (model, library):
        each.advance(share)
    frames, noise = sampler(5, seeded(1)).frames, library.draw_noise(5, 4, seeded(2))
    ours, theirs = model.elbo(frames, noise), library.elbo(frames, noise)
    torch.testing.assert_close((ours.elbo, ours.kl), (theirs.elbo, theirs.kl))
    torch.testing.assert_close(model.encode(frames), library.encode(frames))
    used = (model.encode(frames)["factor_1"] != 0).any((0, 1))
    assert int(used.sum()) == (6 if share < shown.CLOSES else shown.OPEN)


@pytest.mark.parametrize("number", ["12", "13"])
def test_the_units_that_are_counted(define, sampler, number):
    shown = define(number, "measure_units", seed=5).measure_units
    library, frames = build_gated(), sampler(6, seeded(1)).frames
    bound = library.elbo(frames, library.draw_noise(6, 4, seeded(5)))
    expected = torch.stack(list(bound.kl.values()), 1).mean(0) / 4
    assert shown(library, frames).sum(1) == pytest.approx(expected, rel=1e-4)


def test_the_best_partition_of_13(define):
    """It compares `same_and_cross` of each partition, which 13 writes out as well."""
    shown = define("13", "same_and_cross", "best_partition", seed=5)
    random = np.random.default_rng(0)
    now = random.normal(size=(120, 6))
    later = 0.9 * now + 0.3 * now[:, ::-1] + 0.2 * random.normal(size=now.shape)
    units, tried = shown.best_partition(now, later, 3, tries=6)
    expected, expected_tried = best_partition(now, later, 3, tries=6, seed=5)
    assert units.tolist() == expected.tolist()
    assert tried == pytest.approx(expected_tried)


# ---- 24 to 27, paper B


def test_24_repaints_and_counts_as_papers_do(define):
    shown = define("24", "TIE", "count_nearer", "repaint")
    frames_a, frames_b = (torch.rand(30, 3, 4, 4, generator=seeded(n)) for n in (1, 2))
    made = shown.repaint(frames_a, frames_b)
    assert torch.equal(made, poses.repaint(frames_a, frames_b))
    truth, among = torch.arange(30), torch.cat([frames_b, frames_a, frames_b])  # with twins
    ranks = shown.count_nearer(made, truth, among)
    assert torch.equal(ranks, poses.count_nearer(made, truth, among)) and ranks.max() > 0


def test_25_averages_the_prior_as_papers_do(define):
    model = small("unordered", initial_log_variance=0.0)
    for layer in model.prior_dense[::2]:
        layer.weight *= 6  # so that p(z | f) differs from f to f
    static = torch.randn(40, 4, generator=seeded(9), dtype=torch.float64)
    shown = define("25", "prior_from_average", seed=0)
    found = shown.prior_from_average(model.prior(static))
    expected = unordered.prior_from_average(model, static, 0)["prior_from_average"]
    assert 0.1 < expected < math.log(40) and abs(found - expected) < 0.1 * expected  # other draws


# ---- 33 to 36, paper C


def test_33_finds_the_true_clip_and_the_donor_as_papers_do(define):
    real = torch.rand(50, 3, 3, 4, 4, generator=seeded(10))
    made = (real[:40] + 0.6 * torch.rand(40, 3, 3, 4, 4, generator=seeded(11))).clamp(0, 1)
    shown = define("33", "share_nearest", "donor_shares", "compute_scores", real=real)
    truth = torch.arange(40).roll(3)
    truth[:20] = torch.arange(20)
    among = Sequences(real, {}, (), (), "test", "made clips")
    share = shown.share_nearest(made, truth)
    assert share == clips.share_nearest(made, among, truth) and 0 < share < 1

    judged, right, other = (torch.randint(3, (90,), generator=seeded(n)).numpy() for n in (1, 2, 3))
    assert shown.donor_shares(judged, right, other) == donor_shares(judged, right, other)[1:]

    chances = torch.rand(90, 3, generator=seeded(12)).softmax(1).numpy()
    expected = generation_scores(chances, right)
    names = ("conditional_entropy", "marginal_entropy", "inception_score")
    expected = [expected[name] for name in names]
    np.testing.assert_allclose(shown.compute_scores(chances, right), expected, rtol=1e-9)


def with_weights(define, number, model):
    """The networks that a notebook writes out, with a model's weights, in the same order."""
    networks = define(number, "Gaussian", "PublishedNetworks").PublishedNetworks()
    weights = dict(zip(networks.state_dict(), model.state_dict().values(), strict=True))
    networks.load_state_dict(weights)
    return networks


def assert_alike(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_the_speech_networks_of_35(define):
    torch.manual_seed(0)
    model = PublishedSpeech(channels=101, features=101).eval()
    networks = with_weights(define, "35", model)
    x, noise = torch.rand(3, 20, 101), model.draw_noise(3, 20, seeded(0))
    codes = model.encode(x, noise)
    s, d = networks.encode(x, noise["anchor"][:, None])
    assert_alike(s.draw(noise["static"]), codes["static"])
    assert_alike(d.draw(noise["dynamic"]), codes["dynamic"])
    assert_alike(networks.decode(codes["static"], codes["dynamic"]), model.decode(codes))
    ours, prior = networks.prior(codes["dynamic"]), model.prior(codes["dynamic"])
    assert_alike((ours.mean, ours.log_variance), (prior.mean, prior.log_variance))


def test_the_series_networks_of_36(define):
    torch.manual_seed(0)
    model = PublishedSeries(anchor="first").eval()
    networks = with_weights(define, "36", model)
    x, noise = torch.randn(3, 5 * 24, 10), model.draw_noise(3, 5, seeded(0))
    windows = x.unflatten(1, (5, 24))
    observed = torch.rand(windows.shape, generator=seeded(1)) > 0.4
    posterior = model.posterior(windows, observed, noise)
    found = networks.encode(windows, observed, noise["anchor"])
    for ours, theirs in zip(found, (posterior.static, posterior.dynamic), strict=True):
        assert_alike((ours.mean, ours.log_variance), (theirs.mean, theirs.log_variance))
    codes = posterior.codes["static"], posterior.codes["dynamic"], noise["decoder"]
    ours, theirs = networks.decode(*codes), model.codec.decode(*codes)
    assert_alike((ours.mean, ours.stddev), (theirs.mean, theirs.stddev))
    assert_alike(networks.prior(codes[1]).mean, model.prior(codes[1]).mean)
