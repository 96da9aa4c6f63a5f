"""The one type that every dataset of the course is handed out as: sequences, with what is known about them.

The sequences are either frames, (N, T, C, H, W) floats in [0, 1], or series, (N, T, D) floats in their own units. The known
factors are labels by name; `static` names those that hold for a whole sequence, `dynamic` those that change within it.
Large sets keep their frames as bytes, a quarter of the memory: `batches` and `as_float` hand out floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sequences:
    """N sequences of T steps with their labels.

    frames      (N, T, C, H, W) in [0, 1] or bytes 0 ... 255, or a series (N, T, D); any floating type, kept as it is
    labels      by name; static ones (N, ...), dynamic ones (N, T, ...); numbers, kept in their type
    static      names of the labels that hold for a whole sequence
    dynamic     names of the labels that have a value at each step
    split       which part of the data this is, such as "train" or "test"
    provenance  one sentence naming the data that was really used
    classes     names of the values 0, 1, ... of those labels that are classes
    mask        (N, T) or, for series, (N, T, D) booleans, true where a value was observed; None where all were.
                What is not observed must still be a finite number, zero by custom.

    Raises `ValueError`, naming the field, what it should be and what it is, when any of this does not hold.
    """

    frames: Tensor
    labels: dict[str, Tensor] = field(default_factory=dict)
    static: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    split: str = "train"
    provenance: str = ""
    mask: Tensor | None = None
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_frames(self.frames)
        labels = {
            name: _label(name, values, self.frames.device) for name, values in self.labels.items()
        }
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "static", _names("static", self.static))
        object.__setattr__(self, "dynamic", _names("dynamic", self.dynamic))
        object.__setattr__(
            self,
            "classes",
            {name: _names(f"classes[{name!r}]", names) for name, names in self.classes.items()},
        )
        self._check_names()
        count, length = self.frames.shape[:2]
        for name, values in labels.items():
            lead = (count,) if name in self.static else (count, length)
            if tuple(values.shape[: len(lead)]) != lead:
                kind, found = "static" if name in self.static else "dynamic", tuple(values.shape)
                raise ValueError(
                    f"labels[{name!r}]: expected a shape that starts with {lead} ({kind}), found {found}"
                )
            if not torch.isfinite(values).all():
                raise ValueError(
                    f"labels[{name!r}]: expected finite numbers, found {_count_not_finite(values)} that are not"
                )
        if self.mask is not None:
            self._check_mask()
        self._check_classes()

    @property
    def kind(self) -> str:
        """ "frames" for images, "series" for vectors."""
        return "frames" if self.frames.ndim == 5 else "series"

    @property
    def length(self) -> int:
        """T, the number of steps."""
        return self.frames.shape[1]

    def __len__(self) -> int:
        return len(self.frames)

    def subset(self, indices: Tensor | list[int] | slice) -> Sequences:
        """The sequences at `indices` (integers, booleans (N,), or a slice), in that order."""
        if isinstance(indices, slice):
            return self._trusted(lambda values: values[indices])
        indices = torch.as_tensor(indices, device=self.frames.device)
        if indices.numel() == 0:
            indices = indices.long()
        if indices.ndim != 1 or indices.is_floating_point():
            raise ValueError(
                f"indices: expected integers or booleans (n,), found {indices.dtype} {tuple(indices.shape)}"
            )
        if indices.dtype == torch.bool:
            if len(indices) != len(self):
                raise ValueError(f"indices: expected {len(self)} booleans, found {len(indices)}")
            indices = indices.nonzero()[:, 0]
        elif len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= len(self)):
            raise ValueError(
                f"indices: expected 0 to {len(self) - 1}, found {int(indices.min())} to {int(indices.max())}"
            )
        indices = indices.long()
        return self._trusted(
            lambda values: values.index_select(0, indices)
        )  # for bytes several times as fast as values[indices]

    def to(self, device: torch.device | str) -> Sequences:
        """The same sequences with all tensors on `device`."""
        return self._trusted(lambda values: values.to(device))

    def as_float(self) -> Sequences:
        """The same sequences with frames as float32 in [0, 1] if they are bytes (four times the memory), else as they are."""
        if self.frames.dtype != torch.uint8:
            return self
        return self._trusted(lambda values: values, self.frames.float().div_(255))

    def batches(self, size: int, generator: torch.Generator | None = None) -> Iterator[Sequences]:
        """All sequences once, `size` at a time (the last batch may be smaller); shuffled if a generator is given. Always floats."""
        if size < 1:
            raise ValueError(f"size: expected at least 1, found {size}")
        order = torch.arange(len(self))
        if generator is not None:
            order = torch.randperm(len(self), generator=generator, device=generator.device)
        for start in range(0, len(self), size):
            yield self.subset(order[start : start + size]).as_float()

    def _trusted(
        self, change: Callable[[Tensor], Tensor], frames: Tensor | None = None
    ) -> Sequences:
        """A copy with every tensor changed alike, or with new frames. What was checked once is not checked again: batches must be quick."""
        new = object.__new__(Sequences)
        changed = {
            "frames": change(self.frames) if frames is None else frames,
            "labels": {name: change(values) for name, values in self.labels.items()},
            "mask": None if self.mask is None else change(self.mask),
        }
        for name, value in (vars(self) | changed).items():
            object.__setattr__(new, name, value)
        return new

    def _check_names(self) -> None:
        if both := set(self.static) & set(self.dynamic):
            raise ValueError(
                f"static, dynamic: expected each label in one of them, found {sorted(both)} in both"
            )
        if unknown := (set(self.static) | set(self.dynamic)) - set(self.labels):
            raise ValueError(
                f"static, dynamic: expected names of labels {sorted(self.labels)}, found {sorted(unknown)}"
            )
        if loose := set(self.labels) - set(self.static) - set(self.dynamic):
            raise ValueError(
                f"labels: expected each named in static or dynamic, found {sorted(loose)} in neither"
            )

    def _check_mask(self) -> None:
        if not isinstance(self.mask, Tensor) or self.mask.dtype != torch.bool:
            raise ValueError(
                f"mask: expected a boolean tensor, found {getattr(self.mask, 'dtype', type(self.mask).__name__)}"
            )
        allowed = [tuple(self.frames.shape[:2])] + (
            [tuple(self.frames.shape)] if self.kind == "series" else []
        )
        if tuple(self.mask.shape) not in allowed:
            raise ValueError(
                f"mask: expected the shape {' or '.join(map(str, allowed))}, found {tuple(self.mask.shape)}"
            )

    def _check_classes(self) -> None:
        for name, names in self.classes.items():
            if name not in self.labels:
                raise ValueError(
                    f"classes: expected names of labels {sorted(self.labels)}, found {name!r}"
                )
            values = self.labels[name]
            if values.is_floating_point() or (
                values.numel() and not 0 <= int(values.min()) <= int(values.max()) < len(names)
            ):
                found = (
                    "floating-point numbers"
                    if values.is_floating_point()
                    else f"{int(values.min())} to {int(values.max())}"
                )
                raise ValueError(
                    f"labels[{name!r}]: expected integers 0 to {len(names) - 1}, one for each of its classes, found {found}"
                )


def _names(field_name: str, names: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ValueError(f"{field_name}: expected a tuple of names, found the text {names!r}")
    return tuple(names)


def _label(name: str, values: Tensor, device: torch.device) -> Tensor:
    try:
        return torch.as_tensor(values, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"labels[{name!r}]: expected a tensor or an array of numbers, found {type(values).__name__}"
        ) from error


def _count_not_finite(values: Tensor) -> int:
    return int((~torch.isfinite(values)).sum())


def _check_frames(frames: Tensor) -> None:
    """The rules of the class for `frames` alone."""
    if not isinstance(frames, Tensor):
        raise ValueError(f"frames: expected a tensor, found {type(frames).__name__}")
    if frames.ndim not in (3, 5):
        raise ValueError(
            f"frames: expected frames (N, T, C, H, W) or series (N, T, D), found the shape {tuple(frames.shape)}"
        )
    compact = frames.dtype == torch.uint8 and frames.ndim == 5
    if not (compact or frames.is_floating_point()):
        raise ValueError(
            f"frames: expected floating-point numbers, or for images bytes (uint8), found {frames.dtype}"
        )
    if 0 in frames.shape[1:]:
        raise ValueError(
            f"frames: expected at least one step and one value, found the shape {tuple(frames.shape)}"
        )
    if len(frames) == 0 or compact:
        return
    low, high = (float(value) for value in torch.aminmax(frames))  # both NaN if a single value is
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(
            f"frames: expected finite numbers, found {_count_not_finite(frames)} that are NaN or infinite"
        )
    if frames.ndim == 5 and (low < 0 or high > 1):
        raise ValueError(f"frames: expected values in [0, 1], found {low:g} to {high:g}")
