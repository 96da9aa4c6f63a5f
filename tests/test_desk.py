"""A reader's copies: made once, trusted, and merged with the course without any loss.

Solutions are text to unfold there: a run of all cells shows none.
"""

import errno
import re

import nbformat
import pytest
from exercise_notebook import EXERCISES, edit_answers, name_answer, write_notebook_of_exercises
from nbformat.sign import NotebookNotary
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import __main__ as commands
from tools import desk, execution, files

PROSE = "Some words on what follows."
TEXTS = ("# A title", "x = 1\ny = 2\nprint(x, y)", PROSE, "answer = ...", "z = 3")


def make_book(*texts):
    """A notebook as the course commits it: ids by content, and an output for each code cell."""
    cells = []
    for text in texts:
        if text.startswith("#") or text.endswith(".") and "=" not in text:
            cells.append(new_markdown_cell(text))
        else:
            shown = [new_output("stream", text="of the course")]
            cells.append(new_code_cell(text, execution_count=1, outputs=shown))
    return files.normalise(new_notebook(cells=cells))


NAMES = ["00_start.ipynb", "01_next.ipynb"]


def publish(root, name, *texts):
    """Commit a notebook to the course."""
    nbformat.write(make_book(*texts), root / "notebooks" / name)


def read_sources(path):
    return [cell.source for cell in nbformat.read(path, 4).cells]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A clone with two notebooks, and a place for signatures."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    (tmp_path / "notebooks").mkdir()
    for name in NAMES:
        publish(tmp_path, name, *TEXTS)
    return tmp_path


def merge(mine, *course):
    """The sources after a merge of the reader's changes to TEXTS with a new version."""
    merged = desk.merge(make_book(*TEXTS), mine, make_book(*course))
    nbformat.validate(merged)
    assert len({cell.id for cell in merged.cells}) == len(merged.cells)
    return [cell.source for cell in merged.cells]


def reader(number=None, text=None):
    """The reader's copy, where one cell was edited and everything has been run."""
    book = make_book(*TEXTS)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [new_output("stream", text="of the reader")]
    if number is not None:
        book.cells[number].source = text
    return book


NEWER = (*TEXTS[:2], "Some better words on what follows.", *TEXTS[3:])
NEW_TASK = (*TEXTS[:3], "answer = ...  # a number", TEXTS[4])
SHORTER = (*TEXTS[:3], TEXTS[4])
MOVED = (TEXTS[0], TEXTS[4], *TEXTS[1:4])
DOUBLED = (*TEXTS[:2], TEXTS[4], *TEXTS[2:])
MINE = (3, "answer = 7")
MERGES = {  # the reader's edit, the course's version, and what becomes of both
    "other cells": (MINE, NEWER, (*NEWER[:3], MINE[1], "z = 3")),
    "one cell": (MINE, NEW_TASK, (*TEXTS[:3], MINE[1], desk.MARK, *NEW_TASK[3:])),
    "the same edit": ((2, NEWER[2]), NEWER, NEWER),
    "deleted by the course": ((), SHORTER, SHORTER),
    "moved by the course": ((), MOVED, MOVED),
    "doubled by the course": ((), DOUBLED, DOUBLED),
    "deleted by the course, edited by the reader": (MINE, SHORTER, (*TEXTS[:3], MINE[1], "z = 3")),
}


@pytest.mark.parametrize("case", MERGES)
def test_a_merge(case):
    edit, course, merged = MERGES[case]
    assert merge(reader(*edit), *course) == list(merged)


def test_what_either_side_adds_moves_or_deletes_stays_so():
    mine = reader()
    del mine.cells[2]
    assert merge(mine, *NEWER) == [*TEXTS[:2], *TEXTS[3:]]
    mine = reader()
    mine.cells.insert(1, new_code_cell("own = 1"))
    mine.cells.append(new_markdown_cell("My last note."))
    sources = merge(mine, "First words of all.", *TEXTS[:4], "A new remark.", TEXTS[4], "w = 4")
    added = ["First words of all.", "# A title", "own = 1", *TEXTS[1:4], "A new remark.", "z = 3"]
    assert sources == [*added, "My last note.", "w = 4"]
    mine = reader()
    mine.cells.insert(0, mine.cells.pop(4))
    assert merge(mine, *NEWER) == ["z = 3", *NEWER[:4]]


