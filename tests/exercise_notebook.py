"""Small notebooks: one of single cells, and one with three exercises of the course's form."""

import copy
import shutil
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import files

COUNTING = nbformat.read(Path(__file__).with_name("counting.ipynb"), 4)
EXERCISES = {  # a wrong answer to each exercise of this notebook, which it explains
    "11.1": "answer_11_1 = size",
    "11.2": "def answer_11_2(K, d):\n    return K + d",
    "11.3": "count_11_3 = 1",
}


def write_notebook(path: Path, *sources: str) -> Path:
    """A notebook with parameters, words, code cells of these sources, and a checked cell."""
    parameters = 'profile: str = "quick"\nseed: int = 0'
    cells = [
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_markdown_cell("Words."),
        *map(new_code_cell, sources),
        new_code_cell('print("checked")', metadata={"tags": ["nbval-check-output"]}),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata=files.NOTEBOOK_METADATA), path)
    return path


def write_notebook_of_exercises(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(Path(__file__).with_name("counting.ipynb"), path))


def name_answer(number: str) -> str:
    """The name that the stub of an exercise assigns."""
    return ("count_" if number == "11.3" else "answer_") + number.replace(".", "_")


def edit_answers(book, right=(), wrong=()):
    """A copy of a notebook where the stubs of some exercises hold right or wrong answers."""
    book = copy.deepcopy(book)
    for number, mistake in EXERCISES.items():
        own = [cell.source for cell in COUNTING.cells if number.replace(".", "_") in cell.source]
        stub = own[0]
        answer = mistake if number in wrong else stub
        if number in right:
            (solution,) = [source for source in own if source.startswith("# Solution")]
            answer = solution.rpartition("\n\ncheck")[0].replace("solution_", "answer_")
            answer = answer.replace("answer_11_3", "count_11_3")
        for cell in book.cells:
            if cell.cell_type == "code" and cell.source.startswith(stub):
                cell.source = cell.source.replace(stub, answer)
    return book
