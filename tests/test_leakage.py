"""The leakage matrix: codes whose right answer is known, what must not change it, its picture, its errors."""

import json
import warnings

import bench_leakage
import matplotlib
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from unbraid import plots
from unbraid.measures.codes_and_factors import LeakageWarning
from unbraid.measures.leakage import PROBES, combine, information_matrix, leakage_matrix

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def invertible(generator, x, curved=False):
    """Each row of x (..., d) through one random invertible map; curved: each unit then through u + tanh(3 u)."""
    x = x @ np.linalg.qr(generator.normal(size=(x.shape[-1],) * 2))[0]
    return x + np.tanh(3 * x) if curved else x


def world(count, length=4, seed=0, curved=False):
    """Codes that know their own factors and nothing else: static looks and a size, dynamic places and a kind of motion."""
    g = np.random.default_rng(seed)
    hair, skin, motion = (
        g.integers(6, size=count),
        g.integers(4, size=count),
        g.integers(3, size=count),
    )
    size, place = (
        g.normal(size=count),
        np.cumsum(g.normal(size=(count, length)), axis=1) / np.sqrt(np.arange(1, length + 1)),
    )
    static = np.hstack([np.eye(6)[hair], np.eye(4)[skin], size[:, None]])
    dynamic = np.dstack([place, np.eye(3)[motion][:, None].repeat(length, 1)])
    codes = {"static": invertible(g, static, curved), "dynamic": invertible(g, dynamic, curved)}
    return codes, {"hair": hair, "skin": skin, "size": size, "motion": motion, "place": place}


OWN = {"static": {"hair", "skin", "size"}, "dynamic": {"motion", "place"}}


@pytest.mark.parametrize("probe", ["linear", "nonlinear"])
def test_perfect_codes(probe):
    """Own factors .98 or better, others .03 or less: 1 500 test sequences leave a standard error of .012 for six classes."""
    codes, factors = world(3000, curved=probe == "nonlinear")
    found = leakage_matrix(
        codes, factors, probe=probe, pooling="flattened", test=0.5, permutations=99
    )
    for i, code in enumerate(OWN):
        for j, factor in enumerate(found.columns):
            own = factor in OWN[code]
            assert found.value[i, j] >= 0.98 if own else found.value[i, j] <= 0.03, (
                code,
                factor,
                found.value[i, j],
            )
            assert found.p_value[i, j] == 0.01 if own else found.p_value[i, j] > 0.01
    assert found.rows == ("static", "dynamic, flattened") and found.columns == tuple(factors)


def test_perfect_codes_in_bits():
    codes, factors = world(1000)
    found = information_matrix(codes, factors, pooling="frames", steps=2)
    for i, code in enumerate(OWN):
        for j, factor in enumerate(found.columns):
            own, known = (
                factor in OWN[code],
                {"hair": np.log2(6), "skin": 2, "motion": np.log2(3)}.get(factor),
            )
            assert (found.p_value[i, j] < 1e-6) == own
            assert (
                abs(found.value[i, j]) < 0.1
                if not own
                else abs(found.value[i, j] - known) < 0.2
                if known
                else found.value[i, j] > 1.5
            )
    upper, entropy = found.test_interval[..., 1], [np.log2(6), 2, np.inf, np.log2(3), np.inf]
    assert (
        np.isclose(upper, entropy)[found.verdict != "value"].all()
        and np.isfinite(upper[found.verdict == "value"]).all()
    )
    assert None in found.as_dict().values() and json.dumps(found.as_dict(), allow_nan=False)
    assert found.unit == "bits" and set(found.verdict.ravel()) <= {
        "value",
        "lower bound",
        "nothing seen",
    }


