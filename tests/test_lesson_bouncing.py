"""The rule that names what a run has found, and the worlds that take a reason away."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from unbraid_course.lessons import n15

from papers.a import lesson_bouncing as bouncing
from papers.measured_runs import train_missing

KNOWN, UNKNOWN = 0.9, 0.1


def share(*factors):
    """R2 by factor and coordinate, of the factor (0 or 1) that each coordinate belongs to."""
    return np.array([[KNOWN if other == own else UNKNOWN for other in factors] for own in (0, 1)])


@pytest.mark.parametrize(
    ("factors", "name"),
    [
        ((0, 0, 1, 1), "digits"),
        ((1, 1, 0, 0), "digits"),
        ((0, 1, 0, 1), "x with x"),
        ((0, 1, 1, 0), "x with the other's y"),
        ((1, 0, 0, 0), "three and one"),
        ((1, 1, 1, 1), "all in one"),
    ],
)
def test_a_run_in_which_all_coordinates_belong_is_named_by_them(factors, name):
    assert n15.name_grouping(share(*factors)) == name


def test_what_is_half_known_or_known_twice_decides_nothing():
    for value, other in ((0.59, UNKNOWN), (KNOWN, 0.31)):
        scores = share(0, 0, 1, 1)
        scores[:, 0] = value, other
        assert n15.name_grouping(scores) == "not decided"
    edge = share(0, 0, 1, 1)
    edge[:, 0] = 0.6, 0.3
    assert n15.name_grouping(edge) == "digits"


def test_a_digit_is_dropped_if_no_factor_knows_either_of_its_coordinates():
    scores = share(0, 0, 1, 1)
    scores[:, 2:] = 0.29
    assert n15.name_grouping(scores) == "dropped"
    scores[1, 3] = 0.31
    assert n15.name_grouping(scores) == "not decided"


def paths(follow, speed=0.3, length=30):
    frames = torch.arange(length)[None, :, None, None]
    generator = torch.Generator().manual_seed(0)
    return follow(500, frames, torch.tensor([[speed], [speed]]), generator).double() - 0.5


def test_a_round_wall_mirrors_the_flight():
    places = paths(bouncing.round_wall)
    assert places.norm(dim=-1).max() <= 0.5 + 1e-5
    steps = places.diff(dim=1).norm(dim=-1)
    assert steps.max() <= 0.3 + 1e-4 and (steps > 0.299).double().mean() > 0.2
    # A wall keeps the angular momentum, so a free step has the same one before and after it.
    moment = bouncing.cross(places[:, :-1], places[:, 1:])[..., 0]
    free = steps > 0.3 - 1e-5
    both = free[:, 1:] & free[:, :-1]
    assert both.sum() > 100
    torch.testing.assert_close(moment[:, 1:][both], moment[:, :-1][both], rtol=0, atol=1e-4)
    # The distance from the middle is the same again after a wall, as far before as after.
    assert free[:, 0].double().mean() < 0.9


def test_the_turned_box_and_the_small_one_have_the_same_side_and_speed():
    turned, small = paths(bouncing.turned, 0.1), paths(bouncing.small, 0.1)
    assert (turned.abs().sum(-1) <= 0.5 + 1e-6).all()
    assert (small.abs() <= 0.5 / math.sqrt(2) + 1e-6).all()
    along = torch.stack([turned.sum(-1), turned[..., 1] - turned[..., 0]], -1) / math.sqrt(2)
    torch.testing.assert_close(
        along.abs().amax((0, 1, 2)), small.abs().amax((0, 1, 2)), rtol=1e-2, atol=0
    )
    for places in (turned, small):
        steps = places.diff(dim=1).norm(dim=-1)
        torch.testing.assert_close(steps.max().item(), 0.1 / math.sqrt(2), rtol=1e-4, atol=0)


@pytest.mark.parametrize("world", bouncing.SEEDS)
def test_each_world_trains_and_is_measured(world, monkeypatch):
    monkeypatch.setattr(bouncing, "MARKS", (2,))
    monkeypatch.setattr(bouncing, "END", 2)
    monkeypatch.setattr(bouncing, "keep", None)
    (row,) = bouncing.train_one(world, 0, 2)
    assert row["world"] == world and row["update"] == 2
    assert n15.read_scores(row).shape == (2, 4) and np.isfinite([*row.values()][2:]).all()
    assert n15.name_grouping(n15.read_scores(row)) in ("dropped", "not decided")
    assert sum(name.startswith("freeze_") for name in row) == 8 * (world == "bounce")
    if world == "turned":
        assert row["0_wall_orange_x"] != row["0_orange_x"]


def test_a_figure_of_the_last_mark_alone_leaves_the_other_cells_empty(tmp_path):
    rows = [{"world": "bounce", "seed": 0, "update": 1}]
    rows.append(rows[0] | {"update": 2, "freeze": 0.5})
    tasks = [{"world": "bounce", "seed": 0, "update": 2}]
    for _ in range(2):  # the second time nothing is left to train
        train_missing(tmp_path / "own.csv", tasks, lambda *task: rows.copy())
    text = (tmp_path / "own.csv").read_text()
    assert text.splitlines() == ["world,seed,update,freeze", "bounce,0,1,", "bounce,0,2,0.5"]


def test_in_all_twenty_starts_the_freeze_agrees_with_the_table():
    """As notebook 15 says: on 79 of 80 coordinates, and on all 64 that belong to a factor."""
    runs = pd.read_csv(bouncing.FOLDER / "own_bounce.csv").query("update == 8000")
    agree, belong = [], []
    for _, row in runs.iterrows():
        scores, kept = n15.read_scores(row), n15.read_scores(row, "freeze_")
        agree.append(scores.argmax(0) == kept.argmin(0))
        belong.append(((scores >= 0.6) & (scores[::-1] <= 0.3)).any(0))
    assert np.shape(agree) == (20, 4) and np.sum(agree) == 79
    assert np.sum(belong) == np.sum(np.logical_and(agree, belong)) == 64
