"""Pages made of results/: REPRODUCTION.md and results/README.md, and what other pages take of them.

reproduction.md.j2 and results.md.j2 have their text, with helpers in place of numbers; claims.toml
has the claims that section 4 of REPRODUCTION.md prints. README.md and the notebooks that begin a
part have sentences and rows of REPRODUCTION.md.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from unbraid import files, records
from unbraid.checks import ResultsError
from unbraid.records import read_csv, read_record

from papers import claims
from papers.claims import Claim, Figure, read_claims
from papers.tables import format_mean, format_number, markdown_table, tabulate_metrics

FULL = "single_element/sprites/full/published-seed0"
HEAD = "claims"  # the tag of the cell that shows them
BLOCK = "(?<=<!-- claims -->\n).*?(?=<!-- /claims -->)"  # of README.md, between marks
WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
TITLES = ("figure", "ours", "paper", "next best")


# ---- what templates may ask results/ for


def find_figure(where: str, name: str, **how: Any) -> Figure:
    """A figure of a run, such as "unordered/faces/quick/unordered", or a column of a CSV.

    how: as claims.toml says: `rows` of the CSV, `groupings`, and `minus` for a difference.
    """
    return Figure("", name, *(("", where) if where.endswith(".csv") else (where,)), **how)


def show_value(where: str, name: str, digits: int = 2, **how: Any) -> str:
    """The mean of a figure over seeds, with its interval."""
    return format_mean([*find_figure(where, name, **how).read_values().values()], digits)


def show_mean(where: str, name: str, digits: int = 2) -> str:
    """The mean of a figure over seeds."""
    return format_number(find_figure(where, name).read_mean(), digits)


def show_percent(where: str, name: str, digits: int = 0, **how: Any) -> str:
    """The mean of a share over seeds, in percent; never rounded up to all."""
    share = find_figure(where, name, **how).read_mean()
    while share < 1 and round(100 * share, digits) == 100:
        digits += 1
    return f"{format_number(100 * share, digits)} %"


def show_share(run: str, length: int) -> str:
    """The share of the paper's updates that the shortest seed of a run has made."""
    return f"{100 * min(claims.read_steps(run)) / length:.0f} %"


def show_states(where: str, name: str, least: float = 1.0, **how: Any) -> str:
    """How many runs reach a value, in words: "two of three runs"."""
    values = find_figure(where, name, **how).read_values().values()
    good, count = sum(value >= least for value in values), len(values)
    words = [WORDS[number] if number < len(WORDS) else str(number) for number in (good, count)]
    return f"{'neither' if (good, count) == (0, 2) else words[0]} of {words[1]} runs"


def show_limits(where: str, name: str, digits: int = 2, **how: Any) -> str:
    """A difference, or a figure of a model without codes, with its interval over test items."""
    found = find_figure(where, name, baseline=True, **how).read_interval()
    return claims.print_limits(found, digits)


def show_table(places: str, *names: str) -> str:
    """Figures of all runs in some folders of results/, such as "benchmark/*/*"."""
    rows = []
    for path in sorted(records.results().glob(f"{places}/metrics.json")):
        for run, *cells in tabulate_metrics(records.read_json(path), names).itertuples():
            rows.append(("/".join((*path.parts[-3:-1], run)), *cells))
    return markdown_table(("run", *names), rows)


HELPERS = {
    "value": show_value,
    "mean": show_mean,
    "percent": show_percent,
    "share": show_share,
    "states": show_states,
    "limits": show_limits,
}


