"""python -m papers."""

import sys

if __name__ == "__main__":
    try:
        from papers.commands import main

        main()
    except KeyboardInterrupt:  # pressed before a command could begin
        print("stopped", file=sys.stderr)
        sys.exit(130)
