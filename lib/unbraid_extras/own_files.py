"""Anybody's own folders of films, pictures and recordings, read one file at a time.

The functions that find them look at names and headers only, so that a mistake is reported before
films are decoded.
"""

from __future__ import annotations

import math
import re
import subprocess
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps
from unbraid.checks import check_field
from unbraid.data import speech

SUFFIXES = {
    "films": (".mp4", ".mov", ".webm", ".gif", ".avi", ".mkv"),
    "pictures": (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"),
    "recordings": (".wav", ".flac"),
}
GREY = 128  # what transparent pixels are read as
LABELS = "labels.csv"  # is read when it lies in the folder

Values = tuple[np.ndarray, np.ndarray]
"""Bytes (T, C, size, size) or floats (T, D), NaN if missing; which steps (T,) were observed."""


@dataclass
class RawSequences:
    """U named sequences, before the large files are read.

    kind     what the sequences are: "films", "folders", "recordings", "rows" of an array, "series"
    names    U of them, in NFC
    read     from a sequence's number to its `Values`
    static   labels of whole sequences, one row per name
    dynamic  labels of steps, one row per name and time
    times    of each sequence the times of its steps; None: 0, 1, ...
    length   steps of a clip where nobody asks for others; None: whole sequences
    columns  names of a series' variables
    notes    sentences on what was found
    scale    of recordings, once their spectra are on one scale
    """

    kind: str
    names: list[str]
    read: Callable[[int], Values]
    static: pd.DataFrame
    dynamic: dict[str, pd.Series] = field(default_factory=dict)
    times: list[pd.Index] | None = None
    length: int | None = None
    columns: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    scale: speech.SpectrumScale | None = None

    @classmethod
    def of(cls, kind: str, names: Iterable[str], read: Callable[[int], Values]) -> RawSequences:
        """Sequences without labels."""
        normalised = [normalise(name) for name in names]
        return cls(kind, normalised, read, pd.DataFrame(index=normalised))


def normalise(name: object) -> str:
    """A name in one Unicode form (NFC): systems write umlauts in different ones."""
    return unicodedata.normalize("NFC", str(name).strip())


def natural_order(path: Path) -> list[str | int]:
    """A key that sorts frame 2 before frame 10."""
    parts = re.split(r"([0-9]+)", normalise(path.name))
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


def kind_of(path: Path) -> str:
    """What a file or folder holds, as its name says."""
    if path.is_dir():
        return "folders"
    kinds = (kind for kind, suffixes in SUFFIXES.items() if path.suffix.lower() in suffixes)
    return next(kinds, "other files")


def find_in_folder(folder: Path, size: int) -> RawSequences:
    """The films, folders of pictures or recordings in a folder, which may hold one of the three."""
    entries: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir(), key=natural_order):
        if not entry.name.startswith(".") and entry.name != LABELS:
            entries.setdefault(kind_of(entry), []).append(entry)
    counts = [f"{len(paths)} {kind} ({paths[0].name})" for kind, paths in entries.items()]
    others = entries.pop("other files", [])
    expected = "films alone, recordings alone, or folders of pictures, a folder per sequence"
    is_one = len(entries) == 1 and "pictures" not in entries
    check_field(is_one, str(folder), expected, ", ".join(counts) or "an empty folder")
    ((kind, paths),) = entries.items()
    names = pd.Index([normalise(path.name) for path in paths])
    check_field(names.is_unique, str(folder), "different names", names[names.duplicated()].tolist())
    finders = {"films": find_films, "folders": find_folders, "recordings": find_recordings}
    raw = finders[kind](paths, size)
    if others:
        listed = ", ".join(path.name for path in others[:3])
        raw.notes.append(f"Other files, {len(others)}, are left out, such as {listed}.")
    return raw


# ---- films and pictures


def find_films(paths: list[Path], size: int) -> RawSequences:
    """Films, each a sequence of all its frames."""
    import imageio_ffmpeg  # noqa: F401 - so that its absence is reported before any film is read

    for path in paths:
        check_field(path.stat().st_size > 0, path.name, "a film", "an empty file")
    names = (path.name for path in paths)
    raw = RawSequences.of("films", names, lambda number: read_film(paths[number], size))
    raw.length = 16
    return raw


