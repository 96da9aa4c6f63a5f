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
ROOMS = {  # each with its folder, and the rooms that it may import beside itself
    "unbraid": (ROOT / "lib" / "unbraid", set()),
    "papers": (ROOT / "papers", {"unbraid"}),
    "tools": (ROOT / "tools", {"unbraid", "papers"}),
}
LIBRARY = ROOMS["unbraid"][0]
FILES = {name: sorted(folder.rglob("*.py")) for name, (folder, _) in ROOMS.items()}
EVERY_FILE = [path for files in FILES.values() for path in files]
FLOORS = {  # from the ground; a part imports what is below it, and its own floor
    "unbraid": (
        {"checks", "distributions", "exercises", "networks", "readable", "data", "plots"}
        | {"locks", "progress", "schedules"},
        {"models", "measures", "store"},
        {"checkpoint", "codes", "interventions", "pages", "parallel", "replay", "report"}
        | {"training"},
        {"own_training"},
        {"own_report"},
        {"course", "__main__"},
    ),
    "papers": (
        {"benchmark", "claims", "costs", "distinct", "heads", "own_copies", "registry", "settings"}
        | {"a", "b", "c", "reference_measures", "reference_steps"},
        {"datasets", "report"},
        {"runs"},
        {"adopt", "convert", "jobs", "judging", "prices"},
        {"evaluation"},
        {"provenance"},
        {"commands", "__main__"},
    ),
}
APART = {"models": {"data"}, "data": {"models"}, "measures": {"models", "data", "training"}}
PICKLING = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
IMPORT_NAMES = {"scikit-learn": "sklearn", "pillow": "PIL", "lightning-fabric": "lightning_fabric"}
OF_THE_COURSE = {"plots.py", "pages.py"}  # may need what the notebooks need
each = pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: str(path.relative_to(ROOT)))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room_of(path: Path) -> str:
    return next(name for name, (folder, _) in ROOMS.items() if path.is_relative_to(folder))


