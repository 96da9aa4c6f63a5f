"""Stays in intensive care: set A of the PhysioNet/CinC Challenge 2012 as hourly vital signs."""

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from unbraid.data.fetch import files
from unbraid.data.sequences import Sequences
from unbraid.data.series import held_out, make_series

PRESSURES = ("DiasABP", "MAP", "NIDiasABP", "NIMAP", "NISysABP", "SysABP")  # in mmHg
VITALS = tuple(sorted((*PRESSURES, "GCS", "HCT", "RespRate", "Temp")))  # the variables in order
UNITS = ("coronary care", "cardiac surgery recovery", "medical", "surgical")


def load(split: str = "train") -> Sequences:
    """PhysioNet 2012, intensive care: hourly means of ten vital signs (`VITALS`), (N, 80, 10).

    As Tonekaboni et al. (2022) and paper C prepare them: kept are the 1 857 of 4 000 records that
    have at least 40 hours and at most 60 % of their entries missing.

    split: of the records in the order of their numbers the first fifth is the "test" (371), the
    others are shuffled, 80 % to "train" (1 188) and the rest for "validation" (298). Hours after
    the end, 47 at most, are false in the mask (N, 80, 10).
    Labels, all static: mortality (in hospital), icu, length in hours.
    """
    hours, outcomes = read_stays(tuple(files("physionet-2012").values()))
    values = np.full((len(hours), 80, len(VITALS)), np.nan, np.float32)
    values[:, : hours.shape[1]] = hours
    tests = int(0.2 * len(hours))
    train, validation = held_out(len(hours) - tests, 0.8, seed=0)
    parts = {"train": tests + train, "validation": tests + validation, "test": np.arange(tests)}
    labels = {name: column.to_numpy() for name, column in outcomes.items()}
    classes = {"mortality": ("survived", "died"), "icu": UNITS}
    about = "PhysioNet Challenge 2012, set A, hourly vital signs"
    return make_series(values, parts, split, labels, classes, about)


@functools.lru_cache(maxsize=1)
def read_stays(paths: tuple[Path, ...]) -> tuple[np.ndarray, pd.DataFrame]:
    """Hourly means of the kept records (N, 48, 10), NaN where there is none, and their labels.

    paths: that of the outcomes, then one per record. Hours are counted from the first measurement;
    as published, the first minute itself and the last hour, which is not full, belong to none.
    """
    outcomes, *records = paths
    tables = [pd.read_csv(path) for path in records]
    table = pd.concat(tables, keys=range(len(tables)), names=["stay", "line"]).reset_index("stay")
    table["minute"] = 60 * table["Time"].str[:2].astype(int) + table["Time"].str[3:].astype(int)
    name = table["Parameter"]
    described = table[name.isin(("RecordID", "ICUType"))]
    patients = described.pivot(index="stay", columns="Parameter", values="Value").astype(int)

    # What the first minute says of the patient is no measurement.
    of_patient = name.isin(("RecordID", "ICUType", "Age", "Gender", "Height"))
    table = table[~of_patient & ~((name == "Weight") & (table["minute"] == 0))]
    minute = table.groupby("stay")["minute"]
    length = ((minute.max() - minute.min() - 1) // 60).reindex(patients.index, fill_value=0)
    hour = (table["minute"] - minute.transform("min") - 1) // 60
    within = (hour >= 0) & (hour < table["stay"].map(length))
    means = _hourly_means(table.assign(hour=hour)[within], len(patients))

    entries = length * len(VITALS)
    missing = entries - (~np.isnan(means)).sum((1, 2))
    kept = (length >= 40) & (missing <= 0.6 * entries)
    died = pd.read_csv(outcomes).set_index("RecordID")["In-hospital_death"]
    labels = {"mortality": patients["RecordID"].map(died), "icu": patients["ICUType"] - 1}
    return means[kept], pd.DataFrame(labels | {"length": length})[kept]


def _hourly_means(table: pd.DataFrame, stays: int) -> np.ndarray:
    """Means of the plausible values by stay, hour and vital sign (stays, 48, 10), NaN for none."""
    name, value = table["Parameter"], table["Value"]
    too_low = name.isin((*PRESSURES, "RespRate")) & (value < 1)
    too_high = (name == "DiasABP") & (value > 200)
    no_temperature = (name == "Temp") & ~value.between(25, 45)  # °C
    table = table[name.isin(VITALS) & ~too_low & ~too_high & ~no_temperature]

    shape = (stays, 48, len(VITALS))
    vital = table["Parameter"].map(VITALS.index)
    cell = np.ravel_multi_index((table["stay"], table["hour"], vital), shape)
    sums = np.bincount(cell, table["Value"], minlength=np.prod(shape))
    counts = np.bincount(cell, minlength=np.prod(shape))
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as it should be
        return (sums / counts).reshape(shape)
