"""Likelihoods and divergences against torch's, and what of paper A's bound is ours."""

import math

import pytest
import torch
import torch.nn.functional as F
import unbraid.distributions as dist
from helpers import DOUBLE, FACTORS, close, seeded
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence
from unbraid.distributions import DiagonalGaussian
from unbraid.models import Batch, IndependentPrediction, independent
from unbraid.networks import draw_he_weights, draw_weights

from papers.a.variants import GatedPrediction

FRAMES = torch.rand(3, 4, 3, 8, 8, generator=seeded(5), **DOUBLE)  # (B, T, C, H, W)


def gaussian(*shape, seed=0):
    """A random Gaussian, ours and torch's."""
    q = DiagonalGaussian(*torch.randn(2, *shape, generator=seeded(seed), **DOUBLE))
    return q, Normal(q.mean, q.standard_deviation)


def test_densities_divergences_and_draws_against_torch():
    (q, torch_q), (p, torch_p) = gaussian(4, 6, seed=1), gaussian(4, 6, seed=2)
    close(dist.kl(q, p), kl_divergence(torch_q, torch_p).sum(-1))
    value = torch.randn(4, 6, generator=seeded(1), **DOUBLE)
    close(q.log_prob(value), torch_q.log_prob(value).sum(-1))
    close(q.draw(value), torch_q.mean + torch_q.stddev * value)
    assert torch.equal(q.draw(seeded(1)), q.draw(value)) and torch.equal(q.draw(), q.mean)


def test_likelihoods_against_torch():
    frames, mean = torch.rand(2, 2, 3, 3, 8, 8, generator=seeded(), **DOUBLE)
    observed = torch.rand(2, 3, 3, 8, 8, generator=seeded(1)) < 0.6
    for variance in (0.05, 0.25):
        by_value = Normal(mean, math.sqrt(variance)).log_prob(frames)
        close(dist.gaussian_log_likelihood(frames, mean, variance), by_value.sum((-3, -2, -1)))
        masked = dist.gaussian_log_likelihood(frames, mean, variance, observed, dimensions=2)
        close(masked, (by_value * observed).sum((-2, -1)))
    binary = (frames > 0.5).double()
    expected = Bernoulli(logits=mean).log_prob(binary).sum((-3, -2, -1))
    close(dist.bernoulli_log_likelihood(binary, mean), expected)


def test_the_signal_neither_fades_nor_grows():
    torch.manual_seed(0)
    halving, doubling = nn.Conv2d(64, 64, 4, 2, 1), nn.ConvTranspose2d(64, 64, 4, 2, 1)
    for layer, side in ((halving, 16), (doubling, 8), (nn.ConvTranspose2d(64, 64, 4), 1)):
        draw_he_weights(layer)
        outputs = layer(F.relu(torch.randn(64, 64, side, side)))[..., 1:-1, 1:-1]
        assert outputs.std().item() == pytest.approx(1, rel=0.1)


def test_uniform_weights_count_inputs_and_glorots_inputs_and_outputs():
    layers = nn.Sequential(nn.Conv2d(40, 60, 4), nn.ConvTranspose2d(60, 40, 4), nn.Linear(300, 500))
    gains = nn.BatchNorm2d(4000)
    independent.draw_uniform_weights(nn.Sequential(layers, gains))
    for layer in layers[:2]:
        bound = 1 / math.sqrt(16 * layer.in_channels)
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)
        assert max(layer.weight.abs().max(), layer.bias.abs().max()) <= bound and layer.bias.any()
    assert gains.weight.min() >= 0 and gains.weight.max() <= 1 and not gains.bias.any()
    assert gains.weight.mean().item() == pytest.approx(0.5, abs=0.03)
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    draw_weights(layers, kinds, nn.init.xavier_uniform_)
    for layer, fans in zip(layers, (16 * 100, 16 * 100, 300 + 500), strict=True):
        assert layer.weight.var().item() == pytest.approx(2 / fans, rel=0.03)
        assert layer.weight.abs().max() <= math.sqrt(6 / fans) and not layer.bias.any()


def small_model(kind=IndependentPrediction, **changes):
    torch.manual_seed(0)
    return kind(**FACTORS | changes).double().eval()