def test_a_rotation_of_everything_leaves_each_code_its_share():
    """Of 8 normal factors rotated together, a code of 5 of the 8 units can read |P f|^2 of factor f, on average 5/8; no cell
    is above it but for noise (1 500 test sequences: .02)."""
    g = np.random.default_rng(0)
    factors, rotation = g.normal(size=(3000, 8)), np.linalg.qr(g.normal(size=(8, 8)))[0]
    rotated = factors @ rotation
    share = np.stack([(rotation[:, :5] ** 2).sum(1), (rotation[:, 5:] ** 2).sum(1)])
    codes, factors = (
        {"one": rotated[:, :5], "other": rotated[:, 5:]},
        {str(f): factors[:, f] for f in range(8)},
    )
    found = leakage_matrix(codes, factors, test=0.5, permutations=9)
    assert np.abs(found.value - share).max() < 0.06
    assert found.value.mean(axis=1) == pytest.approx([5 / 8, 3 / 8], abs=0.02)
    assert (found.value.max(axis=0) < 0.95).all() and (
        found.value > 0.02
    ).sum() >= 14  # nowhere near a diagonal


def leaking(source, target, share, count=900, length=4, seed=0):
    """A world in which `target` holds a copy of `source`: the sequence's own in a share of the sequences, else another's."""
    codes, factors = world(count, length, seed)
    g = np.random.default_rng(seed + 50)
    partner = np.where(g.random(count) < share, np.arange(count), g.permutation(count))
    copied = codes[source][partner]
    if target == "dynamic":
        copied = copied[:, None].repeat(length, 1)
    joined = np.concatenate([codes[target], copied.reshape(*codes[target].shape[:-1], -1)], axis=-1)
    return codes | {target: invertible(g, joined)}, factors


@pytest.mark.parametrize(("source", "target"), [("static", "dynamic"), ("dynamic", "static")])
def test_a_copied_code_is_caught_and_weighed(source, target):
    """Monotone in the share of sequences that carry the copy, and caught at a quarter with p < .01: each factor by the
    probe, and the copy as such by bits, which see less of it."""
    leaks, bits = [], []
    for share in (0, 0.25, 0.5, 1):
        codes, factors = leaking(source, target, share, 1200)
        only = {name: factors[name] for name in sorted(OWN[source])}
        found = leakage_matrix(
            {target: codes[target]}, only, pooling="flattened", test=0.4, permutations=199
        )
        leaks.append(found.value[0])
        only.pop("place", None)  # a motion through many places is too much to count neighbours in
        known = information_matrix({target: codes[target]}, only, pooling="averaged", count=1200)
        bits.append(known.value.mean())
        assert (found.p_value < 0.01).all() if share else (found.p_value > 0.01).all()
        assert (known.p_value.min() < 0.003) == (share > 0)  # of three factors at most
    assert (np.diff(leaks, axis=0) > 0.05).all() and (np.diff(bits) > 0.03).all()
    assert (
        np.abs(leaks[0]).max() < 0.12 and np.min(leaks[-1]) > 0.95
    )  # 480 test sequences: .05 is two standard errors


def test_a_leak_hidden_as_an_xor():
    """One bit of look as the XOR of two units: the linear probe is blind, the non-linear one and the bits are not."""
    blind = []
    for seed in range(6):
        g = np.random.default_rng(seed)
        bits = g.integers(2, size=(1200, 2))
        code = invertible(
            g, np.hstack([2 * bits - 1 + 0.3 * g.normal(size=(1200, 2)), g.normal(size=(1200, 6))])
        )
        codes, factors = {"dynamic": code}, {"look": bits[:, 0] ^ bits[:, 1]}
        blind.append(leakage_matrix(codes, factors, permutations=199)["dynamic", "look"])
    seeing, counted = (
        leakage_matrix(codes, factors, probe="nonlinear", permutations=199),
        information_matrix(codes, factors),
    )
    assert (
        abs(np.mean(blind)) < 0.08
    )  # 360 test sequences of two classes six times: .03 a standard error
    assert seeing.value[0, 0] > 0.85 and seeing.p_value[0, 0] == 1 / 200
    assert (
        counted.value[0, 0] > 0.25
        and counted.p_value[0, 0] < 1e-6
        and counted.verdict[0, 0] == "lower bound"
    )


