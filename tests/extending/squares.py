"""Grey squares in the left or the right half of a frame."""

import torch
from unbraid.data.sequences import Sequences


def load(split="train", image_size=8):
    """Forty sequences of a grey square each: how grey is static, its column is dynamic."""
    generator = torch.Generator().manual_seed(len(split))
    grey = torch.randint(2, (40,), generator=generator)
    column = torch.randint(2, (40, 3), generator=generator)
    frames = torch.zeros(40, 3, 1, image_size, image_size, dtype=torch.uint8)
    for row in range(40):
        for step in range(3):
            start = int(column[row, step]) * image_size // 2
            frames[row, step, :, :, start : start + image_size // 2] = 100 + 100 * int(grey[row])
    return Sequences(
        frames,
        {"grey": grey, "column": column},
        ("grey",),
        ("column",),
        split,
        f"forty squares, {split}",
        classes={"grey": ("dark", "light"), "column": ("left", "right")},
    )
