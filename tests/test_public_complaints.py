"""Inputs of public complaints: each is read, or refused in a sentence with its remedy."""

import errno
import os
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from unbraid import leakage_matrix, ross
from unbraid.data import fetch, street
from unbraid.files import write_atomically

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


def test_what_cannot_be_replaced_or_read_stays_and_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_atomically(path, b"one")
    for name in ("replace", "unlink"):  # as where another program has the file open
        monkeypatch.setattr(os, name, deny(errno.EBUSY))
    says = r"expected to write this file .*; .* name another folder: '.*a'$"
    with pytest.raises(OSError, match=says):
        write_atomically(path, b"two")
    assert path.read_bytes() == b"one"


def test_without_a_home_folder_the_remedy_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(fetch, "repository_root", lambda: None)
    monkeypatch.delenv("UNBRAID_CACHE", raising=False)
    monkeypatch.setattr(os.path, "expanduser", str)
    with pytest.raises(fetch.DataError, match="set UNBRAID_CACHE to a folder"):
        fetch.cache_directory()
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path))
    assert fetch.cache_directory() == tmp_path.resolve()


def test_text_of_numpy_and_of_pandas_is_text():
    random = np.random.default_rng(0)
    numbers = random.integers(4, size=300)
    code = random.normal(size=(300, 3)) + np.eye(4)[numbers][:, :3]
    names = [f"c{n}" for n in numbers]
    right = ross(code, numbers).estimate
    kinds = [pd.Series(names), pd.array(names, dtype="string"), np.array(names, object)]
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
