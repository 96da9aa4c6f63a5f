"""Pages with tables, made of results/: its README, REPRODUCTION.md, and parts of other pages.

results/tables.toml says which figures results/README.md shows, claims.toml what the others claim.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import StrictUndefined, Template
from unbraid import files, records
from unbraid.checks import ResultsError
from unbraid.measures.intervals import difference_interval
from unbraid.records import read_csv, read_record

from papers import claims, ledger
from papers.claims import Claim, read_claims, read_papers
from papers.tables import format_mean, format_number, markdown_table, metrics_table

PAPERS = {"A": "13", "B": "20", "C": "30"}  # the notebook of each part that shows its claims
FULL = "single_element/sprites/full"
HEAD = "claims"  # the tag of the cell that shows them
BLOCK = "(?<=<!-- claims -->\n).*?(?=<!-- /claims -->)"  # of README.md, between marks
WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


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


# ---- what templates may ask results/ for: a run's folder, its name, and the name of a figure


def show_value(folder: str, run: str, name: str, digits: int = 2) -> str:
    """The mean of a figure over seeds, with its interval."""
    return format_mean([*claims.read_figure(folder, run, name).values()], digits)


def show_mean(folder: str, run: str, name: str, digits: int = 2) -> str:
    """The mean of a figure over seeds."""
    return format_number(fmean(claims.read_figure(folder, run, name).values()), digits)


def show_percent(folder: str, run: str, name: str, digits: int = 0) -> str:
    """The mean of a share over seeds, in percent; never rounded up to all."""
    return print_percent(fmean(claims.read_figure(folder, run, name).values()), digits)


def print_percent(share: float, digits: int = 0) -> str:
    """A share in percent, with more digits where it would be rounded up to all."""
    while share < 1 and round(100 * share, digits) == 100:
        digits += 1
    return f"{format_number(100 * share, digits)} %"


def show_limits(folder: str, run: str, name: str, digits: int = 2) -> str:
    """A figure of a model without codes, with its interval over test items."""
    return claims.print_limits(claims.read_limits(folder, run, name), digits)


def show_cell(table: str, name: str, digits: int = 2, **rows: Any) -> str:
    """The mean of a column of a CSV in these rows, one a seed, with its interval."""
    return format_mean([*claims.read_table_figure(table, rows, name).values()], digits)


def show_percent_cell(table: str, name: str, **rows: Any) -> str:
    """The mean of a share in these rows of a CSV, one a seed, in percent."""
    return print_percent(fmean(claims.read_table_figure(table, rows, name).values()))


def show_difference(folder: str, run: str, name: str, other: str, digits: int = 2) -> str:
    """How much larger the mean of a figure is than that of another run, with its interval."""
    values = [claims.read_figure(folder, each, name) for each in (run, other)]
    return claims.print_limits(difference_interval(*values), digits)


def show_difference_cell(table: str, name: str, other: dict, digits: int = 2, **rows: Any) -> str:
    """The same of a column of a CSV, in these rows and in those that differ from them so."""
    values = [claims.read_table_figure(table, each, name) for each in (rows, rows | other)]
    return claims.print_limits(difference_interval(*values), digits)


def show_ended(folder: str, run: str, end: str) -> str:
    """How many runs the ledger says to have ended so, of these and those with figures."""
    ended = len(ledger.find_ended(records.results(), f"{folder}/{run}", end))
    count = ended + len(claims.find_seeds(claims.read_metrics(folder), run))
    return f"{spell_part(ended, count)} of {spell(count)} runs"


def show_states(folder: str, run: str, name: str, least: float) -> str:
    """How many runs reach a value, in words: "two of three runs"."""
    values = claims.read_figure(folder, run, name).values()
    return count_good([value >= least for value in values])


def show_groupings(table: str, update: int, *groupings: str) -> str:
    """How many runs have found one of these groupings of coordinates: "two of twenty runs"."""
    return count_good(claims.read_groupings(table, {"update": update}, groupings).values())


def count_good(runs: Collection[float]) -> str:
    """How many of these are true, in words: "two of three runs"."""
    return f"{spell_part(int(sum(runs)), len(runs))} of {spell(len(runs))} runs"


def show_share(run: str, length: int) -> str:
    """The share of the paper's updates that the shortest seed of a run has made."""
    folder, _, name = run.rpartition("/")
    seeds = claims.find_shipped(folder, name)
    steps = min(read_record(f"{run}-seed{seed}")["steps"] for seed in seeds)
    return f"{100 * steps / length:.0f} %"


