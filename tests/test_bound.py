"""The bound: its terms against independent computations, against an exact log-likelihood, and paper A's model against a slow loop."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from unbraid import distributions
from unbraid.distributions import (
    DiagonalGaussian,
    best_log_likelihood,
    gaussian_log_likelihood,
    kl,
    standard_normal_like,
)
from unbraid.models.independent import IndependentPrediction
from unbraid.networks import count_parameters

SMALL = dict(
    image_size=8,
    width=4,
    features=5,
    factors=3,
    factor_size=2,
    hidden=6,
    hidden_layers=2,
    normalise=False,
)
FRAMES = torch.rand(
    3, 4, 3, 8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64
)  # (B, T, C, H, W)


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


def gaussian(*shape, seed=0):
    g = DiagonalGaussian(*torch.randn(2, *shape, generator=noise(seed), dtype=torch.float64))
    return g, Normal(g.mean, g.standard_deviation)  # ours and torch's


def within(draws, value, errors=5):
    """Whether the mean of `draws` (N, ...) is within so many standard errors of `value`, everywhere."""
    return bool(
        ((draws.mean(0) - value).abs() <= errors * draws.std(0) / math.sqrt(len(draws))).all()
    )


def test_kl_three_ways():
    (q, theirs), (p, other) = gaussian(4, 6, seed=1), gaussian(4, 6, seed=2)
    assert torch.allclose(kl(q, p), kl_divergence(theirs, other).sum(-1), rtol=1e-12)
    z = q.mean + q.standard_deviation * torch.randn(
        20_000, 4, 6, generator=noise(3), dtype=torch.float64
    )
    assert within(q.log_prob(z) - p.log_prob(z), kl(q, p))
    assert torch.equal(kl(q, q), torch.zeros(4, dtype=torch.float64)) and (kl(q, p) > 0).all()


def test_density_entropy_draws_and_their_gradients():
    q, theirs = gaussian(6)
    value = torch.randn(5, 6, generator=noise(1), dtype=torch.float64)
    assert torch.allclose(q.log_prob(value), theirs.log_prob(value).sum(-1), rtol=1e-12)
    assert torch.allclose(q.entropy(), theirs.entropy().sum(-1), rtol=1e-12)
    draws = DiagonalGaussian(q.mean.expand(20_000, 6), q.log_variance.expand(20_000, 6)).sample(
        noise(2)
    )
    assert within(draws, q.mean) and within((draws - q.mean).square(), q.log_variance.exp())
    assert torch.corrcoef(draws.T).fill_diagonal_(0).abs().max() < 0.04  # 5 standard errors
    assert torch.equal(q.sample(noise(3)), q.sample(noise(3))) and not torch.equal(
        q.sample(noise(3)), q.sample(noise(4))
    )
    with pytest.raises(ValueError, match=r"one shape, found \(2, 3\) and \(2, 4\)"):
        DiagonalGaussian(torch.zeros(2, 3), torch.zeros(2, 4))
    mean, log_variance = (
        torch.tensor([0.5], requires_grad=True),
        torch.tensor([-1.0], requires_grad=True),
    )
    draw = DiagonalGaussian(mean, log_variance).sample(noise())
    draw.backward()
    assert mean.grad.item() == 1 and log_variance.grad.item() == pytest.approx(
        (draw - mean).item() / 2, rel=1e-5
    )


def test_likelihoods_against_torch():
    frames, mean = torch.rand(
        2, 2, 3, 3, 8, 8, generator=noise(), dtype=torch.float64
    )  # each (2, 3, 3, 8, 8)
    for variance in (0.05, 0.25):
        expected = Normal(mean, math.sqrt(variance)).log_prob(frames).sum((-3, -2, -1))
        assert torch.allclose(gaussian_log_likelihood(frames, mean, variance), expected, rtol=1e-12)
        perfect = gaussian_log_likelihood(frames, frames, variance)
        assert torch.allclose(
            perfect, torch.full_like(perfect, best_log_likelihood(192, variance)), rtol=1e-12
        )
    black_and_white = (frames > 0.5).double()
    expected = Bernoulli(logits=mean).log_prob(black_and_white).sum((-3, -2, -1))
    assert torch.allclose(
        distributions.bernoulli_log_likelihood(black_and_white, mean), expected, rtol=1e-12
    )
    assert best_log_likelihood(3 * 64 * 64, 0.25) == pytest.approx(
        -2774.5, abs=0.05
    )  # the ceilings of paper A's Table 2
    assert best_log_likelihood(3 * 64 * 64, 0.05) == pytest.approx(7113.9, abs=0.05)
    with pytest.raises(ValueError, match="variance must be positive"):
        gaussian_log_likelihood(frames, mean, 0.0)


def unroll(matrices):
    """(I - B)^-1 for z_t = matrix_t z_{t-1} + e_t, stacked over t."""
    steps, size = matrices.shape[:2]
    B = torch.zeros(steps * size, steps * size, dtype=torch.float64)
    for t in range(1, steps):
        B[t * size : (t + 1) * size, (t - 1) * size : t * size] = matrices[t]
    return torch.linalg.inv(torch.eye(len(B), dtype=torch.float64) - B)


@pytest.mark.parametrize("seed", range(8))
def test_bound_of_a_linear_gaussian_model(seed):
    """z_t = A z_{t-1} + e, x_t = C z_t + e: the bound is the exact log-likelihood less the KL of the posteriors."""
    random = lambda *shape, g=noise(seed): torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    T, D, X, v, paths = 4, 2, 3, 0.3, 20_000
    A, C, spread = (
        0.5 * random(D, D),
        random(X, D),
        torch.cat([torch.ones(1, D, dtype=torch.float64), random(T - 1, D).exp()]),
    )
    filters, gains, log_variance = (
        0.4 * random(T, D, D),
        0.4 * random(T, X, D),
        0.3 * random(T, D) - 1,
    )
    x, big_C = random(T, X), torch.block_diag(*[C] * T)
    covariance_z = unroll(A.expand(T, D, D)) @ spread.flatten().diag() @ unroll(A.expand(T, D, D)).T
    covariance_x = big_C @ covariance_z @ big_C.T + v * torch.eye(T * X, dtype=torch.float64)
    exact = MultivariateNormal(torch.zeros(T * X, dtype=torch.float64), covariance_x).log_prob(
        x.flatten()
    )
    m, P, kalman = torch.zeros(D, dtype=torch.float64), torch.zeros(D, D, dtype=torch.float64), 0.0
    for t in range(T):
        m, P = A @ m, A @ P @ A.T + spread[t].diag()
        seen = MultivariateNormal(C @ m, C @ P @ C.T + v * torch.eye(X, dtype=torch.float64))
        gain = P @ C.T @ torch.linalg.inv(seen.covariance_matrix)
        kalman, m, P = kalman + seen.log_prob(x[t]), m + gain @ (x[t] - C @ m), P - gain @ C @ P
    assert kalman == pytest.approx(exact.item(), rel=1e-10)
    z, bound, generator = torch.zeros(paths, D, dtype=torch.float64), 0.0, noise(seed + 100)
    for t in range(T):  # with the library's pieces: x_t poses as a picture of one pixel
        posterior = DiagonalGaussian(
            z @ filters[t].T + x[t] @ gains[t], log_variance[t].expand(paths, D)
        )
        prior = DiagonalGaussian(z @ A.T, spread[t].log().expand(paths, D))
        z = posterior.sample(generator)
        bound = (
            bound
            + gaussian_log_likelihood(x[t][:, None, None], (z @ C.T)[..., None, None], v)
            - kl(posterior, prior)
        )
    precision = torch.linalg.inv(covariance_z) + big_C.T @ big_C / v
    true = MultivariateNormal(
        torch.linalg.solve(precision, big_C.T @ x.flatten() / v), precision_matrix=precision
    )
    J = unroll(filters)
    q = MultivariateNormal(
        J @ torch.einsum("tx,txd->td", x, gains).flatten(),
        J @ log_variance.exp().flatten().diag() @ J.T,
    )
    assert bound.mean() <= exact + 5 * bound.std() / math.sqrt(paths)
    assert within(bound, exact - kl_divergence(q, true))


def test_parameter_counts_of_paper_a():
    assert count_parameters(IndependentPrediction()) == 6_235_915  # two factors of 20
    assert (
        count_parameters(IndependentPrediction(factors=1, factor_size=40)) == 6_186_251
    )  # entangled


def small_model(**changes):
    torch.manual_seed(0)
    return IndependentPrediction(**{**SMALL, **changes}).double().eval()


def slow_bound(model, frames, generator):
    """Paper A's equations and layers once more, step by step, in torch.distributions: (log-likelihood (B,), KL (B, K))."""
    d, w = model.factor_size, dict(model.posterior.state_dict())
    linear = lambda name, value: value @ w[f"{name}.weight"].T + w[f"{name}.bias"]  # noqa: E731
    size, log_likelihood, divergence = (
        d * model.factors,
        0,
        torch.zeros(len(frames), model.factors, dtype=torch.float64),
    )
    mean = log_variance = torch.zeros(len(frames), size, dtype=torch.float64)
    for t in range(frames.shape[1]):
        if t > 0:
            outputs = [
                model.transitions[i](z[:, i * d : (i + 1) * d]) for i in range(model.factors)
            ]  # noqa: F821
            mean, log_variance = (
                torch.cat([o[:, :d] for o in outputs], 1),
                torch.cat([o[:, d:] for o in outputs], 1),
            )
        a, b, c = (
            linear("from_frame", model.encoder(frames[:, t])),
            linear("from_mean", mean),
            linear("from_log_variance", log_variance),
        )
        h = F.leaky_relu(linear("combine", F.leaky_relu(torch.cat([a, b, c], 1), 0.01)), 0.01)
        q = Normal(linear("mean", h), torch.exp(linear("log_variance", h) / 2))
        z = q.mean + q.stddev * torch.randn(q.mean.shape, generator=generator, dtype=torch.float64)
        by_unit = kl_divergence(q, Normal(mean, torch.exp(log_variance / 2)))
        divergence += by_unit.reshape(len(frames), model.factors, d).sum(-1)
        log_likelihood = log_likelihood + Normal(
            model.decoder(z), math.sqrt(model.variance)
        ).log_prob(frames[:, t]).sum((1, 2, 3))
    return log_likelihood, divergence


