"""Correlation of codes across time, and intervals over seeds: known answers, coverage, errors."""

import numpy as np
import pytest
import torch
from scipy import stats
from unbraid.measures.correlation import block_fraction, correlation_matrix, cross_block
from unbraid.measures.intervals import Interval, format_interval, mean_interval, paired_difference


def test_correlation_matrix_is_numpys():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(50, 3)), 4 + 2 * generator.normal(size=(50, 2))
    np.testing.assert_allclose(
        correlation_matrix(a, b), np.corrcoef(a, b, rowvar=False), atol=1e-12
    )
    np.testing.assert_allclose(
        correlation_matrix(torch.from_numpy(a)), np.corrcoef(a, rowvar=False), atol=1e-12
    )
    np.testing.assert_allclose(
        cross_block(a, b), np.corrcoef(a, b, rowvar=False)[:3, 3:], atol=1e-12
    )


def test_cross_block_rows_are_now_and_columns_next():
    generator = np.random.default_rng(0)
    before = generator.normal(size=(2000, 2))
    after = np.stack(
        [before[:, 1], generator.normal(size=2000)], axis=1
    )  # the first unit's next value is the second's now
    cross = cross_block(before, after)
    assert cross[1, 0] == pytest.approx(1)
    assert np.abs(cross[[0, 0, 1], [0, 1, 1]]).max() < 0.1


def test_block_fraction():
    assert block_fraction(np.eye(4), [2, 2]) == 1
    assert block_fraction(np.ones((4, 4)), [2, 2]) == 0.5
    assert block_fraction(np.ones((4, 4)), [1, 3]) == pytest.approx(10 / 16)
    assert block_fraction([[1, -2], [0, 1]], [1, 1]) == pytest.approx(2 / 6)
    assert block_fraction(np.fliplr(np.eye(4)), [2, 2]) == 0


def test_mean_interval_is_students():
    values = [1.0, 2.0, 4.0, 4.5]
    low, high = stats.t.interval(0.9, 3, loc=np.mean(values), scale=stats.sem(values))
    found = mean_interval(values, confidence=0.9)
    assert (found.mean, found.low, found.high) == pytest.approx((2.875, low, high))
    assert found.n == 4 and found.half_width == pytest.approx((high - low) / 2)


@pytest.mark.parametrize("seeds", [3, 5])
def test_coverage_of_mean_interval(seeds):
    """2000 experiments: 95 % within 4 standard errors of a binomial share."""
    runs = np.random.default_rng(0).normal(3.0, 2.0, size=(2000, seeds))
    covered = np.mean([(i := mean_interval(values)).low <= 3 <= i.high for values in runs])
    assert abs(covered - 0.95) <= 4 * np.sqrt(0.95 * 0.05 / 2000)


def test_paired_difference_uses_the_pairing():
    generator = np.random.default_rng(0)
    seed_effect = generator.normal(0, 10, size=6)
    a, b = seed_effect + 1 + 0.1 * generator.normal(size=6), seed_effect
    found = paired_difference(a, b)
    assert found.low > 0.5 and found.high < 1.5 and found.n == 6
    assert found == mean_interval(a - b)


def test_a_single_seed_has_no_interval():
    found = mean_interval([2.5])
    assert found.mean == 2.5 and found.n == 1
    assert np.isnan([found.low, found.high, found.half_width]).all()


def test_format_interval():
    assert format_interval(Interval(4.614, 4.5, 4.728, 3)) == "4.61 ± 0.11 (3 seeds)"
    assert (
        format_interval(Interval(-2902.04, -2903, -2901.08, 5), digits=1)
        == "-2902.0 ± 1.0 (5 seeds)"
    )
    assert format_interval(mean_interval([0.25])) == "0.25 (1 seed)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: correlation_matrix(np.ones((5, 2))),
            r"a: expected units that vary, found unit 0 constant at 1; leave",
        ),
        (
            lambda: correlation_matrix(np.arange(5.0)),
            r"a: expected shape \(N, D\) with N >= 2, found \(5,\)",
        ),
        (
            lambda: cross_block(np.eye(3), np.eye(4)),
            r"a and b: expected as many rows in both, found 3 and 4",
        ),
        (
            lambda: correlation_matrix(np.eye(3), [[1, 2], [np.nan, 3], [0, 0]]),
            r"b: expected finite .* row 1, unit 0",
        ),
        (lambda: block_fraction(np.eye(4), [2, 1]), r"sizes: .* found \[2, 1\] for shape \(4, 4\)"),
        (lambda: mean_interval([]), r"values: expected one number a seed"),
        (
            lambda: mean_interval([1, np.nan]),
            r"values: expected finite numbers, found \[1.0, nan\]",
        ),
        (
            lambda: mean_interval([1, 2], confidence=95),
            r"confidence: expected a number between 0 and 1",
        ),
        (
            lambda: paired_difference([1, 2], [1]),
            r"a and b: expected pairs, found shapes \(2,\) and \(1,\)",
        ),
    ],
)
def test_errors_name_thing_expectation_and_finding(call, message):
    with pytest.raises(ValueError, match=message):
        call()
