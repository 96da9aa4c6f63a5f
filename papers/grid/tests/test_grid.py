"""`make grid`: the jobs on each machine, and a real tiny run that is killed and goes on."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from papers.datasets import find_absent
from papers.settings import list_experiments, load

ROOT = Path(__file__).resolve().parents[3]
SNAKEMAKE = ROOT / os.environ.get("SNAKEMAKE", ".venv/grid/bin/snakemake")
TARGET, RUNS = "unordered/grey_digits", "unordered/grey_digits/smoke"
pytestmark = [pytest.mark.grid, pytest.mark.timeout(1800)]


def make_command(folder, targets, *options, machine="laptop"):
    """What `make grid` runs at smoke, with the Python that runs this."""
    command = [str(SNAKEMAKE), *options, "--snakefile", "papers/grid/Snakefile"]
    command += ["--profile", f"papers/grid/profiles/{machine}", "--config", "profile=smoke"]
    return [*command, f"targets={targets}", f"results={folder}", f"python={sys.executable}"]


def call(*arguments, **named):
    """Run the workflow to its end; what it printed is in stdout."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = os.environ | {"UNBRAID_PROGRESS": "off"}
    return subprocess.run(make_command(*arguments, **named), cwd=ROOT, env=environment, **streams)


def list_runs():
    """The runs that papers can train here at smoke, a seed each, and their datasets."""
    runs, datasets = 0, set()
    for section, part, dataset, _ in list_experiments():
        settings = load(section, "smoke")
        if settings.steps and settings.seeds and not find_absent([settings.dataset]):
            runs += settings.seeds
            datasets.add((part, dataset))
    return runs, len(datasets)


@pytest.mark.parametrize("machine", ["laptop", "gpus", "slurm"])
def test_the_grid_of_a_machine_has_all_runs_as_jobs(machine, tmp_path):
    options = ["--dry-run", "--printshellcmds"]
    result = call(tmp_path, "all", *options, machine=machine)
    assert result.returncode == 0, result.stdout
    jobs = {
        rule: int(number) for rule, number in re.findall(r"^(\w+) +(\d+)$", result.stdout, re.M)
    }
    assert (jobs["train"], jobs["evaluate"]) == list_runs()
    assert ("on_gpu.py" in result.stdout) == (machine == "gpus")  # SLURM gives them out itself
    trainings = [line for line in result.stdout.splitlines() if " papers train " in line]
    on_gpu = [line for line in trainings if "--accelerator auto" in line]
    assert len(on_gpu) == (0 if machine == "laptop" else len(trainings))
    assert not [path for path in tmp_path.rglob("*.json") if ".snakemake" not in path.parts]


def test_a_wrong_target_is_refused_in_a_sentence(tmp_path):
    result = call(tmp_path, "nobody")
    assert result.returncode == 1 and "Traceback" not in result.stdout
    assert "error: TARGET: expected one of all, readme, " in result.stdout


def read_weights(folder):
    """The digest of each run's weights, and the figures of all."""
    records = sorted((folder / RUNS).glob("*.run.json"))
    digests = {path.name: json.loads(path.read_text())["weights_sha256"] for path in records}
    return digests, json.loads((folder / RUNS / "metrics.json").read_text())


def test_a_workflow_that_is_killed_goes_on_to_the_same_weights_and_figures(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert call(whole, TARGET).returncode == 0
    command, streams = make_command(killed, TARGET), {"stdout": subprocess.DEVNULL}
    workflow = subprocess.Popen(command, cwd=ROOT, process_group=0, stderr=-3, **streams)
    logs = killed / "logs" / RUNS
    while "\n  step " not in "".join(path.read_text() for path in logs.glob("*-seed0.log")):
        assert workflow.poll() is None, "it ended before it was killed"
        time.sleep(0.005)
    os.killpg(workflow.pid, signal.SIGKILL)
    assert workflow.wait() == -signal.SIGKILL
    again = call(killed, TARGET)
    assert again.returncode == 0, again.stdout
    assert read_weights(killed) == read_weights(whole)
    assert "Nothing to be done" in call(killed, TARGET).stdout
