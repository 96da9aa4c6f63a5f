"""Plant a leak of known size in a code: what an instrument must find before its "no" counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import entr
from torch import Tensor, as_tensor

from unbraid import checks
from unbraid.checks import check_field, check_name, check_number, measurable_array

Code = TypeVar("Code", np.ndarray, Tensor)
UNITS = {"linear": 1, "product": 2}  # that carry the plant; a rotated one is in all that are given


def plant(
    code: Code,
    source: ArrayLike,
    bits: float = 0.5,
    how: str = "linear",
    units: Sequence[int] | None = None,
    noise: ArrayLike = (),
    seed: int = 0,
) -> Code:
    """A copy of a code (N, D) with at most `bits` more bits per row about a source.

    source: floats (N,) or (N, e), or class labels (N,). z denotes its standardised projection in a
        random direction; each class gets a random value.
    how: "linear": one unit becomes rho z + sqrt(1 - rho²) n with new Gaussian noise n. Its
            information is `bits` if z is Gaussian, and less for any other z.
        "product": the half of z, wrong in some rows, is the product of the signs of two units, each
            taken from its median; sizes stay. Each unit alone has a random sign and tells nothing
            new. Exactly `bits`, at most 1, if both halves of z are equally frequent.
        "rotated": all units move by z in a random direction, together as far, in deviations of the
            noise, as a channel of `bits` needs. `noise`: the posterior's deviations (D,) or (N, D);
            the code is a sample, and the bits are those beyond the posterior's means.
    units: which carry the plant, else random ones (rotated: all). Choose those an instrument reads.
    seed: of the direction, the noise and the units.

    The limits are the capacities of a Gaussian channel, log2(1 + SNR) / 2, and of a binary one,
    1 - H(p) (Cover and Thomas, Elements of Information Theory, chapters 9 and 7). The other units
    cannot raise them. ValueError for other shapes, values or units.
    """
    check_name("how", how, (*UNITS, "rotated"))
    check_number(bits=bits)
    check_field(0 <= bits <= (1 if how == "product" else 10), "bits", "0 to 10, of signs 1", bits)
    rows, given = measurable_array("code", code), checks.as_array(code, "code")
    check_field(rows.ndim == 2 and len(rows) > 1 and rows.size, "code", "(N, D)", rows.shape)
    width, generator = rows.shape[1], np.random.default_rng(seed)
    z = project(source, len(rows), generator)
    count = UNITS.get(how, width if units is None else len(units))
    drawn = generator.permutation(width)[:count].tolist()
    chosen = drawn if units is None else np.asarray(units).tolist()  # also of a tensor
    is_right = len(chosen) == count and set(chosen) <= set(range(width))
    check_field(is_right, "units", f"{count} numbers below {width}", units)

    old = rows[:, chosen]
    varies = how == "rotated" or (np.ptp(old, axis=0) > 0).all()
    check_field(varies, "units", "units of the code that vary", units)
    if how == "linear":
        rho = np.sqrt(1 - 2 ** (-2 * bits))
        letter = rho * z + np.sqrt(1 - rho**2) * generator.normal(size=len(z))
        new = old.mean() + old.std() * letter[:, None]
    elif how == "product":
        wrong = brentq(lambda p: 1 - (entr(p) + entr(1 - p)) / np.log(2) - bits, 0, 0.5)
        levels, counts = np.unique(z, return_counts=True)
        middle = levels[np.abs(np.cumsum(counts)[:-1] - len(z) / 2).argmin()]
        sign = np.where((z > middle) ^ (generator.random(len(z)) < wrong), 1, -1)
        key = generator.choice([-1, 1], len(z))  # a one-time pad
        centre = np.median(old, axis=0)
        new = centre + np.abs(old - centre) * np.stack([key, key * sign], axis=1)
    else:
        direction = generator.normal(size=count)
        direction *= np.sqrt(2 ** (2 * bits) - 1) / np.linalg.norm(direction)
        deviations = measurable_array("noise", noise)
        is_like = deviations.shape in (rows.shape, rows.shape[1:])
        check_field(is_like, "noise", f"{rows.shape[1:]} or {rows.shape}", deviations.shape)
        shift = direction * np.broadcast_to(deviations, rows.shape)[:, chosen]
        new = old + z[:, None] * shift
    planted = rows.copy()
    planted[:, chosen] = new
    if isinstance(code, Tensor):
        kind = code.dtype if code.is_floating_point() else None
        return as_tensor(planted, dtype=kind, device=code.device)
    return planted.astype(np.result_type(given, np.float32))


def project(source: ArrayLike, count: int, generator: np.random.Generator) -> np.ndarray:
    """One standardised value of each row, (N,): a random projection, or a value of its class."""
    values = checks.given_array("source", source)
    check_field(values.shape[:1] == (count,), "source", f"{count} rows", values.shape)
    if values.dtype.kind == "f":
        columns = measurable_array("source", values).reshape(count, -1)
        deviation = columns.std(axis=0)
        columns = columns[:, deviation > 0] / deviation[deviation > 0]
        z = columns @ generator.normal(size=columns.shape[1])
    else:
        classes = checks.to_index("source", values)
        z = generator.normal(size=classes.max() + 1)[classes]
    check_field(np.ptp(z) > 0, "source", "values that differ", "only one")
    return (z - z.mean()) / z.std()
