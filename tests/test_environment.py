"""The files around the library agree: requirements, lock, environments, Makefile, workflow."""

import re
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
EXTRAS.pop("grading")  # in an environment of its own
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


def test_python_versions_agree():
    fit = SpecifierSet(PROJECT["requires-python"])
    assert [minor for minor in range(8, 20) if fit.contains(f"3.{minor}")] == [11, 12, 13]
    python = next(line for line in CONDA if str(line).startswith("python="))
    assert fit.contains(python.removeprefix("python="))
    hosted = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())
    assert hosted["jobs"]["locked"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_no_address_of_a_package_index_is_written_down():
    locks = "requirements.lock .github/requirements.hashes tools/site/package-lock.json"
    for name in f"{locks} Makefile .ci/run".split():
        text = (ROOT / name).read_text()
        assert not re.search(r"index-url|find-links|/simple\b|/whl/", text), name


def test_make_keeps_memory_as_runs_do():
    text = (ROOT / "Makefile").read_text("utf-8")
    assert dict(re.findall(r"(?m)^(MALLOC_\w+) \?= (\d+)$", text)) == MALLOC
