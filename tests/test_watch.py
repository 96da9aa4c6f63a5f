"""course/watch: a training is handed on as it is, and its figure is drawn again now and then."""

import itertools

import matplotlib.pyplot as plt
import pytest
import torch
from unbraid.course import images, plots
from unbraid.course import watch as module
from unbraid.course.watch import watch

ALT = "A line that grows while the training goes on."


@pytest.fixture
def shown(monkeypatch):
    """Where each figure was shown."""
    places = []
    monkeypatch.setattr(plots, "show", lambda figure, alt, place: places.append(place))
    return places


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass as a test says."""
    now = [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    return now


def run(clock, steps, step_seconds, draw_seconds):
    """The steps that come out, and how many figures were drawn."""

    def train():
        for step in range(steps):
            clock[0] += step_seconds
            yield step

    def draw():
        clock[0] += draw_seconds

    return list(watch(train(), draw, ALT))


def test_unwatched_a_training_shows_its_last_figure_alone(shown, clock, monkeypatch):
    monkeypatch.setattr(module, "is_watched", lambda: False)
    assert run(clock, 100, 1.0, 0.1) == list(range(100)) and len(shown) == 1


@pytest.mark.parametrize(
    "step_seconds, draw_seconds, figures",
    [
        (0.5, 0.01, 19),  # one every three seconds of a minute at most
        (0.5, 1.0, 6),  # a tenth of the time is all that figures get
        (10.0, 0.1, 6),  # a slow step is waited for
    ],
)
def test_figures_come_every_three_seconds_and_take_a_tenth(
    shown, clock, monkeypatch, step_seconds, draw_seconds, figures
):
    monkeypatch.setattr(module, "is_watched", lambda: True)
    steps = int(60 / step_seconds)
    assert run(clock, steps, step_seconds, draw_seconds) == list(range(steps))
    assert abs(len(shown) - 1 - figures) <= 1 and len(set(shown)) == 1
    assert (len(shown) - 1) * draw_seconds <= 0.1 * clock[0] + draw_seconds


def test_a_training_is_the_same_whether_it_is_watched_or_not(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(module, "SHARE", 1.0)
    monkeypatch.setattr(images, "show_image", lambda *_, **__: None)
    weights = []
    for watched in (False, True):
        monkeypatch.setattr(module, "is_watched", lambda watched=watched: watched)
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 1)
        optimizer = torch.optim.Adam(layer.parameters())

        def train(layer=layer, optimizer=optimizer):
            for _ in range(10):
                loss = layer(torch.randn(4, 3)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                yield loss.item()

        losses = []
        for loss in watch(train(), lambda losses=losses: draw_losses(losses), ALT):
            losses.append(loss)
        weights.append(layer.weight.detach().clone())
    assert torch.equal(*weights)


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
    assert len({id(options) for options in itertools.chain(sent)}) == 4
