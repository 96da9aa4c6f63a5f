"""The pictures of paper C's model at its own size: python -m papers.c.pictures.

swaps.png   a film (animated PNG): who a figure is comes from its row, what it does from its column
drawn.png   twelve test clips that nobody chose, and below each the same motion with a drawn s
tsne.png    maps of s and of d of all test clips, coloured by hair and by direction
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from unbraid import plots, store
from unbraid.codes import as_float, decode_all, draw_others, encode_all, generator_for
from unbraid.data import sprites
from unbraid.data.sequences import Sequences
from unbraid.models.base import Codes
from unbraid.models.single_element import SingleElement

FOLDER = "single_element/sprites/full"
STATIC, DYNAMIC = (230, 159, 0), (0, 114, 178)  # the course's orange and blue
SCALE = 2  # page pixels of a pixel in the film
GAP = 4  # pixels between pictures
FRAME_MS = 130


def choose_clips(clips: Sequences, count: int) -> Tensor:
    """Rows of the first `count` characters of a random order, each in another motion."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(clips), generator=generator)
    characters, motions = clips.labels["character"], clips.labels["motion"]
    chosen: list[int] = []
    for row in rows.tolist():
        seen = {int(characters[other]) for other in chosen}
        wanted = len(chosen) % 9
        if int(characters[row]) not in seen and int(motions[row]) == wanted:
            chosen.append(row)
        if len(chosen) == count:
            break
    return torch.tensor(chosen)


def to_bytes(frames: Tensor) -> np.ndarray:
    """Frames (..., 3, H, W) in [0, 1] as bytes (..., H, W, 3)."""
    return (255 * as_float(frames).clamp(0, 1)).round().byte().movedim(-3, -1).numpy()


def draw_swaps(model: SingleElement, clips: Sequences, codes: Codes, path: Path) -> None:
    """Three characters, by row, in the motions of five other clips, by column; real clips first."""
    rows = choose_clips(clips, 8)
    people, moving = rows[:3], rows[3:]
    grid = {
        "static": codes["static"][people].repeat_interleave(len(moving), 0),
        "dynamic": codes["dynamic"][moving].repeat(len(people), 1, 1),
    }
    swapped = to_bytes(decode_all(model, grid))  # (15, T, 64, 64, 3)
    real = to_bytes(clips.frames[rows])
    side, length = real.shape[2], real.shape[1]
    step = side + GAP
    films = []
    for t in range(length):
        page = np.full((4 * step + GAP, 6 * step + GAP, 3), 255, np.uint8)

        def put(row: int, column: int, frame: np.ndarray, edge=(255, 255, 255), page=page) -> None:
            y, x = GAP + row * step, GAP + column * step
            page[y - 2 : y + side + 2, x - 2 : x + side + 2] = edge
            page[y : y + side, x : x + side] = frame

        for i in range(len(people)):
            put(i + 1, 0, real[i, 0], STATIC)  # s reads one frame
            for j in range(len(moving)):
                put(i + 1, j + 1, swapped[i * len(moving) + j, t])
        for j in range(len(moving)):
            put(0, j + 1, real[3 + j, t], DYNAMIC)
        height, width = page.shape[:2]
        films.append(Image.fromarray(page).resize((width * SCALE, height * SCALE), Image.NEAREST))
    films[0].save(path, save_all=True, append_images=films[1:], duration=FRAME_MS, loop=0)


def draw_generations(model: SingleElement, clips: Sequences, codes: Codes, path: Path) -> None:
    """Twelve blocks: eight frames of a test clip, and the same d with s drawn from N(0, I)."""
    rows = choose_clips(clips, 12)
    chosen = {name: code[rows] for name, code in codes.items()}
    drawn = draw_others(model, chosen, "dynamic", generator_for(model, 0))
    pairs = np.stack([to_bytes(clips.frames[rows]), to_bytes(decode_all(model, drawn))], 1)
    blocks = pairs.transpose(0, 1, 3, 2, 4, 5).reshape(12, 2 * 64, 8 * 64, 3)
    page = np.full((6 * (128 + 2 * GAP), 2 * (512 + 2 * GAP), 3), 255, np.uint8)
    for number, block in enumerate(blocks):
        y, x = number // 2 * (128 + 2 * GAP) + GAP, number % 2 * (512 + 2 * GAP) + GAP
        page[y : y + 128, x : x + 512] = block
    Image.fromarray(page).save(path)


def draw_maps(clips: Sequences, codes: Codes, path: Path) -> None:
    """t-SNE of s and of d, of every fourth clip, each coloured by hair and by direction."""
    import matplotlib.pyplot as plt
    from sklearn.manifold import TSNE

    plots.use_style()
    rows = torch.arange(0, len(clips), 4)
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), constrained_layout=True)
    labels = {"hair": clips.labels["hair"][rows], "direction": clips.labels["motion"][rows] % 3}
    for i, name in enumerate(("static", "dynamic")):
        code = codes[name][rows].flatten(1).numpy()
        code = (code - code.mean(0)) / (code.std(0) + 1e-6)
        places = TSNE(perplexity=30, random_state=0, init="pca").fit_transform(code)
        for j, (label, values) in enumerate(labels.items()):
            axis = axes[2 * i + j]
            axis.scatter(*places.T, c=values.numpy(), cmap="tab10", s=5, linewidths=0)
            axis.set_title(f"{name[0]}, coloured by {label}", fontsize=10)
            axis.set_xticks([])
            axis.set_yticks([])
    figure.savefig(path, dpi=100, metadata={"Software": None})


def main() -> None:
    """Draw all three into results/."""
    model = SingleElement.load(f"{FOLDER}/published-seed0")
    clips = sprites.load("test", image_size=model.config.image_size)
    codes = encode_all(model, clips)
    folder = store.shipped() / FOLDER
    draw_swaps(model, clips, codes, folder / "swaps.png")
    draw_generations(model, clips, codes, folder / "drawn.png")
    draw_maps(clips, codes, folder / "tsne.png")


if __name__ == "__main__":
    main()
