"""Fetching: which place comes first, that only right bytes count, and what is said about the rest.

Nothing here asks the network: the publisher is a server on this machine.
"""

import functools
import hashlib
import io
import shutil
import threading
import time
import tracemalloc
import zipfile
from collections import namedtuple
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from unbraid.data import fetch
from unbraid.data.fetch import SOURCES, DataError, Source, SourceFile, cached_array

CONTENT = {"a.bin": b"first" * 100, "deep/b.bin": b"second" * 100}
NOWHERE = "http://127.0.0.1:9/"


def source_files(content):
    files = {}
    for name, data in content.items():
        files[name] = SourceFile(hashlib.sha256(data).hexdigest(), len(data))
    return files


def write_files(folder, content=CONTENT):
    for name, data in content.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.fixture
def house(tmp_path, monkeypatch):
    """An empty clone, an empty cache and no mirror; folders of `tmp_path`."""
    (tmp_path / "clone" / "data").mkdir(parents=True)
    monkeypatch.setenv("UNBRAID_HOME", str(tmp_path / "clone"))
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNBRAID_MIRROR", raising=False)
    return tmp_path


@pytest.fixture
def mirror(house, monkeypatch):
    write_files(house / "mirror" / "thing")
    monkeypatch.setenv("UNBRAID_MIRROR", str(house / "mirror"))
    return house / "mirror" / "thing"


@pytest.fixture
def published(house):
    """A folder, and the address at which this machine publishes it."""
    folder = house / "published"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # Who is sent too much hangs up.
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def offer(monkeypatch):
    """Put the source "thing" into the table."""

    def add(urls=(NOWHERE,), archive="", content=CONTENT):
        files = source_files(content)
        row = Source("thing", "made", "none", urls=[*urls], archive=archive, files=files)
        monkeypatch.setitem(SOURCES, "thing", row)

    return add


def contents(paths):
    return {name: path.read_bytes() for name, path in paths.items()}


def test_the_clone_comes_before_the_cache_before_the_mirror(house, mirror, offer):
    offer()
    assert fetch.find("thing") == {name: mirror / name for name in CONTENT}
    assert fetch.fetch("thing") == fetch.find("thing")  # What the mirror has is not copied.
    write_files(house / "cache" / "thing")
    assert fetch.find("thing") == {name: house / "cache" / "thing" / name for name in CONTENT}
    write_files(house / "clone" / "data" / "thing")
    assert fetch.find("thing")["a.bin"] == house / "clone" / "data" / "thing" / "a.bin"


@pytest.mark.parametrize("place", ["clone/data", "cache", "mirror"])
def test_a_damaged_file_is_never_used(house, mirror, offer, place):
    offer()
    assert fetch.find("thing")
    write_files(house / place / "thing", {"a.bin": CONTENT["a.bin"][:-1] + b"?"})
    with pytest.raises(DataError, match="a.bin"):
        fetch.find("thing")
    assert fetch.verify("thing") == {"a.bin": "damaged", "deep/b.bin": "ok"}


def test_fetch_says_what_it_brings_and_tries_one_address_after_another(
    house, published, offer, capsys
):
    folder, address = published
    write_files(folder / "wrong", {"a.bin": b"damaged", "deep/b.bin": CONTENT["deep/b.bin"]})
    write_files(folder / "right")
    offer([NOWHERE, f"{address}wrong/", f"{address}right/"])
    write_files(house / "cache" / "thing", {"a.bin": b"damaged"})
    assert contents(fetch.fetch("thing")) == CONTENT
    assert f"2 files, 0.0 MB, from {NOWHERE}" in capsys.readouterr().out
    fetch.fetch("thing")
    assert capsys.readouterr().out == ""


def test_what_was_fetched_before_a_failure_stays(house, published, offer):
    folder, address = published
    write_files(folder, {"a.bin": CONTENT["a.bin"]})
    offer([address])
    with pytest.raises(DataError, match="deep/b.bin"):
        fetch.fetch("thing")
    assert fetch.verify("thing") == {"a.bin": "ok", "deep/b.bin": "missing"}


