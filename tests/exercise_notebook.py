"""Small notebooks: one of single cells, and one with three exercises of the course's form."""

import copy
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import files

FOLDED = {"jupyter": {"source_hidden": True}}
SETUP = "from unbraid.course.exercises import check, expect\n\nsize = 3"
# By number: level, stub, expectation, solution, and a wrong answer with its explanation.
EXERCISES = {
    "11.1": (
        "recall",
        "answer_11_1 = ...  # your answer",
        'expect("11.1", 2 * size, mistakes=[(size, "The factor of two is missing.")])',
        "solution_11_1 = 2 * size",
        ("answer_11_1 = size", "The factor of two is missing."),
    ),
    "11.2": (
        "build",
        "def answer_11_2(K, d):\n    return ...  # your code",
        "def reference(K, d):\n    return K * d\n\n\n"
        'expect(\n    "11.2",\n    reference,\n    calls=[(2, 3), (1, 4)],\n'
        '    mistakes=[(lambda K, d: K + d, "The sizes are multiplied.")],\n)',
        "def solution_11_2(K, d):\n    print(K, d)\n    return d * K",
        ("def answer_11_2(K, d):\n    return K + d", "The sizes are multiplied."),
    ),
    "11.3": (
        "investigate",
        "count_11_3 = ...  # your answer",
        'expect("11.3", judge=lambda found: "" if found > size else "Take a larger one.")',
        "import math\n\nsolution_11_3 = math.factorial(size)",
        ("count_11_3 = 1", "Take a larger one."),
    ),
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


def name_answer(number: str) -> str:
    """The name that the stub of an exercise assigns."""
    return ("count_" if number == "11.3" else "answer_") + number.replace(".", "_")


def make_cells(number: str) -> list[nbformat.NotebookNode]:
    """The cells of one exercise; the outputs are those of a run."""
    level, stub, expectation, solution, _ = EXERCISES[number]
    label = number.replace(".", "_")
    hint = "<details><summary>Hint</summary>Multiply.</details>"
    expectation = f"# What exercise {number} expects (open it after you have tried).\n{expectation}"
    solution = f'# Solution {number}\n{solution}\n\ncheck("{number}", solution_{label})'

    def show(text):
        return [new_output("execute_result", {"text/plain": f"{number}: {text}"})]

    def tagged(*tags):
        return {"metadata": {"tags": list(tags)}}

    def folded(tag):
        return {"metadata": {"tags": [tag, "hide-cell"]} | FOLDED}

    return [
        new_markdown_cell(f"### Exercise {number} · {level}: Count\nCount.", **tagged("exercise")),
        new_code_cell(stub, **tagged("stub")),
        new_markdown_cell(hint, **tagged("hint")),
        new_code_cell(expectation, **folded("expectation")),
        new_code_cell(
            f'check("{number}", {name_answer(number)})',
            outputs=show("not answered yet"),
            **tagged("check"),
        ),
        new_code_cell(solution, outputs=show("right"), **folded("solution")),
        new_markdown_cell("The Solution's discussion.", **tagged("solution")),
    ]


def write_notebook_of_exercises(path: Path) -> Path:
    """The whole notebook, with a title, links, parameters and a set-up."""
    links = "[next](12_next.ipynb), [later](20_later.ipynb), [source](../lib/own.py#L3), [y](f)"
    cells = [
        new_markdown_cell(f"# Counting\n{links} $[z](x)$"),
        new_code_cell('profile = "quick"', metadata={"tags": ["parameters"]}),
        new_code_cell(SETUP),
    ]
    for number in EXERCISES:
        cells += make_cells(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(files.normalise(new_notebook(cells=cells)), path)
    return path


def edit_answers(book, right=(), wrong=()):
    """A copy of a notebook where the stubs of some exercises hold right or wrong answers."""
    book = copy.deepcopy(book)
    for number, (_, stub, _, solution, mistake) in EXERCISES.items():
        answer = stub
        if number in right:
            label = number.replace(".", "_")
            answer = solution.replace(f"solution_{label}", name_answer(number))
        elif number in wrong:
            answer = mistake[0]
        for cell in book.cells:
            if cell.cell_type == "code" and cell.source.startswith(stub):
                cell.source = cell.source.replace(stub, answer)
    return book
