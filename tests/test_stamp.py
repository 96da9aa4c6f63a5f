"""What a notebook's stamp holds, and which changes make it stale."""

import ast
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from exercise_notebook import write_notebook

from tools import execution, recording, stamp

CODE = "from unbraid.measures.information import kraskov\nprint(kraskov)"
INFORMATION = "lib/unbraid/measures/information.py"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A copy of the library's source."""
    return Path(shutil.copytree(stamp.LIBRARY, tmp_path_factory.mktemp("copy") / "unbraid"))


@pytest.fixture
def change(library):
    """A function that replaces a text in a file of the copy, until the test ends."""
    before = {}

    def replace(file, old, new):
        path = library / file
        before[path] = path.read_text()
        assert old in before[path]
        path.write_text(before[path].replace(old, new, 1))

    yield replace
    for path, text in before.items():
        path.write_text(text)


def changed_files(code, library, change, *edit):
    """The files whose digests differ after an edit, among those behind some code."""
    before = stamp.digest_library(code, library)
    change(*edit)
    after = stamp.digest_library(code, library)
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


@pytest.mark.parametrize(
    "code, names",
    (
        (CODE, {INFORMATION}),
        ("from unbraid.measures.information import kraskov as estimate", {INFORMATION}),
        ("import unbraid.measures.information as i", {INFORMATION}),
        ("def late():\n    from unbraid.measures import information", {INFORMATION}),
        ("from unbraid.measures import swaps", set()),
        ("from unbraid import plots\nimport numpy", set()),
    ),
)
def test_a_change_names_the_file_and_only_to_code_that_imports_it(library, change, code, names):
    edit = ("measures/information.py", "def kraskov(", "def kraskov(extra, ")
    assert changed_files(code, library, change, *edit) == names


@pytest.mark.parametrize(
    "old, new",
    (
        ("def kraskov(", "# a comment\n\n\ndef kraskov("),
        ('"""', '"""Other words. '),
    ),
)
def test_comments_layout_and_docstrings_are_none(library, change, old, new):
    assert changed_files(CODE, library, change, "measures/information.py", old, new) == set()


def make_library(folder, **sources):
    for name, source in {"__init__": "", "p/__init__": "", **sources}.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
    return folder


@pytest.fixture
def toy(tmp_path):
    """A library whose package p passes a name of p/c on, and which p/other belongs to as well."""
    return make_library(
        tmp_path / "toy",
        a="from toy import b\nfrom toy.p import limit as own",
        b="import math\ndef late():\n    from .d import rate",
        d="rate = 1",
        e="unused = 1",
        **{
            "p/__init__": "from toy.p.c import LIMIT as limit\nfrom toy.p.other import thing",
            "p/c": "LIMIT = OTHER = 1",
            "p/other": "thing = 1",
        },
    )


@pytest.mark.parametrize(
    "code, names",
    (
        ("from toy.a import own", "a b d p/c"),
        ("from toy import b, d", "b d"),
        ("import toy.b as x, math, p", "b d"),
        ("from toy.p import limit", "p/c"),
        ("from toy.p import other", "p/other"),
        ("from toy import p", "p/__init__ p/c p/other"),
        ("import toy", "__init__"),
        ("from toyota import a", ""),
    ),
)
def test_imports_are_followed_from_file_to_file(toy, code, names):
    assert set(stamp.digest_library(code, toy)) == {f"lib/toy/{name}.py" for name in names.split()}


def test_another_origin_of_a_name_is_a_change(toy):
    """The package is not among the files, but where it takes the name from counts."""
    source = "from toy.p import limit"
    before = stamp.digest_code(source, stamp.find_homes(source, toy))
    (toy / "p" / "__init__.py").write_text("from toy.p.c import OTHER as limit")
    assert stamp.digest_code(source, stamp.find_homes(source, toy)) != before


def test_a_digest_holds_for_other_versions_of_python():
    """Computed under 3.11, 3.12 and 3.13, which print and dump this tree differently."""
    source = '''
        def f(x: int = 1, *y, **z) -> str:
            """Words."""
            return f"{x!r:>{y}} {'a'}" "b" if x else {**z, 'k': [i for i in y]}
    '''
    tree = ast.parse(textwrap.dedent(source))
    assert stamp.digest_text(stamp.write_tree(tree)) == "907c322ad707"


