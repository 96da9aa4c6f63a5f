"""What 23 to 40 show gives the numbers of the library's or of papers' own copy."""

import math

import numpy as np
import pytest
import torch
from helpers import seeded, small
from unbraid.data.sequences import Sequences
from unbraid.distributions import DiagonalGaussian
from unbraid.measures import swaps, verification

from papers import encoded
from papers.b import evaluate as unordered
from papers.b import faces, poses
from papers.c import evaluate as clips
from papers.c.published_series import PublishedSeries
from papers.c.published_speech import PublishedSpeech
from papers.side_by_side import evaluate as benchmark
from papers.side_by_side import variants as averages
from papers.side_by_side import variants as sequence_vae

pytestmark = pytest.mark.usefixtures("without_gradients")

FRAMES_A = torch.rand(30, 3, 4, 4, generator=seeded(1))
FRAMES_B = torch.rand(30, 3, 4, 4, generator=seeded(2))


def people(masked=False):
    """Six people in five pictures each of 4 x 4 pixels, some of them not observed."""
    of_person = torch.rand(6, 1, 1, 4, 4, generator=seeded(3))
    frames = (255 * (0.7 * of_person + 0.3 * torch.rand(6, 5, 1, 4, 4, generator=seeded(4)))).byte()
    mask = torch.ones(6, 5, dtype=torch.bool)
    mask[2, 3:] = not masked
    labels = {"person": torch.arange(6)}
    return Sequences(frames, labels, ("person",), (), "train", "made people", mask)


# ---- part 2


def test_24_counts_repaints_and_finds_the_commonest_as_papers_do(define):
    shown = define("24", "TIE", "count_nearer", "repaint", "coherence")
    made = shown.repaint(FRAMES_A, FRAMES_B)
    assert torch.equal(made, poses.repaint(FRAMES_A, FRAMES_B))
    truth, among = torch.arange(30), torch.cat([FRAMES_B, FRAMES_A, FRAMES_B])  # with twins
    ranks = shown.count_nearer(made, truth, among)
    assert torch.equal(ranks, poses.count_nearer(made, truth, among)) and ranks.max() > 0
    named = torch.randint(4, (7, 9), generator=seeded(5))
    expected = swaps.agreement(named)
    assert math.isclose(float(shown.coherence(named.numpy())), expected, rel_tol=1e-9)
    assert 0.3 < expected < 1


@pytest.mark.parametrize("masked", (False, True))
def test_27_whitens_and_identifies_as_papers_do(define, masked):
    shown = define("27", "fit_whitening", "name_nearest")
    matrix = shown.fit_whitening(people(masked))
    torch.testing.assert_close(matrix, faces.fit_whitening(people(masked)))
    known, asked = torch.rand(20, 5, generator=seeded(6)), torch.rand(30, 5, generator=seeded(7))
    names, truth = torch.arange(20) % 4, torch.arange(30) % 4
    share = (shown.name_nearest(known, names, asked) == truth).double().mean()
    assert float(share) == faces.nearest_accuracy(known, names, asked, truth)
    assert 0 < share < 1


def test_23_draws_frames_and_reads_skills_as_papers_do(define):
    shown = define("23", "draw_frames", "accuracy_from_skill")
    for count in (2, 5):
        drawn = [
            f(people(True), count, seeded(8)) for f in (shown.draw_frames, unordered.draw_frames)
        ]
        assert torch.equal(drawn[0].frames, drawn[1].frames) and drawn[0].mask is None
        assert drawn[0].frames.shape[1] == min(count, 3)  # as many as the shortest has
    known, asked = torch.tensor([0, 1, 1, 2]), torch.tensor([1, 1, 2, 0, 1])
    accuracy = shown.accuracy_from_skill(0.25, known, asked)
    assert accuracy == unordered.accuracy_from_skill(0.25, known, asked) == 1 - 0.75 * 0.4


