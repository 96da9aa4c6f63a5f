"""What a published repository's address makes possible: badges, and a first cell that installs."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from unbraid.files import write_atomically

from tools.files import ADDRESS, normalise, select_notebooks, tags, write

LIVE = re.compile(r"\[live page\]\([^)\s]+\)")  # in notebooks
BADGES = re.compile(r"(?s)<!-- badges -->.*?<!-- /badges -->\n")
INSTALL = """\
# On Colab or Kaggle: run this cell first (on Kaggle, Settings > Internet must be on).
# Where the course is installed, it does nothing.
import importlib.util
import os
import subprocess
import sys

REPOSITORY = "{url}"
COURSE = os.path.abspath("unbraid-course")
if os.path.isdir(COURSE) or importlib.util.find_spec("unbraid") is None:
    if not os.path.isdir(COURSE):
        clone = ["git", "clone", "-q", "--depth", "1", REPOSITORY, COURSE]
        subprocess.run(clone, check=True)
    EXTRAS = os.path.join(COURSE, "extras")
    pip = [sys.executable, "-m", "pip", "install", "-q", "-e", COURSE, "-e", EXTRAS]
    subprocess.run([*pip, "ipywidgets"], check=True)
    sys.path[:0] = [os.path.join(COURSE, "lib"), os.path.join(EXTRAS, "src"), COURSE]
    os.chdir(os.path.join(COURSE, "notebooks"))"""


def write_address(url: str, root: Path) -> list[Path]:
    """Write the address of a repository on GitHub into README.md and the notebooks of a clone.

    Links to the live page then lead to the published one.

    Given again, with another address or the same, it replaces what it wrote. Raises ValueError for
    an address of another form.
    """
    found = urlsplit(url.removesuffix(".git").rstrip("/"))
    parts = found.path.strip("/").split("/")
    if found.scheme != "https" or found.netloc != "github.com" or len(parts) != 2 or found.query:
        raise ValueError(f"url: expected https://github.com/OWNER/NAME, found {url}")
    repository = f"https://github.com/{'/'.join(parts)}"
    readme = root / "README.md"
    text = BADGES.sub("", readme.read_text(encoding="utf-8"))
    title, rest = text.split("\n", 1)
    badges = "<!-- badges -->\n" + "\n".join(make_badges(*parts)) + "\n<!-- /badges -->\n"
    rest = re.sub(r"(git clone --depth 1 )\S+", rf"\1{repository}", rest)
    rest = rest.replace("     # URL: the address of this page", "")
    write_atomically(readme, f"{title}\n\n{badges}\n{rest.lstrip()}".encode())
    written = [readme]
    live = f"[live page]({site_address(root)}live.html)"
    for path in select_notebooks(root / "notebooks"):
        book = nbformat.read(path, 4)
        for cell in book.cells:
            if cell.cell_type == "markdown":
                cell.source = LIVE.sub(live, cell.source)
        book.cells = [cell for cell in book.cells if ADDRESS not in tags(cell)]
        book.cells.insert(1, make_cell(repository))
        book.metadata["accelerator"] = "GPU"  # which Colab then offers
        written.append(write(normalise(book), path))
    return written


def read_address(root: Path) -> str:
    """The repository's address that `write_address` has written into README.md; "" without one."""
    text = (root / "README.md").read_text(encoding="utf-8")
    found = re.search(r"git clone --depth 1 (https://\S+)", text)
    return found[1] if found else ""


def site_address(root: Path) -> str:
    """Where GitHub serves the repository's site, with a slash at the end; "" without an address."""
    if not (url := read_address(root)):
        return ""
    owner, name = url.split("/")[-2:]
    return f"https://{owner.lower()}.github.io/{name}/"


def make_badges(owner: str, name: str) -> list[str]:
    """Links to places where 00 opens at once, and to the site."""
    start = "notebooks/00_start_here.ipynb"
    colab = f"https://colab.research.google.com/github/{owner}/{name}/blob/main/{start}"
    page = f"https://github.com/{owner}/{name}/blob/main/{start}"
    mine = start.replace("notebooks", "mine")  # the reader's copy, which binder/postBuild has made
    binder = f"https://mybinder.org/v2/gh/{owner}/{name}/main?urlpath=lab/tree/{mine}"
    site = f"https://{owner.lower()}.github.io/{name}/"
    links = {
        "try it": ("in_your_browser-try_it-009E73", site + "live.html"),
        "site": ("course-read-0072B2", site),
        "Colab": ("Colab-open-E69F00", colab),
        "Kaggle": ("Kaggle-open-20BEFF", f"https://kaggle.com/kernels/welcome?src={page}"),
        "Binder": ("Binder-launch-579ACA", binder),
        "Codespaces": ("Codespaces-open-24292f", f"https://codespaces.new/{owner}/{name}"),
    }
    badge = "[![{}](https://img.shields.io/badge/{})]({})"
    return [badge.format(place, label, link) for place, (label, link) in links.items()]


def make_cell(url: str) -> NotebookNode:
    """The folded cell that installs the course where it is not installed."""
    source = INSTALL.format(url=url)
    metadata = {"tags": [ADDRESS, "hide-cell"], "jupyter": {"source_hidden": True}}
    return new_code_cell(source, metadata=metadata)
