"""Slides of the notebooks, from the `slide` metadata of their cells.

A slide has a title, something to see, and one line that appears last. Title and line stand in the
metadata; `figure` names a picture of the notebook by its key in the page's TOML, `part` cuts it
(left, top, right and bottom, as shares of its size), and `list` holds items. `equation` is the
number of a formula of the notebook, which then stands above what a slide shows. With neither
picture nor list, a code cell shows its picture, its table or else its code, and never what it
prints, and a Markdown cell its formulas and tables, one a slide. A cell with several slides has a
list of them. Title, question and answer are those of the first cell.
"""

from __future__ import annotations

import base64
import html
import io
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from jinja2 import Environment, FileSystemLoader
from nbconvert.filters import markdown2html
from nbformat import NotebookNode
from PIL import Image

from tools.files import read_facts, select_notebooks
from tools.site.pages import NPM, name_parts

VENDORED = {  # in build/npm, and their names beside the decks
    "reveal.js/dist/reset.css": "reset.css",
    "reveal.js/dist/reveal.css": "reveal.css",
    "reveal.js/dist/reveal.js": "reveal.js",
    "reveal.js/dist/plugin/notes.js": "notes.js",
    "reveal.js/LICENSE": "reveal-LICENSE",
    "mathjax/es5/tex-svg.js": "tex-svg.js",
    "mathjax/LICENSE": "mathjax-LICENSE",
}
UNEQUAL = "expected a slide for each formula and table of the cell"
SHOWN = re.compile(r"\$\$.*?\$\$|^\|.*?(?=\n\n|\Z)", re.M | re.S)  # formulas and tables
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\([^)\s]+\)")
IMAGE = re.compile(r'<img [^>]*alt="([^"]*)" src="data:image/(\w+)[^,"]*;base64,([^"]+)"')


class Figure(NamedTuple):
    """A picture of a notebook as a file; cell: the number of the one that shows it."""

    cell: int
    name: str
    content: bytes
    alt: str


def find_figures(path: Path, book: NotebookNode) -> list[Figure]:
    """The pictures of a notebook's outputs, named by their keys in the file beside it."""
    texts = read_facts(path).get("alt", {})
    keys = {" ".join(alt.split()): key for key, alt in texts.items()}
    found: list[Figure] = []
    for index, cell in enumerate(book.cells):
        for output in cell.get("outputs", []):
            # Of a film, the second picture is its first frame.
            if match := IMAGE.search(output.get("data", {}).get("text/html", "")):
                alt = html.unescape(match[1])
                name = f"{path.name[:2]}-{keys.get(alt, f'cell{index}')}.{match[2]}"
                found.append(Figure(index, name, base64.b64decode(match[3]), alt))
    return found


@dataclass
class Slide:
    """One slide; thing is HTML of its kind, the other texts are Markdown."""

    title: str
    kind: str
    thing: str
    line: str = ""
    section: str = ""
    notes: list[str] = field(default_factory=list)


def write_slides(to: str | Path, only: str = "") -> list[Path]:
    """Write a deck for each notebook that has slides into a folder that needs nothing else."""
    to, look = Path(to), Path(__file__).parent / "decks"
    (to / "figures").mkdir(parents=True, exist_ok=True)
    pages = Environment(loader=FileSystemLoader(look), autoescape=False, trim_blocks=True)
    pages.filters |= {"line": write_line, "page": markdown2html}
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
    if not any("slide" in cell.metadata for cell in book.cells):
        return [], []
    figures = find_figures(path, book)
    slides = make_slides(book.cells, figures)
    notes = read_facts(path).get("teaching", {})
    for kind, label in (("questions", "Ask"), ("misconceptions", "Misconception")):
        for note in reversed(notes.get(kind, [])):
            named = re.findall(r"[Ss]ections? (\d+)", note)
            places = [slide for slide in slides if slide.section in named]
            (places or slides)[0].notes.insert(0, f"**{label}:** {note}")
    return slides, figures


