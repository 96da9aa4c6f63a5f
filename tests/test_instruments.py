"""Each instrument of 13 and 33 finds a leak that was planted, and none where nothing was."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch


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
    """Codes s and d of five samples of 296 characters, and the motion of each clip."""
    random = np.random.default_rng(0)
    motions = random.integers(9, size=(5, 296))
    d = random.normal(size=(5, 296, 256)).astype(np.float32)
    d[..., :12] += random.normal(size=(9, 12))[motions] * 3
    s = random.normal(size=(5, 296, 256)).astype(np.float32)
    s[..., :12] += random.normal(size=(296, 12))
    return {"s": s, "d": d}, motions


def test_the_instruments_of_33(define, sprites_33):
    """Matrix, KSG, Ross, linear probe, probe with products: together they see each plant."""
    sampled, motions = sprites_33
    units, spread = np.arange(12), {"s": np.ones_like(sampled["s"])}
    given = {"many": 296, "draws": 5, "seed": 0, "of_s": units, "of_d": units}
    given |= {"sampled": sampled, "spread": spread | {"d": spread["s"]}}
    names = ("groups", "linear", "squares", "products", "inspect", "spoil")
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
    sampled, motions = sprites_33
    units, spread = np.arange(12), {"s": np.ones_like(sampled["s"])}
    given = {"many": 296, "sampled": sampled, "spread": spread}
    spoil = define("33", "spoil", **given).spoil
    shares = define("33", "donor_shares").donor_shares
    donor, motion = np.random.default_rng(1).permutation(296), motions[0]
    leaks = {}
    for how in ("nothing", "linear"):
        s = spoil("s", units, motions, how, 3)["s"]
        means = np.stack([s[1:][motions[1:] == each].mean(0) for each in range(9)])
        drawn = ((s[0][:, None] - means)[..., :12] ** 2).sum(2).argmin(1)[donor]
        leaks[how] = shares(drawn, motion, motion[donor])[1]
    assert leaks["linear"] > 0.18 > leaks["nothing"]
