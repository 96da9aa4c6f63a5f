"""What one does to codes before decoding them: swap, hold, move one, roll forward, traverse, interpolate, draw anew.

Codes are the dictionaries of models/interface.py. Every function leaves the given codes alone and returns `ChangedCodes`: new
codes, with a record of what was done that a figure can use as its caption and its tick labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unbraid.models.interface import Codes, SequenceModel


@dataclass(frozen=True)
class Record:
    """What was done to codes.

    act: the function's name. names: the codes that were changed. values: what distinguishes the rows of the result, one
    number a row; empty where rows are simply sequences. steps: first and last step, from 0, of those that were changed;
    None where all were, or the code has none. caption: a sentence that says it all.
    """

    act: str
    names: tuple[str, ...]
    caption: str
    values: tuple[float, ...] = ()
    steps: tuple[int, int] | None = None


class ChangedCodes(dict[str, Tensor]):
    """Codes, as any others, with the `record` of the last thing that was done to them."""

    def __init__(self, codes: Codes, record: Record):
        super().__init__(codes)
        self.record = record


@dataclass(frozen=True, eq=False)
class Directions:
    """Principal directions of codes: vectors (count, d) of length 1, the most varied first.

    centres, deviations: (count,) mean and standard deviation of the codes along each; `traverse` to centre + 2 deviations.
    """

    vectors: Tensor
    centres: Tensor
    deviations: Tensor


def swap(codes_a: Codes, codes_b: Codes, name: str) -> tuple[ChangedCodes, ChangedCodes]:
    """The two sets of codes with the code called `name` exchanged; both (B, ...), shapes as they were."""
    check_same_shape("swap", codes_a, codes_b, name)
    record = Record(
        "swap",
        (name,),
        f"Each sequence has {say(name)} of the other and keeps the rest of its own.",
    )
    return ChangedCodes({**codes_a, name: codes_b[name]}, record), ChangedCodes(
        {**codes_b, name: codes_a[name]}, record
    )


def hold(codes: Codes, name: str, at: int) -> ChangedCodes:
    """The code called `name` (B, T, d) held at its value of step `at` (counted from 0) in all later steps."""
    check_name(codes, name)
    length = check_dynamic(codes, name).shape[1]
    if not 0 <= at < length:
        raise ValueError(f"at: expected a step from 0 to {length - 1}, found {at}")
    steps = torch.arange(length, device=codes[name].device).clamp(max=at)
    caption = f"From frame {at + 1} on {say(name)} stands still."
    return ChangedCodes(
        {**codes, name: codes[name][:, steps]},
        Record("hold", (name,), caption, steps=(at + 1, length - 1)),
    )


def move_one(codes: Codes, name: str, primed: int = 2) -> ChangedCodes:
    """Independent generation (paper A, figure 3): after `primed` frames every code but `name` is held, `name` goes on.

    A static code (B, D) is held by its nature.
    """
    check_name(codes, name)
    others, held = (
        tuple(other for other in codes if other != name and codes[other].ndim == 3),
        codes,
    )
    for other in others:
        held = hold(held, other, primed - 1)
    last = max((code.shape[1] for code in codes.values() if code.ndim == 3), default=1) - 1
    caption = f"After {primed} frames only {say(name)} goes on; all else stands still."
    return ChangedCodes(held, Record("move_one", others, caption, steps=(primed, last)))


@torch.no_grad()
def roll_forward(
    model: SequenceModel,
    codes: Codes,
    name: str,
    primed: int,
    length: int,
    sample: bool = False,
    generator: torch.Generator | None = None,
) -> ChangedCodes:
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
    joined = {
        key: torch.cat([start[key], rolled[key] if key == name else held[key]], 1) for key in codes
    }
    caption = f"After {primed} frames only {say(name)} goes on, as its own past foretells; all else stands still."
    return ChangedCodes(
        joined, Record("roll_forward", tuple(codes), caption, steps=(primed, length - 1))
    )


def traverse(
    codes: Codes, name: str, unit: int | Tensor, values: Tensor, relative: bool = False
) -> ChangedCodes:
    """One sequence's codes (1, T, d) or (1, D), repeated for each of `values` (V,), with one coordinate of `name` set to it.

    unit: the number of a unit, or a direction (d,) of any length but 0, such as one of `principal_directions` or
        `random_directions`; the coordinate along a direction is the projection on it.
    relative: add the value to the coordinate at each step, which keeps a dynamic code moving, rather than set it.
    """
    check_one(codes, name)
    width = codes[name].shape[-1]
    values = torch.as_tensor(values).to(codes[name]).flatten()
    repeated = repeat(codes, len(values))
    code, value = repeated[name], values.view(-1, *[1] * (repeated[name].ndim - 2))
    if torch.as_tensor(unit).ndim:
        direction = unit_length("unit", unit, width).to(code)
        repeated[name] = (
            code + (value if relative else value - code @ direction)[..., None] * direction
        )
        what = f"The coordinate of {say(name)} along a direction"
    else:
        if not 0 <= unit < width:
            raise ValueError(f"unit: expected 0 to {width - 1}, found {unit}")
        code[..., unit] = code[..., unit] + value if relative else value
        what = f"Unit {int(unit)} of {say(name)}"
    caption = (
        f"{what} is {'moved by' if relative else 'set to'} {listed(values)}; all else is the same."
    )
    return ChangedCodes(repeated, Record("traverse", (name,), caption, tuple(values.tolist())))


def great_circle(codes: Codes, name: str, towards: Tensor, angles: Tensor) -> ChangedCodes:
    """One sequence's codes, repeated for each of `angles` (V,) in radians, with `name` turned by it: (V, T, d) or (V, D).

    z(angle) = cos(angle) z + sin(angle) |z| u, where u is what of `towards` (d,) is at right angles to z, at length 1. A
    straight line leaves the shell of radius sqrt(d) on which nearly all of a Gaussian code lies; this path keeps its
    length at each step, comes to u at pi / 2, to -z at pi and back to z at 2 pi.
    """
    check_one(codes, name)
    angles = torch.as_tensor(angles).to(codes[name]).flatten()
    repeated = repeat(codes, len(angles))
    code, angle = repeated[name], angles.view(-1, *[1] * (repeated[name].ndim - 1))
    length = code.norm(dim=-1, keepdim=True)
    towards = unit_length("towards", towards, code.shape[-1]).to(code)
    across = towards - (code @ towards)[..., None] * code / length.square()
    if not (
        across.norm(dim=-1) > 1e-2
    ).all():  # catches a code of length 0 as well, which makes it NaN
        raise ValueError(
            "towards: expected a direction not along the code, and a code that is not zero, found the one or the other"
        )
    across = across / across.norm(dim=-1, keepdim=True)
    repeated[name] = angle.cos() * code + angle.sin() * length * across
    caption = f"Turned by {listed(angles.rad2deg())} degrees at the same length: {say(name)}; all else is the same."
    return ChangedCodes(repeated, Record("great_circle", (name,), caption, tuple(angles.tolist())))


def interpolate(
    codes_a: Codes, codes_b: Codes, name: str, shares: Tensor, spherical: bool = False
) -> ChangedCodes:
    """The codes of a sequence a, repeated for each of `shares` (V,), with `name` so far on the way to that of a sequence b.

    codes_a, codes_b: (1, ...) each. Share 0 is a's code, 1 is b's, exactly. spherical: along the arc between them, step by
    step (Shoemake, "Animating rotation with quaternion curves", 1985), which keeps the length of two codes of one length.
    """
    check_same_shape("interpolate", codes_a, codes_b, name)
    check_one(codes_a, name)
    shares = torch.as_tensor(shares).to(codes_a[name]).flatten()
    repeated = repeat(codes_a, len(shares))
    share = shares.view(-1, *[1] * (codes_a[name].ndim - 1))
    repeated[name] = (slerp if spherical else torch.lerp)(codes_a[name], codes_b[name], share)
    path = "an arc" if spherical else "a straight line"
    caption = f"Along {path} from one sequence's to another's, shares {listed(shares)}: {say(name)}; all else is the first's."
    return ChangedCodes(repeated, Record("interpolate", (name,), caption, tuple(shares.tolist())))


@torch.no_grad()
def generate_given(
    model: SequenceModel,
    codes: Codes,
    kept: str | Sequence[str],
    generator: torch.Generator | None = None,
) -> ChangedCodes:
    """Keep the codes named in `kept` and draw all others from the model's prior (papers B and C: static or dynamic).

    codes: (B, ...), all of the model's, with at least one dynamic code, whose T is the length drawn. What is kept comes
    back as it is. The model's `generate` is told what is kept, for its prior may tie codes together: B's p(dynamic | static).
    """
    kept = (kept,) if isinstance(kept, str) else tuple(kept)
    for name in kept:
        check_name(codes, name)
    drawn_names = tuple(name for name in codes if name not in kept)
    lengths = {code.shape[1] for code in codes.values() if code.ndim == 3}
    if not kept or not drawn_names:
        raise ValueError(
            f"kept: expected some of {', '.join(codes)}, not none and not all, found {', '.join(kept) or 'none'}"
        )
    if len(lengths) != 1:
        raise ValueError(
            f"codes: expected dynamic codes (B, T, d) of one length T, found lengths {sorted(lengths)}"
        )
    given = {name: codes[name] for name in kept}
    drawn = model.generate(len(codes[kept[0]]), lengths.pop(), generator, given)
    for name in drawn_names:
        if drawn[name].shape != codes[name].shape:
            raise ValueError(
                f"{name}: expected {tuple(codes[name].shape)} from the prior, found {tuple(drawn[name].shape)}"
            )
    caption = f"Kept: {', '.join(map(say, kept))}. Drawn from the prior: {', '.join(map(say, drawn_names))}."
    return ChangedCodes(
        {name: given.get(name, drawn[name]) for name in codes},
        Record("generate_given", drawn_names, caption),
    )


def principal_directions(code: Tensor, count: int) -> Directions:
    """The `count` directions in which codes (N, D) or (B, T, d) vary most; each step of a dynamic code is a row.

    Signs are such that the largest component is positive. Raises ValueError for count > min(N - 1, D), NaN or infinity.
    """
    rows = code.detach().flatten(0, -2)
    most = min(len(rows) - 1, rows.shape[1])
    if not 1 <= count <= most:
        raise ValueError(f"count: expected 1 to {most} for {tuple(code.shape)}, found {count}")
    if not rows.isfinite().all():
        raise ValueError(
            "code: expected finite numbers, found NaN or infinity; leave such sequences out"
        )
    mean = rows.mean(0)
    _, singular, vectors = torch.linalg.svd(rows - mean, full_matrices=False)
    vectors = vectors[:count]
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    vectors = vectors * largest.sign()
    return Directions(vectors, vectors @ mean, singular[:count] / math.sqrt(len(rows) - 1))


def random_directions(count: int, size: int, generator: torch.Generator | None = None) -> Tensor:
    """`count` directions of length 1, (count, size), all directions equally likely."""
    return torch.nn.functional.normalize(torch.randn(count, size, generator=generator), dim=-1)


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """(sin((1 - share) w) a + sin(share w) b) / sin w, w the angle between a and b (..., d); a line where w is near 0."""
    norms = a.norm(dim=-1, keepdim=True) * b.norm(dim=-1, keepdim=True)
    cosine = ((a * b).sum(-1, keepdim=True) / norms).clamp(-1, 1)
    if not (cosine > -1 + 1e-6).all():  # NaN too
        raise ValueError(
            "interpolate: expected codes with an arc between them, found opposite ones or one of length 0; use a line"
        )
    angle = cosine.arccos()
    arc = ((1 - share) * angle).sin() / angle.sin() * a + (share * angle).sin() / angle.sin() * b
    return torch.where(angle < 1e-3, torch.lerp(a, b, share), arc)


def repeat(codes: Codes, times: int) -> Codes:
    """One sequence's codes (1, ...) as (times, ...), a copy."""
    return {name: code.repeat(times, *[1] * (code.ndim - 1)) for name, code in codes.items()}


