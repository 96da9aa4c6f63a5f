"""Wet days in codes of made-up months, where it is known what the codes hold."""

import numpy as np
import pytest
import torch
from helpers import seeded
from torch import nn
from unbraid.data.sequences import Sequences
from unbraid.models.base import Batch

from papers.c import rain_probe

HOURS = 28 * 24


def months(count=24, seed=0):
    """Months whose first variable is its number, the second its rain, the third noise. It rains
    2 mm on some days, and .5 mm, which does not count, on all others; in July every second day."""
    month = torch.arange(count) % 12
    draws = torch.rand(count, 28, generator=seeded(seed))
    wet = draws < torch.where(month == 6, 0.5, 0.1)[:, None]
    rain = torch.where(wet, 2.0, 0.5).repeat_interleave(24, 1) / 24  # (N, 672)
    noise = torch.randn(count, HOURS, generator=seeded(seed + 1))
    frames = torch.stack([month[:, None].expand(-1, HOURS).float(), rain, noise], 2)
    return Sequences(frames, {"month": month, "rain": rain}, ("month",), ("rain",)), wet


class Reader(nn.Module):
    """s is the mean of one variable over the day that stands alone."""

    def __init__(self, variable):
        super().__init__()
        self.weight, self.variable = nn.Parameter(torch.zeros(1)), variable

    def encode(self, batch, noise=None):
        frames = Batch.of(batch).frames
        assert frames.shape[1] == 24
        return {"static": frames[..., self.variable].mean(1, keepdim=True)}


def test_days_are_wet_from_a_millimetre_on_and_in_order():
    made, wet = months(3)
    assert np.array_equal(rain_probe.is_wet(made), wet.flatten().numpy())
    codes = rain_probe.day_codes(Reader(0), made)
    assert codes[:, 0].tolist() == 28 * [0] + 28 * [1] + 28 * [2]


@pytest.mark.parametrize(
    "variable, alone, within", [("month", 0.63, 0.5), ("rain", 1, 1), ("noise", 0.5, 0.5)]
)
def test_rain_is_found_where_the_code_holds_it(variable, alone, within):
    """A code of July is right as often as the month alone, and by chance within a month. July has
    .31 of the wet and .05 of the dry days, so the AUROC is .5 + (.31 - .05) / 2 = .63."""
    reader = Reader(("month", "rain", "noise").index(variable))
    known, new = (months(240, seed)[0] for seed in (0, 5))
    if variable == "month":  # So that a linear model can say July.
        for part in (known, new):
            part.frames[..., 0] = (part.labels["month"] == 6)[:, None].float()
    figures = rain_probe.wet_days(reader, known, new, 0)
    assert figures["wet_day_auroc"] == pytest.approx(alone, abs=0.04)
    assert figures["wet_day_auroc_within_months"] == pytest.approx(within, abs=0.04)
    assert figures["wet_day_auroc_window"] == 1
    assert figures["wet_day_auroc_month"] == pytest.approx(0.63, abs=0.04)
    if variable == "month":
        assert figures["wet_day_auroc"] == pytest.approx(figures["wet_day_auroc_month"], abs=0.03)


def test_the_interval_is_over_calendar_months():
    """Three months, one of which is read upside down: a draw of months has 0 to 3 of it."""
    wet, months = np.tile([0, 1], 30), np.arange(60) // 20
    scores = np.where(months == 2, -1, 1) * wet
    found = rain_probe.score_months(wet, scores, months)
    assert found.mean == pytest.approx(2 / 3) and (found.low, found.high) == (0, 1)
    alone = rain_probe.score_months(wet, wet, months)
    assert (alone.low, alone.high) == (1, 1)