def show_verdicts(rows: list[Claim], verdict: str, paper: str, *sources: str) -> str:
    """How many claims of a paper from these sources have a verdict: "one of four"."""
    chosen = [claim for claim in rows if claim.paper == paper and claim.source in sources]
    count = sum(claim.find_verdict() == verdict for claim in chosen)
    return f"{spell_part(count, len(chosen))} of {spell(len(chosen))}"


def show_tested(folder: str) -> str:
    """How many test items the figures of a folder are measured on."""
    return str(claims.read_metrics(folder)["protocol"]["sequences"])


def show_hours(*folders: str) -> str:
    """The shortest and the longest training of some folders: "6 minutes to 2.1 hours"."""
    seconds, texts = [], []
    for folder in folders:
        for path in (records.results() / folder).glob("*.run.json"):
            seconds.append(records.read_json(path)["seconds"])
    for each in (min(seconds), max(seconds)):
        texts.append(f"{each / 3600:.1f} hours" if each >= 3600 else f"{each / 60:.0f} minutes")
    return " to ".join(texts)


def show_curves(folder: str, *runs: str, mark: int = 200_000, before: int = 50_000) -> str:
    """The bounds of training of all seeds of some runs, each a mean over the sequences before a
    mark, as the authors of paper A log them."""
    means = []
    for run in runs:
        for seed in claims.find_shipped(folder, run):
            rows = read_csv(records.results() / folder / f"{run}-seed{seed}.training.csv")
            bounds = [r["elbo_per_frame"] for r in rows if mark - before < r["sequences"] <= mark]
            means.append(fmean(bounds))
    *others, last = [format_number(mean, 0) for mean in sorted(means, reverse=True)]
    return f"{', '.join(others)} and {last}"


def spell(count: int) -> str:
    """A small number in words."""
    return WORDS[count] if count < len(WORDS) else str(count)


def spell_part(count: int, of: int) -> str:
    """How many of some, in words: none of two is neither."""
    return "neither" if (count, of) == (0, 2) else spell(count)


def count_needed(rows: list[Claim]) -> tuple[int, int]:
    """Of the runs that need further figures to be judged: how many have them, and all."""
    needed = {(*claim.split_run(), claim.needs) for claim in rows if claim.needs}
    return sum(claims.has_figures(*each) for each in needed), len(needed)


def name_helpers(rows: list[Claim]) -> dict[str, Callable[..., str]]:
    """The functions that templates know, by name."""
    return {
        "value": show_value,
        "mean": show_mean,
        "percent": show_percent,
        "limits": show_limits,
        "cell": show_cell,
        "percent_cell": show_percent_cell,
        "difference": show_difference,
        "difference_cell": show_difference_cell,
        "ended": show_ended,
        "states": show_states,
        "groupings": show_groupings,
        "share": show_share,
        "hours": show_hours,
        "curves": show_curves,
        "tested": show_tested,
        "reproduced": partial(show_verdicts, rows, "reproduced"),
        "number": format_number,
        "count": lambda count: f"{count:,.0f}",
    }


def fill(text: str, **names: Any) -> str:
    """A Jinja template with these names; one that it does not know is an error."""
    return Template(text, undefined=StrictUndefined, keep_trailing_newline=True).render(names)


# ---- claims


def name_claims(rows: list[Claim], paper: str) -> dict[str, Claim]:
    """Of all claims those of a paper, by their names in REPRODUCTION.md, such as "A1"."""
    of_paper = [claim for claim in rows if claim.paper == paper]
    return {f"{paper}{place}": claim for place, claim in enumerate(of_paper, start=1)}


