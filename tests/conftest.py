"""What several test files share: workers and threads, commands, the clone's folder."""

import os
import sys
from pathlib import Path

import pytest

from papers import commands as cli

ROOT = Path(__file__).resolve().parents[1]
# papers/ and tools/ are in no installed package; commands in processes of their own find them too.
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])
)
# Small models gain nothing from a second thread, and on a busy machine threads wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_xdist_auto_num_workers() -> int:
    """With `-n auto`, one more than cores: a notebook's test often waits for its kernel."""
    from tools import execution  # with PyTorch, which reads what is set above

    return execution.count_cores() + 1


@pytest.fixture(autouse=True)
def no_profile_from_outside(monkeypatch):
    """What a test sees of the environment does not depend on the caller's."""
    monkeypatch.delenv("UNBRAID_PROFILE", raising=False)


@pytest.fixture
def call(monkeypatch, capsys):
    """A function that runs a command in this process: its exit code and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["papers", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out + printed.err

    return run


@pytest.fixture(scope="session")
def root() -> Path:
    """The clone."""
    return ROOT
