"""Variants of paper A's model that the course opens: a wider decoder, and units behind a gate.

The paper has neither. The gate itself is training's alone: notebook 12 shows it.
"""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..models.independent import IndependentPrediction, IndependentPredictionConfig
from ..networks import ConvolutionalDecoder, activation


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
    """The sizes of `GatedPrediction`, and what happened at which share of its training run.

    opening: which units were in use, as [share of the updates, [units of each factor]]. Without
        entries all were.
    decoder_apart: begin and end: the shares of the updates between which every factor had equally
        many of the decoder's features to itself; only the last layer joined them.
    """

    opening: tuple = ()
    decoder_apart: tuple[float, ...] = (0.0, 0.0)


class GatedPrediction(CanvasPrediction):
    """`CanvasPrediction` that was trained behind a gate, after which all units are in use again."""

    config_class = GatedPredictionConfig
    config: GatedPredictionConfig
