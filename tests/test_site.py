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


@pytest.mark.parametrize("link", ("../docs/live-page.md", "../README.md#ways-in"))
def test_links_to_the_live_page_lead_to_the_one_of_the_site(link, tmp_path):
    lesson = files.ROOT / "notebooks" / "00_start_here.ipynb"
    led = pages.lead(f"[live page]({link})", lesson, tmp_path, set())
    assert led == '<a href="../live.html">live page</a>' and (files.ROOT / pages.LIVE).exists()


def test_the_first_page_has_readmes_words_with_the_caption_and_the_licence(source):
    index = (source / "index.md").read_text(encoding="utf-8")
    fronts = pages.FRONT.findall((files.ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(fronts) == 2 and "<!-- README -->" not in index
    for words in ("Look closely at the faces", "CC BY-SA 3.0", "| [A](", "swaps work.**"):
        assert words in "".join(fronts) and words in index


def test_a_wrong_address_leads_back():
    page = (pages.HERE / "404.html").read_text(encoding="utf-8")
    assert 'href="index.html"' in page


def test_all_notebooks_stand_in_the_contents(source):
    index = (source / "index.md").read_text(encoding="utf-8")
    for path in files.select_notebooks():
        assert index.count(f"\nnotebooks/{path.stem}\n") == 1


def test_solutions_are_folded_and_what_checks_is_gone(source):
    for path in files.select_notebooks():
        cells = nbformat.read(source / "notebooks" / path.name, 4).cells
        tags = [set(files.tags(cell)) for cell in cells if cell.cell_type == "code"]
        assert not any(each & {"check", "expectation", "guess"} for each in tags)
        solutions = [each for each in tags if "solution" in each]
        assert len(solutions) >= 3 and all("hide-cell" in each for each in solutions)


def test_a_page_names_its_parts():
    page = '<th class="head"><p></p></th><th>a</th><details open="open"><summary><span>'
    assert pages.name_parts(page) == (
        '<td></td><th>a</th><details open="open"><summary aria-label="more pages"><span>'
    )
