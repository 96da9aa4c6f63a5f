"""One function wired in four ways: alike before the first update, and what the law may give."""

import numpy as np
import pytest
import torch
from helpers import seeded
from scipy.special import rel_entr
from unbraid.data.moving_digits import Digits, MovingDigits, bounce

from papers.a import wirings

BOXES = Digits(torch.full((3, 28, 28), 255).byte(), torch.arange(3), "test", "three squares")


@pytest.fixture(scope="module")
def base():
    """A base that was taught for a moment, and frames."""
    model, film = wirings.make_base(0.1, 0), MovingDigits(BOXES, 32, 5)
    wirings.teach(model, film, 0, updates=3)
    return model, film(2, seeded()).frames


def test_all_wirings_begin_as_one_function(base):
    assert wirings.check_starts(*base) < 1e-6
    assert len({tuple(wirings.order_units(name).tolist()) for name in wirings.WIRINGS}) == 4


@pytest.mark.parametrize("mistake", ("units", "transitions"))
def test_a_mistake_in_a_wiring_is_noticed(base, mistake, monkeypatch):
    if mistake == "units":  # of O those of X, whose transitions are others
        order = wirings.order_units
        monkeypatch.setattr(wirings, "order_units", lambda w: order("X" if w == "O" else w))
    else:  # the coordinate of a transition is read from another unit
        monkeypatch.setitem(wirings.WIRINGS, "A", ([0, 1, 2, 2], []))
    with pytest.raises((ValueError, RuntimeError)):
        wirings.check_starts(*base)


def test_the_ceiling_is_that_of_paths_drawn_from_the_law():
    """Of two frames, by counting 200 000 paths of the library's law, in whole pixels."""
    frames, speeds = torch.arange(2.0)[None, :, None, None], torch.tensor([[0.1], [0.1]])
    pixels = (bounce(100_000, frames, speeds, seeded()) * 18).round().long()
    paths = (pixels * torch.tensor([1, 19])[:, None, None]).sum(1)  # a number for each, (N, 2, 2)
    table = np.zeros((361, 361))
    np.add.at(table, tuple(paths.flatten(0, 1).T.numpy()), 1 / 200_000)
    known = rel_entr(table, np.outer(table.sum(1), table.sum(0))).sum()
    filled = [(count > 0).sum() for count in (table, table.sum(0), table.sum(1))]
    chance = (filled[0] - filled[1] - filled[2]) / 400_000  # what counting so few adds (Miller)
    assert wirings.count_ceiling(2) == pytest.approx(known - chance, abs=0.02)
    assert wirings.count_ceiling(1) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("coupling", (0.0, 0.5))
def test_all_in_one_is_never_worse(coupling):
    """Numbers that are predicted linearly: the best prediction from both never has a lower
    likelihood than that of each from its own past, and a higher one only where they depend."""
    true = torch.tensor([[0.8, coupling], [0.0, 0.8]])
    draws, before = seeded(), torch.zeros(20_000, 2)
    for _ in range(20):
        before, now = before @ true + torch.randn(before.shape, generator=draws), before
    before, now = now, before
    own = (before * now).sum(0) / before.square().sum(0) * before
    both = before @ torch.linalg.lstsq(before, now).solution
    nats = [-0.5 * (now - guess).var(0).log().sum().item() for guess in (own, both)]
    assert -1e-6 <= nats[1] - nats[0] < 1e-3 if coupling == 0 else nats[1] - nats[0] > 0.05
