"""The one interface of all models: batches, codes, the bound, and what a model can do."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Generator, Tensor, nn

from unbraid.checks import (
    ResultsError,
    SettingsError,
    check_field,
    check_name,
    check_number,
    check_whole,
)

MOVED = {  # where the classes are now that weights of 1.0 name by their old places
    "unbraid.models.gated.GatedPrediction": "papers.a.variants.GatedPrediction",
    "unbraid.models.canvases.CanvasPrediction": "papers.a.variants.CanvasPrediction",
    "unbraid.models.painted.PaintedFrames": "papers.b.variants.PaintedFrames",
    "papers.distinct.DistinctFrames": "papers.b.variants.DistinctFrames",
    "unbraid.models.ablations.AblatedElement": "papers.c.variants.AblatedElement",
    "unbraid.models.formula.FormulaElement": "papers.c.variants.FormulaElement",
    "unbraid.models.published_series.PublishedSeries": "papers.c.published_series.PublishedSeries",
    "unbraid.models.published_speech.PublishedSpeech": "papers.c.published_speech.PublishedSpeech",
    "papers.benchmark.averages.FrameVAE": "papers.side_by_side.variants.FrameVAE",
    "papers.benchmark.averages.PrincipalComponents": (
        "papers.side_by_side.variants.PrincipalComponents"
    ),
    "papers.benchmark.sequence_vae.SequenceVAE": "papers.side_by_side.variants.SequenceVAE",
    "papers.benchmark.sequence_vae.ContrastiveVAE": "papers.side_by_side.variants.ContrastiveVAE",
}

Codes = dict[str, Tensor]
"""The named latents of a batch: static codes (B, D), dynamic codes (B, T, d)."""

Noise = dict[str, Tensor]
"""The random numbers behind one draw of the codes, by name; a model's `draw_noise` makes them."""

NoiseSource = Noise | Generator | None
"""The numbers themselves, a generator that makes them, or None."""


class Framed(Protocol):
    """Anything with frames and a mask, such as `Batch` and `Sequences`."""

    @property
    def frames(self) -> Tensor: ...

    @property
    def mask(self) -> Tensor | None: ...


BatchLike = Tensor | Framed
"""What a model reads: frames alone, or frames with a mask."""


@dataclass
class Batch:
    """What a model reads: B sequences of T steps.

    frames: images (B, T, C, H, W) in [0, 1], or series (B, T, D) in units of their own.
    mask: booleans (B, T), or of the frames' shape, True where observed; None: everywhere.
    """

    frames: Tensor
    mask: Tensor | None = None

    @classmethod
    def of(cls, data: BatchLike) -> Batch:
        """A batch from a tensor of frames, or from anything with frames and mask.

        Raises `ValueError` for anything else, such as a NumPy array, and for a mask that is none.
        """
        frames = getattr(data, "frames", data)
        if not isinstance(frames, Tensor):
            remedy = "resize the frames to one size and stack them"
            if isinstance(frames, np.ndarray):
                remedy = "torch.from_numpy makes a tensor of an array"
            raise ValueError(
                f"batch: expected a tensor, a Batch or Sequences, found {type(frames).__name__}; "
                f"{remedy}"
            )
        mask = getattr(data, "mask", None)
        if mask is not None:
            shapes = tuple(frames.shape[:2]), tuple(frames.shape)
            is_mask = isinstance(mask, Tensor) and mask.dtype == torch.bool
            holds = is_mask and tuple(mask.shape) in shapes
            found = f"{getattr(mask, 'dtype', type(mask))} {tuple(mask.shape)}"
            check_field(holds, "mask", f"a tensor of booleans {shapes[0]} or {shapes[1]}", found)
        return cls(frames, mask)

    @property
    def lengths(self) -> Tensor:
        """The number of steps up to the last observed one, (B,)."""
        count, length = self.frames.shape[:2]
        if self.mask is None:
            return torch.full((count,), length, device=self.frames.device)
        observed = self.mask if self.mask.ndim == 2 else self.mask.flatten(2).any(2)  # (B, T)
        return (observed * torch.arange(1, length + 1, device=observed.device)).amax(1)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(self.frames.to(device), None if self.mask is None else self.mask.to(device))


