"""Progress bars: shown in a terminal and in a notebook, hidden where nobody watches."""

import io
import sys
from types import SimpleNamespace

import pytest
from unbraid.support.progress import is_watched, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watch(stream, monkeypatch):
    """Make `stream` the standard error, as it is outside pytest."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # pytest sets it anew when a test begins
    monkeypatch.delenv("UNBRAID_PROGRESS", raising=False)
    monkeypatch.setattr(sys, "stderr", stream)


class OutStream(io.StringIO):
    __module__ = "ipykernel.iostream"  # as that of a notebook


def test_a_terminal_shows_a_bar_beside_what_a_command_prints(monkeypatch, capsys):
    stream = Terminal()
    watch(stream, monkeypatch)
    assert list(progress_bar(range(3), "updates")) == [0, 1, 2]
    assert "updates" in stream.getvalue() and not capsys.readouterr().out


def test_a_notebook_shows_a_bar_that_leaves_no_red_line(monkeypatch, capsys):
    stream = OutStream()
    watch(stream, monkeypatch)
    assert list(progress_bar(range(3), "updates")) == [0, 1, 2]
    assert "updates" in capsys.readouterr().out and not stream.getvalue()


@pytest.mark.parametrize("place", ("pipe", "switched off", "test"))
def test_no_bar_is_shown_where_nobody_watches(place, monkeypatch):
    stream = io.StringIO() if place == "pipe" else Terminal()
    watch(stream, monkeypatch)
    if place == "switched off":
        monkeypatch.setenv("UNBRAID_PROGRESS", "off")
    if place == "test":
        monkeypatch.setenv("PYTEST_CURRENT_TEST", "some test")
    assert list(progress_bar(range(3), "updates")) == [0, 1, 2]
    assert stream.getvalue() == "" and not is_watched()


@pytest.mark.parametrize("asks", (True, False))
def test_a_notebook_that_runs_without_a_browser_is_not_watched(asks, monkeypatch):
    watch(OutStream(), monkeypatch)
    shell = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=asks))
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    assert is_watched() == asks
