"""The sources of the site: every link leads to a page or a file of it, and answers stay folded."""

import re

import nbformat
import pytest

from tools import files
from tools.site import pages


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """What Sphinx reads."""
    folder = tmp_path_factory.mktemp("site") / "source"
    pages.copy_pages(folder)
    return folder


def texts(folder):
    """Each page's own folder and its text."""
    for path in sorted(folder.rglob("*.md")):
        yield path, path.read_text(encoding="utf-8")
    for path in sorted(folder.rglob("*.ipynb")):
        cells = nbformat.read(path, 4).cells
        yield path, "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_every_link_inside_leads_to_something(source):
    missing = []
    for path, text in texts(source):
        for link in re.findall(r"\]\(([^)#\s]+)", text):
            if not re.match(r"\w+:", link) and not (path.parent / link).exists():
                missing.append((path.name, link))
    assert not missing


def test_the_live_page_is_the_first_thing_and_lessons_lead_to_it(source):
    index = (source / "index.md").read_text(encoding="utf-8")
    assert re.search(r"# Unbraid\n\n<a [^>]*href=\"live.html\"", index)
    for path in files.select_notebooks(only="00 13 33"):
        page = (source / "notebooks" / path.name).read_text(encoding="utf-8")
        assert page.count('<a href=\\"../live.html\\">live page</a>') == 1


def test_solutions_are_folded_and_what_checks_is_gone(source):
    for path in files.select_notebooks():
        cells = nbformat.read(source / "notebooks" / path.name, 4).cells
        tags = [set(files.tags(cell)) for cell in cells if cell.cell_type == "code"]
        assert not any(each & {"check", "expectation", "guess"} for each in tags)
        solutions = [each for each in tags if "solution" in each]
        assert len(solutions) >= 3 and all("hide-cell" in each for each in solutions)
