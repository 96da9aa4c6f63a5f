"""A model, a dataset and a measure are added to a copy of the clone, as CONTRIBUTING.md says.

Nothing is patched: the copy's own commands train, measure, show and verify what was added. Each
takes at most two files, and no file of the library that was there before changes, so that no
notebook becomes stale.
"""

import os
import shutil
import subprocess
import sys

import pytest
from unbraid import store

# What is added: the file here, and its place in the copy.
ADDED = {
    "toy.py": "lib/unbraid/models/toy.py",
    "toy.toml": "papers/toy.toml",
    "squares.py": "lib/unbraid/data/squares.py",
}
# What is edited: the file, a line of it, and what comes after this line.
EDITED = (
    ("papers/datasets.py", "from unbraid.data import (\n", "    squares,\n"),
    (
        "papers/datasets.py",
        "LOADERS: dict[str, Callable[..., Sequences]] = {\n",
        '    "squares": squares.load,\n',
    ),
    (
        "papers/evaluation/generic.py",
        "    figures |= code_probes(train, test, seed)\n",
        "    figures |= brightness(model, test)\n",
    ),
    (
        "papers/evaluation/generic.py",
        "PAIR = 4  # the seed of the clips in the picture\n",
        """

def brightness(model: SequenceModel, test: Encoded) -> Figures:
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


@pytest.fixture(scope="module")
def copy(root, tmp_path_factory):
    """A copy of the clone's programs with what is added, and with a table of its own."""
    copy = tmp_path_factory.mktemp("copy")
    for folder in ("lib", "papers"):
        skipped = shutil.ignore_patterns("__pycache__", "*.egg-info", "claims.toml")
        shutil.copytree(root / folder, copy / folder, ignore=skipped)
    for name in ("notebooks", "data", "results"):
        (copy / name).mkdir()
    (copy / "results" / "tables.toml").write_text(TABLES)
    for name, place in ADDED.items():
        shutil.copy(root / "tests" / "extending" / name, copy / place)
    for name, line, more in EDITED:
        text = (copy / name).read_text()
        assert text.count(line) == 1, f"{name}: expected {line!r} once"
        (copy / name).write_text(text.replace(line, line + more))
    return copy


@pytest.fixture(scope="module")
def run(copy):
    """Run a Python program of the copy; what it prints."""

    def run(*arguments):
        folders = os.pathsep.join([str(copy), str(copy / "lib")])
        environment = os.environ | {"PYTHONPATH": folders, "UNBRAID_HOME": str(copy)}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_what_is_added_is_trained_measured_shown_and_verified(copy, run):
    smoke = ("toy", "--profile", "smoke", "--results", "results")
    run("-m", "papers", "train", *smoke)
    run("-m", "papers", "evaluate", *smoke, "--write")
    assert "agree" in run("-m", "papers", "verify", "--again", "--all")

    where = copy / "results" / "toy" / "squares" / "smoke"
    curve = store.read_csv(where / "toy-seed0.training.csv")
    assert curve[-1]["elbo_per_frame"] > curve[0]["elbo_per_frame"]
    metrics = store.read_json(where / "metrics.json")
    assert 0.05 < metrics["toy"]["brightness"] < 0.95 and "elbo_per_frame" in metrics["toy"]
    assert "decoded pixels" in metrics["protocol"]["brightness"]
    assert metrics["toy"]["static_probe_grey"] > 0.5 and "static_probe_column" in metrics["toy"]
    page = (copy / "results" / "README.md").read_text()
    assert f"| toy | {metrics['toy']['brightness']:.3f} |" in page
    program = "from unbraid.models.base import SequenceModel as Model; "
    program += "print(type(Model.load('toy/squares/smoke/toy-seed0')).__name__)"
    assert run("-c", program) == "Toy\n"


def test_no_file_of_the_library_changes_for_it(root, copy):
    changed = set()
    for folder in ("lib", "papers"):
        for path in (*(root / folder).rglob("*.py"), *(root / folder).rglob("*.toml")):
            name = path.relative_to(root).as_posix()
            if name != "papers/claims.toml" and path.read_bytes() != (copy / name).read_bytes():
                changed.add(name)
    assert changed == {name for name, _, _ in EDITED}
    assert not any(name.startswith("lib/") for name in changed)
    assert all(not (root / place).exists() for place in ADDED.values())
