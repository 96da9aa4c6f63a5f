"""Anybody's clips: a folder with one film, or one folder of pictures, for each of them.

`find_clips` looks at all names and headers, so that what cannot be read is named before it is read.
A refusal ends in the line that makes a file readable; docs/own-data.md has them all.
"""

from __future__ import annotations

import re
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from unbraid.checks import check_field
from unbraid.data.street import find_ffmpeg
from unbraid.support.progress import progress_bar

from unbraid_own.series import LABELS, UNEVEN, Found, describe_span, normalise

SIZE = 32  # pixels of a frame, each way
LONGEST = 64  # frames of a clip
FEWEST_LEVELS = 16  # of 255, from the darkest value of frames to the brightest
FILMS, PICTURES = (".mp4", ".m4v", ".mov"), (".png", ".jpg", ".jpeg")
LEFT = {LABELS, "Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir", "#recycle"}  # by systems
PLAIN = r"yuvj?4\d\dp|nv12|gray|rgb24|bgr24|gbrp|rgb0|bgr0"  # pixels of 8 bits without alpha
ENCODE = "ffmpeg -i old -vf fps=25,format=yuv420p new.mp4 encodes it anew"
SHORTEN = "ffmpeg -i old -vf fps=8 -t 4 new.mp4; of parts of one film --group names the film"
CONVERT = "Image.open(old).convert('RGB').save(new) makes one, of 16 bits after / 257"
COUNT = "number them by path.rename(f'{number:04}.png')"
OTHERS = {  # by the ends of names: what makes clips or series of them
    ".avi .mkv .webm .gif .wmv .mpg .flv .ts": ENCODE,
    ".bmp .tif .tiff .webp .pgm .ppm .heic": CONVERT,
    ".npy .npz .pt .h5 .mat": "Image.fromarray(x[n, t]).save(f'{n:04}/{t:04}.png') writes frames, "
    "pd.DataFrame(...).to_csv a series; codes are for unbraid measure",
    ".wav .flac .mp3 .ogg": "the codes of a speech encoder are for unbraid measure",
    ".tsv .txt .xls .xlsx .json .parquet .gz": "pd.read_excel(old).to_csv(new, index=False), or "
    "likewise read_json, read_parquet, read_csv(old, sep=...)",
}


def find_clips(folder: Path) -> Found:
    """The clips of a folder; refuses all but films alone, or folders of pictures alone."""
    entries = list_entries(folder)
    films = [path for path in entries if path.suffix.lower() in FILMS and path.is_file()]
    folders = [path for path in entries if path.is_dir()]
    odd = [path for path in entries if path not in films and path not in folders]
    is_one = len(entries) in (len(films), len(folders)) and entries
    expected = f"films ({', '.join(FILMS)}) alone, or a folder of pictures alone for each clip"
    expected += f" ({name_remedy(odd)})"
    found = [paths[0].name for paths in (odd, films, folders) if paths]
    check_field(is_one, str(folder), expected, " and ".join(found) or "nothing")
    clips = {normalise(path.name): path for path in entries}
    looked = progress_bar(entries, "looking at clips")
    pairs = [(len(order_pictures(p)), 0.0) if folders else look_at_film(p) for p in looked]
    counts, rates = zip(*pairs, strict=True)
    expected = f"films of one rate, since each frame is a step ({ENCODE})"
    said = f"{min(rates):.4g} frames a second and {max(rates):.4g} frames"
    check_field(max(rates) <= 1.01 * min(rates), str(folder), expected, said)
    longest = int(np.argmax(counts))
    expected = f"at most {LONGEST} frames ({SHORTEN})"
    check_field(counts[longest] <= LONGEST, [*clips][longest], expected, counts[longest])
    taken = [
        ("clips", f"{len(clips)} of {describe_span(counts)} frames"),
        ("one step", f"a frame, {rates[0]:.4g} a second" if rates[0] else "a picture"),
        ("frames", "their middle squares, scaled to 32 x 32"),
    ]

    def read() -> list[np.ndarray]:
        values = []
        for path, count in zip(progress_bar(entries, "reading clips"), counts, strict=True):
            if folders:
                values.append(np.stack([*map(read_picture, order_pictures(path))]))
            else:
                values.append(read_film(path, count))
        levels = int(max(each.max() for each in values)) - min(each.min() for each in values)
        expected = "frames of some contrast (16 bits become 8 by / 257)"
        check_field(levels >= FEWEST_LEVELS, str(folder), expected, f"{levels} of 255")
        return values

    return Found([*clips], [pd.RangeIndex(count) for count in counts], read, taken, [])


def list_entries(folder: Path) -> list[Path]:
    """What is in a folder, sorted by name, but its labels and what is hidden or left by systems."""
    entries = (path for path in folder.iterdir() if path.name not in LEFT)
    return sorted(path for path in entries if path.name[0] != ".")


def name_remedy(odd: Sequence[Path]) -> str:
    """How to make what can be read of the first of odd files, by the end of its name."""
    suffix = odd[0].suffix.lower() if odd else "none"
    found = [remedy for suffixes, remedy in OTHERS.items() if suffix in suffixes.split()]
    return found[0] if found else "move others away"


# ---- films


def run_ffmpeg(path: Path, options: list[str]) -> tuple[bytes, str, int]:
    """What ffmpeg writes on a film, what it says, and its status."""
    # Without "file:" a name with a colon would be read as a protocol; playlists name other files.
    source = ["-hide_banner", "-xerror", "-format_whitelist", "mov,mp4", "-i", f"file:{path}"]
    # Of several pictures the first is read; what is attached to a film, as covers are, is none.
    program = [find_ffmpeg(), *source, "-map", "0:V:0", *options]
    done = subprocess.run(program, capture_output=True, stdin=subprocess.DEVNULL)
    return done.stdout, done.stderr.decode(errors="replace").replace("\r", ""), done.returncode


