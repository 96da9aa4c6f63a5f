"""Strict tables: what is read, which line an error names; z-scores by what was observed."""

import gzip

import numpy as np
import pytest
import torch
from unbraid.data import tables
from unbraid.data.scaling import check_split, held_out, observed_moments, season, series
from unbraid.data.sources import DataError
from unbraid.data.tables import check_hourly, files_of, moments, numbers, read_lines, read_table

HEADER = ("name", "size", "count")
COLUMNS = {"name": ("ash", "oak"), "size": (0.0, 10.0), "count": range(5)}


def written(folder, content, name="table.csv"):
    (folder / name).write_bytes(content)
    return folder / name


def table(path, missing="NA"):
    return read_table(path, HEADER, COLUMNS, "etth1", missing)


@pytest.mark.parametrize("end", (b"\n", b"\r\n"), ids=("unix", "windows"))
def test_a_table_by_hand(tmp_path, end):
    read = table(
        written(
            tmp_path,
            end.join([b'"name","size","count"', b'"oak",1.5,4', b"ash,NA,0", b"ash,1e1,3", b""]),
        )
    )
    assert (
        read["name"].tolist() == ["oak", "ash", "ash"]
        and read["count"].tolist() == [4, 0, 3]
        and read["count"].dtype == np.int64
    )
    np.testing.assert_array_equal(read["size"], [1.5, np.nan, 10.0])


def test_a_packed_table(tmp_path):
    content = b"name,size,count\noak,1,4\n"
    assert table(written(tmp_path, gzip.compress(content), "table.csv.gz"))["size"].tolist() == [
        1.0
    ]
    with pytest.raises(DataError, match=r"table.csv.gz: damaged(.|\n)*a complete file"):
        table(written(tmp_path, gzip.compress(content)[:-9], "table.csv.gz"))


@pytest.mark.parametrize(
    "content, line, words",
    (
        (b"", 1, "an empty file"),
        (b"name,size\noak,1\n", 1, "the header name,size,count"),
        (b"name,size,count\n", 2, "at least one line of values"),
        (b"name,size,count\noak,1,4\noak,1,", 3, "the end of the line"),
        (b"name,size,count\noak,1,4\noak,1\n", 3, "found: 2"),
        (b"name,size,count\noak,1,4\noak,1,4,4\n", 3, "found: 4"),
        (b"name,size,count\noak,1,4\noak,1\noak,1,4,4\n", 3, "expected: 3 values"),
        (b"name,size,count\noak,1,4\noak,much,4\n", 3, "from 0 to 10\n  found: 'much'"),
        (b"name,size,count\noak,10.1,4\n", 2, "found: '10.1'"),
        (b"name,size,count\noak,nan,4\n", 2, "found: 'nan'"),
        (b"name,size,count\noak,NA,4\noak,inf,4\n", 3, "found: 'inf'"),
        (b"name,size,count\noak,,4\n", 2, "found: ''"),
        (b"name,size,count\noak,1,NA\n", 2, "found: 'NA'"),
        (b"name,size,count\noak,1,5\n", 2, "from 0 to 4"),
        (b"name,size,count\noak,1,2.5\n", 2, "a whole number"),
        (b"name,size,count\nelm,1,2\n", 2, "one of ash, oak\n  found: 'elm'"),
        (b"name,size,count\noak,1,2\n\xffak,1,2\n", 3, "the byte 0xff"),
        (b"name,size,count\noak,1,2\n\n", 3, "expected: 3 values"),
    ),
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, content, line, words):
    with pytest.raises(DataError) as caught:
        table(written(tmp_path, content))
    message = str(caught.value)
    assert f"table.csv, line {line}: damaged (etth1)" in message and words in message
    assert "mend: " in message and "python -m unbraid data fetch etth1" in message


def test_files_that_are_not_there_or_too_large(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="nothing.csv: damaged"):
        read_lines(tmp_path / "nothing.csv", "etth1")
    monkeypatch.setattr(tables, "LARGEST", 10)
    for name, content in (("long.csv", b"x" * 11), ("long.csv.gz", gzip.compress(b"x" * 11))):
        with pytest.raises(DataError, match="long.csv.*: damaged(.|\n)*at most 10 characters"):
            read_lines(written(tmp_path, content, name), "etth1")


