"""Anybody's own folders of films, pictures and recordings, read one file at a time.

The functions that find them look at names and headers only, so that a mistake is reported before
films are decoded.
"""

from __future__ import annotations

import math
import re
import subprocess
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps, ImageSequence
from unbraid.checks import check_field
from unbraid.data import speech
from unbraid.data.street import find_ffmpeg
from unbraid.support.progress import progress_bar

from unbraid_own.tables import normalise

SUFFIXES = {
    "films": (".mp4", ".m4v", ".mov", ".webm", ".gif", ".avi", ".mkv"),
    "pictures": (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm"),
    "recordings": (".wav", ".flac"),
}
FORMATS = "mov,mp4,avi,matroska,webm"  # of films but gifs; playlists, which name files, are others
HDR = "Video: .*(?:smpte2084|arib-std-b67)"  # the brightness of films of a wide range, PQ and HLG
# Of films with an alpha channel, and what lays them over grey before pixels are averaged; on some
# the drawbox of ffmpeg 5.1 crashes.
ALPHA = r"Video: .*\b(?:yuva|gbrap|rgba|argb|abgr|bgra|ayuv|vuya|ya\d|pal8)"
OPAQUE = "format=rgba,split[a],lutrgb=r=128:g=128:b=128:a=255[b];[b][a]overlay=format=rgb,"
DECIMAL = r"(?<![0-9.])[0-9]+\.[0-9]+(?!\.?[0-9])|[0-9]+"  # and whole numbers; no date, no version
REMEDY = "copy it again, save it anew, or remove it"
# What is said of whole films: trimmed, not encoded anew, they lack what first frames refer to.
TRIMMED = "[Rr]ef|POC|RPS|mmco|short term|keyframe|no frame|num gap|[VSP]PS|SEI|APP|dts"
UNEVEN = 1.6  # times the usual time from a step to the next; months differ by less
GREY = 128  # what transparent pixels are read as
LABELS = "labels.csv"  # is read when it lies in the folder
LEFT = (LABELS, "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information")
LOUDEST = 2.0**31  # sample; they may be whole numbers of 32 bits, written as floats
SILENT = 1e-6  # the largest difference between samples that is silence
CANCELLED = 1e-3  # what is left of channels that cancel, as a share of them

Values = tuple[np.ndarray, np.ndarray]
"""Bytes (T, C, size, size) or floats (T, D), NaN if missing; which steps (T,) were observed."""


@dataclass(frozen=True)
class RawSequences:
    """U named sequences, before the large files are read."""

    kind: str  # "films", "folders", "recordings", "rows" of an array, or "series"
    names: Sequence[str]  # U of them, in NFC
    read: Callable[[int], Values]  # from a sequence's number
    axes: str = ""  # what tells sequences and steps apart
    step: str = "a frame"  # what one is
    static: pd.DataFrame = field(default_factory=pd.DataFrame)  # labels, one row per name
    dynamic: dict[str, pd.Series] = field(default_factory=dict)  # of steps, by name and time
    times: list[pd.Index] | None = None  # of each sequence's steps; None: 0, 1, ...
    length: int | None = None  # steps of a clip where nobody asks for others; None: whole ones
    counts: Sequence[int] = ()  # of the steps of films, about, as their headers say
    columns: Sequence[str] = ()  # names of a series' variables
    notes: Sequence[str] = ()  # sentences on what was found
    planes: int = 0  # of frames: how many there will be, about, of all colours together
    sizes: set[tuple[int, int]] = field(default_factory=set)  # of frames before they are scaled

    def __post_init__(self) -> None:
        fields = vars(self)  # A frozen dataclass does not let its attributes be assigned.
        fields["names"] = [normalise(name) for name in self.names]
        if not len(self.static):
            fields["static"] = pd.DataFrame(index=self.names)

    def note(self, *sentences: str) -> RawSequences:
        """The same with further sentences."""
        return replace(self, notes=[*self.notes, *sentences])


def natural_order(path: Path, numbers: str = "[0-9]+") -> tuple[str | Decimal, ...]:
    """A key that sorts frame 2 before frame 10."""
    parts = re.split(f"({numbers})", normalise(path.name))
    return tuple(Decimal(part) if place % 2 else part for place, part in enumerate(parts))


def kind_of(path: Path) -> str:
    """What a file or folder holds, as its name says."""
    if path.is_dir():
        return "folders"
    kinds = (kind for kind, suffixes in SUFFIXES.items() if path.suffix.lower() in suffixes)
    return next(kinds, "other files") if path.is_file() else "other files"  # such as a pipe


@contextmanager
def explain(name: str) -> Iterator[None]:
    """Make one sentence with a file's name of anything that a foreign reader raises."""
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            yield
    except Exception as error:  # damaged files raise nearly anything
        reason = str(error).partition("\n")[0].strip() or type(error).__name__
        raise ValueError(f"{name} cannot be read ({reason}); {REMEDY}") from None


def find_in_folder(folder: Path, size: int, fit: str) -> RawSequences:
    """The films, folders of pictures or recordings in a folder, which may hold one of the three."""
    entries = list_entries(folder)
    counts = [f"{len(paths)} {kind} ({paths[0].name})" for kind, paths in entries.items()]
    others = entries.pop("other files", [])
    expected = "films alone, recordings alone, or folders of pictures, a folder per sequence"
    expected += f" ({', '.join(sum(SUFFIXES.values(), ()))})"
    is_one = len(entries) == 1 and "pictures" not in entries
    check_field(is_one, str(folder), expected, ", ".join(counts) or "an empty folder")
    ((kind, paths),) = entries.items()
    finders = {"films": find_films, "folders": find_folders, "recordings": find_recordings}
    raw = finders[kind](paths, size, fit)
    return raw.note(*name_others(others))


def list_entries(folder: Path) -> dict[str, list[Path]]:
    """What is in a folder, by kind, but its labels and what is hidden or left there by systems."""
    entries: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir(), key=natural_order):
        if not entry.name.startswith(".") and entry.name not in LEFT:
            entries.setdefault(kind_of(entry), []).append(entry)
    return entries


