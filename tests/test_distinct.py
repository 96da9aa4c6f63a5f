"""Paper B trained on frames that f has not read, and with a Normal likelihood."""

import math

import pytest
import torch
from unbraid.models.unordered import UnorderedFrames
from unbraid.variants import PaintedFrames

from papers.b.variants import DistinctFrames, NormalFrames

SIZES = dict(image_size=8, widths=(8,), pair_width=8, hidden=8, static_size=4, dynamic_size=2)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DistinctFrames(palette=2, **SIZES)


def test_f_tells_nothing_about_single_frames_that_are_scored(model):
    frames = torch.rand(3, 6, 3, 8, 8, requires_grad=True)
    bound = model.elbo(frames, torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(bound.kl["static"].sum(), frames, retain_graph=True)
    assert gradient[:, :3].abs().sum() > 0 and gradient[:, 3:].abs().sum() == 0
    # The frames that f has read are scored by nothing: they count through f alone.
    noise = model.draw_noise(3, 6)
    changed = frames.detach().clone()
    changed[:, :3] = changed[:, :3].flip(1)  # q(f | y) does not depend on their order
    for one, other in zip(
        *(model.elbo(each, noise).kl.values() for each in (frames, changed)), strict=True
    ):
        torch.testing.assert_close(one, other)
    assert bound.length == 3


def test_what_is_not_in_training_is_scored_as_paper_b_does(model):
    plain = PaintedFrames(model.config)
    plain.load_state_dict(model.state_dict())
    frames = torch.rand(3, 5, 3, 8, 8)
    noise = model.draw_noise(3, 5)
    one, other = model.eval().elbo(frames, noise), plain.eval().elbo(frames, noise)
    torch.testing.assert_close(one.elbo, other.elbo)
    assert one.length == 5


def test_the_same_frames_twice_give_the_bound_of_paper_b(model):
    """With f read from a copy of the scored frames, the two bounds are one."""
    frames = torch.rand(3, 4, 3, 8, 8)
    noise = model.draw_noise(3, 8)
    twice = model.elbo(torch.cat([frames, frames], 1), noise)
    noise["dynamic"] = noise["dynamic"][:, 4:]
    once = model.eval().elbo(frames, noise)
    torch.testing.assert_close(twice.elbo, once.elbo)


def test_an_odd_number_of_frames_cannot_be_divided(model):
    with pytest.raises(ValueError, match="even number to divide, found 5"):
        model.elbo(torch.rand(2, 5, 3, 8, 8))


# ---- the Normal likelihood


@pytest.mark.parametrize("variance", [1.0, 0.01])
def test_a_normal_likelihood_weighs_squares_and_nothing_else_changes(variance):
    torch.manual_seed(0)
    model, plain = NormalFrames(variance=variance, **SIZES), UnorderedFrames(**SIZES)
    plain.load_state_dict(model.state_dict())
    frames, noise = torch.rand(3, 5, 3, 8, 8), model.draw_noise(3, 5)
    bound, bernoulli = model.elbo(frames, noise), plain.elbo(frames, noise)
    squared = (plain.decode(plain.encode(frames, noise)) - frames).square().flatten(1).sum(1)
    values = 5 * 3 * 8 * 8
    expected = -values / 2 * math.log(2 * math.pi * variance) - squared / (2 * variance)
    torch.testing.assert_close(bound.log_likelihood, expected)
    assert bound.length == bernoulli.length == 5
    for name, divergence in bernoulli.kl.items():
        torch.testing.assert_close(bound.kl[name], divergence)


def test_a_variance_is_above_0():
    with pytest.raises(ValueError, match="variance"):
        NormalFrames(variance=0.0, **SIZES)
