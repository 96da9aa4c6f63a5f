"""Kraskov's estimators: against known answers, against the definition written as a double loop, and in their errors."""

import numpy as np
import pytest
import torch
from scipy.special import digamma
from scipy.stats import qmc
from sklearn.feature_selection import mutual_info_regression
from unbraid.measures.mutual_information import (
    best_partition,
    kraskov,
    neighbour_counts,
    ownership,
    same_and_cross,
)

LN2 = np.log(2)


def gaussian_pairs(seed, count, width, correlation, informative=None):
    """(x, y), each (N, d); every pair of columns correlated alike, or only the first `informative` of them."""
    generator = np.random.default_rng(seed)
    x, noise = generator.normal(size=(2, count, width))
    rho = np.full(width, float(correlation))
    if informative is not None:
        rho[informative:] = 0
    return x, rho * x + np.sqrt(1 - rho**2) * noise


def by_double_loop(x, y, k, variant):
    """Nats, straight from the definition; x, y: (N, d)."""
    count, total = len(x), 0.0
    for i in range(count):
        to_x = [max(abs(a - b) for a, b in zip(x[i], x[j])) for j in range(count) if j != i]
        to_y = [max(abs(a - b) for a, b in zip(y[i], y[j])) for j in range(count) if j != i]
        nearest = sorted(range(count - 1), key=lambda j: max(to_x[j], to_y[j]))[:k]
        if variant == 1:
            radius = max(to_x[nearest[-1]], to_y[nearest[-1]])
            total += digamma(sum(v < radius for v in to_x) + 1) + digamma(
                sum(v < radius for v in to_y) + 1
            )
        else:
            width_x, width_y = max(to_x[j] for j in nearest), max(to_y[j] for j in nearest)
            total += digamma(sum(v <= width_x for v in to_x)) + digamma(
                sum(v <= width_y for v in to_y)
            )
    return digamma(k) - (0 if variant == 1 else 1 / k) + digamma(count) - total / count


@pytest.mark.parametrize("variant", [1, 2])
@pytest.mark.parametrize(
    ("width_x", "width_y"), [(1, 1), (2, 2), (3, 1), (5, 5), (20, 2), (25, 25)]
)
def test_equals_the_definition(width_x, width_y, variant):
    generator = np.random.default_rng(width_x)
    x, y = generator.normal(size=(70, width_x)), generator.normal(size=(70, width_y))
    y[:, 0] += 2 * x[:, 0]
    for k in (1, 3, 69):
        ours = kraskov(x, y, k, variant, "nats", jitter=0).estimate
        assert ours == pytest.approx(by_double_loop(x, y, k, variant), abs=1e-9)


def test_equals_the_definition_on_a_grid():
    """Ties everywhere: here < and <= differ by whole rows of the grid."""
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 6, size=(2, 80, 2)).astype(float)
    strict = kraskov(x, y, 3, 1, "nats", jitter=0).estimate
    assert strict == pytest.approx(by_double_loop(x, y, 3, 1), abs=1e-9)
    # Variant 2: ties on x alone, so that the k joint neighbours are unique but their x-width is shared by many.
    x, y = 100.0 * generator.integers(0, 4, size=(80, 1)), generator.normal(size=(80, 1))
    for search in ("tree", "blocks"):
        count_x, _ = neighbour_counts(x, y, 3, 2, search)
        assert np.array_equal(count_x, [np.sum(x == v) - 1 for v in x])
    assert kraskov(x, y, 3, 2, "nats", jitter=0).estimate == pytest.approx(
        by_double_loop(x, y, 3, 2), abs=1e-9
    )


@pytest.mark.parametrize("variant", [1, 2])
@pytest.mark.parametrize("width", [1, 2, 5, 12])
def test_both_searches_count_alike(width, variant):
    x, y = gaussian_pairs(0, 1500, width, 0.9)
    tree, blocks = (neighbour_counts(x, y, 3, variant, search) for search in ("tree", "blocks"))
    assert np.array_equal(tree, blocks)


def test_float32_codes_give_the_float64_answer():
    x, y = (v.astype(np.float32) for v in gaussian_pairs(0, 1000, 5, 0.9))
    expected = kraskov(x.astype(np.float64), y.astype(np.float64)).estimate
    assert kraskov(x, y).estimate == expected
    assert kraskov(torch.from_numpy(x), torch.from_numpy(y)).estimate == expected


