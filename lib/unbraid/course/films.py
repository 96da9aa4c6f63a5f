"""What moves or can be changed in a notebook: films, animated figures, controls.

alt: as in `images`, a sentence or the key of one.
still: what stands for a film where nothing moves: numbers of its pictures from 0.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from unbraid.checks import check_field, check_type, check_whole, refuse
from unbraid.course.images import as_clips, picture, show_image
from unbraid.support.progress import is_watched

if TYPE_CHECKING:
    from torch import Tensor

MOST = "UNBRAID_FILM_FRAMES"  # in the environment: films have at most so many pictures (for tests)


def film(
    clips: Tensor | np.ndarray,
    alt: str,
    rows: int = 1,
    scale: int = 4,
    milliseconds: int = 250,
    titles: Sequence[str] = (),
    still: int | Sequence[int] = (),
    names: Sequence[str] = (),
) -> None:
    """Show clips (N, T, C, H, W) in [0, 1] side by side, as a film that repeats and can be stopped.

    scale: pixels of the page that show one, each way. milliseconds: of a frame.
    titles: a word or two above each column. still: by default first, middle and last frames.
    names: a word or two to the left of each row.
    """
    check_whole(1, rows=rows, scale=scale, milliseconds=milliseconds)
    steps, stills = as_clips("clips", clips).swapaxes(0, 1), np.ravel(still).tolist()
    if len(titles) * rows not in (0, len(clips)):
        refuse("titles", f"one for each of {len(clips)} clips in {rows} rows", titles)
    check_field(len(names) in (0, rows), "names", f"one for each of {rows} rows", names)
    margin = max((8 * len(name) for name in names), default=0)  # pixels, for the longest name
    images = []
    for frames in steps[: limit_count(len(steps))]:
        pixels = picture(frames, rows).repeat(scale, 0).repeat(scale, 1)
        images.append(write_left(Image.fromarray((255 * pixels).astype("uint8")), names, margin))
    for number in stills:
        check_whole((0, len(steps) - 1), still=number)
    last = len(images) - 1
    numbers = sorted({min(number, last) for number in stills or (0, len(images) // 2, last)})
    strip = write_above(stack_frames(images, numbers), titles, margin)
    show_film([write_above(image, titles, margin) for image in images], alt, milliseconds, strip)


def limit_count(count: int) -> int:
    """How many of `count` pictures a film gets: all, or what the environment allows."""
    return min(count, int(os.environ.get(MOST, count)))


def stack_frames(images: Sequence[Image.Image], numbers: Sequence[int]) -> Image.Image:
    """Some frames of a film below each other, several with their numbers, which count from 1."""
    width, height, gap = *images[0].size, 4  # pixels
    page = Image.new("RGB", (width, len(numbers) * (height + gap) - gap), "white")
    pen = ImageDraw.Draw(page)
    for row, number in enumerate(numbers):
        page.paste(images[number], (0, row * (height + gap)))
        if len(numbers) > 1:
            place = (4, row * (height + gap) + 3)
            text = f"frame {number + 1}"
            pen.text(place, text, fill="white", font_size=11, stroke_width=2, stroke_fill="black")
    return page


def write_left(image: Image.Image, names: Sequence[str], margin: int) -> Image.Image:
    """The image to the right of a black strip, `margin` wide, with the names, each at its share of
    the height."""
    if not names:
        return image
    page = Image.new("RGB", (image.width + margin, image.height), "black")
    page.paste(image, (margin, 0))
    pen = ImageDraw.Draw(page)
    for number, name in enumerate(names):
        middle = (number + 0.5) * image.height / len(names)
        pen.text((margin - 6, middle), name, fill="white", anchor="rm", font_size=12)
    return page


def write_above(image: Image.Image, titles: Sequence[str], margin: int = 0) -> Image.Image:
    """The image below a black strip with the titles, each above its share of the width.

    margin: pixels at the left that have no title.
    """
    if not titles:
        return image
    strip = 18  # pixels
    page = Image.new("RGB", (image.width, image.height + strip), "black")
    page.paste(image, (0, strip))
    pen = ImageDraw.Draw(page)
    for number, title in enumerate(titles):
        middle = margin + (number + 0.5) * (image.width - margin) / len(titles)
        pen.text((middle, strip - 4), title, fill="white", anchor="ms", font_size=12)
    return page


def animate(
    draw: Callable[[int], Figure],
    count: int,
    alt: str,
    milliseconds: int = 250,
    still: int | None = None,
) -> None:
    """Show figures draw(0) ... draw(count - 1), of one size, for `milliseconds` each, as a film.

    still: the number of the figure that stands for the film, by default the last.
    """
    check_type(Callable, draw=draw)  # type: ignore[arg-type]
    check_whole(1, count=count)
    still = count - 1 if still is None else still
    check_whole((0, count - 1), still=still)
    pictures: list[np.ndarray] = []
    for number in range(limit_count(count)):
        figure = draw(number)
        check_field(isinstance(figure, Figure), "draw", "a Figure from it", type(figure).__name__)
        if number == 0:
            figure.draw_without_rendering()  # the layout finds the places
            places = [ax.get_position(original=True) for ax in figure.axes]
        figure.set_layout_engine("none")
        for ax, place in zip(figure.axes, places, strict=True):
            ax.set_position(place)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pictures.append(np.asarray(canvas.buffer_rgba())[..., :3])
        plt.close(figure)
    # One palette of 64 colours for all, or each picture would be stored in full.
    palette = Image.fromarray(np.concatenate(pictures)).quantize(64, Image.Quantize.FASTOCTREE)
    images = map(Image.fromarray, pictures)
    frames = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    shown = frames[min(still, len(frames) - 1)]
    show_film(frames, alt, milliseconds, shown.convert("RGB"))


def show_film(
    pictures: Sequence[Image.Image], alt: str, milliseconds: int, still: Image.Image
) -> None:
    """Show pictures of one size one after another, for ever, in a moving PNG."""
    png, first = io.BytesIO(), pictures[0]
    options = {"append_images": pictures[1:], "duration": milliseconds, "loop": 0}
    first.save(png, "PNG", save_all=True, optimize=True, **options)
    show_image("png", png.getvalue(), alt, first.width, still, is_film=True)


def explore(draw: Callable[..., None], **controls: object) -> None:
    """Draw a figure; where somebody watches, with ipywidgets' controls for arguments of `draw`."""
    check_type(Callable, draw=draw)  # type: ignore[arg-type]
    if is_watched():
        from ipywidgets import interact

        interact(draw, **controls)
    else:
        draw()
