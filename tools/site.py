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

from tools.files import select_notebooks, write

ROOT = Path(__file__).resolve().parent.parent
NPM = ROOT / "build" / "npm" / "node_modules"
PARTS = {  # the first digit of a notebook's number: what stands above it in the sidebar
    "0": "Foundations",
    "1": "A · independent prediction",
    "2": "B · unordered frames",
    "3": "C · a single element",
    "4": "D · side by side, your own data",
}
PAGES = ("docs", "docs/questions", ".", "data", "results")  # folders whose Markdown becomes pages
LEFT_OUT = {"README.md", "docs/README.md", "CODE_OF_CONDUCT.md", "SECURITY.md"}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
# A page has no kernel: what checks a learner's answer goes, the solution stays, folded.
READ = TagRemovePreprocessor(enabled=True, remove_cell_tags={"expectation", "check", "solved"})


def build(to: str | Path) -> Path:
    """Build the site into the folder `to`; any warning of Sphinx is an error. Returns its index.

    Needs what `make site` installs: site/requirements.txt, and site/package.json by npm.
    """
    from tools import live  # imported lazily, as it loads PyTorch

    to = Path(to).resolve()
    source = to.parent / "site-source"
    shutil.rmtree(source, ignore_errors=True)
    lay_out(source)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-j", "2"]
    command += ["-d", str(to.parent / "doctrees")]
    subprocess.run([*command, "-c", str(ROOT / "site"), str(source), str(to)], check=True)
    mathjax = to / "_static" / "mathjax"
    mathjax.mkdir(exist_ok=True)
    shutil.copy(NPM / "mathjax" / "es5" / "tex-svg.js", mathjax)
    for page in to.rglob("*.html"):
        page.write_text(name_parts(page.read_text(encoding="utf-8")), encoding="utf-8")
    live.build(to, NPM)
    return to / "index.html"


def name_parts(page: str) -> str:
    """Name the parts of a page for screen readers where the theme does not."""
    page = re.sub(r"<th(?: [^>]*)?>(?:<p>)?\s*(?:</p>)?</th>", "<td></td>", page)
    page = page.replace(' aria-label="Toggle hidden content"', "")
    page = re.sub(r'(<button[^>]*search-button-field[^>]*?) aria-label="Search"', r"\1", page)
    page = page.replace(
        "<details><summary><span", '<details><summary aria-label="more pages"><span'
    )
    side = r'<div id="pst-primary-sidebar"|<div class="bd-sidebar-primary'
    return re.sub(
        side, lambda m: m[0].replace("<div", '<div role="navigation" aria-label="Pages"'), page
    )


def lay_out(source: Path) -> None:
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
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        target.write_text(lead(text, path, source, pages), encoding="utf-8")
    write_index(source, notebooks, pages)
    write_reference(source)


def lead(text: str, path: Path, source: Path, pages: set[str]) -> str:
    """Let each link of a text lead to a page, or to a copy of the file that it names.

    The link to README leads to the first page; one to a folder is dropped, as a site has none.
    """

    def move(match: re.Match) -> str:
        words, link, anchor = match.groups()
        target = (path.parent / link).resolve()
        if re.match(r"\w+:", link) or not target.is_relative_to(ROOT):
            return match[0]
        name = target.relative_to(ROOT).as_posix()
        if name in pages:
            return match[0]
        if name == "README.md":
            return f"[{words}]({os.path.relpath(ROOT / 'index.md', path.parent)})"
        if not target.is_file():
            return words
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target, copy)
        return f"[{words}]({link})"

    text = re.sub(r"!\[[^\]]*\]\(([^)#\s]+)\)", lambda m: copy_picture(m, path, source), text)
    return LINK.sub(move, text)


def copy_picture(match: re.Match, path: Path, source: Path) -> str:
    """Take the picture that a text shows along."""
    target = (path.parent / match[1]).resolve()
    if target.is_relative_to(ROOT) and target.is_file():
        copy = source / target.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target, copy)
    return match[0]


def write_index(source: Path, notebooks: list[Path], pages: set[str]) -> None:
    """The first page, from site/index.md, and the contents of the sidebar."""
    text = (ROOT / "site" / "index.md").read_text(encoding="utf-8")
    contents = []
    for digit, caption in PARTS.items():
        names = [f"notebooks/{p.stem}" for p in notebooks if p.name[0] == digit]
        contents.append(toctree(caption, names))
    look_up = ["REPRODUCTION", "docs/glossary", "docs/notation", "docs/bibliography"]
    contents.append(toctree("Look up", [*look_up, "reference/index", "results/README"]))
    essays = ["docs/own-data", "docs/gpu", "docs/judging-small-versions", "docs/public-code"]
    essays.append("data/README")
    contents.append(toctree("Read", essays))
    questions = [f"docs/questions/{p.name[:2]}" for p in notebooks]
    teach = ["docs/syllabus", "docs/teaching", "questions", "CONTRIBUTING", "CHANGELOG"]
    contents.append(toctree("Teach, take part", teach))
    text = lead(text, ROOT / "README.md", source, pages)
    (source / "index.md").write_text(text + "\n" + "\n".join(contents), encoding="utf-8")
    page = "# Questions\n\nFive questions on each notebook, with their answers.\n\n"
    names = [name for name in questions if (source / f"{name}.md").exists()]
    (source / "questions.md").write_text(page + toctree("", names, hidden=False), encoding="utf-8")


def toctree(caption: str, names: list[str], hidden: bool = True) -> str:
    """A list of pages for Sphinx."""
    options = [f":caption: {caption}"] * bool(caption) + [":hidden:"] * hidden
    return "\n".join(["```{toctree}", *options, ":maxdepth: 1", "", *names, "```", ""])


def write_reference(source: Path) -> None:
    """A page for each module of the library, from its docstrings."""
    folder = source / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for package in ("unbraid", "unbraid_extras"):
        for path in sorted((ROOT / "lib" / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT / "lib").with_suffix("").parts)
            if path.stem.startswith("_"):
                continue
            page = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n"
            (folder / f"{name}.rst").write_text(page, encoding="utf-8")
            names.append(name)
    head = "# Library\n\nThe modules of the helper library, from their docstrings.\n\n"
    index = folder / "index.md"
    index.write_text(head + toctree("", names, hidden=False), encoding="utf-8")
