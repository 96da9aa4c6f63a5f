"""Sets of the papers that only their owners may hand out: MUG and TIMIT (paper C), Aff-Wild (B).

A loader finds the folder of your own copy in an environment variable, else raises `DataError`.
"""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps
from torch.nn.utils.rnn import pad_sequence

from unbraid.data.fetch import data_error
from unbraid.data.sequences import Sequences
from unbraid.data.speech import Utterances, cut, equal_level

OWN = {  # environment variable, how to obtain the set, what to use meanwhile
    "mug": ("UNBRAID_MUG", "lent on agreement: mug.ee.auth.gr/fed", "sprites or faces"),
    "timit": ("UNBRAID_TIMIT", "sold: catalog.ldc.upenn.edu/LDC93S1", "spoken_digits"),
    "aff_wild": ("UNBRAID_AFF_WILD", "lent on agreement: ibug.doc.ic.ac.uk/resources", "faces"),
}
EXPRESSIONS = ("anger", "disgust", "happiness", "fear", "sadness", "surprise")
MUG_LAYOUT = f"<subject>/.../<expression>/<take>/*.jpg with expressions {', '.join(EXPRESSIONS)}"
TIMIT_LAYOUT = "TRAIN/DR1 ... DR8/<speaker>/<sentence>.WAV and TEST/..., in capitals or not"
REGIONS = tuple(f"DR{number}" for number in range(1, 9))
# TIMIT's core test: two men and a woman of each region.
CORE_TEST = """MDAB0 MWBT0 FELC0 MTAS1 MWEW0 FPAS0 MJMP0 MLNT0 FPKT0 MLLL0 MTLS0 FJLM0
MBPM0 MKLT0 FNLP0 MCMJ0 MJDH0 FMGD0 MGRT0 MNJM0 FDHC0 MJLN0 MPAM0 FMLD0"""


def load_mug(split: str = "train", image_size: int = 64) -> Sequences:
    """MUG Facial Expression Database: clips of 15 frames, bytes (N, 15, 3, image_size, image_size).

    The layout is <subject>/.../<expression>/<take>/*.jpg, pictures cropped to the face. As in
    paper C, a clip of more than 30 frames gives every second one from a random start, a shorter
    one gives 15 in a row, and one below 15 is left out. split: "train", or "test", a random
    quarter of the clips, of the same people.
    Labels, static: subject, expression.
    """
    root, generator = own_folder("mug"), np.random.default_rng(0)
    clips = []  # (subject, expression, fifteen paths)
    for take, pictures in _list_takes(root):
        stride = 2 if len(pictures) > 30 else 1
        start = int(generator.integers(len(pictures) - 14 * stride))
        fifteen = pictures[start : start + 14 * stride + 1 : stride]
        subject = take.relative_to(root).parts[0]
        clips.append((subject, EXPRESSIONS.index(take.parent.name), fifteen))
    subjects = tuple(sorted({subject for subject, _, _ in clips}))
    part = [clips[number] for number in _part(root, len(clips), 4, split)]
    subject, expression, pictures = zip(*part, strict=True)
    frames = torch.stack([_read_pictures(paths, image_size) for paths in pictures])
    labels = {"subject": [subjects.index(name) for name in subject], "expression": expression}
    about = f"MUG (own copy), {split} split: {len(part)} clips of {len(subjects)} people"
    classes = {"subject": subjects, "expression": EXPRESSIONS}
    return Sequences(frames, labels, tuple(labels), (), split, about, classes=classes)


