"""The one interface of all models: batches, codes, the bound, and what a model can do."""

import contextlib
import importlib
import json
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Generator, Tensor, nn

from unbraid import checks, records
from unbraid.checks import ResultsError, check_field, check_name, check_whole

FROM_ARRAY = "torch.from_numpy makes a tensor of an array"

Codes = dict[str, Tensor]  # the named latents of a batch: static (B, D), dynamic (B, T, d)
Noise = dict[str, Tensor]  # random numbers behind one draw of the codes, made by `draw_noise`
NoiseSource = Noise | Generator | None  # the numbers themselves, or a generator that makes them
BatchLike = Any  # a tensor of frames, or what has frames and a mask, such as `Sequences`


@dataclass
class Batch:
    """What a model reads: B sequences of T steps.

    frames: images (B, T, C, H, W) in [0, 1], or series (B, T, D) in units of their own.
    mask: booleans (B, T), or of the frames' shape, True where observed; None: everywhere.
    """

    frames: Tensor
    mask: Tensor | None = None

    @classmethod
    def of(cls, data: BatchLike) -> Self:
        """A batch from a tensor, or anything with frames and mask; else raises `ValueError`."""
        frames: Any = getattr(data, "frames", data)
        is_array = isinstance(frames, np.ndarray)
        remedy = FROM_ARRAY if is_array else "resize the frames to one size and stack them"
        found = f"{type(frames).__name__}; {remedy}"
        check_field(isinstance(frames, Tensor), "batch", "a tensor, a Batch or Sequences", found)
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

    def to(self, device: torch.device | str) -> Self:
        mask = None if self.mask is None else self.mask.to(device)
        return type(self)(self.frames.to(device), mask)


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
        further terms; by default 1, of further terms 0. Raises `ValueError` for any other name.
        """
        checks.check_type(Mapping, weights=weights or {})
        weights = dict(weights or {})
        for name, weight in weights.items():
            checks.check_number(**{f"weights.{name}": weight})
        total = weights.pop("log_likelihood", 1.0) * self.log_likelihood
        every = weights.pop("kl", 1.0)
        for code, divergence in self.kl.items():
            total = total - weights.pop(f"{code}_kl", every) * divergence
        for name, term in self.terms.items():
            total = total + weights.pop(name, 0.0) * term
        names = ["log_likelihood", "kl", *(f"{code}_kl" for code in self.kl), *self.terms]
        if weights:  # what none of the terms has taken
            expected, others = ", ".join(names), ", ".join(map(str, weights))
            raise ValueError(f"weights: expected some of {expected}, found {others}")
        return -total.mean() / self.length


@dataclass(frozen=True)
class ModelConfig:
    """The sizes and choices of a model; a subclass gives each its default.

    A list becomes a tuple. Raises `ValueError` with the field's name for a value of another type
    than its default's, and for whole numbers below 1, or the field's metadata["least"].
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            value, default = as_tuples(getattr(self, each.name)), each.default
            vars(self)[each.name] = value  # A frozen dataclass lets nothing be assigned.
            if isinstance(default, (bool, str, tuple)):
                checks.check_type(type(default), **{each.name: value})
            elif isinstance(default, int):
                check_whole(each.metadata.get("least", 1), **{each.name: value})
            elif isinstance(default, float):
                checks.check_number(**{each.name: value})  # type: ignore[arg-type]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The config of those values, by name, that it has a field for; others are ignored."""
        return cls(**{each.name: values[each.name] for each in fields(cls) if each.name in values})


