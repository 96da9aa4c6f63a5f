"""The course as a whole: run its notebooks (`make run`), renew their committed outputs."""

from __future__ import annotations

import argparse
import sys

from unbraid.course.execution import renew, run
from unbraid.settings import PROFILES


def main(arguments: list[str] | None = None) -> int:
    """The command line; its exit code: 0, 1 a notebook failed, 2 a wrong argument, 130 stopped."""
    parser = argparse.ArgumentParser(prog="python -m unbraid.course", description=__doc__)
    parser.add_argument("command", choices=("run", "notebooks"))
    parser.add_argument("--only", default="", help='numbers or names of notebooks, e.g. "00 13"')
    parser.add_argument("--profile", default="quick", choices=PROFILES)
    parser.add_argument("--to", default="build/run", help="run: folder for the executed copies")
    parser.add_argument("--cell-seconds", type=float, help="run: the longest a cell may take")
    options = parser.parse_args(arguments)
    try:
        if options.command == "notebooks":
            outcomes = renew(options.only)
        else:
            outcomes = run(options.profile, options.to, options.only, options.cell_seconds)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return int(any(outcome.fault for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
