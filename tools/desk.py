"""A desk of one's own: copies of the notebooks, in mine/ of the clone, and their updates.

`copy_notebooks` copies what is not there yet. `update` brings in what has changed in the course
since, by a three-way merge of cells, and loses nothing that a reader wrote. Cells are merged as
wholes, since nbdime writes marks of conflicts into code and outputs.

On the desk a solution is folded text, not a cell of code: a run of all cells would show it.
"""

from __future__ import annotations

import copy
import difflib
import html
import platform
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path

import nbformat
from filelock import FileLock
from nbformat import NotebookNode
from nbformat.sign import NotebookNotary
from unbraid.files import hold
from unbraid.support.progress import progress_bar

from tools.editions import LINK, make_student
from tools.files import copy_drawings, select_notebooks, tags, write
from tools.workshop import has_workshop

WORKSHOP = "workshop"  # in the desk: the editions in which one types the model
BASES = ".base"  # in the desk: each notebook as it was when it came from the course
BACKUPS = ".before-update"  # in the desk: a dated folder for each update, with the copies before
FRESH = "fresh"  # in the metadata of a notebook that came without its outputs
MARK = "**The course has changed the cell above.** Yours stays; the course's new version follows."
SOLUTION = """\
<details><summary>Solution</summary>

To run it, copy it into a cell of its own.

````python
{source}
````

</details>"""
OPEN = " Open this cell after you have tried."  # said of a folded cell, which this is not
# Outputs that a trusted notebook may have. An extension of JupyterLab can run those of other types.
PICTURES = ("image/png", "image/jpeg", "image/gif")
TEXTS = ("text/html", "text/markdown", "text/latex", "image/svg+xml")
# What runs by itself when a page shows it: JupyterLab lets it, in a notebook that is trusted. No
# text is left out of the search, because whatever marks pictures and sounds can mark a program.
ELEMENTS = "script|iframe|frame|object|embed|applet|meta|base|link|form"
ADDRESSES = r"javascript:|href\s*=[\s\"']*data:|=[\s\"']*data:(?!(?:image|audio|video)/)"
# What a page fetches by itself tells another machine who looks at it: only what stands in the
# output itself may be shown. A link, <a href=...>, waits for a click.
FETCHED = r"\b(?:src|poster|background)\s*=(?![\s\"']*data:(?:image|audio|video)/)|\bsrcset\s*="
DRAWN = r"(?<!<a )\bhref\s*=(?![\s\"']*\#)"
STYLES = r"@import\b|\b(?:url|src|image|image-set|cross-fade)\((?![\"']?\#)"
ESCAPED = r"<style[^>]*>[^<]*\\|<[^<>]*=[^<>]*\\[0-9a-f]"  # letters of a style as their numbers
PICTURED = r"!\[[^]]*\]\s*(?!\()|!\[[^]]*\]\(\s*<?(?:(?!data:image/|attachment:)[a-z]+:|//|[^)]*\\)"
PROGRAM = re.compile(
    rf"<(?:{ELEMENTS})\b|\bon[a-z]{{3,}}\s*=|\bformaction\b|{ADDRESSES}|{FETCHED}|{DRAWN}|{STYLES}"
    rf"|{ESCAPED}|{PICTURED}",
    re.IGNORECASE,
)
Cells = list[NotebookNode]
Read = Callable[[Path], NotebookNode]


def copy_notebooks(root: Path, desk: Path | None = None, fresh: bool = False) -> list[Path]:
    """Copy the notebooks of a clone into a folder, and trust the copies; what is there stays.

    desk: the folder, by default mine/ of the clone; in its folder workshop/ lie the workshop
    editions. The drawings that the notebooks show come along, always as the course has them now. A
    copy follows its notebook to a new name. fresh: new copies have no outputs, so that no answer is
    below its question. Returns the new copies.
    """
    created = []
    for place, reads in list_places(root, desk or root / "mine").items():
        with lock_desk(place):
            copy_drawings(root / "notebooks", place)
            for notebook, read in progress_bar(reads.items(), f"copying to {place.name}"):
                mine = place / notebook.name
                follow_rename(mine)
                if not mine.exists():
                    book = clear(read(notebook)) if fresh else read(notebook)
                    write_whole(book, place / BASES / notebook.name)
                    trust(write_whole(book, mine))
                    created.append(mine)
    return created


