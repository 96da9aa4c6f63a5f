"""The house's shape: who may import whom, and what no file may hold."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from form import MACHINE_PATH, for_all, nested_loops
from helpers import NOTEBOOKS, parse_code

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {  # each with its folder, and the rooms that it may import beside itself
    "unbraid": (ROOT / "lib" / "unbraid", set()),
    "unbraid_course": (ROOT / "lib" / "unbraid_course", {"unbraid"}),
    "unbraid_own": (ROOT / "lib" / "unbraid_own", {"unbraid"}),
    "papers": (ROOT / "papers", {"unbraid", "unbraid_course"}),
    "tools": (ROOT / "tools", {"unbraid", "unbraid_course", "papers"}),
}
ALL = ((path, room) for room in ROOMS for path in sorted(ROOMS[room][0].rglob("*.py")))
FILES = {path: room for path, room in ALL if "tests" not in path.relative_to(ROOT).parts}
APART = {  # parts of the library, and what they import neither at once nor late
    "checks": {"distributions", "networks", "models", "variants", "data", "measures", "training"},
    "networks": {"models", "variants", "data", "measures", "training", "figures", "records"},
    "models": {"variants", "data", "measures", "training", "figures", "codes", "interventions"},
    "variants": {"data", "measures", "training", "figures", "codes", "interventions", "records"},
    "data": {"models", "variants", "measures", "training", "figures", "records"},
    "measures": {"models", "variants", "data", "training", "figures"},
    "training": {"variants", "data", "measures", "figures", "codes", "interventions"},
    "figures": {"models", "variants", "data", "measures", "training", "codes", "records"},
}
IMPORT_NAMES = {"scikit-learn": "sklearn", "pillow": "PIL"}
each = for_all(FILES)


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(path):
    """The name of a module, such as unbraid.models.base."""
    parts = path.relative_to(ROOMS[FILES[path]][0].parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(tree, package=(), late=True):
    """Dotted names of what a program imports; late: inside functions too."""
    names = set()
    of_types = set()  # under `if TYPE_CHECKING`, which no program runs
    for node in ast.walk(tree) if late else tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            of_types |= set(node.body)
        elif isinstance(node, ast.Import) and node not in of_types:
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node not in of_types:
            base = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join([*base, *filter(None, [node.module])])
            names |= {f"{origin}.{alias.name}" for alias in node.names}
    return names


def imports_of(path, late=True):
    own = dotted(path).split(".")
    return imports(parse(path), own if path.name == "__init__.py" else own[:-1], late)


@each
def test_imports_point_only_downwards(path):
    room, names = FILES[path], imports_of(path)
    assert {name.split(".")[0] for name in names} & ROOMS.keys() <= {room} | ROOMS[room][1]
    if room == "unbraid" and path.name != "__main__.py":
        part = [*dotted(path).split("."), ""][1]
        used = {name.split(".")[1] for name in names if name.startswith("unbraid.")}
        assert not used & APART.get(part, set())


def draw_arrows(late, room=None):
    """Which modules, of one room or all, each module imports: packages are their __init__.py."""
    modules = {dotted(path) for path in FILES if room in (None, FILES[path])}
    arrows = defaultdict(set)
    for path in FILES:
        if dotted(path) in modules:
            for name in imports_of(path, late):
                target = name if name in modules else name.rpartition(".")[0]
                arrows[dotted(path)] |= {target} & (modules - {dotted(path)})
    return arrows


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_imports_itself_by_way_of_others_not_even_late(room):
    TopologicalSorter(draw_arrows(late=True, room=room)).prepare()  # Raises CycleError.


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_the_library_alone(path):
    """Whatever it imports lives in lib; papers/ makes results/, tools/ handles notebooks."""
    found = {name.split(".")[0] for name in imports(parse_code(path))} & ROOMS.keys()
    own = {"unbraid_own"} if path.name.startswith("42") else set()
    assert found <= {"unbraid", "unbraid_course"} | own


@each
def test_what_is_imported_is_declared(path):
    """The library needs no package of the course, but for figures and what it imports late."""
    read = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, build = read["project"], read["build-system"]["requires"]
    groups = project["optional-dependencies"]
    named = project["dependencies"], groups["course"], groups["own"]
    library, course, own = ({to_import(line) for line in group} for group in named)
    site = (ROOT / "tools" / "site" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    course |= {to_import(line) for line in [*site, *build] if not line.startswith("#")}
    everything = library | course | {"IPython"}
    if FILES[path] == "unbraid_own":
        everything = library | own
    everything |= ROOMS.keys() | sys.stdlib_module_names
    assert {name.split(".")[0] for name in imports_of(path)} <= everything
    if FILES[path] == "unbraid" and "figures" not in path.parts:
        assert not {name.split(".")[0] for name in imports_of(path, late=False)} & course


def to_import(requirement):
    """The name under which a required package is imported."""
    name = re.match(r"[\w-]+", requirement).group().lower()
    return IMPORT_NAMES.get(name, name.replace("-", "_"))


@each
def test_nothing_is_pickled_and_comprehensions_have_one_loop(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"import pickle|joblib|read_pickle|allow_pickle=True|weights_only=F", text)
    assert nested_loops(ast.parse(text)) == []


NAMING = {"tests/test_exercises.py"}  # an example of such a folder
TEXTS = {".py", ".md", ".toml", ".yml", ".yaml", ".cff", ".lock", ".json", ".csv", ".mplstyle", ""}


def test_no_committed_file_names_a_folder_of_a_machine():
    """Notebooks are looked at by a test of their own."""
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: which files are committed is not known")
    names = set(listed.stdout.split("\0")) - NAMING - {""}
    paths = [ROOT / name for name in names if Path(name).suffix in TEXTS]
    texts = {path: path.read_text(encoding="utf-8") for path in paths if path.is_file()}
    assert texts and [path for path, text in texts.items() if MACHINE_PATH.search(text)] == []
