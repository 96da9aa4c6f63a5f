"""A publisher on this machine, well- and ill-behaved, and a house of its own for whoever fetches from it."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from unbraid.data import downloads, sources
from unbraid.data.sources import Source, SourceFile

CONTENT = bytes(random.Random(0).randbytes(50_000))
PIECE = 20 * 1024  # bytes that a publisher sends who cuts the connection


def source_file(name: str, content: bytes) -> SourceFile:
    return SourceFile(name, hashlib.sha256(content).hexdigest(), len(content))


FILE = source_file("thing.bin", CONTENT)


class Publisher(BaseHTTPRequestHandler):
    """/good/<name> sends a file of `server.files`; the other folders misbehave, each in its way. `server.asked` keeps the paths."""

    def do_GET(self):
        with self.server.lock:
            self.server.asked.append(self.path)
            self.server.ranges.append(self.headers.get("Range"))
            self.server.busy += 1
            self.server.busiest = max(self.server.busiest, self.server.busy)
        try:
            self.answer(*self.path[1:].split("/", 1))
        except OSError:
            pass  # the other side has hung up, as it should
        finally:
            with self.server.lock:
                self.server.busy -= 1

    def answer(self, manner: str, name: str):
        times, body = len(self.server.asked), self.server.files.get(name)
        if manner == "absent" or body is None:
            return self.send_error(404)
        if manner == "busy" or (manner == "busytwice" and times <= 2):
            self.send_response(429 if times % 2 else 503)
            self.send_header("Retry-After", "0")
            return self.end_headers()
        if manner == "redirect":
            self.send_response(302)
            self.send_header("Location", self.path.replace("redirect", "good"))
            return self.end_headers()
        if manner == "silent":
            return time.sleep(1.5)
        body = {"wrong": body[:-1] + b"!", "long": body * 20}.get(manner, body)
        start = (
            int(self.headers["Range"][len("bytes=") : -1])
            if "Range" in self.headers and manner in ("resumes", "liar")
            else 0
        )
        self.send_response(206 if start else 200)
        if start:
            told = 0 if manner == "liar" else start
            self.send_header("Content-Range", f"bytes {told}-{len(body) - 1}/{len(body)}")
        if manner != "ended":  # without its length, an early end looks like a regular one
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        cut = manner in ("cut", "ended", "resumes", "liar") or (manner == "cutonce" and times == 1)
        pieces = [body[start : start + PIECE] if cut else body]
        if manner in ("stalls", "drips", "slowly"):
            pieces = [body[first : first + 4096] for first in range(0, len(body), 4096)]
        for number, piece in enumerate(pieces):
            time.sleep(
                {"drips": 0.2, "slowly": 0.01, "stalls": 1.5 if number == 2 else 0}.get(manner, 0)
            )
            self.wfile.write(piece)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """Many may knock at once."""

    request_queue_size = 128


@pytest.fixture
def house(monkeypatch, tmp_path):
    """A cache of its own, no mirror, no proxy, short pauses."""
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNBRAID_MIRROR", raising=False)
    monkeypatch.delenv("UNBRAID_HOME", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(downloads, "PAUSE", 0.01)
    return tmp_path


@pytest.fixture
def impatient(monkeypatch):
    """Half a second is too long: for publishers who are slow on purpose."""
    monkeypatch.setattr(downloads, "TIMEOUT", 0.5)


@pytest.fixture
def publisher():
    """A running server that has thing.bin; what else it has is put into its `files`."""
    server = Server(("127.0.0.1", 0), Publisher)
    server.daemon_threads, server.lock, server.files = True, threading.Lock(), {FILE.name: CONTENT}
    server.asked, server.ranges, server.busy, server.busiest = [], [], 0, 0
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def offer(monkeypatch, publisher, house):
    """offer("absent", "good"): a dataset `thing` with these addresses; files and archive if it is not the one file."""

    def row(*manners, files=(FILE,), archive="", elsewhere=()):
        addresses = tuple(f"{publisher.address}/{manner}/" for manner in manners)
        archive = f"{publisher.address}/{archive}" if archive else ""
        thing = Source(
            "thing", tuple(files), "none", "made for the tests", addresses, archive, elsewhere
        )
        monkeypatch.setitem(sources.SOURCES, "thing", thing)

    return row


@pytest.fixture
def mirror(house, monkeypatch):
    """mirror({"a.bin": content}): these files in a mirror's folder `thing`, which is returned."""

    def made(files):
        for name, content in files.items():
            path = house / "mirror" / "thing" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        monkeypatch.setenv("UNBRAID_MIRROR", str(house / "mirror"))
        return house / "mirror" / "thing"

    return made


def left_behind(house) -> list[str]:
    """Names of all files in the cache, those in scratch folders too."""
    return sorted(
        str(path.relative_to(house / "cache"))
        for path in (house / "cache").rglob("*")
        if path.is_file()
    )
