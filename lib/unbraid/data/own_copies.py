"""Sets of the papers that only their owners may hand out: MUG and TIMIT (paper C), Aff-Wild (paper B). Bring your own copy.

Each loader takes the folder of your copy, or finds it in an environment variable, and says in its docstring how the files
must lie there. Frames are read once and then taken from the cache on this machine; no byte of a copy goes anywhere else.
"""

from __future__ import annotations

import io
import os
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from unbraid.data.composed import composed
from unbraid.data.sequences import Sequences
from unbraid.data.sources import problem
from unbraid.data.speech import Utterances, cut, waveform
from unbraid.data.sprites import PILLOW_ERRORS

OWN = {  # environment variable, how to obtain the set, what to use meanwhile
    "mug": (
        "UNBRAID_MUG",
        "free for research on a signed agreement, mug.ee.auth.gr/fed",
        "drawn_sprites, or faces for people",
    ),
    "timit": (
        "UNBRAID_TIMIT",
        "sold by the Linguistic Data Consortium, catalog.ldc.upenn.edu/LDC93S1",
        "spoken_digits",
    ),
    "aff_wild": (
        "UNBRAID_AFF_WILD",
        "free for research on a signed agreement, ibug.doc.ic.ac.uk/resources/aff-wild2",
        "faces",
    ),
}
EXPRESSIONS = ("anger", "disgust", "happiness", "fear", "sadness", "surprise")  # in paper C's order
LARGEST, LARGEST_SIDE = 2**26, 8192  # bytes and pixels of a picture that is read at all
DEVELOPMENT = frozenset(
    "FADG0 FAKS0 FCAL1 FCMH0 FDAC1 FDMS0 FDRW0 FEDW0 FGJD0 FJEM0 FJMG0 FJSJ0 FKMS0 FMAH0 FMML0 FNMR0 FREW0 FSEM0 MAJC0 MBDG0 MBNS0 "
    "MBWM0 MCSH0 MDLF0 MDLS0 MDVC0 MERS0 MGJF0 MGLB0 MGWT0 MJAR0 MJFC0 MJSW0 MMDB1 MMDM2 MMJR0 MMWH0 MPDF0 MRCS0 MREB0 MRJM4 MRJR0 "
    "MROA0 MRTK0 MRWS1 MTAA0 MTDT0 MTEB0 MTHC0 MWJG0".split()
)
CORE_TEST = frozenset(
    "MDAB0 MWBT0 FELC0 MTAS1 MWEW0 FPAS0 MJMP0 MLNT0 FPKT0 MLLL0 MTLS0 FJLM0 MBPM0 MKLT0 FNLP0 MCMJ0 MJDH0 FMGD0 MGRT0 MNJM0 FDHC0 "
    "MJLN0 MPAM0 FMLD0".split()
)


def load_mug(
    split: str = "train",
    folder: str | os.PathLike | None = None,
    image_size: int = 64,
    crop: float = 1.0,
    leave_out: Collection[str] = (),
    seed: int = 0,
) -> Sequences:
    """MUG Facial Expression Database: clips of 15 frames, bytes (N, 15, 3, image_size, image_size).

    Layout of the folder (or `UNBRAID_MUG`), as in MUG's subjects3; pictures of a clip in the order of their numbers:
        <subject>/<expression>/<take>/*.jpg    or    <subject>/<any folder>/<expression>/<take>/*.jpg

    split      "train" or "test": a random quarter of the clips, of the same people. Paper C's lists are not published; its test
               holds at least 746 of 3 429 clips.
    crop       share of the shorter side that is cut out of the middle. The paper finds faces by a Haar cascade: bring pictures
               cropped to the face, or try 0.6.
    leave_out  clips to drop, by their paths in the folder, as "<subject>/<expression>/<take>". The paper drops 61 "bad" ones from
               its test; which, is not known for your copy, so none is dropped unless you name it.
    seed       of the split and of where clips start

    As in paper C: from clips of more than 30 frames every second one from a random start, from shorter ones 15 in a row, and
    none from those of fewer than 15. Labels, static: subject, expression (6; the rest, such as neutral, is not read).
    Raises `DataError` without the folder or with damaged pictures, `ValueError` for an unknown option.
    """
    _check(split, image_size)
    if not 0 < crop <= 1:
        raise ValueError(f"crop: expected more than 0, at most 1, found {crop}")
    root = _folder("mug", folder)
    clips = []
    for take in sorted(
        take
        for name in EXPRESSIONS
        for middle in ("", "*/")
        for take in root.glob(f"*/{middle}{name}/*/")
    ):
        if len(pictures := _pictures(take)) >= 15:
            within = take.relative_to(root)
            clips.append((within.as_posix(), within.parts[0], take.parent.name, pictures))
    if not clips:
        raise problem(
            f"{root}: no clip of MUG",
            "<subject>/<expression>/<take>/ with 15 pictures or more",
            "none",
            "see load_mug",
        )
    subjects = tuple(sorted({subject for _, subject, _, _ in clips}))
    if unknown := set(leave_out) - {name for name, *_ in clips}:
        raise ValueError(
            f"leave_out: expected clips such as {clips[0][0]}, found {sorted(unknown)}"
        )
    part = [clips[number] for number in _part(root, len(clips), 4, split, seed)]
    clips = [clip for clip in part if clip[0] not in leave_out]
    chosen = [
        picture for name, _, _, pictures in clips for picture in _fifteen(pictures, name, seed)
    ]
    frames = _frames("mug", split, chosen, image_size, crop).view(
        len(clips), 15, 3, image_size, image_size
    )
    return Sequences(
        frames=frames,
        labels={
            "subject": np.array([subjects.index(subject) for _, subject, _, _ in clips]),
            "expression": np.array(
                [EXPRESSIONS.index(expression) for _, _, expression, _ in clips]
            ),
        },
        static=("subject", "expression"),
        split=split,
        provenance=f"MUG (own copy), {split} split: {len(clips)} clips of {len(subjects)} people, {len(part) - len(clips)} named clips left out",
        classes={"subject": subjects, "expression": EXPRESSIONS},
    )


