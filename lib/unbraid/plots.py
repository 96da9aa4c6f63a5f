"""Figures of the course: strips and grids of frames, heat maps, curves. Each function returns the Axes it drew on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor


def use_style() -> None:
    """Use the course's matplotlib style: white face, colour-blind-safe colours."""
    with resources.as_file(resources.files("unbraid") / "unbraid.mplstyle") as path:
        plt.style.use(path)


def show(figure: Figure, alt: str) -> None:
    """Show a figure in the notebook as a PNG that carries its alternative text, and close it.

    alt: what the figure shows, for readers who cannot see it; at least a short sentence.
    """
    if len(alt.split()) < 4:
        raise ValueError(f"alt: expected a sentence that says what the figure shows, found {alt!r}")
    from IPython.display import display

    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    plt.close(figure)
    display(
        {"image/png": png.getvalue(), "text/plain": f"Figure: {alt}"},
        raw=True,
        metadata={"image/png": {"alt": alt}},
    )


def picture(
    frames: Tensor | np.ndarray, rows: int = 1, gap: int = 1, background: float = 1.0
) -> np.ndarray:
    """Frames (N, C, H, W) in [0, 1] laid out in `rows` rows, left to right, top to bottom: an image (height, width, 3)."""
    frames = np.clip(np.asarray(frames, dtype=np.float32), 0, 1)
    if frames.ndim != 4 or frames.shape[1] not in (1, 3):
        raise ValueError(f"frames: expected (N, 1 or 3, H, W), found {frames.shape}")
    frames = np.broadcast_to(frames, (len(frames), 3, *frames.shape[2:]))
    columns = -(-len(frames) // rows)
    height, width = frames.shape[2:]
    canvas = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, 3),
        background,
        dtype=np.float32,
    )
    for index, frame in enumerate(frames):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = frame.transpose(1, 2, 0)
    return canvas


def strip(
    frames: Tensor | np.ndarray,
    ax: Axes | None = None,
    label: str = "",
    first: int = 1,
    ticks: bool = True,
) -> Axes:
    """One sequence (T, C, H, W) as a film strip; the x axis counts frames from `first`."""
    ax = ax or plt.subplots(figsize=(0.9 * len(frames), 1.2))[1]
    return _film(picture(frames), len(frames), 1, ax, [label] if label else [], first, ticks)


def grid(
    sequences: Tensor | np.ndarray,
    labels: Sequence[str] = (),
    ax: Axes | None = None,
    first: int = 1,
    xlabel: str = "frame",
) -> Axes:
    """Several sequences (N, T, C, H, W), one a row, with their labels; the x axis counts frames from `first`."""
    sequences = np.asarray(sequences)
    rows, length = sequences.shape[:2]
    ax = (
        ax
        or plt.subplots(figsize=(0.75 * length + (1.3 if labels else 0.2), 0.75 * rows + 0.45))[1]
    )
    return _film(
        picture(sequences.reshape(-1, *sequences.shape[2:]), rows),
        length,
        rows,
        ax,
        labels,
        first,
        True,
        xlabel,
    )


def plane(
    frames: Tensor | np.ndarray,
    horizontal: Sequence[float],
    vertical: Sequence[float],
    ax: Axes | None = None,
    xlabel: str = "first unit of z",
    ylabel: str = "second unit of z",
) -> Axes:
    """Frames (V H, C, S, S) decoded at a regular grid of two units, row after row: H values to the right, V values downwards.

    The axes are in units of the code, so that codes can be drawn over the pictures.
    """
    horizontal, vertical = np.asarray(horizontal, dtype=float), np.asarray(vertical, dtype=float)
    if len(frames) != len(horizontal) * len(vertical) or min(len(horizontal), len(vertical)) < 2:
        raise ValueError(
            f"frames: expected {len(vertical)} rows of {len(horizontal)}, at least 2 of each, found {len(frames)}"
        )
    ax = ax or plt.subplots(figsize=(0.5 * len(horizontal) + 0.6, 0.5 * len(vertical) + 0.6))[1]
    half = [
        (values[-1] - values[0]) / (2 * len(values) - 2) for values in (horizontal, vertical)
    ]  # of a step: pictures lie about values
    left, right, top, bottom = (
        horizontal[0] - half[0],
        horizontal[-1] + half[0],
        vertical[0] - half[1],
        vertical[-1] + half[1],
    )
    ax.imshow(picture(frames, len(vertical)), extent=(left, right, bottom, top), aspect="auto")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.spines[:].set_visible(False)
    return ax


