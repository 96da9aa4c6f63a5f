"""The notebooks as files: run and compare them, write the course's editions.

What takes time is imported by the commands themselves, so that help and typos are answered at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
import unbraid
from unbraid.files import replace_unprintable

LIBRARY = Path(unbraid.__file__).resolve().parent  # must be the one of this clone
app = typer.Typer(
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Only = Annotated[str, typer.Option(help='Numbers or names of notebooks, e.g. "00 13".')]
Profile = Annotated[Literal["smoke", "quick", "full"], typer.Option()]
To = Annotated[Path | None, typer.Option(help="Folder to write into, not build/COMMAND or mine/.")]
Renew = Annotated[bool, typer.Option("--renew", help="Write new outputs over committed ones.")]


@app.command()
def run(only: Only = "", profile: Profile = "quick", to: To = None) -> None:
    """Run notebooks into a folder of their own, without the solutions of exercises."""
    from tools import execution

    outcomes = execution.run(profile, claim(to, "run"), only)
    if any(outcome.fault for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def compare(only: Only = "", to: To = None, renew: Renew = False) -> None:
    """Run notebooks at quick and name what differs from their committed outputs."""
    from tools.compare import compare

    if not compare(only, claim(to, "compare"), renew):
        raise typer.Exit(1)


@app.command()
def footer(only: Only = "") -> None:
    """Renew the last cells of notebooks, without running them."""
    from tools.footer import renew

    report(renew(only))


@app.command()
def export() -> None:
    """Write the chapters' classes and functions as modules of lib."""
    from tools.export import renew

    report(renew())


@app.command()
def student(only: Only = "", to: To = None) -> None:
    """Write the notebooks without solutions."""
    write_edition("student", only, to)


@app.command()
def teacher(only: Only = "", to: To = None) -> None:
    """Write the notebooks with open solutions and notes on teaching."""
    write_edition("teacher", only, to)


@app.command()
def assignment(only: Only = "", to: To = None, profile: Profile = "quick") -> None:
    """Write exercises for otter-grader."""
    from tools.assignment import write_assignment

    folder = claim(to, "assignment")
    report(write_assignment(folder, only, profile=profile), folder)


@app.command()
def site(to: To = None) -> None:
    """Build the course as a site (after `make site` has installed what it needs)."""
    from tools.site.pages import build

    folder = claim(to, "site")
    report([build(folder)], folder)


@app.command()
def slides(only: Only = "", to: To = None) -> None:
    """Write the slides of notebooks (after `make site` has installed what they need)."""
    from tools.site.slides import write_slides

    folder = claim(to, "site/slides")
    report(write_slides(folder, only), folder)


@app.command()
def desk(
    to: To = None,
    outputs: Annotated[bool, typer.Option("--outputs", help="With the stored outputs.")] = False,
) -> None:
    """Lay the notebooks into mine/, where they are yours; pages you have worked in stay."""
    from tools import files
    from tools.desk import lay_out

    for line in lay_out(files.ROOT, (to or files.ROOT / "mine").expanduser(), outputs):
        print(line)


def write_edition(edition: str, only: str, to: Path | None) -> None:
    """Write an edition of the notebooks."""
    from tools import editions

    folder = claim(to, edition)
    report(editions.write_edition(edition, folder, only), folder)


def claim(to: Path | None, command: str) -> str:
    """The folder that a command writes into; refused if others have written there."""
    from tools import files

    folder = (to or Path("build", command)).expanduser()
    if not folder.resolve().is_relative_to(files.ROOT / "build"):
        files.claim(folder.resolve())
    return folder.as_posix()


def report(written: list[Path], folder: str = "") -> None:
    """Say how many files a command has written."""
    print(f"{len(written)} files written{f' in {folder}' if folder else ''}")


def main(arguments: list[str] | None = None) -> int:
    """The command line.

    Its exit code: 0, 1 a notebook failed or is not as it must be, 2 a wrong argument, 130 stopped.
    """
    try:
        check_library()
        replace_unprintable()
        app(arguments, prog_name="python -m tools")
    except SystemExit as ended:
        return int(ended.code or 0)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error}; --to FOLDER names another place", file=sys.stderr)
        return 1
    return 0


def check_library() -> None:
    """Refuse the library of another clone, or an installed one, which notebooks would import."""
    clone = Path(__file__).resolve().parents[1]
    if not LIBRARY.is_relative_to(clone):
        remedy = "run python -m pip install --no-deps --no-build-isolation -e ."
        raise ValueError(f"unbraid: expected that of {clone}, found {LIBRARY}; {remedy}")


if __name__ == "__main__":
    sys.exit(main())
