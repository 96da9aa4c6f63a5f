"""Sets of the papers that only their owners may hand out: MUG and TIMIT (paper C).

A loader reads the folder of your own copy, which a variable of the environment names. A copy that
is laid out in another way than `OWN` says is refused, because its labels would be wrong.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from unbraid.checks import check_name
from unbraid.data.fetch import data_error
from unbraid.data.sequences import Sequences
from unbraid.data.speech import Utterances, cut

# The environment's variable, how to obtain the set, and what its folder holds.
FACES = "<subject>/<session, if any>/<expression>/<take>/*.jpg, numbered, 15 or more in a take"
VOICES = "TRAIN/DR1 ... DR8/<speaker>/<sentence>.WAV and TEST/..., at 16000 samples per second"
OWN = {
    "mug": ("UNBRAID_MUG", "lent on agreement: mug.ee.auth.gr/fed", FACES),
    "timit": ("UNBRAID_TIMIT", "sold: catalog.ldc.upenn.edu/LDC93S1", VOICES),
}
EXPRESSIONS = ("anger", "disgust", "happiness", "fear", "sadness", "surprise")
# TIMIT's core test: two men and a woman of each region.
CORE_TEST = """MDAB0 MWBT0 FELC0 MTAS1 MWEW0 FPAS0 MJMP0 MLNT0 FPKT0 MLLL0 MTLS0 FJLM0
MBPM0 MKLT0 FNLP0 MCMJ0 MJDH0 FMGD0 MGRT0 MNJM0 FDHC0 MJLN0 MPAM0 FMLD0"""


def load_mug(split: str = "train", image_size: int = 64) -> Sequences:
    """MUG Facial Expression Database: clips of 15 frames, bytes (N, 15, 3, image_size, image_size).

    As in paper C, a clip of more than 30 frames gives every second one from a random start, a
    shorter one gives 15 in a row. split: "train", or "test", a random quarter of the clips, of the
    same people. Labels, static: subject, expression.
    """
    check_name("split", split, ("train", "test"))
    root, generator = own_folder("mug"), np.random.default_rng(0)
    clips = []  # (subject, expression, fifteen paths)
    for take in sorted([*root.glob("*/*/*/"), *root.glob("*/*/*/*/")]):
        pictures, expression = list(take.glob("*.jpg")), take.parent.name
        if expression in EXPRESSIONS and len(pictures) >= 15:
            stride = 2 if len(pictures) > 30 else 1
            start = int(generator.integers(len(pictures) - 14 * stride))
            fifteen = sorted(pictures, key=find_number)[start::stride][:15]
            subject = take.relative_to(root).parts[0]
            clips.append((subject, EXPRESSIONS.index(expression), fifteen))
    subjects = tuple(sorted({subject for subject, _, _ in clips}))
    check_layout("mug", len(subjects) > 1, f"{len(clips)} takes in the folders {subjects}")

    tests, train = np.split(np.random.default_rng(0).permutation(len(clips)), [len(clips) // 4])
    part = [clips[number] for number in sorted(tests if split == "test" else train)]
    people, expressions, paths = zip(*part, strict=True)
    frames = torch.stack([read_pictures(fifteen, image_size) for fifteen in paths])
    number = torch.tensor([subjects.index(name) for name in people])
    labels = {"subject": number, "expression": torch.tensor(expressions)}
    about = f"MUG (own copy), {split} split: {len(part)} clips of {len(subjects)} people"
    classes = {"subject": subjects, "expression": EXPRESSIONS}
    return Sequences(frames, labels, tuple(labels), (), split, about, classes=classes)


def load_timit(split: str = "train") -> Sequences:
    """TIMIT as paper C cuts it: chunks of 200 ms, each 20 spectra (N, 20, 201), see `speech.cut`.

    split: "train", the 462 speakers of TRAIN, or "test", the 24 of the core test. SA1 and SA2,
    which all speakers say, are left out. Labels, static: speaker, utterance, chunk.
    """
    check_name("split", split, ("train", "test"))
    # By part, region, speaker and name, because some copies hold each in two formats.
    sentences: dict[tuple[str, ...], Path] = {}
    for path in sorted(own_folder("timit").glob("**/*.[Ww][Aa][Vv]")):
        row = tuple(path.as_posix().upper().split(".WAV")[0].split("/")[-4:])
        part, _, speaker, name = row
        is_wanted = part == "TRAIN" or (part == "TEST" and speaker in CORE_TEST.split())
        if is_wanted and name not in ("SA1", "SA2"):
            sentences.setdefault(row, path)
    # Both splits name the speakers of both, so that no number means two people.
    speakers = tuple(sorted({speaker for _, _, speaker, _ in sentences}))
    sentences = {row: path for row, path in sentences.items() if row[0] == split.upper()}
    check_layout("timit", bool(sentences), f"no sentence of {split.upper()}")

    voices = torch.tensor([speakers.index(speaker) for _, _, speaker, _ in sentences])
    about = f"TIMIT (own copy), {split} split: {len(sentences)} utterances, recorded level"
    waveforms = [read_sentence(path) for path in sentences.values()]
    names = {"speaker": speakers}
    return cut(Utterances(waveforms, {"speaker": voices}, names, 16_000, split, about))


def own_folder(name: str) -> Path:
    """The folder of an own copy, which the environment names; `DataError` where there is none."""
    path = os.environ.get(OWN[name][0], "")
    check_layout(name, Path(path).is_dir() and bool(path), path)
    return Path(path).resolve()


def check_layout(name: str, holds: bool, found: str) -> None:
    """Refuse a copy that is laid out in another way; found: in which."""
    if not holds:
        variable, obtain, layout = OWN[name]
        remedy = f"set {variable} to the folder of a copy in this form; {name} is {obtain}"
        raise data_error(f"{name} in {os.environ.get(variable)}", layout, found, remedy)


def find_number(path: Path) -> int:
    """The number at the end of the name of a picture of MUG, which stands in its order."""
    digits = re.findall(r"\d+$", path.stem)
    check_layout("mug", bool(digits), f"{path} without a number")
    return int(digits[0])


def read_sentence(path: Path) -> torch.Tensor:
    """The samples (N,) of a recording at 16 kHz."""
    import soundfile

    samples, rate = soundfile.read(path, dtype="float32")
    is_published = rate == 16_000 and samples.ndim == 1
    check_layout("timit", is_published, f"{path}: {rate} samples per second, {samples.shape}")
    return torch.from_numpy(samples)


def read_pictures(paths: Sequence[Path], image_size: int) -> torch.Tensor:
    """The middle squares of pictures as bytes (n, 3, image_size, image_size)."""
    size, filtering = (image_size, image_size), Image.Resampling.BILINEAR
    squares = [ImageOps.fit(Image.open(path).convert("RGB"), size, filtering) for path in paths]
    return torch.from_numpy(np.stack([*map(np.asarray, squares)])).permute(0, 3, 1, 2).contiguous()
