"""The tables of docs/syllabus.md: which notebooks in which plan, and how many minutes they take.

The plans stand in syllabus.toml, and the minutes in the header of each notebook. Those to study and
to do are also in notebooks/teaching.toml, for the teacher edition. The table of docs/teaching.md
has the minutes of the lecture and of what is read at home, counted by tools/pace.py.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import nbformat

from tools.editions import NOTES, read_lectures
from tools.files import ROOT, select_notebooks
from tools.pace import measure_sections

PAGE = ROOT / "docs" / "syllabus.md"
TEACHING = ROOT / "docs" / "teaching.md"
PLANS = Path(__file__).with_suffix(".toml")
TIME = re.compile(r"Study: (\d+) minutes, and (\d+) for the exercises\. Runs in (.*?) on two cores")
WORDS = {"half a minute": "0.5", "a minute": "1"}
ROWS = {"paths": "path", "lecture": "audience", "day": "hour", "week": "day", "term": "week"}
WITH_SUMS = ("day", "week", "term")


class Lesson(NamedTuple):
    """A notebook: its file, its title, and minutes to teach it, to do its exercises, to run it."""

    name: str
    title: str
    minutes: tuple[int, int, float]


def read_lessons() -> dict[str, Lesson]:
    """All notebooks by number."""
    minutes = tomllib.loads((ROOT / "notebooks" / "teaching.toml").read_text(encoding="utf-8"))
    lessons = {}
    for path in select_notebooks():
        cells = nbformat.read(path, 4).cells
        title = cells[0].source.splitlines()[0].partition(" · ")[2] or "Start here"
        study, do, run = find_minutes("\n".join(cell.source for cell in cells[:2]))
        number = path.name[:2]
        noted = minutes[number]["teach"], minutes[number]["do"]
        if (study, do) != noted:
            raise ValueError(f"{path.name}: expected {noted} minutes, as in teaching.toml")
        lessons[number] = Lesson(path.name, title, (study, do, run))
    return lessons


def find_minutes(header: str) -> tuple[int, int, float]:
    """The minutes to study, to do and to run that a notebook's header has; zeros without one."""
    found = TIME.search(header)
    if not found:
        return 0, 0, 0.0
    run = WORDS.get(found[3], found[3].removesuffix(" minutes"))
    return int(found[1]), int(found[2]), float(run)


def read_plans() -> dict[str, dict[str, list[str]]]:
    """The numbers of the notebooks in each row of each plan."""
    plans = {}
    everything = [path.name[:2] for path in select_notebooks()]
    for name, rows in tomllib.loads(PLANS.read_text(encoding="utf-8")).items():
        plans[name] = {row: numbers.split() for row, numbers in rows.items()}
        plans[name] |= {row: everything for row, numbers in rows.items() if numbers == "all"}
    return plans


def renew() -> list[Path]:
    """Write the two pages with their tables anew."""
    PAGE.write_text(renew_tables(), encoding="utf-8")
    TEACHING.write_text(renew_pace(), encoding="utf-8")
    return [PAGE, TEACHING]


def renew_pace() -> str:
    """The page on teaching with its table of lecture and home written anew."""
    rows = [
        "| notebook | lecture | minutes | home | minutes | exercises |",
        "|---|---|---|---|---|---|",
    ]
    lectures, lessons = read_lectures(ROOT / "notebooks" / NOTES), read_lessons()
    for path in select_notebooks():
        number = path.name[:2]
        chosen: dict[bool, list[int]] = {True: [], False: []}
        minutes = {True: 0, False: 0}
        for section in measure_sections(nbformat.read(path, 4).cells):
            in_lecture = section.number in lectures[number]
            chosen[in_lecture].append(section.number)
            minutes[in_lecture] += section.minutes
        cells = [f"[{number}](../notebooks/{path.name})"]
        for place in (True, False):
            cells += [" ".join(map(str, chosen[place])), str(minutes[place])]
        cells.append(str(lessons[number].minutes[1]))
        rows.append(f"| {' | '.join(cells)} |")
    return fill(TEACHING.read_text(encoding="utf-8"), "pace", "\n".join(rows))


def renew_tables() -> str:
    """The page with its tables written anew, each between two marks of its name."""
    page = PAGE.read_text(encoding="utf-8")
    lessons = read_lessons()
    tables = {name: tabulate(name, rows, lessons) for name, rows in read_plans().items()}
    lines = ["| notebook | teach or read | do | run |", "|---|---|---|---|"]
    for number, lesson in lessons.items():
        name = f"[{number} · {lesson.title}](../notebooks/{lesson.name})"
        lines.append(f"| {name} | {add_minutes([number], lessons)} |")
    for name, table in (tables | {"all": "\n".join(lines)}).items():
        page = fill(page, name, table)
    return page


def fill(page: str, name: str, table: str) -> str:
    """A page with a table between the two marks of its name."""
    start, opening, rest = page.partition(f"<!-- {name} -->\n")
    end = "".join(rest.partition(f"<!-- /{name} -->")[1:])
    if not end:
        raise ValueError(f"syllabus: expected <!-- {name} --> ... <!-- /{name} -->, found none")
    return f"{start}{opening}{table}\n{end}"


def tabulate(name: str, rows: dict[str, list[str]], lessons: dict[str, Lesson]) -> str:
    """A plan as a table."""
    lines = [f"| {ROWS[name]} | notebooks | teach or read | do | run |", "|---|---|---|---|---|"]
    for row, numbers in rows.items():
        links = link(numbers, lessons)
        lines.append(f"| {row} | {links} | {add_minutes(numbers, lessons)} |")
    if name in WITH_SUMS:
        everything = sum(rows.values(), [])
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
