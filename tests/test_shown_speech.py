"""The networks that 35 and 36 show, and the rate that 38 shows, give the library's numbers."""

import pytest
import torch
from unbraid.measures import verification
from unbraid.models.published_series import PublishedSeries
from unbraid.models.published_speech import PublishedSpeech

pytestmark = pytest.mark.usefixtures("without_gradients")


def with_weights(networks, model):
    """The shown networks with a model's weights, which stand in the same order."""
    weights = dict(zip(networks.state_dict(), model.state_dict().values(), strict=True))
    networks.load_state_dict(weights)
    return networks


def differ(ours, theirs):
    return (ours - theirs).abs().max().item()


def test_the_speech_networks_of_35(define):
    torch.manual_seed(0)
    model = PublishedSpeech(channels=101, features=101).eval()
    networks = with_weights(
        define("35", "Gaussian", "PublishedNetworks").PublishedNetworks(), model
    )
    x = torch.rand(3, 20, 101)
    noise = model.draw_noise(3, 20, torch.Generator().manual_seed(0))
    codes = model.encode(x, noise)
    s, d = networks.encode(x, noise["anchor"][:, None])
    assert differ(s.draw(noise["static"]), codes["static"]) < 1e-6
    assert differ(d.draw(noise["dynamic"]), codes["dynamic"]) < 1e-6
    assert differ(networks.decode(codes["static"], codes["dynamic"]), model.decode(codes)) < 1e-6
    prior = model.prior(codes["dynamic"])
    assert differ(networks.prior(codes["dynamic"]).mean, prior.mean) < 1e-6
    assert differ(networks.prior(codes["dynamic"]).log_variance, prior.log_variance) < 1e-6


def test_the_series_networks_of_36(define):
    torch.manual_seed(0)
    model = PublishedSeries(anchor="first").eval()
    networks = with_weights(
        define("36", "Gaussian", "PublishedNetworks").PublishedNetworks(), model
    )
    x = torch.randn(3, 5 * 24, 10)
    noise = model.draw_noise(3, 5, torch.Generator().manual_seed(0))
    windows = x.unflatten(1, (5, 24))
    observed = torch.rand(windows.shape, generator=torch.Generator().manual_seed(1)) > 0.4
    posterior = model.posterior(windows, observed, noise)
    s, d = networks.encode(windows, observed, noise["anchor"])
    assert differ(s.mean, posterior.static.mean) < 1e-6
    assert differ(s.log_variance, posterior.static.log_variance) < 1e-6
    assert differ(d.mean, posterior.dynamic.mean) < 1e-6
    assert differ(d.log_variance, posterior.dynamic.log_variance) < 1e-6
    codes = posterior.codes["static"], posterior.codes["dynamic"], noise["decoder"]
    ours, theirs = networks.decode(*codes), model.codec.decode(*codes)
    assert differ(ours.mean, theirs.mean) < 1e-6 and differ(ours.stddev, theirs.stddev) < 1e-6
    assert differ(networks.prior(codes[1]).mean, model.prior(codes[1]).mean) < 1e-6


@pytest.mark.parametrize("distance", (0.0, 1.0, 3.0))
def test_the_equal_error_rate_of_38(define, distance):
    scores = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    same = torch.arange(4000) < 1000
    scores[same] += distance
    expected = verification.equal_error_rate(scores, same)
    assert abs(define("38", "equal_error_rate").equal_error_rate(scores, same) - expected) < 2e-3
