"""The real files: what is found, what is fetched, and that a bad file, address or disk ends in one clear DataError."""

import errno
import gzip
import hashlib
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from unbraid.data import sources
from unbraid.data.sources import DataError, Source, SourceFile, fetch, find, read_idx, repository_root, verify

CONTENT = bytes(random.Random(0).randbytes(50_000))
FILE = SourceFile("thing.bin", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
MIRROR = os.environ.get("UNBRAID_MIRROR")
needs_mirror = pytest.mark.skipif(not MIRROR, reason="UNBRAID_MIRROR is not set: the real MNIST files are not at hand")


@pytest.fixture(autouse=True)
def empty_house(monkeypatch, tmp_path):
    """A cache of its own, no mirror, no proxy, short waits."""
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNBRAID_MIRROR", raising=False)
    monkeypatch.delenv("UNBRAID_HOME", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(sources, "TIMEOUT", 0.5)


class Publisher(BaseHTTPRequestHandler):
    """/good/ sends the file; the other folders misbehave, each in its way."""

    def do_GET(self):
        self.server.asked.append(self.path)
        manner = self.path.split("/")[1]
        if manner == "absent":
            return self.send_error(404)
        if manner == "redirect":
            self.send_response(302)
            self.send_header("Location", self.path.replace("redirect", "good"))
            return self.end_headers()
        if manner == "silent":
            time.sleep(1.5)
            return None
        body = {"wrong": CONTENT[:-1] + b"!", "long": CONTENT * 20}.get(manner, CONTENT)
        self.send_response(200)
        if manner != "ended":  # without its length, an early end looks like a regular one
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = manner in ("cut", "ended") or (manner == "cutonce" and len(self.server.asked) == 1)
        pieces = [body[:20_000]] if cut else [body]
        if manner in ("stalls", "drips"):
            pieces = [body[start : start + 4096] for start in range(0, len(body), 4096)]
        try:
            for number, piece in enumerate(pieces):
                self.wfile.write(piece)
                time.sleep({"drips": 0.2, "stalls": 1.5 if number == 1 else 0}.get(manner, 0))
        except OSError:
            pass  # the other side has hung up, as it should

    def log_message(self, *_):
        pass


@pytest.fixture
def publisher():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    server.daemon_threads, server.asked = True, []
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def offer(monkeypatch, publisher):
    """offer("absent", "good"): a dataset `thing` with these addresses."""

    def row(*manners):
        addresses = tuple(f"http://127.0.0.1:{publisher.server_port}/{manner}/" for manner in manners)
        monkeypatch.setitem(sources.SOURCES, "thing", Source("thing", (FILE,), "none", "made for the tests", addresses))

    return row


def nothing_left(tmp_path):
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


# --- downloading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manners", [("good",), ("redirect",), ("absent", "good"), ("wrong", "good"), ("long", "good"),
                                     ("cut", "good"), ("ended", "good"), ("stalls", "good"), ("silent", "good")])  # fmt: skip
def test_the_first_address_with_the_right_bytes_is_taken(offer, tmp_path, manners):
    offer(*manners)
    assert find("thing") is None
    paths = fetch("thing")
    assert paths == {"thing.bin": tmp_path / "cache" / "thing" / "thing.bin"} == find("thing")
    assert paths["thing.bin"].read_bytes() == CONTENT
    assert os.listdir(tmp_path / "cache" / "thing") == ["thing.bin"]


@pytest.mark.parametrize(
    ("manner", "words"),
    [("absent", "404"), ("wrong", "sent other bytes"), ("long", "more than 50000 bytes"), ("cut", "connection"),
     ("ended", "cut after 20000 of 50000 bytes"), ("stalls", "timed out"), ("silent", "timed out")],
)  # fmt: skip
def test_a_failing_publisher_is_named_and_nothing_is_left(offer, publisher, tmp_path, manner, words):
    offer(manner)
    started = time.monotonic()
    with pytest.raises(DataError) as caught:
        fetch("thing")
    message = str(caught.value)
    assert words in message and f"127.0.0.1:{publisher.server_port}/{manner}/thing.bin" in message
    assert FILE.sha256 in message and "UNBRAID_MIRROR" in message
    assert time.monotonic() - started < 5
    assert nothing_left(tmp_path) and find("thing") is None


