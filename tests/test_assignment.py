"""Assignments for otter-grader: marks of right, missing and wrong answers.

A runner of a few lines grades them here; in `make grading` the grader itself does it, too, which
lives in an environment of its own.
"""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
import torch
from exercise_notebook import EXERCISES, edit_answers, write_notebook_of_exercises
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
import sys
from otter.api import grade_submission

archive, *submissions = sys.argv[1:]
for path in submissions:
    print("marks", grade_submission(path, archive, quiet=True).total)
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


@pytest.mark.timeout(600)
def test_otter_gives_the_marks(book, tmp_path):
    program, folder = shutil.which("otter"), tmp_path / "build" / "11"
    if not program:
        pytest.skip("make grading runs this")

    def run(*arguments):
        command = [Path(program).with_name("python"), *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "otter", "assign", "11_count.ipynb", "dist")
    learners, teachers = folder / "dist" / "student", folder / "dist" / "autograder"
    released = nbformat.read(learners / "11_count.ipynb", 4)
    assert "olution" not in str(released) and "expect(" not in str(released)
    submissions = []
    for number, (right, wrong, _) in enumerate(SUBMISSIONS):
        submissions.append(tmp_path / f"{number}" / "student" / "11_count.ipynb")
        submissions[-1].parent.mkdir(parents=True)
        nbformat.write(edit_answers(released, right, wrong), submissions[-1])
    printed = run("-c", GRADE_WITH_OTTER, *teachers.glob("*.zip"), *submissions)
    marks = [float(line.split()[1]) for line in printed.splitlines() if line.startswith("marks")]
    assert marks == [sum(each) for _, _, each in SUBMISSIONS]


def test_the_rest_of_the_notebook_stays(source, book):
    kept = {cell.source for cell in book.cells if cell.cell_type != "raw"}
    tags = ("stub", "expectation", "check", "solution")
    for cell in nbformat.read(source, 4).cells:
        is_replaced = any(tag in cell.metadata.get("tags", []) for tag in tags)
        assert (cell.source in kept) != is_replaced


def test_the_notebook_runs_at_the_profile_that_is_asked_for(source, tmp_path):
    book = nbformat.read(source, 4)
    parameters = 'profile: str = "quick"  # smoke, quick or full\nseed: int = 0'
    cell = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    other = new_code_cell('profile: str = "quick"')
    book.cells[:0] = [cell, other]
    nbformat.write(book, source)
    (path,) = assignment.write_assignment(tmp_path, folder=source.parent, profile="smoke")
    written = [each.source for each in nbformat.read(path, 4).cells]
    assert written[1] == parameters.replace("quick", "smoke", 1)
    assert written[2] == other.source


@pytest.mark.parametrize(
    "change, says",
    (
        (lambda cells: cells.pop(-2), "11.3: found no cell tagged solution"),
        (lambda cells: cells.pop(3), "expected one in each exercise"),
        (lambda cells: cells[3].update(source="### Exercise 1.1 · guess: x"), "guess"),
        (lambda cells: cells[-2].update(source="x = 1"), "11.3, solution: expected check"),
        (lambda cells: cells.clear(), "found none"),
    ),
)
def test_what_is_no_exercise_is_refused(change, says, source, tmp_path):
    book = nbformat.read(source, 4)
    change(book.cells)
    nbformat.write(book, source)
    with pytest.raises(ValueError, match=re.escape(says)):
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
