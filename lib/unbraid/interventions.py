"""What one does to codes before decoding them: swap, hold, move one, traverse, roll forward.

Codes are the dictionaries of models/interface.py. Every function returns new codes and leaves the old ones alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unbraid.models.interface import Codes, SequenceModel


def swap(codes_a: Codes, codes_b: Codes, name: str) -> tuple[Codes, Codes]:
    """The two sets of codes with the code called `name` exchanged; both (B, ...), shapes as they were."""
    check_name(codes_a, name)
    check_name(codes_b, name)
    if codes_a[name].shape != codes_b[name].shape:
        raise ValueError(f"swap {name}: expected one shape, found {tuple(codes_a[name].shape)} and {tuple(codes_b[name].shape)}")
    return {**codes_a, name: codes_b[name]}, {**codes_b, name: codes_a[name]}


def hold(codes: Codes, name: str, at: int) -> Codes:
    """The code called `name` (B, T, d) held at its value of step `at` (counted from 0) in all later steps."""
    check_name(codes, name)
    length = check_dynamic(codes, name).shape[1]
    if not 0 <= at < length:
        raise ValueError(f"at: expected a step from 0 to {length - 1}, found {at}")
    steps = torch.arange(length, device=codes[name].device).clamp(max=at)
    return {**codes, name: codes[name][:, steps]}


def move_one(codes: Codes, name: str, primed: int = 2) -> Codes:
    """Independent generation (paper A, figure 3): after `primed` frames every code but `name` is held, `name` goes on.

    A static code (B, D) is held by its nature.
    """
    check_name(codes, name)
    held = codes
    for other in codes:
        if other != name and codes[other].ndim == 3:
            held = hold(held, other, primed - 1)
    return held


def traverse(codes: Codes, name: str, unit: int, values: Tensor) -> Codes:
    """One sequence's codes (1, T, d), repeated for each of `values` (V,), with one unit of `name` set to it: (V, T, d)."""
    check_name(codes, name)
    if any(len(code) != 1 for code in codes.values()):
        raise ValueError(f"codes: expected one sequence (1, ...), found {[len(code) for code in codes.values()]}")
    if not 0 <= unit < codes[name].shape[-1]:
        raise ValueError(f"unit: expected 0 to {codes[name].shape[-1] - 1}, found {unit}")
    repeated = {key: code.repeat(len(values), *[1] * (code.ndim - 1)) for key, code in codes.items()}
    repeated[name][..., unit] = values.to(repeated[name]).view(-1, *[1] * (repeated[name].ndim - 2))
    return repeated


@torch.no_grad()
def roll_forward(model: SequenceModel, codes: Codes, name: str, primed: int, length: int, sample: bool = False,
                 generator: torch.Generator | None = None) -> Codes:  # fmt: skip
    """Only the factor `name` goes on, by its own transition, from step `primed` on; the others are held there.

    codes: (B, >= primed, d) of a model with roll_forward. Returns (B, length, d): the first `primed` steps as they are.
    """
    check_name(codes, name)
    most = min(length - 1, check_dynamic(codes, name).shape[1])
    if not 1 <= primed <= most:
        raise ValueError(f"primed: expected 1 to {most}, found {primed}")
    start = {key: check_dynamic(codes, key)[:, :primed] for key in codes}
    rolled = model.roll_forward(start, length - primed, sample, generator)
    held = {key: code[:, -1:].expand(-1, length - primed, -1) for key, code in start.items()}
    return {key: torch.cat([start[key], rolled[key] if key == name else held[key]], 1) for key in codes}


def check_name(codes: Codes, name: str) -> None:
    """Refuse a name the codes do not have."""
    if name not in codes:
        raise ValueError(f"name: expected one of {', '.join(codes)}, found {name!r}")


def check_dynamic(codes: Codes, name: str) -> Tensor:
    """The code called `name` if it has a value at each step, (B, T, d)."""
    if codes[name].ndim != 3:
        raise ValueError(f"{name}: expected a code with steps (B, T, d), found {tuple(codes[name].shape)}")
    return codes[name]
