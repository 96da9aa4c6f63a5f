"""The course as a whole: run its notebooks, renew what is committed, write its editions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from unbraid.course import comparison, desk, freshness, prose
from unbraid.course.assignment import write_assignment
from unbraid.course.editions import EDITIONS, write_edition, write_pages
from unbraid.course.execution import renew, run, select_notebooks, write_footers
from unbraid.data.fetch import repository_root
from unbraid.settings import PROFILES

COMMANDS = {
    "run": "run notebooks into a folder of their own",
    "notebooks": "run notebooks and renew their committed outputs",
    "desk": "copy the notebooks into mine/, where they are yours; what is there stays",
    "update": "merge what has changed in the course into mine/",
    "fresh": "name the notebooks whose outputs are stale, and why; --run renews these",
    "compare": "run notebooks and compare what they give with what is committed",
    "footer": "renew the footers of notebooks, without running them",
    "prose": "name the decimals of the prose that have no source",
    "student": "write the notebooks without solutions",
    "teacher": "write the notebooks with open solutions and notes on teaching",
    "assignment": "write exercises for otter-grader and nbgrader",
    "pages": "write the notebooks as HTML",
}


def main(arguments: list[str] | None = None) -> int:
    """The command line.

    Its exit code: 0, 1 a notebook failed or is not as it must be, 2 a wrong argument, 130 stopped.
    """
    about = "\n".join(f"  {name:12}{text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m unbraid.course",
        description=f"{__doc__}\n\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--only", default="", help='numbers or names of notebooks, e.g. "00 13"')
    parser.add_argument("--profile", default="quick", choices=PROFILES)
    parser.add_argument("--to", help="folder to write into (build/run, build/student, ...)")
    parser.add_argument("--cell-seconds", type=float, help="run: the longest a cell may take")
    parser.add_argument("--run", action="store_true", help="fresh: renew the stale notebooks")
    options = parser.parse_args(arguments)
    options.to = options.to or f"build/{options.command}"
    try:
        return int(not carry_out(options))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def carry_out(options: argparse.Namespace) -> bool:
    """Do what the options say; whether all is as it must be."""
    if options.command == "fresh":
        return check_freshness(options.only, options.run)
    if options.command == "compare":
        return comparison.compare_with_committed(options.only, options.to)
    if options.command == "prose":
        findings = prose.find_unsupported(select_notebooks(only=options.only))
        print(*findings, f"{len(findings)} decimals without a source", sep="\n")
        return not findings
    if options.command == "footer":
        changed = write_footers(options.only)
        print(f"{len(changed)} notebooks changed", *(path.name for path in changed), sep="\n  ")
        return True
    if options.command in (*EDITIONS, "assignment", "pages"):
        return write(options.command, options.to, options.only)
    if options.command in ("desk", "update"):
        return tend_desk(options.command)
    if options.command == "notebooks":
        outcomes = renew(options.only)
    else:
        outcomes = run(options.profile, options.to, options.only, options.cell_seconds)
    return not any(outcome.fault for outcome in outcomes)


def tend_desk(command: str) -> bool:
    """Lay out the reader's copies, or update them, and say what was done."""
    root = repository_root() or Path()
    if command == "update":
        lines = desk.update(root)
        print(*lines, f"{len(lines)} notebooks of mine/ concerned", sep="\n")
        return not any("left alone" in line for line in lines)
    place, created = desk.lay_out(root)
    print(f"{len(created)} notebooks copied into {place}; git ignores them, and they stay yours")
    return True


def check_freshness(only: str, renewing: bool) -> bool:
    """Report stale notebooks, and renew them if asked to; whether all are fresh now."""
    verdicts = [freshness.compare(path) for path in select_notebooks(only=only)]
    print(freshness.report(verdicts))
    stale = [verdict.notebook.stem for verdict in verdicts if verdict.reasons]
    if not (stale and renewing):
        return not stale
    return not any(outcome.fault for outcome in renew(" ".join(stale)))


def write(command: str, to: str, only: str) -> bool:
    """Write an edition, assignments or pages, and say where they are."""
    if command == "assignment":
        written = write_assignment(to, only)
    elif command == "pages":
        written = write_pages(to, only)
    else:
        written = write_edition(command, to, only)
    print(f"{len(written)} notebooks in {to}")
    return True


if __name__ == "__main__":
    sys.exit(main())
