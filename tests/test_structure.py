"""The house's shape: who may import whom, what is defined where, and what no file may hold."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "lib" / "unbraid"
FILES = sorted(LIBRARY.rglob("*.py"))
TOOLS = sorted((ROOT / "tools").glob("*.py"))
ABOVE = {"tools", "papers"}  # rooms that use the library, which knows neither
FLOORS = (  # from the ground; a part imports what is below it, and its own floor without circles
    {"checks", "distributions", "exercises", "networks", "readable", "settings", "data", "plots"}
    | {"progress", "schedules"},
    {"models", "measures", "results"},
    {"checkpoint", "training", "interventions"},
    {"experiments"},
    {"evaluation", "prices"},
    {"provenance"},
    {"cli", "course", "__main__"},
)
APART = {"models": {"data"}, "data": {"models"}, "measures": {"models", "data", "training"}}
PICKLING = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
IMPORT_NAMES = {"scikit-learn": "sklearn", "pillow": "PIL", "lightning-fabric": "lightning_fabric"}
OF_THE_COURSE = {"plots.py"}  # may need what the notebooks need
each = pytest.mark.parametrize("path", FILES + TOOLS, ids=lambda path: str(path.relative_to(ROOT)))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module, path: Path, deep: bool = True) -> set[str]:
    """Dotted names of what a file imports; deep: inside functions too."""
    home = ROOT if path in TOOLS else LIBRARY.parent
    package = list(path.relative_to(home).parent.parts)
    names = set()
    for node in ast.walk(tree) if deep else tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{origin}.{alias.name}" for alias in node.names}
    return names


def arrow_faults(files: dict[Path, ast.Module]) -> list[str]:
    """What breaks the order of floors."""
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    faults = []
    arrows = defaultdict(set)
    for path, tree in files.items():
        own = path.relative_to(LIBRARY).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        if own not in floor:
            faults.append(f"{own} stands on no floor")
            continue
        names = [name.split(".") for name in imports(tree, path)]
        parts = {name[1] for name in names if name[0] == "unbraid" and len(name) > 1}
        faults += [f"{own} imports {name}" for name in sorted({name[0] for name in names} & ABOVE)]
        for other in parts - {own, "__version__"}:
            arrows[own].add(other)
            if floor.get(other, len(FLOORS)) > floor[own] or other in APART.get(own, ()):
                faults.append(f"{own} imports {other}")
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        faults.append(f"circle: {' -> '.join(error.args[1])}")
    return faults


def test_imports_point_only_downwards():
    assert FILES and arrow_faults({path: parse(path) for path in FILES}) == []


@pytest.mark.parametrize(
    "file, source, fault",
    (
        ("networks.py", "from unbraid.training import fit", "networks imports training"),
        ("models/new.py", "def f():\n    from ..data import sequences", "models imports data"),
        ("measures/new.py", "import unbraid.models.base", "measures imports models"),
        ("plots.py", "from . import cli", "plots imports cli"),
        ("cli.py", "from tools import files", "cli imports tools"),
        ("cli.py", "def f():\n    import papers.runs", "cli imports papers"),
        ("brand_new.py", "", "brand_new stands on no floor"),
    ),
)
def test_a_wrong_arrow_is_seen(file, source, fault):
    assert arrow_faults({LIBRARY / file: ast.parse(source)}) == [fault]


def declared(group: list[str]) -> set[str]:
    """The names under which required packages are imported."""
    names = [re.match(r"[\w-]+", line).group().lower() for line in group]
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}


@each
def test_what_is_imported_is_declared(path):
    """The library alone needs no package of the course; what few users need is imported late."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    library = declared(project["dependencies"]) | {"unbraid"}
    course = library | declared(project["optional-dependencies"]["course"]) | {"IPython"}
    if path in TOOLS:
        course = course | {"tools"}
    at_once = course if path in TOOLS or path.name in OF_THE_COURSE else library
    for deep, allowed in ((False, at_once), (True, course)):
        packages = {name.split(".")[0] for name in imports(parse(path), path, deep)}
        assert packages - set(sys.stdlib_module_names) <= allowed


def pickling(tree: ast.Module) -> list[str]:
    """Ways to load or write pickled objects."""
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            faults += [alias.name for alias in node.names if alias.name in PICKLING]
        elif isinstance(node, ast.ImportFrom) and node.module in PICKLING:
            faults.append(node.module)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            is_unsafe = called.endswith("torch.load") and given.get("weights_only") != "True"
            if is_unsafe or given.get("allow_pickle") == "True" or called.endswith("read_pickle"):
                faults.append(called)
    return faults


@each
def test_nothing_is_pickled(path):
    assert pickling(parse(path)) == []


COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def nested_loops(tree: ast.Module) -> list[int]:
    """The lines of comprehensions with two loops, or with another comprehension inside."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, COMPREHENSIONS):
            parts = [part for part in ast.walk(node) if isinstance(part, COMPREHENSIONS)]
            if len(parts) > 1 or len(node.generators) > 1:
                lines.append(node.lineno)
    return lines


@each
def test_comprehensions_have_one_loop(path):
    assert nested_loops(parse(path)) == []


def test_a_nested_comprehension_is_seen():
    source = "[[a for a in b] for b in c]\n(a for b in c for a in b)"
    assert nested_loops(ast.parse(source)) == [1, 2]


@each
def test_what_is_public_is_described(path):
    tree = parse(path)
    assert ast.get_docstring(tree) or not tree.body
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


MACHINE = re.compile(r"(?<![\w.$~{}-])/(?:root|home|work|Users)/\w|/\.pyenv/")
TEXTS = {".py", ".md", ".toml", ".yml", ".yaml", ".cff", ".lock", ".json", ".csv", ".mplstyle", ""}


def test_no_committed_file_names_this_machine():
    """Notebooks are looked at by a test of their own."""
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: which files are committed is not known")
    names = set(listed.stdout.split("\0")) - {"tests/test_hygiene.py", ""}
    paths = [ROOT / name for name in names if Path(name).suffix in TEXTS]
    texts = {path: path.read_text(encoding="utf-8") for path in paths if path.is_file()}
    assert texts and [path for path, text in texts.items() if MACHINE.search(text)] == []


@pytest.mark.parametrize("name", ("requirements.lock", "pyproject.toml", "Makefile", ".ci/run"))
def test_no_address_of_a_package_index_is_written_down(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"index-url|find-links|/simple\b|/whl/", text)


def test_the_guide_speaks_of_every_command():
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")]
    assert [target for target in targets if f"make {target}" not in "".join(pages)] == []