@pytest.mark.parametrize("newer", (NEW_TASK, (*TEXTS[:4], "w = 4", TEXTS[4])))
def test_an_interrupted_update_doubles_nothing(newer):
    mine = desk.merge(make_book(*TEXTS), reader(3, "answer = 7"), make_book(*newer))
    assert merge(mine, *newer) == [cell.source for cell in mine.cells]


def test_outputs_are_the_readers_but_for_cells_that_nobody_has_run_or_the_course_renews():
    newer = make_book(TEXTS[0], "x = 10\ny = 2\nprint(x, y)", *TEXTS[2:])
    merged = desk.merge(make_book(*TEXTS), reader(), newer)
    texts = [cell.outputs[0].text for cell in merged.cells if cell.cell_type == "code"]
    assert texts == ["of the course", "of the reader", "of the reader"]
    newer = make_book(*TEXTS)
    newer.cells[1].outputs = [new_output("stream", text="computed anew")]
    merged = desk.merge(make_book(*TEXTS), make_book(*TEXTS), newer)
    assert merged.cells[1].outputs[0].text == "computed anew"


def test_the_desk_is_laid_out_once_and_trusted(root):
    created = desk.copy_notebooks(root)
    assert created == [root / "mine" / name for name in NAMES]
    assert NotebookNotary().check_signature(nbformat.read(created[0], 4))
    created[0].write_text("the reader's own")
    assert desk.copy_notebooks(root) == [] and created[0].read_text() == "the reader's own"


def read_outputs(path):
    return [cell.outputs for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def test_fresh_copies_have_no_outputs_and_an_update_brings_none(root):
    kept = desk.copy_notebooks(root)[0]
    (root / "mine" / NAMES[1]).unlink()
    before = kept.read_bytes()
    assert desk.copy_notebooks(root, fresh=True) == [root / "mine" / NAMES[1]]
    assert kept.read_bytes() == before and all(read_outputs(kept)) and desk.update(root) == []
    second = root / "mine" / NAMES[1]
    assert read_outputs(second) == [[], [], []]
    run = nbformat.read(second, 4)
    run.cells[3].source, run.cells[4].outputs = "answer = 7", [new_output("stream", text="run")]
    nbformat.write(run, second)
    publish(root, NAMES[1], TEXTS[0], "x = 10", *NEWER[2:])
    assert desk.update(root) == [f"{NAMES[1]}: updated, cells beside yours: 0"]
    assert read_sources(second) == [TEXTS[0], "x = 10", NEWER[2], "answer = 7", "z = 3"]
    assert read_outputs(second) == [[], [], [new_output("stream", text="run")]]
    renewed = make_book(TEXTS[0], "x = 10", *NEWER[2:])
    renewed.cells[1].outputs = [new_output("stream", text="computed anew")]
    nbformat.write(renewed, root / "notebooks" / NAMES[1])
    assert desk.update(root) == [] and read_outputs(second)[0] == []


def test_an_update_merges_what_changed_and_keeps_the_copy_before(root):
    (first, second) = desk.copy_notebooks(root)
    nbformat.write(reader(3, "answer = 7"), first)
    before = first.read_bytes(), second.read_bytes()
    publish(root, "00_start.ipynb", *NEWER)
    publish(root, "02_new.ipynb", "# New")
    lines = desk.update(root)
    assert lines == ["02_new.ipynb: new", "00_start.ipynb: updated, cells beside yours: 0"]
    assert read_sources(first) == [*NEWER[:3], "answer = 7", "z = 3"]
    (backup,) = (root / "mine" / desk.BACKUPS).iterdir()
    assert [path.name for path in backup.iterdir()] == [first.name]
    assert (backup / first.name).read_bytes() == before[0]
    assert second.read_bytes() == before[1]
    assert desk.update(root) == []
    assert list((root / "mine" / desk.BACKUPS).iterdir()) == [backup]


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_a_copy_follows_its_notebook_to_a_new_name(root, is_interrupted):
    first = desk.copy_notebooks(root)[0]
    nbformat.write(reader(3, "answer = 7"), first)
    (root / "notebooks" / "00_start.ipynb").unlink()
    publish(root, "00_begin_here.ipynb", *NEWER)
    renamed = first.with_name("00_begin_here.ipynb")
    if is_interrupted:  # between the renaming of the copy and of what it came from
        first.replace(renamed)
    assert desk.update(root) == ["00_begin_here.ipynb: updated, cells beside yours: 0"]
    assert read_sources(renamed) == [*NEWER[:3], "answer = 7", "z = 3"]
    names = sorted(path.name for path in first.parent.glob("*.ipynb"))
    assert names == ["00_begin_here.ipynb", "01_next.ipynb"]


def test_a_killed_update_keeps_the_backup_of_the_state_before(root, monkeypatch):
    for path in desk.copy_notebooks(root):
        path.chmod(0o600)
        publish(root, path.name, *NEWER)
    before = {path.name: path.read_bytes() for path in (root / "mine").glob("*.ipynb")}
    written = []

    def write_three(book, path):
        if len(written) == 3:  # The second copy is merged, and not yet its base.
            raise KeyboardInterrupt
        written.append(path)
        return files.write(book, path)

    monkeypatch.setattr(desk, "write", write_three)
    with pytest.raises(KeyboardInterrupt):
        desk.update(root)
    monkeypatch.undo()
    assert desk.update(root) == ["01_next.ipynb: updated, cells beside yours: 0"]
    first, _ = sorted((root / "mine" / desk.BACKUPS).iterdir())
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in first.iterdir())
    for path in (root / "mine").glob("*.ipynb"):
        assert read_sources(path) == list(NEWER)
        assert path.stat().st_mode & 0o777 == 0o600


