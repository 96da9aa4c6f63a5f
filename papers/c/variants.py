"""Paper C's model as its released code trains it: the anchor is decoded a second time."""

from dataclasses import dataclass

from torch import Tensor
from unbraid.models.elements import Posterior, take_element
from unbraid.models.single_element import SingleElement, SingleElementConfig


@dataclass(frozen=True)
class ReleasedElementConfig(SingleElementConfig):
    """The sizes of `ReleasedElement`.

    anchor_alone: whether the bound's term "anchor" comes from a second decoding of the anchors by
        themselves, as in the authors' code; they differ by batch normalisation in training alone.
    """

    anchor_alone: bool = False


class ReleasedElement(SingleElement):
    """`SingleElement`, with a second decoding of the anchors if its config says so."""

    config_class = ReleasedElementConfig
    config: ReleasedElementConfig

    def further_terms(
        self, elements: Tensor, mask: Tensor | None, posterior: Posterior, by_element: Tensor
    ) -> dict[str, Tensor]:
        terms = super().further_terms(elements, mask, posterior, by_element)
        if self.config.anchor_alone:
            anchor, codes = posterior.anchor, posterior.codes
            d = take_element(codes["dynamic"], anchor)[:, None]
            means = self.decode_elements(codes["static"], d)
            seen = None if mask is None else take_element(mask, anchor)[:, None]
            alone = self.log_likelihood(take_element(elements, anchor)[:, None], means, seen)
            terms["anchor"] = alone[:, 0]
        return terms
