"""Trainings in two processes, as a script, for test_processes.py.

python tests/processes.py FOLDER CASE ...    trains cases; every process writes what came out
python tests/processes.py FOLDER two-one-two kills one of two processes; one goes on, and then two
python tests/processes.py FOLDER kills       kills one of two processes at ten points, and goes on

All from the clone's folder, with PYTHONPATH=. before them.

The processes are those that torchrun has started, or as many as PROCESSES in the environment says.
With RESULTS in the environment a command of papers comes last, which writes into this folder.
"""

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import lightning_fabric
import torch
from helpers import MODELS, example_frames, hide, small
from unbraid import store
from unbraid.models.base import Batch
from unbraid.training import TrainingError, fit, start_processes

from papers import commands

UPDATES = int(os.environ.get("UPDATES", "20"))
TERMS = ("elbo_per_frame", "log_likelihood_per_frame", "kl_per_frame")
NORMALISED = {"normalise": True}
ONCE = {"steps": 1, "gradient_norm": None}
CASES = {  # by name: a model of helpers.MODELS, what differs of its sizes, and what fit is told
    "A": ("independent", {}, {}),
    "B": ("unordered", {}, {}),
    "C": ("element, plain networks", {}, {}),
    "A normalised": ("independent", NORMALISED, {}),
    "B normalised": ("unordered", NORMALISED, {}),
    "C normalised": ("element", NORMALISED, {}),
    "series": ("released series", {}, {}),
    "A once": ("independent", NORMALISED, ONCE),
    "A once, apart": ("independent", NORMALISED, ONCE | {"synchronise": False}),
}
KILLED = "C normalised"
NOBODY = "-1 draw 0"
COMMAND = (
    "train single_element --dataset weather --profile smoke --seed 0 --accelerator cpu --devices 2"
)
KILLS = (  # the process, what it has just done, and how often
    *((1, "draw", 1), (0, "draw", 1), (1, "draw", 17), (0, "draw", 23), (1, "backward", 8)),
    *((0, "backward", 31), (0, "fsync", 2), (0, "replace", 3), (1, "barrier", 1), (0, "draw", 50)),
)


def make(case):
    """A new model, what it draws its batches with, and the arguments of fit."""
    name, sizes, options = CASES[case]
    kind, own = MODELS[name]
    torch.manual_seed(0)
    model = kind(**own | sizes).double()
    batch = Batch.of(example_frames(small(name, **sizes), 20))
    if "series" in name:
        batch = hide(batch.frames)

    def draw(count, generator):
        rows = torch.randint(len(batch.frames), (count,), generator=generator)
        return Batch(batch.frames[rows], None if batch.mask is None else batch.mask[rows])

    # Seven sequences are no equal shares of two processes.
    arguments = {"steps": UPDATES, "batch_size": 7, "every": 5, "seed": 3, "accelerator": "cpu"}
    return model, draw, arguments | {"precision": "64-true", "gradient_norm": 50.0} | options


def train(case, draw_with=None, **changes):
    """Weights, curve (rows, terms) and last gradient; draw_with changes what is drawn with."""
    model, draw, arguments = make(case)
    rows = fit(model, draw_with(draw) if draw_with else draw, **arguments | changes)
    curve = [[row[name] for name in TERMS] for row in rows]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    # A run that was finished before has no gradient.
    gradients = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    gradient = torch.cat([torch.zeros(0), *gradients])
    return weights | {"curve": torch.tensor(curve, dtype=torch.float64), "gradient": gradient}


def stop_at(update):
    """The same draw, which ends with Ctrl-C in every process."""
    drawn = 0

    def changed(draw):
        def wrapped(count, generator):
            nonlocal drawn
            drawn += 1
            if drawn > update:
                raise KeyboardInterrupt
            return draw(count, generator)

        return wrapped

    return changed


def die_after(module, name, times):
    """Replace a function by one that kills its process after so many calls."""
    function, called = getattr(module, name), 0

    def wrapped(*arguments, **more):
        nonlocal called
        value = function(*arguments, **more)
        called += 1
        if called == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    setattr(module, name, wrapped)


