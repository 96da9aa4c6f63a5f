"""One door to every dataset: what it opens, what it refuses, and what the data commands tell."""

import inspect
import subprocess
import sys
from collections import Counter

import pytest
import torch
from publisher import CONTENT, house, mirror, offer, publisher, source_file  # noqa: F401  (fixtures)
from typer.testing import CliRunner
from unbraid import cli, data
from unbraid.data import catalogue, moving_digits, sources
from unbraid.data.catalogue import DATASETS, load
from unbraid.data.sequences import Sequences
from unbraid.data.sources import DataError

pytestmark = pytest.mark.usefixtures("house")
NAMES = (
    "moving_digits sprites sprites_poses drawn_sprites drawn_poses faces street spoken_digits vowels weather air_quality etth1 physionet "
    "mug timit aff_wild"
).split()
IN_CLONE = ("moving_digits", "street", "vowels", "weather")  # whose sources are, at least in part


def command(*arguments):
    return CliRunner().invoke(cli.app, ["data", *map(str, arguments)])


# --- the table -------------------------------------------------------------------------------------------------------


def test_the_datasets_are_those_of_the_three_papers_and_their_stand_ins():
    assert list(DATASETS) == NAMES
    assert Counter(row.kind for row in DATASETS.values()) == {"real": 11, "drawn": 2, "own copy": 3}
    used = {folder for row in DATASETS.values() for folder in row.folders}
    assert used == set(sources.SOURCES)  # nothing is fetched that nothing reads
    assert all(
        bool(row.folders) == (row.kind == "real") and {"train", "test"} <= set(row.splits)
        for row in DATASETS.values()
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_loader_is_there_and_described(name):
    function = catalogue.loader(name)
    assert next(iter(inspect.signature(function).parameters)) == "split" and inspect.getdoc(
        function
    )


@pytest.mark.parametrize("name", [name for name in NAMES if DATASETS[name].kind != "drawn"])
def test_missing_files_are_told_with_what_brings_them(name, monkeypatch, house):
    """Without clone, cache and mirror."""
    (house / "elsewhere" / "data").mkdir(parents=True)
    monkeypatch.setenv("UNBRAID_HOME", str(house / "elsewhere"))
    monkeypatch.setattr(sources, "_elsewhere", lambda row, files: {})
    for variable in ("UNBRAID_MUG", "UNBRAID_TIMIT", "UNBRAID_AFF_WILD"):
        monkeypatch.delenv(variable, raising=False)
    for split in DATASETS[name].splits:
        with pytest.raises(DataError) as caught:
            load(name, split)
        message = str(caught.value)
        if DATASETS[name].kind == "own copy":
            assert "UNBRAID_" in message and "meanwhile" in message
        else:
            ways = [
                way
                for folder in (*DATASETS[name].folders, name)
                for way in (f"data fetch {folder}", f"git checkout -- data/{folder}")
            ]
            assert any(way in message for way in ways), message


@pytest.mark.parametrize("name", NAMES)
def test_the_table_and_the_loaders_have_the_same_splits(name):
    with pytest.raises(ValueError, match="split") as caught:
        catalogue.loader(name)("nonsense")
    for split in ("train", "fit", "validation", "test"):
        assert (split in str(caught.value)) == (split in DATASETS[name].splits), split
    with pytest.raises(
        ValueError, match=f"split: expected for {name} train.* or test, found 'nonsense'"
    ):
        load(name, "nonsense")


def test_unknown_names_and_options_are_refused_with_the_choices():
    with pytest.raises(
        ValueError,
        match="name: expected moving_digits, sprites, .* timit or aff_wild, found 'sprite'",
    ):
        load("sprite")
    with pytest.raises(
        ValueError,
        match="options: expected for moving_digits some of count, image_size, .*, found size, colour",
    ):
        load("moving_digits", size=64, colour="red")


@pytest.mark.parametrize("name", IN_CLONE)
def test_what_travels_with_the_clone_is_loaded(name):
    for split in ("train", "test"):
        sequences = data.load(name, split, **({"count": 20} if name == "moving_digits" else {}))
        assert (
            isinstance(sequences, Sequences)
            and len(sequences)
            and sequences.split == split
            and sequences.provenance
        )
        assert sequences.labels and set(sequences.classes) <= set(sequences.labels)
        assert sequences.frames.dtype == (
            torch.uint8 if sequences.kind == "frames" else torch.float32
        )


def test_the_door_stands_in_the_package_and_opens_only_what_is_asked_for():
    assert data.load is load and data.DATASETS is DATASETS
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        data.laod  # noqa: B018
    told = """
import sys, unbraid.data.sources
assert "torch" not in sys.modules
from unbraid.data import load
load("moving_digits", count=1)
print(*[name for name in ("torch", "unbraid.data.speech", "unbraid.data.sprites") if name in sys.modules])
"""
    assert (
        subprocess.run([sys.executable, "-c", told], capture_output=True, text=True).stdout
        == "torch\n"
    )


# --- moving digits as a dataset --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", (64, 32))
def test_moving_digits_are_a_fixed_sample_of_the_supply(size):
    sample = load(
        "moving_digits", "test", count=120, image_size=size, length=3, source="mnist-sample"
    )
    supply = moving_digits.MovingDigits(moving_digits.load_digits("test", "mnist-sample"), size, 3)
    drawn = supply.batch(100, torch.Generator().manual_seed(1))
    assert sample.frames.shape == (120, 3, 3, size, size) and sample.frames.dtype == torch.uint8
    assert (
        sample.as_float().frames[:100] - drawn.frames
    ).abs().max() <= 0.5 / 255 + 1e-6  # exact at 64, where nothing is averaged
    assert size == 32 or torch.allclose(sample.as_float().frames[:100], drawn.frames)
    assert all(torch.equal(sample.labels[name][:100], drawn.labels[name]) for name in drawn.labels)
    assert (sample.static, sample.dynamic) == (drawn.static, drawn.dynamic)
    assert sample.classes == {name: tuple("0123456789") for name in ("red_digit", "green_digit")}
    assert (
        "120 sequences" in sample.provenance
        and "sample of 5 000" in sample.provenance
        and "seed 0" in sample.provenance
    )


def test_moving_digits_depend_on_seed_and_split_and_not_on_the_count():
    few, more = (
        load("moving_digits", count=count, image_size=32, source="mnist-sample")
        for count in (30, 130)
    )
    assert torch.equal(few.frames, more.frames[:30]) and len(more) == 130
    for split, seed in (("train", 1), ("test", 0)):
        different = load(
            "moving_digits", split, count=30, image_size=32, source="mnist-sample", seed=seed
        )
        assert not torch.equal(few.labels["red_position"], different.labels["red_position"])
    with pytest.raises(ValueError, match="count: expected at least 1, found 0"):
        load("moving_digits", count=0)


def test_digits_know_their_source():
    assert moving_digits.load_digits("test", "mnist-sample").source == "mnist-sample"
    blank = moving_digits.Digits(
        torch.zeros(1, 28, 28, dtype=torch.uint8), torch.zeros(1).long(), "train", "made"
    )
    assert blank.source == ""


# --- the commands ----------------------------------------------------------------------------------------------------


def test_the_list_tells_what_is_real_and_what_is_here():
    told = command("list").output
    lines = {line.split()[0]: line for line in told.splitlines() if not line.startswith(" ")}
    assert list(lines) == NAMES and all(
        DATASETS[name].kind in lines[name] and DATASETS[name].about in lines[name] for name in NAMES
    )
    for folder, row in sources.SOURCES.items():
        line = next(line for line in told.splitlines() if line.startswith(f"    {folder} "))
        assert (
            row.licence in line and f"{sum(file.bytes for file in row.files) / 1e6:.1f} MB" in line
        )
        if folder in ("mnist-sample", "weather", "vowels"):
            assert f"here: {sources.repository_root() / 'data' / folder}" in line
        else:
            assert f"python -m unbraid data fetch {folder}" in line
    assert (
        "1 of 2 files here" in told
        and "stand-in" in lines["drawn_sprites"]
        and "here: no files" in told
    )
    assert all(f"UNBRAID_{name} " in told for name in ("MUG", "TIMIT", "AFF_WILD"))


def test_the_list_goes_on_past_a_damaged_file():
    folder = sources.cache_directory() / "mnist"
    folder.mkdir(parents=True)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"?")
    done = command("list")
    assert (
        done.exit_code == 0
        and [line.split()[0] for line in done.output.splitlines() if not line.startswith(" ")]
        == NAMES
    )
    assert next(line for line in done.output.splitlines() if "    mnist " in line).endswith(
        "damaged; python -m unbraid data verify mnist"
    )


