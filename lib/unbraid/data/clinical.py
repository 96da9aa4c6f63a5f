"""Stays in intensive care: set A of the PhysioNet/CinC Challenge 2012, prepared as papers on this kind of series prepare it.

The preparation is that of S. Tonekaboni and others (2022), whose splits and filter later papers, paper C among them, took over.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unbraid.data.scaling import check_split, held_out, series
from unbraid.data.sequences import Sequences
from unbraid.data.tables import files_of, numbers, read_lines, read_table, wrong

VITALS = {
    "DiasABP": "mmHg",
    "GCS": "points",
    "HCT": "%",
    "MAP": "mmHg",
    "NIDiasABP": "mmHg",
    "NIMAP": "mmHg",
    "NISysABP": "mmHg",
    "RespRate": "breaths/min",
    "SysABP": "mmHg",
    "Temp": "°C",
}
UNITS = (
    "coronary care",
    "cardiac surgery recovery",
    "medical",
    "surgical",
)  # kinds of intensive care
DESCRIPTORS = (
    "RecordID",
    "Age",
    "Gender",
    "Height",
    "ICUType",
)  # each once in a record, at 00:00; Weight may come again
PARAMETERS = (
    *DESCRIPTORS,
    "Weight",
    *VITALS,
    "ALP",
    "ALT",
    "AST",
    "Albumin",
    "BUN",
    "Bilirubin",
    "Cholesterol",
    "Creatinine",
    "FiO2",
    "Glucose",
    "HCO3",
    "HR",
    "K",
    "Lactate",
    "MechVent",
    "Mg",
    "Na",
    "PaCO2",
    "PaO2",
    "Platelets",
    "SaO2",
    "TroponinI",
    "TroponinT",
    "Urine",
    "WBC",
    "pH",
)
LEAST_HOURS, MOST_MISSING = 40, 0.6
PLAUSIBLE = {
    name: (1.0, np.inf) for name, unit in VITALS.items() if unit in ("mmHg", "breaths/min")
}
PLAUSIBLE |= {
    "DiasABP": (1.0, 200.0),
    "Temp": (25.0, 45.0),
    "GCS": (-np.inf, np.inf),
    "HCT": (-np.inf, np.inf),
}

_NUMBER = {name: number for number, name in enumerate(PARAMETERS)}
_MINUTE = {f"{minute // 60:02}:{minute % 60:02}": minute for minute in range(48 * 60 + 1)}


@dataclass(frozen=True)
class Record:
    """One stay: its number, the kind of intensive care (index in `UNITS`), and what was measured, in the order of time.

    minutes    (M,) since the stay began, 0 ... 2880
    parameters (M,) indices in `PARAMETERS`; the descriptors of the first minute are not among them
    values     (M,)
    """

    number: int
    unit: int
    minutes: np.ndarray
    parameters: np.ndarray
    values: np.ndarray


def read_record(path: str | os.PathLike) -> Record:
    """Read one record: lines of time, parameter, value. Raises `DataError`, naming the line, for anything else."""
    path = Path(path)
    lines = read_lines(path, "physionet-2012")
    if not lines or lines[0] != "Time,Parameter,Value":
        raise wrong(
            path,
            1,
            "the header Time,Parameter,Value",
            repr(lines[0]) if lines else "an empty file",
            "physionet-2012",
        )
    rows = [line.split(",") for line in lines[1:]]
    try:
        times, names, texts = zip(*rows, strict=True)
        minutes, parameters = (
            np.array([_MINUTE[time] for time in times]),
            np.array([_NUMBER[name] for name in names]),
        )
    except (KeyError, ValueError):
        good = [len(row) == 3 and row[0] in _MINUTE and row[1] in _NUMBER for row in rows]
        row = good.index(False) if rows else 0
        found = lines[row + 1] if rows else "the end of the file"
        raise wrong(
            path,
            row + 2,
            "a time from 00:00 to 48:00, a known parameter, a value",
            repr(found),
            "physionet-2012",
        ) from None
    values = numbers(path, texts, -100.0, 200_000.0, "physionet-2012")
    if (back := np.diff(minutes) < 0).any():
        row = int(back.argmax()) + 1
        raise wrong(
            path, row + 2, f"a time not before {times[row - 1]}", times[row], "physionet-2012"
        )
    described = {name: values[parameters == number] for number, name in enumerate(DESCRIPTORS)}
    known = all(len(found) == 1 for found in described.values())
    if not known or described["ICUType"][0] not in (1, 2, 3, 4) or described["RecordID"][0] % 1:
        found = {name: list(map(float, found)) for name, found in described.items()}
        raise wrong(
            path,
            2,
            f"once each of {', '.join(DESCRIPTORS)}, ICUType from 1 to 4",
            found,
            "physionet-2012",
        )
    measured = (parameters > _NUMBER["Weight"]) | (
        (parameters == _NUMBER["Weight"]) & (minutes > 0)
    )
    unit, number = int(described["ICUType"][0]) - 1, int(described["RecordID"][0])
    return Record(number, unit, minutes[measured], parameters[measured], values[measured])


def read_outcomes(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the outcomes: columns RecordID, SAPS-I, SOFA, Length_of_stay, Survival (days), In-hospital_death, int64 (n,).

    -1 stands for what is not known. Raises `DataError`, naming the line.
    """
    columns = {
        "RecordID": range(1, 10**6),
        "SAPS-I": range(-1, 164),
        "SOFA": range(-1, 25),
        "Length_of_stay": range(-1, 10_000),
        "Survival": range(-1, 10_000),
        "In-hospital_death": range(2),
    }
    return read_table(path, tuple(columns), columns, "physionet-2012")


