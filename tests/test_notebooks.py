"""Every notebook of the course: it runs at smoke, twice alike; its checked outputs hold at smoke; it is fit to be committed."""

import re
from pathlib import Path

import nbformat
import pytest

from unbraid import course

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
each = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def test_the_course_has_notebooks_and_runs_them_all():
    assert NOTEBOOKS, f"{FOLDER} has no notebooks"
    assert course.chosen(FOLDER) == NOTEBOOKS


@each
@pytest.mark.timeout(900)
def test_runs_at_smoke_and_gives_the_same_again(notebook, tmp_path, nbval):
    outcome = course.execute(notebook, tmp_path / notebook.name, "smoke")
    assert outcome.fault == ""
    code, report = nbval(outcome.output, "--nbval")  # strict: every output but pictures
    assert code == 0, report


@each
@pytest.mark.timeout(900)
def test_checked_outputs_hold_at_smoke(notebook, nbval):
    code, report = nbval(notebook, "--nbval-lax")
    assert code == 0, report


@each
def test_is_fit_to_be_committed(notebook):
    assert course.check_hygiene(notebook) == []


def test_each_notebook_leads_to_the_next_by_its_title():
    texts = {
        path.name: [
            cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"
        ]
        for path in NOTEBOOKS
    }
    for before, after in zip(NOTEBOOKS, NOTEBOOKS[1:]):
        title = texts[after.name][0].splitlines()[0].removeprefix("# ")
        assert re.findall(r"Next: \[(.+?)\]\((.+?)\)", texts[before.name][-1]) == [
            (title, after.name)
        ]
