"""The files around the library agree: requirements, lock, environments, Makefile, workflow."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tools.execution import MALLOC

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = dict(PROJECT["optional-dependencies"])
GRADERS = [Requirement(line) for line in EXTRAS.pop("grading")]  # never locked: apart
GROUPS = [PROJECT["dependencies"], *EXTRAS.values()]
DECLARED = [Requirement(line) for line in sorted(set().union(*GROUPS))]
LOCKED = (ROOT / "requirements.lock").read_text().splitlines()
LINES = [line for line in LOCKED if line and not line.startswith("#")]
LOCK = {canonicalize_name(Requirement(line).name): Requirement(line) for line in LINES}
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


def test_the_lock_pins_every_line_once():
    pin = re.compile(r'[\w.-]+==[\w.]+(; platform_system == "\w+")?')
    assert [line for line in LINES if not pin.fullmatch(line)] == []
    assert len(LOCK) == len(LINES) and sorted(LINES, key=str.lower) == LINES


def test_each_pin_has_its_hashes():
    """`uv pip compile requirements.lock --generate-hashes --universal --no-header --no-annotate`.

    It has more packages than the lock: the CUDA libraries that PyTorch needs on Linux.
    """
    pins = re.split(r"(?m)^(?=\w)", (ROOT / ".github" / "requirements.hashes").read_text())[1:]
    assert all("--hash=sha256:" in pin for pin in pins)
    found = {canonicalize_name(pin.split("==")[0]): pin.split("==")[1].split()[0] for pin in pins}
    locked = {name: str(line.specifier)[2:] for name, line in LOCK.items()}
    assert locked.items() <= found.items()


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
    pins = re.findall(r"[\w-]+==[\d.]+", make("-n", "-B", "grading", "PYTHON=python"))
    pinned = {Requirement(line).name: Requirement(line) for line in pins}
    for requirement in GRADERS:
        (pin,) = pinned[requirement.name].specifier
        assert requirement.specifier.contains(pin.version) and requirement.name not in LOCK


def test_python_versions_agree():
    fit = SpecifierSet(PROJECT["requires-python"])
    assert [minor for minor in range(8, 20) if fit.contains(f"3.{minor}")] == [11, 12, 13]
    python = next(line for line in CONDA if str(line).startswith("python="))
    assert fit.contains(python.removeprefix("python="))
    hosted = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())
    assert hosted["jobs"]["locked"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_what_conda_leaves_to_pip_installs_into_an_empty_environment(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("lib", "papers", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.pyc"))
    (section,) = (part["pip"] for part in CONDA if isinstance(part, dict))
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable], cwd=tmp_path, check=True)
    command = [*uv, "pip", "install", "--python", ".venv", "--dry-run", "--no-deps"]
    given = [word for line in section for word in line.split()]
    done = subprocess.run([*command, *given], cwd=tmp_path, capture_output=True, text=True)
    if "Request failed" in done.stderr or "dns error" in done.stderr:
        pytest.skip("no registry of packages can be reached")
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("unbraid @", "torch==", "jupyterlab=="):
        assert f" + {name}" in done.stderr


def test_no_address_of_a_package_index_is_written_down():
    locks = "requirements.lock .github/requirements.hashes tools/site/package-lock.json"
    for name in f"{locks} Makefile .ci/run".split():
        text = (ROOT / name).read_text()
        assert not re.search(r"index-url|find-links|/simple\b|/whl/", text), name


# ---- make


def make(*arguments, cwd=ROOT, fails=False):
    """What `make` with the clone's Makefile prints."""
    command = ["make", "-s", "-f", ROOT / "Makefile", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert bool(done.returncode) == fails, done.stdout + done.stderr
    return done.stdout


def test_make_knows_every_target_that_it_lists_and_the_guide_speaks_of_them():
    groups = {}
    for line in make("help").splitlines():
        if line[0] != " ":
            targets = groups[line] = []
        else:
            targets.append(line.split()[1])
    assert list(groups) == ["learn", "teach", "your data", "maintain"]
    assert groups["your data"] == ["train", "measure"] and groups["learn"][0] == "lab"
    targets = sum(groups.values(), [])
    listed = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert sorted(targets) == sorted(listed)
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")]
    for target in targets:
        assert make("-n", target, "PYTHON=python"), target
        assert f"make {target}" in "".join(pages)


def test_make_keeps_memory_as_runs_do_and_a_users_own_value_stays(folder, monkeypatch):
    for name in MALLOC:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_TOP_PAD_", "0")
    write_program(folder / "python", "env")
    printed = make("train", "PYTHON=./python", cwd=folder)
    for name, value in (MALLOC | {"MALLOC_TOP_PAD_": "0"}).items():
        assert f"{name}={value}\n" in printed


@pytest.fixture
def folder(tmp_path):
    """A folder with the lock and nothing else, for `make` to work in."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    shutil.copy(ROOT / "requirements.lock", folder)
    return folder


def write_program(path, code):
    """A shell script that takes the place of a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "given, is_without_cuda",
    (
        ("lab DRIVER=", sys.platform == "linux"),
        ("env DRIVER=/usr/bin/nvidia-smi", False),
        ("lab DRIVER= TORCH=cuda", False),
        ("env DRIVER=/usr/bin/nvidia-smi TORCH=cpu", True),
    ),
)
def test_the_first_target_makes_the_environment_that_fits_the_machine(
    given, is_without_cuda, folder
):
    said = make("-n", *given.split(), cwd=folder)
    assert "pip install -r requirements.lock" in said and "pip install --no-deps" in said
    assert ("--torch-backend cpu" in said) == is_without_cuda


