"""The course as a whole: run its notebooks, renew what is committed, write its editions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from unbraid.course import comparison, desk, freshness, prose
from unbraid.course.assignment import write_assignment
from unbraid.course.editions import write_edition, write_pages
from unbraid.course.execution import renew, run, select_notebooks, write_footers
from unbraid.data.fetch import repository_root
from unbraid.settings import PROFILES

Options = argparse.Namespace


def run_notebooks(options: Options) -> bool:
    """run notebooks into a folder of their own"""
    outcomes = run(options.profile, options.to, options.only, options.cell_seconds)
    return not any(outcome.fault for outcome in outcomes)


def renew_notebooks(options: Options) -> bool:
    """run notebooks and renew their committed outputs"""
    return not any(outcome.fault for outcome in renew(options.only))


def lay_out_desk(_: Options) -> bool:
    """copy the notebooks into mine/, where they are yours; what is there stays"""
    place, created = desk.lay_out(repository_root() or Path())
    print(f"{len(created)} notebooks copied into {place}; git ignores them, and they stay yours")
    return True


def update_desk(_: Options) -> bool:
    """merge what has changed in the course into mine/"""
    lines = desk.update(repository_root() or Path())
    print(*lines, f"{len(lines)} notebooks of mine/ concerned", sep="\n")
    return not any("left alone" in line for line in lines)


def check_freshness(options: Options) -> bool:
    """name the notebooks whose outputs are stale, and why; --run renews these"""
    notebooks = select_notebooks(only=options.only)
    stale = []
    for path in notebooks:
        if reasons := freshness.compare(path):
            stale.append(path.stem)
            print(f"{path.stem} is stale:", *reasons[:8], sep="\n  ")
            if len(reasons) > 8:
                print(f"  and {len(reasons) - 8} more")
    print(f"{len(notebooks) - len(stale)} of {len(notebooks)} notebooks are fresh")
    if not (stale and options.run):
        return not stale
    return not any(outcome.fault for outcome in renew(" ".join(stale)))


def compare_outputs(options: Options) -> bool:
    """run notebooks and compare what they give with what is committed"""
    return comparison.compare_with_committed(options.only, options.to)


def renew_footers(options: Options) -> bool:
    """renew the footers of notebooks, without running them"""
    changed = write_footers(options.only)
    print(f"{len(changed)} notebooks changed", *(path.name for path in changed), sep="\n  ")
    return True


def check_prose(options: Options) -> bool:
    """name the decimals of the prose that have no source"""
    findings = prose.find_unsupported(select_notebooks(only=options.only))
    print(*findings, f"{len(findings)} decimals without a source", sep="\n")
    return not findings


def write_student(options: Options) -> bool:
    """write the notebooks without solutions"""
    return report_written(write_edition("student", options.to, options.only), options)


def write_teacher(options: Options) -> bool:
    """write the notebooks with open solutions and notes on teaching"""
    return report_written(write_edition("teacher", options.to, options.only), options)


def write_assignments(options: Options) -> bool:
    """write exercises for otter-grader and nbgrader"""
    return report_written(write_assignment(options.to, options.only), options)


def write_html(options: Options) -> bool:
    """write the notebooks as HTML"""
    return report_written(write_pages(options.to, options.only), options)


def report_written(paths: list[Path], options: Options) -> bool:
    """Say where the notebooks are."""
    print(f"{len(paths)} notebooks in {options.to}")
    return True


COMMANDS: dict[str, Callable[[Options], bool]] = {  # each says whether all is as it must be
    "run": run_notebooks,
    "notebooks": renew_notebooks,
    "desk": lay_out_desk,
    "update": update_desk,
    "fresh": check_freshness,
    "compare": compare_outputs,
    "footer": renew_footers,
    "prose": check_prose,
    "student": write_student,
    "teacher": write_teacher,
    "assignment": write_assignments,
    "pages": write_html,
}
IN_PLACE = {"desk", "update", "footer", "notebooks", "fresh"}  # These have no --to.


def main(arguments: list[str] | None = None) -> int:
    """The command line.

    Its exit code: 0, 1 a notebook failed or is not as it must be, 2 a wrong argument, 130 stopped.
    """
    about = "\n".join(f"  {name:12}{command.__doc__}" for name, command in COMMANDS.items())
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
    if options.cell_seconds is not None and not options.cell_seconds >= 1:
        parser.error(f"--cell-seconds: expected 1 or more, found {options.cell_seconds}")
    options.to = options.to or f"build/{options.command}"
    try:
        return int(not COMMANDS[options.command](options))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        elsewhere = "" if options.command in IN_PLACE else ", or name another folder with --to"
        print(f"{error}; make room{elsewhere}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