# Reference means of five runs at N = 1000, k = 3 (bits): width, correlation, variant, reference.
KNOWN = [
    (1, 0.0, 1, -0.005),
    (1, 0.0, 2, -0.015),
    (1, 0.6, 1, 0.301),
    (1, 0.9, 1, 1.178),
    (1, 0.9, 2, 1.169),
    (1, 0.99, 1, 2.883),
    (5, 0.9, 1, 3.834),
    (5, 0.9, 2, 3.957),
    (20, 0.5, 1, 0.760),
    (20, 0.9, 1, 3.860),
    (20, 0.9, 2, 4.015),
    (20, 0.99, 1, 6.592),
    (20, 0.99, 2, 6.735),
    (25, 0.9, 1, 3.76),
    (20, 0.0, 1, 0.03),
    (25, 0.0, 1, 0.002),
]


def agrees(reference, estimates):
    """Ours and the reference, itself a mean of five and rounded, differ by at most 3 standard errors of that difference."""
    spread = np.std(estimates, ddof=1) * np.sqrt(1 / 5 + 1 / len(estimates))
    return abs(np.mean(estimates) - reference) <= 3 * spread + 0.0005


@pytest.mark.parametrize(("width", "correlation", "variant", "reference"), KNOWN)
def test_known_answers(width, correlation, variant, reference):
    estimates = [
        kraskov(*gaussian_pairs(s, 1000, width, correlation), variant=variant).estimate
        for s in range(30)
    ]
    assert agrees(reference, estimates), (np.mean(estimates), np.std(estimates))
    true = -width / 2 * np.log2(1 - correlation**2)
    if width == 1:  # the estimator itself is right here, to the error of the mean
        assert abs(np.mean(estimates) - true) <= 3 * np.std(estimates, ddof=1) / np.sqrt(30) + 0.02


@pytest.mark.parametrize(("informative", "reference"), [(2, 0.386), (4, 0.848), (6, 1.28)])
def test_known_answers_with_few_informative_units(informative, reference):
    estimates = [
        kraskov(*gaussian_pairs(s, 1000, 20, 0.99, informative)).estimate for s in range(30)
    ]
    assert agrees(reference, estimates), (np.mean(estimates), np.std(estimates))


def test_known_answer_at_ten_thousand_samples():
    spread = (
        np.std([kraskov(*gaussian_pairs(s, 2500, 20, 0.9)).estimate for s in range(5)], ddof=1) / 2
    )
    estimate = kraskov(*gaussian_pairs(0, 10_000, 20, 0.9)).estimate
    assert abs(estimate - 5.549) <= 3 * spread * np.sqrt(1 + 1 / 5), (estimate, spread)


@pytest.mark.parametrize("width", [1, 20])
def test_identical_codes_reach_the_cap(width):
    """The jitter of x and y differs, so of each pair one side counts k - 1 and the other k: psi(N) - psi(k + 1)."""
    x, _ = gaussian_pairs(0, 1000, width, 0)
    cap = (digamma(1000) - digamma(4)) / LN2
    assert cap == pytest.approx(8.15, abs=0.005)
    assert kraskov(x, x).estimate == pytest.approx(cap, abs=0.005)


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.9, 0.99])
def test_agrees_with_scikit_learn(correlation):
    x, y = gaussian_pairs(3, 1000, 1, correlation)
    x, y = x / x.std(), y / y.std()  # scikit-learn scales both; its unit is nats
    theirs = mutual_info_regression(x, y[:, 0], n_neighbors=3, random_state=0)[0] / LN2
    assert kraskov(x, y).estimate == pytest.approx(theirs, abs=0.02)


@pytest.mark.parametrize("variant", [1, 2])
def test_what_must_not_change_the_estimate(variant):
    x, y = gaussian_pairs(1, 800, 6, 0.8)
    order = np.random.default_rng(0).permutation(6)
    rows = np.random.default_rng(1).permutation(800)
    base = kraskov(x, y, variant=variant).estimate
    for other in [
        (x[:, order], y),
        (x, y[:, order]),
        (y, x),
        (x[rows], y[rows]),
        (3 * x + 5, 3 * y - 2),
        (-x, y),
    ]:
        assert kraskov(*other, variant=variant).estimate == pytest.approx(base, abs=1e-6)
    assert kraskov(x, y, variant=variant, unit="nats").estimate == pytest.approx(
        base * LN2, rel=1e-12
    )
    assert (
        kraskov(x[:, 0], y, variant=variant).estimate
        == kraskov(x[:, :1], y, variant=variant).estimate
    )


