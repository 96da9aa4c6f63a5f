"""What a page's own training came to, beside the one stored with the page and all recorded ones.

A page's reader turns what its training gathered into a `Told`; `tell` prints any of them alike.
"""

import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from unbraid import records
from unbraid.checks import check_field, check_name

DIVERGED = "diverged"
DIGITS = ("orange", "blue")


class Told(NamedTuple):
    """What a training came to.

    updates: how many it made. outcome: its name. reasons: sentences with the numbers that decided
    it. recorded: the outcomes of the recorded trainings, by how many updates they had made.
    """

    updates: int
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
    told = READERS[page](run)
    early = [update for update in told.recorded if update <= told.updates]
    beside = max(early, default=min(told.recorded))  # as many updates, or the nearest
    names = told.recorded[beside]
    alike = f"{names.count(told.outcome) or 'none'} of {len(names)} recorded ones"
    if beside != told.updates:
        alike += f" after {beside:,}"
    print(f"This training, after {told.updates:,} updates: {told.outcome}, as {alike}.")
    for reason in told.reasons:
        print(f"- {reason}")
    for update in sorted({beside, max(told.recorded)}):
        counts = Counter(told.recorded[update]).most_common()
        listed = ", ".join(f"{count} {name}" for name, count in counts)
        print(f"Recorded, after {update:,} updates: {listed}.")
    stored = tomllib.loads(Path(__file__).with_name("stored.toml").read_text("utf8"))
    print(f"The training stored with this page: {stored[page]}.")


def find_divergence(rows: Sequence[tuple[int, np.ndarray]]) -> list[str]:
    """A sentence if some of the (update, numbers) are infinite or NaN."""
    broken = [update for update, values in rows if not np.isfinite(values).all()]
    if not broken:
        return []
    return [f"At update {broken[0]:,} its numbers were no longer finite. Try another seed."]


def read_circles(rows: Sequence[tuple]) -> Told:
    """Notebook 12. rows: (update, R² of orange and blue in factor 0, in factor 1, error, KLs)."""
    from unbraid.lessons.n12 import name_state  # the page's own rule

    updates = [row[0] for row in rows]
    scores = np.array([row[1:5] for row in rows], dtype=float).reshape(-1, 2, 2)
    reasons = find_divergence([(row[0], np.array(row[1:], dtype=float)) for row in rows])
    outcome = DIVERGED if reasons else name_state(scores[-1])
    if not reasons:
        reasons = [name_digits(factor, scores[-1, factor]) for factor in (0, 1)]
        copies = np.all(scores > 0.5, axis=1)  # (moment, digit)
        reasons += [tell_copies(updates, scores[..., k], k) for k in (0, 1) if copies[:, k].any()]
        if not copies.any():
            reasons.append(
                f"At none of {len(rows)} moments did both factors encode the same digit."
            )
    table = pd.read_csv(records.results() / "independent/circle/quick/coin.csv")
    known = ["r2_00", "r2_01", "r2_10", "r2_11"]
    recorded = {
        int(update): [name_state(row.reshape(2, 2)) for row in runs[known].to_numpy()]
        for update, runs in table[table["run"] == "ours 0.1"].groupby("update")
    }
    return Told(updates[-1], outcome, reasons, recorded)


def name_digits(factor: int, scores: np.ndarray) -> str:
    """Which digits a factor encodes, by its R² of orange and blue."""
    pairs = zip(DIGITS, scores, strict=True)
    held = [f"the {name} digit (R² {value:.2f})" for name, value in pairs if value > 0.5]
    what = " and ".join(held) or f"neither digit (R² at most {scores.max():.2f})"
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
    from unbraid.lessons.n15 import COORDINATES, name_grouping, read_scores

    scores = np.array(moments[-1][1])
    reasons = find_divergence([moment[:2] for moment in moments])
    outcome = DIVERGED if reasons else name_grouping(scores)
    if not reasons:
        rest = np.full(4, True)
        for factor in (0, 1):
            own = (scores[factor] >= 0.6) & (scores[1 - factor] <= 0.3)
            listed = [f"{COORDINATES[k]} ({scores[factor, k]:.2f})" for k in own.nonzero()[0]]
            reasons.append(f"Factor {factor} alone encodes {', '.join(listed) or 'none'} (R²).")
            rest &= ~own
        pairs = [
            f"{COORDINATES[k]} ({' and '.join(f'{v:.2f}' for v in scores[:, k])})"
            for k in rest.nonzero()[0]
        ]
        reasons += [f"Shared, or in neither: {', '.join(pairs)}."] if pairs else []
        before = [f"{name_grouping(each[1])} ({each[0]:,})" for each in moments[:-1]]
        reasons += [f"Before: {', '.join(before)}."] if before else []
    table = pd.read_csv(records.results() / "independent/bounce/quick/own_bounce.csv")
    recorded = {
        int(update): [name_grouping(read_scores(row)) for _, row in runs.iterrows()]
        for update, runs in table[table["update"] <= 8000].groupby("update")
    }
    return Told(moments[-1][0], outcome, reasons, recorded)


READERS: dict[str, Callable[[Any], Told]] = {"12": read_circles, "15": read_bounces}
