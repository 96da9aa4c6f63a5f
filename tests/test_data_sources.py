"""The real files: where they are looked for, what is found, and that a damaged one ends in one clear DataError."""

import hashlib
import os
import re
import shutil

import numpy as np
import pytest
from publisher import CONTENT, FILE, house, mirror, offer, publisher, source_file  # noqa: F401  (fixtures)
from unbraid.data import files, sources
from unbraid.data.idx import read_idx
from unbraid.data.sources import DataError, fetch, find, repository_root, verify

MIRROR = os.environ.get("UNBRAID_MIRROR")
needs_mirror = pytest.mark.skipif(
    not MIRROR, reason="UNBRAID_MIRROR is not set: the real files are not at hand"
)
pytestmark = pytest.mark.usefixtures("house")

# --- where files are looked for --------------------------------------------------------------------------------------


def test_clone_before_cache_before_mirror(offer, publisher, mirror, monkeypatch, house):
    offer("absent")
    original = mirror({"thing.bin": CONTENT}) / "thing.bin"
    assert find("thing") == {"thing.bin": original}
    cached = fetch("thing")["thing.bin"]
    assert cached == house / "cache" / "thing" / "thing.bin" and find("thing") == {
        "thing.bin": cached
    }
    home = house / "home"
    shutil.copytree(house / "mirror", home / "data")
    monkeypatch.setenv("UNBRAID_HOME", str(home))
    assert find("thing") == {"thing.bin": home / "data" / "thing" / "thing.bin"} == fetch("thing")
    assert publisher.asked == []


def test_a_mirror_without_the_file_falls_back_to_the_addresses(offer, mirror):
    offer("good")
    (mirror({"thing.bin": CONTENT}) / "thing.bin").unlink()
    assert fetch("thing")["thing.bin"].read_bytes() == CONTENT


def test_a_damaged_mirror_is_told_of(offer, mirror):
    offer("good")
    mirror({"thing.bin": CONTENT[:-1] + b"?"})
    for look in (find, fetch):
        with pytest.raises(
            DataError,
            match="(?s)mirror.thing.thing.bin: damaged.*unset UNBRAID_MIRROR.*data fetch thing",
        ):
            look("thing")
    assert verify("thing")[0][1] == "damaged"


def test_a_damaged_file_of_the_clone_is_told_of(offer, house, monkeypatch):
    offer("good")
    (house / "home" / "data" / "thing").mkdir(parents=True)
    (house / "home" / "data" / "thing" / "thing.bin").write_bytes(b"not it")
    monkeypatch.setenv("UNBRAID_HOME", str(house / "home"))
    for look in (find, fetch):
        with pytest.raises(
            DataError,
            match="(?s)thing.bin: damaged.*git checkout -- data/thing, or .*data fetch thing",
        ):
            look("thing")


def test_what_a_package_of_the_system_brought_is_taken_if_it_is_right(offer, publisher, house):
    """Another version of the file there is none of our business: it is neither taken nor complained of."""
    offer("good", elsewhere=(str(house / "absent"), str(house / "doc")))
    (house / "doc").mkdir()
    (house / "doc" / "thing.bin").write_bytes(CONTENT[:-1] + b"?")
    assert find("thing") is None and verify("thing") == [("thing.bin", "missing", None)]
    (house / "doc" / "thing.bin").write_bytes(CONTENT)
    assert find("thing") == {"thing.bin": house / "doc" / "thing.bin"}
    assert verify("thing") == [("thing.bin", "ok", house / "doc" / "thing.bin")]
    assert (
        fetch("thing") == {"thing.bin": house / "cache" / "thing" / "thing.bin"}
        and publisher.asked == []
    )


def test_a_part_of_a_set_may_be_asked_for(offer, mirror):
    offer("absent", files=(FILE, source_file("more/other.bin", b"other")))
    assert find("thing", partial=True) == {} and find("thing") is None
    folder = mirror({"more/other.bin": b"other"})
    assert (
        find("thing", partial=True) == {"more/other.bin": folder / "more" / "other.bin"}
        and find("thing") is None
    )
    mirror({"thing.bin": CONTENT})
    assert len(find("thing")) == 2 and find("thing") == find("thing", partial=True)
    assert sources.homes(find("thing")) == [folder]
    (folder / "more" / "other.bin").write_bytes(b"0ther")
    with pytest.raises(DataError, match="damaged"):
        find("thing", partial=True)


@pytest.mark.parametrize("variable", ["UNBRAID_MIRROR", "UNBRAID_HOME"])
def test_a_folder_named_wrongly(monkeypatch, house, variable):
    monkeypatch.setenv(variable, str(house / "nowhere"))
    for look in (find, fetch, verify):
        with pytest.raises(DataError, match=f"(?s){variable}.*does not exist.*nowhere"):
            look("mnist")


