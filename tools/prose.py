"""Where the decimals in the prose of notebooks come from.

A decimal in a Markdown cell has a source if, after rounding to its places, it stands

- in a text output or in the code of the same notebook;
- with three digits or more, in a metrics.json of the part that the notebook belongs to (of two
  digits, most are in there by chance);
- in a file of results/ that its sentence links to: `[metrics](../results/.../metrics.json)`;
- or if its sentence links to the bibliography: `[A, table 1](../docs/bibliography.md#whitney2017)`;
- or if it is part of a displayed equation, or of a name: a heading's number, a version, a licence;
- or if it says how much memory or how many minutes something takes on some machine.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tools.files import ROOT, tags

DECIMAL = re.compile(r"(?<![\w.])(?:\d{1,3}(?:[ \u00a0\u202f]\d{3})+|\d*)\.\d+(?![\w]|\.\d)")
NUMBER = re.compile(r"(?<![\w.])(?:\d[\d_,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
PERCENT = re.compile(r"\s*(?:\\?%|per ?cent)")
NO_CLAIMS = re.compile(  # removed before decimals are looked for
    r"```.*?```|\$\$.*?\$\$|\]\([^)]*\)|https?://\S+"
    r"|^#+ [\d.]+|arXiv:? ?\d{4}\.\d+|(?:BY|BY-SA|GPL|Python|PyTorch|torch) \d+\.\d+"
    r"|\d*\.\d+ (?:GB|MB|minutes?)\b"
    r"|(?:[Ss]ections?|[Tt]ables?|[Ff]igures?|[Ee]xercises?|[Ee]quations?) \(?\d+\.\d+",
    re.DOTALL | re.MULTILINE,
)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z*_`\[$])|\n\s*\n|\n(?=[-*] )")
LINK_TARGET = re.compile(r"\]\(([^)]*)\)")
BIBLIOGRAPHY = "docs/bibliography.md"
RESULTS = "results/"


def find_unsupported(notebooks: Iterable[Path]) -> list[str]:
    """One line for each decimal in the prose of these notebooks that has no source."""
    findings = []
    for path in notebooks:
        for decimal, sentence in check_notebook(nbformat.read(path, 4), path.stem):
            line = next(line for line in sentence.splitlines() if decimal in line)
            findings.append(f"{path.stem}: {decimal} in: {line.strip()[:200]}")
    return findings


def check_notebook(book: NotebookNode, name: str) -> Iterator[tuple[str, str]]:
    """Each decimal without a source, with its sentence."""
    shown = collect_numbers("\n".join(read_sources(book)))
    measured = read_metrics(name[3:])
    for cell in book.cells:
        if cell.cell_type != "markdown" or "footer" in tags(cell):
            continue
        for sentence in split_sentences(cell.source):
            linked, has_key = read_links(sentence)
            claims = NO_CLAIMS.sub(" ", sentence)
            for match in [] if has_key else DECIMAL.finditer(claims):
                decimal = match[0]
                known = shown | linked
                if len(decimal.replace(".", "").lstrip("0")) >= 3:
                    known = known | measured
                if not is_among(decimal, known, bool(PERCENT.match(claims, match.end()))):
                    yield decimal, sentence


def read_sources(book: NotebookNode) -> Iterator[str]:
    """The code of a notebook, and what it puts out as text; pictures and their texts left out."""
    for cell in book.cells:
        if cell.cell_type != "code":
            continue
        yield cell.source
        for output in cell.outputs:
            data = output.get("data", {})
            plain = data.get("text/plain", "")
            yield output.get("text", "")
            yield "" if plain.startswith("Figure: ") else plain
            yield re.sub(r"<[^>]*>", " ", data.get("text/html", ""))


def collect_numbers(text: str) -> frozenset[float]:
    """All numbers in a text without their signs; one with a percent sign also as a share."""
    numbers = set()
    for match in NUMBER.finditer(text):
        value = float(re.sub("[_,]", "", match[0]))
        numbers.add(value)
        if PERCENT.match(text, match.end()):
            numbers.add(value / 100)
    return frozenset(numbers)


def read_file(name: str) -> str:
    """The text of a file of the clone, named by its path; "" where there is none."""
    path = ROOT / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@functools.cache
def read_metrics(topic: str) -> frozenset[float]:
    """All numbers in the metrics of the part that a topic begins with; with none, of all parts."""
    folder = ROOT / RESULTS
    parts = [part for part in folder.iterdir() if topic.startswith(part.name)] or [folder]
    paths = sorted(parts[0].rglob("metrics.json"))
    return collect_numbers("\n".join(path.read_text(encoding="utf-8") for path in paths))


def split_sentences(text: str) -> list[str]:
    """A cell's sentences. A table is one: a link in one of its rows holds for all of them."""
    sentences = []
    for block in re.split(r"\n\s*\n", text):
        is_table = block.lstrip().startswith("|")
        sentences += [block] if is_table else SENTENCE_END.split(block)
    return sentences


def read_links(sentence: str) -> tuple[frozenset[float], bool]:
    """The numbers of results that a sentence links to; whether it links to the bibliography."""
    numbers = frozenset()
    has_key = False
    for target in LINK_TARGET.findall(sentence):
        name, _, key = target.removeprefix("../").partition("#")
        if name.startswith(RESULTS):
            numbers |= collect_numbers(read_file(name))
        has_key |= name == BIBLIOGRAPHY and f"\n## {key}\n" in read_file(name)
    return numbers, has_key


def is_among(decimal: str, numbers: Iterable[float], is_percentage: bool) -> bool:
    """Whether one of the numbers, rounded to the places of a decimal, is that decimal."""
    digits = re.sub(r"\s", "", decimal)
    half = 0.5000001 * 10 ** -len(digits.partition(".")[2])
    candidates = list(numbers)
    if is_percentage:
        candidates += [100 * number for number in candidates]
    return any(abs(candidate - float(digits)) <= half for candidate in candidates)
