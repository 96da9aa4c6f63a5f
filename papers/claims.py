"""What the papers claim beside what our runs measure; pages.py makes tables of it.

claims.toml holds the claims with their published values, results/ the runs. A verdict is computed
from the means over seeds, see `Claim.find_verdict`. The first of these that holds is the verdict:

not tried        no run
not comparable   other data than the claim's; or nothing published in our copies, and no bar of ours
inconclusive     not at its size: smaller, or too short; or without a figure that the claim needs
reproduced       at its size, every figure is reached: its mean over three seeds or more lies within
                 the published ±, or within 5 % of the effect (published minus what chance or a
                 constant gets) or of the published value, whichever is smaller, or is better
reproduced once  the same by fewer seeds
agrees           at its size, by our own bar, which the row names: the paper has a picture, or a
                 figure that our copy lacks and its reviews state; three seeds or more
agrees once      the same by fewer seeds
in part          at its size; the mean of some figures, not of all
not reproduced   at its size; the mean of none

At its size: its data, networks and resolution, which the profile `full` has, and at least two
thirds of its updates.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from statistics import fmean, stdev
from typing import Any

import pandas as pd
from scipy.stats import binomtest, norm
from unbraid import records
from unbraid.checks import ResultsError
from unbraid.measures.intervals import Interval, difference_interval, mean_interval
from unbraid.records import read_metrics, read_record
from unbraid_course.lessons.n15 import name_grouping, read_scores

from papers.tables import find_seeds, format_mean, format_number, split_seeds

MISSED = ("not tried", "inconclusive")  # the verdicts that a longer or larger run may change
NEAR = 0.05  # of the effect, or of the published value
LENGTH = 2 / 3  # of the paper's updates that count as its length
SEEDS = 3  # that make a reproduction


@dataclass(frozen=True)
class Figure:
    """A published number and the figure that answers it; fields as claims.toml says."""

    title: str
    name: str = ""
    run: str = ""  # where it is not the claim's; `place` makes it the whole name
    table: str = ""
    rows: Mapping[str, Any] = field(default_factory=dict)
    minus: str | Mapping[str, Any] = ""  # of a difference: the other run, or what its rows change
    digits: int = 2
    unit: str = ""
    published: float | None = None
    margin: float = 0.0
    chance: float | str = 0.0
    tolerance: float | None = None
    better: str = ""
    shown: str = ""
    bar: float | None = None
    next: float | None = None
    least: float | None = None
    baseline: bool = False
    groupings: Sequence[str] = ()  # of notebook 15: 1 for a run that found one of them, else 0

    def is_judged(self) -> bool:
        """Whether there is something to compare with: a published number, or our own bar."""
        return self.published is not None or self.bar is not None

    def is_reached(self, mean: float, chance: float) -> bool:
        """Whether a mean over seeds is as good as the published value, or as our own bar."""
        if self.published is None:
            return self.bar is not None and mean >= self.bar
        is_better = {"higher": mean > self.published, "lower": mean < self.published}
        is_near = abs(mean - self.published) <= self.find_tolerance(chance)
        return is_better.get(self.better, False) or is_near

    def find_tolerance(self, chance: float) -> float:
        """The distance from the published value that still counts as reached."""
        assert self.published is not None
        effect = min(abs(self.published - chance), abs(self.published))
        near = NEAR * effect if self.tolerance is None else self.tolerance
        return max(near, self.margin)

    def compare_next(self, found: Interval) -> str:
        """Whether we are better than the next best published score: "yes" only where the interval
        excludes it, "in the mean" where the interval holds it or there is none, else "no"."""
        assert self.next is not None
        sign = {"higher": 1, "lower": -1}.get(self.better, 0)
        if sign * (found.mean - self.next) <= 0:
            return "no"
        nearer = found.low if sign > 0 else found.high
        return "yes" if sign * (nearer - self.next) > 0 else "in the mean"

    def list_published(self) -> tuple[str, str]:
        """What the paper prints, and the next best score of its table; "" without a number."""
        shown = self.shown
        if self.published is not None and not shown:
            shown = format_number(self.published, self.digits)
        other = "" if self.next is None else format_number(self.next, self.digits)
        return add_unit(shown, self.unit), add_unit(other, self.unit)

    # ---- what our runs measure, once the figure has been placed

    @property
    def where(self) -> str:
        """The run or the CSV of results/ that answers."""
        return self.table or self.run

    def place(self, run: str) -> "Figure":
        """The same figure with the whole name of its run, which has its name from a claim's."""
        return replace(self, run=f"{run.rpartition('/')[0]}/{self.run}" if self.run else run)

    def read_values(self) -> dict[int, float]:
        """The figure of each seed that has it. Raises `ResultsError` where none has."""
        by_seed = read_rows(self.table, self.rows) if self.table else read_seeds(self.run)
        if self.groupings:
            named = {seed: name_grouping(read_scores(row)) for seed, row in by_seed.items()}
            return {seed: float(name in self.groupings) for seed, name in named.items()}
        values = {seed: float(row[self.name]) for seed, row in by_seed.items() if self.name in row}
        if not values:
            found = f"{self.name} of {self.where}, found none"
            raise ResultsError(f"claims.toml: expected {found}; run: python -m papers evaluate")
        return values

    def read_mean(self) -> float:
        """The mean over its seeds."""
        return fmean(self.read_values().values())

    def read_interval(self) -> Interval:
        """The mean and its interval over seeds; of a baseline, which has none, over test items."""
        if self.minus:
            return difference_interval(self.read_values(), self.read_others())
        if not self.baseline:
            return mean_interval([*self.read_values().values()])
        limits = [replace(self, name=f"{self.name}{end}") for end in ("", "_low", "_high")]
        return Interval(*(limit.read_mean() for limit in limits))

    def read_others(self) -> dict[int, float]:
        """Of a difference, the figure of each seed that is subtracted."""
        if isinstance(self.minus, str):
            return replace(self, run=self.minus).place(self.run).read_values()
        return replace(self, rows={**self.rows, **self.minus}).read_values()

    def count_compared(self) -> str:
        """The seeds that `difference_interval` compares: "3 pairs", or "3 and 10 runs" by Welch."""
        ours, others = self.read_values().keys(), self.read_others().keys()
        if ours <= others or others <= ours:
            return f"{len(ours & others)} pairs"
        return f"{len(ours)} and {len(others)} runs"

    def find_chance(self) -> float:
        """What chance or a constant gets; a name is that of a figure of the run."""
        if isinstance(self.chance, str):
            return replace(self, name=self.chance).read_mean()
        return self.chance


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, what it prints, and the run that answers. Fields as claims.toml says."""

    paper: str
    claim: str
    found: str
    source: str
    size: str
    figures: Sequence[Figure] = ()
    run: str = ""
    is_full: bool = False  # whether `run` is the one of `full`
    data: str = ""  # the dataset that the claim is about
    length: int = 0
    needs: str = ""
    command: str = ""
    short: str = ""

    def list_measured(self) -> list[Figure]:
        """The figures that a run of ours answers."""
        named = [each for each in self.figures if each.name and (self.run or each.table)]
        return [figure if figure.table else figure.place(self.run) for figure in named]

    def list_places(self) -> list[list[str]]:
        """Model, dataset and profile behind each measured figure; less of a table of no dataset."""
        return [str(PurePosixPath(each.where).parent).split("/") for each in self.list_measured()]

    def is_comparable(self) -> bool:
        """Whether our runs have the data that the claim is about."""
        return all(place[1:2] == [self.data] for place in self.list_places())

    def is_at_size(self) -> bool:
        """Whether our runs have the paper's networks and resolution."""
        return all(place[2:] == ["full"] for place in self.list_places())

    def list_runs(self) -> list[str]:
        """The runs behind this claim, but for those of tables."""
        return list(dict.fromkeys(each.run for each in self.list_measured() if not each.table))

    def read_share(self) -> float:
        """The share of the paper's updates that our shortest seed has made; 0 without a run."""
        if not (self.list_measured() and self.length):
            return 0.0
        updates = [each.rows["update"] for each in self.figures if "update" in each.rows]
        return min(updates + (read_steps(self.run) if self.run else []), default=0) / self.length

    def read_shares(self) -> list[float]:
        """The least and the largest share of the paper's updates among all runs of the claim."""
        others = [read_steps(run)[0] for run in self.list_runs()] if self.length else []
        shares = [self.read_share(), *(steps / self.length for steps in others)]
        return [share for share in (min(shares), max(shares)) if share]

    def has_needed(self) -> bool:
        """Whether each seed has the figures without which the others may not be judged."""
        for figures in read_seeds(self.run).values() if self.needs else ():
            if not any(name.startswith(self.needs) for name in figures):
                return False
        return True

    def find_verdict(self) -> str:
        """The verdict, by the rule of this module's first lines."""
        judged = [figure for figure in self.list_measured() if figure.is_judged()]
        share = self.read_share()
        if not self.list_measured():
            return "not tried"
        if not (judged and self.is_comparable()):
            return "not comparable"
        if not self.is_at_size() or share < LENGTH or not self.has_needed():
            return "inconclusive"
        reached = [each.is_reached(each.read_mean(), each.find_chance()) for each in judged]
        word = "agrees" if any(figure.bar is not None for figure in judged) else "reproduced"
        if not all(reached):
            return "in part" if any(reached) else "not reproduced"
        seeds = min(len(figure.read_values()) for figure in judged)
        return word if seeds >= SEEDS else f"{word} once"

    # ---- as text

    def list_states(self, run: str = "") -> list[bool]:
        """Of the figures that name a good state of a run, or of any, which values are in it."""
        good = []
        for each in self.list_measured():
            if each.least is not None and run in ("", each.where):
                good += [value >= each.least for value in each.read_values().values()]
        return good

    def format_figure(self, figure: Figure) -> str:
        """A figure's mean and 95 % interval over seeds, and the seeds where they are few and data
        and protocol are the paper's, those whose weights ship in bold.

        Seeds that are not shown are counted. Of a difference there is its interval with the seeds
        that it compares, of a baseline that of the test set. Where runs ended
        in two states, how many are in the good one stands in place of a mean; other figures have
        their values by seed.
        """
        values = [*figure.read_values().values()]
        if figure.least is not None:
            return print_states(values, figure.least)
        if figure.baseline or figure.minus:
            limits = print_limits(figure.read_interval(), figure.digits, figure.unit)
            return f"{limits} ({figure.count_compared()})" if figure.minus else limits
        seeds = ", ".join(format_seeds(figure))
        if len(values) == 1 or len(set(self.list_states(figure.where))) == 2:
            return add_unit(seeds, figure.unit)
        mean = add_unit(format_mean(values, figure.digits), figure.unit)
        if len(set(values)) == 1:  # as a constant's, which has no seed
            return mean
        if len(values) > (SEEDS if self.is_comparable() else 1):
            return f"{mean} (n = {len(values)})"
        return f"{mean} (seeds: {seeds})"

    def list_figures(self) -> list[tuple[str, str, str, str]]:
        """Each figure's title, our value, the paper's and the next best score; "" for none."""
        ours = {figure.title: self.format_figure(figure) for figure in self.list_measured()}
        return [
            (each.title, ours.get(each.title, ""), *each.list_published()) for each in self.figures
        ]

    def format_size(self) -> str:
        """Our runs' size, their seeds and, where it is known, the share of the paper's length."""
        measured = self.list_measured()
        if not measured:
            return self.size
        seeded = [figure for figure in measured if not figure.baseline] or measured
        counts = sorted({len(figure.read_values()) for figure in seeded})
        count = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        text = f"{self.size}; {count} seeds" if counts[-1] > 1 else f"{self.size}; *one seed*"
        shares = [f"{100 * share:.0f} %" for share in self.read_shares() if share < 1]
        if self.read_share() >= 1:
            text += ", all of the paper's length"
        elif shares:
            text += f", {' to '.join(dict.fromkeys(shares))} of the paper's length"
        return text

    def print_verdict(self) -> str:
        """The verdict as a sentence."""
        verdict, states = self.find_verdict(), self.list_states()
        is_unseparated = verdict == "inconclusive" and bool(states) and not any(states)
        return f"{verdict.capitalize()}{', not yet separated' * is_unseparated}."

    def print_runs(self) -> str:
        """The size of our runs, the command that makes a missing one, and two further answers."""
        is_missed = self.find_verdict() in MISSED
        lines = [
            f"Size: {self.format_size()}" if self.list_measured() else "",
            f"At its size: `{self.command}`" if self.command and is_missed else "",
            self.print_next(),
            self.print_power(),
        ]
        return ". ".join(line for line in lines if line) + "." * any(lines)

    def print_next(self) -> str:
        """Whether we are better than the next best published score, of each figure."""
        answers = {}
        for figure in self.list_measured():
            if self.is_comparable() and figure.next is not None:
                answers[figure.title] = figure.compare_next(figure.read_interval())
        return list_answers("Better than the next best", answers)

    def print_power(self) -> str:
        """How often a perfect copy would pass, of each judged figure that was tried at its size."""
        shares = {}
        for figure in self.list_measured() if self.find_verdict() not in MISSED else ():
            values = [*figure.read_values().values()]
            if self.is_comparable() and figure.published is not None and len(values) > 1:
                tolerance = figure.find_tolerance(figure.find_chance())
                share = pass_share(values, tolerance, one_sided=bool(figure.better))
                shares[figure.title] = f"{100 * share:.0f} %"
        return list_answers("A perfect copy would pass", shares)

    def format_source(self) -> str:
        """Where the paper makes the claim, and our own bars, where we use some."""
        bars = {figure.bar for figure in self.figures if figure.bar is not None}
        return self.source + "".join(f"; our bar {bar}" for bar in sorted(bars))