def test_same_seed_same_answer():
    x, y = gaussian_pairs(2, 300, 2, 0.7)
    first, again = (kraskov(x, y, shuffles=5, interval=2, seed=4) for _ in range(2))
    assert first.estimate == again.estimate == kraskov(x, y, seed=4).estimate
    assert np.array_equal(first.null, again.null) and first.interval == again.interval
    other = kraskov(x, y, shuffles=5, interval=2, seed=5)
    assert not np.array_equal(first.null, other.null) and first.interval != other.interval
    plain = kraskov(x, y)
    assert (plain.null, plain.interval) == (None, None)
    assert (plain.samples, plain.k, plain.variant, plain.unit) == (300, 3, 1, "bits")


def test_shuffled_null_is_what_independent_pairs_give():
    dependent = kraskov(*gaussian_pairs(0, 500, 5, 0.9), shuffles=30)
    independent = [kraskov(*gaussian_pairs(s, 500, 5, 0)).estimate for s in range(1, 31)]
    error = np.sqrt((dependent.null.var(ddof=1) + np.var(independent, ddof=1)) / 30)
    assert abs(dependent.null.mean() - np.mean(independent)) <= 3.5 * error
    assert dependent.estimate > dependent.null.max() + 1


@pytest.mark.parametrize(("width", "correlation", "repeats"), [(1, 0.6, 100), (5, 0.9, 60)])
def test_coverage_of_the_interval(width, correlation, repeats):
    """Of the true value, and of the expected estimate at this N; five units on a side tell a lower limit only."""
    found = [
        kraskov(*gaussian_pairs(s, 300, width, correlation), interval=4, seed=s)
        for s in range(repeats)
    ]
    estimates = np.array([f.estimate for f in found])
    for aim in (-width / 2 * np.log2(1 - correlation**2), estimates.mean()):
        assert np.mean([f.interval[0] <= aim <= f.interval[1] for f in found]) >= 0.93
    assert all(np.isinf(f.interval[1]) == (width == 5) for f in found)
    assert np.mean([f.estimate - f.interval[0] for f in found]) <= 1.7 * 1.96 * estimates.std(
        ddof=1
    )  # and not bought by needless width


def two_factors(count=800, leak=0.0):
    """Factors a and b (3 units each) at t and t + 1, each predicted by its own past; `leak` of a goes into b's next value."""
    (a, next_a), (b, next_b) = gaussian_pairs(0, count, 3, 0.95), gaussian_pairs(1, count, 3, 0.95)
    return [a, b], [next_a, np.sqrt(1 - leak**2) * next_b + leak * a]


def test_same_and_cross():
    before, after = two_factors()
    found = same_and_cross(before, after)
    assert found.matrix[0, 0] == kraskov(before[0], after[0]).estimate
    assert found.matrix[0, 1] == kraskov(before[0], after[1]).estimate
    assert np.isnan(found.matrix[1, 0])  # not needed, so not computed
    assert found.same == pytest.approx((found.matrix[0, 0] + found.matrix[1, 1]) / 2)
    assert found.cross == found.matrix[0, 1]
    assert found.same > 2 and abs(found.cross) < 0.15
    full = same_and_cross(before, after, full=True)
    assert np.isfinite(full.matrix).all() and full.cross == found.cross
    assert same_and_cross(*two_factors(leak=0.9)).cross > 0.5
    assert np.isnan(same_and_cross(before[:1], after[:1]).cross)


def test_best_partition_finds_the_factors():
    before, after = two_factors(400, leak=0.3)
    found = best_partition(np.hstack(before), np.hstack(after), block=3, tries=12, seed=3)
    assert found.both_positive and found.tried.shape == (12, 2)
    gaps = (found.tried[:, 0] - found.tried[:, 1])[(found.tried > 0).all(axis=1)]
    assert found.same - found.cross == gaps.max()
    cut = found.permutation.reshape(2, 3)
    again = same_and_cross(
        [np.hstack(before)[:, c] for c in cut], [np.hstack(after)[:, c] for c in cut]
    )
    assert (again.same, again.cross) == (found.same, found.cross)
    as_lists = best_partition(before, after, block=3, tries=12, seed=3)
    assert np.array_equal(as_lists.tried, found.tried)


