"""Whether the committed outputs are what the notebooks print today (`make run CHECK=1`).

The notebooks run at quick, and what they print is compared with what is committed: streams, plain
texts and Markdown, but no pictures. Words must be equal. Numbers may differ by one part in a
thousand, and those with decimals by one unit of the last digit.

A tag widens this for a cell: `tolerance=0.05` allows five parts in a hundred. What `no-compare`
or `nbval-ignore-output` marks, such as seconds, is not compared.

A notebook that asks for fetched data, say `fetch.find("fsdd")`, was committed with what they show.
Where they are missing it is left out, since it would print something else.
"""

from __future__ import annotations

import itertools
import math
import re
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode
from unbraid.data import fetch

from tools import execution, footer
from tools.files import first_line, normalise, select_notebooks, tags, write

TOLERANCE = 1e-3  # of a number's size
NUMBER = re.compile(r"[-+−]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
ADDRESS = re.compile(r"\b0x[0-9a-f]+")  # of an object in memory
ASKED = re.compile(r'fetch\.find\(\\"([\w-]+)')  # as JSON writes it: data that a page may lack
SKIPPED = {"no-compare", "nbval-ignore-output"}


class Difference(NamedTuple):
    """A cell that prints something else: its number, its first line, the first lines that differ.

    lines: how many differ.
    """

    number: int
    cell: str
    old: str
    new: str
    lines: int


def compare(only: str = "", to: str | Path = "build/compare", renew: bool = False) -> bool:
    """Run notebooks with the quick profile and say what differs from their committed outputs.

    renew: write those that ran over the committed ones. Returns whether all ran and none differs;
    those that are left out count as neither.
    """
    is_well, chosen = True, []
    for path in select_notebooks(only=only):
        if missing := find_missing(path):
            print(f"{path.stem}: left out without the data {', '.join(missing)}; run make data")
        else:
            chosen.append(path.stem)
    outcomes = execution.run("quick", to, " ".join(chosen), solutions=True) if chosen else []
    for outcome in outcomes:
        path = outcome.notebook
        if outcome.fault:
            is_well = False
            continue
        committed, executed = nbformat.read(path, 4), normalise(nbformat.read(outcome.output, 4))
        pair = select_code(committed), select_code(executed)
        if [cell.source for cell in pair[0]] != [cell.source for cell in pair[1]]:
            print(f"{path.stem}: edited while it ran; call this once more")
            is_well = False
            continue
        is_well &= report(path.stem, committed, executed) or renew
        if renew:  # Outputs alone: words may have been edited while it ran.
            for cell, ran in zip(*pair, strict=True):
                cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
            footer.attach(committed, path)
            write(normalise(committed), path)
    return is_well


def find_missing(path: Path) -> list[str]:
    """The sources of data that a notebook asks for and that are not on this machine."""
    asked = sorted(set(ASKED.findall(path.read_text(encoding="utf-8"))))
    return [name for name in asked if fetch.find(name) is None]


def report(name: str, committed: NotebookNode, executed: NotebookNode) -> bool:
    """Print what differs in a notebook; returns whether nothing does."""
    if not any(cell.get("outputs") for cell in committed.cells):
        print(f"{name}: no outputs are committed")
        return True
    found = find_differences(committed, executed)
    print(f"{name}: {len(found)} cells differ" if found else f"{name}: the same")
    for difference in found:
        more = f" (and {difference.lines - 1} more lines)" if difference.lines > 1 else ""
        print(f"  cell {difference.number} `{difference.cell}`{more}")
        print(f"    committed: {difference.old}\n    now:       {difference.new}")
    return not found


def select_code(book: NotebookNode) -> list[NotebookNode]:
    """The cells of code."""
    return [cell for cell in book.cells if cell.cell_type == "code"]


def find_differences(committed: NotebookNode, executed: NotebookNode) -> list[Difference]:
    """The cells of a notebook that print something else than what is committed."""
    found = []
    pairs = zip(select_code(committed), select_code(executed), strict=True)
    for number, (old, new) in enumerate(pairs, 1):
        if SKIPPED & set(tags(old)):
            continue
        given = [tag.partition("=")[2] for tag in tags(old) if tag.startswith("tolerance=")]
        tolerance = float(given[0]) if given else TOLERANCE
        lines = itertools.zip_longest(read_lines(old), read_lines(new), fillvalue="(nothing)")
        changed = [pair for pair in lines if not is_close(*pair, tolerance)]
        if changed:
            found.append(Difference(number, first_line(old.source), *changed[0], len(changed)))
    return found


def read_lines(cell: NotebookNode) -> list[str]:
    """What a cell prints and shows as text; blank lines are left out."""
    texts = []
    for output in cell.outputs:
        data = output.get("data", {})
        texts.append(output.get("text") or data.get("text/markdown") or data.get("text/plain", ""))
        if output.output_type == "error":
            texts.append(f"{output.ename}: {output.evalue}")
    lines = "\n".join(texts).splitlines()
    return [line.strip() for line in lines if line.strip()]


def is_close(old: str, new: str, tolerance: float = TOLERANCE) -> bool:
    """Whether two lines are the same but for small differences of their numbers."""
    old, new = (ADDRESS.sub("0x", line) for line in (old, new))
    # Columns and rules of a table are as wide as their numbers.
    words = [re.sub(r"[\s\-─]+", " ", NUMBER.sub(" 0 ", line)).strip() for line in (old, new)]
    if words[0] != words[1]:
        return False
    numbers = zip(NUMBER.findall(old), NUMBER.findall(new), strict=True)
    return all(is_near(before, after, tolerance) for before, after in numbers)


def is_near(old: str, new: str, tolerance: float) -> bool:
    """Whether two numbers are the same within a share of their size or a unit of the last digit."""
    values = [float(text.replace("−", "-")) for text in (old, new)]
    unit = max(last_digit(old), last_digit(new))
    return math.isclose(*values, rel_tol=tolerance, abs_tol=1.001 * unit)


def last_digit(text: str) -> float:
    """What one unit of a number's last decimal counts; 0 for whole numbers."""
    exponent = int(Decimal(text.replace("−", "-")).as_tuple().exponent)
    return 10.0**exponent if exponent or "e" in text.lower() else 0.0