def test_what_is_read_is_recorded_and_what_is_written_is_not(tmp_path):
    (tmp_path / "read.txt").write_text("")
    start = recording.kernel_option(tmp_path / "log").partition("=")[2]
    program = f"""
        import os, sys
        {start}
        os.chdir({str(tmp_path)!r})
        open("read.txt").close()
        open("read.txt", "rb").close()
        open("written.txt", "w").close()
        os.close(os.open("opened.txt", os.O_RDONLY | os.O_CREAT))
        sys.audit("unbraid.source", "sprites-li")
        os._exit(0)  # as a kernel that is killed
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)
    entries = recording.read_log(tmp_path / "log")
    assert [entry for entry in entries if str(tmp_path) in entry[-1]] == [
        ["open", str(tmp_path / "read.txt")]
    ]
    assert ["unbraid.source", "sprites-li"] in entries


def test_files_are_named_alike_on_every_machine(root, tmp_path, monkeypatch):
    (tmp_path / "mirror" / "faces").mkdir(parents=True)
    monkeypatch.setenv("UNBRAID_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    names = {
        tmp_path / "mirror" / "mnist" / "a.gz": "data/mnist",
        tmp_path / "cache" / "mnist" / "a.gz": "data/mnist",
        root / "data" / "weather" / "x.csv": "data/weather",
        tmp_path / "cache" / "composed" / "a.npy": "",
        root / "data" / "README.md": "data/README.md",
        root / "results" / "tables.toml": "results/tables.toml",
        root / "lib" / "unbraid" / "profiles.toml": "lib/unbraid/profiles.toml",
        root / "lib" / "unbraid" / "data" / "sources.toml": "",  # the sources read of it count
        root / "notebooks" / "00_start_here.ipynb": "",
        root / "build" / "x.json": "",
        tmp_path / "elsewhere.txt": "",
    }
    assert {path: stamp.name_read(path) for path in names} == names


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A notebook that measures and reads a file, renewed by the command's code."""
    source = """
        from unbraid.data.fetch import repository_root
        from unbraid.measures.information import kraskov
        tables = (repository_root() / "results" / "tables.toml").read_text()
        print(len(tables) > 0, kraskov.__name__)
    """
    folder = tmp_path_factory.mktemp("course")
    notebook = write_notebook(folder / "10_a.ipynb", textwrap.dedent(source))
    (outcome,) = execution.renew(folder=folder, to=folder / "build")
    assert outcome.fault == ""
    return notebook


def test_an_executed_notebook_is_fresh_and_its_stamp_says_what_it_read(executed):
    assert stamp.compare(executed) == []
    made_from = nbformat.read(executed, 4).metadata.unbraid.stamp
    assert made_from.profile == "quick"
    read = [name for name in made_from.files if not name.endswith(".py")]
    assert read == ["results/tables.toml"] and INFORMATION in made_from.files
    assert not list((executed.parent / "build").glob("*.reads"))


@pytest.mark.parametrize(
    "edit, reason",
    (
        (lambda book: book.metadata.pop("unbraid"), "no stamp"),
        (lambda book: book.metadata.unbraid.stamp.update(library={}), "earlier version"),
        (lambda book: book.cells[2].update(source=book.cells[2].source + "\n1 + x"), "own code"),
        (lambda book: book.metadata.unbraid.stamp.files.update({"results/x": "0"}), "x is gone"),
        (
            lambda book: book.metadata.unbraid.stamp.files.update({"results/tables.toml": "0"}),
            "results/tables.toml changed",
        ),
        (lambda book: book.metadata.unbraid.stamp.files.pop(INFORMATION), "is imported now"),
        (lambda book: book.metadata.unbraid.stamp.update(profile="smoke"), "at smoke"),
        (lambda book: book.cells[1].update(source="Other words."), None),
        (lambda book: book.cells[2].update(source=book.cells[2].source + "  # a comment"), None),
        (lambda book: book.metadata.unbraid.stamp.versions.update(torch="1.0"), None),
    ),
)
def test_what_makes_a_notebook_stale_is_said(executed, tmp_path, edit, reason):
    book = nbformat.read(executed, 4)
    edit(book)
    nbformat.write(book, tmp_path / executed.name)
    reasons = stamp.compare(tmp_path / executed.name)
    assert len(reasons) == bool(reason)
    assert reason is None or reason in reasons[0]


def test_a_change_of_the_library_makes_it_stale(executed, library, change):
    change("measures/information.py", "def kraskov(", "def kraskov(extra, ")
    assert stamp.compare(executed, library) == [f"{INFORMATION} changed"]


@pytest.mark.parametrize("new, is_equal", (("# other words\na = 1", True), ("a = 2", False)))
def test_tables_count_by_their_values(tmp_path, monkeypatch, new, is_equal):
    monkeypatch.setattr(stamp, "ROOT", tmp_path)
    digests = []
    for text in ("# words\na  =  1\n", new):
        (tmp_path / "table.toml").write_text(text)
        digests.append(stamp.digest_file("table.toml"))
    assert (digests[0] == digests[1]) == is_equal
    assert stamp.digest_file("vanished.toml") == stamp.MISSING
