"""Variants of paper C's model: without one or both of its ideas, and by the paper's formulas."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from unbraid.checks import check_field, check_name
from unbraid.distributions import DiagonalGaussian
from unbraid.models.base import Codes, NoiseSource
from unbraid.models.single_element import (
    Posterior,
    SingleElement,
    SingleElementConfig,
    take_element,
)
from unbraid.networks import run_recurrent


@dataclass(frozen=True)
class AblatedElementConfig(SingleElementConfig):
    """The sizes of `AblatedElement`; with the defaults it behaves as `SingleElement`."""

    static_from: str = "anchor"  # or "all": the mean of all observed elements' features
    subtract: bool = True  # the anchor, from what the dynamic LSTM reads

    def __post_init__(self):
        super().__post_init__()
        check_name("static_from", self.static_from, ("anchor", "all"))


class AblatedElement(SingleElement):
    """`SingleElement` whose static code may read all elements, and with or without subtraction."""

    config_class = AblatedElementConfig
    config: AblatedElementConfig

    def read_static(self, features: Tensor, anchor: Tensor, observed: Tensor) -> Tensor:
        if self.config.static_from == "anchor":
            return super().read_static(features, anchor, observed)
        shares = observed.to(features.dtype) / observed.sum(1, keepdim=True)  # (B, T)
        return (shares[..., None] * features).sum(1)

    def subtract_anchor(self, features: Tensor, anchor: Tensor) -> Tensor:
        return super().subtract_anchor(features, anchor) if self.config.subtract else features


class FormulaElement(SingleElement):
    """`SingleElement` by the paper's formulas: static (B, D), dynamic (B, T, d), d_a = 0."""

    both_ways = False

    def build_networks(self) -> None:
        check_field(not self.config.context, "context", "none: features know one element", "one")
        super().build_networks()

    def dynamic_posterior(
        self,
        features: Tensor,
        anchor: Tensor,
        anchor_noise: Tensor,
        observed: Tensor,
        lengths: Tensor | None = None,
    ) -> DiagonalGaussian:
        """q(d_t | x), of an LSTM's states minus that after the anchor alone; without noise."""
        network = self.dynamic_encoder.recurrent
        hidden = run_recurrent(network, features * observed[..., None], lengths)
        alone = run_recurrent(network, take_element(features, anchor)[:, None])
        return self.dynamic_encoder.head(hidden - alone)

    def posterior(
        self, elements: Tensor, mask: Tensor | None = None, noise: NoiseSource = None
    ) -> Posterior:
        found = super().posterior(elements, mask, noise)
        is_anchor = F.one_hot(found.anchor, elements.shape[1]).bool()  # (B, T)
        d = found.codes["dynamic"].masked_fill(is_anchor[..., None], 0.0)
        codes = found.codes | {"dynamic": d}
        return replace(found, codes=codes, has_code=found.has_code & ~is_anchor)

    def generate(
        self, count: int, length: int, noise: NoiseSource = None, given: Codes | None = None
    ) -> Codes:
        given = self.check_given(given, count, length)
        noise = self.as_noise(noise, count, length)
        d = self.prior.roll(noise["dynamic"], zero_at=find_anchor(self, length))
        return {"static": noise["static"], "dynamic": d} | given


def find_anchor(model: SingleElement, length: int) -> int:
    """The number of a model's anchor among `length` elements that were all observed."""
    return int(model.choose_anchor(torch.ones(1, length, dtype=torch.bool)))
