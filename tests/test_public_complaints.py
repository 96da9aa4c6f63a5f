"""Inputs of public complaints: each is read, or refused in a sentence with its remedy."""

import errno
import os
import shutil
import time
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from unbraid import leakage_matrix, ross
from unbraid.data import fetch, street
from unbraid.files import Lasting, hold, write_atomically
from unbraid.training import keep_alone

# What a program answers, and what is found wrong with it.
PROGRAMS = {"ffmpeg version 4.2.2-static": r"4\.2\.2-static", "avconv version 12": "avconv"}
PROGRAMS |= {"ffmpeg version n5.1.4": "", "ffmpeg version N-109": ""}


@pytest.mark.skipif(os.name == "nt", reason="a program of a shell")
@pytest.mark.parametrize("says, found", PROGRAMS.items())
def test_a_program_that_is_too_old_or_another_is_named(says, found, monkeypatch, tmp_path):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho {says}\n")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    street.find_ffmpeg.cache_clear()
    try:
        if not found:
            assert street.find_ffmpeg() == str(program)
        else:
            with pytest.raises(ValueError, match=rf"^ffmpeg: .*5\.1 or newer.* found {found}"):
                street.find_ffmpeg()
    finally:
        street.find_ffmpeg.cache_clear()


def deny(code):
    return Mock(side_effect=OSError(code, os.strerror(code)))


def test_a_file_is_written_where_modes_cannot_be_set(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "copymode", deny(errno.EPERM))
    monkeypatch.setattr(os, "chmod", deny(errno.EPERM))
    for content in (b"one", b"two"):
        write_atomically(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == b"two"


def test_what_cannot_be_replaced_or_read_stays_and_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_atomically(path, b"one")
    for name in ("replace", "unlink"):  # as where another program has the file open
        monkeypatch.setattr(os, name, deny(errno.EBUSY))
    says = r"expected to write this file .*; .* name another folder: '.*a'$"
    with pytest.raises(OSError, match=says):
        write_atomically(path, b"two")
    assert path.read_bytes() == b"one"


@pytest.mark.parametrize("code", (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP))
def test_where_there_are_no_locks_the_work_is_done_and_this_is_said(
    code, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", deny(code))
    path = tmp_path / "lock"
    path.touch()  # by a command before, on a system that has locks
    lock = FileLock(path, is_singleton=True)
    with hold(lock), hold(lock):  # as `update` does, which copies new notebooks
        assert capsys.readouterr().err.startswith(f"{path}: expected locks, found")
    with keep_alone(path, "name another"):
        assert path.exists()
    assert not path.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk of Linux")
def test_a_full_disk_under_the_output_does_not_end_the_work(capfd):
    with open("/dev/full", "w") as stream:
        output = Lasting(stream)
        output.write("line")
        output.flush()
    assert "No space left on device; the work goes on" in capfd.readouterr().err


def test_without_a_home_folder_the_remedy_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(fetch, "repository_root", lambda: None)
    monkeypatch.delenv("UNBRAID_CACHE", raising=False)
    monkeypatch.setattr(os.path, "expanduser", str)
    with pytest.raises(fetch.DataError, match="set UNBRAID_CACHE to a folder"):
        fetch.cache_directory()
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path))
    assert fetch.cache_directory() == tmp_path.resolve()


def test_what_a_killed_process_left_is_swept_after_a_day(tmp_path):
    write_atomically(tmp_path / "a", b"one")
    old, new, other = (tmp_path / name for name in (".a.12", ".a.34", ".b.12"))
    for path in (old, new, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (0, time.time() - 90_000))
    write_atomically(tmp_path / "a", b"two")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.34", ".b.12", "a"]


def test_text_of_numpy_and_of_pandas_is_text():
    random = np.random.default_rng(0)
    numbers = random.integers(4, size=300)
    code = random.normal(size=(300, 3)) + np.eye(4)[numbers][:, :3]
    names = [f"c{n}" for n in numbers]
    right = ross(code, numbers).estimate
    kinds = [pd.Series(names), pd.array(names, dtype="string"), np.array(names, object)]
    if hasattr(np.dtypes, "StringDType"):
        kinds.append(np.array(names, np.dtypes.StringDType()))
    for labels in kinds:
        assert ross(code, labels).estimate == pytest.approx(right)
        assert leakage_matrix({"z": code}, {"c": labels})["z", "c"] > 0.1
    for gap in (None, np.nan, pd.NA):
        labels = np.array(names, object)
        labels[5] = gap
        with pytest.raises(ValueError, match=r"^labels: .*none missing.* at \[5\]"):
            ross(code, labels)
        with pytest.raises(ValueError, match=r"^factor 'c': .*at \[5\]"):
            leakage_matrix({"z": code}, {"c": labels})
    named = np.where(numbers == 0, "None", names).astype(object)  # a class of this name
    assert ross(code, named).estimate == pytest.approx(right)
