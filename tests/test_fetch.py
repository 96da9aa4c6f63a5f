"""Fetching: which place comes first, that only right bytes count, and what is said about the rest.

Nothing here asks the network: the publisher is a server on this machine.
"""

import functools
import hashlib
import io
import threading
import time
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from unbraid.data import fetch
from unbraid.data.fetch import SOURCES, DataError, Source

CONTENT = {"a.bin": b"first" * 100, "deep/b.bin": b"second" * 100}
NOWHERE = "http://127.0.0.1:9/"


def write_files(folder, content=CONTENT):
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def contents(paths):
    return {name: path.read_bytes() for name, path in paths.items()}


@pytest.fixture
def house(tmp_path, monkeypatch):
    """The folder of an empty clone, an empty cache and a mirror."""
    (tmp_path / "clone" / "data").mkdir(parents=True)
    (tmp_path / "mirror").mkdir()
    for variable, name in (("HOME", "clone"), ("CACHE", "cache"), ("MIRROR", "mirror")):
        monkeypatch.setenv(f"UNBRAID_{variable}", str(tmp_path / name))
    return tmp_path


@pytest.fixture
def published(tmp_path):
    """A folder, and the address at which this machine publishes it."""
    (folder := tmp_path / "published").mkdir()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.fixture
def offer(monkeypatch):
    """Put the source "thing" into the table."""

    def add(url=NOWHERE, **places):
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}
        files = {name: (digests[name], len(data)) for name, data in CONTENT.items()}
        row = Source("thing", files, "", "made", "none", [], url=url, **places)
        monkeypatch.setitem(SOURCES, "thing", row)

    return add


def test_the_clone_comes_before_the_cache_before_the_mirror(house, offer):
    offer()
    assert fetch.find("thing") is None and fetch.verify("thing")["a.bin"] == "missing"
    for place in ("mirror", "cache", "clone/data"):
        write_files(house / place / "thing")
        assert fetch.find("thing") == {name: house / place / "thing" / name for name in CONTENT}
        assert fetch.fetch("thing") == fetch.files("thing") == fetch.find("thing")
    assert list(fetch.find("thing", ["deep/b.bin"])) == ["deep/b.bin"]


def test_a_mirror_that_is_no_folder_is_named(house, monkeypatch):
    monkeypatch.setenv("UNBRAID_MIRROR", "https://mirror.example")
    with pytest.raises(ValueError, match="^UNBRAID_MIRROR: expected a folder.*mirror.example"):
        fetch.locate("mnist")


def test_a_damaged_file_is_never_used(house, offer):
    offer()
    write_files(house / "mirror" / "thing")
    assert fetch.find("thing")
    write_files(house / "mirror" / "thing", {"a.bin": CONTENT["a.bin"][:-1] + b"?"})
    with pytest.raises(DataError, match="a.bin"):
        fetch.find("thing")
    assert fetch.find("thing", ["deep/b.bin"])
    assert fetch.verify("thing") == {"a.bin": "damaged", "deep/b.bin": "ok"}


def test_fetch_says_what_it_brings_and_replaces_what_is_damaged(house, published, offer, capsys):
    folder, address = published
    write_files(folder / "one", {"a.bin": CONTENT["a.bin"]})
    write_files(folder / "two", {"b.bin": CONTENT["deep/b.bin"]})
    offer(f"{address}one/", urls={"deep/b.bin": f"{address}two/b.bin"})
    write_files(house / "cache" / "thing", {"a.bin": b"damaged"})
    paths = fetch.fetch("thing")
    assert contents(paths) == CONTENT and paths["a.bin"].stat().st_mode & 0o777 == 0o644
    assert f"2 files, 0.0 MB, from {address}one/" in capsys.readouterr().out
    fetch.fetch("thing")
    assert capsys.readouterr().out == ""


def test_what_was_fetched_before_a_failure_stays(house, published, offer):
    folder, address = published
    write_files(folder, {"a.bin": CONTENT["a.bin"], "deep/b.bin": b"damaged"})
    offer(address)
    with pytest.raises(DataError, match=r"thing: not fetched(.|\n)*b\.bin"):
        fetch.fetch("thing")
    assert fetch.verify("thing") == {"a.bin": "ok", "deep/b.bin": "missing"}
    assert [path.name for path in (house / "cache").rglob("*") if path.is_file()] == ["a.bin"]


