"""Editions of the notebooks, made from the committed ones by the tags of their cells.

Learners get them without solutions, teachers with open solutions and a note at the top.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import Preprocessor, TagRemovePreprocessor
from nbformat import NotebookNode
from traitlets import Set, Unicode

from unbraid.course.execution import first_line, select_notebooks
from unbraid.course.files import tags

EDITIONS = ("student", "teacher")
LISTS = ("misconceptions", "questions")
NOTES = "teaching.toml"  # beside the notebooks; a table for each, named by its number
NOTE = """\
> **For the teacher**: {teach} minutes to teach, {do} minutes to do the exercises.

**Misconceptions to expect**

{misconceptions}

**Questions to ask**

{questions}"""
LINK = re.compile(r'(\]\(|\b(?:src|href)=")([^)"#\s]+)')


class OpenFolded(Preprocessor):
    """Unfold the cells with any of some tags."""

    opened = Set(default_value={"solution", "expectation"})

    def preprocess_cell(self, cell: NotebookNode, context: dict, index: int) -> tuple:
        """The cell without the metadata that fold it."""
        if self.opened.intersection(tags(cell)):
            cell.metadata.pop("jupyter", None)
            cell.metadata.tags = [tag for tag in tags(cell) if tag != "hide-cell"]
        return cell, context


class AddNote(Preprocessor):
    """Put a note below the notebook's title."""

    note = Unicode()

    def preprocess(self, book: NotebookNode, context: dict) -> tuple:
        """The notebook with one more cell."""
        if self.note:
            cell = nbformat.v4.new_markdown_cell(
                self.note, id="teacher", metadata={"tags": ["teacher"]}
            )
            book.cells.insert(1, cell)
        return book, context


class MoveLinks(Preprocessor):
    """Let links to files of the repository lead there from another folder."""

    origin = Unicode()
    target = Unicode()
    beside = Set()  # names of notebooks that move along

    def preprocess_cell(self, cell: NotebookNode, context: dict, index: int) -> tuple:
        """The cell with its links changed."""
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(self._move, cell.source)
        return cell, context

    def _move(self, match: re.Match) -> str:
        opening, link = match.groups()
        if link in self.beside or not (Path(self.origin) / link).exists():
            return match.group()
        return opening + Path(os.path.relpath(Path(self.origin) / link, self.target)).as_posix()


def write_edition(
    edition: str, to: str | Path, only: str = "", folder: Path | None = None
) -> list[Path]:
    """Write the notebooks (of the clone) as an edition into the folder `to`.

    edition: "student" or "teacher"; only: numbers or names, as in `select_notebooks`. Raises
    ValueError for notebooks that do not exist and teaching notes that are not complete.
    """
    if edition not in EDITIONS:
        raise ValueError(f"edition: expected one of {', '.join(EDITIONS)}; found {edition!r}")
    notebooks = select_notebooks(folder, only)
    target = Path(to).resolve()
    if target == notebooks[0].parent.resolve():
        raise ValueError(f"to: expected another folder than that of the notebooks, found {to}")
    notes = read_notes(notebooks[0].parent / NOTES) if edition == "teacher" else {}
    moved = MoveLinks(
        origin=str(notebooks[0].parent),
        target=str(target),
        beside={path.name for path in notebooks},
    )
    first = OpenFolded()
    if edition == "student":
        first = TagRemovePreprocessor(
            remove_cell_tags={"solution"}, remove_all_outputs_tags={"check"}
        )

    written = []
    for notebook in notebooks:
        note = AddNote(note=notes.get(notebook.name[:2], ""))
        book = apply_steps(nbformat.read(notebook, 4), [first, note, moved])
        book.metadata.pop("unbraid", None)  # The stamp speaks of the whole notebook.
        written.append(write_notebook(book, target / notebook.name))
    return written


def write_pages(to: str | Path, only: str = "", folder: Path | None = None) -> list[Path]:
    """Write the notebooks as HTML pages for reading, without what answers the exercises.

    Errors as `select_notebooks`.
    """
    style = resources.files("unbraid.course").joinpath("pages.css").read_text(encoding="utf-8")
    answers = TagRemovePreprocessor(remove_cell_tags={"solution", "expectation"})
    notebooks = select_notebooks(folder, only)
    moved = MoveLinks(
        origin=str(notebooks[0].parent),
        target=str(Path(to).resolve()),
        beside={path.name for path in notebooks},
    )
    written = []
    for notebook in notebooks:
        book = apply_steps(nbformat.read(notebook, 4), [answers, moved])
        page, _ = HTMLExporter().from_notebook_node(
            book, {"metadata": {"name": first_line(book.cells[0].source if book.cells else "")}}
        )
        page = page.replace("</head>", f"<style>\n{style}</style>\n</head>", 1)
        page = re.sub(r'href="(\d\d_\w+)\.ipynb', r'href="\1.html', page)
        path = Path(to, f"{notebook.stem}.html")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
        written.append(path)
    return written


def apply_steps(book: NotebookNode, steps: Sequence[Preprocessor]) -> NotebookNode:
    """The notebook after one preprocessor after the other."""
    for step in steps:
        book, _ = step.preprocess(book, {})
    return book


def write_notebook(book: NotebookNode, path: Path) -> Path:
    """Write a valid notebook, and its folder where it is missing; returns the path."""
    nbformat.validate(book)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, path)
    return path


def read_notes(path: Path) -> dict[str, str]:
    """The teaching notes as Markdown, by the number of their notebook; none without the file.

    Raises ValueError for a note without its minutes, three misconceptions and two questions.
    """
    tables = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {number: render_note(number, table) for number, table in tables.items()}


def render_note(number: str, table: dict) -> str:
    """One teaching note as Markdown; ValueError where a part of it is missing."""
    found = {name: len(part) if isinstance(part, list) else part for name, part in table.items()}
    minutes = [found.get("teach"), found.get("do")]
    if not all(isinstance(part, int) and part > 0 for part in minutes):
        raise ValueError(f"{NOTES} [{number}]: expected the minutes teach and do, found {minutes}")
    if (found.get("misconceptions"), found.get("questions")) != (3, 2):
        raise ValueError(f"{NOTES} [{number}]: expected 3 misconceptions and 2 questions")
    lists = {name: "\n".join(f"1. {item}" for item in table[name]) for name in LISTS}
    return NOTE.format(teach=table["teach"], do=table["do"], **lists)
