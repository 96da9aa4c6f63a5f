"""Rows that are not independent are doubted, and rows that are stay undoubted."""

import numpy as np
import pytest
from unbraid import kraskov, leakage_matrix, ross
from unbraid.measures.independence import doubt_independence, group_copies

RECORDING = np.repeat(np.arange(30), 10)


def copies(random, width):
    """Ten variants of each of 30 recordings."""
    return random.normal(size=(30, width))[RECORDING] + 0.02 * random.normal(size=(300, width))


def windows(random):
    """Windows of eight steps of two series, every second step a new one; (N, 8) each."""
    series = random.normal(size=(2, 610))
    return np.lib.stride_tricks.sliding_window_view(series, 8, axis=1)[:, :600:2]


def some_walk(random, rows=300):
    """Two walks among 1000 independent columns, and a factor that walks as well."""
    code, walks = random.normal(size=(rows, 1000)), random.normal(size=(rows, 3)).cumsum(axis=0)
    code[:, random.permutation(1000)[:2]] = walks[:, :2]
    return code, walks[:, 2:]


def one_hot(random, count):
    return np.eye(count)[random.integers(count, size=300)]


BLOCKS = np.repeat([0.0, 1, 0, 1], 75)[:, None]  # how people record
DEPENDENT = {
    "copies": lambda random: np.hsplit(copies(random, 2), 2),
    "copies of 2000 columns": lambda random: np.hsplit(copies(random, 2000), [1998]),
    "walks": lambda random: random.normal(size=(300, 2, 1)).cumsum(axis=0).swapaxes(0, 1),
    "two walks of many columns": some_walk,
    "windows": windows,
}
INDEPENDENT = {
    "normal": lambda random: random.normal(size=(2, 300, 1)),
    "2000 columns": lambda random: (random.normal(size=(300, 2000)), BLOCKS),
    "few rows": lambda random: (random.normal(size=(75, 600)), BLOCKS[::4]),
    "heavy tails": lambda random: (random.standard_cauchy(size=(300, 500)), BLOCKS),
    "counts": lambda random: (random.poisson(0.3, size=(300, 500)), BLOCKS),
    "one-hot": lambda random: (one_hot(random, 5), BLOCKS),
    "rare one-hot": lambda random: (one_hot(random, 100), BLOCKS),
    "four classes": lambda random: np.hsplit(
        one_hot(random, 4) @ random.normal(size=(4, 2)) + 0.02 * random.normal(size=(300, 2)), 2
    ),
    "a walk beside others": lambda random: (
        random.normal(size=(300, 9)).cumsum(axis=0),
        random.normal(size=(300, 9)),
    ),
    "sorted": lambda random: (
        np.sort(random.normal(size=(300, 1)), axis=0)
        + np.array([0, 0.1])[:, None, None] * random.normal(size=(2, 300, 1))
    ),
}


def count_doubts(make, draws=30):
    """Of how many draws it is doubted that rows are independent."""
    pairs = [make(np.random.default_rng(draw)) for draw in range(draws)]
    return sum(bool(doubt_independence(x * 1.0, y * 1.0)) for x, y in pairs)


@pytest.mark.parametrize("kind", DEPENDENT)
def test_dependent_rows_are_doubted(kind):
    assert count_doubts(DEPENDENT[kind]) >= 29


@pytest.mark.parametrize("kind", INDEPENDENT)
def test_independent_rows_are_not(kind):
    assert count_doubts(INDEPENDENT[kind]) <= 1


def test_a_constant_unit_hides_no_walk():
    x, y = some_walk(np.random.default_rng(0))
    assert doubt_independence(np.hstack([x, np.ones((300, 1))]), y)
    assert kraskov(x[:, :1], y[:, 0]).doubts == ()
    assert any("resembles" in said for said in kraskov(y[:, 0], y[:, 0] + x[:, 0]).doubts)


def test_classes_in_blocks_follow_and_a_list_sorted_by_them_or_by_a_column_does_not():
    random = np.random.default_rng(3)
    walk, blocks = some_walk(random)[0], BLOCKS[:, 0].astype(int)
    nothing = walk[:, :0]
    assert "resembles" in doubt_independence(walk, nothing, [blocks])[0]
    assert not doubt_independence(walk, nothing, [random.permutation(blocks)])
    assert not doubt_independence(walk, nothing, [np.sort(blocks)])
    falling = np.column_stack([-np.arange(300.0), walk])
    assert not doubt_independence(falling, nothing, [blocks])


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
    assert not leakage_matrix(codes, factors, doubt=False).doubts
    assert not leakage_matrix({"static": random.normal(size=(300, 6))}, factors).doubts
    free = {name: random.integers(4, size=300) for name in ("hair", "side")}
    separate = np.stack([*free.values()], 1) + 0.02 * random.normal(size=(300, 2))
    assert not leakage_matrix({"static": separate}, free).doubts