def look_at_film(path: Path) -> tuple[int, float]:
    """How many frames a film has, by its packets, which no header counts surely, and its rate."""
    packets, said, _ = run_ffmpeg(path, ["-c", "copy", "-f", "framecrc", "-"])
    stream = re.search(r"\n  Stream #0:0.*: Video: .*?, (\w+)", said.rpartition("\nOutput #0, ")[2])
    known = re.search(rb"#tb 0: (\d+)/(\d+)", packets)
    if not stream or not known:
        reason = said.strip().rpartition("\n")[2] or "an empty file"
        raise ValueError(f"{path.name} is no film of {', '.join(FILMS)} ({reason}); {ENCODE}")
    expected = f"pixels of 8 bits without alpha ({ENCODE})"
    check_field(re.fullmatch(PLAIN, stream[1]), path.name, expected, stream[1])
    # Frames at times below 0 are never shown.
    shown = np.sort(np.array(re.findall(rb"\n0,[^,]*, *(\d+),", packets), float))
    check_field(len(shown) > 1, path.name, "two frames or more", len(shown))
    gaps = np.diff(shown) * int(known[1]) / int(known[2])  # seconds
    expected = f"frames at equal times ({ENCODE})"
    found = f"{1000 * gaps.min():.0f} to {1000 * gaps.max():.0f} ms from one to the next"
    check_field(gaps.max() <= UNEVEN * gaps.min(), path.name, expected, found)
    return len(shown), float(1 / gaps.mean())


def read_film(path: Path, count: int = 0) -> np.ndarray:
    """All frames of a film, their middle squares averaged over areas: bytes (T, 3, 32, 32).

    Refuses a film that ffmpeg complains of, or of another count than that of its packets.
    """
    sides = (f"'max({SIZE},round({SIZE}{shape}))'" for shape in ("*dar", "/dar"))  # as shown
    scale = f"scale={':'.join(sides)}:flags=area+accurate_rnd+bitexact"
    # One plane per colour is the order in memory that models read.
    filters = f"{scale},format=rgb24,crop={SIZE}:{SIZE},format=gbrp,shuffleplanes=2:0:1"
    output = ["-fps_mode", "passthrough", "-vf", filters, "-f", "rawvideo", "-pix_fmt", "gbrp", "-"]
    pixels, said, status = run_ffmpeg(path, ["-loglevel", "error", *output])
    frames, count = len(pixels) // (3 * SIZE**2), count or look_at_film(path)[0]
    if said or status or frames != count:
        reason = said.partition("\n")[0] or f"{frames} of {count} frames"
        raise ValueError(f"{path.name} cannot be decoded to its end ({reason}); {ENCODE}")
    return np.frombuffer(bytearray(pixels), np.uint8).reshape(-1, 3, SIZE, SIZE)


# ---- pictures


def order_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of the numbers at the ends of their names.

    Refuses names that differ in more than these numbers, and numbers that do not count up by one:
    then the order is open, as where a camera begins anew, or steps are missing.
    """
    paths, where = list_entries(folder), f"the folder {folder.name}"
    odd = [path for path in paths if path.suffix.lower() not in PICTURES]
    expected = f"two pictures or more ({', '.join(PICTURES)}; {name_remedy(odd)})"
    found = ", ".join(path.name for path in odd[:1] or paths[:1]) or "none"
    check_field(len(paths) > 1 and not odd, where, expected, found)
    parts = [re.fullmatch(r"(.*?)(\d*)", path.stem).groups() for path in paths]  # type: ignore[union-attr]
    kinds = sorted({(prefix, path.suffix) for (prefix, _), path in zip(parts, paths, strict=True)})
    numbers = np.array([int(number or -1) for _, number in parts])
    order = np.argsort(numbers, kind="stable")
    place = int((np.diff(numbers[order]) != 1).argmax())
    found = f"{paths[order[place + 1]].name} after {paths[order[place]].name}"
    expected = f"names that differ in a number alone, which counts up by one ({COUNT})"
    is_counted = len(kinds) == 1 and (np.diff(numbers[order]) == 1).all() and numbers.min() >= 0
    check_field(is_counted, where, expected, found)
    return [paths[place] for place in order]


def read_picture(path: Path) -> np.ndarray:
    """The middle square of a picture of 8 bits, averaged over areas: bytes (3, 32, 32)."""
    try:
        with warnings.catch_warnings(action="error"), Image.open(path) as image:
            kind = f"{image.format} of {getattr(image, 'n_frames', 1)}, {image.mode}"
            upright = ImageOps.exif_transpose(image)
            small = ImageOps.fit(upright, (SIZE, SIZE), Image.Resampling.BOX).convert("RGB")
            is_clear = "transparency" in image.info
    except Exception as error:  # damaged files raise nearly anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} cannot be read ({reason}); save it anew, or {CONVERT}") from None
    # A telephone's MPO has a preview beside the picture.
    is_plain = re.fullmatch(r"((PNG|JPEG) of 1|MPO of \d+), (L|RGB)", kind) and not is_clear
    check_field(is_plain, str(path), f"a PNG or JPEG, L or RGB ({CONVERT})", kind)
    return np.asarray(small).transpose(2, 0, 1)