@dataclass
class Bound:
    """The evidence lower bound in nats, taken apart into its terms, each summed over a sequence.

    log_likelihood: E_q log p(x | codes), (B,).
    kl: by code the divergence of its posterior from its prior, (B,).
    length: T, by which figures per frame are divided.
    terms: further quantities (B,) that a paper's objective contains and the bound does not.
    """

    log_likelihood: Tensor
    kl: dict[str, Tensor]
    length: int
    terms: dict[str, Tensor] = field(default_factory=dict)

    @property
    def elbo(self) -> Tensor:
        """The bound of each sequence in nats, (B,)."""
        return self.log_likelihood - sum(self.kl.values())

    @property
    def per_frame(self) -> Tensor:
        """The bound of each sequence in nats per frame, (B,)."""
        return self.elbo / self.length

    def loss(self, weights: Mapping[str, float] | None = None) -> Tensor:
        """What training minimises: minus the weighted sum of all terms per frame, a mean over B.

        weights: "log_likelihood", "kl" for all divergences or "<code>_kl" for one, and the names of
        further terms. Terms of the bound weigh 1 unless said otherwise, further terms 0.
        Raises `ValueError` for a weight other than 0 whose name is none of these.
        """
        weights = dict(weights or {})
        total = weights.pop("log_likelihood", 1.0) * self.log_likelihood
        every = weights.pop("kl", 1.0)
        for code, divergence in self.kl.items():
            total = total - weights.pop(f"{code}_kl", every) * divergence
        for name, term in self.terms.items():
            total = total + weights.pop(name, 0.0) * term
        if any(weights.values()):
            names = ["log_likelihood", "kl", *(f"{code}_kl" for code in self.kl), *self.terms]
            raise ValueError(
                f"weights: expected some of {', '.join(names)}, found {', '.join(weights)}"
            )
        return -total.mean() / self.length


@dataclass(frozen=True)
class ModelConfig:
    """The sizes and choices of a model, by name; a subclass gives each its default.

    Whole numbers are at least 1, or the field's metadata["least"]. A list becomes a tuple. Raises
    `ValueError` with the field's name for a value of another type than its default's.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            if isinstance(getattr(self, each.name), list):
                object.__setattr__(self, each.name, as_tuples(getattr(self, each.name)))
            check_like(each.name, getattr(self, each.name), each.default, each.metadata)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The config of those values, by name, that it has a field for; others are ignored."""
        names = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})


def as_tuples(values: list | tuple) -> tuple:
    """A list as a tuple, and the lists in it, too."""
    return tuple(as_tuples(value) if isinstance(value, list) else value for value in values)


def check_like(name: str, value: object, default: object, limits: Mapping[str, int]) -> None:
    """Refuse a value that is of another type than a field's default, or below its limit."""
    if isinstance(default, (bool, str, tuple)):
        if not isinstance(value, type(default)):
            raise ValueError(f"{name}: expected a value like {default!r}, found {value!r}")
    elif isinstance(default, int):
        check_whole(limits.get("least", 1), **{name: value})
    elif isinstance(default, float):
        check_number(-math.inf, **{name: value})


