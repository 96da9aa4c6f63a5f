"""The address of a published repository: badges, and a first cell that does nothing here."""

import nbformat
import pytest
from exercise_notebook import write_notebook

from tools import address, files

URL = "https://github.com/someone/course"


@pytest.fixture
def clone(tmp_path):
    """A README and a notebook."""
    (tmp_path / "README.md").write_text("# Title\n\ngit clone --depth 1 URL unbraid\n")
    write_notebook(tmp_path / "notebooks" / "11_count.ipynb", "x = 1")
    return tmp_path


def test_badges_and_a_cell_that_installs_nothing_where_the_course_is(clone, monkeypatch):
    address.write_address("https://github.com/other/name", clone)
    address.write_address(URL + ".git", clone)  # replaces the former
    text = (clone / "README.md").read_text()
    assert text.startswith("# Title\n\n<!-- badges -->\n") and text.count("badge/") == 6
    assert f"git clone --depth 1 {URL} unbraid" in text and "other" not in text
    book = nbformat.read(clone / "notebooks" / "11_count.ipynb", 4)
    (cell,) = (cell for cell in book.cells if files.ADDRESS in files.tags(cell))
    assert book.cells.index(cell) == 1 and URL in cell.source and "other" not in cell.source
    assert book.metadata["accelerator"] == "GPU"
    monkeypatch.setattr("subprocess.run", None)
    exec(cell.source, {})


@pytest.mark.parametrize("url", ("", "github.com/a/b", "https://example.org/a/b", URL + "/tree/x"))
def test_another_address_is_refused(url, clone):
    before = (clone / "README.md").read_text()
    with pytest.raises(ValueError, match="url: expected"):
        address.write_address(url, clone)
    assert (clone / "README.md").read_text() == before
