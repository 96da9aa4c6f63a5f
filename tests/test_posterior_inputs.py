"""papers/a/posterior_inputs.py: what the posterior of notebook 14's model is passed."""

import itertools

import pandas as pd
import pytest
import torch
from unbraid import records

from papers.a import posterior_inputs


def run(lesson_14, passed, change=None, x=None):
    """The codes (4, 2, 50, 4) of two models with the same weights and noise, whatever is passed."""
    torch.manual_seed(0)
    filters = posterior_inputs.make_filter(passed)(2, 2)
    if change:
        change(filters)
    x = torch.randn(4, 2, 50, 8) if x is None else x
    noise = torch.randn(4, 2, 50, 4, generator=torch.Generator().manual_seed(1))
    return filters(x, noise)[1]


def test_passed_the_predicted_values_it_is_the_notebooks_own_model(lesson_14):
    x = torch.randn(4, 2, 50, 8)
    torch.manual_seed(0)
    noise = torch.randn(4, 2, 50, 4, generator=torch.Generator().manual_seed(1))
    expected = lesson_14.Filter(2, 2)(x, noise)[1]
    assert torch.equal(run(lesson_14, "predicted", x=x), expected)


def test_each_posterior_reads_what_it_is_passed_and_nothing_else(lesson_14):
    """The transitions are changed: only a posterior that reads what they predict sees it. Then the
    first frame: only without a past do later codes not depend on it."""

    def change(filters):
        with torch.no_grad():
            filters.transitions[-1].bias += 1

    x = torch.randn(4, 2, 50, 8)
    other = torch.cat([x[:1] + 1, x[1:]])
    for passed in posterior_inputs.PASSED:
        codes = run(lesson_14, passed, x=x)
        sees_prior = not torch.equal(codes, run(lesson_14, passed, change, x))
        sees_past = not torch.equal(codes[1:], run(lesson_14, passed, x=other)[1:])
        assert (sees_prior, sees_past) == (passed == "predicted", passed != "nothing"), passed


def test_models_are_measured_frame_by_frame(lesson_14):
    torch.manual_seed(0)
    filters = posterior_inputs.make_filter("predicted")(2, 2)
    with torch.no_grad():
        filters.posterior.weight[0].zero_()  # of the first model, whose code is noise
        filters.posterior.bias[0].copy_(torch.tensor([[0.0] * 4 + [2.0] * 4]))
    blind, other = posterior_inputs.measure(filters, "circle")
    for frame in range(1, 5):
        assert blind[f"deviation_{frame}"] == pytest.approx(torch.e, abs=1e-4)
        assert blind[f"places_{frame}"] < 0.05 and other[f"deviation_{frame}"] != torch.e
    assert filters.training and other["bound"] != blind["bound"]


def test_the_stored_starts_are_all_there():
    path = records.results() / "independent" / "posterior_inputs.csv"
    stored = pd.read_csv(path)[["law", "passed", "update", "seed"]].itertuples(index=False)
    laws, passed = posterior_inputs.LAWS, posterior_inputs.PASSED
    starts = range(posterior_inputs.STARTS)
    expected = itertools.product(laws, passed, posterior_inputs.MARKS, starts)
    assert [tuple(row) for row in stored] == list(expected)
