"""Sprites: characters of the Liberated Pixel Cup, composed from the artists' own sheets.

The benchmark of Li and Mandt (2018), on which paper C is measured, and all poses of the same
characters, as paper B uses them. A character wears one of six skins, trousers, tops and hairs each,
6^4 = 1 296 characters: 1 000 for training, 296 new combinations of the same values for the test.

A sheet has 21 rows of 13 cells of 64 x 64: four rows of each action of `CELLS`, from behind, to
the left, to the front and to the right; and one row, to the front, of 6 cells of hurt.
"""

import hashlib
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unbraid.checks import check_field, check_name, check_names
from unbraid.data.fetch import SOURCES, cache_directory, data_error, files
from unbraid.data.sequences import Sequences
from unbraid.support.progress import progress_bar

ATTRIBUTES = ("skin", "trousers", "top", "hair")  # of characters: what stays the same
LAYERS = ("body", "bottomwear", "topwear", "hair")  # their folders; on top come the same shoes
DIRECTIONS = ("front", "left", "right", "back")
ACTIONS = ("walk", "spellcard", "slash", "thrust", "shoot", "hurt")
CELLS = {"spellcard": 7, "thrust": 8, "walk": 9, "slash": 6, "shoot": 13}  # per row, in order
SLOTS = {  # the 8 frames of the benchmark's sequences by their position in the row
    "walk": (8, 1, 2, 3, 4, 5, 6, 7),
    "spellcard": (0, 1, 2, 3, 4, 5, 4, 6),
    "slash": (0, 1, 2, 3, 4, 5, 4, 0),
}
SPLITS = {"train": (0, 1000), "fit": (0, 900), "validation": (900, 1000), "test": (1000, 1296)}
ORDER = np.random.RandomState(423).permutation(6**4)  # the benchmark's order of characters
TOPS = ("maroon jumper", "cyan jumper", "cream jumper", "steel plate", "leather", "shirt and tie")
CLASSES = {  # as the sheets look, by their numbers
    "skin": ("light", "tanned", "slate", "lavender", "brown", "dark brown"),
    "trousers": ("white", "gold", "red", "steel", "teal", "green"),
    "top": TOPS,
    "hair": ("green", "blue", "orange", "white", "red", "purple"),
}


class Pose(NamedTuple):
    """A drawing of the sheet: position in its row, cell row x 13 + column."""

    action: str
    direction: str
    position: int
    cell: int


def _list_poses() -> Iterator[Pose]:
    rows = [*product(CELLS, ("back", "left", "front", "right")), ("hurt", "front")]
    for row, (action, direction) in enumerate(rows):
        for column in range(CELLS.get(action, 6)):
            yield Pose(action, direction, column, 13 * row + column)


POSES = tuple(_list_poses())  # all 178, in the order of the sheet: the numbers of the label pose
POSE_NAMES = tuple(f"{pose.action} {pose.direction} {pose.position}" for pose in POSES)
POSE_LABELS = {  # of each pose, (178,)
    "pose": torch.arange(len(POSES)),
    "action": torch.tensor([ACTIONS.index(pose.action) for pose in POSES]),
    "direction": torch.tensor([DIRECTIONS.index(pose.direction) for pose in POSES]),
    "position": torch.tensor([pose.position for pose in POSES]),
}
MOTIONS = tuple(product(SLOTS, DIRECTIONS[:3]))  # nine: number 3 action + direction
MOTION_NAMES = tuple(" ".join(motion) for motion in MOTIONS)


def _list_shown(action: str, direction: str) -> list[int]:
    return [POSE_NAMES.index(f"{action} {direction} {slot}") for slot in SLOTS[action]]


MOTION_POSES = torch.tensor([_list_shown(*motion) for motion in MOTIONS])  # of each frame, (9, 8)


