"""The workshop edition: a lesson in which the reader types the model, or the instruments.

Cells of a notebook name in their metadata, `workshop`, the functions whose bodies the edition
leaves to the reader. What stands in the place of a body, and the hint, are of
unbraid_course/workshop/n32.toml; its checks are `unbraid_course.workshop.check`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from textwrap import wrap

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from unbraid_course.workshop import NUMBERS, name_file, read_texts

KEY = "workshop"  # in a cell's metadata: functions to empty, classes to check as a whole, SAVE
SAVE = "save"  # among them: there the edition writes what was typed, which the lesson may import
SAVES = 'workshop.save("{number}")  # writes {file}.py'
NOTE = """\
> **Workshop.** On this page you type {what}: the bodies of {names}. This takes about {minutes}
> minutes ({how}). A folded hint and a check follow each of them, and the check says what is wrong
> and where. Cells below a function that you have not typed yet end in `NotImplementedError`. When
> all is typed, a cell writes your code to `{file}.py`, {use}. The lesson's own page has all bodies:
> look there last."""
USES = {  # what is done with what was typed
    "03": "which an exercise of notebook 40 and notebook 42 use",
    "11": "and notebook 12 trains it",
    "13": "to import with codes of your own",
    "33": "to import with codes of your own",
}
HINT = """\
<details><summary>Hint for {name} (about {minutes} minutes, {difficulty})</summary>

{hint}

</details>"""


def is_workshop(book: NotebookNode) -> bool:
    """Whether a notebook has functions that its reader can type."""
    return any(KEY in cell.metadata for cell in book.cells)


def has_workshop(notebook: Path) -> bool:
    """The same of a notebook's file, without reading it whole as a notebook."""
    return f'"{KEY}": ' in notebook.read_text(encoding="utf-8")


def make_workshop(book: NotebookNode, number: str) -> None:
    """Turn a notebook into its workshop edition, without any output."""
    texts = read_texts(number)
    names: list[str] = []
    cells: list[NotebookNode] = []
    for cell in book.cells:
        wanted = cell.metadata.pop(KEY, [])
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        cells.append(cell)
        typed = [name for name in wanted if name in texts]
        if cell.cell_type == "code":
            gives = {name: texts[name]["gives"] for name in typed}
            cell.source = save_instead(empty(cell.source, gives), number)
        cells += [make_hint(name, texts) for name in typed]
        if checked := [name for name in wanted if name != SAVE]:
            cells.append(make_check(number, checked, is_first=not names))
        if SAVE in wanted and "workshop.save" not in cell.source:
            cells.append(name_cell(new_code_cell(write_save(number)), "save"))
        names += typed
    note = name_cell(new_markdown_cell(write_note(number, names)), "workshop")
    book.cells = [cells[0], note, *cells[1:]]


def write_note(number: str, names: list[str]) -> str:
    """What stands at the top of an edition."""
    texts, file = read_texts(number), name_file(number)
    clocked = [name for name in names if texts[name].get("clocked")]
    how = "estimated" if not clocked else f"clocked with one reader: {', '.join(clocked)}"
    if len(clocked) == len(names):
        how = "clocked with one reader"
    return NOTE.format(
        what="the model" if number in NUMBERS.values() else "the instruments",
        names=", ".join(f"`{name}`" for name in names),
        minutes=sum(texts[name]["minutes"] for name in names),
        how=how,
        file=file,
        use=USES.get(number, f"and notebook {number} trains it"),
    )


def write_save(number: str) -> str:
    """The line that writes what was typed."""
    return SAVES.format(number=number, file=name_file(number))


def save_instead(source: str, number: str) -> str:
    """A cell's code that writes what was typed, where the lesson tries to import it."""
    lines = source.split("\n")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Try) and f"model_{number}" in ast.unparse(node):
            lines[node.lineno - 1 : node.end_lineno] = [write_save(number)]
    return "\n".join(lines)


def make_hint(name: str, texts: dict) -> NotebookNode:
    """The folded hint for a function."""
    hint = HINT.format_map(texts[name] | {"name": f"<code>{name}</code>"})
    return name_cell(new_markdown_cell(hint), f"hint-{name}")


def make_check(number: str, names: list[str], is_first: bool) -> NotebookNode:
    """The cell that checks functions, or some as a whole: "SingleElement: the bound"."""
    lines = ["from unbraid_course import workshop\n"] * is_first
    for name in names:
        typed, _, part = name.partition(": ")
        typed = typed if part else name.split(".")[0]
        line = f'workshop.check("{number}", "{part or name}", {typed})'
        line = line if len(names) == 1 else f"print({line})"
        lines += wrap(line, 76, subsequent_indent="    ", break_on_hyphens=False)
    return name_cell(new_code_cell("\n".join(lines)), f"check-{names[0]}")


def name_cell(cell: NotebookNode, name: str) -> NotebookNode:
    """A cell with an id that is always the same."""
    cell.id = re.sub(r"\W+", "-", name)[:64]
    return cell


def empty(source: str, gives: dict[str, str]) -> str:
    """A cell's code without the bodies of these functions; in their place, what they give."""
    lines = source.split("\n")
    for name, node in reversed([*find_functions(ast.parse(source))]):
        if name in gives:
            has_docstring = ast.get_docstring(node) is not None
            body = node.body[1:] if has_docstring else node.body
            blank, texts = " " * node.body[0].col_offset, gives[name].split("\n")
            told = [f"# {part}" for part in chain(*map(partial(wrap, width=66), texts))]
            told.append(f'raise NotImplementedError("{name}")  # your code')
            lines[body[0].lineno - 1 : node.end_lineno] = [blank + line for line in told]
    return "\n".join(lines)


def find_functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """The functions of a cell and of its classes with their names, such as Prior.forward."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for each in node.body:
                if isinstance(each, ast.FunctionDef):
                    yield f"{node.name}.{each.name}", each
