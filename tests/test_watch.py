"""course/watch: a training is handed on as it is, and its figure is drawn again now and then."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from unbraid.figures import images, plots
from unbraid_course import watch as module
from unbraid_course.watch import watch

ALT = "A line that grows while the training goes on."


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass as a test says."""
    now = [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def shown(monkeypatch, clock):
    """When each figure was shown, where, and the number above it."""
    figures = []

    def show(figure, alt, place):
        figures.append((clock[0], place, figure.get_suptitle()))

    monkeypatch.setattr(plots, "show", show)
    return figures


def run(clock, seconds, step, drawing):
    """The steps of a training that come out; step, drawing: the seconds of a step, of a figure."""
    steps = int(seconds / step)

    def train():
        for number in range(steps):
            clock[0] += step
            yield number

    def draw():
        clock[0] += next(drawing)
        return Figure()

    return list(watch(train(), draw, ALT, steps)) == list(range(steps))


def test_unwatched_a_training_shows_its_last_figure_alone(shown, clock, monkeypatch):
    monkeypatch.setattr(module, "is_watched", lambda: False)
    assert run(clock, 1000, 1.0, itertools.repeat(0.1))
    assert [number for _, _, number in shown] == ["update 1,000 of 1,000"]


@pytest.mark.parametrize(
    "step, drawing, figures",
    [
        (0.5, [0.01], 40),  # one every three seconds of two minutes
        (0.5, [3.0, 0.01], 39),  # the first is slow, as it loads what draws
        (0.5, [4.0], 15),  # a tenth of the time, unless one would wait too long for the next
        (2.0, [2.0, 8.0], 30),  # a slow machine
    ],
)
def test_the_first_figure_is_soon_there_and_the_next_never_late(
    shown, clock, monkeypatch, step, drawing, figures
):
    monkeypatch.setattr(module, "is_watched", lambda: True)
    assert run(clock, 120, step, itertools.chain(drawing, itertools.repeat(drawing[-1])))
    times = np.array([time for time, _, _ in shown])
    assert times[0] <= 6 and np.diff(times[:-1]).min() >= 3 and np.diff(times).max() <= 20
    assert abs(len(shown) - 1 - figures) <= 1 and len({place for _, place, _ in shown}) == 1
    numbers = [number for _, _, number in shown]
    assert numbers[0] == f"update 1 of {120 / step:,.0f}"
    assert len(set(numbers[:-1])) == len(numbers) - 1


def test_watched_figures_are_of_one_size_whatever_they_show(monkeypatch):
    monkeypatch.setattr(module, "is_watched", lambda: True)
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(module, "SHARE", 1.0)
    sizes, losses = [], []
    monkeypatch.setattr(plots, "show_image", lambda *given, **_: sizes.append(given[4].size))
    for loss in watch([0.1, 1e-9, 1e9], lambda: draw_losses(losses), ALT):
        losses.append(loss)
    assert len(sizes) == 4 and len(set(sizes)) == 1


def test_a_training_is_the_same_whether_it_is_watched_or_not(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(module, "SHARE", 1.0)
    monkeypatch.setattr(images, "show_image", lambda *_, **__: None)
    drawn = []
    for watched in (False, True):
        monkeypatch.setattr(module, "is_watched", lambda watched=watched: watched)
        torch.manual_seed(0)
        training = (torch.randn(3) for _ in range(10))
        drawn.append(torch.stack(list(watch(training, lambda: draw_losses([1, 2]), ALT))))
    assert torch.equal(*drawn)


def draw_losses(losses):
    figure, ax = plt.subplots()
    ax.plot(losses)
    return figure


def test_a_figure_at_a_place_takes_the_place_of_the_first(monkeypatch):
    sent = []
    monkeypatch.setattr("IPython.display.display", lambda *_, **options: sent.append(options))
    for place in ("here", "here", "there", ""):
        plots.show(draw_losses([1, 2]), ALT, place)
    first, again, other, free = sent
    assert first["display_id"] == again["display_id"] == "here" and other["display_id"] == "there"
    assert [options.get("update") for options in sent] == [False, True, False, None]
    assert "display_id" not in free
