"""Figures of the notebooks' language, as a hint to whoever edits them (`python -m tools prose`).

They describe rhythm and habits: short sentences without a connective read like a telegram, and a
page with much in bold like a poster. A figure beyond its limit is marked with an asterisk. Nothing
fails by it, because good prose may break each of these limits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import nbformat

from tools.files import select_notebooks, tags

SHORT, LONG = 6, 25  # words of a sentence
WRITTEN_BY_COMMANDS = {"footer", "claims"}  # tags of cells that are no prose of ours
EXERCISE = {"exercise", "hint", "solution"}  # tags of cells that may ask
CONNECTIVES = re.compile(
    r"\b(however|therefore|thus|hence|because|since|although|though|while|whereas|which means"
    r"|as a result|in other words|for example|for instance|that is|note that|recall|in particular"
    r"|in contrast|instead|moreover|in practice|intuitively|first|second|finally|next|now|then"
    r"|so that|in order to|to see|this means|this is because|in fact|of course|as we|let us"
    r"|let's)\b",
    re.IGNORECASE,
)
CLEANED = (  # what is no prose, and what stands for it
    (r"```.*?```", ""),
    (r"\$\$.*?\$\$", " "),
    (r"\$[^$]*\$", "MATH"),
    (r"<[^>]+>", ""),
    (r"!\[[^\]]*\]\([^)]*\)", ""),
    (r"\[([^\]]*)\]\([^)]*\)", r"\1"),
)
PARAGRAPH = re.compile(r"\n\s*\n|\n(?=[-*\d#|>])")
SENTENCE = re.compile(r"(?<=[.!?:])[\"*)]*\s+(?=[*\"(A-Z0-9M])")


class Figures(NamedTuple):
    """What is counted of a text."""

    sentences: int
    words: float  # of a sentence, the mean
    short: float  # percent of the sentences
    long: float
    connectives: float  # in 1,000 words
    bold: int  # sentences with bold type in them
    sections: int
    questions: int  # outside of exercises
    colons: float  # percent of the sentences that have a colon or a semicolon
    bare_links: int  # links whose text is the number of a notebook alone
    bare_decimals: int  # such as .57

    def find_beyond(self) -> set[str]:
        """The names of the figures that are beyond their limits."""
        is_beyond = {
            "short": self.short > 10,
            "connectives": self.connectives < 18,
            "bold": self.bold > self.sections,
            "questions": self.questions > 5,
            "bare_links": self.bare_links > 0,
            "bare_decimals": self.bare_decimals > 0,
        }
        return {name for name, beyond in is_beyond.items() if beyond}


def split_sentences(text: str) -> list[str]:
    """The sentences of a Markdown text that have three words or more; no tables, no headings."""
    for pattern, replacement in CLEANED:
        text = re.sub(pattern, replacement, text, flags=re.DOTALL)
    sentences = []
    for paragraph in map(str.strip, PARAGRAPH.split(text)):
        if not paragraph or paragraph.startswith(("|", "#", "---")):
            continue
        line = " ".join(re.sub(r"^[-*>]\s+|^\d+\.\s+", "", paragraph).split())
        sentences += [each for each in SENTENCE.split(line) if len(each.split()) >= 3]
    return sentences


def count(texts: Sequence[str], exercises: Sequence[str] = ()) -> Figures:
    """The figures of Markdown texts; those of exercises count in all but the questions."""
    whole = "\n".join([*texts, *exercises])
    asked = list(chain(*map(split_sentences, texts)))
    sentences = [*asked, *chain(*map(split_sentences, exercises))]
    lengths = [len(each.replace("*", "").split()) for each in sentences] or [0]
    percent = 100 / len(lengths)
    return Figures(
        sentences=len(sentences),
        words=fmean(lengths),
        short=percent * sum(length <= SHORT for length in lengths),
        long=percent * sum(length >= LONG for length in lengths),
        connectives=1000 * len(CONNECTIVES.findall(" ".join(sentences))) / max(sum(lengths), 1),
        bold=sum("**" in each for each in sentences),
        sections=len(re.findall(r"^##? ", whole, flags=re.MULTILINE)),
        questions=sum(each.rstrip('*"').endswith("?") for each in asked),
        colons=percent * sum(":" in each or ";" in each for each in sentences),
        bare_links=len(re.findall(r"\[\d\d\]\(", whole)),
        bare_decimals=len(re.findall(r"(?<![\d\w.])\.\d\d", whole)),
    )


def read_prose(path: Path) -> tuple[list[str], list[str]]:
    """The Markdown cells of a notebook that we write: those of the page, those of its exercises."""
    cells = nbformat.read(path, as_version=4).cells
    cells = [each for each in cells if each.cell_type == "markdown"]
    cells = [each for each in cells if not WRITTEN_BY_COMMANDS & set(tags(each))]
    exercises = [each.source for each in cells if EXERCISE & set(tags(each))]
    return [each.source for each in cells if not EXERCISE & set(tags(each))], exercises


def show(only: str = "") -> None:
    """Print a line of figures for each notebook, and one for all of them together."""
    titles = [name.replace("_", " ") for name in Figures._fields]
    print("notebook", *titles, sep="  ")
    pages, exercises = [], []
    for path in select_notebooks(only=only):
        texts, tasks = read_prose(path)
        pages += texts
        exercises += tasks
        print(print_line(path.name[:2], count(texts, tasks)))
    print(print_line("all", count(pages, exercises), is_marked=False))


def print_line(name: str, figures: Figures, is_marked: bool = True) -> str:
    """A line of the table, in which an asterisk marks a figure beyond its limit."""
    beyond = figures.find_beyond() if is_marked else set()
    cells = [f"{name:8}"]
    for title, value in figures._asdict().items():
        digits = 1 if title in ("words", "connectives") else 0
        cells.append(f"{value:.{digits}f}{'*' * (title in beyond)}".rjust(len(title)))
    return "  ".join(cells)