def test_an_unknown_dataset():
    for look in (find, fetch, verify):
        with pytest.raises(DataError, match="(?s)expected: one of mnist-sample, .*mnist.*'mnits'"):
            look("mnits")


def test_a_file_is_hashed_once_in_a_process_and_again_when_it_changed(offer, monkeypatch):
    offer("good")
    path = fetch("thing")["thing.bin"]
    read, original = [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: read.append(1) or original(*a))
    find("thing")
    assert read == []
    path.write_bytes(bytes(len(CONTENT)))
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="SHA-256"):
        find("thing")


def test_a_file_that_arrives_wrong_does_not_take_the_place_of_another(house):
    (house / "new").write_bytes(b"wrong")
    (house / "old").write_bytes(b"old")
    with pytest.raises(DataError, match="damaged on the way"):
        files.place(house / "new", house / "old", FILE)
    assert (house / "old").read_bytes() == b"old"


def test_cache_folder(monkeypatch, house):
    assert sources.cache_directory() == house / "cache"
    monkeypatch.delenv("UNBRAID_CACHE")
    assert sources.cache_directory() == repository_root() / "data" / "cache"
    monkeypatch.setattr(sources, "__file__", str(house / "installed" / "sources.py"))
    assert repository_root() is None and sources.cache_directory().name == "unbraid"
    with pytest.raises(DataError, match="(?s)missing.*clone"):
        fetch("mnist-sample")


def test_the_mend_for_a_file_of_the_clone():
    path = repository_root() / "data" / "mnist-sample" / "train-images-idx3-ubyte.gz"
    assert sources.mend("mnist-sample", path) == "git checkout -- data/mnist-sample"


# --- what there is ---------------------------------------------------------------------------------------------------

COUNTS = {
    "mnist-sample": 4,
    "weather": 1,
    "vowels": 2,
    "mnist": 4,
    "sprites-li": 41,
    "cmu-faces": 624,
    "street": 2,
    "fsdd": 3000,
    "beijing-air": 12,
    "etth1": 1,
    "physionet-2012": 4001,
}


def test_every_source_has_files_a_licence_an_origin_and_a_way_to_be_had():
    assert {name: len(row.files) for name, row in sources.SOURCES.items()} == COUNTS
    for name, row in sources.SOURCES.items():
        assert row.folder == name and row.licence and row.origin
        names = [file.name for file in row.files]
        assert len(set(names)) == len(names) and not [
            name for name in names if name.startswith("/") or ".." in name
        ]
        assert all(
            re.fullmatch("[0-9a-f]{64}", file.sha256) and file.bytes > 0 for file in row.files
        )
        assert all(re.fullmatch("https://[^ ]+/", address) for address in row.addresses)
        assert re.fullmatch(r"(https://[^ ]+\.zip)?", row.archive)
        assert row.addresses or row.archive or len(find(name)) == len(row.files)


@needs_mirror
@pytest.mark.parametrize("name", COUNTS)
def test_every_file_is_in_the_clone_or_the_mirror(monkeypatch, name):
    monkeypatch.setenv("UNBRAID_MIRROR", MIRROR)
    assert [state for _, state, _ in verify(name)] == ["ok"] * COUNTS[name]


@needs_mirror
def test_a_set_of_folders_is_fetched_from_the_mirror(monkeypatch, house):
    """The faces: 624 files in 20 folders; the second call finds them all in the cache."""
    monkeypatch.setenv("UNBRAID_MIRROR", MIRROR)
    paths = fetch("cmu-faces")
    monkeypatch.delenv("UNBRAID_MIRROR")
    assert len({path.parent for path in paths.values()}) == 20 and sources.homes(paths) == [
        house / "cache" / "cmu-faces"
    ]
    assert fetch("cmu-faces") == paths == find("cmu-faces")


def listed() -> dict[str, str]:
    """The digests that data/README.md gives, by folder and name: the folder stands in a title, as `street/`."""
    text, found, folder = (
        (repository_root() / "data" / "README.md").read_text(encoding="utf-8"),
        {},
        "",
    )
    for line in text.splitlines():
        if title := re.match(r"#+ .*`([\w-]+)/`", line):
            folder = title.group(1)
        if row := re.match(r"\| `([^`]+)` \|.*?([\d ]+) \| `([0-9a-f]{64})`", line):
            found[f"{folder}/{row.group(1)}"] = (int(row.group(2).replace(" ", "")), row.group(3))
    return found


