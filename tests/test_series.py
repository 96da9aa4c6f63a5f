"""Vowels, air, transformer: the readers, the counts of the papers, what is missing, and what the papers' preparation does."""

import gzip

import numpy as np
import pytest
import torch
from fuzz import check_reader
from unbraid.data import sources
from unbraid.data.sequences import Sequences
from unbraid.data.series import (
    AIR,
    LOADS,
    STATIONS,
    daily_mean,
    load_air_quality,
    load_etth1,
    load_physionet,
    load_vowels,
    load_weather,
    read_air_quality,
    read_etth1,
    read_ts,
    zero_filling,
)
from unbraid.data.sources import DataError

SPLITS = ("train", "validation", "test")


def need(name):
    if sources.find(name) is None:
        pytest.skip(f"{name} is not at hand: run make data, or set UNBRAID_MIRROR")


@pytest.fixture(scope="module")
def air():
    """All splits in their units."""
    need("beijing-air")
    return {split: load_air_quality(split, scaled=False) for split in SPLITS}


@pytest.fixture(scope="module")
def transformer():
    need("etth1")
    return {
        (months, split): load_etth1(split, months, scaled=False)
        for months in ("papers", "interleaved")
        for split in SPLITS
    }


def written(folder, name, *lines):
    (folder / name).write_text("\n".join([*lines, ""]))
    return folder / name


# --- vowels ----------------------------------------------------------------------------------------------------------

HEAD = (
    "# a note",
    "@problemName Made",
    "@timeStamps false",
    "@missing false",
    "@univariate false",
    "@dimensions 2",
    "@equalLength false",
    "@classLabel true a b",
    "@data",
)


def test_a_ts_file_by_hand(tmp_path):
    series, labels, names = read_ts(
        written(tmp_path, "made.ts", *HEAD, "1,2,3:-4,5e-1,6:b", "7:8:a")
    )
    assert [each.tolist() for each in series] == [[[1, -4], [2, 0.5], [3, 6]], [[7, 8]]]
    assert labels.tolist() == [1, 0] and names == ("a", "b") and series[0].dtype == np.float32


@pytest.mark.parametrize(
    "lines, words",
    (
        ((), "line 1: damaged"),
        (HEAD[:-1], "line 8: damaged"),
        (HEAD, "line 9: damaged(.|\n)*series after it"),
        ((*HEAD[:5], "@dimensions 99999999999", *HEAD[6:], "1:2:a"), "@dimensions from 1 to 1000"),
        ((*HEAD[:3], "@missing true", *HEAD[4:], "1:2:a"), "@missing, @univariate false"),
        ((*HEAD, "1:2:a", "1:2:c"), "line 11: damaged(.|\n)*'c'"),
        ((*HEAD, "1:2:3:a"), "line 10: damaged(.|\n)*3 variables"),
        ((*HEAD, "1,2:3:a"), "line 10: damaged(.|\n)*equal length"),
        ((*HEAD, "1,2:3,much:a"), "line 10: damaged(.|\n)*'much'"),
        ((*HEAD, ""), "line 10: damaged"),
    ),
)
def test_ts_files_that_are_not_right(tmp_path, lines, words):
    with pytest.raises(DataError, match=f"made.ts, {words}" if words.startswith("line") else words):
        read_ts(written(tmp_path, "made.ts", *lines))


def test_a_thousand_damaged_ts_files(tmp_path):
    whole = gzip.decompress(sources.find("vowels")["JapaneseVowels_TRAIN.ts.gz"].read_bytes())
    content = b"".join(whole.splitlines(keepends=True)[:40])

    def right(read):
        return len(read[0]) == len(read[1]) > 0 and all(
            each.shape[1] == 12 and np.isfinite(each).all() for each in read[0]
        )

    assert (
        check_reader(read_ts, ".ts", content, tmp_path, looks_right=right)["refused"] > 450
    )  # the rest: a digit, the notes, a line lost
    assert (
        check_reader(read_ts, ".ts.gz", gzip.compress(content), tmp_path, 200, looks_right=right)[
            "refused"
        ]
        > 180
    )


def test_vowels():
    train, test = load_vowels("train", scaled=False), load_vowels("test", scaled=False)
    assert (train.frames.shape, test.frames.shape) == ((270, 29, 12), (370, 29, 12))
    assert torch.bincount(train.labels["speaker"]).tolist() == [30] * 9
    assert torch.bincount(test.labels["speaker"]).tolist() == [
        31,
        35,
        88,
        44,
        29,
        24,
        40,
        50,
        29,
    ]  # as the publisher counts them
    lengths = torch.cat([train.mask.sum(1), test.mask.sum(1)])
    assert (int(lengths.min()), int(lengths.max()), int(lengths.sum())) == (7, 29, 9961)
    for each in (train, test):
        assert (each.mask[:, :-1] >= each.mask[:, 1:]).all() and not each.frames[~each.mask].any()
        assert (each.static, each.dynamic, len(each.classes["speaker"])) == (("speaker",), (), 9)
    assert train.frames[0, 0, :2].tolist() == pytest.approx([1.860936, -0.207383])
    observed = load_vowels().frames[train.mask].double()
    assert (
        observed.mean(0).abs().max() < 1e-6
        and (observed.std(0, correction=0) - 1).abs().max() < 1e-6
    )  # float32


