"""The three papers' models, and the one interface that they share."""

from .base import Batch, Bound, ModelConfig, SequenceModel  # noqa: F401 - imported from here
from .independent import IndependentPrediction, IndependentPredictionConfig  # noqa: F401
from .single_element import SingleElement, SingleElementConfig  # noqa: F401
from .unordered import UnorderedFrames, UnorderedFramesConfig  # noqa: F401
