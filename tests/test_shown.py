"""What a notebook shows gives the numbers of the library's or of papers' own copy."""

import numpy as np
import pytest
import torch
from helpers import seeded
from unbraid.data.moving_digits import Digits, MovingDigits
from unbraid.measures import information
from unbraid.models.independent import IndependentPrediction
from unbraid.training import fit

from papers.a import evaluate as independent
from papers.a.variants import GatedPrediction

pytestmark = pytest.mark.usefixtures("without_gradients")


# ---- 11, 12 and 13, paper A


@pytest.fixture(scope="module")
def model():
    """Paper A's model, small and not trained."""
    torch.manual_seed(0)
    sizes = {"image_size": 32, "width": 4, "features": 8, "hidden": 8, "factor_size": 3}
    return IndependentPrediction(**sizes, normalise=False, output="linear").eval()


@pytest.fixture(scope="module")
def sampler():
    """Moving digits of which each is a patch of noise."""
    images = torch.randint(256, (20, 28, 28), generator=seeded(0), dtype=torch.uint8)
    digits = Digits(images, torch.arange(20) % 10, "test", "noise")
    return MovingDigits(digits, image_size=32, length=4, motion="circle", speeds=(0.5, -0.9))


def dependent_factors(factors, units=3, samples=120):
    """Lists of factors now and a frame later, (N, d) each, all of which depend on each other."""
    random = np.random.default_rng(0)
    now = random.normal(size=(factors, samples, units))
    later = 0.9 * now + 0.3 * now.mean(0) + 0.2 * random.normal(size=now.shape)
    return list(now), list(later)


MODELS = ("make_encoder", "make_transition", "make_decoder", "Posterior", "LOW", "HIGH")  # of 11
MODELS += ("log_likelihood", "kl_by_unit", "Networks", "PlainModel", "FactorModel")
OPENING = ((0.0, (16, 16)), (0.0125, (5, 5)), (0.07, (16, 16)))  # of the long run, and of 11
GATED = {"image_size": 32, "width": 4, "features": 8, "hidden": 8, "hidden_layers": 2}
GATED |= {"factor_size": 6, "decoder_hidden": 24, "activation": "silu", "normalise": False}
GATED |= {"output": "linear", "output_bias": 0.0, "variance": 0.05, "initial_log_variance": -4.0}


def build_gated():
    """The library's class of the long run, small and not trained."""
    torch.manual_seed(0)
    return GatedPrediction(**GATED, opening=OPENING, decoder_apart=(0.07, 0.7))


@pytest.fixture
def built(define):
    """What 11 builds, with the library's weights."""
    shown = define("11", *MODELS)
    model = shown.FactorModel(d=6, width=4, features=8, wide=24, hidden=8)
    model.load_state_dict(build_gated().state_dict())
    return model


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9])
def test_the_class_of_11_is_the_librarys(built, sampler, share):
    library, frames = build_gated(), sampler(5, seeded(1)).frames
    for model in (built, library):
        model.advance(share)
    assert torch.equal(built.in_use, library.in_use)
    mine, its = built.decoder.state_dict(), library.decoder.state_dict()
    assert all(torch.equal(mine[name], its[name]) for name in its)

    noise = library.draw_noise(5, 4, seeded(2))
    likelihoods, kl = built.terms(frames, library.to_latents(noise))
    bound = library.elbo(frames, noise)
    assert likelihoods.sum(1) == pytest.approx(bound.log_likelihood, rel=1e-5)
    assert kl.sum((1, 3)) == pytest.approx(torch.stack(list(bound.kl.values()), 1), rel=1e-4)


def test_the_long_run_opens_in_the_class_of_11(define, root):
    shown = define("11", *MODELS)
    name = root / "results" / "independent" / "circle" / "quick" / "long-seed0.safetensors"
    library = GatedPrediction.load(name)
    model = shown.FactorModel()
    model.load_state_dict(library.state_dict())
    assert model.opening == library.config.opening
    assert model.apart == library.config.decoder_apart
    assert model.v == library.variance


def test_the_prior_of_the_wrong_frame_in_11(define, built, sampler):
    """It differs from the right one in the KL term alone, and not at the first frame."""
    wrong = define("11", "log_likelihood", "kl_by_unit", "terms_unshifted").terms_unshifted
    frames, noise = sampler(5, seeded(1)).frames, torch.randn(5, 4, 12, generator=seeded(2))
    likelihoods, kl = built.terms(frames, noise)
    same_likelihoods, wrong_kl = wrong(built, frames, noise)
    assert torch.allclose(likelihoods, same_likelihoods)
    assert torch.allclose(kl[:, 0], wrong_kl[:, 0])
    assert not torch.allclose(kl[:, 1], wrong_kl[:, 1], rtol=0.01)


def test_the_loop_of_12(define, sampler):
    rate, weight = [[0.5, 2e-3], [1.0, 1e-4]], [[0.2, 0.1], [0.6, 1.0]]
    given = {"draw": sampler, "batch_size": 3, "seed": 4}
    shown = define("12", "train", **given, learning_rate=rate, kl_weight=weight).train
    library = build_gated()
    with torch.enable_grad():
        found = shown(build_gated().train(), 8)
        how = {"learning_rate": rate, "weights": {"kl": weight}, "seed": 4, "accelerator": "cpu"}
        how |= {"every": 1, "on_progress": library.advance}
        rows = fit(library, sampler, steps=8, batch_size=3, **how)
    assert found == pytest.approx([row["elbo_per_frame"] for row in rows], rel=1e-4)


@pytest.mark.parametrize("number", ["12", "13"])
def test_the_units_that_are_counted(define, sampler, number):
    shown = define(number, "measure_units", seed=5).measure_units
    library, frames = build_gated(), sampler(6, seeded(1)).frames
    bound = library.elbo(frames, library.draw_noise(6, 4, seeded(5)))
    expected = torch.stack(list(bound.kl.values()), 1).mean(0) / 4
    assert shown(library, frames).sum(1) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("factors", [2, 3])
def test_same_and_cross_of_13(define, factors):
    shown = define("13", "FactorInformation", "same_and_cross").same_and_cross
    now, later = dependent_factors(factors)
    found, expected = (each(now, later, seed=4) for each in (shown, information.same_and_cross))
    assert found.same == pytest.approx(expected.same)
    assert found.cross == pytest.approx(expected.cross)
    assert np.array_equal(found.matrix, expected.matrix, equal_nan=True)


@pytest.mark.parametrize("positive", [True, False])
def test_the_best_partition_of_13(define, positive):
    names = ("FactorInformation", "same_and_cross", "Partition", "best_partition")
    shown = define("13", *names).best_partition
    now, later = (np.hstack(each) for each in dependent_factors(2))
    if not positive:  # no partition has both figures above zero, so all are candidates
        later = np.random.default_rng(1).normal(size=later.shape)
    found = shown(now, later, 3, tries=6, seed=5)
    expected = information.best_partition(now, later, 3, tries=6, seed=5)
    assert found.permutation.tolist() == expected.permutation.tolist()
    assert found.tried == pytest.approx(expected.tried)
    assert (found.same, found.cross) == pytest.approx((expected.same, expected.cross))


def test_the_forecasts_of_13(define, model):
    shown = define("13", "roll_forward").roll_forward
    latents = torch.randn(6, 6, generator=seeded(10))
    ahead = independent.roll_forward(model, latents, 3)
    assert torch.equal(shown(model, latents, 3), ahead)
