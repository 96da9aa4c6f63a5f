"""python -m unbraid: the data of the course (data fetch)."""

import sys
from typing import Annotated

import typer

from unbraid import __version__
from unbraid.checks import check_name
from unbraid.data import fetch
from unbraid.data.fetch import SOURCES, SOURCES_OF, DataError
from unbraid.files import replace_unprintable

app = typer.Typer(
    help="The data of the course; `unbraid measure` and `unbraid train` are for data of your own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="The data of the course.", no_args_is_help=True)
app.add_typer(data, name="data")


@app.callback(invoke_without_command=True)
def show_version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """The data of the course; `unbraid measure` and `unbraid train` are for data of your own."""
    if version:
        print(f"unbraid {__version__}")
        raise typer.Exit


@data.callback()
def of_the_course() -> None:
    """The data of the course."""


@data.command("fetch")
def fetch_data(
    names: Annotated[list[str] | None, typer.Argument(help="Datasets or sources, or all.")] = None,
) -> None:
    """Bring what is missing or damaged from its publisher into the cache, every byte checked."""
    status = 0
    for name in select_sources(names or []):
        try:
            count = len(fetch.fetch(name))
        except (DataError, OSError, ValueError) as error:  # It stops no other.
            place = "" if name in str(error) else f"{name}: "
            print(f"error: {place}{error}", file=sys.stderr)
            status = 1
        else:
            print(f"{name}: {count} files here, all digests right")
    raise typer.Exit(status)


def select_sources(names: list[str]) -> list[str]:
    """The sources of `names`, datasets (sprites) or sources (sprites-li), each once; or all."""
    selected = []
    for name in names or SOURCES:
        check_name("name", name, dict.fromkeys([*SOURCES_OF, *SOURCES]))
        selected += SOURCES_OF.get(name, [name])
    return list(dict.fromkeys(selected))


def main() -> None:
    """Run the command; a user's mistake ends in one message, not in a traceback."""
    try:
        replace_unprintable()
        app(prog_name="python -m unbraid")
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
