"""Slides from the committed notebooks: short, with notes, and pictures described."""

import re

import nbformat
import pytest

from tools import files
from tools.site import slides

BOOKS = {path.name[:2]: path for path in files.select_notebooks()}
DECKS = {number: made for number, path in BOOKS.items() if (made := slides.make_deck(path)[0])}


@pytest.fixture
def cells():
    return nbformat.read(BOOKS["00"], 4).cells


@pytest.mark.parametrize("number", DECKS)
def test_a_deck_asks_shows_and_answers(number):
    deck = DECKS[number]
    assert 12 <= len(deck) <= 25
    kinds = [slide.kind for slide in deck]
    assert kinds[:2] == ["title", "question"] and kinds[-2:] == ["question", "list"]
    assert {"wide", "tall"} & set(kinds)
    notes = [note for slide in deck for note in slide.notes]
    assert sum(note.startswith("**Misconception:**") for note in notes) == 3
    assert sum(note.startswith("**Ask:**") for note in notes) == 2
    for slide in deck[1:]:
        said = f"{slide.title} {slide.line}"
        if slide.kind in ("list", "question"):
            said += re.sub("<.*?>", " ", slide.thing)
        words = re.sub(r"\$.*?\$", "x", said).split()
        assert slide.notes and len(words) <= (72 if slide.title == "The answer" else 60), said
        assert slide.kind == "question" or (slide.title[-1] in ".?" and slide.line[-1] == "."), said
        assert slide.kind != "code" or slide.thing.count("\n") <= 26, slide.title  # 25 lines
        assert "](" not in said + slide.thing  # no link out of the folder


def test_a_slide_shows_what_the_page_has(cells):
    pictures = slides.find_figures(BOOKS["00"], nbformat.v4.new_notebook(cells=cells))
    mark = {"title": "T.", "line": "L."}
    cells[4].metadata["slide"] = mark | {"figure": "twin"}  # of a cell that comes later
    assert 'src="figures/00-twin.png"' in slides.make_slides(cells, pictures)[2].thing
    cells[4].metadata["slide"] = mark | {"figure": "twin", "part": [0, 0, 0.5, 1]}
    assert 'src="figures/00-twin-0-0-0.5-1.png"' in slides.make_slides(cells, pictures)[2].thing
    cells[4].metadata["slide"] = mark | {"figure": "lost"}
    with pytest.raises(ValueError, match="'T.', figure: .*sprites_swap, .*'lost'"):
        slides.make_slides(cells, pictures)
    cells[4].source += "\n\n$$x$$\n\nOne.\n\n| a |\n|---|\n| b |\n\nTwo."
    cells[4].metadata["slide"] = [mark, mark]
    formula, table = slides.make_slides(cells, pictures)[2:4]
    assert (formula.kind, table.kind, table.notes) == ("formula", "table", ["One.", "Two."])
    for count in (1, 3):
        cells[4].metadata["slide"] = [mark] * count
        with pytest.raises(ValueError, match="a slide for each formula and table"):
            slides.make_slides(cells, pictures)


def test_an_equation_stands_above_what_a_slide_shows(cells):
    cells[4].source += "\n\n$$y.\\tag{1}$$\n\n$$x=2.\\tag{12}$$"
    mark = {"title": "T.", "line": "L.", "equation": "12", "list": ["a"]}
    cells = [cell for cell in cells if "slide" not in cell.metadata]
    cells[-1].metadata["slide"] = mark
    thing = slides.make_slides(cells, [])[-1].thing
    assert "x=2" in thing and "y." not in thing and thing.index("x=2") < thing.index("<li>")
    cells[-1].metadata["slide"]["equation"] = "2"
    with pytest.raises(ValueError, match="'T.': expected an equation 2"):
        slides.make_slides(cells, [])
