"""What one does to codes before decoding them: swap, let one move, traverse; and grids of codes.

Every function returns new codes and leaves the given ones as they were.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from unbraid.checks import check_field, check_name, check_whole, finite_array
from unbraid.models.base import Codes

MIDDLE = (0.025, 0.975)  # a grid covers the codes between these quantiles


def swap(codes_a: Codes, codes_b: Codes, name: str) -> tuple[Codes, Codes]:
    """The two sets with the code `name` exchanged; `ValueError` if missing or of two shapes.

    Codes do not say which model they are of: both sets have to be of one model.
    """
    check_name("name", name, codes_a)
    check_name("name", name, codes_b)
    shapes = tuple(codes_a[name].shape), tuple(codes_b[name].shape)
    check_field(shapes[0] == shapes[1], name, f"the shape {shapes[0]} in both", shapes[1])
    return {**codes_a, name: codes_b[name]}, {**codes_b, name: codes_a[name]}


def move_one(codes: Codes, name: str) -> Codes:
    """Every other code with steps (B, T, d) keeps its second value (paper A, figure 3).

    Raises `ValueError` for a code that is missing, and for codes of a single step.
    """
    check_name("name", name, codes)
    moving = dict(codes)
    for other, code in codes.items():
        if other != name and code.ndim == 3:
            check_field(code.shape[1] > 1, other, "two steps or more", tuple(code.shape))
            moving[other] = torch.cat([code[:, :1], code[:, 1:2].expand_as(code[:, 1:])], 1)
    return moving


def traverse(codes: Codes, name: str, unit: int, values: Tensor) -> Codes:
    """One sequence's codes (1, ...), repeated for each of `values` (V,), one unit set to it.

    unit: its number in the code `name`. Raises `ValueError` for a code or unit that is missing, for
    more than one sequence, and for values that are not finite.
    """
    check_name("name", name, codes)
    counts = [len(code) for code in codes.values()]
    check_field(set(counts) == {1}, "codes", "one sequence (1, ...)", counts)
    size = codes[name].shape[-1]
    check_field(0 <= unit < size, "unit", f"0 to {size - 1}", unit)
    finite_array("values", values)
    wanted = values.to(codes[name]).flatten()
    repeated = {}
    for other, code in codes.items():
        repeated[other] = code.repeat(len(wanted), *[1] * (code.ndim - 1))
    repeated[name][..., unit] = wanted.view(-1, *[1] * (codes[name].ndim - 2))
    return repeated


class Directions(NamedTuple):
    """Principal directions of codes: vectors (count, d) of length 1, the most varied first.

    centres, deviations: (count,), mean and standard deviation of the codes along each.
    """

    vectors: Tensor
    centres: Tensor
    deviations: Tensor


def principal_directions(code: Tensor, count: int) -> Directions:
    """The `count` directions in which codes (N, D) or (B, T, d) vary most; each step is a row.

    Signs are such that the largest component is positive. Raises `ValueError` for codes of one
    axis, count > min(N - 1, D), codes that do not vary, NaN or infinity.
    """
    check_field(code.ndim >= 2, "code", "(N, D) or (B, T, d)", tuple(code.shape))
    rows = code.detach().flatten(0, -2)
    most = min(len(rows) - 1, rows.shape[1])
    check_field(1 <= count <= most, "count", f"1 to {most} for {tuple(code.shape)}", count)
    finite_array("code", rows)
    check_field((rows != rows[0]).any(), "code", "rows that differ", "the same in all")
    mean = rows.mean(0)
    _, singular, vectors = torch.linalg.svd(rows - mean, full_matrices=False)
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    vectors = (vectors * largest.sign())[:count]
    return Directions(vectors, vectors @ mean, singular[:count] / math.sqrt(len(rows) - 1))


def grid_points(dynamic: Tensor, side: int) -> Tensor:
    """A regular grid over the middle 95 % of codes (Q, d): points (side^2, d).

    The first unit grows to the right. Codes of more than two units have a grid along their two
    principal directions. Raises `ValueError` for side < 1, NaN, and other shapes.
    """
    check_whole(1, side=side)
    holds = dynamic.ndim == 2 and dynamic.numel() > 0
    check_field(holds, "dynamic", "codes (Q, d)", tuple(dynamic.shape))
    finite_array("dynamic", dynamic)
    count, mean = min(2, dynamic.shape[1]), dynamic.mean(0)
    axes = torch.eye(count) if dynamic.shape[1] <= 2 else principal_directions(dynamic, 2).vectors
    low, high = torch.quantile((dynamic - mean) @ axes.T, torch.tensor(MIDDLE), dim=0)
    lines = [torch.linspace(float(low[axis]), float(high[axis]), side) for axis in range(count)]
    coordinates = torch.stack(torch.meshgrid(*lines, indexing="xy"), -1).reshape(-1, count)
    return mean + coordinates @ axes
