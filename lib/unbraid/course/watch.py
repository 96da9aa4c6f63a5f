"""Watch a training: a figure that is redrawn while the loop runs."""

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TypeVar
from uuid import uuid4

from matplotlib.figure import Figure

from unbraid.checks import check_type
from unbraid.course import plots
from unbraid.support.progress import is_watched

Step = TypeVar("Step")
PAUSE = 3.0  # seconds between two figures, at least
SHARE = 0.1  # of the time, at most, is spent on figures


def watch(training: Iterable[Step], draw: Callable[[], Figure], alt: str) -> Iterator[Step]:
    """Yield each step of a training, and redraw the figure of draw() in one place of the page.

    draw: a figure of what the loop has gathered so far; it must draw no random numbers. It is
    called when a step has been dealt with, if somebody watches: at most every three seconds, and
    for at most a tenth of the time. After the last step it is called once more, and this figure
    stays.
    alt: as in `plots.show`.
    """
    check_type(Iterable, training=training)
    check_type(Callable, draw=draw)  # type: ignore[arg-type]
    place, spent, begun = uuid4().hex, 0.0, perf_counter()
    shown = begun
    for step in training:
        yield step
        now = perf_counter()
        if is_watched() and now - shown >= PAUSE and spent <= SHARE * (now - begun):
            plots.show(draw(), alt, place)
            shown = perf_counter()
            spent += shown - now
    plots.show(draw(), alt, place)
