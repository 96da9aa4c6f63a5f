"""How long the sections of a notebook take, by what a reader reads in them.

A section goes from one heading of the second level to the next. Its minutes are counted and not
estimated: words of prose, open lines of code and pictures, each at the pace that stands below.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from nbformat import NotebookNode

from tools.files import tags

WORDS = 200  # of prose a minute: slow reading, since most readers have another first language
LINES = 12  # of code a minute: a line every five seconds
PICTURES = 1  # a minute: to look, and to be told where
NOT_READ = {"hide-input", "hide-cell", "footer", "parameters"}  # folded, or not for reading
HEADING = re.compile(r"^## (.+)$", re.M)
NUMBER = re.compile(r"(\d+)\. ")
DETAILS = re.compile(r"<details>.*?</details>", re.S)  # folded
LINK = re.compile(r"\]\([^)\s]*\)")
FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$]*\$", re.S)


class Section(NamedTuple):
    """A section: its heading, and the minutes that it takes to read."""

    title: str
    minutes: int

    @property
    def number(self) -> int:
        """The number in its heading; 0 without one."""
        found = NUMBER.match(self.title)
        return int(found[1]) if found else 0


def measure_sections(cells: list[NotebookNode]) -> list[Section]:
    """The numbered sections of a notebook, in their order, each with whole minutes, rounded up."""
    sections: list[tuple[str, float]] = []
    for cell in cells:
        if cell.cell_type != "markdown":
            if sections:
                title, minutes = sections[-1]
                sections[-1] = title, minutes + measure_code(cell)
            continue
        before, *parts = HEADING.split(cell.source)
        if sections:
            title, minutes = sections[-1]
            sections[-1] = title, minutes + count_words(before) / WORDS
        for title, text in zip(parts[::2], parts[1::2], strict=True):
            sections.append((title, count_words(text) / WORDS))
    measured = [Section(title, math.ceil(minutes)) for title, minutes in sections]
    return [section for section in measured if section.number]


def measure_code(cell: NotebookNode) -> float:
    """The minutes for the lines and the pictures of a code cell; folded lines take none."""
    pictures = sum(
        any(kind.startswith("image/") for kind in output.get("data", {}))
        for output in cell.get("outputs", [])
    )
    lines = 0 if NOT_READ & set(tags(cell)) else count_lines(cell.source)
    return lines / LINES + pictures / PICTURES


def count_lines(source: str) -> int:
    """The lines of code that are not blank."""
    return sum(bool(line.strip()) for line in source.splitlines())


def count_words(text: str) -> int:
    """The words of a Markdown text; a formula counts as one word for each symbol group in it."""
    text = LINK.sub("]", DETAILS.sub("", text))
    return len(re.findall(r"\w+(?:['’.,-]\w+)*", FORMULA.sub(" formula ", text)))
