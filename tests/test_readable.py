"""Results show their numbers, as text and as HTML, and never a wall of digits."""

from dataclasses import dataclass

import numpy as np
from unbraid.measures.intervals import mean_interval
from unbraid.measures.leakage import leakage_matrix
from unbraid.readable import Readable


@dataclass(frozen=True, repr=False)
class Result(Readable):
    score: float
    samples: np.ndarray
    names: dict
    missing: object = None


def test_fields_are_shown_in_a_row_each():
    result = Result(0.123456, np.zeros((50, 3)), {"<red>": 1.0})
    assert (
        repr(result) == "Result: score  0.1235\n  samples  array of shape (50, 3)\n  names  <red> 1"
    )
    page = result._repr_html_()
    assert "<td>0.1235</td>" in page and "&lt;red&gt;" in page and "missing" not in page


def test_measures_show_what_they_found():
    assert "2  [-0.4841, 4.484]  3 seeds" in repr(mean_interval([1, 2, 3]))
    code = np.random.default_rng(0).normal(size=(60, 1))
    matrix = leakage_matrix({"static": code}, {"skin": (code[:, 0] > 0).astype(int)})
    assert "static" in repr(matrix) and "<td>skin</td>" in matrix._repr_html_()
