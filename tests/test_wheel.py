"""The wheel outside of the clone, in an environment that holds nothing else of ours.

The other packages are borrowed from this environment; nothing is downloaded.
"""

import ast
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import NOTEBOOKS, parse_code
from test_from_outside import OUTSIDE

ROOT = Path(__file__).resolve().parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
PACKAGES = {"unbraid", "unbraid_course", "unbraid_own"}
APART = ("--no-index", "--no-deps", "--no-build-isolation")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def run(*command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel."""
    to = tmp_path_factory.mktemp("wheel")
    built = run(*PIP, "wheel", *APART, "--wheel-dir", to, ROOT)
    assert built.returncode == 0, built.stderr[-3000:]
    (path,) = to.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def outside(wheel):
    """A function that runs the Python of an environment with the wheel, far from the clone."""
    folder = wheel.parent
    assert run(sys.executable, "-m", "venv", "--without-pip", folder / "venv").returncode == 0
    python = next(path for path in folder.glob("venv/*/python*") if path.is_file())
    installed = run(*PIP, "--python", python, "install", *APART, wheel)
    assert installed.returncode == 0, installed.stderr[-3000:]
    (package,) = folder.glob("venv/**/unbraid/__init__.py")
    # A line of its own for each folder: those of the borrowed environment's .pth files, such as
    # the one that names the clone, are not read.
    borrowed = [place for place in sys.path if place.endswith("-packages")]
    package.parents[1].joinpath("borrowed.pth").write_text("\n".join(borrowed))
    (folder / "elsewhere").mkdir()

    def call(*arguments):
        mine = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
        kept = {}
        for name, value in os.environ.items():
            if not name.startswith(("UNBRAID_", "PYTHON", "COV_")):
                kept[name] = value
        return run(python, *arguments, env=kept | mine, cwd=folder / "elsewhere")

    return call


def test_the_wheel_holds_the_packages_and_what_they_read(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == PACKAGES | {f"unbraid-{VERSION}.dist-info"}
    for path in (ROOT / "lib").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert path.relative_to(ROOT / "lib").as_posix() in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_codes_are_measured_and_a_class_of_ones_own_is_trained(outside, wheel):
    folder = wheel.parent / "elsewhere"
    random = np.random.default_rng(0)
    factors = random.integers(0, 3, 150)
    codes = np.eye(3)[factors] + 0.1 * random.normal(size=(150, 3))
    np.savez(folder / "codes.npz", static=codes)
    np.savez(folder / "factors.npz", colour=factors)
    measured = outside("-m", "unbraid_own", "measure", "codes.npz", "factors.npz")
    assert measured.returncode == 0 and "colour" in measured.stdout, measured.stderr[-2000:]
    (folder / "mine.py").write_text(OUTSIDE.replace("steps=300", "steps=100"))
    trained = outside("mine.py", folder, 1)
    assert trained.returncode == 0 and float(trained.stdout) > 0.9, trained.stderr[-2000:]


IMPORTS = """
import sys
from importlib.util import find_spec
print(*[name for name in ("papers", "tools", "tests") if find_spec(name)])
for line in open(sys.argv[1], encoding="utf-8"):
    exec(line)
print(sorted({name.split(".")[0] for name in sys.modules if name.startswith("unbraid")}))
"""


def test_what_notebooks_import_is_in_the_wheel(outside, wheel):
    """Each import, one after the other."""
    lines = {}
    for path in NOTEBOOKS:
        for node in ast.walk(parse_code(path)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                lines[ast.unparse(node)] = path.name
    # What a reader typed in a workshop; without it a page goes on with its own class.
    typed = ("from model_", "from measures ")
    lines = {line: name for line, name in lines.items() if not line.startswith(typed)}
    listed = wheel.parent / "imports.py"
    listed.write_text("\n".join(sorted(lines)), encoding="utf-8")
    done = outside("-c", IMPORTS, listed)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(lines) > 100 and done.stdout.splitlines() == ["", str(sorted(PACKAGES))]


CLONE = """
import os, sys
from unbraid import records
from unbraid.data import moving_digits, weather
from unbraid.models import SingleElement
run = "single_element/sprites/quick/single_element-seed0"
for call in weather.load, moving_digits.load_digits, lambda: records.weights(run):
    try:
        call()
    except RuntimeError as error:
        print(" ".join(str(error).split()))
os.environ["UNBRAID_HOME"] = sys.argv[1]
print(len(weather.load("test").frames))
print(SingleElement.load(records.weights(run)).code_names)
"""


def test_what_is_in_the_clone_alone_says_what_to_set_and_then_works(outside):
    done = outside("-c", CLONE, ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    *said, _, names = done.stdout.splitlines()
    assert len(said) == 3 and names == "('static', 'dynamic')"
    assert all("UNBRAID_HOME" in line for line in said)
