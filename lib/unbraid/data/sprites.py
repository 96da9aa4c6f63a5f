"""Sprites: characters of the Liberated Pixel Cup that walk, cast a spell and slash, composed from the artists' own sheets.

The benchmark of Li and Mandt (2018), on which paper C is measured, and all poses of the same characters, as paper B uses them.
A character wears one of six skins, trousers, tops and hairs each: 6 x 6 x 6 x 6 = 1 296 characters, of which 1 000 are for
training. The other 296 are new combinations of values that training has seen.

A sheet holds 21 rows of 13 cells of 64 x 64. The rows are, each of them from behind, to the left, to the front and to the
right: 7 cells of spellcard, 8 of thrust, 9 of walk, 6 of slash, 13 of shoot; and one row, to the front, 6 cells of hurt.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unbraid.data.composed import composed
from unbraid.data.sequences import Sequences
from unbraid.data.sources import find, problem, source

LAYERS = {
    "skin": "body",
    "trousers": "bottomwear",
    "top": "topwear",
    "hair": "hair",
}  # in the order in which they are put on
SHOES = "shoes/1.png"  # worn by all, put on last
DIRECTIONS = ("front", "left", "right", "back")
ACTIONS = ("walk", "spellcard", "slash", "thrust", "shoot", "hurt")
CELLS_OF = {
    "spellcard": 7,
    "thrust": 8,
    "walk": 9,
    "slash": 6,
    "shoot": 13,
}  # cells of a row, in the order of the sheet
SLOTS = {  # the 8 frames of a sequence by their position in the row; the benchmark repeats some, and its walk begins at the end
    "walk": (8, 1, 2, 3, 4, 5, 6, 7),
    "spellcard": (0, 1, 2, 3, 4, 5, 4, 6),
    "slash": (0, 1, 2, 3, 4, 5, 4, 0),
}
MOTIONS = tuple(
    (action, direction) for action in ACTIONS[:3] for direction in DIRECTIONS[:3]
)  # number 3 action + direction
SPLITS = {"train": (0, 1000), "fit": (0, 900), "validation": (900, 1000), "test": (1000, 1296)}
ORDER = np.random.RandomState(423).permutation(
    6**4
)  # the benchmark's order of characters, by numpy's old generator
ORDER.setflags(write=False)
SIZES = (64, 32)
PILLOW_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)  # a bad file's
VERSION = 1  # of what is kept in the cache; raise it when the same sheets give other frames


class Pose(NamedTuple):
    """A drawing on the sheet: its action, direction, position in the action's row, and cell (row x 13 + column)."""

    action: str
    direction: str
    position: int
    cell: int


def _poses() -> tuple[Pose, ...]:
    rows = [
        (action, direction, count)
        for action, count in CELLS_OF.items()
        for direction in ("back", "left", "front", "right")
    ]
    rows.append(("hurt", "front", 6))
    return tuple(
        Pose(*row[:2], column, 13 * number + column)
        for number, row in enumerate(rows)
        for column in range(row[2])
    )


POSES = _poses()  # all 178, in the order of the sheet: the numbers of the label pose
_NUMBER = {pose[:3]: number for number, pose in enumerate(POSES)}
MOTION_POSES = tuple(
    tuple(_NUMBER[(*motion, position)] for position in SLOTS[motion[0]]) for motion in MOTIONS
)  # 9 x 8
CLASSES = {  # as the sheets look, in the order of their numbers
    "skin": ("light", "tanned", "slate", "lavender", "brown", "dark brown"),
    "trousers": ("white", "gold", "red", "steel", "teal", "green"),
    "top": (
        "maroon jumper",
        "cyan jumper",
        "cream jumper",
        "steel plate",
        "leather",
        "shirt and tie",
    ),
    "hair": ("green", "blue", "orange", "white", "red", "purple"),
}
MOTION_NAMES = tuple(" ".join(motion) for motion in MOTIONS)
POSE_NAMES = tuple(f"{pose.action} {pose.direction} {pose.position}" for pose in POSES)


def characters(split: str) -> np.ndarray:
    """Numbers of the characters of a split, in its order: ((skin 6 + trousers) 6 + top) 6 + hair. `ValueError` for another split."""
    if split not in SPLITS:
        raise ValueError(f"split: expected {', '.join(SPLITS)}, found {split!r}")
    return ORDER[slice(*SPLITS[split])]


