"""Slides of the notebooks, from the cells whose metadata say `slideshow: {slide_type: slide}`.

A slide is a heading, what is asked before a picture, the picture, and what is said after it; in the
picture's place may stand a formula, a table, a list or code. All words are the notebook's: the last
question before, and after it a sentence in bold type, else the first one. (nbconvert's own slides
hold whole cells, for which no slide has room.)
"""

from __future__ import annotations

import html
import io
import re
import shutil
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from jinja2 import Environment, FileSystemLoader
from nbconvert.filters import markdown2html
from nbformat import NotebookNode
from PIL import Image
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from tools.figures import Figure, find_figures
from tools.files import select_notebooks
from tools.site.pages import NPM, name_parts

WORDS, LINES = 60, 25  # the most on a slide: words, and lines of code
MERGED = 16  # lines of several functions together
PLACES = {  # pixels for a picture
    "wide": (1152, 390),
    "tall": (720, 560),
    "full": (1260, 602),
    "side": (840, 716),
}
LETTERS = 16  # the least height in pixels of a label's letters on a slide of 1280 x 720
DRAWN = 9 / 72 * 200  # that of 9 points, those of ticks, in a figure of 200 pixels an inch
WRITTEN = 12  # of a title above a film
VENDORED = {  # in build/npm, and their names beside the decks
    "reveal.js/dist/reset.css": "reset.css",
    "reveal.js/dist/reveal.css": "reveal.css",
    "reveal.js/dist/reveal.js": "reveal.js",
    "reveal.js/dist/plugin/notes.js": "notes.js",
    "reveal.js/LICENSE": "reveal-LICENSE",
    "mathjax/es5/tex-svg.js": "tex-svg.js",
    "mathjax/LICENSE": "mathjax-LICENSE",
}
KINDS = {"#": "heading", "$$": "formula", "- ": "list", "| ": "table"}  # by first characters
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\([^)\s]+\)")
TOPIC = re.compile(r"\*\*([^*]+?)[.?]\*\*\s+\S")  # how a paragraph names what it is about
BOLD = re.compile(r"(?<!\S)\*\*([^*\s]+\s){3}")  # of more than three words
# Signs within formulas and code end no sentence.
SENTENCE = re.compile(r'(?:\$[^$]*\$|`[^`]*`|[^$`])+?(?:[.?!](?<!al\.)\**(?=\s+[A-Z0-9*`"“$])|\Z)')


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

    def count_words(self) -> int:
        """Its words, without those of code, tables and pictures; a formula counts as one."""
        shown = re.sub(r"<[^>]+>", " ", self.thing) if self.kind in ("list", "question") else ""
        text = " ".join([self.heading, self.before, self.after, shown])
        return len(re.sub(r"\$.*?\$", "x", text).split())


def write_slides(to: str | Path, only: str = "") -> list[Path]:
    """Write a deck for each notebook with marked cells into a folder that needs nothing else."""
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
    if not any(is_marked(cell) for cell in book.cells):
        return [], []
    figures = find_figures(path, book)
    slides = make_slides(book.cells, {figure.cell: figure for figure in reversed(figures)})
    table = tomllib.loads((path.parent / "teaching.toml").read_text(encoding="utf-8"))
    notes = table.get(path.name[:2], {})
    for kind, label in (("questions", "Ask"), ("misconceptions", "Misconception")):
        for note in reversed(notes.get(kind, [])):
            named = re.findall(r"[Ss]ections? (\d+)", note)
            places = [slide for slide in slides if slide.section in named]
            (places or slides)[0].notes.insert(0, f"**{label}:** {note}")
    return slides, figures


def is_marked(cell: NotebookNode) -> bool:
    """Whether slides are made of a cell."""
    return cell.metadata.get("slideshow", {}).get("slide_type") == "slide"


