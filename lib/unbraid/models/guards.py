"""What models refuse: batches, codes, noise and configs of another form than they can read.

Each error names the argument, what was expected, what was found and, where it can, what to do.
"""

import math
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any

import torch
from torch import Tensor, nn

from unbraid.checks import check_field, check_name, check_number, check_type, check_whole, refuse
from unbraid.distributions import has_values


def check_batch(frames: Any, mask: Any) -> None:
    """Refuse anything that is not a tensor of frames, and a mask that does not fit it."""
    if not isinstance(frames, Tensor):
        advice = "torch.from_numpy makes one of an array, torch.stack of frames of one size"
        refuse("batch", "a tensor, a Batch or Sequences", f"{type(frames).__name__}; {advice}")
    check_type(Tensor, frames=frames)
    if mask is None:
        return
    shapes = tuple(frames.shape[:2]), tuple(frames.shape)
    is_mask = isinstance(mask, Tensor) and mask.dtype == torch.bool
    if not is_mask or tuple(mask.shape) not in shapes:
        own = f"{getattr(mask, 'dtype', type(mask))} {tuple(getattr(mask, 'shape', ()))}"
        refuse("mask", f"a tensor of booleans {shapes[0]} or {shapes[1]}", own)


def check_value(each: Field, value: Any) -> None:
    """Refuse a config's value of another type than its default's, and whole numbers too small."""
    if isinstance(each.default, (bool, str, tuple)):
        check_type(type(each.default), **{each.name: value})
    elif isinstance(each.default, int):
        check_whole(each.metadata.get("least", 1), **{each.name: value})
    elif isinstance(each.default, float):
        check_number(**{each.name: value})


def check_config(config: Any, config_class: type, values: Mapping[str, Any]) -> None:
    """Refuse what a model cannot be made of: one config of its class, or fields of that class."""
    if config is None:
        names = [each.name for each in fields(config_class)]
        for name in values:
            check_name(f"fields of {config_class.__name__}", name, names)
    elif values or not isinstance(config, config_class):
        given = ", ".join([type(config).__name__, *values])
        refuse("config", f"one {config_class.__name__}, or its fields by name", given)


class Guarded(nn.Module):
    """A module that refuses what it was not made for; models inherit these checks."""

    code_names: tuple[str, ...]
    code_sizes: Mapping[str, int] = {}  # units of each code; codes without one go unchecked
    frame_shape: tuple[int, ...]  # (C, H, W) of images, (D,) of series

    def check_frames(self, frames: Tensor) -> None:
        """Refuse frames of another shape or type than this model's, and values it cannot read."""
        shape, own = tuple(frames.shape), self.frame_shape
        if shape[2:] != own or 0 in shape:
            advice = "resize the batch, or build the model for it"
            if len(shape) == 5 and len(own) == 3 and shape[4] == own[0] != shape[2]:
                advice = "the channels come last there; frames.movedim(-1, 2) puts them first"
            refuse("frames", f"(B, T) and {own}, none of them 0", f"{shape}; {advice}")
        self.check_own_type("frames", frames, "; convert them, and divide bytes by 255")
        if not has_values(frames):
            return
        low, high = map(float, torch.aminmax(frames.detach()))  # NaN if one value is
        if not math.isfinite(high - low):
            refuse("frames", "finite numbers", "others; set them to 0 and give a mask")
        if len(own) == 3 and (low < 0 or high > 1):
            refuse("frames", "values in [0, 1]", f"{low:.3g} to {high:.3g}; divide bytes by 255")

    def check_codes(self, codes: dict[str, Tensor]) -> None:
        """Refuse codes of other names, shapes or types than this model's, NaN and infinity."""
        check_type(Mapping, codes=codes)
        if set(codes) != set(self.code_names):
            refuse("codes", ", ".join(self.code_names), ", ".join(map(str, codes)))
        count, length = (*getattr(codes[self.code_names[-1]], "shape", ()), 0, 0)[:2]
        for name, code in codes.items():
            self.check_code("codes", name, code, count, length)

    def check_given(
        self, given: dict[str, Tensor] | None, count: int, length: int
    ) -> dict[str, Tensor]:
        """The codes to keep; refuses what `check_codes` refuses."""
        check_whole(1, count=count, length=length)
        check_type((Mapping, type(None)), given=given)
        for name, code in (given or {}).items():
            check_name("given", name, self.code_names)
            self.check_code("given", name, code, count, length)
        return dict(given or {})

    def check_code(self, field: str, name: str, code: Tensor, count: int, length: int) -> None:
        """Refuse anything that is not this code of `count` sequences of `length` steps."""
        field = f"{field}[{name!r}]"
        own = getattr(code, "shape", ())
        has_steps = name != "static" if name in self.code_sizes else len(own) > 2
        size = self.code_sizes.get(name, (0, *own)[-1])
        shape = (count, length, size) if has_steps else (count, size)
        self.check_tensor(field, code, shape)

    def check_tensor(self, field: str, value: Any, shape: tuple[int, ...]) -> None:
        """Refuse a tensor of another shape or type than the weights', NaN and infinity."""
        check_type(Tensor, **{field: value})
        check_field(tuple(value.shape) == shape, field, shape, tuple(value.shape))
        self.check_own_type(field, value)
        if has_values(value) and not value.isfinite().all():
            refuse(field, "finite numbers", "others")

    def check_own_type(self, field: str, value: Tensor, advice: str = "") -> None:
        """Refuse a tensor of another type than the weights, unless mixed precision converts it."""
        own = next(self.parameters()).dtype
        if value.dtype != own and not torch.is_autocast_enabled(value.device.type):
            refuse(field, f"{own}, as the model's weights", f"{value.dtype}{advice}")
