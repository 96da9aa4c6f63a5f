"""Write docs/syllabus.md: which notebooks in an afternoon, a day, a week and a term, and how long.

Minutes to teach and to do come from notebooks/teaching.toml, minutes to run from the notebooks'
own headers, at the profile quick. Run it again whenever one of these changes; a test compares.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import nbformat

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "syllabus.md"
RUN = re.compile(r"Minutes and memory \|.*?quick (?:about )?([\d.]+)")
FOUNDATIONS = "00 01 02 03 04 05 06"
PAPER_A, PAPER_B = "10 11 12 13 14 15", "20 21 22 23 24 25 26"
PAPER_C = "30 31 32 33 34 35 36"
PATHS = {  # for readers who work alone
    "one afternoon: codes and swaps, how they are measured, paper C's swaps": "00 05 33",
    "paper A": f"00 02 03 04 05 {PAPER_A}",
    "paper B": f"00 01 02 05 {PAPER_B}",
    "paper C": f"00 02 04 05 {PAPER_C}",
    "to measure a model of your own": "00 04 05 06 33",
    "everything": f"{FOUNDATIONS} {PAPER_A} {PAPER_B} {PAPER_C}",
}
LECTURE = {  # a single one, without exercises
    "the VAE is new to the audience": "00 02",
    "the audience knows the VAE": "00 05",
    "the audience has read paper C": "00 33",
}
DAY = {
    "9:00, codes and swaps": "00",
    "10:00, the VAE and its bound": "02",
    "11:30, how leakage is measured": "05",
    "14:00, the model of a single element": "31",
    "15:30, who follows whom": "33",
}
WEEK = {
    "Monday: data and the VAE": "00 01 02",
    "Tuesday: sequences and measures": "03 04 05 06",
    "Wednesday: paper A": "10 11 12 13 14",
    "Thursday: paper B": "20 21 22 23 24",
    "Friday: paper C": "30 31 32 33 34",
}
TERM = {
    "1: codes, swaps, data": "00 01",
    "2: the VAE": "02",
    "3: the bound of a sequence": "03",
    "4: dependence": "04",
    "5: leakage, and five liars": "05 06",
    "6: paper A, data and model": "10 11",
    "7: paper A, training and evaluation": "12 13",
    "8: laws of motion, the street": "14 15",
    "9: paper B, data and bound": "20 21",
    "10: paper B, networks and training": "22 23",
    "11: paper B, evaluation and what is left open": "24 25",
    "12: paper C, data and model": "30 31",
    "13: paper C, the race and the swaps": "32 33",
    "14: what each part is for": "34",
    "projects: faces, speech, series": "26 35 36",
}


class Lesson(NamedTuple):
    """A notebook: its file, its title, and minutes to teach it, to do its exercises, to run it."""

    name: str
    title: str
    minutes: tuple[int, int, float]


def read_lessons() -> dict[str, Lesson]:
    """All notebooks by number."""
    minutes = tomllib.loads((ROOT / "notebooks" / "teaching.toml").read_text(encoding="utf-8"))
    lessons = {}
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        cells = nbformat.read(path, 4).cells
        title = cells[0].source.splitlines()[0].partition(" · ")[2] or "Start here"
        run = float(RUN.search("\n".join(cell.source for cell in cells[:2]))[1])
        number = path.name[:2]
        times = (minutes[number]["teach"], minutes[number]["do"], run)
        lessons[number] = Lesson(path.name, title, times)
    return lessons


def tabulate(heading: str, rows: dict[str, str], lessons: dict[str, Lesson], total: bool) -> str:
    """A table of rows of notebooks with their minutes; with a last row of sums if total."""
    lines = [f"| {heading} | notebooks | teach or read | do | run |", "|---|---|---|---|---|"]
    for name, numbers in rows.items():
        links = link(numbers.split(), lessons)
        lines.append(f"| {name} | {links} | {add_minutes(numbers.split(), lessons)} |")
    if total:
        everything = " ".join(rows.values()).split()
        lines.append(f"| together | | {add_minutes(everything, lessons)} |")
    return "\n".join(lines)


def link(numbers: list[str], lessons: dict[str, Lesson]) -> str:
    """Links to notebooks; of three or more neighbours to the first and the last."""
    order = list(lessons)
    runs: list[list[str]] = []
    for number in numbers:
        if runs and order.index(number) == order.index(runs[-1][-1]) + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = []
    for run in runs:
        links = [f"[{number}](../notebooks/{lessons[number].name})" for number in run]
        parts += [f"{links[0]} to {links[-1]}"] if len(links) > 2 else links
    return " · ".join(parts)


def add_minutes(numbers: list[str], lessons: dict[str, Lesson]) -> str:
    """Three cells of a table: the minutes of some notebooks together."""
    columns = zip(*(lessons[number].minutes for number in numbers), strict=True)
    teach, do, run = map(sum, columns)
    return f"{teach} | {do} | {run:.3g}"


def write_page() -> str:
    """The whole page."""
    lessons = read_lessons()
    rows = ["| notebook | teach or read | do | run |", "|---|---|---|---|"]
    for number, lesson in lessons.items():
        name = f"[{number} · {lesson.title}](../notebooks/{lesson.name})"
        rows.append(f"| {name} | {add_minutes([number], lessons)} |")
    return TEMPLATE.format(
        paths=tabulate("path", PATHS, lessons, total=False),
        lecture=tabulate("audience", LECTURE, lessons, total=False),
        day=tabulate("hour", DAY, lessons, total=True),
        week=tabulate("day", WEEK, lessons, total=True),
        term=tabulate("week", TERM, lessons, total=True),
        lessons="\n".join(rows),
    )


TEMPLATE = """# Syllabus

Five ways through the course: alone, in one lecture, in a day, in a week, and in a term. All times
are minutes. The columns *teach or read* and *do* (the exercises) are the authors' estimates in
[notebooks/teaching.toml](../notebooks/teaching.toml). *Run* was measured on two cores at the
profile `quick`. `python scripts/write_syllabus.py` writes this page. [Teaching](teaching.md)
explains the editions for learners and teachers, and how exercises are marked.

## Alone

The paths of papers A and C contain all notebooks that their later ones need; skip what you know.
The path of paper B leaves out notebook 12, whose training loop notebook 23 uses. The first path and
the path *to measure a model of your own* leave out how models are built.

{paths}

## A lecture of two hours

Each plan begins with codes and swaps on a trained model (notebook 00). The second notebook is
about the bound (02), about probes and judges that find leakage (05), or about swaps of whole clips
(33). The rest of the two hours is for questions. The teacher edition (`make teacher ONLY="00 05"`)
has questions for the class and the misconceptions to expect.

{lecture}

## A day

This plan is for people who know PyTorch and some probability. Every notebook runs in a few
minutes, most with shipped models. There is time for the exercises of the level *recall*.

{day}

## A week

Lectures are in the morning and exercises in the afternoon. Start notebooks 12, 23 and 32 before you
talk about them, because they train models.

{week}

## A term

The term has fourteen weeks, each with a lecture of up to two hours and exercises at home. One of
notebooks 26, 35 and 36 is a project.

{term}

## All notebooks

{lessons}
"""

if __name__ == "__main__":
    PAGE.write_text(write_page(), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} written")
