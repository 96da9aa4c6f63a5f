"""The authors' networks of series: the bound against a plain loop, what codes see."""

import pytest
import torch
from helpers import DOUBLE, close, seeded, small, within
from test_single_element import normal, slow_prior, walk
from torch.distributions import Normal, kl_divergence
from unbraid.models.base import Batch

from papers import settings
from papers.run import make_config, weight_schedules

AIR = "single_element.air_quality.published"
VALUES = torch.randn(3, 10, 3, generator=seeded(6), **DOUBLE)  # (B, T, C), five windows
MASK = torch.rand(3, 10, 3, generator=seeded(4)) < 0.5
MASK[1, 6:] = False  # the second series has three windows
NUMBER = {"first": 0, "middle": 2, "last": 4}  # of the anchor among five windows
every_anchor = pytest.mark.parametrize("anchor", NUMBER)


def cell(network, layer, suffix, x, state):
    """One step of an LSTM, from its weights: gates in, forget, candidate, out."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w, u, b, c = (getattr(network, f"{name}_l{layer}{suffix}") for name in names)
    i, f, g, o = (x @ w.T + b + state[0] @ u.T + c).chunk(4, -1)
    memory = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(memory), memory


def test_full_is_the_authors_configuration():
    """Four weights, draws of a sequence, sequences in a batch, and epochs times batches."""
    expected = {
        "physionet.published_death": (90, 9, 0.2, 0.01, 10, 30, 251 * 40),
        "physionet.published_ward": (80, 3, 0.2, 0.2, 10, 30, 401 * 40),
        "air_quality.published": (90, 20, 0.001, 0.3, 15, 10, 201 * 37),
        "etth1.published": (85, 11, 0.01, 0.001, 15, 10, 301 * 2),
    }
    terms = ("mean_log_likelihood", "anchor", "static_kl", "dynamic_kl")
    for section, values in expected.items():
        full = settings.load(f"single_element.{section}", "full")
        weights = [weight_schedules(full)[term] for term in terms]
        draws = make_config(full).monte_carlo_draws
        assert (*weights, draws, full.batch_size, full.steps) == values


# The bound, step by step


def gated_state(network, steps):
    """The last state of a GRU over a list of (B, inputs), from its weights."""
    state = torch.zeros(len(steps[0]), network.hidden_size, **DOUBLE)
    for x in steps:
        inputs = (x @ network.weight_ih_l0.T + network.bias_ih_l0).chunk(3, -1)
        states = (state @ network.weight_hh_l0.T + network.bias_hh_l0).chunk(3, -1)
        reset = torch.sigmoid(inputs[0] + states[0])
        update = torch.sigmoid(inputs[1] + states[1])
        candidate = torch.tanh(inputs[2] + reset * states[2])
        state = (1 - update) * candidate + update * state
    return state


def slow_decoder(codec, d, s, noise):
    """The distribution of one window, (B, steps, C). noise: (B, steps, g)."""
    start = torch.tanh(codec.start[0](torch.cat([d, s], 1)))
    state, steps = (start, start), []
    for x in noise.unbind(1):
        state = cell(codec.recurrent, 0, "", x, state)
        steps.append(codec.dense(state[0]))
    hidden = torch.stack(steps, 1)
    return Normal(codec.mean(hidden), torch.sigmoid(codec.deviation(hidden)) / 2)


def slow_terms(model, values, mask, noise, turn_mask):
    """What the authors' code adds up, of series (B, T, C): numbers (B,).

    A list of log-likelihoods of windows, that of the anchor's first step, the KL of s, and a list
    of KLs of d_t.
    """
    number = NUMBER[model.config.anchor]
    windows = (values * mask).split(2, 1)
    windows = windows[number:] + windows[:number]
    masks = mask.split(2, 1)
    if turn_mask:
        masks = masks[number:] + masks[:number]
    features = [[model.codec.encoder(x) for x in window.unbind(1)] for window in windows]
    summary = gated_state(model.anchor_recurrent, features[0])
    q_s = normal(model.static_head[2], torch.tanh(model.static_head[0](summary)))
    s = q_s.mean + q_s.stddev * noise["static"]

    features[0] = [noise["anchor"]] * 2
    encoder = model.dynamic_encoder
    d, q_d, log_likelihood = [], [], []
    for t, window in enumerate(windows):
        few_missing = (~masks[t]).sum(2, keepdim=True) < 2  # int(.7 x 3 variables)
        inputs = [features[t][step] * few_missing[:, step] for step in range(2)]
        q_d.append(normal(encoder.head, walk(encoder.recurrent, inputs)[-1]))
        d.append(q_d[t].mean + q_d[t].stddev * noise["dynamic"][:, t])
        decoded = slow_decoder(model.codec, d[t], s, noise["decoder"][:, t])
        log_likelihood.append(torch.where(masks[t], decoded.log_prob(window), 0.0).sum((1, 2)))
    first = slow_decoder(model.codec, d[0], s, noise["anchor_decoder"][:, 0])
    anchor = first.log_prob(windows[0][:, :1]).mean((1, 2))
    pairs = zip(q_d, slow_prior(model.prior, d), strict=True)
    kl_d = [kl_divergence(q, p).sum(1) for q, p in pairs]
    return log_likelihood, anchor, kl_divergence(q_s, Normal(0.0, 1.0)).sum(1), kl_d


@every_anchor
@pytest.mark.parametrize("turn_mask", (True, False))
@torch.no_grad()
def test_bound_and_loss_against_a_slow_loop(anchor, turn_mask):
    model = small("released series", anchor=anchor, turn_mask=turn_mask)
    noise = model.draw_noise(3, 5, seeded(7))
    log_likelihood, first_step, kl_s, kl_d = slow_terms(model, VALUES, MASK, noise, turn_mask)
    bound = model(Batch(VALUES, MASK), seeded(7))
    close(bound.log_likelihood, sum(log_likelihood))
    close(bound.kl, {"static": kl_s, "dynamic": sum(kl_d)})
    mean = sum(log_likelihood) / (10 * 3)
    close(bound.terms, {"anchor": first_step, "mean_log_likelihood": mean})
    assert len(kl_d) == 5  # of windows after the end of a series, too
    published = 90 * mean + 20 * first_step - 0.001 * kl_s - 0.3 * sum(kl_d)
    weights = weight_schedules(settings.load(AIR, "full"))
    close(10 * bound.loss(weights), -published.mean())


@torch.no_grad()
def test_in_training_a_batch_is_repeated():
    """Each sequence has draws of its own at every repetition; evaluation repeats nothing."""
    model = small("released series").train()
    noise = model.draw_noise(9, 5, seeded(3))
    repeated = model.elbo(Batch(VALUES, MASK), noise)
    assert repeated.elbo.shape == (9,) and len(repeated.elbo.unique()) == 9
    again = model.eval().elbo(Batch(VALUES.repeat(3, 1, 1), MASK.repeat(3, 1, 1)), noise)
    close(repeated.elbo, again.elbo)
    assert model.elbo(VALUES, seeded()).elbo.shape == (3,)


@torch.no_grad()
def test_a_mask_of_steps_is_one_of_all_their_values():
    model, steps = small("released series"), MASK.any(2)
    of_values = steps[..., None].expand_as(MASK)
    bound = model.elbo(Batch(VALUES, of_values), seeded())
    close(model.elbo(Batch(VALUES, steps), seeded()).elbo, bound.elbo)


# What each code sees


def windows_seen(values, code):
    """Which windows of a series a code (B, ...) depends on, by gradient."""
    if not code.requires_grad:
        return []
    gradient = torch.autograd.grad(code.sum(), values, retain_graph=True)[0]
    seen = gradient.unflatten(1, (5, 2)).flatten(2).any(2).any(0)
    return seen.nonzero()[:, 0].tolist()


@every_anchor
def test_a_code_sees_one_window(anchor):
    """The static code sees the anchor's; a dynamic code its own, and the anchor's only noise."""
    whole, number = small("released series"), NUMBER[anchor]
    model = whole.with_anchor(anchor)  # which shares the weights
    assert whole.config.anchor == "last"
    values = VALUES.clone().requires_grad_()
    codes = model.encode(values)
    assert windows_seen(values, codes["static"]) == [number]
    for t in range(5):
        assert windows_seen(values, codes["dynamic"][:, t]) == ([] if t == number else [t])


# Codes and training


@torch.no_grad()
def test_codes_from_the_prior():
    model = small("released series", anchor="middle")
    codes = model.generate(4000, 5, seeded())
    assert within(codes["static"], 0.0) and within(codes["static"].square(), 1.0)
    turned = codes["dynamic"].roll(-2, 1)  # the order in which the prior draws them
    prior = model.prior(turned)
    deviations = (turned - prior.mean) / prior.standard_deviation
    assert within(deviations, 0.0) and within(deviations.square(), 1.0)
    kept = model.generate(4000, 5, seeded(), {"dynamic": codes["dynamic"] + 1})
    assert torch.equal(kept["dynamic"], codes["dynamic"] + 1)
