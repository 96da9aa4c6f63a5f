"""Pages of HTML that need no other file: templates beside this module, with pictures inside.

The prose of a page stands in its template; what is known only after measuring is handed to it.
"""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import matplotlib.pyplot as plt
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image
from unbraid import __version__

TEMPLATES = Environment(
    loader=PackageLoader("unbraid_own", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
# Until a block or a function ends; a reader's own matplotlibrc does not change a page. Names of
# labels stand in the text of a page, whose fonts know more letters than those of a figure.
course_style = partial(plt.style.context, ["default", "unbraid.unbraid"])


class Picture(NamedTuple):
    """A PNG inside a page, as base64, with its alternative text.

    size: width and height in pixels of the page. frames: of a film, which lie below each other.
    """

    content: str
    alt: str
    size: tuple[int, int]
    frames: int = 1


def render(template: str, **values: object) -> str:
    """A page from its template, such as "measure.html.j2"; texts in the values are escaped."""
    return TEMPLATES.get_template(template).render(values)


def say_how(words: Sequence[str]) -> str:
    """When, with which version and by which command a page was made."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return f"{date}, unbraid {__version__}: {shlex.join(['unbraid', *words])}"


def embed(image: Image.Image, alt: str, scale: int = 1, frames: int = 1) -> Picture:
    """An image as a picture; scale: how many of its pixels make one of the page."""
    png = io.BytesIO()
    image.save(png, "PNG", optimize=True)
    size = image.width // scale, image.height // scale // frames
    return Picture(base64.b64encode(png.getvalue()).decode(), alt, size, frames)


def draw(figure: Figure, alt: str) -> Picture:
    """A figure as a picture, an inch in 100 pixels of the page."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=200)
    return embed(Image.open(png), alt, 2)