# --- air -------------------------------------------------------------------------------------------------------------

AIR_HEADER = '"No","year","month","day","hour","PM2.5","PM10","SO2","NO2","CO","O3","TEMP","PRES","DEWP","RAIN","wd","WSPM","station"'


def air_lines(count, start="2013-03-01T00"):
    hours = np.datetime64(start) + np.arange(count)
    return [
        f"{n + 1},{h.year},{h.month},{h.day},{h.hour},{4 + n % 50},9,{3.5 if n % 7 else 'NA'},20,300,77,-0.7,1023,-18.8,0,"
        '"NNW",4.4,"Wanliu"'
        for n, h in enumerate(hours.tolist())
    ]


def test_an_air_table_by_hand(tmp_path):
    read = read_air_quality(
        written(tmp_path, "air.csv", AIR_HEADER, *air_lines(30, "2016-02-29T00"))
    )
    assert set(read) == {*AIR, "RAIN", "hours", "station"} and read["PM2.5"].tolist() == list(
        range(4, 34)
    )
    assert (
        np.flatnonzero(np.isnan(read["SO2"])).tolist() == [0, 7, 14, 21, 28]
        and str(read["hours"][24]) == "2016-03-01T00"
    )


@pytest.mark.parametrize(
    "change, words",
    (
        (lambda lines: lines[:3] + lines[4:], "line 5: damaged(.|\n)*the hour after 2013-03-01T02"),
        (
            lambda lines: [*lines[:3], lines[3].replace("Wanliu", "Dongsi"), *lines[4:]],
            "line 5: damaged(.|\n)*Wanliu throughout",
        ),
        (
            lambda lines: [line.replace("Wanliu", "Peking") for line in lines],
            "line 2: damaged(.|\n)*one of Aotizhongxin",
        ),
        (
            lambda lines: [line.replace("1023", "-1023") for line in lines],
            "line 2: damaged(.|\n)*from 900 to 1100",
        ),
    ),
)
def test_air_tables_that_are_not_right(tmp_path, change, words):
    with pytest.raises(DataError, match=f"air.csv, {words}"):
        read_air_quality(written(tmp_path, "air.csv", AIR_HEADER, *change(air_lines(8))))


def test_a_thousand_damaged_air_tables(tmp_path):
    content = "\n".join([AIR_HEADER, *air_lines(200), ""]).encode()
    right = lambda read: len(read) == 13 and len({len(column) for column in read.values()}) == 1  # noqa: E731
    assert (
        check_reader(read_air_quality, ".csv", content, tmp_path, looks_right=right)["refused"]
        > 600
    )


def test_air_counts(air):
    assert {split: len(each) for split, each in air.items()} == {
        "train": 367,
        "validation": 65,
        "test": 144,
    }
    keys = set()
    for split, each in air.items():
        assert (
            each.frames.shape[1:] == (672, 10)
            and each.mask.shape == each.frames.shape
            and not each.frames[~each.mask].any()
        )
        assert ({2016} if split == "test" else {2013, 2014, 2015, 2017}) == {
            2013 + year for year in each.labels["year"].tolist()
        }
        keys |= set(zip(*(each.labels[name].tolist() for name in ("station", "year", "month"))))
        assert (each.static, each.dynamic) == (
            ("station", "month", "season", "year"),
            ("hour", "rain"),
        )
        assert (
            each.labels["rain"].shape == each.labels["hour"].shape == (len(each), 672)
            and "12 stations of Beijing" in each.provenance
        )
    assert len(keys) == 576 and torch.bincount(air["test"].labels["month"]).tolist() == [12] * 12
    missing = sum(int((~each.mask).sum()) for each in air.values())
    assert missing == 65_937  # 1.70 % of 3 870 720


def test_a_month_of_air_is_that_of_the_file(air):
    test = air["test"]
    row = int(
        (
            (test.labels["station"] == STATIONS.index("Gucheng")) & (test.labels["month"] == 1)
        ).nonzero()
    )
    table = read_air_quality(sources.find("beijing-air")["PRSA_Data_Gucheng_20130301-20170228.csv"])
    start = int((table["hours"] == np.datetime64("2016-02-01T00")).argmax())
    for number, name in enumerate(AIR):
        column = table[name][start : start + 672].astype(np.float32)
        assert np.array_equal(test.mask[row, :, number].numpy(), ~np.isnan(column))
        assert np.array_equal(test.frames[row, :, number].numpy(), np.nan_to_num(column))
    assert np.array_equal(
        test.labels["rain"][row].numpy(),
        np.nan_to_num(table["RAIN"][start : start + 672]).astype(np.float32),
    )
    assert test.labels["season"][row] == 0 and test.labels["hour"][row, :25].tolist() == [
        *range(24),
        0,
    ]


