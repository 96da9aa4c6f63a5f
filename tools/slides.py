"""Slides of the notebooks, from the cells whose metadata say `slideshow: {slide_type: slide}`.

A slide is a heading, what is asked before a picture, the picture, and what is said after it; in the
picture's place may stand a formula, a table, a list or code. All words are the notebook's: the last
question before, and after it a sentence in bold type, else the first one. (nbconvert's own slides
hold whole cells, for which no slide has room.)
"""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from jinja2 import Environment, FileSystemLoader
from nbconvert.filters import markdown2html
from nbformat import NotebookNode

from tools import excerpts
from tools.figures import Figure, find_figures
from tools.files import ROOT, select_notebooks
from tools.site import NPM, name_parts

WORDS = 60  # the most on a slide
VENDORED = {  # in build/npm, and their names beside the decks
    "reveal.js/dist/reset.css": "reset.css",
    "reveal.js/dist/reveal.css": "reveal.css",
    "reveal.js/dist/reveal.js": "reveal.js",
    "reveal.js/dist/plugin/notes.js": "notes.js",
    "reveal.js/LICENSE": "reveal-LICENSE",
    "mathjax/es5/tex-svg.js": "tex-svg.js",
    "mathjax/LICENSE": "mathjax-LICENSE",
}
TOPIC = re.compile(r"\*\*([^*]+?)[.?]\*\*\s+\S")  # how a paragraph names what it is about
SECTION = re.compile(r"(\d+)\. ")


@dataclass
class Slide:
    """One slide; thing is HTML of its kind, the other texts are Markdown."""

    heading: str
    kind: str
    thing: str
    before: str = ""
    after: str = ""
    section: str = ""
    notes: list[str] = field(default_factory=list)
    lines: int = 0  # of code

    def count_words(self) -> int:
        """Its words, without those of code, tables and pictures; a formula counts as one."""
        shown = re.sub(r"<[^>]+>", " ", self.thing) if self.kind in ("list", "question") else ""
        text = " ".join([self.heading, self.before, self.after, shown])
        return len(re.sub(r"\$.*?\$", "x", text).split())


def write_slides(to: str | Path, only: str = "") -> list[Path]:
    """Write a deck for each notebook with marked cells into a folder that needs nothing else."""
    to, look = Path(to), ROOT / "site" / "slides"
    (to / "figures").mkdir(parents=True, exist_ok=True)
    pages = Environment(loader=FileSystemLoader(look), autoescape=False, trim_blocks=True)
    pages.filters |= {"line": excerpts.write_line, "page": markdown2html}
    decks = {}
    for path in select_notebooks(only=only):
        slides, figures = make_deck(path)
        if not slides:
            continue
        for figure in figures:
            (to / "figures" / figure.name).write_bytes(figure.content)
        number = path.name[:2]
        page = pages.get_template("deck.html.j2").render(slides=slides)
        (to / f"{number}.html").write_text(name_parts(page), encoding="utf-8")
        decks[number] = slides
    page = pages.get_template("index.html.j2").render(decks=decks)
    (to / "index.html").write_text(page, encoding="utf-8")
    shutil.copy(look / "slides.css", to)
    for name, copy in VENDORED.items():
        shutil.copy(NPM / name, to / copy)
    return [to / f"{number}.html" for number in decks]


def make_deck(path: Path) -> tuple[list[Slide], list[Figure]]:
    """The slides of a notebook with the teacher's notes, and its pictures; none if unmarked."""
    book = nbformat.read(path, 4)
    if not any(is_marked(cell) for cell in book.cells):
        return [], []
    figures = find_figures(path, book)
    deck = Deck({figure.cell: figure for figure in reversed(figures)}, book.cells)
    deck.read()
    table = tomllib.loads((path.parent / "teaching.toml").read_text(encoding="utf-8"))
    notes = table.get(path.name[:2], {})
    for kind, label in (("questions", "Ask"), ("misconceptions", "Misconception")):
        for note in reversed(notes.get(kind, [])):
            named = re.findall(r"[Ss]ections? (\d+)", note)
            places = [slide for slide in deck.slides if slide.section in named]
            (places or deck.slides)[0].notes.insert(0, f"**{label}:** {note}")
    return deck.slides, figures


