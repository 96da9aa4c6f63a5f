"""Speaker verification: are two recordings of one voice? Equal error rates, as in paper C on TIMIT.

Every pair of recordings is a trial, scored by the cosine of their vectors; a target is a pair of
one speaker. An interval must draw speakers and not pairs, and weigh each trial by how often its
speakers were drawn, as in notebook 38.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import roc_curve
from unbraid.checks import check_field, finite_array, to_index

DECIMALS = 12  # equal vectors must tie, in whatever order the products in their cosine are summed


def equal_error_rate(
    scores: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """The rate, 0 to 1, at which as many targets are missed as others are accepted.

    It is where the lines through the shares of false alarms and of misses cross. scores: (P,).
    targets: (P,) of 0 and 1, some of each. weights: (P,) how often each trial counts. Raises
    ValueError for anything else, NaN included.
    """
    values, kinds = finite_array("scores", scores), finite_array("targets", targets)
    counts = finite_array("weights", np.ones(kinds.shape) if weights is None else weights)
    check_field(values.ndim == 1 and kinds.shape == values.shape, "targets", "(P,)", kinds.shape)
    check_field(np.isin(kinds, (0, 1)).all(), "targets", "0 and 1", np.unique(kinds)[:4])
    check_field(counts.shape == kinds.shape, "weights", kinds.shape, counts.shape)
    check_field((counts >= 0).all(), "weights", "0 or more", counts.min(initial=0))
    of_kinds = [float(counts[kinds == kind].sum()) for kind in (0, 1)]
    check_field(min(of_kinds) > 0, "targets", "trials of both kinds, weighing above 0", of_kinds)

    false_alarm, hit, _ = roc_curve(kinds, values, sample_weight=counts, drop_intermediate=False)
    miss = 1 - hit
    gap = false_alarm - miss  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = gap[after] / (gap[after] - gap[after - 1])
    return float((1 - share) * miss[after] + share * miss[after - 1])


def speaker_trials(vectors: ArrayLike, speakers: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Cosine scores of all P = N (N - 1) / 2 pairs of recordings, and which are targets; (P,) each.

    vectors: (N, D), none of length 0. speakers: (N,) labels. Pairs are in the order of
    `np.triu_indices(N, 1)`. Raises ValueError for other shapes, NaN, and missing speakers.
    """
    rows, names = finite_array("vectors", vectors), to_index("speakers", speakers)
    check_field(rows.ndim == 2 and len(rows) > 1, "vectors", "(N, D) with N >= 2", rows.shape)
    check_field(names.shape == rows.shape[:1], "speakers", (len(rows),), names.shape)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    check_field((lengths > 0).all(), "vectors", "lengths above 0", f"0 in row {lengths.argmin()}")
    unit = rows / lengths
    first, second = np.triu_indices(len(rows), 1)
    return np.round((unit @ unit.T)[first, second], DECIMALS), names[first] == names[second]
