"""Frames as an image, and an image in a notebook with its alternative text.

alt, in all that show something: a sentence that says what the picture shows, for readers who cannot
see it, or the key of one in notebooks/13.toml, such as "13.matrix".
"""

from __future__ import annotations

import base64
import html
import io
import tomllib
from collections.abc import Callable, Sequence
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from unbraid.checks import as_array, check_field, check_type, check_whole, finite_array, refuse
from unbraid.files import repository_root

if TYPE_CHECKING:
    from torch import Tensor

# One palette in the whole course: each pair differs in hue for everybody, and in lightness.
DIGITS = ("#FFB31A", "#2699F2")  # of two digits: orange and sky blue
SHOWN: set[str] = set()  # places of this session that show something
# Below a film; where a viewer takes style and box away, it runs on. For readers who have asked for
# less motion it stands still until they play it. A page may hide [hidden] with !important.
PAUSE = """<br><label><input type="checkbox" aria-label="stop or play"> <i></i></label><style>
.film i::after { content: "stop" }
.film:has(:checked) > img { display: none }
.film:has(:checked) > img[hidden] { display: inline !important }
@media (prefers-reduced-motion: reduce) {
.film i::after { content: "play" }
.film:not(:has(:checked)) > img, .film:has(:checked) > img[hidden] { display: none !important }
.film:has(:checked) > img:not([hidden]), .film:not(:has(:checked)) > img[hidden] {
display: inline !important }
}
</style>"""


class Hand(NamedTuple):
    """What pictures have to know of a control by which they are chosen.

    chosen: its value, in words. is_fast: somebody waits for the picture, and nobody stores it.
    pictures: where what is shown is gathered; None: it goes onto the page.
    """

    chosen: str = ""
    is_fast: bool = False
    pictures: list[dict[str, str]] | None = None

    def run(self, show: Callable[..., None], *given: Any, **named: Any) -> None:
        """Call a function, all of whose pictures know this."""
        context = copy_context()
        context.run(HAND.set, self)
        context.run(show, *given, **named)


UNTOUCHED = Hand()
HAND = ContextVar("HAND", default=UNTOUCHED)


def find_beside_notebooks(path: str | Path) -> Path:
    """A file seen from this folder, or else from the clone's notebooks/."""
    places = [Path(path), (repository_root() or Path()) / "notebooks" / path]
    return next(filter(Path.exists, places), places[0])


def read_facts(page: str) -> dict[str, Any]:
    """What notebooks/12.toml says of page "12": texts of figures, guesses, and more; {} without."""
    file = find_beside_notebooks(f"{page}.toml")
    return tomllib.loads(file.read_text("utf8")) if file.exists() else {}


def describe(alt: str) -> str:
    """A sentence as it is, or the one that the page's file has under this key.

    A page that lies alone, without its file, shows its figures under their names.
    """
    check_type(str, alt=alt)
    if " " not in alt:
        page, _, key = alt.partition(".")
        facts = read_facts(page) or {"alt": {key: f"Figure {key} of notebook {page}."}}
        text = facts.get("alt", {}).get(key, "")
        check_field(text, "alt", f"a sentence, or a key of {page}.toml", f"{alt!r}")
        chosen = HAND.get().chosen
        alt = f"Another choice, {chosen}, than this: " * bool(chosen) + " ".join(text.split())
    check_field(len(alt.split()) > 3, "alt", "a sentence on what the figure shows", f"{alt!r}")
    return alt