def test_a_sender_that_only_drips_is_given_up(offer, monkeypatch, tmp_path):
    offer("drips")
    monkeypatch.setattr(sources, "SLOWEST", 100_000)
    started = time.monotonic()
    with pytest.raises(DataError, match="timed out"):
        fetch("thing")
    assert time.monotonic() - started < 2 and nothing_left(tmp_path)


def test_a_cut_connection_is_tried_once_more(offer, publisher):
    offer("cutonce")
    assert fetch("thing")["thing.bin"].read_bytes() == CONTENT
    assert len(publisher.asked) == 2


def test_no_connection_at_all(monkeypatch):
    row = Source("thing", (FILE,), "none", "made", ("http://127.0.0.1:9/",))
    monkeypatch.setitem(sources.SOURCES, "thing", row)
    with pytest.raises(DataError, match="connection not made or cut"):
        fetch("thing")


def test_a_second_call_fetches_nothing(offer, publisher):
    offer("good")
    fetch("thing")
    fetch("thing")
    assert len(publisher.asked) == 1


def test_a_damaged_file_in_the_cache_is_told_of_and_then_replaced(offer, tmp_path):
    offer("good")
    path = fetch("thing")["thing.bin"]
    path.write_bytes(CONTENT[:100])
    with pytest.raises(DataError, match="(?s)thing.bin: damaged.*50000 bytes.*found: 100 bytes.*unbraid data fetch thing"):
        find("thing")
    assert verify("thing") == [("thing.bin", "damaged", path)]
    fetch("thing")
    assert verify("thing") == [("thing.bin", "ok", path)] and path.read_bytes() == CONTENT
    path.unlink()
    assert verify("thing") == [("thing.bin", "missing", None)]


def test_no_bar_is_drawn_where_nobody_watches(offer, capfd):
    offer("good")
    fetch("thing", progress=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("where", ["write", "copy"])
def test_a_full_disk(offer, monkeypatch, tmp_path, where):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    offer("good")
    if where == "write":
        monkeypatch.setattr(sources._Guard, "write", full)
    else:
        mirror_with(tmp_path, monkeypatch, CONTENT)
        monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(DataError, match=r"(?s)thing.bin: the disk is full.*50000 bytes free.*found: \d+ free.*UNBRAID_CACHE"):
        fetch("thing")
    assert nothing_left(tmp_path)


def test_a_cache_that_cannot_be_written(offer, monkeypatch, tmp_path):
    offer("good")
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="(?s)not written.*UNBRAID_CACHE"):
        fetch("thing")


CHILD = """
import hashlib, sys
from unbraid.data import sources
digest, size, address = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sources.SOURCES["thing"] = sources.Source("thing", (sources.SourceFile("thing.bin", digest, size),), "", "", (address,))
print("ready", flush=True)
sys.stdin.readline()
print(hashlib.sha256(sources.fetch("thing")["thing.bin"].read_bytes()).hexdigest())
"""


def child(publisher, manner):
    address = f"http://127.0.0.1:{publisher.server_port}/{manner}/"
    command = [sys.executable, "-c", CHILD, FILE.sha256, str(FILE.bytes), address]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_at_once(publisher, tmp_path):
    children = [child(publisher, "drips") for _ in range(2)]
    for process in children:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in children:
        assert process.communicate(timeout=30)[0].strip() == FILE.sha256 and process.returncode == 0
    assert len(publisher.asked) == 2, "they did not overlap"
    assert os.listdir(tmp_path / "cache" / "thing") == ["thing.bin"]


