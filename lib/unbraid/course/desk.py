"""A desk of one's own: copies of the notebooks in mine/, which git ignores, and their updates.

`lay_out` copies what is not there yet. `update` brings in what has changed in the course since, by
a three-way merge of cells, and loses nothing that a reader wrote. Cells are merged as wholes, since
nbdime writes marks of conflicts into code and outputs.
"""

from __future__ import annotations

import copy
import difflib
import os
import platform
import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode
from nbformat.sign import NotebookNotary

from unbraid.course.execution import select_notebooks

BASES = ".base"  # in the desk: each notebook as it was when it came from the course
BACKUP = ".before-update"  # in the desk: the copies as they were before the last update
ALIKE = 0.5  # share of equal text from which two cells count as versions of one
MARK = "**The course has changed the cell above.** Yours stays; the course's new version follows."


class Merge(NamedTuple):
    """A merged notebook, and the numbers of its cells that came from the course or stand twice."""

    book: NotebookNode
    renewed: int
    doubled: int


def lay_out(root: Path) -> tuple[Path, list[Path]]:
    """Copy the notebooks of a clone into its mine/, and trust the copies; what is there stays.

    Returns the desk and the new copies.
    """
    desk = root / "mine"
    created = []
    for notebook in select_notebooks(root / "notebooks"):
        mine = desk / notebook.name
        if not mine.exists():
            book = nbformat.read(notebook, 4)
            write_whole(book, desk / BASES / notebook.name)
            trust(write_whole(book, mine))
            created.append(mine)
    return desk, created


def update(root: Path) -> list[str]:
    """Merge what has changed in notebooks/ into mine/; returns a line for each notebook concerned.

    A copy that cannot be merged is named and left alone. The copies as they were before the last
    update that changed any are kept in mine/.before-update.
    """
    desk, created = lay_out(root)
    lines = [f"{path.name}: new" for path in created]
    merges = {}
    for notebook in select_notebooks(root / "notebooks"):
        path, base = desk / notebook.name, desk / BASES / notebook.name
        course = nbformat.read(notebook, 4)
        try:
            old, mine = read_valid(base), read_valid(path)
        except ValueError as error:
            lines.append(f"{path.name}: left alone, {error}")
            continue
        if old.cells != course.cells:
            merges[path] = (old, mine, course)

    if merges:
        shutil.rmtree(desk / BACKUP, ignore_errors=True)
        (desk / BACKUP).mkdir()
    for path, (old, mine, course) in merges.items():
        shutil.copy2(path, desk / BACKUP / path.name)
        is_trusted = NotebookNotary().check_signature(mine)
        merged = merge(old, mine, course)
        written = write_whole(merged.book, path)
        if is_trusted:  # What a reader does not trust is not trusted after an update, either.
            trust(written)
        write_whole(course, desk / BASES / path.name)
        doubled = f", {merged.doubled} beside yours" if merged.doubled else ""
        lines.append(f"{path.name}: {merged.renewed} cells from the course{doubled}")
    return lines


def read_valid(path: Path) -> NotebookNode:
    """A notebook whose cells have ids; ValueError says why there is none."""
    if not path.exists():
        raise ValueError(f"there is no {path}; move your copy away to get a new one")
    try:
        book = nbformat.read(path, 4)
        nbformat.validate(book)
    except (OSError, ValueError, AttributeError, nbformat.ValidationError) as error:
        raise ValueError(f"it cannot be read ({type(error).__name__})") from error
    if any("id" not in cell for cell in book.cells):
        raise ValueError("its cells have no ids; open and save it in JupyterLab 4")
    return book


def write_whole(book: NotebookNode, path: Path) -> NotebookNode:
    """Write a notebook, whole or not at all, with this Python's version as JupyterLab would."""
    book = copy.deepcopy(book)
    book.metadata.setdefault("language_info", {})["version"] = platform.python_version()
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)
    return book


