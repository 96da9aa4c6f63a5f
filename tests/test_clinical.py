"""Stays in intensive care: the readers, hours by hand, the counts after the filter, what is given to a model."""

import numpy as np
import pytest
import torch
from fuzz import check_reader
from unbraid.data import sources
from unbraid.data.clinical import (
    PARAMETERS,
    UNITS,
    VITALS,
    hourly,
    load_physionet,
    read_outcomes,
    read_record,
)
from unbraid.data.sources import DataError

SPLITS = ("train", "validation", "test")
HEAD = (
    "Time,Parameter,Value",
    "00:00,RecordID,132539",
    "00:00,Age,54",
    "00:00,Gender,0",
    "00:00,Height,-1",
    "00:00,ICUType,4",
    "00:00,Weight,-1",
)
OUTCOMES = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"


@pytest.fixture(scope="module")
def own():
    """All splits in their units."""
    if sources.find("physionet-2012") is None:
        pytest.skip("physionet-2012 is not at hand: run make data, or set UNBRAID_MIRROR")
    return {split: load_physionet(split, scaled=False) for split in SPLITS}


def written(folder, *lines, name="record.txt"):
    (folder / name).write_text("\n".join([*lines, ""]))
    return folder / name


def test_a_record_by_hand(tmp_path):
    record = read_record(
        written(
            tmp_path,
            *HEAD,
            "00:00,pH,7.4",
            "00:07,GCS,15",
            "47:59,Weight,80.5",
            "48:00,Urine,1.2e2",
        )
    )
    assert (record.number, record.unit, UNITS[record.unit]) == (132539, 3, "surgical")
    assert record.minutes.tolist() == [0, 7, 2879, 2880] and record.values.tolist() == [
        7.4,
        15,
        80.5,
        120,
    ]
    assert [PARAMETERS[number] for number in record.parameters] == ["pH", "GCS", "Weight", "Urine"]


@pytest.mark.parametrize(
    "lines, words",
    (
        ((), "line 1: damaged"),
        (HEAD[1:], "line 1: damaged(.|\n)*the header Time,Parameter,Value"),
        (HEAD[:1], "line 2: damaged(.|\n)*end of the file"),
        ((*HEAD, "00:07,GCS"), "line 8: damaged(.|\n)*'00:07,GCS'"),
        ((*HEAD, "00:07,GCS,15,1"), "line 8: damaged"),
        ((*HEAD, "00:60,GCS,15"), "line 8: damaged(.|\n)*from 00:00 to 48:00"),
        ((*HEAD, "48:01,GCS,15"), "line 8: damaged"),
        ((*HEAD, "00:07,Mood,15"), "line 8: damaged(.|\n)*a known parameter"),
        ((*HEAD, "00:07,GCS,good"), "line 8: damaged(.|\n)*'good'"),
        ((*HEAD, "00:07,GCS,1e9"), "line 8: damaged(.|\n)*'1e9'"),
        ((*HEAD, "00:07,GCS,15", "00:06,GCS,15"), "line 9: damaged(.|\n)*not before 00:07"),
        ((*HEAD[:5], "00:00,ICUType,5"), "ICUType from 1 to 4"),
        ((*HEAD, "00:00,RecordID,132540"), "once each of RecordID"),
    ),
)
def test_records_that_are_not_right(tmp_path, lines, words):
    with pytest.raises(
        DataError, match=f"record.txt, {words}" if words.startswith("line") else words
    ):
        read_record(written(tmp_path, *lines))


def test_outcomes_by_hand(tmp_path):
    read = read_outcomes(written(tmp_path, OUTCOMES, "132539,6,1,5,-1,0", "132540,16,8,8,3,1"))
    assert read["RecordID"].tolist() == [132539, 132540] and read["In-hospital_death"].tolist() == [
        0,
        1,
    ]
    for line, words in (
        ("132539,6,1,5,-1,2", "from 0 to 1"),
        ("132539,6,1,5,-1", "expected: 6 values"),
        ("132539,6,1,5,-2,0", "'-2'"),
    ):
        with pytest.raises(DataError, match=f"record.txt, line 2: damaged(.|\n)*{words}"):
            read_outcomes(written(tmp_path, OUTCOMES, line))


def test_a_thousand_damaged_records(tmp_path):
    chance = np.random.default_rng(0)
    minutes = np.sort(chance.integers(0, 2880, 190))
    body = [
        f"{m // 60:02}:{m % 60:02},{PARAMETERS[6 + chance.integers(30)]},{chance.integers(1, 200)}"
        for m in minutes
    ]
    content = written(tmp_path, *HEAD, *body).read_bytes()
    outcomes = check_reader(
        read_record,
        ".txt",
        content,
        tmp_path,
        looks_right=lambda record: len(record.values) == len(record.minutes),
    )
    assert outcomes["refused"] > 500  # the rest had a digit changed, or a line lost


def test_a_thousand_damaged_outcomes(tmp_path):
    content = written(
        tmp_path, OUTCOMES, *(f"{132539 + n},6,{n % 20},5,-1,{n % 2}" for n in range(199))
    ).read_bytes()
    right = lambda read: len({len(each) for each in read.values()}) == 1  # noqa: E731
    outcomes = check_reader(read_outcomes, ".txt", content, tmp_path, looks_right=right)
    assert outcomes["refused"] > 500


