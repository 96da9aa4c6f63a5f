"""The verdict on a training at a paper's own size, as a page prints it.

It is the one of REPRODUCTION.md, whose rule is here: papers/claims.py takes it from here.
"""

from collections.abc import Sequence
from typing import NamedTuple

from unbraid.checks import as_array, check_field, check_list, check_name, check_number, check_type

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
    check_number(share=share)
    check_field(share > 0, "share", "some updates; is there a checkpoint of this model?", share)
    reached = []
    for row in check_list("rows", rows, "a list of Row"):
        check_type(Row, rows=row)
        title, ours, wanted, better, tolerance = row
        kinds = {as_array(each).dtype.kind for each in (ours, wanted)}
        check_field(kinds <= {*"biuf"}, f"rows, {title}", "two numbers", (ours, wanted))
        check_name("better", better, ("", "higher", "lower"))
        near = NEAR * abs(wanted) if tolerance is None else tolerance
        reached.append(is_reached(ours, wanted, better, 0.0 if by_bar else near))
        print(f"{title}: {ours:.3f}; {source}: {wanted:g}")
    check_field(reached, "rows", "one or more", "none")
    verdict = name_verdict(reached, share, 1, "agrees" if by_bar else "reproduced")
    print(f"one run, {100 * share:.0f} % of the paper's updates: {verdict}")