def split_motion(judged: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Probabilities by label, with those of the motion's action and direction, (N, 3) each."""
    parts = judged["motion"].unflatten(1, (3, 3))  # a motion's number is 3 action + direction
    return {**judged, "action": parts.sum(2), "direction": parts.sum(1)}


def characters(split: str) -> np.ndarray:
    """The numbers of a split's characters: ((skin 6 + trousers) 6 + top) 6 + hair."""
    check_name("split", split, SPLITS)
    return ORDER[slice(*SPLITS[split])]


def load(split: str = "train", image_size: int = 32) -> Sequences:
    """The Sprites benchmark: each character in each of its 9 motions, bytes (N, 8, 3, S, S).

    split: "train" (N = 9 000) or "test" (N = 2 664), those of Li and Mandt; or "fit" and
    "validation", the first 900 and the last 100 characters of train. image_size: S, 64 as the
    benchmark, or 32 (means of 2 x 2 pixels). The first call composes the frames into the cache.

    Static labels: those of `load_poses`, motion (9) and its parts action and direction (3 each),
    which a dynamic code should carry. Dynamic labels: pose, position.
    """
    numbers = characters(split)
    frames = _compose("sprites", split, image_size, MOTION_POSES.flatten())
    motion = torch.arange(9).repeat(len(numbers))
    pose = MOTION_POSES[motion]  # (N, 8)
    static = {name: values.repeat_interleave(9) for name, values in _clothes(numbers).items()}
    static |= {"action": motion // 3, "direction": motion % 3, "motion": motion}
    dynamic = {"pose": pose, "position": POSE_LABELS["position"][pose]}
    classes = {"action": ACTIONS[:3], "direction": DIRECTIONS[:3], "motion": MOTION_NAMES}
    classes |= {"pose": POSE_NAMES, "position": tuple(map(str, range(9)))}
    frames = frames.reshape(-1, 8, 3, image_size, image_size)
    return _describe("Sprites of Li and Mandt (2018)", frames, static, dynamic, classes, split)


def load_poses(split: str = "train", image_size: int = 32) -> Sequences:
    """All 178 poses of each Sprites character, the set of paper B: bytes (N, 178, 3, S, S).

    split, image_size: as `load`. Labels: skin, trousers, top, hair (6 classes each), character
    (0 ... 1295), static; pose (178), action (6), direction (4), position in its action, dynamic.
    """
    static = _clothes(characters(split))
    frames = _compose("poses", split, image_size, POSE_LABELS["pose"])
    dynamic = {name: values.repeat(len(frames), 1) for name, values in POSE_LABELS.items()}
    classes = {"pose": POSE_NAMES, "action": ACTIONS, "direction": DIRECTIONS}
    classes |= {"position": tuple(map(str, range(13)))}
    return _describe("all 178 poses of the sprites", frames, static, dynamic, classes, split)


def _describe(
    name: str, frames: Tensor, static: dict, dynamic: dict, classes: dict, split: str
) -> Sequences:
    about = f"{name}, composed from the real sheets of the Liberated Pixel Cup"
    about += ", {0} x {0}, {1} split, {2} sequences".format(frames.shape[-1], split, len(frames))
    labels, names = static | dynamic, (tuple(static), tuple(dynamic))
    return Sequences(frames, labels, *names, split, about, classes=CLASSES | classes)


def _clothes(numbers: np.ndarray) -> dict[str, Tensor]:
    """What the characters wear, and their numbers."""
    columns = map(torch.from_numpy, (*np.unravel_index(numbers, (6, 6, 6, 6)), numbers.copy()))
    return dict(zip((*ATTRIBUTES, "character"), columns, strict=True))


def _compose(kind: str, split: str, image_size: int, poses: Tensor) -> Tensor:
    """The poses of each character of a split, (characters, poses, 3, S, S), from the cache."""
    check_name("image_size", image_size, (64, 32))
    whole, start = ("test", 1000) if split == "test" else ("train", 0)
    numbers = characters(whole)
    cells = np.array([POSES[number].cell for number in poses])
    shape = (len(numbers), len(cells), 3, image_size, image_size)
    inputs = (numbers.tolist(), cells.tolist(), SOURCES["sprites-li"].fingerprint)
    key = hashlib.sha256(repr((shape, inputs)).encode()).hexdigest()[:12]
    path = cache_directory() / "composed" / f"{kind}-{whole}-{image_size}-{key}.npy"
    if not path.is_file():
        write_rows(path, shape, draw_cells(numbers, cells, image_size))
    try:
        pixels = np.load(path, mmap_mode="c")  # writable, but not to the file
    except OSError:  # Some shares do not let files be mapped into memory.
        pixels = np.load(path)
    first, last = SPLITS[split]
    return torch.from_numpy(pixels)[first - start : last - start]


def write_rows(path: Path, shape: tuple[int, ...], rows: Iterable[np.ndarray]) -> None:
    """Write bytes of `shape`, row by row, to a NumPy file that appears whole or not at all."""
    label = f"composing {math.prod(shape) / 1e6:.0f} MB once, into {path}"
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, ignore_cleanup_errors=True) as scratch:
            part = Path(scratch, path.name)
            with part.open("wb") as file:
                # A full disk is an error in writing; in a mapped array it would end the process.
                np.lib.format.write_array_header_1_0(file, header)
                for row in progress_bar(rows, label, total=shape[0]):
                    file.write(row.tobytes())
            os.replace(part, path)
    except OSError as error:
        remedy = "make room, or set UNBRAID_CACHE to a folder with room that can be written to"
        raise data_error(path, "to write it", error, remedy) from error


def draw_cells(numbers: np.ndarray, cells: np.ndarray, image_size: int) -> Iterator[np.ndarray]:
    """For each character its cells (cells, 3, S, S): the layers over black, one after another."""
    strips = {}
    for name, path in files("sprites-li").items():
        if name.endswith(".png"):
            sheet = np.array(Image.open(path).convert("RGBA")).reshape(21, 64, 13, 64, 4)
            strip = sheet[cells // 13, :, cells % 13]  # (cells, 64, 64, 4)
            strips[name] = Image.fromarray(strip.reshape(-1, 64, 4))
    for number in numbers:
        canvas = Image.new("RGBA", (64, 64 * len(cells)), "black")
        clothes = np.unravel_index(number, (6, 6, 6, 6))
        layers = [f"{layer}/{k}.png" for layer, k in zip(LAYERS, clothes, strict=True)]
        for layer in [*layers, "shoes/1.png"]:
            canvas = Image.alpha_composite(canvas, strips[layer])
        if image_size == 32:
            canvas = canvas.reduce(2)
        pixels = np.asarray(canvas)[..., :3].reshape(-1, image_size, image_size, 3)
        yield pixels.transpose(0, 3, 1, 2)


def visible_attributes(poses: Sequence[str]) -> dict[str, Tensor]:
    """Whether each attribute shows at the named poses, (poses,): some lack trousers or tops."""
    check_field(check_names("poses", poses, POSE_NAMES), "poses", "one or more", "none")
    bare = torch.tensor([name.startswith(("thrust", "shoot")) for name in poses])
    fallen = torch.tensor([name == "hurt front 4" for name in poses])
    everywhere = torch.ones_like(bare)
    return {"skin": everywhere, "trousers": ~(bare | fallen), "top": ~bare, "hair": everywhere}
