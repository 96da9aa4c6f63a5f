"""The weather of three airports: the reader, the units, the hours, the splits without leakage in time."""

import gzip

import numpy as np
import pytest
import torch
from fuzz import check_reader
from unbraid.data import sources
from unbraid.data.sources import DataError
from unbraid.data.weather import AIRPORTS, HEADER, WEATHER, load_weather, read_weather

SPLITS = ("train", "validation", "test")
LINE = "EWR,2013,1,1,1,50,32,59.37,270,10,NA,1,1012,10,2013-01-01T06:00:00Z"


@pytest.fixture(scope="module")
def own():
    """All splits in their units."""
    return {split: load_weather(split, scaled=False) for split in SPLITS}


@pytest.fixture(scope="module")
def table():
    return read_weather(sources.find("weather")["weather.csv.gz"])


def written(folder, *lines):
    path = folder / "weather.csv"
    path.write_text("\n".join([",".join(HEADER), *lines, ""]))
    return path


def test_the_table(table):
    assert {len(column) for column in table.values()} == {26_115}
    assert {name: int((table["origin"] == name).sum()) for name in AIRPORTS} == {
        "EWR": 8703,
        "JFK": 8706,
        "LGA": 8706,
    }
    assert (str(table["hours"].min()), str(table["hours"].max())) == (
        "2013-01-01T06",
        "2013-12-30T23",
    )
    missing = {
        name: int(np.isnan(table[name]).sum()) for name in table if name not in ("origin", "hours")
    }
    assert missing == {
        "temp": 1,
        "dewp": 1,
        "humid": 1,
        "wind_dir": 460,
        "wind_speed": 4,
        "precip": 0,
        "pressure": 2729,
        "visib": 0,
    }


def test_a_line_by_hand(tmp_path):
    read = read_weather(written(tmp_path, LINE, LINE.replace("EWR", "LGA").replace("1012", "NA")))
    assert read["origin"].tolist() == ["EWR", "LGA"] and read["temp"].tolist() == [50.0, 50.0]
    assert read["hours"].tolist() == np.array(
        ["2013-01-01T06"] * 2, "datetime64[h]"
    ).tolist() and np.isnan(read["pressure"][1])


@pytest.mark.parametrize(
    "lines, words",
    (
        ((LINE, LINE), "line 3: damaged(.|\n)*a later hour"),
        ((LINE.replace("1,1,1,50", "1,1,3,50"),), "line 2: damaged(.|\n)*5 hours behind"),
        ((LINE.replace("2013,1,1,1", "2013,2,31,1"),), "line 2: damaged"),
        ((LINE.replace("EWR", "SFO"),), "one of EWR, JFK, LGA"),
        ((LINE.replace("06:00:00Z", "06:30:00Z"),), "a full hour"),
        ((LINE.replace(",50,", ",500,"),), "from -60 to 140"),
    ),
)
def test_lines_that_cannot_be(tmp_path, lines, words):
    with pytest.raises(DataError, match=words):
        read_weather(written(tmp_path, *lines))


def test_a_thousand_damaged_tables(tmp_path):
    whole = gzip.decompress(sources.find("weather")["weather.csv.gz"].read_bytes())
    content = b"".join(whole.splitlines(keepends=True)[:200])
    right = lambda read: (
        len(read) == 10 and {len(column) for column in read.values()} == {len(read["hours"])}
    )  # noqa: E731
    outcomes = check_reader(read_weather, ".csv", content, tmp_path, looks_right=right)
    assert outcomes["refused"] > 600  # the rest had a digit changed, or a line lost
    packed = check_reader(
        read_weather, ".csv.gz", gzip.compress(content), tmp_path, count=200, looks_right=right
    )
    assert packed["refused"] > 180  # the packed file has a checksum