def load_timit(
    split: str = "train",
    folder: str | os.PathLike | None = None,
    features: str = "spectrogram",
    level: str = "recorded",
) -> Sequences:
    """TIMIT as paper C has it: chunks of 200 ms, each a series (N, 20, 201) of spectra, see `speech.cut`.

    Layout of the folder (or `UNBRAID_TIMIT`), in capitals or not; TIMIT's own SPHERE files, or RIFF files of the same names:
        TRAIN/DR1 ... DR8/<speaker>/<sentence>.WAV    and    TEST/DR1 ... DR8/<speaker>/<sentence>.WAV

    split  "train": the 462 speakers of TRAIN and the 50 of TEST that are used for development, 4 096 utterances (1 GB of
           spectra); "test": the 24 speakers of the core test, 192 utterances. The sentences SA1 and SA2, said by all, are dropped.
    level  "recorded", as the paper, or "equal", see `speech.utterances`

    Labels, static: speaker, sex, region; utterance and chunk, see `speech.cut`. Raises as `load_mug`.
    """
    _check(split, 64)
    if level not in ("recorded", "equal"):
        raise ValueError(f"level: expected recorded or equal, found {level!r}")
    root, found = _folder("timit", folder), {}
    for path in sorted(root.rglob("*")):
        parts = [part.upper() for part in path.parts[-4:]]
        if (
            path.suffix.upper() != ".WAV"
            or len(parts) < 4
            or parts[0] not in ("TRAIN", "TEST")
            or not re.fullmatch("DR[1-8]", parts[1])
        ):
            continue
        sentence, speaker = parts[3].split(".")[0], parts[2]
        test = parts[0] == "TEST"
        if sentence not in ("SA1", "SA2") and not (test and speaker not in DEVELOPMENT | CORE_TEST):
            found.setdefault(
                (speaker, sentence),
                (path, parts[1], "test" if test and speaker in CORE_TEST else "train"),
            )
    chosen = {names: row for names, row in found.items() if row[2] == split}
    if not chosen:
        raise problem(
            f"{root}: no utterance of TIMIT's {split} split",
            "see the layout in load_timit",
            "none",
            "correct the folder",
        )
    speakers, regions = (
        tuple(sorted({speaker for speaker, _ in found})),
        tuple(f"DR{number}" for number in range(1, 9)),
    )
    whole_set = (4096, 512) if split == "train" else (192, 24)
    amount = f"{len(chosen)} of {whole_set[0]} utterances, {len({speaker for speaker, _ in chosen})} of {whole_set[1]} speakers"
    whole = Utterances(
        waveforms=[waveform(path, 16_000, level) for path, _, _ in chosen.values()],
        labels={
            "speaker": torch.tensor([speakers.index(speaker) for speaker, _ in chosen]),
            "sex": torch.tensor([int(speaker.startswith("M")) for speaker, _ in chosen]),
            "region": torch.tensor([regions.index(region) for _, region, _ in chosen.values()]),
        },
        classes={"speaker": speakers, "sex": ("female", "male"), "region": regions},
        rate=16_000,
        split=split,
        provenance=f"TIMIT (own copy), {split} split: {amount}, {level} level",
    )
    return cut(whole, features)


