"""The environment's files agree: pyproject.toml, requirements.lock, environment.yml, Makefile, hosted CI."""

import re
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = [
    Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
]
LINES = [
    line
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if line and not line.startswith("#")
]
LOCK = {canonicalize_name(Requirement(line).name): Requirement(line) for line in LINES}
TARGETS = {"run", "test", "lab", "notebooks", "data", "bench", "full", "clean", "help"}
SETUP_FILES = (
    "requirements.lock",
    "environment.yml",
    "pyproject.toml",
    "Makefile",
    ".ci/run",
    ".github/workflows/tests.yml",
)


def test_the_lock_pins_every_line_once():
    assert all(
        re.fullmatch(r'[\w.-]+==[\w.]+(; platform_system == "\w+")?', line) for line in LINES
    )
    assert len(LOCK) == len(LINES) and LINES == sorted(LINES, key=str.lower)


@pytest.mark.parametrize("requirement", DECLARED, ids=lambda requirement: requirement.name)
def test_the_lock_meets_what_is_declared(requirement):
    (pin,) = LOCK[canonicalize_name(requirement.name)].specifier
    assert requirement.specifier.contains(pin.version)


def test_the_lock_is_complete():
    """Whatever an installed package of the lock needs here is in the lock too (torch's CUDA libraries are its own affair)."""
    missing = set()
    for name in LOCK.keys() - {"torch"}:
        try:
            needed = map(Requirement, requires(name) or [])
        except PackageNotFoundError:  # of another platform
            continue
        here = {
            canonicalize_name(other.name)
            for other in needed
            if not other.marker or other.marker.evaluate({"extra": ""})
        }
        missing |= {f"{name} needs {other}" for other in here - LOCK.keys()}
    assert missing == set()


def test_python_versions_agree():
    fit = SpecifierSet(PROJECT["requires-python"])
    assert [minor for minor in range(8, 20) if fit.contains(f"3.{minor}")] == [11, 12, 13]
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    python = next(line for line in conda["dependencies"] if str(line).startswith("python="))
    assert fit.contains(python.removeprefix("python="))
    hosted = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())
    assert hosted["jobs"]["locked"]["strategy"]["matrix"]["python"] == ["3.11", "3.13"]


def test_conda_installs_the_lock_and_the_project():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert {"pip": ["-r requirements.lock", "-e ."]} in conda["dependencies"]


@pytest.mark.parametrize("name", SETUP_FILES)
def test_no_address_of_a_registry_is_written_down(name):
    assert not re.search(r"://|--(extra-)?index|find-links", (ROOT / name).read_text())


def make(*arguments):
    return subprocess.run(["make", "-s", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_make_lists_its_targets_and_each_is_short():
    listed = make("help").stdout
    assert {line.split()[1] for line in listed.splitlines()} == TARGETS
    rules = re.findall(r"^[a-z]+:.*\n((?:\t.*\n)*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert len(rules) == len(TARGETS) and all(1 <= len(rule.splitlines()) <= 3 for rule in rules)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_make_knows_every_target(target):
    done = make("-n", target, "PYTHON=python")
    assert done.returncode == 0 and done.stdout


def test_make_refuses_an_unfit_python(tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    done = subprocess.run(
        ["make", "-s", "-f", ROOT / "Makefile", "run", f"PYTHON3={tmp_path / 'python'}"],
        cwd=copy_of_lock(tmp_path / "a clone"),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "Unbraid needs Python 3.11, 3.12 or 3.13" in done.stdout


def copy_of_lock(folder: Path) -> Path:
    """A folder with nothing but the lock in it."""
    folder.mkdir()
    (folder / "requirements.lock").write_bytes((ROOT / "requirements.lock").read_bytes())
    return folder


def test_ci_runs_make_test_and_nothing_else():
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert (
        lines[0] == "#!/usr/bin/env bash"
        and lines[1] == "set -euo pipefail"
        and lines[-1] == "make test"
    )
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
