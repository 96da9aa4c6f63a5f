"""python -m papers."""

import sys

if __name__ == "__main__":
    try:
        from papers.commands import main

        main()
    except ValueError as error:  # in a table of runs, which is read before a command begins
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
