"""Sets of many files: several at once, one bar, what came stays; and whoever dies on the way leaves nothing half done."""

import os
import random
import subprocess
import sys
import time

import pytest
from publisher import house, left_behind, mirror, offer, publisher, source_file  # noqa: F401  (fixtures)
from unbraid.data import downloads, sources
from unbraid.data.sources import DataError, fetch, find, verify

CHANCE = random.Random(0)
CONTENTS = {
    f"{number % 7}/{number}.bin": CHANCE.randbytes(CHANCE.randint(1, 9_000))
    for number in range(300)
}
FILES = tuple(source_file(name, content) for name, content in CONTENTS.items())
SIZE = sum(map(len, CONTENTS.values()))


def right(paths) -> bool:
    return {name: path.read_bytes() for name, path in paths.items()} == CONTENTS


def test_several_at_once(offer, publisher, house):
    publisher.files |= CONTENTS
    offer("slowly", files=FILES)
    assert right(fetch("thing")) and len(publisher.asked) == 300
    assert (
        2 <= publisher.busiest <= 2 * downloads.WORKERS
    )  # a publisher notices a little late that it is done
    assert left_behind(house) == sorted(f"thing/{name}" for name in CONTENTS)
    assert right(fetch("thing")) and len(publisher.asked) == 300  # nothing is asked for twice


class Bar:
    """What is asked of a progress bar."""

    all = ()

    def __init__(self, **told):
        Bar.all = (*Bar.all, self)
        self.told, self.count, self.total, self.closed = told, 0, None, False

    def reset(self, total):
        self.count, self.total = 0, total

    def update(self, count):
        self.count += count

    def close(self):
        self.closed = True


@pytest.mark.parametrize(
    "manners", [("good",), ("cutonce", "good"), ("wrong", "good"), ()], ids="-".join
)
def test_one_bar_counts_every_byte_once(offer, publisher, mirror, monkeypatch, manners):
    monkeypatch.setattr(Bar, "all", ())
    monkeypatch.setattr(downloads, "tqdm", Bar)
    publisher.files |= CONTENTS
    offer(*manners, files=FILES)
    if not manners:
        mirror(CONTENTS)
    assert right(fetch("thing"))
    (bar,) = Bar.all
    assert (bar.told["desc"], bar.told["unit"], bar.told["disable"]) == ("thing", "B", None)
    assert bar.count == bar.total == SIZE and bar.closed


def test_a_bar_is_drawn_on_a_terminal_only(offer, publisher, monkeypatch):
    monkeypatch.setattr(Bar, "all", ())
    monkeypatch.setattr(downloads, "tqdm", Bar)
    offer("good")
    fetch("thing", progress=False)
    assert Bar.all[0].told["disable"] is True


def test_one_failing_file_stops_all_and_what_came_stays(offer, publisher):
    publisher.files |= CONTENTS
    missing = list(CONTENTS)[200]
    del publisher.files[missing]
    offer("good", files=FILES)
    with pytest.raises(DataError, match=f"{missing}: not downloaded"):
        fetch("thing")
    asked, here = len(publisher.asked), find("thing", partial=True)
    assert 190 <= len(here) <= asked < 300 and find("thing") is None
    assert all(path.read_bytes() == CONTENTS[name] for name, path in here.items())
    publisher.files |= CONTENTS
    assert right(fetch("thing")) and len(publisher.asked) == asked + 300 - len(here)


def test_ctrl_c(offer, publisher, house, monkeypatch):
    """Ctrl-C while it waits for its workers: they stop, what came stays, nothing else is left."""
    publisher.files |= CONTENTS
    offer("slowly", files=FILES)

    def interrupted(workers):
        time.sleep(0.3)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(downloads, "as_completed", interrupted)
        fetch("thing")
    here = find("thing", partial=True)
    assert 0 < len(here) < 300 and left_behind(house) == sorted(f"thing/{name}" for name in here)
    assert right(fetch("thing"))


def test_a_mirror_that_has_a_part(offer, publisher, mirror):
    mirror(dict(list(CONTENTS.items())[:100]))
    publisher.files |= CONTENTS
    offer("good", files=FILES)
    assert len(find("thing", partial=True)) == 100 and find("thing") is None
    assert right(fetch("thing")) and len(publisher.asked) == 200


# --- processes -------------------------------------------------------------------------------------------------------

CHILD = """
import sys
from unbraid.data import sources
files = tuple(sources.SourceFile(name, digest, int(size)) for name, digest, size in (word.split("=") for word in sys.argv[2:]))
sources.SOURCES["thing"] = sources.Source("thing", files, "none", "made", (sys.argv[1],))
print("ready", flush=True)
sys.stdin.readline()
print(len(sources.fetch("thing")), flush=True)
"""


def child(address, **environment):
    command = [
        sys.executable,
        "-c",
        CHILD,
        address,
        *(f"{file.name}={file.sha256}={file.bytes}" for file in FILES),
    ]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def begin(process):
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_at_once(offer, publisher, house):
    publisher.files |= CONTENTS
    address = f"{publisher.address}/slowly/"
    children = [child(address) for _ in range(2)]
    for process in children:
        begin(process)
    for process in children:
        assert process.communicate(timeout=60)[0] == "300\n" and process.returncode == 0
    assert len(publisher.asked) > 300, "they did not overlap"
    offer("absent", files=FILES)
    assert right(fetch("thing")) and left_behind(house) == sorted(
        f"thing/{name}" for name in CONTENTS
    )


@pytest.mark.parametrize("way", ["mirror", "download"])
def test_killed_while_fetching(offer, publisher, house, mirror, monkeypatch, way):
    """SIGKILL at ten random points each: no file is half there, and the next call completes what is missing.

    A point is a number of files that are there, and some milliseconds more, so that a busy machine does not move it.
    """
    publisher.files |= CONTENTS
    offer("good", files=FILES)
    source = mirror(CONTENTS).parent
    monkeypatch.delenv("UNBRAID_MIRROR")
    chance, parts = random.Random(way), []
    options = {"UNBRAID_MIRROR": str(source)} if way == "mirror" else {}
    for number in range(10):
        cache = house / "caches" / str(number)
        monkeypatch.setenv("UNBRAID_CACHE", str(cache))
        process, point = child(f"{publisher.address}/good/", **options), chance.randrange(250)
        begin(process)
        while (
            process.poll() is None
            and sum(len(placed) for _, _, placed in os.walk(cache / "thing")) < point
        ):
            pass
        time.sleep(chance.uniform(0, 0.005))
        process.kill()
        process.communicate(timeout=10)
        names = [path.relative_to(cache / "thing").as_posix() for path in cache.rglob("*.bin")]
        assert all((cache / "thing" / name).read_bytes() == CONTENTS[name] for name in names)
        parts.append(len(names))
        publisher.asked.clear()
        assert (
            right(fetch("thing"))
            and 0 <= len(publisher.asked) + len(names) - 300 <= downloads.WORKERS
        )  # some by the dead
        assert {state for _, state, _ in verify("thing")} == {"ok"}
    assert sum(0 < part < 300 for part in parts) >= 5, f"hardly one was killed on the way: {parts}"


@pytest.mark.parametrize("name", [name for name, row in sources.SOURCES.items() if row.archive])
def test_what_comes_in_an_archive_has_names_of_its_own(name):
    names = [file.name.rsplit("/")[-1] for file in sources.SOURCES[name].files]
    assert len(names) == len(set(names))
