"""Paper C's model as its formulas have it, and not as its authors' code.

The anchor's recurrent state is subtracted. Each d_t depends on x_<=t and x_a, d_a is 0, and the KL
counts t other than a. The paper's q(d_t | d_<t, x_<=t) is read without d_<t. This is a true bound,
too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unbraid.distributions import DiagonalGaussian
from unbraid.models.single_element import (
    DynamicEncoder,
    SingleElement,
    SingleElementConfig,
    take_anchor,
)
from unbraid.networks import run_recurrent


@dataclass(frozen=True)
class FormulaElementConfig(SingleElementConfig):
    """The sizes of `FormulaElement`, whose features know their element alone."""

    def __post_init__(self):
        super().__post_init__()
        if self.context:
            raise ValueError("context: expected none with the paper's formula, found one")


class FormulaEncoder(DynamicEncoder):
    """q(d_t | x) of an LSTM's states, less its state after the anchor alone."""

    both_ways = False

    def forward(
        self,
        features: Tensor,
        anchor: Tensor,
        anchor_noise: Tensor,
        observed: Tensor,
        lengths: Tensor | None = None,
    ) -> DiagonalGaussian:
        """The distributions of all d_t, (B, T, d), of features (B, T, g); reads no noise."""
        hidden = run_recurrent(self.recurrent, features * observed[..., None], lengths)
        # After the anchor alone, so that a first anchor has h_a - h_a = 0.
        return self.head(hidden - run_recurrent(self.recurrent, take_anchor(features, anchor)))


class FormulaElement(SingleElement):
    """`SingleElement` by the paper's formulas: static (B, D), dynamic (B, T, d), d_a = 0."""

    config_class = FormulaElementConfig
    dynamic_encoder_class = FormulaEncoder

    def choose_coded(self, observed: Tensor, lengths: Tensor | None, anchor: Tensor) -> Tensor:
        """Which elements have a dynamic code, (B, T): not the anchor."""
        steps = torch.arange(observed.shape[1], device=observed.device)
        return super().choose_coded(observed, lengths, anchor) & (steps != anchor[:, None])

    def roll_prior(self, noise: Tensor) -> Tensor:
        """Codes d (B, T, d) of the prior, with d_a = 0."""
        return self.prior.roll(noise, zero_at=self.anchor_of(noise.shape[1]))
