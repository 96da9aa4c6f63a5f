"""Mutual information and correlation of codes: definitions, known answers, bad input."""

import re

import numpy as np
import pytest
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_classif
from unbraid.measures.information import (
    count_within,
    cross_block,
    distance_of_neighbour,
    kraskov,
    ross,
    ross_bits,
    same_and_cross,
)
from unbraid.measures.leakage import leakage_matrix


def gaussian_pairs(seed, count, width, correlation):
    """x and y (N, d), every pair of columns correlated alike."""
    x, noise = np.random.default_rng(seed).normal(size=(2, count, width))
    return x, correlation * x + np.sqrt(1 - correlation**2) * noise


def kraskov_by_loop(x, y, k):
    """Bits, straight from the definition."""
    count, total = len(x), 0.0
    for i in range(count):
        to_x = np.abs(np.delete(x, i, 0) - x[i]).max(axis=1)
        to_y = np.abs(np.delete(y, i, 0) - y[i]).max(axis=1)
        joint = np.maximum(to_x, to_y)
        radius = np.sort(joint)[k - 1]
        total += digamma((to_x < radius).sum() + 1) + digamma((to_y < radius).sum() + 1)
    return (digamma(k) + digamma(count) - total / count) / np.log(2)


# Of few units by trees, of many units by comparing all.
@pytest.mark.parametrize("count, width_x, width_y", [(70, 1, 1), (700, 2, 1), (70, 20, 20)])
def test_kraskov_equals_its_definition(count, width_x, width_y):
    generator = np.random.default_rng(width_x)
    x, y = generator.normal(size=(count, width_x)), generator.normal(size=(count, width_y))
    y[:, 0] += 2 * x[:, 0]
    for k in (1, 3, 69):
        estimate = kraskov(x, y, k, jitter=0, raw=True).estimate
        assert estimate == pytest.approx(kraskov_by_loop(x, y, k), abs=1e-9)
    scaled = kraskov(x / x.std(0), y / y.std(0), raw=True).estimate
    assert kraskov(x, y).estimate == pytest.approx(scaled, abs=1e-9)


def ross_by_loop(x, labels, k=3):
    """Bits, straight from the definition; every class has more than k members."""
    count, total = len(x), 0.0
    for i in range(count):
        distance = np.abs(np.delete(x, i, 0) - x[i]).max(axis=1)
        alike = np.delete(labels, i) == labels[i]
        radius = np.sort(distance[alike])[k - 1]
        total += digamma(alike.sum() + 1) + digamma((distance < radius).sum() + 1)
    return (digamma(k) + digamma(count) - total / count) / np.log(2)


@pytest.mark.parametrize("width", [1, 2, 20])
def test_ross_equals_its_definition(width):
    generator = np.random.default_rng(width)
    labels = generator.integers(4, size=90)
    x = generator.normal(size=(90, width)) + labels[:, None]
    (found,) = ross_bits(x, [labels], k=3)
    assert found == pytest.approx(ross_by_loop(x, labels), abs=1e-9)
    (scaled,) = ross_bits(x / x.std(0), [labels], k=3)
    assert ross(x, labels).estimate == pytest.approx(scaled, abs=1e-9)


def test_differences_decide_who_is_near_and_not_rounded_sums():
    """Whole numbers, whose distances tie, and numbers far from zero, where sums lose digits."""
    generator = np.random.default_rng(0)
    for x in (generator.integers(30, size=200) * 1.0, 1e6 + generator.random(200)):
        radius = np.nextafter(np.abs(x - np.roll(x, 3)), 0)
        is_near = np.abs(x[:, None] - x) <= radius[:, None]
        assert count_within(x[:, None], radius).tolist() == is_near.sum(1).tolist()


def test_shuffled_pairs_are_the_zero_of_the_estimator():
    x, y = gaussian_pairs(0, 500, 5, 0.9)
    found = kraskov(x, y, shuffles=30, seed=4)
    independent = [kraskov(*gaussian_pairs(seed, 500, 5, 0)).estimate for seed in range(1, 31)]
    error = np.sqrt((found.null.var(ddof=1) + np.var(independent, ddof=1)) / 30)
    assert abs(found.null.mean() - np.mean(independent)) <= 3.5 * error
    assert found.estimate > found.null.max() + 1
    assert found.estimate == kraskov(x, y, seed=4).estimate
    assert np.array_equal(found.null, kraskov(x, y, shuffles=30, seed=4).null)


