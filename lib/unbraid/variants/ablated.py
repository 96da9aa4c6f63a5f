"""Paper C's model without one or both of its ideas: s of one element, and the subtraction."""

from dataclasses import dataclass

from torch import Tensor

from ..checks import check_name
from ..models.single_element import SingleElement, SingleElementConfig


@dataclass(frozen=True)
class AblatedElementConfig(SingleElementConfig):
    """The sizes of `AblatedElement`; with the defaults it behaves as `SingleElement`."""

    static_from: str = "anchor"  # or "all": the mean of all observed elements' features
    subtract: bool = True  # the anchor, from what the dynamic LSTM reads

    def __post_init__(self) -> None:
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