def _film(image, columns, rows, ax, labels, first, ticks, xlabel="frame"):
    ax.imshow(image)
    width, height = image.shape[1] / columns, image.shape[0] / rows
    ax.set_xticks(
        [width * (index + 0.5) - 0.5 for index in range(columns)] if ticks else [],
        [str(first + index) for index in range(columns)] if ticks else [],
    )
    ax.set_yticks([height * (index + 0.5) - 0.5 for index in range(len(labels))], labels)
    ax.set_xlabel(xlabel if ticks else "")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def heatmap(
    matrix: np.ndarray,
    ax: Axes | None = None,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    digits: int | None = 2,
    diverging: bool = False,
) -> Axes:
    """A matrix as a heat map with a colour bar labelled `unit`, and its numbers written in the cells.

    rows, columns: names; digits: decimals of the numbers, None for no numbers. NaN cells stay blank.
    diverging: a map centred on zero, for correlations.
    """
    matrix = np.asarray(matrix, dtype=float)
    ax = ax or plt.subplots(figsize=(1.1 * matrix.shape[1] + 2, 0.8 * matrix.shape[0] + 1.2))[1]
    if diverging:
        bound = high if high is not None else float(np.nanmax(np.abs(matrix)))
        low, high, colours = -bound, bound, "RdBu_r"
    else:
        low = 0.0 if low is None else low
        high, colours = (float(np.nanmax(matrix)) if high is None else high), "cividis"
    image = ax.imshow(matrix, cmap=colours, vmin=low, vmax=high)
    ax.figure.colorbar(image, ax=ax, label=unit, fraction=0.046, pad=0.04)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if digits is not None:
        for row, column in np.argwhere(np.isfinite(matrix)):
            ax.text(
                column,
                row,
                f"{matrix[row, column]:.{digits}f}".replace("-", "−"),
                ha="center",
                va="center",
                color=_ink(image, matrix[row, column]),
            )
    return ax


def leakage(
    value: np.ndarray,
    limits: np.ndarray | None = None,
    p_values: np.ndarray | None = None,
    ax: Axes | None = None,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    unit: str = "skill",
    high: float = 1.0,
    level: float = 0.01,
) -> Axes:
    """The leakage matrix (R, F), rows codes, columns factors: in each cell the value, beneath it its interval, limits (R, F, 2).

    Cells whose p-value is `level` or more, which may be chance, are written in italics and in brackets. Values below 0 have
    the colour of 0; `high` is that of full colour, e.g. the entropy of the labels for bits.
    """
    value = np.asarray(value, dtype=float)
    ax = ax or plt.subplots(figsize=(1.2 * value.shape[1] + 2.2, 0.8 * value.shape[0] + 1.2))[1]
    heatmap(value, ax, rows, columns, unit, 0, high, digits=None)
    for cell in np.argwhere(np.isfinite(value)):
        row, column = cell
        chance = p_values is not None and p_values[row, column] >= level
        style = {
            "ha": "center",
            "color": _ink(ax.images[0], value[row, column]),
            "style": "italic" if chance else "normal",
        }
        number = f"{value[row, column]:.2f}"
        written = (f"({number})" if chance else number).replace("-", "−")
        ax.text(column, row, written, va="center" if limits is None else "bottom", **style)
        if limits is not None:
            between = "{:.2f} to {:.2f}".format(*limits[row, column]).replace("-", "−")
            ax.text(column, row + 0.08, between, va="top", fontsize=7, **style)
    return ax


def _ink(image, value) -> str:
    red, green, blue, _ = image.cmap(image.norm(value))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "white"


def blocks(ax: Axes, sizes: Sequence[int], colour: str = "black") -> Axes:
    """Draw the borders of blocks of the given sizes over a square heat map of units."""
    for edge in np.cumsum(sizes)[:-1] - 0.5:
        ax.axhline(edge, color=colour, linewidth=1)
        ax.axvline(edge, color=colour, linewidth=1)
    return ax


def curves(
    runs: dict[str, list[dict]],
    name: str = "elbo_per_frame",
    against: str = "step",
    ax: Axes | None = None,
    ylabel: str = "ELBO (nats per frame)",
    xlabel: str = "update",
) -> Axes:
    """Training curves: for each label the rows that fit() returned or read_csv() read."""
    ax = ax or plt.subplots(figsize=(6.4, 3.2))[1]
    for label, rows in runs.items():
        ax.plot([row[against] for row in rows], [row[name] for row in rows], label=label)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.grid(axis="y")
    if len(runs) > 1:
        ax.legend()
    return ax
