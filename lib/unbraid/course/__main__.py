"""The course as a whole: run its notebooks, renew their outputs, write its editions."""

from __future__ import annotations

import argparse
import sys

from unbraid.course.assignment import write_assignment
from unbraid.course.editions import EDITIONS, write_edition, write_pages
from unbraid.course.execution import renew, run
from unbraid.settings import PROFILES


def main(arguments: list[str] | None = None) -> int:
    """The command line; its exit code: 0, 1 a notebook failed, 2 a wrong argument, 130 stopped."""
    parser = argparse.ArgumentParser(prog="python -m unbraid.course", description=__doc__)
    parser.add_argument("command", choices=("run", "notebooks", *EDITIONS, "assignment", "pages"))
    parser.add_argument("--only", default="", help='numbers or names of notebooks, e.g. "00 13"')
    parser.add_argument("--profile", default="quick", choices=PROFILES)
    parser.add_argument("--to", help="folder to write into (build/run, build/student, ...)")
    parser.add_argument("--cell-seconds", type=float, help="run: the longest a cell may take")
    options = parser.parse_args(arguments)
    to = options.to or f"build/{options.command}"
    try:
        if options.command in (*EDITIONS, "assignment", "pages"):
            return write(options.command, to, options.only)
        if options.command == "notebooks":
            outcomes = renew(options.only)
        else:
            outcomes = run(options.profile, to, options.only, options.cell_seconds)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return int(any(outcome.fault for outcome in outcomes))


def write(command: str, to: str, only: str) -> int:
    """Write an edition or assignments, and say where they are."""
    if command == "assignment":
        written = write_assignment(to, only)
    elif command == "pages":
        written = write_pages(to, only)
    else:
        written = write_edition(command, to, only)
    print(f"{len(written)} files in {to}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
