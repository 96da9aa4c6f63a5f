"""Whether notebooks that are executed anew give what is committed: text strictly, figures by bytes.

A stamp says that nothing changed which outputs are made from; this is the proof by doing it.
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path

import nbformat

from unbraid.course.execution import run
from unbraid.course.files import normalise
from unbraid.course.reach import digest_text

PICTURE = re.compile(r"[\w+/]{200,}=*")


def compare_with_committed(only: str = "", to: str = "build/compare") -> bool:
    """Run notebooks at quick into `to` and print each difference; whether all are as committed."""
    faults = 0
    for outcome in run("quick", to, only):
        found = []
        if not outcome.fault:  # `run` has told what failed
            found = list_differences(outcome.notebook, outcome.output)
            print(*found, sep="\n", end="\n" if found else "")
        faults += bool(found) + bool(outcome.fault)
    print(f"{faults} notebooks differ from the committed" if faults else "all as committed")
    return not faults


def list_differences(committed: Path, executed: Path) -> list[str]:
    """The outputs of `executed` against those of `committed`, as the lines of a difference."""
    before, now = read_outputs(committed), read_outputs(executed)
    lines = difflib.unified_diff(before, now, str(committed), "executed anew", n=2, lineterm="")
    return [line[:160] for line in lines]


def read_outputs(path: Path) -> list[str]:
    """The code cells of a notebook with their outputs as lines, pictures as digests."""
    lines = []
    for cell in normalise(nbformat.read(path, 4)).cells:
        if cell.cell_type == "code":
            lines.append(f"cell `{cell.source.splitlines()[0] if cell.source else ''}`")
            text = json.dumps(cell.outputs, indent=1, sort_keys=True, ensure_ascii=False)
            text = PICTURE.sub(lambda match: digest_text(match[0]), text)
            lines += text.replace("\\n", "\n").splitlines()
    return lines
