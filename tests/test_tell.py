"""course/tell: what is said of a training is what its scores say, whatever it came to."""

import nbformat
import numpy as np
import pytest
import torch
from helpers import NOTEBOOKS, seeded
from unbraid import MovingDigits, load_digits
from unbraid.figures.images import read_facts
from unbraid_course.lessons import n12, n15
from unbraid_course.tell import tell

APART, TOGETHER = [[0.94, -0.05], [0.02, 0.93]], [[0.0, 0.03], [0.91, 0.92]]
TWICE, DROPPED = [[0.8, 0.1], [0.7, 0.9]], [[0.9, 0.1], [0.0, 0.2]]
NONE = [[np.nan, np.nan], [np.nan, np.nan]]


def train_circles(*moments):
    """A training of notebook 12 that had these R² at the updates 500, 1,000, ..."""
    return "12", [(500 * k, *np.ravel(each), 99.0, 3.0, 2.0) for k, each in enumerate(moments, 1)]


def train_bounces(scores):
    """A training of notebook 15 that ended with these R²."""
    return "15", [(500, np.array(MIXED), "paths"), (4000, np.array(scores), "paths")]


def train_attributes(*looks):
    """A training of notebook 22 with these shares, of hair, top, trousers and skin, per quarter."""
    history = [{"update": 0, "d": torch.zeros(2)}]
    for update in range(200, 600 * len(looks) + 1, 200):
        shares = looks[update // 600 - 1] if update % 600 == 0 else (1.0, 1.0, 0.0, 1.0)
        row = dict(zip(("hair", "top", "trousers", "skin"), shares, strict=True))
        history.append({"update": update, "d": torch.zeros(2)} | row)
    return "22", history


def train_swaps(with_d, with_s, *rows):
    """A training of notebook 32 whose swaps look so often as d's donor, and as that of s."""
    shares = {"swaps with s": with_s, "swaps with d": with_d}
    shares |= {"motion with d": 0.7, "true clip nearest": 0.52}
    return "32", (rows or [[2500, 70.0, 7.0, 30.0, 11.0]], shares)


MIXED, SLANTED = [[0.5] * 4, [0.4] * 4], [[0.8, 0.06, 0.0, 0.83], [0.21, 0.81, 0.88, 0.04]]
GREY, END = (0.18, 0.25, 0.17, 0.16), (0.96, 0.7, 0.35, 0.3)
CASES = [  # a page and its training, and what is said of it
    (
        train_circles(DROPPED, TWICE, TWICE, APART),
        "after 2,000 updates: separated, as 10 of 20 recorded ones.",
        "a digit dropped (500), a digit in both factors (1,000), separated (2,000).",
        "Factor 0 encodes (R²): the orange digit (0.94).",
        "Factor 1 encodes (R²): the blue digit (0.93).",
        "Recorded, after 4,000 updates: 11 separated, 9 both digits in one factor.",
    ),
    (
        train_circles(*[TOGETHER] * 8),
        "after 4,000 updates: both digits in one factor, as 9 of 20 recorded ones.\n- Factor 0",
        "0 encodes (R²): none of them.",
        "Factor 1 encodes (R²): the orange digit (0.91), the blue digit (0.92).",
    ),
    (train_circles(TWICE), "after 500 updates: a digit in both factors, as 1 of 20 recorded"),
    (
        train_circles(APART, NONE, NONE),
        "diverged, as none of 20",
        "At update 1,000 its numbers were no longer finite.",
    ),
    (
        ("12", [(6, *np.ravel(APART), 99.0, 3.0, 2.0)]),
        "after 6 updates: separated, as none of 20 recorded ones after 250.",
    ),
    (
        train_bounces(SLANTED),
        "after 4,000 updates: x with the other's y, as 2 of 20 recorded ones.",
        "Factor 0 encodes (R²): orange x (0.80), blue y (0.83).",
        "Factor 1 encodes (R²): orange y (0.81), blue x (0.88).",
        "not decided (500), x with the other's y (4,000).",
    ),
    (train_bounces(MIXED), "not decided, as 12 of 20", "0 encodes (R²): none of them."),
    (train_bounces([[0.9] * 4, [0.5] * 4]), "0 encodes (R²): none of them."),
    (train_bounces([[0.0, np.inf, 0.0, 0.0]] * 2), "diverged, as none of 20 recorded ones."),
    (
        train_attributes((0.9, 0.45, 0.3, 0.2), END, END, END),
        "after 2,400 updates: hair first (the forecast), as 3 of 6 recorded ones.",
        "hair: 0.96 (recorded 0.78 to 0.99).",
        "top: 0.70 (recorded 0.51 to 0.77).",
    ),
    (
        train_attributes(GREY, (0.18, 0.46, 0.2, 0.2), END, END),
        "top first, as 2 of 6",
        "neither hair nor top yet (600), top first (1,200).",
    ),
    (train_attributes(GREY, (0.5, 0.45, 0.2, 0.2), END, END), "hair and top together, as 1 of 6"),
    (train_attributes(GREY), "neither hair nor top yet, as 2 of 6", "after 600 updates: 3 hair"),
    (
        train_swaps(1.0, 0.0),
        "d gives the direction, as 4 of 5",
        "swaps with d: 1.00 (recorded 0.59 to 1.00).",
        "motion with d: 0.70 (recorded 0.73 to 1.00).",
        "true clip nearest: 0.52 (recorded 0.38 to 0.58).",
    ),
    (train_swaps(0.6, 0.3), "d gives the direction in part, as 1 of 5"),
    (train_swaps(0.04, 0.9), "d hardly gives the direction, as none of 5"),
    (
        train_swaps(0.5, 0.5, [1, 70.0, 7.0, np.inf, 11.0], [2, *[np.nan] * 4]),
        "after 2 updates: diverged, as none of 5",
        "At update 1 its",
    ),
]


@pytest.mark.parametrize("case", CASES)
def test_a_training_is_told_by_its_scores(capsys, case):
    (page, run), *said = case
    tell(page, run)
    heard = capsys.readouterr().out
    assert [each for each in said if each not in heard] == []


@pytest.mark.parametrize("page, run", [("13", [1]), ("12", []), (12, [1])])
def test_no_page_and_no_training_are_refused(page, run):
    with pytest.raises((ValueError, TypeError), match="page|run"):
        tell(page, run)


def test_a_model_that_diverged_has_no_scores():
    model, film = n12.small_model(0.1, 0), MovingDigits(load_digits("test"), 32, 5)
    clips = film(40, seeded())
    places = torch.zeros(40, 4)
    assert np.isfinite(n12.know_places(model, clips)).all()
    model.filter.posterior.log_variance.bias.data[3] = np.nan
    assert np.isnan(n12.know_places(model, clips)).all()
    assert np.isnan(n15.know(model, clips.frames, places)).all()


@pytest.mark.parametrize("page", ["12", "15", "22", "32"])
def test_the_stored_outcome_is_the_one_that_the_page_shows(page):
    stored = read_facts(page)["stored"]
    (path,) = (path for path in NOTEBOOKS if path.name.startswith(page))
    (cell,) = (cell for cell in nbformat.read(path, 4).cells if f'tell("{page}"' in cell.source)
    said = "".join(output.get("text", "") for output in cell.outputs)
    assert f" updates: {stored}, as " in said
    assert f"The training stored with this page: {stored}.\n" in said
