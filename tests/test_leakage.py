"""The leakage matrix: codes whose right answer is known, what must not change it, its errors."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from unbraid.checks import number_groups
from unbraid.measures import leakage
from unbraid.measures.intervals import bca_limits
from unbraid.measures.leakage import leakage_matrix, skill_limits

OWN = {"static": {"hair", "skin", "size"}, "dynamic": {"motion", "place"}}

PINNED = """0.9750000 0.9666667 0.7374011 0.0344828 -.3084841
            0.0250000 -.1333333 -.0038850 0.5172414 0.5378095
            0.0750000 -.1333333 -.0817371 0.6206897 0.4429633"""


def invertible(generator, x, curved=False):
    """Each row of x (..., d) rotated at random; curved: each unit then through u + tanh(3 u)."""
    width = x.shape[-1]
    x = x @ np.linalg.qr(generator.normal(size=(width, width)))[0]
    return x + np.tanh(3 * x) if curved else x


def world(count, length=4, seed=0, curved=False):
    """Codes that know their own factors and nothing else."""
    g = np.random.default_rng(seed)
    hair, skin, motion = (g.integers(classes, size=count) for classes in (6, 4, 3))
    size = g.normal(size=count)
    steps = g.normal(size=(count, length))
    place = np.cumsum(steps, axis=1) / np.sqrt(np.arange(1, length + 1))
    static = np.hstack([np.eye(6)[hair], np.eye(4)[skin], size[:, None]])
    dynamic = np.dstack([place, np.eye(3)[motion][:, None].repeat(length, 1)])
    codes = {"static": invertible(g, static, curved), "dynamic": invertible(g, dynamic, curved)}
    return codes, {"hair": hair, "skin": skin, "size": size, "motion": motion, "place": place}


@pytest.mark.parametrize("probe", ["linear", "nonlinear"])
def test_perfect_codes_have_full_own_cells_and_empty_others(probe):
    """1 500 test sequences leave a standard error of .012 for six classes."""
    codes, factors = world(3000, curved=probe == "nonlinear")
    found = leakage_matrix(
        codes, factors, probe=probe, pooling="flattened", test=0.5, permutations=99
    )
    assert found.rows == ("static", "dynamic, flattened") and found.columns == tuple(factors)
    for i, code in enumerate(OWN):
        for j, factor in enumerate(found.columns):
            if factor in OWN[code]:
                assert found.value[i, j] >= 0.98 and found.p_value[i, j] == 0.01
            else:
                assert found.value[i, j] <= 0.03 and found.p_value[i, j] > 0.01


def test_the_skill_is_the_accuracy_above_chance():
    g = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], [250, 100, 50])[g.permutation(400)]
    x, test = g.normal(size=(400, 3)) + (y == "a")[:, None], np.arange(100, 220)
    train = np.setdiff1d(np.arange(400), test)
    z = (x - x[train].mean(0)) / x[train].std(0)
    probe = LogisticRegression(C=1 / 3, max_iter=1000).fit(z[train], y[train])
    accuracy, chance = probe.score(z[test], y[test]), np.mean(y[test] == "a")
    for held_out in (test, np.isin(np.arange(400), test)):
        found = leakage_matrix({"x": x}, {"y": y}, test=held_out)
        assert found["x", "y"] == pytest.approx((accuracy - chance) / (1 - chance), abs=1e-12)
    assert f"{found['x', 'y']:.2f}" in repr(found)
    with pytest.raises(ValueError, match="column"):
        found["x", "beard"]


def test_factors_of_frames_are_read_at_every_step():
    """The average over time cannot tell the steps apart; the same place twice weighs no more."""
    codes, factors = world(800, length=6)
    place = factors["place"]
    factors = {"place": place, "side": place > 0, "both": np.dstack([place, place])}
    found = leakage_matrix(
        codes, factors, pooling=("flattened", "averaged", "frames"), permutations=9
    )
    assert found.rows == ("static", "dynamic, flattened", "dynamic, averaged", "dynamic, frames")
    assert (found.value[[1, 3], ::2] > 0.98).all() and (found.value[[1, 3], 1] > 0.8).all()
    assert (np.abs(found.value[0]) < 0.1).all()
    assert (found.value[2] > 0.1).all() and (found.value[2] < 0.8).all()
    assert found.value[:, 0] == pytest.approx(found.value[:, 2], abs=1e-6)


def test_a_rare_class_is_on_both_sides_and_among_the_rows_of_a_slow_probe(monkeypatch):
    """Three of 400 sequences: a third of the plain splits have none of them in the test."""
    y = np.isin(np.arange(400), (7, 77, 177))
    code = {"code": y[:, None] + 0.01 * np.random.default_rng(0).normal(size=(400, 1))}
    monkeypatch.setattr(leakage, "NONLINEAR_ROWS", 20)
    for seed in range(12):
        found = leakage_matrix(code, {"y": y}, probe="nonlinear", permutations=1, seed=seed)
        assert found["code", "y"] == 1


def test_no_sequence_is_on_both_sides():
    """A mark of its own in every frame of a sequence: a split by frames would know it again."""
    g = np.random.default_rng(0)
    code = g.normal(size=(300, 1, 5)).repeat(8, axis=1) + 0.01 * g.normal(size=(300, 8, 5))
    factors = {"y": g.integers(2, size=300)}
    found = leakage_matrix({"code": code}, factors, probe="nonlinear", pooling="frames")
    assert found.value[0, 0] < 0.25 and found.p_value[0, 0] > 0.01


def test_rows_of_one_group_are_not_independent():
    """Five films each of 120 persons, whose look says nothing about their mood."""
    g = np.random.default_rng(4)
    person = np.repeat(np.arange(120), 5)
    look, mood = g.normal(size=(120, 3)), g.integers(2, size=120)[person]
    code = {"a": look[person] + 0.1 * g.normal(size=(600, 3))}
    for seed in range(4):
        asked = {"probe": "nonlinear", "permutations": 199, "seed": seed}
        alone = leakage_matrix(code, {"mood": mood}, **asked)
        assert alone["a", "mood"] > 0.2 and alone.p_value[0, 0] < 0.01  # It knows the persons.
        grouped = leakage_matrix(code, {"mood": mood}, groups=person, **asked)
        assert grouped["a", "mood"] < alone["a", "mood"] - 0.1 and grouped.p_value[0, 0] > 0.05
        widths = [np.diff(found.test_interval[0, 0]) for found in (alone, grouped)]
        assert widths[1] > 1.4 * widths[0]  # Limits are those of other persons.


def test_one_group_has_no_interval():
    codes, factors = world(60)
    groups = np.repeat(["one", "other"], 30)
    matrix = leakage_matrix(codes, factors, groups=groups, permutations=1)
    assert np.isfinite(matrix.value).all() and np.isnan(matrix.test_interval).all()


def test_a_mask_of_numbers_is_a_mask_and_rows_stand_once():
    codes, factors = world(90)
    mask = np.arange(90) % 3 == 0
    share = leakage_matrix(codes, factors, test=0.3, permutations=1).value
    assert (share == leakage_matrix(codes, factors, test=np.float64(0.3)).value).all()
    for test in (mask, mask.astype(int), np.flatnonzero(mask)):
        matrix = leakage_matrix(codes, factors, test=test, permutations=1)
        assert (matrix.value == leakage_matrix(codes, factors, test=mask).value).all()
    with pytest.raises(ValueError, match="test: expected different indices"):
        leakage_matrix(codes, factors, test=[1, 2, 3, 3])


def test_whole_groups_change_places_and_are_rolled():
    groups = np.repeat(np.arange(120), 5)
    order = leakage.shuffle_groups(groups, np.random.default_rng(0)).reshape(120, 5)
    steps = np.diff(order)  # 1, but for the one place where a rolled group begins again
    assert (np.sort(steps)[:, 1:] == 1).all() and set(steps.min(1)) == {1, -4}
    assert sorted(order.ravel()) == list(range(600))
    assert (order[:, 0] // 5 != np.arange(120)).mean() > 0.9


def test_groups_change_places_with_those_of_like_size():
    sizes = np.array([1, 1, 2, 3, 3, 9, 12, 15])
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(8), sizes))
    like, seen = [{0, 1}, {2, 3, 4}, {5, 6, 7}], set()
    for seed in range(50):
        order = leakage.shuffle_groups(groups, np.random.default_rng(seed))
        pairs = {(int(a), int(b)) for a, b in zip(groups, groups[order], strict=True)}
        assert len(pairs) == 8  # Each group gets the rows of one.
        seen |= pairs
    assert seen == {(a, b) for some in like for a in some for b in some}


def test_limits_of_the_skill_are_those_of_any_other_statistic():
    loss, base = np.random.default_rng(0).uniform(0.1, 3, (2, 40))
    limits = leakage.skill_limits(loss[None] / 2, base[None], seed=3)[0]

    def skill(rows):
        return 1 - loss[rows].sum() / 2 / base[rows].sum()

    random, every = np.random.default_rng(3), np.arange(40)
    drawn = [skill(random.integers(40, size=40)) for _ in range(leakage.BOOTSTRAP_DRAWS)]
    left_out = [skill(np.delete(every, row)) for row in every]
    slow = bca_limits(skill(every), np.array(drawn), np.array(left_out))
    np.testing.assert_allclose(limits, slow, atol=1e-12)
    # Where each sequence loses three tenths of its baseline, every draw has the skill 0.7.
    alike = leakage.skill_limits(0.3 * base[None], base[None], seed=0)
    np.testing.assert_allclose(alike, [(0.7, 0.7)])


def test_a_perfect_score_has_exact_limits_and_a_constant_code_none():
    """Of 20 without an error the share is at least .1684 below 1 (Newcombe 1998, method 5); the
    constant is wrong in half of the cases, so the skill loses twice as much."""
    limits = skill_limits(np.zeros((1, 20)), np.full((1, 20), 0.5), seed=0)
    assert limits == pytest.approx(np.array([[1 - 2 * 0.1684, 1]]), abs=1e-4)
    y = np.arange(90) % 3
    codes = {"constant": np.ones((90, 2)), "perfect": np.eye(3)[y]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = leakage_matrix(codes, {"y": y}, permutations=9)
    assert (found["constant", "y"], found.p_value[0, 0]) == (0, 1)
    assert found.test_interval[0, 0].tolist() == [0, 0] and found["perfect", "y"] == 1


def test_spellings_of_one_name_are_one_group():
    names = np.array(["Zo\u00eb", "zoe\u0308 ", "ana", "B  1", "b 1", "b 11"])
    assert number_groups("groups", names, 6).tolist() == [3, 3, 0, 1, 1, 2]
    assert number_groups("groups", ["b", "C", "a"], 3).tolist() == [2, 0, 1]


def test_classes_in_disguise_are_warned_of():
    codes, factors = world(60)
    with pytest.warns(UserWarning, match="hair.*continuous"):
        leakage_matrix(codes, {"hair": factors["hair"] * 1.0}, permutations=9)
    pairs = np.stack([factors["hair"], factors["skin"]], axis=1)
    with pytest.warns(UserWarning, match=r"factor 'f': its 2 columns .* as arrays \(N,\) each"):
        leakage_matrix({"code": codes["static"]}, {"f": pairs})


def test_values_are_those_of_the_first_release():
    codes, factors = world(150)
    codes["dynamic"] = codes["dynamic"] + np.random.default_rng(9).normal(size=(150, 4, 4))
    found = leakage_matrix(codes, factors, probe="nonlinear", permutations=49, seed=3)
    np.testing.assert_allclose(found.value.flatten(), np.array(PINNED.split(), float), atol=1e-6)
    assert found.p_value[0] == pytest.approx([0.02, 0.02, 0.02, 0.42, 0.54])