def load_aff_wild(
    split: str = "train",
    folder: str | os.PathLike | None = None,
    image_size: int = 64,
    length: int = 64,
    order: str = "time",
    seed: int = 0,
) -> Sequences:
    """Aff-Wild: up to `length` frames of each video, bytes (N, T, 3, image_size, image_size), one person's face in changing moods.

    Layout of the folder (or `UNBRAID_AFF_WILD`), pictures already cropped to the face, their names the frames' numbers from 1 on:
        <video>/*.jpg
        annotations/<video>.txt    may be missing; "valence,arousal" in the first line, then a line a frame, in [-1, 1]

    split   "train" or "test": a random fifth of the videos. Who is in which is not known here, so one person may be in two.
            Paper B does not say how it splits.
    length  frames taken of a video, equally far apart; paper B's sequences have 20 to 450. Videos of fewer than 20 are dropped,
            those with fewer than `length` end in black frames, which the mask (N, T) marks as not observed.
    order   "time", or "random": shuffled, for models that must not use the order
    seed    of the split and the shuffling

    Labels: video (N,), static; frame (N, T), its number, dynamic; with annotations also valence and arousal (N, T), and annotated,
    0 where there are none (the publisher writes -5). Raises as `load_mug`.
    """
    _check(split, image_size)
    if length < 1 or order not in ("time", "random"):
        raise ValueError(
            f"length, order: expected 1 or more, time or random, found {length}, {order!r}"
        )
    root = _folder("aff_wild", folder)
    videos = {
        path.name: pictures
        for path in sorted(root.glob("*/"))
        if len(pictures := _pictures(path)) >= 20
    }
    if not videos:
        raise problem(
            f"{root}: no video of Aff-Wild",
            "<video>/ with 20 pictures or more",
            "none",
            "see load_aff_wild",
        )
    names, generator = tuple(videos), np.random.default_rng(seed)
    numbers = _part(root, len(names), 5, split, seed)
    counts = [min(length, len(videos[names[number]])) for number in numbers]
    chosen, places = [], []
    for number, count in zip(numbers, counts):
        pictures = videos[names[number]]
        places.append(
            len(chosen) + (generator.permutation(count) if order == "random" else np.arange(count))
        )
        chosen += [
            pictures[step] for step in np.linspace(0, len(pictures) - 1, count).round().astype(int)
        ]
    mask, which = np.arange(max(counts)) < np.array(counts)[:, None], np.concatenate(places)
    frames = torch.zeros(*mask.shape, 3, image_size, image_size, dtype=torch.uint8)
    frames[torch.from_numpy(mask)] = _frames("aff-wild", split, chosen, image_size)[
        torch.from_numpy(which)
    ]
    steps = {"frame": np.zeros(mask.shape, np.int64)}
    steps["frame"][mask] = np.array([_number(picture) for picture in chosen])[which]
    if (root / "annotations").is_dir():
        steps |= _moods(
            [root / "annotations" / f"{names[number]}.txt" for number in numbers], steps["frame"]
        )
    return Sequences(
        frames=frames,
        labels={"video": np.array(numbers), **steps},
        static=("video",),
        dynamic=tuple(steps),
        split=split,
        provenance=f"Aff-Wild (own copy), {split} split: {len(numbers)} videos, {mask.sum()} frames, order: {order}",
        mask=torch.from_numpy(mask),
        classes={"video": names},
    )


def read_picture(path: str | os.PathLike, image_size: int, crop: float = 1.0) -> np.ndarray:
    """A JPEG or PNG picture's middle square, `crop` of its shorter side: uint8 (3, image_size, image_size). `DataError` if damaged."""
    path = Path(path)
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise ValueError(f"{size} bytes")
        with Image.open(
            io.BytesIO(path.read_bytes()), formats=("JPEG", "PNG")
        ) as picture:  # not the file: a false length takes memory
            if max(picture.size) > LARGEST_SIDE:
                raise ValueError(f"{picture.size[0]} x {picture.size[1]} pixels")
            picture.draft(
                "RGB", (round(2 * image_size / crop),) * 2
            )  # a large JPEG is decoded smaller, but not below twice the square
            half, x, y = crop * min(picture.size) / 2, picture.size[0] / 2, picture.size[1] / 2
            box = (x - half, y - half, x + half, y + half)
            square = picture.convert("RGB").resize(
                (image_size, image_size), Image.Resampling.BILINEAR, box
            )
    except PILLOW_ERRORS as error:
        expected = f"JPEG or PNG, sides up to {LARGEST_SIDE} pixels, up to {LARGEST} bytes"
        raise problem(f"{path}: damaged picture", expected, error, "copy it again") from error
    return np.asarray(square).transpose(2, 0, 1)


