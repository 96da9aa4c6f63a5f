"""Beijing's air at twelve stations, as months of 672 hours (Zhang et al. 2017; UCI 501)."""

import numpy as np
import pandas as pd

from unbraid.data.fetch import files
from unbraid.data.sequences import Sequences
from unbraid.data.series import CALENDAR, cut_months, make_series, split_months

# In µg/m³, but temperature and dew point in °C, pressure in hPa, wind speed in m/s.
AIR = ("PM2.5", "PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "WSPM")


def load(split: str = "train") -> Sequences:
    """Beijing's air: the first 672 hours of each month at 12 stations, 2013 to 2017, ten variables.

    split: as papers cut it: 2016 is the "test" (144 series), the other years are shuffled, 85 % to
    "train" (367), 15 % for "validation" (65); stations share their days across these two.

    Series (N, 672, 10) by month, then station; the mask has the same shape. Labels: station,
    month, season, year (N,), static; hour, rain in mm (N, 672; 0 where missing, .1 %), dynamic.
    """
    stations, tables = [], []
    for path in files("beijing-air").values():  # in the order of the stations' names
        table = pd.read_csv(path)
        table.index = pd.DatetimeIndex(pd.to_datetime(table[["year", "month", "day", "hour"]]))
        stations.append(table["station"].iloc[0])
        tables.append(table[[*AIR, "RAIN"]])
    values, labels = cut_months(tables)
    station = np.arange(len(values)) % len(stations)
    labels = {"station": station, **labels, "rain": np.nan_to_num(values[..., -1])}
    years = ("2013", "2014", "2015", "2016", "2017")
    classes = {"station": tuple(stations), "year": years, **CALENDAR}
    parts = split_months(labels["year"] == years.index("2016"))
    about = "air quality at 12 stations of Beijing, months of 672 hours"
    return make_series(values[..., :-1], parts, split, labels, classes, about)
