"""What every committed notebook and its exercises must be: one rule a test, of all notebooks."""

import ast
import copy
import html
import json
import re
from functools import lru_cache
from pathlib import Path

import nbformat
from form import MACHINE_PATH, nested_loops
from helpers import NOTEBOOKS, each_notebook

from tools import files

LARGEST = 1_600_000  # bytes; the hand of 12 has prepared pictures


@lru_cache
def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, 4)


def code_cells(path: Path, tag: str | None = None) -> list[nbformat.NotebookNode]:
    cells = [cell for cell in read(path).cells if cell.cell_type == "code" and cell.source.strip()]
    return [cell for cell in cells if tag is None or tag in files.tags(cell)]


def outputs(path: Path) -> list[nbformat.NotebookNode]:
    return [output for cell in code_cells(path) for output in cell.outputs]


def read_prose(path: Path) -> list[str]:
    return [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]


def alt_texts(cell: nbformat.NotebookNode) -> list[str]:
    """One text for each picture among the cell's outputs, "" where it has none."""
    texts = []
    for output in cell.outputs:
        data = output.get("data", {})
        stands_alone = "text/html" not in data  # else it is the same picture for what takes no HTML
        texts += ["" for kind in data if kind.startswith("image/") and stands_alone]
        for image in re.findall(r"<img\b[^>]*>", data.get("text/html", "")):
            described = re.search(r'\balt="([^"]*)"', image)
            texts.append(html.unescape(described[1]) if described else "")
    return texts


@each_notebook
def test_comprehensions_have_one_loop(path):
    for cell in code_cells(path):
        assert nested_loops(ast.parse(cell.source)) == [], cell.source


def test_every_drawing_is_shown_by_a_notebook():
    sources = [cell.source for path in NOTEBOOKS for cell in code_cells(path)]
    for drawing in sorted((NOTEBOOKS[0].parent / "figures").glob("*.svg")):
        assert any(f"figures/{drawing.name}" in source for source in sources), drawing.name


@each_notebook
def test_it_is_normalised(path):
    book = read(path)
    nbformat.validate(book)
    assert files.normalise(copy.deepcopy(book)) == book, "run make run RENEW=1"


@each_notebook
def test_its_outputs_come_from_one_run_in_order(path):
    """All outputs or, while a notebook is being rewritten, none."""
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == (list(range(1, len(counts) + 1)) if outputs(path) else [None] * len(counts))


@each_notebook
def test_its_outputs_hold_no_error_no_warning_and_no_widget(path):
    for output in outputs(path):
        assert output.output_type != "error" and output.get("name") != "stderr"
        assert "widget" not in "".join(output.get("data", {}))


@each_notebook
def test_it_names_no_path_of_a_machine(path):
    text = json.dumps(read(path), ensure_ascii=False).replace("\\n", " ")
    without_pictures = re.sub(r'"(image|audio|video)/\w+": "[^"]*"', "", text)
    without_embedded = re.sub(r"data:\w+/[\w-]+;base64,[\w+/=]+", "", without_pictures)
    assert MACHINE_PATH.findall(without_embedded) == []


@each_notebook
def test_every_figure_has_an_alternative_text(path):
    assert [cell.source for cell in code_cells(path) if "" in alt_texts(cell)] == []
    named = {cell.id for cell in code_cells(path) if not re.fullmatch("[0-9a-f]{12}", cell.id)}
    assert named <= files.read_facts(path).get("alt", {}).keys()


@each_notebook
def test_it_is_not_too_large(path):
    assert path.stat().st_size <= LARGEST


@each_notebook
def test_its_parameters_are_literals_and_quick(path):
    (cell,) = code_cells(path, "parameters")
    statements = ast.parse(cell.source).body
    values = {line.target.id: ast.literal_eval(line.value) for line in statements}
    assert values["profile"] == "quick" and "seed" in values


@each_notebook
def test_it_opens_with_a_title_and_what_it_takes(path):
    opening = "\n".join(read_prose(path)[:2])
    assert opening.startswith("# ")
    for heading in ("you will learn", "you need", "minutes", "memory", "paper"):
        assert heading in opening.lower()


SURE = "## How sure are we, and what else we tried"


@each_notebook
def test_it_has_at_most_one_last_box_and_ends_with_what_the_reader_can_do(path):
    firsts = [text.partition("\n")[0] for text in read_prose(path)]
    exercises = firsts.index("## Exercises")
    boxes = [number for number, first in enumerate(firsts) if first == SURE]
    assert boxes in ([], [exercises - 1])
    assert not boxes or len(read_prose(path)[boxes[0]].split()) <= 350
    assert "## What you can do now" in firsts[exercises:]


# ---- exercises: their cells in order, levels, mistakes, and names of their own

ORDER = ["exercise", "stub", "hint", "expectation", "check", "solution"]
TITLE = r"### Exercise (\d\d\.\d) · (recall|build|investigate): \S"
FOLDED = {"expectation", "solution"}


def read_exercises(path: Path) -> dict[str, dict[str, nbformat.NotebookNode]]:
    """For each exercise's number its cells by tag; asserts their order."""
    exercises = {}
    cells = []
    for cell in read(path).cells:
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
            assert hidden.jupyter.get("outputs_hidden", False) == (tag == "solution")
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
