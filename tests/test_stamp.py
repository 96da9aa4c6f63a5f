"""What a notebook's stamp holds, and which changes make it stale."""

import ast
import json
import subprocess
import sys
import textwrap

import nbformat
import pytest
from exercise_notebook import write_notebook

from tools import execution, recording, stamp


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
        root / "lib" / "unbraid" / "unbraid.mplstyle": "",  # the library is no content
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
    assert list(made_from.files) == ["results/tables.toml"]
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


@pytest.mark.parametrize("new, is_equal", (("# other words\na = 1", True), ("a = 2", False)))
def test_tables_count_by_their_values(tmp_path, monkeypatch, new, is_equal):
    monkeypatch.setattr(stamp, "ROOT", tmp_path)
    digests = []
    for text in ("# words\na  =  1\n", new):
        (tmp_path / "table.toml").write_text(text)
        digests.append(stamp.digest_file("table.toml"))
    assert (digests[0] == digests[1]) == is_equal
    assert stamp.digest_file("vanished.toml") == stamp.MISSING


@pytest.mark.parametrize(
    "change, is_equal",
    (
        ({"protocol": {"files": {"run": {"0": {"shipped": False}}}}}, True),
        ({"run": {"a": 2}}, False),
    ),
)
def test_metrics_count_by_their_figures(tmp_path, monkeypatch, change, is_equal):
    monkeypatch.setattr(stamp, "ROOT", tmp_path)
    digests = []
    for metrics in ({"run": {"a": 1}, "protocol": {}}, {"run": {"a": 1}, "protocol": {}} | change):
        (tmp_path / "metrics.json").write_text(json.dumps(metrics))
        digests.append(stamp.digest_file("metrics.json"))
    assert (digests[0] == digests[1]) == is_equal
