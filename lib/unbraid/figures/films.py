"""What moves or can be changed in a notebook: films, animated figures, controls.

alt: as in `images`, a sentence or the key of one.
still: what stands for a film where nothing moves: numbers of its pictures from 0.
"""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import signature
from itertools import chain
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from unbraid import checks
from unbraid.checks import check_field, check_names, check_type, check_whole, refuse
from unbraid.figures.images import (
    Hand,
    as_clips,
    paint,
    picture,
    share_palette,
    show_image,
    write_png,
)
from unbraid.support.progress import is_watched

if TYPE_CHECKING:
    from torch import Tensor

MOST = "UNBRAID_FILM_FRAMES"  # in the environment: films have at most so many pictures (for tests)
# What follows the chosen button stands below all buttons. A viewer that takes the style away shows
# all pictures, each below its words.
CHOICE = """<style>
.hand { display: flex; flex-wrap: wrap; gap: 0.2em 1.2em }
.hand > div { display: none; order: 1; flex-basis: 100% }
.hand > label:has(:checked) + div { display: block }
</style>"""


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
    titles, names = checks.check_list("titles", titles), checks.check_list("names", names)
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
    checks.check_function("number", draw=draw)
    check_whole(1, count=count, milliseconds=milliseconds)
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
        pictures.append(paint(figure))
        size, first = pictures[-1].shape[:2], pictures[0].shape[:2]
        check_field(size == first, "draw", f"figures of one size, {first} pixels", size)
        plt.close(figure)
    frames = share_palette(pictures)
    shown = frames[min(still, len(frames) - 1)]
    show_film(frames, alt, milliseconds, shown.convert("RGB"))


def show_film(
    pictures: Sequence[Image.Image], alt: str, milliseconds: int, still: Image.Image
) -> None:
    """Show pictures of one size one after another, for ever, in a moving PNG."""
    png = write_png(*pictures, duration=milliseconds, loop=0)
    show_image("png", png, alt, pictures[0].width, still, is_film=True)


def explore(
    draw: Callable[..., None], prepared: Sequence[dict[str, Any]] = (), **controls: Any
) -> None:
    """Draw a figure; where somebody watches, with ipywidgets' controls for arguments of `draw`.

    prepared: arguments of `draw`. A page without a kernel shows draw() with a button for each of
    these, whose picture takes its place.
    """
    from IPython.display import display

    check_type(Callable, draw=draw)  # type: ignore[arg-type]
    for arguments in checks.check_list("prepared", prepared, "a list of dicts of arguments"):
        check_type(Mapping, prepared=arguments)
    names = list(dict.fromkeys(chain.from_iterable(prepared)))  # of the arguments that differ
    check_names("prepared", names, controls)
    check_names("controls", controls, signature(draw).parameters)
    usual = {name: each.default for name, each in signature(draw).parameters.items()}
    if is_watched():
        from ipywidgets import interact

        @wraps(draw)  # so the controls begin with its defaults
        def redraw(**arguments: Any) -> None:
            moved = {name: each for name, each in arguments.items() if each != usual.get(name)}
            hand = Hand(name_values(moved, controls), is_fast=True)
            display(gather(draw, arguments, hand), raw=True)

        interact(redraw, **controls)
    elif not prepared:
        draw()
    else:
        defaults, views = {name: usual[name] for name in names}, {}
        for arguments in prepared:
            label = name_values(defaults | arguments, controls)
            views[label] = gather(draw, arguments, Hand(label))["text/html"]
        shown = gather(draw, {}, Hand())  # last: what it leaves to other cells is the usual
        views = {name_values(defaults, controls): shown["text/html"]} | views
        display(shown | {"text/html": choose_by_button(draw.__name__, views)}, raw=True)


def gather(draw: Callable[..., None], arguments: dict[str, Any], hand: Hand) -> dict[str, str]:
    """What draw(**arguments) shows, side by side where there is room; it is not displayed."""
    pictures: list[dict[str, str]] = []
    hand._replace(pictures=pictures).run(draw, **arguments)
    row = '<div style="display: flex; flex-wrap: wrap; gap: 1em">{}</div>'
    pages = [f"<div>{picture['text/html']}</div>" for picture in pictures]
    return next(iter(pictures), {}) | {"text/html": row.format("".join(pages))}


def name_values(arguments: dict[str, Any], controls: dict[str, Any]) -> str:
    """Arguments in words; of a control that is a dictionary, a value has the name it has there."""
    words = []
    for name, value in arguments.items():
        control = controls[name]
        known = {each: key for key, each in control.items()} if isinstance(control, dict) else {}
        words.append(f"{name}: {known.get(value, value)}")
    return ", ".join(words)


def choose_by_button(name: str, views: dict[str, str]) -> str:
    """A page that shows one of the views at a time; `name` is that of no other choice on it."""
    page = ""
    for label, view in views.items():
        button = f'<input type="radio" name="{name}"{"" if page else " checked"}>'
        page += f"<label>{button} {html.escape(label)}</label><div>{view}</div>"
    return f'<div class="hand">{page}{CHOICE}</div>'