class SequenceModel(nn.Module, ABC):
    """A latent-variable model of sequences; a batch may be whatever `Batch.of` takes.

    config: of the model's own `config_class`. Without it the config is made of the keywords, so
        that `Model(static_size=4)` is `Model(ModelConfig(static_size=4))`.
    """

    config_class: type[ModelConfig] = ModelConfig
    code_names: tuple[str, ...]
    code_sizes: Mapping[str, int] = {}  # units of each code; codes without one go unchecked
    frame_shape: tuple[int, ...]  # (C, H, W) of images, (D,) of series

    def __init__(self, config: ModelConfig | None = None, **values: Any):
        super().__init__()
        own = self.config_class
        if config is None:
            for name in values:
                check_name(f"fields of {own.__name__}", name, [each.name for each in fields(own)])
            config = own(**values)
        elif values or not isinstance(config, own):
            more = f" and {', '.join(values)}" if values else ""
            raise SettingsError(
                f"config: expected one {own.__name__}, or its fields by name, found "
                f"{type(config).__name__}{more}"
            )
        self.config = config

    def save(self, path: Path | str) -> None:
        """Write the weights as safetensors, in half precision, with the class and the config.

        Raises `ResultsError` for weights that half precision cannot hold.
        """
        state = {}
        for name, value in self.state_dict().items():
            value = value.half() if value.is_floating_point() else value
            if not value.isfinite().all():
                raise ResultsError(
                    f"{path}: expected weights that half precision can hold, found NaN, infinity "
                    f"or more than 65504 in {name}"
                )
            state[name] = value.cpu().contiguous()
        written = Path(f"{path}.{os.getpid()}.part")  # Several processes may write at once.
        written.write_bytes(save(state, {"model": json.dumps(describe_model(self))}))
        written.replace(path)  # so that no reader ever finds half a file

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """A trained model in evaluation mode, of this class or of one below it.

        path: a file that `save` has written, such as `unbraid.records.weights(name)` names. A class
            outside this library has to be imported before.

        Raises `ResultsError` for a file that is missing or damaged, or whose class is not imported,
        `ValueError` for weights of another class than this one.
        """
        state, described = read_weights(Path(path))
        model_class = find_class(described["class"], cls, path)
        if not issubclass(model_class, cls):
            raise ValueError(
                f"{path}: expected weights of {cls.__name__}, found those of "
                f"{model_class.__name__}; load them with {model_class.__name__}.load"
            )
        model = model_class(model_class.config_class(**described["config"]))
        model.load_state_dict(state)
        return model.eval()

    @abstractmethod
    def draw_noise(self, count: int, length: int, generator: Generator | None = None) -> Noise:
        """The random numbers behind one draw of the codes, for (count, length) steps."""

    @abstractmethod
    def elbo(self, batch: BatchLike, noise: NoiseSource = None) -> Bound:
        """The bound of each sequence, from one reparameterised draw of its codes."""

    @abstractmethod
    def encode(self, batch: BatchLike, noise: NoiseSource = None) -> Codes:
        """The posterior's codes: their means, or with noise a draw."""

    @abstractmethod
    def decode(self, codes: Codes) -> Tensor:
        """Mean frames (B, T, C, H, W), or mean series (B, T, D), of the codes."""

    @abstractmethod
    def generate(
        self, count: int, length: int, noise: NoiseSource = None, given: Codes | None = None
    ) -> Codes:
        """Codes of `count` sequences of `length` steps, drawn from the prior.

        given: codes (count, ...) to keep. The others are drawn from their prior, which reads these
        only in paper B's p(dynamic | static).
        """

    def forward(self, batch: BatchLike, noise: NoiseSource = None) -> Bound:
        """The bound; training calls the model itself, so that Fabric can wrap it."""
        return self.elbo(batch, noise)

    def as_noise(self, noise: NoiseSource, count: int, length: int) -> Noise:
        """The noise itself, or new noise from a generator; without one from torch's own.

        Raises `ValueError` for noise of another number of sequences or steps.
        """
        if not isinstance(noise, Mapping):
            return self.draw_noise(count, length, noise)
        for name, draws in noise.items():
            holds = len(draws) == count and (draws.ndim < 3 or draws.shape[1] == length)
            found = tuple(draws.shape)
            check_field(holds, f"noise[{name!r}]", f"{count} sequences of length {length}", found)
        return noise

    def normal(self, generator: Generator | None, *shape: int) -> Tensor:
        """Standard normal numbers of the type and on the device of the weights."""
        like = next(self.parameters())
        return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)

    def whole_frames(self, batch: BatchLike) -> Tensor:
        """The checked frames of a batch, for a model that reads no masks."""
        batch = Batch.of(batch)
        if batch.mask is not None and not batch.mask.all():
            raise ValueError(
                f"mask: expected every value observed, because {type(self).__name__} reads no "
                "masks, found some hidden; cut the sequences to what was observed"
            )
        self.check_frames(batch.frames)
        return batch.frames

    def check_frames(self, frames: Tensor) -> None:
        """Refuse frames of another shape or type than this model's, and values it cannot read."""
        if tuple(frames.shape[2:]) != self.frame_shape or not frames.numel():
            remedy = "resize the batch, or build the model for it"
            if is_channels_last(frames.shape, self.frame_shape):
                remedy = "the channels come last there; frames.movedim(-1, 2) puts them first"
            raise ValueError(
                f"frames: expected (B, T, {', '.join(map(str, self.frame_shape))}), none of them "
                f"0, found {tuple(frames.shape)}; {remedy}"
            )
        if torch.compiler.is_compiling():
            return  # There are no values yet.
        own_type = next(self.parameters()).dtype
        if frames.dtype != own_type and not torch.is_autocast_enabled(frames.device.type):
            raise ValueError(
                f"frames: expected {own_type}, as the model's weights, found {frames.dtype}; "
                "convert them, and divide bytes by 255"
            )
        if not frames.isfinite().all():
            raise ValueError("frames: expected finite numbers; set others to 0 and give a mask")
        low, high = (float(value) for value in torch.aminmax(frames.detach()))
        if len(self.frame_shape) == 3 and (low < 0 or high > 1):
            raise ValueError(
                f"frames: expected values in [0, 1], found {low:.3g} to {high:.3g}; divide bytes "
                "by 255"
            )

    def check_codes(self, codes: Codes) -> None:
        """Refuse codes of other names, shapes or types than this model's."""
        if set(codes) != set(self.code_names):
            names = ", ".join(self.code_names)
            raise ValueError(f"codes: expected {names}, found {', '.join(codes)}")
        count, length = (*getattr(codes[self.code_names[-1]], "shape", ()), 0, 0)[:2]
        for name, code in codes.items():
            self.check_code(f"codes[{name!r}]", name, code, count, length)

    def check_code(self, field: str, name: str, code: Tensor, count: int, length: int) -> None:
        """Refuse a code of another shape or type than this model's code of that name."""
        if not isinstance(code, Tensor):
            remedy = "torch.from_numpy makes a tensor of an array"
            raise ValueError(f"{field}: expected a tensor, found {type(code).__name__}; {remedy}")
        has_steps = name != "static" if name in self.code_sizes else code.ndim > 2
        size = self.code_sizes.get(name, code.shape[-1])
        shape = (count, length, size) if has_steps else (count, size)
        check_field(tuple(code.shape) == shape, field, shape, tuple(code.shape))
        own_type = next(self.parameters()).dtype
        holds = code.dtype == own_type or torch.is_autocast_enabled(code.device.type)
        check_field(holds, field, f"{own_type}, as the model's weights", code.dtype)

    def check_given(self, given: Codes | None, count: int, length: int) -> Codes:
        """The codes to keep; refuses what `check_codes` refuses, NaN and infinity."""
        check_whole(1, count=count, length=length)
        for name, code in (given or {}).items():
            check_name("given", name, self.code_names)
            field = f"given[{name!r}]"
            self.check_code(field, name, code, count, length)
            check_field(bool(code.isfinite().all()), field, "finite numbers", "others")
        return dict(given or {})


