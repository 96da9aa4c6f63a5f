"""Paper A's model with other decoders, which the paper does not have."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from unbraid.models.independent import IndependentPrediction, IndependentPredictionConfig
from unbraid.networks import ConvolutionalDecoder, activation


@dataclass(frozen=True)
class CanvasPredictionConfig(IndependentPredictionConfig):
    """The sizes of `CanvasPrediction`; with its defaults the decoder is the paper's.

    decoder_groups: 1 is the paper's one decoder for all units. With K each factor draws a picture
        of its own, and the decoder adds them.
    decoder_hidden: units of the decoder's first layer; 0 means as many as latents, as in the paper.
    """

    decoder_groups: int = 1
    decoder_hidden: int = field(default=0, metadata={"least": 0})

    def __post_init__(self):
        super().__post_init__()
        groups = self.decoder_groups
        if self.decoder_hidden and groups > 1:
            raise ValueError(
                f"decoder_hidden: expected 0 with {groups} decoder_groups, because a layer that "
                f"reads all factors would mix them, found {self.decoder_hidden}; set one of the two"
            )


class CanvasPrediction(IndependentPrediction):
    """`IndependentPrediction` with a canvas for each factor, or with a wider decoder."""

    config_class = CanvasPredictionConfig

    def __init__(self, config: CanvasPredictionConfig | None = None, **values: object):
        super().__init__(config, **values)
        hidden = self.config.decoder_hidden
        if hidden:
            name = "relu" if self.config.activation == "paper" else self.config.activation
            first = nn.Linear(self.factors * self.factor_size, hidden)
            self.decoder = nn.Sequential(first, activation(name), self.decoder)

    def make_decoder(self, inputs: int, groups: int = 1) -> ConvolutionalDecoder:
        """A decoder of the hidden units, or one with a group for each factor."""
        hidden = self.config.decoder_hidden
        if hidden:
            return super().make_decoder(hidden, groups=0)
        return super().make_decoder(inputs, self.config.decoder_groups)
