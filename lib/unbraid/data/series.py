"""Series with known factors: Japanese vowels, Beijing's air, an electricity transformer; and the door to those of `weather`, `clinical`.

Every loader hands out z-scores by the observed entries of the training split, or with `scaled=False` the data in its units.
What was not observed is 0 and false in the mask.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unbraid.data.clinical import load_physionet
from unbraid.data.scaling import (
    HOURS,
    MONTHS,
    SEASONS,
    check_split,
    held_out,
    observed_moments,
    season,
    series,
)
from unbraid.data.sequences import Sequences
from unbraid.data.tables import (
    check_hourly,
    files_of,
    moments,
    numbers,
    read_lines,
    read_table,
    wrong,
)
from unbraid.data.weather import load_weather

__all__ = [
    "AIR",
    "LOADS",
    "STATIONS",
    "daily_mean",
    "load_air_quality",
    "load_etth1",
    "load_physionet",
    "load_vowels",
    "load_weather",
    "read_air_quality",
    "read_etth1",
    "read_ts",
    "zero_filling",
]
STATIONS = (
    "Aotizhongxin",
    "Changping",
    "Dingling",
    "Dongsi",
    "Guanyuan",
    "Gucheng",
    "Huairou",
    "Nongzhanguan",
    "Shunyi",
    "Tiantan",
    "Wanliu",
    "Wanshouxigong",
)
AIR = {
    "PM2.5": "µg/m³",
    "PM10": "µg/m³",
    "SO2": "µg/m³",
    "NO2": "µg/m³",
    "CO": "µg/m³",
    "O3": "µg/m³",
    "TEMP": "°C",
    "PRES": "hPa",
    "DEWP": "°C",
    "WSPM": "m/s",
}
LOADS = (
    "HUFL",
    "HULL",
    "MUFL",
    "MULL",
    "LUFL",
    "LULL",
)  # high, middle, low voltage; useful and useless load; no unit is published
MONTH_HOURS = 672  # 28 days: as much of each month as the shortest has


def read_ts(path: str | os.PathLike) -> tuple[list[np.ndarray], np.ndarray, tuple[str, ...]]:
    """Read series in the .ts format of aeon and sktime (also packed by gzip): several variables, classes, no time stamps.

    Returns the series, float32 (T, D) each of its own T, their classes (N,), and the names of the classes.
    Raises `DataError`, naming the line, for anything that is not as the file's head announces.
    """
    path = Path(path)
    lines = read_lines(path, "vowels")
    head = {line.split(" ")[0]: line.split(" ")[1:] for line in lines if line.startswith("@")}
    start = next((number for number, line in enumerate(lines) if line == "@data"), len(lines)) + 1
    size = head.get("@dimensions", ["none"])[0]
    told, *names = head.get("@classLabel", ["nothing"])
    flags = {name: head.get(name) for name in ("@timeStamps", "@missing", "@univariate")}
    if (
        not (size.isdigit() and len(size) < 5 and 0 < int(size) <= 1000)
        or flags != dict.fromkeys(flags, ["false"])
        or told != "true"
    ):
        expected = "@timeStamps, @missing, @univariate false, @dimensions from 1 to 1000, @classLabel true and names, @data"
        raise wrong(
            path,
            max(min(start, len(lines)), 1),
            expected,
            f"{flags}, @dimensions {size}, {len(names)} classes",
            "vowels",
        )
    if len(lines) <= start:
        raise wrong(path, len(lines), "@data and series after it", "the end of the file", "vowels")
    found, labels = [], []
    for number, line in enumerate(lines[start:], start + 1):
        *variables, name = line.split(":")
        steps = [variable.split(",") for variable in variables]
        if len(steps) != int(size) or name not in names or len({len(each) for each in steps}) != 1:
            expected = f"{size} variables of equal length and one of the classes {' '.join(names)}"
            lengths = sorted({len(each) for each in steps})
            raise wrong(
                path,
                number,
                expected,
                f"{len(steps)} variables of {lengths} steps, {name!r}",
                "vowels",
            )
        found.append(
            np.stack(
                [numbers(path, each, -1000, 1000, "vowels", line=number) for each in steps], -1
            ).astype(np.float32)
        )
        labels.append(names.index(name))
    return found, np.array(labels), tuple(names)


def load_vowels(split: str = "train", scaled: bool = True) -> Sequences:
    """Japanese Vowels: nine men say /ae/; 12 cepstrum coefficients of linear prediction a step (M. Kudo and others 1999).

    split    "train", 30 utterances of each speaker, or "test", 24 to 88 of each: 370
    scaled   z-scores, else the coefficients, which have no unit

    Series (N, 29, 12) of 7 to 29 steps; those after the end are false in the mask (N, 29). Labels: speaker (N,), static.
    Raises `DataError` without the files, `ValueError` for an unknown split.
    """
    check_split(split, "train", "test")
    files = files_of("vowels")
    read = {
        part: read_ts(files[f"JapaneseVowels_{part.upper()}.ts.gz"]) for part in ("train", "test")
    }
    every = [*read["train"][0], *read["test"][0]]
    values = np.full((len(every), max(map(len, every)), 12), np.nan, np.float32)
    for row, each in enumerate(every):
        values[row, : len(each)] = each
    count = len(read["train"][0])
    return series(
        values,
        {"train": np.arange(count), "test": np.arange(count, len(every))},
        split,
        scaled,
        labels={"speaker": np.concatenate([read["train"][1], read["test"][1]])},
        classes={"speaker": tuple(f"speaker {name}" for name in read["train"][2])},
        told="Japanese Vowels, 12 cepstra of 9 speakers",
        units="coefficients without a unit",
    )


def read_air_quality(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read one station's table of the Beijing Multi-Site Air Quality set, every hour of it one line.

    Returns columns (n,): station (text), hours (datetime64[h], local time), and the variables of `AIR` and RAIN (mm) as float64,
    NaN where missing. Raises `DataError`, naming the line.
    """
    path = Path(path)
    header = ["No", "year", "month", "day", "hour", *list(AIR)[:9], "RAIN", "wd", "WSPM", "station"]
    table = read_table(
        path,
        header,
        {
            "year": range(2013, 2018),
            "month": range(1, 13),
            "day": range(1, 32),
            "hour": range(24),
            "station": STATIONS,
            **dict.fromkeys(list(AIR)[:6], (0.0, 20_000.0)),
            "TEMP": (-40.0, 50.0),
            "PRES": (900.0, 1100.0),
            "DEWP": (-60.0, 40.0),
            "WSPM": (0.0, 60.0),
            "RAIN": (0.0, 200.0),
        },
        "beijing-air",
        missing="NA",
    )
    year, month, day, hour = (table.pop(name) for name in ("year", "month", "day", "hour"))
    days = ((year - 1970) * 12 + month - 1).astype("datetime64[M]").astype("datetime64[D]") + (
        day - 1
    )
    hours = days.astype("datetime64[h]") + hour
    check_hourly(path, hours, "beijing-air")
    if (other := table["station"] != table["station"][0]).any():
        row = int(other.argmax())
        raise wrong(
            path,
            row + 2,
            f"the station {table['station'][0]} throughout",
            table["station"][row],
            "beijing-air",
        )
    return table | {"hours": hours}


