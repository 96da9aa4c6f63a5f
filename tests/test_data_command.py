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


def test_one_set_that_cannot_be_fetched_stops_no_other(call, monkeypatch):
    row = replace(SOURCES["weather"], name="gone", url="http://127.0.0.1:9/")
    monkeypatch.setitem(SOURCES, "gone", row)
    code, printed = call("data", "fetch", "gone", "weather")
    assert code == 1 and "weather: 1 files" in printed and "error: gone" in printed


def test_the_version_needs_no_installed_package():
    """As in a checkout that is only on the path, where the system knows no version of it."""
    code = "import importlib.metadata as m; m.version = m.distribution = None; import sys, runpy;"
    code += "sys.argv[1:] = ['--version']; runpy.run_module('unbraid', run_name='__main__')"
    assert subprocess.check_output([sys.executable, "-c", code]).startswith(b"unbraid 2")


def test_who_stops_reading_stops_the_command_without_a_word():
    command = [sys.executable, "-u", "-m", "unbraid", "data", "fetch", "mnist-sample"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as fetching:
        fetching.stdout.close()
        assert fetching.stderr.read() == b""


def test_names_of_datasets_and_sources_give_sources_and_others_one_message(call):
    names = command.select_sources(["sprites", "sprites_poses", "etth1", "moving_digits"])
    assert names == ["sprites-li", "etth1", "mnist", "mnist-sample"]
    code, printed = call("data", "fetch", "Sprites")
    assert code == 1 and printed.count("error:") == 1 and "did you mean sprites" in printed
