"""Two fixed street cameras as short chunks of small frames: a free stand-in for paper A's 5th Avenue, which was never published.

vtest.avi: people walk across a square; 795 frames of 768 x 576, 10 a second. car-detection.mp4: cars on a road; 377 frames
of 768 x 432, 12.5 a second. Frames are squeezed to a square as a whole, so that no traffic is cut off: things look narrower
than they are (by 3/4 and 9/16).
"""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unbraid.data.composed import composed
from unbraid.data.sequences import Sequences
from unbraid.data.sources import DataError, find, problem, source


@dataclass(frozen=True)
class Video:
    """A video of the set: its file, frames a second, frames in all, and the stride that leaves about two a second."""

    file: str
    rate: float
    frames: int
    stride: int


VIDEOS = {
    "vtest": Video("vtest.avi", 10.0, 795, 5),
    "car-detection": Video("car-detection.mp4", 12.5, 377, 6),
}
FORMATS = {
    ".avi": "avi",
    ".mp4": "mov",
}  # as ffmpeg names them; never guessed, for some formats are told to open other files
SCALE = "scale={0}:{0}:flags=area+accurate_rnd+bitexact"
SECONDS = 60  # after which ffmpeg is stopped; the real videos take less than one
MOST_FRAMES = 5000
FETCH = "python -m unbraid data fetch street"


def read_video(
    path: str | os.PathLike, image_size: int = 64, seconds: float = SECONDS
) -> np.ndarray:
    """Decode a video (.avi or .mp4), each frame squeezed to a square by averaging areas: uint8 (T, 3, image_size, image_size).

    At most 5 000 frames. Raises `DataError` when ffmpeg finds any fault in the file, or takes longer than `seconds`.
    """
    path = Path(path)

    def damaged(found: object) -> DataError:
        expected = (
            f"a video that decodes without a fault in {seconds:g} s, 1 to {MOST_FRAMES} frames"
        )
        return problem(f"{path}: damaged video", expected, found, f"delete it, then {FETCH}")

    if path.suffix not in FORMATS:
        raise ValueError(
            f"path: expected a name that ends in {' or '.join(FORMATS)}, found {path.name}"
        )
    try:
        if not _whole(path):
            raise damaged("a file that is longer or shorter than it says")
    except OSError as error:
        raise damaged(error) from error
    import imageio_ffmpeg  # late: only who decodes a video needs it

    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-nostdin",
        "-loglevel",
        "error",
        "-xerror",
        "-threads",
        "1",
        "-max_alloc",
        str(2**28),
        "-protocol_whitelist",
        "file",
        "-max_pixels",
        str(2**22),
        "-f",
        FORMATS[path.suffix],
        "-i",
        f"file:{path}",
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
        "-vf",
        SCALE.format(image_size),
        "-frames:v",
        str(MOST_FRAMES + 1),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise damaged(f"still decoding after {seconds:g} s") from error
    if done.returncode or done.stderr:
        raise damaged(
            f"exit code {done.returncode}; {done.stderr[-500:].decode(errors='replace').strip()}"
        )
    count, rest = divmod(len(done.stdout), image_size * image_size * 3)
    if rest or not 1 <= count <= MOST_FRAMES:
        raise damaged(f"{count} frames and {rest} bytes")
    frames = np.frombuffer(done.stdout, np.uint8).reshape(count, image_size, image_size, 3)
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2))


def _whole(path: Path) -> bool:
    """Whether the file has the length that its own headers give; ffmpeg makes do with a piece of a video."""
    size, position = path.stat().st_size, 0
    with open(path, "rb") as stream:
        if path.suffix == ".avi":
            kind, length = struct.unpack("<4sI", stream.read(8).ljust(8, b"\0"))
            return kind == b"RIFF" and length + 8 == size
        while (
            position < size
        ):  # an .mp4 is a row of boxes; one of length 1 has its true length in eight more bytes
            stream.seek(position)
            short, long = struct.unpack(">I4xQ", stream.read(16).ljust(16, b"\0"))
            length = long if short == 1 else short
            position += length if length >= 8 else size + 1
    return position == size > 0


