"""Correlation between the units of codes at neighbouring frames (paper A's correlation figure)."""

import numpy as np


def correlation_matrix(a, b=None):
    """Pearson correlation of every unit with every unit.

    a: (N, D) samples, e.g. z_t; b: (N, E) samples of the same rows, e.g. z_{t+1}. Returns (D, D), or (D + E, D + E) for
    the units of [a, b] side by side, order kept: list a model's units factor by factor. Arrays or tensors.
    Raises ValueError for a shape that is not (N, D) with N >= 2, rows that differ, NaN or infinity, a constant unit.
    """
    a = _checked("a", a)
    if b is not None:
        b = _checked("b", b)
        if len(a) != len(b):
            raise ValueError(
                f"a and b: expected as many rows in both, found {len(a)} and {len(b)}; pair them row by row"
            )
        a = np.hstack([a, b])
    a = (a - a.mean(axis=0)) / a.std(axis=0)
    return a.T @ a / len(a)


def cross_block(before, after):
    """Correlation of each unit at t (rows) with each unit at t + 1 (columns): (D, E) of the matrix of [z_t, z_{t+1}]."""
    width = np.asarray(before).shape[-1]
    return correlation_matrix(before, after)[:width, width:]


def block_fraction(cross, sizes):
    """Share of the squared cross-time correlation that lies within the factors' own blocks, from 0 to 1.

    cross: (D, D), as `cross_block` returns it; sizes: units of each factor, in order, adding up to D.
    1 means each factor is predicted by its own past alone; correlations spread evenly over K equal factors give 1/K.
    """
    cross = np.asarray(cross, dtype=np.float64)
    if cross.ndim != 2 or cross.shape != (sum(sizes), sum(sizes)) or min(sizes) < 1:
        raise ValueError(
            f"sizes: expected positive block sizes that add up to both sides of the matrix, found {list(sizes)} for shape "
            f"{cross.shape}; give the units of each factor"
        )
    factor = np.repeat(np.arange(len(sizes)), sizes)  # (D,) the factor of each unit
    within = factor[:, None] == factor
    return float(np.sum(cross[within] ** 2) / np.sum(cross**2))


def _checked(name, values):
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2:
        raise ValueError(
            f"{name}: expected shape (N, D) with N >= 2, found {values.shape}; flatten batch and time into N rows"
        )
    if not np.isfinite(values).all():
        row, unit = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"{name}: expected finite numbers, found {values[row, unit]} at row {row}, unit {unit}; mend these rows"
        )
    constant = np.flatnonzero(np.ptp(values, axis=0) == 0)
    if constant.size:
        raise ValueError(
            f"{name}: expected units that vary, found unit {constant[0]} constant at {values[0, constant[0]]:g}; "
            "leave constant units out, their correlation is not defined"
        )
    return values
