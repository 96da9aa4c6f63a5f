"""Variants of paper C's model: without one or both of its ideas, and by the paper's formulas."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from unbraid.checks import check_name
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
    """The sizes of `AblatedElement`; with the defaults it behaves as `SingleElement`.

    static_from: the static code reads the features of the "anchor", or the mean of those of "all"
        observed elements.
    subtract: whether the anchor is subtracted from what the dynamic LSTM reads.
    """

    static_from: str = "anchor"
    subtract: bool = True

    def __post_init__(self):
        super().__post_init__()
        check_name("static_from", self.static_from, ("anchor", "all"))


class AblatedElement(SingleElement):
    """`SingleElement` whose static code may read all elements, and with or without subtraction."""

    config_class = AblatedElementConfig
    config: AblatedElementConfig

    def read_static(self, features: Tensor, anchor: Tensor, observed: Tensor) -> Tensor:
        """What the static code reads (B, g) of features (B, T, g): one element, or all."""
        if self.config.static_from == "anchor":
            return super().read_static(features, anchor, observed)
        shares = observed.to(features.dtype) / observed.sum(1, keepdim=True)  # (B, T)
        return (shares[..., None] * features).sum(1)

    def subtract_anchor(self, features: Tensor, anchor: Tensor) -> Tensor:
        """Features (B, T, g) minus those of the anchor (B,), or as they are."""
        return super().subtract_anchor(features, anchor) if self.config.subtract else features


@dataclass(frozen=True)
class FormulaElementConfig(SingleElementConfig):
    """The sizes of `FormulaElement`, whose features know their element alone."""

    def __post_init__(self):
        super().__post_init__()
        if self.context:
            raise ValueError("context: expected none with the paper's formula, found one")


class FormulaElement(SingleElement):
    """`SingleElement` by the paper's formulas: static (B, D), dynamic (B, T, d), d_a = 0."""

    config_class = FormulaElementConfig
    both_ways = False

    def dynamic_posterior(
        self,
        features: Tensor,
        anchor: Tensor,
        anchor_noise: Tensor,
        observed: Tensor,
        lengths: Tensor | None = None,
    ) -> DiagonalGaussian:
        """q(d_t | x), (B, T, d), of an LSTM's states minus its state after the anchor alone.

        If the anchor is the first element, its state is h_a - h_a = 0; no noise is read.
        """
        network = self.dynamic_encoder.recurrent
        hidden = run_recurrent(network, features * observed[..., None], lengths)
        alone = run_recurrent(network, take_element(features, anchor)[:, None])
        return self.dynamic_encoder.head(hidden - alone)

    def posterior(
        self, elements: Tensor, mask: Tensor | None = None, noise: NoiseSource = None
    ) -> Posterior:
        """As the base class's; the anchor has no dynamic code but 0."""
        found = super().posterior(elements, mask, noise)
        is_anchor = F.one_hot(found.anchor, elements.shape[1]).bool()  # (B, T)
        d = found.codes["dynamic"].masked_fill(is_anchor[..., None], 0.0)
        codes = found.codes | {"dynamic": d}
        return replace(found, codes=codes, has_code=found.has_code & ~is_anchor)

    def generate(
        self, count: int, length: int, noise: NoiseSource = None, given: Codes | None = None
    ) -> Codes:
        """Codes of sequences of `length` elements, with d_a = 0."""
        given = self.check_given(given, count, length)
        noise = self.as_noise(noise, count, length)
        d = self.prior.roll(noise["dynamic"], zero_at=find_anchor(self, length))
        return {"static": noise["static"], "dynamic": d} | given


def find_anchor(model: SingleElement, length: int) -> int:
    """The number of a model's anchor among `length` elements that were all observed."""
    return int(model.choose_anchor(torch.ones(1, length, dtype=torch.bool)))
