"""What is composed once and kept: right or absent, whatever happens to the file, the disk or the process."""

import errno
import os
import shutil
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from unbraid.data import composed as module
from unbraid.data.composed import ABANDONED, composed
from unbraid.data.sources import DataError

SHAPE = (6, 5, 3, 4, 4)
CONTENT = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_checked", set())
    return tmp_path / "cache" / "composed"


def made(inputs="a", content=CONTENT, pieces=6):
    """The tensor, and how often its rows were asked for."""
    calls = []

    def rows():
        calls.append(1)
        yield from np.array_split(content, pieces)

    return composed("thing", inputs, SHAPE, rows), len(calls)


@pytest.mark.parametrize("pieces", (1, 4, 6))
def test_the_rows_come_back_as_they_were(folder, pieces):
    tensor, calls = made(pieces=pieces)
    assert calls == 1 and tensor.dtype == torch.uint8 and np.array_equal(tensor.numpy(), CONTENT)
    assert [path.name for path in folder.iterdir()] == ["thing.safetensors"]
    assert np.array_equal(
        load_file(folder / "thing.safetensors")["frames"].numpy(), CONTENT
    )  # safetensors' own reader agrees
    again, calls = made()
    assert calls == 0 and torch.equal(again, tensor)


def test_a_change_of_the_tensor_stays_out_of_the_file():
    made()[0].zero_()
    assert np.array_equal(made()[0].numpy(), CONTENT)


def test_other_inputs_or_another_shape_compose_anew():
    made()
    other, calls = made("b", CONTENT[::-1])
    assert calls == 1 and np.array_equal(other.numpy(), CONTENT[::-1])
    smaller = composed("thing", "b", (2, 3), lambda: [np.arange(6, dtype=np.uint8)])
    assert smaller.tolist() == [[0, 1, 2], [3, 4, 5]]


def flipped(place):
    def change(content):
        content[place] ^= 1

    return change


@pytest.mark.parametrize(
    "damage",
    (
        flipped(0),
        flipped(30),
        flipped(-1),
        flipped(-700),
        lambda content: content.clear(),
        lambda content: content.pop(),
        lambda content: content.append(0),
        lambda content: content.__setitem__(slice(0, 8), b"\xff" * 8),
    ),
    ids=("length", "header", "last", "inside", "empty", "short", "long", "absurd"),
)
def test_a_damaged_file_is_composed_anew(folder, monkeypatch, damage):
    made()
    content = bytearray((folder / "thing.safetensors").read_bytes())
    damage(content)
    (folder / "thing.safetensors").write_bytes(content)
    tensor, calls = made()
    assert calls == 1 and np.array_equal(tensor.numpy(), CONTENT)


def test_a_right_file_is_read_once_in_a_process(monkeypatch):
    made()
    assert made()[1] == 0
    monkeypatch.setattr(module.zlib, "crc32", lambda *_: pytest.fail("read again"))
    assert made()[1] == 0


def test_rows_that_do_not_fill_the_shape_are_refused(folder):
    with pytest.raises(ValueError, match="rows: expected 1440 bytes for thing, found 1200"):
        made(content=CONTENT[:5])
    assert list(folder.iterdir()) == []


def test_errors_of_the_rows_pass_and_leave_nothing(folder):
    def rows():
        yield CONTENT[:1]
        raise FileNotFoundError("no such sheet")

    with pytest.raises(FileNotFoundError, match="no such sheet"):
        composed("thing", "a", SHAPE, rows)
    assert list(folder.iterdir()) == []


def test_a_disk_with_too_little_room_is_told_before_anything_is_composed(monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1439)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        DataError,
        match=r"(?s)thing.safetensors: not written.*1440 bytes.*1439 bytes free.*make room",
    ):
        composed("thing", "a", SHAPE, lambda: pytest.fail("composed"))


def test_a_disk_that_fills_while_writing_is_told_and_leaves_nothing(folder, monkeypatch):
    class Full:
        def __init__(self, path):
            self.stream, self.room = open(path, "wb", buffering=0), 900

        def write(self, content):
            if not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = self.stream.write(content[: self.room])
            self.room -= written
            return written

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.stream.close()

    def opened(path, mode, buffering):
        return Full(path) if mode == "wb" else open(path, mode, buffering)

    monkeypatch.setattr(module, "open", opened, raising=False)
    with pytest.raises(DataError, match=r"(?s)not written.*No space left on device.*UNBRAID_CACHE"):
        made()
    assert list(folder.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"(?s)not written.*UNBRAID_CACHE"):
        made()


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the super-user may write anywhere"
)
def test_a_folder_without_permission_is_told(folder):
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    with pytest.raises(DataError, match="not written"):
        made()


def test_what_another_process_puts_there_meanwhile_is_not_taken(monkeypatch):
    """Another seed, say: its file takes the place of ours after ours was found right, and before it is opened."""
    made()
    opened, others = module.safe_open, [lambda: made("b", CONTENT[::-1])]

    def late(*arguments):
        if others:
            others.pop()()
        return opened(*arguments)

    monkeypatch.setattr(module, "safe_open", late)
    tensor, calls = made()
    assert not others and calls == 1 and np.array_equal(tensor.numpy(), CONTENT)


@pytest.mark.parametrize("before", (False, True), ids=("composing", "loading"))
def test_what_a_killed_process_left_is_deleted_once_it_is_old(folder, before):
    if before:
        made()
    folder.mkdir(parents=True, exist_ok=True)
    old, young = folder / ".thing.safetensors.1.part", folder / ".thing.safetensors.2.part"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - ABANDONED - 5,) * 2)
    made()
    assert not old.exists() and young.exists()
