"""The seven scores of units and factors: by hand, against scikit-learn, on codes whose scores are known, and unmoved by what must not count."""

import json

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score
from unbraid.measures.factor_metrics import (
    SCORES,
    completeness,
    disentanglement,
    factor_metrics,
    information_matrix,
    modularity,
)

FAST = {"trees": 5, "folds": 5}


def two_factors(count=400, noise=0.02, seed=0):
    """Codes (N, 2), a unit a factor, and the two factors of two classes."""
    generator = np.random.default_rng(seed)
    factors = generator.integers(0, 2, size=(count, 2))
    return factors + noise * generator.normal(size=(count, 2)), {
        "shape": factors[:, 0],
        "colour": factors[:, 1],
    }


def values(codes, factors, **options):
    return {
        name: interval.mean
        for name, interval in factor_metrics(codes, factors, **(FAST | options)).scores.items()
    }


def test_disentanglement_and_completeness_by_hand():
    assert disentanglement(np.eye(3)) == 1 and completeness(np.eye(3)).tolist() == [1, 1, 1]
    assert disentanglement(np.ones((4, 2))) == pytest.approx(0) and completeness(
        np.ones((4, 2))
    ) == pytest.approx([0, 0])
    mixed = [
        [0.5, 0.0],
        [0.5, 0.0],
        [0.0, 1.0],
        [0.0, 0.0],
    ]  # one factor in two units of four; a unit of no use
    assert disentanglement(mixed) == pytest.approx(1)
    assert completeness(mixed) == pytest.approx([1 - np.log(2) / np.log(4), 1])
    shared = [[0.75, 0.25], [0.25, 0.75]]
    entropy = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert (
        disentanglement(shared)
        == pytest.approx(1 - entropy)
        == pytest.approx(completeness(shared)[0])
    )
    # A unit counts with the share of all importance it has: (1.5 x (1 - H(.9 / 1.5)) + .5 x 1) / 2.
    assert disentanglement([[0.9, 0.6], [0.0, 0.5]]) == pytest.approx(
        (1.5 * (1 - 0.970951) + 0.5) / 2, abs=1e-6
    )


def test_a_rare_class_that_a_fold_lacks_leaves_no_hole():
    """Ten rows of 300 dealt to five folds: with most seeds some fold gets none. The code tells the class, whatever the folds."""
    rare = np.zeros(300, dtype=int)
    rare[:10] = 1
    codes = np.stack(
        [
            rare + 0.01 * np.random.default_rng(0).normal(size=300),
            np.random.default_rng(1).normal(size=300),
        ],
        axis=1,
    )
    other = np.random.default_rng(2).integers(0, 3, 300)
    lacking = [
        seed
        for seed in range(10)
        if len(set((np.random.default_rng(seed).permutation(300) % 5)[:10])) < 5
    ]
    assert len(lacking) >= 3
    for seed in lacking[:3]:
        found = factor_metrics(codes, {"rare": rare, "other": other}, seed=seed, **FAST)
        whole = found.scores["explicitness"]
        assert found.by_factor["explicitness"]["rare"] == pytest.approx(1, abs=0.01)
        assert 0.5 < whole.mean < 1 and whole.low < whole.mean < whole.high


def test_modularity_by_hand():
    assert modularity(np.eye(2)) == 1
    assert modularity([[1.0, 0.5]]) == pytest.approx(0.75)
    assert modularity([[0.2, 0.2, 0.2]]) == pytest.approx(0)
    assert modularity([[1.0, 0.0], [0.0, 0.0]]) == 0.5  # a unit that knows nothing counts 0
    assert np.isnan(modularity([[0.7], [0.1]])) and np.isnan(disentanglement([[0.7], [0.3]]))


def test_information_equals_scikit_learn():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, size=(300, 3))
    digits = np.stack(
        [
            labels[:, 0] * 3,
            (labels[:, 1] + generator.integers(0, 3, size=300)),
            generator.integers(0, 20, size=300),
        ],
        axis=1,
    )
    ours = information_matrix(digits, labels)
    for unit in range(3):
        for factor in range(3):
            theirs = mutual_info_score(digits[:, unit], labels[:, factor]) / mutual_info_score(
                labels[:, factor], labels[:, factor]
            )
            assert ours[unit, factor] == pytest.approx(theirs, abs=1e-12)
    assert ours[0, 0] == pytest.approx(1)
    # Independent ones do not give 0: the plug-in estimate's bias, (20 - 1)(5 - 1) / 2N nats over ln 5.
    assert ours[2].mean() == pytest.approx(19 * 4 / 600 / np.log(5), abs=0.03)


