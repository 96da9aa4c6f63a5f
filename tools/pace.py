"""How long the sections of a notebook take, by what a reader reads in them.

A section goes from one heading of the second level to the next. Its minutes are counted and not
estimated: words of prose, formulas, open lines of code and pictures, at the paces below.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from nbformat import NotebookNode

from tools.files import tags

WORDS = 200  # of prose a minute: a calm pace, as for somebody who reads aloud
FORMULAS = 2  # a minute, of those that stand on a line of their own
LINES = 12  # of code a minute: a line every five seconds
PICTURES = 1  # a minute: to look, and to be told where
NOT_READ = {"hide-input", "hide-cell", "footer", "parameters"}  # folded, or not for reading
HEADING = re.compile(r"^## (.+)$", re.M)
NUMBER = re.compile(r"(\d+)\. ")
DETAILS = re.compile(r"<details>.*?</details>", re.S)  # folded
DISPLAYED = re.compile(r"\$\$.*?\$\$", re.S)
INLINE = re.compile(r"\$[^$]*\$")  # read as one word
LINK = re.compile(r"\]\([^)\s]*\)")
WORD = re.compile(r"\w+(?:['’.,-]\w+)*")


class Section(NamedTuple):
    """A section: its heading, and the whole minutes that it takes."""

    title: str
    minutes: int

    @property
    def number(self) -> int:
        """The number in its heading; 0 without one."""
        found = NUMBER.match(self.title)
        return int(found[1]) if found else 0


def measure_sections(cells: list[NotebookNode]) -> list[Section]:
    """The numbered sections of a notebook in their order, with their minutes, rounded up."""
    titles, minutes = ["before the first section"], [0.0]
    for cell in cells:
        if cell.cell_type != "markdown":
            minutes[-1] += measure_code(cell)
            continue
        before, *parts = HEADING.split(cell.source)
        minutes[-1] += measure_text(before)
        titles += parts[::2]
        minutes += [measure_text(text) for text in parts[1::2]]
    sections = map(Section, titles, map(math.ceil, minutes))
    return [section for section in sections if section.number]


def measure_text(text: str) -> float:
    """The minutes for a text in Markdown; what is folded takes none."""
    text = LINK.sub("]", DETAILS.sub("", text))
    text, formulas = DISPLAYED.subn(" ", text)
    words = WORD.findall(INLINE.sub(" formula ", text))
    return len(words) / WORDS + formulas / FORMULAS


def measure_code(cell: NotebookNode) -> float:
    """The minutes for the lines and the pictures of a code cell; folded lines take none."""
    shown = [output.get("data", {}) for output in cell.get("outputs", [])]
    pictures = sum(" image/" in " ".join(["", *data]) for data in shown)
    lines = [line for line in cell.source.splitlines() if line.strip()]
    read = 0 if NOT_READ & set(tags(cell)) else len(lines)
    return read / LINES + pictures / PICTURES