def fill(template: str, **names: Any) -> str:
    """A template of this folder with these names; one that it does not know is an error."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.get_template(template).render(names)


# ---- claims


def render_reproduction() -> str:
    """REPRODUCTION.md, from reproduction.md.j2, the claims and results/."""
    named = read_claims()
    runs = claims.list_runs(named.values())
    return fill(
        "reproduction.md.j2",
        claims=named,
        count=count_verdicts,
        numbers="\n\n".join(render_numbers(*each) for each in named.items()),
        runs=len(runs),
        shipped=sum(runs.values()),
        c=read_record(FULL),
        swaps=read_csv(records.results() / f"{FULL}.swaps.csv"),
        **HELPERS,
    )


def count_verdicts(paper: str) -> str:
    """How many claims have which verdict, such as "5 claims: inconclusive (2), not tried (3)"."""
    verdicts = [each.find_verdict() for each in read_claims().values() if each.paper == paper]
    parts = ", ".join(f"{verdict} ({count})" for verdict, count in Counter(verdicts).items())
    return f"{len(verdicts)} claims: {parts}"


def render_numbers(name: str, claim: Claim) -> str:
    """The numbers behind a claim: source, runs and verdict, and a table of the figures.

    The table has no column for what no figure of the claim has.
    """
    points = claim.list_verdict()
    if claim.list_measured():
        points.append(f"Our runs: {claim.format_size()}")
    verdict = "\n".join(f"- {point}" for point in points)
    text = f"### {name}\n\n{claim.claim} ({claim.format_source()})\n\n{verdict}"
    rows = claim.list_figures()
    if not rows:
        return text
    columns = [column for column in zip(TITLES, *rows, strict=True) if any(column[1:])]
    names, *lines = zip(*columns, strict=True)
    return f"{text}\n\n{markdown_table(names, lines)}"


def render_head(paper: str, page: str) -> str:
    """The cell of a notebook that shows what a paper claims and what came out, in rows of a page.

    page: what `render_reproduction` makes.
    """
    shown = [f"| [{name}](" for name, each in read_claims().items() if each.head]
    lines = [line for line in page.splitlines() if line.startswith(tuple(shown))]
    rows = [line.replace("](#", "](../REPRODUCTION.md#") for line in lines if line[3] == paper]
    return (
        "<details><summary>What the paper claims, and what came out here</summary>\n\n"
        "[REPRODUCTION.md](../REPRODUCTION.md) gives the numbers behind each line, their "
        "intervals, and what a verdict means.\n\n"
        + "\n".join(
            [markdown_table(("", "the paper's claim", "what we found", "verdict"), []), *rows]
        )
        + "\n\n</details>"
    )


def render_readme(page: str) -> str:
    """README.md with the sentences of REPRODUCTION.md on each paper.

    Raises `ResultsError` where the block for them is missing.
    """
    path = records.results().parent / "README.md"
    lines = re.findall(r"(?m)^\*\*(Paper \w)\*\*, .*\n\n(.*)$", page)
    block = "".join(f"- **{paper}.** {sentence}\n" for paper, sentence in lines)
    text = path.read_text(encoding="utf-8")
    readme, count = re.subn(BLOCK, lambda _: block, text, count=1, flags=re.DOTALL)
    if not count:
        remedy = "put both lines where the sentences shall stand"
        raise ResultsError(f"{path}: expected the block {BLOCK}, found none; {remedy}")
    return readme


def find_old_heads(page: str) -> list[str]:
    """A line for each notebook whose head is not the one of a page; none without a page."""
    faults = []
    for path in sorted((records.results().parent / "notebooks").glob("*.ipynb")) if page else ():
        text = path.read_text(encoding="utf-8")
        for cell in json.loads(text)["cells"] if f'"{HEAD}"' in text else ():
            is_head = HEAD in cell["metadata"].get("tags", [])
            if is_head and "".join(cell["source"]) != render_head(name_paper(path), page):
                faults.append(f"{path}: its table of claims is old; run: python -m tools footer")
    return faults


def name_paper(notebook: Path) -> str:
    """The paper that a notebook's part is about: "A" of 13."""
    return chr(ord("@") + int(notebook.name[0]))


# ---- all pages


def render_pages() -> dict[Path, str]:
    """The pages with tables: results/README.md and, if there are claims, those that show them."""
    root = records.results().parent
    pages = {records.results() / "README.md": fill("results.md.j2", table=show_table)}
    if read_claims():
        pages[root / "REPRODUCTION.md"] = page = render_reproduction()
        pages[root / "README.md"] = render_readme(page)
    return pages


def write_tables() -> None:
    """Write the pages from what results/ holds."""
    for path, content in render_pages().items():
        files.write_atomically(path, content.encode())


def table_faults() -> list[str]:
    """A line for each page whose tables are not those of results/."""
    root, faults = records.results().parent, []
    try:
        pages = render_pages()
    except (AttributeError, KeyError, ResultsError, TypeError, ValueError) as error:
        return [f"{root}: expected runs and figures that there are, found {error!r}"]
    for path, content in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            faults.append(f"{path}: its tables are old; run: python -m papers verify --write")
    return faults + find_old_heads(pages.get(root / "REPRODUCTION.md", ""))
