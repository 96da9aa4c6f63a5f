"""Figures as files: what the committed outputs of the notebooks show, for slides of one's own."""

from __future__ import annotations

import base64
import html
import io
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode
from PIL import Image
from unbraid.files import write_atomically

from tools.files import select_notebooks

IMAGE = re.compile(r'<img [^>]*alt="([^"]*)" src="data:image/(\w+)[^,"]*;base64,([^"]+)"')
INDEX = """# Figures of the notebooks

Texts and figures: CC BY 4.0; pictures of data keep its licence (REUSE.toml, by
notebook). Animations are moving PNG for browsers; the GIF beside each plays in PowerPoint, Keynote
and Google Slides.

| file | what it shows |
|---|---|
"""


class Figure(NamedTuple):
    """A picture of a notebook as a file; cell: the number of the one that shows it."""

    cell: int
    name: str
    content: bytes
    alt: str


def find_figures(path: Path, book: NotebookNode) -> list[Figure]:
    """The pictures of a notebook's outputs, named by their keys in figures/alt.toml."""
    texts = tomllib.loads((path.parent / "figures" / "alt.toml").read_text(encoding="utf-8"))
    keys = {" ".join(alt.split()): key for key, alt in texts.get(path.name[:2], {}).items()}
    found: list[Figure] = []
    for index, cell in enumerate(book.cells):
        for output in cell.get("outputs", []):
            # Of a film, the second picture is its first frame.
            if match := IMAGE.search(output.get("data", {}).get("text/html", "")):
                alt = html.unescape(match[1])
                name = f"{path.name[:2]}-{keys.get(alt, f'cell{index}')}.{match[2]}"
                found.append(Figure(index, name, base64.b64decode(match[3]), alt))
    return found


def write_figures(to: str | Path, only: str = "") -> list[Path]:
    """Write the figures of notebooks and an index with their texts; films also as GIF."""
    written: dict[Path, str] = {}
    for path in select_notebooks(only=only):
        for figure in find_figures(path, nbformat.read(path, 4)):
            place = Path(to) / figure.name
            write_atomically(place, figure.content)
            written[place] = f"| [{figure.name}]({figure.name}) | {figure.alt} |\n"
            if figure.name.endswith(".png") and b"acTL" in figure.content[:100]:
                film = Image.open(io.BytesIO(figure.content))
                film.save(place.with_suffix(".gif"), save_all=True, loop=0)
    write_atomically(Path(to) / "index.md", (INDEX + "".join(written.values())).encode())
    return list(written)
