"""What a page's own training came to, beside the one stored with the page and all recorded ones.

A page's reader turns what its training gathered into a `Told`; `tell` prints any of them alike.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from unbraid import records
from unbraid.checks import check_field, check_name
from unbraid.figures.images import read_facts
from unbraid.figures.plots import write_number

DIGITS = ("orange", "blue")
BY_WORTH = ("hair", "top", "trousers", "skin")  # notebook 22's attributes
LEARNT, LEAD = 0.4, 0.1  # shares of frames: more is above chance, less may be chance


class Told(NamedTuple):
    """What a training came to.

    moments: updates, and what was measured at each. outcome: its name. reasons: sentences with the
    numbers that decided it. recorded: the outcomes of the recorded trainings, by their updates.
    """

    moments: Sequence[tuple[int, Any]]
    outcome: str
    reasons: Sequence[str]
    recorded: dict[int, list[str]]


def tell(page: str, run: Any) -> None:
    """Say what a page's training came to, and what the stored one and the recorded ones did.

    page: a key of `READERS`, such as "12". run: what this page's reader takes. Raises `ValueError`
    if nothing was gathered.
    """
    check_name("page", page, READERS)
    check_field(len(run), "run", "at least one moment of a training", "none")
    try:
        moments, outcome, reasons, recorded = READERS[page](run)
    except (TypeError, ValueError, LookupError) as error:
        raise ValueError(f"run: expected what the page gathers; {error}") from error
    broken = [update for update, row in moments if not np.isfinite(np.asarray(row)).all()]
    if broken:
        outcome = "diverged"
        reasons = [f"At update {broken[0]:,} its numbers were no longer finite. Try another seed."]
    updates, _ = moments[-1]
    early = [update for update in recorded if update <= updates]
    beside = max(early, default=min(recorded))  # as many updates, or the nearest
    names = recorded[beside]
    alike = f"{names.count(outcome) or 'none'} of {len(names)} recorded ones"
    if beside != updates:
        alike += f" after {beside:,}"
    print(f"This training, after {updates:,} updates: {outcome}, as {alike}.")
    for reason in reasons:
        print(f"- {reason}")
    for update in sorted({beside, max(recorded)}):
        print(f"Recorded, after {update:,} updates: {count_names(recorded[update])}.")
    if stored := read_facts(page).get("stored"):
        print(f"The training stored with this page: {stored}.")


def count_names(names: Sequence[str]) -> str:
    """How often there is each of them, such as "11 separated, 9 not decided"."""
    return ", ".join(f"{count} {name}" for name, count in Counter(names).most_common())


def read_circles(rows: Sequence[tuple]) -> Told:
    """Notebook 12. rows: (update, R² of orange and blue in factor 0, in factor 1, error, KLs)."""
    from unbraid_course.lessons.n12 import name_state  # the page's own rule

    updates = [row[0] for row in rows]
    scores = np.array([row[1:5] for row in rows], dtype=float).reshape(-1, 2, 2)
    copies = np.all(scores > 0.5, axis=1)  # (moment, digit)
    reasons = [name_digits(factor, scores[-1, factor]) for factor in (0, 1)]
    reasons += [tell_copies(updates, scores[..., k], k) for k in (0, 1) if copies[:, k].any()]
    if not copies.any():
        reasons.append(f"At none of {len(rows)} moments did both factors encode the same digit.")
    table = pd.read_csv(records.results() / "independent/circle/quick/coin.csv", comment="#")
    known = ["r2_00", "r2_01", "r2_10", "r2_11"]
    recorded = {}
    for update, runs in table[table["run"] == "ours 0.1"].groupby("update"):
        states = [name_state(row.reshape(2, 2)) for row in runs[known].to_numpy()]
        recorded[int(update)] = states
    return Told([(row[0], row[1:]) for row in rows], name_state(scores[-1]), reasons, recorded)


def name_digits(factor: int, scores: np.ndarray) -> str:
    """Which digits a factor encodes, by its R² of orange and blue."""
    pairs = zip(DIGITS, scores, strict=True)
    held = [f"the {name} digit (R² {value:.2f})" for name, value in pairs if value > 0.5]
    what = " and ".join(held) or f"neither digit (R² at most {max(scores.max(), 0):.2f})"
    if np.any(abs(scores - 0.5) < 0.1):
        what += "; an R² is near ½, so look at the freeze"
    return f"Factor {factor} encodes {what}."


def tell_copies(updates: Sequence[int], scores: np.ndarray, digit: int) -> str:
    """When both factors encoded a digit, and which let it go. scores: (moment, factor)."""
    holds = np.asarray(scores > 0.5)
    (moments,) = np.nonzero(holds.all(axis=1))
    last, count = moments[-1], f"At {len(moments)} of {len(updates)} moments"
    said = f"{count}, from update {updates[moments[0]]:,}, both factors encoded the "
    said += f"{DIGITS[digit]} digit"
    if last == len(updates) - 1:
        return f"{said}, and they still do."
    left = " and ".join(f"factor {k}" for k in (0, 1) if not holds[last + 1, k])
    return f"{said}; between {updates[last]:,} and {updates[last + 1]:,} {left} let it go."


def read_bounces(moments: Sequence[tuple]) -> Told:
    """Notebook 15. moments: (update, R² (factor, coordinate), ...)."""
    from unbraid_course.lessons.n15 import COORDINATES, name_grouping, read_scores

    scores, reasons = np.array(moments[-1][1]).reshape(2, len(COORDINATES)), []
    own = (scores >= 0.6) & (scores[::-1] <= 0.3)  # (factor, coordinate)
    for factor, each in enumerate(own):
        listed = [f"{COORDINATES[k]} ({scores[factor, k]:.2f})" for k in np.flatnonzero(each)]
        reasons.append(f"Factor {factor} alone encodes {', '.join(listed) or 'no coordinate'}.")
    rest = np.flatnonzero(~own.any(axis=0))
    pairs = [f"{COORDINATES[k]} ({' and '.join(map(write_number, scores[:, k]))})" for k in rest]
    if pairs:
        reasons.append(f"Shared, or in neither (R² from factors 0 and 1): {', '.join(pairs)}.")
    before = [f"{name_grouping(each[1])} ({each[0]:,})" for each in moments[:-1]]
    reasons += [f"Before: {', '.join(before)}."] if before else []
    table = pd.read_csv(records.results() / "independent/bounce/quick/own_bounce.csv", comment="#")
    recorded = {}
    for update, runs in table[table["update"] <= 8000].groupby("update"):
        groupings = [name_grouping(read_scores(row)) for _, row in runs.iterrows()]
        recorded[int(update)] = groupings
    return Told([row[:2] for row in moments], name_grouping(scores), reasons, recorded)


def read_attributes(history: Sequence[dict[str, Any]]) -> Told:
    """Notebook 22. history: from the start on each look's update, d and shares right."""
    looks = history[3::3] or history[-1:]  # of twelve, those at the moments that are recorded
    table = pd.read_csv(
        records.results() / "unordered/sprites_poses/quick/own_plane.csv", comment="#"
    )
    runs = [run.to_dict("records") for _, run in table.groupby(["run", "seed"])]
    recorded = {}
    for count, end in enumerate(runs[0], 1):
        recorded[end["update"]] = [find_first(run[:count])[0] for run in runs]
    outcome, seen = find_first(looks)
    ours = [find_first(run)[0] for run in runs if run[0]["run"] == "ours"]
    ends = table[table["update"] == max(recorded)]
    shares = [f"{name} {looks[-1][name]:.2f} ({spread(ends[name])})" for name in BY_WORTH]
    worst = find_worst(looks[-1])
    alike = [find_worst(run[-1]) for run in runs].count(worst)
    reasons = [
        f"{seen} Recorded from He weights: {count_names(ours)}.",
        f"Right now (recorded ends): {', '.join(shares)}.",
        f"Right least often: {worst}, as in {alike} of {len(runs)} recorded ones.",
    ]
    return Told([(look["update"], look["d"]) for look in history], outcome, reasons, recorded)


