"""CMU Face Images: 20 people with 28 to 32 photographs each, which differ in pose and expression.

What stays from picture to picture is the person, which a model of unordered frames (paper B) can
find. The originals are grey. No pixel is brighter than 153 of 255, so all are multiplied by 5/3.
"""

from pathlib import Path

import numpy as np
import torch

from unbraid.checks import check_name
from unbraid.data.fetch import files
from unbraid.data.sequences import Sequences

FACE_CLASSES = {
    "pose": ("left", "right", "straight", "up"),
    "expression": ("angry", "happy", "neutral", "sad"),
    "eyes": ("open", "sunglasses"),
}


def load(split: str = "train", image_size: int = 64) -> Sequences:
    """CMU Face Images: the photographs of each person as one sequence, bytes (N, T, 1, S, S).

    split       "train" or "test", a random quarter of each person's pictures: 474 and 150
    image_size  S: 64, the published 60 rows, of which the first and the last come twice more, of 64
                pixels; 32: the same halved by averaging 2 x 2 pixels

    People have differently many pictures: shorter sequences end in black frames, which the mask
    (N, T) marks as not observed (their labels are 0). Labels: person (N,), static; pose,
    expression, eyes (N, T), dynamic. Raises `DataError` without the files.
    """
    check_name("image_size", image_size, (32, 64))
    names, people = _divide(split)
    length = max(map(len, people.values()))
    images = np.zeros((len(people), length, 64, 64), np.uint8)
    mask = torch.zeros(len(people), length, dtype=torch.bool)
    labels = {name: torch.zeros(len(people), length, dtype=torch.long) for name in FACE_CLASSES}
    for row, paths in enumerate(people.values()):
        mask[row, : len(paths)] = True
        for step, path in enumerate(paths):
            # A PGM with a header of 13 bytes; Pillow would stretch the values by their greatest.
            pixels = np.frombuffer(path.read_bytes(), np.uint8, offset=13).reshape(60, 64)
            bright = (pixels * np.float32(255 / 153)).round()
            images[row, step] = np.pad(bright, ((2, 2), (0, 0)), mode="edge")
            for name, word in zip(FACE_CLASSES, path.stem.split("_")[1:4], strict=True):
                labels[name][row, step] = FACE_CLASSES[name].index(word)
    labels = {"person": torch.tensor([names.index(name) for name in people]), **labels}
    if image_size == 32:
        blocks = images.reshape(len(people), length, 32, 2, 32, 2)
        images = blocks.mean(axis=(3, 5)).round().astype(np.uint8)
    count = f"{int(mask.sum())} real photographs of {len(people)} people"
    about = f"CMU Face Images, {split} split by image: {count}"
    frames = torch.from_numpy(images)[:, :, None]
    classes = {"person": names, **FACE_CLASSES}
    return Sequences(frames, labels, ("person",), tuple(FACE_CLASSES), split, about, mask, classes)


def _divide(split: str) -> tuple[tuple[str, ...], dict[str, list[Path]]]:
    """The names of all people, and the photographs of each in a split."""
    check_name("split", split, ("train", "test"))
    people: dict[str, list[Path]] = {}
    for _, path in sorted(files("cmu-faces").items()):
        people.setdefault(path.parent.name, []).append(path)
    names, generator = tuple(people), np.random.default_rng(0)
    for name in names:
        order = generator.permutation(len(people[name]))
        tests, train = np.split(order, [len(order) // 4])
        numbers = np.sort(tests if split == "test" else train)
        people[name] = [people[name][number] for number in numbers]
    return names, people
