"""What the papers claim beside what our runs measure: REPRODUCTION.md and the tables made of it.

claims.toml holds the claims with their published values, results/ the runs. A verdict is computed:

reproduced      at the paper's size, and the mean over seeds of every figure is reached: it lies
                within the published ±, or within 5 % of the published value, or is better
in part         some figures, or some seeds, reach it
not reached     none does, after at least half of the paper's length
not tried       no run at the paper's size, or one of under half of its length that reaches none
not comparable  other data, or another protocol
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import StrictUndefined, Template
from unbraid import records
from unbraid.checks import ResultsError
from unbraid.records import read_csv, read_metrics, read_record

from papers.tables import drop_absent, find_seeds, markdown_table

NEAR = 0.05  # of the published value
PAPERS = {"A": "10", "B": "20", "C": "30"}  # each part's first notebook, which shows its claims
FULL = "single_element/sprites/full"
HEAD = "claims"  # the tag of the cell that shows them
BLOCK = "(?<=<!-- claims -->\n).*?(?=<!-- /claims -->)"  # the table in README.md, between marks
TITLES = ("claim", "published", "ours, by seed", "size and length", "verdict")


@dataclass(frozen=True)
class Figure:
    """A published number and the figure that answers it; fields as claims.toml says."""

    title: str
    name: str = ""
    run: str = ""  # where it is not the claim's
    digits: int = 2
    published: float | None = None
    margin: float = 0.0
    tolerance: float | None = None
    better: str = ""
    shown: str = ""
    bar: float | None = None

    def is_reached(self, value: float) -> bool:
        """Whether a value is as good as the published one, or as our own bar for a picture."""
        if self.published is None:
            return value >= self.bar
        near = NEAR * abs(self.published) if self.tolerance is None else self.tolerance
        near = max(near, self.margin)
        is_better = {"higher": value > self.published, "lower": value < self.published}
        return is_better.get(self.better, False) or abs(value - self.published) <= near

    def print_published(self) -> str:
        """What the paper prints, with its title; "" where it prints no number."""
        text = self.shown
        if self.published is not None and not text:
            text = print_number(self.published, self.digits)
        return f"{self.title} {text}" if text else ""


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, what it prints, and the run that answers. Fields as claims.toml says."""

    paper: str
    claim: str
    source: str
    size: str
    figures: Sequence[Figure] = ()
    results: str = ""
    run: str = ""
    at_size: bool = True
    length: int = 0
    comparable: bool = True
    command: str = ""
    printed: str = ""
    found: str = ""
    readme: bool = False
    head: bool = True

    def list_runs(self) -> list[str]:
        """The names of the runs behind this claim."""
        names = [figure.run or self.run for figure in self.figures if figure.name]
        return list(dict.fromkeys(names)) if self.run else []

    def read_shipped(self, run: str) -> dict[int, bool]:
        """Whether the weights of each seed of a run are in this clone."""
        seeds = find_seeds(read_metrics(self.results), run)
        name = f"{self.results}/{run}-seed"
        return {seed: records.weights(f"{name}{seed}").exists() for seed in seeds}

    def read_share(self) -> float:
        """The share of the paper's updates that our shortest seed has made; 0 without a run."""
        if not (self.run and self.length):
            return 0.0
        seeds = self.read_shipped(self.run)
        steps = [read_record(f"{self.results}/{self.run}-seed{seed}")["steps"] for seed in seeds]
        return min(steps) / self.length

    def find_verdict(self) -> str:
        """One word on the claim, as this module's first lines define it; "–" without a number."""
        if not self.comparable:
            return "not comparable"
        if not (self.run and self.at_size):
            return "not tried"
        means, seeds = [], []
        for figure in self.figures:
            if figure.published is not None or figure.bar is not None:
                values = read_figure(self.results, figure.run or self.run, figure.name)
                means.append(figure.is_reached(sum(values) / len(values)))
                seeds += [figure.is_reached(value) for value in values]
        if not means:
            return "–"
        if any(means + seeds):  # A mean may be right where no seed is.
            return "reproduced" if all(means) else "in part"
        return "not reached" if self.read_share() >= 0.5 else "not tried"

    def print_ours(self) -> str:
        """Our figures by seed; those of a seed whose weights ship are bold."""
        lines = []
        for figure in [figure for figure in self.figures if self.run and figure.name]:
            run = figure.run or self.run
            ships, values = self.read_shipped(run), read_figure(self.results, run, figure.name)
            numbers = [print_number(value, figure.digits) for value in values]
            if len(values) > 1 and len(set(values)) == 1:  # a baseline, which has no seed
                numbers, ships = numbers[:1], {0: False}
            pairs = zip(numbers, ships.values(), strict=True)
            numbers = [f"**{text}**" if is_bold else text for text, is_bold in pairs]
            lines.append(f"{figure.title} {' '.join(numbers)}")
        return "<br>".join(lines) or "–"

    def print_size(self) -> str:
        """Our run's size, its seeds and, where it is known, the share of the paper's length."""
        if not self.run:
            return self.size
        count = len(self.read_shipped(self.run))
        text = f"{self.size}<br>{count} seed{'s' if count > 1 else ''}"
        share = self.read_share()
        return f"{text}, {100 * min(share, 1):.0f} % of its updates" if share else text

    def print_row(self, with_command: bool = True) -> tuple[str, ...]:
        """The claim's row, in the order of TITLES; with_command: that makes what was not tried."""
        numbers = filter(None, map(Figure.print_published, self.figures))
        published = self.printed or ", ".join(numbers)
        verdict = self.find_verdict()
        if self.found and verdict in ("not tried", "–"):
            verdict = self.found
        elif verdict == "not tried" and self.run:
            verdict += " (too short)" if self.at_size else " (too small)"
        if verdict.startswith("not tried") and self.command and with_command:
            verdict += f": `{self.command}`"
        shown = f"{published} ({self.source})" if published else self.source
        return self.claim, shown, self.print_ours(), self.print_size(), verdict


