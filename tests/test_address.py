"""The address of a published repository: badges, and a first cell that does nothing here."""

import importlib.util
import os
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

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
    monkeypatch.chdir(clone)
    exec(cell.source, {})


def test_links_to_the_live_page_lead_to_the_published_one(clone):
    path = clone / "notebooks" / "11_count.ipynb"
    book = nbformat.read(path, 4)
    book.cells.append(nbformat.v4.new_markdown_cell("On the [live page](../docs/live-page.md)."))
    files.write(book, path)
    for owner in ("Other", "someone"):  # The second takes the place of the first.
        address.write_address(f"https://github.com/{owner}/course", clone)
        text = nbformat.read(path, 4).cells[-1].source
        assert text == f"On the [live page](https://{owner.lower()}.github.io/course/live.html)."


def make_repository(folder):
    """A repository with a package, a notebook and an extra package."""
    for name in ("lib/unbraid/__init__.py", "lib/more.py", "notebooks/00_start.ipynb"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "a"]):
        subprocess.run([*git, *command], check=True)


def test_where_the_course_is_not_installed_the_cell_fetches_it_once(tmp_path, monkeypatch):
    """As on Colab, in its folder: `git clone` is real, of pip only what it is asked for."""
    make_repository(tmp_path / "published")
    content, calls, run = tmp_path / "content", [], subprocess.run
    content.mkdir()

    def call(command, check):
        calls.append(command)
        if command[0] == "git":
            run(command, check=check)

    monkeypatch.setattr(subprocess, "run", call)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    source = address.make_cell((tmp_path / "published").as_uri()).source
    for expected in (["git", sys.executable], [sys.executable]):  # then in a new kernel
        monkeypatch.setattr(sys, "path", ["elsewhere"])
        monkeypatch.chdir(content)
        calls.clear()
        exec(source, {})
        assert [command[0] for command in calls] == expected
        course = content / "unbraid-course"
        assert Path.cwd() == course / "notebooks" and os.listdir() == ["00_start.ipynb"]
        found = PathFinder.find_spec("unbraid", sys.path)
        assert Path(found.origin) == course / "lib" / "unbraid" / "__init__.py"
        assert PathFinder.find_spec("more", sys.path) and sys.path[-1] == "elsewhere"
        editable = [calls[-1][place + 1] for place, word in enumerate(calls[-1]) if word == "-e"]
        assert editable == [str(course), str(course / "extras")]


def test_what_was_written_is_read_again_and_binder_opens_the_readers_copy(clone):
    assert address.read_address(clone) == address.site_address(clone) == ""
    address.write_address("https://github.com/Some-One/course", clone)
    assert address.read_address(clone) == "https://github.com/Some-One/course"
    assert address.site_address(clone) == "https://some-one.github.io/course/"
    assert "lab/tree/mine/00_start_here.ipynb" in (clone / "README.md").read_text()


def test_the_cell_has_the_form_of_the_courses_code(tmp_path):
    page = write_notebook(tmp_path / "11_count.ipynb")
    book = nbformat.read(page, 4)
    book.cells = [address.make_cell(URL)]
    files.write(files.normalise(book), page)
    ruff = [sys.executable, "-m", "ruff"]
    settings = ["--config", str(files.ROOT / "notebooks" / "ruff.toml"), str(page)]
    subprocess.run([*ruff, "format", "--check", *settings], check=True)
    subprocess.run([*ruff, "check", *settings], check=True)


@pytest.mark.parametrize("url", ("", "github.com/a/b", "https://example.org/a/b", URL + "/tree/x"))
def test_another_address_is_refused(url, clone):
    before = (clone / "README.md").read_text()
    with pytest.raises(ValueError, match="url: expected"):
        address.write_address(url, clone)
    assert (clone / "README.md").read_text() == before
