"""The pages of docs/, and every link from a page or a notebook to another file of the clone."""

import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from form import for_all
from helpers import NOTEBOOKS, each_notebook

from tools.files import PARTS, find_place

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md"]
PAGES += [ROOT / "results" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"(?<!\\)\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)")
PUBLISHED = re.compile(r"https://(?:arxiv\.org/abs|doi\.org|openreview\.net)/[^\s)\]]+")


@cache
def read(path: Path) -> str:
    """A page, or the Markdown cells of a notebook; what is code or an equation is left out."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    return re.sub(r"```.*?```|\$\$.*?\$\$|\$[^$\n]+\$|`[^`\n]*`", " ", text, flags=re.DOTALL)


@cache
def read_all(path: Path) -> str:
    """The sources of all cells of a notebook, or a page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text


@cache
def find_anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@for_all(PAGES + NOTEBOOKS)
def test_its_links_lead_somewhere(path):
    dead = []
    for target in LINK.findall(read(path)):
        if target.startswith(("http", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / unquote(name)).resolve() if name else path
        is_page = anchor and file.suffix == ".md" and file.exists()
        anchors = find_anchors(file) if is_page else {anchor}
        if not file.exists() or anchor not in anchors:
            dead.append(target)
    assert dead == []


def test_a_published_work_that_is_linked_is_listed_once():
    listed = PUBLISHED.findall(read(ROOT / "docs" / "bibliography.md"))
    assert len(listed) == len(set(listed))
    for path in NOTEBOOKS:
        missing = set(PUBLISHED.findall(read(path))) - set(listed)
        assert not missing, f"{path.stem}: {missing}"


# ---- the glossary

GLOSSARY = ROOT / "docs" / "glossary.md"
OTHERS = {  # abbreviations that need no entry: parts of a machine, licences, data sets, ...
    *("GB", "CPU", "GPU", "NVIDIA", "A100", "H100", "H200"),
    *("CC", "BY", "BY-SA", "BY-ND", "IGO", "ODC"),
    *("CMU", "MNIST", "MSD", "MUG", "TIMIT", "UCI"),
    *("REPRODUCTION", "NI", "MAP"),  # ... a page, or signals of notebook 36
}


@each_notebook
def test_every_abbreviation_of_a_lesson_is_in_the_glossary(path):
    """Words of capitals that are no name of a claim and in no link's target."""
    words = re.sub(r"\[[A-Z]\d+\]\([^)]*REPRODUCTION\.md#\w+\)", " ", read(path))
    words = re.sub(r"\]\([^)]*\)|https?:\S+", " ", words)
    found = set(re.findall(r"(?<![\w-])[A-Z][A-Z0-9]+(?:-[A-Z]+)?(?![\w-])", words))
    known = set(re.findall(r"[A-Z0-9]{2,}", GLOSSARY.read_text(encoding="utf-8")))
    assert found <= OTHERS | known, found - OTHERS - known


@for_all(sorted((ROOT / "docs" / "questions").glob("*.md")))
def test_each_question_has_its_answer(path):
    parts = re.split(r"(?m)^## (Questions|Answers)$", path.read_text(encoding="utf-8"))
    asked, answered = (re.findall(r"(?m)^\d+\. ", part) for part in parts[2::2])
    assert asked and asked == answered


def test_readme_has_the_order_of_reading_and_a_term_leaves_no_notebook_out():
    """README's map has the chapters, then the cases, then the project, as the footers lead."""
    course = read(ROOT / "README.md").partition("\n## The course\n")[2].partition("\n## ")[0]
    names = [ROOT / name for name in LINK.findall(course) if name.startswith("notebooks/")]
    assert names == sorted(NOTEBOOKS, key=find_place)
    assert [path.name[:2] for path in names] == " ".join(PARTS.values()).split()
    term = read(ROOT / "docs" / "syllabus.md").partition("\n## A term\n")[2]
    assert {Path(name).name for name in LINK.findall(term)} == {path.name for path in NOTEBOOKS}


def test_the_library_in_readme_runs_as_it_is_printed(capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(code, {})
    printed = capsys.readouterr().out
    assert re.search(r"static +1\.00 .*\n", printed) and "dynamic, averaged" in printed
