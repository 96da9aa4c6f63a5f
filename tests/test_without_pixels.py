"""Notebook 14: the paper's bound on eight numbers."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence


def test_eight_numbers_hide_places_and_steps(lesson_14):
    x, places = lesson_14.draw_clips("bounce", 50, torch.Generator().manual_seed(0))
    assert x.shape == (4, 50, 8) and places.shape == (4, 50, 4)
    state = x @ lesson_14.MIXING.T
    shares = state[..., :4] / places  # the places, scaled as one
    assert shares.std() < 1e-9 * shares.mean()
    steps = state[1:, ..., 4:] / (places[1:] - places[:-1])
    assert steps.std() < 1e-6 * steps.mean()


def test_a_factor_is_predicted_from_itself_alone(lesson_14):
    torch.manual_seed(1)
    filters = lesson_14.Filter(3, 2)
    z = torch.randn(3, 5, 4)
    other = z.clone()
    other[..., 2:] += 1
    (mean, _), (changed, _) = filters.prior(z), filters.prior(other)
    assert torch.equal(mean[..., :2], changed[..., :2])
    assert not torch.isclose(mean[..., 2:], changed[..., 2:]).any()
    alone = lesson_14.Filter(1, 2)
    alone.load_state_dict({name: of_two(value) for name, value in filters.state_dict().items()})
    assert torch.allclose(alone.prior(z[1:2])[0], mean[1:2])


def of_two(value):
    """The weights of the second of three models; a transition has two for each model."""
    return value[1:2] if len(value) == 3 else value[2:4]


def test_the_loss_is_minus_the_bound(lesson_14):
    torch.manual_seed(2)
    filters = lesson_14.Filter(2, 2)
    x, noise = torch.randn(3, 2, 7, 8), torch.randn(3, 2, 7, 4)
    loss, codes = filters(x, noise)
    expected = torch.zeros(2, 7)
    mean, log_variance = torch.zeros(2, 2, 7, 4)
    for t, frame in enumerate(x):
        if t:
            mean, log_variance = filters.prior(codes[t - 1])
        seen = filters.from_frame(frame), filters.from_prior(torch.cat([mean, log_variance], -1))
        hidden = torch.nn.functional.leaky_relu(torch.cat(seen, -1))
        hidden = torch.nn.functional.leaky_relu(filters.combine(hidden))
        m, s = filters.posterior(hidden).chunk(2, -1)
        q, p = Normal(m, (s / 2).exp()), Normal(mean, (log_variance / 2).exp())
        assert torch.allclose(codes[t], m + (s / 2).exp() * noise[t])
        likelihood = Normal(filters.decoder(codes[t]), 0.2**0.5).log_prob(frame).sum(-1)
        constant = 4 * torch.log(torch.tensor(2 * torch.pi * 0.2))  # that no gradient sees
        expected += kl_divergence(q, p).sum(-1) - likelihood - constant
    assert torch.allclose(loss, expected.mean(1) / 3)


def test_own_and_other_take_the_better_assignment(lesson_14):
    tables = torch.tensor([[[0.1, 0.3, 0.8, 1.0], [0.7, 0.9, 0.2, 0.0]]])
    own, other = lesson_14.own_and_other(tables)
    assert own.item() == pytest.approx(0.85) and other.item() == pytest.approx(0.15)