def read_figure(results: str, run: str, name: str) -> list[float]:
    """A figure of each seed of a run. Raises `ResultsError` where results/ have none."""
    try:
        return drop_absent(read_metrics(results)[run]["by_seed"][name])
    except KeyError:
        remedy = "measure it with python -m papers evaluate"
        raise ResultsError(
            f"claims.toml: expected {name} of {results}, {run}, found none; {remedy}"
        ) from None


def print_figure(results: str, run: str, name: str, digits: int = 2) -> str:
    """A figure of each seed of a run, or of judges and baselines the one that all share."""
    numbers = [print_number(value, digits) for value in read_figure(results, run, name)]
    return numbers[0] if len(set(numbers)) == 1 else " ".join(numbers)


def print_number(value: float, digits: int) -> str:
    """A number with so many digits, and a true minus."""
    return f"{value:.{digits}f}".replace("-", "−")


def read_table() -> dict:
    """The content of the clone's claims.toml; without claims in a clone that makes none."""
    path = records.results().parent / "papers" / "claims.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {"claim": []}


def read_claims() -> list[Claim]:
    """The claims of claims.toml, in their order. Raises `ResultsError` for an unknown entry."""
    claims = []
    for entry in read_table()["claim"]:
        try:
            figures = [Figure(**figure) for figure in entry.get("figures", ())]
            claims.append(Claim(**(entry | {"figures": figures})))
        except TypeError as error:
            raise ResultsError(f"claims.toml, {entry.get('claim')}: {error}") from None
    return claims


def list_runs(claims: list[Claim]) -> dict[tuple[str, str, int], bool]:
    """Folder, run and seed of all runs behind claims, and whether their weights ship."""
    runs = {}
    for claim in claims:
        for run in claim.list_runs():
            shipped = claim.read_shipped(run)
            runs |= {(claim.results, run, seed): shipped[seed] for seed in shipped}
    return runs


def render_table(claims: list[Claim], with_commands: bool = True) -> str:
    """A table of claims with a column for their papers."""
    rows = [(claim.paper, *claim.print_row(with_commands)) for claim in claims]
    return markdown_table(("paper", *TITLES), rows)


def render_head(paper: str) -> str:
    """The cell of a part's first notebook that shows what its paper claims and what came out."""
    claims = [claim for claim in read_claims() if claim.paper == paper and claim.head]
    table = markdown_table(TITLES, [claim.print_row(with_command=False) for claim in claims])
    return (
        "**What the paper claims, and what came out here.** The part explains the terms. Bold: "
        "seeds whose weights are included. All claims: [REPRODUCTION.md](../REPRODUCTION.md).\n\n"
        + table
    )


def render_reproduction() -> str:
    """REPRODUCTION.md, from reproduction.md.j2, the claims and results/."""
    text = Path(__file__).with_name("reproduction.md.j2").read_text(encoding="utf-8")
    claims = read_claims()
    runs = list_runs(claims)
    return Template(text, undefined=StrictUndefined, keep_trailing_newline=True).render(
        table=render_table(claims),
        runs=len(runs),
        shipped=sum(runs.values()),
        full=FULL,
        c=read_record(f"{FULL}/published-seed0"),
        swaps=read_csv(records.results() / FULL / "published-seed0.swaps.csv"),
        peer=read_table()["peer"],
        value=print_figure,
        number=print_number,
        count=lambda count: f"{count:,.0f}".replace(",", " "),
    )


def render_readme() -> str:
    """README.md with the table of this commit. Raises `ResultsError` where its block is missing."""
    path = records.results().parent / "README.md"
    table = render_table([claim for claim in read_claims() if claim.readme], with_commands=False)
    text = path.read_text(encoding="utf-8")
    page, count = re.subn(BLOCK, lambda _: f"{table}\n", text, count=1, flags=re.DOTALL)
    if not count:
        remedy = "put both lines where the table shall stand"
        raise ResultsError(f"{path}: expected the block {BLOCK}, found none; {remedy}")
    return page


def render_pages() -> dict[Path, str]:
    """The pages that are made of the claims and results/; none in a clone that makes no claim."""
    root = records.results().parent
    if not read_claims():
        return {}
    return {root / "README.md": render_readme(), root / "REPRODUCTION.md": render_reproduction()}


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