OLD = '{"cells": [{"cell_type": "raw", "metadata": {}, "source": ""}], "metadata": {}, '


@pytest.mark.parametrize("text", ("{", "\xff", OLD + '"nbformat": 4, "nbformat_minor": 4}'))
def test_a_damaged_copy_is_named_and_left_alone(root, text):
    first, second = desk.copy_notebooks(root)
    first.write_text(text, encoding="latin-1")
    for name in (first.name, second.name):
        publish(root, name, *NEWER)
    left, merged = desk.update(root)
    assert left.startswith("00_start.ipynb: left alone")
    assert merged.startswith("01_next.ipynb: updated")
    assert first.read_text(encoding="latin-1") == text
    (root / "mine" / desk.BASES / first.name).unlink()
    assert "move your copy away" in desk.update(root)[0]


@pytest.mark.parametrize(
    "data, is_trusted",
    (
        ({"text/html": "<audio controls src='data:audio/wav;base64,/onA=='></audio>"}, True),
        ({"text/plain": "<script>"}, True),
        ({"text/html": "<img src='data:image/gif;base64,R0lG'> our data: films"}, True),
        ({"image/jpeg": "/9j/4AAQ"}, True),
        ({"text/html": "<p><SCRIPT>foreign</script>"}, False),
        ({"image/svg+xml": "<svg onload=foreign()>"}, False),
        ({"application/javascript": "foreign()"}, False),
        ({"text/html": "<img src='data:image/png;base64,/onerror='foreign()'>"}, False),
        ({"text/html": "<a href='jav&#x61;script:foreign()'>x</a>"}, False),
        ({"text/html": "<a href='data:text/html,<b>x</b>'>x</a>"}, False),
        ({"text/html": '<a href = "d&#97;ta:image/svg+xml;base64,PHN2Zz4=">x</a>'}, False),
        ({"text/html": '<img src="data:\ntext/html;base64,PGI+">'}, False),
        ({"text/html": "<button formaction='https://x.example'>x</button>"}, False),
        ({"application/vnd.plotly.v1+json": {"data": []}}, False),
        ({"application/vnd.vegalite.v5+json": {"mark": "bar"}, "text/plain": "chart"}, False),
        ({"image/png": "iVBORw0KGgo=", "text/x-anything": "x"}, False),
        ({"text/html": "<img src='https://x.example/who.png'>"}, False),
        ({"text/markdown": "<img alt='' SRC = //x.example/who.png>"}, False),
        ({"text/markdown": "![who](https://x.example/who.png)"}, False),
        ({"text/html": "<style>@import 'https://x.example/who.css';</style>"}, False),
        ({"text/html": "<p style='background: url(\"http://x.example/a\")'>x</p>"}, False),
        ({"image/svg+xml": "<svg><image xlink:href='https://x.example/a'/></svg>"}, False),
        ({"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg' fill='url(#a)'/>"}, True),
        ({"text/html": "<a href='https://x.example'>a link, which one clicks</a>"}, True),
        ({"text/markdown": "<svg><animate onbegin = foreign()></svg>"}, False),
        ({"text/html": r'<img src="\\x.example\a">'}, False),
        ({"text/html": r'<img src="/\x.example/a">'}, False),
        ({"text/html": '<img src="https:x.example/a">'}, False),
        ({"text/html": '<img srcset="data:image/png;base64,iVBO 1x, //x.example/a 2x">'}, False),
        ({"image/svg+xml": "<svg><feImage href='//x.example/a'/></svg>"}, False),
        ({"image/svg+xml": "<svg><use href='#nodes'/></svg>"}, True),
        ({"text/html": r"<p style='background: \75rl(//x.example/a)'>x</p>"}, False),
        ({"text/html": r"<style>p {background: \75rl(//x.example/a)}</style>"}, False),
        ({"text/html": "<p style='background: image-set(\"//x.example\" 1x)'>x</p>"}, False),
        ({"text/html": "<p style='background: src(\"//x.example/a\")'>x</p>"}, False),
        ({"text/markdown": "![who][1]\n\n[1]: https://x.example/a"}, False),
        ({"text/markdown": "![who](https:x.example/a)"}, False),
        ({"text/markdown": "![who](figures/a.png) and $\\theta$"}, True),
        ({"text/latex": "$\\frac{a}{b} = \\alpha$"}, True),
    ),
)
def test_outputs_with_programs_are_not_trusted(root, data, is_trusted):
    book = make_book(*TEXTS)
    book.cells[1].outputs = [new_output("display_data", data)]
    nbformat.write(book, root / "notebooks" / "00_start.ipynb")
    first = desk.copy_notebooks(root)[0]
    assert NotebookNotary().check_signature(nbformat.read(first, 4)) == is_trusted
    publish(root, "01_next.ipynb", *TEXTS)
    book.cells[0].source = "# Another title"
    nbformat.write(book, root / "notebooks" / "01_next.ipynb")
    desk.update(root)
    second = nbformat.read(root / "mine" / "01_next.ipynb", 4)
    assert second.cells[1].outputs[0].data == data
    assert NotebookNotary().check_signature(second) == is_trusted


