"""A model, a dataset and a measure are added to a copy of the clone, as CONTRIBUTING.md says.

Nothing is patched: the copy's own commands train, measure, show and verify what was added. No file
of the library changes.
"""

import os
import shutil
import subprocess
import sys
import tomllib

import pytest
from unbraid import records

ADDED = {  # the file here, and its place in the copy
    "toy.py": "papers/toy/variants.py",
    "toy.toml": "papers/toy/runs.toml",
    "squares.py": "papers/toy/squares.py",
    "tables.toml": "results/tables.toml",
}

COMMANDS = """
import sys

from papers.__main__ import main

for line in sys.argv[1:]:
    sys.argv = ["papers", *line.split()]
    try:
        main()
    except SystemExit as end:
        assert not end.code, line
"""


@pytest.fixture
def copy(root, tmp_path):
    """A copy of the clone's programs with what is added, and with a table of its own."""
    copy = tmp_path / "copy"
    for folder in ("lib", "papers"):
        skipped = shutil.ignore_patterns("__pycache__", "*.egg-info", "claims.toml")
        shutil.copytree(root / folder, copy / folder, ignore=skipped)
    for name in ("notebooks", "data", "results", "papers/toy"):
        (copy / name).mkdir()
    for name, place in ADDED.items():
        shutil.copy(root / "tests" / "extending" / name, copy / place)
    edits = tomllib.loads((root / "tests" / "extending" / "edits.toml").read_text())
    for edit in edits["edit"]:
        text, line = (copy / edit["file"]).read_text(), edit["after"] + "\n"
        assert text.count(line) == 1, f"{edit['file']}: expected {line!r} once"
        (copy / edit["file"]).write_text(text.replace(line, line + edit["add"]))
    return copy


def test_what_is_added_is_trained_measured_shown_and_verified(copy):
    folders = os.pathsep.join([str(copy), str(copy / "lib")])
    environment = os.environ | {"PYTHONPATH": folders, "UNBRAID_HOME": str(copy)}
    smoke = "toy --profile smoke --results results"
    lines = f"train {smoke}", f"evaluate {smoke} --write", "verify --only *"
    command = [sys.executable, "-c", COMMANDS, *lines]  # in one process, which imports once
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "agree" in done.stdout, done.stdout + done.stderr

    where = copy / "results" / "toy" / "squares" / "smoke"
    curve = records.read_csv(where / "toy-seed0.training.csv")
    assert curve[-1]["elbo_per_frame"] > curve[0]["elbo_per_frame"]
    metrics = records.read_json(where / "metrics.json")
    assert 0.05 < metrics["toy"]["brightness"] < 0.95 and "elbo_per_frame" in metrics["toy"]
    assert metrics["toy"]["static_probe_grey"] > 0.5 and "static_probe_column" in metrics["toy"]
    page = (copy / "results" / "README.md").read_text()
    assert f"| toy | {metrics['toy']['brightness']:.3f} |" in page
