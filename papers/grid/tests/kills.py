"""Kill a workflow, or one of its jobs, at many points; the next call must finish.

python papers/grid/tests/kills.py FOLDER        all points of KILLS, each in a folder of its own
python papers/grid/tests/kills.py FOLDER 0 4 8  these points

A line for each says whether weights, curves and metrics are those of an undisturbed workflow, and
whether anything else was left.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from calls import ROOT, call, make_command, read_results

TARGETS = "unordered/grey_digits single_element/weather single_element/vowels"
KILLS = (  # whom, and at how many rows of curves, or files whose names end like this
    ("everything", "row", 1),
    ("workflow", "row", 3),
    ("everything", "row", 9),
    ("workflow", ".training.csv", 1),
    ("everything", ".safetensors", 2),
    ("workflow", ".run.json", 3),
    ("everything", "evaluation.log", 1),
    ("workflow", "metrics.json", 1),
    ("training", "row", 2),
    ("training", "row", 15),
    ("evaluation", "evaluation.log", 2),
)


def count(folder, what):
    """How many rows of curves the logs have, or how many files there are."""
    if what != "row":
        return len(list(folder.glob(f"**/*{what}")))
    logs = folder.glob("logs/**/*.log")
    return sum(path.read_text().count("\n  step ") for path in logs)


def find_processes(folder, command):
    """The ids of jobs that train or evaluate into this folder."""
    listed = subprocess.run(["ps", "-axwwo", "pid=,args="], capture_output=True, text=True)
    found = []
    for line in listed.stdout.splitlines():
        number, _, arguments = line.strip().partition(" ")
        if (
            arguments.startswith(f"{sys.executable} -m papers {command}")
            and str(folder) in arguments
        ):
            found.append(int(number))
    return found


def kill(whom, folder, workflow):
    """SIGKILL to a workflow with its jobs, to it alone, or to one of its jobs."""
    if whom == "everything":
        os.killpg(workflow.pid, signal.SIGKILL)
    elif whom == "workflow":
        workflow.kill()
    else:
        command = {"training": "train", "evaluation": "evaluate"}[whom]
        found = []
        while not found and workflow.poll() is None:  # Between two jobs there is none.
            found = find_processes(folder, command)
        for number in found[-1:]:  # the youngest, which has most to do
            os.kill(number, signal.SIGKILL)


def disturb(folder, whom, what, number, targets=TARGETS):
    """Start a workflow, kill it or a job of it at this point, and call it again.

    Returns the exit status of the disturbed call, and the second call.
    """
    command = make_command(folder, targets)
    with (folder / "disturbed.log").open("w") as log:
        streams = {"stdout": log, "stderr": subprocess.STDOUT, "process_group": 0}
        workflow = subprocess.Popen(command, cwd=ROOT, **streams)
    while count(folder, what) < number and workflow.poll() is None:
        time.sleep(0.005)
    kill(whom, folder, workflow)
    status = workflow.wait()
    again = call(folder, targets)
    (folder / "disturbed.log").unlink()
    return status, again


def compare(folder, undisturbed):
    """The names of files that differ from those of an undisturbed workflow, or are not there."""
    results = read_results(folder)
    names = sorted(results.keys() | undisturbed.keys())
    return [name for name in names if results.get(name) != undisturbed.get(name)]


def main():
    folder, chosen = Path(sys.argv[1]).resolve(), [int(word) for word in sys.argv[2:]]
    whole = call(folder / "undisturbed", TARGETS)
    undisturbed = read_results(folder / "undisturbed")
    print(f"undisturbed: status {whole.returncode}, {len(undisturbed)} files", flush=True)
    for point in chosen or range(len(KILLS)):
        place = folder / str(point)
        place.mkdir(parents=True)
        begin = time.perf_counter()
        status, again = disturb(place, *KILLS[point])
        whom, what, number = KILLS[point]
        print(
            f"{point}: {whom} killed at {what} {number}: status {status}, then "
            f"{again.returncode}, differing {compare(place, undisturbed)}, "
            f"{time.perf_counter() - begin:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
