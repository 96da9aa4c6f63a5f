"""Pairs of commands at once on one run, one source of data, one composed array or one desk.

python tests/fights.py FOLDER            fights 40 pairs
python tests/fights.py FOLDER 0 17 18    fights those of these numbers
python tests/fights.py FOLDER kills      kills a training before each change of a file, 104 times

All from the clone's folder, with PYTHONPATH=. before them.

In every second pair a process is killed. Then one more call must succeed, what lies there must be
what an undisturbed call leaves, to the bit, and who did not succeed must have said why in one
sentence with a remedy that helps. Without the locks eleven of the 40 pairs fail.
"""

import contextlib
import functools
import hashlib
import itertools
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path

import nbformat
import numpy as np
from unbraid import __main__ as library
from unbraid import store
from unbraid.data import fetch

from papers import commands
from tools import __main__ as tools
from tools import desk, files

PAIRS = 40
# The processes are forked from this one, so that they begin at once.
IMPORTED = [import_module(name) for name in ("lightning_fabric", "papers.runs")]
PAUSE = 0.02  # seconds between a file that is written and its place, where others can come between
NEVER = "(?!)"
CONTENT = {f"{number}.bin": bytes([number]) * 3000 for number in range(6)}
TRAIN = "train single_element --dataset weather --profile smoke --seed 0 --accelerator cpu"
BUSY = r"error: single_element-seed0: expected to train it alone, .*; wait for it, or name another"
OTHER = (
    r"error: .*run\.json: expected no finished run of other settings, .*; --again replaces it|"
    r"error: .*checkpoint: expected a checkpoint of this run, found one with steps .*; delete it"
)
TEXTS = ("# A title", "x = 1", "Some words.", "answer = ...")
NEWER = ("# A better title", "x = 1", "Some words.", "answer = ...  # a number", "# The end")


@dataclass(frozen=True)
class Kind:
    """What is fought about.

    prepare(folder): what lies there before. first, second: the commands, functions of the folder.
    describe(folder): all that lies there after, by name, without dates and seconds. busy: what a
    process says that gives way to another. refusal: what it says after another has ended.
    """

    prepare: Callable
    first: Callable
    second: Callable
    describe: Callable
    busy: str = NEVER
    refusal: str = NEVER


def nothing(folder):
    """What lies there before a command that makes all."""


# ---- one run


def train(folder, *more):
    sys.argv = ["papers", *TRAIN.split(), "--results", str(folder), *more]
    commands.main()


def train_longer(folder):
    train(folder, "--steps", "9")


def describe_run(folder):
    """The digest of weights, the curve without seconds, and what of the record has no date."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found[path.name] = ""
        if path.suffix == ".safetensors":
            found[path.name] = store.digest(path)
        elif path.suffix == ".csv":
            rows = store.read_csv(path)
            found[path.name] = [{**row, "seconds": 0} for row in rows]
        elif path.name.endswith(".run.json"):
            record = store.read_json(path)
            found[path.name] = [record[name] for name in ("steps", "weights_sha256", "settings")]
    return found


# ---- one source, one array


def publish(folder):
    """Serve the files of a folder slowly; the address."""

    class Slow(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def copyfile(self, source, outputfile):
            for part in iter(lambda: source.read(500), b""):
                time.sleep(0.01)
                outputfile.write(part)

    handler = functools.partial(Slow, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # A process that is killed hangs up.
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}/"


def prepare_source(folder):
    """An empty clone, and a publisher's files, packed and one by one."""
    (folder / "clone").mkdir()
    (folder / "published").mkdir()
    with zipfile.ZipFile(folder / "published" / "all.zip", "w") as archive:
        for name, content in CONTENT.items():
            (folder / "published" / name).write_bytes(content)
            archive.writestr(name, content)


def fetch_from(folder, archive=""):
    os.environ["UNBRAID_HOME"] = str(folder / "clone")
    os.environ["UNBRAID_CACHE"] = str(folder / "cache")
    os.environ.pop("UNBRAID_MIRROR", None)
    listed = {}
    for name, content in CONTENT.items():
        listed[name] = fetch.SourceFile(hashlib.sha256(content).hexdigest(), len(content))
    server, address = publish(folder / "published")
    archive = archive and address + archive
    fetch.SOURCES["thing"] = fetch.Source(
        "thing", "made", "none", urls=[address], archive=archive, files=listed
    )
    sys.argv = ["unbraid", "data", "fetch", "thing"]
    try:
        library.main()
    finally:
        server.shutdown()


