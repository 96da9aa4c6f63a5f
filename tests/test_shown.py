"""What a notebook writes out gives the numbers of the library's or of papers' own function."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import DOUBLE, seeded
from unbraid import IndependentPrediction
from unbraid.data.moving_digits import Digits, MovingDigits
from unbraid.data.sequences import Sequences
from unbraid.distributions import DiagonalGaussian, kl
from unbraid.measures.information import same_and_cross
from unbraid.measures.swaps import swap_scores

from papers.a.pairs import Pairs, best_partition, collect_pairs
from papers.a.variants import GatedPrediction
from papers.b import evaluate as unordered
from papers.c import evaluate as clips
from papers.c.speech import equal_error_rate, speaker_trials
from papers.encoded import generation_scores

pytestmark = pytest.mark.usefixtures("without_gradients")


# ---- 13, paper A


@pytest.fixture(scope="module")
def sampler():
    """Moving digits of which each is a patch of noise."""
    images = torch.randint(256, (20, 28, 28), generator=seeded(0), dtype=torch.uint8)
    digits = Digits(images, torch.arange(20) % 10, "test", "noise")
    return MovingDigits(digits, image_size=32, length=4, motion="circle", speeds=(0.5, -0.9))


GATED = {"image_size": 32, "width": 4, "features": 8, "hidden": 8, "hidden_layers": 2}
GATED |= {"factor_size": 6, "decoder_hidden": 24, "activation": "silu", "normalise": False}
GATED |= {"output": "linear", "output_bias": 0.0, "variance": 0.05, "initial_log_variance": -4.0}


def build_gated():
    """The class of the long run, small and not trained."""
    torch.manual_seed(0)
    opening = ((0.0, (16, 16)), (0.0125, (5, 5)), (0.07, (16, 16)))  # of the long run
    return GatedPrediction(**GATED, opening=opening, decoder_apart=(0.07, 0.7))


def test_the_units_that_13_counts(define, sampler):
    library, frames = build_gated(), sampler(6, seeded(1)).frames
    shown = define("13", "measure_units", seed=5, watched=frames).measure_units
    bound = library.elbo(frames, library.draw_noise(6, 4, seeded(5)))
    expected = torch.stack(list(bound.kl.values()), 1).mean(0) / 4
    assert shown(library).sum(1) == pytest.approx(expected, rel=1e-4)


def test_same_and_cross_of_13(define):
    random = np.random.default_rng(0)
    now = random.normal(size=(120, 6))
    later = 0.9 * now + 0.3 * now[:, ::-1] + 0.2 * random.normal(size=now.shape)
    halves = np.hsplit(now, 2), np.hsplit(later, 2)
    same, cross, matrix = define("13", "same_and_cross", seed=5).same_and_cross(*halves)
    expected = same_and_cross(*halves, seed=5, raw=True)
    assert (same, cross) == pytest.approx((expected.same, expected.cross))
    np.testing.assert_allclose(matrix, expected.matrix)


def test_the_pairs_of_13(define, sampler):
    """All pairs of a clip, and one pair of each."""
    model = IndependentPrediction(**SMALL).eval()
    eight = MovingDigits(sampler.digits, 32, 8, motion="circle", speeds=(0.5, -0.9))
    shown = define("13", "sample_codes", "find_pairs", seed=5, N=40, sampler=eight)
    for apart in (True, False):
        pairs = shown.find_pairs(model, apart=apart)
        expected = collect_pairs(model, eight, 40, seeded(1005), apart=apart)
        np.testing.assert_allclose(pairs.before, expected.before, atol=1e-5)
        np.testing.assert_allclose(pairs.after, expected.after, atol=1e-5)
        np.testing.assert_allclose(pairs.places, [*expected.positions.values()])


def test_13_reads_which_half_of_the_units_knows_a_digit(define):
    random = np.random.default_rng(0)
    places = random.uniform(size=(2, 400, 2))
    units = np.concatenate([*places, random.normal(size=(400, 2))], 1)  # (400, 6)
    pairs = SimpleNamespace(after=units, places=places)
    shown = define("13", "score_places", "read_scores", find_pairs=lambda model, means: pairs)
    for order, known in (
        ([0, 1, 4, 2, 3, 5], [[1, 0], [0, 1]]),
        ([4, 2, 3, 0, 1, 5], [[0, 1], [1, 0]]),
    ):
        scores = shown.read_scores(None, np.array(order))
        np.testing.assert_array_equal(scores > 0.5, np.array(known) > 0)


def test_13_chooses_a_cut_as_the_authors_do(define):
    random = np.random.default_rng(0)
    now = random.normal(size=(150, 16))  # so many that no cut is drawn twice
    pairs = Pairs(now, 0.9 * now + 0.2 * now[:, ::-1] + 0.2 * random.normal(size=now.shape), {})
    shown = define("13", "same_and_cross", "measure", "cut", seed=5)
    for draw in range(3):
        order, tried = shown.cut(pairs, draw)
        expected = best_partition(pairs.before, pairs.after, 8, seed=draw)
        np.testing.assert_array_equal(order, expected[0])
        np.testing.assert_allclose(tried, expected[1], atol=0.01)
        same, cross, _ = shown.measure(pairs, order)
        assert [same, cross] in tried.tolist()


SMALL = {"image_size": 32, "width": 4, "features": 8, "factor_size": 3, "hidden": 8}
SMALL |= {"hidden_layers": 2, "normalise": False}


# ---- 24 to 27, paper B


def test_23_counts_as_papers_do(define):
    shown = define("23", "TIE", "count_nearer", "repaint", "coherence")
    frames_a, frames_b = (torch.rand(30, 3, 4, 4, generator=seeded(n)) for n in (1, 2))
    made = shown.repaint(frames_a, frames_a, frames_b)
    torch.testing.assert_close(made, frames_a + frames_b.mean(0) - frames_a.mean(0))
    truth, among = torch.arange(30), torch.cat([frames_b, frames_a, frames_b])  # with twins
    ranks = shown.count_nearer(made, truth, among)
    assert torch.equal(ranks, unordered.count_nearer(made, truth, among)) and ranks.max() > 0
    motions = torch.randint(3, (12, 5), generator=seeded(3))
    assert shown.coherence(motions.numpy()) == pytest.approx(unordered.agreement(motions))


def test_24_moves_maps_at_the_same_bound(define):
    """Posterior and prior move together, and what the decoder reads stays."""
    q, p = (
        DiagonalGaussian(torch.randn(5, n, 2, generator=seeded(n)), torch.full((5, n, 2), -1.0))
        for n in (4, 1)
    )
    gamma = torch.randn(5, 1, 2, generator=seeded(9))
    read = []
    given = {"gamma": gamma, "s": gamma[:, 0], "model": None}
    shown = define("24", "move", "decode_moved", **given)
    shown.decode_moved.__globals__["decode_all"] = lambda _, codes: read.append(codes["dynamic"])
    torch.testing.assert_close(kl(shown.move(q), shown.move(p)), kl(q, p))
    shown.decode_moved(shown.move(q).mean)
    torch.testing.assert_close(read, [q.mean])


# ---- 33 to 40, paper C and all models


def test_31_loses_what_the_closed_forms_say(define):
    """Both prices and their sum; everything in d; and nothing where q can be the posterior."""
    given = {"h": 1.4, "r": 0.2, "v": 0.15, "phi": 0.7, "DOUBLE": {"dtype": torch.float64}}
    names = ("joint", "posterior_of", "least_loss", "divide")
    shown = define("31", *names, **given)
    for length, memory, motion, noise in (
        (3, 0.7, 0.2, 0.15),
        (8, 0.95, 0.2, 0.15),
        (4, 0, 1, 0.01),
    ):
        steps = np.arange(length)
        moves = motion * np.where(memory, memory ** abs(steps[:, None] - steps), np.eye(length))
        prior, see = np.eye(length + 1), np.column_stack([np.full(length, 1.4), np.eye(length)])
        prior[1:, 1:] = moves
        precision = np.linalg.inv(prior) + see.T @ see / noise  # of s and all d, given x
        log_det = np.linalg.slogdet(precision)[1]
        known = 1 / np.linalg.inv(precision)[0, 0]  # one over the variance of s
        price = (known / (1 + 1.96 / (motion + noise)) - 1) / 2  # equation (5)
        blind = (np.log(precision.diagonal()).sum() - log_det) / 2
        place = np.linalg.inv(moves + 1.96) + np.eye(length) / noise  # of e = h s + d
        alone = (np.log(place.diagonal()).sum() - np.linalg.slogdet(place)[1]) / 2

        lost = shown.divide(length, memory, motion, noise)
        assert lost["who in s"] == pytest.approx(price + blind, rel=1e-6)
        assert lost["all in d"] == pytest.approx(alone, rel=1e-5)

        gain, rest = shown.posterior_of(
            range(length + 1), range(length), length, memory, motion, noise
        )
        frames = shown.joint(length, memory, motion, noise)[length + 1 :, length + 1 :]
        reads = torch.ones(length + 1, length)
        reads[0, 1:] = 0  # s reads the first frame
        given_all = rest, gain, frames, reads
        assert shown.least_loss(*given_all, is_blind=False) == pytest.approx(price, rel=1e-6)
        everything = rest, gain, frames, torch.ones_like(reads), False
        assert shown.least_loss(*everything) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "setting",
    [(3, 0.7, 0.2, 0.15), (8, 0.95, 0.2, 0.15), (3, 0.7, 0.001, 0.15), (8, 0.7, 0.001, 0.15)],
)
def test_31_loses_what_the_best_explicit_bound_loses(define, setting):
    """Each division as a model with a prior, a decoder and a q, whose bound gradients maximise."""
    given = {"h": 1.4, "r": 0.2, "v": 0.15, "phi": 0.7, "DOUBLE": {"dtype": torch.float64}}
    names = ("joint", "posterior_of", "least_loss", "divide")
    lost = define("31", *names, **given).divide(*setting)
    length, memory, motion, noise = setting
    one, first = torch.eye(length, **DOUBLE), torch.eye(length, **DOUBLE)[:1]
    steps = torch.arange(length)
    moves = motion * memory ** (steps[:, None] - steps).abs().double()
    of_places = moves + 1.96  # of e = 1.4 s + d
    turned = torch.linalg.svd(torch.linalg.cholesky(of_places))
    heights = torch.full((length, 1), 1.4, **DOUBLE)
    with_s = torch.block_diag(one[:1, :1], moves), torch.cat([heights, one], 1)
    models = {  # covariance of the prior, decoder, what means read
        "all in s": (one, turned.U * turned.S, first.expand(length, -1)),
        "all in d": (of_places, one, torch.ones_like(one)),
        "who in s": (*with_s, torch.cat([first, torch.ones_like(one)])),
    }
    assert models.keys() == lost.keys()
    for division, model in models.items():
        assert lost[division] == pytest.approx(lose(*model, of_places, noise), abs=1e-3), division


@torch.enable_grad()
def lose(prior, decoder, reads, of_places, noise):
    """Mean nats of log p(x) over the best bound, by its terms: reconstruction and KL.

    q has the means k x, and a diagonal covariance. Where reads is 0, so is k (C, T).
    """
    of_frames = of_places + noise * torch.eye(len(of_places), **DOUBLE)
    k = (reads * torch.linalg.pinv(decoder)).clone().requires_grad_()
    root = torch.full((len(prior),), 0.1, **DOUBLE, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [k, root], max_iter=2000, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )
    evidence = -(of_frames.logdet() + len(of_frames) * (np.log(2 * np.pi) + 1)) / 2

    def gap():
        read, of_q = reads * k, torch.diag(root)
        wrong = torch.eye(len(of_frames), **DOUBLE) - decoder @ read
        error = (wrong @ of_frames @ wrong.T).trace() + (decoder @ of_q).square().sum()
        likelihood = -(error / noise + len(of_frames) * np.log(2 * np.pi * noise)) / 2
        second = of_q @ of_q.T + read @ of_frames @ read.T  # moments of the codes
        log_det = of_q.diagonal().square().log().sum()
        kl = (prior.inverse() @ second).trace() - len(prior) + prior.logdet() - log_det
        return evidence - likelihood + kl / 2

    def closure():
        optimizer.zero_grad()
        lost = gap()
        lost.backward()
        return lost

    optimizer.step(closure)
    return gap().item()


def test_33_finds_a_planted_bit_in_one_clip_of_each_only(define):
    shown = define("33", "make_vectors", "count_found")
    random = np.random.default_rng(0)
    centres = 1.5 * random.standard_normal((9, 12))  # of nine motions

    def found(who, motion, bits):
        d = centres[motion] + 0.3 * random.standard_normal((len(who), 12))
        return shown.count_found(who, d, bits)[0]

    one_each, drawn = np.arange(296), random.integers(9, size=296)
    assert found(one_each, drawn, 1.0) >= 9 and found(one_each, drawn, 0.0) <= 2
    assert found(np.repeat(np.arange(22), 9), np.tile(np.arange(9), 22), 1.0) <= 2


def test_33_finds_the_true_clip_and_the_donor_as_papers_do(define):
    real = torch.rand(50, 3, 3, 4, 4, generator=seeded(10))
    made = (real[:40] + 0.6 * torch.rand(40, 3, 3, 4, 4, generator=seeded(11))).clamp(0, 1)
    shown = define("33", "find_nearest", "donor_shares", "entropy", "compute_scores")
    truth = torch.arange(40).roll(3)
    truth[:20] = torch.arange(20)
    among = Sequences(real, {}, (), (), "test", "made clips")
    share = (shown.find_nearest(made, real) == truth).double().mean()
    assert share == clips.share_nearest(made, among, truth) and 0 < share < 1

    judged, right, other = (torch.randint(3, (90,), generator=seeded(n)).numpy() for n in (1, 2, 3))
    scores = swap_scores({"who": judged}, {"who": right}, {"who": other}, [])
    found = scores.factors["who"]
    assert shown.donor_shares(judged, right, other) == (found.moved.mean, found.other)

    chances = torch.rand(90, 3, generator=seeded(12)).softmax(1).numpy()
    motions = np.arange(90) % 3  # as many clips of each
    expected = generation_scores(chances, motions)
    names = ("accuracy", "inception_score", "conditional_entropy", "marginal_entropy")
    expected = [expected[name] for name in names]
    np.testing.assert_allclose(shown.compute_scores(chances, motions), expected, rtol=1e-6)


def test_the_equal_error_rate_of_35(define):
    random = np.random.default_rng(0)
    vectors, speakers = random.normal(size=(60, 5)), np.arange(60) % 6
    vectors[:, 0] += 2 * speakers
    pairs = dict(zip(("ONE", "OTHER"), np.triu_indices(60, 1), strict=True))
    shown = define("35", "equal_error_rate", "verify", speaker=speakers, **pairs)
    expected = equal_error_rate(*speaker_trials(vectors, speakers))
    assert shown.verify(vectors) == pytest.approx(expected, abs=0.01)
    ten = np.array([0.9, 0.8, 0.7, 0.5, 0.3, 0.6, 0.4, 0.2, 0.1, -0.1])
    assert shown.equal_error_rate(ten, np.arange(10) < 5) == pytest.approx(0.2)


def test_36_shuffles_whole_months_and_sees_a_rule(define):
    """Where oil follows the loads, right labels win; where the test turns the rule, they lose."""
    names = ("orders", "predict", "shuffle_test")
    shown = define("36", *names, profile="smoke", seed=0)
    loads = torch.linspace(-1, 1, 12)[:, None, None] + 0.01 * torch.randn(12, 28, 1)
    oil = 10 * loads[..., 0]
    right, wrong = shown.shuffle_test(loads[::2], oil[::2], loads[1::2], oil[1::2])
    assert right < min(wrong) and len(wrong) == shown.orders
    turned, wrong = shown.shuffle_test(loads[::2], oil[::2], loads[1::2], -oil[1::2])
    assert turned > sum(wrong) / len(wrong)
    assert shown.predict(loads[:2], oil[:2] * 0 + 3, loads[:3]).eq(3).all()
