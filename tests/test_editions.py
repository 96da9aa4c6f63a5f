"""Editions for learners and for teachers, of a small notebook and of those of the course."""

import ast
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from exercise_notebook import EXERCISES, write_notebook_of_exercises
from helpers import each_notebook

from tools import __main__ as commands
from tools import assignment, desk, editions, execution, files

NOTE = """\
[teaching]
teach = 45
do = 60
misconceptions = ["A plane is a point.", "Two is one.", "$K d$ is a sum."]
questions = ["Why?", "What if $d = 1$?"]
"""


@pytest.fixture
def folder(tmp_path):
    """A clone with three notebooks, one of which has exercises, and one more file."""
    folder = tmp_path / "notebooks"
    write_notebook_of_exercises(folder / "11_count.ipynb")
    nbformat.write(nbformat.v4.new_notebook(), folder / "12_next.ipynb")
    nbformat.write(nbformat.v4.new_notebook(), folder / "20_later.ipynb")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "own.py").touch()
    return folder


def read_edition(edition, folder, tmp_path, only=""):
    paths = editions.write_edition(edition, tmp_path / "build" / edition, only, folder)
    return nbformat.read(paths[0], 4)


def tagged(book, tag):
    return [cell for cell in book.cells if tag in files.tags(cell)]


def read_verdicts(book, tag):
    """What the cells with a tag show."""
    code = [cell for cell in tagged(book, tag) if cell.cell_type == "code"]
    return [cell.outputs[0].data["text/plain"] for cell in code]


def test_learners_get_no_solutions_and_a_notebook_that_runs(folder, tmp_path):
    source = (folder / "11_count.ipynb").read_bytes()
    book = read_edition("student", folder, tmp_path)
    assert "olution" not in str(book)
    assert [cell.outputs for cell in tagged(book, "check")] == [[], [], []]
    for tag in ("exercise", "stub", "hint", "expectation", "check"):
        assert len(tagged(book, tag)) == len(EXERCISES)
    assert all(cell.metadata.jupyter.source_hidden for cell in tagged(book, "expectation"))
    assert (folder / "11_count.ipynb").read_bytes() == source

    student, output = tmp_path / "build" / "student" / "11_count.ipynb", tmp_path / "out.ipynb"
    assert execution.execute(student, output, "smoke").fault == ""
    verdicts = read_verdicts(nbformat.read(output, 4), "check")
    assert verdicts == [f"{number}: not answered yet" for number in EXERCISES]


def test_teachers_get_open_solutions_and_a_note_below_the_title(folder, tmp_path):
    assert tagged(read_edition("teacher", folder, tmp_path), "teacher") == []
    (folder / "11.toml").write_text(NOTE)
    book = read_edition("teacher", folder, tmp_path)
    assert book.cells[0].source.startswith("# Counting")
    note = book.cells[1].source
    for text in ("45 minutes to teach", "60 minutes", "1. $K d$ is a sum.", "1. Why?"):
        assert text in note
    for tag in ("expectation", "solution"):
        for cell in tagged(book, tag):
            assert files.tags(cell) == [tag] and not cell.metadata.get("jupyter")
    assert read_verdicts(book, "solution") == [f"{number}: right" for number in EXERCISES]


@pytest.mark.parametrize(
    "only, next_one", (("", "12_next.ipynb"), ("11", "../../notebooks/12_next.ipynb"))
)
def test_links_lead_where_they_led(only, next_one, folder, tmp_path):
    text = read_edition("student", folder, tmp_path, only).cells[0].source
    assert f"[next]({next_one})" in text and "[source](../../lib/own.py#L3)" in text
    assert "[y](f) $[z](x)$" in text
    for link in re.findall(r"\]\(([^)#]+\.\w+)", text):
        assert (tmp_path / "build" / "student" / link).exists()


@pytest.fixture
def clone(folder, tmp_path, monkeypatch):
    """The clone, where commands work."""
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)


def test_the_command_writes_into_build_or_elsewhere(clone, capsys):
    assert commands.main(["student"]) == 0
    assert "3 files written in build/student" in capsys.readouterr().out
    assert len(list(Path("build/student").iterdir())) == 3
    for command in ("teacher", "student"):  # over what an edition has written
        assert commands.main([command, "--only", "11", "--to", "elsewhere"]) == 0
        assert [path.name for path in Path("elsewhere").glob("[!.]*")] == ["11_count.ipynb"]