@pytest.mark.parametrize("waits, is_fetched", (("1", True), (None, True), ("3600", False)))
def test_a_server_that_was_asked_too_often_is_waited_for(
    house, published, offer, monkeypatch, waits, is_fetched
):
    folder, address = published
    write_files(folder)
    offer(address)
    asked, slept, send = [], [], SimpleHTTPRequestHandler.do_GET

    def refuse_every_second(handler):
        asked.append(handler.path)
        if len(asked) % 2 == 0:
            return send(handler)
        handler.send_response(429)
        if waits:
            handler.send_header("Retry-After", waits)
        handler.end_headers()

    monkeypatch.setattr(SimpleHTTPRequestHandler, "do_GET", refuse_every_second)
    monkeypatch.setattr(fetch.time, "sleep", slept.append)
    if is_fetched:
        assert contents(fetch.fetch("thing")) == CONTENT
        assert slept == [int(waits or 10)] * 2
    else:
        with pytest.raises(DataError, match=r"429(.|\n)*do the same later"):
            fetch.fetch("thing")
        assert slept == [] and len(asked) == 1


def pack(members):
    """The bytes of a zip file."""
    with zipfile.ZipFile(packed := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


@pytest.mark.parametrize("nested", [False, True])
def test_an_archive_is_unpacked_and_each_member_checked(house, published, offer, nested):
    folder, address = published
    members = {"top/a.bin": CONTENT["a.bin"], "top/b.bin": b"damaged", "../outside.bin": b"?"}
    packed = pack({"inner.zip": pack(members)} if nested else members)
    write_files(folder / "single", {"deep/b.bin": CONTENT["deep/b.bin"]})
    offer(f"{address}single/", archive=f"{address}set.zip")
    (folder / "set.zip").write_bytes(packed[:-30])
    with pytest.raises(DataError, match="not fetched"):
        fetch.fetch("thing")
    (folder / "set.zip").write_bytes(packed)
    assert contents(fetch.fetch("thing")) == CONTENT
    names = sorted(path.name for path in (house / "cache").rglob("*"))
    assert names == ["a.bin", "b.bin", "deep", "thing"]


def test_no_more_is_read_or_unpacked_than_the_list_says(house, published, offer):
    folder, address = published
    wide = bytes(10**6)
    packed = pack({"a.bin": CONTENT["a.bin"], "b.bin": wide, "inner.zip": pack({"b.bin": wide})})
    write_files(folder, {"set.zip": packed, "deep/b.bin": wide, "large.zip": packed + bytes(10**4)})
    for archive in ("set.zip", "large.zip"):
        offer(address, archive=address + archive)
        with pytest.raises(DataError, match=r"expected at most \d+ bytes, found more"):
            fetch.fetch("thing")
    deeper = {"a.bin": CONTENT["a.bin"], "inner.zip": pack({"in.zip": pack({"b.bin": b"?" * 600})})}
    write_files(folder, {"set.zip": pack(deeper), "deep/b.bin": CONTENT["deep/b.bin"]})
    offer(address, archive=f"{address}set.zip")
    assert contents(fetch.fetch("thing")) == CONTENT


def test_without_network_or_room_the_error_comes_soon_and_says_what_to_do(
    house, offer, monkeypatch
):
    started = time.monotonic()
    for archive in ("", f"{NOWHERE}set.zip"):
        offer(archive=archive)
        with pytest.raises(DataError, match="look at the network") as error:
            fetch.fetch("thing")
        assert str(house / "cache" / "thing") in str(error.value)
    (house / "file").write_bytes(b"")
    monkeypatch.setenv("UNBRAID_CACHE", str(house / "file" / "cache"))
    with pytest.raises(DataError, match="UNBRAID_CACHE"):
        fetch.fetch("thing")
    assert time.monotonic() - started < 10


def test_outside_of_a_clone_files_are_fetched_or_the_error_says_what_to_set(
    house, published, offer, monkeypatch
):
    folder, address = published
    write_files(folder)
    offer(address)
    with pytest.raises(DataError, match="python -m unbraid data fetch thing"):
        fetch.files("thing")
    monkeypatch.setattr(fetch, "repository_root", lambda: None)
    assert list(fetch.files("thing", ["a.bin"])) == ["a.bin"]
    assert fetch.verify("thing") == {"a.bin": "ok", "deep/b.bin": "missing"}
    with pytest.raises(DataError, match="UNBRAID_HOME"):
        fetch.files("weather")


def test_records_name_the_sources_by_these_fingerprints():
    known = {"mnist": "ab988375891f", "sprites-li": "8702676a45e6", "cmu-faces": "74066dd02d10"}
    known |= {"street": "cbe484e5b5cc", "fsdd": "71f498e577dd"}
    known |= {"weather": "ddbadf571dcf", "beijing-air": "6498786af02b", "etth1": "4bd5f9a39ba5"}
    known |= {"physionet-2012": "6b825d581c72"}
    assert {name: SOURCES[name].fingerprint[:12] for name in known} == known