def test_25_averages_the_prior_as_papers_do(define):
    model = small("unordered", initial_log_variance=0.0)
    for layer in model.prior_dense[::2]:
        layer.weight *= 6  # so that p(z | f) differs from f to f
    static = torch.randn(40, 4, generator=seeded(9), dtype=torch.float64)
    shown = define("25", "prior_from_average", seed=0)
    prior = model.prior(static)
    assert isinstance(prior, DiagonalGaussian)
    found = shown.prior_from_average(prior)
    expected = unordered.prior_from_average(model, static, 0)["prior_from_average"]
    assert 0.1 < expected < math.log(40) and abs(found - expected) < 0.1 * expected  # other draws


# ---- part 3


def test_33_finds_the_true_clip_and_the_donor_as_papers_do(define):
    real = torch.rand(50, 3, 3, 4, 4, generator=seeded(10))
    made = (real[:40] + 0.6 * torch.rand(40, 3, 3, 4, 4, generator=seeded(11))).clamp(0, 1)
    shown = define("33", "share_nearest", "donor_shares", "compute_scores", real=real)
    truth = torch.arange(40).roll(3)
    truth[:20] = torch.arange(20)
    among = Sequences(real, {}, (), (), "test", "made clips")
    share = shown.share_nearest(made, truth)
    assert share == clips.share_nearest(made, among, truth) and 0 < share < 1

    judged, right, other = (torch.randint(3, (90,), generator=seeded(n)).numpy() for n in (1, 2, 3))
    own, others = shown.donor_shares(judged, right, other)
    assert others == encoded.donor_shares(judged, right, other)[1]
    differ = right != other  # 33's share of the right donor is over these, papers' over all
    assert own == encoded.donor_shares(judged[differ], right[differ], other[differ])[0]
    assert own != encoded.donor_shares(judged, right, other)[0]

    chances = torch.rand(90, 3, generator=seeded(12)).softmax(1).numpy()
    found = shown.compute_scores(chances, right)
    expected = swaps.generation_scores(chances, right)
    names = ("conditional_entropy", "marginal_entropy", "inception_score")
    np.testing.assert_allclose(found, [getattr(expected, name).mean for name in names], rtol=1e-9)


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
    noise = model.draw_noise(3, 20, seeded(0))
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
    noise = model.draw_noise(3, 5, seeded(0))
    windows = x.unflatten(1, (5, 24))
    observed = torch.rand(windows.shape, generator=seeded(1)) > 0.4
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
    scores = torch.randn(4000, generator=seeded(0))
    same = torch.arange(4000) < 1000
    scores[same] += distance
    expected = verification.equal_error_rate(scores, same)
    assert abs(define("38", "equal_error_rate").equal_error_rate(scores, same) - expected) < 2e-3


# ---- part 4

FRAMES = torch.rand(3, 8, 3, 32, 32, generator=seeded(1))
CLASSES = {
    "SequenceVAE": (sequence_vae.SequenceVAE, {"hidden": 32}),
    "FrameVAE": (averages.FrameVAE, {}),
}


@pytest.mark.parametrize("name", CLASSES)
def test_the_classes_of_40_are_those_of_papers(define, name):
    kind, sizes = CLASSES[name]
    torch.manual_seed(0)
    own = kind(**sizes).eval()
    shown = getattr(define("40", *CLASSES), name)().eval()
    shown.load_state_dict(own.state_dict())
    codes, expected = shown.encode(FRAMES), own.encode(FRAMES)
    assert set(codes) == set(expected)
    for each in codes:
        torch.testing.assert_close(codes[each], expected[each])
    torch.testing.assert_close(shown.decode(codes), own.decode(expected))
    assert not torch.allclose(shown.decode(codes)[0], shown.decode(codes)[1])
    if name == "SequenceVAE":
        noise = own.draw_noise(3, 8, seeded(2))
        torch.testing.assert_close(shown.elbo(FRAMES, noise), own.elbo(FRAMES, noise).elbo)


def test_40_finds_the_nearest_of_four_as_papers_do(define):
    shown = define("40", "nearest_of_four")
    four = torch.rand(4, 20, 3, 2, generator=seeded(3))
    made = torch.rand(20, 3, 2, generator=seeded(4))
    found = shown.nearest_of_four(made, four)
    assert torch.equal(found, benchmark.find_nearest(made, tuple(four)))
    assert len(found.unique()) == 4