def list_answers(question: str, answers: Mapping[str, str]) -> str:
    """An answer, or those of several figures by their titles; "" where there is none."""
    if len(answers) > 1:
        answers = {"": "; ".join(f"{title} {answer}" for title, answer in answers.items())}
    return "".join(f"{question}: {answer}" for answer in answers.values())


def pass_share(values: Sequence[float], tolerance: float, one_sided: bool) -> float:
    """How often runs whose true mean is the published value are within the tolerance of it, if
    their normal spread is that of these values, and as many are averaged.

    one_sided: any value counts that is better.
    """
    spread = stdev(values) / len(values) ** 0.5
    if not spread:
        return 1.0
    below = float(norm.cdf(tolerance / spread))
    return below if one_sided else 2 * below - 1


def print_states(values: Sequence[float], least: float) -> str:
    """How many runs reach a value, with the interval of Clopper and Pearson, as in 12 and 15."""
    good = sum(value >= least for value in values)
    if len(values) == 1:
        return f"{good} of 1"
    low, high = binomtest(good, len(values)).proportion_ci()
    return f"{good} of {len(values)} (share: {low:.2f} to {high:.2f})"


def print_limits(found: Interval, digits: int, unit: str = "") -> str:
    """A number and its interval over test items, in square brackets."""
    mean, low, high = (format_number(number, digits) for number in found)
    return add_unit(f"{mean} [{low} to {high}]", unit)


