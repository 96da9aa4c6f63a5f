"""The library outside of the clone: a wheel, in an environment that holds nothing else of ours.

The other packages are borrowed from this environment; nothing is downloaded. Files that a user
would have from their publisher come from a server on this machine.
"""

import os
import subprocess
import sys
import threading
import tomllib
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from test_from_outside import OUTSIDE

ROOT = Path(__file__).resolve().parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
PARTS_OF_THE_CLONE = ("pyproject.toml", "README.md", "LICENSE", "lib")


def run(*command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built in a copy so that the clone stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    listing = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    tracked = run(*listing, *PARTS_OF_THE_CLONE, cwd=ROOT)
    if tracked.returncode:
        pytest.skip("not a git checkout: which files belong to the library is not known")
    for name in tracked.stdout.splitlines():
        (folder / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "clone" / name).write_bytes((ROOT / name).read_bytes())
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    apart = ("--no-index", "--no-deps", "--no-build-isolation")
    built = run(*pip, "wheel", *apart, "./clone", cwd=folder)
    assert built.returncode == 0, built.stderr[-3000:]
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def outside(wheel):
    """A function that runs the Python of an environment with the wheel, far from the clone."""
    folder = wheel.parent
    assert run(sys.executable, "-m", "venv", "--without-pip", folder / "venv").returncode == 0
    python = next(path for path in folder.glob("venv/*/python*") if path.is_file())
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    installed = run(*pip, "install", "--no-deps", "--no-index", wheel)
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


def test_the_wheel_holds_the_library_and_what_it_reads(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"unbraid", f"unbraid-{VERSION}.dist-info"}
    library = ROOT / "lib" / "unbraid"
    for path in library.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert f"unbraid/{path.relative_to(library).as_posix()}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_installed_library_is_the_one_of_the_wheel(outside, wheel):
    printed = outside("-c", "import unbraid; print(unbraid.__version__, unbraid.__file__)").stdout
    assert printed.startswith(f"{VERSION} {wheel.parent / 'venv'}")
    assert outside("-m", "unbraid", "--version").stdout == f"unbraid {VERSION}\n"


def test_codes_are_measured_and_a_class_of_ones_own_is_trained(outside, wheel):
    folder = wheel.parent / "elsewhere"
    random = np.random.default_rng(0)
    factors = random.integers(0, 3, 150)
    codes = np.eye(3)[factors] + 0.1 * random.normal(size=(150, 3))
    np.savez(folder / "codes.npz", static=codes)
    np.savez(folder / "factors.npz", colour=factors)
    measured = outside("-m", "unbraid", "measure", "codes.npz", "factors.npz")
    assert measured.returncode == 0 and "colour" in measured.stdout, measured.stderr[-2000:]
    (folder / "mine.py").write_text(OUTSIDE.replace("steps=300", "steps=100"))
    trained = outside("mine.py", folder)
    assert trained.returncode == 0 and float(trained.stdout) > 0.9, trained.stderr[-2000:]


CLONE = """
import os, sys
from unbraid import SequenceModel, load_judge
from unbraid.data import moving_digits, vowels, weather
calls = [weather.load, vowels.load, moving_digits.load_digits]
calls += [lambda: SequenceModel.load("single_element/sprites/quick/single_element-seed0")]
for call in [*calls, lambda: load_judge("sprites")]:
    try:
        call()
    except RuntimeError as error:
        print(" ".join(str(error).split()))
os.environ["UNBRAID_HOME"] = sys.argv[1]
print(len(weather.load("test").frames))
print(SequenceModel.load("single_element/sprites/quick/single_element-seed0").code_names)
"""


def test_what_is_in_the_clone_alone_says_what_to_set_and_then_works(outside):
    done = outside("-c", CLONE, ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    *said, _, names = done.stdout.splitlines()
    assert len(said) == 5 and names == "('static', 'dynamic')"
    assert all("set UNBRAID_HOME to a clone" in line and "git" not in line for line in said)


FETCHING = """
import sys
from dataclasses import replace
from unbraid.data import sprites
from unbraid.data.fetch import SOURCES
for address in sys.argv[1], "http://127.0.0.1:9/":
    SOURCES["sprites-li"] = replace(SOURCES["sprites-li"], urls=[address])
    print(tuple(sprites.load("test").frames.shape))
"""


def test_what_has_a_publisher_is_fetched_into_the_users_cache(outside, wheel):
    """The first `load` fetches and composes, the second needs no network."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = partial(Quiet, directory=str(ROOT / "data" / "sprites-li"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        done = outside("-c", FETCHING, address)
        server.shutdown()
    assert done.returncode == 0, done.stderr[-2000:]
    said = f"sprites-li: fetching 41 files, 0.6 MB, from {address}"
    shape = "(2664, 8, 3, 32, 32)"
    assert done.stdout.splitlines() == [said, shape, shape]
    places = sorted(path.name for path in (wheel.parent / "cache").glob("unbraid/*"))
    assert places == ["composed", "sprites-li"]
