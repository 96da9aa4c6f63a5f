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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from statistics import fmean, stdev
from typing import Any

import pandas as pd
from scipy.stats import binomtest, norm
from unbraid import records
from unbraid.checks import ResultsError
from unbraid.lessons.n15 import name_grouping, read_scores
from unbraid.measures.intervals import Interval, difference_interval, mean_interval
from unbraid.paper_size import LENGTH, NEAR, SEEDS, is_reached, name_verdict
from unbraid.records import read_metrics, read_record

from papers.tables import find_seeds, format_mean, format_number, split_seeds

MISSED = ("not tried", "inconclusive")  # the verdicts that a longer or larger run may change


@dataclass(frozen=True)
class Figure:
    """A published number and the figure that answers it; fields as claims.toml says."""

    title: str
    name: str = ""
    run: str = ""  # where it is not the claim's
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
        return is_reached(mean, self.published, self.better, self.find_tolerance(chance))

    def find_other(self) -> "Figure":
        """What a difference is the difference from."""
        if isinstance(self.minus, str):
            return replace(self, run=self.minus)
        return replace(self, rows={**self.rows, **self.minus})

    def find_tolerance(self, chance: float) -> float:
        """The distance from the published value that still counts as reached."""
        assert self.published is not None
        effect = min(abs(self.published - chance), abs(self.published))
        near = NEAR * effect if self.tolerance is None else self.tolerance
        return max(near, self.margin)

    def beats(self, mean: float, other: float) -> bool:
        """Whether a mean is better than another value; a figure without `better` never is."""
        return {"higher": mean > other, "lower": mean < other}.get(self.better, False)

    def compare_next(self, found: Interval) -> str:
        """Whether we are better than the next best published score: "yes" only where the interval
        excludes it, "in the mean" where the interval holds it or there is none, else "no"."""
        assert self.next is not None
        if not self.beats(found.mean, self.next):
            return "no"
        nearer = found.low if self.better == "higher" else found.high
        return "yes" if self.beats(nearer, self.next) else "in the mean"

    def list_published(self) -> tuple[str, str]:
        """What the paper prints, and the next best score of its table; "" without a number."""
        shown = self.shown
        if self.published is not None and not shown:
            shown = format_number(self.published, self.digits)
        other = "" if self.next is None else format_number(self.next, self.digits)
        unit = f" {self.unit}" if self.unit else ""
        return f"{shown}{unit}" if shown else "", f"{other}{unit}" if other else ""


