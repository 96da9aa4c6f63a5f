"""What the papers claim beside what our runs measure; pages.py makes tables of it.

claims.toml holds the claims with their published values, results/ the runs. A verdict is computed
from the means over seeds, see `Claim.find_verdict`:

reproduced       at its size, every figure is reached: its mean over three seeds or more lies within
                 the published ±, or within 5 % of the effect (published minus what chance or a
                 constant gets) or of the published value, whichever is smaller, or is better
reproduced once  the same by fewer seeds
agrees           at its size, by our own bar, which the row names: the paper has a picture, or a
                 figure that our copy lacks and its reviews state
in part          at its size; the mean of some figures, not of all
not reached      at its size; the mean of none
not decided      not at its size: smaller, or too short
not tried        no run
not comparable   other data or protocol, or nothing published in our copies to compare with

At its size: its data, networks and resolution, and at least two thirds of its updates.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from unbraid import records
from unbraid.checks import ResultsError
from unbraid.records import read_metrics, read_record

from papers.tables import find_seeds, print_mean, print_number, split_seeds

NEAR = 0.05  # of the effect, or of the published value
LENGTH = 2 / 3  # of the paper's updates that count as its length
SEEDS = 3  # that make a reproduction; of more, the mean and interval stand alone in a row


@dataclass(frozen=True)
class Figure:
    """A published number and the figure that answers it; fields as claims.toml says."""

    title: str
    name: str = ""
    run: str = ""  # where it is not the claim's
    digits: int = 2
    published: float | None = None
    margin: float = 0.0
    chance: float | str = 0.0
    tolerance: float | None = None
    better: str = ""
    shown: str = ""
    bar: float | None = None
    next: float | None = None

    def is_judged(self) -> bool:
        """Whether there is something to compare with: a published number, or our own bar."""
        return self.published is not None or self.bar is not None

    def is_reached(self, mean: float, chance: float) -> bool:
        """Whether a mean over seeds is as good as the published value, or as our own bar."""
        if self.published is None:
            return self.bar is not None and mean >= self.bar
        effect = min(abs(self.published - chance), abs(self.published))
        near = NEAR * effect if self.tolerance is None else self.tolerance
        distance = abs(mean - self.published)
        return self.beats(mean, self.published) or distance <= max(near, self.margin)

    def beats(self, mean: float, other: float) -> bool:
        """Whether a mean is better than another value; a figure without `better` never is."""
        return {"higher": mean > other, "lower": mean < other}.get(self.better, False)

    def print_published(self, with_next: bool = True) -> str:
        """What the paper prints and the next best score of its table; "" without a number."""
        shown = self.shown
        if self.published is not None and not shown:
            shown = print_number(self.published, self.digits)
        parts = [f"paper {shown}"] if shown else []
        if with_next and self.next is not None:
            parts.append(f"next {print_number(self.next, self.digits)}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, what it prints, and the run that answers. Fields as claims.toml says."""

    paper: str
    claim: str
    source: str
    size: str
    figures: Sequence[Figure] = ()
    run: str = ""
    at_size: bool = True
    length: int = 0
    comparable: bool = True
    command: str = ""
    remark: str = ""
    readme: bool = False
    head: bool = True

    def list_measured(self) -> list[Figure]:
        """The figures that a run of ours answers."""
        return [figure for figure in self.figures if self.run and figure.name]

    def split_run(self, figure: Figure | None = None) -> tuple[str, str]:
        """The folder in results/ and the name of the run that answers, or that answers a figure."""
        folder, _, run = self.run.rpartition("/")
        return folder, (figure and figure.run) or run

    def list_runs(self) -> list[tuple[str, str]]:
        """Folder and name of the runs behind this claim."""
        return list(dict.fromkeys(map(self.split_run, self.list_measured())))

    def read_values(self, figure: Figure) -> dict[int, float]:
        """A figure of each seed that has it."""
        return read_figure(*self.split_run(figure), figure.name)

    def read_mean(self, figure: Figure) -> float:
        """The mean of a figure over its seeds."""
        return fmean(self.read_values(figure).values())

    def read_share(self) -> float:
        """The share of the paper's updates that our shortest seed has made; 0 without a run."""
        if not (self.run and self.length):
            return 0.0
        seeds = find_shipped(*self.split_run())
        return min(read_record(f"{self.run}-seed{seed}")["steps"] for seed in seeds) / self.length

    def find_verdict(self) -> str:
        """The verdict, by the rule of this module's first lines."""
        judged = [figure for figure in self.list_measured() if figure.is_judged()]
        if self.comparable and not self.run:
            return "not tried"
        if self.comparable and (not self.at_size or self.read_share() < LENGTH):
            return "not decided"
        if not (self.comparable and judged):
            return "not comparable"
        reached = []
        for figure in judged:
            chance = figure.chance
            if isinstance(chance, str):  # a figure of the run
                chance = self.read_mean(Figure("", chance, figure.run))
            reached.append(figure.is_reached(self.read_mean(figure), chance))
        if not all(reached):
            return "in part" if any(reached) else "not reached"
        if any(figure.bar is not None for figure in judged):
            return "agrees"
        seeds = min(len(self.read_values(figure)) for figure in judged)
        return "reproduced" if seeds >= SEEDS else "reproduced once"

    def print_figure(self, figure: Figure) -> str:
        """A figure's mean, its 95 % interval over seeds and, where the paper's data and protocol
        are ours and the seeds are few, the seeds, those whose weights ship in bold. Of two seeds
        the values alone."""
        ships, by_number = find_shipped(*self.split_run(figure)), self.read_values(figure)
        values = list(by_number.values())
        mean = print_mean(values, figure.digits)
        is_shared = len(set(values)) == 1 < len(values)  # as a baseline's, which has no seed
        if is_shared or len(values) > (SEEDS if self.comparable else 1):
            return mean
        seeds = []
        for seed, value in by_number.items():
            number = print_number(value, figure.digits)
            seeds.append(f"**{number}**" if ships[seed] else number)
        return f"{mean} ({' '.join(seeds)})" if len(seeds) > 2 else ", ".join(seeds)

    def print_ours(self) -> str:
        """Our figures, and beside each what the paper prints and the next best score."""
        lines, measured = [], self.list_measured()
        for figure in self.figures:
            ours = self.print_figure(figure) if figure in measured else ""
            texts = filter(None, (ours, figure.print_published()))
            lines.append(f"{figure.title} {'; '.join(texts)}")
        return "<br>".join([*lines, self.remark] if self.remark else lines) or "–"

    def print_size(self) -> str:
        """Our run's size, its seeds and, where it is known, the share of the paper's length."""
        if not self.run:
            return self.size
        count = max(len(self.read_values(figure)) for figure in self.list_measured())
        share = self.read_share()
        text = f"{self.size}<br>{count} seed{'s' if count > 1 else ''}"
        if share:
            text += f", {100 * share:.0f} % of its updates" if share < 1 else ", all its updates"
        return text

    def print_next(self) -> str:
        """Whether our mean is better than the next best published score, of each figure."""
        answers = []
        for figure in self.list_measured():
            if self.comparable and figure.next is not None:
                is_better = figure.beats(self.read_mean(figure), figure.next)
                answers.append("yes" if is_better else "no")
        return f"<br>better than next: {', '.join(answers)}" if answers else ""

    def print_row(self, with_command: bool = True) -> tuple[str, ...]:
        """The row of the claim in a table; with_command: that makes what was not tried."""
        bars = {figure.bar for figure in self.figures if figure.bar is not None}
        source = self.source + "".join(f"; our bar {bar}" for bar in sorted(bars))
        verdict = self.find_verdict()
        if self.command and with_command and verdict in ("not tried", "not decided"):
            verdict += f": `{self.command}`"
        claim = f"{self.claim} ({source})"
        return claim, self.print_ours(), self.print_size(), verdict + self.print_next()

    def print_short_row(self) -> tuple[str, str, str]:
        """The claim, our means beside the published values, and the verdict."""
        lines = []
        for figure in self.list_measured():
            mean = print_mean([*self.read_values(figure).values()], figure.digits)
            published = figure.print_published(with_next=False)
            lines.append(f"{figure.title} {mean}" + (f" ({published})" if published else ""))
        return f"{self.paper}: {self.claim}", "<br>".join(lines), self.find_verdict()