def test_a_set_that_is_not_at_hand_says_what_brings_it(monkeypatch):
    monkeypatch.setattr(tables, "find", lambda name: None)
    with pytest.raises(DataError, match="data fetch beijing-air; meanwhile use vowels or weather"):
        files_of("beijing-air")
    with pytest.raises(DataError, match="git checkout -- data/weather$"):
        files_of("weather")


def test_numbers_of_one_line(tmp_path):
    assert numbers(tmp_path, ["1", "-2.5"], -9, 9, "vowels", line=7).tolist() == [1.0, -2.5]
    with pytest.raises(DataError, match="line 7: damaged"):
        numbers(tmp_path, ["1", "2", "x"], -9, 9, "vowels", line=7)


def test_hours(tmp_path):
    hours = moments(tmp_path, ["2016-02-28 23:00:00", "2016-02-29 00:00:00"], "etth1")
    assert hours.tolist() == np.array(["2016-02-28T23", "2016-02-29T00"], "datetime64[h]").tolist()
    check_hourly(tmp_path, hours, "etth1")
    for text in (
        "2016-02-30 00:00:00",
        "2016-02-28 23:30:00",
        "2016-02-28",
        "NaT",
        "",
        "nonsense 00:00:0000",
    ):
        with pytest.raises(DataError, match="line 3: damaged(.|\n)*a full hour"):
            moments(tmp_path, ["2016-02-28 23:00:00", text], "etth1")
    for second in ("2016-02-28 23:00:00", "2016-02-28 22:00:00", "2016-02-29 01:00:00"):
        with pytest.raises(DataError, match="line 3: damaged(.|\n)*the hour after 2016-02-28T23"):
            check_hourly(
                tmp_path, moments(tmp_path, ["2016-02-28 23:00:00", second], "etth1"), "etth1"
            )


# --- scaling ---------------------------------------------------------------------------------------------------------


def test_moments_of_what_was_observed():
    values = np.array([[[1.0, 5.0], [np.nan, 5.0]], [[3.0, np.nan], [5.0, 5.0]]])
    mean, deviation = observed_moments(values)
    np.testing.assert_allclose(mean, [3.0, 5.0])
    np.testing.assert_allclose(deviation, [np.sqrt(8 / 3), 1.0])  # the second never varies


def made(values, **changes):
    parts = {"train": np.array([0, 1]), "test": np.array([2])}
    arguments = {
        "split": "test",
        "scaled": True,
        "labels": {"kind": np.arange(3), "step": np.zeros((3, 2))},
        "classes": {},
        "told": "made",
    }
    return series(values, parts, **(arguments | {"dynamic": ("step",)} | changes))


def test_series_are_scaled_by_training_alone_and_zero_where_nothing_was_observed():
    values = np.array([[[0.0], [2.0]], [[4.0], [np.nan]], [[100.0], [np.nan]]])
    test, own = made(values), made(values, scaled=False)
    assert (
        test.frames.flatten().tolist() == pytest.approx([98 / np.sqrt(8 / 3), 0])
        and test.frames.dtype == torch.float32
    )
    assert own.frames.flatten().tolist() == [100.0, 0.0]
    assert test.mask.tolist() == [[True, False]]  # whole steps
    assert (test.static, test.dynamic, test.labels["kind"].tolist()) == (("kind",), ("step",), [2])
    assert (
        "made, test split: 1 real series, z-scores" in test.provenance
        and "own units" in own.provenance
    )
    assert (
        made(np.ones((3, 2, 1))).mask is None and made(np.ones((3, 2, 1))).frames.abs().max() == 0
    )
    some = np.ones((3, 2, 2))
    some[0, 0, 0] = np.nan
    assert made(some).mask.shape == (1, 2, 2)


def test_shuffled_parts_are_whole_and_repeatable():
    train, validation = held_out(432, 0.85, seed=0)
    assert (len(train), len(validation)) == (367, 65) and (np.diff(train) > 0).all()
    assert sorted([*train, *validation]) == list(range(432))
    assert np.array_equal(train, held_out(432, 0.85, 0)[0]) and not np.array_equal(
        train, held_out(432, 0.85, 1)[0]
    )


def test_seasons_and_splits():
    assert season(np.arange(12)).tolist() == [
        0,
        0,
        1,
        1,
        1,
        2,
        2,
        2,
        3,
        3,
        3,
        0,
    ]  # January ... December
    with pytest.raises(ValueError, match="split: expected train or test, found 'fit'"):
        check_split("fit", "train", "test")