def add_unit(text: str, unit: str) -> str:
    """A number as text with its unit, if there are both."""
    return f"{text} {unit}" if text and unit else text


def format_seeds(figure: Figure) -> list[str]:
    """The values of a figure by seed, in bold where the weights ship."""
    ships = {} if figure.table else find_shipped(figure.run)
    seeds = []
    for seed, value in figure.read_values().items():
        number = format_number(value, figure.digits)
        seeds.append(f"**{number}**" if ships.get(seed) else number)
    return seeds


# ---- results/


def read_seeds(run: str) -> dict[int, dict[str, float]]:
    """The figures of a run, such as "independent/bounce/full/published", by seed; none without."""
    folder, _, name = run.rpartition("/")
    return split_seeds(read_metrics(folder), name)


def read_rows(table: str, rows: Mapping[str, Any]) -> dict[int, Mapping[str, float]]:
    """The row of each seed of a CSV in results/ whose columns have these values.

    Raises `ResultsError` where there is no such row, or more than one of a seed.
    """
    path = records.results() / table
    try:
        content = pd.read_csv(path, comment="#")
        for column, value in rows.items():
            content = content[content[column] == value]
        found = {int(row["seed"]): row for row in content.to_dict("records")}
    except (FileNotFoundError, KeyError) as error:
        raise ResultsError(f"claims.toml: expected {rows} in {path}, found {error!r}") from None
    if not found or len(found) < len(content):
        count = f"{len(content)} rows of {len(found)} seeds"
        raise ResultsError(f"claims.toml: expected {dict(rows)} once a seed in {path}, got {count}")
    return found


