"""The authors' networks of speech: the bound against a plain loop, what codes see."""

import torch
from helpers import DOUBLE, close, seeded, small
from test_single_element import normal, slow_prior, walk
from torch.distributions import Normal, kl_divergence
from unbraid.models.base import Batch

from papers import settings
from papers.run import weight_schedules

SECTION = "single_element.spoken_digits.published"
VALUES = torch.randn(4, 5, 3, generator=seeded(6), **DOUBLE)  # (B, T, bins)


# The bound, step by step


def leak(values):
    return torch.where(values > 0, values, 0.2 * values)


def slow_static(model, anchor):
    """q(s | x) of the anchor's features (B, g)."""
    linear, _, head = model.static_head
    hidden = torch.tanh(linear(anchor))
    return Normal(leak(head.mean(hidden)), torch.exp(leak(head.log_variance(hidden)) / 2))


def slow_errors(codec, codes, steps):
    """The squared error (B,) of the chunk decoded from codes, a list of (B, d + D)."""
    states = walk(codec.decoder_recurrent, codes)
    errors = [codec.decoder_linear(h) - x for h, x in zip(states, steps, strict=True)]
    return sum(error.square().sum(1) for error in errors)


@torch.no_grad()
def test_bound_and_loss_against_a_slow_loop():
    model = small("released speech")
    noise = model.draw_noise(4, 5, seeded(7))
    steps = list(VALUES.unbind(1))
    features = [model.codec.linear(state) for state in walk(model.codec.recurrent, steps)]
    q_s = slow_static(model, features[0])
    s = q_s.mean + q_s.stddev * noise["static"]
    inputs = [noise["anchor"], *(h - features[0] for h in features[1:])]
    hidden = walk(model.dynamic_encoder.recurrent, inputs)
    q_d = [normal(model.dynamic_encoder.head, h) for h in hidden]
    d = [q.mean + q.stddev * noise["dynamic"][:, t] for t, q in enumerate(q_d)]
    kl_s = kl_divergence(q_s, Normal(0.0, 1.0)).sum(1)
    pairs = zip(q_d, slow_prior(model.prior, d), strict=True)
    kl_d = sum(kl_divergence(q, p).sum(1) for q, p in pairs)
    whole = slow_errors(model.codec, [torch.cat([code, s], 1) for code in d], steps)
    alone = slow_errors(model.codec, [torch.cat([0 * code, s], 1) for code in d], steps)

    bound = model(VALUES, seeded(7))
    constant = 0.5 * 15 * torch.log(torch.tensor(torch.pi, **DOUBLE))  # at v = 1/2, of 5 x 3 values
    close(bound.log_likelihood, -whole - constant)
    close(bound.terms["still"], -alone - constant)
    close(bound.kl, {"static": kl_s, "dynamic": kl_d})
    published = 20 * whole + 100 * alone + kl_s + kl_d
    weights = weight_schedules(settings.load(SECTION, "full"))
    close(5 * bound.loss(weights), (published + 120 * constant).mean())


# What codes see, and what is decoded of them


def test_the_static_code_sees_the_whole_chunk():
    values = VALUES.clone().requires_grad_()
    static = small("released speech").encode(values)["static"]
    gradient = torch.autograd.grad(static.sum(), values)[0]
    assert gradient.flatten(2).any(2).all()


@torch.no_grad()
def test_padding_is_silence():
    """A mask changes nothing but that what it hides is 0, as in the authors' code."""
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[2:, 3:] = False
    model, silent = small("released speech"), VALUES * mask[..., None]
    close(model.elbo(Batch(VALUES, mask), seeded(1)).elbo, model.elbo(silent, seeded(1)).elbo)
    close(model.encode(Batch(VALUES, mask)), model.encode(silent))


@torch.no_grad()
def test_a_spectrum_is_decoded_of_the_codes_up_to_it():
    model = small("released speech")
    codes = model.encode(VALUES)
    changed = codes | {"dynamic": codes["dynamic"].clone()}
    changed["dynamic"][:, 2] += 1
    moved = (model.decode(codes) - model.decode(changed)).abs().amax((0, 2)) > 1e-9
    assert moved.tolist() == [False, False, True, True, True]