@pytest.mark.parametrize(
    "changes",
    (
        {},
        {"factors": 1, "factor_size": 6},
        {"normalise": True},
        {"output": "linear", "initial_log_variance": -4.0},
    ),
)
def test_bound_of_paper_a_against_a_slow_loop(changes):
    model, frames = small_model(**changes), FRAMES
    with torch.no_grad():
        bound = model.elbo(frames, noise(7))
        log_likelihood, divergence = slow_bound(model, frames, noise(7))
    assert torch.allclose(bound.log_likelihood, log_likelihood, rtol=1e-4)
    assert torch.allclose(
        torch.stack([bound.kl[name] for name in model.code_names], 1), divergence, rtol=1e-4
    )
    assert torch.allclose(bound.elbo, log_likelihood - divergence.sum(1), rtol=1e-4)
    assert torch.allclose(bound.per_frame, bound.elbo / 4)


def reached(value, module):
    """For each parameter of `module`, whether the gradient of `value` reaches it."""
    gradients = torch.autograd.grad(
        value, list(module.parameters()), allow_unused=True, retain_graph=True
    )
    return [gradient is not None and bool(gradient.abs().sum() > 0) for gradient in gradients]


def test_what_is_detached_and_what_is_not():
    model = small_model()
    posteriors, priors, _ = model.filter(FRAMES, generator=noise(7))
    assert not any(
        reached(posteriors.mean.sum() + posteriors.log_variance.sum(), model.transitions)
    )  # the prior is told, not taught
    assert all(
        reached(posteriors.mean[:, 1].sum(), model.posterior.from_mean)
    )  # yet the posterior does use it
    divergence = sum(model.elbo(FRAMES, noise(7)).kl.values()).sum()
    assert all(
        all(reached(divergence, network)) for network in model.transitions
    )  # the KL teaches the transitions ...
    assert all(reached(divergence, model.encoder))  # ... and the posterior
    assert all(
        reached(priors.mean[:, 1].sum(), model.encoder)
    )  # through the draw z_1 into the prior of step 2
    assert (
        not priors.mean[:, 0].any()
        and not priors.log_variance[:, 0].any()
        and priors.mean[:, 1].any()
    )  # zeros at t = 1
    told = F.leaky_relu(model.posterior.from_frame(model.encoder(FRAMES[:, 0])))
    assert torch.allclose(
        posteriors.mean[:, 0], model.posterior(told, standard_normal_like(told)).mean
    )


