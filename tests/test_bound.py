"""The bound: its terms against independent computations, paper A's against a slow loop."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import DOUBLE, FACTORS, close, seeded, within
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence
from unbraid.distributions import (
    DiagonalGaussian,
    bernoulli_log_likelihood,
    best_log_likelihood,
    gaussian_log_likelihood,
    kl,
    standard_normal_like,
)
from unbraid.models.base import Batch
from unbraid.models.independent import LOG_VARIANCE_BOUNDS, IndependentPrediction
from unbraid.networks import keep_variance, start_as_glorot, start_as_in_2017

from papers.a.variants import CanvasPrediction, GatedPrediction

FRAMES = torch.rand(3, 4, 3, 8, 8, generator=seeded(5), **DOUBLE)  # (B, T, C, H, W)


def gaussian(*shape, seed=0):
    """A random Gaussian, ours and torch's."""
    q = DiagonalGaussian(*torch.randn(2, *shape, generator=seeded(seed), **DOUBLE))
    return q, Normal(q.mean, q.standard_deviation)


def test_kl_against_torch():
    (q, torch_q), (p, torch_p) = gaussian(4, 6, seed=1), gaussian(4, 6, seed=2)
    assert torch.allclose(kl(q, p), kl_divergence(torch_q, torch_p).sum(-1), rtol=1e-12)


def test_density_and_draws():
    q, torch_q = gaussian(6)
    value = torch.randn(5, 6, generator=seeded(1), **DOUBLE)
    assert torch.allclose(q.log_prob(value), torch_q.log_prob(value).sum(-1), rtol=1e-12)

    noise = torch.randn(6, generator=seeded(3), **DOUBLE)
    close(q.draw(noise), torch_q.mean + torch_q.stddev * noise)
    assert torch.equal(q.draw(seeded(3)), q.draw(noise))
    assert torch.equal(q.draw(), q.mean)


def test_likelihoods_against_torch():
    frames, mean = torch.rand(2, 2, 3, 3, 8, 8, generator=seeded(), **DOUBLE)
    observed = torch.rand(2, 3, 3, 8, 8, generator=seeded(1)) < 0.6
    for variance in (0.05, 0.25):
        by_value = Normal(mean, math.sqrt(variance)).log_prob(frames)
        log_likelihood = gaussian_log_likelihood(frames, mean, variance)
        assert torch.allclose(log_likelihood, by_value.sum((-3, -2, -1)), rtol=1e-12)
        masked = gaussian_log_likelihood(frames, mean, variance, observed, dimensions=2)
        assert torch.allclose(masked, (by_value * observed).sum((-2, -1)), rtol=1e-12)
    binary = (frames > 0.5).double()
    expected = Bernoulli(logits=mean).log_prob(binary).sum((-3, -2, -1))
    assert torch.allclose(bernoulli_log_likelihood(binary, mean), expected, rtol=1e-12)

    # The ceilings of paper A's Table 2.
    assert best_log_likelihood(3 * 64 * 64, 0.25) == pytest.approx(-2774.5, abs=0.05)
    assert best_log_likelihood(3 * 64 * 64, 0.05) == pytest.approx(7113.9, abs=0.05)
    with pytest.raises(ValueError, match="variance"):
        gaussian_log_likelihood(frames, mean, 0.0)


def test_the_signal_neither_fades_nor_grows():
    torch.manual_seed(0)
    halving, doubling = nn.Conv2d(64, 64, 4, 2, 1), nn.ConvTranspose2d(64, 64, 4, 2, 1)
    for layer, side in ((halving, 16), (doubling, 8), (nn.ConvTranspose2d(64, 64, 4), 1)):
        keep_variance(layer)
        outputs = layer(F.relu(torch.randn(64, 64, side, side)))[..., 1:-1, 1:-1]
        assert outputs.std().item() == pytest.approx(1, rel=0.1)


