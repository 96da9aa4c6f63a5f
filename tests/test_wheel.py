"""The wheel outside of the clone, in an environment that holds nothing else of ours.

The other packages are borrowed from this environment; nothing is downloaded.
"""

import ast
import os
import subprocess
import sys
import tarfile
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
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "lib", "papers", "tests")
APART = ("--no-index", "--no-deps", "--no-build-isolation")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def run(*command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of what is built, so that the clone stays as it is."""
    folder = tmp_path_factory.mktemp("built") / "clone"
    listing = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    tracked = run(*listing, *SOURCES, cwd=ROOT)
    if tracked.returncode:
        pytest.skip("not a git checkout: which files belong to the library is not known")
    for name in filter(lambda name: (ROOT / name).exists(), tracked.stdout.splitlines()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def build_wheel(source, to):
    """The wheel of a folder or of an sdist, and the names of its files."""
    built = run(*PIP, "wheel", *APART, "--wheel-dir", to, source)
    assert built.returncode == 0, built.stderr[-3000:]
    (path,) = to.glob("*.whl")
    return path, zipfile.ZipFile(path).namelist()


@pytest.fixture(scope="module")
def wheel(copy):
    """The wheel, and the names of the files in it."""
    return build_wheel(copy, copy.parent / "wheel")


def build(source, kind):
    """An sdist, or the wheel that `pip install -e` installs."""
    to = source.parent / f"built {kind}"
    to.mkdir()
    code = f"from hatchling import build; build.build_{kind}({str(to)!r})"
    built = run(sys.executable, "-c", code, cwd=source)
    assert built.returncode == 0, built.stderr[-3000:]
    (path,) = to.iterdir()
    return path


def make_environment(folder, *what):
    """The Python of a new environment in which this is installed."""
    assert run(sys.executable, "-m", "venv", "--without-pip", folder).returncode == 0
    python = next(path for path in folder.glob("*/python*") if path.is_file())
    installed = run(*PIP, "--python", python, "install", *APART, *what)
    assert installed.returncode == 0, installed.stderr[-3000:]
    return python


@pytest.fixture(scope="module")
def outside(copy, wheel):
    """A function that runs the Python of an environment with the wheel, far from the clone."""
    folder = copy.parent
    python = make_environment(folder / "venv", wheel[0])
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
    names = wheel[1]
    tops = {name.split("/")[0] for name in names}
    assert tops == PACKAGES | {f"unbraid-{VERSION}.dist-info"}
    for path in (ROOT / "lib").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert path.relative_to(ROOT / "lib").as_posix() in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_an_sdist_has_no_tests_and_gives_the_same_wheel(copy, wheel):
    sdist = build(copy, "sdist")
    with tarfile.open(sdist) as archive:
        parts = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert {"lib", "LICENSE"} < parts and not parts & {"tests", "papers"}
    assert build_wheel(sdist, copy.parent / "of sdist")[1] == wheel[1]


def test_an_editable_install_finds_papers_in_the_clone(copy):
    python = make_environment(copy.parent / "editable", build(copy, "editable"))
    code = "from importlib.util import find_spec as find\n"
    code += "print(find('papers.settings').origin, find('unbraid.codes').origin)"
    found = run(python, "-c", code, cwd=copy.parent, env={})
    places = copy / "papers" / "settings.py", copy / "lib" / "unbraid" / "codes.py"
    assert found.stdout.split() == [*map(str, places)], found.stderr


def test_the_installed_library_is_the_one_of_the_wheel(outside, copy):
    printed = outside("-c", "import unbraid; print(unbraid.__version__, unbraid.__file__)").stdout
    assert printed.startswith(f"{VERSION} {copy.parent / 'venv'}")
    assert outside("-m", "unbraid", "--version").stdout == f"unbraid {VERSION}\n"


def test_codes_are_measured_and_a_class_of_ones_own_is_trained(outside, copy):
    folder = copy.parent / "elsewhere"
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


def test_what_notebooks_import_is_in_the_wheel(outside, copy):
    """Each import, one after the other."""
    lines = {}
    for path in NOTEBOOKS:
        for node in ast.walk(parse_code(path)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                lines[ast.unparse(node)] = path.name
    # What a reader typed in a workshop; without it a page goes on with its own class.
    typed = ("from model_", "from measures ")
    lines = {line: name for line, name in lines.items() if not line.startswith(typed)}
    listed = copy.parent / "imports.py"
    listed.write_text("\n".join(sorted(lines)), encoding="utf-8")
    done = outside("-c", IMPORTS, listed)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(lines) > 100 and done.stdout.splitlines() == ["", str(sorted(PACKAGES))]


CLONE = """
import os, sys
from unbraid import records
from unbraid.data import moving_digits, vowels, weather
from unbraid.models import SingleElement
run = "single_element/sprites/quick/single_element-seed0"
calls = [weather.load, vowels.load, moving_digits.load_digits]
for call in [*calls, lambda: SingleElement.load(records.weights(run))]:
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
    assert len(said) == 4 and names == "('static', 'dynamic')"
    assert all("UNBRAID_HOME" in line for line in said)
