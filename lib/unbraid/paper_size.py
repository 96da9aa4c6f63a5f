"""What a page says of a training at a paper's own size: how long it takes, and its verdict.

The verdict is the one of REPRODUCTION.md, whose rule is here: papers/claims.py takes it from here.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from unbraid.checks import check_field, check_name, check_whole

if TYPE_CHECKING:
    import pandas as pd

NEAR = 0.05  # of the effect, or of the published value
LENGTH = 2 / 3  # of the paper's updates that count as its length
SEEDS = 3  # that make a reproduction


class Row(NamedTuple):
    """A figure of ours, and the paper's number or our own bar for it.

    better: "higher", "lower", or "" where only a value that is near enough counts. tolerance: the
    distance that is near enough, by default 5 % of the number; above a bar nothing is too far.
    """

    title: str
    ours: float
    wanted: float
    better: str = ""
    tolerance: float | None = None


def is_reached(ours: float, wanted: float, better: str, tolerance: float) -> bool:
    """Whether a figure is near enough to a number, or better."""
    is_better = {"higher": ours > wanted, "lower": ours < wanted}.get(better, False)
    return is_better or abs(ours - wanted) <= tolerance


def name_verdict(reached: Sequence[bool], share: float, seeds: int, word: str) -> str:
    """The verdict on a claim: which of its figures are reached, by what share of the updates.

    word: "reproduced", or "agrees" by a bar of our own.
    """
    if share < LENGTH:
        return "inconclusive"
    if not all(reached):
        return "in part" if any(reached) else "not reproduced"
    return word if seeds >= SEEDS else f"{word} once"


def print_verdict(source: str, rows: Sequence[Row], share: float, by_bar: bool = False) -> None:
    """Print figures of one run beside the numbers of a source, and the verdict.

    share: of the paper's updates; a model without any is refused, as of a checkpoint that is not
    there. by_bar: the numbers are our own bar, as the paper has none.
    """
    check_field(share > 0, "share", "some updates; is there a checkpoint of this model?", share)
    reached = []
    for title, ours, wanted, better, tolerance in (Row(*row) for row in rows):
        check_name("better", better, ("", "higher", "lower"))
        near = NEAR * abs(wanted) if tolerance is None else tolerance
        reached.append(is_reached(ours, wanted, better, 0.0 if by_bar else near))
        print(f"{title}: {ours:.3f}; {source}: {wanted:g}")
    verdict = name_verdict(reached, share, 1, "agrees" if by_bar else "reproduced")
    print(f"one run, {100 * share:.0f} % of the paper's updates: {verdict}")


def tabulate_times(
    updates: int, rows: Sequence[tuple[str, float | tuple[float, float] | None, str]]
) -> "pd.DataFrame":
    """A table of what a training takes by several programs.

    rows: a program, its milliseconds an update (two where a count leaves a range, None where it is
    not known), and how they are known.
    """
    import pandas as pd

    check_whole(1, updates=updates)
    lines = {}
    for program, milliseconds, known in rows:
        ends = milliseconds if isinstance(milliseconds, tuple) else (milliseconds,)
        known_ends = [end for end in ends if end is not None]
        each = " to ".join(f"{end:.3g}" for end in known_ends)
        whole = " to ".join(f"{updates * end / 3.6e6:.2g}" for end in known_ends)
        lines[program] = (each or "–", whole or "–", known)
    titles = ["ms per update", f"hours for {updates:,} updates", "how we know"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=titles)