def test_what_training_of_paper_a_begins_with():
    gains = small_model(normalise=True).filter.encoder[1].weight  # as in PyTorch 0.2
    assert gains.min() >= 0 and gains.min() < gains.max() < 1
    assert not small_model().filter.encoder[0].bias.any()
    (*_, raised), (*_, bias) = (
        small_model(output_bias=each).decoder.parameters() for each in (0.5, 0.0)
    )
    close(raised, bias + 0.5)
    low, usual = (small_model(initial_log_variance=each).filter for each in (-4.0, 0.0))
    assert (low.posterior.log_variance.bias + 4).allclose(usual.posterior.log_variance.bias, 1e-5)
    close(low.posterior.mean.bias, usual.posterior.mean.bias)
    linear = [*small_model(hidden_layers=0).filter.transitions]
    assert [len(each) for each in linear] == [1] * len(linear)
    assert not torch.equal(linear[0][0].weight, linear[1][0].weight)  # each factor's own


def test_the_bound_stays_finite_where_networks_put_out_huge_log_variances():
    model = small_model()
    with torch.no_grad():
        for network in model.filter.transitions:
            network[-1].bias += 2000.0
        model.filter.posterior.log_variance.bias -= 2000.0
    posteriors, priors, _ = model.infer(FRAMES)
    low, high = independent.LOG_VARIANCE_BOUNDS
    assert posteriors.log_variance.unique().tolist() == [low]
    assert priors.log_variance[:, 1:].unique().tolist() == [high]


def test_one_weight_serves_all_divergences_that_have_none_of_their_own():
    bound = small_model().elbo(FRAMES, seeded(2))
    weights = {f"factor_{index}_kl": 0.3 for index in range(3)}
    close(bound.loss({"kl": 0.3}), bound.loss(weights))
    close(bound.loss({"kl": 0.3, "factor_1_kl": 2.0}), bound.loss(weights | {"factor_1_kl": 2.0}))

    with pytest.raises(ValueError, match="^weights: .*factor_2_kl, found factor_3_kl$"):
        bound.loss({"kl": 0.3, "factor_3_kl": 0.0})  # an unknown name, though it weighs nothing


def test_units_that_are_not_in_use_are_zero_and_cost_nothing():
    whole = small_model()
    model = small_model(GatedPrediction, opening=[[0.0, [1, 2, 0]], [0.5, [2, 2, 2]]])
    noise = whole.draw_noise(3, 4, seeded(1))
    model.advance(0.3)
    codes, bound = model.encode(FRAMES, noise), model.elbo(FRAMES, noise)
    assert not codes["factor_0"][..., 1].any() and codes["factor_0"][..., 0].all()
    assert codes["factor_1"].all() and not codes["factor_2"].any()
    assert not bound.kl["factor_2"].any() and (bound.kl["factor_1"] > 0).all()
    weights = [*model.filter.transitions[2].parameters()]
    gradients = torch.autograd.grad(bound.elbo.sum(), weights, allow_unused=True)
    assert not any(gradient is not None and gradient.any() for gradient in gradients)
    model.advance(0.5)
    close(model.elbo(FRAMES, noise).elbo, whole.elbo(FRAMES, noise).elbo)
    assert "in_use" not in model.state_dict()


@pytest.mark.parametrize("hidden", (0, 12))
@torch.no_grad()
def test_while_the_decoder_is_apart_only_its_last_layer_joins_the_factors(hidden):
    changes = {"decoder_hidden": hidden, "decoder_apart": [0.2, 0.5], "width": 6}
    model = small_model(GatedPrediction, **changes)
    layers = [layer for layer in model.decoder.modules() if isinstance(layer, nn.ConvTranspose2d)]
    paint = layers[-1]
    read = []  # features (2, 6, H, W) that the last layer paints with
    paint.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    latents = torch.randn(1, 6, **DOUBLE).repeat(2, 1)
    latents[1, 2:4] += 1  # the second of three factors
    second = [False, False, True, True, False, False]
    for share, expected in ((0.1, [True] * 6), (0.2, second), (0.5, [True] * 6)):
        for weight in model.decoder.parameters():
            weight += 0.1
        before = paint.weight.clone()
        model.advance(share)
        assert torch.equal(paint.weight, before)
        model.decode(model.to_codes(latents[:, None]))
        assert (read[-1][0] != read[-1][1]).any((1, 2)).tolist() == expected


def test_a_batch_is_as_long_as_what_was_observed_of_it():
    series = torch.zeros(3, 4, 2)
    mask = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]]).bool()
    assert Batch(series).lengths.tolist() == [4, 4, 4]
    assert Batch(series, mask).lengths.tolist() == [3, 4, 1]
    values = mask[..., None] & torch.tensor([True, False])
    assert Batch(series, values).lengths.tolist() == [3, 4, 1]
