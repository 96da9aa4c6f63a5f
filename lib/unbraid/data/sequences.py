"""The one type of every dataset of the course: sequences with what is known about them.

Sequences are either frames, (N, T, C, H, W) floats in [0, 1], or series, (N, T, D) floats in their
own units. The known factors are labels by name; `static` names those that hold for a whole
sequence, `dynamic` those that change within it. Large sets keep their frames as bytes, which take
a quarter of the memory; samplers and `as_float` hand out floats.
"""

from __future__ import annotations

import copy
import html
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unbraid.readable import html_table


def check_field(holds: bool, name: str, expected: object, found: object) -> None:
    """Raise `ValueError` with the field's name, what was expected and what was found."""
    if not holds:
        raise ValueError(f"{name}: expected {expected}, found {found}")


def check_choice(name: str, value: object, choices: Iterable) -> None:
    """Raise `ValueError` unless `value` is one of `choices`, of the same type (32.0 is not 32)."""
    choices = tuple(choices)
    holds = any(type(value) is type(choice) and value == choice for choice in choices)
    check_field(holds, name, f"one of {', '.join(map(str, choices))}", repr(value))


@dataclass(frozen=True, repr=False)
class Sequences:
    """N sequences of T steps with their labels.

    frames      (N, T, C, H, W) in [0, 1] or bytes 0 ... 255, or a series (N, T, D) of floats
    labels      by name; static ones (N, ...), dynamic ones (N, T, ...); numbers of any type
    static      names of the labels that hold for a whole sequence
    dynamic     names of the labels that have a value at each step
    split       which part of the data this is, such as "train" or "test"
    provenance  one sentence naming the data that was really used
    mask        (N, T) or, for series, (N, T, D) booleans, true where a value was observed; None
                where all were. What is not observed must still be a finite number, zero by custom.
    classes     names of the values 0, 1, ... of those labels that are classes

    Raises `ValueError` with the field's name when any of this does not hold.
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
        self._check_frames()
        labels = {name: torch.as_tensor(values) for name, values in self.labels.items()}
        object.__setattr__(self, "labels", labels)
        self._check_labels()
        if self.mask is not None:
            self._check_mask()
        classes = {name: tuple(names) for name, names in self.classes.items()}
        object.__setattr__(self, "classes", classes)
        for name in classes:
            self._check_classes(name)

    @property
    def kind(self) -> str:
        """Which of the two: "frames" for images, "series" for vectors."""
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
            return self._map(lambda values: values[indices])
        indices = torch.as_tensor(indices)
        if indices.dtype == torch.bool:
            check_field(len(indices) == len(self), "indices", f"{len(self)} booleans", len(indices))
            indices = indices.nonzero()[:, 0]
        elif len(indices):
            low, high = int(indices.min()), int(indices.max())
            holds = low >= 0 and high < len(self)
            check_field(holds, "indices", f"0 to {len(self) - 1}", f"{low} to {high}")
        # For bytes index_select is several times as fast as values[indices].
        return self._map(lambda values: values.index_select(0, indices.long()))

    def to(self, device: torch.device | str) -> Sequences:
        """The same sequences with all tensors on `device`."""
        return self._map(lambda values: values.to(device))

    def as_float(self) -> Sequences:
        """The same sequences with bytes turned into floats in [0, 1], four times as large."""
        if self.frames.dtype != torch.uint8:
            return self
        new = copy.copy(self)
        object.__setattr__(new, "frames", self.frames.float().div_(255))
        return new

    def __repr__(self) -> str:
        rows = ["  ".join(row) for row in self._rows()]
        return "\n  ".join([f"Sequences: {self._summary()}", *rows, self.provenance])

    def _repr_html_(self) -> str:
        title = f"<b>Sequences</b>: {html.escape(self._summary())}"
        table = html_table(self._rows())
        return f"<div>{title}{table}<i>{html.escape(self.provenance)}</i></div>"

    def _summary(self) -> str:
        size = " x ".join(map(str, self.frames.shape[2:]))
        return f"{len(self)} of {self.length} steps, {self.kind} of {size}, {self.split} split"

    def _rows(self) -> list[tuple[str, ...]]:
        """For each label its name, its kind, its shape and the first of its classes."""
        rows = []
        for name, values in self.labels.items():
            kind = "static" if name in self.static else "dynamic"
            names = self.classes.get(name, ())
            rows.append((name, kind, str(tuple(values.shape)), ", ".join(names[:4])))
        return rows

    def _map(self, change: Callable[[Tensor], Tensor]) -> Sequences:
        """A copy with every tensor changed alike, without the checks, so that batches are quick."""
        new = copy.copy(self)
        object.__setattr__(new, "frames", change(self.frames))
        labels = {name: change(values) for name, values in self.labels.items()}
        object.__setattr__(new, "labels", labels)
        if self.mask is not None:
            object.__setattr__(new, "mask", change(self.mask))
        return new

    def _check_frames(self) -> None:
        frames = self.frames
        check_field(isinstance(frames, Tensor), "frames", "a tensor", type(frames).__name__)
        shape = tuple(frames.shape)
        layout = "frames (N, T, C, H, W) or series (N, T, D)"
        check_field(frames.ndim in (3, 5), "frames", layout, f"the shape {shape}")
        check_field(0 not in shape[1:], "frames", "at least one step and value", shape)
        if frames.dtype == torch.uint8 and frames.ndim == 5:
            return
        holds = frames.is_floating_point()
        check_field(holds, "frames", "floats, or images of bytes", frames.dtype)
        if len(frames):
            low, high = (float(value) for value in torch.aminmax(frames))  # NaN if one value is
            finite = math.isfinite(low) and math.isfinite(high)
            holds = finite and (frames.ndim == 3 or (low >= 0 and high <= 1))
            expected = "finite numbers, those of images in [0, 1]"
            check_field(holds, "frames", expected, f"{low:g} to {high:g}")

    def _check_labels(self) -> None:
        names = sorted([*self.static, *self.dynamic])
        expected = f"each of the labels {sorted(self.labels)} in one of the two"
        check_field(names == sorted(self.labels), "static, dynamic", expected, names)
        for name, values in self.labels.items():
            lead = tuple(self.frames.shape[: 1 if name in self.static else 2])
            shape = tuple(values.shape)
            holds = shape[: len(lead)] == lead and bool(torch.isfinite(values).all())
            expected = f"finite numbers, the shape {lead} or longer"
            check_field(holds, f"labels[{name!r}]", expected, f"the shape {shape}")

    def _check_mask(self) -> None:
        shape = tuple(self.frames.shape)
        shapes = [shape[:2], shape] if self.kind == "series" else [shape[:2]]
        holds = tuple(self.mask.shape) in shapes and self.mask.dtype == torch.bool
        found = f"{self.mask.dtype} {tuple(self.mask.shape)}"
        check_field(holds, "mask", f"booleans of the shape {shapes}", found)

    def _check_classes(self, name: str) -> None:
        names = self.classes[name]
        check_field(name in self.labels, "classes", f"labels {sorted(self.labels)}", repr(name))
        values = self.labels[name]
        holds = not values.is_floating_point()
        if values.numel():
            holds = holds and values.min() >= 0 and values.max() < len(names)
        expected = f"integers 0 to {len(names) - 1}, the numbers of its classes"
        check_field(holds, f"labels[{name!r}]", expected, values.dtype)