def read_moods(path: str | os.PathLike) -> np.ndarray:
    """An annotation file of Aff-Wild: valence and arousal of each frame, (lines, 2), in [-1, 1] or -5. `DataError` if damaged."""
    path = Path(path)
    try:
        lines = path.read_text(encoding="ascii").split() if path.stat().st_size < LARGEST else []
        lines = lines[1:] if lines[:1] == ["valence,arousal"] else lines
        values = np.array([[float(word) for word in line.split(",")] for line in lines]).reshape(
            len(lines), 2
        )
        if not len(lines) or not ((values == -5) | (abs(values) <= 1)).all():
            raise ValueError("other values" if lines else "no line")
    except (OSError, ValueError) as error:
        expected = "a line valence,arousal, then two numbers a line, in [-1, 1] or -5"
        raise problem(f"{path}: damaged annotation", expected, error, "copy it again") from error
    return values


def _moods(paths: Sequence[Path], frame: np.ndarray) -> dict[str, np.ndarray]:
    """Valence, arousal and annotated (N, T) for the frames of the numbers `frame` (N, T), 0 is none; a line of a file is a frame."""
    moods = {
        "valence": np.zeros(frame.shape, np.float32),
        "arousal": np.zeros(frame.shape, np.float32),
    }
    moods["annotated"] = np.zeros(frame.shape, np.int64)
    for row, path in enumerate(paths):
        values = read_moods(path) if path.exists() else np.zeros((0, 2))
        for step, number in enumerate(frame[row]):
            if 1 <= number <= len(values) and (values[number - 1] >= -1).all():
                moods["valence"][row, step], moods["arousal"][row, step] = values[number - 1]
                moods["annotated"][row, step] = 1
    return moods


def _check(split: str, image_size: int) -> None:
    if split not in ("train", "test") or not 8 <= image_size <= 512:
        raise ValueError(
            f"split, image_size: expected train or test, 8 to 512, found {split!r}, {image_size}"
        )


def _folder(name: str, folder: str | os.PathLike | None) -> Path:
    """The folder of an own copy: the one given, else the one that the environment names."""
    variable, obtain, meanwhile = OWN[name]
    given = folder or os.environ.get(variable)
    if not given or not Path(given).expanduser().is_dir():
        mend = f"{name} is {obtain}; with a copy, set {variable} or pass folder=; meanwhile use {meanwhile}"
        raise problem(
            f"{name}: not at hand",
            "a folder with your own copy",
            f"{given}, which is none" if given else "none named",
            mend,
        )
    return Path(given).expanduser().resolve()


def _number(path: Path) -> int:
    return int(([0] + re.findall(r"\d{1,9}", path.stem))[-1])


def _pictures(folder: Path) -> list[Path]:
    pictures = [
        path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    ]
    return sorted(pictures, key=lambda path: (_number(path), path.name))


def _part(root: Path, count: int, share: int, split: str, seed: int) -> list[int]:
    """Numbers below `count`: one in `share`, drawn at random, for the test, else the others; in ascending order."""
    order = np.random.default_rng(seed).permutation(count)
    chosen = order[: count // share] if split == "test" else order[count // share :]
    if not len(chosen):
        raise problem(
            f"{root}: too little to split",
            f"{share} sequences or more",
            count,
            "bring more of the set",
        )
    return sorted(chosen.tolist())


def _fifteen(pictures: Sequence[Path], name: str, seed: int) -> Sequence[Path]:
    """The frames of a clip that paper C takes, see `load_mug`; the start depends on the clip's name and the seed alone."""
    stride = 2 if len(pictures) > 30 else 1
    last = len(pictures) - 14 * stride - 1
    start = np.random.default_rng([seed, zlib.crc32(name.encode())]).integers(
        0, last, endpoint=True
    )
    return pictures[start : start + 14 * stride + 1 : stride]


def _frames(
    name: str, split: str, paths: Sequence[Path], image_size: int, crop: float = 1.0
) -> Tensor:
    """The pictures as bytes (N, 3, image_size, image_size), read once and then taken from the cache."""

    def rows() -> Iterator[np.ndarray]:
        for path in tqdm(paths, desc=f"{name} {split}", unit="picture", disable=None):
            yield read_picture(path, image_size, crop)

    states = [(path, path.stat()) for path in paths]
    inputs = "\n".join(
        [
            "own copy 1",
            f"{crop} {image_size}",
            *(f"{path} {state.st_size} {state.st_mtime_ns}" for path, state in states),
        ]
    )
    return composed(
        f"{name}-{split}-{image_size}", inputs, (len(paths), 3, image_size, image_size), rows
    )
