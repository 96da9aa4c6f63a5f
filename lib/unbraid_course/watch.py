"""Watch a training: a figure that is redrawn while the loop runs."""

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TypeVar
from uuid import uuid4

import matplotlib.pyplot as plt
import torch._dynamo  # noqa: F401 - else the optimiser loads it, seconds before the first figure
from matplotlib.figure import Figure
from unbraid.checks import check_function, check_type, check_whole
from unbraid.figures import plots
from unbraid.figures.images import Hand
from unbraid.support.progress import is_watched

Step = TypeVar("Step")
PAUSE = 3.0  # seconds from a figure to the next, at least
SHARE = 0.1  # of the time is spent on figures ...
LONGEST = 12.0  # ... unless the next would come later than this, if it takes as long as the last


def watch(
    training: Iterable[Step], draw: Callable[[], Figure], alt: str, updates: int = 0
) -> Iterator[Step]:
    """Yield each step of a training, and redraw the figure of draw() in one place of the page.

    draw: a figure of what the loop has gathered so far; it must draw no random numbers. It is
    called, if somebody watches, after the first step, and then when a step has been dealt with: at
    most every three seconds, and for a tenth of the time. Where drawing takes long, it takes more
    than a tenth, so that nobody waits longer than about 12 seconds. After the last step it is
    called once more, and this figure stays.
    alt: as in `plots.show`. updates: how many steps there are, for the number above the figure.
    """
    check_type(Iterable, training=training)
    check_function(draw=draw)
    check_whole(0, updates=updates)
    place, step = uuid4().hex, 0

    def show(is_last: bool = False) -> None:
        figure = draw()
        check_type(Figure, figure=figure)
        figure.suptitle(f"update {step:,} of {updates:,}" if updates else f"update {step:,}")
        with plt.rc_context({"savefig.bbox": "standard"}):  # the last is no smaller
            Hand(is_fast=not is_last).run(plots.show, figure, alt, place)

    spent = took = begun = shown = 0.0
    for step, given in enumerate(training, 1):
        yield given
        if not is_watched():
            continue
        now = perf_counter()
        waited = now - shown
        is_late = waited + took >= LONGEST
        is_due = waited >= PAUSE and (is_late or spent <= SHARE * (now - begun))
        if step == 1 or is_due:
            show()
            shown = perf_counter()
            took = shown - now
            spent += took
        if step == 1:  # the first figure is a slow one, which does not count
            spent, begun = 0.0, shown
    show(is_last=True)