def test_best_partition_without_a_positive_one_says_so():
    # Points spread more evenly than chance make the estimate negative; each unit still knows its own next value.
    before = qmc.Halton(2, scramble=False).random(200)
    after = before + 1e-3 * np.random.default_rng(0).normal(size=(200, 2))
    found = best_partition(before, after, block=1, tries=3)
    assert (found.tried[:, 1] <= 0).all()
    assert not found.both_positive and found.same - found.cross == np.max(
        found.tried[:, 0] - found.tried[:, 1]
    )


def test_ownership():
    generator = np.random.default_rng(0)
    red, green = generator.uniform(-1, 1, size=(2, 600, 2))
    codes = [
        green @ generator.normal(size=(2, 4)),
        generator.normal(size=(600, 4)),
        red @ generator.normal(size=(2, 4)),
    ]
    codes = [c + 0.05 * generator.normal(size=c.shape) for c in codes]
    found = ownership(codes, {"red": red, "green": green})
    assert found.owner == {"red": 2, "green": 0}
    assert found.matrix.shape == (3, 2) and found.factors == ("red", "green")
    assert found.own == pytest.approx((found.matrix[2, 0] + found.matrix[0, 1]) / 2)
    assert found.other == pytest.approx((found.matrix[2, 1] + found.matrix[0, 0]) / 2)
    assert found.own > 2 and found.ratio > 10
    alone = ownership(codes, {"abscissa": green[:, 0]})
    assert alone.owner == {"abscissa": 0} and np.isnan(alone.other) and np.isnan(alone.ratio)


X, Y = gaussian_pairs(0, 20, 2, 0.5)
WITH_NAN, CONSTANT = X.copy(), X.copy()
WITH_NAN[3, 1] = np.nan
CONSTANT[:, 1] = 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: kraskov(X, Y, k=20),
            r"k: expected a whole number from 1 to N - 1 = 19, found 20; lower k",
        ),
        (lambda: kraskov(X, Y, k=0), r"k: .* found 0"),
        (lambda: kraskov(X, Y, k=2.5), r"k: .* found 2.5"),
        (
            lambda: kraskov(X, Y[:15]),
            r"x and y: expected as many rows in both, found 20 and 15; pair",
        ),
        (
            lambda: kraskov(WITH_NAN, Y),
            r"x: expected finite numbers, found nan at row 3, column 1; mend",
        ),
        (lambda: kraskov(X, np.where(Y > 1, np.inf, Y)), r"y: expected finite numbers, found inf"),
        (
            lambda: kraskov(X, CONSTANT),
            r"y: expected columns that vary, found column 1 constant at 7; leave",
        ),
        (
            lambda: kraskov(X[None], Y),
            r"x: expected shape \(N,\) or \(N, d\), found \(1, 20, 2\); flatten",
        ),
        (lambda: kraskov([], []), r"x: expected shape .* found \(0, 1\)"),
        (lambda: kraskov(X, Y, unit="bit"), r"unit: expected one of 'nats', 'bits', found 'bit'"),
        (lambda: kraskov(X, Y, variant=3), r"variant: expected 1 or 2, found 3"),
        (lambda: kraskov(X[:4], Y[:4], interval=1), r"interval: .* found N = 4; give more samples"),
        (lambda: same_and_cross([X], [Y, Y]), r"before and after: .* found 1 and 2"),
        (lambda: same_and_cross([X, WITH_NAN], [Y, Y]), r"before\[1\]: expected finite numbers"),
        (
            lambda: best_partition(X, Y, block=2),
            r"block: expected a size that cuts 2 units .* found 2",
        ),
        (
            lambda: best_partition(X, Y[:, :1], block=1),
            r"before and after: expected the same units, found 2 and 1",
        ),
        (lambda: best_partition(X, Y, block=1, tries=0), r"tries: expected at least 1"),
        (
            lambda: ownership([X], {}),
            r"ownership: expected at least one code and one factor, found 1 and 0",
        ),
        (lambda: ownership([X], {"red": CONSTANT}), r"factor 'red': expected columns that vary"),
    ],
)
def test_errors_name_thing_expectation_finding_and_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call()
