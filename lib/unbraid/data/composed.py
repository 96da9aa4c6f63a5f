"""Frames that are made once from other files, kept in the cache, and mapped into memory whenever they are asked for.

A map takes memory only for what is looked at, and all processes share it; so a set may be larger than the memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import shutil
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from safetensors import safe_open
from torch import Tensor

from unbraid.data.sources import cache_directory, problem

ABANDONED = 600.0  # seconds without a change after which a half-written file belongs to nobody


def composed(
    name: str, inputs: str, shape: tuple[int, ...], rows: Callable[[], Iterable[np.ndarray]]
) -> Tensor:
    """Bytes of `shape`, mapped from composed/<name>.safetensors of the cache (memory is taken for what is looked at).

    inputs: a text that changes whenever the content should. rows: gives the content in order, in pieces of any size; called
    if the file is missing, made from other inputs, or damaged (its checksum is read once in a process). The file appears
    whole or not at all, whoever is killed while writing it. `DataError` where the cache cannot be written, `ValueError` where
    the rows do not fill the shape.
    """
    path, size = cache_directory() / "composed" / f"{name}.safetensors", math.prod(shape)
    key = hashlib.sha256(inputs.encode()).hexdigest()

    def header(checksum: int) -> bytes:
        frames = {"dtype": "U8", "shape": shape, "data_offsets": (0, size)}
        text = json.dumps(
            {"__metadata__": {"inputs": key, "crc32": f"{checksum:08x}"}, "frames": frames}
        ).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text

    _clear(path.parent)
    while True:
        if not _right(path, header, size):
            _write(path, header, size, rows)
        with safe_open(path, "pt") as file:
            if (
                file.metadata()["inputs"] == key
            ):  # else another process has just put its own there, made from other inputs
                return file.get_tensor("frames")


_checked: set[tuple] = (
    set()
)  # (path, header, size, time of change) of files found right in this process


def _right(path: Path, header: Callable[[int], bytes], size: int) -> bool:
    try:
        with open(path, "rb", buffering=0) as stream:
            status, start = os.fstat(stream.fileno()), stream.read(len(header(0)))
            seen = (path, header(0), start, status.st_size, status.st_mtime_ns, status.st_ino)
            if status.st_size != len(start) + size:
                return False
            checksum, chunk = 0, bytearray(2**20)
            while seen not in _checked and (read := stream.readinto(chunk)):
                checksum = zlib.crc32(memoryview(chunk)[:read], checksum)
    except OSError:
        return False
    return seen in _checked or (start == header(checksum) and not _checked.add(seen))


def _write(
    path: Path, header: Callable[[int], bytes], size: int, rows: Callable[[], Iterable[np.ndarray]]
) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    with _told(path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(path.parent).free) < size:
            raise OSError(f"{free} bytes free")
        stream = open(
            part, "wb", buffering=0
        )  # nothing is left to write, and to fail, when it is closed
    if size > 2**30 and sys.stderr.isatty():
        print(
            f"{path.stem}: composing {size / 1e9:.1f} GB into the cache, once",
            file=sys.stderr,
            flush=True,
        )
    checksum = written = 0

    def put(content: bytes | memoryview) -> None:
        with _told(path, size):
            while content:
                content = content[stream.write(content) :]

    try:
        with stream:  # by hand: safetensors' own function would need all of it in memory
            put(header(0))
            for piece in rows():
                content = np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data
                checksum, written = zlib.crc32(content, checksum), written + len(content)
                put(content)
            if written != size:
                raise ValueError(f"rows: expected {size} bytes for {path.stem}, found {written}")
            stream.seek(0)
            put(header(checksum))
        with _told(path, size):
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _told(path: Path, size: int) -> Iterator[None]:
    """What goes wrong with the cache becomes a `DataError`; what goes wrong in making the rows is not touched."""
    try:
        yield
    except OSError as error:
        mend = "make room there, or set UNBRAID_CACHE to a folder that can be written to"
        raise problem(f"{path}: not written", f"room for {size} bytes", error, mend) from error


def _clear(folder: Path) -> None:
    """Delete what processes that were killed have left."""
    for left in folder.glob(".*.part"):
        with contextlib.suppress(
            OSError
        ):  # another process may just have finished it, or the cache may only be read
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
