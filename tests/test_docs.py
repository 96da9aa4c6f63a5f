"""The pages of docs/, and every link from a page or a notebook to another file of the clone."""

import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from form import for_all
from helpers import NOTEBOOKS

from tools.files import PARTS, find_place

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md"]
PAGES += [ROOT / "results" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"(?<!\\)\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)")
FOLDERS = ("data", "docs", "notebooks", "papers", "results", "site", "tools")  # and all below
NUMBERED = re.compile(  # a link to a numbered page: its text and its number, or the other way round
    r"\[([^\[\]]*)\]\((?:[^()\s]*/)?(\d\d)(?:_\w+)?\.(?:ipynb|md|html)(?:#[^()\s]*)?\)"
    r'|<a\b[^>]*href="(?:[^"]*/)?(\d\d)(?:_\w+)?\.(?:ipynb|md|html)[^>]*>(.*?)</a>',
    re.DOTALL,
)
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
def find_anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def find_dead_links(path: Path) -> list[str]:
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
    return dead


@for_all(PAGES + NOTEBOOKS)
def test_its_links_lead_somewhere(path):
    assert find_dead_links(path) == []


def test_a_dead_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A heading\n[a](#a-heading) [b](#another) [c](none.md#b) [d](page.md)")
    assert find_dead_links(page) == ["#another", "none.md#b"]


def find_wrong_numbers(text: str) -> list[str]:
    """Links whose text has other digits than the number of the page that they lead to."""
    wrong = []
    for match in NUMBERED.finditer(text):
        words, number = match[1] or match[4] or "", match[2] or match[3]
        if set(re.findall(r"\d+", words)) - {number}:
            wrong.append(match[0])
    return wrong


def test_the_digits_of_a_link_are_those_of_its_page():
    paths = [*ROOT.glob("*.md"), *(p for name in FOLDERS for p in (ROOT / name).rglob("*"))]
    links, wrong = 0, {}
    for path in paths:
        if path.suffix in (".html", ".ipynb", ".j2", ".md", ".toml"):
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".ipynb":
                text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
            links += len(NUMBERED.findall(text))
            wrong[str(path.relative_to(ROOT))] = find_wrong_numbers(text)
    assert links > 300 and {name: found for name, found in wrong.items() if found} == {}


def test_a_swapped_digit_is_seen():
    right = "[23 evaluation](23_b.ipynb) [14\\* laws](a/14_laws.ipynb#top) [42](questions/42.md) "
    right += (
        '[map](00_start.ipynb) [2017](https://doi.org/10.24432/C5) <a href="a/13_x.html">13</a>'
    )
    assert len(NUMBERED.findall(right)) == 5 and find_wrong_numbers(right) == []
    for text in ("[23", "[14", "[42", ">13"):
        swapped = right.replace(text, text[0] + text[:0:-1])
        assert len(find_wrong_numbers(swapped)) == 1, text


def test_every_published_work_that_is_linked_is_in_the_bibliography():
    listed = set(PUBLISHED.findall(read(ROOT / "docs" / "bibliography.md")))
    for path in NOTEBOOKS:
        missing = set(PUBLISHED.findall(read(path))) - listed
        assert not missing, f"{path.stem}: {missing}"


def test_a_work_is_listed_once():
    text = read(ROOT / "docs" / "bibliography.md")
    keys, links = re.findall(r"^## (\w+)$", text, re.MULTILINE), PUBLISHED.findall(text)
    assert len(keys) == len(set(keys)) and len(links) == len(set(links))
    assert keys[5:] == sorted(keys[5:])  # the first five are the papers of the course


# ---- the glossary

GLOSSARY = ROOT / "docs" / "glossary.md"
OTHERS = {  # abbreviations that need no entry: parts of a machine, licences, data sets, ...
    *("GB", "CPU", "GPU", "NVIDIA", "A100", "H100", "H200"),
    *("CC", "BY", "BY-SA", "BY-ND", "IGO", "ODC"),
    *("CMU", "MNIST", "MSD", "MUG", "TIMIT", "UCI"),
    *("REPRODUCTION", "NI", "MAP"),  # ... a page, or signals of notebook 36
}


def read_terms(page: str) -> dict[str, list[str]]:
    """The terms of the glossary in its order, each with the pages that it names."""
    rows = page.rpartition("|---|---|---|\n")[2].splitlines()
    cells = [
        re.split(r"(?<!\\)\|", row) for row in rows
    ]  # "", the term, its meaning, its pages, ""
    terms = {row[1].strip(): LINK.findall(row[3]) for row in cells}
    assert len(terms) == len(rows), "a term twice"
    return terms


def sort_key(term: str) -> str:
    """What the order of the glossary goes by: letters, digits and single blanks, β as beta."""
    plain = re.sub(r"\([^)]*\)", "", term).replace("β", "beta").replace("-", " ")
    return re.sub(r"[^a-z0-9 ]", "", plain.casefold()).strip()


def name_patterns(term: str) -> list[re.Pattern]:
    """What finds a term in a text: each of its names, in singular, plural and as a participle."""
    names = [name for name in re.split(r", | \(|\)", term) if name and "$" not in name]
    patterns = []
    for name in names:
        stems = [re.escape(re.sub(r"(s|t?ing)$", "", word)) for word in re.split(r"[ -]", name)]
        patterns.append(re.compile(r"(?<!\w)" + r"\w*[\s-]+".join(stems), re.IGNORECASE))
    return patterns


@cache
def read_all(path: Path) -> str:
    """The sources of all cells of a notebook, or a page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text


def find_foreign_terms(page: str, folder: Path) -> list[str]:
    """Terms with a page that they do not occur on."""
    lost = []
    for term, links in read_terms(page).items():
        assert links, f"{term}: expected the page that introduces it"
        for link in links:
            text = read_all((folder / link).resolve())
            if not any(pattern.search(text) for pattern in name_patterns(term)):
                lost.append(f"{term}: {link}")
    return lost


def test_the_glossary_is_in_alphabetical_order():
    keys = [sort_key(term) for term in read_terms(GLOSSARY.read_text(encoding="utf-8"))]
    assert len(keys) > 100 and keys == sorted(keys)
    terms = ["AUPRC", "baseline", "β-VAE", "bits, nats", "gap", "grid", "grid of runs"]
    assert sorted(reversed(terms), key=sort_key) == terms


def test_each_term_occurs_on_the_pages_that_introduce_it():
    """Red: the page has got another word, or the glossary names a wrong page."""
    assert find_foreign_terms(GLOSSARY.read_text(encoding="utf-8"), GLOSSARY.parent) == []


def test_a_term_on_a_wrong_page_is_seen(tmp_path):
    (tmp_path / "a.md").write_text("Laws of motion, whitened values.")
    row = "| {} | a meaning | [a](a.md) |"
    for term in ("law of motion", "whitening", "EER (motion)"):
        assert find_foreign_terms(row.format(term), tmp_path) == []
    for term in ("motion law", "aws of motion", "EER"):
        assert find_foreign_terms(row.format(term), tmp_path) == [f"{term}: a.md"]


def find_unknown_abbreviations(text: str, glossary: str) -> set[str]:
    """Words of capitals in a text, and not in a link's target, that the glossary does not have.

    The names of claims, which are links to REPRODUCTION.md, need no entry either.
    """
    words = re.sub(r"\[[A-Z]\d+\]\([^)]*REPRODUCTION\.md#\w+\)", " ", text)
    words = re.sub(r"\]\([^)]*\)|https?:\S+", " ", words)
    found = set(re.findall(r"(?<![\w-])[A-Z][A-Z0-9]+(?:-[A-Z]+)?(?![\w-])", words))
    return found - OTHERS - set(re.findall(r"[A-Z0-9]{2,}", glossary))


def test_every_abbreviation_of_the_lessons_is_in_the_glossary():
    glossary = GLOSSARY.read_text(encoding="utf-8")
    unknown = {path.stem: find_unknown_abbreviations(read(path), glossary) for path in NOTEBOOKS}
    assert {name: words for name, words in unknown.items() if words} == {}
    assert find_unknown_abbreviations("AUROC, [IS](A_B.md), XYZ, GPU", glossary) == {"XYZ"}
    names = "[C1](../REPRODUCTION.md#c1), [C2](other.md#c2), C3"
    assert find_unknown_abbreviations(names, glossary) == {"C2", "C3"}


def test_readme_has_the_order_of_reading_and_a_term_leaves_no_notebook_out():
    """README's map has the chapters, then the cases, then the project, as the footers lead."""
    course = read(ROOT / "README.md").partition("\n## The course\n")[2].partition("\n## ")[0]
    names = [ROOT / name for name in LINK.findall(course) if name.startswith("notebooks/")]
    assert names == sorted(NOTEBOOKS, key=find_place)
    assert [path.name[:2] for path in names] == " ".join(PARTS.values()).split()
    term = read(ROOT / "docs" / "syllabus.md").partition("\n## A term\n")[2]
    assert {Path(name).name for name in LINK.findall(term)} == {path.name for path in NOTEBOOKS}


def test_the_pictures_of_readme_are_small_and_say_their_date():
    pictures = sorted((ROOT / "docs" / "pictures").glob("*.webp"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(pictures) == 3 and re.search(r"as of \d+ \w+ 20\d\d", readme)
    for path in pictures:
        assert path.stat().st_size < 60_000 and f'src="docs/pictures/{path.name}"' in readme


def test_the_library_in_readme_runs_as_it_is_printed(capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(code, {})
    printed = capsys.readouterr().out
    assert re.search(r"static +1\.00 .*\n", printed) and "dynamic, averaged" in printed