def test_glorot_weights_have_the_variance_of_both_fans_and_biases_are_zero():
    layers = nn.Sequential(nn.Linear(300, 500), nn.Conv2d(40, 60, 4), nn.ConvTranspose2d(60, 40, 4))
    start_as_glorot(layers)
    for layer, fans in zip(layers, (300 + 500, 16 * (40 + 60), 16 * (60 + 40)), strict=True):
        assert layer.weight.var().item() == pytest.approx(2 / fans, rel=0.03)
        assert layer.weight.abs().max() <= math.sqrt(6 / fans) and not layer.bias.any()


def test_weights_of_2017_count_the_inputs_of_a_layer_and_gains_are_uniform():
    layers = nn.Sequential(
        nn.Conv2d(40, 60, 4), nn.ConvTranspose2d(60, 40, 4), nn.BatchNorm2d(4000)
    )
    start_as_in_2017(layers)
    for layer, inputs in zip(layers[:2], (16 * 40, 16 * 60), strict=True):
        bound = 1 / math.sqrt(inputs)
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)
        assert max(layer.weight.abs().max(), layer.bias.abs().max()) <= bound and layer.bias.any()
    gains = layers[2].weight
    assert gains.min() >= 0 and gains.max() <= 1 and not layers[2].bias.any()
    assert gains.mean().item() == pytest.approx(0.5, abs=0.03)


def small_model(kind=IndependentPrediction, **changes):
    torch.manual_seed(0)
    return kind(**FACTORS | changes).double().eval()


def slow_bound(model, frames, generator):
    """Paper A's equations step by step in torch.distributions: log-likelihood (B,), KL (B, K)."""
    d, posterior = model.factor_size, model.posterior
    log_likelihood, divergence = 0, torch.zeros(len(frames), model.factors, **DOUBLE)
    mean = log_variance = torch.zeros(len(frames), d * model.factors, **DOUBLE)
    z = None  # of the step before
    for t in range(frames.shape[1]):
        if z is not None:
            parts = z.split(d, 1)
            outputs = [model.transitions[i](parts[i]) for i in range(model.factors)]
            mean = torch.cat([output[:, :d] for output in outputs], 1)
            log_variance = torch.cat([output[:, d:] for output in outputs], 1)
        from_frame = posterior.from_frame(model.encoder(frames[:, t]))
        from_prior = [posterior.from_mean(mean), posterior.from_log_variance(log_variance)]
        inputs = F.leaky_relu(torch.cat([from_frame, *from_prior], 1), 0.01)
        h = F.leaky_relu(posterior.combine(inputs), 0.01)
        q = Normal(posterior.head.mean(h), torch.exp(posterior.head.log_variance(h) / 2))
        z = q.mean + q.stddev * torch.randn(q.mean.shape, generator=generator, **DOUBLE)
        by_unit = kl_divergence(q, Normal(mean, torch.exp(log_variance / 2)))
        divergence += by_unit.unflatten(1, (-1, d)).sum(-1)
        likelihood = Normal(model.decoder(z), math.sqrt(model.variance))
        log_likelihood = log_likelihood + likelihood.log_prob(frames[:, t]).sum((1, 2, 3))
    return log_likelihood, divergence


CANVASES = {"output": "linear", "initial_log_variance": -4.0, "decoder_groups": 2, "factors": 2}
OPTIONS = (
    (IndependentPrediction, {}),
    (IndependentPrediction, {"factors": 1, "factor_size": 6}),
    (IndependentPrediction, {"normalise": True, "activation": "silu"}),
    (CanvasPrediction, CANVASES),
    (CanvasPrediction, {"decoder_hidden": 12, "output_bias": 0.5}),
)