@pytest.mark.parametrize("reaches", (True, False))
def test_where_pytorchs_index_cannot_be_reached_one_sentence_says_what_comes_instead(
    reaches, folder
):
    calls = f'echo "$@" >> calls; case "$*" in *uv\\ pip*) exit {int(not reaches)};; esac'
    write_program(folder / ".venv/bin/python", calls)
    write_program(folder / ".venv/bin/pip", "exit 0")
    said = make(".venv/complete", "TORCH=cpu", f"PYTHON3={sys.executable}", cwd=folder)
    assert ("cannot be had from PyTorch" in said) != reaches
    calls = (folder / "calls").read_text()
    assert "uv pip install --python .venv/bin/python -r requirements.lock" in calls
    assert ("-m pip install -r requirements.lock" in calls) != reaches
    assert (folder / ".venv/complete").exists()


def test_make_refuses_an_unfit_python(folder):
    python = write_program(folder / "python", "exit 1")
    said = make("env", f"PYTHON3={python}", cwd=folder, fails=True)
    assert "Unbraid needs Python 3.11, 3.12 or 3.13" in said


def test_make_clean_keeps_trained_models(folder):
    for name in ("results/own.safetensors", "run/00.ipynb"):
        path = folder / "build" / name
        path.parent.mkdir(parents=True)
        path.touch()
    for name in ("lib", "papers", "tests", "tools", "notebooks"):
        (folder / name).mkdir()
    make("clean", cwd=folder)
    assert [path.name for path in (folder / "build").rglob("*")] == ["results", "own.safetensors"]


@pytest.mark.parametrize("choice", ("ONLY=13", "NB=13"))
@pytest.mark.parametrize("target", ("run", "compare", "student", "assignment"))
def test_make_hands_on_which_notebooks_are_chosen(target, choice):
    assert '--only "13"' in make("-n", target, choice, "PYTHON=python")


@pytest.mark.parametrize("choice", ((), ("LAB=--no-browser",)))
def test_make_lab_names_the_option_that_root_needs(folder, monkeypatch, choice):
    write_program(folder / "id", "echo 0")
    write_program(folder / "python", "exit 0")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    said = make("lab", "PYTHON=./python", *choice, cwd=folder, fails=True)
    assert "make lab LAB=--allow-root" in said
    make("lab", "PYTHON=./python", "LAB=--allow-root", cwd=folder)


def test_make_lab_says_what_an_environment_lacks(folder):
    write_program(folder / "python", "exit 1")
    assert "has no JupyterLab" in make("lab", "PYTHON=./python", cwd=folder, fails=True)