def list_places(root: Path, desk: Path) -> dict[Path, dict[Path, Read]]:
    """The folders of a desk: for each, which notebooks lie there, and how each is read."""
    notebooks = select_notebooks(root / "notebooks")
    places: dict[Path, dict[Path, Read]] = {desk: dict.fromkeys(notebooks, read_course)}
    if typed := [path for path in notebooks if has_workshop(path)]:
        places[desk / WORKSHOP] = dict.fromkeys(typed, read_workshop)
    return places


def lock_desk(desk: Path) -> AbstractContextManager[None]:
    """Keep a desk to this process, which may do so more than once; another one waits."""
    desk.mkdir(parents=True, exist_ok=True)
    return hold(FileLock(desk / ".lock", is_singleton=True))


def follow_rename(mine: Path) -> None:
    """Rename a reader's copy whose notebook has a new name: the number of a notebook stays."""
    bases = mine.parent / BASES
    for base in sorted(bases.glob(f"{mine.name[:2]}_*.ipynb")):
        before = mine.parent / base.name
        if before.exists() and not mine.exists():
            before.replace(mine)
        if mine.exists() and not (bases / mine.name).exists():
            base.replace(bases / mine.name)  # An interrupted call can leave this to the next one.


def read_course(notebook: Path) -> NotebookNode:
    """A notebook of the course as it lies on a desk: its solutions are text to unfold."""
    book = nbformat.read(notebook, 4)
    for number, cell in enumerate(book.cells):
        if cell.cell_type == "code" and "solution" in tags(cell):
            text = SOLUTION.format(source=cell.source.replace(OPEN, ""))
            metadata = {"tags": ["solution"]}
            book.cells[number] = nbformat.v4.new_markdown_cell(text, id=cell.id, metadata=metadata)
    return book


def clear(book: NotebookNode) -> NotebookNode:
    """A notebook without its outputs, marked so that updates of it bring none either."""
    book.metadata[FRESH] = True
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return book


def read_workshop(notebook: Path) -> NotebookNode:
    """The workshop edition of a notebook; its links lead from a folder of the desk."""
    book = make_student(nbformat.read(notebook, 4), notebook)
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(partial(climb, notebook.parent), cell.source)
    return book


def climb(folder: Path, match: re.Match) -> str:
    """A link to a file of the course, from one folder further down."""
    opening, link = match.groups()
    return f"{opening}../{link}" if (folder / link).exists() else match[0]


def update(root: Path, desk: Path | None = None) -> list[str]:
    """Merge what has changed in notebooks/ into a desk, by default mine/.

    Returns a line for each notebook concerned. A copy that cannot be merged is named and left
    alone. Each update that changes any keeps the copies before in a dated folder of its own in
    .before-update of the desk, or of its workshop.
    """
    desk = desk or root / "mine"
    with lock_desk(desk):
        lines = [f"{path.relative_to(desk)}: new" for path in copy_notebooks(root, desk)]
        for place, reads in list_places(root, desk).items():
            with lock_desk(place):
                # All are read before anything is written: a damaged one stops the update whole.
                courses = {place / path.name: read(path) for path, read in reads.items()}
                lines += update_copies(place, courses)
        return lines


def update_copies(place: Path, courses: dict[Path, NotebookNode]) -> list[str]:
    """Merge what the course has now into the copies of one folder."""
    lines, backup = [], place / BACKUPS / f"{datetime.now():%Y-%m-%d-%H%M%S.%f}"
    for path, course in courses.items():
        try:
            base, mine = read_valid(place / BASES / path.name), read_valid(path)
        except ValueError as error:
            lines.append(f"{path.name}: left alone, {error}")
            continue
        course = clear(course) if base.metadata.get(FRESH) else course
        if base.cells == course.cells:
            continue
        backup.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, backup / path.name)
        with suppress(OSError):  # Shares of other systems have no modes.
            shutil.copystat(path, backup / path.name)
        is_trusted = NotebookNotary().check_signature(mine)
        merged = write_whole(merge(base, mine, course), path)
        if is_trusted:  # What a reader does not trust is not trusted after an update, either.
            trust(merged)
        write_whole(course, place / BASES / path.name)
        doubled = [cell.source for cell in merged.cells].count(MARK)
        lines.append(f"{path.name}: updated, cells beside yours: {doubled}")
    return lines


