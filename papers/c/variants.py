"""Variants of paper C's model: without one or both of its ideas, and by the paper's formulas."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from unbraid.checks import check_name
from unbraid.distributions import DiagonalGaussian
from unbraid.models.single_element import (
    DynamicEncoder,
    SingleElement,
    SingleElementConfig,
    take_anchor,
)
from unbraid.networks import run_recurrent


@dataclass(frozen=True)
class AblatedElementConfig(SingleElementConfig):
    """The sizes of `AblatedElement`; with its defaults both ideas are there.

    static_from: the static code reads the features of the "anchor", or the mean of those of "all"
        observed elements.
    subtract: whether the anchor is subtracted from what the dynamic LSTM reads.
    """

    static_from: str = "anchor"
    subtract: bool = True

    def __post_init__(self):
        super().__post_init__()
        check_name("static_from", self.static_from, ("anchor", "all"))


class AblatedEncoder(DynamicEncoder):
    """q(d_t | x) of the features of all elements, with or without the subtraction."""

    def __init__(self, config: AblatedElementConfig):
        super().__init__(config)
        self.subtract = config.subtract

    def less_anchor(self, features: Tensor, anchor: Tensor) -> Tensor:
        """Features (B, T, g) less those of the anchor (B,), or as they are."""
        return super().less_anchor(features, anchor) if self.subtract else features


class AblatedElement(SingleElement):
    """`SingleElement` whose static code may read all elements, and with or without subtraction."""

    config_class = AblatedElementConfig
    dynamic_encoder_class = AblatedEncoder

    def static_features(self, features: Tensor, anchor: Tensor, observed: Tensor) -> Tensor:
        """What the static code reads (B, g) of features (B, T, g): one element, or all."""
        if self.config.static_from == "anchor":
            return super().static_features(features, anchor, observed)
        shares = observed.to(features.dtype) / observed.sum(1, keepdim=True)  # (B, T)
        return (shares[..., None] * features).sum(1)


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
