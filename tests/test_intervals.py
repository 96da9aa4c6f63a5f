"""Intervals: known answers, a light test of coverage, degenerate samples, how they are written."""

import warnings

import numpy as np
import pytest
import torch
from scipy.stats import norm
from unbraid.checks import finite_array
from unbraid.measures.intervals import (
    Interval,
    bca_limits,
    bootstrap_interval,
    mean_interval,
    share_interval,
)


def test_the_mean_of_three_seeds_has_students_interval():
    found, reach = mean_interval([1.0, 2.0, 3.0]), 4.3027 / np.sqrt(3)
    limits = (found.mean, found.low, found.high, found.half_width)
    assert limits == pytest.approx((2, 2 - reach, 2 + reach, reach), abs=1e-4)


def test_one_seed_has_no_interval_and_equal_seeds_have_no_width():
    alone = mean_interval([0.3])
    assert alone.mean == 0.3 and np.isnan([alone.low, alone.high]).all()
    assert mean_interval([0.5, 0.5, 0.5]).half_width == 0


def test_a_share_has_wilsons_interval():
    """81 of 263 and 0 of 20: Newcombe, Stat. Med. 17, 857 (1998), table I, method 3."""
    found = share_interval(81, 263)
    assert (found.mean, found.low, found.high) == pytest.approx(
        (81 / 263, 0.2553, 0.3662), abs=5e-5
    )
    none = share_interval(0, 20)
    assert (none.low, none.high) == pytest.approx((0, 0.1611), abs=5e-5)


def test_the_bootstrap_corrects_for_bias_and_skew():
    """Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), (14.9) to (14.15)."""
    generator = np.random.default_rng(0)
    values = generator.exponential(size=30)
    drawn = values[generator.integers(30, size=(20_000, 30))].mean(1)
    left_out = np.array([np.delete(values, row).mean() for row in range(30)])
    gaps = left_out.mean() - left_out
    acceleration = (gaps**3).sum() / (6 * (gaps**2).sum() ** 1.5)
    bias = norm.ppf((drawn < values.mean()).mean())
    reach = bias + norm.ppf([0.025, 0.975])
    expected = np.quantile(drawn, norm.cdf(bias + reach / (1 - acceleration * reach)))
    found = bootstrap_interval(values, draws=20_000)
    assert [found.low, found.high] == pytest.approx(expected, rel=0.02)
    assert np.quantile(drawn, 0.975) < 0.97 * found.high  # plain percentiles would be too low


def test_rows_of_a_cluster_are_drawn_together():
    """Ten rows a cluster that agree within it count as one: as wide as the clusters alone."""
    values = np.random.default_rng(1).normal(size=40)
    rows, clusters = np.repeat(values, 10), np.repeat(np.arange(40), 10)
    alone, together = bootstrap_interval(values), bootstrap_interval(rows, clusters=clusters)
    assert together.n == 40
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high))
    assert bootstrap_interval(rows).half_width < 0.5 * together.half_width


def test_rows_of_several_values_count_them_all():
    values = np.random.default_rng(2).integers(20, size=(60, 3))  # sums without rounding: ties stay
    found = bootstrap_interval(values, np.arange(60) // 7)
    same = bootstrap_interval(values.flatten(), np.arange(180) // 21)
    assert (found.mean, found.n) == (values.mean(), 9)
    assert (found.low, found.high) == pytest.approx((same.low, same.high), abs=1e-12)


def test_degenerate_samples_have_an_answer_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(bootstrap_interval(np.ones(20)).low)
        assert np.isnan(bootstrap_interval(np.ones(4), clusters=np.zeros(4)).low)
        assert np.isnan(bootstrap_interval([1.0, 2.0], clusters=["a", "a"]).low)
        rare = bootstrap_interval(np.eye(12)[0])
        assert rare.low < rare.mean < rare.high <= 1


def test_where_draws_are_left_out_the_limits_are_percentiles_of_95_percent():
    drawn = np.append(np.arange(41.0), np.nan)
    assert bca_limits(20.0, drawn, np.arange(5.0)) == (1, 39)


@pytest.mark.parametrize(
    "interval, spec, text",
    [
        (Interval(0.5, 0.4, 0.6, 3), ".2f", "0.50 ± 0.10 (3 seeds)"),
        (Interval(0.5, 0.45, 0.7, 20, "person"), ".2f", "0.50 [0.45, 0.70] (20 persons)"),
        (Interval(0.5, np.nan, np.nan, 1), ".2f", "0.50 (1 seed)"),
        (Interval(0.5, 0.4, 0.6, 3), "", "0.5 ± 0.1 (3 seeds)"),
    ],
)
def test_there_is_one_way_to_write_an_interval(interval, spec, text):
    assert format(interval, spec) == text


def test_tensors_of_any_kind_become_arrays():
    values = torch.tensor([1.0, 2.0], dtype=torch.bfloat16, requires_grad=True)
    assert finite_array("x", values).tolist() == [1.0, 2.0]
    assert mean_interval(torch.tensor([1, 2, 3])).mean == 2
    assert share_interval(torch.tensor(1), np.float64(2)) == share_interval(1, 2)