def show_image(
    kind: str,
    content: bytes,
    alt: str,
    width: int,
    still: Image.Image | None = None,
    *,
    is_film: bool = False,
    place: str = "",
) -> None:
    """Show an image file ("png", "svg+xml"), `width` pixels of the page wide, with its text.

    still: the same at one pixel of the page a pixel, for what takes no HTML, such as PDF. A film
    has a box below it that puts this in its place. place: a name; what is shown there again takes
    the place of what was shown first.
    """
    from IPython.display import display

    alt = describe(alt)
    look = f'style="max-width: 100%; height: auto" width="{width}" alt="{html.escape(alt)}"'
    data = {"text/plain": f"Figure: {alt}"}
    encoded = base64.b64encode(content).decode()
    # In HTML, since JupyterLab passes over the alternative text of plain images, and shows plain
    # SVG only in notebooks that are trusted.
    page = f'<img {look} src="data:image/{kind};base64,{encoded}">'
    if kind == "svg+xml":
        data["image/svg+xml"] = content.decode("utf8")
    hand = HAND.get()
    if still is not None and (is_film or not hand.is_fast):
        few = still if hand.is_fast else still.quantize(256, dither=Image.Dither.NONE)
        data["image/png"] = base64.b64encode(write_png(few)).decode()
    if is_film:
        first = f'<img hidden {look} src="data:image/png;base64,{data["image/png"]}">'
        page = f'<div class="film">{page}{first}{PAUSE}</div>'
    if hand.pictures is not None:
        hand.pictures.append(data | {"text/html": page})
        return
    again = {"display_id": place, "update": place in SHOWN} if place else {}
    display(data | {"text/html": page}, raw=True, **again)
    SHOWN.add(place)


def paint(figure: Figure) -> np.ndarray:
    """The pixels of a figure, (height, width, 3); it has the size it was made with."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def share_palette(pictures: Sequence[np.ndarray]) -> list[Image.Image]:
    """Pictures (height, width, 3) in 64 colours for all, or each would be stored in full."""
    palette = Image.fromarray(np.concatenate(pictures)).quantize(64, Image.Quantize.FASTOCTREE)
    images = map(Image.fromarray, pictures)
    return [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]


def write_png(*images: Image.Image, **options: Any) -> bytes:
    """A picture, or those of a film, as a file that is small, or if somebody waits made fast."""
    png, hand = io.BytesIO(), HAND.get()
    if hand.chosen and not hand.is_fast:  # stored beside others: a third of the bytes
        images = (*share_palette([np.asarray(image.convert("RGB")) for image in images]),)
    options |= {"save_all": len(images) > 1, "append_images": images[1:]}
    images[0].save(png, "PNG", optimize=not hand.is_fast, compress_level=1, **options)
    return png.getvalue()


def as_clips(name: str, clips: Tensor | np.ndarray) -> np.ndarray:
    """Clips (N, T, C, H, W) as an array; refuses others by `name`."""
    values = as_array(clips, name)
    are_clips = values.ndim == 5 and values.shape[2] in (1, 2, 3) and 0 not in values.shape
    found = values.shape or f"{type(clips).__name__}; give its frames"
    check_field(are_clips, name, "clips (N, T, 1 to 3, H, W)", found)
    return values


def picture(frames: Tensor | np.ndarray, rows: int = 1) -> np.ndarray:
    """Frames (N, C, H, W) in [0, 1] in `rows` rows, left to right: an image (height, width, 3).

    C: 1 grey, 3 RGB, or 2 planes, each drawn in its colour of `DIGITS`.
    """
    check_whole(1, rows=rows)
    values = finite_array("frames", frames).astype(np.float32)
    are_frames = values.ndim == 4 and values.shape[1] in (1, 2, 3)
    if not are_frames or len(values) == 0 or len(values) % rows:
        refuse("frames", f"(N, 1 to 3, H, W) in {rows} full rows", values.shape)
    check_field(values.max() < 10, "frames", "values in [0, 1]", "bytes; divide them by 255")
    values = values.clip(0, 1)
    if values.shape[1] == 2:
        colours = np.array([to_rgb(colour) for colour in DIGITS], dtype=np.float32)  # (plane, RGB)
        values = np.einsum("nphw,pc->nchw", values, colours).clip(0, 1)
    values = np.broadcast_to(values, (len(values), 3, *values.shape[2:]))
    gap = ((0, 0), (0, 0), (0, 1), (0, 1))  # a white pixel below and to the right of each frame
    tiles = np.pad(values, gap, constant_values=1)
    height, width = tiles.shape[2:]
    tiles = tiles.reshape(rows, -1, 3, height, width).transpose(0, 3, 1, 4, 2)
    return tiles.reshape(rows * height, -1, 3)[:-1, :-1]