def load_air_quality(split: str = "train", scaled: bool = True, seed: int = 0) -> Sequences:
    """Beijing's air: the first 672 hours of each month at 12 stations, March 2013 to February 2017, ten variables (`AIR`).

    split    as papers on this set cut it: 2016 is the "test" (144 series), the other years are shuffled, 85 % to "train" (367)
             and 15 % for "validation" (65). Stations share their days across these two.
    scaled   z-scores by the observed training entries, else the units of `AIR`
    seed     of the shuffling; the papers give none

    Series (N, 672, 10), ordered by month, then station. What is missing stays missing: 0 and false in the mask (N, 672, 10).
    Labels: station, month, season, year (N,), static; hour, rain in mm (N, 672), dynamic. Rain that is missing, 0.1 %, is 0.

    Raises `DataError` without the files, `ValueError` for an unknown split.
    """
    check_split(split, "train", "validation", "test")
    files = files_of("beijing-air")
    values, months = _station_months(
        tuple(files[f"PRSA_Data_{station}_20130301-20170228.csv"] for station in STATIONS)
    )
    month, station = (each.ravel() for each in np.indices((len(months), len(STATIONS))))
    year, month = (np.array([each[field] for each in months])[month] for field in (0, 1))
    rest, test = np.flatnonzero(year != 2016), np.flatnonzero(year == 2016)
    train, validation = held_out(len(rest), 0.85, seed)
    hour = np.broadcast_to(np.arange(MONTH_HOURS) % 24, values.shape[:2])
    return series(
        values[..., :-1],
        {"train": rest[train], "validation": rest[validation], "test": test},
        split,
        scaled,
        labels={
            "station": station,
            "month": month,
            "season": season(month),
            "year": year - 2013,
            "hour": hour,
            "rain": np.nan_to_num(values[..., -1]),
        },
        dynamic=("hour", "rain"),
        told="air quality at 12 stations of Beijing, months of 672 hours",
        units="in µg/m³, °C, hPa, m/s",
        classes={
            "station": STATIONS,
            "month": MONTHS,
            "season": SEASONS,
            "year": tuple(map(str, range(2013, 2018))),
            "hour": HOURS,
        },
    )


