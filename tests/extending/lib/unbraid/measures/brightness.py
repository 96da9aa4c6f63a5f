"""A measure of frames that knows neither models nor data."""

import numpy as np
from numpy.typing import ArrayLike


def brightness(frames: ArrayLike) -> float:
    """The mean of all pixels of frames of any shape: 0 if all are black, 1 if all are white."""
    return float(np.asarray(frames, np.float64).mean())
