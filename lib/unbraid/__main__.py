"""python -m unbraid data: list, fetch and check the course's data."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import Counter
from importlib.metadata import version

MOVED = ("measure", "train", "evaluate", "judge", "full", "verify", "stamp")
HELP = """
  list    what there is, under which licence, how large, and where it is or how it is had
  fetch   bring what is missing from the publishers into the cache, every byte checked
  verify  check the digest of every file; what is missing is a fault of named sets only

python -m unbraid_extras measures codes and trains models on your own data; in the clone,
python -m papers makes the results."""


def list_data(names: list[str]) -> int:
    """Print what there is; the exit status."""
    from unbraid.data import fetch  # with PyTorch: imported lazily, for help to come at once

    for name in fetch.select_sources(names or fetch.SOURCES):
        print("\n".join(fetch.describe(name)))
    return 0


def fetch_data(names: list[str]) -> int:
    """Fetch what is missing; a set that cannot be fetched stops no other."""
    from unbraid.data import fetch

    failures = 0
    for name in fetch.select_sources(names or fetch.SOURCES):
        try:
            print(f"{name}: {len(fetch.fetch(name))} files here, all digests right")
        except fetch.DataError as error:
            print(f"error: {error}", file=sys.stderr)
            failures += 1
    return 1 if failures else 0


def verify_data(names: list[str]) -> int:
    """Check all digests and print the state of each source."""
    from unbraid.data import fetch

    faults = 0
    for name in fetch.select_sources(names or fetch.SOURCES):
        states = fetch.verify(name)
        counts = Counter(states.values())
        print(f"{name}: {', '.join(f'{counts[state]} {state}' for state in counts)}")
        for file in states:
            if states[file] == "damaged":
                print(f"  damaged: {fetch.locate(name)[file]}")
        faults += counts["damaged"] + (counts["missing"] if names else 0)
    verdict = f"{faults} faults" if faults else "all files here are right"
    print(f"{verdict}; python -m unbraid data fetch NAME brings what is missing")
    return 1 if faults else 0


ACTIONS = {"list": list_data, "fetch": fetch_data, "verify": verify_data}


def main() -> None:
    """Run a command; a user's mistake ends in one message, not in a traceback."""
    words = sys.argv[1:]
    if words and words[0] in MOVED:
        is_own = words[0] == "measure" or "--data" in [word.split("=")[0] for word in words]
        command = f"python -m {'unbraid_extras' if is_own else 'papers'} {shlex.join(words)}"
        print(f"python -m unbraid {words[0]} has moved; run: {command}", file=sys.stderr)
        sys.exit(2)
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m unbraid", epilog=HELP, formatter_class=shape)
    parser.add_argument("--version", action="version", version=f"unbraid {version('unbraid')}")
    parser.add_argument("data", choices=["data"])
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("names", nargs="*", help="datasets or sources; by default all")
    chosen = parser.parse_args(words or ["-h"])
    try:
        sys.exit(ACTIONS[chosen.action](chosen.names))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit("stopped")


if __name__ == "__main__":
    main()
