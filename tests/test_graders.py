"""otter-grader itself grades an assignment: `make grading`.

It lives in an environment of its own; elsewhere these tests are skipped.
"""

import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from exercise_notebook import EXERCISES, edit_answers, write_notebook_of_exercises

from tools import assignment

SUBMISSIONS = {
    "solved": {"right": tuple(EXERCISES)},
    "untouched": {},
    "mistaken": {"wrong": tuple(EXERCISES)},
    "partial": {"right": ("11.1", "11.3"), "wrong": ("11.2",)},
}
MARKS = {"solved": 6, "untouched": 0, "mistaken": 0, "partial": 4}
GRADE_WITH_OTTER = """
import sys
from otter.api import grade_submission

archive, *submissions = sys.argv[1:]
for path in submissions:
    print("marks", grade_submission(path, archive, quiet=True).total)
"""
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def clone(tmp_path):
    """A folder with the assignment of a small notebook."""
    source = write_notebook_of_exercises(tmp_path / "notebooks" / "11_count.ipynb")
    assignment.write_assignment(tmp_path, folder=source.parent)
    return tmp_path


@pytest.fixture
def run(clone):
    """Run a grader's Python: run(folder, *arguments) -> what it prints."""
    program = shutil.which("otter")
    if not program:
        pytest.skip("make grading runs this")

    def run(folder, *arguments):
        command = [Path(program).with_name("python"), *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def submit(released, folder):
    """Write every submission, made from the notebook that learners get; returns the paths."""
    paths = []
    for name, answers in SUBMISSIONS.items():
        path = folder / name / released.parent.name / released.name
        path.parent.mkdir(parents=True)
        nbformat.write(edit_answers(nbformat.read(released, 4), **answers), path)
        paths.append(path)
    return paths


def test_otter_gives_the_marks(clone, run):
    folder = clone / "11"
    run(folder, "-m", "otter", "assign", "11_count.ipynb", "dist")
    learners, teachers = folder / "dist" / "student", folder / "dist" / "autograder"
    text = (learners / "11_count.ipynb").read_text()
    assert "olution" not in text and "expect(" not in text
    (archive,) = teachers.glob("*.zip")
    submissions = submit(learners / "11_count.ipynb", clone / "submitted")
    printed = run(folder, "-c", GRADE_WITH_OTTER, archive, *submissions)
    marks = [line.split() for line in printed.splitlines() if line.startswith("marks")]
    assert [float(line[1]) for line in marks] == list(MARKS.values())