def _list_takes(root: Path) -> list[tuple[Path, list[Path]]]:
    """The folder and the pictures of each take of MUG that has fifteen of them, in fixed order.

    Raises `DataError` for another layout.
    """
    folders = [take for take in sorted(root.rglob("*/")) if take.parent.name in EXPRESSIONS]
    takes = [(take, sorted(take.glob("*.jpg"))) for take in folders]
    long_enough = [(take, pictures) for take, pictures in takes if len(pictures) >= 15]
    subjects = {take.relative_to(root).parts[0] for take in folders}
    found = (
        f"{len(folders)} takes, {len(long_enough)} of them with 15 pictures; {_count_files(root)}"
    )
    remedy = "rename or move folders, or set UNBRAID_MUG to the folder that holds the subjects"
    if subjects & set(EXPRESSIONS):
        remedy = "put the expressions of each subject into a folder with the subject's name"
        found += ", and expressions where subjects should be"
    if subjects & set(EXPRESSIONS) or not long_enough:
        raise data_error(root, MUG_LAYOUT, found, remedy)
    return long_enough


def load_timit(split: str = "train", level: str = "recorded") -> Sequences:
    """TIMIT as paper C cuts it: chunks of 200 ms, each 20 spectra (N, 20, 201), see `speech.cut`.

    The layout is TRAIN/<region>/<speaker>/<sentence>.WAV and TEST/..., in capitals or not. SA1 and
    SA2, which all speakers say, are left out. split: "train", the 462 speakers of TRAIN, or "test",
    the 24 of the core test. level: "recorded" or "equal".
    Labels, static: speaker, sex, region, utterance, chunk.
    """
    root = own_folder("timit")
    files = _list_sentences(root)
    # Both splits name the speakers of both, so that no number means two people.
    speakers = tuple(sorted({speaker for _, _, speaker, _ in files}))
    files = {row: path for row, path in files.items() if row[0] == split.upper()}
    if not files:
        remedy = "move folders, or set UNBRAID_TIMIT to the folder that holds TRAIN and TEST"
        found = f"no sentence of {split.upper()}; {_count_files(root)}"
        raise data_error(root, TIMIT_LAYOUT, found, remedy)
    waveforms = []
    for path in files.values():
        waveform = _read_sentence(path)
        waveforms.append(equal_level(waveform) if level == "equal" else waveform)
    _, region, speaker, _ = zip(*files, strict=True)
    labels = {
        "speaker": torch.tensor([speakers.index(name) for name in speaker]),
        "sex": torch.tensor([int(name[0] == "M") for name in speaker]),
        "region": torch.tensor([REGIONS.index(name) for name in region]),
    }
    classes = {"speaker": speakers, "sex": ("female", "male"), "region": REGIONS}
    about = f"TIMIT (own copy), {split} split: {len(files)} utterances, {level} level"
    return cut(Utterances(waveforms, labels, classes, 16_000, split, about))


def _list_sentences(root: Path) -> dict[tuple[str, str, str, str], Path]:
    """The files of TIMIT by part, region, speaker and sentence, all in capitals.

    Of TEST only the speakers of the core test are listed, and SA1 and SA2 of nobody. Some copies
    hold a sentence in two formats, of which one is listed.
    """
    files = {}
    for path in sorted(root.glob("**/*.[Ww][Aa][Vv]")):
        row = tuple(path.as_posix().upper().split(".WAV")[0].split("/")[-4:])
        part, region, speaker, sentence = row
        is_wanted = part == "TRAIN" or (part == "TEST" and speaker in CORE_TEST)
        if is_wanted and region in REGIONS and sentence not in ("SA1", "SA2"):
            files.setdefault(row, path)
    return files


def _read_sentence(path: Path) -> torch.Tensor:
    """The samples of a recording; `DataError` for one that is not of 16 kHz, or cannot be read."""
    try:
        import soundfile  # It is imported late, because only this function needs it.

        samples, rate = soundfile.read(path, dtype="float32")
    except (ImportError, RuntimeError) as error:
        remedy = "python -m pip install soundfile, or turn the files into plain WAV"
        raise data_error(path, "a recording that soundfile can read", error, remedy) from None
    if rate != 16_000 or samples.ndim != 1:
        found = f"{rate} samples per second in {samples.ndim} channels"
        remedy = "use the files as they were published"
        raise data_error(path, "16000 samples per second in 1 channel", found, remedy)
    return torch.from_numpy(samples)