def train_until_killed(folder, case, processes):
    """Train a case with a checkpoint; KILL in the environment says which process dies where."""
    process, where, times = os.environ.get("KILL", NOBODY).split()
    if start_processes("cpu", processes).global_rank == int(process):
        if where in ("backward", "barrier"):
            die_after(lightning_fabric.Fabric, where, int(times))
        elif where != "draw":
            die_after(os, where, int(times))
        else:
            die_after(sys.modules[__name__], "note_draw", int(times))

    def noted(draw):
        return lambda *arguments: note_draw(draw(*arguments))

    return train(case, noted, devices=processes, checkpoint=folder / f"{case}.checkpoint")


def note_draw(batch):
    """The same batch; `die_after` counts the calls."""
    return batch


def train_in_two(folder, kill):
    """Fork two processes, as torchrun would start them; their exit statuses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    count = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "KILL": kill}
    children = []
    for rank in ("0", "1"):
        child = os.fork()
        if not child:
            os.environ.update(place | count | {"RANK": rank, "LOCAL_RANK": rank})
            status = 1
            try:
                result = train_until_killed(folder, KILLED, 1)
                store.save_tensors(folder / f"killed-{rank}", result)
                status = 0
            except TrainingError as error:
                print(f"process {rank}: {error}", flush=True)
            finally:
                os._exit(status)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def train_two_one_two(folder):
    """Kill one of two processes at update 7, go on with one to 12, and to the end with two."""
    checkpoint = folder / f"{KILLED}.checkpoint"
    print(train_in_two(folder, "1 draw 7"), len(store.load_tensors(checkpoint)["rows"]))
    child = os.fork()
    if not child:
        with contextlib.suppress(KeyboardInterrupt):
            train(KILLED, stop_at(7), checkpoint=checkpoint)
        os._exit(0)
    os.waitpid(child, 0)
    print(len(store.load_tensors(checkpoint)["rows"]))
    print(train_in_two(folder, NOBODY))


def run(folder, *cases, **environment):
    """Run this script in two processes; what it printed, and its exit status."""
    command = [sys.executable, __file__, str(folder), *cases]
    if "PROCESSES" not in environment:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        command[1:1] = launch
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def kill_everywhere(folder):
    """Kill one process at each of KILLS, by turns under torchrun and without; then go on."""
    os.environ["UPDATES"] = "50"
    run(folder, KILLED)
    whole = store.load_tensors(folder / f"{KILLED}-0")  # of two processes
    del whole["gradient"]
    for number, (process, where, times) in enumerate(KILLS):
        place = folder / str(number)
        place.mkdir()
        launch = {"PROCESSES": "2"} if number % 2 else {}
        killed = run(place, "killed", KILL=f"{process} {where} {times}", **launch)
        again = run(place, "killed", **launch)
        last = store.load_tensors(place / "killed-0")
        difference = max(float((last[name] - whole[name]).abs().max()) for name in whole)
        said = [line for line in killed.stderr.splitlines() if "TrainingError: " in line]
        print(
            f"process {process} after {where} {times}: status {killed.returncode}, "
            f"{len(said)} messages, then {again.returncode}, differs by {difference}, "
            f"left {sorted(path.name for path in place.iterdir())}",
            flush=True,
        )


def main():
    folder, cases = Path(sys.argv[1]), sys.argv[2:]
    processes = int(os.environ.get("PROCESSES", "1"))
    if cases == ["kills"]:
        kill_everywhere(folder)
        return
    if cases == ["two-one-two"]:
        train_two_one_two(folder)
        return
    # What is registered first comes last.
    atexit.register(lambda: print("in a group:", torch.distributed.is_initialized(), flush=True))
    rank = start_processes("cpu", processes).global_rank
    for case in cases:
        if case == "killed":
            result = train_until_killed(folder, KILLED, processes)
        else:
            result = train(case, devices=processes)
        store.save_tensors(folder / f"{case}-{rank}", result)
    if "RESULTS" in os.environ:
        sys.argv[1:] = [*COMMAND.split(), "--results", os.environ["RESULTS"]]
        commands.main()


if __name__ == "__main__":
    main()
