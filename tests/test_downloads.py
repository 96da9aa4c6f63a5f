"""Downloading one file: the first address with the right bytes is taken; whatever goes wrong ends in one clear DataError."""

import errno
import os
import shutil
import time

import pytest
from publisher import CONTENT, FILE, PIECE, house, impatient, left_behind, mirror, offer, publisher  # noqa: F401  (fixtures)
from unbraid.data import downloads, sources
from unbraid.data.sources import DataError, Source, fetch, find, verify

pytestmark = pytest.mark.usefixtures("house")


@pytest.mark.parametrize(
    "manners",
    [
        ("good",),
        ("redirect",),
        ("absent", "good"),
        ("wrong", "good"),
        ("long", "good"),
        ("cut", "good"),
        ("ended", "good"),
        ("busy", "good"),
        ("liar", "good"),
    ],
    ids="-".join,
)
def test_the_first_address_with_the_right_bytes_is_taken(offer, house, manners):
    offer(*manners)
    assert find("thing") is None
    paths = fetch("thing")
    assert paths == {"thing.bin": house / "cache" / "thing" / "thing.bin"} == find("thing")
    assert paths["thing.bin"].read_bytes() == CONTENT
    assert os.listdir(house / "cache" / "thing") == ["thing.bin"]


@pytest.mark.parametrize("manner", ["stalls", "silent"])
def test_a_publisher_who_falls_silent_is_left_for_the_next(offer, publisher, impatient, manner):
    offer(manner, "good")
    assert fetch("thing")["thing.bin"].read_bytes() == CONTENT
    assert publisher.asked == 2 * [f"/{manner}/thing.bin"] + ["/good/thing.bin"]


