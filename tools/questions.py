"""The Answer that the questions on a notebook were last read against.

Each page of docs/questions has a fingerprint of its notebook's Answer in a comment, which readers
do not see; the quiz on a part has one for each notebook that it asks about. Whoever changes an
Answer reads the questions again and then renews the fingerprint.
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
QUIZ = re.compile(r"<!-- read with the Answers (.*?) -->")  # of several notebooks, as 10:acac8476


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
        for page in find_quizzes(number, folder):
            if read_marks(page)[number] != fingerprint(answer):
                command = f'python -m tools questions --only "{number}"'
                place = f"docs/questions/{page.name}"
                stale.append(f"{place}: read its questions on {number}, then {command}")
    return stale


def read_marks(quiz: Path) -> dict[str, str]:
    """The fingerprints in a quiz, by the numbers of the notebooks that it asks about."""
    (marks,) = QUIZ.findall(quiz.read_text(encoding="utf-8"))
    return dict(mark.split(":") for mark in marks.split())


def find_quizzes(number: str, folder: Path) -> list[Path]:
    """The quizzes that ask about a notebook."""
    return [page for page in sorted(folder.glob("quiz_*.md")) if number in read_marks(page)]


def renew(only: str = "", notebooks: Path | None = None, folder: Path = FOLDER) -> list[Path]:
    """Write the fingerprint of the present Answer into pages; returns those that changed."""
    changed = []
    for notebook in select_notebooks(notebooks, only):
        number, answer = notebook.name[:2], read_answer(notebook)
        page = folder / f"{number}.md"
        before = page.read_text(encoding="utf-8")
        title, _, rest = COMMENT.sub("", before).partition("\n\n")
        comment = f"<!-- read with the Answer {fingerprint(answer)} -->"
        pages = {page: (before, f"{title}\n\n{comment}\n\n{rest}")}
        for quiz in find_quizzes(number, folder):
            before = quiz.read_text(encoding="utf-8")
            mark = f"{number}:{fingerprint(answer)}"
            pages[quiz] = before, before.replace(f"{number}:{read_marks(quiz)[number]}", mark)
        for page, (before, after) in pages.items():
            if after != before:
                write_atomically(page, after.encode())
                print(f"{page.name}: read with the Answer: {answer}")
                changed.append(page)
    return changed