def load_sprites(split: str = "train", image_size: int = 64) -> Sequences:
    """Sequences of 8 frames, (N, 8, 3, 64, 64) bytes on black, of each character of `split` in each of the 9 motions.

    split: "train" (1 000 characters, N = 9 000) or "test" (296 characters, N = 2 664), those of Li and Mandt; or, to choose
    a model without looking at the test characters, "fit" (the first 900 of train, N = 8 100) and "validation" (the other 100).
    image_size: 64, or 32 (means of 2 x 2 pixels). The first call composes the frames into the cache, later calls map them.

    Labels: `sprite_sequences`. Raises `DataError` where the sheets are missing or the cache cannot be written.
    """
    chosen, (first, last) = characters(split), SPLITS[split]
    frames = _frames("sprites", image_size)[9 * first : 9 * last]
    whose = (
        "Sprites of Li and Mandt (2018), composed from the real sheets of the Liberated Pixel Cup"
    )
    return sprite_sequences(frames, chosen, split, whose)


def load_poses(split: str = "train", image_size: int = 64) -> Sequences:
    """All 178 drawings of each character of `split` as one unordered sequence, (N, 178, 3, 64, 64) bytes: the set of paper B.

    split, image_size: as `load_sprites`; N is the number of characters. 64 x 64 takes 2.8 GB of disk, 32 x 32 0.7 GB.

    Labels: skin, trousers, top, hair, character, static; pose (0 ... 177), action (6), direction (4; hurt is drawn to the
    front only), position (of the drawing in its action), dynamic.

    What the sheets lack is lacking here. Trousers 5 and top 5 are not drawn in thrust and shoot, no trousers in "hurt front 4".
    Some poses of a character are one and the same picture ("spellcard back 3" and 6, "thrust right 4" and 6 always, others in
    some clothes), so that nobody can name more than 96.7 % of the poses.
    """
    chosen, (first, last) = characters(split), SPLITS[split]
    frames = _frames("poses", image_size)[first:last]
    columns = {
        "pose": range(len(POSES)),
        "action": [ACTIONS.index(pose.action) for pose in POSES],
        "direction": [DIRECTIONS.index(pose.direction) for pose in POSES],
        "position": [pose.position for pose in POSES],
    }
    dynamic = {
        name: torch.tensor(list(values)).expand(len(chosen), -1).contiguous()
        for name, values in columns.items()
    }
    return Sequences(
        frames=frames,
        labels=_worn(chosen) | dynamic,
        static=(*CLASSES, "character"),
        dynamic=tuple(dynamic),
        split=split,
        provenance=_sentence(
            "all 178 poses of the sprites, composed from the real sheets of the Liberated Pixel Cup",
            frames,
            split,
        ),
        classes=CLASSES
        | {
            "pose": POSE_NAMES,
            "action": ACTIONS,
            "direction": DIRECTIONS,
            "position": tuple(map(str, range(13))),
        },
    )


def sprite_sequences(frames: Tensor, chosen: np.ndarray, split: str, whose: str) -> Sequences:
    """Frames (9 n, 8, 3, S, S), the 9 motions of each of n `chosen` characters in turn, with the labels of Sprites.

    Static: skin, trousers, top, hair (6 classes each): who it is. motion (9), and its two parts action and direction (3 each):
    what it does. These too are one number a sequence, but they are the information that a dynamic code should carry. character
    (0 ... 1295) tells splits apart. Dynamic: pose (178 classes, numbered as in `load_poses`; 63 occur) and position (of the
    drawing in its action, 0 ... 8); the real sheets show some characters alike in the first frames of spellcard and slash.
    whose: a few words for the provenance.
    """
    poses = torch.tensor(MOTION_POSES)
    motion = torch.arange(9).repeat(len(chosen))
    labels = {name: values.repeat_interleave(9) for name, values in _worn(chosen).items()}
    labels |= {
        "action": motion // 3,
        "direction": motion % 3,
        "motion": motion,
        "pose": poses[motion],
    }
    labels["position"] = torch.tensor([pose.position for pose in POSES])[labels["pose"]]
    names = {
        "action": ACTIONS[:3],
        "direction": DIRECTIONS[:3],
        "motion": MOTION_NAMES,
        "pose": POSE_NAMES,
    }
    return Sequences(
        frames=frames,
        labels=labels,
        static=(*CLASSES, "character", "action", "direction", "motion"),
        dynamic=("pose", "position"),
        split=split,
        provenance=_sentence(whose, frames, split),
        classes=CLASSES | names | {"position": tuple(map(str, range(9)))},
    )