def render_head(paper: str) -> str:
    """The cell of a notebook that shows what a paper claims and what came out."""
    rows = read_claims()
    shown = {name: claim for name, claim in name_claims(rows, paper).items() if claim.head}
    return (
        "<details><summary>What the paper claims, and what came out here</summary>\n\n"
        "[REPRODUCTION.md](../REPRODUCTION.md) gives the numbers behind each line, their "
        "intervals, and what a verdict means.\n\n"
        + list_results(shown, name_helpers(rows), page="../REPRODUCTION.md")
        + "\n\n</details>"
    )


def render_reproduction() -> str:
    """REPRODUCTION.md, from reproduction.md.j2, the claims and results/."""
    text = Path(__file__).with_name("reproduction.md.j2").read_text(encoding="utf-8")
    rows = read_claims()
    helpers, runs = name_helpers(rows), claims.list_runs(rows)
    scope, results, numbers = [], [], []
    for paper in read_papers():
        sentence, rest = (fill(each, **helpers) for each in (paper.sentence, paper.not_tested))
        scope.append(f"**Paper {paper.paper}**, {paper.title}, {paper.link}. {paper.idea}")
        scope.append(sentence)
        names = name_claims(rows, paper.paper)
        results += [f"### Paper {paper.paper}", count_verdicts(names), list_results(names, helpers)]
        results.append(f"*Not tested here:* {rest}")
        numbers += [render_numbers(name, claim) for name, claim in names.items()]
    judged, needed = count_needed(rows)
    return fill(
        text,
        scope="\n\n".join(scope),
        results="\n\n".join(results),
        numbers="\n\n".join(numbers),
        runs=len(runs),
        shipped=sum(runs.values()),
        judged=spell_part(judged, needed),
        needed=spell(needed),
        full=FULL,
        inputs="independent/posterior_inputs.csv",
        c=read_record(f"{FULL}/published-seed0"),
        swaps=read_csv(records.results() / FULL / "published-seed0.swaps.csv"),
        **helpers,
    )


def count_verdicts(names: Mapping[str, Claim]) -> str:
    """How many claims have which verdict, such as "5 claims: inconclusive (2), not tried (3)"."""
    counts = Counter(claim.find_verdict() for claim in names.values())
    parts = ", ".join(f"{verdict} ({count})" for verdict, count in counts.items())
    return f"{len(names)} claims: {parts}"


def list_results(names: Mapping[str, Claim], helpers: Mapping[str, Any], page: str = "") -> str:
    """A table of claims by name: what each says, what we found in a sentence or two, the verdict.

    A name leads to the numbers of its claim, which are on a page, by default this one.
    """
    titles = ("", "the paper's claim", "what we found", "verdict")
    lines = []
    for name, claim in names.items():
        result = fill(claim.result, **helpers) or "We have no run."
        lines.append(
            (f"[{name}]({page}#{name.lower()})", claim.claim, result, claim.find_verdict())
        )
    return markdown_table(titles, lines)


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
    titles = ("figure", "ours", "paper", "next best")
    columns = [column for column in zip(titles, *rows, strict=True) if any(column[1:])]
    names, *lines = zip(*columns, strict=True)
    return f"{text}\n\n{markdown_table(names, lines)}"


def render_readme() -> str:
    """README.md with a sentence on each paper. `ResultsError` where its block is missing."""
    path = records.results().parent / "README.md"
    helpers = name_helpers(read_claims())
    lines = []
    for paper in read_papers():
        lines.append(f"- **Paper {paper.paper}.** {fill(paper.sentence, **helpers)}\n")
    text = path.read_text(encoding="utf-8")
    page, count = re.subn(BLOCK, lambda _: "".join(lines), text, count=1, flags=re.DOTALL)
    if not count:
        remedy = "put both lines where the sentences shall stand"
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
