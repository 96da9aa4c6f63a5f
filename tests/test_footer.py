"""The generated last cell of a notebook."""

import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import __main__ as commands
from tools import files, footer

PAGES = (
    "\n\nLook up: [notation](../docs/notation.md) · [glossary](../docs/glossary.md)"
    " · [bibliography](../docs/bibliography.md)"
)
CODE = """
from unbraid import plots, store
from unbraid.data.sprites import load_poses
from unbraid.measures.information import kraskov, ross as by_label
import numpy as np
"""


@pytest.fixture
def folder(tmp_path):
    """A course of three notebooks."""
    for number, code in enumerate(("1", CODE, "2")):
        title = new_markdown_cell(f"# 1{number} · Title {number}\n\nWords.")
        book = new_notebook(cells=[title, new_code_cell(code)])
        path = tmp_path / "notebooks" / f"1{number}_name.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(files.normalise(book), path)
    return tmp_path / "notebooks"


def read_footers(folder):
    books = [nbformat.read(path, 4) for path in sorted(folder.glob("*.ipynb"))]
    assert all(files.tags(book.cells[-1]) == ["footer"] for book in books)
    return [book.cells[-1].source for book in books]


def test_it_leads_to_the_map_the_neighbours_and_the_code(folder):
    assert len(footer.renew(folder=folder)) == 3
    first, middle, last = read_footers(folder)
    ways = "---\n\n[First page](../README.md) · Next: [11 · Title 1](11_name.ipynb)"
    assert first == ways + PAGES
    assert middle == (
        "---\n\n[Map](10_name.ipynb) · Previous: [10 · Title 0](10_name.ipynb)"
        f" · Next: [12 · Title 2](12_name.ipynb){PAGES}\n\n"
        "Source: [data.sprites](../lib/unbraid/data/sprites.py) `load_poses`"
        " · [measures.information](../lib/unbraid/measures/information.py) `kraskov`, `ross`"
        " · [plots](../lib/unbraid/plots.py) · [store](../lib/unbraid/store.py)"
    )
    assert last.endswith(f"Previous: [11 · Title 1](11_name.ipynb){PAGES}")


def test_writing_again_changes_nothing_and_a_moved_title_its_neighbours(folder):
    footer.renew(folder=folder)
    before = [path.read_bytes() for path in sorted(folder.iterdir())]
    assert footer.renew(folder=folder) == []
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == before
    book = nbformat.read(folder / "10_name.ipynb", 4)
    book.cells[0].source = "# 10 · Another"
    nbformat.write(files.normalise(book), folder / "10_name.ipynb")
    assert footer.renew(folder=folder) == [folder / "11_name.ipynb"]
    assert "Previous: [10 · Another](10_name.ipynb)" in read_footers(folder)[1]


def test_the_command_writes_them(folder, monkeypatch, capsys):
    monkeypatch.setattr(files, "ROOT", folder.parent)
    assert commands.main(["footer", "--only", "11"]) == 0
    assert "1 notebooks changed" in capsys.readouterr().out
    shutil.rmtree(folder)
    assert commands.main(["footer"]) == 2
