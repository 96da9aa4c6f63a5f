"""Figures of the course: rows and grids of frames, heat maps. Each returns the Axes it drew on.

What moves is in `films`, and a lesson finds it here, too. alt: as in `images`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D
from PIL import Image, ImageChops

from unbraid import checks
from unbraid.checks import check_field, check_name, check_type, check_whole, refuse
from unbraid.figures.films import animate, explore, film  # noqa: F401 - lessons take them here
from unbraid.figures.images import (  # noqa: F401
    DIGITS,
    HAND,
    as_clips,
    find_beside_notebooks,
    paint,
    picture,
    show_image,
    write_png,
)

if TYPE_CHECKING:
    from torch import Tensor

STATIC, DYNAMIC = "#D55E00", "#0072B2"  # of the two kinds of codes: orange and blue
SEEN = 16  # from here on one may see that a colour, of 255, has changed
PROFILES = ("smoke", "quick", "full")  # of a notebook
CHANCE_LEVEL = 0.01  # a cell of the leakage matrix with a larger p-value may be chance


def use_style(profile: str = "quick") -> None:
    """Use the course's matplotlib style: white face, colour-blind-safe colours.

    profile: of the notebook, which calls this before anything else; a misspelt one is refused.
    """
    check_name("profile", profile, PROFILES)
    plt.style.use("unbraid.unbraid")


def show(figure: Figure, alt: str, place: str = "") -> None:
    """Show a figure in the notebook as a PNG with its alternative text, and close it.

    place: a name; a figure that is shown there again takes the place of the first one.
    """
    check_field(isinstance(figure, Figure), "figure", "a Figure from draw", type(figure).__name__)
    is_fast = HAND.get().is_fast
    if is_fast and figure.get_layout_engine():  # all is within: no second drawing for the margins
        figure.set_dpi(2 * figure.dpi)
        image = Image.fromarray(paint(figure))
    else:
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=2 * figure.dpi, pil_kwargs={"compress_level": 1})
        image = Image.open(drawn).convert("RGB")
    plt.close(figure)
    few = image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # A palette makes a third of the bytes; where one would see it, the colours stay.
    change = ImageChops.difference(image, few.convert("RGB"))
    is_alike = is_fast or np.asarray(change).max() < SEEN
    png = write_png(few if is_alike else image)
    # Two pixels to one of the page: sharp, and letters at the text's size.
    show_image("png", png, alt, image.width // 2, image.reduce(2), place=place)


def show_svg(path: str | Path, alt: str, width: int = 640) -> None:
    """Show a drawing in an SVG file, such as "figures/11_model.svg", `width` pixels of the page.

    It is seen from this folder or the clone's notebooks/. Raises `ValueError` for any other file.
    """
    checks.check_path(path=path)
    check_whole(1, width=width)
    place = find_beside_notebooks(path)
    checks.check_path(path=place)
    drawing = place.read_bytes()
    mark = 'xmlns="http://www.w3.org/2000/svg"'  # Browsers draw nothing without this address.
    check_field(mark.encode() in drawing, str(path), f"<svg {mark}>", "none")
    show_image("svg+xml", drawing, alt, width)


def grid(
    sequences: Tensor | np.ndarray,
    labels: Sequence[str] = (),
    ax: Axes | None = None,
    xlabel: str = "frame",
) -> Axes:
    """Sequences (N, T, C, H, W), one per row, with labels; the x axis counts from 1."""
    frames, labels = as_clips("sequences", sequences), checks.check_list("labels", labels)
    rows, length = frames.shape[:2]
    check_field(len(labels) in (0, rows), "labels", f"one for each of {rows} rows", labels)
    size = (0.75 * length + (1.3 if labels else 0.2), 0.75 * rows + 0.45)
    ax = choose_axes(ax, *size)
    image = picture(frames.reshape(-1, *frames.shape[2:]), rows)
    ax.imshow(image)
    height, width = image.shape[0] / rows, image.shape[1] / length  # of a tile, in pixels
    ax.set_xticks((np.arange(length) + 0.5) * width - 0.5, np.arange(1, length + 1))
    ax.set_yticks((np.arange(len(labels)) + 0.5) * height - 0.5, labels)
    ax.set_xlabel(xlabel)
    hide_frame(ax)
    return ax


def choose_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """The axes that are given, or new ones of so many inches."""
    check_type((Axes, type(None)), ax=ax)
    return ax or plt.subplots(figsize=(width, height))[1]


def table_axes(rows: int, columns: int, left: float = 1.0, zoom: float = 3) -> Axes:
    """Axes for a `grid` of pictures of 32 pixels, each `zoom` pixels of the page wide and high;
    left: inches for the words beside the rows.
    """
    check_whole(1, rows=rows, columns=columns)
    width, height = (zoom * (33 * count - 1) / 100 for count in (columns, rows))
    figure = plt.figure(figsize=(left + width, height + 0.5), layout="none")
    shares = (left / (left + width), 0, width / (left + width), height / (height + 0.5))
    return figure.add_axes(shares)


def heatmap(
    matrix: np.ndarray,
    ax: Axes | None = None,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    unit: str = "",
    high: float = 1,
    digits: int | None = 2,
    diverging: bool = False,
) -> Axes:
    """A matrix as seaborn's heat map with a colour bar labelled `unit` and numbers in the cells.

    As in an image, a cell's row and column are the coordinates of its centre; NaN stays blank.
    rows, columns: names. high: the value of the brightest colour; the darkest is 0, or with
    `diverging` -high. digits: decimals of the numbers, None for no numbers.
    """
    import seaborn  # imported lazily, because that takes a second

    values = checks.as_array(matrix, "matrix")
    fits = values.ndim == 2 and values.size > 0 and values.dtype.kind in "biufO"
    check_field(fits, "matrix", "rows and columns of numbers", f"{values.dtype} {values.shape}")
    values = values.astype(float)
    check_field(not np.isinf(values).any(), "matrix", "no infinity (NaN stays blank)", "some")
    checks.check_number(0, high=high)
    check_whole(0, digits=0 if digits is None else digits)
    for name, names, count in zip(("rows", "columns"), (rows, columns), values.shape, strict=True):
        given = checks.check_list(name, names)
        check_field(len(given) in (0, count), name, f"{count} names or none", names)
    ax = choose_axes(ax, 1.2 * values.shape[1] + 2, 0.8 * values.shape[0] + 1.2)
    look: dict[str, Any] = {"vmin": 0, "vmax": high, "cmap": "cividis", "square": True}
    if diverging:
        look |= {"vmin": -high, "cmap": "RdBu_r"}
    bar = {"label": unit, "fraction": 0.046, "pad": 0.04}
    seaborn.heatmap(values, ax=ax, **look, cbar_kws=bar, xticklabels=False, yticklabels=False)
    # Seaborn begins the first cell at 0, and an image half a cell before.
    ax.collections[0].set_transform(Affine2D().translate(-0.5, -0.5) + ax.transData)
    ax.set(xlim=(-0.5, values.shape[1] - 0.5), ylim=(values.shape[0] - 0.5, -0.5))
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    hide_frame(ax)
    if digits is not None:
        for row, column in np.argwhere(np.isfinite(values)):
            text = write_number(values[row, column], digits)
            ax.text(column, row, text, va="center", **ink(ax, values[row, column]))
    return ax


def leakage(
    value: np.ndarray,
    limits: np.ndarray | None = None,
    p_values: np.ndarray | None = None,
    ax: Axes | None = None,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> Axes:
    """The leakage matrix (R, F), rows codes, columns factors; values below 0 look like 0.

    limits (R, F, 2): ends of intervals, written below. p_values (R, F): what may be chance is
    written in italics and in brackets.
    """
    check_field(not hasattr(value, "p_value"), "value", "an array, as matrix.value", "the matrix")
    values = checks.given_array("value", value)
    check_field(values.dtype.kind in "biuf", "value", "numbers (R, F)", values.dtype)
    for name, given, more in (("limits", limits, (2,)), ("p_values", p_values, ())):
        if given is not None and np.shape(given) != (*values.shape, *more):
            refuse(name, (*values.shape, *more), np.shape(given))
    p = np.ravel([] if p_values is None else p_values)
    check_field(((p >= 0) & (p <= 1) | np.isnan(p)).all(), "p_values", "shares, 0 to 1", "others")
    ax = heatmap(values, ax, rows, columns, "skill", digits=None)
    for row, column in np.argwhere(np.isfinite(values)):
        text, style = write_number(values[row, column]), ink(ax, values[row, column])
        if p_values is not None and p_values[row, column] >= CHANCE_LEVEL:
            text, style["style"] = f"({text})", "italic"
        ax.text(column, row, text, va="center" if limits is None else "bottom", **style)
        if limits is not None:
            ends = " to ".join(map(write_number, limits[row, column]))
            ax.text(column, row + 0.08, ends, va="top", fontsize=7, **style)
    return ax


def calibration(scale: Any, reading: float, ax: Axes | None = None) -> Axes:
    """What an instrument reads of planted bits, a line a form, and the real reading across.

    scale: of `unbraid.measures.calibration.calibrate`. Shades are the limits of one reading; the
    grey one is that of no plant.
    """
    ax = choose_axes(ax, 5, 3.8)
    ax.axhspan(scale.null.min(), scale.limit, color="0.9", linewidth=0)
    for form in scale.curves:
        bits, mean, low, high = scale.band(form)
        (line,) = ax.plot(bits, mean, "o-", markersize=4, label=form)
        ax.fill_between(bits, low, high, color=line.get_color(), alpha=0.1, linewidth=0)
    ax.axhline(reading, color="black", linewidth=2)
    ax.text(ax.get_xlim()[1], reading, f"{reading:.2f} read", ha="right", va="bottom")
    ax.set(xlabel="bits planted", ylabel=f"bits read ({scale.share:.0%} of the {scale.share_of})")
    ax.legend(fontsize=9)
    return ax


def write_number(value: float, digits: int = 2) -> str:
    """A number with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def ink(ax: Axes, value: float) -> dict[str, Any]:
    """How to write in a cell of this value: black or white, which can be read on its colour."""
    cells = ax.collections[0]
    red, green, blue, _ = np.ravel(cells.cmap(cells.norm(np.array([value]))))
    is_light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.55
    return {"ha": "center", "color": "black" if is_light else "white"}


def blocks(ax: Axes, sizes: Sequence[int]) -> None:
    """Draw the borders of blocks of the given sizes over a square heat map of units."""
    for size in checks.check_list("sizes", sizes):
        check_whole(1, sizes=size)
    check_type(Axes, ax=ax)
    for edge in np.cumsum(sizes)[:-1] - 0.5:
        ax.axhline(edge, color="black", linewidth=1)
        ax.axvline(edge, color="black", linewidth=1)


def panel(titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A figure with four fields, for what the codes of a model contain, and a title for each.

    (a) is for a traversal, (b) for swaps beside reconstructions, (c) for correlations, and (d) for
    bits, with their shuffles and with a leak that was planted.
    """
    check_field(len(checks.check_list("titles", titles)) == 4, "titles", "four", titles)
    figure = plt.figure(figsize=(9.8, 7))
    above, below = figure.subfigures(2, squeeze=False).flat
    axes = [*above.subplots(1, 2, width_ratios=[5, 3]), *below.subplots(1, 2)]
    for letter, ax, title in zip("abcd", axes, titles, strict=True):
        ax.set_title(f"({letter}) {title}", loc="left")
    return figure, axes


def hide_frame(ax: Axes) -> None:
    """Hide the marks and the lines around a picture."""
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
