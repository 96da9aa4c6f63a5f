"""Hourly weather at the three airports of New York, 2013: three stations that see the same sky, day after day."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from unbraid.data.scaling import HOURS, MONTHS, SEASONS, check_split, season, series
from unbraid.data.sequences import Sequences
from unbraid.data.tables import files_of, moments, read_table, wrong

AIRPORTS = ("EWR", "JFK", "LGA")  # Newark, Kennedy, La Guardia: within 35 km of each other
WEATHER = {
    "temperature": "°C",
    "dew point": "°C",
    "relative humidity": "%",
    "eastward wind": "m/s",
    "northward wind": "m/s",
    "precipitation": "mm",
    "pressure": "hPa",
    "visibility": "km",
}
FIRST, DAYS = np.datetime64("2013-01-01"), 364  # 52 weeks, all that the file has
HEADER = "origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour".split(
    ","
)
COLUMNS = {
    "origin": AIRPORTS,
    "year": range(2013, 2014),
    "month": range(1, 13),
    "day": range(1, 32),
    "hour": range(24),
    "time_hour": None,
    "temp": (-60.0, 140.0),
    "dewp": (-80.0, 100.0),
    "humid": (0.0, 100.0),
    "wind_dir": (0.0, 360.0),
    "wind_speed": (0.0, 1100.0),
    "precip": (0.0, 20.0),
    "pressure": (850.0, 1100.0),
    "visib": (0.0, 10.0),
}
WINDLESS = 100.0  # miles an hour: no wind of 2013 came near it, but one entry reads 1048
MILE, INCH = 1.609344, 25.4  # kilometres, millimetres


def read_weather(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the table of hourly weather (also packed by gzip), in the file's units: °F, miles an hour, inches, miles.

    Returns columns (n,): origin (text), hours (datetime64[h], universal time), and temp, dewp, humid, wind_dir (degrees that it
    blows from), wind_speed, precip, pressure, visib as float64, NaN where missing. Raises `DataError`, naming the line.
    """
    path = Path(path)
    table = read_table(path, HEADER, COLUMNS, "weather", missing="NA")
    hours = moments(
        path,
        [text.removesuffix("Z").replace("T", " ") for text in table.pop("time_hour")],
        "weather",
    )
    year, month, day, hour = (table.pop(name) for name in ("year", "month", "day", "hour"))
    days = ((year - 1970) * 12 + month - 1).astype("datetime64[M]").astype("datetime64[D]") + (
        day - 1
    )
    behind = (hours - days.astype("datetime64[h]")).astype(np.int64) - hour
    again = (np.diff(hours).astype(np.int64) <= 0) & (table["origin"][1:] == table["origin"][:-1])
    for bad, expected in (
        ((behind != 5) & (behind != 4), "the local time 5 hours behind time_hour, in summer 4"),
        (np.append(False, again), "a later hour than on the line before"),
    ):
        if bad.any():
            raise wrong(path, int(bad.argmax()) + 2, expected, f"{hours[bad.argmax()]}", "weather")
    return table | {"hours": hours}


def load_weather(split: str = "train", scaled: bool = True) -> Sequences:
    """Days of weather at Newark, Kennedy and La Guardia airport: eight variables (`WEATHER`), hour by hour, (N, 24, 8).

    split    weeks are whole: of eight weeks in a row the second is for validation, the fourth and the eighth are for the test,
             the others to train: 32, 7 and 13 weeks. The same days belong to a split at all stations, and each week's last day
             belongs to none: weather lasts. Between neighbouring days the temperature, its season taken out, correlates by
             0.63, two days apart by 0.24. 576, 126 and 234 series.
    scaled   z-scores by the observed training entries, else the units of `WEATHER`, into which the file's are converted

    A day begins at midnight of standard time, also in summer (universal time less 5 hours), so all have 24 hours; a week would
    leave 156 series in all. Missing: hours that no line speaks of, what the file calls NA (pressure: one in ten), wind of
    unknown direction, one wind of 1048 miles an hour. Labels: station, month, season (N,), static; hour (N, 24), dynamic.

    Raises `DataError` without the files, `ValueError` for an unknown split.
    """
    check_split(split, "train", "validation", "test")
    table = read_weather(files_of("weather")["weather.csv.gz"])
    hour = (table["hours"] - np.timedelta64(5, "h") - FIRST.astype("datetime64[h]")).astype(
        np.int64
    )
    place = np.array([AIRPORTS.index(name) for name in table["origin"]])
    values = np.full((DAYS, len(AIRPORTS), 24, len(WEATHER)), np.nan)
    values[hour // 24, place, hour % 24] = _converted(table)
    day, station = (each.ravel() for each in np.indices((DAYS, len(AIRPORTS))))
    week, kept = day // 7, day % 7 < 6
    tests, validates = week % 4 == 3, week % 8 == 1
    parts = {
        "train": kept & ~tests & ~validates,
        "validation": kept & validates,
        "test": kept & tests,
    }
    month = (FIRST + day).astype("datetime64[M]").astype(np.int64) % 12
    return series(
        values.reshape(-1, 24, len(WEATHER)),
        {name: np.flatnonzero(rows) for name, rows in parts.items()},
        split,
        scaled,
        labels={
            "station": station,
            "month": month,
            "season": season(month),
            "hour": np.broadcast_to(np.arange(24), (len(day), 24)),
        },
        dynamic=("hour",),
        classes={"station": AIRPORTS, "month": MONTHS, "season": SEASONS, "hour": HOURS},
        told="weather of 3 New York airports in 2013, days of 24 hours",
        units="in °C, %, m/s, mm, hPa, km",
    )


def _converted(table: dict[str, np.ndarray]) -> np.ndarray:
    """The variables of `WEATHER` in its units (n, 8). Calm air has no direction, but components: 0."""
    speed = np.where(table["wind_speed"] > WINDLESS, np.nan, table["wind_speed"]) * MILE / 3.6
    angle = np.radians(
        np.where(speed == 0, 0.0, table["wind_dir"])
    )  # where it blows from, clockwise from north
    return np.stack(
        [
            (table["temp"] - 32) / 1.8,
            (table["dewp"] - 32) / 1.8,
            table["humid"],
            -speed * np.sin(angle),
            -speed * np.cos(angle),
            table["precip"] * INCH,
            table["pressure"],
            table["visib"] * MILE,
        ],
        axis=-1,
    )
