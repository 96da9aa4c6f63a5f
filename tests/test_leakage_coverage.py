"""How often the intervals of the leakage matrix hold the truth, and its p-values where there is nothing to find."""

import numpy as np
import pytest
from unbraid.measures.discrete_information import mixture_information
from unbraid.measures.leakage import combine, information_matrix, leakage_matrix


def cells_over_test_sets(repeats, kind, signal, seeds=1, train=120, test=60):
    """Intervals from fresh test sets for probes trained once, and the skill that those probes have on 40 000 sequences."""

    def draw(g, count):
        if kind == "classes":
            y = g.integers(4, size=count)
            return signal * np.eye(4)[y] + g.normal(size=(count, 4)), y
        y = g.normal(size=count) if kind == "continuous" else g.standard_t(6, size=count)
        return signal * y[:, None] + g.normal(size=(count, 4)), y

    trained = [draw(np.random.default_rng([seed, 1]), train) for seed in range(seeds)]

    def measure(g, count, bootstrap):
        x, y = draw(g, count)
        at = np.arange(train, train + count)
        settings = {"test": at, "permutations": 1, "bootstrap": bootstrap}
        return [
            leakage_matrix({"x": np.vstack([a, x])}, {"y": np.append(b, y)}, **settings)
            for a, b in trained
        ]

    true = np.mean([one.value[0, 0] for one in measure(np.random.default_rng(1), 40_000, 20)])
    return [
        measure(np.random.default_rng([repeat, 2]), test, 100) for repeat in range(repeats)
    ], true


@pytest.mark.parametrize(
    ("kind", "signal"),
    [
        ("classes", 0),
        ("classes", 2),
        ("classes", 6),
        ("continuous", 0),
        ("continuous", 0.7),
        ("continuous", 5),
        ("heavy tails", 0.7),
    ],
)
def test_coverage_over_test_sequences(kind, signal, repeats=100):
    """Of 60 test sequences, from chance to a perfect reading; "over seeds" is another interval."""
    found, true = cells_over_test_sets(repeats, kind, signal)
    limits = np.array([one[0].test_interval[0, 0] for one in found])
    assert np.mean((limits[:, 0] <= true + 1e-9) & (true - 1e-9 <= limits[:, 1])) >= 0.93


def test_coverage_over_test_sequences_of_several_seeds_together():
    found, true = cells_over_test_sets(100, "classes", 2, seeds=3)
    limits = np.array([combine(one).test_interval[0, 0] for one in found])
    assert np.mean((limits[:, 0] <= true) & (true <= limits[:, 1])) >= 0.93


@pytest.mark.parametrize(
    ("kind", "signal", "spread"),
    [
        ("classes", 0, 0),
        ("classes", 2, 0.3),
        ("classes", 5, 0.3),
        ("continuous", 0, 0),
        ("continuous", 0.7, 0.1),
    ],
)
def test_coverage_over_seeds(kind, signal, spread, groups=100, size=3):
    """Each seed a model and data of its own; the interval is about the mean over all seeds. At 5 most seeds are perfect."""
    g, cells = np.random.default_rng(0), []
    for _ in range(groups * size):
        y = g.integers(4, size=150) if kind == "classes" else g.normal(size=150)
        units = np.eye(4)[y] if kind == "classes" else y[:, None]
        x = (signal + spread * g.normal()) * units + g.normal(size=(150, 4))
        cells.append(leakage_matrix({"x": x}, {"y": y}, permutations=1, seed=len(cells)))
    true = np.mean([one.value[0, 0] for one in cells])
    together = [combine(cells[i : i + size]) for i in range(0, len(cells), size)]
    limits = np.array([one.seed_interval[0, 0] for one in together])
    assert np.mean((limits[:, 0] <= true) & (true <= limits[:, 1])) >= 0.93
    assert together[0].seeds == size and together[0].value[0, 0] == np.mean(
        [one.value[0, 0] for one in cells[:size]]
    )


def test_p_values_where_there_is_nothing():
    """Codes and factors that know nothing of each other: no more than 5 in 100 below .05, and three standard errors."""
    g = np.random.default_rng(0)
    codes = {str(i): g.normal(size=(160, 3)) for i in range(8)}
    factors = {f"c{i}": g.integers(2 + i, size=160) for i in range(4)} | {
        f"f{i}": g.normal(size=160) for i in range(4)
    }
    by_probe, by_count = (
        leakage_matrix(codes, factors, permutations=99).p_value,
        information_matrix(codes, factors, interval=1).p_value,
    )
    for p_value in (by_probe, by_count):
        assert (
            np.mean(p_value <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 64)
            and np.mean(p_value <= 0.5) <= 0.7
        )
    assert np.mean(by_count <= 0.5) >= 0.3  # a probe that says the same of all has p = 1


def test_coverage_of_bits():
    """Of codes of few units, where the bias is small: three classes 2 spreads apart, and their truth."""
    true, held = mixture_information(2, 3), []
    for seed in range(100):
        g = np.random.default_rng(seed)
        y = g.integers(3, size=200)
        found = information_matrix(
            {"x": (2 * y + g.normal(size=200))[:, None]}, {"y": y}, shuffles=2, seed=seed
        )
        held.append(found.test_interval[0, 0, 0] <= true <= found.test_interval[0, 0, 1])
    assert np.mean(held) >= 0.93