def pack(members, kind=zipfile.ZIP_DEFLATED):
    """The bytes of a zip file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


@pytest.mark.parametrize("nested", [False, True])
def test_an_archive_is_unpacked_and_each_member_checked(house, published, offer, nested):
    folder, address = published
    members = {"top/a.bin": CONTENT["a.bin"], "top/deep/b.bin": b"damaged", "../outside.bin": b"?"}
    packed = pack({"inner.zip": pack(members)} if nested else members)
    (folder / "all.zip").write_bytes(packed)
    write_files(folder / "single", {"deep/b.bin": CONTENT["deep/b.bin"]})
    offer([f"{address}single/"], f"{address}all.zip")
    assert contents(fetch.fetch("thing")) == CONTENT
    assert not list(house.rglob("outside.bin"))
    assert sorted(path.name for path in (house / "cache" / "thing").iterdir()) == ["a.bin", "deep"]


def test_nothing_is_unpacked_whose_size_is_wrong(house, published, offer, monkeypatch):
    folder, address = published
    large = bytes(10_000_000)  # which deflate to a thousandth
    packed = pack(dict.fromkeys(("a.bin", "other.bin", "inner.zip"), large))
    (folder / "all.zip").write_bytes(packed)
    offer(archive=f"{address}all.zip")
    unpacked = []
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda _, member: unpacked.append(member))
    with pytest.raises(DataError, match=r"a\.bin not fetched"):
        fetch.fetch("thing")
    assert unpacked == []


@pytest.mark.parametrize("kind", ["file", "archive", "inner archive", "lying archive"])
def test_no_more_is_read_than_what_is_expected(house, published, offer, kind):
    """Of an address, of an archive, and of a member that is longer than the archive says."""
    folder, address = published
    long = CONTENT["a.bin"] + bytes(10_000_000)
    (folder / "a.bin").write_bytes(long)
    packed = pack({"inner.zip" if kind == "inner archive" else "a.bin": long})
    if kind == "lying archive":
        sizes = (len(size).to_bytes(4, "little") for size in (long, CONTENT["a.bin"]))
        packed = packed.replace(*sizes)
    if kind == "archive":
        packed += bytes(10_000_000)
    (folder / "all.zip").write_bytes(packed)
    offer([address], "" if kind == "file" else f"{address}all.zip")
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a\.bin not fetched"):
        fetch.fetch("thing")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_broken_archive_is_left_for_the_single_files(house, published, offer):
    folder, address = published
    write_files(folder, CONTENT)
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        packed = pack(CONTENT, kind)
        random = np.random.default_rng(kind)
        for _ in range(30):
            broken = bytearray(packed)
            for place in random.integers(0, len(broken), 3):
                broken[place] = random.integers(256)
            (folder / "all.zip").write_bytes(broken[: random.integers(len(broken) // 2, 10**6)])
            offer([address], f"{address}all.zip")
            assert contents(fetch.fetch("thing")) == CONTENT
            shutil.rmtree(house / "cache" / "thing")


def test_a_killed_process_is_swept_after_and_a_living_one_waited_for(
    house, published, offer, held, capsys, monkeypatch
):
    monkeypatch.setattr("unbraid.locks.is_watched", lambda: True)
    folder, address = published
    write_files(folder)
    offer([address])
    cache = house / "cache"
    other = held(cache / "thing.lock")
    (cache / "thing").mkdir()
    part = cache / "thing" / fetch.PART
    part.write_bytes(b"half of a file")
    waiting = threading.Thread(target=fetch.fetch, args=["thing"])
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive() and part.exists() and not (cache / "thing" / "a.bin").exists()
    assert "thing: waiting for another process" in capsys.readouterr().err
    other.kill()
    waiting.join(10)
    names = sorted(path.name for path in cache.rglob("*"))
    assert names == ["a.bin", "b.bin", "deep", "thing"]
    # Of a process that was killed between its last file and its end.
    part.write_bytes(b"half of a file")
    (cache / "thing.lock").touch()
    fetch.fetch("thing")
    assert sorted(path.name for path in cache.rglob("*")) == names


def test_a_full_disk_is_found_before_anything_is_asked_of_the_network(
    house, published, offer, capsys, monkeypatch
):
    folder, address = published
    write_files(folder)
    offer([address])
    Usage = namedtuple("Usage", "free")
    size = SOURCES["thing"].bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(size - 1))
    with pytest.raises(DataError, match=f"{size - 1} bytes free.*{size} to write\n.*make room"):
        fetch.fetch("thing")
    assert capsys.readouterr().out == "" and not list((house / "cache").iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(size))
    assert contents(fetch.fetch("thing")) == CONTENT


def test_outside_of_a_clone_files_are_fetched_or_the_error_says_what_to_set(
    published, offer, monkeypatch
):
    folder, address = published
    write_files(folder)
    offer([address])
    with pytest.raises(DataError, match="python -m unbraid data fetch thing"):
        fetch.files("thing")
    monkeypatch.setattr(fetch, "repository_root", lambda: None)
    assert contents(fetch.files("thing")) == CONTENT
    for name in ("weather", "vowels", "mnist-sample"):
        with pytest.raises(DataError, match="UNBRAID_HOME") as error:
            fetch.files(name)
        assert "git" not in str(error.value)


def test_without_network_the_error_comes_at_once_and_names_the_set(house, offer):
    offer(archive=f"{NOWHERE}all.zip")
    started = time.monotonic()
    with pytest.raises(DataError, match="thing"):
        fetch.fetch("thing")
    assert time.monotonic() - started < 5


def test_a_cache_that_cannot_be_written_is_one_clear_error(house, offer, monkeypatch):
    offer()
    with pytest.raises(DataError, match="UNBRAID_CACHE"):
        cached_array("made", "inputs", (2**30, 2**30), rows)  # no disk has that room
    (house / "file").write_bytes(b"")
    monkeypatch.setenv("UNBRAID_CACHE", str(house / "file" / "cache"))
    for write in (lambda: fetch.fetch("thing"), lambda: cached_array("made", "", (24,), rows)):
        with pytest.raises(DataError, match="UNBRAID_CACHE"):
            write()


def test_wrong_names_are_refused(house, monkeypatch):
    with pytest.raises(ValueError, match="source.*did you mean vowels"):
        fetch.find("vowel")
    monkeypatch.setenv("UNBRAID_MIRROR", str(house / "nowhere"))
    with pytest.raises(DataError, match="UNBRAID_MIRROR"):
        fetch.find("vowels")


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_says_what_it_is_and_lists_its_files(name):
    source = SOURCES[name]
    assert source.about and source.licence and source.citation and source.files
    for path, file in source.files.items():
        assert len(file.sha256) == 64 and file.bytes > 0 and not Path(path).is_absolute()
    if source.archive:
        assert len({Path(path).name for path in source.files}) == len(source.files)


@pytest.mark.parametrize("name", ["mnist-sample", "weather", "vowels", "sprites-li"])
def test_what_travels_with_the_clone_is_whole(name, root, monkeypatch):
    monkeypatch.delenv("UNBRAID_MIRROR", raising=False)
    monkeypatch.setenv("UNBRAID_CACHE", str(root / "no such cache"))
    paths = fetch.files(name)
    assert all(path.is_relative_to(root / "data" / name) for path in paths.values())


def rows():
    for number in range(3):
        yield np.full((2, 4), number, np.uint8)


def test_a_cached_array_is_made_once_announced_and_mapped(house, capsys, monkeypatch):
    monkeypatch.setattr("unbraid.progress.is_watched", lambda: True)
    first = cached_array("made", "inputs", (3, 2, 4), rows)
    assert first.dtype == torch.uint8 and first[:, 0, 0].tolist() == [0, 1, 2]
    assert "composing 0 MB once, into" in capsys.readouterr().err
    first[0] = 9  # reaches no other reader
    second = cached_array("made", "inputs", (3, 2, 4), lambda: pytest.fail("was made again"))
    assert second[:, 0, 0].tolist() == [0, 1, 2] and capsys.readouterr().err == ""
    assert not cached_array("made", "others", (3, 2, 4), lambda: np.zeros((3, 2, 4), "u1")).any()


def test_an_interrupted_array_leaves_nothing(house):
    def interrupted():
        yield np.zeros((2, 4), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_array("made", "inputs", (3, 2, 4), interrupted)
    assert list((house / "cache" / "composed").iterdir()) == []


def test_a_damaged_array_is_made_again_with_a_word(house, capsys):
    values = cached_array("made", "inputs", (3, 2, 4), rows).clone()
    (path,) = (house / "cache" / "composed").glob("*.npy")
    digest = path.with_suffix(".sha256")
    whole = path.read_bytes()
    assert digest.read_text() == f"{hashlib.sha256(whole).hexdigest()}  {path.name}\n"
    random = np.random.default_rng(0)
    for number in range(40):
        damaged = bytearray(whole)
        damaged[random.integers(len(whole))] ^= 1 << random.integers(8)
        path.write_bytes(damaged[: len(whole) - number % 3])
        if number == 39:
            digest.write_bytes(b"\xff")
        fetch._digest_once.cache_clear()  # Changes may come faster than the clock of the disk.
        assert torch.equal(cached_array("made", "inputs", (3, 2, 4), rows), values)
        assert capsys.readouterr().out == f"{path}: damaged, composing it again\n"
        assert path.read_bytes() == whole
    digest.unlink()  # as versions of before left it
    cached_array("made", "inputs", (3, 2, 4), rows)
    assert digest.exists() and capsys.readouterr().out == ""


def test_one_process_makes_an_array_and_others_wait_for_it(house, held):
    cached_array("made", "", (3, 2, 4), rows)
    (path,) = (house / "cache" / "composed").glob("*.npy")
    path.unlink()
    other = held(path.with_suffix(".lock"))
    path.with_suffix(fetch.PART).write_bytes(b"half of an array")
    made = []
    waiting = threading.Thread(
        target=lambda: made.append(cached_array("made", "", (3, 2, 4), rows))
    )
    waiting.start()
    waiting.join(0.5)
    assert not made and path.with_suffix(fetch.PART).exists()
    other.kill()
    waiting.join(10)
    assert made[0][:, 0, 0].tolist() == [0, 1, 2]
    assert {file.suffix for file in path.parent.iterdir()} == {".npy", ".sha256"}
