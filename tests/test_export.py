"""Chapters as modules: what is written from the notebooks is what they define now."""

import json
import shutil

from unbraid_course import lessons

from tools import export, files


def test_the_chapters_modules_are_current():
    for path, text in export.write_modules().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run `python -m tools export`"


CELLS = [  # a page's cells, with their tags
    ("import math as m\nfrom torch import nn, optim\nfrom unbraid.figures import plots\nx = 3", []),
    ("@m.cache\ndef double(z):\n    return SCALE * z  # twice", []),
    ("def draw():\n    return plots.show(double(2))\n\n\ndef film():\n    draw()", []),
    ("def lean():\n    return x", []),
    ("class Net(nn.Module):\n    size = HALF", []),
    ("SCALE = 2\nHALF = SCALE / 2\nDATA = [x]", []),
    ("def exercise():\n    return DATA", ["stub"]),
    ("def double(z):\n    return 7", ["solution"]),
]


def write_page(folder, cells):
    """A notebook of these cells."""
    folder.mkdir(exist_ok=True)
    kinds = {"cell_type": "code", "id": "a", "outputs": [], "execution_count": None}
    made = [kinds | {"source": source, "metadata": {"tags": tags}} for source, tags in cells]
    book = {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path = folder / "99_page.ipynb"
    path.write_text(json.dumps(book), encoding="utf-8")
    return path


def test_a_module_has_what_stands_alone_with_what_it_needs(tmp_path):
    write_page(tmp_path, CELLS)
    assert export.write_module("99", tmp_path).split("\n\n", 1)[1] == (
        "import math as m\nfrom torch import nn\n\n"
        "SCALE = 2\nHALF = SCALE / 2\n\n\n"
        "@m.cache\ndef double(z):\n    return SCALE * z  # twice\n\n\n"
        "class Net(nn.Module):\n    size = HALF\n"
    )


def test_a_page_that_the_reader_has_changed_is_named(tmp_path, monkeypatch, capsys):
    (original,) = files.select_notebooks(None, "11")
    mine = tmp_path / "mine"
    mine.mkdir()
    copy = shutil.copy(original, mine / original.name)
    monkeypatch.chdir(mine)
    lessons.note_changes("11")
    assert capsys.readouterr().out == ""
    text = copy.read_text(encoding="utf-8")
    changed = text.replace("squared - 1 + log_p", "squared - 2 + log_p")
    assert changed != text
    copy.write_text(changed, encoding="utf-8")
    lessons.note_changes("11")
    said = capsys.readouterr().out
    assert f"{original.name} defines kl otherwise" in said and "the course's" in said
    copy.write_text(text.replace("def kl(q, p):", "def kl(q, p:"), encoding="utf-8")
    lessons.note_changes("11")
    assert "a cell cannot be read" in capsys.readouterr().out
