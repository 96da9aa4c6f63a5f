"""What of a notebook's texts and cells is short enough for a slide, and how it is set."""

from __future__ import annotations

import ast
import html
import io
import re
import textwrap
from collections.abc import Iterator

from nbconvert.filters import markdown2html
from nbformat import NotebookNode
from PIL import Image
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from tools.figures import Figure

LINES, MERGED = 25, 16  # of code: the most on a slide, and of several functions together
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\([^)\s]+\)")


def split_cell(cell: NotebookNode) -> Iterator[tuple[str, str]]:
    """The parts of a cell with their kinds: heading, text, step, list, table, formula, code."""
    if cell.cell_type == "code":
        yield "code", cell.source
        return
    for part in re.split(r"(\$\$.*?\$\$)", cell.source, flags=re.S):
        if part.startswith("$$"):
            yield "formula", part
            continue
        for paragraph in re.split(r"\n\s*\n|\n(?=\d+\. |#)", part):
            paragraph = paragraph.strip()
            if title := re.match(r"#+ (.*)\n?", paragraph):
                yield "heading", title[1]
                paragraph = paragraph[title.end() :]
            kind = {"- ": "list", "| ": "table"}.get(paragraph[:2], "text")
            step = re.match(r"\d+\. ", paragraph)
            if len(paragraph) > 1:  # more than the full stop after a formula
                yield ("step", paragraph[step.end() :]) if step else (kind, paragraph)


def drop_links(text: str) -> str:
    """A text without the addresses of its links, and without links that stand in brackets."""
    return LINK.sub(r"\1", re.sub(rf"\s\({LINK.pattern}\)", "", text))


def split_sentences(text: str) -> list[str]:
    """The sentences of a paragraph; signs within formulas and code end none."""
    kept = re.sub(r"\$[^$]*\$|`[^`]*`", lambda m: re.sub(r"\s", "\0", m[0]), text)
    parts = re.split(r'(?<=[.?!])(?<!al\.)(\*{0,2})\s+(?=[A-Z0-9*`"“$])', kept)
    pairs = zip(parts[::2], [*parts[1::2], ""], strict=True)
    return [(words + sign).replace("\0", " ").replace("\n", " ") for words, sign in pairs]


def choose_lead(paragraph: str, most: int = 36) -> str:
    """The first sentences of a paragraph, as many as have few words."""
    sentences = split_sentences(paragraph)
    while len(" ".join(sentences).split()) > most:
        sentences.pop()
    return " ".join(sentences)


def choose_before(said: list[str], kind: str) -> str:
    """The last question of the paragraph before, or else its last sentence."""
    sentences = split_sentences(said[-1]) if said else []
    sentences = [each for each in sentences if "Jupyter" not in each] or [""]  # no sliders here
    if kind == "formula":
        return sentences[-1] if len(sentences[-1].split()) > 3 else ""
    questions = [at for at, each in enumerate(sentences) if each.endswith("?")]
    last = (questions or [len(sentences) - 1])[-1]
    both = " ".join(sentences[max(last - 1, 0) : last + 1])
    is_clearer = len(sentences[last].split()) < 8 and len(both.split()) < 28
    return both if is_clearer else sentences[last]


def choose_after(paragraph: str) -> str:
    """The first sentence in bold type of the paragraph after, or else its first one.

    None if that asks, or announces what comes next.
    """
    sentences = split_sentences(paragraph)
    bold = [
        at for at, each in enumerate(sentences) if re.search(r"(?<!\S)\*\*([^*\s]+\s){3}", each)
    ]
    first = (bold or [0])[0]
    if not re.search(r"[.!]\W*$", sentences[first]):
        return ""
    return " ".join(sentences[first : first + 1 + (len(sentences[first].split()) < 6)])


def shorten_items(text: str, most: int) -> list[str]:
    """The first sentences of a list's items; if they have too many words, without their ends."""
    items = [split_sentences(each.strip())[0] for each in re.split(r"^[-*] ", text, flags=re.M)[1:]]
    for end in ("; ", ": ", ", "):
        for at in sorted(range(len(items)), key=lambda at: -len(items[at])):
            if sum(len(each.split()) for each in items) > most and end in items[at]:
                items[at] = items[at].rpartition(end)[0] + "."
    return items