def test_killed_while_fetching(offer, publisher, tmp_path):
    offer("good")
    for wait in (0.05, 0.3, 0.9):
        process = child(publisher, "drips")
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(wait)
        process.kill()
        process.communicate(timeout=10)
        assert not (tmp_path / "cache" / "thing" / "thing.bin").exists()
    assert len(publisher.asked) >= 1, "all were killed before they began"
    assert fetch("thing")["thing.bin"].read_bytes() == CONTENT
    assert verify("thing")[0][1] == "ok"


# --- where files are looked for --------------------------------------------------------------------------------------


def mirror_with(tmp_path, monkeypatch, content):
    (tmp_path / "mirror" / "thing").mkdir(parents=True, exist_ok=True)
    (tmp_path / "mirror" / "thing" / "thing.bin").write_bytes(content)
    monkeypatch.setenv("UNBRAID_MIRROR", str(tmp_path / "mirror"))
    return tmp_path / "mirror" / "thing" / "thing.bin"


def test_clone_before_cache_before_mirror(offer, publisher, monkeypatch, tmp_path):
    offer("absent")
    original = mirror_with(tmp_path, monkeypatch, CONTENT)
    assert find("thing") == {"thing.bin": original}
    cached = fetch("thing")["thing.bin"]
    assert cached == tmp_path / "cache" / "thing" / "thing.bin" and find("thing") == {"thing.bin": cached}
    home = tmp_path / "home"
    shutil.copytree(tmp_path / "mirror", home / "data")
    monkeypatch.setenv("UNBRAID_HOME", str(home))
    assert find("thing") == {"thing.bin": home / "data" / "thing" / "thing.bin"} == fetch("thing")
    assert publisher.asked == []


def test_a_mirror_without_the_file_falls_back_to_the_addresses(offer, monkeypatch, tmp_path):
    offer("good")
    mirror_with(tmp_path, monkeypatch, CONTENT).unlink()
    assert fetch("thing")["thing.bin"].read_bytes() == CONTENT


def test_a_damaged_mirror_is_told_of(offer, monkeypatch, tmp_path):
    offer("good")
    mirror_with(tmp_path, monkeypatch, CONTENT[:-1] + b"?")
    for look in (find, fetch):
        with pytest.raises(DataError, match="(?s)mirror.thing.thing.bin: damaged.*unset UNBRAID_MIRROR.*data fetch thing"):
            look("thing")
    assert verify("thing")[0][1] == "damaged"


@pytest.mark.parametrize("variable", ["UNBRAID_MIRROR", "UNBRAID_HOME"])
def test_a_folder_named_wrongly(monkeypatch, tmp_path, variable):
    monkeypatch.setenv(variable, str(tmp_path / "nowhere"))
    for look in (find, fetch, verify):
        with pytest.raises(DataError, match=f"(?s){variable}.*does not exist.*nowhere"):
            look("mnist")


def test_an_unknown_dataset():
    for look in (find, fetch, verify):
        with pytest.raises(DataError, match="(?s)expected: one of mnist, mnist-sample.*'mnits'"):
            look("mnits")


def test_a_file_is_hashed_once_in_a_process_and_again_when_it_changed(offer, monkeypatch):
    offer("good")
    path = fetch("thing")["thing.bin"]
    find("thing")
    read, original = [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: read.append(1) or original(*a))
    find("thing")
    assert read == []
    path.write_bytes(bytes(len(CONTENT)))
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="SHA-256"):
        find("thing")


def test_cache_folder(monkeypatch, tmp_path):
    assert sources.cache_directory() == tmp_path / "cache"
    monkeypatch.delenv("UNBRAID_CACHE")
    assert sources.cache_directory() == repository_root() / "data" / "cache"
    monkeypatch.setattr(sources, "__file__", str(tmp_path / "installed" / "sources.py"))
    assert repository_root() is None and sources.cache_directory().name == "unbraid"
    with pytest.raises(DataError, match="(?s)missing.*clone"):
        fetch("mnist-sample")


# --- MNIST -----------------------------------------------------------------------------------------------------------


def digits(paths, split):
    return read_idx(paths[f"{split}-images-idx3-ubyte.gz"]), read_idx(paths[f"{split}-labels-idx1-ubyte.gz"])


