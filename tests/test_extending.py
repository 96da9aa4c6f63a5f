"""A dataset, a model and a measure are added to a copy of the clone, as CONTRIBUTING.md says.

The files of tests/extending are laid into the copy, and the commands of CONTRIBUTING.md are run
there as they are printed. So a name, a command or a promise there that is wrong turns this red.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import pytest
from unbraid import records

COPIED = ("lib", "papers", "tools", "tests", "pyproject.toml", "REUSE.toml")
SKIPPED = shutil.ignore_patterns("__pycache__", "*.egg-info", "claims.toml", "node_modules")
SECTION = "\n## Add a model, a dataset, a measure\n"

PAPERS = """
import shlex
import sys

from papers.__main__ import main

for line in sys.argv[1:]:
    sys.argv = ["papers", *shlex.split(line)]
    try:
        main()
    except SystemExit as end:
        assert not end.code, line
"""


@pytest.fixture(scope="module")
def section(root):
    """What CONTRIBUTING.md says on this."""
    page = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return page.partition(SECTION)[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def commands(section):
    """Its commands, without comments; all of them are Python's."""
    block = section.split("```")[1]
    lines = [line.partition("#")[0].strip() for line in block.splitlines() if line.strip()]
    assert all(line.startswith("python -m ") for line in lines), lines
    return [line.removeprefix("python -m ") for line in lines]


@pytest.fixture(scope="module")
def copy(root, tmp_path_factory):
    """A copy of the clone's programs with what is added, and with a table of its own."""
    copy = tmp_path_factory.mktemp("extending") / "copy"
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, copy / name, ignore=SKIPPED)
        else:
            shutil.copy2(root / name, copy / name)
    if (root / ".mypy_cache").is_dir():  # of files that are the same here; else it takes longer
        shutil.copytree(root / ".mypy_cache", copy / ".mypy_cache")
    for name in ("notebooks", "data", "results"):
        (copy / name).mkdir()
    shutil.copy2(root / "data" / "README.md", copy / "data")

    shutil.copytree(root / "tests" / "extending", copy, dirs_exist_ok=True)
    edits = tomllib.loads((copy / "edits.toml").read_text(encoding="utf-8"))
    for edit in edits["edit"]:
        text, line = (copy / edit["file"]).read_text(encoding="utf-8"), edit["after"] + "\n"
        assert text.count(line) == 1, f"{edit['file']}: expected {line!r} once"
        (copy / edit["file"]).write_text(text.replace(line, line + edit["add"]), encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def run(root, copy):
    """A function that runs Python in the copy, which must succeed; gives what was printed."""
    folders = os.pathsep.join([".", "lib"])
    places = {"UNBRAID_HOME": str(copy), "UNBRAID_MIRROR": str(root / "data")}
    environment = os.environ | {"PYTHONPATH": folders} | places

    def run(*arguments):
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_what_is_added_is_trained_measured_shown_and_verified(copy, run, commands):
    lines = [line.removeprefix("papers ") for line in commands if line.startswith("papers ")]
    said = run("-c", PAPERS, *lines)  # in one process, which imports once
    assert len(lines) == 3 and "measured again" in said and "agree" in said

    where = copy / "results" / "toy" / "squares" / "smoke"
    curve = records.read_csv(where / "toy-seed0.training.csv")
    assert curve[-1]["elbo_per_frame"] > curve[0]["elbo_per_frame"]
    metrics = records.read_json(where / "metrics.json")
    assert 0.05 < metrics["toy"]["brightness"] < 0.95 and "elbo_per_frame" in metrics["toy"]
    assert metrics["toy"]["static_probe_grey"] > 0.5 and "static_probe_column" in metrics["toy"]
    assert re.search(rf"(?m)^brightness +{metrics['toy']['brightness']:.2f}$", said)


def test_with_what_is_added_types_and_tests_are_still_green(run, commands):
    """Its own files are checked for types, and the tests know the new module and dataset."""
    lines = [shlex.split(line) for line in commands if not line.startswith("papers ")]
    assert [line[:2] for line in lines[:2]] == [["ruff", "format"], ["ruff", "check"]]
    assert [line[0] for line in lines[2:]] == ["mypy", "pytest"]
    for line in lines:
        run("-m", *line)
