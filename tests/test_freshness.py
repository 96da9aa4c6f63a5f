"""What a notebook's stamp holds, and which changes make it stale."""

import ast
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from unbraid import settings
from unbraid.course import execution, files, freshness, reach, recording

CODE = "from unbraid.measures.information import kraskov\nprint(kraskov)"


@pytest.fixture
def library(tmp_path):
    """A copy of the library's source that a test may change."""
    return Path(shutil.copytree(reach.LIBRARY, tmp_path / "unbraid"))


def change(library, file, old, new):
    """Replace a text in a file of the copy; what was read of the copy before is forgotten."""
    path = library / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    reach.read_library.cache_clear()
    reach.link_definition.cache_clear()


def changed_names(code, library, *edit):
    """The names that differ after an edit of the library, among those that the code reaches."""
    before = reach.digest_reach(code, library)
    change(library, *edit)
    after = reach.digest_reach(code, library)
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


@pytest.mark.parametrize(
    "code, names",
    (
        (CODE, {"unbraid.measures.information.kraskov"}),
        ("from unbraid.measures.information import ross\nross", set()),
    ),
)
def test_a_change_names_the_function_and_only_to_code_that_reaches_it(library, code, names):
    edit = ("measures/information.py", "def kraskov(", "def kraskov(extra, ")
    assert changed_names(code, library, *edit) == names


@pytest.mark.parametrize(
    "old, new",
    (
        ("def kraskov(", "# a comment\n\n\ndef kraskov("),
        ('"""', '"""Other words. '),
    ),
)
def test_comments_layout_and_docstrings_are_none(library, old, new):
    assert changed_names(CODE, library, "measures/information.py", old, new) == set()


@pytest.mark.parametrize(
    "code",
    (
        "from unbraid.measures.information import kraskov as estimate\nestimate()",
        "import unbraid.measures.information as i\ni.kraskov()",
        "from unbraid.measures import information\ninformation.kraskov()",
        "from unbraid.measures.information import same_and_cross\nsame_and_cross()",
    ),
)
def test_however_it_is_imported_it_is_reached(code):
    assert "unbraid.measures.information.kraskov" in reach.digest_reach(code)


def make_library(folder, **sources):
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
    return folder


def test_names_are_followed_through_classes_constants_and_what_imports_do(tmp_path):
    library = make_library(
        tmp_path / "toy",
        a="""
            from toy import b
            from toy.c import LIMIT
            class Base:
                limit = LIMIT
            class Child(Base):
                def go(self, b):
                    from toy.d import late
                    return late() + b
        """,
        b="print('imported')\nunused = 1",
        c="SIZE, LIMIT = 1, 2\nOTHER = 3",
        d="def late():\n    return 1\n\nlate.rate = 2",
    )
    effects = reach.EFFECTS
    assert set(reach.digest_reach("from toy.a import Child\nChild()", library)) == {
        "toy.a.Child",
        "toy.a.Base",
        "toy.b." + effects,  # importing a runs it
        "toy.c.LIMIT",
        "toy.c.SIZE",  # of the same statement
        "toy.d.late",
        "toy.d." + effects,
    }


def test_another_origin_of_a_name_is_a_change(tmp_path):
    library = make_library(tmp_path / "toy", a="from math import sqrt as f\ndef g():\n    return f")
    edit = ("a.py", "from math import sqrt as f", "from cmath import sqrt as f")
    assert changed_names("from toy.a import g\ng", library, *edit) == {"toy.a.g"}


def test_a_digest_holds_for_other_versions_of_python():
    """Computed under 3.11, 3.12 and 3.13, which print and dump this tree differently."""
    source = '''
        def f(x: int = 1, *y, **z) -> str:
            """Words."""
            return f"{x!r:>{y}} {'a'}" "b" if x else {**z, 'k': [i for i in y]}
    '''
    assert reach.digest_text(reach.write_tree(ast.parse(textwrap.dedent(source)))) == "907c322ad707"


