"""Every notebook runs at smoke: by papermill from the clone, and under nbval in its folder.

Under papermill its exercises meet wrong answers of each likely kind and accept none of them.
"""

import os
import subprocess
import sys
import warnings

import nbformat
import pytest
from helpers import NOTEBOOKS
from wrong_answers import insert_trials, read_faults

from tools import assignment, execution, files

CHECKED = "nbval-check-output"  # the tag of cells whose output is the same at every profile
SECONDS = 10  # that a notebook should take at smoke
# The longest are among the last of the course; they begin first, or one core waits for them.
each = pytest.mark.parametrize("path", NOTEBOOKS[::-1], ids=lambda path: path.stem)


def test_the_course_has_notebooks_and_runs_them_all():
    assert NOTEBOOKS and files.select_notebooks() == NOTEBOOKS


@pytest.fixture
def as_a_reader(monkeypatch):
    """Modules are found as an installed environment finds them, with nothing of the tests."""
    monkeypatch.delenv("PYTHONPATH")


@each
@pytest.mark.timeout(900)
def test_papermill_runs_it_from_the_clone(path, root, tmp_path, as_a_reader, monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # by which the library would know of a test
    tried = files.write(insert_trials(nbformat.read(path, 4)), tmp_path / "tried" / path.name)
    outcome = execution.execute(tried, tmp_path / path.name, "smoke", folder=root)
    assert outcome.fault == ""
    if outcome.seconds > SECONDS:
        warnings.warn(f"{path.stem} took {outcome.seconds:.0f} s at smoke", stacklevel=1)
    for tag, says in (("check", "not answered yet"), ("solution", "right")):
        assert set(read_verdicts(outcome.output, tag)) == {says}
    assert read_faults(nbformat.read(outcome.output, 4)) == []


def read_verdicts(path, tag):
    """What the checks of exercises say in the cells with a tag."""
    cells = [cell for cell in nbformat.read(path, 4).cells if tag in files.tags(cell)]
    shown = [cell.outputs[-1].data["text/plain"] for cell in cells if cell.cell_type == "code"]
    return [text.partition(": ")[2] for text in shown]


@each
@pytest.mark.timeout(900)
def test_its_checked_cells_give_their_outputs_under_nbval(path, tmp_path, as_a_reader):
    book = nbformat.read(path, 4)
    if not any(cell.get("outputs") for cell in book.cells):
        pytest.skip("it is being rewritten: no outputs are committed")
    checked = [n for n, cell in enumerate(book.cells) if CHECKED in files.tags(cell)]
    if not checked:
        pytest.skip("all its numbers depend on which digits are here")
    book.cells = book.cells[: checked[-1] + 1]  # The others ran under papermill.
    assignment.set_profile(book, "smoke")
    copy = files.write(book, tmp_path / path.name)
    files.copy_drawings(path.parent, tmp_path, book)
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-q", copy]
    command += ["--nbval-cell-timeout=300", "-p", "no:cacheprovider"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, env=kept, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
