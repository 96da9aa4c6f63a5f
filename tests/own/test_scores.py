"""Unit maps, MIG and DCI: known answers, and what other implementations print."""

import numpy as np
import pytest
from unbraid_own.scores import disentanglement, importances, map_units

# Frozen outputs for `made_codes` of disent 0.8.0 (_compute_mig, and _disentanglement and
# _completeness of a matrix).
IMPORTANCE = (0.342405929822483, 0.2811939337893687)
GAP = 0.4755880248362054


def made_codes():
    """Three factors and five units: one clean, one of two factors, one noisy, two of noise; and a
    matrix of importances."""
    random, count = np.random.default_rng(0), 600
    factors = np.stack([random.integers(0, classes, count) for classes in (4, 3, 5)], 1)
    units = (
        factors[:, 0] + 0.3 * random.normal(size=count),
        factors[:, 1] + 0.5 * factors[:, 2] + 0.2 * random.normal(size=count),
        factors[:, 2] + 0.6 * random.normal(size=count),
        random.normal(size=count),
        0.01 * random.normal(size=count),
    )
    return np.stack(units, 1), list(factors.T), random.random((5, 3)) ** 3


def test_scores_are_those_of_other_implementations():
    code, factors, importance = made_codes()
    found = disentanglement(importance), disentanglement(importance.T)
    np.testing.assert_allclose(found, IMPORTANCE, rtol=0, atol=1e-6)
    np.testing.assert_allclose(map_units(code, factors)[1].mean(), GAP, rtol=0, atol=1e-6)


def score(code, factors):
    """Disentanglement, completeness, informativeness and the mean gap, in this order."""
    held_out = np.random.default_rng(0).random(len(code)) < 0.3
    importance, skills = importances(code, factors, held_out)
    gap = map_units(code, factors)[1].mean()
    return disentanglement(importance), disentanglement(importance.T), skills.mean(), gap


def two_factors(count=600):
    """Two independent factors of three classes, and a little noise (count, 2)."""
    random = np.random.default_rng(1)
    classes = random.integers(0, 3, (count, 2))
    return list(classes.T), classes + 0.05 * random.normal(size=(count, 2)), random


def test_what_a_score_is_about_lowers_it_alone():
    factors, code, random = two_factors()
    assert min(score(code, factors)) > 0.95
    turned = score(code @ np.array([[1, 1], [1, -1]]) / 2**0.5, factors)
    assert turned[0] < 0.3 and turned[2] > 0.9 and turned[3] < 0.2
    twice = np.hstack([code, code[:, :1] + 0.05 * random.normal(size=(600, 1))])
    redundant = score(twice, factors)
    assert redundant[0] > 0.95 and redundant[1] < 0.8 and redundant[3] < 0.6
    nothing = score(random.normal(size=(600, 4)), factors)
    assert max(nothing[2:]) < 0.1 and nothing[0] < 0.2


def test_what_is_not_defined_is_nan():
    factors, code, _ = two_factors()
    alone = score(code[:, :1], factors[:1])
    assert np.isnan(alone[:2]).all() and np.isnan(alone[3]) and alone[2] > 0.95


@pytest.mark.parametrize("seed", range(3))
def test_the_map_names_the_factor_of_each_unit_and_none_of_noise(seed):
    """Ten units in random order: of a class, of its square, of a number, of nothing."""
    random = np.random.default_rng(seed)
    kind, wide = random.integers(4, size=600), random.integers(9, size=600)
    pitch, nothing = random.random(600), np.zeros(600)
    signals = [kind, kind**2, wide, -wide, wide % 3, pitch, pitch**2, 3 * pitch, nothing, nothing]
    order = random.permutation(10)
    code = np.stack(signals, 1)[:, order] + 0.2 * random.normal(size=(600, 10))
    told, gaps = map_units(code, [kind, wide, pitch])
    expected = np.array([0, 0, 1, 1, 1, 2, 2, 2, 3, 3])[order]
    named = np.where(told.max(axis=1) > 0.02, told.argmax(axis=1), 3)
    assert (named == expected).sum() >= 9 and np.isfinite(gaps).all()
