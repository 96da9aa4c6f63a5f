"""Every notebook of the course runs at smoke, its checked outputs hold, and it repeats itself."""

from pathlib import Path

import nbformat
import pytest

from tools import execution, files

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
# The longest are among the last of the course; they begin first, or one core waits for them.
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"), reverse=True)


def checked_outputs(path: Path) -> dict[str, list]:
    """What the cells tagged nbval-check-output print, by their source; pictures left out."""
    printed = {}
    for cell in nbformat.read(path, 4).cells:
        if "nbval-check-output" in cell.metadata.get("tags", []):
            printed[cell.source] = []
            for output in cell.outputs:
                data = output.get("data", {})
                printed[cell.source].append(output.get("text") or data.get("text/plain"))
    return printed


def test_the_course_has_notebooks_and_runs_them_all():
    assert NOTEBOOKS
    assert files.select_notebooks(FOLDER) == NOTEBOOKS[::-1]


def answers(path: Path) -> list[str]:
    """What the checks of exercises say, below the stubs and below the solutions."""
    cells = nbformat.read(path, 4).cells
    checked = [cell for cell in cells if {"check", "solution"} & set(files.tags(cell))]
    code = [cell for cell in checked if cell.cell_type == "code"]
    return [cell.outputs[-1].data["text/plain"] for cell in code]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.timeout(1800)
def test_it_runs_at_smoke_with_its_checked_outputs_and_gives_the_same_again(notebook, tmp_path):
    outcome = execution.execute(notebook, tmp_path / notebook.name, "smoke")
    assert outcome.fault == ""
    expected = checked_outputs(notebook)
    assert expected
    if any(expected.values()):  # A notebook that is being rewritten has no outputs.
        assert checked_outputs(outcome.output) == expected
        assert answers(outcome.output) == answers(notebook)
    # `make notebooks` ran it twice; with other code or other versions of packages it runs again.
    if not execution.has_repeated(notebook):
        assert execution.find_difference(outcome) == ""