def test_the_sample_travels_with_the_clone():
    paths = find("mnist-sample")
    (train, train_labels), (test, test_labels) = digits(paths, "train"), digits(paths, "t10k")
    assert all(path.is_relative_to(repository_root() / "data" / "mnist-sample") for path in paths.values())
    assert train.shape == (4000, 28, 28) and test.shape == (1000, 28, 28) and train.dtype == np.uint8
    assert np.bincount(train_labels).tolist() == [400] * 10 and np.bincount(test_labels).tolist() == [100] * 10
    different = {image.tobytes() for image in np.concatenate([train, test])}
    assert len(different) == 5000, "the same image occurs twice"
    assert train.max() == 255 and 0.1 < (train > 127).mean() < 0.2


def test_the_sample_is_described():
    text = (repository_root() / "data" / "README.md").read_text(encoding="utf-8")
    for dataset in ("mnist", "mnist-sample"):
        for file in sources.SOURCES[dataset].files:
            assert re.search(rf"`{re.escape(file.name)}`[^\n]*{file.bytes}[^\n]*`{file.sha256}`", text), file.name


@needs_mirror
def test_real_mnist_is_fetched_from_the_mirror(monkeypatch, tmp_path):
    monkeypatch.setenv("UNBRAID_MIRROR", MIRROR)
    paths = fetch("mnist")
    assert all(path.is_relative_to(tmp_path / "cache" / "mnist") for path in paths.values())
    assert [state for _, state, _ in verify("mnist")] == ["ok"] * 4
    (train, train_labels), (test, test_labels) = digits(paths, "train"), digits(paths, "t10k")
    assert train.shape == (60_000, 28, 28) and test.shape == (10_000, 28, 28)
    assert np.bincount(train_labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@needs_mirror
def test_where_the_sample_comes_from(monkeypatch):
    """The sample is the first 500 of each class of MNIST's training file, and holds none of its test digits."""
    monkeypatch.setenv("UNBRAID_MIRROR", MIRROR)
    train, labels = digits(find("mnist"), "train")
    test, _ = digits(find("mnist"), "t10k")
    rows = np.stack([np.flatnonzero(labels == digit)[:500] for digit in range(10)], axis=1)  # (500, 10)
    for split, chosen in {"train": rows[:400].ravel(), "t10k": rows[400:].ravel()}.items():
        images, marks = digits(find("mnist-sample"), split)
        assert (images == train[chosen]).all() and (marks == labels[chosen]).all()
        assert not {image.tobytes() for image in images} & {image.tobytes() for image in test}


@needs_mirror
@pytest.mark.parametrize(("damage", "found"), [("truncated", "1000 bytes"), ("altered", "4542 bytes, SHA-256")])
def test_a_bad_mnist_file(monkeypatch, tmp_path, damage, found):
    monkeypatch.setenv("UNBRAID_MIRROR", MIRROR)
    path = fetch("mnist")["t10k-labels-idx1-ubyte.gz"]
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content[:1000] if damage == "truncated" else content)
    pattern = f"(?s)t10k-labels-idx1-ubyte.gz: damaged.*expected: 4542 bytes.*found: {found}.*python -m unbraid data fetch mnist"
    with pytest.raises(DataError, match=pattern):
        find("mnist")
    with pytest.raises(DataError, match="(?s)t10k-labels.*damaged IDX.*python -m unbraid data fetch mnist"):
        read_idx(path)


# --- the IDX format --------------------------------------------------------------------------------------------------


