"""Assignments for otter-grader: marks of right, missing and wrong answers.

A runner of a few lines grades a small one here; with the mark `grading` the grader itself, which
lives in an environment of its own, assigns and grades all pages.
"""

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
import torch
from exercise_notebook import EXERCISES, edit_answers, write_notebook_of_exercises
from helpers import NOTEBOOKS
from nbformat.v4 import new_code_cell
from unbraid_course.workshop import read_texts

from tools import assignment

SOLUTION = re.compile(r"# BEGIN SOLUTION.*# END SOLUTION", re.DOTALL)
ALL = tuple(EXERCISES)
SUBMISSIONS = (  # exercises with right and with wrong answers, and the marks of each
    ((), (), [0, 0, 0]),
    (ALL, (), [1, 2, 3]),
    ((), ALL, [0, 0, 0]),
    (("11.2",), (), [0, 2, 0]),
    (("11.1", "11.3"), ("11.2",), [1, 0, 3]),
)
GRADE_WITH_OTTER = """
import json, sys
from otter.api import grade_submission

archive, *submissions = sys.argv[1:]
graded = [grade_submission(path, archive, quiet=True) for path in submissions]
found = [{"total": each.total, "possible": each.possible, "report": each.summary()}
         for each in graded]
print(json.dumps(found))
"""


@pytest.fixture
def source(tmp_path):
    return write_notebook_of_exercises(tmp_path / "notebooks" / "11_count.ipynb")


@pytest.fixture
def book(source, tmp_path):
    (path,) = assignment.write_assignment(tmp_path / "build", folder=source.parent)
    assert path == tmp_path / "build" / "11" / "11_count.ipynb"
    return nbformat.read(path, 4)


def read_form(book):
    """What the grader runs: pairs of code and points, which are 0 for no test."""
    points = 0
    for previous, cell in zip([None, *book.cells], book.cells, strict=False):
        if cell.cell_type == "raw" and "BEGIN QUESTION" in cell.source:
            points = int(re.search(r"points: (\d)", cell.source)[1])
        if cell.cell_type != "code":
            continue
        if previous is not None and previous.source == "# BEGIN TESTS":
            expected = cell.outputs[0].data["text/plain"]
            *lines, last = cell.source.splitlines()
            yield "\n".join([*lines, f"assert repr({last}) == {expected!r}"]), points
        else:
            yield cell.source, 0


def grade(book, keep_solutions=False):
    """Marks for each exercise: run every cell; a test that raises gives none."""
    marks = []
    names = {}
    for source, points in read_form(book):
        code = source if keep_solutions else SOLUTION.sub("", source)
        try:
            exec(code, names)
            marks += [points] * bool(points)
        except AssertionError:
            marks.append(0)
    return marks


def test_marks(book):
    assert grade(book, keep_solutions=True) == [1, 2, 3]
    for right, wrong, marks in SUBMISSIONS:
        assert grade(edit_answers(book, right, wrong)) == marks


def find_mistake(path):
    """Of a page's first exercise that knows one: the answer's name, cells that give this mistake
    as the answer, and what is said of it."""
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    for cell in cells:
        if "expectation" in cell.metadata.get("tags", []):
            *lines, last = ast.parse(cell.source).body
            given = {each.arg: each.value for each in last.value.keywords}
            if "mistakes" in given:
                wrong, says = given["mistakes"].elts[0].elts
                number = ast.literal_eval(last.value.args[0])
                call = re.compile(rf"check\([\"']{re.escape(number)}[\"'], (\w+)\)")
                name = next(match[1] for each in cells if (match := call.search(each.source)))
                source = "\n".join(map(ast.unparse, lines))
                source += f"\n{name} = {ast.unparse(wrong)}"
                return name, source, ast.literal_eval(says)
    return None


@pytest.mark.grading
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_otter_assigns_and_grades_a_page(path, tmp_path):
    """As docs/teaching.md says it; the reference has all points, a known mistake its sentence."""
    program = shutil.which("otter")
    assert program, "otter-grader is not installed; make test ONLY=grading installs it"
    (written,) = assignment.write_assignment(tmp_path, path.name[:2], profile="smoke")

    def run(*arguments):
        command = [Path(program).with_name("python"), *arguments]
        done = subprocess.run(command, cwd=written.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    run("-m", "otter", "assign", written.name, "dist")
    teachers = written.parent / "dist" / "autograder"
    reference, wrong = teachers / written.name, tmp_path / "wrong" / written.name
    released = nbformat.read(written.parent / "dist" / "student" / written.name, 4)
    assert not any("expect(" in cell.source for cell in released.cells)
    name, source, says = find_mistake(path)
    book = nbformat.read(reference, 4)
    last = [n for n, cell in enumerate(book.cells) if re.search(rf"^{name} = ", cell.source, re.M)]
    book.cells.insert(last[-1] + 1, new_code_cell(source))
    wrong.parent.mkdir()
    nbformat.write(book, wrong)
    (archive,) = teachers.glob("*.zip")
    printed = run("-c", GRADE_WITH_OTTER, archive, reference, wrong)
    right, mistaken = json.loads(printed.splitlines()[-1])
    assert right["total"] == right["possible"] > 0, right["report"]
    assert mistaken["total"] < mistaken["possible"], source
    assert " ".join(says.split()) in " ".join(mistaken["report"].split()), mistaken["report"]


def test_the_notebook_runs_at_the_profile_that_is_asked_for(root, tmp_path):
    (path,) = assignment.write_assignment(tmp_path, "00", root / "notebooks", "smoke")
    assert (
        sum('profile: str = "smoke"' in cell.source for cell in nbformat.read(path, 4).cells) == 1
    )


@pytest.mark.parametrize("kept, says", ((slice(-2), "11.3: found no cell"), (slice(0), "none")))
def test_what_is_no_exercise_is_refused(kept, says, source, tmp_path):
    book = nbformat.read(source, 4)
    book.cells = book.cells[kept]
    nbformat.write(book, source)
    with pytest.raises(ValueError, match=says):
        assignment.write_assignment(tmp_path / "build", folder=source.parent)


@pytest.mark.parametrize("number", ["03", "11", "32", "33"])
def test_a_workshops_functions_are_questions(number, root, tmp_path):
    """Each function gives a point if it is typed, and none as it is handed out."""
    (path,) = assignment.write_assignment(tmp_path, number, root / "notebooks", "smoke")
    book = nbformat.read(path, 4)
    texts, names = read_texts(number), {"device": torch.device("cpu")}
    for cell in book.cells:  # imports and functions, without the rest of the page
        if cell.cell_type == "code":
            kinds = ast.Import | ast.ImportFrom | ast.FunctionDef
            nodes = [node for node in ast.parse(cell.source).body if isinstance(node, kinds)]
            exec(compile(ast.Module(nodes, []), "<page>", "exec"), names)
    tests = {cell.source: cell.outputs[0].data["text/plain"] for cell in find_tests(book)}
    assert sorted(tests.values()) == sorted(f"{name}: right" for name in texts)
    for keep_solutions in (False, True):
        for cell in book.cells:
            if "# BEGIN SOLUTION NO PROMPT" in cell.source and "NotImplemented" in cell.source:
                source = cell.source if keep_solutions else SOLUTION.sub("", cell.source)
                exec(source, names)
        for source, right in tests.items():
            *lines, last = source.splitlines()
            exec("\n".join(lines), names)
            assert (repr(eval(last, names)) == right) == keep_solutions


def find_tests(book):
    """The hidden tests of a workshop."""
    return [
        cell for cell in book.cells if cell.source.startswith("# HIDDEN\nfrom unbraid_course im")
    ]