def load_aff_wild(split: str = "train", image_size: int = 64) -> Sequences:
    """Aff-Wild: up to 64 frames of each video, bytes (N, T, 3, image_size, image_size).

    The layout is <video>/00001.jpg ..., cropped to the face, and annotations/<video>.txt, which has
    the line "valence,arousal" and then a line per frame, in [-1, 1], or -5 for none. The frames are
    equally far apart; videos of fewer than 20 are left out. split: "train", or "test", a random
    fifth. Labels: video, static; frame, valence, arousal (N, T), dynamic, 0 for none. The mask
    (N, T) ends where a video does.
    """
    root = own_folder("aff_wild")
    videos = {path.name: sorted(path.glob("*.jpg")) for path in sorted(root.glob("*/"))}
    videos = {name: pictures for name, pictures in videos.items() if len(pictures) >= 20}
    numbers = _part(root, len(videos), 5, split)
    films, steps = [], []
    for name, pictures in [list(videos.items())[number] for number in numbers]:
        index = np.linspace(0, len(pictures) - 1, min(64, len(pictures))).round().astype(int)
        pictures = [pictures[step] for step in index]
        films.append(_read_pictures(pictures, image_size))
        path = root / "annotations" / f"{name}.txt"
        moods = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["valence", "arousal"])
        moods.index += 1  # the number of the frame
        moods = moods.where(moods >= -1).reindex([int(picture.stem) for picture in pictures])
        steps.append(torch.from_numpy(moods.fillna(0.0).reset_index().to_numpy(np.float32)))
    frame, valence, arousal = pad_sequence(steps, batch_first=True).unbind(2)  # (N, T) each
    labels = {"video": numbers, "frame": frame, "valence": valence, "arousal": arousal}
    about = f"Aff-Wild (own copy), {split} split: {len(numbers)} videos"
    frames, dynamic = pad_sequence(films, batch_first=True), tuple(labels)[1:]
    classes = {"video": tuple(videos)}
    return Sequences(frames, labels, ("video",), dynamic, split, about, frame > 0, classes)


def own_folder(name: str) -> Path:
    """The folder of an own copy, which the environment names; `DataError` where there is none."""
    variable, obtain, meanwhile = OWN[name]
    path = os.environ.get(variable)
    if not path or not Path(path).is_dir():
        remedy = f"{name} is {obtain}; with a copy, set {variable}; meanwhile use {meanwhile}"
        raise data_error(f"{name}: not at hand", "a folder with your own copy", path, remedy)
    return Path(path).resolve()


def _part(root: Path, count: int, share: int, split: str) -> list[int]:
    """Numbers below `count`: one in `share`, drawn at random, for the test, the others to train."""
    if count < share:
        remedy = "use the whole set, not a part of it"
        raise data_error(root, f"{share} sequences or more, to be split", count, remedy)
    tests, train = np.split(np.random.default_rng(0).permutation(count), [count // share])
    return sorted(tests.tolist() if split == "test" else train.tolist())


def _read_pictures(paths: list[Path], image_size: int) -> torch.Tensor:
    """The middle squares of pictures as bytes (n, 3, image_size, image_size)."""
    size, filtering = (image_size, image_size), Image.Resampling.BILINEAR
    squares = []
    for path in paths:
        try:
            squares.append(ImageOps.fit(Image.open(path).convert("RGB"), size, filtering))
        except OSError as error:
            remedy = "copy the picture again, or leave out its take"
            raise data_error(path, "a picture that Pillow can read", error, remedy) from None
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous()


def _count_files(root: Path) -> str:
    """How many files of the three commonest kinds lie below a folder."""
    kinds = Counter(path.suffix for path in root.rglob("*") if path.is_file())
    counts = [f"{count} files {suffix}".rstrip() for suffix, count in kinds.most_common(3)]
    return ", ".join(counts) or "no file"
