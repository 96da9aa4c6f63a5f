"""The IDX format: what is read, and that whatever is wrong with a file ends in one clear DataError."""

import gzip
import os
import random
import struct
import tracemalloc

import numpy as np
import pytest
from fuzz import check_reader, mutations
from unbraid.data.idx import read_idx
from unbraid.data.sources import DataError, find

MIRROR = os.environ.get("UNBRAID_MIRROR")


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
)
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


def test_a_file_of_a_dataset_is_mended_by_its_command(tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "bad.gz").write_bytes(b"bad")
    with pytest.raises(
        DataError, match="mend: delete .*bad.gz.* python -m unbraid data fetch mnist"
    ):
        read_idx(tmp_path / "mnist" / "bad.gz")


CHANCE = random.Random(1)
PLAIN = struct.pack(">4I", 0x803, 50, 28, 28) + (CHANCE.randbytes(16) + bytes(768)) * 50


def test_fuzz_the_file(tmp_path):
    """1 000 mutated files: gzip's own checksum leaves no wrong data through."""
    written = np.frombuffer(PLAIN[16:], np.uint8).reshape(50, 28, 28)
    packed = gzip.compress(PLAIN, mtime=0)
    outcomes = check_reader(
        read_idx,
        ".gz",
        packed,
        tmp_path,
        looks_right=lambda values: np.array_equal(values, written),
    )
    assert outcomes["refused"] > 900 and outcomes["right"] > 0, outcomes


def test_fuzz_the_content(tmp_path):
    """500 mutated contents, packed again without a fault: data only if the header and the bytes agree."""
    outcomes, path = {"right": 0, "refused": 0}, tmp_path / "fuzzed.gz"
    for content in mutations(PLAIN, 500):
        path.write_bytes(gzip.compress(content, 1))
        try:
            values = read_idx(path)
        except DataError as error:
            assert all(word in str(error) for word in ("fuzzed.gz", "expected", "found"))
            outcomes["refused"] += 1
        else:
            assert (
                struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape)
                + values.tobytes()
                == content
            )
            outcomes["right"] += 1
    assert min(outcomes.values()) > 50, outcomes


@pytest.mark.skipif(
    not MIRROR, reason="UNBRAID_MIRROR is not set: the real MNIST files are not at hand"
)
def test_fuzz_a_real_file(tmp_path):
    """The labels of MNIST's test file, 100 times."""
    path = find("mnist")["t10k-labels-idx1-ubyte.gz"]
    real = read_idx(path)
    check_reader(
        read_idx,
        ".gz",
        path.read_bytes(),
        tmp_path,
        100,
        looks_right=lambda values: np.array_equal(values, real),
    )


# --- the fuzzer itself -----------------------------------------------------------------------------------------------


def test_mutations_differ_from_the_file_and_are_repeatable():
    first, again, other = (list(mutations(PLAIN, 300, seed)) for seed in (0, 0, 1))
    assert first == again != other and PLAIN not in first and b"" in first and len(set(first)) > 200
    assert min(map(len, first[1:])) < len(PLAIN) < max(map(len, first))


def crash(path):
    raise KeyError("shape")


def mumble(path):
    raise DataError("something is wrong")


def swallow(path):
    return bytearray(3 * 2**30)


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (crash, "KeyError instead of a DataError"),
        (mumble, "does not hold"),
        (swallow, "MemoryError"),
        (lambda path: True, "not one damaged file was refused"),
    ],
)
def test_a_bad_reader_is_seen(tmp_path, read, words):
    if read is swallow and not os.path.exists("/proc/self/statm"):
        pytest.skip("memory is limited on Linux only")
    with pytest.raises(AssertionError, match=words):
        check_reader(
            lambda path: True if path.read_bytes() == PLAIN else read(path),
            ".bin",
            PLAIN,
            tmp_path,
            5,
        )
