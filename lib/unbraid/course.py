"""The name that the commands on notebooks had; `python -m unbraid.course` names their new one."""

import sys

if __name__ == "__main__":
    command = " ".join(["python -m tools", *sys.argv[1:]])
    print(f"python -m unbraid.course has moved; run in the clone: {command}", file=sys.stderr)
    sys.exit(2)
