"""The few words every model of the course speaks, so that one evaluation serves all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Codes = dict[str, Tensor]
"""The named latents of a batch: static ones (B, D), dynamic ones (B, T, d)."""


@dataclass
class Bound:
    """The evidence lower bound of a batch of sequences, in nats, taken apart into its terms.

    log_likelihood (B,): E_q log p(x | codes), summed over the sequence.
    kl: for each code its divergence from the prior, (B,), summed over the sequence.
    frames: T, by which the per-frame figure divides.
    objective: (B,) twice, what training makes large and what it makes small against it, where a paper weighs its terms; None
        where they are the bound's own two. No bound; `elbo` and `per_frame` do not know of it.
    """

    log_likelihood: Tensor
    kl: dict[str, Tensor]
    frames: int
    objective: tuple[Tensor, Tensor] | None = None

    @property
    def elbo(self) -> Tensor:
        """(B,) nats a sequence."""
        return self.log_likelihood - sum(self.kl.values())

    @property
    def per_frame(self) -> Tensor:
        """(B,) nats a frame."""
        return self.elbo / self.frames

    def loss(self, kl_weight: float = 1.0) -> Tensor:
        """(): what training makes small, the mean over B of minus the bound per frame, or of minus the model's own objective.

        kl_weight: a factor on every divergence, below 1 while a run warms up; what is then made small is no bound any more, and
        `elbo` and `per_frame` do not know of it.
        """
        gain, cost = self.objective or (self.log_likelihood, sum(self.kl.values()))
        return (kl_weight * cost - gain).mean() / self.frames


class SequenceModel(nn.Module, ABC):
    """A latent-variable model of sequences of frames (B, T, C, H, W) with values in [0, 1]."""

    code_names: tuple[str, ...]
    frame_shape: tuple[int, int, int]

    @abstractmethod
    def elbo(self, frames: Tensor, generator: torch.Generator | None = None) -> Bound:
        """The bound of each sequence, from one reparameterised sample a frame."""

    @abstractmethod
    def infer(
        self, frames: Tensor, sample: bool = False, generator: torch.Generator | None = None
    ) -> Codes:
        """Posterior codes of the frames: their means, or a sample of them."""

    @abstractmethod
    def decode(self, codes: Codes) -> Tensor:
        """Mean frames (B, T, C, H, W) of the codes."""

    @abstractmethod
    def generate(
        self,
        count: int,
        length: int,
        generator: torch.Generator | None = None,
        given: Codes | None = None,
    ) -> Codes:
        """Codes of `count` sequences of `length` frames, drawn from the prior.

        given: codes to keep as they are, (count, ...). The others are drawn from their prior: given these where the model's prior
        says p(other | kept), as paper B's p(dynamic | static) does, and regardless of them where it does not.
        """

    def begin(self, step: int) -> None:
        """Told by the training loop the number of each update, from 1, before it; for a model whose objective changes meanwhile."""

    def forward(self, frames: Tensor, generator: torch.Generator | None = None) -> Bound:
        """The bound; what the training loop calls, so that Fabric can wrap it."""
        return self.elbo(frames, generator)

    def check_frames(self, frames: Tensor) -> None:
        """Refuse a batch that is not (B, T, C, H, W) of this model's frame shape and type, is empty, not finite or not in [0, 1]."""
        if not isinstance(frames, Tensor):
            raise ValueError(
                f"frames: expected a tensor (B, T, C, H, W), found {type(frames).__name__}; resize to one size and stack"
            )
        if frames.ndim != 5 or tuple(frames.shape[2:]) != self.frame_shape:
            raise ValueError(
                f"frames: expected (B, T, {', '.join(map(str, self.frame_shape))}), found {tuple(frames.shape)}; "
                "arrange or resize the batch, or build the model with another image_size"
            )
        if not frames.numel():
            raise ValueError(
                f"frames: expected at least one sequence of one frame, found {tuple(frames.shape)}"
            )
        if frames.dtype != (own := next(self.parameters()).dtype) and not torch.is_autocast_enabled(
            frames.device.type
        ):
            raise ValueError(
                f"frames: expected {own}, as the model's weights, found {frames.dtype}; convert them, and divide bytes by 255"
            )
        low, high = (float(value) for value in torch.aminmax(frames.detach()))
        if not (low == low and high == high):
            raise ValueError(
                "frames: expected finite numbers, found NaN; mend or mask the missing frames first"
            )
        if low < 0 or high > 1:
            raise ValueError(
                f"frames: expected values in [0, 1], found {low:.3g} to {high:.3g}; divide bytes by 255"
            )

    def check_given(self, given: Codes | None, count: int, length: int) -> Codes:
        """The codes that `generate` is to keep; refuses names that are not this model's, another count and another length."""
        for name, code in (given or {}).items():
            if name not in self.code_names:
                raise ValueError(
                    f"given: expected some of {', '.join(self.code_names)}, found {name!r}"
                )
            if len(code) != count or (code.ndim == 3 and code.shape[1] != length):
                raise ValueError(
                    f"given[{name!r}]: expected {count} sequences of length {length}, found {tuple(code.shape)}"
                )
        return dict(given or {})

    def check_codes(self, codes: Codes) -> None:
        """Refuse codes whose names are not this model's."""
        if set(codes) != set(self.code_names):
            raise ValueError(
                f"codes: expected {', '.join(self.code_names)}, found {', '.join(codes)}"
            )
