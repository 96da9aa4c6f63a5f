"""The gain of reading the other factor: known amounts are read, and none where there is none."""

import numpy as np
import pytest
from unbraid.measures.refit import refit


def make_codes(gain, clips=1000, steps=5):
    """x is new at each step, and y remembers; of x it takes so much as is worth `gain` nats."""
    random = np.random.default_rng(0)
    x, noise = random.normal(size=(2, clips, steps, 2))
    y, strength = noise.copy(), np.sqrt(np.exp(2 * gain) - 1)
    for step in range(1, steps):
        y[:, step] = 0.8 * y[:, step - 1] + 0.6 * noise[:, step]
        y[:, step, 0] += 0.6 * strength * x[:, step - 1, 0]
    return {"x": x, "y": y}


@pytest.mark.parametrize("gain", (0.0, 0.1, 0.2))
def test_a_planted_gain_is_read_within_its_interval(gain):
    found = refit(make_codes(gain), updates=500)
    assert found.low <= gain <= found.high and found.half_width < 0.03
    assert (found.low > 0) == (gain > 0)


def test_one_factor_and_codes_without_steps_are_refused():
    codes = make_codes(0.1)
    for wrong in ({"x": codes["x"]}, {"x": codes["x"], "y": codes["y"][:, 0]}):
        with pytest.raises(ValueError, match="^codes: expected"):
            refit(wrong)
