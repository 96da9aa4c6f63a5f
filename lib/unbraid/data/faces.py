"""CMU Face Images: 20 people with 28 to 32 photographs each, which differ in pose and expression.

What stays from picture to picture is the person, which a model of unordered frames (paper B) can
find. The originals are grey, 60 rows of 64 pixels. No pixel of the set is brighter than 153 of
255, so all are multiplied by 5/3.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from unbraid.data.fetch import files
from unbraid.data.sequences import Sequences, check_choice

FACE_CLASSES = {
    "pose": ("left", "right", "straight", "up"),
    "expression": ("angry", "happy", "neutral", "sad"),
    "eyes": ("open", "sunglasses"),
}
TEST_PEOPLE = ("ch4f", "karyadi", "night", "tammo")  # every fifth of the 20 people


def load_faces(
    split: str = "train", by: str = "image", image_size: int | None = None, seed: int = 0
) -> Sequences:
    """CMU Face Images: the photographs of each person as one sequence, bytes (N, T, 1, 60, 64).

    split       "train" or "test"
    by          "image": a random quarter of each person's pictures is the test, 474 and 150
                pictures of the same 20 people; "person": four people (`TEST_PEOPLE`) are the test
                with all their pictures, 499 and 125 pictures
    image_size  None: 60 rows x 64 columns, as published; 64: the first and the last row twice
                more; 32: the same halved by averaging 2 x 2 pixels
    seed        of the random quarters

    People have differently many pictures: shorter sequences end in black frames, which the mask
    (N, T) marks as not observed (their labels are 0). Labels: person (N,), static; pose,
    expression, eyes (N, T), dynamic.

    Raises `DataError` without the files, `ValueError` for an unknown split or size.
    """
    check_choice("split", split, ("train", "test"))
    check_choice("by", by, ("image", "person"))
    check_choice("image_size", image_size, (None, 32, 64))
    photographs: dict[str, list[Path]] = {}
    for _, path in sorted(files("cmu-faces").items()):
        photographs.setdefault(path.parent.name, []).append(path)
    names = tuple(photographs)
    if by == "person":
        in_test = split == "test"
        people = {name: photographs[name] for name in names if (name in TEST_PEOPLE) == in_test}
    else:
        generator = np.random.default_rng(seed)
        people = {name: _quarter(photographs[name], split, generator) for name in names}

    length = max(map(len, people.values()))
    images = np.zeros((len(people), length, 60, 64), np.uint8)
    mask = torch.zeros(len(people), length, dtype=torch.bool)
    labels = {name: torch.zeros(len(people), length, dtype=torch.long) for name in FACE_CLASSES}
    for row, paths in enumerate(people.values()):
        mask[row, : len(paths)] = True
        for step, path in enumerate(paths):
            images[row, step] = _read_photograph(path)
            words = path.stem.split("_")[1:4]
            for (name, classes), word in zip(FACE_CLASSES.items(), words, strict=True):
                labels[name][row, step] = classes.index(word)
    person = torch.tensor([names.index(name) for name in people])
    count = f"{int(mask.sum())} real photographs of {len(people)} people"
    return Sequences(
        frames=torch.from_numpy(_resize(images, image_size)[:, :, None]),
        labels={"person": person, **labels},
        static=("person",),
        dynamic=tuple(FACE_CLASSES),
        split=split,
        provenance=f"CMU Face Images, {split} split by {by}: {count}",
        mask=mask,
        classes={"person": names, **FACE_CLASSES},
    )


def _quarter(paths: list[Path], split: str, generator: np.random.Generator) -> list[Path]:
    """A random quarter of the files, rounded down, for the test; the rest to train."""
    order = generator.permutation(len(paths))
    count = len(paths) // 4
    numbers = order[:count] if split == "test" else order[count:]
    return [paths[number] for number in sorted(numbers)]


def _read_photograph(path: Path) -> np.ndarray:
    """The picture of a file, its values multiplied by 5/3: bytes (60, 64).

    A file is a PGM with a header of 13 bytes. Pillow cannot read it here, because it stretches
    the values by each file's own greatest one.
    """
    pixels = np.frombuffer(path.read_bytes(), np.uint8, offset=13).reshape(60, 64)
    return (pixels * np.float32(255 / 153)).round().astype(np.uint8)


def _resize(images: np.ndarray, size: int | None) -> np.ndarray:
    """Images (N, T, 60, 64) as they are, or as size x size."""
    if size is None:
        return images
    square = np.pad(images, ((0, 0), (0, 0), (2, 2), (0, 0)), mode="edge")
    if size == 64:
        return square
    blocks = square.reshape(*square.shape[:2], 32, 2, 32, 2)
    return blocks.mean(axis=(3, 5)).round().astype(np.uint8)