def is_channels_last(found: tuple[int, ...], frame_shape: tuple[int, ...]) -> bool:
    """Whether frames (B, T, H, W, C) were given where (B, T, C, H, W) of `frame_shape` are read."""
    if len(found) != 5 or len(frame_shape) != 3:
        return False
    channels = frame_shape[0]
    return found[4] == channels and found[2] != channels


def describe_model(model: SequenceModel) -> dict[str, object]:
    """The class of a model by its dotted name, and all fields of its config, as JSON holds them."""
    return {"class": dotted_name(type(model)), "config": asdict(model.config)}


def dotted_name(model_class: type) -> str:
    """The module and the name of a class, such as "papers.a.variants.GatedPrediction"."""
    return f"{model_class.__module__}.{model_class.__qualname__}"


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors of a file of weights, and the class and config of its model.

    The file itself says the latter, or the record beside it, for weights older than 1.0.
    """
    record = path.with_name(f"{path.stem}.run.json")
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            described = json.loads((file.metadata() or {}).get("model", "null"))
        if described is None and record.exists():
            described = json.loads(record.read_text(encoding="utf-8")).get("model")
    except FileNotFoundError:
        remedy = "unbraid.records.weights names the files of the clone"
        raise ResultsError(f"{path}: expected a file of weights, found none; {remedy}") from None
    except (SafetensorError, ValueError) as error:
        raise ResultsError(f"{path}: expected safetensors, found {error}; restore it") from None
    if not described:
        raise ResultsError(f"{path}: expected weights that save has written, found no class")
    return state, described


def find_class(named: str, wanted: type[SequenceModel], path: Path | str) -> type[SequenceModel]:
    """The class of a dotted name: the wanted one, or else one of this library or of a module that
    is imported already, because a file of weights shall not decide what runs on this machine.
    """
    named = MOVED.get(named, named)
    module, _, own_name = named.rpartition(".")
    if wanted.__name__ == own_name:
        return wanted
    if module.startswith("unbraid."):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)
    found = getattr(sys.modules.get(module), own_name, None)
    if found is None:
        raise ResultsError(
            f"{path}: expected a model that is imported, found {named}; import {module} first"
        )
    return found
