"""Where a record or a page comes from: command, versions, machine, date, digests of the inputs."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from unbraid import __version__
from unbraid.records import digest

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pandas")


def provenance(
    inputs: Iterable[Path] = (), words: Sequence[str] = (), device: str = "cpu"
) -> dict[str, object]:
    """What a reader in a year needs to know; as JSON holds it, with the SHA-256 of input files.

    words: of the command, after `python -m unbraid_extras`; none in a program.
    """
    threads = os.cpu_count()
    if torch := sys.modules.get("torch"):  # It is not imported for a number.
        threads = torch.get_num_threads()
    return {
        "command": shlex.join(["python", "-m", "unbraid_extras", *words]) if words else "",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"unbraid": __version__, "python": platform.python_version()}
        | {n: version(n) for n in PACKAGES},
        "device": device,
        "threads": threads,
        "sha256": {path.name: digest(path) for path in inputs if path.is_file()},
    }
