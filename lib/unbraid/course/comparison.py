"""Whether notebooks that are executed anew give what is committed: text strictly, figures by bytes.

A stamp says that nothing changed which outputs are made from; this is the proof by doing it.
"""

from __future__ import annotations

import re
from difflib import ndiff
from itertools import zip_longest
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from unbraid.course.execution import first_line, run
from unbraid.course.files import normalise

PICTURE = re.compile(r"data:image/png;base64,[\w+/=]+")


def compare_with_committed(only: str = "", to: str = "build/compare") -> bool:
    """Run notebooks at quick into `to` and print each difference; whether all are as committed."""
    faults = 0
    for outcome in run("quick", to, only):
        found = []
        if not outcome.fault:  # `run` has told what failed
            found = list_differences(outcome.notebook, outcome.output)
            print(*found, sep="\n", end="\n" if found else "")
        faults += len(found) + bool(outcome.fault)
    print(f"{faults} differences from the committed outputs" if faults else "all as committed")
    return not faults


def list_differences(committed: Path, executed: Path) -> list[str]:
    """For each output of `executed` that differs from that of `committed`, a line and the texts."""
    differences = []
    pairs = zip_longest(read_outputs(committed), read_outputs(executed), fillvalue=("", {}))
    for (source, before), (other, now) in pairs:
        for kind in sorted({*before, *now}):
            old, new = before.get(kind, ""), now.get(kind, "")
            if old == new:
                continue
            differences.append(
                f"{committed.stem}, cell `{first_line(source or other)}`: {kind} differs"
            )
            if not kind.startswith("image/"):
                lines = ndiff(old.splitlines(), new.splitlines())
                changes = [line[:160] for line in lines if line.startswith(("- ", "+ "))]
                differences += changes[:4]  # what is committed has a minus
    return differences


def read_outputs(path: Path) -> list[tuple[str, dict[str, str]]]:
    """For each code cell its source, and its outputs by their kinds."""
    cells = normalise(nbformat.read(path, 4)).cells
    return [(cell.source, sort_outputs(cell)) for cell in cells if cell.cell_type == "code"]


def sort_outputs(cell: NotebookNode) -> dict[str, str]:
    """The outputs of a cell by kind; several of one kind are joined in their order."""
    sorted_outputs: dict[str, str] = {}
    for output in cell.outputs:
        contents = dict(output.get("data", {}))
        if output.output_type == "stream":
            contents[output.name] = output.text
        pictures = PICTURE.findall(contents.get("text/html", ""))
        if pictures:  # as `plots.show` puts them out
            contents["text/html"] = PICTURE.sub("", contents["text/html"])
            contents["image/png"] = "\n".join(pictures)
        for kind, content in contents.items():
            sorted_outputs[kind] = f"{sorted_outputs.get(kind, '')}{content}\n"
    return sorted_outputs