@dataclass(frozen=True)
class Paper:
    """A paper: letter, title, link and idea, its sentence in README.md, and what was not tested.

    sentence, not_tested: Jinja templates that pages.py fills in.
    """

    paper: str
    title: str
    link: str
    idea: str
    sentence: str
    not_tested: str


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, what it prints, and the run that answers. Fields as claims.toml says."""

    paper: str
    claim: str
    source: str
    size: str
    result: str = ""
    figures: Sequence[Figure] = ()
    run: str = ""
    data: str = ""  # the dataset that the claim is about
    length: int = 0
    needs: str = ""
    command: str = ""
    remark: str = ""
    head: bool = True

    def list_measured(self) -> list[Figure]:
        """The figures that a run of ours answers."""
        return [each for each in self.figures if each.name and (self.run or each.table)]

    def split_run(self, figure: Figure | None = None) -> tuple[str, str]:
        """The folder in results/ and the name of the run that answers, or that answers a figure."""
        folder, _, run = self.run.rpartition("/")
        return folder, (figure and figure.run) or run

    def list_places(self) -> list[list[str]]:
        """Model, dataset and profile behind each measured figure; less of a table of no dataset."""
        measured = self.list_measured()
        tables = [str(PurePosixPath(figure.table).parent) for figure in measured if figure.table]
        runs = [self.split_run(figure)[0] for figure in measured if not figure.table]
        return [place.split("/") for place in tables + runs]

    def is_comparable(self) -> bool:
        """Whether our runs have the data that the claim is about."""
        return all(place[1:2] == [self.data] for place in self.list_places())

    def is_at_size(self) -> bool:
        """Whether our runs have the paper's networks and resolution."""
        return all(place[2:] == ["full"] for place in self.list_places())

    def list_runs(self) -> list[tuple[str, str]]:
        """Folder and name of the runs behind this claim, but for those of tables."""
        measured = [figure for figure in self.list_measured() if not figure.table]
        return list(dict.fromkeys(map(self.split_run, measured)))

    def read_values(self, figure: Figure) -> dict[int, float]:
        """A figure of each seed that has it."""
        if figure.groupings:
            return read_groupings(figure.table, figure.rows, figure.groupings)
        if figure.table:
            return read_table_figure(figure.table, figure.rows, figure.name)
        return read_figure(*self.split_run(figure), figure.name)

    def read_mean(self, figure: Figure) -> float:
        """The mean of a figure over its seeds."""
        return fmean(self.read_values(figure).values())

    def read_interval(self, figure: Figure) -> Interval:
        """The mean and its interval over seeds; of a baseline, which has none, over test items."""
        if figure.minus:
            other = figure.find_other()
            return difference_interval(self.read_values(figure), self.read_values(other))
        if not figure.baseline:
            return mean_interval([*self.read_values(figure).values()])
        return read_limits(*self.split_run(figure), figure.name)

    def find_chance(self, figure: Figure) -> float:
        """What chance or a constant gets; a name is that of a figure of the run."""
        if isinstance(figure.chance, str):
            return self.read_mean(Figure("", figure.chance, figure.run))
        return figure.chance

    def read_share(self) -> float:
        """The share of the paper's updates that our shortest seed has made; 0 without a run."""
        if not (self.list_measured() and self.length):
            return 0.0
        updates = [each.rows["update"] for each in self.figures if "update" in each.rows]
        if self.run:
            seeds = find_shipped(*self.split_run())
            updates += [read_record(f"{self.run}-seed{seed}")["steps"] for seed in seeds]
        return min(updates, default=0) / self.length

    def read_shares(self) -> list[float]:
        """The least and the largest share of the paper's updates among all runs of the claim."""
        shares = [self.read_share()]
        if self.run and self.length:
            for folder, run in self.list_runs():
                steps = read_record(f"{folder}/{run}-seed{min(find_shipped(folder, run))}")["steps"]
                shares.append(steps / self.length)
        return [share for share in (min(shares), max(shares)) if share]

    def lacks_needed(self) -> bool:
        """Whether the run lacks the figures without which the others may not be judged."""
        folder, run = self.split_run()
        return not has_figures(folder, run, self.needs)

    def find_verdict(self) -> str:
        """The verdict, by the rule of this module's first lines."""
        judged = [figure for figure in self.list_measured() if figure.is_judged()]
        share = self.read_share()
        if not self.list_measured():
            return "not tried"
        if not (judged and self.is_comparable()):
            return "not comparable"
        if not self.is_at_size() or share < LENGTH or (self.needs and self.lacks_needed()):
            return "inconclusive"
        reached = [
            figure.is_reached(self.read_mean(figure), self.find_chance(figure)) for figure in judged
        ]
        word = "agrees" if any(figure.bar is not None for figure in judged) else "reproduced"
        seeds = min(len(self.read_values(figure)) for figure in judged)
        return name_verdict(reached, share, seeds, word)

    # ---- as text

    def has_good_run(self, state: Figure) -> bool:
        """Whether any run is in the good state that a figure names."""
        assert state.least is not None
        return max(self.read_values(state).values()) >= state.least

    def has_two_states(self, figure: Figure) -> bool:
        """Whether some runs behind a figure ended in the good state that the claim names, and some
        did not, so that a mean would describe none of them."""
        for state in self.list_measured():
            if state.least is None or self.split_run(state) != self.split_run(figure):
                continue
            if self.has_good_run(state) and min(self.read_values(state).values()) < state.least:
                return True
        return False

    def format_figure(self, figure: Figure) -> str:
        """A figure's mean and 95 % interval over seeds, and the seeds where they are few and data
        and protocol are the paper's, those whose weights ship in bold.

        Of a difference there is its interval, of a baseline that of the test set. Where runs ended
        in two states, how many are in the good one stands in place of a mean; other figures have
        their values by seed.
        """
        values = [*self.read_values(figure).values()]
        if figure.least is not None:
            return print_states(values, figure.least)
        unit = f" {figure.unit}" if figure.unit else ""
        if figure.baseline or figure.minus:
            return print_limits(self.read_interval(figure), figure.digits, figure.unit)
        seeds = ", ".join(self.format_seeds(figure))
        if len(values) == 1 or self.has_two_states(figure):
            return seeds + unit
        mean = format_mean(values, figure.digits) + unit
        is_shared = len(set(values)) == 1  # as a constant's, which has no seed
        if is_shared or len(values) > (SEEDS if self.is_comparable() else 1):
            return mean
        return f"{mean} (seeds: {seeds})"

    def format_seeds(self, figure: Figure) -> list[str]:
        """The values of a figure by seed, in bold where the weights ship."""
        ships = {} if figure.table else find_shipped(*self.split_run(figure))
        seeds = []
        for seed, value in self.read_values(figure).items():
            number = format_number(value, figure.digits)
            seeds.append(f"**{number}**" if ships.get(seed) else number)
        return seeds

    def list_figures(self) -> list[tuple[str, str, str, str]]:
        """Each figure's title, our value, the paper's and the next best score; "" for none."""
        measured, rows = self.list_measured(), []
        for figure in self.figures:
            ours = self.format_figure(figure) if figure in measured else ""
            rows.append((figure.title, ours, *figure.list_published()))
        if self.remark:
            title, _, value = self.remark.rpartition(": ")
            rows.append((title, value, "", ""))
        return rows

    def format_size(self) -> str:
        """Our runs' size, their seeds and, where it is known, the share of the paper's length."""
        measured = self.list_measured()
        if not measured:
            return self.size
        count = max(len(self.read_values(figure)) for figure in measured)
        text = f"{self.size}; {count} seeds" if count > 1 else f"{self.size}; *one seed*"
        shares = [f"{100 * share:.0f} %" for share in self.read_shares() if share < 1]
        if self.read_share() >= 1:
            text += ", all of the paper's updates"
        elif shares:
            text += f", {' to '.join(dict.fromkeys(shares))} of the paper's updates"
        return text

    def list_verdict(self) -> list[str]:
        """The verdict, what it rests on, and the command that makes a missing run, a line each."""
        verdict = self.find_verdict()
        is_unseparated = verdict == "inconclusive" and self.is_unseparated()
        lines = [
            f"Verdict: {verdict}" + (", not yet separated" if is_unseparated else ""),
            f"A full run: `{self.command}`" if self.command and verdict in MISSED else "",
            self.print_next(),
            self.print_power(),
        ]
        return [line for line in lines if line]

    def is_unseparated(self) -> bool:
        """Whether the claim names a good state of its runs, and no run is in it."""
        states = [figure for figure in self.list_measured() if figure.least is not None]
        return bool(states) and not any(map(self.has_good_run, states))

    def print_next(self) -> str:
        """Whether we are better than the next best published score, of each figure."""
        answers = {}
        for figure in self.list_measured():
            if self.is_comparable() and figure.next is not None:
                answers[figure.title] = figure.compare_next(self.read_interval(figure))
        return list_answers("Better than the next best", answers)

    def print_power(self) -> str:
        """How often a perfect copy would pass, of each judged figure that was tried at its size."""
        shares = {}
        for figure in self.list_measured() if self.find_verdict() not in MISSED else ():
            values = [*self.read_values(figure).values()]
            if self.is_comparable() and figure.published is not None and len(values) > 1:
                tolerance = figure.find_tolerance(self.find_chance(figure))
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
        return f"{good} of 1 run"
    low, high = binomtest(good, len(values)).proportion_ci()
    return f"{good} of {len(values)} runs (share: {low:.2f} to {high:.2f})"


