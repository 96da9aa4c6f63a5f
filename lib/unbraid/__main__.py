"""python -m unbraid data: list, fetch and check the course's data."""

import argparse
import sys
from collections.abc import Iterable
from importlib.metadata import version

from unbraid.checks import check_name
from unbraid.data import fetch
from unbraid.data.fetch import SOURCES, SOURCES_OF, DataError
from unbraid.files import quiet_pipe

HELP = """
  list    what there is, under which licence, how large, and how it is had
  fetch   bring what is missing from the publishers into the cache, every byte checked
  verify  check the digest of every file that is here

python -m unbraid_extras reads your own data; in the clone, python -m papers makes the results."""


def select_sources(names: Iterable[str]) -> list[str]:
    """The sources of `names`, datasets (sprites) or sources (sprites-li), each once; or all."""
    selected = []
    for name in names or SOURCES:
        check_name("name", name, dict.fromkeys([*SOURCES_OF, *SOURCES]))
        selected += SOURCES_OF.get(name, [name])
    return list(dict.fromkeys(selected))


def describe_source(name: str) -> str:
    """What a source is, for which datasets, how large, under which licence, and what is here."""
    paths, source = fetch.locate(name), SOURCES[name]
    here = f"{len(paths)} of {len(source.files)} files here; all by {source.remedy}"
    size = sum(size for _, size in source.files.values()) / 1e6
    title = f"{name:<14} for {', '.join(source.datasets)}\n    {source.about}"
    return f"{title}\n    {size:.1f} MB  {source.licence}  {here}"


def fetch_source(name: str) -> str:
    """Bring what is missing."""
    return f"{name}: {len(fetch.fetch(name))} files here, all digests right"


def verify_source(name: str) -> str:
    """Check the digest of every file that is here; a wrong one is a `DataError`."""
    share = "not all" if fetch.find(name) is None else "all"
    return f"{name}: {share} files are here, all of these right"


ACTIONS = {"list": describe_source, "fetch": fetch_source, "verify": verify_source}


def main() -> None:
    """Run a command; a user's mistake ends in one message, not in a traceback."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m unbraid", epilog=HELP, formatter_class=shape)
    parser.add_argument("--version", action="version", version=f"unbraid {version('unbraid')}")
    parser.add_argument("data", choices=["data"])
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("names", nargs="*", help="datasets or sources; by default all")
    chosen = parser.parse_args(sys.argv[1:] or ["-h"])
    try:
        names, status = select_sources(chosen.names), 0
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")
    with quiet_pipe():
        for name in names:
            try:
                said = ACTIONS[chosen.action](name)
            except (DataError, OSError) as error:  # It stops no other source.
                print(f"error: {error}", file=sys.stderr)
                status = 1
            else:
                print(said)
    sys.exit(status)


if __name__ == "__main__":
    main()