@pytest.mark.parametrize(
    ("manner", "words"),
    [
        ("absent", "404"),
        ("wrong", "sent other bytes"),
        ("long", "more than 50000 bytes"),
        ("cut", "connection"),
        ("busy", "429|503"),
        ("ended", "cut after 20480 of 50000 bytes"),
        ("stalls", "timed out"),
        ("silent", "timed out"),
        ("liar", "connection|other bytes"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_a_failing_publisher_is_named_and_nothing_is_left(offer, publisher, house, manner, words):
    offer(manner)
    started = time.monotonic()
    with pytest.raises(DataError, match=words) as caught:
        fetch("thing")
    message = str(caught.value)
    assert f"{publisher.address}/{manner}/thing.bin" in message
    assert FILE.sha256 in message and "UNBRAID_MIRROR" in message
    assert time.monotonic() - started < 5
    assert left_behind(house) == [] and find("thing") is None


def test_all_addresses_that_failed_are_told(offer):
    offer("absent", "wrong")
    with pytest.raises(
        DataError, match="(?s)absent/thing.bin refused: 404.*; .*wrong/thing.bin sent other bytes"
    ):
        fetch("thing")


def test_a_sender_that_only_drips_is_given_up(offer, monkeypatch, house, impatient):
    offer("drips")
    monkeypatch.setattr(downloads, "SLOWEST", 100_000)
    started = time.monotonic()
    with pytest.raises(DataError, match="timed out"):
        fetch("thing")
    assert (
        time.monotonic() - started < 3 and left_behind(house) == []
    )  # the whole would take 2.6 s, an attempt half a second


def test_a_cut_connection_goes_on_where_it_was(offer, publisher):
    """The publisher sends 20 480 bytes a time; it is asked for the rest, and never for the whole again."""
    offer("resumes")
    assert fetch("thing")["thing.bin"].read_bytes() == CONTENT
    assert publisher.ranges == [None, f"bytes={PIECE}-", f"bytes={2 * PIECE}-"]


def test_a_publisher_who_cannot_resume_sends_all_again(offer, publisher):
    offer("cutonce")
    assert fetch("thing")["thing.bin"].read_bytes() == CONTENT
    assert publisher.ranges == [None, f"bytes={PIECE}-"]


def test_a_busy_publisher_is_asked_again(offer, publisher):
    offer("busytwice")
    assert fetch("thing")["thing.bin"].read_bytes() == CONTENT and len(publisher.asked) == 3


def test_a_publisher_who_stays_busy_is_given_up(offer, publisher):
    offer("busy")
    with pytest.raises(DataError, match="refused: 429|503"):
        fetch("thing")
    assert len(publisher.asked) == downloads.ATTEMPTS


@pytest.mark.parametrize(
    ("asked", "pause"),
    [("7", 7), ("9999", 60), ("0", 1), ("Fri, 31 Dec 1999 23:59:59 GMT", 1), ("", 1)],
)
def test_a_pause_is_as_long_as_asked_for_within_reason(monkeypatch, asked, pause):
    monkeypatch.setattr(downloads, "PAUSE", 1.0)
    response = downloads.requests.Response()
    response.status_code, response.headers["Retry-After"] = 503, asked
    assert downloads._diagnosis(downloads.requests.HTTPError("503", response=response)) == (
        "refused: 503",
        pause,
    )


def test_no_connection_at_all(monkeypatch):
    monkeypatch.setitem(
        sources.SOURCES, "thing", Source("thing", (FILE,), "none", "made", ("http://127.0.0.1:9/",))
    )
    with pytest.raises(DataError, match="connection not made or cut"):
        fetch("thing")


@pytest.mark.parametrize(
    "address", ["nonsense", "http://", "ftp://127.0.0.1/", "http://127.0.0.1:99999/"]
)
def test_an_address_that_is_none(monkeypatch, address):
    monkeypatch.setitem(
        sources.SOURCES, "thing", Source("thing", (FILE,), "none", "made", (address,))
    )
    with pytest.raises(DataError, match="(?s)thing.bin: not downloaded.*connection not made"):
        fetch("thing")


def test_a_second_call_fetches_nothing(offer, publisher):
    offer("good")
    fetch("thing")
    fetch("thing")
    assert len(publisher.asked) == 1


def test_a_damaged_file_in_the_cache_is_told_of_and_then_replaced(offer):
    offer("good")
    path = fetch("thing")["thing.bin"]
    path.write_bytes(CONTENT[:100])
    with pytest.raises(
        DataError,
        match="(?s)thing.bin: damaged.*50000 bytes.*found: 100 bytes.*unbraid data fetch thing",
    ):
        find("thing")
    assert verify("thing") == [("thing.bin", "damaged", path)]
    fetch("thing")
    assert verify("thing") == [("thing.bin", "ok", path)] and path.read_bytes() == CONTENT
    path.unlink()
    assert verify("thing") == [("thing.bin", "missing", None)]


def test_no_bar_is_drawn_where_nobody_watches(offer, capfd):
    offer("good")
    fetch("thing", progress=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("where", ["write", "copy"])
def test_a_full_disk(offer, mirror, monkeypatch, house, where):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    offer("good")
    if where == "write":
        monkeypatch.setattr(downloads, "_append", full)
    else:
        mirror({"thing.bin": CONTENT})
        monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(
        DataError,
        match=r"(?s)thing.bin: the disk is full.*50000 bytes free.*found: \d+ free.*UNBRAID_CACHE",
    ):
        fetch("thing")
    assert left_behind(house) == []


def test_a_cache_that_cannot_be_written(offer, house):
    offer("good")
    (house / "cache").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="(?s)not written.*UNBRAID_CACHE"):
        fetch("thing")


def test_what_a_killed_process_left_is_swept_after_a_day(offer, house):
    offer("good")
    old, new = (house / "cache" / "thing" / name for name in (".fetch-old", ".fetch-new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "0").write_bytes(b"half")
    os.utime(old, (0, time.time() - 2 * 24 * 3600))
    fetch("thing")
    assert not old.exists() and new.exists()  # the new one may belong to a process that is alive