def as_tuples(value: Any) -> Any:
    """A list as a tuple, and the lists in it, too."""
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value


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
            config, values = own(**values), {}
        found = ", ".join([type(config).__name__, *values])
        holds = isinstance(config, own) and not values
        check_field(holds, "config", f"one {own.__name__}, or its fields by name", found)
        self.config = config

    def save(self, path: Path | str) -> None:
        """Write weights in half precision, or `ResultsError`, with the class and the config."""
        state = {}
        for name, value in self.state_dict().items():
            value = value.half() if value.is_floating_point() else value
            if not value.isfinite().all():
                found = f"NaN, infinity or more than 65504 in {name}"
                raise ResultsError(f"{path}: expected what half precision can hold, found {found}")
            state[name] = value.cpu().contiguous()
        described = {"model": json.dumps(describe_model(self))}
        records.write_atomically(Path(path), save(state, described))

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """A trained model in evaluation mode, of this class or of one below it.

        path: what `save` has written, such as `unbraid.records.weights(name)` names. Raises
        `ResultsError` for a missing or damaged file, or where a class outside this library is not
        imported, `ValueError` for weights of another class than this one.
        """
        state, described = read_weights(Path(path))
        model_class = find_class(described["class"], cls, path)
        if not issubclass(model_class, cls):
            found = f"those of {model_class.__name__}; load them with {model_class.__name__}.load"
            raise ValueError(f"{path}: expected weights of {cls.__name__}, found {found}")
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
        """Codes of `count` sequences of `length` steps from the prior, but the given ones."""

    def forward(self, batch: BatchLike, noise: NoiseSource = None) -> Bound:
        """The bound; training calls the model itself, so that Fabric can wrap it."""
        return self.elbo(batch, noise)

    def as_noise(self, noise: NoiseSource, count: int, length: int) -> Noise:
        """The noise, which `draw_noise` could have made, or new noise from a generator."""
        if not isinstance(noise, Mapping):
            checks.check_type((Generator, type(None)), noise=noise)
            return self.draw_noise(count, length, noise)
        if not torch.compiler.is_compiling():
            own = Generator(next(self.parameters()).device)
            for name, like in self.draw_noise(count, length, own).items():
                self.check_tensor(f"noise[{name!r}]", noise.get(name), tuple(like.shape))
        return noise

    def normal(self, generator: Generator | None, *shape: int) -> Tensor:
        """Standard normal numbers of the type and on the device of the weights."""
        for size in shape:
            check_whole(0, size=size)
        like = next(self.parameters())
        return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)

    def whole_frames(self, batch: BatchLike) -> Tensor:
        """The checked frames of a batch, for a model that reads no masks."""
        batch = Batch.of(batch)
        expected = f"every value observed, because {type(self).__name__} reads no masks"
        found = "some hidden; cut the sequences to what was observed"
        check_field(batch.mask is None or batch.mask.all(), "mask", expected, found)
        self.check_frames(batch.frames)
        return batch.frames

    def check_frames(self, frames: Tensor) -> None:
        """Refuse frames of another shape or type than this model's, and values it cannot read."""
        shape, own = tuple(frames.shape), self.frame_shape
        remedy = "resize the batch, or build the model for it"
        if len(shape) == 5 and len(own) == 3 and shape[4] == own[0] != shape[2]:
            remedy = "the channels come last there; frames.movedim(-1, 2) puts them first"
        expected = f"(B, T, {', '.join(map(str, own))}), none of them 0"
        holds = shape[2:] == own and 0 not in shape
        check_field(holds, "frames", expected, f"{shape}; {remedy}")
        if torch.compiler.is_compiling():
            return  # There are no values yet.
        own_type = next(self.parameters()).dtype
        holds = frames.dtype == own_type or torch.is_autocast_enabled(frames.device.type)
        found = f"{frames.dtype}; convert them, and divide bytes by 255"
        check_field(holds, "frames", f"{own_type}, as the model's weights", found)
        low, high = map(float, torch.aminmax(frames.detach()))  # NaN if one value is
        found = "others; set them to 0 and give a mask"
        check_field(math.isfinite(high - low), "frames", "finite numbers", found)
        holds = len(own) < 3 or 0 <= low <= high <= 1
        found = f"{low:.3g} to {high:.3g}; divide bytes by 255"
        check_field(holds, "frames", "values in [0, 1]", found)

    def check_codes(self, codes: Codes) -> None:
        """Refuse codes of other names, shapes or types than this model's, NaN and infinity."""
        checks.check_type(Mapping, codes=codes)
        names = ", ".join(self.code_names)
        check_field(set(codes) == set(self.code_names), "codes", names, ", ".join(map(str, codes)))
        count, length = (*getattr(codes[self.code_names[-1]], "shape", ()), 0, 0)[:2]
        for name, code in codes.items():
            self.check_code("codes", name, code, count, length)

    def check_given(self, given: Codes | None, count: int, length: int) -> Codes:
        """The codes to keep; refuses what `check_codes` refuses."""
        check_whole(1, count=count, length=length)
        checks.check_type((Mapping, type(None)), given=given)
        for name, code in (given or {}).items():
            check_name("given", name, self.code_names)
            self.check_code("given", name, code, count, length)
        return dict(given or {})

    def check_code(self, field: str, name: str, code: Tensor, count: int, length: int) -> None:
        """Refuse what is no code of that name of so many sequences and steps."""
        has_steps = name != "static" if name in self.code_sizes else getattr(code, "ndim", 0) > 2
        size = self.code_sizes.get(name) or getattr(code, "shape", (0,))[-1]
        shape = (count, length, size) if has_steps else (count, size)
        self.check_tensor(f"{field}[{name!r}]", code, shape)

    def check_tensor(self, field: str, value: Any, shape: tuple[int, ...]) -> None:
        """Refuse what is no tensor of that shape and the weights' type, NaN and infinity."""
        is_tensor = isinstance(value, Tensor)
        check_field(is_tensor, field, "a tensor", f"{type(value).__name__}; {FROM_ARRAY}")
        check_field(tuple(value.shape) == shape, field, shape, tuple(value.shape))
        own_type = next(self.parameters()).dtype
        holds = value.dtype == own_type or torch.is_autocast_enabled(value.device.type)
        check_field(holds, field, f"{own_type}, as the model's weights", value.dtype)
        if not torch.compiler.is_compiling():
            check_field(value.isfinite().all(), field, "finite numbers", "others")


def describe_model(model: SequenceModel) -> dict[str, object]:
    """The class of a model by its dotted name, and all fields of its config, as JSON holds them."""
    named = f"{type(model).__module__}.{type(model).__qualname__}"
    return {"class": named, "config": asdict(model.config)}


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors of a file of weights, and the class and the config of its model, which the record
    beside the file says, or the file itself where there is none.
    """
    if not path.is_file():
        remedy = "unbraid.records.weights names the files of the clone"
        raise ResultsError(f"{path}: expected a file of weights, found none; {remedy}")
    record = path.with_name(f"{path.stem}.run.json")
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            described = json.loads((file.metadata() or {}).get("model", "null"))
        if record.exists():
            described = json.loads(record.read_text(encoding="utf-8")).get("model", described)
    except (SafetensorError, ValueError) as error:
        raise ResultsError(f"{path}: expected safetensors, found {error}; restore it") from None
    if not described:
        raise ResultsError(f"{path}: expected weights that save has written, found no class")
    return state, described


def find_class(named: str, wanted: type[SequenceModel], path: Path | str) -> type[SequenceModel]:
    """The class of a dotted name: the wanted one, or else one of this library or of a module that
    is imported already, because a file of weights shall not decide what runs on this machine.
    """
    module, _, own_name = named.rpartition(".")
    if wanted.__name__ == own_name:
        return wanted
    if module.startswith("unbraid."):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)
    found = getattr(sys.modules.get(module), own_name, None)
    if found is None:
        found = f"{named}; import {module} first"
        raise ResultsError(f"{path}: expected an imported class, found {found}")
    return found
