"""Calls of the workflow, and what they leave in a folder of results."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SNAKEMAKE = ROOT / os.environ.get("SNAKEMAKE", ".venv/grid/bin/snakemake")


def make_command(folder, targets, *options, profile="smoke", machine="laptop"):
    """What `make grid` runs, with the Python that runs this."""
    command = [str(SNAKEMAKE), *options, "--snakefile", "papers/grid/Snakefile"]
    command += ["--profile", f"papers/grid/profiles/{machine}", "--config", f"profile={profile}"]
    return [*command, f"targets={targets}", f"results={folder}", f"python={sys.executable}"]


def call(folder, targets, *options, environment=None, **more):
    """Run the workflow to its end; what it printed is in stdout."""
    command = make_command(folder, targets, *options, **more)
    environment = os.environ | {"UNBRAID_PROGRESS": "off"} | (environment or {})
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=1800, **streams)


def list_files(folder):
    """All files of a folder of results, without the workflow's own, logs and locks."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    kept = [path for path in files if path.suffix != ".lock"]
    return [
        path for path in kept if path.relative_to(folder).parts[0] not in (".snakemake", "logs")
    ]


def read_results(folder):
    """Everything in a folder of results that two trainings must have in common, by file.

    Of curves all columns but seconds, of records what seconds do not change, of others a digest.
    """
    results = {}
    for path in list_files(folder):
        name = str(path.relative_to(folder))
        if name.endswith(".training.csv"):
            rows = list(csv.DictReader(path.read_text().splitlines()))
            results[name] = [{key: row[key] for key in row if key != "seconds"} for row in rows]
        elif name.endswith(".run.json"):
            record = json.loads(path.read_text())
            results[name] = [record[key] for key in ("settings", "steps", "weights_sha256")]
        else:
            results[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return results
