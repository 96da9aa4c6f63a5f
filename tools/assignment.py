"""A notebook's exercises in the form that otter-grader reads, and the functions of its workshop.

It holds the stub and the solution in one cell, and the expectation in a hidden test. The grader
itself takes them apart: `otter assign`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output, new_raw_cell
from unbraid_course.workshop import read_texts

from tools.files import copy_companions, select_notebooks, tags, write
from tools.workshop import KEY, empty, make_hint

POINTS = {"recall": 1, "build": 2, "investigate": 3}
DEFINITIONS = ast.FunctionDef | ast.ClassDef
CELL_TAGS = ("exercise", "stub", "expectation", "check", "solution")
HEADING = re.compile(r"^#+ Exercise (\d+\.\d+) · (recall|build|investigate)", re.MULTILINE)
CHECK = re.compile(r"""^check\(["'][\d.]+["'], (.+)\)[ ]*$""", re.MULTILINE)
OTTER_SETTINGS = """\
# ASSIGNMENT CONFIG
name: {name}
generate: true
init_cell: false
export_cell: false"""
# What an answer prints is no part of what a doctest compares.
DOCTEST = """\
# HIDDEN
from contextlib import redirect_stdout
from io import StringIO
from unbraid_course.exercises import check, expect
{expectation}
with redirect_stdout(StringIO()):
    verdict = check("{number}", {answer})
verdict"""

TYPED = """\
# HIDDEN
from unbraid_course import workshop
workshop.check("{number}", "{name}", {typed})"""


@dataclass
class Exercise:
    """One exercise of a notebook: its number, its level, and its cells by their tags."""

    number: str
    level: str
    parts: dict[str, NotebookNode] = field(default_factory=dict)

    def find_checked(self, tag: str) -> str:
        """What the cell with a tag hands to `check`, such as answer_11_2."""
        (found,) = CHECK.findall(self.parts[tag].source)
        return found

    def write_answer(self) -> str:
        """The stub, and between two marks the solution, which becomes the answer."""
        solution = CHECK.sub("", self.parts["solution"].source).strip()
        given = f"{self.find_checked('check')} = {self.find_checked('solution')}"
        begin, end = "# BEGIN SOLUTION NO PROMPT", "# END SOLUTION"
        return f"{self.parts['stub'].source}\n{begin}\n{solution}\n{given}\n{end}"

    def write_test(self) -> NotebookNode:
        """A hidden test as a doctest: for a wrong answer, the report shows why it is wrong."""
        expectation = self.parts["expectation"].source
        answer = self.find_checked("check")
        source = DOCTEST.format(number=self.number, answer=answer, expectation=expectation)
        output = new_output("execute_result", {"text/plain": f"{self.number}: right"})
        return new_code_cell(source, outputs=[output])

    def write_question(self) -> dict[str, list[NotebookNode]]:
        """The cells of an otter question, by the part that they replace; raw cells enclose them."""
        name, points = self.number.replace(".", "_"), POINTS[self.level]
        question = f"# BEGIN QUESTION\nname: q{name}\npoints: {points}\ncheck_cell: false"
        answer = new_code_cell(self.write_answer())
        begin, end = new_raw_cell("# BEGIN SOLUTION"), new_raw_cell("# END SOLUTION")
        ends = [new_raw_cell("# END TESTS"), new_raw_cell("# END QUESTION")]
        return {
            "exercise": [new_raw_cell(question), self.parts["exercise"]],
            "stub": [begin, answer, end],
            "check": [new_raw_cell("# BEGIN TESTS"), self.write_test(), *ends],
        }


def write_assignment(
    to: str | Path, only: str = "", folder: Path | None = None, profile: str = "quick"
) -> list[Path]:
    """Write the exercises of each notebook into a folder of its number in the folder `to`.

    profile: the one at which the notebook runs, also where it is graded; smoke takes seconds.
    Returns the paths of the notebooks. Raises ValueError for a notebook without exercises, and for
    an exercise that lacks a cell.
    """
    written = []
    for notebook in select_notebooks(folder, only):
        book = nbformat.read(notebook, 4)
        replaced: dict[int, list[NotebookNode]] = {}
        for exercise in find_exercises(book):
            question = exercise.write_question()
            replaced |= {id(cell): question.get(tag, []) for tag, cell in exercise.parts.items()}
        replaced |= ask_to_type(book, notebook.name[:2])
        place = Path(to) / notebook.name[:2]
        drawings = copy_companions([notebook], place)
        settings = OTTER_SETTINGS.format(name=notebook.stem)
        if drawings:
            settings += "".join(["\nfiles:", *(f"\n  - {path.as_posix()}" for path in drawings)])
        cells = [new_raw_cell(settings)]
        for cell in book.cells:
            # A solution's discussion, which is no part, gives the answer away as well.
            kept = [] if "solution" in tags(cell) else [cell]
            cells += replaced.get(id(cell), kept)
        book.cells = cells
        set_profile(book, profile)
        written.append(write(book, place / notebook.name))
    return written


def ask_to_type(book: NotebookNode, number: str) -> dict[int, list[NotebookNode]]:
    """Questions in the place of cells whose functions a workshop leaves to the reader, by id(cell).

    Each function gives a point. What a cell runs after its definitions follows the question.
    """
    replaced = {}
    for cell in book.cells:
        wanted = cell.metadata.pop(KEY, [])
        known = read_texts(number) if wanted else {}
        texts = {name: text for name, text in known.items() if name in wanted}
        if not texts:
            continue
        nodes = ast.parse(cell.source).body
        last = max(node.end_lineno or 0 for node in nodes if isinstance(node, DEFINITIONS))
        lines = cell.source.split("\n")
        given, rest = "\n".join(lines[:last]), "\n".join(lines[last:]).strip()
        stub = empty(given, {name: text["gives"] for name, text in texts.items()})
        answer = f"{stub}\n# BEGIN SOLUTION NO PROMPT\n{given}\n# END SOLUTION"
        question = f"# BEGIN QUESTION\nname: {'_'.join(texts).replace('.', '_')}\n"
        cells = [new_raw_cell(f"{question}points: {len(texts)}\ncheck_cell: false")]
        cells += [new_raw_cell("# BEGIN SOLUTION"), new_code_cell(answer)]
        cells += [new_raw_cell("# END SOLUTION"), *(make_hint(name, texts) for name in texts)]
        cells.append(new_raw_cell("# BEGIN TESTS"))
        for name in texts:
            test = TYPED.format(number=number, name=name, typed=name.split(".")[0])
            output = new_output("execute_result", {"text/plain": f"{name}: right"})
            cells.append(new_code_cell(test, outputs=[output]))
        cells += [new_raw_cell("# END TESTS"), new_raw_cell("# END QUESTION")]
        replaced[id(cell)] = cells + [new_code_cell(rest)] * bool(rest)
    return replaced


def set_profile(book: NotebookNode, profile: str) -> None:
    """Give the cell of parameters another profile."""
    for cell in book.cells:
        if "parameters" in tags(cell):
            given = f'profile: str = "{profile}"'
            cell.source = re.sub(r'^profile: str = "\w+"', given, cell.source, flags=re.MULTILINE)


def find_exercises(book: NotebookNode) -> list[Exercise]:
    """The exercises of a notebook, in order."""
    exercises: list[Exercise] = []
    for cell in book.cells:
        found = set(CELL_TAGS).intersection(tags(cell))
        if "exercise" in found:
            (heading,) = HEADING.findall(cell.source)
            exercises.append(Exercise(*heading))
        elif cell.cell_type == "markdown":  # the discussion of a solution
            continue
        for tag in found:
            exercises[-1].parts[tag] = cell
    for exercise in exercises:
        if missing := [tag for tag in CELL_TAGS if tag not in exercise.parts]:
            raise ValueError(f"exercise {exercise.number}: found no cell tagged {missing[0]}")
    if not exercises:
        raise ValueError("expected a notebook with cells tagged exercise, found none")
    return exercises
