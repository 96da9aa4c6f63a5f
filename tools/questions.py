"""The Answer that the questions on a notebook were last read against.

Each page of docs/questions has a fingerprint of its notebook's Answer in a comment, which readers
do not see. Whoever changes an Answer reads the questions again and then renews the fingerprint.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import nbformat
from unbraid.files import write_atomically

from tools.files import ROOT, select_notebooks

FOLDER = ROOT / "docs" / "questions"
ANSWER = re.compile(r"\*\*Answer\.\*\*(.+?)(?=\n\s*\n|\Z)", re.DOTALL)
COMMENT = re.compile(r"<!-- read with the Answer (\w*) -->\n\n")


def read_answer(notebook: Path) -> str:
    """The Answer of a notebook's first cell, on one line."""
    source = nbformat.read(notebook, 4).cells[0].source
    (answer,) = ANSWER.findall(source)
    return " ".join(answer.split())


def fingerprint(answer: str) -> str:
    """Eight digits that change with every word of an Answer, and not with its line breaks."""
    return hashlib.sha256(answer.encode()).hexdigest()[:8]


def find_stale(only: str = "", notebooks: Path | None = None, folder: Path = FOLDER) -> list[str]:
    """For each page of questions that was read with another Answer: what to read, and the command.

    only: of which notebooks; notebooks, folder: where these and the pages lie.
    """
    stale = []
    for notebook in select_notebooks(notebooks, only):
        number, answer = notebook.name[:2], read_answer(notebook)
        found = COMMENT.findall((folder / f"{number}.md").read_text(encoding="utf-8"))
        if found != [fingerprint(answer)]:
            command = f'python -m tools questions --only "{number}"'
            stale.append(f"docs/questions/{number}.md: read it with the Answer, then {command}")
    return stale


def renew(only: str = "", notebooks: Path | None = None, folder: Path = FOLDER) -> list[Path]:
    """Write the fingerprint of the present Answer into pages; returns those that changed."""
    changed = []
    for notebook in select_notebooks(notebooks, only):
        page, answer = folder / f"{notebook.name[:2]}.md", read_answer(notebook)
        before = page.read_text(encoding="utf-8")
        title, _, rest = COMMENT.sub("", before).partition("\n\n")
        comment = f"<!-- read with the Answer {fingerprint(answer)} -->"
        after = f"{title}\n\n{comment}\n\n{rest}"
        if after != before:
            write_atomically(page, after.encode())
            print(f"{page.name}: read with the Answer: {answer}")
            changed.append(page)
    return changed