@pytest.mark.parametrize("kind, changes", OPTIONS)
@torch.no_grad()
def test_bound_of_paper_a_against_a_slow_loop(kind, changes):
    model = small_model(kind, **changes)
    bound = model.elbo(FRAMES, seeded(7))
    log_likelihood, divergence = slow_bound(model, FRAMES, seeded(7))
    assert torch.allclose(bound.log_likelihood, log_likelihood, rtol=1e-10)
    by_factor = torch.stack([bound.kl[name] for name in model.code_names], 1)
    assert torch.allclose(by_factor, divergence, rtol=1e-10)
    assert torch.allclose(bound.per_frame, (log_likelihood - divergence.sum(1)) / 4)
    assert torch.equal(model.elbo(FRAMES, model.draw_noise(3, 4, seeded(7))).elbo, bound.elbo)


@torch.no_grad()
def test_batch_normalisation_takes_the_statistics_of_one_step_as_the_slow_loop_does():
    model = small_model(normalise=True).train()
    bound = model.elbo(FRAMES, seeded(7))
    log_likelihood, _ = slow_bound(model, FRAMES, seeded(7))
    close(bound.log_likelihood, log_likelihood)
    running = model.eval().elbo(FRAMES, seeded(7))  # has another value, so that closeness says much
    assert not torch.allclose(bound.log_likelihood, running.log_likelihood)


def reached(value, module):
    """For each parameter of the module, whether the gradient of the value reaches it."""
    parameters = list(module.parameters())
    gradients = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    return [gradient is not None and bool(gradient.any()) for gradient in gradients]


def test_what_is_detached_and_what_is_not():
    model = small_model()
    posteriors, priors, _ = model.filter(FRAMES, model.draw_noise(3, 4, seeded(7)))
    total = posteriors.mean.sum() + posteriors.log_variance.sum()
    assert not any(reached(total, model.transitions))  # the posterior does not shape the prior
    assert all(reached(posteriors.mean[:, 1].sum(), model.posterior.from_mean))  # but it reads it
    divergence = sum(model.elbo(FRAMES, seeded(7)).kl.values()).sum()
    for network in (*model.transitions, model.encoder):
        assert all(reached(divergence, network))
    assert all(reached(priors.mean[:, 1].sum(), model.encoder))  # through the draw z_1
    assert not priors.mean[:, 0].any() and not priors.log_variance[:, 0].any()
    from_frame = F.leaky_relu(model.posterior.from_frame(model.encoder(FRAMES[:, 0])))
    first = model.posterior(from_frame, standard_normal_like(from_frame))
    assert torch.allclose(posteriors.mean[:, 0].flatten(1), first.mean)


def test_units_that_are_not_in_use_are_zero_and_cost_nothing():
    whole = small_model()
    model = small_model(GatedPrediction, opening=[[0.0, [1, 2, 0]], [0.5, [2, 2, 2]]])
    noise = whole.draw_noise(3, 4, seeded(1))
    model.advance(0.3)
    codes, bound = model.encode(FRAMES, noise), model.elbo(FRAMES, noise)
    assert not codes["factor_0"][..., 1].any() and codes["factor_0"][..., 0].all()
    assert codes["factor_1"].all() and not codes["factor_2"].any()
    assert not bound.kl["factor_2"].any() and (bound.kl["factor_1"] > 0).all()
    model.advance(0.5)
    close(model.elbo(FRAMES, noise).elbo, whole.elbo(FRAMES, noise).elbo)
    assert "in_use" not in model.state_dict()


