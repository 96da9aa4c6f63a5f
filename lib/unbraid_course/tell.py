"""What a page's own training came to, beside the one stored with the page and all recorded ones.

A page's reader turns what its training gathered into a `Told`; `tell` prints any of them alike.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from unbraid import records
from unbraid.checks import check_field, check_name
from unbraid.figures.images import read_facts

BY_WORTH = ("hair", "top", "trousers", "skin")  # notebook 22's attributes
LEARNT, LEAD = 0.4, 0.1  # shares of frames: more is above chance, less may be chance


class Told(NamedTuple):
    """What a training came to.

    measured: updates, and what was measured at each. states: updates, and what it had come to by
    then. reasons: sentences with the numbers of the end. recorded: what the recorded trainings came
    to, by their updates.
    """

    measured: Sequence[tuple[int, Any]]
    states: Sequence[tuple[int, str]]
    reasons: Sequence[str]
    recorded: Mapping[int, Sequence[str]]


def tell(page: str, run: Any) -> None:
    """Say what a page's training came to, and what the stored one and the recorded ones did.

    page: a key of `READERS`, such as "12". run: what this page's reader takes. Raises `ValueError`
    if nothing was gathered.
    """
    check_name("page", page, READERS)
    check_field(len(run), "run", "at least one moment of a training", "none")
    try:
        measured, states, reasons, recorded = READERS[page](run)
    except (TypeError, ValueError, LookupError) as error:
        raise ValueError(f"run: expected what the page gathers; {error}") from error
    broken = [update for update, row in measured if not np.isfinite(np.asarray(row)).all()]
    if broken:
        states = [(broken[0], "diverged")]
        reasons = [f"At update {broken[0]:,} its numbers were no longer finite. Try another seed."]
    (updates, _), (_, outcome) = measured[-1], states[-1]
    early = [update for update in recorded if update <= updates]
    beside = max(early, default=min(recorded))  # as many updates, or the nearest
    names = recorded[beside]
    alike = f"{names.count(outcome) or 'none'} of {len(names)} recorded ones"
    if beside != updates:
        alike += f" after {beside:,}"
    print(f"This training, after {updates:,} updates: {outcome}, as {alike}.")
    way = [f"{name} ({next(moments)[0]:,})" for name, moments in groupby(states, lambda x: x[1])]
    if len(way) > 1:
        print(f"- From update to update: {', '.join(way)}.")
    for reason in reasons:
        print(f"- {reason}")
    for update in sorted({beside, max(recorded)}):
        print(f"Recorded, after {update:,} updates: {count_names(recorded[update])}.")
    if stored := read_facts(page).get("stored"):
        print(f"The training stored with this page: {stored}.")


def count_names(names: Sequence[str]) -> str:
    """How often there is each of them, such as "11 separated, 9 not decided"."""
    return ", ".join(f"{count} {name}" for name, count in Counter(names).most_common())


def read_table(name: str) -> pd.DataFrame:
    """A table of recorded trainings."""
    return pd.read_csv(records.results() / name, comment="#")


def list_factors(names: Sequence[str], scores: np.ndarray, own: np.ndarray) -> list[str]:
    """What each factor has for its own, with its R². scores, own: (factor, name)."""
    sentences = []
    for factor, row in enumerate(scores):
        listed = [f"{names[k]} ({row[k]:.2f})" for k in range(len(names)) if own[factor, k]]
        sentences.append(f"Factor {factor} encodes (R²): {', '.join(listed) or 'none of them'}.")
    return sentences


def list_shares(shares: Mapping[str, float], recorded: Mapping[str, pd.Series]) -> list[str]:
    """Shares of the end, each beside the least and the largest of the recorded ones."""
    return [
        f"{name}: {shares[name]:.2f} (recorded {values.min():.2f} to {values.max():.2f})."
        for name, values in recorded.items()
    ]


def read_circles(rows: Sequence[tuple]) -> Told:
    """Notebook 12. rows: (update, R² of orange and blue in factor 0, in factor 1, error, KLs)."""
    from unbraid_course.lessons.n12 import name_state  # the page's own rule

    scores = np.array([row[1:5] for row in rows], dtype=float).reshape(-1, 2, 2)
    states = [(row[0], name_state(each)) for row, each in zip(rows, scores, strict=True)]
    reasons = list_factors(("the orange digit", "the blue digit"), scores[-1], scores[-1] > 0.5)
    table, recorded = read_table("independent/circle/quick/coin.csv"), {}
    known = ["r2_00", "r2_01", "r2_10", "r2_11"]
    for update, runs in table[table["run"] == "ours 0.1"].groupby("update"):
        recorded[int(update)] = [name_state(row.reshape(2, 2)) for row in runs[known].to_numpy()]
    return Told([(row[0], row[1:]) for row in rows], states, reasons, recorded)


def read_bounces(moments: Sequence[tuple]) -> Told:
    """Notebook 15. moments: (update, R² (factor, coordinate), ...)."""
    from unbraid_course.lessons.n15 import COORDINATES, name_grouping, read_scores

    scores = np.array(moments[-1][1]).reshape(2, len(COORDINATES))
    reasons = list_factors(COORDINATES, scores, (scores >= 0.6) & (scores[::-1] <= 0.3))
    states = [(update, name_grouping(np.array(each))) for update, each, *_ in moments]
    table, recorded = read_table("independent/bounce/quick/own_bounce.csv"), {}
    for update, runs in table[table["update"] <= 8000].groupby("update"):
        groupings = [name_grouping(read_scores(row)) for _, row in runs.iterrows()]
        recorded[int(update)] = groupings
    return Told([row[:2] for row in moments], states, reasons, recorded)


def read_attributes(history: Sequence[dict[str, Any]]) -> Told:
    """Notebook 22. history: from the start on each look's update, d and shares right."""
    looks = history[3::3] or history[-1:]  # of twelve, those at the moments that are recorded
    states = [(look["update"], find_first(looks[:n])) for n, look in enumerate(looks, 1)]
    table, recorded = read_table("unordered/sprites_poses/quick/own_plane.csv"), {}
    runs = [run.to_dict("records") for _, run in table.groupby(["run", "seed"])]
    for count, end in enumerate(runs[0], 1):
        recorded[end["update"]] = [find_first(run[:count]) for run in runs]
    ends = table[table["update"] == max(recorded)]
    reasons = list_shares(looks[-1], {name: ends[name] for name in BY_WORTH})
    return Told([(look["update"], look["d"]) for look in history], states, reasons, recorded)