def test_air_is_scaled_by_what_was_observed_in_training(air):
    train, test = load_air_quality(), load_air_quality("test")
    for number in range(10):
        observed = air["train"].frames[..., number][air["train"].mask[..., number]].double()
        scaled = (
            (air["test"].frames[..., number] - observed.mean())
            / observed.std(correction=0)
            * test.mask[..., number]
        )
        assert (
            scaled - test.frames[..., number]
        ).abs().max() < 1e-4  # of values up to 30, in float32
    assert not train.frames[~train.mask].any() and torch.equal(train.mask, air["train"].mask)


def test_another_seed_shuffles_otherwise(air):
    other = load_air_quality("validation", scaled=False, seed=1)
    assert len(other) == 65 and not torch.equal(other.frames, air["validation"].frames)
    assert torch.equal(load_air_quality("test", scaled=False, seed=1).frames, air["test"].frames)


def test_zeros_for_what_is_missing_by_hand():
    frames = torch.tensor([[[8.0, 1.0], [0.0, 3.0]], [[12.0, 5.0], [0.0, 7.0]]])
    mask = torch.tensor([[[True, True], [False, True]], [[True, True], [False, True]]])
    found = zero_filling(Sequences(frames, mask=mask))
    assert found["missing"].tolist() == [0.5, 0.0] and found["zero"].tolist() == pytest.approx(
        [-5, -4 / 5**0.5]
    )
    assert found["mean"].tolist() == [-2.5, 0.0] and found["deviation"].tolist() == pytest.approx(
        [np.std([8, 12, 0, 0]) / 2, 1]
    )


def test_what_zeros_do_to_the_air(air):
    found = {
        name: {key: float(value[number]) for key, value in zero_filling(air["train"]).items()}
        for number, name in enumerate(AIR)
    }
    assert (
        0.05 < found["CO"]["missing"] < 0.065 and -1.15 < found["CO"]["zero"] < -1.0
    )  # no carbon monoxide at all, 1 hour in 17
    assert found["PRES"]["missing"] < 0.002 and -100 < found["PRES"]["zero"] < -90  # a vacuum
    assert found["PRES"]["deviation"] > 3  # 1 hour in 1000, yet three times the spread


# --- transformer -----------------------------------------------------------------------------------------------------


def transformer_lines(count):
    hours = np.datetime64("2016-07-01T00") + np.arange(count)
    return [
        f"{str(h)[:10]} {str(h)[11:]}:00:00,5.827,2.009,1.598,0.462,4.203,1.34,{n % 40}.5"
        for n, h in enumerate(hours)
    ]


def test_a_transformer_table_by_hand_and_a_thousand_damaged(tmp_path):
    lines = ["date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT", *transformer_lines(200)]
    path = written(tmp_path, "made.csv", *lines)
    hours, values = read_etth1(path)
    assert values.shape == (200, 7) and str(hours[25]) == "2016-07-02T01" and values[41, -1] == 1.5
    with pytest.raises(DataError, match="line 4: damaged(.|\n)*the hour after 2016-07-01T01"):
        read_etth1(written(tmp_path, "gap.csv", *lines[:3], *lines[4:]))
    content = path.read_bytes()
    outcomes = check_reader(
        read_etth1,
        ".csv",
        content,
        tmp_path,
        looks_right=lambda read: read[1].shape == (len(read[0]), 7),
    )
    assert outcomes["refused"] > 600


