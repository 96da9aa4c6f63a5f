"""Minutes of sections: counted by hand in a small notebook, and marked in the teacher edition."""

import re

import nbformat
import pytest
from helpers import NOTEBOOKS, each_notebook
from nbformat import v4

from tools import editions, pace

PICTURE = v4.new_output("display_data", data={"image/png": "", "text/plain": "Figure"})


@pytest.fixture
def cells():
    """Two numbered sections: of 400 words and a formula, and of 24 lines and a picture."""
    code = "\n\n".join(f"x = {number}" for number in range(24))
    return [
        v4.new_markdown_cell("# Title\n\n" + "word " * 999),
        v4.new_markdown_cell("## 1. One\n\n" + "word " * 399 + "$a + b$\n\n$$a = b + c.$$"),
        v4.new_markdown_cell("<details><summary>D</summary>" + "word " * 999 + "</details>"),
        v4.new_markdown_cell("## 2. Two"),
        v4.new_code_cell(code, outputs=[PICTURE]),
        v4.new_markdown_cell("## Exercises\n\n" + "word " * 999),
    ]


def test_minutes_are_those_counted_by_hand(cells):
    one, two = pace.measure_sections(cells)
    assert one == ("1. One", 3)  # 2 for the words, half a minute for the formula
    assert two == ("2. Two", 3) and two.number == 2
    assert pace.measure_text(cells[1].source.partition("\n")[2]) == pytest.approx(2.5)
    assert pace.measure_code(cells[4]) == pytest.approx(3)


def test_folded_lines_take_no_time_but_their_picture_does(cells):
    cells[4].metadata["tags"] = ["hide-input"]
    assert pace.measure_sections(cells)[1].minutes == 1
    assert pace.measure_code(cells[4]) == 1


@pytest.mark.parametrize("text", ("[a b](c/d_e.md#f)", "it's 2.5", "a-b $x + y$"))
def test_two_words(text):
    assert pace.measure_text(text) == pytest.approx(2 / pace.WORDS)


@each_notebook
def test_the_sections_of_the_lecture_exist_and_fit_an_hour(path):
    sections = {each.number: each.minutes for each in read_sections(path)}
    lecture = editions.read_lectures(path.parent / editions.NOTES)[path.name[:2]]
    assert lecture and lecture < set(sections)
    assert sum(sections[number] for number in lecture) <= 45  # and questions, in an hour


def read_sections(path):
    return pace.measure_sections(nbformat.read(path, 4).cells)


def test_the_teacher_edition_marks_each_section(tmp_path):
    path = next(path for path in NOTEBOOKS if path.name.startswith("21"))
    (written,) = editions.write_edition("teacher", tmp_path, "21")
    book = nbformat.read(written, 4)
    text = "\n\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    lecture = editions.read_lectures(path.parent / editions.NOTES)["21"]
    for section in read_sections(path):
        where = "lecture" if section.number in lecture else "home"
        assert f"## {section.title}\n\n*{where}, {section.minutes} minutes*" in text
        assert f"| {section.title} | {where} | {section.minutes} |" in book.cells[1].source
    assert len(re.findall(r"^\*(?:lecture|home), \d+ minutes\*$", text, re.M)) == len(
        read_sections(path)
    )