def say(name: str) -> str:
    """A code's name in a sentence: factor_0 -> "factor 0", static -> "the static code"."""
    return f"the {name} code" if name in ("static", "dynamic") else name.replace("_", " ")


def listed(values: Tensor) -> str:
    """Numbers in a caption: all of up to five, or the first, how many, and the last."""
    words = [f"{value:.3g}".replace("-", "−") for value in values.tolist()]
    return (
        ", ".join(words) if len(words) <= 5 else f"{words[0]} to {words[-1]} in {len(words)} steps"
    )


def check_name(codes: Codes, name: str) -> None:
    """Refuse a name the codes do not have."""
    if name not in codes:
        raise ValueError(f"name: expected one of {', '.join(codes)}, found {name!r}")


def check_dynamic(codes: Codes, name: str) -> Tensor:
    """The code called `name` if it has a value at each step, (B, T, d)."""
    if codes[name].ndim != 3:
        raise ValueError(
            f"{name}: expected a code with steps (B, T, d), found {tuple(codes[name].shape)}"
        )
    return codes[name]


def check_one(codes: Codes, name: str) -> None:
    """Refuse a name the codes do not have, and codes of more than one sequence."""
    check_name(codes, name)
    if any(len(code) != 1 for code in codes.values()):
        raise ValueError(
            f"codes: expected one sequence (1, ...), found {[len(code) for code in codes.values()]}"
        )


def check_same_shape(act: str, codes_a: Codes, codes_b: Codes, name: str) -> None:
    """Refuse two sets of codes whose codes called `name` are missing or differ in shape."""
    check_name(codes_a, name)
    check_name(codes_b, name)
    if codes_a[name].shape != codes_b[name].shape:
        raise ValueError(
            f"{act} {name}: expected one shape, found {tuple(codes_a[name].shape)} and {tuple(codes_b[name].shape)}"
        )


def unit_length(thing: str, direction: Tensor, width: int) -> Tensor:
    """A direction (width,) at length 1."""
    direction = torch.as_tensor(direction) * 1.0
    if tuple(direction.shape) != (width,) or not direction.norm() > 0:
        found = f"{tuple(direction.shape)} of length {direction.norm():.3g}"
        raise ValueError(
            f"{thing}: expected a direction ({width},) of a length above 0, found {found}"
        )
    return direction / direction.norm()