def test_mig_by_hand():
    """A balanced design: unit 0 is the first factor, unit 1 is the second in half of the rows and constant in the others."""
    first, second, half = np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")
    first, second, half = (np.tile(v.ravel(), 10) for v in (first, second, half))
    found = factor_metrics(
        np.stack([first, second * half], axis=1),
        {"first": first, "second": second},
        folds=2,
        trees=2,
    )
    # I(second; second x half) = H(1/4) - H(1/2) / 2 bits, of one bit.
    assert found.by_factor["mig"] == {
        "first": pytest.approx(1),
        "second": pytest.approx(0.811278 - 0.5, abs=1e-6),
    }
    assert found.scores["mig"].mean == pytest.approx((1 + 0.311278) / 2, abs=1e-6)
    assert found.information == pytest.approx(np.diag([1, 0.311278]), abs=1e-6)


def test_a_unit_a_factor_is_perfect():
    found = factor_metrics(*two_factors(), **FAST)
    assert tuple(found.scores) == SCORES
    for name in (
        "disentanglement",
        "completeness",
        "informativeness",
        "explicitness",
        "modularity",
    ):
        assert found.scores[name].mean > 0.99, name
    # Two units of 400 rows and 20 bins: what the other unit seems to know by chance is missing from the gap.
    assert found.scores["mig"].mean > 0.95 and found.scores["sap"].mean > 0.9
    assert found.importance == pytest.approx(np.eye(2), abs=0.01) and found.factors == (
        "shape",
        "colour",
    )
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["mig"]["value"] == found.scores["mig"].mean and set(plain["mig"]["by_factor"]) == {
        "shape",
        "colour",
    }


def test_a_unit_doubled():
    codes, factors = two_factors()
    found = values(codes[:, [0, 1, 0, 1]], factors)
    assert found["mig"] == found["sap"] == 0
    assert (
        found["disentanglement"] > 0.99
        and found["modularity"] > 0.99
        and found["informativeness"] > 0.99
    )
    assert found["completeness"] < 0.85  # two units of four at most share a factor: 1/2 if evenly


def test_a_rotation_by_45_degrees():
    codes, factors = two_factors(800)
    turned = values((codes - 0.5) @ np.array([[1, 1], [-1, 1]]) / np.sqrt(2), factors)
    assert turned["mig"] < 0.05 and turned["sap"] < 0.15
    assert (
        turned["disentanglement"] < 0.1
        and turned["completeness"] < 0.1
        and turned["modularity"] < 0.1
    )
    assert (
        turned["informativeness"] > 0.99 and turned["explicitness"] > 0.99
    )  # all is there, only not in single units


def test_codes_that_know_nothing():
    _, factors = two_factors(600)
    found = factor_metrics(np.random.default_rng(1).normal(size=(600, 3)), factors, **FAST)
    assert found.scores["informativeness"].low < 0.5 < found.scores["informativeness"].high
    assert found.scores["explicitness"].low < 0.5 < found.scores["explicitness"].high
    assert found.scores["mig"].mean < 0.03 and found.scores["sap"].mean < 0.1


def test_a_class_in_the_middle_is_not_explicit():
    generator = np.random.default_rng(2)
    factor = np.arange(600) % 3
    codes = np.stack(
        [factor + 0.02 * generator.normal(size=600), generator.normal(size=600)], axis=1
    )
    ordered, apart = (
        values(codes, {"size": factor}),
        values(np.eye(3)[factor] + 0.02 * codes[:, [1]], {"size": factor}),
    )
    assert ordered["informativeness"] > 0.99 and ordered["explicitness"] == pytest.approx(
        (1 + 0.5 + 1) / 3, abs=0.1
    )
    assert apart["explicitness"] > 0.99
    assert ordered["mig"] > 0.95 and apart["mig"] < 0.7  # and a unit a class is no unit a factor
    assert np.isnan(ordered["disentanglement"]) and np.isnan(
        ordered["modularity"]
    )  # a single factor


CODES, FACTORS = two_factors(300, noise=0.4, seed=3)
MIXED = CODES @ np.array([[1, 0.3, 0.5], [0.2, 1, 0.5]]) + 0.1 * np.random.default_rng(4).normal(
    size=(300, 3)
)


@pytest.fixture(scope="module")
def base():
    return factor_metrics(MIXED, FACTORS, **FAST)


def test_constant_units_are_left_out(base):
    codes = np.insert(MIXED, 1, 7.0, axis=1)
    found = factor_metrics(codes, FACTORS, **FAST)
    assert found.scores == base.scores and found.units.tolist() == [0, 2, 3]
    assert np.array_equal(found.importance, base.importance)


