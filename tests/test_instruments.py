"""Instruments of pages: those of 13 and 33 find planted leaks, and none where nothing was."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import DOUBLE, seeded
from unbraid.distributions import DiagonalGaussian, kl
from unbraid.measures.information import same_and_cross

from papers.a.pairs import Pairs, best_partition
from papers.c.speech import equal_error_rate, speaker_trials


def count_alarms(define, number, inspect, spoil):
    """For each plant, which instruments give alarm in most of three draws: booleans."""
    find_line = define(number, "find_line").find_line
    line = find_line(np.array([inspect(spoil("nothing", each)) for each in range(8)]))
    seen = {}
    for how in ("linear", "product", "rotated"):
        alarms = [inspect(spoil(how, draw)) > line for draw in (7, 8, 9)]
        seen[how] = np.mean(alarms, axis=0) > 0.5
    return seen | {"nothing": inspect(spoil("nothing", 20)) > line}


def test_the_instruments_of_13(define):
    """Matrix, cross, R², products: the last one sees all, and the first one no product."""
    random, rows, units = np.random.default_rng(0), 500, 8
    places = random.normal(size=(2, rows, 2))
    own = np.concatenate([places, random.normal(size=(2, rows, units - 2))], 2)  # (2, N, d)
    now, later = (np.hstack(own + 0.3 * random.normal(size=own.shape)) for _ in range(2))
    pairs = SimpleNamespace(before=now, after=later, places=places, sd=np.ones_like(now))
    shown = define("13", "correlate", "spoil", "inspect", N=rows, seed=0)

    def inspect(codes):
        return np.array(shown.inspect(codes, 0, places[1]))

    seen = count_alarms(define, "13", inspect, lambda *how: shown.spoil(pairs, 0, *how))
    assert not seen["nothing"].any()
    assert seen["linear"][[0, 2, 3]].all() and seen["rotated"].all()
    assert seen["product"][3] and not seen["product"][0]  # a matrix sees linear leaks alone


def test_freezing_shows_a_leak_that_the_decoder_reads(define):
    """A decoder that draws blue at the place in factor 1, moved by what factor 0 leaks of it."""
    clip = torch.zeros(1, 6, 2, 1, 8)
    walk = {f"factor_{factor}": torch.arange(6.0).view(1, 6, 1) for factor in (0, 1)}

    def move(reads):
        def decode(codes):
            orange, blue = codes.values()
            columns = torch.cat([orange, blue + reads * (orange - blue)], 2).round().long()
            return torch.nn.functional.one_hot(columns, 8).float()[:, :, :, None]

        model = SimpleNamespace(code_names=[*walk], encode=lambda clip: walk, decode=decode)
        shown = define("13", "freeze", "freeze_each")
        _, decoded, frozen, _ = shown.freeze_each(model, clip)
        return not torch.equal(decoded[:, 1], frozen[:, 1])  # the blue plane

    assert move(reads=0.5) and not move(reads=0.0)


@pytest.fixture(scope="module")
def sprites_33():
    """What 33 knows of five samples of 296 characters, and the motion of each clip."""
    random = np.random.default_rng(0)
    motions = random.integers(9, size=(5, 296))
    d = random.normal(size=(5, 296, 256)).astype(np.float32)
    d[..., :12] += random.normal(size=(9, 12))[motions] * 3
    s = random.normal(size=(5, 296, 256)).astype(np.float32)
    s[..., :12] += random.normal(size=(296, 12))
    spread, units = np.ones_like(s), np.arange(12)
    given = {"MANY": 296, "DRAWS": 5, "seed": 0, "of_s": units, "of_d": units}
    return given | {"sampled": {"s": s, "d": d}, "spread": {"s": spread, "d": spread}}, motions


def test_the_instruments_of_33(define, sprites_33):
    """Matrix, KSG, Ross, linear probe, probe with products: together they see each plant."""
    given, motions = sprites_33
    units = np.arange(12)
    names = ("groups", "split", "linear", "squares", "products", "inspect", "spoil")
    shown = define("33", *names, **given)

    def inspect(both):
        return np.array(shown.inspect(both, "s", units, motions))

    seen = count_alarms(define, "33", inspect, lambda *how: shown.spoil("s", units, motions, *how))
    assert not seen["nothing"].any()
    assert seen["linear"][[0, 3, 4]].all()
    assert seen["product"][4] and not seen["product"][[0, 3]].any()
    assert seen["rotated"][3] and not seen["rotated"][[0, 4]].any()


def test_swaps_of_33_show_a_leak_that_the_decoder_reads(define, sprites_33):
    """The decoder draws the motion that it reads in s; the share with the motion of s's donor."""
    given, motions = sprites_33
    spoil = define("33", "spoil", **given).spoil
    shares = define("33", "donor_shares").donor_shares
    donor, motion = np.random.default_rng(1).permutation(296), motions[0]
    leaks = {}
    for how in ("nothing", "linear"):
        s = spoil("s", np.arange(12), motions, how, 3)["s"]
        means = np.stack([s[1:][motions[1:] == each].mean(0) for each in range(9)])
        drawn = ((s[0][:, None] - means)[..., :12] ** 2).sum(2).argmin(1)[donor]
        leaks[how] = shares(drawn, motion, motion[donor])[1]
    assert leaks["linear"] > 0.18 > leaks["nothing"]


# ---- numbers of pages against another computation of them


def test_same_and_cross_of_13(define):
    random = np.random.default_rng(0)
    now = random.normal(size=(120, 6))
    later = 0.9 * now + 0.3 * now[:, ::-1] + 0.2 * random.normal(size=now.shape)
    halves = np.hsplit(now, 2), np.hsplit(later, 2)
    same, cross, matrix = define("13", "same_and_cross", seed=5).same_and_cross(*halves)
    expected = same_and_cross(*halves, seed=5, raw=True)
    assert (same, cross) == pytest.approx((expected.same, expected.cross))
    np.testing.assert_allclose(matrix, expected.matrix)


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
    names = ("ORDERS", "predict", "shuffle_test")
    shown = define("36", *names, profile="smoke", seed=0)
    loads = torch.linspace(-1, 1, 12)[:, None, None] + 0.01 * torch.randn(12, 28, 1)
    oil = 10 * loads[..., 0]
    right, wrong = shown.shuffle_test(loads[::2], oil[::2], loads[1::2], oil[1::2])
    assert right < min(wrong) and len(wrong) == shown.ORDERS
    turned, wrong = shown.shuffle_test(loads[::2], oil[::2], loads[1::2], -oil[1::2])
    assert turned > sum(wrong) / len(wrong)
    assert shown.predict(loads[:2], oil[:2] * 0 + 3, loads[:3]).eq(3).all()