def test_every_file_of_the_clone_is_described_with_its_digest():
    data = repository_root() / "data"
    here = [
        path
        for path in data.rglob("*")
        if path.is_file() and path.suffix != ".md" and path.relative_to(data).parts[0] in COUNTS
    ]
    found = listed()
    assert len(here) >= 8
    for path in here:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert found.get(path.relative_to(data).as_posix()) == (path.stat().st_size, digest), path


def test_what_is_described_is_what_is_checked():
    """Each digest of the README is that of the sources' table; small sets are given there in full."""
    table = {
        f"{name}/{file.name}": (file.bytes, file.sha256)
        for name, row in sources.SOURCES.items()
        for file in row.files
    }
    assert listed().items() <= table.items()
    small = [name for name, count in COUNTS.items() if count <= 12]
    assert {key for key in table if key.split("/")[0] in small} <= listed().keys()


def test_the_readme_names_every_source_and_its_licence():
    text = (repository_root() / "data" / "README.md").read_text(encoding="utf-8")
    for name, row in sources.SOURCES.items():
        assert f"`{name}/`" in text, name
        assert all(
            address.removeprefix("https://").split("/")[0] in text
            for address in (*row.addresses, row.archive)
            if address
        ), name
        for licence in re.split("; | or |, ", row.licence):
            assert licence.removesuffix(" 4.0").removesuffix(" 3.0") in text, licence


# --- MNIST -----------------------------------------------------------------------------------------------------------


def digits(paths, split):
    return read_idx(paths[f"{split}-images-idx3-ubyte.gz"]), read_idx(
        paths[f"{split}-labels-idx1-ubyte.gz"]
    )


def test_the_sample_travels_with_the_clone():
    paths = find("mnist-sample")
    (train, train_labels), (test, test_labels) = digits(paths, "train"), digits(paths, "t10k")
    assert all(
        path.is_relative_to(repository_root() / "data" / "mnist-sample") for path in paths.values()
    )
    assert (
        train.shape == (4000, 28, 28) and test.shape == (1000, 28, 28) and train.dtype == np.uint8
    )
    assert (
        np.bincount(train_labels).tolist() == [400] * 10
        and np.bincount(test_labels).tolist() == [100] * 10
    )
    different = {image.tobytes() for image in np.concatenate([train, test])}
    assert len(different) == 5000, "the same image occurs twice"
    assert train.max() == 255 and 0.1 < (train > 127).mean() < 0.2


@needs_mirror
def test_real_mnist_is_fetched_from_the_mirror(monkeypatch, house):
    monkeypatch.setenv("UNBRAID_MIRROR", MIRROR)
    paths = fetch("mnist")
    assert all(path.is_relative_to(house / "cache" / "mnist") for path in paths.values())
    assert [state for _, state, _ in verify("mnist")] == ["ok"] * 4
    (train, train_labels), (test, test_labels) = digits(paths, "train"), digits(paths, "t10k")
    assert train.shape == (60_000, 28, 28) and test.shape == (10_000, 28, 28)
    assert np.bincount(train_labels).tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]
    assert np.bincount(test_labels).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]


@needs_mirror
def test_where_the_sample_comes_from(monkeypatch):
    """The sample is the first 500 of each class of MNIST's training file, and holds none of its test digits."""
    monkeypatch.setenv("UNBRAID_MIRROR", MIRROR)
    train, labels = digits(find("mnist"), "train")
    test, _ = digits(find("mnist"), "t10k")
    rows = np.stack(
        [np.flatnonzero(labels == digit)[:500] for digit in range(10)], axis=1
    )  # (500, 10)
    for split, chosen in {"train": rows[:400].ravel(), "t10k": rows[400:].ravel()}.items():
        images, marks = digits(find("mnist-sample"), split)
        assert (images == train[chosen]).all() and (marks == labels[chosen]).all()
        assert not {image.tobytes() for image in images} & {image.tobytes() for image in test}


@needs_mirror
@pytest.mark.parametrize(
    ("damage", "found"), [("truncated", "1000 bytes"), ("altered", "4542 bytes, SHA-256")]
)
def test_a_bad_mnist_file(monkeypatch, house, damage, found):
    monkeypatch.setenv("UNBRAID_MIRROR", MIRROR)
    path = fetch("mnist")["t10k-labels-idx1-ubyte.gz"]
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content[:1000] if damage == "truncated" else content)
    pattern = f"(?s)t10k-labels-idx1-ubyte.gz: damaged.*expected: 4542 bytes.*found: {found}.*python -m unbraid data fetch mnist"
    with pytest.raises(DataError, match=pattern):
        find("mnist")
    with pytest.raises(
        DataError, match="(?s)t10k-labels.*damaged IDX.*python -m unbraid data fetch mnist"
    ):
        read_idx(path)