def test_ross_agrees_with_scikit_learn_with_rare_classes():
    generator = np.random.default_rng(0)
    labels = generator.integers(3, size=500)
    x = (labels == 0) + 0.3 * generator.normal(size=(500, 2))[:, 0]
    x, labels = np.append(x, [0.0, 1.0, 1.1]), np.append(labels, [7, 8, 8])
    theirs = mutual_info_classif(x[:, None], labels, n_neighbors=3, random_state=0)[0] / np.log(2)
    assert ross(x, labels).estimate == pytest.approx(theirs, abs=1e-3)


def two_factors(count=400, leak=0.3):
    """Two factors at t and t + 1; `leak` of the first goes into the second's next value."""
    a, next_a = gaussian_pairs(0, count, 3, 0.95)
    b, next_b = gaussian_pairs(1, count, 3, 0.95)
    return [a, b], [next_a, np.sqrt(1 - leak**2) * next_b + leak * a]


def test_same_and_cross():
    before, after = two_factors(leak=0.0)
    found = same_and_cross(before, after)
    assert found.matrix[0, 1] == found.cross == kraskov(before[0], after[1]).estimate
    assert np.isnan(found.matrix[1, 0])
    assert found.same == pytest.approx((found.matrix[0, 0] + found.matrix[1, 1]) / 2)
    assert found.same > 2 and abs(found.cross) < 0.2
    assert same_and_cross(*two_factors(leak=0.9)).cross > 0.5
    assert np.isnan(same_and_cross(before[:1], after[:1]).cross)


def test_same_and_cross_says_which_pair_to_doubt():
    before, after = two_factors(count=4000, leak=0.0)
    before, after = ([each[:, :1] for each in factors] for factors in (before, after))
    assert same_and_cross(before, after).doubts == ()
    after[1] = after[1].copy()
    after[1][7] = 1e6  # which decides the deviation of this column
    (doubt,) = same_and_cross(before, after).doubts  # the cross is 0 with it and without
    assert doubt.startswith("x = before[1], y = after[1]: y: the value 1e+06 decides")


def test_no_measure_depends_on_units():
    """Each unit of a code, and a continuous factor, in a unit of measurement of its own."""
    random, count = np.random.default_rng(5), 150
    who, pitch = np.arange(count) % 3, random.normal(size=count)
    code = random.normal(size=(count, 4)) + np.stack([who, pitch, who + pitch, 0 * pitch], 1)
    scales = np.array([100, 0.01, 1e4, 3e-3])

    def ask(code, pitch):
        halves = np.split(code, 2, axis=1)
        bits = same_and_cross(halves, halves[::-1])
        yield kraskov(code, pitch, shuffles=2)[0], kraskov(code, pitch, shuffles=2).null
        yield ross(code, who).estimate, ross(code[:, 0], who).estimate, bits.matrix, bits[1:3]
        yield cross_block(code, code[:, ::-1])
        for probe in ("linear", "nonlinear"):
            known = {"who": who, "pitch": pitch}
            found = leakage_matrix({"a": code}, known, probe=probe, permutations=99)
            yield found.value, found.test_interval, found.p_value

    for ours, theirs in zip(ask(code, pitch), ask(code * scales, 1000 * pitch), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)


def test_many_equal_rows_are_warned_of():
    random = np.random.default_rng(1)
    whole = np.arange(40.0).reshape(20, 2)
    whole[:, 0] //= 16  # equal in one column alone: no tie
    y = random.normal(size=20)
    assert not any("equal others" in doubt for doubt in kraskov(whole[:, 0], y).doubts)
    whole[4:7], y[4:7] = whole[3], y[3]
    with pytest.warns(UserWarning, match="20% of the rows equal others: zeros"):
        kraskov(whole, y)
    x, y = random.normal(size=(2, 150))
    with pytest.warns(UserWarning, match="100% of the rows equal others.* copies too high"):
        assert kraskov(np.tile(x, 2), np.tile(y, 2)).estimate > 0.5  # where the truth is 0


