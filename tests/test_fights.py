"""Six of the pairs of tests/fights.py: commands at once do each other no harm, and leave nothing.

Locks, refusals and sweeping have tests of their own: test_runs.py, test_fetch.py, test_desk.py.
"""

import os
import subprocess
import sys
from pathlib import Path

SEEDS = ("18", "19", "20", "7", "9", "13")  # a run twice, files twice, an array, a desk


def test_commands_at_once_end_as_one_after_another(root, tmp_path):
    command = [sys.executable, Path(__file__).with_name("fights.py"), tmp_path / "ring", *SEEDS]
    one = os.environ | {"OMP_NUM_THREADS": "1"}  # A process that is forked has one thread.
    done = subprocess.run(command, env=one, cwd=root, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.endswith("6 pairs, 0 with faults\n")
    assert done.stdout.count("one killed: as undisturbed") == 4
    assert list((tmp_path / "ring").iterdir()) == []
