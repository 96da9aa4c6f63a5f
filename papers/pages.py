"""Pages made of results/: REPRODUCTION.md and results/README.md, and what other pages take of them.

reproduction.md.j2 and results.md.j2 have their text; claims.toml has the claims, what we found for
each, and the sentences of README.md. In all of them helpers stand in place of numbers.
"""

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from unbraid import files, records
from unbraid.checks import ResultsError
from unbraid.records import read_record

from papers import claims
from papers.claims import MISSED, Claim, Figure, read_claims
from papers.tables import format_mean, format_number, markdown_table, tabulate_metrics

HERE = Path(__file__).parent
FULL = "single_element/sprites/full/published-seed0"
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


def show_all_but(where: str, name: str, count: int) -> str:
    """Of how many things a share is, in words: "all but one of 2,664"."""
    missed = round(count * (1 - find_figure(where, name).read_mean()))
    return f"all but {WORDS[missed] if missed < len(WORDS) else missed} of {count:,}"


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
    "all_but": show_all_but,
    "limits": show_limits,
    "table": show_table,
}


TEMPLATES = Environment(undefined=StrictUndefined, keep_trailing_newline=True)


def fill(text: str, **names: Any) -> str:
    """A template with the helpers and these names; one that it does not know is an error."""
    return TEMPLATES.from_string(text).render(HELPERS | names)


# ---- claims


def render_reproduction() -> str:
    """REPRODUCTION.md, from its template, the claims and results/."""
    named = read_claims()
    runs = claims.list_runs(named.values())
    groups = {name: find_group(claim) for name, claim in named.items()}

    def render_entries(group: str) -> str:
        names = [name for name in named if groups[name] == group]
        return "\n\n".join(render_entry(name, named[name]) for name in names)

    def render_cell(paper: str, group: str) -> str:
        here: dict[str, list[str]] = {}
        for name, claim in named.items():
            if (claim.paper, groups[name]) == (paper, group):
                here.setdefault(label(claim), []).append(f"[{name}](#{name.lower()}) {claim.short}")
        return "<br>".join(kind + ", ".join(each) for kind, each in here.items()) or "–"

    return fill(
        (HERE / "reproduction.md.j2").read_text(encoding="utf-8"),
        claims=named,
        cell=render_cell,
        entries=render_entries,
        runs=len(runs),
        shipped=sum(runs.values()),
        c=read_record(FULL),
    )


def find_group(claim: Claim) -> str:
    """Whether a claim is "decided" at its size, seen in a "smaller" world, or "open"."""
    verdict = claim.find_verdict()
    if verdict in MISSED:
        return "open"
    return "smaller" if verdict == "not comparable" else "decided"


def label(claim: Claim) -> str:
    """What stands before the links to a claim and to others of the same kind."""
    group = find_group(claim)
    if group == "decided":
        return "do not: " if claim.find_verdict() == "not reproduced" else "**hold:** "
    return "needs a GPU: " if group == "open" and claim.command.startswith("make gpu") else ""


def render_entry(name: str, claim: Claim) -> str:
    """A claim with its source and verdict, what we found, its figures in a table, and our runs.

    The table has no column for what no figure of the claim has.
    """
    found = "These are the numbers of the full run." if claim.is_full else fill(claim.found)
    text = f"### {name}\n\n**{claim.claim}** ({claim.format_source()}) *{claim.print_verdict()}*"
    rows = claim.list_figures()
    if not rows:
        return f"{text}\n\n{found}"
    columns = [column for column in zip(TITLES, *rows, strict=True) if any(column[1:])]
    names, *lines = zip(*columns, strict=True)
    parts = [text, found, markdown_table(names, lines), claim.print_runs()]
    return "\n\n".join(part for part in parts if part)


def render_readme() -> str:
    """README.md with the sentences on each paper.

    Raises `ResultsError` where the block for them is missing.
    """
    path = records.results().parent / "README.md"
    text = path.read_text(encoding="utf-8")
    block = fill(claims.read_toml()["readme"]["text"])
    readme, count = re.subn(BLOCK, lambda _: block, text, count=1, flags=re.DOTALL)
    if not count:
        raise ResultsError(f"{path}: expected the block {BLOCK}, found none; put both lines there")
    return readme


# ---- all pages


def render_pages() -> dict[Path, str]:
    """The pages with tables: results/README.md and, if there are claims, those that show them."""
    root = records.results().parent
    tables = (HERE / "results.md.j2").read_text(encoding="utf-8")
    pages = {records.results() / "README.md": fill(tables)}
    if read_claims():
        pages[root / "REPRODUCTION.md"] = render_reproduction()
        pages[root / "README.md"] = render_readme()
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
    return faults
