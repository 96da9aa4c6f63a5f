"""The gate of the course's short runs of paper A, which has none.

They find the digits with all units in use, then pass few units (the gate), too few for two digits
in one factor, and then use all units again.
"""

from typing import Any

import torch
from torch import Tensor, nn
from unbraid.distributions import DiagonalGaussian
from unbraid.models.base import Noise
from unbraid.variants import prediction


class GatedPrediction(prediction.GatedPrediction):
    """A model whose `advance` is to be called in training (`fit`'s on_progress).

    Units that are not in use are 0 and cost nothing.
    """

    in_use: Tensor  # (K, d)

    def __init__(self, config: prediction.GatedPredictionConfig | None = None, **values: Any):
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