def test_the_skill_is_the_accuracy_above_chance():
    g = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], [250, 100, 50])[g.permutation(400)]
    x, test = g.normal(size=(400, 3)) + (y == "a")[:, None], np.arange(100, 220)
    train = np.setdiff1d(np.arange(400), test)
    z = (x - x[train].mean(0)) / x[train].std(0)
    accuracy = (
        LogisticRegression(C=1 / 3, max_iter=1000).fit(z[train], y[train]).score(z[test], y[test])
    )
    chance = np.mean(y[test] == "a")
    for held_out in (test, np.isin(np.arange(400), test)):
        found = leakage_matrix({"x": x}, {"y": y}, test=held_out)
        assert found["x", "y"] == pytest.approx((accuracy - chance) / (1 - chance), abs=1e-12)


def test_factors_of_frames_are_read_at_every_step():
    """Flattened and frame by frame the place is known at each step; its average over time cannot tell the steps apart."""
    codes, factors = world(800, length=6)
    factors = {
        "place": factors["place"],
        "side": (factors["place"] > 0).astype(int),
        "both": np.dstack([factors["place"]] * 2),
    }
    found = leakage_matrix(
        codes, factors, pooling=("flattened", "averaged", "frames"), permutations=99
    )
    assert found.rows == ("static", "dynamic, flattened", "dynamic, averaged", "dynamic, frames")
    assert (found.value[[1, 3], ::2] > 0.98).all() and (found.value[[1, 3], 1] > 0.8).all()
    assert (
        (np.abs(found.value[0]) < 0.1).all()
        and (found.value[2] < 0.8).all()
        and (found.value[2] > 0.1).all()
    )
    assert found.value[:, 0] == pytest.approx(
        found.value[:, 2], abs=1e-6
    )  # the same place twice weighs no more


def test_no_sequence_is_on_both_sides():
    """A mark of its own in every frame of a sequence: a split by frames would know each sequence again."""
    g = np.random.default_rng(0)
    code = g.normal(size=(300, 1, 5)).repeat(8, axis=1) + 0.01 * g.normal(size=(300, 8, 5))
    found = leakage_matrix(
        {"code": code},
        {"y": g.integers(2, size=300)},
        probe="nonlinear",
        pooling="frames",
        permutations=99,
    )
    assert found.value[0, 0] < 0.25 and found.p_value[0, 0] > 0.01
    assert np.diff(found.test_interval[0, 0]) > 0.3  # 90 sequences count, not 720 frames


def test_what_must_not_change_a_cell():
    def nonlinear(codes, factors):  # whose machine settles ties by the order of the classes
        return leakage_matrix(codes, factors, probe="nonlinear", permutations=9)

    def bits(codes, factors):
        return information_matrix(
            codes, factors, pooling="averaged", count=150, shuffles=2, interval=1
        )

    codes, factors = world(500)
    g = np.random.default_rng(1)
    static, dynamic = codes["static"], codes["dynamic"]
    others = {
        "units permuted": {
            "static": static[:, g.permutation(11)],
            "dynamic": dynamic[..., g.permutation(4)],
        },
        "rescaled": {"static": 1000 * static + 5, "dynamic": -dynamic},
        "constant units": {
            "static": np.hstack([static, np.full((500, 9), 3.0)]),
            "dynamic": np.dstack([dynamic, np.zeros((500, 4, 2))]),
        },
        "tensors": {name: torch.from_numpy(code) for name, code in codes.items()},
    }
    names = np.array(["red", "fair", "dark", "grey", "blue", "none"])
    renamed = factors | {
        "hair": names[factors["hair"]],
        "skin": 10 - 3 * factors["skin"],
        "size": -2 * factors["size"] + 1,
    }
    for measure, noise in ((leakage_matrix, 0.02), (nonlinear, 0.05), (bits, 0.05)):
        base = measure(codes, factors).value
        for name, other in others.items():
            assert np.abs(measure(other, factors).value - base).max() <= noise, name
        assert np.abs(measure(codes, renamed).value - base).max() <= noise
        assert np.array_equal(measure(codes, factors).value, base)


