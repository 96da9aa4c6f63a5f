"""Damaged files for the readers: what a bad disk, a cut download or ill will makes of a good file."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from unbraid.data.sources import DataError

MEMORY = 2 * 2**30  # bytes that one reading may take
SECONDS = 10.0  # and how long it may last; what hangs for good meets pytest's own time-out
ABSURD = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x00",
    b"\x00\x00\x00\x80",
    b"\x80\x00\x00\x00",
)
WORDS = (
    b"999999999999",
    b"-1",
    b"nan",
    b"inf",
    b"1e999",
    b"0",
    b"",
    b"?",
    b"\n",
    b",,,,",
    b"\x00",
    b"\xff\xfe",
    b" ",
    b"1" * 400,
)


def _flip(content: bytearray, chance: random.Random) -> None:
    within = min(len(content), chance.choice((20, 200, 10**9)))  # headers are hit often, bodies too
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(within)] ^= 1 << chance.randrange(8)


def _cut(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def _shorten(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content))
    del content[start : start + chance.randint(1, 64)]


def _lengthen(content: bytearray, chance: random.Random) -> None:
    start, more = chance.randrange(len(content)), chance.randint(1, 64)
    content[start:start] = (
        content[start : start + more] if chance.random() < 0.5 else chance.randbytes(more)
    )


def _append(content: bytearray, chance: random.Random) -> None:
    content += chance.randbytes(chance.randint(1, 64))


def _blank(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content))
    end = min(len(content), start + chance.randint(1, 64))
    content[start:end] = bytes(end - start)


def _other_magic(content: bytearray, chance: random.Random) -> None:
    size = min(len(content), chance.choice((1, 2, 4, 8)))
    content[:size] = chance.randbytes(size)


def _absurd_header(content: bytearray, chance: random.Random) -> None:
    """A number of the header, which may be a count or a size, becomes enormous, negative or nought."""
    start = chance.randrange(min(len(content), 100))
    content[start : start + 4] = chance.choice(ABSURD)


def _absurd_word(content: bytearray, chance: random.Random) -> None:
    """In a text, a run of digits becomes another word."""
    start = chance.randrange(len(content))
    while start < len(content) and not chr(content[start]).isdigit():
        start += 1
    end = start
    while end < len(content) and chr(content[end]).isdigit():
        end += 1
    content[start:end] = chance.choice(WORDS)


def _lines(content: bytearray, chance: random.Random) -> None:
    """In a text, a line is lost, doubled, or changes places with another."""
    lines = bytes(content).splitlines(keepends=True)
    first, second, kind = (
        chance.randrange(len(lines)),
        chance.randrange(len(lines)),
        chance.randrange(3),
    )
    if kind == 0:
        del lines[first]
    elif kind == 1:
        lines.insert(second, lines[first])
    else:
        lines[first], lines[second] = lines[second], lines[first]
    content[:] = b"".join(lines)


def _empty(content: bytearray, chance: random.Random) -> None:
    content.clear()


_KINDS = (
    _flip,
    _cut,
    _shorten,
    _lengthen,
    _append,
    _blank,
    _other_magic,
    _absurd_header,
    _absurd_word,
    _lines,
)


def mutations(content: bytes, count: int = 1000, seed: int = 0) -> Iterator[bytes]:
    """`count` damaged copies of `content`, none equal to it, the same for the same seed; the first is empty.

    Bits flipped, cut short, stretches lost, doubled, added, appended or blanked, another magic number, absurd
    numbers in the header, absurd words and shuffled lines for texts.
    """
    chance = random.Random(seed)
    for number in range(count):
        changed = bytearray(content)
        kind = _empty if number == 0 else _KINDS[number % len(_KINDS)]
        kind(changed, chance)
        while bytes(changed) == content:
            _flip(changed, chance)
        yield bytes(changed)


@contextlib.contextmanager
def little_memory(bytes_more: int = MEMORY) -> Iterator[None]:
    """Within, memory beyond what is taken now plus `bytes_more` is refused (`MemoryError`), where the system can do so."""
    try:
        import resource

        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):  # not Linux
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    within = [
        taken + bytes_more,
        *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY),
    ]
    resource.setrlimit(resource.RLIMIT_AS, (min(within), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def check_reader(
    read: Callable[[Path], object],
    path_suffix: str,
    content: bytes,
    tmp_path: Path,
    count: int = 1000,
    seed: int = 0,
    looks_right: Callable[[object], bool] = lambda values: values is not None,
) -> dict[str, int]:
    """Let `read` read `count` damaged copies of `content`: each gives right-looking data or one clear `DataError`.

    read         the reader, given a path; path_suffix, such as ".wav", ends the file's name
    content      a good file, which must be read; up to some 100 KB, since it is written `count` times
    looks_right  whether what was read may pass as data: shapes, ranges, finite numbers

    Anything but a `DataError` that names the file, what was expected and what was found fails, as do more than 2 GB or
    10 s. Returns how many were "right" and "refused"; the caller says how many of each it expects.
    """
    path, outcomes = tmp_path / f"fuzzed{path_suffix}", {"right": 0, "refused": 0}
    path.write_bytes(content)
    assert looks_right(read(path)), "the undamaged file is not read"
    for number, damaged in enumerate(mutations(content, count, seed)):
        path.write_bytes(damaged)
        started = time.monotonic()
        told = f"mutation {number} (seed {seed}), {len(damaged)} bytes beginning {damaged[:40]!r}"
        try:
            with little_memory():
                values = read(path)
        except DataError as error:
            missing = [word for word in (path.name, "expected", "found") if word not in str(error)]
            assert not missing, f"{told}: the error does not hold {missing}: {error}"
            outcomes["refused"] += 1
        except Exception as error:
            raise AssertionError(
                f"{told}: {type(error).__name__} instead of a DataError: {error}"
            ) from error
        else:
            assert looks_right(values), f"{told}: taken for data, which it is not"
            outcomes["right"] += 1
        assert time.monotonic() - started < SECONDS, f"{told}: {time.monotonic() - started:.1f} s"
    assert outcomes["refused"], "not one damaged file was refused"
    return outcomes