def test_datasets_and_sources_may_be_named(monkeypatch):
    assert catalogue.folders(["sprites", "sprites_poses", "fsdd", "moving_digits"]) == [
        "sprites-li",
        "fsdd",
        "mnist",
        "mnist-sample",
    ]
    assert catalogue.folders(["drawn_sprites", "drawn_poses"]) == []
    with pytest.raises(
        DataError, match="(?s)timit: cannot be fetched.*UNBRAID_TIMIT.*spoken_digits"
    ):
        catalogue.folders(["faces", "timit"])
    with pytest.raises(
        DataError, match="(?s)dataset: not known.*aff_wild, mnist-sample, .*'sprite'"
    ):
        catalogue.folders(["sprite"])


def test_fetch_and_verify_by_name(offer, publisher, mirror, monkeypatch):
    files = {f"{number}.bin": CONTENT[number:] for number in range(30)}
    mirror(files)
    offer("good", files=[source_file(name, content) for name, content in files.items()])
    monkeypatch.setitem(DATASETS, "things", catalogue.Dataset("none:none", ("thing",), "made"))
    done = command("fetch", "things")
    assert (
        done.exit_code == 0
        and done.output
        == f"thing: 30 files, all digests right, in {sources.cache_directory() / 'thing'}\n"
    )
    monkeypatch.delenv("UNBRAID_MIRROR")
    assert (
        done := command("verify", "thing")
    ).exit_code == 0 and done.output == "ok       thing: 30 of 30 files\n"
    (sources.cache_directory() / "thing" / "7.bin").write_bytes(b"?")
    (sources.cache_directory() / "thing" / "8.bin").unlink()
    done = command("verify", "things")
    assert done.exit_code == 1 and done.output.splitlines() == [
        "ok       thing: 28 of 30 files",
        "missing  thing: 1 of 30 files",
        f"damaged  thing/7.bin  {sources.cache_directory() / 'thing'}",
    ]


def test_one_set_that_cannot_be_had_does_not_keep_the_others(offer, mirror, monkeypatch):
    mirror({"thing.bin": CONTENT})
    offer("good")
    monkeypatch.setitem(
        sources.SOURCES,
        "gone",
        sources.Source("gone", (source_file("x", b""),), "none", "made", ("http://127.0.0.1:9/",)),
    )
    done = command("fetch", "gone", "thing", "drawn_sprites")
    assert done.output.startswith("gone: failed\nthing: 1 files") and isinstance(
        done.exception, DataError
    )
    assert "x: not downloaded" in str(done.exception) and sources.find("thing")