def make_slides(cells: list[NotebookNode], figures: dict[int, Figure]) -> list[Slide]:
    """The slides of a notebook's cells; figures: by the number of the cell that shows each."""
    text = drop_links(cells[0].source)
    title, lead, *_ = text.split("\n\n")
    parts = dict(re.findall(r"^\*\*(\w+)\.\*\* (.*)", text, re.M))
    paper = re.search(r"Paper section \| (.*?) \|", text)
    slides = [Slide(title[2:], "title", "", paper[1] if paper else "", notes=[lead])]
    question, scene = f"<p>{write_line(parts['Question'])}</p>", split_sentences(lead)[:2]
    slides.append(Slide("The question", "question", question, " ".join(scene), notes=[lead]))

    heading = section = topic = said = ""  # said: the paragraph before
    is_open = False  # whether the next paragraph is about the last slide
    for number, cell in enumerate(cells[1:], 1):
        for kind, text in split_cell(cell):
            if kind == "heading":
                ((section, heading),) = re.findall(r"^#+ (?:(\d+)\. )?(.*)", text)
                topic, said, is_open = "", "", False
            elif kind == "text":
                named = TOPIC.match(text)
                if named and len(named[1].split()) <= (3 if is_open else 5):
                    topic = named[1]
                elif is_open and not re.match(r"\d+\. ", text):  # the next step of a derivation
                    close(slides[-1], text)
                said, is_open = text, False
            elif is_marked(cell):
                before = choose_before(re.sub(r"^\d+\. ", "", said))
                if before in slides[-1].after:
                    before = ""
                notes = [said or slides[-1].notes[0]]
                for caption, made, thing in make_things(kind, text, cell, figures.get(number)):
                    shown = (topic or heading) + caption
                    slides.append(Slide(shown, made, thing, before, "", section, [*notes]))
                    before = ""
                said, is_open = "", True
    answer = f"<p>{write_line(parts['Answer'])}</p>"  # before what is known and what is open
    slides.insert(-1, Slide("The answer", "question", answer, notes=[parts["Answer"]]))
    return slides


def close(slide: Slide, text: str) -> None:
    """Add what a paragraph says after the picture."""
    slide.notes.append(text)
    slide.after = choose_after(text)
    if slide.count_words() > WORDS:
        slide.before = ""


def split_cell(cell: NotebookNode) -> Iterator[tuple[str, str]]:
    """The parts of a cell with their kinds: heading, text, list, table, formula, code."""
    if cell.cell_type == "code":
        yield "code", cell.source
        return
    source = re.sub(r"^(#.*)", r"\1\n", cell.source, flags=re.M)
    for part in re.split(r"(\$\$.*?\$\$)|\n\s*\n|\n(?=\d+\. |#)", source, flags=re.S):
        part = (part or "").strip()
        kind = next((kind for sign, kind in KINDS.items() if part.startswith(sign)), "text")
        if len(part) > 1:  # more than the full stop after a formula
            yield kind, part if kind == "formula" else drop_links(part)


def drop_links(text: str) -> str:
    """A text without the addresses of its links, and without links that stand in brackets."""
    return LINK.sub(r"\1", re.sub(rf"\s\({LINK.pattern}\)", "", text))


def split_sentences(text: str) -> list[str]:
    """The sentences of a paragraph."""
    return [" ".join(sentence.split()) for sentence in SENTENCE.findall(text)]


def choose_before(paragraph: str) -> str:
    """The last question of a paragraph, a last sentence that is bold or unfinished, or the first.

    With the one before if short. Other last sentences often say nothing without those before them.
    """
    sentences = [each for each in split_sentences(paragraph) if "Jupyter" not in each] or [""]
    questions = [at for at, each in enumerate(sentences) if each.endswith("?")]
    last = (questions or [len(sentences) - 1])[-1]
    if not questions and sentences[last].endswith(".") and not BOLD.search(sentences[last]):
        last = min(len(sentences[0].split()) < 8, last)
    both = " ".join(sentences[max(last - 1, 0) : last + 1])
    is_short = len(sentences[last].split()) < 8 and len(both.split()) <= 28
    chosen = both if is_short else sentences[last]
    points_back = re.match(r"(Here|For example)\b", chosen)
    return chosen if chosen.count(" ") > 1 and not points_back else ""


def choose_after(paragraph: str) -> str:
    """The first sentence in bold type of a paragraph, or else its first one; one more if short.

    None if that asks, or announces what comes next.
    """
    sentences = split_sentences(paragraph)
    bold = [at for at, each in enumerate(sentences) if BOLD.search(each)]
    first = (bold or [0])[0]
    if not re.search(r"[.!]\W*$", sentences[first]):
        return ""
    return " ".join(sentences[first : first + 1 + (len(sentences[first].split()) < 6)])


