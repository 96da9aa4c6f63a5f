"""Paper C's model without one or both of its ideas, which shows what each of them is for."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unbraid.checks import check_name
from unbraid.models.single_element import DynamicEncoder, SingleElement, SingleElementConfig


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
