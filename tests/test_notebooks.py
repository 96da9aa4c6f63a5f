"""Papermill runs every notebook at smoke, and nbval compares the tagged cells of that copy.

On the way its exercises meet wrong answers of each likely kind and accept none of them.
"""

import os
from types import SimpleNamespace

import nbformat
import pytest
from helpers import NOTEBOOKS
from nbval import plugin as nbval
from papermill import execute_notebook
from wrong_answers import insert_trials, read_faults

from tools import execution, files
from tools.forked_kernels import serve

CHECKED = "nbval-check-output"  # the tag of cells whose output is the same at every profile
NOT_COMPARED = ("metadata", "output_type", "name", "execution_count", "image/png")
# The longest begin first, or one core waits for them.
ORDERED = sorted(NOTEBOOKS, key=execution.read_minutes, reverse=True)
each = pytest.mark.parametrize("path", ORDERED, ids=lambda path: path.stem)


@pytest.fixture(scope="session")
def kernels():
    with serve(os.environ | {"PYTHONPATH": ""}) as folder:
        yield folder


@pytest.fixture
def as_a_reader(kernels, monkeypatch):
    """Modules are found as an installed environment finds them, with nothing of the tests."""
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setenv("JUPYTER_PATH", kernels)
    monkeypatch.setenv("UNBRAID_FILM_FRAMES", "2")  # to draw them all takes long


# In this process, and saved once: to start papermill and to save after each cell takes longer.
HOW = {"kernel_name": "python3", "progress_bar": False, "request_save_on_cell_execute": False}
HOW |= {"autosave_cell_every": 0, "execution_timeout": execution.CELL_SECONDS["smoke"]}


@each
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # papermill's own
def test_papermill_runs_it_from_the_clone(path, root, tmp_path, as_a_reader, monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # by which the library would know of a test
    tried = files.write(insert_trials(nbformat.read(path, 4)), tmp_path / "tried" / path.name)
    output, committed = tmp_path / path.name, nbformat.read(path, 4)
    executed = execute_notebook(tried, output, {"profile": "smoke"}, cwd=root, **HOW)
    assert execution.find_fault(output) == ""
    for tag, says in (("check", "not answered yet"), ("solution", "right")):
        assert set(read_verdicts(executed, tag)) == {says}
    assert read_faults(executed) == []
    if any(cell.get("outputs") for cell in committed.cells):  # none while it is being rewritten
        assert compare_tagged_cells(committed, executed) == ""


def read_verdicts(book, tag):
    """What the checks of exercises say in the cells with a tag."""
    cells = [cell for cell in book.cells if tag in files.tags(cell)]
    shown = [cell.outputs[-1].data["text/plain"] for cell in cells if cell.cell_type == "code"]
    return [text.partition(": ")[2] for text in shown]


def compare_tagged_cells(committed, executed):
    """By nbval's own comparison, in what a tagged cell's output differs from the committed one."""
    found = {cell.id: cell.outputs for cell in executed.cells if cell.cell_type == "code"}
    file = SimpleNamespace(skip_compare=NOT_COMPARED, sanitize_patterns={})
    differences = []
    cell = SimpleNamespace(
        parent=file,
        colors=nbval.nocolors,
        sanitize=lambda value: value,
        format_output_compare=lambda kind, *values: differences.append(" became ".join(values)),
    )
    for each in committed.cells:
        if CHECKED in files.tags(each):
            pair = (nbval.coalesce_streams(outputs) for outputs in (found[each.id], each.outputs))
            if not nbval.IPyNbCell.compare_outputs(cell, *pair):
                differences += [*cell.comparison_traceback, f"in the cell\n{each.source}"]
    return "\n".join(differences)