def make_things(
    kind: str, text: str, cell: NotebookNode, figure: Figure | None
) -> Iterator[tuple[str, str, str]]:
    """End of the heading, kind and HTML of the slides of a list, formula, table or code cell."""
    if kind == "list":
        items = [shorten(item) for item in re.split(r"^- ", text, flags=re.M)[1:]]
        lines = [f"<li>{write_line(item)}</li>" for item in items]
        yield "", kind, f"<ul>{''.join(lines)}</ul>"
    elif kind == "formula":
        yield "", kind, set_formula(text)
    elif kind == "table":
        yield "", kind, markdown2html(text)
    elif figure:
        yield "", *set_picture(figure)
    elif shown := set_output(cell):
        yield "", *shown
    else:
        pieces = split_code(text)
        name = re.search(r"^class (\w+)", text, re.M)
        caption = f": `{name[1]}`" if name and len(pieces) > 1 else ""
        for piece in pieces:
            code = highlight(piece, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip()
            yield caption, "code", f"<pre><code>{code}</code></pre>"


def shorten(item: str) -> str:
    """The first sentence of an item of a list; of a long one its first part."""
    sentence = split_sentences(item)[0]
    if sentence.count(" ") < 19:
        return sentence
    return re.split("[;:] |, and |, so ", sentence)[0].rstrip(".") + "."


def set_formula(text: str) -> str:
    """A formula as HTML, its parts below one another, its number beside the last."""
    text = re.sub(r"\\tag\{(.*?)\}", r"\\qquad(\1)", text.strip("$"))
    if r"\begin" not in text:
        if len(text) > 150:
            text = r"\\[.3em]-\underbrace".join(text.rsplit(r"-\underbrace", 1))
        text = r"\begin{gathered}" + re.sub(r",\\q?quad", r",\\\\[.5em]", text) + r"\end{gathered}"
    return html.escape(f"$${text}$$")


def write_line(text: str) -> str:
    """Markdown of one paragraph as HTML that stands in a line."""
    return re.sub(r"^<p>|</p>$", "", markdown2html(text).strip())


def set_picture(figure: Figure) -> tuple[str, str]:
    """The kind of a picture's place, and its HTML.

    It is wide or tall; or, where the labels would be too small, the full slide or its full height.
    """
    label = 0.0
    if figure.name.endswith(".svg"):
        box = re.search(rb'viewBox="\S+ \S+ (\S+) (\S+)"', figure.content)
        width, height = map(float, box.groups()) if box else (16, 9)
    else:
        image = Image.open(io.BytesIO(figure.content))
        width, height = image.size
        label = WRITTEN if getattr(image, "is_animated", False) else DRAWN
    kind = "wide" if width > 1.5 * height else "tall"
    scale = min(PLACES[kind][0] / width, PLACES[kind][1] / height)
    if label and label * scale < LETTERS:
        kind = "full" if kind == "wide" else "side"
    return kind, f'<img src="figures/{figure.name}" alt="{html.escape(figure.alt)}">'


def set_output(cell: NotebookNode) -> tuple[str, str] | None:
    """Kind and HTML of a cell's first table, or else of what it prints."""
    data = [{"text/plain": output.get("text"), **output.get("data", {})} for output in cell.outputs]
    for each in data:
        if "<table" in each.get("text/html", ""):
            page = re.sub(r"<style.*?</style>", "", each["text/html"], flags=re.S)
            return "table", page.replace(' border="1"', "")
    for each in data:
        if text := each["text/plain"]:
            lines = text.strip("\n").splitlines()[:LINES]
            return "print", f"<pre>{html.escape(chr(10).join(lines))}</pre>"
    return None


def split_code(source: str) -> list[str]:
    """Code without its imports, in pieces of few lines: its functions, short ones together."""
    pieces: list[str] = []
    for piece in re.split(r"\n{2,}(?=class |\s*def )", source):
        if re.match("from |import ", piece):
            continue
        if pieces and f"{pieces[-1]}\n\n{piece}".count("\n") < MERGED:
            pieces[-1] += f"\n\n{piece}"
        else:
            pieces.append(piece)
    return [textwrap.dedent(piece) for piece in pieces]
