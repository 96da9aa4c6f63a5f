"""Every notebook of the course runs at smoke, twice alike, and its checked outputs hold there."""

from pathlib import Path

import pytest
from unbraid import course

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
each = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def test_the_course_has_notebooks_and_runs_them_all():
    assert NOTEBOOKS
    assert course.select_notebooks(FOLDER) == NOTEBOOKS


@each
@pytest.mark.timeout(1800)
def test_runs_at_smoke_and_gives_the_same_again(notebook, tmp_path, nbval):
    outcome = course.execute(notebook, tmp_path / notebook.name, "smoke")
    assert outcome.fault == ""
    code, report = nbval(outcome.output, "--nbval")  # strict: every output but pictures
    assert code == 0, report


@each
@pytest.mark.timeout(1800)
def test_checked_outputs_hold_at_smoke(notebook, nbval):
    code, report = nbval(notebook, "--nbval-lax")
    assert code == 0, report
