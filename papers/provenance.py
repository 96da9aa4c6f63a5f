"""What a record says of how a run was made: commit, settings, device and versions."""

import os
import platform
import subprocess
from importlib.metadata import version

import torch
from unbraid.files import repository_root

from papers.settings import RunSettings


def make_record(command: str, settings: RunSettings, seed: int, rows: list[dict]) -> dict:
    """run.json: the command, commit, settings, device and versions that make a run again."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else describe_cpu()
    record: dict[str, object] = {"command": command, "commit": read_commit()}
    record |= {"profile": settings.profile, "seed": seed, "settings": settings.as_dict()}
    record |= {"device": device, "versions": read_versions()}
    return record | {"steps": rows[-1]["step"], "seconds": round(rows[-1]["seconds"], 1)}


def describe_cpu() -> str:
    """The processor, as a record names it."""
    return f"CPU, {platform.machine()}, {torch.get_num_threads()} threads"


def read_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers."""
    packages = ("unbraid", "torch", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def read_commit() -> str:
    """The commit of the clone, with "+changes" where tracked files differ from it; or "unknown".

    Of files that were copied without their history, the environment's UNBRAID_COMMIT says it.
    """
    command = ["git", "-C", str(repository_root()), "describe", "--always", "--exclude=*"]
    command += ["--abbrev=40", "--dirty=+changes"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        answer = "unknown"
    return os.environ.get("UNBRAID_COMMIT") or answer


def print_row(row: dict) -> None:
    """Print a row of a training curve on one line."""
    print("  " + "  ".join(f"{name} {value:.6g}" for name, value in row.items()), flush=True)