def _worn(chosen: np.ndarray) -> dict[str, Tensor]:
    values = np.unravel_index(chosen, (6, 6, 6, 6))
    return {
        name: torch.from_numpy(value)
        for name, value in zip((*LAYERS, "character"), (*values, chosen.copy()))
    }


def _sentence(whose: str, frames: Tensor, split: str) -> str:
    return (
        f"{whose}, {frames.shape[-1]} x {frames.shape[-1]}, {split} split, {len(frames)} sequences"
    )


def read_sheet(path: str | os.PathLike) -> np.ndarray:
    """A layer's sheet, a PNG of 832 x 1344 pixels with transparency: (1344, 832, 4) bytes, RGBA. `DataError` for anything else."""
    path = Path(path)
    expected = "a PNG of 832 x 1344 pixels with transparency"
    mend = "python -m unbraid data fetch sprites-li, or replace the file by an undamaged copy"
    try:
        with open(path, "rb") as stream:
            head = stream.read(24)
            size = (
                struct.unpack(">II", head[16:])
                if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) == 24
                else "no PNG"
            )
            if size != (832, 1344):  # before Pillow takes memory for what a header announces
                raise problem(f"{path}: not a sheet", expected, size, mend)
            stream.seek(0)
            with Image.open(stream, formats=("PNG",)) as image:
                if image.size != size or not (
                    image.mode == "RGBA" or (image.mode == "P" and "transparency" in image.info)
                ):
                    raise problem(
                        f"{path}: not a sheet", expected, f"{image.size}, mode {image.mode}", mend
                    )
                return np.array(image.convert("RGBA"))
    except PILLOW_ERRORS as error:
        raise problem(
            f"{path}: damaged or missing", expected, f"{type(error).__name__}: {error}", mend
        ) from error


def _frames(kind: str, image_size: int, order: np.ndarray = ORDER) -> Tensor:
    """The composed frames of the characters of `order`: "sprites" (9 n, 8, 3, S, S) or "poses" (n, 178, 3, S, S)."""
    if image_size not in SIZES:
        raise ValueError(f"image_size: expected 64 or 32, found {image_size}")
    numbers = np.array(MOTION_POSES).ravel() if kind == "sprites" else np.arange(len(POSES))
    cells = np.array([POSES[number].cell for number in numbers])
    lead = (9 * len(order), 8) if kind == "sprites" else (len(order), len(POSES))
    names = [f"{layer}/{number}.png" for layer in LAYERS.values() for number in range(6)] + [SHOES]
    digests = {file.name: file.sha256 for file in source("sprites-li").files}
    inputs = repr(
        (
            VERSION,
            kind,
            image_size,
            order.tolist(),
            cells.tolist(),
            [digests[name] for name in names],
        )
    )

    def rows() -> Iterator[np.ndarray]:
        if (files := find("sprites-li")) is None:
            mend = "python -m unbraid data fetch sprites-li; meanwhile drawn_sprites needs no file and has the same labels"
            raise problem(
                "sprites: their sheets are missing",
                "39 sheets in the cache or in UNBRAID_MIRROR",
                "none, or not all",
                mend,
            )
        return _composed_rows(
            {name: _strip(read_sheet(files[name]), cells) for name in names}, image_size, order
        )

    return composed(f"{kind}-{image_size}", inputs, (*lead, 3, image_size, image_size), rows)


def _strip(sheet: np.ndarray, cells: np.ndarray) -> Image.Image:
    """The chosen cells of a sheet below each other."""
    return Image.fromarray(
        sheet.reshape(21, 64, 13, 64, 4)[cells // 13, :, cells % 13].reshape(-1, 64, 4)
    )


def _composed_rows(
    strips: dict[str, Image.Image], image_size: int, order: Iterable[int]
) -> Iterator[np.ndarray]:
    """For each character of `order` its cells, (cells, 3, S, S) bytes: the layers put over opaque black one after the other."""
    for character in order:
        worn = zip(LAYERS.values(), np.unravel_index(character, (6, 6, 6, 6)))
        canvas = Image.new("RGBA", strips[SHOES].size, "black")
        for name in [*(f"{layer}/{number}.png" for layer, number in worn), SHOES]:
            canvas = Image.alpha_composite(canvas, strips[name])
        planes = (canvas if image_size == 64 else canvas.reduce(2)).split()[:3]
        yield np.stack(
            [np.asarray(plane).reshape(-1, image_size, image_size) for plane in planes], axis=1
        )
