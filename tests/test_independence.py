"""Rows that are not independent are doubted, and rows that are stay undoubted."""

import numpy as np
import pytest
from unbraid import kraskov, leakage_matrix, ross
from unbraid.measures.independence import group_copies

RECORDING = np.repeat(np.arange(30), 10)


def copies(random, width):
    """Ten variants of each of 30 recordings."""
    return random.normal(size=(30, width))[RECORDING] + 0.02 * random.normal(size=(300, width))


def windows(random):
    """Windows of eight steps of a series, every second step a new one; (N, 8) each."""
    series = random.normal(size=(2, 610))
    return np.lib.stride_tricks.sliding_window_view(series, 8, axis=1)[:, :600:2]


DEPENDENT = {
    "copies": lambda random: copies(random, 2).T,
    "copies of six columns": lambda random: np.hsplit(copies(random, 6), 2),
    "walks": lambda random: random.normal(size=(2, 300)).cumsum(axis=1),
    "windows": windows,
}
INDEPENDENT = {
    "normal": lambda random: random.normal(size=(2, 300)),
    "ten columns": lambda random: random.normal(size=(2, 300, 10)),
    "a line": lambda random: (
        random.normal(size=300) + np.array([[0], [1e-3]]) * random.normal(size=300)
    ),
    "heavy tails": lambda random: random.standard_cauchy(size=(2, 300)),
    "four classes": lambda random: (
        random.normal(size=(4, 2))[random.integers(4, size=300)].T
        + 0.02 * random.normal(size=(2, 300))
    ),
    "sorted": lambda random: (
        np.sort(random.normal(size=300)) + np.array([[0], [0.1]]) * random.normal(size=300)
    ),
}


def share_doubted(make, draws=30):
    """How often `kraskov` doubts that rows are independent."""
    said = [kraskov(*make(np.random.default_rng(draw))).doubts for draw in range(draws)]
    return np.mean([any("near copies" in s or "resembles" in s for s in each) for each in said])


@pytest.mark.parametrize("kind", DEPENDENT)
def test_dependent_rows_are_doubted(kind):
    assert share_doubted(DEPENDENT[kind]) >= 0.95


@pytest.mark.parametrize("kind", INDEPENDENT)
def test_independent_rows_are_not(kind):
    assert share_doubted(INDEPENDENT[kind]) <= 0.05


def test_copies_are_grouped_by_what_they_are_copies_of():
    groups = group_copies(copies(np.random.default_rng(0), 6))
    assert np.array_equal(groups, RECORDING)
    assert np.array_equal(group_copies(np.random.default_rng(0).normal(size=(90, 3))), range(90))
    with pytest.raises(ValueError, match="^x: "):
        group_copies(np.zeros(9))


def test_a_code_of_classes_is_no_copy_and_copies_within_classes_are():
    random = np.random.default_rng(1)
    labels = random.integers(30, size=300)
    code = random.normal(size=(30, 6))[labels] + 0.02 * random.normal(size=(300, 6))
    assert not any("near copies" in said for said in ross(code, labels).doubts)
    assert (
        "near copies" in ross(copies(random, 3), random.integers(4, size=30)[RECORDING]).doubts[0]
    )
    in_order = np.sort(labels)
    assert not ross(
        random.normal(size=(30, 1))[in_order] + random.normal(size=(300, 1)), in_order
    ).doubts


def test_a_leakage_matrix_has_the_doubt_unless_groups_are_named():
    random = np.random.default_rng(2)
    codes = {"static": copies(random, 6)}
    factors = {name: random.integers(4, size=30)[RECORDING] for name in ("hair", "side", "top")}
    (said,) = leakage_matrix(codes, factors).doubts
    assert "30 groups" in said and "groups" in said
    assert not leakage_matrix(codes, factors, groups=RECORDING).doubts
    assert not leakage_matrix({"static": random.normal(size=(300, 6))}, factors).doubts
    free = {name: random.integers(4, size=300) for name in ("hair", "side")}
    separate = np.stack([*free.values()], 1) + 0.02 * random.normal(size=(300, 2))
    assert not leakage_matrix({"static": separate}, free).doubts
