"""Grey squares in the left or the right half of a frame. They are computed, so there are no files.

How grey a square is does not change within a sequence; the column in which it stands does.
"""

import torch

from .sequences import Sequences

COUNT, LENGTH = 40, 3  # sequences of a split, and the frames of each


def load(split: str = "train", image_size: int = 8) -> Sequences:
    """Forty sequences of three frames; labels: grey (N,), static, and column (N, T), dynamic."""
    generator = torch.Generator().manual_seed(len(split))  # "train" and "test" differ
    grey = torch.randint(2, (COUNT,), generator=generator)
    column = torch.randint(2, (COUNT, LENGTH), generator=generator)

    frames = torch.zeros(COUNT, LENGTH, 1, image_size, image_size, dtype=torch.uint8)
    half = image_size // 2
    for row in range(COUNT):
        for step in range(LENGTH):
            start = half * int(column[row, step])
            frames[row, step, :, :, start : start + half] = 100 + 100 * int(grey[row])

    classes = {"grey": ("dark", "light"), "column": ("left", "right")}
    return Sequences(
        frames,
        {"grey": grey, "column": column},
        static=("grey",),
        dynamic=("column",),
        split=split,
        provenance=f"forty squares, {split}",
        classes=classes,
    )
