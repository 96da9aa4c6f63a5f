"""Write docs/syllabus.md: which notebooks in an afternoon, a day, a week and a term, and how long.

Minutes to teach and to do come from notebooks/teaching.toml, minutes to run from the notebooks'
own headers, at the profile quick. Run it again whenever one of these changes; a test compares.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "syllabus.md"
KINDS = ("teach", "do", "run")
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


@dataclass(frozen=True)
class Lesson:
    """A notebook: its file, its title, and minutes to teach it, to do its exercises, to run it."""

    name: str
    title: str
    teach: int
    do: int
    run: float


def read_lessons() -> dict[str, Lesson]:
    """All notebooks by number."""
    minutes = tomllib.loads((ROOT / "notebooks" / "teaching.toml").read_text(encoding="utf-8"))
    lessons = {}
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        opening = "\n".join("".join(cell["source"]) for cell in cells[:2])
        title = opening.splitlines()[0].removeprefix("# ").partition(" · ")[2] or "Start here"
        number = path.name[:2]
        run = float(RUN.search(opening)[1])
        lessons[number] = Lesson(
            path.name, title, minutes[number]["teach"], minutes[number]["do"], run
        )
    return lessons


def tabulate(heading: str, rows: dict[str, str], lessons: dict[str, Lesson], total: bool) -> str:
    """A table of rows of notebooks with their minutes; with a last row of sums if total.

    A notebook that is not there is left out, and a test says so.
    """
    lines = [f"| {heading} | notebooks | teach or read | do | run |", "|---|---|---|---|---|"]
    sums = [0, 0, 0.0]
    for name, numbers in rows.items():
        chosen = [(number, lessons[number]) for number in numbers.split() if number in lessons]
        links = link(numbers.split(), lessons)
        minutes = [sum(getattr(lesson, kind) for _, lesson in chosen) for kind in KINDS]
        sums = [one + other for one, other in zip(sums, minutes, strict=True)]
        lines.append(f"| {name} | {links} | {write_minutes(minutes)} |")
    if total:
        lines.append(f"| together | | {write_minutes(sums)} |")
    return "\n".join(lines)


def link(numbers: list[str], lessons: dict[str, Lesson]) -> str:
    """Links to notebooks; of three or more neighbours to the first and the last."""
    order = list(lessons)
    runs: list[list[str]] = []
    for number in (number for number in numbers if number in lessons):
        if runs and order.index(number) == order.index(runs[-1][-1]) + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = []
    for run in runs:
        links = [f"[{number}](../notebooks/{lessons[number].name})" for number in run]
        parts += [f"{links[0]} to {links[-1]}"] if len(links) > 2 else links
    return " · ".join(parts)


def write_minutes(minutes: list[float]) -> str:
    teach, do, run = minutes
    return f"{teach} | {do} | {run:.3g}"


def write_list(lessons: dict[str, Lesson]) -> str:
    """A table of all notebooks."""
    lines = ["| notebook | teach or read | do | run |", "|---|---|---|---|"]
    for number, lesson in lessons.items():
        minutes = write_minutes([lesson.teach, lesson.do, lesson.run])
        lines.append(f"| [{number} · {lesson.title}](../notebooks/{lesson.name}) | {minutes} |")
    return "\n".join(lines)


def write_page() -> str:
    """The whole page."""
    lessons = read_lessons()
    return TEMPLATE.format(
        paths=tabulate("path", PATHS, lessons, total=False),
        day=tabulate("hour", DAY, lessons, total=True),
        week=tabulate("day", WEEK, lessons, total=True),
        term=tabulate("week", TERM, lessons, total=True),
        lessons=write_list(lessons),
    )


TEMPLATE = """# Syllabus

Four ways through the course: alone, in a day, in a week, and in a term. All times are minutes.
*Teach or read* and *do*, for the exercises, are the authors' estimates in
[notebooks/teaching.toml](../notebooks/teaching.toml). *Run* was measured on two cores at the
profile `quick`. `python scripts/write_syllabus.py` writes this page. [Teaching](teaching.md)
explains the editions for learners and teachers, and the marks.

## Alone

Each path but the first contains what its later notebooks need; skip what you know. The afternoon
shows results, and how far to trust them.

{paths}

## A day

For people who know PyTorch and some probability. Every notebook runs in a few minutes, most with
shipped models. Of the exercises there is time for those of the level *recall*.

{day}

## A week

Lectures in the morning, exercises in the afternoon. Start notebooks 12, 23 and 32 before you talk
about them, because they train.

{week}

## A term

Fourteen weeks with a lecture of about two hours, exercises at home, and one of the last three
notebooks as a project.

{term}

## All notebooks

{lessons}
"""

if __name__ == "__main__":
    PAGE.write_text(write_page(), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} written")