def spoiled(samples, places, value=1e8):
    """A copy with one value at some places."""
    other = samples.copy()
    other[places] = value
    return other


@pytest.mark.parametrize("value, count", ((1e8, 1), (-999, 5)))
def test_a_value_that_decides_a_scale_is_doubted_and_the_ranks_are_named(value, count):
    """Of 1 000 pairs one to five have a wrong value, for Kraskov's in y, for Ross's beside x."""
    x, y = gaussian_pairs(0, 1000, 1, 0.9)
    rows, label = slice(7, 7 + count), np.arange(1000) % 4
    code = np.hstack([x + 4 * label[:, None], y])
    cases = {
        "y: ": (lambda code: kraskov(x, code[:, 1]), 1),
        "x: ": (lambda code: ross(code, label), 0),
    }
    for name, (measure, column) in cases.items():
        clean, found = measure(code), measure(spoiled(code, (rows, column), value))
        (doubt,) = found.doubts
        assert not clean.doubts and doubt.startswith(f"{name}the value {value:.3g} decides")
        ranked = float(re.search(r"by ranks the estimate is ([\d.]+) bits", doubt)[1])
        assert abs(ranked - clean.estimate) < 0.1 < clean.estimate - found.estimate
    assert not kraskov(x, spoiled(y, rows, value), raw=True).doubts  # no column is divided
    assert not ross(spoiled(code[:, :1], rows, value), label).doubts  # alone it hides no other


def test_a_wide_column_that_changes_nothing_is_not_doubted():
    """Heavy tails: the deviation of Student's t with three degrees is decided by no value."""
    random = np.random.default_rng(0)
    for seed in range(10):
        x = np.random.default_rng(seed).standard_t(3, size=1000)
        assert not kraskov(x, x + random.normal(size=1000)).doubts


def test_class_numbers_few_rows_and_many_columns_are_doubted():
    random = np.random.default_rng(2)
    x, label = random.normal(size=(60, 1)), random.integers(3, size=60)
    (numbers,) = kraskov(x, label).doubts
    assert numbers.startswith("y: its 3 whole values") and "`ross`" in numbers
    (many,) = ross(x, np.arange(60) // 3).doubts
    assert many.startswith("labels: 20 classes in 60 rows") and "`kraskov`" in many
    x, y = gaussian_pairs(3, 300, 4, 0.9)
    for width, words in ((1, ()), (3, ("300 rows are few for 6 columns",))):
        said = kraskov(x[:, :width], y[:, :width]).doubts
        assert len(said) == len(words) and all(map(str.startswith, said, words))
    tiny, _ = kraskov(x[:12, 0], y[:12, 0]).doubts
    assert tiny.startswith("12 rows are few")
    (full,) = kraskov(x[:, 0], x[:, 0] + 1e-6 * y[:, 0]).doubts
    assert full.endswith("bits are near the most that 300 rows can show; take more")


def test_columns_that_are_constant_but_for_rounding_are_doubted():
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 3))
    for size, says in ((1e-8, ("x: columns [1] vary by less than a millionth",)), (1e-3, ())):
        x[:, 1] = 0.7 + size * random.normal(size=300)
        for found in (kraskov(x, x[:, 0] + x[:, 2]), ross(x, np.arange(300) % 2)):
            said = [doubt for doubt in found.doubts if "millionth" in doubt]
            assert len(said) == len(says) and all(map(str.startswith, said, says))


@pytest.mark.parametrize("width", (1, 3))
def test_distances_that_are_kept_or_sorted_are_those_of_the_definition(width, monkeypatch):
    random = np.random.default_rng(5)
    x, labels = random.normal(size=(90, width)), random.integers(3, size=(4, 90))
    x[:6], labels[0, 7] = x[6:12], 3  # equal points, and a class of one
    distances = np.abs(x[:, None] - x).max(2)
    for k in (1, 4):
        assert (distance_of_neighbour(x, k) == np.sort(distances)[:, k]).all()
        assert (distance_of_neighbour(x, k, distances) == np.sort(distances)[:, k]).all()
    kept = ross_bits(x, labels, 4)
    monkeypatch.setattr("unbraid.measures.information.MOST_KEPT", 0)
    assert ross_bits(x, labels, 4) == kept
