"""The notebooks as files: run and compare them, write the course's editions."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import unbraid
from unbraid.files import quiet_pipe

Options = argparse.Namespace
LIBRARY = Path(unbraid.__file__).resolve().parent  # must be the one of this clone


# Each command gives whether all is as it must be, or the files that it wrote; its docstring is its
# help. It imports what it needs itself, so that help and typos are answered at once.


def run(options: Options) -> bool:
    """Run notebooks into a folder of their own, without the solutions of exercises."""
    from tools import execution

    chosen = options.profile, options.to, options.only, options.cell_seconds
    outcomes = execution.run(*chosen, solutions=options.solutions)
    return not any(outcome.fault for outcome in outcomes)


def compare(options: Options) -> bool:
    """Run notebooks at quick and name what differs from their committed outputs."""
    from tools.compare import compare

    return compare(options.only, options.to, options.renew)


def footer(options: Options) -> list[Path]:
    """Renew the last cells of notebooks, without running them."""
    from tools.footer import renew

    return renew(options.only)


def export(_: Options) -> list[Path]:
    """Write the chapters' classes and functions to lib/unbraid_course/lessons/."""
    from tools.export import renew

    return renew()


def student(options: Options) -> list[Path]:
    """Write the notebooks without solutions."""
    from tools.editions import write_edition

    return write_edition("student", options.to, options.only)


def teacher(options: Options) -> list[Path]:
    """Write the notebooks with open solutions and notes on teaching."""
    from tools.editions import write_edition

    return write_edition("teacher", options.to, options.only)


def site(options: Options) -> list[Path]:
    """Build the course as a site (after `make site` has installed what it needs)."""
    from tools.site.pages import build

    return [build(options.to)]


def slides(options: Options) -> list[Path]:
    """Write the slides of notebooks (after `make site` has installed what they need)."""
    from tools.site.slides import write_slides

    return write_slides(options.to, options.only)


def assignment(options: Options) -> list[Path]:
    """Write exercises for otter-grader."""
    from tools.assignment import write_assignment

    return write_assignment(options.to, options.only, profile=options.profile)


def address(options: Options) -> list[Path]:
    """Write the address of the published repository into README.md and the notebooks."""
    from tools import files
    from tools.address import write_address

    return write_address(options.url, files.ROOT)


def desk(options: Options) -> bool:
    """Lay the notebooks into mine/, where they are yours; pages you have worked in stay."""
    from tools import files
    from tools.desk import lay_out

    for line in lay_out(files.ROOT, Path(options.to), options.outputs):
        print(line)
    return True


COMMANDS: dict[Callable[[Options], bool | list[Path]], str] = {  # and their options
    run: "only profile to cell-seconds solutions",
    compare: "only to renew",
    footer: "only",
    export: "",
    student: "only to",
    teacher: "only to",
    site: "to",
    slides: "only to",
    assignment: "only to profile",
    address: "url",
    desk: "to outputs",
}
PLACES = {"slides": "build/site/slides"}  # those of the others: build/COMMAND
OPTIONS: dict[str, dict[str, Any]] = {
    "url": {"required": True, "help": "https://github.com/OWNER/NAME"},
    "only": {"default": "", "help": 'numbers or names of notebooks, e.g. "00 13"'},
    "profile": {"default": "quick", "choices": ["smoke", "quick", "full"]},
    "to": {
        "type": lambda text: str(Path(text).expanduser()),
        "help": "folder to write into, instead of build/COMMAND or mine/",
    },
    "cell-seconds": {"type": float, "help": "the longest that a cell may take"},
    "outputs": {"action": "store_true", "help": "lay copies with the stored outputs"},
    "renew": {"action": "store_true", "help": "write the new outputs over the committed ones"},
    "solutions": {"action": "store_true", "help": "run the solutions of exercises, too"},
}


def main(arguments: list[str] | None = None) -> int:
    """The command line.

    Its exit code: 0, 1 a notebook failed or is not as it must be, 2 a wrong argument, 130 stopped.
    """
    parser = argparse.ArgumentParser(prog="python -m tools", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, takes in COMMANDS.items():
        says = command.__doc__
        subparser = commands.add_parser(command.__name__, help=says, description=says)
        subparser.set_defaults(run=command)
        for option in takes.split():
            subparser.add_argument(f"--{option}", **OPTIONS[option])
    options = parser.parse_args(arguments)
    takes = COMMANDS[options.run]
    try:
        check_library()
        if "to" in takes:
            from tools import files

            is_desk = options.command == "desk"
            place = PLACES.get(options.command, f"build/{options.command}")
            options.to = options.to or (files.ROOT / "mine" if is_desk else place)
            folder = Path(options.to).resolve()
            if not is_desk and not folder.is_relative_to(files.ROOT / "build"):
                files.claim(folder)
        with quiet_pipe():
            result = options.run(options)
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