def compose(folder):
    os.environ["UNBRAID_CACHE"] = str(folder / "cache")
    array = fetch.cached_array("made", "fights", (20, 3, 4), draw_slowly)
    assert array[:, 0, 0].tolist() == [*range(20)]


def draw_slowly():
    for number in range(20):
        time.sleep(0.01)
        yield np.full((3, 4), number, np.uint8)


def describe_cache(folder):
    paths = (path for path in folder.glob("cache/**/*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}


# ---- one desk


def write_book(path, texts, answer=None):
    cells = []
    for text in texts:
        is_code = "=" in text
        make = nbformat.v4.new_code_cell if is_code else nbformat.v4.new_markdown_cell
        cells.append(make(text))
    book = files.normalise(nbformat.v4.new_notebook(cells=cells))
    if answer:
        book.cells[3].source = answer
    files.write(book, path)


def prepare_desk(folder):
    """A desk with a reader's answers, of a course that has changed since and has a new notebook."""
    os.environ["JUPYTER_DATA_DIR"] = str(folder / "jupyter")
    names = [f"0{number}_lesson.ipynb" for number in range(4)]
    for name in names:
        write_book(folder / "notebooks" / name, TEXTS)
    desk.lay_out(folder)
    for name in names:
        write_book(folder / "mine" / name, TEXTS, answer=f"answer = {name[1]}")
        write_book(folder / "notebooks" / name, NEWER)
    write_book(folder / "notebooks" / "09_new.ipynb", TEXTS)


def call_desk(folder, command):
    """`make update`, or what `make lab` begins with."""
    os.environ["JUPYTER_DATA_DIR"] = str(folder / "jupyter")
    files.ROOT = folder
    sys.exit(tools.main([command]))


def describe_desk(folder):
    """The sources of all cells; the answers that lie in no backup are named."""
    found, kept = {}, set()
    for path in sorted(path for path in (folder / "mine").rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        cells = nbformat.read(path, 4).cells if path.suffix == ".ipynb" else []
        sources = [cell.source for cell in cells]
        if desk.BACKUPS not in name:
            found[name] = sources
        elif sources[:3] == [*TEXTS[:3]]:
            kept |= {*sources[3:]}
    return found | {"kept": sorted(kept)}


UPDATE = functools.partial(call_desk, command="update")
LAY_OUT = functools.partial(call_desk, command="desk")
KINDS = {
    "one run": Kind(nothing, train, train, describe_run, BUSY),
    "one run, two lengths": Kind(nothing, train, train_longer, describe_run, BUSY, OTHER),
    "files": Kind(prepare_source, fetch_from, fetch_from, describe_cache),
    "an archive": Kind(
        prepare_source, *2 * [functools.partial(fetch_from, archive="all.zip")], describe_cache
    ),
    "an array": Kind(nothing, compose, compose, describe_cache),
    "two updates": Kind(prepare_desk, UPDATE, UPDATE, describe_desk),
    "update and desk": Kind(prepare_desk, UPDATE, LAY_OUT, describe_desk),
    "desk and update": Kind(prepare_desk, LAY_OUT, UPDATE, describe_desk),
}


# ---- the fight


def start(command, folder, log):
    """Fork a process that waits for nobody; its number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status, replace = 1, os.replace
    os.replace = lambda *paths: (time.sleep(PAUSE), replace(*paths))
    with log.open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        sys.stdout = sys.stderr = output
        try:
            command(folder)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException as error:  # Its name is what the fight looks for.
            print(f"Traceback: {type(error).__name__}: {error}")
        finally:
            output.flush()
            os._exit(status)


def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def call(command, folder, log):
    """A call that nobody disturbs: its status and what it printed."""
    status = wait(start(command, folder, log))
    return status, log.read_text()


@functools.cache
def undisturbed(name, folder):
    """What each command of a kind leaves alone, and the seconds that the first takes."""
    kind, left, seconds = KINDS[name], [], []
    for number, command in enumerate(dict.fromkeys((kind.first, kind.second))):
        place = folder / f"{name} alone {number}"
        place.mkdir()
        assert call(kind.prepare, place, folder / "log") == (0, "")
        started = time.monotonic()
        for each in dict.fromkeys((command, kind.second, kind.first)):
            status, said = call(each, place, folder / "log")
            seconds.append(time.monotonic() - started)
            assert status == 0 or re.search(kind.refusal, said), said
        left.append(kind.describe(place))
        shutil.rmtree(place)
    return left, seconds[0]


def fight(name, folder, seed):
    """One pair; the faults, each in a line."""
    kind, random = KINDS[name], np.random.default_rng(seed)
    allowed, seconds = undisturbed(name, folder)
    place = folder / f"{name} {seed}"
    place.mkdir()
    assert call(kind.prepare, place, folder / "log") == (0, "")
    logs = [folder / f"{name} {seed} {number}.log" for number in (0, 1)]
    children = [start(kind.first, place, logs[0])]
    time.sleep(random.uniform(0, 0.5 * seconds))
    children.append(start(kind.second, place, logs[1]))
    killed = None
    if seed % 2:
        killed = int(random.integers(2))
        time.sleep(random.uniform(0, seconds))
        with contextlib.suppress(ProcessLookupError):
            os.kill(children[killed], signal.SIGKILL)
    faults = []
    for number, child in enumerate(children):
        status, said = wait(child), logs[number].read_text()
        if status and number != killed and not re.search(f"{kind.busy}|{kind.refusal}", said):
            faults.append(f"process {number} ended with {status}: {said}")
        logs[number].unlink()
    return faults + finish(kind, place, folder, allowed)


def finish(kind, place, folder, allowed):
    """Call both commands once more, and compare what they leave; the faults."""
    faults = []
    for command in dict.fromkeys((kind.first, kind.second)):
        status, said = call(command, place, folder / "log")
        if status and not re.search(kind.refusal, said):
            faults.append(f"the last call ended with {status}: {said}")
    if kind.describe(place) not in allowed:
        faults.append(f"left {kind.describe(place)}, allowed {allowed}")
    shutil.rmtree(place)
    return faults


# ---- one process, killed everywhere


def kill_before(change, command, folder):
    """Run a command, and kill its process before that one of its changes of a file."""
    changes = 0

    def counted(function):
        def wrapped(*arguments, **more):
            nonlocal changes
            changes += 1
            if changes == change:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **more)

        return wrapped

    for name in ("replace", "unlink", "fsync", "chmod"):
        setattr(os, name, counted(getattr(os, name)))
    tempfile.mkstemp = counted(tempfile.mkstemp)
    command(folder)


def kill_everywhere(folder):
    """Kill trainings of two lengths before each change of a file; how many have faults."""
    name, points, failed = "one run, two lengths", 0, 0
    kind, (allowed, _) = KINDS[name], undisturbed(name, folder)
    for command in (kind.first, kind.second):
        for change in itertools.count(1):
            place = folder / f"{command.__name__} {change}"
            place.mkdir()
            killing = functools.partial(kill_before, change, command)
            status, _ = call(killing, place, folder / "log")
            faults = finish(kind, place, folder, allowed)
            points += 1
            failed += bool(faults)
            print(f"{place.name}: {'; '.join(faults) or 'as undisturbed'}", flush=True)
            if not status:  # It has fewer changes.
                break
    print(f"{points} points, {failed} with faults")
    return failed


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if sys.argv[2:] == ["kills"]:
        sys.exit(bool(kill_everywhere(folder)))
    names = list(KINDS)
    seeds = [*map(int, sys.argv[2:])] or range(PAIRS)
    failed = 0
    for seed in seeds:
        # Each kind has as many pairs with a killed process as without.
        name = names[seed // 2 % len(names)]
        faults = fight(name, folder, seed)
        failed += bool(faults)
        verdict = "; ".join(faults) or "as undisturbed"
        print(f"{seed:2} {name}{', one killed' * (seed % 2)}: {verdict}", flush=True)
    (folder / "log").unlink()
    print(f"{len(seeds)} pairs, {failed} with faults")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
