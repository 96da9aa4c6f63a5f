"""Where codes lie: the directions in which they vary most, and grids of points among them."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from unbraid.checks import check_field, check_type, check_whole, finite_array

MIDDLE = (0.025, 0.975)  # a grid covers the codes between these quantiles


class Directions(NamedTuple):
    """Principal directions of codes: vectors (count, d) of length 1, the most varied first.

    centres, deviations: (count,), mean and standard deviation of the codes along each.
    """

    vectors: Tensor
    centres: Tensor
    deviations: Tensor


def principal_directions(code: Tensor, count: int) -> Directions:
    """The `count` directions in which codes (N, D) or (B, T, d) vary most; each step is a row.

    Signs are such that the largest component is positive. Raises `ValueError` for codes that do not
    vary, and for count > min(N - 1, D).
    """
    check_type(Tensor, code=code)
    check_whole(1, count=count)
    check_field(code.ndim >= 2, "code", "(N, D) or (B, T, d)", tuple(code.shape))
    rows = code.detach().flatten(0, -2)
    most = min(len(rows) - 1, rows.shape[1])
    check_field(count <= most, "count", f"1 to {most} for {tuple(code.shape)}", count)
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
    principal directions.
    """
    check_whole(1, side=side)
    check_type(Tensor, dynamic=dynamic)
    holds = dynamic.ndim == 2 and dynamic.numel() > 0
    check_field(holds, "dynamic", "codes (Q, d)", tuple(dynamic.shape))
    finite_array("dynamic", dynamic)
    count, mean = min(2, dynamic.shape[1]), dynamic.mean(0)
    axes = torch.eye(count) if dynamic.shape[1] <= 2 else principal_directions(dynamic, 2).vectors
    low, high = torch.quantile((dynamic - mean) @ axes.T, torch.tensor(MIDDLE), dim=0)
    lines = [torch.linspace(float(low[axis]), float(high[axis]), side) for axis in range(count)]
    coordinates = torch.stack(torch.meshgrid(*lines, indexing="xy"), -1).reshape(-1, count)
    return mean + coordinates @ axes
