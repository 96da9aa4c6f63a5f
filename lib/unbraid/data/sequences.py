"""The one type of every dataset of the course: sequences with what is known about them."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from unbraid.checks import check_field, check_name, check_names, check_type, finite_array, refuse
from unbraid.support.readable import Readable

FEW = 5  # sequences: of more, rows drawn at random are hardly ever the first two alone


def as_float(frames: Tensor) -> Tensor:
    """Bytes as floats in [0, 1], four times as large; floats as they are, others are refused."""
    is_byte = getattr(frames, "dtype", None) == torch.uint8
    if not is_byte and not (isinstance(frames, Tensor) and frames.is_floating_point()):
        check_type(Tensor, frames=frames)
        refuse("frames", "floats or bytes (torch.uint8)", frames.dtype)
    return frames.float().div_(255) if is_byte else frames


def as_tensor(name: str, values: object) -> Tensor:
    """Values as a tensor; refuses text, and rows of unequal length, by `name`."""
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        finite_array(name, values)  # type: ignore[arg-type]
        raise ValueError(f"{name}: expected numbers in equal rows; {error}") from None


def as_indices(name: str, values: object, count: int, *sizes: int | str) -> Tensor:
    """Whole numbers from 0 to count - 1 as a tensor of these sizes, a letter for any; others are
    refused by `name`.
    """
    rows = as_tensor(name, values)
    pairs = list(zip(rows.shape, sizes, strict=False))
    fits = len(sizes) == rows.ndim and all(a == b or isinstance(b, str) for a, b in pairs)
    is_whole = rows.dtype != torch.bool and not rows.is_floating_point()
    inside = fits and is_whole and bool(((rows >= 0) & (rows < count)).all())
    axes = ", ".join(map(str, sizes))
    check_field(inside, name, f"integers ({axes}) from 0 to {count - 1}", values)
    return rows.long()


@dataclass(frozen=True, repr=False)
class Sequences(Readable):
    """N sequences of T steps with their labels.

    frames      (N, T, C, H, W) in [0, 1] or bytes 0 ... 255, or a series (N, T, D) of floats
    labels      the known factors by name; static ones (N, ...), dynamic ones (N, T, ...)
    static      names of the labels of whole sequences
    dynamic     names of the labels that have a value at each step
    split       which part of the data this is, such as "train" or "test"
    provenance  one sentence naming the data that was really used
    mask        (N, T) or, for series, (N, T, D) booleans, true where a value was observed; None
                where all were. What is not observed is still a finite number, zero by custom.
    classes     names of the values 0, 1, ... of those labels that are classes

    Raises `ValueError` with the field's name when any of this is wrong.
    """

    frames: Tensor
    labels: dict[str, Tensor] = field(default_factory=dict)
    static: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    split: str = "train"
    provenance: str = ""
    mask: Tensor | None = None
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fields = vars(self)  # A frozen dataclass does not let its attributes be assigned.
        check_type(dict, labels=self.labels)
        check_type(Mapping, classes=self.classes)
        check_type(str, split=self.split, provenance=self.provenance)
        for names in ("static", "dynamic"):
            fields[names] = check_names(names, fields[names])
        fields["frames"] = as_tensor("frames", self.frames)
        labels, classes = self.labels.items(), self.classes.items()
        fields["labels"] = {name: as_tensor(f"labels[{name!r}]", label) for name, label in labels}
        fields["mask"] = None if self.mask is None else as_tensor("mask", self.mask)
        fields["classes"] = {n: check_names(f"classes[{n!r}]", names) for n, names in classes}
        self._check_frames()
        self._check_labels()
        self._check_mask()

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

    @property
    def observed(self) -> Tensor:
        """The mask, or where there is none one (N, T) that is true at every step."""
        whole = torch.ones(self.frames.shape[:2], dtype=torch.bool)
        return whole if self.mask is None else self.mask

    def subset(self, indices: Tensor | list[int] | slice) -> Self:
        """The sequences at `indices` (0 ... N - 1, booleans (N,), or a slice), in that order."""
        if isinstance(indices, slice):
            if (indices.step or 1) > 0:
                return self._map(lambda values: values[indices])
            indices = list(range(len(self))[indices])  # PyTorch takes no step backwards.
        rows = as_tensor("indices", indices)
        if rows.dtype == torch.bool and rows.shape == (len(self),):
            rows = rows.nonzero()[:, 0]
        is_whole = not (rows.is_floating_point() and rows.numel()) and rows.dtype != torch.bool
        inside = (rows >= 0) & (rows < len(self))
        is_mask = (
            rows.shape == (len(self),) and len(self) > FEW and rows.unique().tolist() == [0, 1]
        )
        if rows.ndim > 1 or not is_whole or is_mask or not inside.all():
            expected = f"some of 0 to {len(self) - 1}, or booleans"
            raise IndexError(f"indices: expected {expected}, found {str(indices)[:60]}")
        # For bytes index_select is several times as fast as values[rows].
        return self._map(lambda values: values.index_select(0, rows.long().to(values.device)))

    def as_float(self) -> Self:
        """The same sequences with bytes turned into floats in [0, 1], four times as large."""
        new = copy.copy(self)
        vars(new)["frames"] = as_float(self.frames)
        return new

    def table(self) -> list[tuple[str, ...]]:
        """Rows on the whole, on each label (its kind, shape, first classes) and on the source."""
        size = " x ".join(map(str, self.frames.shape[2:]))
        title = f"{len(self)} of {self.length} steps, {self.kind} of {size}, {self.split} split"
        rows: list[tuple[str, ...]] = [(title,)]
        for name, values in self.labels.items():
            kind = "static" if name in self.static else "dynamic"
            names = ", ".join(self.classes.get(name, ())[:4])
            rows.append((name, kind, str(tuple(values.shape)), names))
        return [*rows, (self.provenance,)]

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """A copy with every tensor changed alike, without the checks, so that batches are quick."""
        new, mask = copy.copy(self), None if self.mask is None else change(self.mask)
        labels = {name: change(values) for name, values in self.labels.items()}
        vars(new).update(frames=change(self.frames), labels=labels, mask=mask)
        return new

    def _check_frames(self) -> None:
        frames, shape = self.frames, tuple(self.frames.shape)
        layout = "frames (N, T, C, H, W) or series (N, T, D), with a step and a value at least"
        check_field(len(shape) in (3, 5) and 0 not in shape[1:], "frames", layout, shape)
        if self.kind == "frames" and shape[4] in (1, 3) and shape[4] < min(shape[2:4]):
            expected = "channels before height and width, frames.movedim(-1, 2)"
            refuse("frames", expected, f"{shape}, channels last")
        if frames.dtype == torch.uint8 and self.kind == "frames":
            return
        is_float = frames.is_floating_point()
        check_field(is_float, "frames", "floats, or images of bytes", frames.dtype)
        if len(frames):
            check_type(Tensor, frames=frames)
            low, high = map(float, torch.aminmax(frames))  # NaN if one value is
            is_image = self.kind == "frames"
            if not math.isfinite(high - low) or (is_image and (low < 0 or high > 1)):
                refuse("frames", "finite, those of images in [0, 1]", f"{low:g} to {high:g}")

    def _check_labels(self) -> None:
        names = sorted([*self.static, *self.dynamic])
        if names != sorted(self.labels):
            refuse("static, dynamic", f"each label once, {sorted(self.labels)}", names)
        for name, values in self.labels.items():
            lead = self.frames.shape[: 1 if name in self.static else 2]
            fits, where = values.shape[: len(lead)] == lead, f"labels[{name!r}]"
            shapes = f"the shape {tuple(lead)} or longer", tuple(values.shape)
            check_field(fits, where, *shapes)
            check_field(torch.isfinite(values).all(), where, "finite numbers", "NaN or infinity")
        for name, classes in self.classes.items():
            check_name("classes", name, self.labels)
            values = self.labels[name]
            known = (values >= 0) & (values < len(classes))
            if values.is_floating_point() or not known.all():
                found = f"{values.dtype} from {values.min()} to {values.max()}"
                refuse(f"labels[{name!r}]", f"integers from 0 to {len(classes) - 1}", found)

    def _check_mask(self) -> None:
        if self.mask is None:
            return
        size = tuple(self.frames.shape)
        shapes = (size[:2], size) if self.kind == "series" else (size[:2],)
        if self.mask.shape not in shapes or self.mask.dtype != torch.bool:
            found = f"{self.mask.dtype} {tuple(self.mask.shape)}"
            refuse("mask", f"booleans of one of the shapes {shapes}", found)
        is_seen = len(self) == 0 or bool(self.mask.any())
        check_field(is_seen, "mask", "a value that was observed", "all false")
