"""Series: known cells of the real files, splits that are apart, masks, scales, errors."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from unbraid.data import fetch, series
from unbraid.data.air_quality import AIR
from unbraid.data.intensive_care import VITALS, read_stays
from unbraid.data.series import daily_mean
from unbraid.data.weather import AIRPORTS, WEATHER

from papers.datasets import load

COUNTS = {
    "weather": {"train": 576, "validation": 126, "test": 234},
    "air_quality": {"train": 367, "validation": 65, "test": 144},
    "etth1": {"train": 14, "validation": 3, "test": 6},
    "physionet": {"train": 1188, "validation": 298, "test": 371},
}


def at_hand(name, **options):
    """All splits of a set in its own units, by name."""
    if fetch.find(fetch.SOURCES_OF[name][0]) is None:
        pytest.skip(f"{name} is not at hand: run make data, or set UNBRAID_MIRROR")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series, "standardise", lambda values, train: values)
        return {split: load(name, split, **options) for split in COUNTS[name]}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_masks_and_scales(name):
    parts = at_hand(name)
    assert {split: len(data) for split, data in parts.items()} == COUNTS[name]
    for split, data in parts.items():
        mask = data.observed if data.observed.ndim == 3 else data.observed[..., None]
        assert not (data.frames * ~mask).any()
        if split == "train":
            values = data.frames.double().where(mask, torch.nan).flatten(0, 1)
            mean = values.nanmean(0)
            deviation = (values - mean).square().nanmean(0).sqrt()
        expected = torch.where(mask, (data.frames - mean) / deviation, 0.0)
        scaled = load(name, split).frames.double()
        torch.testing.assert_close(scaled, expected, atol=1e-4, rtol=1e-4)


def test_units_of_the_weather_against_the_file():
    """Newark, 1 January 2013, hour 1: 39.02 °F, dew point 26.06 °F, west wind of 10.357 mph."""
    train = at_hand("weather")["train"]
    assert train.labels["station"][0] == AIRPORTS.index("EWR") and train.labels["month"][0] == 0
    expected = [3.9, -3.3, 59.37, 10.35702 * 0.44704, 0, 0, 1012, 16.09344]
    assert train.frames[0, 1].tolist() == pytest.approx(expected, abs=1e-3)
    # The file begins at one o'clock, noon is not in it, and at 13:00 the pressure is missing.
    assert not train.mask[0, [0, 12]].any()
    assert train.mask[0, 13].tolist() == [name != "pressure" for name in WEATHER]
    assert train.frames[..., 3:5].norm(dim=-1).max() < 25  # one entry reads 1048 miles an hour


def test_days_of_weather_in_two_splits_are_never_neighbours():
    table = pd.read_csv(fetch.files("weather")["weather.csv.gz"]).query("origin == 'LGA'")
    local = pd.to_datetime(table["time_hour"]).dt.tz_localize(None) - pd.Timedelta(hours=5)
    hour = (local - pd.Timestamp("2013-01-01")) // pd.Timedelta(hours=1)
    grid = np.zeros((364, 24), np.float32)
    grid.reshape(-1)[hour] = (table["temp"] - 32) / 1.8
    day_of = {day.tobytes(): number for number, day in enumerate(np.nan_to_num(grid))}
    days = {}
    for split, data in at_hand("weather").items():
        assert data.labels["station"].tolist() == [0, 1, 2] * (len(data) // 3)
        pictures = data.frames[2::3, :, 0].contiguous().numpy()
        days[split] = np.array([day_of[picture.tobytes()] for picture in pictures])
        dates = pd.Timestamp("2013-01-01") + pd.to_timedelta(days[split], "D")
        assert data.labels["month"][::3].tolist() == (dates.month - 1).tolist()
    for first, second in combinations(days.values(), 2):
        assert np.abs(first[:, None] - second).min() >= 2


def test_a_month_of_air_is_that_of_the_file():
    test = at_hand("air_quality")["test"]
    place = {"station": "Gucheng", "month": "February", "season": "winter"}
    found = [test.labels[name] == test.classes[name].index(word) for name, word in place.items()]
    row = int(torch.stack(found).all(0).nonzero())
    path = fetch.files("beijing-air")["PRSA_Data_Gucheng_20130301-20170228.csv"]
    table = pd.read_csv(path).query("year == 2016 and month == 2").iloc[:672]
    values = table[list(AIR)].to_numpy(np.float32)
    assert np.array_equal(test.mask[row].numpy(), ~np.isnan(values))
    assert np.array_equal(test.frames[row].numpy(), np.nan_to_num(values))
    rain = np.nan_to_num(table["RAIN"].to_numpy(np.float32))
    assert np.array_equal(test.labels["rain"][row].numpy(), rain)


@pytest.mark.parametrize("months", ("papers", "interleaved"))
def test_months_of_the_transformer(months):
    parts = at_hand("etth1", months=months)
    table = pd.read_csv(fetch.files("etth1")["ETTh1.csv"])
    keys = []
    for data in parts.values():
        for row in range(len(data)):
            year, month = 2016 + int(data.labels["year"][row]), 1 + int(data.labels["month"][row])
            lines = table[table["date"].str.startswith(f"{year}-{month:02}")].iloc[:672, 1:]
            values = lines.to_numpy(np.float32)
            assert np.array_equal(data.frames[row].numpy(), values[:, :6])
            assert np.array_equal(data.labels["oil_temperature"][row].numpy(), values[:, 6])
            keys.append((year, month))
        if months == "interleaved":
            assert set(data.labels["season"].tolist()) == {0, 1, 2, 3}
    assert len(set(keys)) == len(keys) == 23


def test_the_constant_of_the_papers_split_and_the_published_shift():
    parts = at_hand("etth1")
    oil = {name: daily_mean(data.labels["oil_temperature"]) for name, data in parts.items()}
    constant = oil["train"].mean()
    assert float((oil["test"] - constant).abs().mean()) == pytest.approx(11.85, abs=0.005)
    turned = at_hand("etth1", shift_days=14)["test"]
    assert torch.equal(turned.frames[:, : 14 * 24], parts["test"].frames[:, 14 * 24 :])
    assert torch.equal(oil["test"], daily_mean(turned.labels["oil_temperature"]))


def test_hourly_means_by_hand(tmp_path):
    """A made stay: every vital sign at half past each hour, 40 + hour, but the temperature 37."""
    lines = ["Time,Parameter,Value", "00:00,RecordID,7", "00:00,ICUType,3", "00:00,Weight,70"]
    lines.append("00:00,GCS,3")  # The first minute belongs to no hour.
    for hour in range(48):
        lines += [f"{hour:02}:30,{name},{37 if name == 'Temp' else 40 + hour}" for name in VITALS]
        if hour == 1:
            lines += ["01:40,DiasABP,201", "01:50,MAP,61", "01:55,Temp,5", "02:00,HCT,142"]
    (tmp_path / "7.txt").write_text("\n".join(lines))
    (tmp_path / "outcomes.txt").write_text("RecordID,In-hospital_death\n7,1\n")
    means, labels = read_stays((tmp_path / "outcomes.txt", tmp_path / "7.txt"))
    expected = np.full((47, 10), 40.0) + np.arange(47)[:, None]
    expected[:, VITALS.index("Temp")] = 37
    expected[1, VITALS.index("MAP")] = (41 + 61) / 2
    expected[1, VITALS.index("HCT")] = (41 + 142) / 2  # A full hour ends the hour before it.
    np.testing.assert_array_equal(means[0, :47], expected)
    assert np.isnan(means[0, 47]).all()
    assert labels.iloc[0].to_dict() == {"mortality": 1, "icu": 2, "length": 47}


def test_patients():
    stays = at_hand("physionet")["test"]
    length = stays.labels["length"]
    assert int(stays.labels["mortality"].sum()) == 39
    assert torch.bincount(stays.labels["icu"]).tolist() == [40, 102, 109, 120]
    assert int(length.min()) >= 40 and int(length.max()) <= 47
    assert not stays.mask[torch.arange(80) >= length[:, None]].any()
    assert (stays.mask.sum((1, 2)) / (length * 10)).min() >= 0.4 - 1e-6