def make_slides(cells: list[NotebookNode], figures: list[Figure]) -> list[Slide]:
    """The slides of a notebook's cells, which show some of its pictures.

    Raises ValueError where a picture, a formula or a table that a slide shows is not there.
    """
    written = [drop_links(cell.source) if cell.cell_type == "markdown" else "" for cell in cells]
    title, lead, *rest = written[0].split("\n\n")
    paper = re.search(r"Paper section \| (.*?) \|", written[0])
    slides = [Slide(title[2:], "title", paper[1] if paper else "", lead, notes=[lead])]
    parts = {part.split(" ")[0]: part.partition(" ")[2] for part in rest}
    question, answer = parts["**Question.**"], parts["**Answer.**"]
    slides.append(Slide("The question", "question", f"<p>{write_line(question)}</p>", notes=[lead]))
    for number, cell in enumerate(cells):
        shown = SHOWN.finditer(written[number])
        marks = cell.metadata.get("slide", [])
        for mark in marks if isinstance(marks, list) else [marks]:
            start = end = 0  # of what is shown in a Markdown cell
            if "list" in mark:
                kind, thing = "list", markdown2html("\n".join(f"- {item}" for item in mark["list"]))
            elif "figure" in mark or cell.cell_type == "code":
                picture = choose_picture(figures, number, mark)
                if picture and "part" in mark:
                    figures.append(picture := cut_picture(picture, mark["part"]))
                kind, thing = set_output(cell, picture)
            else:
                found = next(shown, None)
                if not found:
                    raise ValueError(f"slide {mark['title']!r}: {UNEQUAL}")
                start, end = found.span()
                kind = "formula" if found[0].startswith("$$") else "table"
                thing = markdown2html(found[0])
            if "equation" in mark:
                thing = set_equation(written, mark) + thing
            before = "\n\n".join([*written[:number], written[number][:start]])
            after = "\n\n".join([written[number][end:], *written[number + 1 :]])
            notes = [] if kind == "list" else list_paragraphs(before)[-1:]
            notes += list_paragraphs(after)[:1]
            section = ["", *re.findall(r"^## (\d*)", before, re.M)][-1]
            slides.append(Slide(mark["title"], kind, thing, mark["line"], section, notes))
        if marks and next(shown, None):
            raise ValueError(f"after slide {mark['title']!r}: {UNEQUAL}")
    answered = Slide("The answer", "question", f"<p>{write_line(answer)}</p>", notes=[answer])
    return [*slides[:-1], answered, slides[-1]]  # before what one can now do


def list_paragraphs(text: str) -> list[str]:
    """The paragraphs of a text, without headings, tables, formulas and HTML."""
    parts = [part.strip() for part in text.split("\n\n")]
    return [part for part in parts if len(part) > 1 and not part.startswith(("#", "|", "$$", "<"))]


def drop_links(text: str) -> str:
    """A text without the addresses of its links, and without links that stand in brackets."""
    return LINK.sub(r"\1", re.sub(rf"\s\({LINK.pattern}\)", "", text))


def write_line(text: str) -> str:
    """Markdown of one paragraph as HTML that stands in a line."""
    return re.sub(r"^<p>|</p>$", "", markdown2html(text).strip())


def set_equation(written: list[str], mark: dict[str, Any]) -> str:
    """The formula of the number that a slide names, as HTML."""
    tag = f"\\tag{{{mark['equation']}}}"
    formulas = [found[0] for found in SHOWN.finditer("\n\n".join(written))]
    formula = next((each for each in formulas if tag in each), None)
    if not formula:
        raise ValueError(f"slide {mark['title']!r}: expected an equation {mark['equation']}")
    return f'<div class="equation">{markdown2html(formula)}</div>'


def choose_picture(figures: list[Figure], number: int, mark: dict[str, Any]) -> Figure | None:
    """The picture that a slide names, or else the first of its cell, if there is one."""
    names = [Path(figure.name).stem[3:] for figure in figures]
    if "figure" not in mark:
        return next((figure for figure in figures if figure.cell == number), None)
    if mark["figure"] not in names:
        expected = f"expected one of {', '.join(names)}"
        raise ValueError(f"slide {mark['title']!r}, figure: {expected}; found {mark['figure']!r}")
    return figures[names.index(mark["figure"])]


def cut_picture(figure: Figure, part: list[float]) -> Figure:
    """The part of a picture between left, top, right and bottom, as shares of its size."""
    image, cut = Image.open(io.BytesIO(figure.content)), io.BytesIO()
    left, top, right, bottom = part
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    image.crop(box).save(cut, "PNG")
    name = "-".join([figure.name[:-4], *map(str, part)]) + ".png"
    return figure._replace(name=name, content=cut.getvalue())


def set_output(cell: NotebookNode, figure: Figure | None) -> tuple[str, str]:
    """Kind and HTML of a picture, or else of a cell's first table, or its code."""
    if figure:
        alt = html.escape(figure.alt)
        return choose_place(figure), f'<img src="figures/{figure.name}" alt="{alt}">'
    for each in [output.get("data", {}) for output in cell.outputs]:
        if "<table" in each.get("text/html", ""):
            page = re.sub(r"<style.*?</style>", "", each["text/html"], flags=re.S)
            return "table", page.replace(' border="1"', "")
    return "code", markdown2html(f"```python\n{cell.source}\n```")


def choose_place(figure: Figure) -> str:
    """The place of a picture: wide, under the title, or tall, beside it."""
    if figure.name.endswith(".svg"):
        box = re.search(rb'viewBox="\S+ \S+ (\S+) (\S+)"', figure.content)
        width, height = map(float, box.groups()) if box else (16, 9)
    else:
        width, height = Image.open(io.BytesIO(figure.content)).size
    return "wide" if width > 1.6 * height else "tall"  # as large as possible
