"""Plants of known size: what they contain by formula, what an instrument of notebook 23 finds."""

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
    for noise in (None, [1.0, 2, 3, 4, 5]):
        rotated = plant(CODE, SOURCE, bits, "rotated", noise=noise)
        assert information(rotated, SOURCE) == pytest.approx(bits, abs=0.08)


def test_a_rotated_plant_of_many_units_is_in_none_of_them():
    code = np.random.default_rng(3).normal(size=(4000, 200))
    planted = plant(code, SOURCE, 0.5, "rotated", noise=np.ones((4000, 200)))
    alone = np.corrcoef(planted, SOURCE, rowvar=False)[-1, :-1]
    assert np.abs(alone).max() < 0.25 and information(planted, SOURCE) > 0.4


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
    assert abs(ross(plant(code, labels, 0.0, how, units)[:, units], labels).estimate) < 0.06
    found = ross(plant(code, labels, 0.5, how, units)[:, units], labels).estimate
    assert 0.2 < found < 0.56


def test_types_draws_and_sources_of_several_columns():
    code, source = torch.as_tensor(CODE[:50]).float(), torch.as_tensor(CODE[50:100])
    for how in ("linear", "product", "rotated"):
        planted = plant(code, source, how=how)
        assert planted.dtype == torch.float32 and planted.shape == code.shape
        assert torch.equal(planted, plant(code, source, how=how))
        assert not torch.equal(planted, plant(code, source, how=how, seed=1))
    assert plant(CODE[:50].astype(np.float32), SOURCE[:50]).dtype == np.float32


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("code", {"code": CODE[:, 0]}),
        ("code", {"code": CODE * np.nan}),
        ("source", {"source": SOURCE[:9]}),
        ("source", {"source": np.zeros(4000)}),
        ("source", {"source": np.zeros(4000, dtype=int)}),
        ("source", {"source": np.zeros((4000, 2), dtype=int)}),
        ("how", {"how": "curved"}),
        ("bits", {"bits": -1}),
        ("bits", {"bits": 1.5, "how": "product"}),
        ("units", {"units": [0, 1]}),
        ("units", {"units": [5]}),
        ("units", {"units": [1, 1], "how": "product"}),
        ("units", {"code": CODE * [0, 1, 1, 1, 1], "units": [0]}),
        ("noise", {"noise": [1.0], "how": "rotated"}),
        ("seed", {"seed": -1}),
    ],
)
def test_refusals_name_the_field(field, change):
    with pytest.raises(ValueError, match=f"^{field}: "):
        plant(**{"code": CODE, "source": SOURCE} | change)
