"""Pages of HTML that need no other file: templates beside this module, with pictures inside.

The prose of a page stands in its template; what is known only after measuring is handed to it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import matplotlib.pyplot as plt
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from unbraid import plots
from unbraid.measures.leakage import LeakageMatrix

TEMPLATES = Environment(
    loader=PackageLoader("unbraid_extras", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Picture(NamedTuple):
    """A PNG inside a page, as base64, with its alternative text."""

    content: str
    alt: str


def render(template: str, **values: object) -> str:
    """A page from its template, such as "measure.html.j2"; texts in the values are escaped."""
    return TEMPLATES.get_template(template).render(values)


@contextmanager
def course_style() -> Iterator[None]:
    """The course's style of figures, until the block ends; also a decorator."""
    with plt.rc_context():
        plots.use_style()
        yield


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple:
    """A figure in inches that no window knows, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns)


def embed(png: bytes, alt: str) -> Picture:
    """The content of a PNG file as a picture."""
    return Picture(base64.b64encode(png).decode(), alt)


def draw(figure: Figure, alt: str) -> Picture:
    """A figure as a picture."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=150)
    return embed(png.getvalue(), alt)


def plain(text: str) -> str:
    """Text for a figure, in which a dollar does not begin mathematics."""
    return text.replace("$", r"\$")


@course_style()
def draw_matrix(matrix: LeakageMatrix) -> Picture:
    """A leakage matrix with its limits, and with its skills in the alternative text."""
    figure, ax = new_figure(2.2 + 1.2 * len(matrix.columns), 1.2 + 0.5 * len(matrix.rows))
    names, columns = (list(map(plain, each)) for each in (matrix.rows, matrix.columns))
    plots.leakage(matrix.value, matrix.test_interval, matrix.p_value, ax, names, columns)
    ax.set_title(f"{matrix.probe} probe")
    lines = []
    for row, values in zip(matrix.rows, matrix.value, strict=True):
        pairs = zip(matrix.columns, values, strict=True)
        lines.append(f"{row}: " + ", ".join(f"{name} {value:.2f}" for name, value in pairs))
    return draw(figure, f"Leakage matrix of the {matrix.probe} probe: {'; '.join(lines)}")