def read_valid(path: Path) -> NotebookNode:
    """A notebook that can be merged; ValueError says why there is none."""
    if not path.exists():
        raise ValueError(f"there is no {path}; move your copy away to get a new one")
    try:
        book = nbformat.read(path, 4)
        nbformat.validate(book)
    except (OSError, ValueError, AttributeError, nbformat.ValidationError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ValueError(f"it cannot be read ({reason})") from error
    if any("id" not in cell for cell in book.cells):
        raise ValueError("its cells have no ids; open and save it in JupyterLab 4")
    return book


def write_whole(book: NotebookNode, path: Path) -> NotebookNode:
    """Write a notebook, whole or not at all, with this Python's version as JupyterLab would."""
    book = copy.deepcopy(book)
    book.metadata.setdefault("language_info", {})["version"] = platform.python_version()
    write(book, path)
    return book


def trust(book: NotebookNode) -> None:
    """Let JupyterLab play the sounds of a notebook, unless its outputs hold programs.

    Saved widgets, which can hold HTML, are no part of any cell.
    """
    if "widgets" not in book.metadata and not any(holds_programs(cell) for cell in book.cells):
        notary = NotebookNotary()
        notary.sign(book)
        notary.store.close()


def holds_programs(cell: NotebookNode) -> bool:
    """Whether a cell's outputs could run or fetch something before the reader runs the cell."""
    for output in cell.get("outputs", []):
        for kind, content in output.get("data", {}).items():
            if kind == "text/plain" or kind in PICTURES:
                continue
            if kind not in TEXTS:
                return True
            # A browser reads letters written as numbers, and addresses over the ends of lines.
            text = html.unescape(str(content))
            joined = re.sub(r"[\t\r\n]", "", text)
            if PROGRAM.search(text) or PROGRAM.search(joined):
                return True
    return False


def merge(base: NotebookNode, mine: NotebookNode, course: NotebookNode) -> NotebookNode:
    """Three versions of a notebook as one.

    A cell that only one side has changed is taken from that side. One that both have changed stands
    twice, the reader's first. What the reader has deleted stays deleted; what the reader has added
    or changed stays, even where the course has deleted it.
    """
    mine, course = copy.deepcopy(mine), copy.deepcopy(course)
    my_additions, my_versions = compare_cells(base.cells, mine.cells)
    new_additions, new_versions = compare_cells(base.cells, course.cells)
    brought = [key(cell) for cell in mine.cells]  # an interrupted update has brought some cells
    cells = []
    for number, old in enumerate([*base.cells, None]):
        added = [key(cell) for cell in my_additions[number]]
        cells += my_additions[number]
        cells += [cell for cell in new_additions[number] if key(cell) not in added]
        if old is not None:
            chosen = choose(old, my_versions[number], new_versions[number])
            cells += chosen[:1] if len(chosen) > 1 and key(chosen[-1]) in brought else chosen
    seen = set()
    for cell in cells:
        if cell.id in seen:
            cell.id = nbformat.v4.new_code_cell().id
        seen.add(cell.id)
    mine.cells = cells
    return mine


def compare_cells(base: Cells, version: Cells) -> tuple[list[Cells], list[NotebookNode | None]]:
    """The cells that a version adds before each old one and at the end; what each has become.

    A cell that was deleted has become None.
    """
    additions: list[Cells] = [[] for _ in range(len(base) + 1)]
    versions: list[NotebookNode | None] = [None] * len(base)
    keys = [key(cell) for cell in base], [key(cell) for cell in version]
    matcher = difflib.SequenceMatcher(None, *keys, autojunk=False)
    for _, low, high, start, stop in matcher.get_opcodes():
        paired = min(high - low, stop - start)
        versions[low : low + paired] = version[start : start + paired]
        additions[high] += version[start + paired : stop]
    return additions, versions


def choose(old: NotebookNode, mine: NotebookNode | None, new: NotebookNode | None) -> Cells:
    """What becomes of one cell: the reader's version, the course's, both, or neither."""
    if mine is None:
        return []
    is_mine = key(mine) != key(old)
    if new is None:
        return [mine] if is_mine else []
    if key(new) == key(old):
        was_run = mine.get("outputs") != old.get("outputs")
        return [mine] if is_mine or was_run else [new]
    if not is_mine or key(mine) == key(new):
        return [new]
    return [mine, nbformat.v4.new_markdown_cell(MARK), new]


def key(cell: NotebookNode) -> tuple[str, str]:
    """What makes a cell another one: its kind and source, not its outputs."""
    return cell.cell_type, cell.source