def name_others(others: list[Path]) -> list[str]:
    """A sentence on the files that are not read, if there are any."""
    listed = ", ".join(path.name for path in others[:3])
    return [f"Other files, {len(others)}, are left out, such as {listed}."] * bool(others)


def doubt_times(times: list[pd.Series]) -> list[str]:
    """A sentence on the first sequence whose times, by names, are not about equally far apart."""
    for gaps in (each.diff() for each in times):
        if gaps.max() > UNEVEN * gaps.median():
            found = f"before {gaps.idxmax()} lies {gaps.max() / gaps.median():.3g} times the usual"
            remedy = "steps are read as equally far apart, so fill the gap (a csv's by empty cells)"
            return [f"Careful: {found} time; {remedy}."]
    return []


# ---- films and pictures


def find_films(paths: list[Path], size: int, fit: str) -> RawSequences:
    """Films, each a sequence of all its frames."""
    found = [read_header(path) for path in progress_bar(paths, "looking at films")]
    sizes, counts, rates, headers = zip(*found, strict=True)

    def read(number: int) -> Values:
        path, header, how = paths[number], headers[number], (size, fit)
        frames = read_film(path, *how, header, counts[number]) if header else read_gif(path, *how)
        return frames, np.ones(len(frames), bool)

    names, has_hdr = [path.name for path in paths], any(re.match(HDR, text) for text in headers)
    notes = ["HDR films (PQ, HLG) look pale, because their values are read as they are."] * has_hdr
    if len(known := sorted(set().union(*rates) - {0})) > 1:
        said = f"Films have {known[0]:g} to {known[-1]:g} frames a second, and each frame is a step"
        notes.append(f"{said}: a motion is faster in some than in others. Give all one rate.")
    axes, planes = "each file is a sequence, and its frames are the steps", 3 * sum(counts)
    frames: dict[str, Any] = {"planes": planes, "sizes": set(sizes), "counts": counts}
    return RawSequences("films", names, read, axes, length=16, notes=notes, **frames)