def find_first(looks: Sequence[dict[str, Any]]) -> str:
    """Which of hair and top is learnt first."""
    for look in looks:
        hair, top = look["hair"], look["top"]
        if max(hair, top) > LEARNT:
            first = "hair first (the forecast)" if hair > top else "top first"
            return "hair and top together" if abs(hair - top) < LEAD else first
    return "neither hair nor top yet"


def read_swaps(run: tuple[Sequence[Sequence[float]], dict[str, float]]) -> Told:
    """Notebook 32. run: the update and the terms of each step, and the shares of `score_swaps`."""
    rows, shares = run
    table = read_table("single_element/sprites/quick/starts.csv")
    helped = table[(table["ideas"] == "both ideas") & (table["recipe"] == "both")]
    columns = {
        "swaps with d": "direction",
        "motion with d": "motion",
        "true clip nearest": "nearest",
    }
    reasons = list_shares(shares, {name: helped[column] for name, column in columns.items()})
    measured = [(int(row[0]), row[1:]) for row in rows]
    states = [(measured[-1][0], name_direction(shares["swaps with d"]))]
    recorded = {int(helped["update"].max()): [name_direction(x) for x in helped["direction"]]}
    return Told(measured, states, reasons, recorded)


def name_direction(share: float) -> str:
    """How far d decides where swaps look, by the share that look as its donor."""
    if 0.05 < share < 0.95:
        return "d gives the direction in part"
    return "d gives the direction" if share > 0.5 else "d hardly gives the direction"


READERS: dict[str, Callable[[Any], Told]] = {
    "12": read_circles,
    "15": read_bounces,
    "22": read_attributes,
    "32": read_swaps,
}
