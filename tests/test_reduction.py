"""Wide codes and codes of steps: what is kept of them; held-out rows have no part in it."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from unbraid.measures.reduction import reduce_units, summarise_steps


def accuracy(code, labels):
    return cross_val_score(LogisticRegression(max_iter=1000), code, labels, cv=5).mean()


def swings(random, count=300, steps=24):
    """A unit that swings, of random phase: slow or fast, rising or falling, small or large."""
    speed, rise, size, level = random.integers(2, size=(4, count))
    phase, time = 2 * np.pi * random.random((count, 1)), np.arange(steps) / steps
    turns = np.where(speed, 5, 2)[:, None]
    swing = (0.6 + 0.6 * size[:, None]) * np.sin(2 * np.pi * turns * time + phase)
    path = swing + (2 * rise[:, None] - 1) * (time - 0.5) + level[:, None]
    return path[..., None], {"speed": speed, "rise": rise, "size": size, "level": level}


def test_each_part_of_a_summary_reads_what_the_mean_hides():
    code, factors = swings(np.random.default_rng(0))
    mean, spread, trend, pace = summarise_steps(code).T
    assert accuracy(mean[:, None], factors["level"]) == 1
    assert accuracy(trend[:, None], factors["rise"]) > 0.95
    assert accuracy(np.stack([spread, pace], 1), factors["size"]) > 0.95
    assert accuracy(np.stack([spread, pace], 1), factors["speed"]) > 0.95
    for name in ("speed", "rise", "size"):
        assert accuracy(mean[:, None], factors[name]) < 0.6
    assert summarise_steps(code[:, :1]).shape == (300, 1)
    assert (summarise_steps(code[:, :, 0]) == code[:, :, 0]).all()


@pytest.mark.parametrize("shape", [(150, 400), (150, 8, 400)])
def test_a_wide_code_keeps_what_many_units_share(shape):
    random = np.random.default_rng(1)
    labels, hidden = random.integers(2, size=150), random.normal(size=(*shape[:-1], 6))
    hidden[..., 0] += 3 * labels.reshape(-1, *[1] * (len(shape) - 2))
    code = hidden @ random.normal(size=(6, 400)) + 0.1 * random.normal(size=shape)
    reduced, share = reduce_units(code * np.logspace(-3, 3, 400), most=20)
    assert reduced.shape == (*shape[:-1], 20) and share > 0.95
    assert accuracy(reduced.reshape(150, -1), labels) > 0.85
    same = reduce_units(reduced, most=20)
    assert same.share == 1 and same.code is not code and (same.code == reduced).all()


def test_rows_held_out_have_no_part_in_the_components():
    random = np.random.default_rng(2)
    code, train = random.normal(size=(80, 300)), np.arange(80) < 60
    ours = reduce_units(code, train, most=30).code
    code[~train] = 100 * random.normal(size=(20, 300))
    assert np.allclose(ours[train], reduce_units(code, train, most=30).code[train])
    assert reduce_units(code, train).code.shape == (80, 59)
    with pytest.raises(ValueError, match="^train: "):
        reduce_units(code, np.arange(60))