def read_steps(run: str) -> list[int]:
    """The updates of each seed of a run that has figures."""
    return [read_record(f"{run}-seed{seed}")["steps"] for seed in sorted(find_shipped(run))]


def is_measured(run: str) -> bool:
    """Whether the figures of a run, such as "independent/bounce/full/published", are there."""
    folder, _, name = run.rpartition("/")
    return (records.results() / folder / "metrics.json").exists() and name in read_metrics(folder)


def find_shipped(run: str) -> dict[int, bool]:
    """Whether the weights of each seed of a run are in this clone."""
    folder, _, name = run.rpartition("/")
    seeds = find_seeds(read_metrics(folder), name)
    return {seed: records.weights(f"{run}-seed{seed}").exists() for seed in seeds}


# ---- claims.toml


def read_toml() -> dict[str, Any]:
    """claims.toml as it stands; empty in a clone that has none."""
    path = records.results().parent / "papers" / "claims.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def read_claims() -> dict[str, Claim]:
    """The claims of claims.toml by their names, such as "A1"; none in a clone that makes none.

    Raises `ResultsError` for an unknown entry.
    """
    claims = {}
    for name, entry in read_toml().get("claim", {}).items():
        try:
            full = entry.pop("full", {})
            if full and is_measured(full["run"]):
                entry |= full | {"is_full": True}
            figures = [Figure(**figure) for figure in entry.get("figures", ())]
            claims[name] = Claim(**(entry | {"paper": name[0], "figures": figures}))
        except (TypeError, KeyError) as error:
            raise ResultsError(f"claims.toml, {name}: {error}") from None
    return claims


def list_runs(claims: Iterable[Claim]) -> dict[tuple[str, int], bool]:
    """Run and seed of all runs behind claims, and whether their weights ship."""
    runs: dict[tuple[str, int], bool] = {}
    for claim in claims:
        for run in claim.list_runs():
            runs |= {(run, seed): ships for seed, ships in find_shipped(run).items()}
    return runs
