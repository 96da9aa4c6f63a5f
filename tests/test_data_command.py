"""python -m unbraid: data of the clone, mistakes in one message."""

import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
from unbraid import __main__ as command
from unbraid.data.fetch import SOURCES


@pytest.fixture
def call(data_of_the_clone, call_program):
    """A function that runs a command with the clone's data alone: its exit code and its output."""
    return partial(call_program, command.main)


def test_the_data_are_listed_and_verified_and_what_is_damaged_is_named(call, data_of_the_clone):
    code, printed = call("data", "list")
    names = [line.split()[0] for line in printed.splitlines() if not line.startswith(" ")]
    assert code == 0 and names == list(SOURCES)
    assert "2 of 4 files here; all by python -m unbraid data fetch mnist" in printed
    path = data_of_the_clone / "etth1" / "ETTh1.csv"
    path.parent.mkdir(parents=True)
    path.write_text("damaged")
    code, printed = call("data", "verify")
    assert code == 1 and f"error: {path}" in printed
    assert "mnist-sample: all files" in printed and "cmu-faces: not all files" in printed


def test_one_set_that_cannot_be_fetched_stops_no_other(call, monkeypatch):
    row = replace(SOURCES["vowels"], name="gone", url="http://127.0.0.1:9/")
    monkeypatch.setitem(SOURCES, "gone", row)
    code, printed = call("data", "fetch", "gone", "vowels")
    assert code == 1 and "vowels: 2 files" in printed and "error: gone" in printed


def test_who_stops_reading_stops_the_command_without_a_word():
    command = [sys.executable, "-m", "unbraid", "data", "list"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as listing:
        listing.stdout.close()
        assert listing.stderr.read() == b"" and listing.wait() == 0


def test_names_of_datasets_and_sources_give_sources_and_others_one_message(call):
    names = command.select_sources(["sprites", "sprites_poses", "etth1", "moving_digits"])
    assert names == ["sprites-li", "etth1", "mnist", "mnist-sample"]
    code, printed = call("data", "list", "Sprites")
    assert code == 1 and printed.count("error:") == 1 and "did you mean sprites" in printed