def read_film(path: Path, size: int) -> Values:
    """All frames of a film, scaled and cut to their middle square."""
    import imageio_ffmpeg  # imported lazily, because only films need it

    scale = f"scale={size}:{size}:force_original_aspect_ratio=increase"
    filters = f"{scale}:flags=area+accurate_rnd+bitexact,crop={size}:{size}"
    # Among these formats only gifs can be transparent.
    colours = "rgba" if path.suffix.lower() == ".gif" else "rgb24"
    output = ["-fps_mode", "passthrough", "-vf", filters, "-f", "rawvideo", "-pix_fmt", colours]
    # Without "file:" a name with a colon would be read as a protocol.
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", f"file:{path}"]
    result = subprocess.run([*program, *output, "-"], capture_output=True, stdin=subprocess.DEVNULL)
    if result.stderr or not result.stdout:  # A torn film is decoded up to the tear.
        reason = result.stderr.decode(errors="replace").partition("\n")[0]
        remedy = "copy it again, convert it, or remove it"
        raise ValueError(f"{path.name} cannot be decoded to its end ({reason}); {remedy}")
    frames = np.frombuffer(result.stdout, np.uint8)
    if colours == "rgba":
        frames = on_grey(frames.reshape(-1, size, size, 4))
    frames = frames.reshape(-1, size, size, 3)
    return frames.transpose(0, 3, 1, 2), np.ones(len(frames), bool)


def find_folders(folders: list[Path], size: int) -> RawSequences:
    """Folders of pictures, each a sequence in the order of the pictures' names."""
    pictures = []
    for folder in folders:
        # Some systems leave hidden files next to pictures.
        visible = (path for path in folder.iterdir() if not path.name.startswith("."))
        paths = [path for path in visible if kind_of(path) == "pictures"]
        where = f"the folder {folder.name}"
        check_field(len(paths) > 1, where, "two pictures or more in itself", len(paths))
        pictures.append(sorted(paths, key=natural_order))

    def read(number: int) -> Values:
        frames = [read_picture(path, size) for path in pictures[number]]
        return np.stack(frames), np.ones(len(frames), bool)

    return RawSequences.of("folders", (folder.name for folder in folders), read)


def read_picture(path: Path, size: int) -> np.ndarray:
    """The middle square of a picture, bytes (3, size, size)."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError("it has more than 8 bits per colour; save it with 8")
            count = getattr(image, "n_frames", 1)
            if count > 1 and image.format != "MPO":  # a telephone's picture with its preview
                raise ValueError(f"it holds {count} pictures; save each as a file of its own")
            pixels = fit_picture(ImageOps.exif_transpose(image).convert("RGBA"), size)
            return on_grey(pixels.transpose(1, 2, 0)).transpose(2, 0, 1)
    except (OSError, SyntaxError, ValueError) as error:  # a broken PNG is a SyntaxError
        raise ValueError(f"{path.parent.name}/{path.name} cannot be read ({error})") from None


def on_grey(pixels: np.ndarray) -> np.ndarray:
    """Bytes (..., 4) of red, green, blue and opacity on a grey background, bytes (..., 3).

    Grey, because figures without a background are most often black or white.
    """
    colours, opacity = pixels[..., :3].astype(np.uint32), pixels[..., 3:].astype(np.uint32)
    return ((colours * opacity + GREY * (255 - opacity) + 127) // 255).astype(np.uint8)


def fit_picture(image: Image.Image, size: int) -> np.ndarray:
    """The middle square of an image, averaged over areas: bytes (C, size, size)."""
    pixels = np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BOX))
    return np.atleast_3d(pixels).transpose(2, 0, 1)


# ---- recordings


def find_recordings(paths: list[Path], _: int) -> RawSequences:
    """Recordings, each a sequence of the spectra of its chunks of 200 ms, see `speech.cut`."""
    import soundfile  # imported lazily, because only recordings need it

    rates = set()
    for path in paths:
        try:
            rates.add(soundfile.info(path).samplerate)
        except RuntimeError as error:
            raise ValueError(f"{path.name} is no recording ({error}); remove it") from None
        check_field(min(rates) >= 8000, path.name, "8000 samples per second or more", min(rates))
    rate = 16_000 if min(rates) >= 16_000 else 8000

    def read(number: int) -> Values:
        waveform = speech.equal_level(read_waveform(paths[number], rate))
        chunks = speech.cut(speech.Utterances([waveform], {}, {}, rate, "", ""))
        return chunks.frames.flatten(0, 1).numpy(), chunks.observed.flatten().numpy()

    raw = RawSequences.of("recordings", (path.name for path in paths), read)
    raw.length = speech.STEPS
    listed = ", ".join(map(str, sorted(rates)))
    raw.notes.append(f"Recordings of {listed} Hz are read at {rate} Hz, their channels averaged.")
    return raw


def read_waveform(path: Path, rate: int) -> torch.Tensor:
    """The mean of a recording's channels at `rate` samples per second, (samples,)."""
    import soundfile
    from scipy.signal import resample_poly  # imported lazily, because that takes a second

    samples, original = soundfile.read(path, dtype="float32", always_2d=True)
    check_field(len(samples) > 0, path.name, "some samples", "none")
    check_field(bool(np.isfinite(samples).all()), path.name, "finite samples", "NaN or infinity")
    common = math.gcd(rate, original)
    mono = resample_poly(samples.mean(1), rate // common, original // common)
    return torch.from_numpy(mono.astype(np.float32))
