"""Variants of paper A's model: other decoders, and a gate in training. The paper has neither.

The course's short runs find the digits with all units in use, then pass few units (the gate), too
few for two digits in one factor, and then use all units again.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from unbraid.distributions import DiagonalGaussian
from unbraid.models.base import Noise
from unbraid.models.independent import IndependentPrediction, IndependentPredictionConfig
from unbraid.networks import ConvolutionalDecoder, activation


@dataclass(frozen=True)
class CanvasPredictionConfig(IndependentPredictionConfig):
    """The sizes of `CanvasPrediction`; with its defaults the decoder is the paper's.

    decoder_hidden: units of the decoder's first layer; 0 means as many as latents, as in the paper.
    """

    decoder_hidden: int = field(default=0, metadata={"least": 0})


class CanvasPrediction(IndependentPrediction):
    """`IndependentPrediction` with a wider decoder."""

    config_class = CanvasPredictionConfig
    config: CanvasPredictionConfig

    def __init__(self, config: CanvasPredictionConfig | None = None, **values: Any):
        super().__init__(config, **values)
        if hidden := self.config.decoder_hidden:
            name = "relu" if self.config.activation == "paper" else self.config.activation
            first = nn.Linear(self.factors * self.factor_size, hidden)
            self.decoder = nn.Sequential(first, activation(name), self.decoder)

    def make_decoder(self, inputs: int, groups: int = 1) -> ConvolutionalDecoder:
        """The decoder of the hidden units, or the paper's."""
        hidden = self.config.decoder_hidden
        return super().make_decoder(hidden or inputs, groups=0 if hidden else 1)


@dataclass(frozen=True)
class GatedPredictionConfig(CanvasPredictionConfig):
    """The sizes of `GatedPrediction`, and what happens at which share of a training run.

    opening: which units are in use, as [share of the updates, [units of each factor]]; the others
        are 0 and cost nothing. Without entries all are in use.
    decoder_apart: begin and end: the shares of the updates between which every factor has equally
        many of the decoder's features to itself; only the last layer joins them.
    """

    opening: tuple = ()
    decoder_apart: tuple[float, ...] = (0.0, 0.0)


class GatedPrediction(CanvasPrediction):
    """`CanvasPrediction` whose `advance` is to be called in training (`fit`'s on_progress)."""

    config_class = GatedPredictionConfig
    config: GatedPredictionConfig
    in_use: Tensor  # (K, d)

    def __init__(self, config: GatedPredictionConfig | None = None, **values: Any):
        super().__init__(config, **values)
        every_unit = torch.ones(self.factors, self.factor_size)
        self.register_buffer("in_use", every_unit, persistent=False)
        # Weights that are loaded have the units of the end of their training.
        self.register_load_state_dict_post_hook(lambda model, _: model.advance(1.0))
        self.posterior.register_forward_hook(self.close_units)

    def close_units(
        self, module: nn.Module, inputs: tuple, posterior: DiagonalGaussian
    ) -> DiagonalGaussian:
        """The posterior of a step, (B, K d), whose mean is 0 in the units that are not in use."""
        return DiagonalGaussian(posterior.mean * self.in_use.flatten(), posterior.log_variance)

    def filter(
        self, frames: Tensor, noise: Noise | None = None
    ) -> tuple[DiagonalGaussian, DiagonalGaussian, Tensor]:
        """As the base class's; units that are not in use are 0, and their q is p, at no cost."""
        if noise is not None:
            noise = self.to_codes(self.to_latents(noise) * self.in_use.flatten())
        posteriors, priors, latents = super().filter(frames, noise)
        is_used = self.in_use.bool()  # (K, d)
        mean = torch.where(is_used, priors.mean, posteriors.mean)
        log_variance = torch.where(is_used, priors.log_variance, posteriors.log_variance)
        return posteriors, DiagonalGaussian(mean, log_variance), latents

    def advance(self, share: float) -> None:
        """Do what `opening` and `decoder_apart` say at this share of a run."""
        begin, end = self.config.decoder_apart
        if begin <= share < end:
            self.part_decoder()
        units = torch.ones_like(self.in_use)
        for since, counts in self.config.opening:
            if share >= since:
                units = (torch.arange(self.factor_size) < torch.tensor(counts)[:, None]).to(units)
        self.in_use.copy_(units)

    @torch.no_grad()
    def part_decoder(self) -> None:
        """Before each update: set weights between features of different factors to 0."""
        weights = [weight for weight in self.decoder.parameters() if weight.ndim > 1]
        for weight in weights[:-1]:  # The last layer paints with the features of all.
            rows, columns = (torch.arange(size) * self.factors // size for size in weight.shape[:2])
            same_factor = (rows[:, None] == columns).to(weight)
            weight.mul_(same_factor.reshape(*same_factor.shape, *[1] * (weight.ndim - 2)))