@functools.lru_cache(maxsize=1)
def _station_months(paths: tuple[Path, ...]) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Variables of `AIR` and rain (months * stations, 672, 11), float32, and the months. Read once in a process."""
    tables = [read_air_quality(path) for path in paths]
    months = _months(tables[0]["hours"])
    every = np.stack(
        [np.stack([table[name] for name in (*AIR, "RAIN")], -1) for table in tables]
    )  # (station, hours, 11)
    values = np.stack(
        [every[:, start : start + MONTH_HOURS] for _, _, start in months]
    )  # (month, station, 672, 11)
    return values.reshape(-1, MONTH_HOURS, every.shape[-1]).astype(np.float32), months


def zero_filling(sequences: Sequences) -> dict[str, Tensor]:
    """What it does to series in their own units to write 0 where a value is missing, of each variable (D,).

    missing    share of values that are
    zero       what a zero stands for, in standard deviations from the mean of what was observed
    mean       how far the mean of all moves, in the same deviations
    deviation  by what the standard deviation of all is multiplied
    """
    values = sequences.frames.double().flatten(0, 1)
    if sequences.mask is not None:
        values[~sequences.mask.flatten(0, 1)] = torch.nan
    mean, deviation = (torch.from_numpy(each) for each in observed_moments(values.numpy()))
    filled = values.nan_to_num(0.0)
    return {
        "missing": values.isnan().double().mean(0),
        "zero": -mean / deviation,
        "mean": (filled.mean(0) - mean) / deviation,
        "deviation": filled.std(0, correction=0) / deviation,
    }


def read_etth1(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Read ETTh1: hours (datetime64[h]) (n,), one after the other; six loads and the oil temperature (°C), float64 (n, 7).

    Raises `DataError`, naming the line.
    """
    path = Path(path)
    names = (*LOADS, "OT")
    table = read_table(
        path, ("date", *names), {"date": None, **dict.fromkeys(names, (-100.0, 100.0))}, "etth1"
    )
    hours = moments(path, table["date"], "etth1")
    check_hourly(path, hours, "etth1")
    return hours, np.stack([table[name] for name in names], -1)


