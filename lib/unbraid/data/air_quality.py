"""Beijing's air at twelve stations, as months of 672 hours (Zhang et al. 2017; UCI 501)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unbraid.data import series
from unbraid.data.fetch import files
from unbraid.data.sequences import Sequences

# In µg/m³, but temperature and dew point in °C, pressure in hPa, wind speed in m/s.
AIR = ("PM2.5", "PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "WSPM")


def load(split: str = "train", scaled: bool = True) -> Sequences:
    """Beijing's air: the first 672 hours of each month at 12 stations, 2013 to 2017, ten variables.

    split: as papers cut it: 2016 is the "test" (144 series), the other years are shuffled, 85 % to
    "train" (367), 15 % for "validation" (65); stations share their days across these two.
    scaled: z-scores by the observed entries of "train", or with false the units of `AIR`.

    Series (N, 672, 10), see `AIR`, ordered by month, then station. What is missing is 0 and false
    in the mask (N, 672, 10). Labels: station, month, season, year (N,), static; hour and rain in mm
    (N, 672), dynamic; rain that is missing, 0.1 %, is 0.
    """
    stations, months = [], []
    for path in files("beijing-air").values():  # in the order of the stations' names
        table = pd.read_csv(path)
        table.index = pd.DatetimeIndex(pd.to_datetime(table[["year", "month", "day", "hour"]]))
        stations.append(table["station"].iloc[0])
        months.append(series.cut_months(table[[*AIR, "RAIN"]]))
    values = np.stack([values for values, _, _ in months], axis=1)  # (months, 12, 672, 11)
    station = np.tile(np.arange(len(stations)), len(values))
    year, month = (np.repeat(column, len(stations)) for column in months[0][1:])
    values = values.reshape(-1, series.MONTH_HOURS, len(AIR) + 1)
    season = series.season_of(month)
    labels = {"station": station, "month": month, "season": season, "year": year - 2013}
    labels |= {"hour": series.hours_of(values), "rain": np.nan_to_num(values[..., -1])}
    years = ("2013", "2014", "2015", "2016", "2017")
    classes = {"station": tuple(stations), "year": years, **series.CALENDAR}
    about = "air quality at 12 stations of Beijing, months of 672 hours"
    parts = series.split_months(year != 2016)
    return series.make_series(values[..., :-1], parts, split, scaled, labels, classes, about)
