"""Series with known factors: vowels, weather, Beijing's air, a transformer.

Every loader returns z-scores by the observed entries of the training split, or with `scaled=False`
the data in their own units. What was not observed is 0 and false in the mask. Without its files a
loader raises `DataError`.
"""

from __future__ import annotations

import calendar
import gzip

import numpy as np
import pandas as pd
from torch import Tensor

from unbraid.data.fetch import files
from unbraid.data.sequences import Sequences, check_choice

# The variables of each set, in the order of the columns of its series.
WEATHER = (  # in °C, °C, %, m/s, m/s, mm, hPa, km
    "temperature",
    "dew point",
    "relative humidity",
    "eastward wind",
    "northward wind",
    "precipitation",
    "pressure",
    "visibility",
)
# In µg/m³, but temperature and dew point in °C, pressure in hPa, wind speed in m/s.
AIR = ("PM2.5", "PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "WSPM")
# High, middle, low voltage; useful and useless load. No unit is published.
LOADS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL")
AIRPORTS = ("EWR", "JFK", "LGA")  # Newark, Kennedy, La Guardia: within 35 km of each other
CALENDAR = {
    "month": tuple(calendar.month_name)[1:],
    "season": ("winter", "spring", "summer", "autumn"),  # whole months from December on
    "hour": tuple(f"{hour:02}:00" for hour in range(24)),
}
MONTH_HOURS = 672  # 28 days: as much of each month as the shortest has


def load_vowels(split: str = "train", scaled: bool = True) -> Sequences:
    """Japanese Vowels: nine men say /ae/; 12 cepstrum coefficients per step (Kudo et al. 1999).

    split: "train", 30 utterances of each speaker, or "test", 24 to 88 of each: 370.
    Series (N, 29, 12) of 7 to 29 steps; those after the end are false in the mask (N, 29).
    Label: speaker (N,), static.
    """
    values = np.full((640, 29, 12), np.nan, np.float32)
    lines = []
    for part in ("TRAIN", "TEST"):
        with gzip.open(files("vowels")[f"JapaneseVowels_{part}.ts.gz"], "rt") as stream:
            lines += stream.read().partition("@data\n")[2].splitlines()
    speakers = []
    for row, line in enumerate(lines):  # twelve lists of steps and the speaker, between colons
        *variables, speaker = line.split(":")
        steps = np.array([variable.split(",") for variable in variables], np.float64)
        values[row, : steps.shape[1]] = steps.T
        speakers.append(int(speaker) - 1)
    parts = {"train": np.arange(270), "test": np.arange(270, 640)}
    labels = {"speaker": np.array(speakers)}
    classes = {"speaker": tuple(f"speaker {number}" for number in range(1, 10))}
    about = "Japanese Vowels, 12 cepstra of 9 speakers"
    return make_series(values, parts, split, scaled, labels, classes, about)


def load_weather(split: str = "train", scaled: bool = True) -> Sequences:
    """Weather of 2013 at three airports in days: eight variables (`WEATHER`), (N, 24, 8).

    split: of eight weeks in a row the second is for "validation", the fourth and the eighth are the
    "test", the others "train": 126, 234 and 576 series. A split has the same days at all stations,
    and each week's last day is left out, because weather lasts.

    A day begins at midnight of standard time, also in summer, so all have 24 hours. Missing are
    hours without a line, what the file calls NA, wind of unknown direction and one wind of 1048
    miles an hour. Labels: station, month, season (N,), static; hour (N, 24), dynamic.
    """
    table = pd.read_csv(files("weather")["weather.csv.gz"])
    speed = table["wind_speed"].where(table["wind_speed"] < 100) * 1.609344 / 3.6  # miles an hour
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
    values = np.full((days, len(AIRPORTS), 24, len(WEATHER)), np.nan)
    values[hour // 24, station, hour % 24] = np.stack(columns, axis=-1)

    day, station = np.indices((days, len(AIRPORTS))).reshape(2, -1)
    names = ("train", "validation", "train", "test", "train", "train", "train", "test")
    part = np.array(names)[day // 7 % 8]  # of a day's week
    parts = {name: np.flatnonzero((part == name) & (day % 7 != 6)) for name in names}
    month = (first + pd.to_timedelta(day, "D")).month.to_numpy().astype(np.int64) - 1
    labels = {"station": station, "month": month, "season": _season(month)}
    classes = {"station": AIRPORTS, **CALENDAR}
    about = "weather of 3 New York airports in 2013, days of 24 hours"
    values = values.reshape(-1, 24, len(WEATHER))
    labels["hour"] = _hours(values)
    return make_series(values, parts, split, scaled, labels, classes, about)


def load_air_quality(split: str = "train", scaled: bool = True) -> Sequences:
    """Beijing's air: the first 672 hours of each month at 12 stations, 2013 to 2017, ten variables.

    split: as papers on this set cut it: 2016 is the "test" (144 series), the other years are
    shuffled, 85 % to "train" (367) and 15 % for "validation" (65). Stations share their days across
    these two.

    Series (N, 672, 10), see `AIR`, ordered by month, then station. What is missing is 0 and false
    in the mask (N, 672, 10). Labels: station, month, season, year (N,), static; hour and rain in mm
    (N, 672), dynamic; rain that is missing, 0.1 %, is 0.
    """
    stations, months = [], []
    for path in files("beijing-air").values():  # in the order of the stations' names
        table = pd.read_csv(path)
        table.index = pd.DatetimeIndex(pd.to_datetime(table[["year", "month", "day", "hour"]]))
        stations.append(table["station"].iloc[0])
        months.append(_cut_months(table[[*AIR, "RAIN"]]))
    values = np.stack([values for values, _, _ in months], axis=1)  # (months, 12, 672, 11)
    station = np.tile(np.arange(len(stations)), len(values))
    year, month = (np.repeat(column, len(stations)) for column in months[0][1:])
    values = values.reshape(-1, MONTH_HOURS, len(AIR) + 1)
    labels = {"station": station, "month": month, "season": _season(month), "year": year - 2013}
    labels |= {"hour": _hours(values), "rain": np.nan_to_num(values[..., -1])}
    years = ("2013", "2014", "2015", "2016", "2017")
    classes = {"station": tuple(stations), "year": years, **CALENDAR}
    about = "air quality at 12 stations of Beijing, months of 672 hours"
    parts = _split_months(year != 2016)
    return make_series(values[..., :-1], parts, split, scaled, labels, classes, about)


def load_etth1(
    split: str = "train", months: str = "papers", shift_days: int = 0, scaled: bool = True
) -> Sequences:
    """ETTh1, a transformer's six loads: the first 672 hours of each month, July 2016 to May 2018.

    months      "papers": July to December 2016 are the test, the 17 months after it are shuffled,
                85 % to train: 14, 3 and 6 series, so that a model trained on cold oil is tested on
                warm. "interleaved": of five months in a row the first is for validation, the third
                for the test, the others to train: 13, 5 and 5 series; all have all four seasons.
    shift_days  turns the series, but not the labels, so that this day comes first and the days
                before it last; published code does so by 14 days

    Series (N, 672, 6), see `LOADS`; nothing is missing. Labels: month, season, year (N,), static;
    hour, oil_temperature in °C (N, 672), dynamic.
    """
    check_choice("months", months, ("papers", "interleaved"))
    table = pd.read_csv(files("etth1")["ETTh1.csv"], index_col="date", parse_dates=True)
    values, year, month = _cut_months(table[[*LOADS, "OT"]])
    parts = _split_months(year > 2016)
    if months == "interleaved":
        names = ("validation", "train", "test", "train", "train")
        part = np.array(names)[np.arange(len(values)) % 5]
        parts = {name: np.flatnonzero(part == name) for name in names}
    labels = {"month": month, "season": _season(month), "year": year - 2016}
    labels |= {"hour": _hours(values), "oil_temperature": values[..., -1]}
    classes = {"year": ("2016", "2017", "2018"), **CALENDAR}
    turned = f", turned by {shift_days} days against their labels" if shift_days else ""
    about = f"ETTh1, months of 672 hours split as {months}{turned}"
    values = np.roll(values[..., :-1], -24 * shift_days, axis=1)
    return make_series(values, parts, split, scaled, labels, classes, about)


def daily_mean(values: Tensor) -> Tensor:
    """Means of each 24 hours: (N, T, ...) becomes (N, T / 24, ...)."""
    return values.unflatten(1, (-1, 24)).mean(2)


def held_out(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """0 ... count - 1, shuffled: int(share * count) to train, the rest to validate; each sorted."""
    order = np.random.default_rng(seed).permutation(count)
    cut = int(share * count)
    return np.sort(order[:cut]), np.sort(order[cut:])


def make_series(
    values: np.ndarray,
    parts: dict[str, np.ndarray],
    split: str,
    scaled: bool,
    labels: dict[str, np.ndarray],
    classes: dict[str, tuple[str, ...]],
    about: str,
) -> Sequences:
    """One split of N series: values (N, T, D), NaN where nothing was observed.

    parts: the rows of each split. labels: (N,) are static, (N, T) dynamic. The mask is (N, T) where
    only whole steps are missing, else (N, T, D). about: for the provenance.
    """
    rows, observed = parts[split], ~np.isnan(values)
    mean, deviation = 0.0, 1.0
    if scaled:
        train = values[parts["train"]].astype(np.float64)
        mean, deviation = np.nanmean(train, axis=(0, 1)), np.nanstd(train, axis=(0, 1))
    frames = np.where(observed[rows], (values[rows] - mean) / deviation, 0.0)
    whole_steps = (observed.all(-1) == observed.any(-1)).all()
    mask = observed[rows, :, 0] if whole_steps else observed[rows]
    units = "z-scores by the observed training entries" if scaled else "in their own units"
    return Sequences(
        # Row by row in memory, whatever the table's order: sums over steps would round otherwise.
        frames=np.ascontiguousarray(frames, np.float32),
        labels={name: label[rows] for name, label in labels.items()},
        static=tuple(name for name, label in labels.items() if label.ndim == 1),
        dynamic=tuple(name for name, label in labels.items() if label.ndim == 2),
        split=split,
        provenance=f"{about}, {split} split: {len(rows)} real series, {units}",
        mask=None if observed.all() else mask,
        classes=classes,
    )


def _cut_months(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first 672 hours of each month that has them, float32 (M, 672, D); years; months."""
    months = [month for _, month in table.groupby(table.index.to_period("M"))]
    months = [month.iloc[:MONTH_HOURS] for month in months if len(month) >= MONTH_HOURS]
    values = np.stack([month.to_numpy(np.float32) for month in months])
    year = np.array([month.index[0].year for month in months])
    return values, year, np.array([month.index[0].month - 1 for month in months])


def _split_months(rest: np.ndarray) -> dict[str, np.ndarray]:
    """The papers' split: where `rest` is false the test, the others shuffled, 85 % to train."""
    numbers = np.flatnonzero(rest)
    train, validation = held_out(len(numbers), 0.85, seed=0)
    tests = np.flatnonzero(~rest)
    return {"train": numbers[train], "validation": numbers[validation], "test": tests}


def _season(month: np.ndarray) -> np.ndarray:
    """The season, 0 (winter) ... 3, of months 0 (January) ... 11."""
    return (month + 1) % 12 // 3


def _hours(values: np.ndarray) -> np.ndarray:
    """The hour of the day (N, T) of each step of series (N, T, D) that begin at midnight."""
    return np.tile(np.arange(values.shape[1]) % 24, (len(values), 1))