def check_end(path: Path) -> None:
    """Refuse an empty file, and an avi or wav that is shorter than its header says."""
    with open(path, "rb") as file:
        head = file.read(8)
    check_field(head, path.name, "a film or a recording", "an empty file")
    claimed, found = int.from_bytes(head[4:], "little"), path.stat().st_size
    is_known = head[:4] == b"RIFF" and head[4:] != b"\xff\xff\xff\xff"
    expected = f"{claimed} bytes, as in its header ({REMEDY})"
    check_field(not is_known or claimed <= found, path.name, expected, found)


def run_ffmpeg(path: Path, options: list[str], decoder: list[str]) -> subprocess.CompletedProcess:
    """What ffmpeg writes on a film, what it says, and its status."""
    # Without "file:" a name with a colon would be read as a protocol.
    source = ["-hide_banner", "-format_whitelist", FORMATS, "-i", f"file:{path}"]
    # Of several pictures the first is read; what is attached to a film, as covers are, is none.
    program = [find_ffmpeg(), *decoder, *source, "-map", "0:V:0", *options]
    return subprocess.run(program, capture_output=True, stdin=subprocess.DEVNULL)


def read_header(path: Path) -> tuple[tuple[int, int], int, set[float], str]:
    """Size of a film as shown, how many frames, frames a second, and a header (no gif's)."""
    check_end(path)
    if path.suffix.lower() == ".gif":
        with explain(path.name), Image.open(path) as image:
            times = [frame.info.get("duration", 0) for frame in ImageSequence.Iterator(image)]  # ms
            return image.size, len(times), {1000 / time for time in times if time}, ""
    # A line per frame; no line said of the output begins with a text, or the name, of a film.
    result = run_ffmpeg(path, ["-c", "copy", "-f", "framecrc", "-"], [])
    text = result.stderr.decode(errors="replace").replace("\r", "")
    own = re.search(r"(?m)^  Stream #0:0.*: (Video: [^\0]*)", text.rpartition("\nOutput #0, ")[2])
    shape = re.search(rb"#dimensions 0: (\d+)x(\d+)\n#sar 0: (\d+)/(\d+)\n", result.stdout)
    if not own or not shape:
        reason = text.strip().rpartition("\n")[2]
        raise ValueError(f"{path.name} is no film ({reason}); {REMEDY}")
    width, height, wide, high = (int(number) or 1 for number in shape.groups())
    width, header = round(width * wide / high), own[1]  # of pixels that are not square
    if re.search(r"(?im)^ +display ?matrix: rotation of -?(90|270)\.", header):  # of telephones
        width, height = height, width
    rates = re.match(r"Video: .* ([\d.]+) fps(?:, ([\d.]+) tbr)?", header)
    rate, most = (float(number or 0) for number in (rates.groups() if rates else "00"))
    count = len(re.findall(rb"\n0,[^,]*, *[^- ]", result.stdout))  # At times below 0 none is shown.
    # Far more than the mean are those of a film whose rate varies.
    return (width, height), count, {rate, most if most > 2 * rate else rate}, header


