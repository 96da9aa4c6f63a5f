"""Codes by name and factors by name, checked and brought into one shape, for the matrices of `leakage`."""

import warnings
from dataclasses import dataclass

import numpy as np

from unbraid.measures.discrete_information import is_labels

POOLINGS = ("flattened", "averaged", "frames")


class LeakageWarning(UserWarning):
    """A cell has its documented value, but not the usual meaning: a constant code, or classes given as floats."""


@dataclass(frozen=True, eq=False)
class Factor:
    """A factor: class numbers (N, S) or floats (N, S, m), with S = 1 for a factor of the sequence."""

    kind: str
    values: np.ndarray

    def loss(self, said, true):
        """The mean over what is scored in a sequence: (n,) of (n, ...)."""
        return np.mean(said != true if self.kind == "classes" else (said - true) ** 2, axis=1)


def read(codes, factors, kinds, pooling):
    """What a matrix of codes and factors is made from; returns rows, name -> (N, S, p), columns, name -> `Factor`, and N.

    Arguments and errors as those of `leakage.leakage_matrix`. S is the number of frames that a row knows one by one: T for
    codes read as "frames", else 1. Warns (`LeakageWarning`) of a constant code, and of a factor of few whole floats.
    """
    if not codes or not factors:
        raise ValueError(
            f"codes and factors: expected at least one of each, found {len(codes)} and {len(factors)}"
        )
    pooling = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    if not pooling or set(pooling) - set(POOLINGS):
        raise ValueError(f"pooling: expected some of {', '.join(POOLINGS)}, found {pooling}")
    codes = {name: np.asarray(code, dtype=np.float64) for name, code in codes.items()}
    for name, code in codes.items():
        if code.ndim not in (2, 3) or 0 in code.shape:
            raise ValueError(
                f"code {name!r}: expected shape (N, D) or (N, T, d), found {code.shape}"
            )
        if not np.isfinite(code).all():
            raise ValueError(
                f"code {name!r}: expected finite numbers, found {np.sum(~np.isfinite(code))} that are not; mend them"
            )
        if np.ptp(code.reshape(len(code), -1), axis=0).max() == 0:
            warnings.warn(
                f"code {name!r} is constant: it tells nothing, and its cells are 0",
                LeakageWarning,
                stacklevel=3,
            )
    lengths = {name: len(values) for name, values in (codes | dict(factors)).items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"codes and factors: expected one row a sequence in all, found {lengths}")
    times = {code.shape[1] for code in codes.values() if code.ndim == 3}
    if len(times) > 1:
        raise ValueError(f"codes: expected the same number of frames in all, found {sorted(times)}")
    rows = {}
    for name, code in codes.items():
        if code.ndim == 2:
            rows[name] = code[:, None]
            continue
        pooled = {
            "flattened": code.reshape(len(code), 1, -1),
            "averaged": code.mean(1, keepdims=True),
            "frames": code,
        }
        rows |= {f"{name}, {how}": pooled[how] for how in pooling}
    return (
        rows,
        {
            name: _factor(name, values, times, (kinds or {}).get(name))
            for name, values in factors.items()
        },
        len(code),
    )


def _factor(name, values, times, kind):
    """One checked column."""
    values = np.asarray(values)
    given, kind = kind, kind or ("classes" if is_labels(values) else "continuous")
    if kind not in ("classes", "continuous") or values.ndim not in (
        (1, 2) if kind == "classes" else (1, 2, 3)
    ):
        raise ValueError(
            f"factor {name!r}: expected classes (N,), (N, T) or floats, also (N, m), (N, T, m), found {kind} {values.shape}"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(
            f"factor {name!r}: expected finite numbers, found {np.sum(~np.isfinite(values))} that are not; mend or drop them"
        )
    if (
        values.ndim > 1
        and times
        and values.shape[1] not in times
        and (kind == "classes" or values.ndim == 3)
    ):
        raise ValueError(
            f"factor {name!r}: expected a value for each of {times.pop()} frames, found {values.shape}"
        )
    if (values == values.flat[0]).all():
        raise ValueError(
            f"factor {name!r}: expected values that differ, found only {values.flat[0]!r}; leave this factor out"
        )
    if kind == "classes":
        numbers = np.unique(values, return_inverse=True)[1].reshape(values.shape)
        return Factor(kind, numbers.reshape(len(values), -1))
    if not given and len(np.unique(values)) <= 20 and (values == np.round(values)).all():
        warnings.warn(
            f"factor {name!r} is taken as continuous; if its values are classes, give integers",
            LeakageWarning,
            stacklevel=4,
        )
    values = values.astype(np.float64)
    of_frames = values.ndim == 3 or (values.ndim == 2 and values.shape[1] in times)
    return Factor(kind, values.reshape(len(values), values.shape[1] if of_frames else 1, -1))
