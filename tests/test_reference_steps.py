"""Our bounds are what the authors train with."""

import math
from itertools import chain

import pytest
import torch
from helpers import DOUBLE, ELEMENT, close, count_parameters, seeded
from unbraid.models.independent import IndependentPrediction
from unbraid.models.single_element import SingleElement

from papers.c.variants import ReleasedElement
from tests.reference_steps import IndependentStep, SingleElementStep


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


def test_the_step_of_c_has_as_many_parameters_as_the_authors_networks():
    assert count_parameters(SingleElementStep()) == 14_900_163


@pytest.mark.parametrize("is_training", (False, True))
def test_the_step_of_c_is_our_bound_with_the_authors_weights(monkeypatch, is_training):
    """Loss, gradients and running statistics; in training, batches have their own statistics."""
    torch.manual_seed(0)
    sizes = ELEMENT | {"channels": 3, "image_size": 16, "width": 3, "static_size": 5}
    model = ReleasedElement(**sizes, anchor_alone=True).double().train(is_training)
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
    model = SingleElement(**ELEMENT).double()
    alone = ReleasedElement(**ELEMENT, anchor_alone=True).double()
    alone.load_state_dict(model.state_dict())
    noise = model.draw_noise(4, 5, seeded())
    frames = draw_frames(ELEMENT["channels"], ELEMENT["image_size"], 5)
    for is_training in (False, True):
        first, second = (each.train(is_training)(frames, noise) for each in (model, alone))
        close(first.log_likelihood, second.log_likelihood)
        is_same = torch.allclose(first.terms["anchor"], second.terms["anchor"], rtol=1e-10)
        assert is_same != is_training


def test_the_step_of_a_is_our_bound_of_a_single_frame(monkeypatch):
    torch.manual_seed(0)
    sizes = {"image_size": 16, "width": 3, "features": 4, "factor_size": 3, "hidden": 5}
    model = IndependentPrediction(**sizes).double()
    theirs = IndependentStep((3, 6), 4, latents=6).double()
    posterior = model.filter.posterior
    for layer in (posterior.from_mean, posterior.from_log_variance):
        torch.nn.init.zeros_(layer.bias)
    kept = (posterior.from_frame, posterior.combine, posterior.mean, posterior.log_variance)
    parts = (model.filter.encoder, *kept, model.decoder)
    copy_weights(chain(*(part.parameters() for part in parts)), theirs)

    frames, noise = draw_frames(3, 16, 1), model.draw_noise(4, 1, seeded())
    constant = math.log(2 * math.pi * 0.25) / 2 * 3 * 16 * 16
    expected = -model(frames, noise).elbo.mean() - constant
    fix_draws(monkeypatch, model.to_latents(noise)[:, 0])
    assert theirs(frames).item() == pytest.approx(expected.item(), rel=1e-9)
