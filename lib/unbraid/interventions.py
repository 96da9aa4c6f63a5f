"""Changes of codes before they are decoded: each function returns new codes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unbraid.checks import check_field, check_name, check_type, check_whole, finite_array
from unbraid.models.base import Codes


def swap(codes_a: Codes, codes_b: Codes, name: str) -> tuple[Codes, Codes]:
    """The two sets, of one model, with the code `name`, of one shape in both, exchanged."""
    check_code(codes_a, name)
    check_code(codes_b, name)
    shape, other = tuple(codes_a[name].shape), tuple(codes_b[name].shape)
    check_field(shape == other, name, f"the shape {shape} in both", other)
    return {**codes_a, name: codes_b[name]}, {**codes_b, name: codes_a[name]}


def check_code(codes: Codes, name: str) -> None:
    """Refuse anything that is not a dict of codes, and a dict without a code of that name."""
    check_type(Mapping, codes=codes)
    check_type(Tensor, **codes)
    check_name("name", name, codes)


def move_one(codes: Codes, name: str) -> Codes:
    """Every other code with steps (B, T, d) keeps its second value (paper A, figure 3)."""
    check_code(codes, name)
    moving = dict(codes)
    for other, code in codes.items():
        if other != name and code.ndim == 3:
            check_field(code.shape[1] > 1, other, "two steps or more", tuple(code.shape))
            moving[other] = torch.cat([code[:, :1], code[:, 1:2].expand_as(code[:, 1:])], 1)
    return moving


def traverse(codes: Codes, name: str, unit: int, values: Tensor) -> Codes:
    """The codes (1, ...) of one sequence, or ValueError, for each of `values` (V,) of one unit."""
    check_code(codes, name)
    counts, size = [len(code) for code in codes.values()], codes[name].shape[-1]
    check_field(set(counts) == {1}, "codes", "one sequence (1, ...)", counts)
    check_whole((0, size - 1), unit=unit)
    wanted = torch.from_numpy(finite_array("values", values)).to(codes[name])
    is_row = wanted.ndim == 1 and len(wanted) > 0
    check_field(is_row, "values", "one or more, (V,)", tuple(wanted.shape))
    repeated = {other: code.repeat_interleave(len(wanted), 0) for other, code in codes.items()}
    repeated[name][..., unit] = wanted.view(-1, *[1] * (codes[name].ndim - 2))
    return repeated
