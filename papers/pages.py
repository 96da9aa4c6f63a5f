"""Pages with tables, made of results/: its README, REPRODUCTION.md, and parts of other pages.

results/tables.toml says which figures results/README.md shows, claims.toml what the others claim.
"""

import json
import re
import tomllib
from pathlib import Path

from jinja2 import StrictUndefined, Template
from unbraid import files, records
from unbraid.checks import ResultsError
from unbraid.records import read_csv, read_record

from papers.claims import list_runs, print_figure, read_claims
from papers.tables import markdown_table, metrics_table, print_number

PAPERS = {"A": "13", "B": "20", "C": "30"}  # the notebook of each part that shows its claims
FULL = "single_element/sprites/full"
HEAD = "claims"  # the tag of the cell that shows them
BLOCK = "(?<=<!-- claims -->\n).*?(?=<!-- /claims -->)"  # the table in README.md, between marks
TITLES = ("claim", "ours (by seed); the paper's", "size and length", "verdict")


def render_page(tables: dict) -> str:
    """results/README.md: every table of results/tables.toml, whose content is given.

    A table of quick results comes again with those of the same folder at full, where there are any.
    Raises `ResultsError` for a table without results.
    """
    parts = [tables["introduction"].strip()]
    places = [table["results"] for table in tables["table"]]
    for table in tables["table"]:
        titles = {column["figure"]: column["title"] for column in table["columns"]}
        digits = {column["figure"]: column.get("digits", 2) for column in table["columns"]}
        texts = {table["results"]: (table["title"], table["introduction"].strip())}
        full = re.sub("quick$", "full", table["results"])
        if full not in places:  # A table of its own wins.
            texts[full] = (f"{table['title']}, at full size", "The figures of the table above.")
        for place, (title, introduction) in texts.items():
            path = records.results() / place / "metrics.json"
            if place == table["results"] or path.exists():
                content = metrics_table(records.read_json(path), titles, digits)
                parts += [f"## {title}", introduction, content]
    return "\n\n".join(parts) + "\n"


# ---- claims


def render_head(paper: str) -> str:
    """The cell of a notebook that shows what a paper claims and what came out."""
    claims = [claim for claim in read_claims() if claim.paper == paper and claim.head]
    table = markdown_table(TITLES, [claim.print_row(with_command=False) for claim in claims])
    bold = "; bold seeds have their weights included" if "**" in table else ""
    return (
        "**What the paper claims, and what came out here.** The [glossary](../docs/glossary.md) "
        f"explains the terms. ± is the 95 % interval over seeds{bold}. All claims, and what a "
        "verdict means: [REPRODUCTION.md](../REPRODUCTION.md).\n\n" + table
    )


def render_reproduction() -> str:
    """REPRODUCTION.md, from reproduction.md.j2, the claims and results/."""
    text = Path(__file__).with_name("reproduction.md.j2").read_text(encoding="utf-8")
    claims, rows = read_claims(), []
    for claim in claims:
        first, *others = claim.print_row()
        rows.append((f"{claim.paper}: {first}", *others))
    runs = list_runs(claims)
    return Template(text, undefined=StrictUndefined, keep_trailing_newline=True).render(
        table=markdown_table(TITLES, rows),
        runs=len(runs),
        shipped=sum(runs.values()),
        full=FULL,
        c=read_record(f"{FULL}/published-seed0"),
        swaps=read_csv(records.results() / FULL / "published-seed0.swaps.csv"),
        value=print_figure,
        number=print_number,
        count=lambda count: f"{count:,.0f}".replace(",", " "),
    )


def render_readme() -> str:
    """README.md with the table of this commit. Raises `ResultsError` where its block is missing."""
    path = records.results().parent / "README.md"
    rows = [claim.print_short_row() for claim in read_claims() if claim.readme]
    table = markdown_table(("claim", "ours", "verdict"), rows)
    text = path.read_text(encoding="utf-8")
    page, count = re.subn(BLOCK, lambda _: f"{table}\n", text, count=1, flags=re.DOTALL)
    if not count:
        remedy = "put both lines where the table shall stand"
        raise ResultsError(f"{path}: expected the block {BLOCK}, found none; {remedy}")
    return page


def head_faults() -> list[str]:
    """A line for each notebook whose head is not the one that results/ give."""
    faults = []
    for paper, number in PAPERS.items() if read_claims() else ():
        for path in sorted((records.results().parent / "notebooks").glob(f"{number}_*.ipynb")):
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            heads = [cell for cell in cells if HEAD in cell["metadata"].get("tags", [])]
            texts = ["".join(cell["source"]) for cell in heads]
            if texts != [render_head(paper)]:
                faults.append(f"{path}: its table of claims is old; run: python -m tools footer")
    return faults


# ---- all pages


def render_pages() -> dict[Path, str]:
    """The pages with tables: results/README.md and, if there are claims, those that show them."""
    root = records.results().parent
    tables = tomllib.loads((records.results() / "tables.toml").read_text(encoding="utf-8"))
    pages = {records.results() / "README.md": render_page(tables)}
    if read_claims():
        pages[root / "README.md"] = render_readme()
        pages[root / "REPRODUCTION.md"] = render_reproduction()
    return pages


def write_tables() -> None:
    """Write the pages from what results/ holds."""
    for path, content in render_pages().items():
        files.write_atomically(path, content.encode())


def table_faults() -> list[str]:
    """A line for each page whose tables are not those of results/."""
    path = records.results() / "tables.toml"
    try:
        pages, faults = render_pages(), head_faults()
    except ResultsError as error:
        return [f"{path}: {error}"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return [f"{path}: expected runs and figures that there are, found {error!r}"]
    for path, content in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            faults.append(f"{path}: its tables are old; run: python -m papers verify --write")
    return faults
