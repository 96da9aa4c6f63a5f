"""python -m unbraid: data of the course (data fetch), weights in old names (rekey)."""

import argparse
import sys
from collections.abc import Iterable

from unbraid import __version__
from unbraid.checks import ResultsError, check_name
from unbraid.data import fetch
from unbraid.data.fetch import SOURCES, SOURCES_OF, DataError
from unbraid.files import quiet_pipe

HELP = """
What is missing or damaged comes from its publisher into the cache, every byte checked.
python -m unbraid_own reads your own data; in the clone, python -m papers makes the results."""


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
    commands = parser.add_subparsers(dest="command", required=True)
    data = commands.add_parser("data", help="data fetch brings the course's data")
    data.add_argument("fetch", choices=["fetch"])
    data.add_argument("names", nargs="*", help="datasets or sources; by default all")
    rekey = commands.add_parser(
        "rekey", help="gives weights of A and B of before 2026-12 new names"
    )
    rekey.add_argument("names", nargs="+", metavar="FILE", help="files of weights, *.safetensors")
    chosen = parser.parse_args(sys.argv[1:] or ["-h"])
    try:
        names = select_sources(chosen.names) if chosen.command == "data" else chosen.names
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")
    work, status = fetch_one if chosen.command == "data" else rekey_one, 0
    with quiet_pipe():
        for name in names:
            try:
                said = work(name)
            except (DataError, OSError, ResultsError, ValueError) as error:  # It stops no other.
                place = "" if name in str(error) else f"{name}: "
                print(f"error: {place}{error}", file=sys.stderr)
                status = 1
            else:
                print(f"{name}: {said}")
    sys.exit(status)


def fetch_one(name: str) -> str:
    """Bring a source; what is to be said of it."""
    return f"{len(fetch.fetch(name))} files here, all digests right"


def rekey_one(name: str) -> str:
    """Give a file of weights today's names; what is to be said of it."""
    from unbraid.rekey import rekey  # late, because it needs PyTorch and help does not

    return "today's names, every value as it was" if rekey(name) else "has today's names already"


if __name__ == "__main__":
    main()