def hourly(record: Record) -> np.ndarray:
    """Means of the plausible values of each hour (hours, 10), NaN where there is none; columns as `VITALS`.

    Hours are counted from the first measurement of any kind, and hold what comes after their beginning until their end. As
    published, the first minute itself and the last hour, which is not full, belong to none: 48 hours of stay give 47.
    """
    if not len(record.minutes):
        return np.empty((0, len(VITALS)))
    first, last = record.minutes[0], record.minutes[-1]
    count = max(-(-(last - first) // 60) - 1, 0)
    hour, vital = -(-(record.minutes - first) // 60) - 1, record.parameters - _NUMBER["DiasABP"]
    within = (hour >= 0) & (hour < count) & (vital >= 0) & (vital < len(VITALS))
    hour, vital, values = hour[within], vital[within], record.values[within]
    low, high = np.array([PLAUSIBLE[name] for name in VITALS]).T
    plausible = (values >= low[vital]) & (values <= high[vital])
    cell = (hour * len(VITALS) + vital)[plausible]
    size = count * len(VITALS)
    sums, times = np.bincount(cell, values[plausible], size), np.bincount(cell, minlength=size)
    means = np.divide(sums, times, out=np.full(size, np.nan), where=times > 0)
    return means.reshape(count, len(VITALS))


def load_physionet(
    split: str = "train", scaled: bool = True, steps: int = 80, seed: int = 0
) -> Sequences:
    """Stays in intensive care: hourly means of ten vital signs (`VITALS`), the rest of `steps` hours empty, (N, steps, 10).

    split   of the records in the order of their numbers, the first fifth is the "test" (371), the others are shuffled, 80 % to
            "train" (1 188) and the rest for "validation" (298)
    scaled  z-scores by the observed training entries, else the units of `VITALS`
    steps   80 as published; no series is longer than 47
    seed    of the shuffling; the papers give none

    Kept are the 1 857 of 4 000 records that have at least 40 hours and at most 60 % of their entries missing; see `hourly`.
    Left out beforehand is what cannot be: pressures and breathing below 1, diastolic pressure above 200, temperatures outside 25
    to 45 °C. (Published code takes temperatures from 1 to 10 for Celsius and makes Fahrenheit of them, so that some of them pass
    as 34 to 45 °C; here they are left out, which costs one record.) Many stays lie close to 60 %, so the count depends on details.

    What is missing is 0 and false in the mask (N, steps, 10). Labels, all static: mortality (in hospital), icu, length (hours).
    Raises `DataError` without the files, `ValueError` for an unknown split or fewer than 48 steps.
    """
    check_split(split, "train", "validation", "test")
    if steps < 48:
        raise ValueError(f"steps: expected at least 48, found {steps}")
    files = files_of("physionet-2012")
    hours, units, died = _stays(tuple(sorted(files.items())))
    values = np.full((len(hours), steps, len(VITALS)), np.nan, np.float32)
    for row, each in enumerate(hours):
        values[row, : len(each)] = each
    tests = int(0.2 * len(hours))
    train, validation = held_out(len(hours) - tests, 0.8, seed)
    return series(
        values,
        {"train": tests + train, "validation": tests + validation, "test": np.arange(tests)},
        split,
        scaled,
        labels={"mortality": died, "icu": units, "length": np.array([len(each) for each in hours])},
        classes={"mortality": ("survived", "died"), "icu": UNITS},
        told="PhysioNet Challenge 2012, set A, hourly vital signs",
        units="in mmHg, points, %, breaths/min, °C",
    )


@functools.lru_cache(maxsize=1)
def _stays(files: tuple[tuple[str, Path], ...]) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Of the records that are kept, by number: hourly means, kind of intensive care, death. Read once in a process."""
    outcomes = next(path for name, path in files if name == "Outcomes-a.txt")
    table = read_outcomes(outcomes)
    died = dict(zip(table["RecordID"].tolist(), table["In-hospital_death"].tolist()))
    kept = []
    for path in (path for name, path in files if name != "Outcomes-a.txt"):
        record = read_record(path)
        if record.number not in died:
            raise wrong(path, 2, f"a RecordID of {outcomes.name}", record.number, "physionet-2012")
        means = hourly(record)
        if len(means) >= LEAST_HOURS and np.isnan(means).mean() <= MOST_MISSING:
            kept.append((means, record.unit, died[record.number]))
    hours, units, deaths = zip(*kept)
    return list(hours), np.array(units), np.array(deaths)
