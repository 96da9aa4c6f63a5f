"""Assignments for otter-grader: marks of right, missing and wrong answers.

A runner of a few lines grades them here; `make grading` has the grader itself do it.
"""

import re

import nbformat
import pytest
from exercise_notebook import EXERCISES, edit_answers, write_notebook_of_exercises
from nbformat.v4 import new_code_cell

from tools import assignment

SOLUTION = re.compile(r"# BEGIN SOLUTION.*# END SOLUTION", re.DOTALL)


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
    assert grade(book) == [0, 0, 0]
    assert grade(edit_answers(book, right=("11.1", "11.3"), wrong=["11.2"])) == [1, 0, 3]
    assert grade(edit_answers(book, right=["11.2"])) == [0, 2, 0]
    assert grade(edit_answers(book, wrong=tuple(EXERCISES))) == [0, 0, 0]


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