def is_marked(cell: NotebookNode) -> bool:
    """Whether slides are made of a cell."""
    return cell.metadata.get("slideshow", {}).get("slide_type") == "slide"


class Deck:
    """Reads a notebook from its beginning to its end, and makes its slides."""

    def __init__(self, figures: dict[int, Figure], cells: list[NotebookNode]):
        self.figures, self.cells = figures, cells
        self.slides: list[Slide] = []
        self.heading = self.topic = self.section = self.answer = ""
        self.said: list[str] = []  # paragraphs since the last heading or slide
        self.is_open = False  # whether the next paragraph is about the last slide

    def read(self) -> None:
        """Make all slides."""
        self.open(self.cells[0].source)
        for number, cell in enumerate(self.cells[1:], 1):
            for kind, part in excerpts.split_cell(cell):
                text = part if kind in ("code", "formula") else excerpts.drop_links(part)
                if kind == "heading":
                    self.begin_section(text)
                elif kind in ("text", "step"):
                    self.hear(text, kind == "step")
                elif is_marked(cell):
                    self.show(kind, text, number)

    def open(self, source: str) -> None:
        """The title and the question; the answer is kept for the end."""
        text = excerpts.drop_links(source)
        title, lead, *_ = text.split("\n\n")
        parts = dict(re.findall(r"^\*\*(\w+)\.\*\* (.*)", text, re.M))
        paper = re.search(r"Paper section \| (.*?) \|", text)
        self.slides.append(Slide(title[2:], "title", "", paper[1] if paper else "", notes=[lead]))
        self.ask("The question", parts["Question"], excerpts.choose_lead(lead), lead)
        self.answer = parts["Answer"]

    def ask(self, heading: str, text: str, before: str, note: str) -> None:
        """Add a slide of large text."""
        thing = f"<p>{excerpts.write_line(text)}</p>"
        self.slides.append(Slide(heading, "question", thing, before, notes=[note]))

    def begin_section(self, text: str) -> None:
        """Take the heading of what follows."""
        number = SECTION.match(text)
        self.section, self.topic = number[1] if number else "", ""
        self.heading, self.said, self.is_open = SECTION.sub("", text), [], False

    def hear(self, text: str, is_step: bool) -> None:
        """Take a paragraph, which may name the topic of what follows."""
        topic = TOPIC.match(text)
        if topic and len(topic[1].split()) <= (3 if self.is_open else 5):
            self.topic = topic[1]
        elif self.is_open and not is_step:
            slide = self.slides[-1]
            slide.notes.append(text)
            slide.after = excerpts.choose_after(text)
            if slide.count_words() > WORDS:
                slide.before = ""
        self.is_open = False
        self.said.append(text)

    def show(self, kind: str, text: str, number: int) -> None:
        """Add the slides of a formula, a list, a table, or a cell with its output."""
        if kind == "list" and self.heading.startswith("What we know"):
            self.ask("The answer", self.answer, "", text)
        before = excerpts.choose_before(self.said, kind)
        if before in self.slides[-1].after:
            before = ""
        for caption, made, thing, lines in self.make_things(kind, text, number):
            heading = (self.topic or self.heading) + f": `{caption}`" * bool(caption)
            notes = self.said[-1:] or self.slides[-1].notes[:1]
            slide = Slide(heading, made, thing, before, "", self.section, notes, lines)
            self.slides.append(slide)
            before = ""
        self.said, self.is_open = [], True

    def make_things(self, kind: str, text: str, number: int) -> Iterator[tuple]:
        """Caption, kind, HTML and number of lines of code of each slide."""
        if kind == "list":
            items = excerpts.shorten_items(text, WORDS - 12)
            lines = [f"<li>{excerpts.write_line(item)}</li>" for item in items]
            yield "", kind, f"<ul>{''.join(lines)}</ul>", 0
        elif kind == "formula":
            yield "", kind, excerpts.set_formula(text), 0
        elif kind == "table":
            yield "", kind, markdown2html(text), 0
        elif number in self.figures:
            yield "", *excerpts.set_picture(self.figures[number]), 0
        else:
            yield from excerpts.set_cell(self.cells[number])
