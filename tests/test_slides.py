"""Slides and figures from the committed notebooks: short, with notes, and pictures described."""

import io
import re

import nbformat
import pytest
from PIL import Image

from tools import figures, files
from tools.site import slides

DECKS = {path: made for path in files.select_notebooks() if (made := slides.make_deck(path)[0])}


def test_the_decks_are_those_of_the_table():
    assert {path.name[:2] for path in DECKS} == {"00", "11", "13", "23", "31", "33"}


@pytest.mark.parametrize("path", DECKS, ids=lambda path: path.name[:2])
def test_a_deck_asks_shows_and_answers(path):
    deck = DECKS[path]
    assert 12 <= len(deck) <= 25
    kinds = [slide.kind for slide in deck]
    assert kinds[:2] == ["title", "question"] and kinds[-2:] == ["question", "list"]
    assert {"wide", "tall", "full", "side"} & set(kinds)
    for slide in deck:
        assert slide.heading and slide.notes
        most = 70 if slide.heading == "The answer" else slides.WORDS  # as of an Answer
        assert slide.count_words() <= most, (slide.heading, slide.before, slide.after)
        assert slide.kind != "code" or slide.thing.count("\n") < slides.LINES, slide.heading
        assert slide.thing.count("<img") <= 1
        assert "](" not in slide.before + slide.after + slide.thing  # no link out of the folder


@pytest.mark.parametrize("path", DECKS, ids=lambda path: path.name[:2])
def test_labels_are_large_enough_for_the_last_row(path):
    drawn = {figure.name: figure for figure in slides.make_deck(path)[1]}
    for slide in DECKS[path]:
        if not (name := re.search(r'figures/(.*?\.png)"', slide.thing)):
            continue
        image = Image.open(io.BytesIO(drawn[name[1]].content))
        sizes = zip(slides.PLACES[slide.kind], image.size, strict=True)
        label = slides.WRITTEN if getattr(image, "is_animated", False) else slides.DRAWN
        assert label * min(place / size for place, size in sizes) >= slides.LETTERS, slide.heading


@pytest.mark.parametrize("path", DECKS, ids=lambda path: path.name[:2])
def test_notes_of_the_teacher_are_there_once(path):
    notes = [note for slide in DECKS[path] for note in slide.notes]
    assert sum(note.startswith("**Misconception:**") for note in notes) == 3
    assert sum(note.startswith("**Ask:**") for note in notes) == 2


def test_figures_are_named_and_described(tmp_path):
    written = figures.write_figures(tmp_path, "00 11")
    names = {path.name for path in written}
    assert len(names) == len(written)
    assert {"00-sprites_swap.png", "00-three_ideas.svg", "11-graphs.svg"} <= names
    assert (tmp_path / "00-sprites_swap.gif").exists()  # a film
    assert not (tmp_path / "00-twin_errors.gif").exists()
    index = (tmp_path / "index.md").read_text(encoding="utf-8")
    for name in names:
        assert len(re.search(rf"\({re.escape(name)}\) \| (.*) \|", index)[1].split()) >= 4


def test_what_is_short_enough_is_chosen():
    assert slides.split_sentences("See $a. B$ now. **Do** it? Yes.")[1] == "**Do** it?"
    before = slides.choose_before("Two are small. Which two? We look.")
    assert before == "Two are small. Which two?"
    assert slides.choose_before("Most data have no true clip at all. Chance is .10.").startswith(
        "Most"
    )
    assert slides.choose_before("Here $x$ is a number of both kinds.") == ""
    assert slides.choose_before("It is a number. The integral becomes a mean:").endswith("mean:")
    assert slides.choose_after("It does. **A b c d.** More.") == "**A b c d.** More."
    assert slides.drop_links("a [b](c.md) ([04](d.md)).") == "a b."
    steps = slides.split_cell(nbformat.v4.new_markdown_cell("## T\n1. a\n2. b:\n$$c$$."))
    assert [kind for kind, _ in steps] == ["heading", "text", "text", "formula"]


def test_code_is_split_by_methods():
    method = "    def f{}(self):\n" + "        x = 1\n" * 12
    source = "import os\n\n\nclass A:\n" + "\n".join(method.format(n) for n in range(3))
    pieces = slides.split_code(source)
    assert len(pieces) == 3
    assert pieces[0].startswith("class A:\n    def f0(self):\n        x = 1")
    assert pieces[1].startswith("def f1(self):\n    x = 1")


def test_marks_survive_a_new_run():
    book = nbformat.read(files.select_notebooks(only="00")[0], 4)
    marks = [slides.is_marked(cell) for cell in book.cells]
    assert marks == [slides.is_marked(cell) for cell in files.normalise(book).cells]