def read_film(path: Path, size: int, fit: str, header: str, count: int = 0) -> np.ndarray:
    """All frames of a film, bytes (T, 3, size, size), on a grey background if it has any."""
    way, cut = {"crop": ("max", "crop={0}:{0}"), "pad": ("min", "pad={0}:{0}:-1:-1")}[fit]
    sides = (f"'{way}({size},round({size}{shape}))'" for shape in ("*dar", "/dar"))  # as shown
    scale = f"scale={':'.join(sides)}:flags=area+accurate_rnd+bitexact"
    # One plane per colour is the order in memory that models read.
    webm = re.search(r"(?m)^ +alpha_mode +: 1$", header)
    opaque = OPAQUE * bool(webm or re.match(ALPHA, header))
    filters = f"{opaque}{scale},format=rgb24,{cut.format(size)},format=gbrp,shuffleplanes=2:0:1"
    output = ["-fps_mode", "passthrough", "-vf", filters, "-f", "rawvideo", "-pix_fmt", "gbrp", "-"]
    # Of a webm file ffmpeg's own decoders leave the alpha channel out.
    codec = ["-c:v", "libvpx-vp9" if header.startswith("Video: vp9") else "libvpx"] * bool(webm)
    result = run_ffmpeg(path, ["-xerror", "-loglevel", "error", *output], codec)
    read = len(result.stdout) // (3 * size**2)
    said = result.stderr.decode(errors="replace") or f"{read} frames, status {result.returncode}"
    # Damage: a status, words of a decoder or of a container that is out of step, or lost frames.
    damage = re.search(rf"(?m)^\[(?:\S*matroska|{header[7:10]})(?!.*(?:{TRIMMED})).*", said)
    if result.returncode or damage or 4 * read <= 3 * count:
        reason = damage[0] if damage else said.partition("\n")[0]
        raise ValueError(f"{path.name} cannot be decoded to its end ({reason}); {REMEDY}")
    return np.frombuffer(bytearray(result.stdout), np.uint8).reshape(-1, 3, size, size)


def read_gif(path: Path, size: int, fit: str) -> np.ndarray:
    """All frames of a gif, bytes (T, 3, size, size)."""
    with explain(path.name), Image.open(path) as image:
        return np.stack([fit_picture(frame, size, fit) for frame in ImageSequence.Iterator(image)])


def find_folders(folders: list[Path], size: int, fit: str) -> RawSequences:
    """Folders of pictures, each a sequence in the order of the pictures' names."""
    pictures, sizes, others = [], set(), []  # type: ignore[var-annotated]
    for folder in folders:
        entries, where = list_entries(folder), f"the folder {folder.name}"
        paths = entries.pop("pictures", [])
        unread = entries.pop("other files", [])
        expected = f"two pictures or more in itself ({', '.join(SUFFIXES['pictures'])})"
        for kind in entries:
            expected += f", or all {kind} in one folder and their class in labels.csv"
            expected += f"; is {folder} meant?" * (len(folders) == 1)
        found = [path.name for path in [*sum(entries.values(), paths), *unread][:2]] or "none"
        check_field(len(paths) > 1, where, expected, found)
        check_numbers(paths, where)
        pictures.append(paths)
        others += unread

    def read(number: int) -> Values:
        frames = [read_picture(path, size, fit, sizes) for path in pictures[number]]
        return np.stack(frames), np.ones(len(frames), bool)

    names, planes = [folder.name for folder in folders], 3 * sum(map(len, pictures))
    axes = "each folder is a sequence, its pictures the steps, in the order of their names"
    notes = [*name_others(others), *doubt_times([count_pictures(paths) for paths in pictures])]
    more: dict[str, Any] = {"notes": notes, "planes": planes, "sizes": sizes}
    return RawSequences("folders", names, read, axes, "a picture", **more)


def check_numbers(paths: list[Path], where: str) -> None:
    """Refuse sorted pictures whose names leave their order open, or whether all are steps."""
    stems = {path.stem: re.sub("[0-9]+", "#", path.stem) for path in paths}
    kinds = {stems[path.stem] + path.suffix: path.name for path in paths}
    is_mixed = len(stems) < len(paths) or 1 < len({*stems.values()}) <= len(paths) / 2
    orders = [natural_order(path, DECIMAL) for path in paths]
    is_decimal = len({*orders}) == len(orders) and orders != sorted(orders)
    expected = "names that differ in one whole number alone, 0001, 0002, ... (move others away)"
    found = f"{' and '.join([*kinds.values()][:2])} among others"
    check_field(not (is_mixed or is_decimal), where, expected, found)


def count_pictures(paths: list[Path]) -> pd.Series:
    """The last number of each name, by folder and name; none if more differs, as in dates."""
    stems = pd.Series({f"{path.parent.name}/{path.name}": path.stem for path in paths})
    parts = stems.str.extract(r"^((?:.*\D)?)0*(\d{1,5})(\D*)$")
    is_one = parts.notna().all(axis=None) and len(parts[[0, 2]].drop_duplicates()) == 1
    return parts[1][: len(parts) * is_one].astype(float)


