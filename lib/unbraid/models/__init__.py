"""The three papers' models, and the one interface that they share."""

from unbraid.models.base import Batch, Bound, ModelConfig, SequenceModel
from unbraid.models.independent import IndependentPrediction, IndependentPredictionConfig
from unbraid.models.single_element import SingleElement, SingleElementConfig
from unbraid.models.unordered import UnorderedFrames, UnorderedFramesConfig

__all__ = [
    "Batch",
    "Bound",
    "IndependentPrediction",
    "IndependentPredictionConfig",
    "ModelConfig",
    "SequenceModel",
    "SingleElement",
    "SingleElementConfig",
    "UnorderedFrames",
    "UnorderedFramesConfig",
]
