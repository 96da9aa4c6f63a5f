"""The file format of MNIST: arrays of bytes behind a short header that gives their sizes, gzipped."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from unbraid.data import sources
from unbraid.data.files import DataError, problem

LARGEST_ARRAY = 2**28  # bytes; MNIST's largest array has 47 040 000


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Read a gzipped IDX file of unsigned bytes, the format of MNIST: uint8, (N,) labels or (N, 28, 28) images.

    The file must hold exactly what its header announces; `DataError` for anything else, before memory is taken.
    """
    path = Path(path)
    dataset = path.parent.name
    mend = (
        sources.mend(dataset, path.resolve())
        if dataset in sources.SOURCES
        else "replace it by an undamaged copy"
    )

    def damaged(expected: str, found: object) -> DataError:
        return problem(f"{path}: damaged IDX file", expected, found, mend)

    try:
        with gzip.open(path, "rb") as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= 4:
                raise damaged(
                    "magic number 0x0000080n, unsigned bytes in n = 1 to 4 dimensions",
                    f"0x{magic.hex()}",
                )
            shape = struct.unpack(f">{magic[3]}I", stream.read(4 * magic[3]))
            count, most = (
                math.prod(shape),
                min(LARGEST_ARRAY, 1032 * path.stat().st_size),
            )  # deflate packs 1032 to 1 at best
            if not 0 < count <= most:
                raise damaged(f"sizes with a product of 1 to {most}, what the file can hold", shape)
            values, filled = np.empty(count, np.uint8), 0
            while filled < count and (read := stream.readinto(memoryview(values)[filled:])):
                filled += read
            if filled < count or stream.read(
                1
            ):  # reading past the end also checks gzip's own checksum
                raise damaged(
                    f"{count} values for sizes {shape}",
                    f"{filled} values" if filled < count else "more values",
                )
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise damaged("a complete gzipped IDX file", error) from error
    return values.reshape(shape)