def read_picture(path: Path, size: int, fit: str, sizes: set[tuple[int, int]]) -> np.ndarray:
    """A picture as bytes (3, size, size); its own size is added to `sizes`."""
    with explain(f"{path.parent.name}/{path.name}"), Image.open(path) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError("it has more than 8 bits per colour, where 8 can be read")
        count = getattr(image, "n_frames", 1)
        if count > 1 and image.format != "MPO":  # a telephone's picture with its preview
            raise ValueError(f"it holds {count} pictures, where each must be a file of its own")
        ImageOps.exif_transpose(image, in_place=True)
        sizes.add(image.size)
        return fit_picture(image, size, fit)


def fit_picture(image: Image.Image, size: int, fit: str) -> np.ndarray:
    """A picture of any mode, averaged over areas, on a grey background: bytes (3, size, size).

    fit: "crop", its middle square; "pad", all of it, with black borders.
    """
    if image.mode not in ("L", "RGB", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
    way = ImageOps.pad if fit == "pad" else ImageOps.fit
    small = way(image, (size, size), Image.Resampling.BOX).convert("RGBA")
    # Grey, because figures without a background are most often black or white.
    ground = Image.new("RGBA", small.size, (GREY, GREY, GREY, 255))
    return np.asarray(Image.alpha_composite(ground, small))[..., :3].transpose(2, 0, 1)


# ---- recordings


def find_recordings(paths: list[Path], size: int, fit: str) -> RawSequences:
    """Recordings, each a sequence of the spectra of its chunks of 200 ms, see `speech.cut`."""
    import soundfile  # imported lazily, because only recordings need it

    rates = set()
    for path in paths:
        check_end(path)
        with explain(path.name):
            rates.add(soundfile.info(path).samplerate)
        check_field(min(rates) >= 8000, path.name, "8000 samples per second or more", min(rates))
    rate = 16_000 if min(rates) >= 16_000 else 8000

    def read(number: int) -> Values:
        waveform = speech.equal_level(read_waveform(paths[number], rate))
        chunks = speech.cut(speech.Utterances([waveform], {}, {}, rate, "", ""))
        return chunks.frames.flatten(0, 1).numpy(), chunks.observed.flatten().numpy()

    listed = ", ".join(map(str, sorted(rates)))
    notes = [f"Recordings of {listed} Hz are read at {rate} Hz, their channels averaged."]
    names = [path.name for path in paths]
    about = "each file is a sequence, its spectra the steps, in chunks of 200 ms", "a spectrum"
    return RawSequences("recordings", names, read, *about, length=speech.STEPS, notes=notes)


def read_waveform(path: Path, rate: int) -> torch.Tensor:
    """The mean of a recording's channels at `rate` samples per second, (samples,).

    A recording, or a mean of channels, with nothing to hear is refused.
    """
    import soundfile
    from scipy.signal import resample_poly  # imported lazily, because that takes a second

    with explain(path.name):
        samples, original = soundfile.read(path, dtype="float32", always_2d=True)
        count = soundfile.info(path).frames
        check_field(len(samples) == count, "samples", count, len(samples))
    expected = "samples, and a header that counts them (ffmpeg -i old.wav new.wav writes one)"
    check_field(count > 0, path.name, expected, "none")
    mean, largest = samples.mean(1), np.abs(samples).max()  # NaN if one is
    check_field(largest <= LOUDEST, path.name, "finite samples, -1 to 1", f"some of {largest:.3g}")
    widest = np.ptp(samples, axis=0).max()
    expected = "samples that differ (remove it, if it is silent)"
    check_field(widest > SILENT, path.name, expected, "one level in all of it")
    expected = "channels whose mean can be heard (save one of them alone)"
    check_field(np.ptp(mean) > CANCELLED * widest, path.name, expected, "channels that cancel")
    common = math.gcd(rate, original)
    mono = resample_poly(mean, rate // common, original // common)
    return torch.from_numpy(mono.astype(np.float32))