def load_street(
    split: str = "train",
    video: str = "all",
    by: str = "chunk",
    length: int = 5,
    phases: str = "all",
    image_size: int = 64,
    seed: int = 0,
) -> Sequences:
    """Chunks of `length` frames, about two frames a second: bytes (N, length, 3, image_size, image_size).

    A video is cut into spans of `length` strides, 2.5 s of vtest or 2.4 s of car-detection at length 5. Every span gives one
    chunk a phase, that is one for each frame it may start from, and belongs to one split with all of them.

    split   "train" or "test"
    video   "vtest", "car-detection", or "all": those that are at hand, which the provenance names
    by      "chunk": of each video a random fifth of the spans is the test, as paper A splits, so that test spans lie between
            training spans much like them; "time": the last fifth is the test, and the span before it is left out
    phases  "all": of the 43 spans 185 (by chunk) or 174 (by time) chunks train, 42 test, overlapping in time within a span;
            "first": one chunk a span, 35 or 33 train, 8 test, none overlapping
    seed    of the random fifth

    Labels: video (N,), static; time (N, T), seconds since the video began, dynamic.
    Raises `DataError` without the file asked for, `ValueError` for an unknown option.
    """
    if (
        split not in ("train", "test")
        or video not in ("all", *VIDEOS)
        or by not in ("chunk", "time")
        or phases not in ("all", "first")
    ):
        expected = f"train or test, all, {' or '.join(VIDEOS)}, chunk or time, all or first"
        raise ValueError(
            f"split, video, by, phases: expected {expected}, found {split!r}, {video!r}, {by!r}, {phases!r}"
        )
    if not 8 <= image_size <= 512:
        raise ValueError(f"image_size: expected 8 to 512, found {image_size}")
    found = find("street", partial=True) or {}
    names = [name for name in VIDEOS if video in ("all", name) and VIDEOS[name].file in found]
    if not names:
        wanted = " or ".join(row.file for name, row in VIDEOS.items() if video in ("all", name))
        meanwhile = (
            "; meanwhile use video='car-detection', which travels with the clone"
            if video == "vtest"
            else ""
        )
        raise problem("street: not at hand", wanted, "nothing", FETCH + meanwhile)
    chunks, labels = [], {"video": [], "time": []}
    for name in names:
        row, number = VIDEOS[name], list(VIDEOS).index(name)
        frames = _decoded(name, found[row.file], image_size)
        which = chunk_frames(row, split, by, length, phases, np.random.default_rng([seed, number]))
        chunks.append(frames[torch.from_numpy(which)])
        labels["video"].append(np.full(len(which), number))
        labels["time"].append((which / row.rate).astype(np.float32))
    return Sequences(
        frames=torch.cat(chunks),
        labels={name: np.concatenate(values) for name, values in labels.items()},
        static=("video",),
        dynamic=("time",),
        split=split,
        provenance=f"fixed street cameras in place of 5th Avenue: {' and '.join(names)}, {split} split by {by}, phases: {phases}",
        classes={"video": tuple(VIDEOS)},
    )


def _decoded(name: str, path: Path, image_size: int) -> Tensor:
    """All frames of a video, bytes (T, 3, image_size, image_size), decoded once and then taken from the cache."""
    video, shape = VIDEOS[name], (VIDEOS[name].frames, 3, image_size, image_size)

    def rows() -> Iterator[np.ndarray]:
        frames = read_video(path, image_size)
        if frames.shape != shape:
            raise problem(
                f"{path}: decoded wrongly",
                shape,
                frames.shape,
                "install imageio-ffmpeg in the version of requirements.lock",
            )
        yield frames

    digest = next(file.sha256 for file in source("street").files if file.name == video.file)
    return composed(f"street-{name}-{image_size}", f"{digest} {SCALE}", shape, rows)


def chunk_frames(
    video: Video, split: str, by: str, length: int, phases: str, generator: np.random.Generator
) -> np.ndarray:
    """Which frames of `video` make up the chunks of a split: numbers (N, length), see `load_street`."""
    span = length * video.stride
    count = video.frames // span if length > 0 else 0
    if (test := count // 5) < 1:
        raise ValueError(
            f"length: expected 1 to {video.frames // video.stride // 5} frames for {video.file}, found {length}"
        )
    order = generator.permutation(count) if by == "chunk" else np.arange(count)[::-1]
    chosen = order[:test] if split == "test" else order[test + (by == "time") :]
    starts = np.sort(chosen)[:, None] * span + np.arange(video.stride if phases == "all" else 1)
    return starts.reshape(-1, 1) + np.arange(length) * video.stride
