"""The one interface of all models: batches, codes, the bound, and what a model can do."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Generator, Tensor

from unbraid.checks import ResultsError, check_field, check_number, check_type, check_whole, refuse
from unbraid.distributions import has_values
from unbraid.support.tensors import read_weights, write_tensors

from .guards import Guarded, check_batch, check_config, check_value

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
        mask = getattr(data, "mask", None)
        check_batch(frames, mask)
        return cls(frames, mask)

    @property
    def lengths(self) -> Tensor:
        """The number of steps up to the last observed one, (B,)."""
        count, length = self.frames.shape[:2]
        if self.mask is None:
            return torch.full((count,), length, device=self.frames.device)
        observed = self.mask if self.mask.ndim == 2 else self.mask.flatten(2).any(2)  # (B, T)
        return (observed * torch.arange(1, length + 1, device=observed.device)).amax(1)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """The batch on a device; frames that are floats become of this type, if one is given."""
        mask = None if self.mask is None else self.mask.to(device)
        return type(self)(self.frames.to(device, dtype), mask)


@dataclass
class Bound:
    """The evidence lower bound in nats by its terms, each summed over a sequence.

    log_likelihood: E_q log p(x | codes), (B,).
    kl: by code the divergence of its posterior from its prior, (B,).
    length: T, by which figures per frame are divided.
    terms: further quantities (B,) that a paper's objective contains and the bound does not.
    """

    log_likelihood: Tensor
    kl: dict[str, Tensor]
    length: int
    terms: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_type(dict, kl=self.kl, terms=self.terms)
        check_whole(1, length=self.length)

    @property
    def elbo(self) -> Tensor:
        """The bound of each sequence in nats, (B,)."""
        return self.log_likelihood - sum(self.kl.values())

    @property
    def per_frame(self) -> Tensor:
        """The bound of each sequence in nats per frame, (B,)."""
        return self.elbo / self.length

    def to(self, dtype: torch.dtype) -> Self:
        """The bound with all of its terms as numbers of this type."""
        kl = {name: term.to(dtype) for name, term in self.kl.items()}
        terms = {name: term.to(dtype) for name, term in self.terms.items()}
        return type(self)(self.log_likelihood.to(dtype), kl, self.length, terms)

    def loss(self, weights: Mapping[str, float | Tensor] | None = None) -> Tensor:
        """What training minimises: minus the weighted sum of all terms per frame, a mean over B.

        weights: "log_likelihood", "kl" for all divergences or "<code>_kl" for one, and the names of
        further terms; by default 1, of further terms 0. Raises `ValueError` for any other name.
        """
        check_type((Mapping, type(None)), weights=weights)
        weights = dict(weights or {})
        for name, weight in weights.items():
            if isinstance(weight, Tensor):
                continue  # a number that a recorded update reads anew each time; `fit` checks it
            check_number(**{f"weights.{name}": weight})
            is_fine = weight >= 0 or not name.endswith(("kl", "log_likelihood"))
            check_field(is_fine, f"weights.{name}", "0 or more", weight)
        total = weights.pop("log_likelihood", 1.0) * self.log_likelihood
        every = weights.pop("kl", 1.0)
        for code, divergence in self.kl.items():
            total = total - weights.pop(f"{code}_kl", every) * divergence
        for name, term in self.terms.items():
            total = total + weights.pop(name, 0.0) * term
        if weights:  # what none of the terms has taken
            names = ["log_likelihood", "kl", *(f"{code}_kl" for code in self.kl), *self.terms]
            refuse("weights", f"some of {', '.join(names)}", ", ".join(map(str, weights)))
        return -total.mean() / self.length


@dataclass(frozen=True)
class ModelConfig:
    """The sizes and choices of a model; a subclass gives each its default.

    A list becomes a tuple, and a number of NumPy's one of Python's. Raises `ValueError` for a value
    of another type than its default's, and for whole numbers below 1, or the field's
    metadata["least"].
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            value = as_plain(getattr(self, each.name))
            vars(self)[each.name] = value  # A frozen dataclass lets nothing be assigned.
            check_value(each, value)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The config of those values, by name, that it has a field for; others are ignored."""
        check_type(Mapping, values=values)
        return cls(**{each.name: values[each.name] for each in fields(cls) if each.name in values})


def as_plain(value: Any) -> Any:
    """A list as a tuple, a NumPy scalar as a number, in tuples as well; as JSON holds them."""
    value = value.item() if isinstance(value, np.generic) else value
    return tuple(map(as_plain, value)) if isinstance(value, list | tuple) else value


class SequenceModel(Guarded, ABC):
    """A latent-variable model of sequences; a batch may be whatever `Batch.of` takes.

    A subclass names its codes in `code_names`, and writes `elbo`, `encode` and `decode`.

    config: of the model's own `config_class`. Without it the config is made of the keywords, so
        that `Model(static_size=4)` is `Model(ModelConfig(static_size=4))`.
    """

    config_class: type[ModelConfig] = ModelConfig

    def __init__(self, config: ModelConfig | None = None, **values: Any):
        super().__init__()
        check_config(config, self.config_class, values)
        self.config = self.config_class(**values) if config is None else config

    def save(self, path: Path | str) -> None:
        """Write weights in half precision, with the class and the config.

        Raises `ResultsError` for values that half precision cannot hold.
        """
        state = {}
        for name, value in self.state_dict().items():
            value = value.half() if value.is_floating_point() else value
            if not value.isfinite().all():
                values = f"NaN, infinity or more than 65504 in {name}"
                raise ResultsError(f"{path}: expected values of half precision, found {values}")
            state[name] = value
        write_tensors(path, state, "model", describe_model(self))

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """A trained model in evaluation mode, of this class or of one below it.

        path: what `save` has written, such as `unbraid.records.weights(name)` names. Raises
        `ResultsError` for a missing or damaged file and for a class that is not imported,
        `ValueError` for weights of another class than this one.
        """
        check_type((str, Path), path=path)
        state, described = read_weights(Path(path))
        model = cls.make(described, path)
        if other := sorted(state.keys() ^ model.state_dict().keys()):
            expected = f"the names of {type(model).__name__}'s weights"
            raise ResultsError(f"{path}: expected {expected}, found others, such as {other[0]}")
        model.load_state_dict(state)
        return model.eval()

    @classmethod
    def make(cls, described: Mapping[str, Any], path: Path | str) -> Self:
        """A model of the class and the config that a file of weights, or its record, names."""
        model_class = cls.find_class(described["class"], path)
        names = [each.name for each in fields(model_class.config_class)]
        written = described["config"].items()
        # A field that the class no longer has is left out if it was off.
        values = {name: value for name, value in written if value or name in names}
        return model_class(model_class.config_class(**values))

    @classmethod
    def find_class(cls, named: str, path: Path | str) -> type[Self]:
        """The class of a dotted name: this one or one below it that is imported already, because a
        file of weights shall not decide what runs on this machine.

        A file is not written again where its class has moved to unbraid.variants.
        """
        module, _, own_name = named.rpartition(".")
        if cls.__name__ == own_name:
            return cls
        moved = getattr(sys.modules.get("unbraid.variants"), own_name, None)
        model_class = getattr(sys.modules.get(module), own_name, moved)
        if model_class is None:
            advice = f"import {own_name} first, as from unbraid.variants"
            raise ResultsError(f"{path}: expected an imported class, found {named}; {advice}")
        if not issubclass(model_class, cls):
            refuse(path, f"weights of {cls.__name__}", f"those of {own_name}")
        return model_class

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
        """The bound."""
        return self.elbo(batch, noise)

    def as_noise(self, noise: NoiseSource, count: int, length: int) -> Noise:
        """The noise, which `draw_noise` could have made, or new noise from a generator."""
        if not isinstance(noise, Mapping):
            check_type((Generator, type(None)), noise=noise)
            return self.draw_noise(count, length, noise)
        weight = next(self.parameters())
        if not has_values(weight):
            return noise
        for name, like in self.draw_noise(count, length, Generator(weight.device)).items():
            self.check_tensor(f"noise[{name!r}]", noise.get(name), tuple(like.shape))
        return noise

    def normal(self, generator: Generator | None, *shape: int) -> Tensor:
        """Standard normal numbers of the type and on the device of the weights."""
        check_type((Generator, type(None)), generator=generator)
        like = next(self.parameters())
        return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)

    def whole_frames(self, batch: BatchLike) -> Tensor:
        """The checked frames of a batch, for a model that reads no masks."""
        batch = Batch.of(batch)
        if batch.mask is not None and not batch.mask.all():
            advice = "cut the sequences to what was observed"
            refuse("mask", f"none for {type(self).__name__}", f"some values hidden; {advice}")
        self.check_frames(batch.frames)
        return batch.frames


def describe_model(model: SequenceModel) -> dict[str, object]:
    """The class of a model by its dotted name, and all fields of its config."""
    check_field(hasattr(model, "config"), "model", "a SequenceModel", type(model).__name__)
    named = f"{type(model).__module__}.{type(model).__qualname__}"
    return {"class": named, "config": asdict(model.config)}
