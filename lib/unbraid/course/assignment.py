"""A notebook's exercises in the forms that otter-grader and nbgrader read.

Both forms hold the stub and the solution in one cell, and the expectation in a hidden test. The
graders themselves take them apart: `otter assign`, `nbgrader generate_assignment`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output, new_raw_cell

from unbraid.course.editions import write_notebook
from unbraid.course.execution import select_notebooks
from unbraid.course.files import tags

POINTS = {"recall": 1, "build": 2, "investigate": 3}
CELL_TAGS = ("exercise", "stub", "expectation", "check", "solution")
HEADING = re.compile(r"^#+ Exercise (\d+\.\d+) · (recall|build|investigate)", re.MULTILINE)
CHECK = re.compile(r"""^check\(["'][\d.]+["'], (.+)\)[ ]*$""", re.MULTILINE)
OTTER_SETTINGS = """\
# ASSIGNMENT CONFIG
name: {name}
generate: true
init_cell: false
export_cell: false"""
NBGRADER_SETTINGS = """\
# Settings of nbgrader for this assignment. A cell may take an hour.
c = get_config()
c.ClearSolutions.code_stub = {"python": "# Your answer stands above this line."}
c.Execute.timeout = 3600
"""
# What an answer prints is no part of what a doctest compares.
DOCTEST = """\
# HIDDEN
from contextlib import redirect_stdout
from io import StringIO
from unbraid.exercises import check, expect
{expectation}
with redirect_stdout(StringIO()):
    verdict = check("{number}", {answer})
verdict"""
ASSERTION = """\
# Exercise {number} is graded here.
### BEGIN HIDDEN TESTS
from unbraid.exercises import check, expect
{expectation}
verdict = check("{number}", {answer})
assert verdict.is_right, verdict.text
### END HIDDEN TESTS"""


@dataclass
class Exercise:
    """One exercise of a notebook: its number, its level, and its cells by their tags."""

    number: str
    level: str
    parts: dict[str, NotebookNode] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The number as a part of names: 11_2."""
        return self.number.replace(".", "_")

    def find_checked(self, tag: str) -> str:
        """What the cell with a tag hands to `check`, such as answer_11_2."""
        found = CHECK.search(self.parts[tag].source)
        if not found:
            raise ValueError(f'exercise {self.number}, {tag}: expected check("{self.number}", ...)')
        return found[1]

    def write_test(self, form: str) -> str:
        """The code of a hidden test for this exercise."""
        expectation = self.parts["expectation"].source
        answer = self.find_checked("check")
        return form.format(number=self.number, answer=answer, expectation=expectation)

    def write_answer(self, begin: str, end: str) -> str:
        """The stub, and between two marks the solution, which becomes the answer."""
        solution = CHECK.sub("", self.parts["solution"].source).strip()
        given = f"{self.find_checked('check')} = {self.find_checked('solution')}"
        return f"{self.parts['stub'].source}\n{begin}\n{solution}\n{given}\n{end}"


def write_assignment(to: str | Path, only: str = "", folder: Path | None = None) -> list[Path]:
    """Write the exercises of notebooks into NN/otter and NN/nbgrader of the folder `to`.

    Returns the paths of the notebooks, two for each. Raises ValueError for a
    notebook without exercises, and for an exercise that lacks a cell.
    """
    written = []
    for notebook in select_notebooks(folder, only):
        book = nbformat.read(notebook, 4)
        exercises = find_exercises(book)
        target = Path(to) / notebook.name[:2]
        otter = replace_parts(book, exercises, write_otter)
        otter.cells.insert(0, new_raw_cell(OTTER_SETTINGS.format(name=notebook.stem)))
        written.append(write_notebook(otter, target / "otter" / notebook.name))

        nbgrader = replace_parts(book, exercises, write_nbgrader)
        source = target / "nbgrader" / "source" / notebook.stem
        written.append(write_notebook(nbgrader, source / notebook.name))
        settings = target / "nbgrader" / "nbgrader_config.py"
        settings.write_text(NBGRADER_SETTINGS, encoding="utf-8")
    return written


def find_exercises(book: NotebookNode) -> list[Exercise]:
    """The exercises of a notebook, in order."""
    exercises: list[Exercise] = []
    for cell in book.cells:
        found = set(CELL_TAGS).intersection(tags(cell))
        if "exercise" in found:
            heading = HEADING.search(cell.source)
            if not heading:
                raise ValueError(
                    f"exercise: expected '### Exercise 1.2 · build: ...': {cell.source}"
                )
            exercises.append(Exercise(*heading.groups()))
        elif cell.cell_type == "markdown":  # the discussion of a solution
            continue
        for tag in found:
            if not exercises or tag in exercises[-1].parts:
                raise ValueError(f"{tag}: expected one in each exercise, found `{cell.source}`")
            exercises[-1].parts[tag] = cell
    for exercise in exercises:
        if missing := [tag for tag in CELL_TAGS if tag not in exercise.parts]:
            raise ValueError(f"exercise {exercise.number}: found no cell tagged {missing[0]}")
    if not exercises:
        raise ValueError("expected a notebook with cells tagged exercise, found none")
    return exercises


def replace_parts(
    book: NotebookNode, exercises: list[Exercise], write: Callable[[Exercise], dict[str, list]]
) -> NotebookNode:
    """A copy of the notebook with other cells, by tag, for the parts of each exercise."""
    replaced = {}
    for exercise in exercises:
        cells = write(exercise)
        for tag, cell in exercise.parts.items():
            replaced[id(cell)] = cells.get(tag, [])
    cells = []
    for cell in book.cells:
        if id(cell) in replaced or "solution" not in tags(cell):  # a discussion gives answers away
            cells += replaced.get(id(cell), [cell])
    return NotebookNode({**book, "cells": cells})


def write_otter(exercise: Exercise) -> dict[str, list[NotebookNode]]:
    """The cells of an otter question, in the places of the parts; raw cells enclose its blocks.

    The test is a doctest: where an answer is wrong, the report shows the sentence that says why.
    """
    points = POINTS[exercise.level]
    question = f"# BEGIN QUESTION\nname: q{exercise.label}\npoints: {points}\ncheck_cell: false"
    answer = exercise.write_answer("# BEGIN SOLUTION NO PROMPT", "# END SOLUTION")
    output = new_output("execute_result", {"text/plain": f"{exercise.number}: right"})
    test = new_code_cell(exercise.write_test(DOCTEST), outputs=[output])
    ends = [new_raw_cell("# END TESTS"), new_raw_cell("# END QUESTION")]
    begin, end = new_raw_cell("# BEGIN SOLUTION"), new_raw_cell("# END SOLUTION")
    return {
        "exercise": [new_raw_cell(question), exercise.parts["exercise"]],
        "stub": [begin, new_code_cell(answer), end],
        "check": [new_raw_cell("# BEGIN TESTS"), test, *ends],
    }


def write_nbgrader(exercise: Exercise) -> dict[str, list[NotebookNode]]:
    """The cells of an exercise for nbgrader: metadata name the answer and the hidden test."""
    label, points = exercise.label, POINTS[exercise.level]
    plain = {"grade": False, "locked": False, "solution": False, "task": False, "schema_version": 3}
    answer = new_code_cell(exercise.write_answer("### BEGIN SOLUTION", "### END SOLUTION"))
    answer.metadata["nbgrader"] = plain | {"grade_id": f"answer_{label}", "solution": True}
    test = new_code_cell(exercise.write_test(ASSERTION))
    roles = {"grade": True, "locked": True, "points": points}
    test.metadata["nbgrader"] = plain | {"grade_id": f"test_{label}"} | roles
    return {"exercise": [exercise.parts["exercise"]], "stub": [answer], "check": [test]}
