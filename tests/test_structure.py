"""The library's shape: who may import whom, and what no file may hold."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "lib" / "unbraid"
FILES = sorted(LIBRARY.rglob("*.py"))
FLOORS = (  # from the ground; a part may import what is below it, and on its own floor what gives no circle
    {"distributions", "networks", "settings", "data", "results", "readme", "plots"},
    {"models", "measures"},
    {"training", "interventions", "evaluation", "judging", "runs"},
    {"cli", "course", "__main__"},
)
APART = {
    "models": {"data"},
    "data": {"models"},
    "measures": {"models", "data"},
}  # beyond the floors
FORBIDDEN = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
each = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LIBRARY)))


def part(module: str) -> str:
    """The part of the library that a dotted module name belongs to, e.g. unbraid.models.independent -> models."""
    return (module.split(".") + [""])[1]


def imports(path: Path, source: str | None = None) -> set[str]:
    """Absolute dotted names of all that a file imports, relative imports and imports inside functions included."""
    package = ["unbraid", *path.relative_to(LIBRARY).parent.parts]
    found = set()
    for node in ast.walk(
        ast.parse(source if source is not None else path.read_text(encoding="utf-8"))
    ):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return found


def arrow_faults(files: dict[Path, set[str]]) -> list[str]:
    """What breaks the order of floors among files and what they import."""
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    faults, arrows = [], {}
    for path, names in files.items():
        own = path.relative_to(LIBRARY).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        if own not in floor:
            faults.append(f"{own} stands on no floor: add it to FLOORS")
            continue
        for other in {part(name) for name in names if name.split(".")[0] == "unbraid"} - {
            own,
            "",
            "__version__",
        }:
            arrows.setdefault(own, set()).add(other)
            if floor.get(other, len(FLOORS)) > floor[own] or other in APART.get(own, ()):
                faults.append(f"{own} imports {other}")
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        faults.append(f"circle: {' -> '.join(error.args[1])}")
    return faults


def test_imports_go_only_downwards():
    assert FILES
    assert arrow_faults({path: imports(path) for path in FILES}) == []


@pytest.mark.parametrize(
    "file, source, fault",
    (
        ("networks.py", "from unbraid.training import fit", "networks imports training"),
        ("models/new.py", "def f():\n    from ..data import sequences", "models imports data"),
        ("measures/new.py", "import unbraid.models.interface", "measures imports models"),
        ("plots.py", "from . import cli", "plots imports cli"),
        ("evaluation/new.py", "def f():\n    from unbraid import cli", "evaluation imports cli"),
        ("models/new.py", "from unbraid.runs import load_model", "models imports runs"),
        ("brand_new.py", "", "brand_new stands on no floor: add it to FLOORS"),
    ),
)
def test_a_wrong_arrow_is_seen(file, source, fault):
    assert arrow_faults({LIBRARY / file: imports(LIBRARY / file, source)}) == [fault]


def test_a_circle_is_seen():
    both = {
        LIBRARY / "plots.py": {"unbraid.results.read"},
        LIBRARY / "results.py": {"unbraid.plots.strip"},
    }
    assert any("circle" in fault for fault in arrow_faults(both))
    both = {
        LIBRARY / "runs.py": {"unbraid.evaluation.new"},
        LIBRARY / "evaluation" / "new.py": {"unbraid.runs"},
    }
    assert any("circle" in fault for fault in arrow_faults(both))


def test_every_package_imported_is_declared():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    declared = {re.match(r"[\w-]+", line).group().replace("-", "_").lower() for line in listed}
    used = (
        {name.split(".")[0].lower() for path in FILES for name in imports(path)}
        - {"unbraid"}
        - set(sys.stdlib_module_names)
    )
    assert used <= declared | {"sklearn", "pil"}  # scikit-learn's and pillow's names in code


def unsafe(source: str) -> list[str]:
    """Ways to load or write pickled objects in a source text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.split(".")[0] for alias in node.names} | {
                (getattr(node, "module", "") or "").split(".")[0]
            }
            found += sorted(names & FORBIDDEN)
        if isinstance(node, ast.Call):
            called, given = (
                ast.unparse(node.func),
                {word.arg: ast.unparse(word.value) for word in node.keywords},
            )
            if called.endswith("torch.load") and given.get("weights_only") != "True":
                found.append("torch.load without weights_only=True")
            if given.get("allow_pickle") == "True" or called.endswith("read_pickle"):
                found.append("pickle allowed")
    return found


@each
def test_nothing_is_pickled(path):
    assert unsafe(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    (
        "import pickle",
        "from pickle import load",
        "torch.load(p)",
        "numpy.load(p, allow_pickle=True)",
    ),
)
def test_pickles_are_seen(line):
    assert unsafe(line)


def undescribed(source: str) -> list[str]:
    """Public functions and classes of a file without a docstring, and the file itself where it has none."""
    tree = ast.parse(source)
    public = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    file = [] if ast.get_docstring(tree) or not tree.body else ["the file"]
    return file + [node.name for node in public if not ast.get_docstring(node)]


@each
def test_what_is_public_is_described(path):
    assert undescribed(path.read_text(encoding="utf-8")) == []


def test_a_missing_description_is_seen():
    assert undescribed("class A: pass\ndef b(): pass\ndef _c(): pass") == ["the file", "A", "b"]


MACHINE = re.compile(r"(?<![\w.$~{}-])/(?:root|home|work|Users)/\w|/\.pyenv/")
TEXT = {".py", ".md", ".toml", ".yml", ".yaml", ".lock", ".json", ".csv", ".mplstyle", ""}


def test_no_committed_file_names_this_machine():
    """Notebooks are looked at by their own gate."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout: which files are committed is not known")
    paths = [
        ROOT / name for name in listed.stdout.split("\0") if name and name != "tests/test_gates.py"
    ]
    texts = {
        path: path.read_text(encoding="utf-8")
        for path in paths
        if path.suffix in TEXT and path.is_file()
    }
    assert (
        texts
        and {
            path.name: found.group()
            for path, text in texts.items()
            if (found := MACHINE.search(text))
        }
        == {}
    )


def test_the_readme_speaks_of_every_command():
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert targets and [target for target in targets if f"make {target}" not in readme] == []
