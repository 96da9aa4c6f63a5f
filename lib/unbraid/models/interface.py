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
    """

    log_likelihood: Tensor
    kl: dict[str, Tensor]
    frames: int

    @property
    def elbo(self) -> Tensor:
        """(B,) nats a sequence."""
        return self.log_likelihood - sum(self.kl.values())

    @property
    def per_frame(self) -> Tensor:
        """(B,) nats a frame."""
        return self.elbo / self.frames


class SequenceModel(nn.Module, ABC):
    """A latent-variable model of sequences of frames (B, T, C, H, W) with values in [0, 1]."""

    code_names: tuple[str, ...]
    frame_shape: tuple[int, int, int]

    @abstractmethod
    def elbo(self, frames: Tensor, generator: torch.Generator | None = None) -> Bound:
        """The bound of each sequence, from one reparameterised sample a frame."""

    @abstractmethod
    def infer(self, frames: Tensor, sample: bool = False, generator: torch.Generator | None = None) -> Codes:
        """Posterior codes of the frames: their means, or a sample of them."""

    @abstractmethod
    def decode(self, codes: Codes) -> Tensor:
        """Mean frames (B, T, C, H, W) of the codes."""

    @abstractmethod
    def generate(self, count: int, length: int, generator: torch.Generator | None = None) -> Codes:
        """Codes drawn from the prior."""

    def forward(self, frames: Tensor, generator: torch.Generator | None = None) -> Bound:
        """The bound; what the training loop calls, so that Fabric can wrap it."""
        return self.elbo(frames, generator)

    def check_frames(self, frames: Tensor) -> None:
        """Refuse a batch that is not (B, T, C, H, W), not of this model's frame shape, not finite or not in [0, 1]."""
        if frames.ndim != 5 or tuple(frames.shape[2:]) != self.frame_shape:
            raise ValueError(
                f"frames: expected (B, T, {', '.join(map(str, self.frame_shape))}), found {tuple(frames.shape)}; "
                "arrange or resize the batch, or build the model with another image_size"
            )
        low, high = (float(value) for value in torch.aminmax(frames)) if frames.numel() else (0.0, 0.0)
        if not (low == low and high == high):
            raise ValueError("frames: expected finite numbers, found NaN; mend or mask the missing frames first")
        if low < 0 or high > 1:
            raise ValueError(f"frames: expected values in [0, 1], found {low:.3g} to {high:.3g}; divide bytes by 255")

    def check_codes(self, codes: Codes) -> None:
        """Refuse codes whose names are not this model's."""
        if set(codes) != set(self.code_names):
            raise ValueError(f"codes: expected {', '.join(self.code_names)}, found {', '.join(codes)}")
