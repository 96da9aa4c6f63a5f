"""Plants of known size: what they contain by formula, and which instrument of 23 finds them."""

import numpy as np
import pytest
import torch
from unbraid import kraskov, ross
from unbraid.measures.planting import plant

SOURCE = np.random.default_rng(1).normal(size=4000)
CODE = np.random.default_rng(2).normal(size=(4000, 5)) * [1, 2, 3, 4, 5] + 7


def information(x, y):
    """Bits between Gaussians, by least squares: (N, D) and (N,)."""
    x = np.column_stack([x, np.ones(len(x))])
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return -np.log2(residual.var() / y.var()) / 2


@pytest.mark.parametrize("bits", [0.1, 0.5, 2.0])
def test_linear_and_rotated_plants_have_their_bits(bits):
    """The standard error of each is about .02 bits."""
    linear = plant(CODE, SOURCE, bits, "linear", units=[3])
    assert (linear[:, :3] == CODE[:, :3]).all() and (linear[:, 4] == CODE[:, 4]).all()
    assert information(linear, SOURCE) == pytest.approx(bits, abs=0.08)
    assert kraskov(linear[:, 3], SOURCE).estimate == pytest.approx(bits, abs=0.12)
    np.testing.assert_allclose(linear[:, 3].mean(), 7, atol=0.3)
    rotated = plant(CODE, SOURCE, bits, "rotated", noise=[1.0, 2, 3, 4, 5])
    assert information(rotated, SOURCE) == pytest.approx(bits, abs=0.08)


def test_only_the_signs_of_two_units_together_show_a_product():
    planted = plant(CODE, SOURCE, 0.5, "product", units=[4, 0])
    pair = planted[:, [4, 0]] - np.median(CODE[:, [4, 0]], axis=0)
    alone = np.corrcoef(planted, SOURCE, rowvar=False)[-1, :-1]
    assert np.abs(alone).max() < 0.06 and kraskov(pair[:, 0], SOURCE, seed=1).estimate < 0.06
    table = np.histogram2d(np.sign(pair.prod(axis=1)), np.median(SOURCE) < SOURCE, 2)[0]
    p = table / table.sum()
    bits = np.sum(p * np.log2(p / p.sum(0) / p.sum(1, keepdims=True)))
    assert bits == pytest.approx(0.5, abs=0.06)
    assert kraskov(pair, SOURCE).estimate > 0.3
    np.testing.assert_allclose(np.abs(pair), np.abs(CODE - np.median(CODE, axis=0))[:, [4, 0]])


@pytest.mark.parametrize("how", ["linear", "product", "rotated"])
def test_a_plant_of_nothing_is_found_by_nobody_and_of_classes_by_ross(how):
    labels = np.random.default_rng(4).choice(["a", "b", "c", "d"], 4000)
    code, units = CODE[:, :2], {"linear": [0], "product": [0, 1], "rotated": [0, 1]}[how]
    for bits, least, most in ((0.0, -0.06, 0.06), (0.5, 0.2, 0.56)):
        planted = plant(code, labels, bits, how, units, [1.0, 2.0])
        assert least < ross(planted[:, units], labels).estimate < most


def test_a_tensor_stays_one_and_a_seed_is_a_draw():
    code, source = torch.as_tensor(CODE[:50]).float(), torch.as_tensor(CODE[50:100])
    planted = plant(code, source)
    assert planted.dtype == torch.float32 and torch.equal(planted, plant(code, source))
    assert not torch.equal(planted, plant(code, source, seed=1))


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("source", {"source": SOURCE[:9]}),
        ("bits", {"bits": 1.5, "how": "product"}),
        ("units", {"units": [5]}),
        ("noise", {"noise": [1.0], "how": "rotated"}),
    ],
)
def test_refusals_name_the_field(field, change):
    with pytest.raises(ValueError, match=f"^{field}: "):
        plant(**{"code": CODE, "source": SOURCE} | change)


def codes_of_poses(seed, count=296):
    """s (M, 200), d of own and of other frames (M, 4, 2) with noise 1, and the own poses."""
    g = np.random.default_rng(seed)
    islands, poses = 40 * g.normal(size=(30, 2)), g.integers(30, size=(2, count, 4))
    return g.normal(size=(count, 200)), *(islands[poses] + g.normal(size=(2, count, 4, 2))), poses


INSTRUMENTS = ("within_pose", "products", "above_chance", "look_in_s", "look_in_d")
GIVEN = {"M": 296, "N": 4, "best": np.arange(10)}  # what the page's functions read
HOW = ["linear", "product", "rotated"]


@pytest.mark.parametrize("how", HOW)
def test_each_instrument_of_notebook_23_finds_the_leak_that_it_is_for(define, how):
    """Nine of ten half bits each way; and none where d is that of other frames, as it once was."""
    seen, by_other = np.zeros(3, dtype=int), 0
    for seed in range(10):
        page = define("23", *INSTRUMENTS, seed=seed, **GIVEN)
        s, own, other, poses = codes_of_poses(seed)
        units = {"linear": [9], "product": [8, 9], "rotated": None}[how]
        leaky = plant(s, own.mean(1), 0.5, how, units, np.ones(200), seed)
        in_s = page.look_in_s(leaky, own.mean(1))
        by_other += max(page.look_in_s(leaky, other.mean(1))) > 1
        source, frames = s[:, :10].repeat(4, 0), own.reshape(-1, 2)
        leaky = plant(frames, source, 0.5, how, None, np.ones(2), seed).reshape(296, 4, 2)
        in_d = page.look_in_d(leaky, s[:, :10], torch.as_tensor(poses[0]))
        column = HOW.index(how)
        seen += [in_s[column] > 1, in_d[column] > 1, in_s[0] > 1]
    assert seen[0] >= 9 and seen[1] >= 9 and by_other <= 1
    assert how == "linear" or seen[2] <= 1  # A matrix of single units sees the linear one alone.


def test_the_instruments_of_notebook_23_are_quiet_without_a_plant(define):
    alarms = np.zeros(6, dtype=int)
    for seed in range(20):
        page = define("23", *INSTRUMENTS, seed=seed, **GIVEN)
        s, own, _, poses = codes_of_poses(seed)
        in_d = page.look_in_d(own, s[:, :10], torch.as_tensor(poses[0]))
        alarms += np.array([*page.look_in_s(s, own.mean(1)), *in_d]) > 1
    assert alarms.max() <= 1
