"""A model, a dataset and a measure are added to a copy of the clone, as CONTRIBUTING.md says.

Nothing is patched: the copy's own commands train, measure, show and verify what was added. No file
of the library changes.
"""

import os
import shutil
import subprocess
import sys

import pytest
from unbraid import records

# What is added: the file here, and its place in the copy.
ADDED = {
    "toy.py": "papers/toy/variants.py",
    "toy.toml": "papers/toy/runs.toml",
    "squares.py": "papers/toy/squares.py",
}
# What is edited: the file, a line of it, and what comes after this line.
EDITED = (
    (
        "papers/datasets.py",
        "from papers.settings import RunSettings\n",
        "from papers.toy import squares\n",
    ),
    (
        "papers/datasets.py",
        "LOADERS: dict[str, Callable[..., Sequences]] = {\n",
        '    "squares": squares.load,\n',
    ),
    (
        "papers/evaluation.py",
        "    figures |= code_probes(train, test, seed)\n",
        "    figures |= brightness(model, test)\n",
    ),
    (
        "papers/evaluation.py",
        "from papers.settings import Jobs, RunSettings, load, select_runs\n",
        """

def brightness(model: SequenceModel, test: encoded.Encoded) -> Figures:
    \"\"\"brightness: the mean of all decoded pixels of the test sequences.\"\"\"
    return {"brightness": decode_all(model, test.codes).mean().item()}
""",
    ),
)
TABLES = """
introduction = "# Results"

[[table]]
title = "Squares"
introduction = "How bright they are."
results = "toy/squares/smoke"
columns = [{ figure = "brightness", title = "brightness", digits = 3 }]
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
    (copy / "results" / "tables.toml").write_text(TABLES)
    for name, place in ADDED.items():
        shutil.copy(root / "tests" / "extending" / name, copy / place)
    for name, line, more in EDITED:
        text = (copy / name).read_text()
        assert text.count(line) == 1, f"{name}: expected {line!r} once"
        (copy / name).write_text(text.replace(line, line + more))
    return copy


def test_what_is_added_is_trained_measured_shown_and_verified(copy):
    folders = os.pathsep.join([str(copy), str(copy / "lib")])
    environment = os.environ | {"PYTHONPATH": folders, "UNBRAID_HOME": str(copy)}

    def call(*arguments):
        command = [sys.executable, "-m", "papers", *arguments]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    smoke = ("toy", "--profile", "smoke", "--results", "results")
    call("train", *smoke)
    call("evaluate", *smoke, "--write")
    assert "agree" in call("verify", "--only", "*")

    where = copy / "results" / "toy" / "squares" / "smoke"
    curve = records.read_csv(where / "toy-seed0.training.csv")
    assert curve[-1]["elbo_per_frame"] > curve[0]["elbo_per_frame"]
    metrics = records.read_json(where / "metrics.json")
    assert 0.05 < metrics["toy"]["brightness"] < 0.95 and "elbo_per_frame" in metrics["toy"]
    assert metrics["toy"]["static_probe_grey"] > 0.5 and "static_probe_column" in metrics["toy"]
    page = (copy / "results" / "README.md").read_text()
    assert f"| toy | {metrics['toy']['brightness']:.3f} |" in page