def dotted(path: Path) -> str:
    """The name of a module, such as unbraid.models.base."""
    parts = path.relative_to(ROOMS[room_of(path)][0].parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def for_types(node: ast.AST) -> set[ast.AST]:
    """What stands under `if TYPE_CHECKING`, which no program runs."""
    blocks = [part for part in ast.walk(node) if isinstance(part, ast.If)]
    inside: set[ast.AST] = set()
    for block in blocks:
        if ast.unparse(block.test) == "TYPE_CHECKING":
            inside |= set(ast.walk(block))
    return inside


def imports(tree: ast.Module, path: Path, deep: bool = True) -> set[str]:
    """Dotted names of what a file imports; deep: inside functions too."""
    package = list(path.relative_to(ROOMS[room_of(path)][0].parent).parent.parts)
    names = set()
    left_out = for_types(tree)
    for node in ast.walk(tree) if deep else tree.body:
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{origin}.{alias.name}" for alias in node.names}
    return names


def arrow_faults(files: dict[Path, ast.Module]) -> list[str]:
    """What breaks the order of rooms and of floors, and circles of modules."""
    faults = []
    modules = {dotted(path) for path in files}
    arrows = defaultdict(set)
    for path, tree in files.items():
        room, own = room_of(path), dotted(path)
        names = imports(tree, path)
        used = {name.split(".")[0] for name in names} & ROOMS.keys()
        faults += [f"{own} imports {other}" for other in sorted(used - {room} - ROOMS[room][1])]
        for name in names:
            target = name if name in modules else name.rpartition(".")[0]
            if target in modules - {own}:
                arrows[own].add(target)
        if room in FLOORS and own != room:  # The room's own __init__ stands on no floor.
            faults += floor_faults(room, own, names)
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        faults.append(f"circle: {' -> '.join(error.args[1])}")
    return faults


def floor_faults(room: str, own: str, names: set[str]) -> list[str]:
    """Where a module of a room imports a part that stands above its own, or apart from it."""
    floor = {}
    for number, parts in enumerate(FLOORS[room]):
        floor |= dict.fromkeys(parts, number)
    part = own.split(".")[1]
    if part not in floor:
        return [f"{part} stands on no floor"]
    split = [name.split(".") for name in names]
    others = {name[1] for name in split if name[0] == room and len(name) > 1}
    faults = []
    for other in sorted(others - {part, "__version__"}):
        is_apart = room == "unbraid" and other in APART.get(part, ())
        if floor.get(other, len(FLOORS[room])) > floor[part] or is_apart:
            faults.append(f"{part} imports {other}")
    return faults


def test_imports_point_only_downwards():
    assert all(FILES.values())
    assert arrow_faults({path: parse(path) for path in EVERY_FILE}) == []


@pytest.mark.parametrize(
    "file, source, fault",
    (
        ("networks.py", "from unbraid.training import fit", "networks imports training"),
        ("models/new.py", "def f():\n    from ..data import sequences", "models imports data"),
        ("measures/new.py", "import unbraid.models.base", "measures imports models"),
        ("plots.py", "from . import codes", "plots imports codes"),
        ("store.py", "from tools import files", "unbraid.store imports tools"),
        ("store.py", "def f():\n    import papers.runs", "unbraid.store imports papers"),
        ("brand_new.py", "", "brand_new stands on no floor"),
        ("../../papers/settings.py", "from papers import runs", "settings imports runs"),
        ("../../papers/runs.py", "from tools import files", "papers.runs imports tools"),
    ),
)
def test_a_wrong_arrow_is_seen(file, source, fault):
    assert arrow_faults({(LIBRARY / file).resolve(): ast.parse(source)}) == [fault]


def test_a_circle_is_seen_and_types_make_none():
    first, second = LIBRARY / "models" / "first.py", LIBRARY / "models" / "second.py"
    one_way = ast.parse("from unbraid.models.second import Second")
    back = "from unbraid.models import first"
    (fault,) = arrow_faults({first: one_way, second: ast.parse(back)})
    assert fault.startswith("circle: unbraid.models.")
    of_types = ast.parse(f"if TYPE_CHECKING:\n    {back}")
    assert arrow_faults({first: one_way, second: of_types}) == []


def declared(group: list[str]) -> set[str]:
    """The names under which required packages are imported."""
    names = [re.match(r"[\w-]+", line).group().lower() for line in group]
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}


@each
def test_what_is_imported_is_declared(path):
    """The library alone needs no package of the course; what few users need is imported late."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    library = declared(project["dependencies"])
    course = library | declared(project["optional-dependencies"]["course"]) | {"IPython"}
    room = room_of(path)
    rooms = {room} | ROOMS[room][1]
    is_library = room == "unbraid" and path.name not in OF_THE_COURSE
    at_once = (library if is_library else course) | rooms
    for deep, allowed in ((False, at_once), (True, course | rooms)):
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


def without_types(tree: ast.Module) -> list[str]:
    """Functions with an argument, or a returned value, of which no type is said."""
    methods = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods |= set(node.body)
    faults = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        given = node.args
        arguments = [*given.posonlyargs, *given.args][node in methods :]  # but self
        arguments += [*given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
        returns = node.returns or node.name in ("__init__", "__post_init__")
        if not returns or not all(argument.annotation for argument in arguments):
            faults.append(node.name)
    return faults


@pytest.mark.parametrize("path", FILES["unbraid"], ids=dotted)
def test_functions_of_the_library_say_their_types(path):
    assert without_types(parse(path)) == []


def test_a_missing_type_is_seen():
    source = "def f(a: int, b) -> int: ...\ndef g(a: int): ...\ndef h(*a: int) -> int: ..."
    assert without_types(ast.parse(source)) == ["f", "g"]


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
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")]
    assert [target for target in targets if f"make {target}" not in "".join(pages)] == []
