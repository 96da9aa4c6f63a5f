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
    """Whether all notebooks run; the commands below need no function of their own."""
    chosen = options.profile, options.to, options.only, options.cell_seconds
    outcomes = execution.run(*chosen, solutions=options.solutions)
    return not any(outcome.fault for outcome in outcomes)


def update_desk(options: Options) -> bool:
    """Say what became of each notebook; returns whether all could be merged."""
    lines = desk.update(files.ROOT, Path(options.to))
    print(*lines, f"{len(lines)} notebooks of {options.to} concerned", sep="\n")
    return not any("left alone" in line for line in lines)


# Each gives whether all is as it must be, or the files that it wrote; then its options, its help.
COMMANDS: dict[str, tuple[Callable[[Options], bool | list[Path]], str, str]] = {
    "run": (
        run_notebooks,
        "only profile to cell-seconds solutions",
        "run notebooks into a folder of their own, without the solutions of exercises",
    ),
    "compare": (
        lambda o: compare.compare(o.only, o.to, o.renew),
        "only to renew",
        "run notebooks at quick and name what differs from their committed outputs",
    ),
    "footer": (
        lambda o: footer.renew(o.only),
        "only",
        "renew the last cells of notebooks, without running them",
    ),
    "syllabus": (lambda o: [syllabus.renew()], "", "renew the tables of docs/syllabus.md"),
    "student": (
        lambda o: editions.write_edition("student", o.to, o.only),
        "only to",
        "write the notebooks without solutions",
    ),
    "teacher": (
        lambda o: editions.write_edition("teacher", o.to, o.only),
        "only to",
        "write the notebooks with open solutions and notes on teaching",
    ),
    "site": (
        lambda o: [site.build(o.to)],
        "to",
        "build the course as a site (after `make site` has installed what it needs)",
    ),
    "slides": (
        lambda o: slides.write_slides(o.to, o.only),
        "only to",
        "write slides from marked cells (after `make slides` has installed what they need)",
    ),
    "figures": (
        lambda o: figures.write_figures(o.to, o.only),
        "only to",
        "write the pictures of the notebooks' outputs as files, with what they show",
    ),
    "assignment": (
        lambda o: write_assignment(o.to, o.only, profile=o.profile),
        "only to profile",
        "write exercises for otter-grader",
    ),
    "address": (
        lambda o: address.write_address(o.url, files.ROOT),
        "url",
        "write the address of the published repository into README.md and the notebooks",
    ),
    "desk": (
        lambda o: desk.lay_out(files.ROOT, Path(o.to)),
        "to",
        "copy the notebooks into mine/, where they are yours; what is there stays",
    ),
    "update": (update_desk, "to", "merge what has changed in the course into mine/"),
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
    for name, (_, takes, says) in COMMANDS.items():
        subparser = commands.add_parser(name, help=says, description=says)
        for option in takes.split():
            subparser.add_argument(f"--{option}", **OPTIONS[option])
    options = parser.parse_args(arguments)
    command, takes, _ = COMMANDS[options.command]
    try:
        check_library()
        if "to" in takes:
            is_desk = options.command in ("desk", "update")
            place = PLACES.get(options.command, f"build/{options.command}")
            options.to = options.to or (files.ROOT / "mine" if is_desk else place)
            if not is_desk and Path(options.to).parts[0] != "build":
                files.claim(Path(options.to))
        result = command(options)
        if isinstance(result, bool):
            return int(not result)
        where = f" in {options.to}" if "to" in takes else ""
        print(f"{len(result)} files written{where}")
        return 0
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