def test_a_factor_is_predicted_from_its_own_past_alone():
    previous = torch.randn(1, 6, generator=noise(1), dtype=torch.float64)
    blocks = torch.block_diag(*[torch.ones(2, 2)] * 3).bool()
    for part in ("mean", "log_variance"):
        influence = lambda model: torch.autograd.functional.jacobian(
            lambda z: getattr(model.prior(z), part)[0], previous
        )[:, 0]  # noqa: E731, B023
        factored, entangled = (
            influence(small_model()),
            influence(small_model(factors=1, factor_size=6)),
        )
        assert (factored[blocks] != 0).all() and (factored[~blocks] == 0).all()
        assert (entangled != 0).all()


@pytest.mark.parametrize(
    "spoil, message",
    (
        (lambda x: x[0], r"expected \(B, T, 3, 8, 8\), found \(4, 3, 8, 8\)"),
        (lambda x: x[..., :4, :4], r"expected \(B, T, 3, 8, 8\), found \(3, 4, 3, 4, 4\)"),
        (lambda x: x.transpose(2, 4), r"found \(3, 4, 8, 8, 3\)"),
        (lambda x: x * 255, r"expected values in \[0, 1\], found .* divide bytes by 255"),
        (lambda x: x.masked_fill(x > 0.9, math.nan), "expected finite numbers, found NaN"),
    ),
)
def test_bad_frames_are_named(spoil, message):
    for use in (small_model().elbo, small_model().infer):
        with pytest.raises(ValueError, match=message):
            use(spoil(FRAMES))
