"""Exercises in the notebooks: their cells in order, levels, mistakes, and names of their own."""

import ast
import re
from pathlib import Path

import nbformat
from helpers import each_notebook

from tools import files

ORDER = ["exercise", "stub", "hint", "expectation", "check", "solution"]
TITLE = r"### Exercise (\d\d\.\d) · (recall|build|investigate): \S"
FOLDED = {"expectation", "solution"}


def read_exercises(path: Path) -> dict[str, dict[str, nbformat.NotebookNode]]:
    """For each exercise's number its cells by tag; asserts their order."""
    exercises = {}
    cells = []
    for cell in nbformat.read(path, 4).cells:
        if found := set(files.tags(cell)) & set(ORDER):
            cells.append((found.pop(), cell))
    for index, (tag, cell) in enumerate(cells):
        if tag == "exercise":
            number = re.match(TITLE, cell.source)
            assert number, cell.source[:80]
            assert [found for found, _ in cells[index : index + len(ORDER)]] == ORDER
            exercises[number[1]] = dict(cells[index : index + len(ORDER)])
    code = [tag for tag, cell in cells if cell.cell_type == "code"]
    assert len(code) == 4 * len(exercises), "a cell of an exercise stands outside of one"
    return exercises


def assigned(source: str) -> set[str]:
    """The names that a cell's own statements bind."""
    names = set()
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.add(statement.name)
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return names


@each_notebook
def test_it_has_exercises_on_three_levels(path):
    exercises = read_exercises(path)
    assert list(exercises) == [f"{path.name[:2]}.{n}" for n in range(1, len(exercises) + 1)]
    levels = {re.match(TITLE, cells["exercise"].source)[2] for cells in exercises.values()}
    assert levels == {"recall", "build", "investigate"}


@each_notebook
def test_a_solution_never_overwrites_the_learners_answer(path):
    for number, cells in read_exercises(path).items():
        learners = assigned(cells["stub"].source)
        assert learners and not learners & assigned(cells["solution"].source), number
        assert not learners & assigned(cells["expectation"].source), number


@each_notebook
def test_what_gives_an_answer_away_is_folded_behind_a_comment(path):
    for cells in read_exercises(path).values():
        for tag in FOLDED:
            hidden = cells[tag].metadata
            assert hidden.jupyter.source_hidden and "hide-cell" in hidden.tags
            assert cells[tag].source.startswith("# ")
        assert cells["hint"].source.startswith("<details>")


@each_notebook
def test_two_mistakes_of_each_exercise_are_explained(path):
    for number, cells in read_exercises(path).items():
        nodes = ast.walk(ast.parse(cells["expectation"].source))
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        (call,) = (call for call in calls if ast.unparse(call.func) == "expect")
        given = {word.arg: word.value for word in call.keywords}
        assert call.args[0].value == number and len(given["mistakes"].elts) >= 2, number