def test_what_is_read_is_recorded_and_what_is_written_is_not(tmp_path):
    (tmp_path / "read.txt").write_text("")
    program = f"""
        import os, sys
        from unbraid import settings
        from unbraid.course.recording import record_reads
        record_reads({str(tmp_path / "log")!r})
        os.chdir({str(tmp_path)!r})
        open("read.txt").close()
        open("read.txt", "rb").close()
        open("written.txt", "w").close()
        os.close(os.open("opened.txt", os.O_RDONLY | os.O_CREAT))
        settings.load("vae", "smoke")
        os._exit(0)  # as a kernel that is killed
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)
    entries = recording.read_log(tmp_path / "log")
    inside = [entry for entry in entries if str(tmp_path) in entry[-1]]
    assert inside == [["open", str(tmp_path / "read.txt")]]
    assert ["unbraid.settings", "vae", "smoke"] in entries


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
        root / "lib" / "unbraid" / "unbraid.mplstyle": "lib/unbraid/unbraid.mplstyle",
        root / "lib" / "unbraid" / "profiles.toml": "",  # its sections are stamped
        root / "notebooks" / "00_start_here.ipynb": "",
        root / "build" / "x.json": "",
        tmp_path / "elsewhere.txt": "",
    }
    assert {path: freshness.name_read(path) for path in names} == names


def write(path, *sources):
    """A notebook with parameters and code cells of these sources."""
    cells = [
        new_code_cell('profile: str = "quick"\nseed: int = 0', metadata={"tags": ["parameters"]}),
        new_markdown_cell("Words."),
        *map(new_code_cell, sources),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata=files.NOTEBOOK_METADATA), path)
    return path


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A notebook that measures, loads settings and reads a file, renewed by the command's code."""
    source = """
        from unbraid import settings
        from unbraid.data.fetch import repository_root
        from unbraid.measures.information import kraskov
        quick = settings.load("vae", profile)
        tables = (repository_root() / "results" / "tables.toml").read_text()
        print(len(tables) > 0, kraskov.__name__)
    """
    folder = tmp_path_factory.mktemp("course")
    notebook = write(folder / "10_a.ipynb", textwrap.dedent(source))
    (outcome,) = execution.renew(folder=folder, to=folder / "build")
    assert outcome.fault == ""
    return notebook


def test_an_executed_notebook_is_fresh_and_its_stamp_says_what_it_read(executed):
    assert freshness.compare(executed) == []
    stamp = nbformat.read(executed, 4).metadata.unbraid.stamp
    assert stamp.profile == "quick" and list(stamp.settings) == ["vae quick"]
    assert list(stamp.files) == ["results/tables.toml"]
    assert "unbraid.measures.information.kraskov" in stamp.library
    assert not list((executed.parent / "build").glob("*.reads"))


@pytest.mark.parametrize(
    "edit, reason",
    (
        (lambda book: book.metadata.pop("unbraid"), "no stamp"),
        (lambda book: book.cells[2].update(source=book.cells[2].source + "\n1 + x"), "own code"),
        (lambda book: book.metadata.unbraid.stamp.settings.update({"vae quick": "0"}), "vae quick"),
        (lambda book: book.metadata.unbraid.stamp.files.update({"results/x": "0"}), "x is gone"),
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
    reasons = freshness.compare(tmp_path / executed.name)
    assert len(reasons) == bool(reason)
    assert reason is None or reason in reasons[0]


def test_a_change_of_the_library_makes_it_stale(executed, library):
    change(library, "measures/information.py", "def kraskov(", "def kraskov(extra, ")
    reasons = freshness.compare(executed, library)
    assert reasons == ["unbraid.measures.information.kraskov changed"]


def test_a_setting_of_another_profile_changes_nothing(monkeypatch):
    before = freshness.digest_section("vae quick"), freshness.digest_section("vae full")
    sections = json.loads(json.dumps(settings.read_sections()))
    name = next(name for name, value in sections["vae"].items() if isinstance(value, dict))
    sections["vae"][name]["full"] = "another"
    monkeypatch.setattr(settings, "read_sections", lambda: sections)
    after = freshness.digest_section("vae quick"), freshness.digest_section("vae full")
    assert before[0] == after[0] and before[1] != after[1]
    assert freshness.digest_section("vanished quick") == freshness.MISSING
