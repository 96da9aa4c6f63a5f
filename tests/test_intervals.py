"""Intervals: known answers, degenerate samples."""

import warnings

import numpy as np
import pytest
import torch
from scipy.stats import norm, ttest_ind, ttest_rel
from sklearn.metrics import average_precision_score, roc_auc_score
from unbraid.measures.intervals import (
    bca_limits,
    difference_interval,
    mean_interval,
    ratio_limits,
)

from papers.intervals import bootstrap_interval, score_of_rows


def test_the_mean_of_three_seeds_has_students_interval():
    found, reach = mean_interval([1.0, 2.0, 3.0]), 4.3027 / np.sqrt(3)
    limits = (found.mean, found.low, found.high, found.half_width)
    assert limits == pytest.approx((2, 2 - reach, 2 + reach, reach), abs=1e-4)


def test_one_seed_has_no_interval_and_equal_seeds_have_no_width():
    alone = mean_interval([0.3])
    assert alone.mean == 0.3 and np.isnan([alone.low, alone.high]).all()
    assert mean_interval([0.5, 0.5, 0.5]).half_width == 0


def test_a_difference_is_paired_where_seeds_are_shared_and_else_welchs():
    ours, others = {0: 1.0, 1: 2.5, 2: 3.0, 4: 3.5}, {0: 0.7, 1: 2.0, 2: 2.9, 3: 9.0}
    welch = ttest_ind([*ours.values()], [*others.values()], equal_var=False).confidence_interval()
    found = difference_interval(ours, others)
    assert found == pytest.approx((2.5 - 3.65, *welch))
    del others[3]  # All of its seeds are ours.
    paired = ttest_rel([1.0, 2.5, 3.0], [0.7, 2.0, 2.9]).confidence_interval()
    assert difference_interval(ours, others) == pytest.approx((0.3, *paired))
    assert difference_interval(others, ours).high == pytest.approx(-paired.low)


def test_a_difference_of_one_seed_has_no_limits_and_of_nan_there_is_none():
    for others in ({0: 0.5}, {1: 0.5}):
        found = difference_interval({0: 1.0}, others)
        assert found.mean == 0.5 and np.isnan(found[1:]).all()
    assert np.isnan(difference_interval({0: 1.0, 1: 2.0}, {2: 0.5}).high)
    with pytest.raises(ValueError, match="^ours: "):
        difference_interval({0: 1.0, 1: np.nan}, {2: 0.5, 3: 1.0})


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
    (limits,) = ratio_limits(np.divide, values[None], np.ones((1, 30)), 20_000, 0)
    assert limits == pytest.approx(expected, rel=0.02)
    assert np.quantile(drawn, 0.975) < 0.97 * limits[1]  # plain percentiles would be too low


def test_a_score_of_test_items_has_the_limits_of_their_mean():
    """Half of 400 items are right: a standard error of .025, and of a fourth as many twice that."""
    is_right = np.arange(400) % 2
    found = bootstrap_interval(lambda rows: is_right[rows].mean(), 400)
    assert found == pytest.approx((0.5, 0.451, 0.549), abs=0.004)
    few = bootstrap_interval(lambda rows: is_right[rows].mean(), 100)
    assert few.half_width == pytest.approx(2 * found.half_width, rel=0.06)


def test_a_score_that_some_draws_do_not_have_has_limits_all_the_same():
    has_event = np.array([1, 0, 0, 0, 0])
    found = bootstrap_interval(lambda rows: has_event[rows].mean() or np.nan, 5)
    assert found.mean == 0.2 and found.low == 0.2 and found.high == pytest.approx(0.6, abs=0.01)
    assert np.isnan(bootstrap_interval(lambda rows: 1.0, 1)[1:]).all()


def test_degenerate_samples_have_an_answer_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ratio_limits(np.divide, np.ones((1, 20)), np.ones((1, 20)), 99, 0).tolist() == [
            [1, 1]
        ]
        assert np.isnan(ratio_limits(np.divide, np.ones((1, 1)), np.ones((1, 1)), 99, 0)).all()
        ((low, high),) = ratio_limits(np.divide, np.eye(12)[:1], np.ones((1, 12)), 2000, 0)
        assert low < 1 / 12 < high <= 1


def test_where_draws_are_left_out_the_limits_are_percentiles_of_95_percent():
    drawn = np.append(np.arange(41.0), np.nan)
    assert bca_limits(20.0, drawn, np.arange(5.0)) == (1, 39)


def test_tensors_of_any_kind_become_arrays():
    losses = [torch.tensor(value, requires_grad=True) for value in (1.0, 3.0)]
    for values in (losses, torch.tensor([1.0, 3.0], dtype=torch.bfloat16, requires_grad=True)):
        assert mean_interval(values).mean == 2


@pytest.mark.parametrize("levels", (3, 40, 10**9))  # of what is predicted: many ties to none
def test_draws_are_scored_as_scikit_learn_scores_them(levels):
    random = np.random.default_rng(levels)
    is_event = random.random(60) < 0.2
    predicted = (random.normal(size=60) + is_event).clip(-2, 2)
    predicted = np.round(predicted * levels) / levels
    for metric, known in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        score = score_of_rows(metric, is_event, predicted)
        for _ in range(50):
            rows = random.integers(60, size=60)
            expected = known(is_event[rows], predicted[rows])
            assert score(rows) == pytest.approx(expected, rel=0, abs=1e-12)
        for alike in (is_event, ~is_event):
            assert np.isnan(score(np.flatnonzero(alike)))
