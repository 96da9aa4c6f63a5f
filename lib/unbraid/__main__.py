"""python -m unbraid data fetch: bring the course's data from their publishers."""

import argparse
import sys
from collections.abc import Iterable

from unbraid import __version__
from unbraid.checks import check_name
from unbraid.data import fetch
from unbraid.data.fetch import SOURCES, SOURCES_OF, DataError
from unbraid.files import quiet_pipe

HELP = """
What is missing or damaged comes from its publisher into the cache, every byte checked.
python -m unbraid_extras reads your own data; in the clone, python -m papers makes the results."""


def select_sources(names: Iterable[str]) -> list[str]:
    """The sources of `names`, datasets (sprites) or sources (sprites-li), each once; or all."""
    selected = []
    for name in names or SOURCES:
        check_name("name", name, dict.fromkeys([*SOURCES_OF, *SOURCES]))
        selected += SOURCES_OF.get(name, [name])
    return list(dict.fromkeys(selected))


def main() -> None:
    """Run the command; a user's mistake ends in one message, not in a traceback."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m unbraid", epilog=HELP, formatter_class=shape)
    parser.add_argument("--version", action="version", version=f"unbraid {__version__}")
    parser.add_argument("data", choices=["data"])
    parser.add_argument("fetch", choices=["fetch"])
    parser.add_argument("names", nargs="*", help="datasets or sources; by default all")
    chosen = parser.parse_args(sys.argv[1:] or ["-h"])
    try:
        names, status = select_sources(chosen.names), 0
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")
    with quiet_pipe():
        for name in names:
            try:
                count = len(fetch.fetch(name))
            except (DataError, OSError) as error:  # It stops no other source.
                print(f"error: {error}", file=sys.stderr)
                status = 1
            else:
                print(f"{name}: {count} files here, all digests right")
    sys.exit(status)


if __name__ == "__main__":
    main()