def print_limits(found: Interval, digits: int, unit: str = "") -> str:
    """A number and its interval over test items, in square brackets."""
    mean, low, high = (format_number(number, digits) for number in found)
    return f"{mean} [{low} to {high}]" + (f" {unit}" if unit else "")


# ---- figures of results/


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


def read_table_figure(table: str, rows: Mapping[str, Any], name: str) -> dict[int, float]:
    """A column of a CSV in results/ by the column "seed", in the rows that have these values.

    Raises `ResultsError` where there is no such row, or more than one of a seed.
    """
    try:
        content = read_table_rows(table, rows)
        return {int(seed): float(row[name]) for seed, row in content.items()}
    except KeyError as error:
        path = records.results() / table
        raise ResultsError(f"claims.toml: expected {name} in {path}, found {error!r}") from None


def read_groupings(
    table: str, rows: Mapping[str, Any], groupings: Sequence[str]
) -> dict[int, float]:
    """By seed 1 where a run has found one of these groupings, by notebook 15's rule, else 0."""
    content = read_table_rows(table, rows)
    return {
        seed: float(name_grouping(read_scores(row)) in groupings) for seed, row in content.items()
    }


def read_table_rows(table: str, rows: Mapping[str, Any]) -> dict[int, pd.Series]:
    """The row of each seed of a CSV in results/ whose columns have these values.

    Raises `ResultsError` where there is no such row, or more than one of a seed.
    """
    path = records.results() / table
    try:
        content = pd.read_csv(path)
        for column, value in rows.items():
            content = content[content[column] == value]
        found = {int(row["seed"]): row for _, row in content.iterrows()}
    except (FileNotFoundError, KeyError) as error:
        raise ResultsError(f"claims.toml: expected {rows} in {path}, found {error!r}") from None
    if not found or len(found) < len(content):
        count = f"{len(content)} rows of {len(found)} seeds"
        raise ResultsError(f"claims.toml: expected {dict(rows)} once a seed in {path}, got {count}")
    return found