def test_seeds_together_and_numbers_for_a_file():
    cells = [leakage_matrix(*world(200, seed=s), permutations=19, seed=s) for s in range(3)]
    together = combine(cells)
    assert np.allclose(
        together.p_value, np.minimum(1, 2 * np.median([one.p_value for one in cells], axis=0))
    )
    assert np.allclose(
        together.test_interval, np.mean([one.test_interval for one in cells], axis=0)
    )
    one, many = cells[0].as_dict("demo/"), together.as_dict()
    assert one["demo/static/hair"] == cells[0]["static", "hair"] and set(one) == {
        f"demo/{row}/{column}{end}"
        for row in cells[0].rows
        for column in cells[0].columns
        for end in ("", "_low", "_high", "_p")
    }
    assert (
        many["static/hair_seed_low"] <= many["static/hair"] <= many["static/hair_seed_high"]
        and cells[0].seed_interval is None
    )
    json.dumps([one, many], allow_nan=False)
    assert combine(cells[:1]) is cells[0]


def test_a_constant_code_is_worth_nothing_and_says_so():
    codes, factors = world(200)
    with pytest.warns(LeakageWarning, match="code 'static' is constant: it tells nothing"):
        found = leakage_matrix(codes | {"static": np.full((200, 3), 2.0)}, factors)
    assert (
        (found.value[0] == 0).all()
        and (found.test_interval[0] == 0).all()
        and (found.p_value[0] == 1).all()
    )
    with pytest.warns(LeakageWarning):
        found = information_matrix({"static": np.full((200, 3), 2.0)}, {"hair": factors["hair"]})
    assert (found.value[0, 0], found.p_value[0, 0], found.verdict[0, 0]) == (0, 1, "nothing seen")
    with pytest.warns(
        LeakageWarning,
        match="factor 'hair' is taken as continuous; if its values are classes, give integers",
    ):
        leakage_matrix(codes, {"hair": factors["hair"] * 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        leakage_matrix(codes, {"hair": factors["hair"] * 1.0}, kinds={"hair": "classes"})


def test_the_chosen_probes_are_those_of_the_study():
    before, mean = dict(PROBES), {}
    for only in ("SVM", "kernel ridge"):
        mean |= {
            row["name"]: row["mean"] for row in bench_leakage.probe_study((8, 64), 450, (0,), only)
        }
    assert max((n for n in mean if "SVM" in n), key=mean.get) in (
        "SVM classes C=1.0",
        "SVM classes C=3.0",
    )  # .005 apart
    assert (
        mean["kernel ridge continuous alpha=0.3"]
        > max(mean[f"kernel ridge continuous alpha={a}"] for a in (0.1, 1.0)) - 0.02
    )
    assert before == PROBES


def test_the_picture():
    found = leakage_matrix(*world(300), permutations=199)
    ax = plots.leakage(
        found.value, found.test_interval, found.p_value, rows=found.rows, columns=found.columns
    )
    texts = [text.get_text() for text in ax.texts]
    assert len(texts) == 2 * found.value.size and f"{found['static', 'hair']:.2f}" in texts
    unsure = (found.p_value >= 0.01).sum()
    assert sum(text.startswith("(") for text in texts) == unsure > 0 and not any(
        "-" in text for text in texts
    )
    assert [label.get_text() for label in ax.get_xticklabels()] == list(found.columns)
    assert len(plots.leakage(found.value).texts) == found.value.size
    plt.close("all")


CODES, FACTORS = world(60)
CODE, HAIR = {"static": CODES["static"]}, {"hair": FACTORS["hair"]}
WITH_NAN = CODES["static"].copy()
WITH_NAN[3, 1] = np.nan


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: leakage_matrix({}, HAIR),
            "codes and factors: expected at least one of each, found 0 and 1",
        ),
        (
            lambda: leakage_matrix({"static": WITH_NAN}, HAIR),
            "code 'static': expected finite numbers, found 1 that are not",
        ),
        (
            lambda: leakage_matrix({"static": CODES["static"][:, :, None, None]}, HAIR),
            r"code 'static': expected shape \(N, D\)",
        ),
        (
            lambda: leakage_matrix(CODE, {"hair": FACTORS["hair"][:50]}),
            "one row a sequence in all, found {'static': 60, 'hair': 50}",
        ),
        (
            lambda: leakage_matrix({"a": np.ones((60, 3, 2)), "b": CODES["dynamic"]}, HAIR),
            r"number of frames in all, found \[3, 4\]",
        ),
        (
            lambda: leakage_matrix(CODES, {"side": np.ones((60, 3), int)}),
            r"factor 'side': expected a value for each of 4 frames",
        ),
        (
            lambda: leakage_matrix(CODE, {"hair": np.zeros(60, int)}),
            "factor 'hair': expected values that differ, found only .*0",
        ),
        (
            lambda: leakage_matrix(CODE, {"size": np.full(60, 0.5)}),
            "factor 'size': expected values that differ",
        ),
        (
            lambda: leakage_matrix(CODE, {"size": np.where(np.arange(60) == 1, np.nan, 0.5)}),
            "'size': expected finite numbers, found 1",
        ),
        (
            lambda: leakage_matrix(CODE, {"name": np.arange(60)}),
            "as many training sequences as classes, 60, found 42",
        ),
        (
            lambda: leakage_matrix(CODE, {"hair": np.zeros((60, 2, 2), int)}),
            "factor 'hair': expected classes .* found classes",
        ),
        (
            lambda: leakage_matrix(CODE, HAIR, kinds={"hair": "class"}),
            "factor 'hair': .* found class",
        ),
        (
            lambda: leakage_matrix(CODE, HAIR, probe="forest"),
            "probe: expected 'linear' or 'nonlinear', found 'forest'",
        ),
        (
            lambda: leakage_matrix(CODE, HAIR, pooling="mean"),
            r"pooling: expected some of flattened, averaged, frames, found \('mean',\)",
        ),
        (lambda: leakage_matrix(CODE, HAIR, test=1.0), "test: expected a share, .* found 60 of 60"),
        (
            lambda: leakage_matrix(CODE, HAIR, test=np.array([5])),
            "test: expected a share, .* found 1 of 60",
        ),
        (
            lambda: leakage_matrix(CODE, {"y": np.arange(60) // 40}, test=np.arange(10)),
            "factor 'y': expected test sequences that differ",
        ),
        (
            lambda: leakage_matrix(CODE, HAIR, bootstrap=5),
            "bootstrap, permutations: expected at least 20 and 1, found 5 and 999",
        ),
        (
            lambda: information_matrix(CODE, HAIR, shuffles=1),
            "shuffles, interval, steps: expected at least 2, 1 and 1, found 1",
        ),
        (
            lambda: information_matrix(CODE, {"name": np.arange(60)}),
            "factor 'name': labels: expected two classes of two members",
        ),
        (lambda: information_matrix(CODE, HAIR, k=60), "factor 'hair': k: expected a whole number"),
        (lambda: combine([]), "matrices: expected one seed each"),
        (
            lambda: combine(
                [
                    leakage_matrix(CODE, HAIR, probe=p, permutations=1)
                    for p in ("linear", "nonlinear")
                ]
            ),
            "found 2 kinds",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::unbraid.measures.codes_and_factors.LeakageWarning")
@pytest.mark.filterwarnings("ignore::unbraid.measures.discrete_information.InformationWarning")
def test_errors_name_thing_expectation_finding_and_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call()