def test_counts(own):
    assert {split: tuple(days.frames.shape) for split, days in own.items()} == {
        "train": (576, 24, 8),
        "validation": (126, 24, 8),
        "test": (234, 24, 8),
    }
    for days in own.values():
        assert (days.static, days.dynamic) == (("station", "month", "season"), ("hour",))
        assert torch.bincount(days.labels["station"]).tolist() == [len(days) // 3] * 3
        assert (
            torch.bincount(days.labels["season"]).min() >= 18
            and days.mask.shape == days.frames.shape
        )
        assert (days.frames[~days.mask] == 0).all() and days.labels["hour"][5].tolist() == list(
            range(24)
        )
        assert "New York" in days.provenance and "°C" in days.provenance


def dates(table, days, split):
    """The day of the year of each series, found again by its pressures and temperatures in the file."""
    hour = (table["hours"] - np.timedelta64(5, "h") - np.datetime64("2013-01-01T00")).astype(int)
    celsius = ((table["temp"] - 32) / 1.8).astype(np.float32)
    wanted = {}
    for place, name in enumerate(AIRPORTS):
        rows = table["origin"] == name
        grid = np.zeros((364, 24), np.float32)
        grid[hour[rows] // 24, hour[rows] % 24] = np.nan_to_num(celsius[rows])
        wanted |= {(place, grid[day].tobytes()): day for day in range(364)}
    pairs = zip(days.labels["station"].tolist(), days.frames[..., 0].numpy())
    return [wanted[station, np.ascontiguousarray(row).tobytes()] for station, row in pairs]


def test_splits_are_weeks_apart_and_the_same_at_all_stations(own, table):
    found = {split: dates(table, days, split) for split, days in own.items()}
    assert [sorted(set(found[split])) for split in SPLITS] == [
        [
            day
            for day in range(364)
            if day % 7 < 6
            and (
                day // 7 % 8 == 1
                if split == "validation"
                else day // 7 % 4 == 3
                if split == "test"
                else day // 7 % 8 != 1 and day // 7 % 4 != 3
            )
        ]
        for split in SPLITS
    ]
    for split, days in own.items():
        by_station = [
            [day for day, place in zip(found[split], days.labels["station"]) if place == station]
            for station in range(3)
        ]
        assert by_station[0] == by_station[1] == by_station[2]
        months = (np.datetime64("2013-01-01") + np.array(found[split])).astype(
            "datetime64[M]"
        ).astype(int) % 12
        assert days.labels["month"].tolist() == months.tolist()
    distances = [
        abs(a - b)
        for first in SPLITS
        for second in SPLITS
        if first < second
        for a in found[first]
        for b in found[second]
    ]
    assert min(distances) == 2  # never neighbours


def test_units_against_the_file(own, table):
    """Newark, 1 January 2013, standard time: hour 1 was 39.02 °F, dew point 26.06 °F, wind from 270° at 10.357 miles an hour."""
    day = own["train"].frames[0]
    assert (
        own["train"].labels["station"][0] == AIRPORTS.index("EWR")
        and own["train"].labels["month"][0] == 0
    )
    assert (
        not own["train"].mask[0, 0].any() and own["train"].mask[0, 1].all()
    )  # the file begins at one o'clock
    expected = [
        3.9,
        -3.3,
        59.37,
        10.35702 * 0.44704,
        0,
        0,
        1012,
        16.09344,
    ]  # air that comes from the west goes east
    assert day[1].tolist() == pytest.approx(expected, abs=1e-3)
    assert not own["train"].mask[0, 12].any()  # noon is not in the file
    assert own["train"].mask[0, 13].tolist() == [name != "pressure" for name in WEATHER]


def test_the_warmest_hour_is_in_the_afternoon_of_standard_time(own):
    summer = own["train"].labels["season"] == 2
    by_hour = own["train"].frames[summer, :, 0].mean(0)
    assert 12 <= int(by_hour.argmax()) <= 15 and 3 <= int(by_hour.argmin()) <= 5


def test_wind_that_cannot_be_and_calm_air(own, table):
    assert (table["wind_speed"] > 1000).sum() == 1
    for days in own.values():
        speed = days.frames[..., 3:5].norm(dim=-1)
        assert speed.max() < 25 and (days.mask[..., 3] == days.mask[..., 4]).all()
    calm = sum(
        int(((days.frames[..., 3:5] == 0).all(-1) & days.mask[..., 3]).sum())
        for days in own.values()
    )
    assert calm > 500


def test_scaled_by_training():
    train = load_weather()
    for number in range(len(WEATHER)):
        observed = train.frames[..., number][train.mask[..., number]].double()
        assert abs(observed.mean()) < 1e-6 and abs(observed.std(correction=0) - 1) < 1e-6  # float32