def trust(book: NotebookNode) -> None:
    """Let JupyterLab show the sounds and pages among a notebook's outputs."""
    notary = NotebookNotary()
    notary.sign(book)
    notary.store.close()


def merge(base: NotebookNode, mine: NotebookNode, course: NotebookNode) -> Merge:
    """Three versions of a notebook as one.

    A cell that only one side has changed is taken from that side. One that both have changed stands
    twice, the reader's first. What the reader has deleted stays deleted; what the reader has added
    or changed stays, even where the course has deleted it.
    """
    successors, additions = compare_cells(base.cells, course.cells)
    order = {cell.id: number for number, cell in enumerate(base.cells)}
    # An update that was interrupted has brought some of the course's new cells already.
    brought = {cell.id for cell in mine.cells} - set(order)
    additions = [[cell for cell in new if cell.id not in brought] for new in additions]
    cells = []
    behind = 0  # so many old cells have been passed, and what the course adds before each
    for cell in mine.cells:
        number = order.get(cell.id)
        if number is None:
            cells.append(cell)
            continue
        cells += chain.from_iterable(additions[behind : number + 1])
        behind = max(behind, number + 1)
        successor = successors.get(cell.id)
        if successor is not None and successor.id in brought:
            successor = base.cells[number]
        cells += choose(cell, base.cells[number], successor)
    cells += chain.from_iterable(additions[behind:])

    from_course = {id(cell) for cell in course.cells}
    renewed = sum(id(cell) in from_course and cell not in base.cells for cell in cells)
    doubled = sum(cell.source == MARK for cell in cells)
    mine.cells = make_ids_differ(cells)
    return Merge(mine, renewed, doubled)


def choose(mine: NotebookNode, old: NotebookNode, new: NotebookNode | None) -> list[NotebookNode]:
    """What becomes of one cell: the reader's version, the course's, both, or neither."""
    if new is None:
        return [] if key(mine) == key(old) else [mine]
    if key(new) == key(old) != key(mine):
        return [mine]
    if key(new) == key(old):
        return [new if mine.get("outputs") == old.get("outputs") else mine]
    if key(mine) in (key(old), key(new)):
        return [new]
    return [mine, nbformat.v4.new_markdown_cell(MARK), new]


def compare_cells(
    base: Sequence[NotebookNode], course: Sequence[NotebookNode]
) -> tuple[dict[str, NotebookNode], list[list[NotebookNode]]]:
    """The new version of each old cell that lives on, by its id, and the cells that are new.

    The latter are in one list for each old cell that they stand before, and a last one for the end.
    """
    successors = {}
    additions = [[] for _ in range(len(base) + 1)]
    matcher = difflib.SequenceMatcher(None, keys(base), keys(course), autojunk=False)
    for _, low, high, start, stop in matcher.get_opcodes():
        new = list(course[start:stop])
        for number in range(low, high):
            version = next((cell for cell in new if are_alike(base[number], cell)), None)
            if version is not None:
                successors[base[number].id] = version
                additions[number] += new[: new.index(version)]
                new = new[new.index(version) + 1 :]
        additions[high] += new
    return successors, additions


def are_alike(first: NotebookNode, second: NotebookNode) -> bool:
    """Whether two cells are versions of one."""
    if first.cell_type != second.cell_type:
        return False
    return difflib.SequenceMatcher(None, first.source, second.source).ratio() >= ALIKE


def key(cell: NotebookNode) -> tuple[str, str]:
    """What makes a cell another one: its kind and source, not its outputs."""
    return cell.cell_type, cell.source


def keys(cells: Sequence[NotebookNode]) -> list[tuple[str, str]]:
    """The keys of cells, in order."""
    return [key(cell) for cell in cells]


def make_ids_differ(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells, each with an id that no other one has: the first keeps its own."""
    seen = set()
    for cell in cells:
        if cell.id in seen:
            cell.id = nbformat.v4.new_code_cell().id
        seen.add(cell.id)
    return cells
