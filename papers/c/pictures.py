"""The README's film of swaps by paper C's model at its own size: python -m papers.c.pictures.

Who a figure is comes from its row, what it does from its column.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from unbraid import records
from unbraid.codes import as_float, decode_all, encode_all
from unbraid.data import sprites
from unbraid.data.sequences import Sequences
from unbraid.models.base import Codes
from unbraid.models.single_element import SingleElement

STATIC, DYNAMIC = (230, 159, 0), (0, 114, 178)  # the course's orange and blue
GAP = 4  # pixels between pictures
STILL = 5  # the frame of the picture that does not move: arms are raised


def choose_clips(clips: Sequences, count: int) -> Tensor:
    """Rows of the first `count` characters of a random order, each in another motion."""
    characters, motions = clips.labels["character"], clips.labels["motion"]
    chosen: list[int] = []
    for row in torch.randperm(len(clips), generator=torch.Generator().manual_seed(0)).tolist():
        is_new = int(characters[row]) not in characters[chosen].tolist()
        if len(chosen) < count and is_new and int(motions[row]) == len(chosen) % 9:
            chosen.append(row)
    return torch.tensor(chosen)


def to_bytes(frames: Tensor) -> np.ndarray:
    """Frames (..., 3, H, W) in [0, 1] as bytes (..., H, W, 3)."""
    return (255 * as_float(frames).clamp(0, 1)).round().byte().movedim(-3, -1).numpy()


def draw_swaps(model: SingleElement, clips: Sequences, codes: Codes, path: Path) -> None:
    """Three characters, by row, in the motions of five other clips, by column; real clips first."""
    rows = choose_clips(clips, 8)
    grid = {
        "static": codes["static"][rows[:3]].repeat_interleave(5, 0),
        "dynamic": codes["dynamic"][rows[3:]].repeat(3, 1, 1),
    }
    real, swapped = to_bytes(clips.frames[rows]), to_bytes(decode_all(model, grid))  # (N, T, ...)
    cells: dict[tuple[int, int], tuple[np.ndarray, tuple[int, int, int] | None]]
    cells = {(0, column + 1): (real[3 + column], DYNAMIC) for column in range(5)}
    for row in range(3):
        cells[row + 1, 0] = np.broadcast_to(real[row, :1], real[row].shape), STATIC  # of one frame
        for column in range(5):
            cells[row + 1, column + 1] = swapped[5 * row + column], None

    side = real.shape[2]
    step = side + GAP
    # What lies between the clips is transparent: the page's own colour shows, light or dark.
    film = np.zeros((real.shape[1], 4 * step + GAP, 6 * step + GAP, 4), np.uint8)
    for (row, column), (frames, edge) in cells.items():
        y, x = GAP + row * step, GAP + column * step
        if edge:
            film[:, y - 2 : y + side + 2, x - 2 : x + side + 2] = (*edge, 255)
        film[:, y : y + side, x : x + side, :3] = frames
        film[:, y : y + side, x : x + side, 3] = 255
    pages = [Image.fromarray(page.repeat(2, 0).repeat(2, 1)) for page in film]
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=130, loop=0)
    still = pages[STILL].quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    still.save(path.with_stem(f"{path.stem}-still"), optimize=True)


if __name__ == "__main__":
    weights = records.weights("single_element/sprites/full/published-seed0")
    model = SingleElement.load(weights)
    clips = sprites.load("test", image_size=model.config.image_size)
    codes = encode_all(model, clips)
    draw_swaps(model, clips, codes, weights.with_name("swaps.png"))
