"""ETTh1: hourly loads of an electricity transformer, as months of 672 hours (Zhou et al. 2021)."""

import numpy as np
import pandas as pd

from unbraid.checks import check_name
from unbraid.data.fetch import files
from unbraid.data.sequences import Sequences
from unbraid.data.series import CALENDAR, cut_months, make_series, split_months

# High, middle, low voltage; useful and useless load. No unit is published.
LOADS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL")


def load(split: str = "train", months: str = "papers", shift_days: int = 0) -> Sequences:
    """ETTh1, a transformer's six loads: the first 672 hours of each month, July 2016 to May 2018.

    months      "papers": the six months of 2016 are the test, the 17 after them are shuffled, 85 %
                to train: 14, 3 and 6 series. "interleaved": of five months in a row the first is
                for validation, the third for the test: 13, 5 and 5 series of all four seasons.
    shift_days  turns the series, not the labels, by this many days; published code does so by 14

    Series (N, 672, 6), see `LOADS`; nothing is missing. Labels: month, season, year (N,), static;
    hour, oil_temperature in °C (N, 672), dynamic.
    """
    check_name("months", months, ("papers", "interleaved"))
    table = pd.read_csv(files("etth1")["ETTh1.csv"], index_col="date", parse_dates=True)
    values, labels = cut_months([table[[*LOADS, "OT"]]])
    parts = split_months(labels["year"] == 0)
    if months == "interleaved":
        names = ("validation", "train", "test", "train", "train")
        part = np.array(names)[np.arange(len(values)) % 5]
        parts = {name: np.flatnonzero(part == name) for name in names}
    labels["oil_temperature"] = values[..., -1]
    classes = {"year": ("2016", "2017", "2018"), **CALENDAR}
    turned = f", turned by {shift_days} days against their labels" if shift_days else ""
    about = f"ETTh1, months of 672 hours split as {months}{turned}"
    values = np.roll(values[..., :-1], -24 * shift_days, axis=1)
    return make_series(values, parts, split, labels, classes, about)
