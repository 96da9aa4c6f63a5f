"""Two fixed street cameras in place of paper A's 5th Avenue, which was never published.

People walk across a square, cars on a road. Frames are squeezed, so that no traffic is cut off.
"""

import functools
import re
import subprocess
from pathlib import Path

import numpy as np
import torch

from unbraid.checks import check_field, check_name
from unbraid.data.fetch import files, find, locate
from unbraid.data.sequences import Sequences

# The file of each video, its frames per second, and the stride that leaves about two of them.
VIDEOS = {"vtest": ("vtest.avi", 10.0, 5), "car-detection": ("car-detection.mp4", 12.5, 6)}
OLDEST = (5, 1)  # version of ffmpeg that knows -fps_mode


def load(split: str = "train", by: str = "chunk", image_size: int = 64) -> Sequences:
    """Two street cameras in chunks of five frames, two per second: bytes (N, 5, 3, S, S).

    A video, of those at hand, is cut into spans of five strides. A span gives a chunk for each
    frame of its first stride; these overlap in time, so that they are all in the same split.

    split       "train" or "test"
    by          "chunk": a random fifth of the spans of each video is the test, as paper A splits;
                "time": the last fifth is the test, and the span before it is left out
    image_size  S; frames are averaged over areas

    Labels: video, static; time (N, 5) in seconds, dynamic. Raises `DataError` without any video.
    """
    check_name("split", split, ("train", "test"))
    check_name("by", by, ("chunk", "time"))
    find("street")  # It raises `DataError` for a damaged file.
    paths = locate("street") or files("street")
    names = [name for name in VIDEOS if VIDEOS[name][0] in paths]

    frames, numbers, times = [], [], []
    for name in names:
        number, (file, rate, stride) = list(VIDEOS).index(name), VIDEOS[name]
        film = read_video(paths[file], image_size)
        count = len(film) // (5 * stride)
        order = np.arange(count)[::-1]  # The last spans come first.
        if by == "chunk":
            order = np.random.default_rng([0, number]).permutation(count)
        tests, rest = order[: count // 5], order[count // 5 + (by == "time") :]
        starts = np.sort(tests if split == "test" else rest)[:, None] * 5 * stride
        index = (starts + np.arange(stride)).reshape(-1, 1) + np.arange(5) * stride  # (chunks, 5)
        frames.append(torch.from_numpy(film[index]))
        numbers.append(torch.full((len(index),), number))
        times.append(torch.from_numpy((index / rate).astype(np.float32)))
    labels = {"video": torch.cat(numbers), "time": torch.cat(times)}
    about = f"fixed street cameras in place of 5th Avenue: {' and '.join(names)}"
    return Sequences(
        frames=torch.cat(frames),
        labels=labels,
        static=("video",),
        dynamic=("time",),
        split=split,
        provenance=f"{about}, {split} split by {by}",
        classes={"video": tuple(VIDEOS)},
    )


@functools.cache
def find_ffmpeg() -> str:
    """The program that reads films; refuses one that is too old for it."""
    import imageio_ffmpeg  # imported lazily, because only films need it

    remedy = "python -m pip install -U imageio-ffmpeg, or IMAGEIO_FFMPEG_EXE, brings one"
    expected = f"version {OLDEST[0]}.{OLDEST[1]} or newer ({remedy})"
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
        said = subprocess.run([program, "-version"], capture_output=True, text=True).stdout
    except (OSError, RuntimeError) as error:
        said = str(error)
    version = re.match(r"ffmpeg version (n?((\d+)\.(\d+)\S*)|)", said)  # or one of a day
    is_new = version and (not version[2] or (int(version[3]), int(version[4])) >= OLDEST)
    check_field(is_new, "ffmpeg", expected, version[2] if version else said[:200] or "no answer")
    return program


@functools.lru_cache(maxsize=4)
def read_video(path: Path, image_size: int) -> np.ndarray:
    """All frames of a video, squeezed to squares by averaging areas: uint8 (T, 3, size, size)."""
    scale = f"scale={image_size}:{image_size}:flags=area+accurate_rnd+bitexact"
    output = ["-fps_mode", "passthrough", "-vf", scale, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    command = [find_ffmpeg(), "-loglevel", "error", "-i", str(path), *output]
    result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=True)
    frames = np.frombuffer(result.stdout, np.uint8).reshape(-1, image_size, image_size, 3)
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2))
