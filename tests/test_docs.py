"""The pages of docs/, and every link from a page or a notebook to another file of the clone."""

import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from helpers import NOTEBOOKS

from tools import syllabus

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md"]
PAGES += [ROOT / "results" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"(?<!\\)\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)")
FOLDERS = ("data", "docs", "notebooks", "papers", "results", "site", "tools")  # and all below
NUMBERED = re.compile(  # a link to a numbered page: its text and its number, or the other way round
    r"\[([^\[\]]*)\]\((?:[^()\s]*/)?(\d\d)(?:_\w+)?\.(?:ipynb|md|html)(?:#[^()\s]*)?\)"
    r'|<a\b[^>]*href="(?:[^"]*/)?(\d\d)(?:_\w+)?\.(?:ipynb|md|html)[^>]*>(.*?)</a>',
    re.DOTALL,
)
PUBLISHED = re.compile(r"https://(?:arxiv\.org/abs|doi\.org|openreview\.net)/[^\s)\]]+")


@cache
def read(path: Path) -> str:
    """A page, or the Markdown cells of a notebook; what is code or an equation is left out."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    return re.sub(r"```.*?```|\$\$.*?\$\$|\$[^$\n]+\$|`[^`\n]*`", " ", text, flags=re.DOTALL)


@cache
def find_anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def find_dead_links(path: Path) -> list[str]:
    dead = []
    for target in LINK.findall(read(path)):
        if target.startswith(("http", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / unquote(name)).resolve() if name else path
        is_page = anchor and file.suffix == ".md" and file.exists()
        anchors = find_anchors(file) if is_page else {anchor}
        if not file.exists() or anchor not in anchors:
            dead.append(target)
    return dead


@pytest.mark.parametrize("path", PAGES + NOTEBOOKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_links_lead_somewhere(path):
    assert find_dead_links(path) == []


def test_a_dead_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A heading\n[a](#a-heading) [b](#another) [c](none.md#b) [d](page.md)")
    assert find_dead_links(page) == ["#another", "none.md#b"]


def find_wrong_numbers(text: str) -> list[str]:
    """Links whose text has other digits than the number of the page that they lead to."""
    wrong = []
    for match in NUMBERED.finditer(text):
        words, number = match[1] or match[4] or "", match[2] or match[3]
        if set(re.findall(r"\d+", words)) - {number}:
            wrong.append(match[0])
    return wrong


def test_the_digits_of_a_link_are_those_of_its_page():
    paths = [*ROOT.glob("*.md"), *(p for name in FOLDERS for p in (ROOT / name).rglob("*"))]
    links, wrong = 0, {}
    for path in paths:
        if path.suffix in (".html", ".ipynb", ".j2", ".md", ".toml"):
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".ipynb":
                text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
            links += len(NUMBERED.findall(text))
            wrong[str(path.relative_to(ROOT))] = find_wrong_numbers(text)
    assert links > 300 and {name: found for name, found in wrong.items() if found} == {}


def test_a_swapped_digit_is_seen():
    right = "[23 evaluation](23_b.ipynb) [14\\* laws](a/14_laws.ipynb#top) [42](questions/42.md) "
    right += (
        '[map](00_start.ipynb) [2017](https://doi.org/10.24432/C5) <a href="a/13_x.html">13</a>'
    )
    assert len(NUMBERED.findall(right)) == 5 and find_wrong_numbers(right) == []
    for text in ("[23", "[14", "[42", ">13"):
        swapped = right.replace(text, text[0] + text[:0:-1])
        assert len(find_wrong_numbers(swapped)) == 1, text


def test_every_published_work_that_is_linked_is_in_the_bibliography():
    listed = set(PUBLISHED.findall(read(ROOT / "docs" / "bibliography.md")))
    for path in NOTEBOOKS:
        missing = set(PUBLISHED.findall(read(path))) - listed
        assert not missing, f"{path.stem}: {missing}"


def test_a_work_is_listed_once():
    text = read(ROOT / "docs" / "bibliography.md")
    keys, links = re.findall(r"^## (\w+)$", text, re.MULTILINE), PUBLISHED.findall(text)
    assert len(keys) == len(set(keys)) and len(links) == len(set(links))
    assert keys[5:] == sorted(keys[5:])  # the first five are the papers of the course


def test_the_syllabus_is_the_written_one_and_leaves_nothing_out():
    """Red: run `python -m tools syllabus`."""
    assert syllabus.PAGE.read_text(encoding="utf-8") == syllabus.renew_tables()
    term = syllabus.read_plans()["term"]
    assert sorted(sum(term.values(), [])) == list(syllabus.read_lessons())