def load_etth1(
    split: str = "train",
    months: str = "papers",
    shift_days: int = 0,
    scaled: bool = True,
    seed: int = 0,
) -> Sequences:
    """A transformer's six loads (`LOADS`), the first 672 hours of each month from July 2016 to May 2018, (N, 672, 6).

    split       "train", "validation" or "test"
    months      "papers": July to December 2016 are the test, the 17 months after it are shuffled, 85 % to train: 14, 3 and 6
                series. So a model trained on cold oil is tested on warm: daily means of 10.6 °C against 21.6 °C. The season is
                the lesser part of it: July to December 2017 have 12.2 °C.
                "interleaved": of five months in a row the first is for validation, the third for the test, the others to train:
                13, 5 and 5 series; all three have months of all four seasons and of all years. The months follow each other
                without a gap, but for their days 29 to 31.
    shift_days  turns the series so that this day comes first, and the days before it last, but not the labels: as published
                code does by 14 days, so that each day is given the oil temperature of another
    scaled      z-scores by the training entries, else as published
    seed        of the shuffling; the papers give none

    Nothing is missing. Labels: month, season, year (N,), static; hour, oil_temperature in °C (N, 672), dynamic, with
    `daily_mean` what is to be predicted of each day.

    Raises `DataError` without the file, `ValueError` for an unknown option.
    """
    check_split(split, "train", "validation", "test")
    if months not in ("papers", "interleaved") or not 0 <= shift_days < MONTH_HOURS // 24:
        raise ValueError(
            f"months, shift_days: expected papers or interleaved, 0 to 27, found {months!r}, {shift_days}"
        )
    hours, values = read_etth1(files_of("etth1")["ETTh1.csv"])
    found = _months(hours)
    cut = np.stack([values[start : start + MONTH_HOURS] for _, _, start in found]).astype(
        np.float32
    )
    year, month = (np.array([each[field] for each in found]) for field in (0, 1))
    number = np.arange(len(found))
    if months == "papers":
        rest = number[year > 2016]
        train, validation = (rest[rows] for rows in held_out(len(rest), 0.85, seed))
        parts = {"train": train, "validation": validation, "test": number[year == 2016]}
    else:
        parts = {
            "train": number[np.isin(number % 5, (1, 3, 4))],
            "validation": number[number % 5 == 0],
            "test": number[number % 5 == 2],
        }
    shifted = f", turned by {shift_days} days against their labels" if shift_days else ""
    return series(
        np.roll(cut[..., :-1], -24 * shift_days, axis=1),
        parts,
        split,
        scaled,
        labels={
            "month": month,
            "season": season(month),
            "year": year - 2016,
            "hour": np.broadcast_to(np.arange(672) % 24, cut.shape[:2]),
            "oil_temperature": cut[..., -1],
        },
        dynamic=("hour", "oil_temperature"),
        classes={
            "month": MONTHS,
            "season": SEASONS,
            "year": ("2016", "2017", "2018"),
            "hour": HOURS,
        },
        told=f"ETTh1, months of 672 hours split as {months}{shifted}",
    )


def daily_mean(values: Tensor) -> Tensor:
    """Means of each 24 hours: (N, T, ...) becomes (N, T / 24, ...). Raises `ValueError` where T is not whole days."""
    if values.ndim < 2 or values.shape[1] % 24:
        raise ValueError(
            f"values: expected (N, T, ...) with T a multiple of 24, found {tuple(values.shape)}"
        )
    return values.unflatten(1, (-1, 24)).mean(2)


def _months(hours: np.ndarray) -> list[tuple[int, int, int]]:
    """Year, month 0 ... 11 and first row of each month with at least 672 hours; hours: datetime64[h] (n,), one after the other."""
    found, start, count = np.unique(
        hours.astype("datetime64[M]").astype(np.int64), return_index=True, return_counts=True
    )
    return [
        (1970 + int(m) // 12, int(m) % 12, int(s))
        for m, s, n in zip(found, start, count)
        if n >= MONTH_HOURS
    ]