def set_formula(text: str) -> str:
    """A formula as HTML, its parts below one another, its number beside the last."""
    text = re.sub(r"\\tag\{(.*?)\}", r"\\qquad(\1)", text.strip("$"))
    if r"\begin" not in text:
        if len(text) > 150:
            text = text.replace(r",\quad ", r",\qquad ")
            text = r"\\[.3em]-\underbrace".join(text.rsplit(r"-\underbrace", 1))
        text = r"\begin{gathered}" + text.replace(r",\qquad", r",\\[.5em]") + r"\end{gathered}"
    return html.escape(f"$${text}$$")


def write_line(text: str) -> str:
    """Markdown of one paragraph as HTML that stands in a line."""
    return re.sub(r"^<p>|</p>$", "", markdown2html(text).strip())


def set_picture(figure: Figure) -> tuple[str, str]:
    """Whether a picture is wide or tall, and its HTML."""
    if figure.name.endswith(".svg"):
        box = re.search(rb'viewBox="\S+ \S+ (\S+) (\S+)"', figure.content)
        width, height = map(float, box.groups()) if box else (16, 9)
    else:
        width, height = Image.open(io.BytesIO(figure.content)).size
    kind = "wide" if width > 1.5 * height else "tall"
    return kind, f'<img src="figures/{figure.name}" alt="{html.escape(figure.alt)}">'


def set_cell(cell: NotebookNode) -> Iterator[tuple[str, str, str, int]]:
    """Caption, kind, HTML and number of lines of a cell's table or print, or else of its code."""
    for output in cell.outputs:
        page = output.get("data", {}).get("text/html", "")
        if "<table" in page:
            page = re.sub(r"<style.*?</style>", "", page, flags=re.S)
            yield "", "table", page.replace(' border="1"', ""), 0
            return
    for output in cell.outputs:
        if text := output.get("text") or output.get("data", {}).get("text/plain"):
            lines = text.strip("\n").splitlines()[:LINES]
            yield "", "print", f"<pre>{html.escape(chr(10).join(lines))}</pre>", len(lines)
            return
    for caption, code in split_code(cell.source):
        shown = highlight(code, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip()
        yield caption, "code", f"<pre><code>{shown}</code></pre>", code.count("\n") + 1


def split_code(source: str) -> list[tuple[str, str]]:
    """Code without its imports in pieces of few lines, each with the class of its methods."""
    pieces: list[tuple[str, str]] = []
    for caption, piece in cut(source, ast.parse(source).body, "", 0):
        joined = f"{pieces[-1][1]}\n{piece}" if pieces and pieces[-1][0] == caption else ""
        if joined and joined.strip().count("\n") < MERGED:
            pieces[-1] = (caption, joined)
        else:
            pieces.append((caption, piece))
    return [(caption, textwrap.dedent(piece).strip("\n")) for caption, piece in pieces]


def cut(source: str, nodes: list[ast.stmt], caption: str, start: int) -> Iterator[tuple[str, str]]:
    """Statements one by one, long classes method by method; long functions without docstrings."""
    lines = source.splitlines()
    for node in nodes:
        piece = "\n".join(lines[start : node.end_lineno])
        start = node.end_lineno or start
        length = piece.strip().count("\n") + 1
        if isinstance(node, ast.ClassDef) and length > MERGED:
            yield from cut(source, node.body, node.name, node.body[0].lineno - 1)
        elif not is_quiet(node):
            quiet = re.sub(r'\n\s+""".*?"""', "", piece, flags=re.S)
            yield caption, re.sub(r"\n\s*\n", "\n", quiet) if length > 20 else piece


def is_quiet(node: ast.stmt) -> bool:
    """Whether a statement is an import or a docstring."""
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_text or isinstance(node, ast.Import | ast.ImportFrom)