def column(name):
    return list(VITALS).index(name)


def test_hours_by_hand(tmp_path):
    """From 00:10, the first measurement of any kind, to 03:11: hours end at 01:10, 02:10 and 03:10, and the rest is left out."""
    record = read_record(
        written(
            tmp_path,
            *HEAD,
            "00:10,HR,80",
            "00:10,GCS,3",
            "00:11,GCS,5",
            "00:30,MAP,0",
            "00:40,MAP,70",
            "01:10,GCS,7",
            "01:11,GCS,9",
            "01:30,DiasABP,201",
            "01:40,DiasABP,200",
            "02:00,Temp,5",
            "02:09,Temp,25",
            "03:10,RespRate,0.9",
            "03:11,GCS,15",
        )
    )
    means = hourly(record)
    expected = np.full((3, 10), np.nan)
    expected[0, column("GCS")], expected[0, column("MAP")] = (
        6,
        70,
    )  # the first minute is in no hour; a pressure of 0 is none
    expected[1, column("GCS")], expected[1, column("DiasABP")], expected[1, column("Temp")] = (
        9,
        200,
        25,
    )
    np.testing.assert_array_equal(means, expected)
    assert hourly(read_record(written(tmp_path, *HEAD))).shape == (0, 10)
    assert hourly(read_record(written(tmp_path, *HEAD, "00:10,GCS,3"))).shape == (0, 10)
    assert hourly(read_record(written(tmp_path, *HEAD, "00:00,GCS,3", "48:00,GCS,4"))).shape == (
        47,
        10,
    )  # 2 880 minutes are 48 hours


def test_counts(own):
    """The published preparation, run on the published files, keeps these; see the docstring for the one record of difference."""
    assert {split: tuple(stays.frames.shape) for split, stays in own.items()} == {
        "train": (1188, 80, 10),
        "validation": (298, 80, 10),
        "test": (371, 80, 10),
    }
    test, rest = (
        torch.cat([own[split].labels["mortality"] for split in splits])
        for splits in (SPLITS[2:], SPLITS[:2])
    )
    assert (int(test.sum()), int(rest.sum())) == (39, 186)  # 10.5 and 12.5 % died
    test, rest = (
        torch.cat([own[split].labels["icu"] for split in splits]).bincount()
        for splits in (SPLITS[2:], SPLITS[:2])
    )
    assert (test.tolist(), rest.tolist()) == (
        [40, 102, 109, 120],
        [148, 373, 453, 512],
    )  # the most in surgery: 32.3 and 34.5 %
    lengths = torch.cat([stays.labels["length"] for stays in own.values()])
    assert (int(lengths.min()), int(lengths.max())) == (40, 47)


def test_what_is_missing(own):
    for stays in own.values():
        assert (stays.static, stays.dynamic) == (("mortality", "icu", "length"), ())
        assert not stays.frames[~stays.mask].any() and stays.mask.shape == stays.frames.shape
        after = torch.arange(80) >= stays.labels["length"][:, None]
        assert not stays.mask[after].any()
        share = stays.mask.sum((1, 2)) / (stays.labels["length"] * 10)
        assert share.min() >= 0.4 - 1e-6  # float32
        assert "PhysioNet" in stays.provenance and f"{len(stays)} real series" in stays.provenance


def test_the_test_is_the_first_fifth_by_number(own):
    """Found again in the files: the first of the test is the first record that passes, the last comes before all others."""
    files = sources.find("physionet-2012")
    kept = []
    for name in sorted(files)[1:120]:
        means = hourly(read_record(files[name]))
        if len(means) >= 40 and np.isnan(means).mean() <= 0.6:
            kept.append((read_record(files[name]), means))
    assert len(kept) > 40
    died = read_outcomes(files["Outcomes-a.txt"])
    for row, (record, means) in enumerate(kept):
        assert np.array_equal(
            own["test"].frames[row, : len(means)].numpy(), np.nan_to_num(means).astype(np.float32)
        )
        assert own["test"].labels["icu"][row] == record.unit and own["test"].labels["length"][
            row
        ] == len(means)
        assert (
            own["test"].labels["mortality"][row]
            == died["In-hospital_death"][died["RecordID"] == record.number][0]
        )


def test_scaled_by_what_was_observed_in_training(own):
    train, test = load_physionet(), load_physionet("test", steps=48)
    assert test.frames.shape == (371, 48, 10) and torch.equal(test.mask, own["test"].mask[:, :48])
    for number in range(10):
        observed = own["train"].frames[..., number][own["train"].mask[..., number]].double()
        scaled = (
            (own["test"].frames[:, :48, number] - observed.mean())
            / observed.std(correction=0)
            * test.mask[..., number]
        )
        assert (
            scaled - test.frames[..., number]
        ).abs().max() < 1e-4  # of values up to 20, in float32
        assert abs(train.frames[..., number][train.mask[..., number]].double().mean()) < 1e-5


def test_other_seeds_and_too_few_steps(own):
    other = load_physionet("validation", scaled=False, seed=1)
    assert len(other) == 298 and not torch.equal(other.frames, own["validation"].frames)
    assert torch.equal(load_physionet("test", scaled=False, seed=1).frames, own["test"].frames)
    with pytest.raises(ValueError, match="steps: expected at least 48, found 40"):
        load_physionet(steps=40)
