"""DCI, MIG, SAP and InfoMEC: known answers, and what other implementations print."""

import numpy as np
import pytest
from unbraid_own import disentanglement as measures
from unbraid_own.measure import measure

# Frozen outputs for `made_codes`: of disent 0.8.0 (_compute_mig, _compute_sap, _disentanglement and
# _completeness of a matrix), and of compute_infomec in latent_quantization, commit 9a420a3, there
# with random_state=0 and without the argument multi_class, which scikit-learn no longer has.
SEPARATION = {"classes": 0.215, "continuous": 0.6358806233876532}
INFOMEC = {"M": 0.6467651252178545, "E": 0.7449998123680359, "C": 0.777401686261817}
INFORMATION = [
    [0.8666674822384867, 0.0, 0.0, 0.015365079371627134, 0.0],
    [0.032550909960878144, 0.4281583892361008, 0.0029216362877123167, 0.006747432643130094, 0.0],
    [0.003538931155044879, 0.36974108029745845, 0.5826529301314881, 0.0050150954057132545, 0.0],
]


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


def agrees(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_scores_are_those_of_other_implementations_where_definitions_agree():
    code, factors, _ = made_codes()
    held_out = [np.arange(600) >= 400] * 3
    agrees(measures.separation(code, factors, held_out), SEPARATION["classes"])
    floats = [values.astype(float) for values in factors]
    agrees(measures.separation(code, floats, held_out), SEPARATION["continuous"])
    agrees(measures.normalised_information(code, factors).T, INFORMATION)
    agrees(measures.explicitness(code, factors), INFOMEC["E"])


def info_scores(rows):
    """InfoM and InfoC of lists of information, by the definitions of the paper (section 4)."""
    columns = [*zip(*rows, strict=True)]
    for lists in (rows, columns):
        even = 1 / len(lists[0])
        shares = [max(each) / sum(each) for each in lists]
        yield (sum(shares) / len(shares) - even) / (1 - even)


def test_infomec_of_scores_leaves_out_what_holds_no_information():
    """The authors' rule keeps a wide unit of noise, ours does not; else the numbers are theirs."""
    code, factors, _ = made_codes()
    known, rows = dict(zip("xyz", factors, strict=True)), np.transpose(INFORMATION).tolist()
    theirs = [*info_scores(rows[:4])]  # by their rule all but the narrow unit count
    agrees(theirs, (INFOMEC["M"], INFOMEC["C"]))
    ours = [*info_scores(rows[:3])]
    assert np.abs(np.subtract(ours, theirs)).min() > 0.01
    for scaled in (code * np.logspace(-3, 3, 5), code[:, [0, 1, 2, 4]]):  # with the noise, without
        _, found = measures.scores({"a": scaled[:, :2], "b": scaled[:, 2:]}, known)
        agrees((found.modularity, found.compactness), ours)


def two_factors(count=600):
    """Two independent factors of three classes, and a little noise (count, 2)."""
    random = np.random.default_rng(1)
    classes = random.integers(0, 3, (count, 2))
    return classes, 0.05 * random.normal(size=(count, 2)), random


def scores_of(first, second, classes, blocks=True):
    factors = {"who": classes[:, 0], "what": classes[:, 1]}
    return measures.scores({"static": first, "dynamic": second}, factors)[0 if blocks else 1]


@pytest.mark.parametrize("blocks", (True, False))
def test_perfect_codes_have_scores_of_one(blocks):
    classes, noise, _ = two_factors()
    code = classes + noise
    found = scores_of(code[:, :1], code[:, 1:], classes, blocks=blocks)
    assert min(found.disentanglement, found.completeness, found.informativeness) > 0.95
    assert min(found.gap, found.modularity, found.compactness, found.explicitness) > 0.95
    assert found.separation > 0.3  # the second unit is right in a third of the rows


def test_what_a_score_is_about_lowers_it_alone():
    classes, noise, random = two_factors()
    code = classes + noise
    turned = code @ np.array([[1, 1], [1, -1]]) / 2**0.5
    found = scores_of(turned[:, :1], turned[:, 1:], classes)
    assert found.explicitness > 0.95 and found.informativeness > 0.9
    assert found.disentanglement < 0.3 and found.modularity < 0.3 and found.gap < 0.2
    both = np.hstack([code, code[:, :1] + noise[:, 1:]])  # who is in the second code as well
    found = scores_of(code[:, :1], both[:, 1:], classes)
    assert found.compactness < 0.7 < 0.95 < found.explicitness
    assert found.modularity < 0.9
    nothing = random.normal(size=(600, 4))
    found = scores_of(nothing[:, :2], nothing[:, 2:], classes)
    assert max(found.informativeness, found.gap, found.explicitness) < 0.1
    assert found.disentanglement < 0.2 and found.separation < 0.1


def test_redundant_units_are_one_block():
    """A factor that is twice in its own code costs single units their gap, and blocks nothing."""
    classes, noise, random = two_factors()
    code = classes + noise
    twice = np.hstack([code[:, :1], code[:, :1] + 0.05 * random.normal(size=(600, 1))])
    by_block = scores_of(twice, code[:, 1:], classes)
    by_unit = scores_of(twice, code[:, 1:], classes, blocks=False)
    assert by_block.completeness > 0.95 > 0.8 > by_unit.completeness
    assert by_block.compactness > 0.95 > 0.9 > by_unit.compactness
    assert by_block.gap == by_unit.gap < 0.6


def test_the_order_of_rows_does_not_matter():
    """Blocks are scored on some rows only, and rows are often sorted by a factor."""
    classes, noise, _ = two_factors(3000)
    code = classes + noise
    order = np.argsort(classes[:, 0], kind="stable")
    found = [scores_of(code[rows, :1], code[rows, 1:], classes[rows]) for rows in (order, ...)]
    assert min(each.modularity for each in found) > 0.95


@pytest.mark.parametrize("rows", (1, 2, 12))
def test_a_rare_class_is_scored_or_left_out_by_name(rows):
    """Two rows of 2000 can be on both sides of a split and are among a block's rows; one cannot."""
    classes, noise, random = two_factors(2000)
    rare = np.isin(np.arange(2000), random.permutation(2000)[:rows])
    code = {"a": rare[:, None] + 0.01 * noise[:, :1], "b": classes + noise}
    for seed in range(3):
        known = {"rare": rare, "what": classes[:, 0], "who": classes[:, 1]}
        found, by_unit = measures.scores(code, known, seed=seed)
        assert [text.split("'")[1] for text in found.doubts] == ["rare"] * (rows == 1)
        assert by_unit.modularity > 0.6 and np.isfinite([*vars(by_unit).values()][:-1]).all()
    assert np.isnan(measures.scores(code, {"rare": rare})[0].gap) == (rows == 1)


def test_no_score_depends_on_units():
    """Each unit, and each continuous factor, in a unit of measurement of its own."""
    random, count = np.random.default_rng(5), 150
    who, pitch = np.arange(count) % 3, random.normal(size=count)
    code = random.normal(size=(count, 4)) + np.stack([who, pitch, who + pitch, 0 * pitch], 1)
    scales = np.array([100, 0.01, 1e4, 3e-3])

    def ask(code, pitch):
        codes, factors = {"a": code[:, :2], "b": code[:, 2:]}, {"who": who, "pitch": pitch}
        yield from ([*vars(each).values()][:-1] for each in measures.scores(codes, factors))
        report = measure(codes, factors)
        yield [*report.bits["a"].values()], [*report.bits["b"].values()], report.linear.value
        yield [*report.by_code.values()], [*report.by_unit.values()], report.nonlinear.value

    for ours, theirs in zip(ask(code, pitch), ask(code * scales, 1000 * pitch), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)


def test_what_cannot_be_told_is_nan():
    classes, noise, _ = two_factors()
    code = classes + noise
    lone, _ = measures.scores({"code": code[:, :1]}, {"who": classes[:, 0]})
    for name in ("disentanglement", "completeness", "gap", "separation", "modularity"):
        assert np.isnan(getattr(lone, name)), name
    constant = scores_of(np.zeros((600, 2)), code, classes)
    assert constant.informativeness > 0.9  # a constant code is a row without information


NINE, EIGHT = np.arange(9) % 2, np.arange(8) % 2
FAULTS = (  # the field, and what is asked for
    ("code 'a'", {"codes": {"a": np.zeros((9, 2, 3))}}),
    ("codes, factors", {"factors": {"f": EIGHT}}),
    ("codes", {"codes": [np.eye(9)]}),
    ("factor 'f'", {"factors": {"f": np.eye(9, dtype=int)}}),
    ("factors", {"factors": {}}),
    ("test", {"test": 3}),
)


@pytest.mark.parametrize("field, asked", FAULTS)
def test_what_would_give_another_score_is_refused_by_name(field, asked):
    with pytest.raises(ValueError, match=f"^{field}: "):
        measures.scores(**{"codes": {"a": np.eye(9)}, "factors": {"f": NINE}} | asked)
