"""Series are read as what they are, or refused: axes, times, labels in any of their usual forms."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from unbraid_own import own_data


def waves(random, count=12, steps=20, width=3):
    """Smooth series (N, T, D) of differing offsets and units, and a class of each."""
    kind = random.permutation(np.arange(count) % 3)
    angle = random.uniform(0, 6, (count, 1, width)) + np.arange(steps)[:, None] * 0.4
    values = np.sin(angle * (1 + kind[:, None, None] / 4)) + random.normal(0, 0.05, angle.shape)
    return values * 10.0 ** random.integers(-2, 3, width) + random.normal(0, 5, width), kind


def as_table(values, times):
    """Series as lines of a csv file; times (N, T)."""
    count, steps, width = values.shape
    table = pd.DataFrame(values.reshape(-1, width), columns=[f"x{n}" for n in range(width)])
    table.insert(0, "id", np.repeat([f"s{n:02}" for n in range(count)], steps))
    table.insert(1, "time", np.ravel(times))
    return table


def read(path, table, **options):
    table.to_csv(path, index=False)
    return own_data.load(path, **options)


def same(one, other):
    """Whether two readings gave the same values, masks, and labels of sequences."""
    for name in own_data.SPLITS:
        a, b = one.splits[name], other.splits[name]
        assert one.names[name] == other.names[name] and a.static == b.static
        assert torch.allclose(a.frames, b.frames, rtol=1e-4, atol=1e-4)
        assert torch.equal(a.observed.expand_as(b.observed), b.observed)
        assert all(torch.equal(a.labels[label], b.labels[label]) for label in a.static)


LABELS = (  # the same classes, written in five ways
    lambda kind: {"kind": np.array(["a", "b", "c"])[kind]},
    lambda kind: {"kind": kind},
    lambda kind: {"kind": 10 * kind + 7},
    lambda kind: {f"is {n}": kind == n for n in range(3)},
    lambda kind: {f"is {n}": 1 * (kind == n) for n in range(3)},
)


@pytest.mark.parametrize("first", range(0, 200, 25))
def test_any_writing_of_series_is_read_alike_or_refused(first, tmp_path):
    for seed in range(first, first + 25):
        compare_writings(seed, tmp_path)


def compare_writings(seed, tmp_path):
    """A draw permutes axes, jitters times by rounding or a clock, or writes labels otherwise."""
    random = np.random.default_rng(seed)
    steps, width = int(random.integers(8, 30)), int(random.integers(2, 6))
    values, kind = waves(random, steps=steps, width=width)
    count = len(values)
    times = 0.1 * np.tile(np.arange(steps), (count, 1))
    table = as_table(values, times).assign(kind=np.repeat(kind, steps))
    plain = read(tmp_path / "plain.csv", table)
    assert plain.splits["train"].static == ("kind",)

    jitter = (0, 1e-17, 1e-9, 1e-3, 0.01, 0.02)[seed % 6]
    is_jittered = random.random((count, 1)) < random.choice([0.1, 0.5, 1])
    moved = times + is_jittered * random.uniform(-jitter, jitter, times.shape)
    for name in range(count // 2):  # added up, where others are multiplied
        moved[name] += np.cumsum(np.full(steps, 0.1)) - 0.1 - times[name]
    written = LABELS[seed % 5](kind)
    columns = {name: np.repeat(column, steps) for name, column in written.items()}
    other = read(tmp_path / "other.csv", as_table(values, moved).assign(**columns))
    labels = np.stack([other.splits["train"].labels[name] for name in columns], 1)
    expected = plain.splits["train"].labels["kind"].numpy()
    for one, two in itertools.combinations(range(len(labels)), 2):
        assert (labels[one] == labels[two]).all() == (expected[one] == expected[two])
    for data in (plain, other):  # The labels were compared already.
        data.splits.update({n: replaced(part) for n, part in data.splits.items()})
    same(plain, other)

    order = (0, 1, 2), (0, 2, 1), (1, 0, 2)
    axes = order[seed % 3]
    who = kind if axes[0] == 0 else np.arange(steps)
    np.savez(tmp_path / "a.npz", series=values.transpose(axes), kind=who)
    if axes == (0, 1, 2):
        array = own_data.load(tmp_path / "a.npz")
        assert torch.allclose(array.splits["train"].frames, plain.splits["train"].frames, atol=1e-3)
        return
    with pytest.raises(ValueError, match=r"a.npz: .*np.swapaxes\(x, (0, 1|1, 2)\) mends it"):
        own_data.load(tmp_path / "a.npz")


def replaced(part):
    """A split without its labels."""
    return type(part)(part.frames, split=part.split, mask=part.mask)


def test_times_that_differ_by_rounding_are_one(tmp_path):
    """0.3 and 0.1 + 0.1 + 0.1; right: 8 series of 12 steps, nothing missing."""
    values = np.random.default_rng(0).normal(size=(8, 12, 2))
    times = np.tile(0.1 * np.arange(12), (8, 1))
    times[::2] = np.cumsum(np.full(12, 0.1)) - 0.1
    assert len(np.unique(times)) > 12
    data = read(tmp_path / "a.csv", as_table(values, times))
    taken = dict(data.taken)
    assert taken["found"] == "8 series of 12 steps" and taken["step"] == "0.1 of time"
    assert taken["missing, or after the end"] == "none"
    assert not any("apart" in note for note in data.notes)


def test_clocks_that_are_not_exact_are_joined_with_a_note_and_real_gaps_stay(tmp_path):
    values = np.random.default_rng(0).normal(size=(8, 12, 2))
    day = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(12), "D")
    table = as_table(values, np.zeros((8, 12)))
    table["time"] = [day[n % 12] + pd.Timedelta(minutes=7 * (n // 12)) for n in range(96)]
    data = read(tmp_path / "a.csv", table.drop(index=[5, 30]))
    assert dict(data.taken)["found"] == "8 series of 12 steps"
    assert dict(data.taken)["missing, or after the end"].startswith("2.1%")
    assert any("up to 0 days 00:49:00 apart are read as one step" in note for note in data.notes)
    # A series with two times within half a step keeps both.
    times = np.array([0, 1, 2, 2.2, 3, 4, 5, 6, 7, 8, 9, 10])
    data = read(tmp_path / "b.csv", as_table(values, np.tile(times, (8, 1))))
    assert dict(data.taken)["found"] == "8 series of 12 steps"


@pytest.mark.parametrize(
    "form, step", (("%Y%m%d", "1D"), ("%Y%m", "MS"), ("%Y%m%d%H", "6h"), ("%Y%m%d%H%M", "10min"))
)
def test_dates_written_as_numbers_are_dates(form, step, tmp_path):
    """Over the end of a month and a year, where numbers would jump."""
    days = pd.date_range("2023-12-20", periods=24, freq=step, tz="UTC")
    values = np.random.default_rng(0).normal(size=(8, 24, 2))
    table = as_table(values, np.zeros((8, 24)))
    table["time"] = np.tile(days.strftime(form).astype(int), 8)
    data = read(tmp_path / "a.csv", table)
    assert not any("usual time" in note for note in data.notes)
    times = data.times["train"][0]
    assert times[0].strftime(form) == days[0].strftime(form) and len(times) == 24
    assert np.median(times.diff().dropna()) == np.median(days.diff().dropna())


def test_other_numbers_are_no_dates(tmp_path):
    values = np.random.default_rng(0).normal(size=(8, 24, 2))
    for first in (202313, 19, 20231320, 1_700_000_000, 123456):
        times = np.tile(first + np.arange(24), (8, 1))
        assert read(tmp_path / "a.csv", as_table(values, times)).times["train"][0][0] == first


def test_what_never_changes_within_a_series_is_a_label(tmp_path):
    """Whole numbers are classes, others are measured; the same column in an array, too."""
    values, kind = waves(np.random.default_rng(3))
    age = np.random.default_rng(4).normal(50, 9, 12)
    times = np.tile(np.arange(20), (12, 1))
    table = as_table(values, times).assign(diagnosis=np.repeat(kind, 20), age=np.repeat(age, 20))
    data = read(tmp_path / "a.csv", table)
    part = data.splits["train"]
    assert part.static == ("diagnosis", "age") and part.frames.shape[2] == 3
    assert part.classes["diagnosis"] == ("0", "1", "2") and "age" not in part.classes
    assert dict(data.taken)["variables"] == "x0, x1, x2"
    assert dict(data.taken)["labels of sequences"].startswith("diagnosis (3 classes: 0, 1, 2), age")
    assert any("never change within" in note and "diagnosis, age" in note for note in data.notes)
    whole = np.dstack([values, np.repeat(age[:, None], 20, 1)])
    whole[3, :2] = np.nan  # A gap is no change.
    np.save(tmp_path / "a.npy", whole)
    data = own_data.load(tmp_path / "a.npy")
    assert data.splits["train"].static == ("variable 3",) and data.columns[-1] == "variable 2"
    np.save(tmp_path / "a.npy", np.dstack([values, np.repeat(kind[:, None], 20, 1)]))
    assert own_data.load(tmp_path / "a.npy").splits["train"].classes["variable 3"] == tuple("012")
    alone = table[["id", "time", "age"]]
    with pytest.raises(ValueError, match="a.csv: .*numbers that change within a series"):
        read(tmp_path / "a.csv", alone)


@pytest.mark.parametrize("true, false", (("True", "False"), ("TRUE", "FALSE"), ("true", "false")))
def test_true_and_false_are_labels_of_steps_or_of_series(true, false, tmp_path):
    """As words would be; right: the model sees x0, x1, x2 alone."""
    values, kind = waves(np.random.default_rng(3))
    fell = np.random.default_rng(4).random((12, 20)) < 0.2
    table = as_table(values, np.tile(np.arange(20), (12, 1)))
    table["fell"] = np.where(fell.ravel(), true, false)
    table["ill"] = np.where(np.repeat(kind == 1, 20), true, false)
    data = read(tmp_path / "a.csv", table)
    assert data.columns == ["x0", "x1", "x2"]
    assert not any("never change within" in note for note in data.notes)
    for name, part in data.splits.items():
        rows = [int(each[1:]) for each in data.names[name]]
        assert part.dynamic == ("fell",) and part.static == ("ill",)
        assert part.classes["fell"] == ("False", "True") == part.classes["ill"]
        assert np.array_equal(part.labels["fell"], fell[rows])
        assert np.array_equal(part.labels["ill"], kind[rows] == 1)


def test_spectra_whose_bins_are_alike_and_rough_series_are_read(tmp_path):
    """Neighbouring variables may be alike; what has no order along any axis is read as it is."""
    random = np.random.default_rng(0)
    bins = np.cumsum(random.normal(size=(30, 1, 40)), axis=2)
    spectra = bins + np.cumsum(random.normal(size=(30, 25, 1)), axis=1)
    for values in (spectra, random.normal(size=(30, 25, 4)), random.normal(size=(30, 2, 40))):
        np.save(tmp_path / "a.npy", values)
        frames = own_data.load(tmp_path / "a.npy").splits["train"].frames
        assert frames.shape[1:] == values.shape[1:]
