"""CMU Face Images: 20 people, each with 28 to 32 photographs in no order, which differ in pose, expression and eyes.

What stays from picture to picture is the person, which a model of unordered frames (paper B) can find. The originals are
grey, 60 rows of 64 pixels. No pixel of the whole set is brighter than 153 of 255, so all are multiplied by 5/3.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import torch

from unbraid.data.sequences import Sequences
from unbraid.data.sources import DataError, find, problem

CLASSES = {
    "pose": ("left", "right", "straight", "up"),
    "expression": ("angry", "happy", "neutral", "sad"),
    "eyes": ("open", "sunglasses"),
}
HELD_OUT = (
    "ch4f",
    "karyadi",
    "night",
    "tammo",
)  # the test people of `by="person"`: every fifth of the 20 in alphabetical order
LARGEST = 2**24  # bytes of a file that is read at all; the real ones have 3 853
FETCH = "python -m unbraid data fetch cmu-faces"


def read_pgm(path: str | os.PathLike) -> np.ndarray:
    """Read a binary grey map ("P5", a byte a pixel, no comments): uint8 (rows, columns), the values as they are in the file.

    The file must hold exactly what its header announces; `DataError` for anything else.
    """
    path = Path(path)

    def damaged(expected: str, found: object) -> DataError:
        return problem(f"{path}: damaged grey map", expected, found, f"delete it, then {FETCH}")

    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= LARGEST else b""
    except OSError as error:
        raise damaged("a readable file", error) from error
    header = re.match(rb"P5\s(\d{1,5})\s(\d{1,5})\s(\d{1,3})\s", content)
    if not header:
        raise damaged(
            f"P5, width, height, greatest value, in at most {LARGEST} bytes",
            f"{size} bytes that begin {content[:16]!r}",
        )
    columns, rows, most = map(int, header.groups())
    values = np.frombuffer(content, np.uint8, offset=header.end())
    if len(values) != rows * columns or not len(values) or values.max() > most or most > 255:
        greatest = values.max(initial=0)
        raise damaged(
            f"{rows} x {columns} values up to {most}, 255 at most",
            f"{len(values)} values up to {greatest}",
        )
    return values.reshape(rows, columns)


def load_faces(
    split: str = "train", by: str = "image", image_size: int | None = None, seed: int = 0
) -> Sequences:
    """The photographs of each person as one sequence, grey frames (N, T, 1, 60, 64) as bytes, in the order of their names.

    split       "train" or "test"
    by          "image": of each person's pictures a random quarter is the test, 474 and 150 pictures of the same 20 people;
                "person": four people (`HELD_OUT`) are the test with all their pictures, 499 and 125 pictures
    image_size  None: 60 rows x 64 columns, as published; 64: the first and the last row twice more; 32: the same halved
                by averaging 2 x 2 pixels
    seed        of the random quarters

    People have differently many pictures: shorter sequences end in black frames, which the mask (N, T) marks as not observed
    (their labels are 0). Labels: person (N,), static; pose, expression, eyes (N, T), dynamic.

    Raises `DataError` without the files, `ValueError` for an unknown split or size.
    """
    if (
        split not in ("train", "test")
        or by not in ("image", "person")
        or image_size not in (None, 32, 64)
    ):
        found = f"{split!r}, {by!r}, {image_size!r}"
        raise ValueError(
            f"split, by, image_size: expected train or test, image or person, None, 32 or 64, found {found}"
        )
    people = _people()
    names = tuple(people)
    if by == "person":
        people = {
            name: files for name, files in people.items() if (name in HELD_OUT) == (split == "test")
        }
    else:
        generator = np.random.default_rng(seed)
        people = {name: _quarter(files, split, generator) for name, files in people.items()}
    length = max(map(len, people.values()))
    images = np.zeros((len(people), length, 60, 64), np.uint8)
    mask = np.zeros((len(people), length), bool)
    labels = {name: np.zeros((len(people), length), np.int64) for name in CLASSES}
    for row, files in enumerate(people.values()):
        mask[row, : len(files)] = True
        for step, path in enumerate(files):
            images[row, step] = _image(path)
            for (name, classes), word in zip(CLASSES.items(), path.stem.split("_")[1:]):
                labels[name][row, step] = classes.index(word)
    return Sequences(
        frames=torch.from_numpy(_resized(images, image_size)[:, :, None]),
        labels={"person": np.array([names.index(name) for name in people]), **labels},
        static=("person",),
        dynamic=tuple(CLASSES),
        split=split,
        provenance=f"CMU Face Images, {split} split by {by}: {mask.sum()} real photographs of {len(people)} people",
        mask=torch.from_numpy(mask),
        classes={"person": names, **CLASSES},
    )


def _people() -> dict[str, list[Path]]:
    """The files of each person, people and files in alphabetical order."""
    found = find("cmu-faces")
    if found is None:
        raise problem(
            "faces: not at hand",
            "its 624 files in the cache or the mirror",
            "not all of them",
            f"{FETCH}; meanwhile use drawn_sprites",
        )
    people: dict[str, list[Path]] = {}
    for _, path in sorted(found.items()):
        people.setdefault(path.parent.name, []).append(path)
    return people


def _quarter(files: list[Path], split: str, generator: np.random.Generator) -> list[Path]:
    """A random quarter of the files, rounded down, for the test; the rest to train."""
    order, count = generator.permutation(len(files)), len(files) // 4
    return [files[number] for number in sorted(order[:count] if split == "test" else order[count:])]


def _image(path: Path) -> np.ndarray:
    image = read_pgm(path)
    if image.shape != (60, 64) or image.max() > 153:
        raise problem(
            f"{path}: not of this set",
            "60 rows x 64 columns, values up to 153",
            f"{image.shape}, up to {image.max()}",
            FETCH,
        )
    return (image * np.float32(255 / 153)).round().astype(np.uint8)


def _resized(images: np.ndarray, size: int | None) -> np.ndarray:
    """Images (N, T, 60, 64) as they are, or as size x size."""
    if size is None:
        return images
    square = np.pad(images, ((0, 0), (0, 0), (2, 2), (0, 0)), mode="edge")
    if size == 64:
        return square
    return (
        square.reshape(*square.shape[:2], 32, 2, 32, 2).mean(axis=(3, 5)).round().astype(np.uint8)
    )