def read_figure(results: str, run: str, name: str) -> dict[int, float]:
    """A figure of each seed of a run that has it. Raises `ResultsError` where none has."""
    metrics = read_metrics(results)
    by_seed = split_seeds(metrics, run) if run in metrics else {}
    values = {seed: figures[name] for seed, figures in by_seed.items() if name in figures}
    if not values:
        remedy = "measure it with python -m papers evaluate"
        raise ResultsError(
            f"claims.toml: expected {name} of {results}, {run}, found none; {remedy}"
        )
    return values


def find_shipped(results: str, run: str) -> dict[int, bool]:
    """Whether the weights of each seed of a run are in this clone."""
    seeds = find_seeds(read_metrics(results), run)
    name = f"{results}/{run}-seed"
    return {seed: records.weights(f"{name}{seed}").exists() for seed in seeds}


def print_figure(results: str, run: str, name: str, digits: int = 2) -> str:
    """The mean of a figure over seeds, with its interval."""
    return print_mean([*read_figure(results, run, name).values()], digits)


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
    runs: dict[tuple[str, str, int], bool] = {}
    for claim in claims:
        for place, run in claim.list_runs():
            shipped = find_shipped(place, run)
            runs |= {(place, run, seed): shipped[seed] for seed in shipped}
    return runs
