"""Progress bars: shown in a terminal and in a notebook, hidden where nobody watches."""

import io
import sys

import pytest
from unbraid.progress import is_watched, progress_bar


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


@pytest.mark.parametrize("stream", (Terminal(), OutStream()))
def test_a_bar_is_shown_where_somebody_watches(stream, monkeypatch):
    watch(stream, monkeypatch)
    assert list(progress_bar(range(3), "updates")) == [0, 1, 2]
    assert "updates" in stream.getvalue()


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