def read_limits(results: str, run: str, name: str) -> Interval:
    """A figure of a model without codes, and its interval over the items of the test set."""
    limits = [read_figure(results, run, f"{name}{end}") for end in ("", "_low", "_high")]
    return Interval(*(fmean(values.values()) for values in limits))


def has_figures(results: str, run: str, prefix: str) -> bool:
    """Whether each seed of a run has figures whose names begin so."""
    for figures in split_seeds(read_metrics(results), run).values():
        if not any(name.startswith(prefix) for name in figures):
            return False
    return True


def is_measured(run: str) -> bool:
    """Whether the figures of a run, such as "independent/bounce/full/published", are there."""
    folder, _, name = run.rpartition("/")
    return (records.results() / folder / "metrics.json").exists() and name in read_metrics(folder)


def find_shipped(results: str, run: str) -> dict[int, bool]:
    """Whether the weights of each seed of a run are in this clone."""
    seeds = find_seeds(read_metrics(results), run)
    name = f"{results}/{run}-seed"
    return {seed: records.weights(f"{name}{seed}").exists() for seed in seeds}


# ---- claims.toml


def read_table() -> dict:
    """The content of the clone's claims.toml; without claims in a clone that makes none."""
    path = records.results().parent / "papers" / "claims.toml"
    if not path.exists():
        return {"paper": [], "claim": []}
    return tomllib.loads(path.read_text(encoding="utf-8"))


def read_papers() -> list[Paper]:
    """The papers of claims.toml, in their order. Raises `ResultsError` for an unknown entry."""
    try:
        return [Paper(**entry) for entry in read_table()["paper"]]
    except TypeError as error:
        raise ResultsError(f"claims.toml, [[paper]]: {error}") from None


def read_claims() -> list[Claim]:
    """The claims of claims.toml, in their order. Raises `ResultsError` for an unknown entry."""
    claims = []
    for entry in read_table()["claim"]:
        try:
            full = entry.pop("full", {})
            if full and is_measured(full["run"]):
                entry |= full
            figures = [Figure(**figure) for figure in entry.get("figures", ())]
            claims.append(Claim(**(entry | {"figures": figures})))
        except (TypeError, KeyError) as error:
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