def idx(magic, sizes, body):
    return gzip.compress(struct.pack(f">I{len(sizes)}I", magic, *sizes) + body, mtime=0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "magic number"),
        (b"no gzip at all", "complete gzip"),
        (gzip.compress(b"", mtime=0), "magic number"),
        (idx(0x00000803, (2, 2, 2), bytes(8))[:-9], "complete gzip"),
        (idx(0x00000D03, (1, 1, 1), bytes(4)), "0x00000d03"),
        (idx(0x00000800, (), b""), "magic number"),
        (idx(0x00000805, (1,) * 5, b"1"), "magic number"),
        (idx(0x00000803, (2, 2), b""), "complete gzip"),
        (idx(0x00000801, (8,), bytes(7)), "8 values .*found: 7 values"),
        (idx(0x00000801, (8,), bytes(9)), "8 values .*found: more values"),
        (idx(0x00000803, (2, 0, 2), b""), "product of 1 to"),
        (idx(0x00000804, (2**32 - 1,) * 4, bytes(9)), "what the file can hold"),
        (idx(0x00000801, (2**31,), bytes(9)), "what the file can hold"),
    ],
)  # fmt: skip
def test_a_malformed_idx_file(tmp_path, content, words):
    (tmp_path / "bad-idx.gz").write_bytes(content)
    with pytest.raises(DataError, match=f"(?s)bad-idx.gz: damaged.*{words}.*mend"):
        read_idx(tmp_path / "bad-idx.gz")


def test_a_file_that_is_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "absent.gz"):
        with pytest.raises(DataError, match=path.name):
            read_idx(path)


def test_an_endless_file_takes_little_memory(tmp_path):
    """Four values announced, 200 MB packed: refused after the fifth."""
    (tmp_path / "bomb.gz").write_bytes(idx(0x00000801, (4,), bytes(200_000_000)))
    tracemalloc.start()
    with pytest.raises(DataError, match="more values"):
        read_idx(tmp_path / "bomb.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_read_idx_gives_an_array_of_its_own(tmp_path):
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "good.gz").write_bytes(idx(0x00000803, values.shape, values.tobytes()))
    read = read_idx(tmp_path / "good.gz")
    assert (read == values).all() and read.flags.writeable


def mutated(content, chance):
    """One of: bits flipped, cut short, a stretch removed, doubled, zeroed, or random bytes appended."""
    content, kind = bytearray(content), chance.randrange(6)
    start = chance.randrange(len(content))
    end = min(len(content), start + chance.randint(1, 64))
    if kind == 0:
        for _ in range(chance.randint(1, 8)):
            content[chance.randrange(min(len(content), chance.choice([20, 10**9])))] ^= 1 << chance.randrange(8)
    elif kind == 1:
        del content[start:]
    elif kind == 2:
        del content[start:end]
    elif kind == 3:
        content[start:start] = content[start:end]
    elif kind == 4:
        content[start:end] = bytes(end - start)
    else:
        content += chance.randbytes(chance.randint(1, 64))
    return bytes(content)


@pytest.mark.parametrize("packed", [True, False], ids=["file", "content"])
def test_fuzz_read_idx(tmp_path, packed):
    """300 mutated inputs, of the packed file and of what is packed: the right data or a DataError naming the file."""
    chance, outcomes = random.Random(1), {"right": 0, "refused": 0}
    image = chance.randbytes(16) + bytes(768)
    plain = struct.pack(">4I", 0x803, 50, 28, 28) + image * 50
    original, path = gzip.compress(plain, mtime=0), tmp_path / "fuzzed.gz"
    started = time.monotonic()
    for _ in range(300):
        content = mutated(original, chance) if packed else mutated(plain, chance)
        path.write_bytes(content if packed else gzip.compress(content, 1))
        try:
            values = read_idx(path)
        except DataError as error:
            assert "fuzzed.gz" in str(error) and "expected" in str(error) and "found" in str(error)
            outcomes["refused"] += 1
        else:
            header = struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape)
            assert header + values.tobytes() == (plain if packed else content)
            outcomes["right"] += 1
    assert outcomes["refused"] > 150 and time.monotonic() - started < 10, outcomes


def test_the_mend_for_a_file_of_the_clone():
    path = repository_root() / "data" / "mnist-sample" / "train-images-idx3-ubyte.gz"
    assert sources._mend("mnist-sample", path) == "git checkout -- data/mnist-sample"