@pytest.mark.parametrize("hidden", (0, 12))
def test_while_the_decoder_is_apart_only_its_last_layer_joins_the_factors(hidden):
    changes = {"decoder_hidden": hidden, "decoder_apart": [0.2, 0.5], "width": 6}
    model = small_model(GatedPrediction, **changes)
    paint = model.decoder[2].last if hidden else model.decoder.last
    read = []  # features (N, 6, H, W) that the last layer paints with
    paint.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))

    def moved(share):
        """Which features change with the second of three factors, when updates begin at `share`."""
        with torch.no_grad():
            for weight in model.decoder.parameters():
                weight += 0.1
        weights = [weight.clone() for weight in model.decoder.parameters()]
        model.advance(share)
        for old, new in zip(weights, model.decoder.parameters(), strict=True):
            assert torch.equal(new[new != 0], old[new != 0])
        assert torch.equal(paint.weight, weights[-2])  # the last layer stays whole
        latents = torch.randn(1, 6, **DOUBLE).repeat(2, 1)
        latents[1, 2:4] += 1
        read.clear()
        model.decode_latents(latents[:, None])
        return (read[0][0] != read[0][1]).any((1, 2)).tolist()

    assert all(moved(0.1)) and all(moved(0.5))
    assert moved(0.2) == moved(0.4) == [False, False, True, True, False, False]


def test_only_a_normalised_model_starts_as_in_2017():
    gains = small_model(normalise=True).encoder[1].weight
    assert gains.min() >= 0 and gains.min() < gains.max() < 1
    assert not small_model().encoder[0].bias.any()


def test_the_bound_stays_finite_where_networks_put_out_huge_log_variances():
    model = small_model()
    with torch.no_grad():
        for network in model.transitions:
            network[-1].bias += 2000.0
        model.posterior.head.log_variance.bias -= 2000.0
    posteriors, priors, _ = model.filter(FRAMES)
    assert posteriors.log_variance.unique().tolist() == [LOG_VARIANCE_BOUNDS[0]]
    assert priors.log_variance[:, 1:].unique().tolist() == [LOG_VARIANCE_BOUNDS[1]]


def test_the_last_bias_of_the_decoder_is_raised():
    raised = small_model(output_bias=0.5).decoder.last.bias
    close(raised, small_model().decoder.last.bias + 0.5)


def test_one_weight_serves_all_divergences_that_have_none_of_their_own():
    bound = small_model().elbo(FRAMES, seeded(2))
    weights = {f"factor_{index}_kl": 0.3 for index in range(3)}
    close(bound.loss({"kl": 0.3}), bound.loss(weights))
    close(bound.loss({"kl": 0.3, "factor_1_kl": 2.0}), bound.loss(weights | {"factor_1_kl": 2.0}))


def test_a_factor_is_predicted_from_its_own_past_alone():
    previous = torch.randn(1, 6, generator=seeded(1), **DOUBLE)

    def influence(model):
        """Which of the units before change which predicted ones: means and log-variances."""

        def predict(z):
            prior = model.prior(z)
            return prior.mean[0] + prior.log_variance[0]

        return torch.autograd.functional.jacobian(predict, previous)[:, 0] != 0

    blocks = torch.block_diag(*[torch.ones(2, 2)] * 3).bool()
    assert torch.equal(influence(small_model()), blocks)
    assert influence(small_model(factors=1, factor_size=6)).all()


@torch.no_grad()
def test_sequences_from_the_prior_follow_the_transitions():
    model = small_model()
    codes = model.generate(2000, 3, seeded(1))
    latents = model.to_latents(codes)
    assert within(latents[:, 0], 0.0) and within(latents[:, 0].square(), 1.0)
    prior = model.prior(latents[:, 1])
    deviations = (latents[:, 2] - prior.mean) / prior.standard_deviation
    assert within(deviations, 0.0) and within(deviations.square(), 1.0)
    kept = model.generate(2000, 3, seeded(1), {"factor_1": codes["factor_1"] + 1})
    assert torch.equal(kept["factor_0"], codes["factor_0"])
    assert torch.equal(kept["factor_1"], codes["factor_1"] + 1)


def test_a_batch_is_as_long_as_what_was_observed_of_it():
    series = torch.zeros(3, 4, 2)
    mask = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]]).bool()
    assert Batch(series).lengths.tolist() == [4, 4, 4]
    assert Batch(series, mask).lengths.tolist() == [3, 4, 1]
    values = mask[..., None] & torch.tensor([True, False])
    assert Batch(series, values).lengths.tolist() == [3, 4, 1]