def test_every_notebook_of_the_course_is_trusted_and_its_solutions_are_text_to_unfold():
    for path in files.select_notebooks():
        cells = nbformat.read(path, 4).cells
        assert not any(desk.holds_programs(cell) for cell in cells), path.stem
        texts = [c.source for c in desk.read_course(path).cells if c.cell_type == "markdown"]
        assert any(text.startswith("<details>") for text in texts), path.stem
        assert not any("Open this cell" in text for text in texts), path.stem


@pytest.fixture
def exercises(tmp_path, monkeypatch):
    """A clone with one notebook of exercises, their solutions run and right."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    write_notebook_of_exercises(tmp_path / "notebooks" / "11_count.ipynb")
    return tmp_path


def test_a_run_of_all_cells_shows_no_solution_and_a_reader_can_run_them(exercises):
    (mine,) = desk.copy_notebooks(exercises)
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


def refuse(code):
    def lock_desk(desk):
        raise OSError(code, "refused", str(desk))

    return lock_desk


def test_the_commands_say_what_they_did(root, monkeypatch, capsys):
    monkeypatch.setattr(files, "ROOT", root)
    assert commands.main(["desk"]) == 0 and commands.main(["desk"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("2 files written in") and second.startswith("0 files")
    (root / "mine" / NAMES[1]).unlink()
    assert commands.main(["desk", "--fresh"]) == 0
    said, written = capsys.readouterr().out.splitlines()
    assert said.startswith("new copies, without outputs: 1; run") and written.startswith("1 file")
    elsewhere = root / "a reader's" / "desk"  # of a clone that is shared, or read-only
    assert commands.main(["desk", "--to", str(elsewhere)]) == 0
    assert sorted(path.name for path in elsewhere.glob("*.ipynb")) == NAMES
    assert commands.main(["update", "--to", str(elsewhere)]) == 0
    capsys.readouterr()
    for code, makes_room in ((errno.EROFS, False), (errno.ENOSPC, True)):
        monkeypatch.setattr(desk, "lock_desk", refuse(code))
        assert commands.main(["desk"]) == 1
        said = capsys.readouterr().err
        assert "--to FOLDER" in said and ("make room" in said) == makes_room
    monkeypatch.undo()
    monkeypatch.setattr(files, "ROOT", root)
    (root / "mine" / "00_start.ipynb").write_text("{")
    publish(root, "00_start.ipynb", *NEWER)
    assert commands.main(["update"]) == 1
    assert "left alone" in capsys.readouterr().out
