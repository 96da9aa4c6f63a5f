"""Planted bits are exact, readings are read off their curves, and what is not seen is said."""

import numpy as np
import pytest
from unbraid import ross
from unbraid.measures.calibration import (
    FORMS,
    calibrate,
    channel_bits,
    plant_form,
    probe_bits,
)
from unbraid.measures.information import prepare, ross_bits


def read_all(code, labels):
    """Ross's estimate for all units, of a code of steps for their means."""
    means = code if code.ndim == 2 else code.mean(axis=1)
    noise = np.random.default_rng(0)
    return ross_bits(prepare(means, 1e-10, noise, raw=False), [labels], k=3)[0]


def read_line(code, labels):
    """Bits between classes and the best line through six units, as if both were Gaussian."""
    x = np.column_stack([code[:, :6], np.ones(len(code))])
    rest = labels - x @ np.linalg.lstsq(x, labels, rcond=None)[0]
    return -np.log2(rest.var() / labels.var()) / 2


@pytest.mark.parametrize("in_scale", [False, True])
@pytest.mark.parametrize("size", [0.3, 1.0, 3.0])
def test_a_channel_has_the_bits_of_its_likelihoods(size, in_scale):
    """By the mean log-ratio of 200 000 draws, of which the standard error is at most .004."""
    random, shares = np.random.default_rng(0), np.array([0.5, 0.3, 0.2])
    levels = size * np.array([-1.0, 0, 1])
    sent = random.choice(3, 200_000, p=shares)
    noise = random.normal(size=200_000)
    value = noise * np.exp(levels[sent]) if in_scale else levels[sent] + noise
    width, middle = (np.exp(levels), 0 * levels) if in_scale else (np.ones(3), levels)
    density = np.exp(-(((value[:, None] - middle) / width) ** 2) / 2) / width
    ratio = density[np.arange(200_000), sent] / (density @ shares)
    assert channel_bits(levels, shares, in_scale) == pytest.approx(np.log2(ratio).mean(), abs=0.015)


@pytest.mark.parametrize("steps", [1, 8])
@pytest.mark.parametrize("form", FORMS)
def test_a_plant_tells_its_bits_and_nothing_else_does(form, steps):
    random = np.random.default_rng(1)
    labels = random.integers(4, size=2500)
    old = random.normal(size=(2500, steps, 3)) @ random.normal(size=(3, 3))
    code = old.copy()
    bits = plant_form(code, labels, form, 0.5, np.arange(3), random)
    means, changed = code.mean(axis=1), np.flatnonzero((code != old).any(axis=(0, 1)))
    if form in ("three units", "all units"):
        found = probe_bits(means, labels).mean
    elif form == "product of two units":
        alone = [ross(means[:, [unit]], labels).estimate for unit in changed]
        assert len(changed) == 2 and max(alone) < 0.05
        centred = means[:, changed] - np.median(means[:, changed], axis=0)
        # One of the two is only a sign; which, is not known here.
        signs = [np.sign(centred[:, a]) * centred[:, b] for a, b in ((0, 1), (1, 0))]
        found = max(ross(each, labels).estimate for each in signs)
    elif form == "scale of a unit" and steps > 1:
        spread = code[:, :, changed].std(axis=1)
        assert np.allclose(means, old.mean(axis=1))
        found = ross(np.log(spread), labels).estimate
    elif form == "scale of a unit":
        distance = means[:, changed] - means[:, changed].mean()
        assert ross(distance, labels).estimate == pytest.approx(bits, abs=0.08)
        found = ross(np.log(np.abs(distance)), labels).estimate
    else:
        found = ross(means[:, changed], labels).estimate
    assert found == pytest.approx(bits, abs=0.08) and bits > 0.3
    others = np.setdiff1d(np.arange(3), changed)
    assert not others.size or abs(ross(means[:, others], labels).estimate) < 0.05


@pytest.mark.parametrize("form", FORMS)
def test_a_reading_stands_for_a_range_that_has_the_planted_bits(form):
    """Of 200 draws in all; 180 is what a 95 % range falls below once in some 1 000 times."""
    random, covered = np.random.default_rng(2), 0
    for world in range(4):
        code, labels = random.normal(size=(250, 5)), random.integers(3, size=250)
        scale = calibrate(code, labels, read_all, seed=world)
        for _ in range(50):
            planted = random.permutation(code)[:, None]
            bits = plant_form(planted, labels, form, random.random(), np.arange(5), random)
            found = scale.ranges(read_all(planted[:, 0], labels))[form]
            covered += found.low <= bits <= found.high
    assert covered >= 180


def test_an_instrument_that_cannot_see_a_form_says_so():
    random = np.random.default_rng(3)
    code, labels = random.normal(size=(300, 8)), random.integers(2, size=300)
    nats = [2.0] * 6 + [1, 0.01]
    scale = calibrate(code, labels, read_line, nats=nats, units=range(6))
    assert scale.share == pytest.approx(12 / 13.01) and scale.share_of == "nats"
    one, three, product, spread, everywhere = scale.say(scale.limit + 0.4)
    assert all("about 0.4" in said for said in (one, three, everywhere))
    assert "cannot tell" in product and "cannot tell" in spread
    nothing = scale.ranges(float(scale.null.mean()))
    assert nothing["one unit"].low == 0 < nothing["one unit"].high < 0.2
    assert nothing["product of two units"].high == scale.entropy
    assert "up to 0." in scale.say(0.0)[0] and "bits or more" in scale.say(2.0)[0]


@pytest.mark.parametrize("nats", [None, [1.0, 1, 1, 0.01]])
def test_plants_lie_in_active_units_alone(nats):
    random = np.random.default_rng(6)
    code = random.normal(size=(60, 4)) * ([1, 1, 1, 0.01] if nats is None else 1)
    seen = set()

    def watch(planted, labels):
        is_new = [set(new) != set(old) for new, old in zip(planted.T, code.T, strict=True)]
        seen.update(np.flatnonzero(is_new).tolist())
        return 0.0

    calibrate(code, np.arange(60) % 2, watch, nats=nats, draws=2)
    assert seen == {0, 1, 2}


def test_the_probe_stays_below_what_is_there_and_finds_most_of_it():
    random, below = np.random.default_rng(4), 0
    for _ in range(12):
        code, labels = random.normal(size=(200, 1, 4)), random.integers(3, size=200)
        bits = plant_form(code, labels, "one unit", 0.8, np.arange(4), random)
        found = probe_bits(code[:, 0], labels)
        below += found.low <= bits
        assert found.mean > 0.6 * bits
    assert below >= 11
    assert probe_bits(random.normal(size=(200, 4)), labels).low == 0


def test_what_a_probe_knows_of_a_group_it_has_seen_does_not_count():
    random = np.random.default_rng(5)
    groups = np.repeat(np.arange(40), 8)
    labels, code = random.integers(2, size=40)[groups], random.normal(size=(40, 30))[groups]
    assert probe_bits(code, labels).low > 0.4
    assert probe_bits(code, labels, groups=groups).mean < 0.1


FAULTS = {
    "code": {"code": np.zeros(9)},
    "classes": {"classes": np.zeros(9, int)},
    "nats": {"nats": [1.0]},
    "groups": {"groups": np.zeros(30)},
    "draws": {"draws": 1},
}


@pytest.mark.parametrize("field", FAULTS)
def test_refusals_name_the_field(field):
    given = {"code": np.random.default_rng(0).normal(size=(30, 3)), "classes": np.arange(30) % 2}
    with pytest.raises(ValueError, match=f"^{field}: "):
        calibrate(**given | {"read": read_all} | FAULTS[field])
