"""A reader's copies: made once, trusted, without outputs; where a reader has worked, it stays so.

Solutions are text to unfold there: a run of all cells shows none.
"""

import errno
import re
from unittest.mock import Mock

import nbformat
import pytest
from exercise_notebook import EXERCISES, edit_answers, name_answer, write_notebook_of_exercises
from nbformat.sign import NotebookNotary
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import __main__ as commands
from tools import desk, execution, files

TEXTS = ("# A title", "x = 1", "answer = ...")
NEWER = ("# A title", "x = 2", "answer = ...")
NEWEST = ("# A title", "x = 3", "answer = ...")
FIRST, SECOND = "00_start.ipynb", "01_next.ipynb"


def publish(root, name, *texts):
    """Commit a notebook to the course: ids by content, and an output for each code cell."""
    cells = [new_markdown_cell(text) for text in texts if text.startswith("#")]
    for text in texts[len(cells) :]:
        shown = [new_output("stream", text="of the course")]
        cells.append(new_code_cell(text, execution_count=1, outputs=shown))
    files.write(files.normalise(new_notebook(cells=cells)), root / "notebooks" / name)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A clone with two notebooks, and a place for signatures."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    for name in (FIRST, SECOND):
        publish(tmp_path, name, *TEXTS)
    return tmp_path


def read_sources(path):
    return tuple(cell.source for cell in nbformat.read(path, 4).cells)


def count_outputs(path):
    return sum(len(cell.get("outputs", [])) for cell in nbformat.read(path, 4).cells)


def work(path, edit="answer = 7", output=None):
    """What a reader does: an answer typed, or a cell run."""
    book = nbformat.read(path, 4)
    book.cells[-1].source = edit
    book.cells[-1].outputs = [new_output("stream", text=output)] if output else []
    nbformat.write(book, path)


def test_the_desk_is_laid_out_once_trusted_and_without_outputs(root):
    assert desk.lay_out(root) == [f"{FIRST}: new", f"{SECOND}: new"]
    mine = root / "mine" / FIRST
    assert NotebookNotary().check_signature(nbformat.read(mine, 4)) and not count_outputs(mine)
    mine.write_text("the reader's own")
    assert desk.lay_out(root) == [] and mine.read_text() == "the reader's own"
    desk.lay_out(root, root / "other", outputs=True)
    assert count_outputs(root / "other" / FIRST) == 2


def test_a_page_that_nobody_worked_in_is_replaced_and_one_that_was_has_the_new_one_beside(root):
    desk.lay_out(root)
    first, second = (root / "mine" / name for name in (FIRST, SECOND))
    work(first)
    before = first.read_bytes()
    for name in (FIRST, SECOND):
        publish(root, name, *NEWER)
    publish(root, "02_more.ipynb", "# More")
    lines = desk.lay_out(root)
    assert lines == [
        f"{FIRST}: the course's page has changed; yours stays, and the new one is new/{FIRST}",
        f"{SECOND}: the course's new page; you had not worked in yours",
        "02_more.ipynb: new",
    ]
    fresh = root / "mine" / "new" / FIRST
    assert first.read_bytes() == before and read_sources(second) == read_sources(fresh) == NEWER
    assert NotebookNotary().check_signature(nbformat.read(fresh, 4))
    assert desk.lay_out(root) == []


def test_work_in_the_new_page_stays_too_and_who_takes_it_hears_no_more_of_it(root):
    desk.lay_out(root)
    first, fresh = root / "mine" / FIRST, root / "mine" / "new" / FIRST
    work(first)
    publish(root, FIRST, *NEWER)
    desk.lay_out(root)
    work(fresh, "answer = 8")
    kept = fresh.read_bytes()
    publish(root, FIRST, *NEWEST)
    assert desk.lay_out(root)[0].endswith("new/00_start-2.ipynb")
    assert fresh.read_bytes() == kept and desk.lay_out(root) == []
    fresh.with_name("00_start-2.ipynb").replace(first)
    assert desk.lay_out(root) == [] and read_sources(first) == NEWEST
    publish(root, FIRST, *TEXTS)  # Nobody has worked in what was taken.
    assert desk.lay_out(root) == [f"{FIRST}: the course's new page; you had not worked in yours"]


def test_a_page_that_was_only_run_stays_and_new_outputs_alone_are_no_news(root):
    desk.lay_out(root)
    first = root / "mine" / FIRST
    work(first, TEXTS[-1], output="of the reader")
    before = first.read_bytes()
    book = nbformat.read(root / "notebooks" / FIRST, 4)
    book.cells[1].outputs = []
    files.write(book, root / "notebooks" / FIRST)
    assert desk.lay_out(root) == []
    publish(root, FIRST, *NEWER)
    assert "yours stays" in desk.lay_out(root)[0] and first.read_bytes() == before


@pytest.mark.parametrize("text", ("{", "\xff", '{"cells": 3}'))
def test_a_copy_that_cannot_be_read_is_left_alone(root, text):
    desk.lay_out(root)
    first = root / "mine" / FIRST
    first.write_text(text, encoding="latin-1")
    publish(root, FIRST, *NEWER)
    assert f"new/{FIRST}" in desk.lay_out(root)[0]
    assert first.read_text(encoding="latin-1") == text


@pytest.fixture
def exercises(tmp_path, monkeypatch):
    """A clone with one notebook of exercises, their solutions run and right."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    write_notebook_of_exercises(tmp_path / "notebooks" / "11_count.ipynb")
    return tmp_path


def test_a_run_of_all_cells_shows_no_solution_and_a_reader_can_run_them(exercises):
    desk.lay_out(exercises)
    mine = exercises / "mine" / "11_count.ipynb"
    book = edit_answers(nbformat.read(mine, 4), wrong=tuple(EXERCISES))
    nbformat.write(book, mine)
    assert execution.execute(mine, exercises / "all.ipynb", "smoke").fault == ""
    book = nbformat.read(exercises / "all.ipynb", 4)
    shown = [str(cell.outputs) for cell in book.cells if cell.cell_type == "code"]
    assert sum(": not yet." in text for text in shown) == len(EXERCISES)
    assert not any(": right" in text for text in shown)

    names = {}
    for cell in book.cells:
        assert "solution" not in files.tags(cell) or cell.cell_type == "markdown"
        fence = re.search("````python\n(.*?)\n````", cell.source, re.DOTALL)
        if cell.cell_type == "code" or fence:
            exec(fence[1] if fence else cell.source, names)
    for number in EXERCISES:
        right = names["solution_" + number.replace(".", "_")]
        assert names["check"](number, right).is_right
        assert not names["check"](number, names[name_answer(number)]).is_right


def test_the_command_says_what_it_did_and_what_helps(root, monkeypatch, capsys):
    monkeypatch.setattr(files, "ROOT", root)
    elsewhere = root / "a reader's" / "desk"  # of a clone that is shared, or read-only
    assert commands.main(["desk", "--to", str(elsewhere), "--outputs"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{FIRST}: new", f"{SECOND}: new"]
    assert count_outputs(elsewhere / FIRST) == 2
    monkeypatch.setattr(desk, "write", Mock(side_effect=OSError(errno.EROFS, "refused", "desk")))
    assert commands.main(["desk"]) == 1
    assert "--to FOLDER" in capsys.readouterr().err