def test_the_command_writes_over_nothing_else(clone, folder, capsys):
    Path("mine", "figures").mkdir(parents=True)
    Path("mine", "figures", "alt.toml").write_text("mine")
    for place in ("mine", "build/../mine"):  # whatever a file is called, and the folder
        assert commands.main(["student", "--only", "11", "--to", place]) == 2
    assert [path.read_text() for path in Path("mine").rglob("*.*")] == ["mine"]
    before = (folder / "11_count.ipynb").read_bytes()
    for command in ("student", "assignment", "run"):  # not even at another name
        assert commands.main([command, "--only", "11", "--to", str(folder)]) == 2
    assert (folder / "11_count.ipynb").read_bytes() == before
    for command in ("student", "teacher", "run"):
        assert commands.main([command, "--to", str(Path(__file__) / "none")]) == 1
        assert "; --to FOLDER names another place\n" in capsys.readouterr().err
    assert commands.main(["teacher", "--only", "77"]) == 2


@each_notebook
def test_a_note_has_the_minutes_of_the_header_and_sections_for_the_lecture(path):
    book, teaching = nbformat.read(path, 4), files.read_facts(path)["teaching"]
    times = r"Study: (\d+) minutes, and (\d+) for the exercises\. Runs in (.*?) on two cores"
    (found,) = re.findall(times, "\n".join(cell.source for cell in book.cells[:2]))
    note = editions.write_note(teaching)
    assert f"{found[0]} minutes to teach, {found[1]} minutes to do" in note
    assert found[2] in ("half a minute", "a minute", f"{execution.read_minutes(path):g} minutes")
    assert [len(teaching[name]) for name in ("misconceptions", "questions")] == [3, 2]
    lecture = set(teaching["lecture"])
    editions.mark_sections(book, lecture)
    text = "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    places = dict(re.findall(r"(?m)^## (\d+)\. .+\n\n\*(lecture|home)\*$", text))
    assert lecture == {int(number) for number, where in places.items() if where == "lecture"}


@each_notebook
def test_expectations_and_solutions_use_names_of_the_page_and_their_own_alone(path):
    """In an assignment the expectation is hidden, the solution gone, and each stands for itself."""
    page, apart = {ast.Store: set(), ast.Load: set()}, []
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code":
            alone = {"solution", "expectation"} & {*files.tags(cell)}
            names = {ast.Store: set(), ast.Load: set()} if alone else page
            collect_names(ast.parse(cell.source), names)
            if alone:
                apart.append(names)
    defined = set().union(*(names[ast.Store] for names in apart)) - page[ast.Store]
    assert page[ast.Load] & defined == set()
    for names in apart:
        assert (names[ast.Load] - names[ast.Store]) & defined == set()


def collect_names(tree, names):
    """Add the names that code assigns and reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and type(node.ctx) in names:
            names[type(node.ctx)].add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[ast.Store].add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names[ast.Store] |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.arg):
            names[ast.Store].add(node.arg)


def test_copies_of_every_kind_have_the_drawings_that_they_show(tmp_path, monkeypatch):
    """A cell reads its drawing from beside the notebook, wherever a copy of it runs."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))  # of signatures
    lessons = tmp_path / "clone" / "notebooks"
    shutil.copytree(files.ROOT / "notebooks", lessons, ignore=shutil.ignore_patterns("1*", "2*"))
    desk.lay_out(lessons.parent)
    copies = [*(lessons.parent / "mine").glob("*.ipynb")]
    for edition in ("student", "teacher"):
        copies += editions.write_edition(edition, tmp_path / edition, folder=lessons)
    copies += assignment.write_assignment(tmp_path / "assignment", only="00 34", folder=lessons)
    shown = []
    for path in copies:
        for name in re.findall(r"figures/\w+\.svg", path.read_text(encoding="utf-8")):
            assert (path.parent / name).exists(), (path, name)
            shown.append(name)
    assert len(shown) >= 3 * 9