def find_first(looks: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Which of hair and top is learnt first, and the numbers that say so."""
    for look in looks:
        hair, top = look["hair"], look["top"]
        if max(hair, top) > LEARNT:
            first = "hair first (the forecast)" if hair > top else "top first"
            seen = f"At update {look['update']:,}: hair {hair:.2f}, top {top:.2f}."
            return "hair and top together" if abs(hair - top) < LEAD else first, seen
    return "neither hair nor top yet", f"Hair and top never above {LEARNT}."


def find_worst(look: dict[str, Any]) -> str:
    """The two attributes that are right least often."""
    last = sorted(BY_WORTH, key=lambda name: look[name])[:2]
    return (
        "trousers and skin (the forecast)" if set(last) == {*BY_WORTH[2:]} else " and ".join(last)
    )


def read_swaps(run: tuple[Sequence[Sequence[float]], dict[str, float]]) -> Told:
    """Notebook 32. run: the update and the terms of each step, and the shares of `score_swaps`."""
    rows, shares = run
    table = pd.read_csv(records.results() / "single_element/sprites/quick/starts.csv", comment="#")
    table = table[table["ideas"] == "both ideas"]
    helped, released = (table[table["recipe"] == recipe] for recipe in ("both", "released"))
    without = count_names([name_direction(share) for share in released["direction"]])
    reasons = [
        f"Donors look in different directions: {shares['swaps with d']:.2f} of the swaps as d's "
        f"(recorded {spread(helped['direction'])}), {shares['swaps with s']:.2f} as s's.",
        f"Direction and action of d's donor: {shares['motion with d']:.2f} of all swaps "
        f"(recorded {spread(helped['motion'])}).",
        f"The perfect swap is the nearest clip: {shares['true clip nearest']:.2f} "
        f"(recorded {spread(helped['nearest'])}).",
        f"Recorded without the head start: {without}.",
    ]
    moments = [(int(row[0]), row[1:]) for row in rows]
    recorded = {int(helped["update"].max()): [name_direction(x) for x in helped["direction"]]}
    return Told(moments, name_direction(shares["swaps with d"]), reasons, recorded)


def name_direction(share: float) -> str:
    """How far d decides where swaps look, by the share that look as its donor."""
    if 0.05 < share < 0.95:
        return "d gives the direction in part"
    return "d gives the direction" if share > 0.5 else "d hardly gives the direction"


def spread(values: pd.Series) -> str:
    """From the least of them to the largest."""
    return f"{values.min():.2f} to {values.max():.2f}"


READERS: dict[str, Callable[[Any], Told]] = {
    "12": read_circles,
    "15": read_bounces,
    "22": read_attributes,
    "32": read_swaps,
}
