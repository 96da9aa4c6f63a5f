"""The course as pages: lays its sources out for Sphinx, and lets Sphinx build them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbconvert.preprocessors import TagRemovePreprocessor
from unbraid.files import write_atomically

from tools.files import PARTS, ROOT, select_notebooks, write

HERE = Path(__file__).parent
NPM = ROOT / "build" / "npm" / "node_modules"
LISTS = {  # what follows the notebooks there
    "Look up": "REPRODUCTION docs/glossary docs/notation docs/bibliography reference/index "
    "results/README",
    "Read": "docs/own-data docs/gpu docs/people-in-the-data "
    "docs/field docs/open-questions docs/judging-small-versions docs/public-code data/README",
    "Teach, take part": "docs/syllabus docs/teaching questions docs/projects/own_data "
    "docs/projects/series docs/projects/sample_report CONTRIBUTING CHANGELOG",
}
# Folders whose Markdown becomes pages.
PAGES = ("docs", "docs/questions", "docs/projects", ".", "data", "results")
LIVE = "docs/live-page.md"  # of a clone; on the site its links lead to the live page itself
LEFT_OUT = {"README.md", "docs/README.md", LIVE}
FRONT = re.compile(r"<!-- front -->\n(.*?\n)<!-- /front -->\n", re.S)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
# A page has no kernel: what checks a learner's answer or keeps a guess goes, the solution stays,
# folded, and a question stays with its choices.
UNREAD = {"expectation", "check", "solved", "guess"}
READ = TagRemovePreprocessor(enabled=True, remove_cell_tags=UNREAD)


def build(to: str | Path) -> Path:
    """Build the site into the folder `to`; any warning of Sphinx is an error. Returns its index.

    Needs what `make site` installs: requirements.txt, and package.json by npm.
    """
    from tools.site import live  # imported lazily, as it loads PyTorch

    to = Path(to).resolve()
    source = to.parent / "site-source"
    print("1 of 3: the sources of the pages", flush=True)
    shutil.rmtree(source, ignore_errors=True)
    copy_pages(source)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-j", "2"]
    command += ["-d", str(to.parent / "doctrees")]
    print("2 of 3: the pages, by Sphinx", flush=True)
    subprocess.run([*command, "-c", str(HERE), str(source), str(to)], check=True, cwd=ROOT)
    mathjax = to / "_static" / "mathjax"
    mathjax.mkdir(exist_ok=True)
    shutil.copy(NPM / "mathjax" / "es5" / "tex-svg.js", mathjax)
    for page in to.rglob("*.html"):
        page.write_text(name_parts(page.read_text(encoding="utf-8")), encoding="utf-8")
    print("3 of 3: the live page", flush=True)
    live.build(to, NPM)
    shutil.copy(HERE / "404.html", to)
    return to / "index.html"


def name_parts(page: str) -> str:
    """Name the parts of a page for screen readers where the theme does not."""
    page = re.sub(r"<th(?: [^>]*)?>(?:<p>)?\s*(?:</p>)?</th>", "<td></td>", page)
    page = page.replace(' aria-label="Toggle hidden content"', "")
    page = re.sub(r'(<button[^>]*search-button-field[^>]*?) aria-label="Search"', r"\1", page)
    page = re.sub("(<details[^>]*><summary)(><span)", r'\1 aria-label="more pages"\2', page)
    side = r'<div( id="pst-primary-sidebar"| class="bd-sidebar-primary)'
    return re.sub(side, r'<div role="navigation" aria-label="Pages"\1', page)


def copy_pages(source: Path) -> None:
    """Copy notebooks, texts and drawings into `source` in the repository's own order of folders."""
    notebooks = select_notebooks()
    texts = []
    for folder in PAGES:
        texts += sorted((ROOT / folder).glob("*.md"))
    texts = [p for p in texts if p.relative_to(ROOT).as_posix() not in LEFT_OUT]
    pages = {p.relative_to(ROOT).as_posix() for p in (*notebooks, *texts)}
    for path in notebooks:
        book, _ = READ(nbformat.read(path, 4), {})
        for cell in book.cells:
            if cell.cell_type == "markdown":
                cell.source = lead(cell.source, path, source, pages)
        write(book, source / path.relative_to(ROOT))
    for path in texts:
        text = lead(path.read_text(encoding="utf-8"), path, source, pages)
        write_atomically(source / path.relative_to(ROOT), text.encode())
    write_index(source, notebooks, pages)
    write_reference(source)


def lead(text: str, path: Path, source: Path, pages: set[str]) -> str:
    """Let each link of a text lead to a page, or to a copy of the file or picture that it names.

    The link to README leads to the first page; those to `LIVE` and to README's #ways-in lead to the
    site's own; one to a folder is dropped, as a site has none.
    """

    def move(match: re.Match) -> str:
        sign, words, link, place = match.groups()
        own = f'<a href="{os.path.relpath(ROOT / "live.html", path.parent)}">{words}</a>'
        target = (path.parent / link).resolve()
        if re.match(r"\w+:", link) or not target.is_relative_to(ROOT):
            return match[0]
        name = target.relative_to(ROOT).as_posix()
        if name in pages:
            return match[0]
        if name == LIVE or (name == "README.md" and place == "#ways-in"):
            return own
        if name == "README.md":
            return f"[{words}]({os.path.relpath(ROOT / 'index.md', path.parent)})"
        if not target.is_file():
            return words
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target, copy)
        return f"{sign}[{words}]({link})"

    return LINK.sub(move, text)


def write_index(source: Path, notebooks: list[Path], pages: set[str]) -> None:
    """The first page, from index.md and README.md between its marks, and the sidebar's contents."""
    readme, page = ROOT / "README.md", (HERE / "index.md").read_text("utf-8")
    front = "".join(FRONT.findall(readme.read_text("utf-8")))
    text = lead(page.replace("<!-- README -->", front.strip()), readme, source, pages)
    contents = []
    stems = {path.name[:2]: path.stem for path in notebooks}
    for caption, numbers in PARTS.items():
        names = [f"notebooks/{stems[number]}" for number in numbers.split()]
        contents.append(toctree(caption, names))
    contents += [toctree(caption, names.split()) for caption, names in LISTS.items()]
    write_atomically(source / "index.md", "\n".join([text, *contents]).encode())
    page = "# Questions\n\nFive or six on each notebook, with answers, and a quiz on each part.\n\n"
    names = [f"docs/questions/{path.name[:2]}" for path in notebooks]
    names += [f"docs/questions/quiz_{part}" for part in "abcd"]
    names = [name for name in names if (source / f"{name}.md").exists()]
    write_atomically(source / "questions.md", (page + toctree("", names, hidden=False)).encode())


def toctree(caption: str, names: list[str], hidden: bool = True) -> str:
    """A list of pages for Sphinx."""
    options = [f":caption: {caption}"] * bool(caption) + [":hidden:"] * hidden
    return "\n".join(["```{toctree}", *options, ":maxdepth: 1", "", *names, "```", ""])


def write_reference(source: Path) -> None:
    """A page for each module of the library, from its docstrings."""
    names = []
    for path in sorted(ROOT.glob("lib/unbraid*/**/*.py")):
        if not path.stem.startswith("_"):
            names.append(".".join(path.relative_to(ROOT / "lib").with_suffix("").parts))
    for name in names:
        page = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n"
        write_atomically(source / "reference" / f"{name}.rst", page.encode())
    head = "# Library\n\nThe modules of the helper library, from their docstrings.\n\n"
    write_atomically(
        source / "reference" / "index.md", (head + toctree("", names, hidden=False)).encode()
    )
