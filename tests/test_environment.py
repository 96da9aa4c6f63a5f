"""The files around the library agree: requirements, lock, environments, Makefile, workflow."""

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
EXTRAS = dict(PROJECT["optional-dependencies"])
GRADERS = [Requirement(line) for line in EXTRAS.pop("grading")]  # never locked: apart
GROUPS = [PROJECT["dependencies"], *EXTRAS.values()]
DECLARED = [Requirement(line) for group in GROUPS for line in group]
LINES = [
    line
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if line and not line.startswith("#")
]
LOCK = {canonicalize_name(Requirement(line).name): Requirement(line) for line in LINES}


def test_the_lock_pins_every_line_once():
    pin = re.compile(r'[\w.-]+==[\w.]+(; platform_system == "\w+")?')
    assert [line for line in LINES if not pin.fullmatch(line)] == []
    assert len(LOCK) == len(LINES) and sorted(LINES, key=str.lower) == LINES


@pytest.mark.parametrize("requirement", DECLARED, ids=lambda requirement: requirement.name)
def test_the_lock_meets_what_is_declared(requirement):
    (pin,) = LOCK[canonicalize_name(requirement.name)].specifier
    assert requirement.specifier.contains(pin.version)


def test_the_lock_is_complete():
    """What a package of the lock needs here is locked too; CUDA libraries are PyTorch's affair."""
    missing = set()
    for name in LOCK.keys() - {"torch"}:
        try:
            needed = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:  # of another platform
            continue
        for other in needed:
            is_needed = not other.marker or other.marker.evaluate({"extra": ""})
            if is_needed and canonicalize_name(other.name) not in LOCK:
                missing.add(f"{name} needs {other.name}")
    assert missing == set()


def test_the_graders_are_pinned_apart_from_the_lock():
    pins = re.findall(r"[\w-]+==[\d.]+", make("-n", "-B", "grading", "PYTHON=python").stdout)
    pinned = {Requirement(line).name: Requirement(line) for line in pins}
    for requirement in GRADERS:
        (pin,) = pinned[requirement.name].specifier
        assert requirement.specifier.contains(pin.version) and requirement.name not in LOCK


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


def make(*arguments, cwd=ROOT):
    """`make` with the clone's Makefile."""
    command = ["make", "-s", "-f", ROOT / "Makefile", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_make_knows_every_target_that_it_lists():
    targets = [line.split()[1] for line in make("help").stdout.splitlines()]
    assert len(targets) > 10
    for target in targets:
        done = make("-n", target, "PYTHON=python")
        assert done.returncode == 0 and done.stdout, target


@pytest.fixture
def folder(tmp_path):
    """A folder with the lock and nothing else, for `make` to work in."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    (folder / "requirements.lock").write_bytes((ROOT / "requirements.lock").read_bytes())
    return folder


def write_program(path, code):
    """A shell script that takes the place of a program."""
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)
    return path


def test_make_refuses_an_unfit_python(folder):
    python = write_program(folder / "python", "exit 1")
    done = make("env", f"PYTHON3={python}", cwd=folder)
    assert done.returncode != 0 and "Unbraid needs Python 3.11, 3.12 or 3.13" in done.stdout


def test_make_clean_keeps_trained_models(folder):
    for name in ("results/own.safetensors", "run/00.ipynb"):
        path = folder / "build" / name
        path.parent.mkdir(parents=True)
        path.touch()
    for name in ("lib", "papers", "tests", "tools", "notebooks"):
        (folder / name).mkdir()
    assert make("clean", cwd=folder).returncode == 0
    assert [path.name for path in (folder / "build").rglob("*")] == ["results", "own.safetensors"]


@pytest.mark.parametrize("choice", ("ONLY=13", "NB=13"))
@pytest.mark.parametrize("target", ("run", "fresh", "student", "pages", "assignment"))
def test_make_hands_on_which_notebooks_are_chosen(target, choice):
    assert '--only "13"' in make("-n", target, choice, "PYTHON=python").stdout


@pytest.mark.parametrize("choice", ((), ("LAB=--no-browser",)))
def test_make_lab_names_the_option_that_root_needs(folder, monkeypatch, choice):
    write_program(folder / "id", "echo 0")
    python = write_program(folder / "python", "exit 0")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    command = ("lab", f"PYTHON=./{python.name}")
    done = make(*command, *choice, cwd=folder)
    assert done.returncode != 0 and "make lab LAB=--allow-root" in done.stdout
    assert make(*command, "LAB=--allow-root", cwd=folder).returncode == 0


def test_make_lab_says_what_an_environment_lacks(folder):
    python = write_program(folder / "python", "exit 1")
    done = make("lab", f"PYTHON=./{python.name}", cwd=folder)
    assert done.returncode != 0 and "has no JupyterLab" in done.stdout


def test_what_is_installed_is_the_library_alone():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert packages["packages"]["find"]["where"] == ["lib"]
    assert [path.name for path in (ROOT / "lib").iterdir() if (path / "__init__.py").exists()] == [
        "unbraid"
    ]