@pytest.mark.parametrize(
    "change",
    [
        lambda codes, factors: (codes[:, [2, 0, 1]], factors),
        lambda codes, factors: (codes * [-3.0, 0.01, 500.0] + [0, 7, -3], factors),
        lambda codes, factors: (
            codes,
            {name: np.where(label == 0, "no", "a") for name, label in factors.items()},
        ),
        lambda codes, factors: (codes, {"colour": factors["colour"], "shape": factors["shape"]}),
        lambda codes, factors: (
            codes.astype(np.float32),
            {name: label.astype(float) for name, label in factors.items()},
        ),
    ],
    ids=["units_permuted", "units_rescaled", "classes_renamed", "factors_reordered", "other_types"],
)
def test_what_must_not_change_the_scores(base, change):
    found = factor_metrics(*change(MIXED, FACTORS), **FAST)
    for name in SCORES:
        # Equal but for bin edges (a value on an edge may change sides under -3 x) and ties between splits.
        assert found.scores[name].mean == pytest.approx(base.scores[name].mean, abs=0.02), name
    assert found.by_factor["mig"].keys() == {"shape", "colour"}


def test_continuous_factors_are_cut_at_quantiles():
    generator = np.random.default_rng(5)
    position = generator.uniform(size=600) ** 3  # far from even
    codes = np.stack([np.cbrt(position), generator.normal(size=600)], axis=1)
    found = factor_metrics(codes, {"x": position}, trees=2, bins=5)
    same = factor_metrics(
        codes, {"x": np.floor(np.argsort(np.argsort(position)) / 120)}, trees=2, bins=5
    )
    assert found.scores["mig"].mean == pytest.approx(same.scores["mig"].mean, abs=1e-9)
    assert found.scores["mig"].mean > 0.85


def test_seed_repeats_and_intervals_narrow_with_rows():
    first, again, other = (factor_metrics(MIXED, FACTORS, **FAST, seed=s) for s in (1, 1, 2))
    assert first.scores == again.scores and first.scores["sap"] != other.scores["sap"]
    assert (
        first.scores["mig"].mean == other.scores["mig"].mean
    )  # of all rows: only its interval hangs on the folds
    many = factor_metrics(*two_factors(4000, noise=0.4), trees=1)
    few = factor_metrics(*two_factors(250, noise=0.4), trees=1)
    assert many.scores["informativeness"].half_width < few.scores["informativeness"].half_width


def test_intervals_hold():
    """At least 93 of 100 hold the mean over repeats, for each score."""
    generator, found = np.random.default_rng(6), []
    for repeat in range(80):
        factors = generator.integers(0, 2, size=(200, 2))
        codes = factors @ np.array([[1, 0.3], [0.1, 1]]) + 0.5 * generator.normal(size=(200, 2))
        found.append(
            factor_metrics(
                codes, {"a": factors[:, 0], "b": factors[:, 1]}, trees=2, seed=repeat
            ).scores
        )
    for name in SCORES:
        expected = np.mean([scores[name].mean for scores in found])
        assert (
            np.mean([scores[name].low <= expected <= scores[name].high for scores in found]) >= 0.93
        ), name


SPOILT = CODES.copy()
SPOILT[4, 1] = np.nan


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: factor_metrics(SPOILT, FACTORS),
            r"codes: expected finite numbers, found nan at row 4, unit 1; mend",
        ),
        (
            lambda: factor_metrics(CODES[None], FACTORS),
            r"codes: expected shape \(N, D\), found \(1, 300, 2\)",
        ),
        (
            lambda: factor_metrics(np.ones((300, 2)), FACTORS),
            r"codes: expected a unit that varies, .* collapsed",
        ),
        (lambda: factor_metrics(CODES, {}), r"factors: expected at least one"),
        (
            lambda: factor_metrics(CODES[:200], FACTORS),
            r"factor 'shape': .* shape \(200,\), found \(300,\)",
        ),
        (
            lambda: factor_metrics(CODES, {"one": np.ones(300)}),
            r"factor 'one': expected at least 2 classes .* found 1 classes",
        ),
        (
            lambda: factor_metrics(CODES, {"rare": np.arange(300) < 3}),
            r"factor 'rare': .* at least 10 rows each, .* rarest with 3 rows",
        ),
        (
            lambda: factor_metrics(CODES, {"each": np.arange(300)}),
            r"factor 'each': .* found 300 classes",
        ),
        (
            lambda: factor_metrics(CODES, {"x": np.full(300, np.inf)}),
            r"factor 'x': expected finite numbers, found inf",
        ),
        (
            lambda: factor_metrics(CODES, FACTORS, folds=1),
            r"folds, bins, trees: expected at least 2, 2 and 1, found 1, 20, 20",
        ),
    ],
)
def test_errors_name_thing_expectation_finding_and_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call()
