"""The notebooks as files: run and compare them, write the course's editions."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable
from pathlib import Path

import unbraid

from tools import (
    address,
    compare,
    desk,
    editions,
    execution,
    figures,
    files,
    footer,
    site,
    slides,
    syllabus,
)
from tools.assignment import write_assignment

Options = argparse.Namespace
LIBRARY = Path(unbraid.__file__).resolve().parent  # must be the one of this clone


def run_notebooks(options: Options) -> bool:
    """run notebooks into a folder of their own, without the solutions of exercises"""
    chosen = options.profile, options.to, options.only, options.cell_seconds
    outcomes = execution.run(*chosen, solutions=options.solutions)
    return not any(outcome.fault for outcome in outcomes)


def compare_notebooks(options: Options) -> bool:
    """run notebooks at quick and name what differs from their committed outputs"""
    return compare.compare(options.only, options.to, options.renew)


def renew_footers(options: Options) -> bool:
    """renew the last cells of notebooks, without running them"""
    changed = footer.renew(options.only)
    print(f"{len(changed)} notebooks changed", *(path.name for path in changed), sep="\n  ")
    return True


def renew_syllabus(_: Options) -> bool:
    """renew the tables of docs/syllabus.md"""
    syllabus.PAGE.write_text(syllabus.renew_tables(), encoding="utf-8")
    return True


def write_student(options: Options) -> bool:
    """write the notebooks without solutions"""
    return report_written(editions.write_edition("student", options.to, options.only), options)


def write_teacher(options: Options) -> bool:
    """write the notebooks with open solutions and notes on teaching"""
    return report_written(editions.write_edition("teacher", options.to, options.only), options)


def build_site(options: Options) -> bool:
    """build the course as a site (after `make site` has installed what it needs)"""
    print(site.build(options.to))
    return True


def write_slides(options: Options) -> bool:
    """write slides from marked cells (after `make slides` has installed what they need)"""
    print(*slides.write_slides(options.to, options.only), sep="\n")
    return True


def write_figures(options: Options) -> bool:
    """write the pictures of the notebooks' outputs as files, with what they show"""
    print(f"{len(figures.write_figures(options.to, options.only))} figures in {options.to}")
    return True


def write_assignments(options: Options) -> bool:
    """write exercises for otter-grader"""
    paths = write_assignment(options.to, options.only, profile=options.profile)
    return report_written(paths, options)


def report_written(paths: list[Path], options: Options) -> bool:
    """Say where the files are."""
    print(f"{len(paths)} notebooks in {options.to}")
    return True


def lay_out_desk(options: Options) -> bool:
    """copy the notebooks into mine/, where they are yours; what is there stays"""
    place, created = desk.lay_out(files.ROOT, Path(options.to))
    print(f"{len(created)} notebooks copied into {place}; they stay yours")
    return True


def update_desk(options: Options) -> bool:
    """merge what has changed in the course into mine/"""
    lines = desk.update(files.ROOT, Path(options.to))
    print(*lines, f"{len(lines)} notebooks of {options.to} concerned", sep="\n")
    return not any("left alone" in line for line in lines)


def write_address(options: Options) -> bool:
    """write the address of the published repository into README.md and the notebooks"""
    print(f"{len(address.write_address(options.url, files.ROOT))} files changed")
    return True


# Each says whether all is as it must be, and takes the options beside it.
COMMANDS: dict[str, tuple[Callable[[Options], bool], str]] = {
    "run": (run_notebooks, "only profile to cell-seconds solutions"),
    "compare": (compare_notebooks, "only to renew"),
    "footer": (renew_footers, "only"),
    "syllabus": (renew_syllabus, ""),
    "student": (write_student, "only to"),
    "teacher": (write_teacher, "only to"),
    "site": (build_site, "to"),
    "slides": (write_slides, "only to"),
    "figures": (write_figures, "only to"),
    "assignment": (write_assignments, "only to profile"),
    "address": (write_address, "url"),
    "desk": (lay_out_desk, "to"),
    "update": (update_desk, "to"),
}
PLACES = {"slides": "build/site/slides"}  # those of the others: build/COMMAND
OPTIONS = {
    "url": {"required": True, "help": "https://github.com/OWNER/NAME"},
    "only": {"default": "", "help": 'numbers or names of notebooks, e.g. "00 13"'},
    "profile": {"default": "quick", "choices": list(execution.CELL_SECONDS)},
    "to": {"help": "folder to write into, instead of build/COMMAND or mine/"},
    "cell-seconds": {"type": float, "help": "the longest that a cell may take"},
    "renew": {"action": "store_true", "help": "write the new outputs over the committed ones"},
    "solutions": {"action": "store_true", "help": "run the solutions of exercises, too"},
}


def main(arguments: list[str] | None = None) -> int:
    """The command line.

    Its exit code: 0, 1 a notebook failed or is not as it must be, 2 a wrong argument, 130 stopped.
    """
    parser = argparse.ArgumentParser(prog="python -m tools", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (command, options) in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        for option in options.split():
            subparser.add_argument(f"--{option}", **OPTIONS[option])
    options = parser.parse_args(arguments)
    command, takes = COMMANDS[options.command]
    try:
        check_library()
        if "to" in takes:
            is_desk = options.command in ("desk", "update")
            options.to = options.to or (
                files.ROOT / "mine"
                if is_desk
                else PLACES.get(options.command, f"build/{options.command}")
            )
            if not is_desk and Path(options.to).parts[0] != "build":
                files.claim(Path(options.to))
        return int(not command(options))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "; make room" if is_full else ""
        remedy += "; --to FOLDER names another place" if "to" in takes else ""
        print(f"{error}{remedy}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def check_library() -> None:
    """Refuse the library of another clone, or an installed one, which notebooks would import."""
    clone = Path(__file__).resolve().parents[1]
    if not LIBRARY.is_relative_to(clone):
        remedy = "run python -m pip install --no-deps --no-build-isolation -e ."
        raise ValueError(f"unbraid: expected that of {clone}, found {LIBRARY}; {remedy}")


if __name__ == "__main__":
    sys.exit(main())