def test_transformer_counts(transformer):
    counts = {key: len(each) for key, each in transformer.items()}
    assert counts == {
        ("papers", "train"): 14,
        ("papers", "validation"): 3,
        ("papers", "test"): 6,
        ("interleaved", "train"): 13,
        ("interleaved", "validation"): 5,
        ("interleaved", "test"): 5,
    }
    for months in ("papers", "interleaved"):
        keys = [
            (int(y), int(m))
            for split in SPLITS
            for y, m in zip(
                *(transformer[months, split].labels[name] for name in ("year", "month"))
            )
        ]
        assert sorted(keys) == [
            ((month // 12), month % 12) for month in range(6, 29)
        ]  # July 2016 ... May 2018
    for (months, split), each in transformer.items():
        assert each.frames.shape[1:] == (672, 6) and each.mask is None
        if months == "interleaved":
            assert torch.bincount(each.labels["season"], minlength=4).min() >= 1 and set(
                each.labels["year"].tolist()
            ) == {0, 1, 2}


def daily(*sequences):
    return torch.cat(
        [daily_mean(each.labels["oil_temperature"].double()).flatten() for each in sequences]
    )


def test_a_constant_is_as_good_as_most_published_models(transformer):
    """The papers' split: training 10.63 °C, test 21.6 °C."""
    rest, test = (
        daily(transformer["papers", "train"], transformer["papers", "validation"]),
        daily(transformer["papers", "test"]),
    )
    error = lambda constant: float((test - constant).abs().mean())  # noqa: E731
    assert (float(rest.mean()), float(test.mean())) == pytest.approx((10.63, 21.59), abs=0.005)
    assert error(rest.mean()) == pytest.approx(11.95, abs=0.005) and error(
        np.median(rest)
    ) == pytest.approx(12.38, abs=0.005)
    assert min(error(constant) for constant in test) == pytest.approx(
        8.11, abs=0.005
    )  # the best constant is one of the values


def test_most_of_the_shift_is_not_the_season(transformer):
    every = [transformer["papers", split] for split in SPLITS]
    year, month = (torch.cat([each.labels[name] for each in every]) for name in ("year", "month"))
    means = torch.cat([daily_mean(each.labels["oil_temperature"]).mean(1) for each in every])
    assert float(means[year == 0].mean()) == pytest.approx(21.59, abs=0.005)
    assert float(means[(year == 1) & (month >= 6)].mean()) == pytest.approx(
        12.19, abs=0.005
    )  # the same months, a year later


def test_interleaved_months_have_the_same_mean(transformer):
    train, test = (
        daily(transformer["interleaved", "train"]),
        daily(transformer["interleaved", "test"]),
    )
    assert abs(float(train.mean() - test.mean())) < 1 and float(
        (test - train.mean()).abs().mean()
    ) == pytest.approx(7.07, abs=0.005)


def test_loads_and_labels_are_those_of_the_same_days(transformer):
    hours, values = read_etth1(sources.find("etth1")["ETTh1.csv"])
    for each in transformer.values():
        for row in range(len(each)):
            year, month = 2016 + int(each.labels["year"][row]), 1 + int(each.labels["month"][row])
            start = int((hours == np.datetime64(f"{year}-{month:02}-01T00")).argmax())
            assert np.array_equal(
                each.frames[row].numpy(), values[start : start + 672, :6].astype(np.float32)
            )
            assert np.array_equal(
                each.labels["oil_temperature"][row].numpy(),
                values[start : start + 672, 6].astype(np.float32),
            )
            fourth = values[start + 72 : start + 96, 6].mean()
            assert float(daily_mean(each.labels["oil_temperature"])[row, 3]) == pytest.approx(
                fourth, 1e-6
            )


def test_the_published_shift_gives_each_day_the_label_of_another(transformer):
    straight, turned = (
        transformer["interleaved", "test"],
        load_etth1("test", "interleaved", shift_days=14, scaled=False),
    )
    assert (
        torch.equal(turned.frames[:, : 14 * 24], straight.frames[:, 14 * 24 :])
        and "turned by 14 days" in turned.provenance
    )
    assert (
        torch.equal(turned.labels["oil_temperature"], straight.labels["oil_temperature"])
        and "turned" not in straight.provenance
    )
    days = torch.cat(
        [daily_mean(transformer["papers", split].labels["oil_temperature"]) for split in SPLITS]
    )  # (23, 28)
    assert float((days - days.roll(-14, 1)).abs().mean()) == pytest.approx(
        3.26, abs=0.005
    )  # °C, what the labels are off
    apart = days - days.mean(1, keepdim=True)
    assert (
        abs(float((apart * apart.roll(-14, 1)).sum() / apart.square().sum())) < 0.05
    )  # within a month, nothing in common


def test_days_of_hours():
    assert daily_mean(torch.arange(48.0).view(1, 48)).tolist() == [[11.5, 35.5]]
    assert daily_mean(torch.ones(2, 48, 3)).shape == (2, 2, 3)
    with pytest.raises(ValueError, match="T a multiple of 24, found"):
        daily_mean(torch.ones(2, 47))


@pytest.mark.parametrize("options", ({"months": "seasons"}, {"shift_days": 28}, {"shift_days": -1}))
def test_options_that_are_none(options):
    with pytest.raises(ValueError, match="months, shift_days: expected"):
        load_etth1(**options)


@pytest.mark.parametrize(
    "load", (load_vowels, load_weather, load_air_quality, load_etth1, load_physionet)
)
def test_splits_that_are_none(load):
    with pytest.raises(ValueError, match="split: expected train or .*, found 'nonsense'"):
        load("nonsense")
    assert len(LOADS) == 6 and len(AIR) == 10
