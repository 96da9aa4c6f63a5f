"""course/tell: what is said of a training is what its R² says, whatever it came to."""

import numpy as np
import pytest
from unbraid.course.tell import tell

APART, TOGETHER = [[0.94, -0.05], [0.02, 0.93]], [[0.0, 0.03], [0.91, 0.92]]
TWICE, DROPPED = [[0.8, 0.1], [0.7, 0.9]], [[0.9, 0.1], [0.0, 0.2]]
NONE = [[np.nan, np.nan], [np.nan, np.nan]]


def hear(capsys, page, run):
    tell(page, run)
    return capsys.readouterr().out


def train_circles(*moments):
    """A training of notebook 12 that had these R² at the updates 500, 1,000, ..."""
    return [(500 * k, *np.ravel(each), 99.0, 3.0, 2.0) for k, each in enumerate(moments, 1)]


@pytest.mark.parametrize(
    "moments, said",
    [
        (
            [DROPPED, TWICE, TWICE, APART],
            [
                "after 2,000 updates: separated, as 10 of 20 recorded ones.",
                "Factor 0 encodes the orange digit (R² 0.94).",
                "Factor 1 encodes the blue digit (R² 0.93).",
                "At 2 of 4 moments, from update 1,000, both factors encoded the orange digit; "
                "between 1,500 and 2,000 factor 1 let it go.",
            ],
        ),
        (
            [TOGETHER] * 8,
            [
                "after 4,000 updates: both digits in one factor, as 9 of 20 recorded ones.",
                "Factor 0 encodes neither digit (R² at most 0.03).",
                "Factor 1 encodes the orange digit (R² 0.91) and the blue digit (R² 0.92).",
                "At none of 8 moments did both factors encode the same digit.",
            ],
        ),
        (
            [TWICE],
            [
                "after 500 updates: a digit in both factors, as 1 of 20 recorded ones.",
                "from update 500, both factors encoded the orange digit, and they still do.",
                "Recorded, after 4,000 updates: 11 separated, 9 both digits in one factor.",
            ],
        ),
        (
            [DROPPED] * 3,
            ["after 1,500 updates: a digit dropped, as 1 of 20", "encodes neither digit"],
        ),
        (
            [TWICE, [[0.1, 0.2], [0.3, 0.9]]],
            ["between 500 and 1,000 factor 0 and factor 1 let it go."],
        ),
        (
            [APART, NONE, NONE],
            ["diverged, as none of 20", "At update 1,000 its numbers were no longer finite."],
        ),
    ],
)
def test_a_training_of_circling_digits_is_told_by_its_scores(capsys, moments, said):
    heard = hear(capsys, "12", train_circles(*moments))
    assert [each for each in said if each not in heard] == []


def test_an_early_training_is_set_beside_the_nearest_recorded_moment(capsys):
    heard = hear(capsys, "12", [(6, *np.ravel(APART), 99.0, 3.0, 2.0)])
    assert "after 6 updates: separated, as none of 20 recorded ones after 250." in heard


SLANTED, MIXED = [[0.8, 0.06, 0.0, 0.83], [0.21, 0.81, 0.88, 0.04]], [[0.5] * 4, [0.4] * 4]


@pytest.mark.parametrize(
    "scores, said",
    [
        (
            SLANTED,
            [
                "after 4,000 updates: x with the other's y, as 2 of 20 recorded ones.",
                "Factor 0 alone encodes orange x (0.80), blue y (0.83)",
                "Factor 1 alone encodes orange y (0.81), blue x (0.88)",
                "Before: not decided (500).",
            ],
        ),
        (MIXED, ["not decided, as 12 of 20", "Factor 0 alone encodes none", "orange x (0.50 and"]),
        ([[0.9] * 4, [0.0] * 4], ["all in one, as 1 of 20", "Factor 1 alone encodes none"]),
        ([[0.0, np.inf, 0.0, 0.0]] * 2, ["diverged, as none of 20 recorded ones."]),
    ],
)
def test_a_training_of_bouncing_digits_is_told_by_its_scores(capsys, scores, said):
    moments = [(500, np.array(MIXED), "paths"), (4000, np.array(scores), "paths")]
    heard = hear(capsys, "15", moments)
    assert [each for each in said if each not in heard] == []


@pytest.mark.parametrize("page, run", [("13", [1]), ("12", []), (12, [1])])
def test_no_page_and_no_training_are_refused(page, run):
    with pytest.raises((ValueError, TypeError), match="page|run"):
        tell(page, run)
