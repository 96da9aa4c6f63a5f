"""Editions of the notebooks, made from the committed ones by the tags of their cells.

Learners get them without solutions, and those of models as a workshop, teachers with open solutions
and a note at the top.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat import NotebookNode

from tools.files import copy_companions, read_facts, select_notebooks, tags, write
from tools.workshop import is_workshop, make_workshop

FOR_LEARNERS = TagRemovePreprocessor(
    enabled=True, remove_cell_tags={"solution"}, remove_all_outputs_tags={"check"}
)
NOTE = """\
> **For the teacher**: {teach} minutes to teach, {do} minutes to do the exercises.

**Misconceptions to expect**

{misconceptions}

**Questions to ask**

{questions}"""
SECTION = re.compile(r"^## (\d+)\. .+$", re.M)
LINK = re.compile(r'(\]\(|\b(?:src|href)=")([^)"#\s]+)')


def write_edition(
    edition: str, to: str | Path, only: str = "", folder: Path | None = None
) -> list[Path]:
    """Write the notebooks (of the clone) as an edition into the folder `to`.

    edition: "student" or "teacher"; only: numbers or names, as in `select_notebooks`. Raises
    ValueError for notebooks that do not exist.
    """
    notebooks = select_notebooks(folder, only)
    written = []
    for notebook in notebooks:
        book = nbformat.read(notebook, 4)
        if edition == "student":
            book = make_student(book, notebook)
        else:
            open_folded(book)
            teaching = read_facts(notebook).get("teaching", {})
            mark_sections(book, set(teaching.get("lecture", [])))
            if teaching:
                note = write_note(teaching)
                cell = nbformat.v4.new_markdown_cell(note, metadata={"tags": ["teacher"]})
                book.cells.insert(1, cell)
        move_links(book, notebooks, Path(to))
        written.append(write(book, Path(to) / notebook.name))
    copy_companions(notebooks, Path(to))
    return written


def make_student(book: NotebookNode, notebook: Path) -> NotebookNode:
    """A notebook as learners get it; where they can type its model, its workshop edition."""
    book, _ = FOR_LEARNERS(book, {})
    if is_workshop(book):
        make_workshop(book, notebook.name[:2])
    return book


def open_folded(book: NotebookNode) -> None:
    """Unfold the solutions and expectations of a notebook."""
    for cell in book.cells:
        if {"solution", "expectation"} & set(tags(cell)):
            cell.metadata.pop("jupyter", None)
            cell.metadata.tags = [tag for tag in tags(cell) if tag != "hide-cell"]


def mark_sections(book: NotebookNode, lecture: set[int]) -> None:
    """Write below the heading of each section whether it is for the lecture or for home."""

    def mark(match: re.Match) -> str:
        return f"{match[0]}\n\n*{'lecture' if int(match[1]) in lecture else 'home'}*"

    for cell in book.cells if lecture else ():
        if cell.cell_type == "markdown":
            cell.source = SECTION.sub(mark, cell.source)


def move_links(book: NotebookNode, notebooks: list[Path], to: Path) -> None:
    """Let links to files of the repository lead there from another folder.

    notebooks: those that move along, to which links stay as they are.
    """
    origin = notebooks[0].parent
    beside = {path.name for path in notebooks}

    def move(match: re.Match) -> str:
        opening, link = match.groups()
        if link in beside or not (origin / link).exists():
            return match[0]
        return opening + Path(os.path.relpath(origin / link, to)).as_posix()

    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(move, cell.source)


def write_note(teaching: dict[str, Any]) -> str:
    """The teaching notes of a notebook as Markdown."""
    texts = {}
    for name in ("misconceptions", "questions"):
        texts[name] = "1. " + "\n1. ".join(teaching[name])  # a list that counts by itself
    return NOTE.format(**teaching | texts)
